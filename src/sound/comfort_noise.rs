//! Comfort noise: what a silent talker sends in place of sound (RFC 3389).
//!
//! A payload is a level and, optionally, the spectrum as reflection
//! coefficients. The noise is made at 8 kHz, which is the clock of the static
//! payload type 13, and brought to the listener's rate.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::format::{MAX_FRAME_SAMPLES, SampleRate};
use super::resample::Resampler;

/// RTP clock rate in Hz of the static payload type (section 4).
pub const CLOCK_RATE: u32 = 8000;

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

    /// From now on noise at this rate.
    pub fn set_rate(&mut self, rate: SampleRate) {
        self.resampler = Resampler::new(SampleRate::Narrow, rate);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(rate: SampleRate, payload: &[u8]) -> Vec<i16> {
        let mut noise = ComfortNoise::new(rate, 7);
        noise.describe(&NoiseDescription::read(payload).unwrap());
        let mut out = Vec::new();
        for _ in 0..50 {
            let before = out.len();
            noise.fill(rate.frame_samples(), &mut out);
            assert_eq!(out.len() - before, rate.frame_samples());
        }
        out
    }

    #[test]
    fn the_noise_is_as_loud_as_the_payload_says() {
        for rate in [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full] {
            for level in [30, 60] {
                for spectrum in [&[][..], &[60, 140, 120][..], &[150][..]] {
                    let payload = [&[level], spectrum].concat();
                    let heard = level_of(&noise(rate, &payload));
                    assert!(heard.abs_diff(level) <= 1, "{rate:?} {payload:?}: {heard}");
                }
            }
        }
    }

    #[test]
    fn a_negative_first_coefficient_makes_it_dull_and_a_positive_one_bright() {
        let brightness = |sound: &[i16]| {
            let steps: Vec<i16> = sound
                .windows(2)
                .map(|pair| (pair[1] - pair[0]) / 2)
                .collect();
            i32::from(level_of(sound)) - i32::from(level_of(&steps))
        };
        let dull = brightness(&noise(SampleRate::Narrow, &[40, 30]));
        let white = brightness(&noise(SampleRate::Narrow, &[40]));
        let bright = brightness(&noise(SampleRate::Narrow, &[40, 220]));
        assert!(
            dull + 3 < white && white + 2 <= bright,
            "{dull} {white} {bright}"
        );
    }

    #[test]
    fn any_payload_gives_noise_that_ends_nowhere_at_full_scale() {
        let mut random = SmallRng::seed_from_u64(1);
        for _ in 0..60 {
            let length = random.random_range(1..30);
            let payload: Vec<u8> = (0..length).map(|_| random.random()).collect();
            let level = payload[0] & 0x7f;
            if level >= 20 {
                let heard = level_of(&noise(SampleRate::Narrow, &payload));
                // Strong resonances take long to come to their level.
                assert!(
                    heard.abs_diff(level) <= 6 || heard > level,
                    "{payload:?}: {heard}"
                );
            }
        }
        assert_eq!(NoiseDescription::read(&[]), None);
    }

    #[test]
    fn a_level_is_written_as_one_octet_and_read_back() {
        assert_eq!(NoiseDescription::payload(58), [58]);
        assert_eq!(NoiseDescription::payload(255), [127]);
        assert_eq!(
            NoiseDescription::read(&[58]).unwrap(),
            NoiseDescription::white(58)
        );
        // The most significant bit is not part of it.
        assert_eq!(NoiseDescription::read(&[0x80 | 58]).unwrap().level, 58);
    }

    #[test]
    fn levels_are_measured_against_a_square_wave_of_full_scale() {
        assert_eq!(level_of(&[i16::MIN, i16::MAX, i16::MIN, i16::MAX]), 0);
        assert_eq!(level_of(&[3277; 160]), 20);
        assert_eq!(level_of(&[0; 160]), 127);
        assert_eq!(level_of(&[]), 127);
    }

    #[test]
    fn it_is_silent_until_described() {
        let mut out = Vec::new();
        ComfortNoise::new(SampleRate::Wide, 1).fill(320, &mut out);
        assert_eq!(out, [0; 320]);
    }
}
