//! Callers that must say who they are, with both algorithms of RFC 8760.

use std::net::IpAddr;

use crate::support::baresip::Codec;
use crate::support::digest::{Algorithm, Challenge};
use crate::support::sip::{OurCall, SipMessage, SipPeer, pcmu_at};
use crate::support::{Baresip, Gateway, Sipp};

const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// Challenged with MD5, which is what most phones know.
const AUTH: &str = r#"answer = "echo"
auth = { username = "alice", password = "wonderland" }"#;
/// Challenged with both; it is the caller's choice.
const BOTH: &str = r#"answer = "echo"
auth = { username = "alice", password = "wonderland", algorithms = ["SHA-256", "MD5"] }"#;

/// A gateway whose number wants a password, and a caller with its SDP.
fn gateway_and_caller() -> (Gateway, SipPeer, String) {
    let mut gateway = Gateway::with().number("7000", BOTH).start();
    let caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media = pcmu_at((LOCALHOST, gateway.ports.pair()).into());
    (gateway, caller, media)
}

/// Calls, is challenged, and acknowledges that.
fn challenged(gateway: &Gateway, caller: &mut SipPeer, media: &str) -> (OurCall, SipMessage) {
    let mut call = caller.invite(gateway.sip(), "7000", media);
    let refusal = caller.expect_final("INVITE");
    assert_eq!(refusal.status(), Some(401), "{refusal:#?}");
    caller.acknowledge_refusal(&mut call, &refusal);
    (call, refusal)
}

/// The INVITE once more with this answer; returns the final response.
fn again(caller: &mut SipPeer, call: &mut OurCall, answer: &str, media: &str) -> SipMessage {
    let header = format!("Authorization: {answer}\r\n");
    caller.request_with(call, "INVITE", &header, media);
    caller.expect_final("INVITE")
}

fn answers_with(algorithm: Algorithm) {
    let (gateway, mut caller, media) = gateway_and_caller();
    let (mut call, refusal) = challenged(&gateway, &mut caller, &media);
    let challenge = Challenge::of(&refusal, algorithm);
    let answer = challenge.answer("alice", "wonderland", &call.request_uri, 1);
    let last = again(&mut caller, &mut call, &answer, &media);
    assert_eq!(last.status(), Some(200), "{last:#?}");
}

#[test]
fn a_caller_may_answer_with_sha_256() {
    answers_with(Algorithm::Sha256);
}

#[test]
fn a_caller_may_answer_with_md5() {
    answers_with(Algorithm::Md5);
}

#[test]
fn unless_the_number_says_otherwise_the_challenge_is_md5_alone() {
    let mut gateway = Gateway::with().number("7000", AUTH).start();
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media = pcmu_at((LOCALHOST, gateway.ports.pair()).into());
    let (_, refusal) = challenged(&gateway, &mut caller, &media);
    assert_eq!(refusal.all("www-authenticate").count(), 1);
    Challenge::of(&refusal, Algorithm::Md5);
}

#[test]
fn a_phone_answers_the_challenge() {
    let mut gateway = Gateway::with().number("7000", AUTH).start();
    let account = ";auth_user=alice;auth_pass=wonderland";
    let mut phone = Baresip::start_with(
        &mut gateway.ports,
        "1000",
        account,
        LOCALHOST,
        Codec::Pcmu,
        440,
    );
    phone.dial("7000", gateway.sip());
    phone.wait_for("CALL_ESTABLISHED");
    phone.hang_up();
    gateway.wait_until_idle();
}

#[test]
fn a_wrong_password_is_challenged_again_under_a_fresh_nonce() {
    let (gateway, mut caller, media) = gateway_and_caller();
    let (mut call, refusal) = challenged(&gateway, &mut caller, &media);
    let challenge = Challenge::of(&refusal, Algorithm::Sha256);
    let answer = challenge.answer("alice", "looking-glass", &call.request_uri, 1);
    let last = again(&mut caller, &mut call, &answer, &media);
    assert_eq!(last.status(), Some(401), "{last:#?}");
    let second = Challenge::of(&last, Algorithm::Sha256);
    assert!(!second.stale, "wrong is not stale");
}

#[test]
fn an_answer_that_was_overheard_lets_nobody_else_in() {
    let (gateway, mut caller, media) = gateway_and_caller();
    let (mut call, refusal) = challenged(&gateway, &mut caller, &media);
    let challenge = Challenge::of(&refusal, Algorithm::Sha256);
    let answer = challenge.answer("alice", "wonderland", &call.request_uri, 1);
    let last = again(&mut caller, &mut call, &answer, &media);
    assert_eq!(last.status(), Some(200), "{last:#?}");

    // The same nonce count once more, in another call (RFC 7616 section 3.4).
    let (mut thief, _) = challenged(&gateway, &mut caller, &media);
    let last = again(&mut caller, &mut thief, &answer, &media);
    assert_eq!(last.status(), Some(401), "{last:#?}");
    assert_eq!(gateway.calls(), 1);
}

#[test]
fn a_nonce_we_never_made_is_stale_or_wrong() {
    let (gateway, mut caller, media) = gateway_and_caller();
    let (mut call, refusal) = challenged(&gateway, &mut caller, &media);
    let mut challenge = Challenge::of(&refusal, Algorithm::Sha256);
    challenge.nonce = challenge.nonce.chars().rev().collect();
    let answer = challenge.answer("alice", "wonderland", &call.request_uri, 1);
    assert_eq!(
        again(&mut caller, &mut call, &answer, &media).status(),
        Some(401)
    );
}

#[test]
fn a_challenged_caller_with_the_right_password_is_answered() {
    let mut gateway = Gateway::with().number("7000", AUTH).start();
    Sipp::scenario("caller_answers_challenge")
        .credentials("alice", "wonderland")
        .call(&mut gateway, "7000")
        .succeeds();
    gateway.wait_until_idle();
}

#[test]
fn a_challenged_caller_with_a_wrong_password_is_not_let_in() {
    let mut gateway = Gateway::with().number("7000", AUTH).start();
    Sipp::scenario("caller_with_wrong_password")
        .set("code", "401")
        .credentials("alice", "looking-glass")
        .call(&mut gateway, "7000")
        .succeeds();
    gateway.wait_until_idle();
}
