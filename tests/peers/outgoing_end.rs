//! Ending an outgoing call in each state, by REST, by its WebSocket, and by a
//! client that just vanishes.

use serde_json::json;

use crate::support::sip::{SipPeer, pcmu_at};
use crate::support::{Gateway, Sipp, WebSocket};

/// A gateway, somebody it calls, and the call's WebSocket.
fn dialed(lines: &str) -> (Gateway, SipPeer, String, WebSocket) {
    let mut gateway = Gateway::with().calls(lines).start();
    let callee = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let call = gateway.dial(callee.address(), "lobby", "callee");
    let ws = WebSocket::open(&gateway, &call.ws);
    (gateway, callee, call.id, ws)
}

#[test]
fn a_call_that_heard_nothing_yet_is_cancelled_after_the_first_1xx() {
    let (gateway, mut callee, call, mut ws) = dialed("");
    let invite = callee.expect_request("INVITE");
    gateway.api().delete(&format!("/call/{call}")).data();
    // RFC 3261 section 9.1: no CANCEL before a provisional response.
    callee.reply(&invite, 100, "Trying", "", "");
    let cancel = callee.expect_request("CANCEL");
    callee.reply(&cancel, 200, "OK", "callee", "");
    callee.reply(&invite, 487, "Request Terminated", "callee", "");
    callee.expect_request("ACK");
    assert_eq!(ws.events_to_the_end(), ["cancelled", "ended"]);
    gateway.wait_until_idle();
}

#[test]
fn a_ringing_call_is_cancelled() {
    let mut gateway = Gateway::with().start();
    let callee = Sipp::scenario("callee_rings_for_ever").answer(&mut gateway);
    let call = gateway.dial(callee.address(), "lobby", "callee");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    ws.wait_for("sip.provisional 180");
    gateway
        .api()
        .delete(&format!("/call/outgoing/{}", call.id))
        .data();
    assert_eq!(
        ws.events_to_the_end(),
        ["sip.provisional 180", "cancelled", "ended"]
    );
    callee.succeeds();
    gateway.wait_until_idle();
}

#[test]
fn a_call_in_early_media_is_cancelled_by_its_action() {
    let (mut gateway, mut callee, call, mut ws) = dialed("");
    let invite = callee.expect_request("INVITE");
    let media = ([127, 0, 0, 1], gateway.ports.pair()).into();
    callee.reply(&invite, 183, "Session Progress", "callee", &pcmu_at(media));
    ws.wait_for("sip.early 183");
    gateway
        .api()
        .post(
            &format!("/call/outgoing/{call}/action"),
            &json!({ "action": "End" }),
        )
        .data();
    let cancel = callee.expect_request("CANCEL");
    callee.reply(&cancel, 200, "OK", "callee", "");
    callee.reply(&invite, 487, "Request Terminated", "callee", "");
    callee.expect_request("ACK");
    assert_eq!(
        ws.events_to_the_end(),
        ["sip.early 183", "cancelled", "ended"]
    );
}

#[test]
fn an_answer_that_crosses_our_cancel_gets_ack_and_bye() {
    let (mut gateway, mut callee, call, mut ws) = dialed("");
    let invite = callee.expect_request("INVITE");
    callee.reply(&invite, 180, "Ringing", "callee", "");
    ws.wait_for("sip.provisional 180");
    gateway.api().delete(&format!("/call/{call}")).data();
    let cancel = callee.expect_request("CANCEL");
    let media = ([127, 0, 0, 1], gateway.ports.pair()).into();
    callee.reply(&invite, 200, "OK", "callee", &pcmu_at(media));
    callee.reply(&cancel, 200, "OK", "callee", "");
    callee.expect_request("ACK");
    let bye = callee.expect_request("BYE");
    callee.reply(&bye, 200, "OK", "callee", "");
    assert_eq!(
        ws.events_to_the_end(),
        ["sip.provisional 180", "cancelled", "ended"]
    );
    gateway.wait_until_idle();
}

#[test]
fn an_answered_call_is_ended_by_bye() {
    let mut gateway = Gateway::with().start();
    let callee = Sipp::scenario("callee_answers").answer(&mut gateway);
    let call = gateway.dial(callee.address(), "lobby", "callee");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    ws.wait_for("sip.accepted 200");
    let token = gateway.api().with_token(&call.token);
    assert_eq!(
        token.delete(&format!("/call/outgoing/{}", call.id)).data(),
        json!(null)
    );
    assert_eq!(
        ws.events_to_the_end(),
        ["sip.accepted 200", "terminated", "ended"]
    );
    callee.succeeds();
}

#[test]
fn the_websocket_ends_a_call_and_is_told_so() {
    let mut gateway = Gateway::with().start();
    let callee = Sipp::scenario("callee_answers").answer(&mut gateway);
    let call = gateway.dial(callee.address(), "lobby", "callee");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    ws.wait_for("sip.accepted 200");
    assert_eq!(
        ws.request(42, "end", json!({})),
        json!({ "req_id": 42, "end": {} })
    );
    ws.wait_for("ended");
    callee.succeeds();
}

#[test]
fn a_call_ends_when_its_client_vanishes_and_not_when_it_never_had_one() {
    let mut gateway = Gateway::with().calls("ws_grace_s = 1").start();
    let left = Sipp::scenario("callee_answers").answer(&mut gateway);
    let never = Sipp::scenario("callee_answers").answer(&mut gateway);
    let quiet = gateway.dial(never.address(), "quiet", "callee");
    let call = gateway.dial(left.address(), "lobby", "callee");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    ws.wait_for("sip.accepted 200");
    ws.close();
    left.succeeds();

    // The other call is as old and goes on.
    let state = gateway.api().get(&format!("/call/{}", quiet.id)).data();
    assert_eq!(state["state"], "active", "{state}");
    gateway.api().delete(&format!("/call/{}", quiet.id)).data();
    never.succeeds();
    gateway.wait_until_idle();
}

#[test]
fn a_client_that_comes_back_in_time_keeps_its_call() {
    let mut gateway = Gateway::with().calls("ws_grace_s = 60").start();
    let callee = Sipp::scenario("callee_answers").answer(&mut gateway);
    let call = gateway.dial(callee.address(), "lobby", "callee");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    ws.wait_for("sip.accepted 200");
    ws.close();
    let mut again = WebSocket::open(&gateway, &call.ws);
    // What it missed comes first.
    again.wait_for("sip.accepted 200");
    again.request(1, "end", json!({}));
    again.wait_for("ended");
    callee.succeeds();
}

#[test]
fn a_second_end_is_a_wrong_state_or_an_unknown_call() {
    let (gateway, mut callee, call, mut ws) = dialed("");
    let invite = callee.expect_request("INVITE");
    callee.reply(&invite, 486, "Busy Here", "callee", "");
    ws.events_to_the_end();
    let status = gateway.api().delete(&format!("/call/{call}")).status;
    assert!(status == 404 || status == 409, "{status}");
}
