//! Sound: codecs, the jitter buffer, rooms that are mixed.
//!
//! No Opus: its instructions are libopus', which the gateway does not write.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::ids::{LegId, PlayId};
use crate::scenario::Scenario;
use crate::sound::codec::{AudioCodec, Decoder, Encoder};
use crate::sound::conference::{
    Conference, ConferenceSettings, Description, Outlet, Payload, Recorded,
};
use crate::sound::dtmf::DtmfEvent;
use crate::sound::format::SampleRate;
use crate::sound::level::Alarm;
use crate::sound::receiver::{Content, Incoming, Receiver, ReceiverSettings};
use crate::sound::resample::Resampler;

/// Frames of sound that repeat: two seconds.
const REPEATING: usize = 100;
const FRAME: Duration = Duration::from_millis(20);
const FRAMES: (u64, u64) = (100, 600);

/// Codecs, rates, jitter buffers, rooms.
pub fn scenarios() -> Vec<Scenario> {
    let codec = |name: &str, run: fn(AudioCodec, u64), codec| {
        Scenario::new(name, "frame", FRAMES, move |units| run(codec, units))
    };
    let resample = |name: &str, from, to| {
        Scenario::new(name, "frame", FRAMES, move |units| {
            resample(from, to, units)
        })
    };
    let buffer = |name: &str, network: fn(u64) -> Option<u64>| {
        Scenario::new(name, "frame", FRAMES, move |units| receive(network, units))
    };
    let room = |name: &str, codec, peers| {
        Scenario::new(name, "tick", FRAMES, move |units| mix(codec, peers, units))
    };
    vec![
        codec("sound/decode-g711", decode, AudioCodec::Pcmu),
        codec("sound/encode-g711", encode, AudioCodec::Pcmu),
        codec("sound/decode-g722", decode, AudioCodec::G722),
        codec("sound/encode-g722", encode, AudioCodec::G722),
        resample("sound/8-to-16-khz", SampleRate::Narrow, SampleRate::Wide),
        resample("sound/16-to-8-khz", SampleRate::Wide, SampleRate::Narrow),
        buffer("jitter-buffer/even", |_| Some(0)),
        // Up to 32 ms late, which is out of order.
        buffer("jitter-buffer/jitter", |n| Some(n * 7 % 5 * 8)),
        buffer("jitter-buffer/loss", |n| (n % 20 != 7).then_some(0)),
        room("room/3-peers-g711", AudioCodec::Pcmu, 3),
        room("room/50-peers-g711", AudioCodec::Pcmu, 50),
        room("room/3-peers-g722", AudioCodec::G722, 3),
    ]
}

fn decode(codec: AudioCodec, units: u64) {
    let sent = payloads(codec, 0);
    let mut decoder = Decoder::new(codec, codec.native_rate()).expect("a decoder");
    let mut out = Vec::new();
    for n in 0..units {
        out.clear();
        decoder
            .decode(&sent[n as usize % REPEATING], &mut out)
            .expect("a frame");
        black_box(&out);
    }
}

fn encode(codec: AudioCodec, units: u64) {
    let rate = codec.native_rate();
    let sound = voice(rate, 0);
    let mut encoder = Encoder::new(codec, rate).expect("an encoder");
    let mut out = [0; 1276];
    for n in 0..units {
        let from = n as usize % REPEATING * rate.frame_samples();
        let frame = &sound[from..from + rate.frame_samples()];
        encoder.encode(frame, &mut out).expect("a payload");
        black_box(&out);
    }
}

fn resample(from: SampleRate, to: SampleRate, units: u64) {
    let sound = voice(from, 0);
    let mut resampler = Resampler::new(from, to);
    let mut out = Vec::new();
    for n in 0..units {
        out.clear();
        let at = n as usize % REPEATING * from.frame_samples();
        resampler.process(&sound[at..at + from.frame_samples()], &mut out);
        black_box(&out);
    }
}

