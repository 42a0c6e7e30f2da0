//! Registrations on simulated time: the registrar is the scripted peer.

use std::time::Duration;

use super::house::{House, PEER};
use crate::book::SipAuth;
use crate::call::request::{CallReply, CallRequest, RegistrationPlan, RegistrationSnapshot};
use crate::sip::header::HeaderName;
use crate::sip::message::Request;

fn plan(user: &str) -> RegistrationPlan {
    RegistrationPlan {
        number: "+49 30 1".into(),
        destination: PEER.parse().unwrap(),
        sip_server: "sip.example.com".to_string(),
        sip_proxy: None,
        sip_auth: Some(SipAuth {
            username: user.to_string(),
            password: "secret".to_string(),
        }),
        first: Duration::ZERO,
    }
}

fn register(house: &mut House, plan: RegistrationPlan) -> Request {
    let reply = house.ask(CallRequest::Register(Box::new(plan)));
    assert!(matches!(reply, Some(CallReply::Done)));
    next(house, Duration::ZERO)
}

/// The first REGISTER that is sent within this time.
fn next(house: &mut House, within: Duration) -> Request {
    let end = house.now + within;
    house.pass(Duration::ZERO);
    while house.sent.is_empty() && house.now < end {
        house.pass(Duration::from_secs(1));
    }
    house.sent_request("REGISTER")
}

fn header<'r>(request: &'r Request, name: &HeaderName) -> &'r str {
    request.headers.get(name).unwrap_or_default()
}

fn answer(house: &mut House, request: &Request, code: u16, headers: &str) {
    let get = |name| header(request, &name);
    let text = format!(
        "SIP/2.0 {code} Whatever\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=registrar\r\n\
         Call-ID: {}\r\nCSeq: {}\r\n{headers}Content-Length: 0\r\n\r\n",
        get(HeaderName::Via),
        get(HeaderName::From),
        get(HeaderName::To),
        get(HeaderName::CallId),
        get(HeaderName::CSeq),
    );
    house.receive(&text);
}

fn snapshot(house: &mut House) -> Option<RegistrationSnapshot> {
    match house.ask(CallRequest::Registrations) {
        Some(CallReply::Registrations(mut all)) => all.pop(),
        other => panic!("{other:?}"),
    }
}

fn state(house: &mut House) -> (&'static str, Option<u16>) {
    let snapshot = snapshot(house).expect("a registration");
    (snapshot.state, snapshot.last_code)
}

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"\r\n";
const STALE: &str =
    "WWW-Authenticate: Digest realm=\"r\", nonce=\"n2\", stale=true, qop=\"auth\"\r\n";

#[test]
fn a_challenge_is_answered_and_the_registration_refreshed_with_the_same_call_id() {
    let mut house = House::new();
    let first = register(&mut house, plan("trunk"));
    assert_eq!(first.uri.to_string(), "sip:sip.example.com");
    assert_eq!(
        header(&first, &HeaderName::To),
        "<sip:trunk@sip.example.com>"
    );
    assert_eq!(
        header(&first, &HeaderName::Contact),
        "<sip:49301@127.0.0.1:5060>"
    );
    assert_eq!(header(&first, &HeaderName::Expires), "3600");
    assert_eq!(header(&first, &HeaderName::CSeq), "1 REGISTER");
    assert!(!first.headers.contains(&HeaderName::Authorization));

    answer(&mut house, &first, 401, CHALLENGE);
    let signed = next(&mut house, Duration::ZERO);
    let authorization = header(&signed, &HeaderName::Authorization);
    assert!(authorization.contains("username=\"trunk\"") && authorization.contains("\"n1\""));
    assert_eq!(header(&signed, &HeaderName::CSeq), "2 REGISTER");
    let contact = "Contact: <sip:49301@127.0.0.1:5060>;expires=600\r\n";
    answer(&mut house, &signed, 200, contact);
    assert_eq!(state(&mut house), ("registered", Some(200)));

    // The nonce has become stale: once more, and no failure.
    let refresh = next(&mut house, Duration::from_secs(510));
    assert!(header(&refresh, &HeaderName::Authorization).contains("\"n1\""));
    answer(&mut house, &refresh, 401, STALE);
    let again = next(&mut house, Duration::ZERO);
    assert!(header(&again, &HeaderName::Authorization).contains("\"n2\""));
    let ids = [&first, &signed, &refresh, &again].map(|r| header(r, &HeaderName::CallId));
    assert!(ids.iter().all(|id| *id == ids[0]));
    answer(&mut house, &again, 200, contact);
    assert_eq!(state(&mut house), ("registered", Some(200)));
}

