//! Where in the file lies what was said when: both sides by one clock.

use super::*;

/// Samples a second of what is said and compared.
const RATE: usize = 8000;
const SECONDS: usize = 20;
/// What is looked for: 200 ms.
const PIECE: usize = RATE / 5;
/// How late a talker may begin on a machine that is busy, in samples: 400 ms. What
/// its jitter buffer does is not seen in the file.
const MOST: i64 = 3200;
/// A talker makes up what it sends in that moment, and what lies in the file is
/// taken to have been captured over the 20 ms before; clocks are read in whole
/// milliseconds.
const LEAST: i64 = -200;
/// Seconds from one look to the next.
const STEP: usize = 3;
/// What a clock may run fast or slow from look to look, in samples: 170 ppm.
const DRIFT: i64 = 4;

/// Noise that is nowhere like itself, as bright as a telephone is.
fn noise(mut seed: u32) -> Vec<i16> {
    let mut last = [0; 3];
    let next = |_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        last.rotate_left(1);
        last[2] = (seed >> 17) as i32 - 16_384;
        (last.iter().sum::<i32>() / 4) as i16
    };
    (0..SECONDS * RATE).map(next).collect()
}

/// At the rate of what is said.
fn halved(side: &[i16]) -> Vec<f64> {
    let mean = |pair: &[i16]| f64::from(pair[0]) + f64::from(pair[1]);
    side.chunks_exact(2).map(mean).collect()
}

/// Where in the file a piece lies best, and how like it that is: 1 is the same.
fn find(file: &[f64], piece: &[f64], from: i64, to: i64) -> (i64, f64) {
    let energy = |samples: &[f64]| samples.iter().map(|s| s * s).sum::<f64>();
    let own = energy(piece);
    let mut best = (0, 0.0);
    for at in from.max(0)..to {
        let Some(there) = file.get(at as usize..at as usize + piece.len()) else {
            break;
        };
        let product: f64 = there.iter().zip(piece).map(|(a, b)| a * b).sum();
        let alike = product / (own * energy(there)).sqrt().max(1.0);
        if alike > best.1 {
            best = (at, alike);
        }
    }
    best
}

#[test]
fn what_is_said_lies_where_it_was_said_throughout_the_file() {
    let said = [noise(1), noise(2)];
    let sounds = said.clone().map(Sound::Once);
    let scene = Scene::quiet(stereo_wav(), true, &sounds);
    scene.told("recording_started");
    let talked_ms = unix_ms();
    scene.talk();
    let finished = || (scene.bob.has_finished() && scene.alice.talker.has_finished()).then_some(());
    let patience = std::time::Duration::from_secs(2 * SECONDS as u64);
    crate::support::within(patience, finished).expect("all is said");
    let row = over(&scene.gateway, &scene.record("stop"));
    assert_eq!(row["gaps"], json!([]));
    let sides = channels(&fetch(&scene.gateway, &row));

    // Where the first sample would be if nothing took time.
    let ideal = ((talked_ms - number(&row["started_ms"])) * RATE as u64 / 1000) as i64;
    // Bob, whose call it is, is on the left.
    for (side, said) in sides.iter().zip([&said[1], &said[0]]) {
        let side = halved(side);
        let said: Vec<f64> = said.iter().map(|sample| f64::from(*sample)).collect();
        let mut delays = Vec::new();
        for second in (1..SECONDS - 1).step_by(STEP) {
            let at = (second * RATE) as i64;
            let piece = &said[second * RATE..][..PIECE];
            let (found, alike) = find(&side, piece, ideal + at + LEAST, ideal + at + MOST);
            assert!(alike > 0.4, "{alike} at second {second}, after {delays:?}");
            delays.push(found - at - ideal);
        }
        println!("delays in eighths of a ms: {delays:?}");
        // A busy machine may change its mind about the fastest packet once or
        // twice; a clock that is another changes the delay all the time.
        let mut changes: Vec<i64> = delays.windows(2).map(|two| two[1] - two[0]).collect();
        changes.sort_unstable();
        let median = changes[changes.len() / 2];
        assert!(median.abs() <= DRIFT, "{delays:?}");
    }
}
