//! A sender, a network and a listener in simulated time. The bench
//! `jitter_buffer` prints what the tests assert.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::sound::codec::{AudioCodec, Encoder};
use super::sound::format::SampleRate;
use super::sound::receiver::{
    Content, Frame, Incoming, Receiver, ReceiverSettings, ReceiverStatistics,
};

/// µs of a packet and of a frame.
pub const PACKET: i64 = 20_000;
/// The first frame is asked for so long after the first packet was sent, in µs.
const PHASE: i64 = 7_000;

/// What happens to one packet: when each of its copies comes, in µs after it
/// was sent.
pub type Fate = Vec<i64>;

/// A packet as its sender made it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// In µs of the receiver's clock.
    pub at: i64,
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    /// Which of the talker's packets it carries.
    pub payload: usize,
    /// When copies of it come, in µs after `at`.
    pub fate: Fate,
}

/// Something a network does.
pub struct Pattern {
    pub name: &'static str,
    pub packets: Vec<Sent>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub statistics: ReceiverStatistics,
    /// Mean and highest delay of the frames that had speech, in ms.
    pub mean_delay: f64,
    pub highest_delay: f64,
}

impl Outcome {
    /// Concealed share of what was handed out, in percent.
    pub fn concealed_percent(&self) -> f64 {
        100.0 * self.statistics.concealed.as_secs_f64() / self.statistics.total.as_secs_f64()
    }
}

/// Packets of 20 ms on an even clock that is `drift` ppm slow (negative: fast).
pub fn send(count: usize, drift: i64, mut fate: impl FnMut(usize) -> Fate) -> Vec<Sent> {
    (0..count)
        .map(|index| {
            let even = index as i64 * PACKET;
            Sent {
                at: even + even * drift / 1_000_000,
                ssrc: 1,
                sequence: (index as u16).wrapping_add(1000),
                timestamp: (index as u32).wrapping_mul(160).wrapping_add(77),
                marker: index == 0,
                payload: index,
                fate: fate(index),
            }
        })
        .collect()
}

/// Payloads of a talker, over and over: a voice of 125 Hz in syllables.
pub struct Talker {
    pub codec: AudioCodec,
    payloads: Vec<Vec<u8>>,
}

impl Talker {
    /// `signal`: sample at an index at 8 kHz, of which `packets` are made.
    pub fn of(codec: AudioCodec, packets: usize, signal: impl Fn(usize) -> f64) -> Talker {
        let mut encoder = Encoder::new(codec, SampleRate::Narrow).unwrap();
        let payloads = (0..packets)
            .map(|packet| {
                let frame: Vec<i16> = (0..160)
                    .map(|index| signal(packet * 160 + index) as i16)
                    .collect();
                let mut payload = [0; 1500];
                let length = encoder.encode(&frame, &mut payload).unwrap();
                payload[..length].to_vec()
            })
            .collect();
        Talker { codec, payloads }
    }

    /// Two seconds of syllables on an even pitch.
    pub fn voice(codec: AudioCodec) -> Talker {
        Talker::of(codec, 100, |index| {
            let time = index as f64 / 8000.0;
            let syllable = (std::f64::consts::TAU * 2.0 * time).sin().max(0.05);
            let harmonics: f64 = (1..12)
                .map(|harmonic| {
                    let phase = std::f64::consts::TAU * 125.0 * f64::from(harmonic) * time;
                    (phase + f64::from(harmonic * harmonic)).sin() / f64::from(harmonic)
                })
                .sum();
            6000.0 * syllable * harmonics
        })
    }

    pub fn payload(&self, index: usize) -> &[u8] {
        &self.payloads[index % self.payloads.len()]
    }
}

/// Plays a pattern to a receiver until `frames` frames were asked for, each of
/// which is shown to `heard`.
pub fn play(
    receiver: &mut Receiver,
    talker: &Talker,
    packets: &[Sent],
    frames: usize,
    mut heard: impl FnMut(Frame, &[i16]),
) -> Outcome {
    let begin = Instant::now();
    let instant = |micros: i64| begin + Duration::from_micros(micros as u64);
    let mut arrivals: Vec<(i64, usize)> = packets
        .iter()
        .enumerate()
        .flat_map(|(index, sent)| sent.fate.iter().map(move |late| (sent.at + late, index)))
        .collect();
    arrivals.sort();
    let mut arrivals = arrivals.into_iter().peekable();
    let mut out = Vec::new();
    let (mut sum, mut highest, mut speech) = (0.0, 0.0f64, 0);
    for frame in 0..frames {
        let now = PHASE + frame as i64 * PACKET;
        while let Some((arrival, index)) = arrivals.next_if(|(arrival, _)| *arrival <= now) {
            let sent = &packets[index];
            receiver.push(Incoming {
                arrival: instant(arrival),
                ssrc: sent.ssrc,
                sequence: sent.sequence,
                timestamp: sent.timestamp,
                marker: sent.marker,
                content: Content::Sound(talker.codec),
                payload: talker.payload(sent.payload),
            });
        }
        let kind = receiver.frame(instant(now), &mut out);
        if kind == Frame::Speech {
            let delay = receiver.statistics().current_delay.as_secs_f64() * 1000.0;
            sum += delay;
            highest = highest.max(delay);
            speech += 1;
        }
        heard(kind, &out);
        out.clear();
    }
    Outcome {
        statistics: receiver.statistics(),
        mean_delay: sum / f64::from(speech.max(1)),
        highest_delay: highest,
    }
}

