//! A sound file, decoded once and shared by everything that plays it: WAV,
//! Ogg Opus or MP3, told apart by what is in them and not by their name.
//!
//! A clip is kept at all three rates of the gateway. That costs 144 KB for a
//! second of sound, and buys that playing is a copy: a shard that plays hold
//! music to a thousand callers resamples nothing.

mod ogg_opus;
mod rates;
#[cfg(test)]
mod tests;
mod wav_mp3;

use std::time::Duration;

use thiserror::Error;

use super::format::SampleRate;

/// Bytes of a clip for each second that it lasts.
pub const BYTES_PER_SECOND: u64 = 2 * (8000 + 16000 + 48000);

/// How long a clip may be unless told otherwise.
pub const DEFAULT_MAX_DURATION: Duration = Duration::from_secs(15 * 60);

/// What decoding may take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipLimits {
    /// The longest sound. Memory and work are in proportion to it and to the
    /// size of the file.
    pub max_duration: Duration,
}

impl Default for ClipLimits {
    fn default() -> Self {
        ClipLimits {
            max_duration: DEFAULT_MAX_DURATION,
        }
    }
}

/// What kind of file a clip was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClipFormat {
    /// RIFF WAVE: PCM, float, A-law or µ-law.
    Wav,
    /// Opus in Ogg (RFC 7845).
    OggOpus,
    /// MPEG audio, layer III.
    Mp3,
}

impl ClipFormat {
    /// Tells by the first bytes; `None` when it is none of the three.
    pub fn of(bytes: &[u8]) -> Option<ClipFormat> {
        match bytes {
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'A',
                b'V',
                b'E',
                ..,
            ] => Some(ClipFormat::Wav),
            [b'O', b'g', b'g', b'S', ..] => Some(ClipFormat::OggOpus),
            [b'I', b'D', b'3', ..] => Some(ClipFormat::Mp3),
            // Eleven set bits of sync, then version and layer (ISO 11172-3
            // section 2.4.2.3); layer III is 01.
            [0xff, second, ..] if second & 0xe6 == 0xe2 => Some(ClipFormat::Mp3),
            _ => None,
        }
    }

    /// Its name, as the API states it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ClipFormat::Wav => "wav",
            ClipFormat::OggOpus => "ogg_opus",
            ClipFormat::Mp3 => "mp3",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            ClipFormat::Wav => "audio/wav",
            ClipFormat::OggOpus => "audio/ogg",
            ClipFormat::Mp3 => "audio/mpeg",
        }
    }
}

/// What a file said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipSource {
    /// What kind of file it was.
    pub format: ClipFormat,
    /// Its sampling rate in Hz; 48000 for Opus, whatever was recorded.
    pub sample_rate: u32,
    /// 1 or 2; two are mixed down.
    pub channels: u8,
}

/// Why a file is no clip.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClipError {
    /// Nothing that is read here.
    #[error("this is no WAV, Ogg Opus or MP3 file: convert it to one of them")]
    UnknownFormat,
    /// A known container with something else in it.
    #[error("{0}")]
    Unsupported(String),
    /// A known format, but broken.
    #[error("the {format} file is damaged: {reason}", format = .format.as_str())]
    Damaged {
        /// What the file begins like.
        format: ClipFormat,
        /// What is wrong with it.
        reason: String,
    },
    /// Longer than the limit.
    #[error("the sound is longer than {0} seconds: shorten it")]
    TooLong(u64),
    /// Nothing to play.
    #[error("there is no sound in the file: it has a header but not one sample")]
    Empty,
}

/// Decoded sound, mono, 16 bit, at each of the three rates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    narrow: Box<[i16]>,
    wide: Box<[i16]>,
    full: Box<[i16]>,
    source: ClipSource,
}

impl Clip {
    /// Decodes a file. Stops at the limit, so that a small file of hours of
    /// silence costs no more than a file of the longest sound allowed.
    ///
    /// It takes long (some ms for each second of sound): not for a shard.
    ///
    /// # Errors
    /// Says what is wrong with the file, and what to do about it.
    pub fn decode(bytes: &[u8], limits: ClipLimits) -> Result<Clip, ClipError> {
        match ClipFormat::of(bytes).ok_or(ClipError::UnknownFormat)? {
            ClipFormat::Wav => wav_mp3::decode_wav(bytes, limits),
            ClipFormat::Mp3 => wav_mp3::decode_mp3(bytes, limits),
            ClipFormat::OggOpus => ogg_opus::decode(bytes, limits),
        }
    }

    /// Its samples at a rate; never empty. A rate of `r` Hz has one sample
    /// for each begun `48000 / r` samples of the full rate.
    pub fn samples(&self, rate: SampleRate) -> &[i16] {
        match rate {
            SampleRate::Narrow => &self.narrow,
            SampleRate::Wide => &self.wide,
            SampleRate::Full => &self.full,
        }
    }

    /// The rate that loses nothing of it.
    pub fn native_rate(&self) -> SampleRate {
        match self.source.sample_rate {
            ..=8000 => SampleRate::Narrow,
            8001..=16_000 => SampleRate::Wide,
            _ => SampleRate::Full,
        }
    }

    /// How long it plays.
    pub fn duration(&self) -> Duration {
        let samples = self.full.len() as u64;
        Duration::from_micros(samples * 1000 / 48)
    }

    /// Bytes of memory it holds.
    pub fn size(&self) -> usize {
        size_of::<i16>() * (self.narrow.len() + self.wide.len() + self.full.len())
    }

    /// What the file said of itself.
    pub fn source(&self) -> ClipSource {
        self.source
    }
}

/// The sampling rates that are read: one that divides into few steps against
/// 48 kHz, which all that are in use do.
fn check_rate(sample_rate: u32) -> Result<(), ClipError> {
    const LOWEST: u32 = 4000;
    const HIGHEST: u32 = 192_000;
    // The resampler's work and memory grow with it: 44.1 kHz has 147, 11.025 kHz 147.
    const MOST_STEPS: u32 = 640;
    let fits = (LOWEST..=HIGHEST).contains(&sample_rate)
        && sample_rate / greatest_common_divisor(sample_rate, 48_000) <= MOST_STEPS;
    if fits {
        return Ok(());
    }
    Err(ClipError::Unsupported(format!(
        "a sampling rate of {sample_rate} Hz is not read: convert it to 8000, 16000, 44100 or 48000 Hz"
    )))
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
