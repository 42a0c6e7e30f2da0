//! The codecs behind one interface: a decoder per incoming stream, an encoder
//! per outgoing one. Both work at the rate they are made for, so that a
//! narrowband listener of an Opus talker costs no resampling.

use thiserror::Error;

use super::format::SampleRate;

/// What a stream is coded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus, sent as the peer's `a=fmtp` wants it.
    Opus(OpusParameters),
}

/// What the peer stated as a receiver of Opus (RFC 7587 section 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct OpusParameters {
    /// `useinbandfec=1`: it makes use of in-band FEC.
    pub in_band_fec: bool,
    /// `usedtx=1`: it prefers that nothing is sent in silence.
    pub dtx: bool,
    /// `maxaveragebitrate`, in bit/s.
    pub max_average_bitrate: Option<u32>,
    /// `maxplaybackrate`, in Hz: more bandwidth than this is wasted on it.
    pub max_playback_rate: Option<u32>,
    /// `cbr=1`: it wants a constant bit rate.
    pub constant_bitrate: bool,
}

/// Why a payload did not become sound, or sound no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The payload is none of this codec.
    #[error("the payload is not valid for its codec")]
    InvalidPayload,
    /// The output has no room for it.
    #[error("the buffer is too small")]
    BufferTooSmall,
    /// The codec library refused, which none of our arguments should make it do.
    #[error("the codec library failed")]
    Library,
}

impl AudioCodec {
    /// The highest rate that the codec carries anything of.
    pub fn native_rate(self) -> SampleRate {
        match self {
            AudioCodec::Pcmu | AudioCodec::Pcma => SampleRate::Narrow,
            AudioCodec::G722 => SampleRate::Wide,
            AudioCodec::Opus(_) => SampleRate::Full,
        }
    }

    /// RTP clock rate in Hz (RFC 3551 section 4.5.2: G.722 counts at 8000).
    pub fn clock_rate(self) -> u32 {
        match self {
            AudioCodec::Pcmu | AudioCodec::Pcma | AudioCodec::G722 => 8000,
            AudioCodec::Opus(_) => 48000,
        }
    }
}
