//! The gateway calls sipp: every way a call may be answered or refused, and
//! the exact events its client is told.

use serde_json::json;

use crate::support::digest::{Algorithm, parameter};
use crate::support::gateway::{Gateway, Settings};
use crate::support::sip::SipPeer;
use crate::support::{Sipp, WebSocket};

/// The hint of where hanging up comes from.
enum HangUp {
    Us,
    Callee,
}

/// Dials sipp in this scenario; returns the events of the WebSocket.
#[track_caller]
fn events_of(settings: Settings, sipp: Sipp, hang_up: HangUp) -> Vec<String> {
    let mut gateway = settings.start();
    let callee = sipp.answer(&mut gateway);
    let call = gateway.dial_with(json!({
        "sip_server": callee.address().to_string(),
        "sip_auth": { "username": "ringwire", "password": "let me in" },
        "from_number": "1000",
        "to_number": "2000",
        "streaming": { "room": "lobby", "peer": "callee" },
    }));
    let mut ws = WebSocket::open(&gateway, &call.ws);
    if let HangUp::Us = hang_up {
        ws.wait_for("sip.accepted 200");
        ws.request(7, "end", json!({}));
    }
    let events = ws.events_to_the_end();
    ws.wait_until_closed();
    callee.succeeds();
    gateway.wait_until_idle();
    events
}

fn a_callee_answers(settings: Settings) {
    let events = events_of(settings, Sipp::scenario("callee_answers"), HangUp::Us);
    assert_eq!(events, ["sip.accepted 200", "terminated", "ended"]);
}

on_every_gateway!(
    a_callee_that_answers_at_once_is_accepted,
    super::a_callee_answers
);

#[test]
fn a_callee_that_rings_and_answers_is_provisional_then_accepted() {
    let events = events_of(
        Gateway::with(),
        Sipp::scenario("callee_rings_and_answers"),
        HangUp::Us,
    );
    assert_eq!(
        events,
        [
            "sip.provisional 180",
            "sip.accepted 200",
            "terminated",
            "ended"
        ]
    );
}

#[test]
fn early_media_comes_before_an_answer_with_another_sdp() {
    let events = events_of(
        Gateway::with(),
        Sipp::scenario("callee_plays_early_media"),
        HangUp::Us,
    );
    assert_eq!(
        events,
        ["sip.early 183", "sip.accepted 200", "terminated", "ended"]
    );
}

#[test]
fn a_callee_that_hangs_up_is_a_bye() {
    let events = events_of(
        Gateway::with(),
        Sipp::scenario("callee_hangs_up"),
        HangUp::Callee,
    );
    assert_eq!(events, ["sip.accepted 200", "sip.bye", "ended"]);
}

#[test]
fn a_callee_that_holds_and_resumes_stays_in_the_call() {
    // The hold comes right after the ACK: hang up once it is over.
    let mut gateway = Gateway::with().start();
    let callee = Sipp::scenario("callee_holds").answer(&mut gateway);
    let call = gateway.dial(callee.address(), "lobby", "callee");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    ws.wait_for("sip.accepted 200");
    crate::support::eventually("hold and resume are done", || {
        let acknowledged = callee.messages().matches("CSeq: 2 ACK").count();
        (acknowledged > 0).then_some(())
    });
    gateway
        .api()
        .delete(&format!("/call/outgoing/{}", call.id))
        .data();
    assert_eq!(
        ws.events_to_the_end(),
        ["sip.accepted 200", "terminated", "ended"]
    );
    callee.succeeds();
}

#[track_caller]
fn refusal(scenario: &str, code: &str, reason: &str) -> Vec<String> {
    let sipp = Sipp::scenario(scenario)
        .set("code", code)
        .set("reason", reason);
    events_of(Gateway::with(), sipp, HangUp::Callee)
}

#[test]
fn a_busy_callee_is_a_failure_486() {
    assert_eq!(
        refusal("callee_refuses", "486", "Busy Here"),
        ["sip.failure 486", "ended"]
    );
}

