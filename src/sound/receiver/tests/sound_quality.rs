//! What is heard: tones stay tones, nothing clicks, and the delay that is
//! stated is the one that a listener would measure.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::simulation::{Talker, play, send};
use super::*;

/// Loudest sample of the test tones.
const LOUD: f64 = 12_000.0;

/// A sine that repeats after 100 ms.
fn tone(hertz: f64) -> Talker {
    Talker::of(AudioCodec::Pcmu, 5, |index| {
        LOUD * (std::f64::consts::TAU * hertz * index as f64 / 8000.0).sin()
    })
}

/// Signal to noise, in dB, of each 100 ms against the sine that fits best.
fn purity(samples: &[i16], hertz: f64) -> Vec<f64> {
    samples
        .chunks_exact(800)
        .map(|window| {
            let (mut sine, mut cosine, mut all) = (0.0, 0.0, 0.0);
            for (index, &sample) in window.iter().enumerate() {
                let phase = std::f64::consts::TAU * hertz * index as f64 / 8000.0;
                sine += f64::from(sample) * phase.sin();
                cosine += f64::from(sample) * phase.cos();
                all += f64::from(sample).powi(2);
            }
            let tone = (sine * sine + cosine * cosine) * 2.0 / window.len() as f64;
            10.0 * (tone / (all - tone).max(1.0)).log10()
        })
        .collect()
}

fn largest_step(samples: &[i16]) -> f64 {
    let steps = samples
        .windows(2)
        .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs());
    f64::from(steps.max().unwrap_or(0))
}

#[test]
fn a_tone_of_a_drifting_sender_stays_a_tone() {
    for drift in [-1000, 1000] {
        for hertz in [300.0, 440.0, 1000.0, 1230.0, 3000.0] {
            let mut heard = Vec::new();
            let packets = send(3000, drift, |_| vec![0]);
            let outcome = play(&mut narrow(), &tone(hertz), &packets, 2950, |_, frame| {
                heard.extend_from_slice(frame);
            });
            let statistics = outcome.statistics;
            // 1000 ppm of a minute are 60 ms.
            let changes = statistics.accelerations + statistics.expansions;
            assert!(changes >= 4, "{hertz} Hz, {drift} ppm: {statistics:?}");
            assert_eq!(statistics.concealed, Duration::ZERO);

            let heard = &heard[8000..];
            let purity = purity(heard, hertz);
            let lowest = purity.iter().copied().fold(f64::MAX, f64::min);
            assert!(lowest > 25.0, "{hertz} Hz, {drift} ppm: {lowest:.1} dB");
            let natural = 2.0 * LOUD * (std::f64::consts::PI * hertz / 8000.0).sin();
            let step = largest_step(heard);
            assert!(
                step < natural * 1.02,
                "{hertz} Hz, {drift} ppm: a step of {step}, naturally {natural:.0}"
            );
        }
    }
}

#[test]
fn losses_pauses_and_new_streams_do_not_click() {
    let mut random = SmallRng::seed_from_u64(9);
    let mut packets = send(3000, 0, |index| match index {
        _ if random.random_bool(0.05) => vec![],
        500..600 | 1000..1010 => vec![],
        _ => vec![0],
    });
    for sent in &mut packets[1500..] {
        sent.ssrc = 2;
        sent.timestamp = sent.timestamp.wrapping_add(12345);
    }
    for sent in &mut packets[2000..] {
        sent.timestamp = sent.timestamp.wrapping_sub(1_000_000);
    }
    let mut heard = Vec::new();
    let hertz = 440.0;
    let outcome = play(&mut narrow(), &tone(hertz), &packets, 3000, |_, frame| {
        heard.extend_from_slice(frame);
    });
    assert_eq!(outcome.statistics.restarts, 2);
    let natural = 2.0 * LOUD * (std::f64::consts::PI * hertz / 8000.0).sin();
    let step = largest_step(&heard);
    assert!(
        step < natural * 1.06,
        "a step of {step}, naturally {natural:.0}"
    );
}

/// Pulses whose way is measured from the packet's sending to the sample.
#[test]
fn the_stated_delay_is_the_one_that_is_heard() {
    let talker = Talker::of(AudioCodec::Pcmu, 50, |index| {
        if index == 0 { 20_000.0 } else { 0.0 }
    });
    for jitter in [1, 40_000] {
        let mut random = SmallRng::seed_from_u64(10);
        let packets = send(2000, 0, |_| vec![random.random_range(0..jitter)]);
        let mut measured = Vec::new();
        let mut frames = 0;
        let outcome = play(&mut narrow(), &talker, &packets, 2000, |_, frame| {
            if let Some(index) = frame.iter().position(|&sample| sample > 10_000) {
                // Frames are asked for 7 ms after a packet is sent, pulses are
                // sent every second.
                let heard = frames as f64 * 20.0 + 7.0 + index as f64 / 8.0;
                measured.push(heard % 1000.0);
            }
            frames += 1;
        });
        // The first one's onset is softened, since it follows nothing.
        assert_eq!(measured.len(), 39);
        let mean = measured.iter().sum::<f64>() / measured.len() as f64;
        assert!(
            (mean - outcome.mean_delay).abs() < 2.0,
            "{mean} ms heard, {} ms stated",
            outcome.mean_delay
        );
    }
}
