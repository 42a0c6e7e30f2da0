//! How many calls there may be: in all, per app and per number, on any shard.

use serde_json::{Value, json};

use crate::support::admin::Admin;
use crate::support::sip::{OurCall, SipPeer, pcmu_at};
use crate::support::{Gateway, eventually};

const ECHO: &str = "answer = \"echo\"\n";

fn caller(gateway: &mut Gateway) -> (SipPeer, String) {
    let caller = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let media = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    (caller, media)
}

fn answered(gateway: &Gateway, caller: &mut SipPeer, number: &str, media: &str) -> OurCall {
    let mut call = caller.invite(gateway.sip(), number, media);
    caller.expect_answer(&mut call);
    call
}

/// The status, Retry-After included, of one call more.
fn refused(gateway: &Gateway, caller: &mut SipPeer, number: &str, media: &str) -> (u16, bool) {
    let mut call = caller.invite(gateway.sip(), number, media);
    let refusal = caller.expect("a refusal", |message| {
        message.status().is_some_and(|code| code >= 300)
            && message.header("call-id") == call.call_id
    });
    caller.acknowledge_refusal(&mut call, &refusal);
    let retry_after = !refusal.header("retry-after").is_empty();
    (refusal.status().expect("a status"), retry_after)
}

fn dial(from: &str, callee: &SipPeer, peer: &str) -> Value {
    json!({
        "sip_server": callee.address().to_string(),
        "from_number": from, "to_number": "2",
        "streaming": { "room": peer, "peer": peer },
    })
}

#[test]
fn a_number_with_its_calls_is_busy_until_one_ends_whatever_the_shard() {
    let mut gateway = Gateway::with()
        .shards(2)
        .number("7000", &format!("{ECHO}max_calls = 3"))
        .number("7001", ECHO)
        .start();
    let (mut caller, media) = caller(&mut gateway);
    let mut calls: Vec<OurCall> = (0..3)
        .map(|_| answered(&gateway, &mut caller, "7000", &media))
        .collect();
    for _ in 0..4 {
        assert_eq!(refused(&gateway, &mut caller, "7000", &media), (486, false));
    }
    // Another number takes calls, and so does this one once there is room.
    answered(&gateway, &mut caller, "7001", &media);
    let reply = gateway
        .api()
        .post("/call/outgoing", &dial("7000", &caller, "p"));
    reply.refused(429, "LIMIT_CALLS");
    assert!(reply.headers.contains_key("retry-after"));
    let message = reply.body["message"].as_str().expect("a message");
    assert!(
        message.contains("number 7000") && message.contains('3'),
        "{message}"
    );
    caller.request(&mut calls[0], "BYE", "");
    caller.expect_final("BYE");
    answered(&gateway, &mut caller, "7000", &media);
    assert!(gateway.counted("incoming_calls_refused_total", "number_too_many_calls") >= 4);
}

#[test]
fn an_app_with_its_calls_is_unavailable_for_both_directions() {
    let mut gateway = Gateway::with()
        .table("[limits]\nmax_calls_per_app = 2")
        .number("7000", ECHO)
        .app("other", "other-secret")
        .start();
    let (mut caller, media) = caller(&mut gateway);
    answered(&gateway, &mut caller, "7000", &media);
    gateway.dial(caller.address(), "talk", "callee");
    assert_eq!(refused(&gateway, &mut caller, "7000", &media), (503, true));
    gateway
        .api()
        .post("/call/outgoing", &dial("1", &caller, "p"))
        .refused(429, "LIMIT_CALLS");
    // The other app has its own.
    let other = gateway.api().with_token("other-secret");
    other
        .post("/call/outgoing", &dial("1", &caller, "p"))
        .data();
}

