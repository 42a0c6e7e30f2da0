//! Sound files broken at random, but the same each time.

use super::exercise::exercise;
use super::tools::{run, sine};

/// What any one mutation may do to a file.
fn mutate(file: &mut Vec<u8>, random: &mut impl FnMut(usize) -> usize, other: &[u8]) {
    const TELLING: &[u8] = b"\0\x01\x02\x7f\x80\xfe\xffOggSOpusHeadRIFFdatafmt \xfb";
    // Half of them in the headers, where the lengths are.
    let reach = match random(2) {
        0 => file.len().min(128),
        _ => file.len(),
    };
    let at = random(reach + 1);
    let end = (at + 1 + random(64)).min(file.len());
    match random(7) {
        0 if at < file.len() => file[at] = TELLING[random(TELLING.len())],
        1 => file.insert(at, TELLING[random(TELLING.len())]),
        2 => drop(file.drain(at..end)),
        3 => file.truncate(at),
        4 => {
            let piece = file[at..end].to_vec();
            file.splice(at..at, piece.repeat(1 + random(20)));
        }
        5 if at < file.len() => file[at] ^= 1 << random(8),
        _ => {
            let from = random(other.len());
            let to = (from + 1 + random(400)).min(other.len());
            file.splice(at..at, other[from..to].iter().copied());
        }
    }
}

#[test]
fn no_mutation_of_a_file_panics_or_takes_more_memory_than_the_limit_allows() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    sine(at, "plain.wav", 8000, 1, "0.05");
    sine(at, "stereo.wav", 44100, 2, "0.05");
    for command in [
        "sox plain.wav -e a-law alaw.wav",
        "sox plain.wav -e floating-point -b 32 float.wav",
        "sox stereo.wav -b 24 deep.wav",
        "lame --quiet stereo.wav stereo.mp3",
        "ffmpeg -loglevel error -i plain.wav -write_xing 0 -id3v2_version 3 -metadata title=x plain.mp3",
        "opusenc --quiet stereo.wav stereo.opus",
        "ffmpeg -loglevel error -i plain.wav -c:a libopus plain.opus",
        "ffmpeg -loglevel error -i stereo.wav -c:a libvorbis other.ogg",
    ] {
        run(at, command);
    }
    let mut paths: Vec<_> = std::fs::read_dir(at)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let seeds: Vec<_> = paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    assert_eq!(seeds.len(), 10);
    // splitmix64, so that a failure can be played again.
    let mut state = 0x5117_0e57_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % below.max(1)
    };
    for round in 0..ROUNDS {
        let mut file = seeds[round % seeds.len()].clone();
        for _ in 0..=random(4) {
            let other = random(seeds.len());
            mutate(&mut file, &mut random, &seeds[other]);
        }
        // The checksum of a page would catch all that is wrong in it.
        if file.starts_with(b"OggS") && random(4) != 0 {
            seal_pages(&mut file);
        }
        exercise(&file);
    }
}

const ROUNDS: usize = 1000;

/// Writes the right checksum in each page (RFC 3533 section 6).
fn seal_pages(file: &mut [u8]) {
    let mut at = 0;
    while let Some(page) = file.get_mut(at..) {
        if page.len() < 27 || !page.starts_with(b"OggS") {
            return;
        }
        let segments = usize::from(page[26]);
        let Some(lengths) = page.get(27..27 + segments) else {
            return;
        };
        let size = 27 + segments + lengths.iter().map(|&l| usize::from(l)).sum::<usize>();
        let Some(page) = page.get_mut(..size) else {
            return;
        };
        page[22..26].fill(0);
        let sum = page.iter().fold(0_u32, |sum, &byte| {
            (0..8).fold(sum ^ u32::from(byte) << 24, |sum, _| {
                sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
            })
        });
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        at += size;
    }
}
