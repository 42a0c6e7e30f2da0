//! An incoming call driven by its application: over REST, over the call's
//! WebSocket, with the tokens that come with `arrived`.

use serde_json::{Value, json};

use crate::support::sipp::SippRun;
use crate::support::{Gateway, HookReceiver, Sipp, WebSocket};

/// sipp calls a number whose hook has no opinion.
struct Asked {
    gateway: Gateway,
    caller: SippRun,
    hook: HookReceiver,
    id: String,
    arrived: Value,
}

fn asked(sipp: Sipp) -> Asked {
    let hook = HookReceiver::silent();
    let mut gateway = Gateway::with()
        .number("7001", &format!("hook = \"{}\"", hook.url()))
        .start();
    let caller = sipp.call(&mut gateway, "7001");
    let post = hook.wait_for("notify.arrived");
    let arrived = post.json()["notify"]["arrived"].clone();
    Asked {
        gateway,
        caller,
        hook,
        id: post.call_id(),
        arrived,
    }
}

fn accept() -> Value {
    json!({ "action": "Accept", "stream": { "room": "talk", "peer": "caller", "record": false } })
}

#[test]
fn arrived_says_who_calls_whom_and_how_to_act() {
    let asked = asked(Sipp::scenario("caller_cancels_at_once"));
    assert_eq!(asked.arrived["call_from"], "1000");
    assert_eq!(asked.arrived["call_to"], "7001");
    let token = asked.arrived["call_token"].as_str().expect("a token");
    assert_eq!(
        asked.arrived["call_ws"],
        format!("/call/incoming/{}?token={token}", asked.id),
    );
    asked.caller.succeeds();
}

#[test]
fn ring_then_accept_over_rest() {
    let asked = asked(Sipp::scenario("caller_hears_ringing"));
    let api = asked
        .gateway
        .api()
        .with_token(asked.arrived["call_token"].as_str().expect("a token"));
    let action = format!("/call/incoming/{}/action", asked.id);
    api.post(&action, &json!({ "action": "Ring" })).data();
    api.post(&action, &accept()).data();
    asked.caller.succeeds();
    assert_eq!(
        asked.hook.events_to_the_end(),
        [
            "notify.arrived",
            "notify.accepted",
            "incoming.accepted",
            "incoming.sip.bye",
            "incoming.ended"
        ]
    );
    asked.hook.assert_all_signed();
}

#[test]
fn accepting_twice_is_a_conflict() {
    let asked = asked(Sipp::scenario("caller_hears_bye"));
    let action = format!("/call/incoming/{}/action", asked.id);
    asked.gateway.api().post(&action, &accept()).data();
    asked
        .gateway
        .api()
        .post(&action, &accept())
        .refused(409, "WRONG_STATE");
    asked
        .gateway
        .api()
        .delete(&format!("/call/incoming/{}", asked.id))
        .data();
    asked.caller.succeeds();
}

#[test]
fn accepting_without_a_stream_is_malformed() {
    let asked = asked(Sipp::scenario("caller_is_refused").set("code", "486"));
    let action = format!("/call/incoming/{}/action", asked.id);
    let reply = asked
        .gateway
        .api()
        .post(&action, &json!({ "action": "Accept" }));
    assert_eq!(reply.status, 400, "{}", reply.body);
    assert!(
        reply.body["message"]
            .as_str()
            .is_some_and(|text| text.contains("stream")),
        "{}",
        reply.body
    );
    asked
        .gateway
        .api()
        .post(&action, &json!({ "action": "End" }))
        .data();
    asked.caller.succeeds();
}

#[test]
fn ending_before_the_answer_is_a_rejection() {
    let asked = asked(Sipp::scenario("caller_is_refused").set("code", "486"));
    asked
        .gateway
        .api()
        .delete(&format!("/call/{}", asked.id))
        .data();
    asked.caller.succeeds();
    assert_eq!(
        asked.hook.events_to_the_end(),
        [
            "notify.arrived",
            "notify.rejected",
            "incoming.rejected",
            "incoming.ended"
        ]
    );
}

#[test]
fn the_websocket_rings_accepts_and_ends() {
    let asked = asked(Sipp::scenario("caller_hears_bye"));
    let path = asked.arrived["call_ws"].as_str().expect("call_ws");
    let mut ws = WebSocket::open(&asked.gateway, path);
    assert_eq!(
        ws.request(1, "ring", json!({})),
        json!({ "req_id": 1, "ring": {} })
    );
    let room = json!({ "room": "talk", "peer": "caller" });
    assert_eq!(
        ws.request(2, "accept", room.clone()),
        json!({ "req_id": 2, "accept": {} })
    );
    let refused = ws.request(3, "accept", room);
    assert!(refused["error"]["message"].is_string(), "{refused}");
    assert_eq!(
        ws.request(4, "end", json!({})),
        json!({ "req_id": 4, "end": {} })
    );
    let events = ws.events_to_the_end();
    assert_eq!(events, ["accepted", "ended"]);
    asked.caller.succeeds();
}

#[test]
fn the_websocket_hears_the_caller_hang_up() {
    let asked = asked(Sipp::scenario("caller_talks").set("talk_ms", "200"));
    let mut ws = WebSocket::open(
        &asked.gateway,
        asked.arrived["call_ws"].as_str().expect("call_ws"),
    );
    ws.request(1, "accept", json!({ "room": "talk", "peer": "caller" }));
    assert_eq!(ws.events_to_the_end(), ["accepted", "sip.bye", "ended"]);
    asked.caller.succeeds();
}

#[test]
fn a_call_token_opens_its_own_call_only() {
    let asked = asked(Sipp::scenario("caller_is_refused").set("code", "486"));
    let token = asked.arrived["call_token"].as_str().expect("a token");
    let api = asked.gateway.api().with_token(token);
    let other = format!(
        "{}{}",
        &asked.id[..33],
        if asked.id.ends_with('0') { '1' } else { '0' }
    );
    assert_eq!(api.delete(&format!("/call/{other}")).status, 403);
    assert_eq!(api.get("/calls").status, 403);
    let path = format!("/call/incoming/{other}?token={token}");
    assert_eq!(
        WebSocket::try_open(&asked.gateway, &path).err(),
        Some(Some(403))
    );
    api.delete(&format!("/call/incoming/{}", asked.id)).data();
    asked.caller.succeeds();
}
