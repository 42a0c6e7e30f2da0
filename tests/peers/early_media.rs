//! What is heard before the answer: a number's ring-back by its caller, and a
//! callee's announcement by the room that it is called into. And what the peer
//! of a dialled call hears while it is alone.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ringwire::ids::ShardId;
use ringwire::media::srtp::Unprotector;
use ringwire::sip::routing::by_call_id;
use serde_json::{Value, json};

use crate::srtp::{in_slot, master, savp, their_key};
use crate::support::gateway::Settings;
use crate::support::placement::room_on;
use crate::support::rtp::{RtpPacket, RtpPeer, Voice, linear, packet};
use crate::support::sip::{OurCall, SipMessage, SipPeer, audio_at, pcmu_at};
use crate::support::talker::assert_one_stream;
use crate::support::tone::{strongest, wav};
use crate::support::{Gateway, HookReceiver, WebSocket, eventually};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PCMU: u8 = 0;
const EVENTS: u8 = 101;
/// What a caller hears while it rings, and in an empty room.
const RING_HERTZ: f64 = 425.0;
const HOLD_HERTZ: f64 = 700.0;
/// What the other side says.
const THEIR_HERTZ: u32 = 1000;
/// What is listened to: 400 ms.
const WINDOW: usize = 20;
/// Ten packets that did not come.
const QUIET: Duration = Duration::from_millis(200);
const SHARDS: u8 = 2;

/// The number 7001 asks its hook and has both sounds.
fn with_sounds(settings: Settings, hook: &HookReceiver) -> Gateway {
    let sounds = "ringback = { asset = \"ring.wav\" }\nhold_music = { asset = \"hold.wav\" }";
    let gateway = settings
        .number("7001", &format!("hook = \"{}\"\n{sounds}", hook.url()))
        .start();
    upload(&gateway, "ring.wav", RING_HERTZ);
    upload(&gateway, "hold.wav", HOLD_HERTZ);
    gateway
}

fn upload(gateway: &Gateway, name: &str, hertz: f64) {
    let path = format!("/assets/{name}");
    gateway.api().upload(&path, "audio/wav", wav(hertz)).data();
}

/// PCMU and telephone events.
fn with_keys(media: SocketAddr) -> String {
    let lines = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n";
    audio_at(media, "0 101", lines)
}

/// Waits until this tone, and no other, is what was heard last.
#[track_caller]
fn hears(rtp: &RtpPeer, hertz: f64) {
    eventually(&format!("{hertz} Hz"), || {
        let heard = rtp.heard();
        let first = heard.len().checked_sub(WINDOW)?;
        let octets = heard[first..].iter().flat_map(|packet| &packet.payload);
        let samples: Vec<f64> = octets.map(|octet| linear(*octet)).collect();
        let (found, purity) = strongest(&samples, 8000.0);
        ((found - hertz).abs() < 5.0 && purity > 0.95).then_some(())
    });
}

/// Waits until nothing more comes.
#[track_caller]
fn hears_no_more(rtp: &RtpPeer) {
    let mut last = (usize::MAX, Instant::now());
    eventually("the media has stopped", || {
        let count = rtp.heard().len();
        if count != last.0 {
            last = (count, Instant::now());
        }
        (last.1.elapsed() >= QUIET).then_some(())
    });
}

/// A caller whose call rings with early media.
struct Ringing {
    gateway: Gateway,
    hook: HookReceiver,
    sip: SipPeer,
    call: OurCall,
    rtp: RtpPeer,
    progress: SipMessage,
    id: String,
}

#[track_caller]
fn provisional(sip: &mut SipPeer) -> SipMessage {
    sip.expect("a 101 to 199", |message| {
        message
            .status()
            .is_some_and(|code| (101..200).contains(&code))
    })
}

impl Ringing {
    #[track_caller]
    fn start(settings: Settings) -> Ringing {
        Self::on_shard(settings, None)
    }

