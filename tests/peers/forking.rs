//! A proxy forked our INVITE and two phones answered: every 2xx gets its ACK,
//! the first is the call, the other gets a BYE (RFC 3261 section 13.2.2.4).

use crate::support::sip::{SipPeer, pcmu_at};
use crate::support::{Gateway, WebSocket};

#[test]
fn the_first_of_two_answers_is_the_call_and_the_other_gets_ack_and_bye() {
    let mut gateway = Gateway::with().start();
    let mut phones = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let kitchen = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    let office = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    let call = gateway.dial(phones.address(), "lobby", "callee");
    let mut ws = WebSocket::open(&gateway, &call.ws);

    let invite = phones.expect_request("INVITE");
    phones.reply(&invite, 180, "Ringing", "kitchen", "");
    phones.reply(&invite, 180, "Ringing", "office", "");
    phones.reply(&invite, 200, "OK", "kitchen", &kitchen);
    phones.reply(&invite, 200, "OK", "office", &office);

    let of = |method: &'static str, tag: &'static str| {
        move |message: &crate::support::sip::SipMessage| {
            message.method() == Some(method)
                && message.header("to").ends_with(&format!("tag={tag}"))
        }
    };
    phones.expect("ACK to the kitchen", of("ACK", "kitchen"));
    phones.expect("ACK to the office", of("ACK", "office"));
    let bye = phones.expect("BYE to the office", of("BYE", "office"));
    phones.reply(&bye, 200, "OK", "office", "");

    // The call itself stands until it is ended.
    ws.wait_for("sip.accepted 200");
    gateway.api().delete(&format!("/call/{}", call.id)).data();
    let bye = phones.expect("BYE to the kitchen", of("BYE", "kitchen"));
    phones.reply(&bye, 200, "OK", "kitchen", "");
    let events = ws.events_to_the_end();
    let after: Vec<&str> = events
        .iter()
        .map(String::as_str)
        .filter(|event| !event.contains("provisional"))
        .collect();
    assert_eq!(after, ["sip.accepted 200", "terminated", "ended"]);
}

#[test]
fn an_answer_of_another_fork_than_the_one_that_rang_is_taken() {
    let mut gateway = Gateway::with().start();
    let mut phones = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let office = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    let call = gateway.dial(phones.address(), "lobby", "callee");
    let mut ws = WebSocket::open(&gateway, &call.ws);

    let invite = phones.expect_request("INVITE");
    phones.reply(&invite, 183, "Session Progress", "kitchen", &office);
    phones.reply(&invite, 200, "OK", "office", &office);
    let ack = phones.expect_request("ACK");
    assert!(ack.header("to").ends_with("tag=office"), "{ack:#?}");
    ws.wait_for("sip.accepted 200");
    gateway.api().delete(&format!("/call/{}", call.id)).data();
    let bye = phones.expect_request("BYE");
    assert!(bye.header("to").ends_with("tag=office"), "{bye:#?}");
    phones.reply(&bye, 200, "OK", "office", "");
    ws.events_to_the_end();
}
