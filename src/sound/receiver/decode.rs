//! What the receiver asks of a decoder.

use crate::sound::codec::{AudioCodec, CodecError};
use crate::sound::format::SampleRate;

/// A decoder of one stream, at the rate it was made for.
pub trait Decode: Send {
    /// Appends the samples of a payload and says how many.
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<usize, CodecError>;

    /// Appends the `samples` that precede `next`, from the redundancy inside
    /// it. `Ok(0)`: it carries none.
    fn decode_fec(
        &mut self,
        next: &[u8],
        samples: usize,
        out: &mut Vec<i16>,
    ) -> Result<usize, CodecError>;

    /// Appends `samples` in place of lost ones.
    fn conceal(&mut self, samples: usize, out: &mut Vec<i16>);

    /// Duration of a payload in units of the codec's RTP clock; None if the
    /// payload is not of this codec.
    fn duration(&self, payload: &[u8]) -> Option<u32>;
}

/// Makes a decoder of a codec at a rate.
pub type MakeDecoder = fn(AudioCodec, SampleRate) -> Result<Box<dyn Decode>, CodecError>;
