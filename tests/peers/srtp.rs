//! Phones that protect their media, with keys in the description or from a
//! DTLS handshake: they are heard, and hear, on either side of a call.

use std::net::Ipv4Addr;

use serde_json::json;

use crate::support::Baresip;
use crate::support::baresip::Codec;
use crate::support::gateway::Gateway;

const ALICE_HERTZ: u32 = 440;
const BOB_HERTZ: u32 = 1000;

/// What is recorded; the analysis skips the beginning.
const SECONDS: f64 = 4.0;

/// `theirs` goes into the accounts of caller and callee; what the gateway asks
/// the callee for is `srtp` and `keying`, and `security` is what both get.
#[track_caller]
fn both_hear_the_other(theirs: [&str; 2], srtp: &str, keying: &str, security: [&str; 2]) {
    let mut gateway = Gateway::with()
        .number("7001", r#"answer = { room = "talk", peer = "{from}" }"#)
        .start();
    let ip = Ipv4Addr::LOCALHOST.into();
    let mut phone = |user, mediaenc, hertz| {
        let ports = &mut gateway.ports;
        Baresip::start_with(ports, user, mediaenc, ip, Codec::Pcma, hertz)
    };
    let mut alice = phone("1000", theirs[0], ALICE_HERTZ);
    let bob = phone("2000", theirs[1], BOB_HERTZ);

    alice.dial("7001", gateway.sip());
    alice.wait_for("CALL_ESTABLISHED");
    let call = gateway.dial_with(json!({
        "sip_server": bob.address().to_string(),
        "from_number": "1000",
        "to_number": "2000",
        "srtp": srtp,
        "srtp_keying": keying,
        "streaming": { "room": "talk", "peer": "bob", "record": false },
    }));
    bob.wait_for("CALL_ESTABLISHED");
    for live in gateway.live_calls() {
        let expected = security[usize::from(live["call_id"] == call.id.as_str())];
        assert_eq!(live["security"], expected, "{live}");
    }
    alice.wait_until_heard(SECONDS);
    bob.wait_until_heard(SECONDS);

    let deleted = gateway.api().delete(&format!("/call/{}", call.id));
    assert_eq!(deleted.status, 200);
    bob.wait_for("CALL_CLOSED");
    alice.hang_up();
    alice.wait_for("CALL_CLOSED");
    gateway.wait_until_idle();

    alice.listen().assert_tone(BOB_HERTZ);
    bob.listen().assert_tone(ALICE_HERTZ);
}

#[test]
fn phones_with_best_effort_keys_hear_each_other() {
    let best_effort = ";mediaenc=srtp";
    both_hear_the_other([best_effort; 2], "optional", "sdes", ["sdes"; 2]);
}

#[test]
fn phones_that_insist_on_keys_hear_each_other() {
    let mandatory = ";mediaenc=srtp-mand";
    both_hear_the_other([mandatory; 2], "required", "sdes", ["sdes"; 2]);
}

#[test]
fn a_protected_caller_hears_a_plain_callee() {
    let theirs = [";mediaenc=srtp-mandf", ""];
    both_hear_the_other(theirs, "optional", "sdes", ["sdes", "none"]);
}

#[test]
fn phones_that_shake_hands_hear_each_other() {
    let handshake = ";mediaenc=dtls_srtp";
    both_hear_the_other([handshake; 2], "required", "dtls", ["dtls"; 2]);
}

#[test]
fn a_phone_without_srtp_is_refused_where_it_is_required() {
    let mut gateway = Gateway::with()
        .number("7001", "answer = \"echo\"\nsrtp = \"required\"")
        .start();
    let ip = Ipv4Addr::LOCALHOST.into();
    let ports = &mut gateway.ports;
    let mut alice = Baresip::start(ports, "1000", ip, Codec::Pcma, ALICE_HERTZ);
    alice.dial("7001", gateway.sip());
    let closed = alice.wait_for("CALL_CLOSED");
    assert!(closed.to_string().contains("488"), "{closed}");
    gateway.wait_until_idle();
}