#[test]
fn a_wrong_password_fails_and_a_new_plan_tries_at_once() {
    let mut house = House::new();
    let first = register(&mut house, plan("trunk"));
    answer(&mut house, &first, 401, CHALLENGE);
    let signed = next(&mut house, Duration::ZERO);
    answer(&mut house, &signed, 401, CHALLENGE);
    assert_eq!(state(&mut house), ("failed", Some(401)));
    house.pass(Duration::from_secs(20));
    assert!(house.sent.is_empty(), "who is wrong does not insist");

    let mut mended = plan("trunk");
    if let Some(auth) = &mut mended.sip_auth {
        auth.password = "right".to_string();
    }
    let tried = register(&mut house, mended);
    answer(&mut house, &tried, 200, "");
    assert_eq!(state(&mut house), ("registered", Some(200)));
}

#[test]
fn no_answer_is_408_and_tried_again() {
    let mut house = House::new();
    register(&mut house, plan("trunk"));
    house.pass(Duration::from_secs(32));
    assert_eq!(state(&mut house), ("failed", Some(408)));
    house.sent.clear();
    next(&mut house, Duration::from_secs(4));
}

#[test]
fn a_number_that_goes_is_given_up_at_its_registrar() {
    let mut house = House::new();
    let first = register(&mut house, plan("trunk"));
    answer(&mut house, &first, 200, "");
    house.ask(CallRequest::Unregister("+49 30 1".into()));
    let last = next(&mut house, Duration::ZERO);
    assert_eq!(header(&last, &HeaderName::Expires), "0");
    assert_eq!(state(&mut house).0, "leaving");
    answer(&mut house, &last, 401, CHALLENGE);
    let signed = next(&mut house, Duration::ZERO);
    assert_eq!(header(&signed, &HeaderName::Expires), "0");
    answer(&mut house, &signed, 200, "");
    assert_eq!(snapshot(&mut house), None);
}

#[test]
fn a_number_that_comes_back_while_it_goes_stays() {
    let mut house = House::new();
    let first = register(&mut house, plan("trunk"));
    answer(&mut house, &first, 200, "");
    house.ask(CallRequest::Unregister("+49 30 1".into()));
    let last = next(&mut house, Duration::ZERO);
    let back = register(&mut house, plan("trunk"));
    answer(&mut house, &last, 200, "");
    answer(&mut house, &back, 200, "");
    assert_eq!(state(&mut house), ("registered", Some(200)));
}

#[test]
fn another_registrar_is_told_and_the_former_one_given_up() {
    let mut house = House::new();
    let first = register(&mut house, plan("trunk"));
    answer(&mut house, &first, 200, "");
    let mut elsewhere = plan("trunk");
    elsewhere.sip_server = "other.example.com".to_string();
    house.ask(CallRequest::Register(Box::new(elsewhere)));
    house.pass(Duration::ZERO);
    let sent = std::mem::take(&mut house.sent);
    let mut asked: Vec<(String, String)> = sent
        .iter()
        .filter_map(|message| match message {
            crate::sip::message::Message::Request(request) => Some((
                request.uri.to_string(),
                header(request, &HeaderName::Expires).to_string(),
            )),
            crate::sip::message::Message::Response(_) => None,
        })
        .collect();
    asked.sort();
    let expected = [
        ("sip:other.example.com", "3600"),
        ("sip:sip.example.com", "0"),
    ];
    assert_eq!(asked, expected.map(|(a, b)| (a.to_string(), b.to_string())));
}

#[test]
fn a_gateway_that_drains_gives_all_up_and_takes_none() {
    let mut house = House::new();
    let first = register(&mut house, plan("trunk"));
    answer(&mut house, &first, 200, "");
    house.ask(CallRequest::Drain);
    let last = next(&mut house, Duration::ZERO);
    assert_eq!(header(&last, &HeaderName::Expires), "0");
    let refused = house.ask(CallRequest::Register(Box::new(plan("other"))));
    assert!(matches!(refused, Some(CallReply::Refused(_))));
}