    /// With a Call-ID that this shard is responsible for.
    #[track_caller]
    fn on_shard(settings: Settings, shard: Option<u8>) -> Ringing {
        let hook = HookReceiver::silent();
        let mut gateway = with_sounds(settings, &hook);
        let mut sip = SipPeer::open(&mut gateway.ports, LOCALHOST);
        let rtp = RtpPeer::saying(&mut gateway.ports, LOCALHOST, Voice::Tone(THEIR_HERTZ));
        let offer = with_keys(rtp.address());
        let mut calls = 0;
        let call = loop {
            let mut call = sip.invite(gateway.sip(), "7001", &offer);
            calls += 1;
            let owner = by_call_id(call.call_id.as_bytes(), SHARDS);
            if shard.is_none_or(|shard| owner == ShardId(shard)) {
                break call;
            }
            sip.request(&mut call, "CANCEL", "");
            let refusal = sip.expect_final("INVITE");
            sip.acknowledge_refusal(&mut call, &refusal);
        };
        hook.wait_for_posts(calls);
        let id = eventually("the call", || {
            let live = gateway.live_calls();
            let [call] = &live[..] else { return None };
            Some(call["call_id"].as_str()?.to_owned())
        });
        let path = format!("/call/incoming/{id}/action");
        gateway.api().post(&path, &json!({"action": "Ring"})).data();
        let progress = provisional(&mut sip);
        Ringing {
            gateway,
            hook,
            sip,
            call,
            rtp,
            progress,
            id,
        }
    }

    fn act(&self, body: &Value) {
        let path = format!("/call/incoming/{}/action", self.id);
        self.gateway.api().post(&path, body).data();
    }

    #[track_caller]
    fn accept(&mut self, room: &str) -> SipMessage {
        self.act(&json!({"action": "Accept", "stream": {"room": room, "peer": "caller"}}));
        self.sip.expect_answer(&mut self.call)
    }

    fn pairs_in_use(&self) -> u64 {
        self.gateway.counted("rtp_port_pairs_in_use", "")
    }
}

fn sound(heard: &[RtpPacket]) -> Vec<RtpPacket> {
    let mut heard = heard.to_vec();
    heard.retain(|packet| packet.payload_type == PCMU);
    heard
}

fn a_caller_hears_the_ringback(settings: Settings) {
    let mut ringing = Ringing::start(settings);
    assert_eq!(ringing.progress.status(), Some(183));
    assert!(ringing.progress.start.ends_with(" Session Progress"));
    hears(&ringing.rtp, RING_HERTZ);
    let call = ringing.gateway.live_calls().remove(0);
    assert_eq!(call["state"], "ringing", "{call}");
    assert!(
        call["early_ms"].is_u64() && call["answered_ms"].is_null(),
        "{call}"
    );
    assert_eq!(
        ringing.gateway.api().get("/rooms").data()["rooms"],
        json!([])
    );

    let answer = ringing.accept("desk");
    // RFC 3261 section 13.2.1: the answer in a provisional response is the one
    // of the 2xx.
    assert_eq!(answer.body, ringing.progress.body);
    hears(&ringing.rtp, HOLD_HERTZ);
    assert_one_stream(&sound(&ringing.rtp.heard()), 8000);

    // Somebody comes in: the two hear each other.
    ringing.rtp.talk_to(answer.media_address(), PCMU);
    let mut bob = SipPeer::open(&mut ringing.gateway.ports, LOCALHOST);
    let media = RtpPeer::saying(&mut ringing.gateway.ports, LOCALHOST, Voice::Tone(1300));
    ringing.gateway.dial(bob.address(), "desk", "bob");
    let invite = bob.expect_request("INVITE");
    bob.reply(&invite, 200, "OK", "bob", &with_keys(media.address()));
    media.talk_to(invite.media_address(), PCMU);
    hears(&media, f64::from(THEIR_HERTZ));
    hears(&ringing.rtp, 1300.0);
    assert_one_stream(&sound(&ringing.rtp.heard()), 8000);
}

on_every_gateway!(
    a_caller_hears_the_ringback_of_its_number_before_the_answer,
    super::a_caller_hears_the_ringback
);

