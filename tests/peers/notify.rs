//! A client that waits for calls on the notify WebSocket.

use serde_json::{Value, json};

use crate::support::{Gateway, Sipp, WebSocket};

/// A gateway with a number for the client `reception`, and that client.
fn waiting() -> (Gateway, WebSocket) {
    let gateway = Gateway::with()
        .number("7001", "client_id = \"reception\"")
        .start();
    let data = gateway
        .api()
        .post(
            "/token/notify",
            &json!({ "client_id": "reception", "ttl": 600 }),
        )
        .data();
    assert!(data["token"].is_string(), "{data}");
    let path = data["notify_ws"]
        .as_str()
        .unwrap_or_else(|| panic!("notify_ws in {data}"));
    let ws = WebSocket::open(&gateway, path);
    (gateway, ws)
}

fn call_of(arrived: &Value) -> (String, String) {
    let text = |field: &str| {
        arrived["arrived"][field]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    let path = text("call_ws");
    let id = path
        .trim_start_matches("/call/incoming/")
        .split('?')
        .next()
        .unwrap_or_default();
    (id.to_owned(), text("call_token"))
}

#[test]
fn a_waiting_client_hears_of_a_call_and_accepts_it() {
    let (mut gateway, mut notify) = waiting();
    let caller = Sipp::scenario("caller_talks")
        .set("talk_ms", "200")
        .call(&mut gateway, "7001");
    let arrived = notify.wait_for("arrived");
    assert_eq!(arrived["arrived"]["call_from"], "1000");
    assert_eq!(arrived["arrived"]["call_to"], "7001");
    let (id, token) = call_of(&arrived);
    let body = json!({ "action": "Accept", "stream": { "room": "talk", "peer": "caller" } });
    gateway
        .api()
        .with_token(&token)
        .post(&format!("/call/incoming/{id}/action"), &body)
        .data();
    let accepted = notify.wait_for("accepted");
    assert_eq!(
        accepted,
        json!({ "accepted": { "call_from": "1000", "call_to": "7001" } })
    );
    caller.succeeds();
    gateway.wait_until_idle();
}

#[test]
fn a_waiting_client_hears_that_the_caller_gave_up() {
    let (mut gateway, mut notify) = waiting();
    let caller = Sipp::scenario("caller_cancels_at_once").call(&mut gateway, "7001");
    notify.wait_for("arrived");
    notify.wait_for("cancelled");
    caller.succeeds();
}

#[test]
fn a_waiting_client_hears_that_the_call_was_refused() {
    let (mut gateway, mut notify) = waiting();
    let caller = Sipp::scenario("caller_is_refused")
        .set("code", "486")
        .call(&mut gateway, "7001");
    let (id, token) = call_of(&notify.wait_for("arrived"));
    gateway
        .api()
        .with_token(&token)
        .delete(&format!("/call/{id}"))
        .data();
    notify.wait_for("rejected");
    caller.succeeds();
}

#[test]
fn a_token_for_notify_may_be_asked_for_by_session_id() {
    let gateway = Gateway::with().start();
    let data = gateway
        .api()
        .post("/token/notify", &json!({ "session_id": "desk" }))
        .data();
    WebSocket::open(&gateway, data["notify_ws"].as_str().expect("notify_ws"));
}

#[test]
fn the_notify_websocket_wants_a_notify_token() {
    let gateway = Gateway::with().start();
    for (path, status) in [
        ("/call/incoming/notify", 401),
        ("/call/incoming/notify?token=nonsense", 401),
    ] {
        assert_eq!(
            WebSocket::try_open(&gateway, path).err(),
            Some(Some(status)),
            "{path}"
        );
    }
}
