//! What the API and SIP refuse, and how they say it.

use serde_json::json;

use crate::support::sip::{SipPeer, pcmu_at};
use crate::support::{Gateway, Sipp};

#[test]
fn a_full_room_is_refused_with_room_full() {
    let mut gateway = Gateway::with()
        .table("[sound]\nroom_capacity = 2")
        .number("7001", r#"answer = { room = "talk", peer = "caller" }"#)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let media = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    let mut first = caller.invite(gateway.sip(), "7001", &media);
    caller.expect_answer(&mut first);
    let mut callee = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    gateway.dial(callee.address(), "talk", "callee");
    callee.expect_request("INVITE");

    let third = json!({
        "sip_server": callee.address().to_string(),
        "from_number": "1", "to_number": "2",
        "streaming": { "room": "talk", "peer": "third" },
    });
    gateway
        .api()
        .post("/call/outgoing", &third)
        .refused(409, "ROOM_FULL");
    // A caller to the same room is turned away too.
    let mut late = caller.invite(gateway.sip(), "7001", &media);
    let refusal = caller.expect("a refusal", |message| {
        message.status().is_some_and(|code| code >= 300)
            && message.header("call-id") == late.call_id
    });
    assert_eq!(refusal.status(), Some(486), "{refusal:#?}");
    late.to = refusal.header("to").to_owned();
}

#[test]
fn when_the_rtp_ports_are_used_up_callers_are_told_to_retry_later() {
    let mut gateway = Gateway::with()
        .rtp_ports(4)
        .number("7000", r#"answer = "echo""#)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    for _ in 0..2 {
        let media = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
        let mut call = caller.invite(gateway.sip(), "7000", &media);
        caller.expect_answer(&mut call);
    }
    Sipp::scenario("caller_is_told_to_retry_later")
        .set("code", "503")
        .call(&mut gateway, "7000")
        .succeeds();
    let body = json!({
        "sip_server": caller.address().to_string(), "from_number": "1", "to_number": "2",
        "streaming": { "room": "talk", "peer": "p" },
    });
    let reply = gateway.api().post("/call/outgoing", &body);
    reply.refused(503, "PORTS_EXHAUSTED");
    assert!(
        reply.headers.contains_key("retry-after"),
        "{:?}",
        reply.headers
    );
    gateway.assert_alive();
}

#[test]
fn a_request_without_or_with_a_wrong_credential_is_401() {
    let gateway = Gateway::with().start();
    for api in [
        gateway.api().anonymous(),
        gateway.api().with_token("wrong"),
        gateway.api().with_token(""),
    ] {
        assert_eq!(api.get("/calls").status, 401);
        assert_eq!(api.post("/call/outgoing", &json!({})).status, 401);
        assert_eq!(
            api.post("/token/notify", &json!({ "client_id": "x" }))
                .status,
            401
        );
    }
}

#[test]
fn another_apps_call_is_403() {
    let mut gateway = Gateway::with().app("other", "other-secret").start();
    let mut callee = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let call = gateway.dial(callee.address(), "talk", "callee");
    callee.expect_request("INVITE");
    let other = gateway.api().with_token("other-secret");
    assert_eq!(other.get(&format!("/call/{}", call.id)).status, 403);
    assert_eq!(other.delete(&format!("/call/{}", call.id)).status, 403);
    assert_eq!(gateway.calls(), 1);
    // The same room name in another app is another room.
    assert_eq!(other.get("/rooms/talk").status, 404);
}

#[test]
fn what_does_not_exist_is_404() {
    let gateway = Gateway::with().start();
    let nothing = "0".repeat(34);
    assert_eq!(gateway.api().get(&format!("/call/{nothing}")).status, 404);
    assert_eq!(gateway.api().get("/call/not-a-call-id").status, 404);
    assert_eq!(
        gateway.api().delete(&format!("/call/{nothing}")).status,
        404
    );
    assert_eq!(gateway.api().get("/rooms/nowhere").status, 404);
    let reply = gateway.api().get("/no/such/path");
    assert_eq!(
        (reply.status, reply.body["status"].as_bool()),
        (404, Some(false))
    );
}

#[test]
fn a_malformed_body_is_400_and_names_the_field() {
    let gateway = Gateway::with().start();
    for (body, field) in [
        (
            json!({ "from_number": "1", "to_number": "2", "streaming": { "room": "r", "peer": "p" } }),
            "sip_server",
        ),
        (
            json!({ "sip_server": "127.0.0.1", "from_number": "1", "streaming": { "room": "r", "peer": "p" } }),
            "to_number",
        ),
        (
            json!({ "sip_server": "127.0.0.1", "from_number": "1", "to_number": "2" }),
            "streaming",
        ),
        (
            json!({ "sip_server": "127.0.0.1", "from_number": "1", "to_number": "2", "streaming": { "peer": "p" } }),
            "room",
        ),
        (
            json!({ "sip_server": 5, "from_number": "1", "to_number": "2", "streaming": { "room": "r", "peer": "p" } }),
            "sip_server",
        ),
    ] {
        let reply = gateway.api().post("/call/outgoing", &body);
        assert_eq!(reply.status, 400, "{body}: {}", reply.body);
        let message = reply.body["message"].as_str().unwrap_or_default();
        assert!(message.contains(field), "{body}: {message}");
    }
    let broken = Some(("application/json".to_owned(), "{ not json".to_owned()));
    let reply = gateway
        .api()
        .send("POST", "/call/outgoing", broken)
        .expect("an answer");
    assert_eq!(
        (reply.status, reply.body["status"].as_bool()),
        (400, Some(false))
    );
    let text = Some(("text/plain".to_owned(), "hello".to_owned()));
    let reply = gateway
        .api()
        .send("POST", "/call/outgoing", text)
        .expect("an answer");
    assert_eq!(reply.status, 415, "{}", reply.body);
}