/// Plays a voice in G.711 to a receiver of its own.
pub fn listen(packets: &[Sent]) -> Outcome {
    let mut receiver = Receiver::new(SampleRate::Narrow, ReceiverSettings::default());
    let talker = Talker::voice(AudioCodec::Pcmu);
    play(&mut receiver, &talker, packets, packets.len(), |_, _| {})
}

/// The patterns of the table, two minutes each unless said otherwise.
pub fn patterns() -> Vec<Pattern> {
    let mut patterns = Vec::new();
    let mut add = |name, packets| patterns.push(Pattern { name, packets });
    const COUNT: usize = 6000;
    add("even", send(COUNT, 0, |_| vec![0]));
    add("uniform jitter 0–40 ms", {
        let mut random = SmallRng::seed_from_u64(1);
        send(COUNT, 0, |_| vec![random.random_range(0..40_000)])
    });
    add("Pareto delays, scale 2 ms, shape 1.5", {
        let mut random = SmallRng::seed_from_u64(2);
        let mut free = 0i64;
        send(COUNT, 0, |index| {
            // A queue: what waits holds up what comes after it.
            let share: f64 = 1.0 - random.random::<f64>();
            let delay = (2_000.0 * (share.powf(-1.0 / 1.5) - 1.0)) as i64;
            free = (index as i64 * PACKET + delay).max(free);
            vec![free - index as i64 * PACKET]
        })
    });
    add(
        "a stall of 300 ms every 10 s",
        send(COUNT, 0, |index| vec![stall(index)]),
    );
    add("5 % random loss", {
        let mut random = SmallRng::seed_from_u64(3);
        send(COUNT, 0, |_| {
            if random.random_bool(0.05) {
                vec![]
            } else {
                vec![0]
            }
        })
    });
    add("Gilbert–Elliott loss, 5 % in bursts of 4", {
        let mut random = SmallRng::seed_from_u64(4);
        let mut bad = false;
        send(COUNT, 0, |_| {
            bad = random.random_bool(if bad { 0.75 } else { 0.05 / 0.95 / 4.0 });
            if bad { vec![] } else { vec![0] }
        })
    });
    add("every 10th packet 30 ms late (reordered)", {
        send(COUNT, 0, |index| {
            vec![if index % 10 == 9 { 30_000 } else { 0 }]
        })
    });
    add("every 5th packet twice", {
        send(COUNT, 0, |index| {
            if index % 5 == 0 {
                vec![0, 3_000]
            } else {
                vec![0]
            }
        })
    });
    add("jitter 0–40 ms and 5 % loss", {
        let mut random = SmallRng::seed_from_u64(5);
        send(COUNT, 0, |_| {
            if random.random_bool(0.05) {
                vec![]
            } else {
                vec![random.random_range(0..40_000)]
            }
        })
    });
    for (name, drift) in [
        ("sender 200 ppm slow, 1 h", 200_i64),
        ("sender 200 ppm fast, 1 h", -200),
        ("sender 1000 ppm slow", 1000),
        ("sender 1000 ppm fast", -1000),
    ] {
        let count = if drift.abs() == 200 { 180_000 } else { COUNT };
        let mut random = SmallRng::seed_from_u64(6);
        add(
            name,
            send(count, drift, |_| vec![random.random_range(0..5_000)]),
        );
    }
    add("pauses: 1 s of speech, 1 s nothing", {
        let mut packets = send(COUNT, 0, |_| vec![0]);
        packets.retain(|sent| sent.payload % 100 < 50);
        for (index, sent) in packets.iter_mut().enumerate() {
            sent.sequence = index as u16;
            sent.marker = sent.payload % 100 == 0;
        }
        packets
    });
    patterns
}

/// A link that stands still for 300 ms every 10 s and then delivers all.
pub fn stall(index: usize) -> i64 {
    let within = index as i64 * PACKET % 10_000_000;
    if (5_000_000..5_300_000).contains(&within) {
        5_300_000 - within
    } else {
        0
    }
}
