//! Keys that cross a room from telephone events to SIP INFO and back.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;

use crate::support::gateway::Gateway;
use crate::support::ports::Ports;
use crate::support::rtp::RtpPeer;
use crate::support::sip::{OurCall, SipMessage, SipPeer, audio_at, pcmu_at};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const EVENTS: &str = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n";

/// A telephone event's packet: the key is 5 (RFC 4733 section 2.3).
fn event(sequence: u16, end: bool, duration: u16) -> Vec<u8> {
    let mut bytes = vec![0x80, if sequence == 1 { 0x80 | 101 } else { 101 }];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(1600u32.to_be_bytes());
    bytes.extend(0x0a11_ce00_u32.to_be_bytes());
    bytes.extend([5, if end { 0x8a } else { 10 }]);
    bytes.extend(duration.to_be_bytes());
    bytes
}

/// An INFO of the peer in the dialog that this INVITE made.
fn info(invite: &SipMessage, peer: &SipPeer, body: &str) -> String {
    format!(
        "INFO {} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bK-info\r\n\
         Max-Forwards: 70\r\nFrom: {};tag=bob\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 INFO\r\n\
         Content-Type: application/dtmf-relay\r\nContent-Length: {}\r\n\r\n{body}",
        invite.contact(),
        peer.address(),
        invite.header("to"),
        invite.header("from"),
        invite.header("call-id"),
        body.len()
    )
}

#[test]
fn keys_cross_from_events_to_info_and_back() {
    let mut gateway = Gateway::with()
        .number("7000", r#"answer = { room = "keys", peer = "alice" }"#)
        .start();
    let mut ports = Ports::lease();
    let mut alice = SipPeer::open(&mut ports, HERE);
    let alices_media = RtpPeer::open(&mut ports, HERE, 0x11);
    let offer = audio_at(alices_media.address(), "0 101", EVENTS);
    let mut call: OurCall = alice.invite(gateway.sip(), "7000", &offer);
    let answer = alice.expect_answer(&mut call);

    // Bob has no telephone events, and says that he takes INFO.
    let mut bob = SipPeer::open(&mut ports, HERE);
    let bobs_media = RtpPeer::open(&mut ports, HERE, 0x22);
    gateway.dial(bob.address(), "keys", "bob");
    let invite = bob.expect_request("INVITE");
    let allow = "Allow: INVITE, ACK, CANCEL, BYE, INFO\r\n";
    let taken = pcmu_at(bobs_media.address());
    bob.reply_with(&invite, 200, "OK", "bob", allow, &taken);
    bob.expect_request("ACK");

    for (sequence, end) in [(1, false), (2, false), (3, true), (4, true), (5, true)] {
        let duration = 160 * sequence.min(3);
        let bytes = event(sequence, end, duration);
        alices_media.send(answer.media_address(), &bytes);
    }
    let received = bob.expect_request("INFO");
    assert_eq!(received.header("content-type"), "application/dtmf-relay");
    assert_eq!(received.body, "Signal=5\r\nDuration=60\r\n");
    bob.reply(&received, 200, "OK", "bob", "");

    let body = "Signal=9\r\nDuration=100\r\n";
    let text = info(&invite, &bob, body);
    bob.send(gateway.sip(), text.as_bytes());
    assert_eq!(bob.expect_final("INFO").status(), Some(200));
    crate::support::eventually("the key as an event", || {
        let heard = alices_media.heard();
        let events = heard.iter().filter(|packet| packet.payload_type == 101);
        events.map(|packet| packet.payload[0]).find(|key| *key == 9)
    });
    assert_eq!(gateway.counted("dtmf_info_sent_total", "taken"), 1);

    alice.request(&mut call, "BYE", "");
    assert_eq!(alice.expect_final("BYE").status(), Some(200));
    gateway.assert_alive();
}

#[test]
fn a_key_that_is_refused_by_info_is_sent_again_as_an_event() {
    let mut gateway = Gateway::with().start();
    let mut ports = Ports::lease();
    let mut bob = SipPeer::open(&mut ports, HERE);
    let media = RtpPeer::open(&mut ports, HERE, 0x22);
    let call = gateway.dial_with(json!({
        "sip_server": bob.address().to_string(), "from_number": "1000", "to_number": "2000",
        "streaming": { "room": "keys", "peer": "bob", "record": false }, "dtmf": "info",
    }));
    let invite = bob.expect_request("INVITE");
    let answer = audio_at(media.address(), "0 101", EVENTS);
    bob.reply_with(&invite, 200, "OK", "bob", "", &answer);
    bob.expect_request("ACK");
    let press = |digits: &str| {
        let path = format!("/call/{}/dtmf", call.id);
        let reply = gateway.api().post(&path, &json!({ "digits": digits }));
        assert_eq!(reply.status, 200, "{reply:?}");
    };
    let heard = |key: u8| {
        crate::support::eventually("the key as an event", || {
            let heard = media.heard();
            let mut events = heard.iter().filter(|packet| packet.payload_type == 101);
            events.find(|packet| packet.payload[0] == key).map(|_| ())
        });
    };
    crate::support::eventually("the call is active", || {
        let calls = gateway.live_calls();
        calls
            .iter()
            .any(|call| call["state"] == "active")
            .then_some(())
    });
    press("5");
    let refused = bob.expect_request("INFO");
    bob.reply(&refused, 415, "Unsupported Media Type", "bob", "");
    heard(5);
    press("6");
    heard(6);
    assert_eq!(gateway.counted("dtmf_info_sent_total", "refused"), 1);
    gateway.assert_alive();
}
