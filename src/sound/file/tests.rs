//! Files are read back by ffmpeg, and compared with what was written.

use std::io::{Cursor, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// Frame `number` of this file: on the left a tone that rises from 300 Hz to
/// 2.7 kHz within 4 s, on the right, where there is one, one that falls.
fn frame(format: FileFormat, channels: Channels, number: usize) -> Vec<i16> {
    let rate = format.rate();
    let first = number * rate.frame_samples();
    let tone = |n: usize, from: f64, change: f64| {
        let second = (n as f64 / f64::from(rate.hertz())) % 4.0;
        let turns = from * second + change * second * second;
        (12_000.0 * (std::f64::consts::TAU * turns).sin()).round() as i16
    };
    (first..first + rate.frame_samples())
        .flat_map(|n| [tone(n, 300.0, 300.0), tone(n, 2700.0, -300.0)])
        .enumerate()
        .filter(|(at, _)| at % 2 < channels.count())
        .map(|(_, sample)| sample)
        .collect()
}

fn written(format: FileFormat, channels: Channels, frames: usize) -> Vec<i16> {
    (0..frames)
        .flat_map(|number| frame(format, channels, number))
        .collect()
}

/// A file of this many frames, flushed every second; not ended if `ends` is false.
fn file(format: FileFormat, channels: Channels, frames: usize, ends: bool) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let mut file = SoundFile::create(format, channels, 7, &mut out).unwrap();
    for number in 0..frames {
        file.frame(&frame(format, channels, number)).unwrap();
        if number % 50 == 49 {
            file.flush().unwrap();
        }
    }
    if ends {
        file.finish().unwrap();
    }
    out.into_inner()
}

/// What ffmpeg hears in a file, at the format's rate; whatever it complains
/// about is an error if `strict`.
fn heard(bytes: &[u8], format: FileFormat, channels: Channels, strict: bool) -> Vec<i16> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(format!("a.{}", format.extension()));
    std::fs::write(&path, bytes).unwrap();
    heard_in(&path, format, channels, strict)
}

fn heard_in(path: &Path, format: FileFormat, channels: Channels, strict: bool) -> Vec<i16> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error"]);
    if strict {
        ffmpeg.args(["-xerror", "-err_detect", "explode"]);
    }
    let output = ffmpeg
        .arg("-i")
        .arg(path)
        .args(["-f", "s16le", "-ac", &channels.count().to_string()])
        .args(["-ar", &format.rate().hertz().to_string(), "-"])
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg is installed by scripts/install-dependencies test");
    let told = String::from_utf8_lossy(&output.stderr);
    if strict {
        assert!(output.status.success() && told.is_empty(), "{told}");
    }
    let samples = output.stdout.chunks_exact(2);
    samples
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

