//! Frames by index, written as WAV so that every sample can be compared.

use std::io::Cursor;

use super::*;

/// Bytes of a WAV file before its sound.
const HEADER: usize = 80;
const RATE: SampleRate = SampleRate::Wide;

fn track(channels: Channels) -> Track<Cursor<Vec<u8>>> {
    Track::new(FileFormat::Wav, channels, 1, Cursor::new(Vec::new())).unwrap()
}

fn mono(index: u64, rate: SampleRate, level: i16) -> Frame {
    Frame {
        index,
        rate,
        samples: vec![level; rate.frame_samples()],
        left: rate.frame_samples(),
    }
}

/// The level in the middle of every frame of the file, of all its channels.
fn levels(track: Track<Cursor<Vec<u8>>>) -> Vec<Vec<i16>> {
    let channels = track.channels.count();
    let bytes = track.finish().unwrap().into_inner();
    let samples: Vec<i16> = bytes[HEADER..]
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    let frame = RATE.frame_samples() * channels;
    assert_eq!(samples.len() % frame, 0);
    samples
        .chunks(frame)
        .map(|frame| frame[frame.len() / 2..][..channels].to_vec())
        .collect()
}

fn flat(levels: Vec<Vec<i16>>) -> Vec<i16> {
    levels.into_iter().flatten().collect()
}

#[test]
fn every_frame_stands_where_its_index_says_and_between_them_is_silence() {
    let mut track = track(Channels::Mono);
    for index in [1, 2, 5] {
        track.frame(&mono(index, RATE, index as i16 * 100)).unwrap();
    }
    track.stop(Some(8)).unwrap();
    assert_eq!(track.duration_ms(), 160);
    // Nothing was lost: nobody spoke.
    assert!(track.gaps().is_empty());
    assert_eq!(flat(levels(track)), [0, 100, 200, 0, 0, 500, 0, 0]);
}

#[test]
fn a_frame_that_comes_late_or_again_moves_nothing() {
    let mut track = track(Channels::Mono);
    for (index, level) in [(0, 1), (2, 3), (2, 9), (1, 9), (3, 4)] {
        track.frame(&mono(index, RATE, level)).unwrap();
    }
    track.stop(None).unwrap();
    assert_eq!(flat(levels(track)), [1, 0, 3, 4]);
}

#[test]
fn lost_frames_are_silence_and_a_gap_that_says_where() {
    let mut track = track(Channels::Mono);
    track.frame(&mono(0, RATE, 7)).unwrap();
    track.lost(Lost { from: 1, until: 4 }).unwrap();
    track.frame(&mono(4, RATE, 7)).unwrap();
    track.lost(Lost { from: 6, until: 7 }).unwrap();
    track.stop(Some(7)).unwrap();
    let span = |at_ms, duration_ms| Span { at_ms, duration_ms };
    assert_eq!(track.gaps(), [span(20, 60), span(120, 20)]);
    assert!(track.spans_changed());
    assert!(!track.spans_changed());
    assert_eq!(flat(levels(track)), [7, 0, 0, 0, 7, 0, 0]);
}

#[test]
fn a_pause_is_left_out_and_noted() {
    let mut track = track(Channels::Mono);
    track.frame(&mono(0, RATE, 1)).unwrap();
    track.pause(2).unwrap();
    track.frame(&mono(3, RATE, 9)).unwrap();
    track.lost(Lost { from: 4, until: 6 }).unwrap();
    track.resume(10).unwrap();
    track.frame(&mono(10, RATE, 2)).unwrap();
    track.pause(11).unwrap();
    track.stop(Some(20)).unwrap();
    let span = |at_ms, duration_ms| Span { at_ms, duration_ms };
    assert_eq!(track.pauses(), [span(40, 160), span(60, 180)]);
    assert!(track.gaps().is_empty());
    assert_eq!(flat(levels(track)), [1, 0, 2]);
}

#[test]
fn a_mono_file_is_the_sum_of_both_sides_and_a_stereo_file_has_each() {
    let sides = |left: i16, right: i16| {
        let mut samples = vec![left; RATE.frame_samples()];
        samples.extend(vec![right; RATE.frame_samples()]);
        Frame {
            index: 0,
            rate: RATE,
            samples,
            left: RATE.frame_samples(),
        }
    };
    let mut one = track(Channels::Mono);
    one.frame(&sides(100, -30)).unwrap();
    assert_eq!(levels(one), [[70]]);
    let mut loud = track(Channels::Mono);
    loud.frame(&sides(30_000, 30_000)).unwrap();
    assert_eq!(levels(loud), [[i16::MAX]]);
    let mut both = track(Channels::Stereo);
    both.frame(&sides(100, -30)).unwrap();
    both.frame(&mono(1, RATE, 5)).unwrap();
    assert_eq!(levels(both), [[100, -30], [5, 0]]);
}

#[test]
fn a_rate_that_changes_in_the_middle_changes_neither_place_nor_level() {
    let mut track = track(Channels::Mono);
    let rates = [SampleRate::Narrow, SampleRate::Full, SampleRate::Wide];
    for index in 0..30 {
        let rate = rates[index as usize / 10];
        track.frame(&mono(index, rate, 1_000)).unwrap();
    }
    let levels = flat(levels(track));
    assert_eq!(levels.len(), 30);
    for (index, level) in levels.into_iter().enumerate() {
        assert!((950..=1_050).contains(&level), "{index}: {level}");
    }
}

#[test]
fn a_frame_of_the_wrong_length_moves_nothing() {
    let mut track = track(Channels::Mono);
    for (index, length) in [(0, 10), (1, 1_000), (2, 0)] {
        let frame = Frame {
            index,
            rate: RATE,
            samples: vec![3; length],
            left: length,
        };
        track.frame(&frame).unwrap();
    }
    assert_eq!(flat(levels(track)), [0, 3, 0]);
}

/// A sender's clock is 200 ppm fast (or slow), and the shard counts by its own:
/// once in 5,000 frames an index comes twice (or is left out).
fn assert_length_with_drift(parts_per_million: i64, frames: u64) {
    let mut track = track(Channels::Mono);
    let index_of = |n: u64| n * (1_000_000 + parts_per_million).unsigned_abs() / 1_000_000;
    let mut last = 0;
    for n in (0..).take_while(|n| index_of(*n) < frames) {
        last = index_of(n);
        track.frame(&mono(last, RATE, 500)).unwrap();
        assert_eq!(track.written, last + 1);
    }
    assert!(last >= frames - 2);
    track.stop(Some(frames)).unwrap();
    assert_eq!(track.duration_ms(), frames * 20);
    let bytes = track.finish().unwrap().into_inner();
    assert_eq!(bytes.len() as u64, HEADER as u64 + frames * 20 * 32);
}

#[test]
fn an_hour_with_drift_is_as_long_as_the_shards_clock_says() {
    assert_length_with_drift(200, 180_000);
}

#[test]
fn a_slow_senders_frames_are_as_long_as_the_shards_clock_says() {
    assert_length_with_drift(-200, 20_000);
}

#[test]
fn thousands_of_gaps_take_no_more_room_than_a_thousand() {
    let mut track = track(Channels::Mono);
    for n in 0..1_500 {
        let from = n * 2;
        track
            .lost(Lost {
                from,
                until: from + 1,
            })
            .unwrap();
        track.frame(&mono(from + 1, RATE, 1)).unwrap();
    }
    assert_eq!(track.gaps().len(), MAX_SPANS);
    let total: u64 = track.gaps().iter().map(|gap| gap.duration_ms).sum();
    assert_eq!(total, 1_500 * 20);
}
