//! A conference in simulated time: peers send tones, and what each is sent is
//! decoded and looked at. Who hears whom; plays, keys and recordings are in
//! [`extras`], when a recording has what in [`sides`].

mod extras;
mod sides;

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::sync::Arc;

use super::*;
use crate::sound::clip::{Clip, ClipLimits};
use crate::sound::codec::{AudioCodec, Decoder, Encoder, OpusParameters};
use crate::sound::dtmf::{Digit, KeyTiming};
use crate::sound::player::{PlayOptions, Repeat};
use crate::sound::receiver::Content;

const OPUS: AudioCodec = AudioCodec::Opus(OpusParameters {
    in_band_fec: false,
    dtx: false,
    max_average_bitrate: None,
    max_playback_rate: None,
    constant_bitrate: false,
});

/// Of which recording, at which tick, left, right.
type RecordedFrame = (RecordingId, u64, Vec<i16>, Option<Vec<i16>>);

/// What came out.
#[derive(Default)]
struct Out {
    /// To whom, by which number, timestamp, marker, octets.
    payloads: Vec<(LegId, u8, u32, bool, Vec<u8>)>,
    recorded: Vec<RecordedFrame>,
    finished: Vec<PlayId>,
    keys: Vec<(LegId, DtmfEvent)>,
    alarms: Vec<(LegId, Alarm<()>)>,
}

impl Outlet for Out {
    fn payload(&mut self, leg: LegId, payload: Payload<'_>) {
        self.payloads.push((
            leg,
            payload.payload_type,
            payload.timestamp,
            payload.marker,
            payload.payload.to_vec(),
        ));
    }

    fn recorded(&mut self, recorded: Recorded<'_>) {
        self.recorded.push((
            recorded.recording,
            recorded.tick,
            recorded.left.to_vec(),
            recorded.right.map(<[i16]>::to_vec),
        ));
    }

    fn finished(&mut self, play: PlayId) {
        self.finished.push(play);
    }

    fn key(&mut self, leg: LegId, key: DtmfEvent) {
        self.keys.push((leg, key));
    }

    fn dead_air(&mut self, leg: LegId, alarm: Alarm<()>) {
        self.alarms.push((leg, alarm));
    }
}

/// A peer at the far end: sends a tone, and decodes what it is sent.
struct FarEnd {
    leg: LegId,
    codec: AudioCodec,
    hertz: f64,
    amplitude: f64,
    encoder: Encoder,
    decoder: Decoder,
    sent: u32,
    /// Sends nothing.
    pauses: bool,
    heard: Vec<i16>,
    /// The payloads that it was sent.
    got: Vec<Vec<u8>>,
}

impl FarEnd {
    fn rate(&self) -> SampleRate {
        self.codec.native_rate()
    }

    fn packet(&mut self) -> Vec<u8> {
        let samples = self.rate().frame_samples();
        let from = self.sent as usize * samples;
        let wave = |n: usize| {
            let at = (from + n) as f64 / f64::from(self.rate().hertz());
            ((TAU * self.hertz * at).sin() * self.amplitude) as i16
        };
        let frame: Vec<i16> = (0..samples).map(wave).collect();
        let mut payload = [0; 1500];
        let len = self.encoder.encode(&frame, &mut payload).unwrap();
        self.sent += 1;
        payload[..len].to_vec()
    }

    /// Level of a frequency in the last half second that was heard, as
    /// amplitude.
    fn level_of(&self, hertz: f64) -> f64 {
        let rate = f64::from(self.rate().hertz());
        let tail = &self.heard[self.heard.len().saturating_sub(rate as usize / 2)..];
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in tail.iter().enumerate() {
            let phase = TAU * hertz * n as f64 / rate;
            re += f64::from(*sample) * phase.cos();
            im += f64::from(*sample) * phase.sin();
        }
        2.0 * re.hypot(im) / tail.len() as f64
    }

    fn hears(&self, hertz: f64) -> bool {
        self.level_of(hertz) > 500.0
    }
}