/// Samples by which what was heard is late, and how much alike the two are
/// then, at most 1. The first 100 ms do not count: codecs have to settle.
fn lateness(format: FileFormat, channels: Channels, expected: &[i16], got: &[i16]) -> (i64, f64) {
    let side = |samples: &[i16]| -> Vec<f64> {
        let left = samples.iter().step_by(channels.count());
        left.map(|sample| f64::from(*sample)).collect()
    };
    let (expected, got) = (side(expected), side(got));
    let skipped = format.rate().frame_samples() as i64 * 5;
    let reach = format.rate().hertz() as i64 / 500;
    let end = (expected.len().min(got.len()) as i64 - reach).min(skipped + 12_000);
    let alike = |late: i64| {
        let pairs = (skipped..end).map(|at| (expected[at as usize], got[(at + late) as usize]));
        let (mut product, mut first, mut second) = (0.0, 0.0, 0.0);
        for (a, b) in pairs {
            product += a * b;
            first += a * a;
            second += b * b;
        }
        product / (first * second).sqrt().max(1.0)
    };
    (-reach..=reach)
        .map(|late| (late, alike(late)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .unwrap()
}

/// At the same place, within half a millisecond.
fn assert_in_place(format: FileFormat, channels: Channels, expected: &[i16], got: &[i16]) {
    let (late, alike) = lateness(format, channels, expected, got);
    let bound = i64::from(format.rate().hertz()) / 2000;
    assert!(
        late.abs() <= bound && alike > 0.95,
        "{format:?} {channels:?}: {late} samples late, {alike}"
    );
}

const BOTH: [Channels; 2] = [Channels::Mono, Channels::Stereo];

#[test]
fn a_wav_file_holds_every_sample_that_was_written() {
    for channels in BOTH {
        let bytes = file(FileFormat::Wav, channels, 125, true);
        let heard = heard(&bytes, FileFormat::Wav, channels, true);
        assert!(
            heard == written(FileFormat::Wav, channels, 125),
            "{channels:?}"
        );
    }
}

#[test]
fn an_ogg_opus_file_plays_as_long_as_what_was_written_and_at_the_same_places() {
    for channels in BOTH {
        let format = FileFormat::OggOpus;
        let bytes = file(format, channels, 125, true);
        let heard = heard(&bytes, format, channels, true);
        let written = written(format, channels, 125);
        assert_eq!(heard.len(), written.len(), "{channels:?}");
        assert_in_place(format, channels, &written, &heard);
        let last = written.len() - format.rate().hertz() as usize * channels.count();
        assert_in_place(format, channels, &written[last..], &heard[last..]);
    }
}

#[test]
fn each_side_of_a_stereo_file_is_a_channel_of_its_own() {
    for format in [FileFormat::OggOpus, FileFormat::Wav] {
        let mut out = Cursor::new(Vec::new());
        let mut file = SoundFile::create(format, Channels::Stereo, 7, &mut out).unwrap();
        for number in 0..100 {
            // Only the left side speaks.
            let mut frame = frame(format, Channels::Stereo, number);
            frame
                .iter_mut()
                .skip(1)
                .step_by(2)
                .for_each(|sample| *sample = 0);
            file.frame(&frame).unwrap();
        }
        file.finish().unwrap();
        let heard = heard(out.get_ref(), format, Channels::Stereo, true);
        let settled = heard.len() / 10;
        let energy = |side: usize| {
            let side = heard[settled * 2..].iter().skip(side).step_by(2);
            side.map(|sample| f64::from(*sample).powi(2)).sum::<f64>()
        };
        let crosstalk = 10.0 * (energy(0) / energy(1).max(1.0)).log10();
        assert!(crosstalk > 30.0, "{format:?}: {crosstalk} dB");
    }
}

#[test]
fn a_file_that_was_cut_anywhere_plays_up_to_there_and_is_repaired() {
    for format in [FileFormat::OggOpus, FileFormat::Wav] {
        let whole = file(format, Channels::Mono, 150, false);
        let expected = written(format, Channels::Mono, 150);
        let second = format.rate().hertz() as usize;
        // Every length of the first bytes, then a spread over all of it.
        for cut in (0..200).chain((200..whole.len()).step_by(whole.len() / 11)) {
            let mut cursor = Cursor::new(whole[..cut].to_vec());
            let repaired = match repair(format, &mut cursor) {
                Ok(repaired) => repaired,
                Err(FileError::Empty) => {
                    // Of WAV a header is missing, of Ogg the first second's page.
                    let least = match format {
                        FileFormat::Wav => 80,
                        FileFormat::OggOpus => whole.len() / 2,
                    };
                    assert!(cut < least, "{format:?} cut at {cut} is not empty");
                    continue;
                }
                Err(problem) => panic!("{format:?} cut at {cut}: {problem}"),
            };
            let mut bytes = cursor.into_inner();
            bytes.truncate(repaired.length as usize);
            let samples = (repaired.duration_ms as usize * second).div_ceil(1000);
            if samples < second / 4 {
                continue;
            }
            let heard = heard(&bytes, format, Channels::Mono, true);
            let drift = heard.len().abs_diff(samples);
            assert!(drift <= second / 500, "{format:?} cut at {cut}: {drift}");
            assert_in_place(format, Channels::Mono, &expected, &heard);
            // Repairing twice is repairing once.
            let mut again = Cursor::new(bytes.clone());
            assert_eq!(repair(format, &mut again).unwrap(), repaired);
            assert!(again.into_inner() == bytes);
        }
    }
}

#[test]
fn what_a_killed_process_has_flushed_plays_as_it_lies_there() {
    for format in [FileFormat::OggOpus, FileFormat::Wav] {
        // Two seconds are flushed, 30 frames are not.
        let bytes = file(format, Channels::Mono, 130, false);
        let heard = heard(&bytes, format, Channels::Mono, true);
        let flushed = 100 * format.rate().frame_samples();
        // The encoder of Opus holds back what it looks ahead.
        assert!(
            flushed - heard.len() <= flushed / 200,
            "{format:?}: {}",
            heard.len()
        );
        let expected = written(format, Channels::Mono, 100);
        assert_in_place(format, Channels::Mono, &expected, &heard);
    }
}

#[test]
fn a_file_without_a_frame_is_a_file_of_no_length() {
    for format in [FileFormat::OggOpus, FileFormat::Wav] {
        let bytes = file(format, Channels::Mono, 0, true);
        let mut cursor = Cursor::new(bytes);
        let repaired = repair(format, &mut cursor).unwrap();
        assert_eq!(repaired.duration_ms, 0, "{format:?}");
    }
}

#[test]
fn what_is_no_recording_is_not_repaired() {
    for format in [FileFormat::OggOpus, FileFormat::Wav] {
        for bytes in [Vec::new(), vec![0; 4096], b"OggS\0\x02".to_vec()] {
            let mut cursor = Cursor::new(bytes.clone());
            cursor.flush().unwrap();
            let result = repair(format, &mut cursor);
            assert!(matches!(result, Err(FileError::Empty)), "{format:?}");
            assert_eq!(cursor.into_inner(), bytes, "{format:?}");
        }
    }
}