#[test]
fn the_stream_goes_on_wherever_the_dialog_and_the_room_live() {
    for shard in 0..SHARDS {
        let mut ringing = Ringing::on_shard(Gateway::with().shards(SHARDS), Some(shard));
        hears(&ringing.rtp, RING_HERTZ);
        let answer = ringing.accept(&room_on(1 - shard, SHARDS));
        assert_eq!(answer.body, ringing.progress.body);
        ringing.rtp.talk_to(answer.media_address(), PCMU);
        hears(&ringing.rtp, HOLD_HERTZ);
        assert_one_stream(&sound(&ringing.rtp.heard()), 8000);
        let call = ringing.gateway.live_calls().remove(0);
        eventually("the caller is heard", || {
            let call = ringing.gateway.api().get(&format!("/call/{}", ringing.id));
            let received = call.data()["media"]["packets_received"].as_u64()?;
            (received > 10).then_some(())
        });
        assert_eq!(ringing.pairs_in_use(), 1, "{call}");
        ringing.sip.request(&mut ringing.call, "BYE", "");
        ringing.sip.expect_final("BYE");
        ringing.gateway.wait_until_idle();
        eventually("the ports are free", || {
            (ringing.pairs_in_use() == 0).then_some(())
        });
    }
}

#[test]
fn a_caller_whose_room_on_another_shard_is_full_rings_on() {
    let settings = Gateway::with()
        .shards(SHARDS)
        .table("[sound]\nroom_capacity = 2");
    let mut ringing = Ringing::on_shard(settings, Some(0));
    let room = room_on(1, SHARDS);
    for name in ["one", "two"] {
        let mut phone = SipPeer::open(&mut ringing.gateway.ports, LOCALHOST);
        ringing.gateway.dial(phone.address(), &room, name);
        phone.expect_request("INVITE");
    }
    hears(&ringing.rtp, RING_HERTZ);
    let path = format!("/call/incoming/{}/action", ringing.id);
    let body = json!({"action": "Accept", "stream": {"room": room, "peer": "caller"}});
    let refused = ringing.gateway.api().post(&path, &body);
    refused.refused(409, "ROOM_FULL");
    ringing.rtp.forget();
    hears(&ringing.rtp, RING_HERTZ);
    let answer = ringing.accept("desk");
    assert_eq!(answer.body, ringing.progress.body);
    hears(&ringing.rtp, HOLD_HERTZ);
}

#[test]
fn a_caller_that_gives_up_during_the_ringback_is_gone_with_its_ports() {
    let mut ringing = Ringing::start(Gateway::with());
    hears(&ringing.rtp, RING_HERTZ);
    assert_eq!(ringing.pairs_in_use(), 1);
    ringing.sip.request(&mut ringing.call, "CANCEL", "");
    let refusal = ringing.sip.expect_final("INVITE");
    assert_eq!(refusal.status(), Some(487));
    ringing.sip.acknowledge_refusal(&mut ringing.call, &refusal);
    hears_no_more(&ringing.rtp);
    assert_eq!(
        ringing.hook.events_to_the_end(),
        [
            "notify.arrived",
            "notify.cancelled",
            "incoming.sip.cancelled",
            "incoming.ended"
        ]
    );
    assert_eq!(ringing.pairs_in_use(), 0);
}

#[test]
fn a_caller_is_refused_after_the_ringback() {
    let mut ringing = Ringing::start(Gateway::with());
    hears(&ringing.rtp, RING_HERTZ);
    ringing.act(&json!({"action": "End"}));
    let refusal = ringing.sip.expect_final("INVITE");
    assert_eq!(refusal.status(), Some(486));
    ringing.sip.acknowledge_refusal(&mut ringing.call, &refusal);
    hears_no_more(&ringing.rtp);
    assert_eq!(
        ringing.hook.events_to_the_end(),
        [
            "notify.arrived",
            "notify.rejected",
            "incoming.rejected",
            "incoming.ended"
        ]
    );
    assert_eq!(ringing.pairs_in_use(), 0);
}

