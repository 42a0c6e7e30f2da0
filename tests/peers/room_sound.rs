//! Rooms whose sound the gateway makes, heard from outside: three peers, clips,
//! keys, voices that are turned off.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gateway::{ROOT_SECRET, Settings};
use crate::support::rtp::{RtpPacket, RtpPeer, Voice, linear};
use crate::support::sip::{OurCall, SipPeer, audio_at};
use crate::support::tone::{strongest, wav};
use crate::support::{Gateway, WebSocket, eventually};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PCMU: u8 = 0;
const EVENTS: u8 = 101;
/// What each of the peers says, in hertz.
const HERTZ: [u32; 3] = [400, 900, 1600];
const NAMES: [&str; 3] = ["alice", "bob", "carol"];
/// What is listened to: 400 ms, in bins of 2.5 Hz.
const WINDOW: usize = 20;

/// Somebody in the room `talk`.
struct Member {
    /// Kept for the dialog.
    _sip: SipPeer,
    _call: OurCall,
    rtp: RtpPeer,
    id: String,
}

struct Conference {
    members: Vec<Member>,
    gateway: Gateway,
}

/// PCMU and telephone events.
fn sdp(media: SocketAddr) -> String {
    let attributes =
        "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n";
    audio_at(media, "0 101", attributes)
}

fn numbers(settings: Settings) -> Settings {
    NAMES.iter().fold(settings, |settings, name| {
        let answer = format!("answer = {{ room = \"talk\", peer = \"{name}\" }}");
        settings.number(name_number(name), &answer)
    })
}

fn name_number(name: &str) -> &'static str {
    match name {
        "alice" => "7001",
        "bob" => "7002",
        _ => "7003",
    }
}

/// So many peers in the room, each saying its tone.
fn conference(settings: Settings, count: usize) -> Conference {
    let mut gateway = numbers(settings).start();
    let members = (0..count)
        .map(|n| {
            let mut sip = SipPeer::open(&mut gateway.ports, LOCALHOST);
            let rtp = RtpPeer::saying(&mut gateway.ports, LOCALHOST, Voice::Tone(HERTZ[n]));
            let number = name_number(NAMES[n]);
            let mut call = sip.invite(gateway.sip(), number, &sdp(rtp.address()));
            let target = sip.expect_answer(&mut call).media_address();
            rtp.talk_to(target, PCMU);
            let id = eventually("the call is in the room", || {
                let room = gateway.api().get("/rooms/talk").data();
                let peers = room["peers"].as_array()?.clone();
                let peer = peers.iter().find(|peer| peer["peer"] == NAMES[n])?;
                Some(peer["call_id"].as_str()?.to_owned())
            });
            Member {
                _sip: sip,
                _call: call,
                rtp,
                id,
            }
        })
        .collect();
    Conference { members, gateway }
}

/// How strong a frequency is in what was heard last, in dB below a full sine.
fn level(packets: &[RtpPacket], hertz: f64) -> f64 {
    let samples = samples(packets);
    let turn = std::f64::consts::TAU * hertz / 8000.0;
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        sine += sample * (turn * n as f64).sin();
        cosine += sample * (turn * n as f64).cos();
    }
    let amplitude = 2.0 * (sine * sine + cosine * cosine).sqrt() / samples.len() as f64;
    20.0 * amplitude.max(1e-6).log10()
}

fn samples(packets: &[RtpPacket]) -> Vec<f64> {
    let octets = packets.iter().flat_map(|packet| &packet.payload);
    octets.map(|octet| linear(*octet)).collect()
}

impl Member {
    /// The last packets of sound that came.
    fn latest(&self) -> Option<Vec<RtpPacket>> {
        let mut heard = self.rtp.heard();
        heard.retain(|packet| packet.payload_type == PCMU);
        let first = heard.len().checked_sub(WINDOW)?;
        Some(heard.split_off(first))
    }

    /// Waits until just these of the three tones are heard.
    #[track_caller]
    fn hears(&self, wanted: [bool; 3]) {
        eventually(&format!("{wanted:?} of {HERTZ:?} Hz heard"), || {
            let latest = self.latest()?;
            let heard = HERTZ.map(|hertz| level(&latest, f64::from(hertz)) > -30.0);
            (heard == wanted).then_some(())
        });
    }
}

impl Conference {
    fn post(&self, path: &str, body: Value) -> Value {
        self.gateway.api().post(path, &body).data()
    }

    fn room(&self) -> Value {
        self.gateway.api().get("/rooms/talk").data()
    }
}

fn three_hear_the_two_others(settings: Settings) {
    let conference = conference(settings, 3);
    conference.members[0].hears([false, true, true]);
    conference.members[1].hears([true, false, true]);
    conference.members[2].hears([true, true, false]);
    let room = conference.room();
    assert_eq!(room["sound"], "mixed");
    for peer in room["peers"].as_array().expect("peers") {
        let audio = &peer["audio"];
        assert_eq!(audio["heard"], true, "{peer}");
        assert!(
            audio["level_dbov"].as_i64().is_some_and(|dbov| dbov > -30),
            "{peer}"
        );
    }
}

on_every_gateway!(
    a_third_peer_hears_both_and_is_heard_by_both,
    super::three_hear_the_two_others
);

