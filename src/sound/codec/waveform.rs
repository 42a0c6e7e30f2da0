//! G.711 and G.722 at any of our rates: the codec itself at its own rate,
//! concealment there, and a resampler where the rates differ.

use super::{CodecError, g711, g722};
use crate::sound::concealment::Concealment;
use crate::sound::format::{MAX_FRAME_SAMPLES, SampleRate};
use crate::sound::resample::Resampler;

/// Longest payload in octets: 200 ms, which RFC 3551 section 4.2 wants taken.
pub const MAX_OCTETS: usize = 1600;

/// How much later a sound is behind both filters of G.722, and behind the
/// encoder's alone, in µs: 22 and 11 samples of 16 kHz.
const G722_DELAY: u32 = 1_375;
const G722_NARROW_DELAY: u32 = 688;

/// Which codec, and whether G.722's upper band is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waveform {
    /// PCMU or PCMA.
    G711(g711::Law),
    /// G.722.
    G722,
}

impl Waveform {
    /// The rate that the codec works at for sound at `rate`: G.722 at 8 kHz
    /// does without its upper band.
    fn own_rate(self, rate: SampleRate) -> SampleRate {
        match self {
            Waveform::G711(_) => SampleRate::Narrow,
            Waveform::G722 => rate.min(SampleRate::Wide),
        }
    }
}

/// Payloads to sound.
pub struct Decoder {
    source: Source,
    concealment: Concealment,
    resampling: Option<Resampling>,
}

enum Source {
    G711(g711::Law),
    G722(g722::Decoder),
    G722Narrow(g722::Decoder),
}

/// A resampler and what is on its way to it.
struct Resampling {
    resampler: Resampler,
    sound: Vec<i16>,
}

impl Resampling {
    fn between(from: SampleRate, to: SampleRate) -> Option<Resampling> {
        (from != to).then(|| Resampling {
            resampler: Resampler::new(from, to),
            sound: Vec::with_capacity(MAX_FRAME_SAMPLES),
        })
    }
}

impl Decoder {
    /// A decoder that has heard nothing, for sound at `rate`.
    pub fn new(waveform: Waveform, rate: SampleRate) -> Decoder {
        let own = waveform.own_rate(rate);
        let source = match (waveform, own) {
            (Waveform::G711(law), _) => Source::G711(law),
            (Waveform::G722, SampleRate::Narrow) => Source::G722Narrow(g722::Decoder::default()),
            (Waveform::G722, _) => Source::G722(g722::Decoder::default()),
        };
        Decoder {
            source,
            concealment: Concealment::new(own),
            resampling: Resampling::between(own, rate),
        }
    }

    /// Appends the payload's samples; how many.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<usize, CodecError> {
        if payload.is_empty() || payload.len() > MAX_OCTETS {
            return Err(CodecError::InvalidPayload);
        }
        let begin = out.len();
        match &mut self.resampling {
            None => {
                self.source.decode(payload, out);
                self.concealment.good(&mut out[begin..]);
            }
            Some(Resampling { resampler, sound }) => {
                sound.clear();
                self.source.decode(payload, sound);
                self.concealment.good(sound);
                resampler.process(sound, out);
            }
        }
        Ok(out.len() - begin)
    }

    /// How much later a sound is in what it gives than it was before it was
    /// encoded, in µs.
    pub fn delay_micros(&self) -> u32 {
        let codec = match self.source {
            Source::G711(_) => 0,
            Source::G722(_) => G722_DELAY,
            Source::G722Narrow(_) => G722_NARROW_DELAY,
        };
        let resampling = self.resampling.as_ref();
        codec + resampling.map_or(0, |resampling| resampling.resampler.delay_micros())
    }

    /// Appends exactly `samples` in place of lost ones.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) {
        let begin = out.len();
        match &mut self.resampling {
            None => self.concealment.conceal(samples, out),
            Some(Resampling { resampler, sound }) => {
                sound.clear();
                self.concealment.conceal(resampler.needed(samples), sound);
                resampler.process(sound, out);
            }
        }
        out.truncate(begin + samples);
    }
}

impl Source {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        match self {
            Source::G711(law) => g711::decode(*law, payload, out),
            Source::G722(decoder) => decoder.decode(payload, out),
            Source::G722Narrow(decoder) => decoder.decode_narrow(payload, out),
        }
    }
}

/// Sound to payloads.
pub struct Encoder {
    sink: Sink,
    resampling: Option<Resampling>,
}

enum Sink {
    G711(g711::Law),
    G722(g722::Encoder),
    G722Narrow(g722::Encoder),
}

impl Encoder {
    /// An encoder for sound at `rate`.
    pub fn new(waveform: Waveform, rate: SampleRate) -> Encoder {
        let own = waveform.own_rate(rate);
        let sink = match (waveform, own) {
            (Waveform::G711(law), _) => Sink::G711(law),
            (Waveform::G722, SampleRate::Narrow) => Sink::G722Narrow(g722::Encoder::default()),
            (Waveform::G722, _) => Sink::G722(g722::Encoder::default()),
        };
        Encoder {
            sink,
            resampling: Resampling::between(rate, own),
        }
    }

    /// One frame of 20 ms; the payload's length, always 160.
    pub fn encode(&mut self, frame: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        // Both codecs make one octet in 125 µs.
        let length = SampleRate::Narrow.frame_samples();
        let out = out.get_mut(..length).ok_or(CodecError::BufferTooSmall)?;
        let frame = match &mut self.resampling {
            None => frame,
            Some(Resampling { resampler, sound }) => {
                sound.clear();
                resampler.process(frame, sound);
                sound
            }
        };
        match &mut self.sink {
            Sink::G711(law) => g711::encode(*law, frame, out),
            Sink::G722(encoder) => encoder.encode(frame, out),
            Sink::G722Narrow(encoder) => encoder.encode_narrow(frame, out),
        }
        Ok(length)
    }
}
