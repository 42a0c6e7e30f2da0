//! SIGTERM: no new calls, time for those that are, then BYE to the rest.

use serde_json::json;

use crate::support::sip::{SipPeer, pcmu_at};
use crate::support::{Gateway, Sipp, WebSocket, eventually};

#[test]
fn an_idle_gateway_ends_at_once_and_well() {
    let mut gateway = Gateway::with().calls("drain_timeout_s = 600").start();
    gateway.terminate();
    assert!(gateway.wait_for_exit().success());
}

#[test]
fn calls_that_are_left_after_the_drain_get_a_bye() {
    let mut gateway = Gateway::with().calls("drain_timeout_s = 1").start();
    let callee = Sipp::scenario("callee_answers").answer(&mut gateway);
    let call = gateway.dial(callee.address(), "lobby", "callee");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    ws.wait_for("sip.accepted 200");
    gateway.terminate();
    callee.succeeds();
    assert_eq!(
        ws.events_to_the_end(),
        ["sip.accepted 200", "terminated", "ended"]
    );
    assert!(gateway.wait_for_exit().success());
}

#[test]
fn a_draining_gateway_refuses_new_calls_and_ends_with_the_last_one() {
    let mut gateway = Gateway::with()
        .calls("drain_timeout_s = 600")
        .number("7000", r#"answer = "echo""#)
        .start();
    let mut peer = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let media = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    let mut call = peer.invite(gateway.sip(), "7000", &media);
    peer.expect_answer(&mut call);

    gateway.terminate();
    let dial = json!({
        "sip_server": peer.address().to_string(), "from_number": "1", "to_number": "2",
        "streaming": { "room": "talk", "peer": "p" },
    });
    // Until the signal has come, a call would be taken, and waited for.
    eventually("the gateway drains", || {
        (gateway.api().anonymous().get("/readyz").status == 503).then_some(())
    });
    let reply = gateway.api().post("/call/outgoing", &dial);
    reply.refused(503, "DRAINING");
    assert!(
        reply.headers.contains_key("retry-after"),
        "{:?}",
        reply.headers
    );
    Sipp::scenario("caller_is_told_to_retry_later")
        .set("code", "503")
        .call(&mut gateway, "7000")
        .succeeds();

    peer.request(&mut call, "BYE", "");
    assert_eq!(peer.expect_final("BYE").status(), Some(200));
    assert!(gateway.wait_for_exit().success());
}
