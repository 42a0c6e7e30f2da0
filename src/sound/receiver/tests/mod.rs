//! Streams through networks of every kind, in simulated time.

mod pauses;
mod simulation;
mod sound_quality;
mod streams;

use self::simulation::{listen, patterns, send};
use super::*;
use crate::sound;

fn narrow() -> Receiver {
    Receiver::new(SampleRate::Narrow, ReceiverSettings::default())
}

/// Of each pattern: highest mean delay and highest delay in ms, highest
/// concealed share in percent.
const BOUNDS: &[(&str, f64, f64, f64)] = &[
    ("even", 12.0, 27.0, 0.0),
    ("uniform jitter 0–40 ms", 47.0, 47.0, 0.0),
    ("Pareto delays, scale 2 ms, shape 1.5", 113.0, 395.0, 2.6),
    ("a stall of 300 ms every 10 s", 100.0, 307.0, 3.0),
    ("5 % random loss", 12.0, 27.0, 5.14),
    ("Gilbert–Elliott loss, 5 % in bursts of 4", 10.2, 27.0, 4.94),
    ("every 10th packet 30 ms late (reordered)", 51.0, 59.0, 0.02),
    ("every 5th packet twice", 12.0, 27.0, 0.0),
    ("jitter 0–40 ms and 5 % loss", 47.0, 47.0, 4.96),
    ("sender 200 ppm slow, 1 h", 19.6, 31.5, 0.0),
    ("sender 200 ppm fast, 1 h", 23.2, 35.3, 0.0),
    ("sender 1000 ppm slow", 22.0, 34.0, 0.0),
    ("sender 1000 ppm fast", 24.0, 35.5, 0.0),
    ("pauses: 1 s of speech, 1 s nothing", 11.1, 27.0, 0.0),
];

#[test]
fn every_network_costs_no_more_delay_and_concealment_than_was_measured() {
    let mut wrong = Vec::new();
    for pattern in patterns() {
        let outcome = listen(&pattern.packets);
        let found = (
            outcome.mean_delay,
            outcome.highest_delay,
            outcome.concealed_percent(),
        );
        let bounds = BOUNDS.iter().find(|(name, ..)| *name == pattern.name);
        let holds = bounds.is_some_and(|&(_, mean, highest, concealed)| {
            found.0 <= mean && found.1 <= highest && found.2 <= concealed
        });
        if !holds {
            wrong.push(format!("{}: {found:?}", pattern.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn packets_that_come_evenly_are_played_at_once() {
    let outcome = listen(&send(1000, 0, |_| vec![0]));
    // Each is there 7 ms before a frame is asked for; 4 ms are what whole pitch
    // periods left of the delay at the beginning.
    assert_eq!(outcome.statistics.current_delay, Duration::from_millis(11));
    assert_eq!(outcome.statistics.concealed, Duration::ZERO);
    assert_eq!(outcome.statistics.lost + outcome.statistics.late, 0);
}

#[test]
fn what_never_comes_is_lost_and_what_comes_too_late_is_late() {
    let packets = send(1000, 0, |index| match index {
        300..=302 => vec![],
        500 => vec![250_000],
        700 => vec![0, 1_000, 400_000],
        _ => vec![0],
    });
    let statistics = listen(&packets).statistics;
    assert_eq!(statistics.lost, 3);
    assert_eq!(statistics.late, 1);
    assert_eq!(statistics.duplicates, 2);
    assert_eq!(statistics.reordered, 1);
    assert_eq!(statistics.received, 999);
    assert_eq!(statistics.concealed, Duration::from_millis(80));
    assert_eq!(statistics.total, Duration::from_secs(20));
}

#[test]
fn the_target_rises_at_once_and_falls_slowly() {
    let mut delay = DelayEstimate::new(Duration::ZERO, Duration::from_millis(400));
    let mut packet = 0;
    let mut feed = |delay: &mut DelayEstimate, count: i64, late: i64| {
        for _ in 0..count {
            let late = if packet % 2 == 0 { late } else { 0 };
            delay.update(packet * 20_000 + late, packet * 20_000, 20_000);
            packet += 1;
        }
        delay.target()
    };
    assert_eq!(feed(&mut delay, 1000, 0), 2_500);
    assert_eq!(feed(&mut delay, 40, 100_000), 102_500);
    assert_eq!(feed(&mut delay, 50, 0), 102_500);
    assert!(feed(&mut delay, 1000, 0) < 10_000);
}

#[test]
fn the_delay_stays_within_its_bounds() {
    let settings = ReceiverSettings {
        minimum_delay: Duration::from_millis(60),
        maximum_delay: Duration::from_millis(120),
        ..ReceiverSettings::default()
    };
    let talker = simulation::Talker::voice(AudioCodec::Pcmu);
    let mut receiver = Receiver::new(SampleRate::Narrow, settings);
    let even = send(1000, 0, |_| vec![0]);
    let outcome = simulation::play(&mut receiver, &talker, &even, 1000, |_, _| {});
    assert_eq!(outcome.statistics.target_delay, Duration::from_millis(60));
    assert!(outcome.mean_delay >= 60.0 && outcome.mean_delay < 80.0);

    let mut receiver = Receiver::new(SampleRate::Narrow, settings);
    let late = send(1000, 0, |index| vec![(index as i64 % 10) * 20_000]);
    let outcome = simulation::play(&mut receiver, &talker, &late, 1000, |_, _| {});
    assert_eq!(outcome.statistics.target_delay, Duration::from_millis(120));
    assert!(outcome.highest_delay <= 140.0, "{outcome:?}");
    assert!(outcome.statistics.late > 0);
}
