//! A short, always equal run of what the fuzz target does.

use ringwire::sound::dtmf::tones::ToneGenerator;
use ringwire::sound::dtmf::{Digit, KeyTiming};
use ringwire::sound::format::SampleRate;

use super::exercise;

#[test]
fn no_mutation_of_a_key_panics_or_is_reported_out_of_turn() {
    let seeds = seeds();
    // splitmix64, so that a failure can be played again.
    let mut state = 0x1ce_d715_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % below.max(1)
    };
    for round in 0..3_000 {
        let mut octets = seeds[round % seeds.len()].clone();
        for _ in 0..random(5) {
            let at = random(octets.len());
            match random(4) {
                0 => octets.truncate(at),
                1 => octets.insert(at, random(256) as u8),
                2 if at < octets.len() => octets[at] ^= 1 << random(8),
                _ => octets.extend_from_within(at..),
            }
            octets.truncate(4000);
        }
        exercise::exercise(&octets);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut tone = vec![0; 4 * SampleRate::Narrow.frame_samples()];
    let mut generator = ToneGenerator::new(SampleRate::Narrow);
    let queued = generator.queue(Digit::Star, KeyTiming::default());
    assert_eq!(queued, Ok(()));
    assert!(generator.frame(&mut tone));
    let mut events = Vec::new();
    for (timestamp, code, flags, duration) in [
        (0u32, 5u8, 10u8, 160u16),
        (0, 5, 10, 0xffff),
        (0xffff, 5, 10, 320),
        (0xffff, 5, 0x8a, 480),
        (0xffff, 5, 0x8a, 480),
        (200_000, 11, 0x8a, 800),
    ] {
        events.extend(timestamp.to_be_bytes());
        events.extend([20, u8::from(timestamp == 0), 4, code, flags]);
        events.extend(duration.to_be_bytes());
    }
    vec![
        b"Signal=5\r\nDuration=160\r\n".to_vec(),
        b"signal = 11\nduration = 99999999999999999999\n".to_vec(),
        b"#".to_vec(),
        events,
        tone.iter()
            .flat_map(|sample: &i16| sample.to_be_bytes())
            .collect(),
    ]
}