#[test]
fn voices_are_muted_deafened_and_whispered() {
    let conference = conference(Gateway::with(), 3);
    let [alice, bob, carol] = &conference.members[..] else {
        panic!("three");
    };
    alice.hears([false, true, true]);
    let of = |name: &str| format!("/rooms/talk/peers/{name}/audio");
    let now = conference.post(&of("carol"), json!({"muted": true}));
    assert_eq!(now["muted"], true);
    alice.hears([false, true, false]);
    // A coach: carol hears both, and is heard by alice alone.
    conference.post(&of("carol"), json!({"muted": false, "heard_by": ["alice"]}));
    alice.hears([false, true, true]);
    bob.hears([true, false, false]);
    carol.hears([true, true, false]);
    conference.post(&of("bob"), json!({"deafened": true}));
    bob.hears([false, false, false]);
    conference.post(&of("bob"), json!({"deafened": false}));
    conference.post(&of("carol"), json!({"heard_by": null}));
    bob.hears([true, false, true]);
}

#[test]
fn a_clip_is_heard_as_its_tone_and_its_end_is_told() {
    let conference = conference(Gateway::with(), 1);
    let alice = &conference.members[0];
    let api = conference.gateway.api();
    let uploaded = api.upload("/assets/tone.wav", "audio/wav", wav(700.0));
    assert_eq!(uploaded.data()["duration_ms"], 2000);
    let mut ws = WebSocket::open(
        &conference.gateway,
        &format!("/call/incoming/{}?token={ROOT_SECRET}", alice.id),
    );
    let path = format!("/call/{}/play", alice.id);
    let played = conference.post(&path, json!({"asset": "tone.wav"}));
    eventually("700 Hz", || {
        let (hertz, purity) = strongest(&samples(&alice.latest()?), 8000.0);
        ((hertz - 700.0).abs() < 5.0 && purity > 0.95).then_some(())
    });
    let told = &ws.wait_for("play_finished")["event"]["play_finished"];
    assert_eq!(
        (&told["play_id"], &told["reason"]),
        (&played["play_id"], &json!("finished"))
    );

    let forever = conference.post(
        "/rooms/talk/play",
        json!({"asset": "tone.wav", "repeat": "forever", "barge_in": true}),
    );
    let path = format!(
        "/rooms/talk/play/{}",
        forever["play_id"].as_str().expect("an id")
    );
    assert_eq!(conference.room()["plays"][0]["play_id"], forever["play_id"]);
    api.delete(&path).data();
    let told = &ws.wait_for("play_finished")["event"]["play_finished"];
    assert_eq!(told["reason"], "stopped");
    api.delete(&path).refused(404, "PLAY_NOT_FOUND");
}

#[test]
fn digits_arrive_as_telephone_events_with_the_end_three_times() {
    let conference = conference(Gateway::with(), 1);
    let alice = &conference.members[0];
    let path = format!("/call/{}/dtmf", alice.id);
    let body = json!({"digits": "1w#", "duration_ms": 80, "pause_ms": 100});
    conference.gateway.api().post(&path, &body).data();
    let events = eventually("six ends", || {
        let mut heard = alice.rtp.heard();
        heard.retain(|packet| packet.payload_type == EVENTS);
        let ends = heard.iter().filter(|packet| packet.payload[1] & 0x80 != 0);
        (ends.count() == 6).then_some(heard)
    });
    // RFC 4733 section 2.5.1: one timestamp for a key, the duration at its end.
    for (code, key) in [
        (1, &events[..events.len() / 2]),
        (11, &events[events.len() / 2..]),
    ] {
        assert!(
            key.iter().all(|packet| packet.payload[0] == code),
            "{key:?}"
        );
        assert!(
            key.iter()
                .all(|packet| packet.timestamp == key[0].timestamp)
        );
        let end = &key[key.len() - 1].payload;
        assert_eq!(u16::from_be_bytes([end[2], end[3]]), 640);
    }
    // 80 ms of the key, 100 of its pause, 500 of the wait.
    let between = events[events.len() - 1]
        .timestamp
        .wrapping_sub(events[0].timestamp);
    assert_eq!(
        Duration::from_millis(u64::from(between / 8)),
        Duration::from_millis(680)
    );
}

#[test]
fn a_caller_alone_hears_the_hold_music_of_his_number() {
    let settings = Gateway::with().number(
        "7009",
        "answer = { room = \"hold\", peer = \"caller\" }\nhold_music = { asset = \"hold.wav\" }",
    );
    let mut gateway = settings.start();
    let api = gateway.api().clone();
    api.upload("/assets/hold.wav", "audio/wav", wav(700.0))
        .data();
    let mut sip = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let rtp = RtpPeer::saying(&mut gateway.ports, LOCALHOST, Voice::Tone(HERTZ[0]));
    let mut call = sip.invite(gateway.sip(), "7009", &sdp(rtp.address()));
    rtp.talk_to(sip.expect_answer(&mut call).media_address(), PCMU);
    eventually("700 Hz", || {
        let heard = rtp.heard();
        let first = heard.len().checked_sub(WINDOW)?;
        let (hertz, purity) = strongest(&samples(&heard[first..]), 8000.0);
        ((hertz - 700.0).abs() < 5.0 && purity > 0.95).then_some(())
    });
}
