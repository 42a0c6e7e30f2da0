//! The sides of a recording share one time: what two peers say at the same
//! instant lies side by side in the file, whatever each one's network and jitter
//! buffer do.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

const SIDES: RecordingId = RecordingId(1);
/// Both peers click once in so many frames: every 2 s.
const CLICKS: i64 = 100;
/// Between two looks at the ticks of the conference, in µs.
const STEP: i64 = 20_000;

/// A peer that clicks, on a network and a clock of its own.
struct Clicker {
    codec: AudioCodec,
    /// Packets are up to so many µs late, at a time in µs.
    jitter: fn(i64) -> i64,
    /// One packet in so many is lost.
    loss: u32,
    /// Its clock is so many ppm fast.
    drift: i64,
    /// Frames in a packet.
    frames: usize,
    random: SmallRng,
    payloads: Vec<Vec<u8>>,
    sent: i64,
    leg: Option<LegId>,
    /// Packets on their way: when they come, their number.
    under_way: Vec<(i64, i64)>,
}

impl Clicker {
    fn new(codec: AudioCodec, frames: usize, jitter: fn(i64) -> i64) -> Clicker {
        let rate = codec.native_rate();
        let samples = rate.frame_samples();
        let mut encoder = Encoder::new(codec, rate).unwrap();
        // A voice that has no silence to hide in, and a click in the midst of
        // frame 50 of the 100: what a codec makes of it once it has settled.
        let frame = |n: usize| -> Vec<i16> {
            let at = |s: usize| (n * samples + s) as f64 / f64::from(rate.hertz());
            let hum = (0..samples).map(|s| (TAU * 150.0 * at(s)).sin() * 400.0);
            let click = |s: usize| match n == 50 && (samples / 2..samples / 2 + 4).contains(&s) {
                true => 30_000.0,
                false => 0.0,
            };
            hum.enumerate()
                .map(|(s, hum)| (hum + click(s)) as i16)
                .collect()
        };
        let coded: Vec<Vec<u8>> = (0..2 * CLICKS as usize)
            .map(|n| {
                let mut payload = [0; 1500];
                let len = encoder.encode(&frame(n % CLICKS as usize), &mut payload);
                payload[..len.unwrap()].to_vec()
            })
            .collect();
        let settled = &coded[CLICKS as usize..];
        Clicker {
            codec,
            jitter,
            loss: u32::MAX,
            drift: 0,
            frames,
            random: SmallRng::seed_from_u64(7),
            payloads: settled.chunks(frames).map(<[_]>::concat).collect(),
            sent: 0,
            leg: None,
            under_way: Vec::new(),
        }
    }

    /// When its packet of this number is sent, in µs: once its last sample has
    /// been captured.
    fn sent_at(&self, number: i64) -> i64 {
        let own = (number + 1) * self.frames as i64 * 20_000;
        own - own * self.drift / 1_000_000
    }
}

struct Scene {
    room: Room,
    begin: Instant,
    peers: Vec<Clicker>,
    /// Where the clicks are, in ms of the file: left, right.
    clicks: [Vec<f64>; 2],
    longest_wait: u64,
}

impl Scene {
    fn new(peers: [Clicker; 2]) -> Scene {
        let mut room = Room::new(4);
        let mut peers = Vec::from(peers);
        for (n, peer) in peers.iter_mut().enumerate() {
            let leg = LegId {
                index: n as u32,
                generation: 0,
            };
            room.conference.add(leg);
            let mut known = description(peer.codec, false);
            known.takes = false;
            room.conference.describe(leg, known);
            peer.leg = Some(leg);
        }
        room.conference.record(SIDES, peers[0].leg);
        Scene {
            begin: room.now,
            room,
            peers,
            clicks: [Vec::new(), Vec::new()],
            longest_wait: 0,
        }
    }

    fn play(&mut self, seconds: i64) {
        for step in 0..seconds * 1_000_000 / STEP {
            let now = step * STEP;
            for peer in &mut self.peers {
                while peer.sent_at(peer.sent) <= now {
                    let number = peer.sent;
                    let late = peer.random.random_range(0..=(peer.jitter)(now));
                    peer.sent += 1;
                    if peer.loss == u32::MAX || !peer.random.random_ratio(1, peer.loss) {
                        peer.under_way.push((peer.sent_at(number) + late, number));
                    }
                }
                peer.under_way.sort_unstable();
                let come = peer.under_way.partition_point(|(at, _)| *at <= now);
                for (at, number) in peer.under_way.drain(..come) {
                    let units = peer.codec.clock_rate() / 50 * peer.frames as u32;
                    let packet = Incoming {
                        arrival: self.begin + Duration::from_micros(at as u64),
                        ssrc: 9,
                        sequence: number as u16,
                        timestamp: (number as u32).wrapping_mul(units),
                        marker: false,
                        content: Content::Sound(peer.codec),
                        payload: &peer.payloads[number as usize % peer.payloads.len()],
                    };
                    self.room.conference.push(peer.leg.unwrap(), packet);
                }
            }
            let now = self.begin + Duration::from_micros(now as u64);
            while self.room.conference.work(now, &mut self.room.out) {}
            let tick = self.room.conference.next_tick();
            for (_, its, left, right) in self.room.out.recorded.drain(..) {
                self.longest_wait = self.longest_wait.max(tick - its);
                let sides = [&left, right.as_ref().unwrap()];
                for (clicks, side) in self.clicks.iter_mut().zip(sides) {
                    let peak = side
                        .iter()
                        .enumerate()
                        .max_by_key(|(_, s)| s.unsigned_abs());
                    let (at, height) = peak.unwrap();
                    let at = its as f64 * 20.0 + at as f64 * 20.0 / side.len() as f64;
                    // One click may be seen in two frames, and what stands in for
                    // lost sound repeats it.
                    if height.unsigned_abs() > 4000 && clicks.last().is_none_or(|l| at - l > 500.0)
                    {
                        clicks.push(at);
                    }
                }
            }
        }
    }

