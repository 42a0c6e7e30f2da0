//! Comfort noise: what a silent talker sends in place of sound (RFC 3389).
//!
//! A payload is a level and, optionally, the spectrum as reflection
//! coefficients. The noise is made at 8 kHz, which is the clock of the static
//! payload type 13, and brought to the listener's rate.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::format::{MAX_FRAME_SAMPLES, SampleRate};
use super::resample::Resampler;

/// Coefficients used of a payload; RFC 3389 section 3.2 leaves the order open,
/// and those behind add detail nobody hears in noise.
const MAX_ORDER: usize = 12;

/// Highest magnitude of a reflection coefficient: at 1 the filter never stops ringing.
const MAX_REFLECTION: f32 = 0.98;

/// Lowest level that a payload can state, in -dBov (section 3.1).
const QUIETEST: u8 = 127;

/// What a comfort noise payload says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseDescription {
    /// Loudness in -dBov: 0 is a full-scale square wave, 127 is next to nothing.
    pub level: u8,
    /// Reflection coefficients of the synthesis filter; zeros are white noise.
    reflections: [f32; MAX_ORDER],
    /// How many of them count.
    order: usize,
}

impl NoiseDescription {
    /// White noise of this level in -dBov, at most 127.
    pub fn white(level: u8) -> NoiseDescription {
        NoiseDescription {
            level: level.min(QUIETEST),
            reflections: [0.0; MAX_ORDER],
            order: 0,
        }
    }

    /// Reads a payload (section 3). `None` when it is empty.
    pub fn read(payload: &[u8]) -> Option<NoiseDescription> {
        let (&level, spectrum) = payload.split_first()?;
        // The most significant bit is 0 and is not looked at.
        let mut description = NoiseDescription::white(level & 0x7f);
        for (reflection, &index) in description.reflections.iter_mut().zip(spectrum) {
            // Section 3.2: k = 258 (N - 127) / 32768.
            let value = 258.0 * (f32::from(index) - 127.0) / 32768.0;
            *reflection = value.clamp(-MAX_REFLECTION, MAX_REFLECTION);
        }
        description.order = spectrum.len().min(MAX_ORDER);
        Some(description)
    }

    /// The payload of a level alone, which every receiver understands.
    pub fn payload(level: u8) -> [u8; 1] {
        [level.min(QUIETEST)]
    }
}

/// The level of `sound` in -dBov, 127 for silence.
pub fn level_of(sound: &[i16]) -> u8 {
    let energy: f64 = sound.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
    if energy == 0.0 {
        return QUIETEST;
    }
    let mean = energy / sound.len() as f64;
    let level = -10.0 * (mean / (32768.0 * 32768.0)).log10();
    level.round().clamp(0.0, f64::from(QUIETEST)) as u8
}

/// Makes the noise that a description asks for.
#[derive(Debug)]
pub struct ComfortNoise {
    random: SmallRng,
    reflections: [f32; MAX_ORDER],
    order: usize,
    /// Strength of the excitation now, and that of the last description.
    gain: f32,
    wanted: f32,
    /// Backward differences of the lattice.
    lattice: [f32; MAX_ORDER + 1],
    resampler: Resampler,
    /// Noise at 8 kHz on its way to the resampler.
    narrow: Vec<i16>,
}

impl ComfortNoise {
    /// Silent until described. `seed` may be any number; two streams should differ.
    pub fn new(rate: SampleRate, seed: u64) -> ComfortNoise {
        ComfortNoise {
            random: SmallRng::seed_from_u64(seed),
            reflections: [0.0; MAX_ORDER],
            order: 0,
            gain: 0.0,
            wanted: 0.0,
            lattice: [0.0; MAX_ORDER + 1],
            resampler: Resampler::new(SampleRate::Narrow, rate),
            narrow: Vec::with_capacity(MAX_FRAME_SAMPLES),
        }
    }

    /// From now on noise like this; the level goes there within some frames.
    pub fn describe(&mut self, description: &NoiseDescription) {
        let wanted = 32768.0 * 10f32.powf(-f32::from(description.level) / 20.0);
        // The filter makes the excitation louder by the product of 1 / (1 - k²).
        let narrowing: f32 = description
            .reflections
            .iter()
            .map(|k| 1.0 - k * k)
            .product();
        self.reflections = description.reflections;
        self.order = description.order;
        self.wanted = wanted * narrowing.sqrt();
        if self.gain == 0.0 {
            self.gain = self.wanted;
        }
    }

    /// Appends exactly `samples` of noise.
    pub fn fill(&mut self, samples: usize, out: &mut Vec<i16>) {
        let begin = out.len();
        let mut left = self.resampler.needed(samples);
        while left > 0 {
            let length = left.min(SampleRate::Narrow.frame_samples());
            left -= length;
            // Section 5 wants no audible steps between updates.
            self.gain += (self.wanted - self.gain) / 4.0;
            self.narrow.clear();
            for _ in 0..length {
                let sample = self.sample();
                self.narrow.push(sample);
            }
            self.resampler.process(&self.narrow, out);
        }
        out.truncate(begin + samples);
    }

    /// One step of the all-pole lattice over white noise. A negative first
    /// coefficient makes the noise dull, as in G.711 Appendix II.
    fn sample(&mut self) -> i16 {
        // Uniform between ±√3: a variance of one.
        const WIDTH: f32 = 1.732_050_8;
        let mut forward = self.random.random_range(-WIDTH..WIDTH) * self.gain;
        for stage in (0..self.order).rev() {
            let reflection = self.reflections[stage];
            forward -= reflection * self.lattice[stage];
            self.lattice[stage + 1] = self.lattice[stage] + reflection * forward;
        }
        self.lattice[0] = forward;
        forward.clamp(-32768.0, 32767.0) as i16
    }
}
