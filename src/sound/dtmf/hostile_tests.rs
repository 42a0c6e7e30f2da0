//! Any octets at all, as a short and always equal run of what the fuzz target does.

use std::time::{Duration, Instant};

use super::event_receiver::{EventReceiver, ReceivedEvent};
use super::info::InfoFormat;
use super::tone_detector::ToneDetector;
use super::{DtmfReport, Reports};
use crate::sound::format::SampleRate;

/// splitmix64, so that a failure can be played again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Begins and ends alternate, each end that of its begin.
#[derive(Default)]
struct Order(Option<super::Digit>);

impl Order {
    fn check(&mut self, reports: Reports) {
        for report in reports {
            self.0 = match (self.0, report) {
                (None, DtmfReport::Begin(digit)) => Some(digit),
                (Some(digit), DtmfReport::End(event)) if event.digit == digit => None,
                (held, report) => panic!("{report:?} while {held:?}"),
            };
        }
    }
}

#[test]
fn any_event_payloads_give_begins_and_ends_in_turn() {
    let mut random = Random(1);
    for _ in 0..200 {
        let mut receiver = EventReceiver::default();
        let mut order = Order::default();
        let mut now = Instant::now();
        for _ in 0..200 {
            now += Duration::from_millis(random.below(100));
            let length = random.below(8) as usize;
            let mut payload = random.next().to_be_bytes();
            payload[0] %= 20;
            let packet = ReceivedEvent {
                timestamp: match random.below(3) {
                    0 => random.next() as u32,
                    _ => (random.below(4) * 0xffff) as u32,
                },
                marker: random.below(2) == 0,
                payload: &payload[..length],
                clock_rate: [0, 8000, u32::MAX][random.below(3) as usize],
            };
            if let Ok(reports) = receiver.push(now, packet) {
                order.check(reports);
            }
            if random.below(8) == 0
                && let Some(report) = receiver.expire(now)
            {
                let mut reports = Reports::default();
                reports.add(report);
                order.check(reports);
            }
        }
    }
}

#[test]
fn any_info_bodies_are_keys_or_errors() {
    let seeds = [
        "Signal=5\r\nDuration=160\r\n",
        "signal = 11\nduration = 99999999999999999999\n",
        "#",
        "flash",
    ];
    let mut random = Random(2);
    let mut keys = 0;
    for round in 0..20_000 {
        let mut body = seeds[round % seeds.len()].as_bytes().to_vec();
        for _ in 0..random.below(4) {
            let at = random.below(body.len() as u64 + 1) as usize;
            match random.below(3) {
                0 => body.truncate(at),
                1 => body.insert(at, random.next() as u8),
                _ => body.extend_from_within(at..),
            }
        }
        for format in [InfoFormat::DtmfRelay, InfoFormat::Dtmf] {
            if let Ok(event) = format.parse(&body) {
                keys += 1;
                let again = format.parse(format.write(event).as_bytes());
                assert_eq!(again.map(|again| again.digit), Ok(event.digit));
            }
        }
    }
    assert!(keys > 1000, "{keys}");
}

#[test]
fn any_samples_in_frames_of_any_length_give_begins_and_ends_in_turn() {
    let mut random = Random(3);
    for rate in [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full] {
        let mut detector = ToneDetector::new(rate);
        let mut order = Order::default();
        for round in 0..500 {
            let length = random.below(1000) as usize;
            let frame: Vec<i16> = match round % 3 {
                0 => (0..length).map(|_| random.next() as i16).collect(),
                1 => vec![i16::MIN; length],
                _ => vec![0; length],
            };
            order.check(detector.frame(&frame));
        }
    }
}