/// One packet of G.711 and one frame every 20 ms; the network makes each
/// packet so many milliseconds late, or loses it.
fn receive(network: fn(u64) -> Option<u64>, units: u64) {
    let sent = payloads(AudioCodec::Pcmu, 0);
    let begin = Instant::now();
    let mut arrivals: Vec<(u64, u64)> = (0..FRAMES.1)
        .filter_map(|n| Some((n * 20 + network(n)?, n)))
        .collect();
    arrivals.sort_unstable();
    let mut arrivals = arrivals.into_iter().peekable();
    let mut receiver = Receiver::new(SampleRate::Narrow, ReceiverSettings::default());
    let mut out = Vec::new();
    for n in 0..units {
        let now = n * 20 + 7;
        while let Some((arrival, packet)) = arrivals.next_if(|(arrival, _)| *arrival <= now) {
            receiver.push(Incoming {
                arrival: begin + Duration::from_millis(arrival),
                ssrc: 1,
                sequence: packet as u16,
                timestamp: packet as u32 * 160,
                marker: packet == 0,
                content: Content::Sound(AudioCodec::Pcmu),
                payload: &sent[packet as usize % REPEATING],
            });
        }
        out.clear();
        receiver.frame(begin + Duration::from_millis(now), &mut out);
        black_box(&out);
    }
}

/// Takes what comes out, as the leg table would.
#[derive(Default)]
struct Sink {
    payloads: u64,
}

impl Outlet for Sink {
    fn payload(&mut self, _: LegId, payload: Payload<'_>) {
        self.payloads += 1;
        black_box(payload.payload);
    }

    fn recorded(&mut self, _: Recorded<'_>) {}

    fn finished(&mut self, _: PlayId) {}

    fn key(&mut self, _: LegId, _: DtmfEvent) {}

    fn dead_air(&mut self, _: LegId, _: Alarm<()>) {}
}

/// A room in which everybody talks; six are heard.
fn mix(codec: AudioCodec, peers: usize, units: u64) {
    let begin = Instant::now();
    let settings = ConferenceSettings {
        loudest: 6,
        receiver: ReceiverSettings::default(),
        dead_air: Some(Duration::from_secs(10)),
    };
    let mut conference = Conference::new(begin, settings);
    let sent: Vec<Vec<Vec<u8>>> = (0..peers).map(|peer| payloads(codec, peer)).collect();
    for peer in 0..peers {
        conference.add(leg(peer));
        let description = Description {
            codec,
            payload_type: 96,
            takes: true,
            events: None,
        };
        conference.describe(leg(peer), description);
        conference.serve(leg(peer), true);
    }
    let mut sink = Sink::default();
    let mut now = begin;
    for n in 0..units {
        for (peer, sent) in sent.iter().enumerate() {
            let incoming = Incoming {
                arrival: now,
                ssrc: 1,
                sequence: n as u16,
                timestamp: n as u32 * (codec.clock_rate() / 50),
                marker: false,
                content: Content::Sound(codec),
                payload: &sent[n as usize % REPEATING],
            };
            conference.push(leg(peer), incoming);
        }
        now += FRAME;
        while conference.work(now, &mut sink) {}
    }
    assert!(
        sink.payloads + 10 * peers as u64 >= units * peers as u64,
        "a silent room"
    );
}

fn leg(index: usize) -> LegId {
    LegId {
        index: index as u32,
        generation: 0,
    }
}

/// What a peer sends; the first six are the loudest.
fn payloads(codec: AudioCodec, peer: usize) -> Vec<Vec<u8>> {
    let rate = codec.native_rate();
    let mut encoder = Encoder::new(codec, rate).expect("an encoder");
    voice(rate, peer)
        .chunks_exact(rate.frame_samples())
        .map(|frame| {
            let mut out = [0; 1276];
            let length = encoder.encode(frame, &mut out).expect("a payload");
            out[..length].to_vec()
        })
        .collect()
}

/// A buzz that rises and falls, and a little noise: in integers, so that no
/// mathematical library has a say.
fn voice(rate: SampleRate, peer: usize) -> Vec<i16> {
    let loud = if peer < 6 { 6_000 } else { 1_800 };
    let period = rate.hertz() as i32 / (110 + 7 * (peer as i32 % 20));
    let syllable = rate.hertz() as i32 / 3;
    let mut noise = 1_u32;
    (0..(REPEATING * rate.frame_samples()) as i32)
        .map(|i| {
            let saw = i % period * 2 * loud / period - loud;
            let rise = (i % syllable * 2 - syllable).abs();
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            (saw / 2 + saw / 2 * rise / syllable + (noise >> 26) as i32) as i16
        })
        .collect()
}
