//! The relay, packet by packet, with RTP ends made by hand: who hears whom,
//! under which numbers, and when it stops.

use serde_json::Value;

use crate::support::gateway::Settings;
use crate::support::rtp::{RtpPeer, packet};
use crate::support::sip::{OurCall, SipPeer, audio_at, pcmu_at};
use crate::support::{Gateway, WebSocket, eventually};

const LOCALHOST: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PCMU: u8 = 0;
/// What each end fills its packets with.
const ALICE: u8 = 0x11;
const BOB: u8 = 0x22;
const STRANGER: u8 = 0x33;
/// Enough packets to say that somebody is heard.
const SOME: usize = 10;

/// A caller in the room `talk`, and a callee the gateway called into it.
pub struct Pair {
    pub gateway: Gateway,
    caller: SipPeer,
    call: OurCall,
    pub alice: RtpPeer,
    /// Where the gateway takes Alice's media.
    pub for_alice: std::net::SocketAddr,
    callee: SipPeer,
    pub bob: RtpPeer,
    pub for_bob: std::net::SocketAddr,
    outgoing: String,
}

pub fn pair(settings: Settings) -> Pair {
    let mut gateway = settings
        .number("7001", r#"answer = { room = "talk", peer = "alice" }"#)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let alice = RtpPeer::open(&mut gateway.ports, LOCALHOST, ALICE);
    let mut call = caller.invite(gateway.sip(), "7001", &pcmu_at(alice.address()));
    let for_alice = caller.expect_answer(&mut call).media_address();

    let mut callee = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let bob = RtpPeer::open(&mut gateway.ports, LOCALHOST, BOB);
    let outgoing = gateway.dial(callee.address(), "talk", "bob").id;
    let invite = callee.expect_request("INVITE");
    let for_bob = invite.media_address();
    callee.reply(&invite, 200, "OK", "bob", &pcmu_at(bob.address()));
    callee.expect_request("ACK");
    Pair {
        gateway,
        caller,
        call,
        alice,
        for_alice,
        callee,
        bob,
        for_bob,
        outgoing,
    }
}

impl Pair {
    /// Both talk, and both are heard.
    fn talk(&self) {
        self.alice.talk_to(self.for_alice, PCMU);
        self.bob.talk_to(self.for_bob, PCMU);
        self.alice.wait_for(SOME, BOB);
        self.bob.wait_for(SOME, ALICE);
    }
}

fn two_hear_each_other(settings: Settings) {
    let pair = pair(settings);
    pair.talk();
    for (ear, port) in [(&pair.alice, pair.for_alice), (&pair.bob, pair.for_bob)] {
        let heard = ear.heard();
        for packet in &heard {
            assert_eq!((packet.payload_type, packet.source), (PCMU, port));
            assert_eq!(packet.ssrc, heard[0].ssrc, "one stream has one SSRC");
        }
    }
}

on_every_gateway!(
    two_peers_of_a_room_hear_each_other,
    super::two_hear_each_other
);

#[test]
fn the_rtp_port_is_even() {
    let pair = pair(Gateway::with());
    assert_eq!((pair.for_alice.port() % 2, pair.for_bob.port() % 2), (0, 0));
}

#[test]
fn the_echo_number_sends_back_what_it_gets() {
    let mut gateway = Gateway::with().number("7000", r#"answer = "echo""#).start();
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let alice = RtpPeer::open(&mut gateway.ports, LOCALHOST, ALICE);
    let mut call = caller.invite(gateway.sip(), "7000", &pcmu_at(alice.address()));
    alice.talk_to(caller.expect_answer(&mut call).media_address(), PCMU);
    alice.wait_for(SOME, ALICE);
}

#[test]
fn a_stranger_is_not_heard() {
    let mut pair = pair(Gateway::with());
    pair.talk();
    let stranger = RtpPeer::open(&mut pair.gateway.ports, LOCALHOST, STRANGER);
    for sequence in 0..50 {
        stranger.send(
            pair.for_alice,
            &packet(PCMU, sequence, 160 * u32::from(sequence), 99, STRANGER),
        );
    }
    // Packets of Alice that were sent after the stranger's have come through.
    pair.bob.forget();
    pair.bob.wait_for(5 * SOME, ALICE);
    let foreign = pair
        .bob
        .heard()
        .iter()
        .filter(|packet| packet.payload.contains(&STRANGER))
        .count();
    assert_eq!(foreign, 0, "the stranger was relayed");
}

#[test]
fn a_peer_on_hold_hears_nothing_until_it_resumes() {
    let mut pair = pair(Gateway::with());
    pair.talk();
    let held = audio_at(
        pair.alice.address(),
        "0",
        "a=rtpmap:0 PCMU/8000\r\na=inactive\r\n",
    );
    pair.caller.request(&mut pair.call, "INVITE", &held);
    let answer = pair.caller.expect_final("INVITE");
    assert!(answer.has_sdp_line("a=inactive"), "{}", answer.body);
    pair.caller.request(&mut pair.call, "ACK", "");
    assert_eq!(pair.state()["held"], true, "{}", pair.state());

    // What was on its way has arrived once ten packet times pass in silence;
    // Bob talks all the while.
    eventually("nothing is sent to Alice", || {
        pair.alice.forget();
        std::thread::sleep(std::time::Duration::from_millis(200));
        pair.alice.heard().is_empty().then_some(())
    });

    let resumed = pcmu_at(pair.alice.address());
    pair.caller.request(&mut pair.call, "INVITE", &resumed);
    pair.caller.expect_answer(&mut pair.call);
    pair.alice.wait_for(SOME, BOB);
}

impl Pair {
    /// The caller's call as the API tells it.
    pub fn state(&self) -> Value {
        let calls = self.gateway.live_calls();
        calls
            .into_iter()
            .find(|call| call["direction"] == "incoming")
            .unwrap_or(Value::Null)
    }
}

#[test]
fn media_follows_a_re_invite_to_another_address() {
    let mut pair = pair(Gateway::with());
    pair.talk();
    let moved = RtpPeer::open(&mut pair.gateway.ports, LOCALHOST, ALICE + 1);
    pair.caller
        .request(&mut pair.call, "INVITE", &pcmu_at(moved.address()));
    let target = pair.caller.expect_answer(&mut pair.call).media_address();
    moved.talk_to(target, PCMU);
    moved.wait_for(SOME, BOB);
    let heard = pair.bob.wait_for(SOME, ALICE + 1);
    // Bob hears one stream all along.
    assert_eq!(heard[0].ssrc, pair.bob.wait_for(1, ALICE)[0].ssrc);
}

#[test]
fn a_change_of_source_goes_on_in_sequence() {
    let pair = pair(Gateway::with());
    pair.alice.talk_to(pair.for_alice, PCMU);
    pair.bob.wait_for(SOME, ALICE);
    pair.alice.be_quiet();
    // The same address starts a new stream: other SSRC, other numbers.
    for n in 0..20_u16 {
        pair.alice.send(
            pair.for_alice,
            &packet(
                PCMU,
                40_000 + n,
                5_000_000 + 160 * u32::from(n),
                77,
                STRANGER,
            ),
        );
    }
    let second = pair.bob.wait_for(15, STRANGER);
    let first = pair.bob.wait_for(SOME, ALICE);
    let last = first.last().expect("a packet");
    assert_eq!(second[0].ssrc, last.ssrc, "the SSRC towards Bob is stable");
    let step = second[0].sequence.wrapping_sub(last.sequence);
    assert!(
        (1..100).contains(&step),
        "sequence {} after {}",
        second[0].sequence,
        last.sequence
    );
}

#[test]
fn payload_numbers_are_mapped_where_the_ends_use_different_ones() {
    let mut gateway = Gateway::with()
        .number("7001", r#"answer = { room = "talk", peer = "alice" }"#)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let alice = RtpPeer::open(&mut gateway.ports, LOCALHOST, ALICE);
    let offer = audio_at(alice.address(), "97", "a=rtpmap:97 opus/48000/2\r\n");
    let mut call = caller.invite(gateway.sip(), "7001", &offer);
    let answer = caller.expect_answer(&mut call);
    assert!(
        answer.body.contains("a=rtpmap:97 opus/48000/2"),
        "the offer's number: {}",
        answer.body
    );

    let mut callee = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let bob = RtpPeer::open(&mut gateway.ports, LOCALHOST, BOB);
    gateway.dial(callee.address(), "talk", "bob");
    let invite = callee.expect_request("INVITE");
    let opus: u8 = invite
        .body
        .lines()
        .find_map(|line| {
            line.strip_prefix("a=rtpmap:")?
                .strip_suffix(" opus/48000/2")?
                .parse()
                .ok()
        })
        .unwrap_or_else(|| {
            panic!(
                "opus is offered as the room's peer can take it: {}",
                invite.body
            )
        });
    let for_bob = invite.media_address();
    let lines = format!("a=rtpmap:{opus} opus/48000/2\r\n");
    callee.reply(
        &invite,
        200,
        "OK",
        "bob",
        &audio_at(bob.address(), &opus.to_string(), &lines),
    );
    callee.expect_request("ACK");

    alice.talk_to(answer.media_address(), 97);
    bob.talk_to(for_bob, opus);
    assert_eq!(bob.wait_for(SOME, ALICE)[0].payload_type, opus);
    assert_eq!(alice.wait_for(SOME, BOB)[0].payload_type, 97);
}

#[test]
fn early_media_is_heard_before_the_answer_and_moves_with_it() {
    let mut gateway = Gateway::with()
        .number("7001", r#"answer = { room = "talk", peer = "alice" }"#)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let alice = RtpPeer::open(&mut gateway.ports, LOCALHOST, ALICE);
    let mut call = caller.invite(gateway.sip(), "7001", &pcmu_at(alice.address()));
    let for_alice = caller.expect_answer(&mut call).media_address();
    alice.talk_to(for_alice, PCMU);

    let mut callee = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let announcement = RtpPeer::open(&mut gateway.ports, LOCALHOST, STRANGER);
    let bob = RtpPeer::open(&mut gateway.ports, LOCALHOST, BOB);
    gateway.dial(callee.address(), "talk", "bob");
    let invite = callee.expect_request("INVITE");
    let for_bob = invite.media_address();
    callee.reply(
        &invite,
        183,
        "Session Progress",
        "bob",
        &pcmu_at(announcement.address()),
    );
    announcement.talk_to(for_bob, PCMU);
    alice.wait_for(SOME, STRANGER);

    announcement.be_quiet();
    callee.reply(&invite, 200, "OK", "bob", &pcmu_at(bob.address()));
    callee.expect_request("ACK");
    bob.talk_to(for_bob, PCMU);
    alice.wait_for(SOME, BOB);
    bob.wait_for(SOME, ALICE);
}

#[test]
fn a_peer_whose_sdp_names_an_unreachable_address_is_learned_from_its_packets() {
    let mut gateway = Gateway::with().number("7000", r#"answer = "echo""#).start();
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let alice = RtpPeer::open(&mut gateway.ports, LOCALHOST, ALICE);
    // Behind a NAT: a private address that is not where the packets come from.
    let private = std::net::SocketAddr::from(([192, 168, 77, 5], 40_000));
    let mut call = caller.invite(gateway.sip(), "7000", &pcmu_at(private));
    alice.talk_to(caller.expect_answer(&mut call).media_address(), PCMU);
    alice.wait_for(SOME, ALICE);
}

#[test]
fn a_call_without_media_is_ended_with_an_event() {
    let mut gateway = Gateway::with().rtp("inactivity_timeout_s = 1").start();
    let mut callee = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let bob = RtpPeer::open(&mut gateway.ports, LOCALHOST, BOB);
    let call = gateway.dial(callee.address(), "talk", "bob");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    let invite = callee.expect_request("INVITE");
    callee.reply(&invite, 200, "OK", "bob", &pcmu_at(bob.address()));
    callee.expect_request("ACK");
    let bye = callee.expect_request("BYE");
    callee.reply(&bye, 200, "OK", "bob", "");
    let events = ws.events_to_the_end();
    assert_eq!(events.first().map(String::as_str), Some("sip.accepted 200"));
    assert!(
        events.contains(&"err".to_owned()) && events.contains(&"terminated".to_owned()),
        "{events:?}"
    );
}

#[test]
fn a_held_call_outlives_the_silence() {
    let mut pair = pair(Gateway::with().rtp("inactivity_timeout_s = 1"));
    pair.talk();
    let held = audio_at(
        pair.alice.address(),
        "0",
        "a=rtpmap:0 PCMU/8000\r\na=inactive\r\n",
    );
    pair.caller.request(&mut pair.call, "INVITE", &held);
    pair.caller.expect_final("INVITE");
    pair.caller.request(&mut pair.call, "ACK", "");
    pair.alice.be_quiet();
    // A call that is not held and as silent ends; when it did, the held one
    // has been silent for longer.
    pair.bob.be_quiet();
    let bye = pair.callee.expect_request("BYE");
    pair.callee.reply(&bye, 200, "OK", "bob", "");
    eventually("only the held call is left", || {
        (pair.gateway.calls() == 1).then_some(())
    });
    assert_eq!(pair.state()["state"], "active");
}

#[test]
fn the_api_tells_what_the_media_did() {
    let pair = pair(Gateway::with());
    pair.talk();
    let data = pair
        .gateway
        .api()
        .get(&format!("/call/{}", pair.outgoing))
        .data();
    assert_eq!(
        (&data["direction"], &data["state"]),
        (&"outgoing".into(), &"active".into()),
        "{data}"
    );
    let text = data.to_string();
    for word in [
        "packets_received",
        "packets_sent",
        "packets_lost",
        "jitter_ms",
        "last_packet_ms_ago",
    ] {
        assert!(text.contains(word), "{word} is missing in {data}");
    }
    let received = find(&data, "packets_received").and_then(Value::as_u64);
    assert!(received >= Some(SOME as u64), "{data}");

    let rooms = pair.gateway.api().get("/rooms/talk").data();
    let text = rooms.to_string();
    assert!(
        text.contains("\"alice\"") && text.contains("\"bob\""),
        "{rooms}"
    );
}

/// The first field of this name, however deep.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = value.as_object()?;
    fields
        .get(name)
        .or_else(|| fields.values().find_map(|field| find(field, name)))
}
