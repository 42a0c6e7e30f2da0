//! From one of the three rates to another.
//!
//! The rates are whole multiples of each other, so this is one FIR low pass,
//! taken every nth sample down or split in n phases up. It works on 16 bit
//! integers: the compiler makes one instruction of eight products, and the
//! result is the same on every machine.

use std::f64::consts::PI;
use std::sync::LazyLock;

use super::format::{MAX_FRAME_SAMPLES, SampleRate};

/// Bits after the point of a coefficient. The coefficients' magnitudes add up
/// to less than 2, so that full scale times them fits in 32 bits.
const FRACTION: u32 = 14;

/// Stop band below this, in dB; rounding to [`FRACTION`] bits costs some of it.
const ATTENUATION: f64 = 67.5;

/// Products that one vector instruction makes.
const BLOCK: usize = 8;

/// One low pass, in the order in which a window of samples meets it.
#[derive(Debug)]
struct Filter {
    /// The higher rate over the lower one.
    ratio: usize,
    /// All taps, to go down: a multiple of [`BLOCK`].
    down: Vec<i16>,
    /// `ratio` phases of `phase_taps` each, to go up.
    up: Vec<i16>,
    phase_taps: usize,
}

/// 8 to 16 kHz: flat to 3.4 kHz, nothing from 4 kHz.
static DOUBLE: LazyLock<Filter> = LazyLock::new(|| Filter::design(16000, 2, 3400.0, 4000.0));
/// 16 to 48 kHz: flat to 7 kHz, nothing from 8 kHz.
static TRIPLE: LazyLock<Filter> = LazyLock::new(|| Filter::design(48000, 3, 7000.0, 8000.0));
/// 8 to 48 kHz: flat to 3.4 kHz, nothing from 4 kHz.
static SEXTUPLE: LazyLock<Filter> = LazyLock::new(|| Filter::design(48000, 6, 3400.0, 4000.0));

