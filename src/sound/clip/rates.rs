//! From decoded samples at a file's rate to a clip at the gateway's three.

use std::time::Duration;

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler, WindowFunction};

use super::{Clip, ClipError, ClipLimits, ClipSource, check_rate, greatest_common_divisor};
use crate::sound::format::SampleRate;

/// Samples that are converted at once, or a few more.
const CHUNK: usize = 1024;

/// Takes samples as they are decoded, so that what is held at any time is the
/// clip and little more.
pub struct Rates {
    source: ClipSource,
    /// Samples taken, at the file's rate.
    taken: u64,
    most: u64,
    max_duration: Duration,
    lanes: [Lane; 3],
}

impl Rates {
    /// For a file of this kind.
    pub fn new(source: ClipSource, limits: ClipLimits) -> Result<Self, ClipError> {
        check_rate(source.sample_rate)?;
        let rate = source.sample_rate;
        let most = limits.max_duration.as_millis() * u128::from(rate) / 1000;
        Ok(Rates {
            source,
            taken: 0,
            most: u64::try_from(most).unwrap_or(u64::MAX),
            max_duration: limits.max_duration,
            lanes: [
                Lane::new(rate, SampleRate::Narrow)?,
                Lane::new(rate, SampleRate::Wide)?,
                Lane::new(rate, SampleRate::Full)?,
            ],
        })
    }

    /// Channels of what is taken.
    pub fn channels(&self) -> u8 {
        self.source.channels
    }

    /// Takes samples of all channels, interleaved, from -1 to 1.
    pub fn take(&mut self, interleaved: &[f32]) -> Result<(), ClipError> {
        let channels = usize::from(self.source.channels).max(1);
        self.taken += (interleaved.len() / channels) as u64;
        if self.taken > self.most {
            return Err(ClipError::TooLong(self.max_duration.as_secs()));
        }
        let mut mono = [0.0; CHUNK];
        for chunk in interleaved.chunks(CHUNK * channels) {
            let frames = chunk.chunks_exact(channels);
            let count = frames.len();
            for (sample, frame) in mono.iter_mut().zip(frames) {
                let mixed = frame.iter().sum::<f32>() / channels as f32;
                // A float file may hold anything; one infinite sample would
                // take all its neighbours with it in the resampler.
                *sample = if mixed.is_nan() {
                    0.0
                } else {
                    mixed.clamp(-1.0, 1.0)
                };
            }
            for lane in &mut self.lanes {
                lane.take(&mono[..count])?;
            }
        }
        Ok(())
    }

    /// The clip.
    pub fn finish(self) -> Result<Clip, ClipError> {
        if self.taken == 0 {
            return Err(ClipError::Empty);
        }
        let full = (self.taken * 48_000).div_ceil(u64::from(self.source.sample_rate));
        let [narrow, wide, full_lane] = self.lanes;
        Ok(Clip {
            narrow: narrow.finish(full.div_ceil(6))?,
            wide: wide.finish(full.div_ceil(3))?,
            full: full_lane.finish(full)?,
            source: self.source,
        })
    }
}

/// One of the three rates in the making.
struct Lane {
    samples: Vec<i16>,
    /// `None` when the file has this rate already: its samples stay as they are.
    resampler: Option<LaneResampler>,
}

struct LaneResampler {
    fft: Fft<f32>,
    input: Vec<f32>,
    output: Vec<f32>,
    /// Samples at the start that are the filter's delay and no sound.
    to_skip: usize,
}

impl Lane {
    fn new(from: u32, to: SampleRate) -> Result<Self, ClipError> {
        let resampler = match from == to.hertz() {
            true => None,
            false => Some(LaneResampler::new(from as usize, to.hertz() as usize)?),
        };
        Ok(Lane {
            samples: Vec::new(),
            resampler,
        })
    }

    fn take(&mut self, mut mono: &[f32]) -> Result<(), ClipError> {
        let Some(resampler) = &mut self.resampler else {
            self.samples.extend(mono.iter().copied().map(to_i16));
            return Ok(());
        };
        while !mono.is_empty() {
            let wanted = resampler.fft.input_frames_next() - resampler.input.len();
            let (now, later) = mono.split_at(wanted.min(mono.len()));
            resampler.input.extend_from_slice(now);
            mono = later;
            if now.len() == wanted {
                resampler.convert(&mut self.samples)?;
            }
        }
        Ok(())
    }

    /// The samples, exactly so many: what is still in the filter is pushed
    /// out with silence.
    fn finish(mut self, length: u64) -> Result<Box<[i16]>, ClipError> {
        let length = length as usize;
        if let Some(resampler) = &mut self.resampler {
            while self.samples.len() < length {
                let wanted = resampler.fft.input_frames_next();
                resampler.input.resize(wanted, 0.0);
                resampler.convert(&mut self.samples)?;
            }
        }
        self.samples.resize(length, 0);
        Ok(self.samples.into_boxed_slice())
    }
}

impl LaneResampler {
    fn new(from: usize, to: usize) -> Result<Self, ClipError> {
        // One block, an even number of the smallest there can be: its delay is
        // half of it, and is then a whole number of samples.
        let smallest = from / greatest_common_divisor(from as u32, to as u32) as usize;
        let chunk = 2 * smallest * CHUNK.div_ceil(2 * smallest);
        let fft = Fft::new_custom(
            from,
            to,
            chunk,
            1,
            1,
            WindowFunction::BlackmanHarris2,
            FixedSync::Input,
        )
        .map_err(failed)?;
        Ok(LaneResampler {
            input: Vec::with_capacity(fft.input_frames_max()),
            output: vec![0.0; fft.output_frames_max()],
            to_skip: fft.output_delay(),
            fft,
        })
    }

    /// Converts the whole input, which is as long as the resampler wants it.
    fn convert(&mut self, samples: &mut Vec<i16>) -> Result<(), ClipError> {
        let input = SequentialSlice::new(&self.input, 1, self.input.len()).map_err(failed)?;
        let room = self.output.len();
        let mut output = SequentialSlice::new_mut(&mut self.output, 1, room).map_err(failed)?;
        let (_, made) = self
            .fft
            .process_into_buffer(&input, &mut output, None::<&Indexing>)
            .map_err(failed)?;
        let skipped = self.to_skip.min(made);
        self.to_skip -= skipped;
        samples.extend(self.output[skipped..made].iter().copied().map(to_i16));
        self.input.clear();
        Ok(())
    }
}

/// The resampler checks its arguments; ours are always as it wants them.
fn failed(error: impl std::fmt::Display) -> ClipError {
    ClipError::Unsupported(format!("the sampling rate could not be converted: {error}"))
}

/// 32768 both ways, so that 16 bit samples come out as they went in.
fn to_i16(sample: f32) -> i16 {
    (sample * 32768.0).round() as i16
}
