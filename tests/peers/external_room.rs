//! Rooms on a media server: the gateway stands between the SIP peer and the
//! server's leg, and leaves nothing behind there, whatever happens.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::baresip::{Baresip, Codec};
use crate::support::media_server::{EVENTS, FILL, Fault, PCMA, Step, rooms_at};
use crate::support::rtp::{RtpPeer, packet};
use crate::support::sip::{SipMessage, SipPeer, audio_at, pcmu_at};
use crate::support::{Gateway, HookReceiver, MediaServer, WebSocket, eventually, within};

const LOCALHOST: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// What the SIP peer fills its packets with.
const ALICE: u8 = 0x11;
const SOME: usize = 10;
/// The SIP peer's number for telephone events.
const ALICES_EVENTS: u8 = 101;

/// PCMU, PCMA and telephone events at this address.
fn offer_at(media: SocketAddr) -> String {
    audio_at(
        media,
        "0 8 101",
        "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n",
    )
}

pub fn pcma_at(media: SocketAddr) -> String {
    audio_at(
        media,
        "8 101",
        "a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n",
    )
}

/// A gateway whose rooms are on this server, and whose number 7001 is answered
/// into one of them. Its ports do not rest: some tests make many calls.
pub fn gateway(server: &MediaServer) -> Gateway {
    Gateway::with()
        .rtp("port_reuse_delay_s = 0")
        .rooms(&server.rooms())
        .number("7001", r#"answer = { room = "talk", peer = "alice" }"#)
        .start()
}

/// Both talk; each hears the other, telephone events under its own number.
#[track_caller]
fn talk(server: &MediaServer, alice: &RtpPeer, for_alice: SocketAddr) {
    alice.talk_to(for_alice, PCMA);
    server.hears(SOME, PCMA, ALICE);
    let heard = alice.wait_for(SOME, FILL);
    assert!(
        heard
            .iter()
            .all(|packet| packet.payload_type == PCMA && packet.source == for_alice),
        "{heard:?}"
    );
    alice.be_quiet();
    for sequence in 60_000..60_010_u16 {
        let event = packet(ALICES_EVENTS, sequence, 9_000_000, 99, ALICE + 1);
        alice.send(for_alice, &event);
    }
    server.hears(5, EVENTS, ALICE + 1);
}

#[test]
fn an_outgoing_call_talks_with_the_media_server() {
    let server = MediaServer::start();
    let mut gateway = gateway(&server);
    let mut callee = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let alice = RtpPeer::open(&mut gateway.ports, LOCALHOST, ALICE);
    let call = gateway.dial_with(json!({
        "sip_server": callee.address().to_string(),
        "from_number": "1000", "to_number": "2000",
        "streaming": { "room": "talk", "peer": "alice", "record": true },
    }));
    let mut ws = WebSocket::open(&gateway, &call.ws);
    let invite = callee.expect_request("INVITE");
    assert!(
        invite.body.contains(" RTP/AVP 8 101\r\n"),
        "only what the media server takes: {}",
        invite.body
    );
    callee.reply(&invite, 180, "Ringing", "alice", "");
    ws.wait_for("sip.provisional 180");
    assert_eq!(server.requests(), [Step::Token, Step::Offer]);
    callee.reply(&invite, 200, "OK", "alice", &pcma_at(alice.address()));
    callee.expect_request("ACK");
    server.wait_for(Step::Patch);
    talk(&server, &alice, invite.media_address());
    assert_eq!(
        server.token_requests(),
        [json!({ "room": "talk", "peer": "alice", "ttl": 3600, "record": true })]
    );
    let room = gateway.api().get("/rooms/talk").data();
    assert_eq!(room["backend"], "external", "{room}");
    assert_eq!(room["peers"][0]["peer"], "alice", "{room}");

    gateway.api().delete(&format!("/call/{}", call.id)).data();
    let bye = callee.expect_request("BYE");
    callee.reply(&bye, 200, "OK", "alice", "");
    assert_eq!(
        ws.events_to_the_end(),
        [
            "sip.provisional 180",
            "sip.accepted 200",
            "terminated",
            "ended"
        ]
    );
    server.expect(&[Step::Token, Step::Offer, Step::Patch, Step::Delete]);
    eventually("no session is known any more", || {
        (gateway.metric("ringwire_media_server_sessions") == 0).then_some(())
    });
    let counted = |step, result| {
        let labels = format!("{{step=\"{step}\",result=\"{result}\"}}");
        gateway.metric(&format!("ringwire_media_server_requests_total{labels}"))
    };
    for step in ["token", "offer", "complete", "delete"] {
        assert_eq!(counted(step, "ok"), 1, "{step}");
    }
}

#[test]
fn an_incoming_call_talks_with_the_media_server_and_its_hold_stays_here() {
    let server = MediaServer::start();
    let hook = HookReceiver::answering(json!({
        "action": "Accept", "stream": { "room": "talk", "peer": "alice" },
    }));
    let mut gateway = Gateway::with()
        .rooms(&server.rooms())
        .number("7002", &format!("hook = \"{}\"", hook.url()))
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let alice = RtpPeer::open(&mut gateway.ports, LOCALHOST, ALICE);
    let mut call = caller.invite(gateway.sip(), "7002", &offer_at(alice.address()));
    let answer = caller.expect_answer(&mut call);
    assert!(
        answer.body.contains(" RTP/AVP 8 101\r\n"),
        "what the media server took: {}",
        answer.body
    );
    talk(&server, &alice, answer.media_address());

    let held = format!("{}a=inactive\r\n", pcma_at(alice.address()));
    caller.request(&mut call, "INVITE", &held);
    let answer = caller.expect_answer(&mut call);
    assert!(answer.has_sdp_line("a=inactive"), "{}", answer.body);
    caller.request(&mut call, "INVITE", &pcma_at(alice.address()));
    caller.expect_answer(&mut call);
    alice.forget();
    talk(&server, &alice, answer.media_address());

    caller.request(&mut call, "BYE", "");
    caller.expect_final("BYE");
    server.expect(&[Step::Token, Step::Answer, Step::Delete]);
    assert_eq!(server.sessions(), (1, 0));
    assert_eq!(
        hook.events_to_the_end(),
        [
            "notify.arrived",
            "notify.accepted",
            "incoming.accepted",
            "incoming.sip.bye",
            "incoming.ended"
        ]
    );
}

#[test]
fn a_phone_hears_its_tone_come_back_from_the_media_server() {
    let server = MediaServer::echo();
    let mut gateway = gateway(&server);
    let bob = Baresip::start(&mut gateway.ports, "2000", LOCALHOST, Codec::Pcma, 440);
    let call = gateway.dial(bob.address(), "talk", "bob");
    bob.wait_for("CALL_ESTABLISHED");
    bob.wait_until_heard(4.0);
    gateway.api().delete(&format!("/call/{}", call.id)).data();
    bob.wait_for("CALL_CLOSED");
    bob.listen().assert_tone(440);
    server.expect(&[Step::Token, Step::Offer, Step::Patch, Step::Delete]);
}

#[test]
fn two_calls_of_a_room_on_two_shards_have_a_session_each() {
    let server = MediaServer::start();
    let mut gateway = Gateway::with()
        .shards(2)
        .rooms(&server.rooms())
        .number("7001", r#"answer = { room = "talk", peer = "{call_id}" }"#)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let mut calls = Vec::new();
    for _ in 0..4 {
        let alice = RtpPeer::open(&mut gateway.ports, LOCALHOST, ALICE);
        let mut call = caller.invite(gateway.sip(), "7001", &offer_at(alice.address()));
        let for_alice = caller.expect_answer(&mut call).media_address();
        talk(&server, &alice, for_alice);
        calls.push((call, alice));
    }
    assert_eq!(server.sessions(), (4, 4));
    for (call, _) in &mut calls {
        caller.request(call, "BYE", "");
        caller.expect_final("BYE");
    }
    eventually("every session is deleted", || {
        (server.sessions() == (4, 0)).then_some(())
    });
}

/// A call to 7001 that is refused.
#[track_caller]
fn refused(gateway: &mut Gateway, caller: &mut SipPeer, offer: &str) -> SipMessage {
    let mut call = caller.invite(gateway.sip(), "7001", offer);
    let refusal = caller.expect_final("INVITE");
    caller.acknowledge_refusal(&mut call, &refusal);
    refusal
}

#[test]
fn a_caller_is_refused_when_the_media_server_fails_and_nothing_is_left_there() {
    let server = MediaServer::start();
    let mut gateway = gateway(&server);
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media = ([127, 0, 0, 1], gateway.ports.pair()).into();
    let late = || Fault::Late(Duration::from_millis(1_500));
    let token = [Step::Token].as_slice();
    let asked = [Step::Token, Step::Answer].as_slice();
    let deleted = [Step::Token, Step::Answer, Step::Delete].as_slice();
    for (step, fault, code, steps) in [
        (Step::Token, Fault::Status(400), 500, token),
        (Step::Token, Fault::Status(401), 500, token),
        (Step::Token, Fault::Status(404), 500, token),
        (Step::Token, Fault::Status(500), 503, token),
        (Step::Token, Fault::StatusFalse, 500, token),
        (Step::Token, Fault::Garbage, 500, token),
        (Step::Token, late(), 503, token),
        (Step::Answer, Fault::Status(400), 500, asked),
        (Step::Answer, Fault::Status(401), 500, asked),
        (Step::Answer, Fault::Status(404), 500, asked),
        (Step::Answer, Fault::Status(500), 503, asked),
        (Step::Answer, Fault::NoLocation, 500, asked),
        (Step::Answer, Fault::Garbage, 500, deleted),
        (Step::Answer, late(), 503, deleted),
    ] {
        server.fail(step, fault.clone());
        let refusal = refused(&mut gateway, &mut caller, &offer_at(media));
        assert_eq!(refusal.status(), Some(code), "{step:?} {fault:?}");
        assert_eq!(
            refusal.header("retry-after").is_empty(),
            code != 503,
            "{step:?} {fault:?}"
        );
        server.expect(steps);
        assert_eq!(server.sessions().1, 0, "{step:?} {fault:?}");
    }
    // A caller without the one codec of the server.
    let refusal = refused(&mut gateway, &mut caller, &pcmu_at(media));
    assert_eq!(refusal.status(), Some(488), "{refusal:#?}");
    server.expect(deleted);
    // And a call that nothing happens to.
    let mut call = caller.invite(gateway.sip(), "7001", &offer_at(media));
    caller.expect_answer(&mut call);
    caller.request(&mut call, "BYE", "");
    caller.expect_final("BYE");
    server.expect(deleted);
    gateway.wait_until_idle();
}

#[test]
fn an_accept_that_the_media_server_fails_says_so_and_the_caller_is_refused() {
    let server = MediaServer::start();
    let hook = HookReceiver::silent();
    let mut gateway = Gateway::with()
        .rooms(&server.rooms())
        .number("7002", &format!("hook = \"{}\"", hook.url()))
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media = ([127, 0, 0, 1], gateway.ports.pair()).into();
    let mut call = caller.invite(gateway.sip(), "7002", &offer_at(media));
    let id = hook.wait_for("notify.arrived").call_id();
    server.fail(Step::Token, Fault::StatusFalse);
    let accept = json!({ "action": "Accept", "stream": { "room": "talk", "peer": "alice" } });
    gateway
        .api()
        .post(&format!("/call/incoming/{id}/action"), &accept)
        .refused(502, "MEDIA_SERVER_FAILED");
    let refusal = caller.expect_final("INVITE");
    caller.acknowledge_refusal(&mut call, &refusal);
    assert_eq!(refusal.status(), Some(500), "{refusal:#?}");
    assert_eq!(
        hook.events_to_the_end(),
        [
            "notify.arrived",
            "incoming.err",
            "notify.rejected",
            "incoming.rejected",
            "incoming.ended"
        ]
    );
    let said = hook.wait_for("incoming.err").json()["incoming"]["err"]["message"].clone();
    let said = said.as_str().unwrap_or_default();
    assert!(said.contains("APP_TOKEN_INVALID"), "{said}");
}

#[test]
fn an_outgoing_call_without_an_offer_of_the_media_server_is_told_and_sends_no_invite() {
    let server = MediaServer::start();
    let mut gateway = gateway(&server);
    let mut callee = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let late = || Fault::Late(Duration::from_millis(1_500));
    let token = [Step::Token].as_slice();
    let asked = [Step::Token, Step::Offer].as_slice();
    let deleted = [Step::Token, Step::Offer, Step::Delete].as_slice();
    for (step, fault, word, steps) in [
        (Step::Token, Fault::Status(401), "401", token),
        (Step::Token, Fault::Status(500), "500", token),
        (Step::Token, Fault::StatusFalse, "APP_TOKEN_INVALID", token),
        (Step::Token, Fault::Garbage, "JSON", token),
        (Step::Token, late(), "no answer within 1 s", token),
        (Step::Offer, Fault::Status(400), "400", asked),
        (Step::Offer, Fault::Status(404), "404", asked),
        (Step::Offer, Fault::Status(500), "500", asked),
        (Step::Offer, Fault::NoLocation, "Location", asked),
        (Step::Offer, Fault::Garbage, "session description", deleted),
        (Step::Offer, late(), "no answer within 1 s", deleted),
    ] {
        server.fail(step, fault.clone());
        let call = gateway.dial(callee.address(), "talk", "alice");
        let mut ws = WebSocket::open(&gateway, &call.ws);
        let error = ws.wait_for("err");
        let said = error["event"]["err"]["message"]
            .as_str()
            .unwrap_or_default();
        assert!(said.contains(word), "{step:?} {fault:?}: {said}");
        assert_eq!(ws.events_to_the_end(), ["err", "ended"]);
        server.expect(steps);
        assert_eq!(server.sessions().1, 0, "{step:?} {fault:?}");
    }
    let invited = callee.within(Duration::ZERO, &mut |_| true);
    assert!(invited.is_none(), "{invited:?}");
}

#[test]
fn a_media_server_that_does_not_take_the_answer_ends_the_call() {
    let server = MediaServer::start();
    let mut gateway = gateway(&server);
    for fault in [
        Fault::Status(404),
        Fault::Status(500),
        Fault::Late(Duration::from_millis(1_500)),
    ] {
        server.fail(Step::Patch, fault.clone());
        let mut callee = SipPeer::open(&mut gateway.ports, LOCALHOST);
        let media = ([127, 0, 0, 1], gateway.ports.pair()).into();
        let call = gateway.dial(callee.address(), "talk", "alice");
        let mut ws = WebSocket::open(&gateway, &call.ws);
        let invite = callee.expect_request("INVITE");
        callee.reply(&invite, 200, "OK", "alice", &pcma_at(media));
        callee.expect_request("ACK");
        let bye = callee.expect_request("BYE");
        callee.reply(&bye, 200, "OK", "alice", "");
        assert_eq!(
            ws.events_to_the_end(),
            ["sip.accepted 200", "err", "terminated", "ended"]
        );
        server.expect(&[Step::Token, Step::Offer, Step::Patch, Step::Delete]);
    }
}

#[test]
fn a_media_server_that_is_not_there_refuses_callers_and_ends_outgoing_calls() {
    let mut ports = crate::support::Ports::lease();
    let nowhere = SocketAddr::new(LOCALHOST, ports.one());
    let mut gateway = Gateway::with()
        .rooms(&rooms_at(nowhere))
        .number("7001", r#"answer = { room = "talk", peer = "alice" }"#)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media = ([127, 0, 0, 1], gateway.ports.pair()).into();
    let refusal = refused(&mut gateway, &mut caller, &offer_at(media));
    assert_eq!(refusal.status(), Some(503), "{refusal:#?}");
    let call = gateway.dial(caller.address(), "talk", "alice");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    assert_eq!(ws.events_to_the_end(), ["err", "ended"]);
    assert_eq!(
        gateway
            .metric("ringwire_media_server_requests_total{step=\"token\",result=\"unreachable\"}"),
        2
    );
}

#[test]
fn an_outgoing_call_that_is_ended_early_leaves_nothing_at_the_media_server() {
    let server = MediaServer::start();
    let mut gateway = gateway(&server);
    let mut callee = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let a_while = || Fault::Late(Duration::from_millis(700));
    let end = |id: &str| gateway.api().delete(&format!("/call/{id}")).data();

    // While the token is waited for: nothing more is asked.
    server.fail(Step::Token, a_while());
    let call = gateway.dial(callee.address(), "talk", "alice");
    server.wait_for(Step::Token);
    end(&call.id);
    server.expect(&[Step::Token]);

    // While the offer is waited for.
    server.fail(Step::Offer, a_while());
    let call = gateway.dial(callee.address(), "talk", "alice");
    server.wait_for(Step::Offer);
    end(&call.id);
    server.expect(&[Step::Token, Step::Offer, Step::Delete]);
    assert!(callee.within(Duration::ZERO, &mut |_| true).is_none());

    // While it rings.
    let call = gateway.dial(callee.address(), "talk", "alice");
    let invite = callee.expect_request("INVITE");
    callee.reply(&invite, 180, "Ringing", "alice", "");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    ws.wait_for("sip.provisional 180");
    end(&call.id);
    let cancel = callee.expect_request("CANCEL");
    callee.reply(&cancel, 200, "OK", "alice", "");
    callee.reply(&invite, 487, "Request Terminated", "alice", "");
    server.expect(&[Step::Token, Step::Offer, Step::Delete]);

    // While the answer is on its way.
    server.fail(Step::Patch, a_while());
    let call = gateway.dial(callee.address(), "talk", "alice");
    let invite = callee.expect("another INVITE", |message| {
        matches!(message.method(), Some("INVITE"))
            && message.header("call-id") != invite.header("call-id")
    });
    let media = ([127, 0, 0, 1], 9).into();
    callee.reply(&invite, 200, "OK", "alice", &pcma_at(media));
    server.wait_for(Step::Patch);
    end(&call.id);
    let bye = callee.expect_request("BYE");
    callee.reply(&bye, 200, "OK", "alice", "");
    server.expect(&[Step::Token, Step::Offer, Step::Patch, Step::Delete]);

    // A callee that declines.
    gateway.dial(callee.address(), "talk", "alice");
    let call_ids = [invite.header("call-id").to_owned()];
    let invite = callee.expect("another INVITE", |message| {
        message.method() == Some("INVITE")
            && !call_ids
                .iter()
                .any(|known| known == message.header("call-id"))
    });
    callee.reply(&invite, 486, "Busy Here", "alice", "");
    server.expect(&[Step::Token, Step::Offer, Step::Delete]);
    assert_eq!(server.sessions(), (4, 0));
}

#[test]
fn a_caller_that_gives_up_early_leaves_nothing_at_the_media_server() {
    let server = MediaServer::start();
    let mut gateway = gateway(&server);
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media = ([127, 0, 0, 1], gateway.ports.pair()).into();
    let a_while = || Fault::Late(Duration::from_millis(700));
    for (step, steps) in [
        (Step::Token, [Step::Token].as_slice()),
        (
            Step::Answer,
            [Step::Token, Step::Answer, Step::Delete].as_slice(),
        ),
    ] {
        server.fail(step, a_while());
        let mut call = caller.invite(gateway.sip(), "7001", &offer_at(media));
        server.wait_for(step);
        caller.request(&mut call, "CANCEL", "");
        let gone = caller.expect_final("INVITE");
        assert_eq!(gone.status(), Some(487), "{gone:#?}");
        caller.acknowledge_refusal(&mut call, &gone);
        server.expect(steps);
    }
    assert_eq!(server.sessions(), (1, 0));
    gateway.wait_until_idle();
}

#[test]
fn a_deletion_that_fails_is_tried_again_until_it_is_done_or_the_session_gone() {
    let server = MediaServer::start();
    let mut gateway = gateway(&server);
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media: SocketAddr = ([127, 0, 0, 1], gateway.ports.pair()).into();
    let call_and_hang_up = |caller: &mut SipPeer| {
        let mut call = caller.invite(gateway.sip(), "7001", &offer_at(media));
        caller.expect_answer(&mut call);
        caller.request(&mut call, "BYE", "");
        caller.expect_final("BYE");
    };
    server.fail(Step::Delete, Fault::Status(500));
    server.fail(Step::Delete, Fault::Status(400));
    call_and_hang_up(&mut caller);
    eventually("a deletion is pending", || {
        (gateway.metric("ringwire_media_server_deletes_pending") == 1).then_some(())
    });
    server.expect(&[
        Step::Token,
        Step::Answer,
        Step::Delete,
        Step::Delete,
        Step::Delete,
    ]);
    assert_eq!(server.sessions(), (1, 0));

    server.fail(Step::Delete, Fault::Status(404));
    call_and_hang_up(&mut caller);
    server.expect(&[Step::Token, Step::Answer, Step::Delete]);
    eventually("no deletion is pending", || {
        (gateway.metric("ringwire_media_server_deletes_pending") == 0).then_some(())
    });
    let again = within(Duration::from_secs(1), || {
        (!server.requests().is_empty()).then_some(())
    });
    assert!(again.is_none(), "what is gone is not deleted again");
}

#[test]
fn a_gateway_that_ends_deletes_what_its_calls_have_on_the_media_server() {
    let server = MediaServer::start();
    let mut gateway = Gateway::with()
        .rooms(&server.rooms())
        .calls("drain_timeout_s = 0")
        .number("7001", r#"answer = { room = "talk", peer = "alice" }"#)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media = ([127, 0, 0, 1], gateway.ports.pair()).into();
    let mut call = caller.invite(gateway.sip(), "7001", &offer_at(media));
    caller.expect_answer(&mut call);
    server.fail(Step::Delete, Fault::Status(500));
    gateway.terminate();
    let bye = caller.expect_request("BYE");
    caller.reply(&bye, 200, "OK", "tester", "");
    assert!(gateway.wait_for_exit().success());
    server.expect(&[Step::Token, Step::Answer, Step::Delete, Step::Delete]);
}

#[test]
fn a_browser_is_told_that_the_room_is_on_the_media_server() {
    let server = MediaServer::start();
    let gateway = gateway(&server);
    let offer = Some(("application/sdp".to_owned(), "v=0\r\n".to_owned()));
    let reply = gateway
        .api()
        .send("POST", "/rooms/talk/peers/web", offer)
        .expect("an answer");
    reply.refused(422, "ROOM_ON_MEDIA_SERVER");
    assert_eq!(
        gateway.api().get("/rooms").data()["rooms"],
        Value::Array(Vec::new())
    );
}

#[test]
fn a_request_that_could_never_be_dialled_does_not_reach_the_media_server() {
    let server = MediaServer::start();
    let gateway = gateway(&server);
    let body = json!({
        "sip_server": "[::1]:5070", "from_number": "1", "to_number": "2",
        "streaming": { "room": "talk", "peer": "p" },
    });
    let reply = gateway.api().post("/call/outgoing", &body);
    assert_eq!(reply.status, 400, "{}", reply.body);
    assert!(server.requests().is_empty());
}