/// Turns frames of one rate into frames of another, continuously.
#[derive(Debug)]
pub struct Resampler {
    direction: Direction,
    /// The samples that later windows still need, then those of the call.
    window: Vec<i16>,
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Same,
    Up(&'static Filter),
    Down(&'static Filter),
}

impl Resampler {
    /// From silence.
    pub fn new(from: SampleRate, to: SampleRate) -> Resampler {
        let filter: &'static Filter = match (from.min(to), from.max(to)) {
            (SampleRate::Narrow, SampleRate::Wide) => &DOUBLE,
            (SampleRate::Wide, SampleRate::Full) => &TRIPLE,
            _ => &SEXTUPLE,
        };
        let (direction, history) = if from == to {
            (Direction::Same, 0)
        } else if from < to {
            (Direction::Up(filter), filter.phase_taps - 1)
        } else {
            // The first output comes with the `ratio`th sample.
            (Direction::Down(filter), filter.down.len() - filter.ratio)
        };
        let mut window = Vec::with_capacity(history + MAX_FRAME_SAMPLES);
        window.resize(history, 0);
        Resampler { direction, window }
    }

    /// Appends what `frame` becomes: `frame.len()` times the ratio of the
    /// rates. Going down, what a frame's length leaves over of the ratio counts
    /// for the next one.
    pub fn process(&mut self, frame: &[i16], out: &mut Vec<i16>) {
        match self.direction {
            Direction::Same => out.extend_from_slice(frame),
            Direction::Up(filter) => {
                for chunk in frame.chunks(MAX_FRAME_SAMPLES) {
                    self.window.extend_from_slice(chunk);
                    for window in self.window.windows(filter.phase_taps) {
                        out.extend(
                            filter
                                .up
                                .chunks_exact(filter.phase_taps)
                                .map(|phase| product(window, phase)),
                        );
                    }
                    self.window.drain(..chunk.len());
                }
            }
            Direction::Down(filter) => {
                for chunk in frame.chunks(MAX_FRAME_SAMPLES) {
                    self.window.extend_from_slice(chunk);
                    let before = out.len();
                    out.extend(
                        self.window
                            .windows(filter.down.len())
                            .step_by(filter.ratio)
                            .map(|window| product(window, &filter.down)),
                    );
                    self.window.drain(..(out.len() - before) * filter.ratio);
                }
            }
        }
    }

    /// How many samples must go in for at least `samples` to come out.
    pub fn needed(&self, samples: usize) -> usize {
        match self.direction {
            Direction::Same => samples,
            Direction::Up(filter) => samples.div_ceil(filter.ratio),
            Direction::Down(filter) => samples * filter.ratio,
        }
    }

    /// How much later a sound comes out than it went in, in µs.
    pub fn delay_micros(&self) -> u32 {
        let (filter, high) = match self.direction {
            Direction::Same => return 0,
            Direction::Up(filter) | Direction::Down(filter) => {
                (filter, if filter.ratio == 2 { 16000 } else { 48000 })
            }
        };
        (filter.down.len() as u32 - 1) * 500_000 / high
    }
}

/// The sum of products, rounded, in 16 bits.
fn product(window: &[i16], coefficients: &[i16]) -> i16 {
    let sum: i32 = window
        .iter()
        .zip(coefficients)
        .map(|(&sample, &coefficient)| i32::from(sample) * i32::from(coefficient))
        .sum();
    ((sum + (1 << (FRACTION - 1))) >> FRACTION).clamp(i32::from(i16::MIN), i32::from(i16::MAX))
        as i16
}

impl Filter {
    /// A Kaiser window over the ideal low pass, at the higher `rate`, in Hz.
    fn design(rate: u32, ratio: usize, pass: f64, stop: f64) -> Filter {
        let rate = f64::from(rate);
        let transition = 2.0 * PI * (stop - pass) / rate;
        // Kaiser's formulas for length and shape of a given attenuation.
        let taps = (ATTENUATION - 7.95) / (2.285 * transition) + 1.0;
        let shape = 0.1102 * (ATTENUATION - 8.7);
        let phase_taps = ((taps / ratio as f64).ceil() as usize).next_multiple_of(BLOCK);
        let taps = phase_taps * ratio;
        let cutoff = (stop + pass) / rate;
        let middle = (taps - 1) as f64 / 2.0;
        let ideal: Vec<f64> = (0..taps)
            .map(|tap| {
                let distance = tap as f64 - middle;
                let sinc = if distance == 0.0 {
                    cutoff
                } else {
                    (PI * cutoff * distance).sin() / (PI * distance)
                };
                let edge = distance / (middle + 1.0);
                sinc * bessel(shape * (1.0 - edge * edge).sqrt()) / bessel(shape)
            })
            .collect();
        let one = f64::from(1 << FRACTION);
        let down = quantized(ideal.iter().map(|tap| tap * one).collect());
        // Only every `ratio`th tap meets a sample of the lower rate; each
        // phase's window is in time's order, so its taps stand backwards.
        let up = (0..ratio)
            .flat_map(|phase| {
                let taps = (0..phase_taps).rev().map(move |tap| tap * ratio + phase);
                quantized(taps.map(|tap| ideal[tap] * one * ratio as f64).collect())
            })
            .collect();
        Filter {
            ratio,
            down,
            up,
            phase_taps,
        }
    }
}

/// Rounded, and the largest tap changed so that the sum is exactly one: were
/// the phases' sums different, a low sound would have an image.
fn quantized(taps: Vec<f64>) -> Vec<i16> {
    let mut taps: Vec<i16> = taps.into_iter().map(|tap| tap.round() as i16).collect();
    let lost = (1 << FRACTION) - taps.iter().map(|&tap| i32::from(tap)).sum::<i32>();
    if let Some(largest) = taps.iter_mut().max() {
        *largest += lost as i16;
    }
    taps
}

/// The modified Bessel function of order zero.
fn bessel(x: f64) -> f64 {
    let mut sum = 1.0;
    let mut term = 1.0;
    for n in 1..40 {
        let factor = x / (2.0 * f64::from(n));
        term *= factor * factor;
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [(SampleRate, SampleRate); 6] = [
        (SampleRate::Narrow, SampleRate::Wide),
        (SampleRate::Narrow, SampleRate::Full),
        (SampleRate::Wide, SampleRate::Narrow),
        (SampleRate::Wide, SampleRate::Full),
        (SampleRate::Full, SampleRate::Narrow),
        (SampleRate::Full, SampleRate::Wide),
    ];

    /// A tone at `from`, brought to `to`, without its first 100 ms.
    fn resampled(from: SampleRate, to: SampleRate, frequency: f64) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to);
        let mut out = Vec::new();
        let tone: Vec<i16> = (0..from.hertz() * 3 / 10)
            .map(|i| {
                let angle = 2.0 * PI * frequency * f64::from(i) / f64::from(from.hertz());
                (16_000.0 * angle.sin()).round() as i16
            })
            .collect();
        for frame in tone.chunks(from.frame_samples()) {
            let before = out.len();
            resampler.process(frame, &mut out);
            assert_eq!(out.len() - before, to.frame_samples());
        }
        out.split_off(to.hertz() as usize / 10)
    }

    /// Level of one frequency in 200 ms of sound, in dB of the tone put in.
    fn level(rate: SampleRate, sound: &[i16], frequency: f64) -> f64 {
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (i, &sample) in sound.iter().enumerate() {
            let angle = 2.0 * PI * frequency * i as f64 / f64::from(rate.hertz());
            sine += f64::from(sample) * angle.sin();
            cosine += f64::from(sample) * angle.cos();
        }
        let amplitude = 2.0 * (sine * sine + cosine * cosine).sqrt() / sound.len() as f64;
        20.0 * (amplitude.max(1e-3) / 16_000.0).log10()
    }