#[test]
fn what_a_caller_says_while_it_rings_is_nobodys() {
    let mut ringing = Ringing::start(Gateway::with());
    let target = ringing.progress.media_address();
    ringing.rtp.talk_to(target, PCMU);
    // RFC 4733 section 2.3: the key 5, at its end.
    for sequence in 1..4 {
        let mut key = packet(EVENTS, sequence, 160, 7, 0);
        key.truncate(12);
        key.extend([5, 0x8a, 0x03, 0x20]);
        ringing.rtp.send(target, &key);
    }
    eventually("the caller is received", || {
        let call = ringing.gateway.api().get(&format!("/call/{}", ringing.id));
        let received = call.data()["media"]["packets_received"].as_u64()?;
        (received > 20).then_some(())
    });
    hears(&ringing.rtp, RING_HERTZ);
    ringing.accept("desk");
    ringing.sip.request(&mut ringing.call, "BYE", "");
    ringing.sip.expect_final("BYE");
    assert_eq!(
        ringing.hook.events_to_the_end(),
        [
            "notify.arrived",
            "notify.accepted",
            "incoming.accepted",
            "incoming.sip.bye",
            "incoming.ended"
        ]
    );
}

/// Calls 7001 with this offer, and lets it ring.
#[track_caller]
fn rings_with(gateway: &mut Gateway, hook: &HookReceiver, offer: &str) -> (SipPeer, SipMessage) {
    let mut sip = SipPeer::open(&mut gateway.ports, LOCALHOST);
    sip.invite(gateway.sip(), "7001", offer);
    let id = hook.wait_for("notify.arrived").call_id();
    let path = format!("/call/incoming/{id}/action");
    gateway.api().post(&path, &json!({"action": "Ring"})).data();
    let progress = provisional(&mut sip);
    (sip, progress)
}

#[test]
fn without_an_offer_there_is_no_early_media() {
    let hook = HookReceiver::silent();
    let mut gateway = with_sounds(Gateway::with(), &hook);
    let (_sip, progress) = rings_with(&mut gateway, &hook, "");
    assert_eq!((progress.status(), &*progress.body), (Some(180), ""));
    assert_eq!(gateway.counted("rtp_port_pairs_in_use", ""), 0);
}

#[test]
fn a_ringback_that_is_not_there_is_told_and_leaves_a_180() {
    let hook = HookReceiver::silent();
    let lines = format!(
        "hook = \"{}\"\nringback = {{ asset = \"none\" }}",
        hook.url()
    );
    let mut gateway = Gateway::with().number("7001", &lines).start();
    let media = RtpPeer::open(&mut gateway.ports, LOCALHOST, 0);
    let offer = pcmu_at(media.address());
    let (_sip, progress) = rings_with(&mut gateway, &hook, &offer);
    assert_eq!((progress.status(), &*progress.body), (Some(180), ""));
    hook.wait_for("incoming.err");
}

#[test]
fn a_ringback_is_protected_with_the_keys_of_the_answer() {
    let hook = HookReceiver::silent();
    let mut gateway = with_sounds(Gateway::with(), &hook);
    let socket = UdpSocket::bind((LOCALHOST, gateway.ports.one())).expect("a media port");
    let patience = Some(Duration::from_secs(5));
    socket.set_read_timeout(patience).expect("a timeout");
    let offer = savp(socket.local_addr().expect("an address"), 1);
    let (_sip, progress) = rings_with(&mut gateway, &hook, &offer);
    assert_eq!(progress.status(), Some(183));
    let key = master(&their_key(&progress));
    let mut unprotector = Unprotector::new(&key).expect("a key");
    let mut samples = Vec::new();
    let mut buffer = [0; 2048];
    while samples.len() < WINDOW * 160 {
        let (len, _) = socket.recv_from(&mut buffer).expect("a packet");
        let plain = in_slot(&buffer[..len], |packet| {
            unprotector.rtp(packet).expect("authentic");
        });
        samples.extend(plain[12..].iter().map(|octet| linear(*octet)));
    }
    let (hertz, purity) = strongest(&samples, 8000.0);
    assert!((hertz - RING_HERTZ).abs() < 5.0, "{hertz} Hz");
    assert!(purity > 0.95, "{purity}");
}