#[test]
fn more_calls_in_a_second_than_the_limit_are_told_to_come_back() {
    let mut gateway = Gateway::with()
        .table("[limits]\nmax_calls_per_second = 1")
        .number("7000", ECHO)
        .start();
    let (mut caller, media) = caller(&mut gateway);
    // Some of a burst of calls come within the second.
    let started: Vec<OurCall> = (0..5)
        .map(|_| caller.invite(gateway.sip(), "7000", &media))
        .collect();
    let mut codes: Vec<u16> = started
        .iter()
        .map(|call| {
            let answer = caller.expect("a final response", |message| {
                message.status().is_some_and(|code| code >= 200)
                    && message.header("call-id") == call.call_id
            });
            if answer.status() == Some(503) {
                assert!(!answer.header("retry-after").is_empty(), "{answer:#?}");
            }
            answer.status().expect("a status")
        })
        .collect();
    codes.sort_unstable();
    assert_eq!((codes.first(), codes.last()), (Some(&200), Some(&503)));
    let mut replies = (0..5).map(|n| {
        let body = dial("1", &caller, &n.to_string());
        gateway.api().post("/call/outgoing", &body)
    });
    let refusal = replies.find(|reply| reply.status == 429);
    refusal
        .expect("one too many")
        .refused(429, "LIMIT_CALL_RATE");
}

#[test]
fn a_limit_that_is_read_again_counts_for_the_calls_that_are_there() {
    let mut gateway = Gateway::with().shards(2).number("7000", ECHO).start();
    let (mut caller, media) = caller(&mut gateway);
    let mut calls: Vec<OurCall> = (0..3)
        .map(|_| answered(&gateway, &mut caller, "7000", &media))
        .collect();
    let before = gateway.configuration();
    let limited = |most: u32| format!("{before}\n[limits]\nmax_calls_per_app = {most}\n");
    let reads = |times: usize| {
        gateway.hang_up();
        eventually("the limits are read", || {
            let read = gateway.log().matches("changed=\"limits\"").count();
            (read == times).then_some(())
        });
    };
    gateway.configure(&limited(2));
    reads(1);
    assert_eq!(refused(&gateway, &mut caller, "7000", &media), (503, true));
    // One that ends leaves as many as there may be.
    caller.request(&mut calls[0], "BYE", "");
    caller.expect_final("BYE");
    eventually("two are left", || (gateway.calls() == 2).then_some(()));
    assert_eq!(refused(&gateway, &mut caller, "7000", &media), (503, true));
    gateway.configure(&limited(3));
    reads(2);
    answered(&gateway, &mut caller, "7000", &media);
    assert_eq!(refused(&gateway, &mut caller, "7000", &media), (503, true));
    assert!(!gateway.log().contains("need a restart"));
}

#[test]
fn the_number_test_tells_of_limits_and_an_app_of_the_panel_has_its_own() {
    let mut gateway = Gateway::with()
        .table("[scanners]\nthreshold = 2\nnever_ban = []")
        .start();
    let admin = Admin::first(&gateway);
    admin.post("apps", &json!({ "app_id": "shop", "max_calls": 1 }));
    admin.post(
        "numbers",
        &json!({ "number": "7000", "app_id": "shop", "subnets": ["127.0.0.1"], "answer": "echo" }),
    );
    let asked = |source: &str| {
        let body = json!({ "number": "7000", "source": source });
        let told = admin.post("numbers/test", &body);
        let steps = told["steps"].as_array().expect("steps").clone();
        let last = steps.last().expect("a step")["step"].clone();
        (told["accepted"].clone(), told["sip_code"].clone(), last)
    };
    let accepted = (json!(true), Value::Null, json!("handling"));
    assert_eq!(asked("127.0.0.1"), accepted);
    let (mut caller, media) = caller(&mut gateway);
    answered(&gateway, &mut caller, "7000", &media);
    assert_eq!(
        asked("127.0.0.1"),
        (json!(false), json!(503), json!("limits"))
    );
    assert_eq!(refused(&gateway, &mut caller, "7000", &media), (503, true));
    admin.put("apps/shop", &json!({ "max_calls": 2 }));
    assert_eq!(asked("127.0.0.1"), accepted);
    answered(&gateway, &mut caller, "7000", &media);
    assert_eq!(admin.get("apps")["apps"][1]["max_calls"], json!(2));

    let mut scanner = SipPeer::open(&mut gateway.ports, [127, 0, 0, 66].into());
    for _ in 0..2 {
        scanner.send(gateway.sip(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    eventually("the ban is told", || {
        (asked("127.0.0.66") == (json!(false), Value::Null, json!("ban"))).then_some(())
    });
}
