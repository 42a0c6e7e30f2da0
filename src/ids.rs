//! Newtypes shared by all rooms: an index of one thing can never be passed
//! where the index of another is meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// One pinned thread of the gateway, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u8);

/// The gateway's own name of a call: unguessable (128 random bits), and it
/// says on which shard the call lives. Text form: two hexadecimal digits of
/// shard, then 32 of randomness. It is not the SIP Call-ID.
///
/// Packed to 24 bytes: aligned as a `u128` wants it, it would take 32, and every
/// call has a dozen places in tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(Rust, packed(8))]
pub struct CallId {
    /// The shard that owns the call.
    pub shard: ShardId,
    /// 128 random bits.
    pub random: u128,
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CallId { shard, random } = *self;
        write!(f, "{:02x}{random:032x}", shard.0)
    }
}

/// A text is not a [`CallId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a call id is 34 lower-case hexadecimal digits")]
pub struct CallIdError;

impl FromStr for CallId {
    type Err = CallIdError;

    fn from_str(text: &str) -> Result<Self, CallIdError> {
        if text.len() != 34 || !text.bytes().all(is_lower_hex) {
            return Err(CallIdError);
        }
        let shard = u8::from_str_radix(&text[..2], 16).map_err(|_| CallIdError)?;
        let random = u128::from_str_radix(&text[2..], 16).map_err(|_| CallIdError)?;
        Ok(CallId {
            shard: ShardId(shard),
            random,
        })
    }
}

/// One recording: unguessable (128 random bits). Text form: 32 hexadecimal
/// digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordingId(pub u128);

impl fmt::Display for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A text is not a [`RecordingId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a recording id is 32 lower-case hexadecimal digits")]
pub struct RecordingIdError;

impl FromStr for RecordingId {
    type Err = RecordingIdError;

    fn from_str(text: &str) -> Result<Self, RecordingIdError> {
        if text.len() != 32 || !text.bytes().all(is_lower_hex) {
            return Err(RecordingIdError);
        }
        let bits = u128::from_str_radix(text, 16).map_err(|_| RecordingIdError)?;
        Ok(RecordingId(bits))
    }
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// A tenant. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(pub Arc<str>);

impl AppId {
    /// The app that always exists; its secret comes from the configuration.
    pub const ROOT: &'static str = "root";

    /// The id with this text.
    pub fn new(text: &str) -> Self {
        AppId(Arc::from(text))
    }

    /// Whether it is the app that always exists: the operator's own.
    pub fn is_root(&self) -> bool {
        self.as_str() == AppId::ROOT
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A room: its name counts inside its app only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomKey {
    /// The app the room belongs to.
    pub app: AppId,
    /// The name the integrator gave it.
    pub name: Arc<str>,
}

/// One play of a sound to a call or a room: random, so that it can be told
/// before the shard knows of it. Text form: 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlayId(pub u64);

impl fmt::Display for PlayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text is not a [`PlayId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a play id is 16 lower-case hexadecimal digits")]
pub struct PlayIdError;

impl FromStr for PlayId {
    type Err = PlayIdError;

    fn from_str(text: &str) -> Result<Self, PlayIdError> {
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 16 || !text.bytes().all(lower_hex) {
            return Err(PlayIdError);
        }
        u64::from_str_radix(text, 16)
            .map(PlayId)
            .map_err(|_| PlayIdError)
    }
}

/// One participant's media in a shard's leg table. The generation tells a
/// reused slot from the leg that had it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId {
    /// Slot in the table.
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

/// One UDP socket of a shard's relay: a dense index that is reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaPort(pub u32);

/// RTP synchronisation source (RFC 3550 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ssrc(pub u32);

/// A codec as far as the relay cares: equal or not. `sdp` gives the meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodecId(pub u8);

impl CodecId {
    /// Comfort noise (RFC 3389). Below it is sound.
    pub const COMFORT_NOISE: CodecId = CodecId(15);

    /// Ids from here up are telephone events (RFC 4733).
    pub const FIRST_EVENT: u8 = 16;

    /// Whether payloads of this say that the sender pauses, and how its
    /// background sounds.
    pub fn is_comfort_noise(self) -> bool {
        self == CodecId::COMFORT_NOISE
    }

    /// Whether payloads of this are telephone events and not sound.
    pub fn is_event(self) -> bool {
        self.0 >= CodecId::FIRST_EVENT
    }
}

/// A SIP socket of the shard, by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u8);

/// A SIP session (one INVITE and what follows from it) of a shard's user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    /// Slot in the table.
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

/// Names one request from the api to a shard, so that its reply finds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_reads_back_what_it_printed() {
        let id = CallId {
            shard: ShardId(7),
            random: 0xfeed,
        };
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_recording_id_reads_back_what_it_printed_and_nothing_else() {
        let id = RecordingId(0xfeed);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "+000000000000000000000000000000f",
            "../../../../../../../../../../x/",
        ] {
            assert_eq!(
                text.parse::<RecordingId>(),
                Err(RecordingIdError),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_call_id_with_sign_space_or_upper_case_is_refused() {
        for text in [
            "",
            "+7000000000000000000000000000000001",
            "0700000000000000000000000000000 01",
            "0A00000000000000000000000000000001",
            "070000000000000000000000000000000é",
        ] {
            assert_eq!(text.parse::<CallId>(), Err(CallIdError), "{text:?}");
        }
    }

    #[test]
    fn a_play_id_reads_back_what_it_printed_and_nothing_else() {
        let id = PlayId(0x0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "0123456789abcdef");
        assert_eq!("0123456789abcdef".parse(), Ok(id));
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789ABCDEF",
            "+123456789abcdef",
        ] {
            assert_eq!(wrong.parse::<PlayId>(), Err(PlayIdError), "{wrong}");
        }
    }
}
