//! Reads a tone out of a WAV file: which frequency is strongest, how much of
//! the energy lies there, and how much of the time was silent.

use std::f64::consts::PI;
use std::path::Path;

/// What is skipped at the start: the call is being set up, jitter buffers fill.
const SKIP_SECONDS: f64 = 0.7;
/// Frames quieter than this are silent: -50 dBFS.
const SILENCE: f64 = 0.003_162;
/// Below this is no tone of a test, only offset and hum.
const LOWEST_HERTZ: f64 = 50.0;

/// What was heard.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    /// The strongest frequency.
    pub hertz: f64,
    /// The share of the energy within 2 % of it.
    pub purity: f64,
    /// The share of 20 ms frames that were silent.
    pub silent: f64,
}

impl Heard {
    /// Panics unless this is a clean, steady tone of that frequency.
    #[track_caller]
    pub fn assert_tone(&self, hertz: u32) {
        let wanted = f64::from(hertz);
        assert!(
            (self.hertz - wanted).abs() <= wanted * 0.02,
            "{hertz} Hz wanted, heard {self:?}"
        );
        assert!(
            self.purity > 0.95,
            "{hertz} Hz wanted, heard something unclean: {self:?}"
        );
        assert!(
            self.silent < 0.02,
            "{hertz} Hz wanted, heard with gaps: {self:?}"
        );
    }
}

/// Analyses the first channel of a 16-bit PCM WAV file.
#[track_caller]
pub fn analyse(file: &Path) -> Heard {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let wav = Wav::read(&bytes).unwrap_or_else(|| panic!("{} is no 16-bit WAV", file.display()));
    let rate = f64::from(wav.rate);
    let skipped = ((SKIP_SECONDS * rate) as usize).min(wav.samples.len());
    let samples = &wav.samples[skipped..];
    assert!(
        samples.len() as f64 >= rate,
        "{} holds {:.1} s only",
        file.display(),
        wav.samples.len() as f64 / rate
    );
    let (hertz, purity) = strongest(samples, rate);
    Heard {
        hertz,
        purity,
        silent: silent_share(samples, rate),
    }
}

/// The strongest frequency of samples in -1..1, and the share of energy there.
pub fn strongest(samples: &[f64], rate: f64) -> (f64, f64) {
    let size = samples.len().next_power_of_two();
    let last = (samples.len() - 1) as f64;
    let mut real: Vec<f64> = samples
        .iter()
        .enumerate()
        // Hann: keeps the energy of a tone in the bins next to it.
        .map(|(n, sample)| sample * (0.5 - 0.5 * (2.0 * PI * n as f64 / last).cos()))
        .collect();
    real.resize(size, 0.0);
    let mut imaginary = vec![0.0; size];
    fft(&mut real, &mut imaginary);
    let bin = rate / size as f64;
    let first = (LOWEST_HERTZ / bin).ceil() as usize;
    let power: Vec<f64> = (first..size / 2)
        .map(|n| real[n] * real[n] + imaginary[n] * imaginary[n])
        .collect();
    let peak = (0..power.len())
        .max_by(|a, b| power[*a].total_cmp(&power[*b]))
        .unwrap_or(0);
    let hertz = (first + peak) as f64 * bin;
    let near = |n: usize| {
        let this = (first + n) as f64 * bin;
        (this - hertz).abs() <= hertz * 0.02
    };
    let total: f64 = power.iter().sum();
    let inside: f64 = power
        .iter()
        .enumerate()
        .filter(|(n, _)| near(*n))
        .map(|(_, p)| p)
        .sum();
    (hertz, if total > 0.0 { inside / total } else { 0.0 })
}

fn silent_share(samples: &[f64], rate: f64) -> f64 {
    let frames: Vec<&[f64]> = samples.chunks_exact((rate * 0.02) as usize).collect();
    let loudness = |frame: &[f64]| {
        (frame.iter().map(|sample| sample * sample).sum::<f64>() / frame.len() as f64).sqrt()
    };
    let silent = frames
        .iter()
        .filter(|frame| loudness(frame) < SILENCE)
        .count();
    silent as f64 / frames.len() as f64
}