struct Room {
    conference: Conference,
    now: Instant,
    ends: Vec<FarEnd>,
    out: Out,
}

impl Room {
    fn new(loudest: usize) -> Room {
        let now = Instant::now();
        let settings = ConferenceSettings {
            loudest,
            receiver: ReceiverSettings::default(),
            dead_air: Some(Duration::from_millis(100)),
        };
        Room {
            conference: Conference::new(now, settings),
            now,
            ends: Vec::new(),
            out: Out::default(),
        }
    }

    fn join(&mut self, codec: AudioCodec, hertz: f64, amplitude: f64) -> LegId {
        let leg = LegId {
            index: self.ends.len() as u32,
            generation: 0,
        };
        let rate = codec.native_rate();
        self.conference.add(leg);
        self.conference.describe(leg, description(codec, false));
        self.conference.serve(leg, true);
        self.ends.push(FarEnd {
            leg,
            codec,
            hertz,
            amplitude,
            encoder: Encoder::new(codec, rate).unwrap(),
            decoder: Decoder::new(codec, rate).unwrap(),
            sent: 0,
            pauses: false,
            heard: Vec::new(),
            got: Vec::new(),
        });
        leg
    }

    /// Lets time pass: everybody sends every 20 ms, and all work is done.
    fn pass(&mut self, ms: u32) {
        for _ in 0..ms / FRAME_MS {
            for end in self.ends.iter_mut().filter(|end| !end.pauses) {
                let units = end.codec.clock_rate() / 50;
                let payload = end.packet();
                self.conference.push(
                    end.leg,
                    Incoming {
                        arrival: self.now,
                        ssrc: 77,
                        sequence: end.sent as u16,
                        timestamp: end.sent.wrapping_mul(units),
                        marker: false,
                        content: Content::Sound(end.codec),
                        payload: &payload,
                    },
                );
            }
            self.now += TICK;
            while self.conference.work(self.now, &mut self.out) {}
            let payloads: Vec<_> = self.out.payloads.drain(..).collect();
            for (leg, payload_type, _, _, payload) in payloads {
                let end = self.ends.iter_mut().find(|end| end.leg == leg).unwrap();
                if payload_type == number(end.codec) {
                    end.decoder.decode(&payload, &mut end.heard).unwrap();
                    end.got.push(payload);
                }
            }
        }
    }

    fn end_mut(&mut self, leg: LegId) -> &mut FarEnd {
        self.ends.iter_mut().find(|end| end.leg == leg).unwrap()
    }

    fn end(&self, leg: LegId) -> &FarEnd {
        self.ends.iter().find(|end| end.leg == leg).unwrap()
    }

    /// For everybody, whose tones he hears.
    fn who_hears_whom(&self) -> HashMap<u32, Vec<u32>> {
        let heard = |end: &FarEnd| {
            let others = self.ends.iter().filter(|other| end.hears(other.hertz));
            others.map(|other| other.leg.index).collect()
        };
        let each = self.ends.iter();
        each.map(|end| (end.leg.index, heard(end))).collect()
    }
}

fn number(codec: AudioCodec) -> u8 {
    match codec {
        AudioCodec::Pcmu => 0,
        AudioCodec::Pcma => 8,
        AudioCodec::G722 => 9,
        AudioCodec::Opus(_) => 111,
    }
}

fn description(codec: AudioCodec, events: bool) -> Description {
    Description {
        codec,
        payload_type: number(codec),
        takes: true,
        events: events.then_some(Events {
            payload_type: 101,
            clock_rate: codec.clock_rate(),
        }),
    }
}

/// Tones far enough apart to be told, all below 3.4 kHz.
fn tone(n: u32) -> f64 {
    300.0 + 60.0 * f64::from(n)
}

fn everybody_but_oneself(peers: u32) -> HashMap<u32, Vec<u32>> {
    let others = |me: u32| (0..peers).filter(|other| *other != me).collect();
    (0..peers).map(|me| (me, others(me))).collect()
}

