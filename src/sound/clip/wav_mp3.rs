//! WAV and MP3, read by symphonia.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::codecs::registry::RegisterableAudioDecoder;
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSourceStream, ReadOnlySource};
use symphonia::default::codecs::{MpaDecoder, PcmDecoder};
use symphonia::default::formats::{MpaReader, WavReader};

use super::rates::Rates;
use super::{Clip, ClipError, ClipFormat, ClipLimits, ClipSource};

/// Decodes RIFF WAVE.
pub fn decode_wav(bytes: &[u8], limits: ClipLimits) -> Result<Clip, ClipError> {
    guarded(ClipFormat::Wav, || {
        let reader = WavReader::try_new(stream(bytes), FormatOptions::default())
            .map_err(|error| wrong(ClipFormat::Wav, error))?;
        decode::<PcmDecoder>(ClipFormat::Wav, reader, limits)
    })
}

/// Decodes MPEG audio, layer III. The silence that the encoder put before and
/// after is taken off where the file states it (LAME's tag).
pub fn decode_mp3(bytes: &[u8], limits: ClipLimits) -> Result<Clip, ClipError> {
    guarded(ClipFormat::Mp3, || {
        let frames = after_id3(bytes);
        let reader = MpaReader::try_new(stream(frames), FormatOptions::default())
            .map_err(|error| wrong(ClipFormat::Mp3, error))?;
        decode::<MpaDecoder>(ClipFormat::Mp3, reader, limits)
    })
}

/// The library is written in safe Rust, yet for files of any make; a slip in
/// it (an index, an overflow) is the file's problem and not the gateway's.
fn guarded(
    format: ClipFormat,
    decode: impl FnOnce() -> Result<Clip, ClipError>,
) -> Result<Clip, ClipError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        Err(ClipError::Damaged {
            format,
            reason: "it cannot be decoded".to_owned(),
        })
    })
}

/// Not seekable: else the length of an MP3 without a tag is guessed from its
/// first frames, and what is beyond the guess is cut off.
fn stream(bytes: &[u8]) -> MediaSourceStream<'_> {
    let source = ReadOnlySource::new(Cursor::new(bytes));
    MediaSourceStream::new(Box::new(source), Default::default())
}

fn decode<D: RegisterableAudioDecoder>(
    format: ClipFormat,
    mut reader: impl FormatReader,
    limits: ClipLimits,
) -> Result<Clip, ClipError> {
    let damaged = |reason: &str| ClipError::Damaged {
        format,
        reason: reason.to_owned(),
    };
    let parameters = reader
        .tracks()
        .first()
        .and_then(|track| track.codec_params.as_ref()?.audio())
        .ok_or_else(|| damaged("it has no audio track"))?;
    if !D::supported_codecs()
        .iter()
        .any(|codec| codec.id == parameters.codec)
    {
        return Err(ClipError::Unsupported(format!(
            "this kind of {} file is not read: convert it to 16 bit PCM",
            format.as_str()
        )));
    }
    let sample_rate = parameters
        .sample_rate
        .ok_or_else(|| damaged("it states no sampling rate"))?;
    let channels = parameters.channels.as_ref().map_or(0, |c| c.count());
    let channels = match channels {
        1 => 1,
        2 => 2,
        other => {
            return Err(ClipError::Unsupported(format!(
                "a file of {other} channels is not read: mix it down to one or two"
            )));
        }
    };
    let options = AudioDecoderOptions::default();
    let mut decoder =
        D::try_registry_new(parameters, &options).map_err(|error| wrong(format, error))?;
    let source = ClipSource {
        format,
        sample_rate,
        channels,
    };
    let mut rates = Rates::new(source, limits)?;
    let mut samples: Vec<f32> = Vec::new();
    loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // A file that ends too early plays as far as it goes.
            Err(Error::IoError(_)) => break,
            Err(error) => return Err(wrong(format, error)),
        };
        let decoded = match decoder.decode(&packet) {
            Ok(decoded) => decoded,
            // One frame that is broken, or whose beginning was cut off.
            Err(Error::DecodeError(_) | Error::IoError(_)) => continue,
            Err(error) => return Err(wrong(format, error)),
        };
        let spec = decoded.spec();
        if spec.rate() != sample_rate || spec.channels().count() != usize::from(channels) {
            return Err(damaged("its sampling rate or channels change on the way"));
        }
        decoded.copy_to_vec_interleaved(&mut samples);
        rates.take(&samples)?;
    }
    rates.finish()
}

fn wrong(format: ClipFormat, error: Error) -> ClipError {
    let reason = match error {
        Error::IoError(_) => "it ends in the middle of its header".to_owned(),
        Error::Unsupported(what) => {
            return ClipError::Unsupported(format!(
                "this kind of {} file is not read ({what}): convert it to 16 bit PCM",
                format.as_str()
            ));
        }
        Error::DecodeError(what) => what.to_owned(),
        other => other.to_string(),
    };
    ClipError::Damaged { format, reason }
}

/// What follows the tags at the start (ID3v2.4 section 3.1): pictures and
/// titles are not looked at.
fn after_id3(mut bytes: &[u8]) -> &[u8] {
    const HEADER: usize = 10;
    const FOOTER_PRESENT: u8 = 0x10;
    while let [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] = *bytes {
        // Four times seven bits.
        let size = [a, b, c, d]
            .iter()
            .fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
        let footer = if flags & FOOTER_PRESENT != 0 {
            HEADER
        } else {
            0
        };
        bytes = bytes.get(HEADER + size + footer..).unwrap_or_default();
    }
    bytes
}
