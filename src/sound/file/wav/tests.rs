//! Files of more than 4 GiB, which are mostly holes: nothing of them is on the
//! disk but their ends.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use super::*;

const FOUR_GIB: u64 = 1 << 32;
/// Stereo at 16 kHz.
const BYTES_PER_SECOND: u64 = 64_000;

fn frame(level: i16) -> Vec<i16> {
    vec![level; 2 * SampleRate::Wide.frame_samples()]
}

/// A writer that has written silence up to so many bytes.
fn writer(path: &Path, written: u64) -> WavWriter<File> {
    let file = File::create_new(path).unwrap();
    let mut writer = WavWriter::create(Channels::Stereo, SampleRate::Wide, file).unwrap();
    writer.out.set_len(HEADER as u64 + written).unwrap();
    writer.written = written;
    writer
}

fn head(path: &Path) -> [u8; HEADER] {
    let mut head = [0; HEADER];
    File::open(path).unwrap().read_exact(&mut head).unwrap();
    head
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |all, b| all << 8 | u64::from(*b))
}

/// What ffprobe says of a file, in s, and what ffmpeg hears in its last 20 ms.
fn played(path: &Path) -> (f64, Vec<i16>) {
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-v", "error"]).args(arguments);
        let output = command.output();
        let output = output.expect("ffmpeg is installed by scripts/install-dependencies test");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.is_empty(), "{told}");
        output.stdout
    };
    let path = path.to_str().unwrap();
    let entry = ["-show_entries", "format=duration", "-of", "csv=p=0", path];
    let duration = String::from_utf8(run("ffprobe", &entry)).unwrap();
    let duration: f64 = duration.trim().parse().unwrap();
    let from = (duration - 0.02).to_string();
    let heard = run("ffmpeg", &["-ss", &from, "-i", path, "-f", "s16le", "-"]);
    let samples = heard.chunks_exact(2);
    let samples = samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    (duration, samples.collect())
}

#[test]
fn a_file_that_grows_beyond_4_gib_becomes_rf64_and_plays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("long.wav");
    let frame_bytes = BYTES_PER_SECOND / 50;
    // The last frame that RIFF has room for, and one more.
    let fits = (FOUR_GIB - 1 - HEADER as u64 + 8) / frame_bytes * frame_bytes;
    let mut writer = writer(&path, fits - frame_bytes);
    writer.frame(&frame(100));
    writer.flush().unwrap();
    let before = head(&path);
    assert_eq!(
        (&before[..4], &before[12..16]),
        (&b"RIFF"[..], &b"JUNK"[..])
    );
    assert_eq!(number(&before[4..8]), fits + HEADER as u64 - 8);
    assert_eq!(number(&before[76..80]), fits);
    writer.frame(&frame(200));
    writer.finish().unwrap();
    let after = head(&path);
    assert_eq!((&after[..4], &after[12..16]), (&b"RF64"[..], &b"ds64"[..]));
    let data = fits + frame_bytes;
    assert_eq!(number(&after[4..8]), u64::from(u32::MAX));
    assert_eq!(number(&after[76..80]), u64::from(u32::MAX));
    assert_eq!(number(&after[20..28]), data + HEADER as u64 - 8);
    assert_eq!(number(&after[28..36]), data);
    assert_eq!(number(&after[36..44]), data / 4);
    assert_eq!(number(&after[44..48]), 0);

    let (duration, heard) = played(&path);
    assert_eq!(duration, data as f64 / BYTES_PER_SECOND as f64);
    assert_eq!(heard, frame(200));
}

#[test]
fn a_killed_process_s_file_of_more_than_4_gib_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let frame_bytes = BYTES_PER_SECOND / 50;
    // The header knows of none of the last frames: it is still RIFF, or already
    // RF64. Half a sample was written behind them.
    for (name, flushed) in [("riff.wav", FOUR_GIB - 64_000), ("rf64.wav", FOUR_GIB)] {
        let path = directory.path().join(name);
        let mut writer = writer(&path, flushed);
        writer.frame(&frame(0));
        writer.flush().unwrap();
        let mut file = writer.out;
        let end = file.seek(SeekFrom::End(0)).unwrap();
        for _ in 0..60 {
            let pcm = frame(300).into_iter().flat_map(i16::to_le_bytes);
            file.write_all(&pcm.collect::<Vec<u8>>()).unwrap();
        }
        file.write_all(&[9, 9]).unwrap();
        drop(file);
        let mut file = File::options().read(true).write(true).open(&path).unwrap();
        let repaired = repair(&mut file).unwrap();
        let length = end + 60 * frame_bytes;
        assert_eq!(repaired.length, length, "{name}");
        let data = length - HEADER as u64;
        assert_eq!(repaired.duration_ms, data * 1000 / BYTES_PER_SECOND);
        file.set_len(repaired.length).unwrap();
        assert_eq!(repair(&mut file).unwrap(), repaired, "twice is once");
        assert_eq!(&head(&path)[..4], b"RF64", "{name}");
        let (duration, heard) = played(&path);
        assert_eq!(duration, data as f64 / BYTES_PER_SECOND as f64);
        assert_eq!(heard, frame(300), "{name}");
    }
}

#[test]
fn a_file_with_the_header_of_earlier_versions_is_repaired() {
    let mut short = Vec::new();
    short.extend(b"RIFF\0\0\0\0WAVE");
    short.extend(&header(Channels::Stereo, SampleRate::Wide)[48..80]);
    short.extend([7; 1_003]);
    let mut file = std::io::Cursor::new(short);
    let repaired = repair(&mut file).unwrap();
    assert_eq!((repaired.length, repaired.duration_ms), (1_044, 15));
    let bytes = file.into_inner();
    assert_eq!(number(&bytes[4..8]), 1_036);
    assert_eq!(number(&bytes[40..44]), 1_000);
}