    /// How far each click lies from when it was made, in ms: for both sides the
    /// most, without the first seconds. Of how many.
    fn errors(&self, settled_ms: f64) -> ([f64; 2], usize) {
        let errors = [0, 1].map(|side| {
            let errors = self.clicks[side]
                .iter()
                .filter(|at| **at > settled_ms)
                .map(|at| {
                    let period =
                        CLICKS as f64 * 20.0 * (1.0 - self.peers[side].drift as f64 * 1e-6);
                    let first = 50.5 / CLICKS as f64;
                    let place = at / period - first;
                    ((place - place.round()) * period).abs()
                });
            errors.fold(0.0, f64::max)
        });
        (errors, self.clicks[0].len().min(self.clicks[1].len()))
    }

    /// Every click of both sides is there and lies where it was made, within
    /// this.
    fn assert_aligned(&self, what: &str, expected: usize, bound_ms: f64) {
        let ([left, right], clicks) = self.errors(4_000.0);
        println!(
            "{what}: {left:.2} ms, {right:.2} ms, {clicks} clicks, held {}",
            self.longest_wait
        );
        assert!(clicks >= expected, "{what}: {clicks} clicks");
        assert!(
            left <= bound_ms && right <= bound_ms,
            "{what}: {left} {right}"
        );
    }
}

const NONE: fn(i64) -> i64 = |_| 0;
const SIXTY: fn(i64) -> i64 = |_| 60_000;

#[test]
fn a_side_with_jitter_and_a_side_without_have_what_was_said_at_once_side_by_side() {
    let mut scene = Scene::new([
        Clicker::new(AudioCodec::Pcmu, 1, SIXTY),
        Clicker::new(AudioCodec::Pcmu, 1, NONE),
    ]);
    scene.play(60);
    let delays = scene.peers.iter().map(|peer| {
        let sound = scene.room.conference.sound(peer.leg.unwrap());
        sound.unwrap().receiver.target_delay.as_millis()
    });
    let delays: Vec<u128> = delays.collect();
    assert!(
        delays[0] > delays[1] + 30,
        "they are played far apart: {delays:?}"
    );
    scene.assert_aligned("jitter of 60 ms", 27, 2.5);
}

#[test]
fn they_do_so_while_jitter_buffers_grow_and_shrink() {
    // 10 s of 120 ms, 10 s of nothing, and so on.
    let waves: fn(i64) -> i64 = |now| {
        if now / 10_000_000 % 2 == 0 {
            120_000
        } else {
            0
        }
    };
    let mut scene = Scene::new([
        Clicker::new(AudioCodec::Pcmu, 1, waves),
        Clicker::new(AudioCodec::Pcmu, 1, NONE),
    ]);
    scene.play(120);
    let sound = scene.room.conference.sound(scene.peers[0].leg.unwrap());
    let statistics = sound.unwrap().receiver;
    let scaled = (statistics.expansions, statistics.accelerations);
    assert!(scaled.0 > 5 && scaled.1 > 5, "{scaled:?}");
    // The fastest of 200 packets is a little late itself.
    scene.assert_aligned("a jitter that comes and goes", 55, 5.0);
}

#[test]
fn they_do_so_for_an_hour_with_clocks_200_ppm_off() {
    let mut scene = Scene::new([
        Clicker::new(AudioCodec::Pcmu, 1, |_| 10_000),
        Clicker::new(AudioCodec::Pcmu, 1, NONE),
    ]);
    scene.peers[0].drift = 200;
    scene.peers[1].drift = -200;
    scene.play(3_600);
    scene.assert_aligned("an hour of drift", 1_790, 2.5);
}

#[test]
fn they_do_so_whatever_the_codecs_and_the_length_of_packets() {
    let opus = || Clicker::new(OPUS, 1, NONE);
    let g722 = || Clicker::new(AudioCodec::G722, 1, NONE);
    let pcma = |frames| Clicker::new(AudioCodec::Pcma, frames, NONE);
    for (what, pair) in [
        ("Opus and G.722", [opus(), g722()]),
        ("G.711 and Opus", [pcma(1), opus()]),
        ("G.722 and packets of 100 ms", [g722(), pcma(5)]),
        ("packets of 20 and 100 ms", [pcma(1), pcma(5)]),
    ] {
        let mut scene = Scene::new(pair);
        scene.play(20);
        scene.assert_aligned(what, 8, 2.5);
    }
}

#[test]
fn what_is_lost_is_filled_and_what_comes_after_all_takes_its_place() {
    let mut scene = Scene::new([
        Clicker::new(AudioCodec::Pcmu, 1, |_| 60_000),
        Clicker::new(AudioCodec::Pcmu, 1, NONE),
    ]);
    scene.peers[0].loss = 20;
    scene.play(60);
    // A click that is lost is not there.
    scene.assert_aligned("5 % loss", 20, 2.5);
}
