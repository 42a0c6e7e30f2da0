//! What a fuzzer does with DTMF of strangers; the mutation test replays a short
//! run of it.

use std::time::{Duration, Instant};

use ringwire::sound::dtmf::event_receiver::{EventReceiver, ReceivedEvent};
use ringwire::sound::dtmf::info::InfoFormat;
use ringwire::sound::dtmf::tone_detector::ToneDetector;
use ringwire::sound::dtmf::{Digit, DtmfReport};
use ringwire::sound::format::SampleRate;

/// Octets of what [`events`] reads as one packet.
const PACKET_LEN: usize = 11;

/// Reads the octets in every way that a peer can send keys.
pub fn exercise(octets: &[u8]) {
    events(octets);
    info(octets);
    tones(octets);
}

/// A timestamp, a time passed, flags, a length and a payload, again and again.
fn events(octets: &[u8]) {
    let mut receiver = EventReceiver::default();
    let mut order = Order::default();
    let mut now = Instant::now();
    for packet in octets.chunks_exact(PACKET_LEN) {
        let [t0, t1, t2, t3, wait, flags, length, payload @ ..] = packet else {
            continue;
        };
        now += Duration::from_millis(u64::from(*wait));
        let received = ReceivedEvent {
            timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
            marker: flags & 1 != 0,
            payload: &payload[..payload.len().min(usize::from(*length))],
            clock_rate: [8000, 48000, 0, u32::MAX][usize::from(flags >> 1 & 3)],
        };
        if let Ok(reports) = receiver.push(now, received) {
            reports.into_iter().for_each(|report| order.check(report));
        }
        if flags & 8 != 0 {
            receiver
                .expire(now)
                .into_iter()
                .for_each(|report| order.check(report));
        }
    }
    receiver
        .reset()
        .into_iter()
        .for_each(|report| order.check(report));
    assert_eq!(order.held, None);
}

/// What is a key is written so that it is read as the same one.
fn info(body: &[u8]) {
    for format in [InfoFormat::DtmfRelay, InfoFormat::Dtmf] {
        if let Ok(event) = format.parse(body) {
            let again = format.parse(format.write(event).as_bytes());
            assert_eq!(again.map(|again| again.digit), Ok(event.digit));
        }
    }
}

fn tones(octets: &[u8]) {
    let samples: Vec<i16> = octets
        .chunks_exact(2)
        .map(|two| i16::from_be_bytes([two[0], two[1]]))
        .collect();
    for rate in [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full] {
        let mut detector = ToneDetector::new(rate);
        let mut order = Order::default();
        for frame in samples.chunks(rate.frame_samples()) {
            let reports = detector.frame(frame);
            reports.into_iter().for_each(|report| order.check(report));
        }
        detector
            .reset()
            .into_iter()
            .for_each(|report| order.check(report));
        assert_eq!(order.held, None);
    }
}

/// Begins and ends alternate, each end that of its begin.
#[derive(Default)]
struct Order {
    held: Option<Digit>,
}

impl Order {
    fn check(&mut self, report: DtmfReport) {
        self.held = match (self.held, report) {
            (None, DtmfReport::Begin(digit)) => Some(digit),
            (Some(digit), DtmfReport::End(event)) if event.digit == digit => None,
            (held, report) => panic!("{report:?} while {held:?}"),
        };
    }
}
