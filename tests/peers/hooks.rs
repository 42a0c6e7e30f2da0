//! What a hook may answer to an incoming call, and what becomes of the events
//! when it is slow, wrong or gone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Gateway, HookReceiver, HookReply, Sipp};

fn asking(hook: &str, lines: &str) -> Gateway {
    Gateway::with()
        .hooks(lines)
        .number("7001", &format!("hook = \"{hook}\""))
        .start()
}

/// sipp calls a number whose hook answers so, and the call goes as it expects.
#[track_caller]
fn answer_leads_to(answer: Value, sipp: Sipp) -> HookReceiver {
    let hook = HookReceiver::answering(answer);
    let mut gateway = asking(&hook.url(), "");
    sipp.call(&mut gateway, "7001").succeeds();
    gateway.wait_until_idle();
    // The gateway goes with this function: what it has to post comes before.
    hook.events_to_the_end();
    hook
}

#[test]
fn accept_in_the_words_of_the_action_api_is_an_answer() {
    let answer = json!({ "action": "Accept", "stream": { "room": "talk", "peer": "caller" } });
    let hook = answer_leads_to(answer, Sipp::scenario("caller_talks").set("talk_ms", "200"));
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
    hook.assert_all_signed();
}

#[test]
fn accept_in_the_words_of_the_protocol_is_an_answer() {
    let answer = json!({ "accept": { "room": "talk", "peer": "caller", "record": false } });
    answer_leads_to(answer, Sipp::scenario("caller_talks").set("talk_ms", "200"));
}

#[test]
fn end_is_a_refusal() {
    let hook = answer_leads_to(
        json!({ "action": "End" }),
        Sipp::scenario("caller_is_refused").set("code", "486"),
    );
    assert_eq!(
        hook.events_to_the_end(),
        [
            "notify.arrived",
            "notify.rejected",
            "incoming.rejected",
            "incoming.ended"
        ]
    );
}

#[test]
fn ring_is_a_180_and_the_call_waits_for_an_action() {
    let hook = HookReceiver::answering(json!({ "ring": {} }));
    ring_or_wait(&hook, Sipp::scenario("caller_hears_ringing"), "ringing");
}

#[test]
fn continue_waits_for_an_action() {
    let hook = HookReceiver::answering(json!({ "continue": {} }));
    let sipp = Sipp::scenario("caller_talks").set("talk_ms", "200");
    ring_or_wait(&hook, sipp, "trying");
}

#[test]
fn an_empty_answer_is_continue() {
    let hook = HookReceiver::scripted(|_| HookReply {
        status: 200,
        ..HookReply::nothing()
    });
    let sipp = Sipp::scenario("caller_talks").set("talk_ms", "200");
    ring_or_wait(&hook, sipp, "trying");
}

#[track_caller]
fn ring_or_wait(hook: &HookReceiver, sipp: Sipp, state: &str) {
    let mut gateway = asking(&hook.url(), "");
    let caller = sipp.call(&mut gateway, "7001");
    let id = hook.wait_for("notify.arrived").call_id();
    // An action may overtake the hook's own answer.
    crate::support::eventually("the hook's answer has been followed", || {
        let call = gateway.api().get(&format!("/call/{id}")).data();
        (call["state"] == state).then_some(())
    });
    let accept = json!({ "action": "Accept", "stream": { "room": "talk", "peer": "caller" } });
    crate::support::eventually("the call can be accepted", || {
        // Right after the post the hook's own answer may still be on its way.
        let reply = gateway
            .api()
            .post(&format!("/call/incoming/{id}/action"), &accept);
        (reply.status == 200).then_some(())
    });
    caller.succeeds();
    gateway.wait_until_idle();
}

#[track_caller]
fn refused_with(code: &str, gateway: &mut Gateway) {
    Sipp::scenario("caller_is_refused")
        .set("code", code)
        .call(gateway, "7001")
        .succeeds();
    gateway.wait_until_idle();
}

#[test]
fn a_dead_hook_is_480() {
    let dead = HookReceiver::silent().url();
    refused_with("480", &mut asking(&dead, ""));
}

#[test]
fn the_code_for_a_dead_hook_is_configurable() {
    let dead = HookReceiver::silent().url();
    refused_with("503", &mut asking(&dead, "failure_code = 503"));
}

#[test]
fn a_hook_that_fails_is_480() {
    let hook = HookReceiver::scripted(|_| HookReply::status(500));
    refused_with("480", &mut asking(&hook.url(), ""));
}

#[test]
fn a_hook_that_talks_nonsense_is_480() {
    let hook = HookReceiver::answering(json!({ "action": "Dance" }));
    refused_with("480", &mut asking(&hook.url(), ""));
}

