//! Recordings as files: WAV and Ogg Opus, written as the sound comes, so that
//! what is left by a killed process plays up to where it got.
//!
//! The writers take any `Write + Seek`; what they left half done is put right
//! by [`repair`].

use std::io::{self, Read, Seek, Write};

use thiserror::Error;

use super::format::SampleRate;

mod ogg_opus;
mod ogg_page;
mod wav;

/// How a file is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileFormat {
    /// Opus in Ogg (RFC 7845), 48 kHz.
    OggOpus,
    /// 16 bit PCM in WAV, 16 kHz.
    Wav,
}

/// What its channels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channels {
    /// All sides together.
    Mono,
    /// Each side a channel of its own: left what the peer says, right what it hears.
    Stereo,
}

/// Why sound did not get into a file, or a file could not be repaired.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file cannot be written or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The Opus library refused, which none of our arguments should make it do.
    #[error("the codec library failed")]
    Codec,
    /// Nothing in the file can be saved.
    #[error("the file holds no sound")]
    Empty,
}

impl FileFormat {
    /// Its word in configuration, API and database.
    pub const fn name(self) -> &'static str {
        match self {
            FileFormat::OggOpus => "ogg_opus",
            FileFormat::Wav => "wav",
        }
    }

    /// The format of this word.
    pub fn from_name(name: &str) -> Option<Self> {
        [FileFormat::OggOpus, FileFormat::Wav]
            .into_iter()
            .find(|format| format.name() == name)
    }

    /// How a file's name ends.
    pub const fn extension(self) -> &'static str {
        match self {
            FileFormat::OggOpus => "ogg",
            FileFormat::Wav => "wav",
        }
    }

    /// Its media type (RFC 7845 section 9, RFC 2361).
    pub const fn media_type(self) -> &'static str {
        match self {
            FileFormat::OggOpus => "audio/ogg; codecs=opus",
            FileFormat::Wav => "audio/wav",
        }
    }

    /// The rate that a file of this format has.
    pub const fn rate(self) -> SampleRate {
        match self {
            FileFormat::OggOpus => SampleRate::Full,
            FileFormat::Wav => SampleRate::Wide,
        }
    }
}

impl Channels {
    /// Its word in configuration, API and database.
    pub const fn name(self) -> &'static str {
        match self {
            Channels::Mono => "mono",
            Channels::Stereo => "stereo",
        }
    }

    /// The channels of this word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Channels::Mono, Channels::Stereo]
            .into_iter()
            .find(|channels| channels.name() == name)
    }

    /// How many.
    pub const fn count(self) -> usize {
        match self {
            Channels::Mono => 1,
            Channels::Stereo => 2,
        }
    }
}

/// A file that is being written.
pub enum SoundFile<W> {
    /// Ogg Opus.
    OggOpus(Box<ogg_opus::OggOpusWriter<W>>),
    /// WAV.
    Wav(wav::WavWriter<W>),
}

impl<W: Write + Seek> SoundFile<W> {
    /// Begins a file. `serial` tells one logical stream of Ogg from another
    /// and is of no meaning in WAV.
    ///
    /// # Errors
    /// The header cannot be written, or there is no encoder.
    pub fn create(
        format: FileFormat,
        channels: Channels,
        serial: u32,
        out: W,
    ) -> Result<Self, FileError> {
        Ok(match format {
            FileFormat::OggOpus => SoundFile::OggOpus(Box::new(ogg_opus::OggOpusWriter::create(
                channels, serial, out,
            )?)),
            FileFormat::Wav => {
                SoundFile::Wav(wav::WavWriter::create(channels, format.rate(), out)?)
            }
        })
    }

    /// Adds a frame of 20 ms at the format's rate, channels interleaved.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn frame(&mut self, samples: &[i16]) -> Result<(), FileError> {
        match self {
            SoundFile::OggOpus(file) => file.frame(samples),
            SoundFile::Wav(file) => {
                file.frame(samples);
                Ok(())
            }
        }
    }

    /// Brings what was added into the file, in a form that plays up to here.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> Result<(), FileError> {
        match self {
            SoundFile::OggOpus(file) => file.flush(),
            SoundFile::Wav(file) => file.flush(),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// It cannot be written; what was flushed before plays nevertheless.
    pub fn finish(self) -> Result<W, FileError> {
        match self {
            SoundFile::OggOpus(file) => file.finish(),
            SoundFile::Wav(file) => file.finish(),
        }
    }
}

/// What a repaired file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repaired {
    /// Its length in bytes; what is behind is to be cut off.
    pub length: u64,
    /// What it plays, in ms.
    pub duration_ms: u64,
}

/// Ends a file that its writer did not live to end.
///
/// # Errors
/// [`FileError::Empty`] where nothing of it can be saved, and what reading and
/// writing say.
pub fn repair(
    format: FileFormat,
    file: &mut (impl Read + Write + Seek),
) -> Result<Repaired, FileError> {
    match format {
        FileFormat::OggOpus => ogg_opus::repair(file),
        FileFormat::Wav => wav::repair(file),
    }
}

#[cfg(test)]
mod tests;
