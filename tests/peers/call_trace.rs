//! `GET /call/{call_id}/trace`: every SIP message of a call, without secrets.

use serde_json::{Value, json};

use crate::support::digest::{Algorithm, Challenge, parameter};
use crate::support::sip::{SipPeer, audio_at, pcmu_at};
use crate::support::{Gateway, eventually};

/// Direction and first line of each message.
fn rungs(trace: &Value) -> Vec<(String, String)> {
    let messages = trace["messages"].as_array().expect("messages");
    let rung = |message: &Value| {
        let text = message["text"].as_str().expect("a text");
        let direction = message["direction"].as_str().expect("a direction");
        let first = text.lines().next().unwrap_or_default();
        // Of a request the method is enough.
        let first = match first.starts_with("SIP/2.0") {
            true => first.to_owned(),
            false => first.split(' ').next().unwrap_or_default().to_owned(),
        };
        (direction.to_owned(), first)
    };
    messages.iter().map(rung).collect()
}

fn expect(trace: &Value, expected: &[(&str, &str)]) {
    let found = rungs(trace);
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(direction, first)| (direction.as_str(), first.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_ladder_of_a_challenged_call_is_there_without_its_secrets_and_stays_after_its_end() {
    let lines = "answer = \"echo\"\nauth = { username = \"bob\", password = \"secret\" }";
    let mut gateway = Gateway::with().shards(2).number("7000", lines).start();
    let mut caller = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let key = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    let crypto =
        format!("a=rtpmap:0 PCMU/8000\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n");
    let media = ([127, 0, 0, 1], gateway.ports.pair()).into();
    let media = audio_at(media, "0", &crypto);
    let mut call = caller.invite(gateway.sip(), "7000", &media);
    let challenge = caller.expect_final("INVITE");
    assert_eq!(challenge.status(), Some(401), "{challenge:#?}");
    caller.acknowledge_refusal(&mut call, &challenge);
    let challenge = Challenge::of(&challenge, Algorithm::Md5);
    let answer = challenge.answer("bob", "secret", &call.request_uri, 1);
    caller.request_with(
        &mut call,
        "INVITE",
        &format!("Authorization: {answer}\r\n"),
        &media,
    );
    caller.expect_answer(&mut call);
    let id = eventually("the call", || {
        let calls = gateway.live_calls();
        let active = calls.iter().find(|call| call["state"] == "active")?;
        Some(active["call_id"].as_str()?.to_owned())
    });
    let path = format!("/call/{id}/trace");
    caller.request(&mut call, "BYE", "");
    caller.expect_final("BYE");
    gateway.wait_until_idle();

    let trace = gateway.api().get(&path).data();
    expect(
        &trace,
        &[
            ("received", "INVITE"),
            ("sent", "SIP/2.0 100 Trying"),
            ("sent", "SIP/2.0 401 Unauthorized"),
            ("received", "ACK"),
            ("received", "INVITE"),
            ("sent", "SIP/2.0 100 Trying"),
            ("sent", "SIP/2.0 200 OK"),
            ("received", "ACK"),
            ("received", "BYE"),
            ("sent", "SIP/2.0 200 OK"),
        ],
    );
    assert_eq!(trace["left_out"], 0);
    let first = &trace["messages"][0];
    assert_eq!(first["remote"], caller.address().to_string());
    assert_eq!(first["local"], gateway.sip().to_string());
    assert_eq!(first["transport"], "udp");
    let whole = trace.to_string();
    assert!(whole.contains("inline:***"), "{whole}");
    assert!(whole.contains("response=\\\"***\\\""), "{whole}");
    assert!(!whole.contains(key), "{whole}");
    let response = parameter(&answer, "response");
    assert!(!whole.contains(response), "{whole}");
    // Whose call it is not.
    assert_eq!(gateway.api().anonymous().get(&path).status, 401);
}

#[test]
fn the_ladder_is_plain_text_for_whoever_asks_for_it() {
    let mut gateway = Gateway::with().start();
    let mut callee = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let call = gateway.dial(callee.address(), "talk", "callee");
    let invite = callee.expect_request("INVITE");
    let media = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    callee.reply(&invite, 180, "Ringing", "c", "");
    callee.reply(&invite, 200, "OK", "c", &media);
    callee.expect_request("ACK");
    let text = gateway
        .api()
        .accepting("text/plain")
        .get(&format!("/call/{}/trace", call.id));
    let text = text.body.as_str().expect("a text").to_owned();
    let overview: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
    let (ours, theirs) = (gateway.sip(), callee.address());
    for (line, (arrow, first)) in overview.iter().zip([
        ("-->", format!("INVITE sip:2000@{theirs} SIP/2.0")),
        ("<--", "SIP/2.0 180 Ringing".to_owned()),
        ("<--", "SIP/2.0 200 OK".to_owned()),
        ("-->", "ACK ".to_owned()),
    ]) {
        let rung = format!("{ours} {arrow} {theirs}  udp  {first}");
        assert!(line.contains(&rung), "{line:?} is not {rung:?}");
    }
    assert_eq!(overview.len(), 4, "{text}");
    assert!(text.contains("\nCall-ID: "), "{text}");
}

#[test]
fn of_a_long_call_the_first_and_the_last_messages_are_kept() {
    let mut gateway = Gateway::with()
        .sip("trace_messages = 6")
        .number("7000", r#"answer = "echo""#)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let media = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    let mut call = caller.invite(gateway.sip(), "7000", &media);
    caller.expect_answer(&mut call);
    for _ in 0..4 {
        caller.request(&mut call, "INFO", "");
        caller.expect_final("INFO");
    }
    let id = gateway.live_calls()[0]["call_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let trace = gateway.api().get(&format!("/call/{id}/trace")).data();
    expect(
        &trace,
        &[
            ("received", "INVITE"),
            ("sent", "SIP/2.0 100 Trying"),
            ("sent", "SIP/2.0 200 OK"),
            ("sent", "SIP/2.0 200 OK"),
            ("received", "INFO"),
            ("sent", "SIP/2.0 200 OK"),
        ],
    );
    assert_eq!(
        (&trace["left_out"], &trace["left_out_after"]),
        (&json!(6), &json!(3))
    );
}

#[test]
fn where_tracing_is_off_the_trace_is_404() {
    let mut gateway = Gateway::with().sip("trace = false").start();
    let callee = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let call = gateway.dial(callee.address(), "talk", "callee");
    gateway
        .api()
        .get(&format!("/call/{}/trace", call.id))
        .refused(404, "TRACE_NOT_FOUND");
}