#[test]
fn a_hook_that_thinks_too_long_is_480() {
    let hook = HookReceiver::scripted(|_| HookReply::nothing().after(Duration::from_secs(60)));
    refused_with("480", &mut asking(&hook.url(), "timeout_s = 1"));
}

#[test]
fn a_refused_event_is_tried_again_under_the_same_id_and_later_ones_wait() {
    let mut refusals = 2;
    let accept = json!({ "action": "Accept", "stream": { "room": "talk", "peer": "caller" } });
    let hook = HookReceiver::scripted(move |post| match post.event().as_str() {
        "notify.arrived" => HookReply::json(accept.clone()),
        "incoming.accepted" if refusals > 0 => {
            refusals -= 1;
            HookReply::status(503)
        }
        _ => HookReply::nothing(),
    });
    let mut gateway = asking(&hook.url(), "");
    Sipp::scenario("caller_talks")
        .set("talk_ms", "200")
        .call(&mut gateway, "7001")
        .succeeds();
    hook.events_to_the_end();

    let posts: Vec<(String, String)> = hook
        .posts()
        .into_iter()
        .map(|post| (post.event(), post.id))
        .collect();
    let names: Vec<&str> = posts.iter().map(|(event, _)| event.as_str()).collect();
    assert_eq!(
        names,
        [
            "notify.arrived",
            "notify.accepted",
            "incoming.accepted",
            "incoming.accepted",
            "incoming.accepted",
            "incoming.sip.bye",
            "incoming.ended"
        ]
    );
    assert!(
        posts[2].1 == posts[3].1 && posts[3].1 == posts[4].1,
        "one id for all tries: {posts:?}"
    );
    hook.assert_all_signed();
}

#[test]
fn a_hook_that_hangs_does_not_delay_another_apps() {
    let hanging = HookReceiver::scripted_with_secret("slow-secret", |_| {
        HookReply::nothing().after(Duration::from_secs(300))
    });
    let prompt = HookReceiver::scripted_with_secret("quick-secret", move |post| {
        match post.event().as_str() {
            "notify.arrived" => HookReply::json(json!({
                "accept": { "room": post.call_id(), "peer": "caller" }
            })),
            _ => HookReply::nothing(),
        }
    });
    let mut gateway = Gateway::with()
        .hooks("timeout_s = 30")
        .app("slow", "slow-secret")
        .app("quick", "quick-secret")
        .number(
            "7001",
            &format!("app_id = \"slow\"\nhook = \"{}\"", hanging.url()),
        )
        .number(
            "7002",
            &format!("app_id = \"quick\"\nhook = \"{}\"", prompt.url()),
        )
        .start();
    let stuck = Sipp::scenario("caller_is_refused")
        .set("code", "480")
        .calls(10)
        .call(&mut gateway, "7001");
    hanging.wait_for_posts(10);

    Sipp::scenario("caller_talks")
        .set("talk_ms", "200")
        .calls(3)
        .call(&mut gateway, "7002")
        .succeeds();
    crate::support::eventually("three calls are told to the end", || {
        let ended = prompt
            .events()
            .iter()
            .filter(|event| *event == "incoming.ended")
            .count();
        (ended == 3).then_some(())
    });
    prompt.assert_all_signed();
    drop(stuck);
}

#[test]
fn an_outgoing_call_tells_its_hook_everything_in_order() {
    let hook = HookReceiver::silent();
    let mut gateway = Gateway::with().start();
    let callee = Sipp::scenario("callee_rings_and_answers").answer(&mut gateway);
    let call = gateway.dial_with(json!({
        "sip_server": callee.address().to_string(),
        "from_number": "1000",
        "to_number": "2000",
        "hook": hook.url(),
        "hook_content_type": "Json",
        "streaming": { "room": "lobby", "peer": "callee", "record": false },
    }));
    hook.wait_for("outgoing.sip.accepted 200");
    gateway.api().delete(&format!("/call/{}", call.id)).data();
    assert_eq!(
        hook.events_to_the_end(),
        [
            "outgoing.sip.provisional 180",
            "outgoing.sip.accepted 200",
            "outgoing.terminated",
            "outgoing.ended"
        ]
    );
    for post in hook.posts() {
        assert_eq!(post.call_id(), call.id);
        // proto3 JSON writes a uint64 as a string; milliseconds since 1970.
        let timestamp = post.json()["timestamp"]
            .as_str()
            .and_then(|text| text.parse::<u64>().ok());
        assert!(
            timestamp.is_some_and(|ms| ms > 1_600_000_000_000),
            "{}",
            post.json()
        );
        assert_eq!(post.content_type, "application/json");
    }
    hook.assert_all_signed();
    callee.succeeds();
}