#[test]
fn a_callee_that_is_busy_everywhere_is_a_failure_600() {
    assert_eq!(
        refusal("callee_refuses", "600", "Busy Everywhere"),
        ["sip.failure 600", "ended"]
    );
}

#[test]
fn a_callee_that_declines_while_it_rings_is_a_failure_603() {
    assert_eq!(
        refusal("callee_rings_and_refuses", "603", "Decline"),
        ["sip.provisional 180", "sip.failure 603", "ended"]
    );
}

#[test]
fn a_redirection_is_a_failure_and_not_followed() {
    assert_eq!(
        refusal("callee_refuses", "302", "Moved Temporarily"),
        ["sip.failure 302", "ended"]
    );
}

#[test]
fn a_callee_that_never_answers_is_cancelled_and_a_failure_408() {
    let settings = Gateway::with().calls("answer_timeout_s = 1");
    let events = events_of(
        settings,
        Sipp::scenario("callee_rings_for_ever"),
        HangUp::Callee,
    );
    assert_eq!(events, ["sip.provisional 180", "sip.failure 408", "ended"]);
}

#[test]
fn a_callee_that_says_nothing_at_all_is_a_failure_408() {
    let mut gateway = Gateway::with().calls("answer_timeout_s = 1").start();
    let mut deaf = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let call = gateway.dial(deaf.address(), "lobby", "callee");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    deaf.expect_request("INVITE");
    assert_eq!(ws.events_to_the_end(), ["sip.failure 408", "ended"]);
}

#[test]
fn a_callee_where_nobody_listens_is_a_failure_503() {
    let mut gateway = Gateway::with().start();
    let nobody = ([127, 0, 0, 1], gateway.ports.one()).into();
    let call = gateway.dial(nobody, "lobby", "callee");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    // RFC 3261 section 8.1.3.1: a transport error is treated as a 503.
    assert_eq!(ws.events_to_the_end(), ["sip.failure 503", "ended"]);
}

#[track_caller]
fn challenged(password: &str, hang_up: HangUp) -> Vec<String> {
    let sipp = Sipp::scenario("callee_challenges_with_401")
        .set("username", "ringwire")
        .set("password", password);
    events_of(Gateway::with(), sipp, hang_up)
}

#[test]
fn a_401_is_answered_with_the_calls_credentials() {
    assert_eq!(
        challenged("let me in", HangUp::Us),
        ["sip.accepted 200", "terminated", "ended"]
    );
}

#[test]
fn a_407_is_answered_with_the_strongest_algorithm_offered() {
    let mut gateway = Gateway::with().start();
    let mut proxy = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    gateway.dial_with(json!({
        "sip_server": proxy.address().to_string(),
        "sip_auth": { "username": "ringwire", "password": "let me in" },
        "from_number": "1000",
        "to_number": "2000",
        "streaming": { "room": "lobby", "peer": "callee" },
    }));
    let invite = proxy.expect_request("INVITE");
    let challenges = "Proxy-Authenticate: Digest realm=\"tests\", nonce=\"abc\", algorithm=SHA-256, qop=\"auth\"\r\n\
        Proxy-Authenticate: Digest realm=\"tests\", nonce=\"abc\", algorithm=MD5, qop=\"auth\"\r\n";
    let reason = "Proxy Authentication Required";
    proxy.reply_with(&invite, 407, reason, "proxy", challenges, "");
    proxy.expect_request("ACK");

    let invite = proxy.expect_request("INVITE");
    let answer = invite.header("proxy-authorization").to_owned();
    let of = |name| parameter(&answer, name);
    assert_eq!(
        (of("username"), of("realm"), of("algorithm")),
        ("ringwire", "tests", "SHA-256")
    );
    let response = Algorithm::Sha256.response(
        ["ringwire", "tests", "let me in"],
        ["abc", of("nc"), of("cnonce")],
        "INVITE",
        of("uri"),
    );
    assert_eq!(of("response"), response, "{answer}");
    assert_eq!(of("qop"), "auth");
    assert_eq!(of("uri"), invite.request_uri().unwrap_or_default());

    // The same challenge again says that the credentials are wrong.
    proxy.reply_with(&invite, 407, reason, "proxy", challenges, "");
    proxy.expect_request("ACK");
    gateway.wait_until_idle();
}

