//! What is kept of calls: how each went, across restarts and crashes.

use serde_json::{Value, json};

use crate::support::sip::{SipPeer, pcmu_at};
use crate::support::{Gateway, HookReceiver, eventually};

const LOCALHOST: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// The records, the newest first, once there are as many.
#[track_caller]
fn records(gateway: &Gateway, count: usize) -> Vec<Value> {
    eventually("the records", || {
        let data = gateway.api().get("/calls/records").data();
        let records = data["records"].as_array().cloned()?;
        (records.len() >= count).then_some(records)
    })
}

/// Numbers, direction, how it went, code and who ended it.
fn summary(record: &Value) -> Value {
    let fields = [
        "direction",
        "from_number",
        "to_number",
        "result",
        "sip_code",
        "hung_up_by",
    ];
    json!(fields.map(|field| record[field].clone()))
}

/// An echo call that the caller ends.
fn echo_call(gateway: &mut Gateway) {
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media = pcmu_at((LOCALHOST, gateway.ports.pair()).into());
    let mut call = caller.invite(gateway.sip(), "7000", &media);
    caller.expect_answer(&mut call);
    caller.request(&mut call, "BYE", "");
    assert_eq!(caller.expect_final("BYE").status(), Some(200));
}

#[test]
fn every_call_leaves_a_record_of_how_it_went() {
    let hook = HookReceiver::silent();
    let mut gateway = Gateway::with()
        .number("7000", r#"answer = "echo""#)
        .number("7001", &format!("hook = \"{}\"", hook.url()))
        .start();
    echo_call(&mut gateway);
    records(&gateway, 1);

    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media = pcmu_at((LOCALHOST, gateway.ports.pair()).into());
    let mut call = caller.invite(gateway.sip(), "7001", &media);
    let id = hook.wait_for("notify.arrived").call_id();
    gateway.api().delete(&format!("/call/{id}")).data();
    let refusal = caller.expect_final("INVITE");
    caller.acknowledge_refusal(&mut call, &refusal);
    records(&gateway, 2);

    let mut callee = SipPeer::open(&mut gateway.ports, LOCALHOST);
    gateway.dial(callee.address(), "lobby", "callee");
    let invite = callee.expect_request("INVITE");
    callee.reply(&invite, 486, "Busy Here", "callee", "");
    callee.expect_request("ACK");
    records(&gateway, 3);

    let dialed = gateway.dial(callee.address(), "lobby", "callee");
    let invite = callee.expect_request("INVITE");
    callee.reply(&invite, 180, "Ringing", "callee", "");
    callee.reply(&invite, 200, "OK", "callee", &media);
    callee.expect_request("ACK");
    gateway.api().delete(&format!("/call/{}", dialed.id)).data();
    let bye = callee.expect_request("BYE");
    callee.reply(&bye, 200, "OK", "callee", "");
    records(&gateway, 4);

    let cancelled = gateway.dial(callee.address(), "lobby", "callee");
    let invite = callee.expect_request("INVITE");
    callee.reply(&invite, 180, "Ringing", "callee", "");
    gateway
        .api()
        .delete(&format!("/call/{}", cancelled.id))
        .data();
    let cancel = callee.expect_request("CANCEL");
    callee.reply(&cancel, 200, "OK", "callee", "");
    callee.reply(&invite, 487, "Request Terminated", "callee", "");
    callee.expect_request("ACK");

    let records = records(&gateway, 5);
    let told: Vec<Value> = records.iter().rev().map(summary).collect();
    assert_eq!(
        told,
        [
            json!(["incoming", "tester", "7000", "answered", 200, "remote"]),
            json!(["incoming", "tester", "7001", "rejected", 486, "local"]),
            json!(["outgoing", "1000", "2000", "busy", 486, "remote"]),
            json!(["outgoing", "1000", "2000", "answered", 200, "local"]),
            json!(["outgoing", "1000", "2000", "cancelled", 487, "local"]),
        ]
    );
    let answered = &records[1];
    let at = |field: &str| {
        answered[field]
            .as_u64()
            .unwrap_or_else(|| panic!("{field}: {answered}"))
    };
    assert!(at("created_ms") <= at("ringing_ms") && at("ringing_ms") <= at("answered_ms"));
    assert!(at("answered_ms") <= at("ended_ms"));
    assert_eq!(
        answered["streaming"],
        json!({ "room": "lobby", "peer": "callee" })
    );
    assert_eq!(answered["media"]["codec"], "PCMU");
    let busy = gateway
        .api()
        .get("/calls/records?sip_code=486&direction=outgoing");
    assert_eq!(busy.data()["records"], json!([records[2]]));
}

#[test]
fn a_call_that_the_gateway_did_not_live_to_see_end_is_lost() {
    let hook = HookReceiver::silent();
    let mut gateway = Gateway::with().number("7000", r#"answer = "echo""#).start();
    echo_call(&mut gateway);
    let before = records(&gateway, 1);
    let mut callee = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let call = gateway.dial_with(json!({
        "sip_server": callee.address().to_string(), "from_number": "1000", "to_number": "2000",
        "hook": hook.url(), "streaming": { "room": "lobby", "peer": "callee" },
    }));
    let invite = callee.expect_request("INVITE");
    let media = pcmu_at((LOCALHOST, gateway.ports.pair()).into());
    callee.reply(&invite, 200, "OK", "callee", &media);
    callee.expect_request("ACK");
    let path = format!("/calls/records/{}", call.id);
    eventually("the call is recorded as answered", || {
        let record = gateway.api().get(&path).body["data"].clone();
        record["answered_ms"].is_number().then_some(())
    });
    hook.wait_for("outgoing.sip.accepted 200");

    gateway.crash_and_restart();
    let events = hook.events_to_the_end();
    assert_eq!(
        events,
        [
            "outgoing.sip.accepted 200",
            "outgoing.err",
            "outgoing.ended"
        ]
    );
    let lost = gateway.api().get(&format!("/call/{}", call.id)).data();
    assert_eq!(
        [
            &lost["state"],
            &lost["result"],
            &lost["end_reason"],
            &lost["error"]
        ],
        ["ended", "lost", "lost", "the gateway was restarted"]
    );
    assert!(
        lost["ended_ms"].as_u64() >= lost["answered_ms"].as_u64(),
        "{lost}"
    );
    let after = records(&gateway, 2);
    assert_eq!(after[0], lost);
    assert_eq!(after[1], before[0]);
    assert!(gateway.log().contains("recorded as lost"));
}
