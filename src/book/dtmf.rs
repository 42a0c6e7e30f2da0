//! How keys (DTMF) go to a peer.

/// How keys are sent to a peer, and where its own are looked for. Telephone
/// events and SIP INFO of a peer are read whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DtmfPolicy {
    /// As telephone events where they were agreed on, else in SIP INFO where
    /// the peer's `Allow` has it, else as tones.
    #[default]
    Auto,
    /// As telephone events (RFC 4733); as tones to a peer without.
    Events,
    /// In SIP INFO (`application/dtmf-relay`), whatever else the peer takes.
    Info,
    /// As tones in the sound.
    Tones,
}

impl DtmfPolicy {
    /// All of them.
    pub const ALL: [DtmfPolicy; 4] = [
        DtmfPolicy::Auto,
        DtmfPolicy::Events,
        DtmfPolicy::Info,
        DtmfPolicy::Tones,
    ];

    /// Its word in configuration and API.
    pub fn name(self) -> &'static str {
        match self {
            DtmfPolicy::Auto => "auto",
            DtmfPolicy::Events => "events",
            DtmfPolicy::Info => "info",
            DtmfPolicy::Tones => "tones",
        }
    }

    /// The policy of this word.
    pub fn from_name(name: &str) -> Option<Self> {
        DtmfPolicy::ALL
            .into_iter()
            .find(|policy| policy.name() == name)
    }
}
