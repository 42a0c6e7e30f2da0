//! The codecs behind one interface: a decoder per incoming stream, an encoder
//! per outgoing one. Both work at the rate they are made for, so that a
//! narrowband listener of an Opus talker costs no resampling.

pub mod g711;
pub mod g722;
pub(super) mod opus;
mod waveform;

use thiserror::Error;

pub use self::opus::COMPLEXITY as OPUS_COMPLEXITY;
use self::waveform::Waveform;
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
    /// What was to be encoded is not one frame of 20 ms.
    #[error("the sound is not one frame of 20 ms")]
    InvalidFrame,
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

    /// Whether a payload carries the sound before it once more, for
    /// [`Decoder::decode_fec`].
    pub fn has_fec(self, payload: &[u8]) -> bool {
        match self {
            AudioCodec::Pcmu | AudioCodec::Pcma | AudioCodec::G722 => false,
            AudioCodec::Opus(_) => opus::has_fec(payload),
        }
    }
}

/// Payloads of one stream to sound at one rate.
pub struct Decoder {
    codec: AudioCodec,
    rate: SampleRate,
    inner: InnerDecoder,
}

enum InnerDecoder {
    Waveform(Box<waveform::Decoder>),
    Opus(opus::Decoder),
}

impl Decoder {
    /// A decoder that has heard nothing. [`CodecError::Library`] when libopus
    /// has no memory for it.
    pub fn new(codec: AudioCodec, rate: SampleRate) -> Result<Decoder, CodecError> {
        let waveform =
            |waveform| InnerDecoder::Waveform(Box::new(waveform::Decoder::new(waveform, rate)));
        let inner = match codec {
            AudioCodec::Pcmu => waveform(Waveform::G711(g711::Law::Mu)),
            AudioCodec::Pcma => waveform(Waveform::G711(g711::Law::A)),
            AudioCodec::G722 => waveform(Waveform::G722),
            AudioCodec::Opus(_) => InnerDecoder::Opus(opus::Decoder::new(rate)?),
        };
        Ok(Decoder { codec, rate, inner })
    }

    /// Appends the packet's samples at [`Self::rate`]; returns how many.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<usize, CodecError> {
        match &mut self.inner {
            InnerDecoder::Waveform(decoder) => decoder.decode(payload, out),
            InnerDecoder::Opus(decoder) => decoder.decode(payload, out),
        }
    }

    /// Appends the `samples` before `next` out of the in-band FEC of `next`,
    /// and returns how many: 0 when the codec or the packet has none. `next`
    /// itself is still to be decoded afterwards.
    pub fn decode_fec(
        &mut self,
        next: &[u8],
        samples: usize,
        out: &mut Vec<i16>,
    ) -> Result<usize, CodecError> {
        match &mut self.inner {
            InnerDecoder::Waveform(_) => Ok(0),
            InnerDecoder::Opus(decoder) => decoder.decode_fec(next, samples, out),
        }
    }

    /// Appends exactly `samples` in place of what was lost: libopus' own
    /// concealment, or repeated pitch that fades within 60 ms.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) {
        match &mut self.inner {
            InnerDecoder::Waveform(decoder) => decoder.conceal(samples, out),
            InnerDecoder::Opus(decoder) => decoder.conceal(samples, out),
        }
    }

    /// Duration of a packet in units of the RTP clock, without decoding it;
    /// `None` when it is not valid.
    pub fn duration(&self, payload: &[u8]) -> Option<u32> {
        match &self.inner {
            InnerDecoder::Waveform(_) => (1..=waveform::MAX_OCTETS)
                .contains(&payload.len())
                .then_some(payload.len() as u32),
            InnerDecoder::Opus(_) => {
                opus::packet_samples(payload, SampleRate::Full).map(|samples| samples as u32)
            }
        }
    }

    /// How much later a sound is in what it gives than it was in what the far
    /// end's encoder was given, in µs, beside the packet's own duration.
    pub fn delay_micros(&self) -> u32 {
        match &self.inner {
            InnerDecoder::Waveform(decoder) => decoder.delay_micros(),
            InnerDecoder::Opus(_) => opus::DELAY_MICROS,
        }
    }

    /// What it decodes.
    pub fn codec(&self) -> AudioCodec {
        self.codec
    }

    /// Rate of what it gives.
    pub fn rate(&self) -> SampleRate {
        self.rate
    }
}

/// Sound at one rate to payloads of one stream.
pub struct Encoder {
    rate: SampleRate,
    inner: InnerEncoder,
}

enum InnerEncoder {
    Waveform(Box<waveform::Encoder>),
    Opus(opus::Encoder),
}

impl Encoder {
    /// An encoder for sound at `rate`. [`CodecError::Library`] when libopus
    /// has no memory for it.
    pub fn new(codec: AudioCodec, rate: SampleRate) -> Result<Encoder, CodecError> {
        let waveform =
            |waveform| InnerEncoder::Waveform(Box::new(waveform::Encoder::new(waveform, rate)));
        let inner = match codec {
            AudioCodec::Pcmu => waveform(Waveform::G711(g711::Law::Mu)),
            AudioCodec::Pcma => waveform(Waveform::G711(g711::Law::A)),
            AudioCodec::G722 => waveform(Waveform::G722),
            AudioCodec::Opus(wanted) => InnerEncoder::Opus(opus::Encoder::new(rate, wanted)?),
        };
        Ok(Encoder { rate, inner })
    }

    /// Encodes one frame of 20 ms, exactly `rate.frame_samples()` long. Returns
    /// the length of what was written to `out`; 0 is DTX: nothing to send.
    pub fn encode(&mut self, frame: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        if frame.len() != self.rate.frame_samples() {
            return Err(CodecError::InvalidFrame);
        }
        match &mut self.inner {
            InnerEncoder::Waveform(encoder) => encoder.encode(frame, out),
            InnerEncoder::Opus(encoder) => encoder.encode(frame, out),
        }
    }

    /// What the far end reports as lost, in percent: how much in-band FEC is
    /// sent, where the codec has it and the far end wants it.
    pub fn set_expected_loss(&mut self, percent: u8) {
        match &mut self.inner {
            InnerEncoder::Waveform(_) => {}
            InnerEncoder::Opus(encoder) => encoder.set_expected_loss(percent),
        }
    }
}

#[cfg(test)]
mod tests;