#[test]
fn wrong_credentials_end_in_the_refusal() {
    assert_eq!(
        challenged("another one", HangUp::Callee),
        ["sip.failure 403", "ended"]
    );
}

#[test]
fn a_callee_over_ipv6_is_reached() {
    let mut gateway = Gateway::with().ipv6().start();
    let mut callee = SipPeer::open(&mut gateway.ports, "::1".parse().expect("an address"));
    let call = gateway.dial(callee.address(), "lobby", "callee");
    let invite = callee.expect_request("INVITE");
    assert!(invite.media_address().is_ipv6(), "{}", invite.body);
    callee.reply(&invite, 486, "Busy Here", "callee", "");
    let mut ws = WebSocket::open(&gateway, &call.ws);
    assert_eq!(ws.events_to_the_end(), ["sip.failure 486", "ended"]);
    callee.expect_request("ACK");
}

#[test]
fn a_proxy_gets_the_invite_with_the_servers_uri_and_a_loose_route() {
    let mut gateway = Gateway::with().start();
    let mut proxy = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    gateway.dial_with(json!({
        "sip_server": "sip.example.org",
        "sip_proxy": proxy.address().to_string(),
        "from_number": "1000",
        "to_number": "2000",
        "streaming": { "room": "lobby", "peer": "callee" },
    }));
    let invite = proxy.expect_request("INVITE");
    // RFC 3261 section 8.1.2: a preloaded route; the Request-URI stays the target.
    assert_eq!(invite.request_uri(), Some("sip:2000@sip.example.org"));
    let route = invite.header("route");
    assert!(
        route.contains(&proxy.address().to_string()) && route.contains(";lr"),
        "Route: {route}"
    );
    proxy.reply(&invite, 404, "Not Found", "proxy", "");
    proxy.expect_request("ACK");
    gateway.wait_until_idle();
}

#[test]
fn requests_in_the_dialog_follow_the_record_route() {
    let mut gateway = Gateway::with().start();
    let mut proxy = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let call = gateway.dial(proxy.address(), "lobby", "callee");
    let invite = proxy.expect_request("INVITE");
    let route = format!("<sip:{};lr;k=1>", proxy.address());
    let media = ([127, 0, 0, 1], gateway.ports.pair()).into();
    let answer = crate::support::sip::pcmu_at(media);
    // The Contact is somewhere nobody listens; the route set leads to the proxy.
    let text = format!(
        "SIP/2.0 200 OK\r\nVia: {}\r\nRecord-Route: {route}\r\nFrom: {}\r\nTo: {};tag=far\r\n\
         Call-ID: {}\r\nCSeq: {}\r\nContact: <sip:far@127.0.0.1:9>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{answer}",
        invite.header("via"),
        invite.header("from"),
        invite.header("to"),
        invite.header("call-id"),
        invite.header("cseq"),
        answer.len(),
    );
    proxy.send(invite.source, text.as_bytes());
    let ack = proxy.expect_request("ACK");
    assert_eq!(
        (ack.request_uri(), ack.header("route")),
        (Some("sip:far@127.0.0.1:9"), route.as_str())
    );
    gateway.api().delete(&format!("/call/{}", call.id)).data();
    let bye = proxy.expect_request("BYE");
    assert_eq!(
        (bye.request_uri(), bye.header("route")),
        (Some("sip:far@127.0.0.1:9"), route.as_str())
    );
    proxy.reply(&bye, 200, "OK", "far", "");
    gateway.wait_until_idle();
}