#[test]
fn a_peer_who_sends_silence_is_told_of_until_he_is_heard_again() {
    let mut room = Room::new(4);
    // A-law knows no zero: its silence is a little above it.
    let silent = room.join(AudioCodec::Pcma, 440.0, 0.0);
    room.join(AudioCodec::Pcma, 1000.0, 8000.0);
    room.pass(300);
    assert_eq!(room.out.alarms, [(silent, Alarm::Begins(()))]);
    room.out.alarms.clear();
    let talker = room.ends.iter_mut().find(|end| end.leg == silent).unwrap();
    talker.amplitude = 8000.0;
    room.pass(300);
    let [(leg, Alarm::Over(lasted))] = room.out.alarms[..] else {
        panic!("{:?}", room.out.alarms);
    };
    assert_eq!(leg, silent);
    assert!((200..=400).contains(&lasted.as_millis()), "{lasted:?}");
}

#[test]
fn a_listener_who_loses_packets_is_sent_redundancy() {
    let opus = AudioCodec::Opus(OpusParameters {
        in_band_fec: true,
        ..OpusParameters::default()
    });
    let mut room = Room::new(4);
    let listener = room.join(opus, 440.0, 0.0);
    let talker = room.join(AudioCodec::Pcma, 1000.0, 8000.0);
    let mut redundant = |percent| {
        room.conference.expect_loss(listener, percent);
        room.end_mut(listener).got.clear();
        // Syllables: only of what sounds like speech there is any.
        for amplitude in [8000.0, 0.0].into_iter().cycle().take(10) {
            room.end_mut(talker).amplitude = amplitude;
            room.pass(120);
        }
        let mut decoder = Decoder::new(opus, SampleRate::Full).unwrap();
        let got = room.end_mut(listener).got.iter();
        let fec = got.map(|payload| decoder.decode_fec(payload, 960, &mut Vec::new()).unwrap());
        fec.filter(|samples| *samples > 0).count() > 5
    };
    assert!(!redundant(0));
    assert!(redundant(20));
    assert!(!redundant(0));
}

#[test]
fn two_with_nothing_in_common_hear_each_other_and_not_themselves() {
    let codecs = [AudioCodec::Pcmu, AudioCodec::Pcma, AudioCodec::G722, OPUS];
    for one in codecs {
        for other in codecs {
            let mut room = Room::new(4);
            room.join(one, 440.0, 8000.0);
            room.join(other, 1000.0, 8000.0);
            room.pass(1500);
            assert_eq!(
                room.who_hears_whom(),
                everybody_but_oneself(2),
                "{one:?} {other:?}"
            );
        }
    }
}

#[test]
fn each_of_eight_hears_the_seven_others() {
    let mut room = Room::new(8);
    for n in 0..8 {
        let codec = [AudioCodec::Pcmu, AudioCodec::Pcma, AudioCodec::G722, OPUS][n as usize % 4];
        room.join(codec, tone(n), 3000.0);
    }
    room.pass(1500);
    assert_eq!(room.who_hears_whom(), everybody_but_oneself(8));
}

#[test]
fn of_fifty_the_loudest_are_heard_by_all_and_no_talker_by_himself() {
    let mut room = Room::new(4);
    for n in 0..50 {
        // Numbers 10 to 13 speak up.
        let loud = (10..14).contains(&n);
        let amplitude = if loud { 5000.0 } else { 300.0 };
        room.join(AudioCodec::Pcma, tone(n), amplitude);
    }
    room.pass(1500);
    for (me, heard) in room.who_hears_whom() {
        let expected: Vec<u32> = (10..14).filter(|other| *other != me).collect();
        assert_eq!(heard, expected, "{me}");
    }
    // All the others hear the same: one encoder is enough for them.
    assert_eq!(room.conference.shared.len(), 1);
}