    /// Highest frequency that must pass between two rates.
    fn edge(from: SampleRate, to: SampleRate) -> f64 {
        match from.min(to) {
            SampleRate::Narrow => 3400.0,
            _ => 7000.0,
        }
    }

    #[test]
    fn the_pass_band_is_flat() {
        for (from, to) in PAIRS {
            for frequency in [50.0, 300.0, 1000.0, 2500.0, 3400.0, edge(from, to)] {
                let level = level(to, &resampled(from, to, frequency), frequency);
                assert!(
                    level.abs() < 0.1,
                    "{from:?} to {to:?}, {frequency} Hz: {level:.2} dB"
                );
            }
        }
    }

    #[test]
    fn going_up_leaves_no_images() {
        for (from, to) in PAIRS.into_iter().filter(|(from, to)| from < to) {
            for frequency in [50.0, 300.0, 1000.0, 2500.0, edge(from, to)] {
                let sound = resampled(from, to, frequency);
                let copies = to.hertz() / from.hertz() / 2;
                for copy in 1..=copies {
                    let around = f64::from(copy * from.hertz());
                    for image in [around - frequency, around + frequency] {
                        if image < f64::from(to.hertz()) / 2.0 {
                            let level = level(to, &sound, image);
                            assert!(
                                level < -65.0,
                                "{from:?} to {to:?}, {frequency} Hz: {level:.1} dB at {image} Hz"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn going_down_folds_nothing_into_the_band() {
        for (from, to) in PAIRS.into_iter().filter(|(from, to)| from > to) {
            let low = f64::from(to.hertz());
            for frequency in [low / 2.0 + 100.0, low - 1000.0, low - 300.0, low * 0.9] {
                let level = level(to, &resampled(from, to, frequency), low - frequency);
                assert!(
                    level < -60.0,
                    "{from:?} to {to:?}, {frequency} Hz: {level:.1} dB"
                );
            }
        }
    }

    #[test]
    fn a_click_comes_as_late_as_is_said_and_within_4_ms() {
        for (from, to) in PAIRS {
            let mut resampler = Resampler::new(from, to);
            let mut out = Vec::new();
            let mut frame = vec![0; from.frame_samples()];
            frame[0] = 20_000;
            resampler.process(&frame, &mut out);
            let loudest = (0..out.len()).max_by_key(|&i| i32::from(out[i]).abs());
            let micros = loudest.unwrap() as f64 * 1e6 / f64::from(to.hertz());
            let said = f64::from(resampler.delay_micros());
            // To the sample of the slower side.
            let sample = 1e6 / f64::from(from.min(to).hertz());
            assert!(
                (micros - said).abs() <= sample,
                "{from:?} to {to:?}: {micros} and {said} µs"
            );
            assert!(said < 4000.0, "{from:?} to {to:?}: {said} µs");
        }
    }

    #[test]
    fn full_scale_is_clipped_and_does_not_wrap_around() {
        for (from, to) in PAIRS {
            let mut resampler = Resampler::new(from, to);
            let mut out = Vec::new();
            let square: Vec<i16> = (0..from.hertz() / 10)
                .map(|i| if i / 16 % 2 == 0 { i16::MAX } else { i16::MIN })
                .collect();
            resampler.process(&square, &mut out);
            let half_period = 16 * to.hertz() / from.hertz();
            // Well inside each half wave the sign is the wave's.
            if half_period >= 8 {
                let delay = (resampler.delay_micros() * (to.hertz() / 1000) / 1000) as usize;
                let middle = delay + half_period as usize * 6 + half_period as usize / 2;
                assert!(out[middle] > 20_000, "{from:?} to {to:?}: {}", out[middle]);
            }
        }
    }

    #[test]
    fn frames_of_any_length_are_one_stream() {
        for (from, to) in PAIRS {
            let sound: Vec<i16> = (0..4800)
                .map(|i| (i * 37 % 20_011 - 10_000) as i16)
                .collect();
            let (mut whole, mut parts) = (Vec::new(), Vec::new());
            Resampler::new(from, to).process(&sound, &mut whole);
            let mut resampler = Resampler::new(from, to);
            for part in sound.chunks(101) {
                resampler.process(part, &mut parts);
            }
            assert_eq!(whole, parts, "{from:?} to {to:?}");
            assert_eq!(
                whole.len() as u32,
                4800 * (to.hertz() / 1000) / (from.hertz() / 1000)
            );
        }
    }

    #[test]
    fn the_same_rate_is_left_alone() {
        let mut out = Vec::new();
        Resampler::new(SampleRate::Wide, SampleRate::Wide).process(&[1, -2, 3], &mut out);
        assert_eq!(out, [1, -2, 3]);
    }
}
