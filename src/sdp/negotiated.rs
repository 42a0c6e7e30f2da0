//! What an exchange agreed on, and whether two legs fit together.

use std::net::SocketAddr;

use super::codec::Codec;
use crate::keying::Security;

/// The outcome of one offer/answer exchange for the audio stream, as the
/// gateway's side sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Where the peer wants RTP. Of no use while `send` is false: the address
    /// may then be `0.0.0.0`.
    pub remote_rtp: SocketAddr,
    /// Where the peer wants RTCP; the same as `remote_rtp` with `rtcp_mux`.
    pub remote_rtcp: SocketAddr,
    /// Both sides said `a=rtcp-mux` (RFC 5761 section 5.1.1).
    pub rtcp_mux: bool,
    /// The gateway may send to the peer.
    pub send: bool,
    /// The peer may send to the gateway. Without it no media is no fault.
    pub receive: bool,
    /// The peer asked for hold: by `sendonly`, `inactive` or a `0.0.0.0`/`::`
    /// address.
    pub held: bool,
    /// The common codecs, best first; at least one of them is audio.
    pub codecs: Vec<NegotiatedCodec>,
    /// The packet time in ms the peer would like to receive.
    pub ptime: Option<u32>,
    /// How the media is protected.
    pub security: Security,
}

/// One agreed codec with its payload numbers, which may differ by direction
/// (RFC 3264 section 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiatedCodec {
    /// Which codec.
    pub codec: Codec,
    /// The number on packets the peer sends to the gateway.
    pub receive: u8,
    /// The number on packets the gateway sends to the peer.
    pub send: u8,
    /// The peer's `a=fmtp` parameters: what it wants to receive.
    pub fmtp: Option<String>,
}

/// How a leg's agreed codecs stand to what another leg can take. Without
/// transcoding a leg may only send what the other takes, and a peer may send
/// any codec it agreed on at any time (RFC 3264 section 8.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// Every audio codec of the leg is one the other takes.
    Fits,
    /// Some are: a re-offer of just these makes it fit. Comfort noise and
    /// telephone events that both know are among them.
    Narrow(Vec<Codec>),
    /// None is.
    Nothing,
}

impl Negotiated {
    /// All agreed codecs in order, comfort noise and telephone events among them: what to pass
    /// as `allowed` for a leg that shall talk to this one.
    pub fn codec_list(&self) -> Vec<Codec> {
        self.codecs.iter().map(|entry| entry.codec).collect()
    }

    /// The agreed audio codecs, best first.
    pub fn audio(&self) -> impl Iterator<Item = Codec> + '_ {
        self.codecs
            .iter()
            .map(|entry| entry.codec)
            .filter(|codec| codec.is_audio())
    }

    /// The audio codecs both legs agreed on, in this leg's order.
    pub fn common_audio(&self, other: &Negotiated) -> Vec<Codec> {
        self.audio()
            .filter(|codec| other.audio().any(|theirs| theirs == *codec))
            .collect()
    }

    /// Whether the two legs can hear each other at all.
    pub fn shares_audio(&self, other: &Negotiated) -> bool {
        self.audio()
            .any(|codec| other.audio().any(|theirs| theirs == codec))
    }

    /// How this leg's codecs stand to what another leg can take.
    pub fn fit(&self, takes: &[Codec]) -> Fit {
        if self.audio().all(|codec| takes.contains(&codec)) {
            return Fit::Fits;
        }
        if !self.audio().any(|codec| takes.contains(&codec)) {
            return Fit::Nothing;
        }
        Fit::Narrow(
            self.codecs
                .iter()
                .map(|entry| entry.codec)
                .filter(|codec| takes.contains(codec))
                .collect(),
        )
    }

    /// The agreed entry of this codec.
    pub fn codec(&self, codec: Codec) -> Option<&NegotiatedCodec> {
        self.codecs.iter().find(|entry| entry.codec == codec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::OfferedCodec;

    fn leg(codecs: &[Codec]) -> Negotiated {
        let address = SocketAddr::from(([192, 0, 2, 1], 4000));
        let entry = |codec: &Codec| {
            let number = OfferedCodec::usual(*codec).payload_type;
            NegotiatedCodec {
                codec: *codec,
                receive: number,
                send: number,
                fmtp: None,
            }
        };
        Negotiated {
            remote_rtp: address,
            remote_rtcp: address,
            rtcp_mux: true,
            send: true,
            receive: true,
            held: false,
            codecs: codecs.iter().map(entry).collect(),
            ptime: None,
            security: Security::Plain,
        }
    }

    #[test]
    fn legs_share_audio_but_not_by_telephone_events_alone() {
        let events = Codec::TelephoneEvent(8000);
        let a = leg(&[Codec::Opus, Codec::Pcma, events]);
        let b = leg(&[Codec::Pcma, Codec::Opus, events]);
        let c = leg(&[Codec::Pcmu, events]);
        assert_eq!(a.common_audio(&b), [Codec::Opus, Codec::Pcma]);
        assert!(a.shares_audio(&b));
        assert!(!a.shares_audio(&c));
    }

    #[test]
    fn a_leg_that_may_send_more_than_the_other_takes_is_narrowed() {
        let events = Codec::TelephoneEvent(8000);
        let a = leg(&[Codec::Opus, Codec::Pcma, events]);
        assert_eq!(
            a.fit(&[Codec::Pcmu, Codec::Pcma, events]),
            Fit::Narrow(vec![Codec::Pcma, events])
        );
        assert_eq!(a.fit(&[Codec::Pcma, Codec::Opus]), Fit::Fits);
        assert_eq!(a.fit(&[Codec::G722, events]), Fit::Nothing);
    }
}