/// Somebody is dialled into the room `lobby` with these further fields.
fn dial(gateway: &Gateway, callee: SocketAddr, peer: &str, fields: &Value) -> (String, String) {
    let mut body = json!({
        "sip_server": callee.to_string(),
        "from_number": "1000",
        "to_number": "2000",
        "streaming": {"room": "lobby", "peer": peer},
    });
    for (name, value) in fields.as_object().expect("fields") {
        body[name] = value.clone();
    }
    let call = gateway.dial_with(body);
    (call.id, call.ws)
}

#[test]
fn a_callee_that_waits_alone_hears_the_music_of_the_request() {
    let mut gateway = Gateway::with().start();
    upload(&gateway, "ring.wav", RING_HERTZ);
    upload(&gateway, "hold.wav", HOLD_HERTZ);
    let mut phone = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let rtp = RtpPeer::saying(&mut gateway.ports, LOCALHOST, Voice::Tone(THEIR_HERTZ));
    let sounds = json!({"hold_music": {"asset": "hold.wav"}, "ringback": {"asset": "ring.wav"}});
    dial(&gateway, phone.address(), "first", &sounds);
    let invite = phone.expect_request("INVITE");
    phone.reply(&invite, 200, "OK", "phone", &with_keys(rtp.address()));
    rtp.talk_to(invite.media_address(), PCMU);
    hears(&rtp, HOLD_HERTZ);

    // While another is called it rings; what that one says comes instead.
    let mut other = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media = RtpPeer::saying(&mut gateway.ports, LOCALHOST, Voice::Tone(1300));
    dial(&gateway, other.address(), "second", &json!({}));
    let invite = other.expect_request("INVITE");
    hears(&rtp, RING_HERTZ);
    other.reply(&invite, 200, "OK", "other", &with_keys(media.address()));
    media.talk_to(invite.media_address(), PCMU);
    hears(&rtp, 1300.0);
}

#[test]
fn a_callee_hears_the_music_of_the_number_that_calls_it() {
    let lines = "hold_music = { asset = \"hold.wav\" }";
    let mut gateway = Gateway::with().number("1000", lines).start();
    upload(&gateway, "hold.wav", HOLD_HERTZ);
    let mut phone = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let rtp = RtpPeer::open(&mut gateway.ports, LOCALHOST, 0);
    dial(&gateway, phone.address(), "first", &json!({}));
    let invite = phone.expect_request("INVITE");
    phone.reply(&invite, 200, "OK", "phone", &with_keys(rtp.address()));
    hears(&rtp, HOLD_HERTZ);
}

#[test]
fn sounds_that_cannot_be_are_refused_by_their_field() {
    let gateway = Gateway::with().start();
    let dialled = |fields: Value| {
        let mut body = json!({
            "sip_server": "127.0.0.1:9", "from_number": "1000", "to_number": "2000",
            "streaming": {"room": "lobby", "peer": "callee"},
        });
        let (name, value) = fields
            .as_object()
            .expect("a field")
            .iter()
            .next()
            .expect("one");
        body[name] = value.clone();
        gateway.api().post("/call/outgoing", &body)
    };
    dialled(json!({"hold_music": {"asset": "none.wav"}})).refused(404, "ASSET_NOT_FOUND");
    for (fields, words) in [
        (
            json!({"hold_music": {}}),
            "hold_music: names no sound; write ",
        ),
        (
            json!({"ringback": {"asset": "../x"}}),
            "ringback: \"../x\" is no asset's name",
        ),
        (
            json!({"ringback": {"url": "x.mp3"}}),
            "ringback: \"x.mp3\" is no URL",
        ),
        (
            json!({"hold_music": {"asset": "a", "url": "http://b/c"}}),
            "hold_music: has both asset and url; write one of them",
        ),
    ] {
        let refused = dialled(fields);
        let message = refused.body["message"]
            .as_str()
            .expect("a message")
            .to_owned();
        refused.refused(400, "BAD_REQUEST");
        assert!(message.starts_with(words), "{message}");
    }
    assert_eq!(gateway.calls(), 0);
}

