use super::house::{House, dial, stream};
use crate::call::request::{Action, CallError, CallReply, CallRequest};
use crate::ids::CallId;
use crate::keying::{Srtp, SrtpKeying, SrtpPolicy};
use crate::sdp::NegotiationError;
use crate::sip::header::HeaderName;

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
    let told = house.told();
    assert!(told.contains(&"error".to_string()));
    assert_eq!(told.last().unwrap(), "ended no_common_security");
    house.assert_empty();
}

#[test]
fn an_accept_whose_protection_cannot_be_agreed_on_says_so() {
    for (number, offer, expected) in [
        ("guarded", "8", NegotiationError::NotProtected),
        ("open", "SAVP 8", NegotiationError::SrtpOff),
        (
            "guarded",
            "SAVP 8\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:x",
            NegotiationError::NoKeys,
        ),
    ] {
        let mut house = House::new();
        house.invite(number, "a", Some(offer));
        let call = house.announced();
        let refused = house.act(call, Action::Accept(stream("r", "one")));
        let Some(CallReply::Refused(CallError::NoCommonSecurity(error))) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(error, expected);
        let refusal = house.sent_response(488);
        let warning = refusal.headers.get(&HeaderName::Warning);
        let named = format!("399 ringwire \"{expected}\"");
        assert_eq!(warning, Some(named.as_str()));
        assert_eq!(house.told().last().unwrap(), "ended no_common_security");
        house.assert_empty();
    }
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
    assert_eq!(told.last().unwrap(), "ended no_common_security");
    house.assert_empty();
}

#[test]
fn a_callee_without_srtp_is_served_where_it_is_optional() {
    let mut house = House::new();
    let CallReply::Dialed { call, .. } = dial_with(&mut house, SrtpPolicy::Optional) else {
        panic!("not dialled");
    };
    let invite = house.sent_request("INVITE");
    let body = String::from_utf8_lossy(&invite.body).into_owned();
    assert!(body.contains("RTP/AVP") && body.contains("a=crypto:4"));
    house.respond(&invite, 200, Some("8"));
    house.sent_request("ACK");
    assert_eq!(security_of(&mut house, call), ("none", None));
}

#[test]
fn an_offer_in_the_dialog_without_protection_is_refused_and_the_call_stays_as_it_is() {
    let mut house = House::new();
    house.invite("secret", "a", Some(PROTECTED));
    let ok = house.sent_response(200);
    let call = house.announced();
    house.in_dialog("ACK", 1, &ok, None);
    house.told();
    house.in_dialog("INVITE", 2, &ok, Some("8"));
    let refusal = house.sent_response(488);
    let warning = refusal.headers.get(&HeaderName::Warning).unwrap();
    assert!(warning.contains("SRTP is required"), "{warning}");
    assert_eq!(house.told(), ["error"]);
    let suite = Some("AES_CM_128_HMAC_SHA1_80");
    assert_eq!(security_of(&mut house, call), ("sdes", suite));
}