#[test]
fn peers_come_and_go_while_the_others_talk_on() {
    let mut room = Room::new(8);
    let first = room.join(AudioCodec::Pcmu, 440.0, 8000.0);
    let second = room.join(AudioCodec::Pcmu, 1000.0, 8000.0);
    room.pass(700);
    let third = room.join(OPUS, 1700.0, 8000.0);
    room.pass(1000);
    assert!(room.end(first).hears(1700.0) && room.end(third).hears(440.0));
    room.conference.remove(second);
    room.ends.retain(|end| end.leg != second);
    room.pass(1000);
    assert!(!room.end(first).hears(1000.0) && !room.end(third).hears(1000.0));
    assert!(room.end(first).hears(1700.0) && room.end(third).hears(440.0));
}

#[test]
fn a_voice_is_muted_deafened_turned_up_and_whispered() {
    let mut room = Room::new(8);
    let agent = room.join(AudioCodec::Pcmu, 440.0, 4000.0);
    let customer = room.join(AudioCodec::Pcmu, 1000.0, 4000.0);
    let coach = room.join(AudioCodec::Pcmu, 1700.0, 4000.0);
    room.conference.set_voice(
        coach,
        Voice {
            heard_by: Some(vec![agent]),
            ..Voice::default()
        },
    );
    room.pass(1000);
    assert!(room.end(agent).hears(1700.0) && !room.end(customer).hears(1700.0));
    assert!(room.end(coach).hears(440.0) && room.end(coach).hears(1000.0));
    assert!(!room.end(coach).hears(1700.0));

    let before = room.end(customer).level_of(440.0);
    room.conference.set_voice(
        agent,
        Voice {
            gain_db: 6.0,
            ..Voice::default()
        },
    );
    room.pass(1000);
    let louder = room.end(customer).level_of(440.0) / before;
    assert!((1.9..2.1).contains(&louder), "{louder}");

    for voice in [(true, false), (false, true)] {
        let (muted, deafened) = voice;
        room.conference.set_voice(
            agent,
            Voice {
                muted,
                deafened,
                ..Voice::default()
            },
        );
        room.pass(1000);
        assert_eq!(room.end(customer).hears(440.0), !muted);
        assert_eq!(room.end(agent).hears(1000.0), !deafened);
    }
}

#[test]
fn many_loud_voices_are_turned_down_and_not_clipped() {
    let mut room = Room::new(8);
    for n in 0..5 {
        room.join(AudioCodec::G722, tone(3 * n), 14_000.0);
    }
    room.pass(2000);
    let heard = &room.ends[0].heard;
    let full = heard.iter().filter(|s| s.unsigned_abs() >= 32_700).count();
    assert!(full < heard.len() / 1000, "{full} of {}", heard.len());
    assert_eq!(room.who_hears_whom(), everybody_but_oneself(5));
}

#[test]
fn the_stream_to_a_peer_has_one_packet_a_tick_with_a_marker_at_its_start_only() {
    let mut room = Room::new(4);
    let leg = room.join(AudioCodec::Pcmu, 440.0, 4000.0);
    room.join(OPUS, 1000.0, 4000.0);
    room.now += TICK;
    for _ in 0..3 {
        while room.conference.work(room.now, &mut room.out) {}
        room.now += TICK;
    }
    let sent: Vec<(u32, bool)> = room
        .out
        .payloads
        .iter()
        .filter(|(to, ..)| *to == leg)
        .map(|(_, _, timestamp, marker, _)| (*timestamp, *marker))
        .collect();
    let first = sent[0].0;
    let steps: Vec<(u32, bool)> = sent.iter().map(|(t, m)| (t - first, *m)).collect();
    let expected = [(0, true), (160, false), (320, false), (480, false)];
    assert_eq!(steps, expected);
}

#[test]
fn a_shard_that_was_late_leaves_ticks_out_and_goes_on_in_time() {
    let mut room = Room::new(4);
    room.join(AudioCodec::Pcmu, 440.0, 4000.0);
    room.join(AudioCodec::Pcma, 1000.0, 4000.0);
    room.pass(200);
    let before = room.conference.next_tick();
    room.now += TICK * 50;
    while room.conference.work(room.now, &mut room.out) {}
    assert_eq!(room.conference.next_tick() - before, 50);
    assert_eq!(room.conference.skipped(), 49);
    assert_eq!(room.conference.due(), room.now + TICK);
}
