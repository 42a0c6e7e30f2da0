use super::house::{House, dial};
use crate::call::request::{CallReply, CallRequest};
use crate::ids::CallId;
use crate::keying::{Srtp, SrtpKeying, SrtpPolicy};

/// PCMA with a line of SRTP keys below.
const PROTECTED: &str =
    "8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

fn security_of(house: &mut House, call: CallId) -> (&'static str, Option<&'static str>) {
    let Some(CallReply::Call(snapshot)) = house.ask(CallRequest::Call(call)) else {
        panic!("no snapshot");
    };
    (snapshot.security, snapshot.srtp_suite)
}

fn dial_with(house: &mut House, policy: SrtpPolicy) -> CallReply {
    let mut dial = dial("r", "one");
    let keying = SrtpKeying::Sdes;
    dial.srtp = Srtp { policy, keying };
    house.ask(CallRequest::Dial(Box::new(dial))).unwrap()
}

#[test]
fn a_number_that_requires_srtp_refuses_a_caller_without() {
    let mut house = House::new();
    house.invite("secret", "a", Some("8"));
    house.sent_response(488);
    assert!(house.told().contains(&"error".to_string()));
    house.assert_empty();
}

#[test]
fn a_caller_that_offers_keys_is_answered_in_kind() {
    for number in ["echo", "secret"] {
        let mut house = House::new();
        house.invite(number, "a", Some(PROTECTED));
        let ok = house.sent_response(200);
        let body = String::from_utf8_lossy(&ok.body).into_owned();
        assert!(body.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"));
        let call = house.announced();
        let suite = Some("AES_CM_128_HMAC_SHA1_80");
        assert_eq!(security_of(&mut house, call), ("sdes", suite));
    }
}

#[test]
fn a_callee_without_srtp_ends_a_call_that_requires_it() {
    let mut house = House::new();
    dial_with(&mut house, SrtpPolicy::Required);
    let invite = house.sent_request("INVITE");
    assert!(String::from_utf8_lossy(&invite.body).contains("RTP/SAVP"));
    house.respond(&invite, 200, Some("8"));
    house.sent_request("BYE");
    let told = house.told();
    assert_eq!(&told[..2], ["answered 200", "error"]);
    assert_eq!(told.last().unwrap(), "ended bad_answer");
    house.assert_empty();
}

#[test]
fn a_callee_without_srtp_is_served_where_it_is_optional() {
    let mut house = House::new();
    let CallReply::Dialed(call) = dial_with(&mut house, SrtpPolicy::Optional) else {
        panic!("not dialled");
    };
    let invite = house.sent_request("INVITE");
    let body = String::from_utf8_lossy(&invite.body).into_owned();
    assert!(body.contains("RTP/AVP") && body.contains("a=crypto:4"));
    house.respond(&invite, 200, Some("8"));
    house.sent_request("ACK");
    assert_eq!(security_of(&mut house, call), ("none", None));
}