/// A caller waits in the room `lobby` with the ring-back of its number; a
/// callee plays an announcement before it answers, or never does.
fn the_room_hears_the_callee(settings: Settings) {
    let lines =
        "answer = { room = \"lobby\", peer = \"caller\" }\nringback = { asset = \"ring.wav\" }";
    let mut gateway = settings.number("7002", lines).start();
    upload(&gateway, "ring.wav", RING_HERTZ);
    let mut alice = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let ear = RtpPeer::saying(&mut gateway.ports, LOCALHOST, Voice::Tone(1300));
    let mut call = alice.invite(gateway.sip(), "7002", &with_keys(ear.address()));
    ear.talk_to(alice.expect_answer(&mut call).media_address(), PCMU);

    let mut trunk = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let announcement = RtpPeer::saying(&mut gateway.ports, LOCALHOST, Voice::Tone(THEIR_HERTZ));
    let voice = RtpPeer::saying(&mut gateway.ports, LOCALHOST, Voice::Tone(1600));
    let (id, ws) = dial(&gateway, trunk.address(), "callee", &json!({}));
    let mut ws = WebSocket::open(&gateway, &ws);
    let invite = trunk.expect_request("INVITE");
    hears(&ear, RING_HERTZ);
    let early = with_keys(announcement.address());
    trunk.reply(&invite, 183, "Session Progress", "trunk", &early);
    announcement.talk_to(invite.media_address(), PCMU);
    ws.wait_for("sip.early 183");
    hears(&ear, f64::from(THEIR_HERTZ));
    // What menus before the answer need.
    hears(&announcement, 1300.0);
    let told = gateway.api().get(&format!("/call/{id}")).data();
    assert_eq!(told["state"], "early", "{told}");

    // The 200 moves the media to where the callee itself is.
    announcement.be_quiet();
    let answer = with_keys(voice.address()).replace("tester 1 1", "tester 1 2");
    trunk.reply(&invite, 200, "OK", "trunk", &answer);
    voice.talk_to(invite.media_address(), PCMU);
    trunk.expect_request("ACK");
    hears(&ear, 1600.0);
    assert_one_stream(&sound(&ear.heard()), 8000);
    gateway.api().delete(&format!("/call/{id}")).data();
    trunk.expect_request("BYE");
}

on_every_gateway!(
    the_early_media_of_a_callee_is_heard_in_the_room,
    super::the_room_hears_the_callee
);

#[test]
fn an_announcement_is_heard_to_its_end_and_then_the_call_has_failed() {
    let mut gateway = Gateway::with()
        .number("7002", "answer = { room = \"lobby\", peer = \"caller\" }")
        .start();
    let mut alice = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let ear = RtpPeer::open(&mut gateway.ports, LOCALHOST, 0);
    let mut call = alice.invite(gateway.sip(), "7002", &pcmu_at(ear.address()));
    alice.expect_answer(&mut call);
    let mut trunk = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let announcement = RtpPeer::saying(&mut gateway.ports, LOCALHOST, Voice::Tone(THEIR_HERTZ));
    let (id, ws) = dial(&gateway, trunk.address(), "callee", &json!({}));
    let mut ws = WebSocket::open(&gateway, &ws);
    let invite = trunk.expect_request("INVITE");
    let early = pcmu_at(announcement.address());
    trunk.reply(&invite, 183, "Session Progress", "trunk", &early);
    announcement.talk_to(invite.media_address(), PCMU);
    hears(&ear, f64::from(THEIR_HERTZ));
    trunk.reply(&invite, 404, "Not Found", "trunk", "");
    assert_eq!(
        ws.events_to_the_end(),
        ["sip.early 183", "sip.failure 404", "ended"]
    );
    let told = gateway.api().get(&format!("/call/{id}")).data();
    assert!(
        told["early_ms"].is_u64() && told["answered_ms"].is_null(),
        "{told}"
    );
}