/// A WAV file of two seconds of this tone.
#[allow(dead_code)] // `tests/peers` asks for it, not every program does.
pub fn wav(hertz: f64) -> Vec<u8> {
    let samples = 16_000u32;
    let data = samples * 2;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(8_000u32.to_le_bytes());
    file.extend(16_000u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(data.to_le_bytes());
    for n in 0..samples {
        let turn = std::f64::consts::TAU * hertz * f64::from(n) / 8000.0;
        file.extend(((turn.sin() * 12_000.0) as i16).to_le_bytes());
    }
    file
}

/// Bytes per second of a WAV file that may still be growing.
pub fn bytes_per_second(file: &Path) -> Option<u32> {
    let bytes = std::fs::read(file).ok()?;
    let wav = Header::read(&bytes)?;
    Some(wav.rate * u32::from(wav.channels) * 2)
}

struct Header {
    channels: u16,
    rate: u32,
    /// Where the samples start.
    data: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
            return None;
        }
        let mut at = 12;
        let mut format = None;
        loop {
            let name = bytes.get(at..at + 4)?;
            let length = u32::from_le_bytes(bytes.get(at + 4..at + 8)?.try_into().ok()?) as usize;
            let body = at + 8;
            if name == b"fmt " {
                let field = |n: usize| {
                    Some(u16::from_le_bytes(
                        bytes.get(body + n..body + n + 2)?.try_into().ok()?,
                    ))
                };
                let rate = u32::from_le_bytes(bytes.get(body + 4..body + 8)?.try_into().ok()?);
                if field(14)? != 16 {
                    return None;
                }
                format = Some((field(2)?, rate));
            }
            if name == b"data" {
                let (channels, rate) = format?;
                return Some(Self {
                    channels,
                    rate,
                    data: body,
                });
            }
            at = body + length + length % 2;
        }
    }
}

struct Wav {
    rate: u32,
    samples: Vec<f64>,
}

impl Wav {
    /// The length in the header is not looked at: a recorder that is killed
    /// never wrote it.
    fn read(bytes: &[u8]) -> Option<Self> {
        let header = Header::read(bytes)?;
        let frame = usize::from(header.channels) * 2;
        let samples = bytes[header.data..]
            .chunks_exact(frame)
            .map(|frame| f64::from(i16::from_le_bytes([frame[0], frame[1]])) / 32_768.0)
            .collect();
        Some(Self {
            rate: header.rate,
            samples,
        })
    }
}

/// In-place radix-2 transform; the length is a power of two.
fn fft(real: &mut [f64], imaginary: &mut [f64]) {
    let size = real.len();
    let bits = size.trailing_zeros();
    for n in 0..size {
        let mirrored = n.reverse_bits() >> (usize::BITS - bits);
        if mirrored > n {
            real.swap(n, mirrored);
            imaginary.swap(n, mirrored);
        }
    }
    let mut half = 1;
    while half < size {
        let step = -PI / half as f64;
        for k in 0..half {
            let (sin, cos) = (step * k as f64).sin_cos();
            for a in (k..size).step_by(half * 2) {
                let b = a + half;
                let (re, im) = (
                    real[b] * cos - imaginary[b] * sin,
                    real[b] * sin + imaginary[b] * cos,
                );
                (real[b], imaginary[b]) = (real[a] - re, imaginary[a] - im);
                real[a] += re;
                imaginary[a] += im;
            }
        }
        half *= 2;
    }
}

#[test]
fn a_tone_of_440_hertz_is_heard_as_such() {
    let samples: Vec<f64> = (0..24_000)
        .map(|n| 0.5 * (2.0 * PI * 440.0 * f64::from(n) / 8000.0).sin())
        .collect();
    let (hertz, purity) = strongest(&samples, 8000.0);
    assert!((hertz - 440.0).abs() < 1.0, "{hertz}");
    assert!(purity > 0.99, "{purity}");
    assert_eq!(silent_share(&samples, 8000.0), 0.0);
}

#[test]
fn two_tones_of_equal_strength_are_not_pure() {
    let samples: Vec<f64> = (0..24_000)
        .map(|n| {
            let t = f64::from(n) / 8000.0;
            (2.0 * PI * 440.0 * t).sin() + (2.0 * PI * 1000.0 * t).sin()
        })
        .collect();
    assert!(strongest(&samples, 8000.0).1 < 0.6);
}
