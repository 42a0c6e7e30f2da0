//! Digest authentication both ways (RFC 3261 section 22, RFC 8760).

use std::time::Instant;

use ringwire::sip::agent::{Agent, Authorization, Event};
use ringwire::sip::digest::Algorithm;

use crate::fake_network::{Conditions, World};
use crate::support::*;

const BOTH: &[Algorithm] = &[Algorithm::Sha256, Algorithm::Md5];

/// Challenges every INVITE and accepts those that prove themselves.
fn guard(agent: &mut Agent, n: usize, now: Instant, event: Event) -> Option<Event> {
    let Event::Invite { session, .. } = &event else {
        return Some(event);
    };
    if n == 1 {
        let expected = credentials("alice", "secret");
        let verdict = agent
            .authorize(now, *session, "realm", &expected, BOTH)
            .unwrap();
        if verdict == Authorization::Valid {
            agent.accept(now, *session, sdp("answer")).unwrap();
        }
    }
    None
}

#[test]
fn a_challenged_call_proves_itself_and_is_answered() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let mut call = call_to(World::address(1));
    call.auth = Some(credentials("alice", "secret"));
    let now = world.now;
    let caller = world.agent(0).invite(now, call).unwrap();
    world.run_with(seconds(1), guard);
    assert!(matches!(world.take(0)[..], [Event::Answered { session, .. }] if session == caller));
    let counters = world.agent(1).counters();
    assert_eq!(counters.responses_sent, [2, 1, 0, 1, 0, 0]);
    let now = world.now;
    world.agent(0).bye(now, caller).unwrap();
    world.run(seconds(1));
    assert_nothing_left(&mut world);
}

#[test]
fn a_wrong_password_is_tried_once_and_fails_with_401() {
    for auth in [Some(credentials("alice", "guess")), None] {
        let tries = if auth.is_some() { 2 } else { 1 };
        let mut world = World::new(1, Conditions::PERFECT, 2);
        let mut call = call_to(World::address(1));
        call.auth = auth;
        let now = world.now;
        world.agent(0).invite(now, call).unwrap();
        world.run_with(seconds(1), guard);
        assert!(matches!(
            world.take(0)[..],
            [Event::Failed { code: 401, .. }]
        ));
        let counters = world.agent(1).counters();
        assert_eq!(counters.responses_sent[3], tries);
        assert_nothing_left(&mut world);
    }
}

fn challenge(kind: &str, realm: &str, nonce: &str, extra: &str) -> String {
    format!("{kind}: Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\"{extra}\r\n")
}

/// A raw callee that answers the agent's INVITEs with these challenges in
/// turn; the requests that came.
fn challenged(world: &mut World, replies: &[(u16, String)]) -> (Raw, Vec<Text>) {
    let raw = Raw::new();
    let mut call = call_to(raw.address);
    call.auth = Some(credentials("alice", "secret"));
    let now = world.now;
    world.agent(0).invite(now, call).unwrap();
    let mut invites = Vec::new();
    for (code, header) in replies {
        let got = raw.received(world);
        let is_invite = |text: &&Text| text.start().starts_with("INVITE");
        let invite = got.iter().find(is_invite).unwrap().clone();
        raw.send(world, &raw.response(&invite, *code, "t", header));
        invites.push(invite);
    }
    let rest = raw.received(world);
    invites.extend(rest.into_iter().filter(|t| t.start().starts_with("INVITE")));
    (raw, invites)
}

#[test]
fn another_try_is_a_new_request_of_the_same_call_8_1_3_5() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let replies = [(407, challenge("Proxy-Authenticate", "p", "n1", ""))];
    let (_, invites) = challenged(&mut world, &replies);
    let [first, second] = &invites[..] else {
        panic!("{invites:?}");
    };
    assert_eq!(second.header("CSeq"), "2 INVITE");
    for same in ["Call-ID", "From", "To", "Contact"] {
        assert_eq!(first.header(same), second.header(same));
    }
    assert_ne!(first.header("Via"), second.header("Via"));
    assert!(
        second
            .header("Proxy-Authorization")
            .starts_with("Digest username=\"alice\"")
    );
    assert_eq!(second.headers("Via").count(), 1);
    assert!(second.0.ends_with("s=offer\r\n"));
}

#[test]
fn a_proxy_and_then_the_callee_may_challenge() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let replies = [
        (407, challenge("Proxy-Authenticate", "p", "n1", "")),
        (401, challenge("WWW-Authenticate", "w", "n2", "")),
    ];
    let (_, invites) = challenged(&mut world, &replies);
    let last = invites.last().unwrap();
    assert_eq!(invites.len(), 3);
    assert!(last.header("Authorization").contains("realm=\"w\""));
    assert!(last.header("Proxy-Authorization").contains("nc=00000002"));
}

#[test]
fn a_stale_nonce_is_worth_one_more_try() {
    let stale = ", stale=true";
    let replies = |last: &str| {
        vec![
            (401, challenge("WWW-Authenticate", "w", "n1", "")),
            (401, challenge("WWW-Authenticate", "w", "n2", last)),
        ]
    };
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (_, invites) = challenged(&mut world, &replies(stale));
    assert_eq!(invites.len(), 3);
    assert!(invites[2].header("Authorization").contains("nonce=\"n2\""));
    assert!(world.take(0).is_empty());

    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (_, invites) = challenged(&mut world, &replies(""));
    assert_eq!(invites.len(), 2);
    assert!(matches!(
        world.take(0)[..],
        [Event::Failed { code: 401, .. }]
    ));

    // Stale for ever is no way out either.
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let mut forever = replies(stale);
    forever.push((401, challenge("WWW-Authenticate", "w", "n3", stale)));
    let (_, invites) = challenged(&mut world, &forever);
    assert_eq!(invites.len(), 3);
    assert!(matches!(
        world.take(0)[..],
        [Event::Failed { code: 401, .. }]
    ));
}

#[test]
fn a_challenge_that_cannot_be_understood_fails_the_call() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let replies = [(401, "WWW-Authenticate: Basic realm=\"w\"\r\n".to_owned())];
    let (_, invites) = challenged(&mut world, &replies);
    assert_eq!(invites.len(), 1);
    assert!(matches!(
        world.take(0)[..],
        [Event::Failed { code: 401, .. }]
    ));
}

#[test]
fn requests_in_the_dialog_carry_credentials_and_answer_new_challenges() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let replies = [
        (407, challenge("Proxy-Authenticate", "p", "n1", "")),
        (200, RAW_CONTACT.to_owned()),
    ];
    let raw = Raw::new();
    let mut call = call_to(raw.address);
    call.auth = Some(credentials("alice", "secret"));
    let now = world.now;
    let session = world.agent(0).invite(now, call).unwrap();
    for (code, header) in &replies {
        let got = raw.received(&mut world);
        let invite = got.iter().find(|t| t.start().starts_with("INVITE"));
        let answer = raw.response(invite.unwrap(), *code, "t", header);
        raw.send(&mut world, &answer);
    }
    let ack = raw.received(&mut world).pop().unwrap();
    assert!(ack.start().starts_with("ACK "));
    assert!(ack.header("Proxy-Authorization").contains("nonce=\"n1\""));

    let now = world.now;
    world.agent(0).offer(now, session, sdp("x")).unwrap();
    let first = raw.received(&mut world).pop().unwrap();
    assert!(first.header("Proxy-Authorization").contains("nonce=\"n1\""));
    let fresh = challenge("Proxy-Authenticate", "p", "n2", "");
    raw.send(&mut world, &raw.response(&first, 407, "", &fresh));
    let second = raw.received(&mut world).pop().unwrap();
    assert!(
        second
            .header("Proxy-Authorization")
            .contains("nonce=\"n2\"")
    );
    assert_eq!(second.header("CSeq"), "4 INVITE");
    raw.send(&mut world, &raw.response(&second, 200, "", RAW_CONTACT));
    raw.received(&mut world);

    let now = world.now;
    world.agent(0).bye(now, session).unwrap();
    let first = raw.received(&mut world).pop().unwrap();
    assert_eq!(first.header("CSeq"), "5 BYE");
    let fresh = challenge("Proxy-Authenticate", "p", "n3", "");
    raw.send(&mut world, &raw.response(&first, 407, "", &fresh));
    let second = raw.received(&mut world).pop().unwrap();
    assert_eq!(second.header("CSeq"), "6 BYE");
    assert!(
        second
            .header("Proxy-Authorization")
            .contains("nonce=\"n3\"")
    );
    raw.send(&mut world, &raw.response(&second, 200, "", ""));
    assert_eq!(world.take(0).last(), Some(&Event::Ended { session }));
    assert_nothing_left(&mut world);
}

#[test]
fn a_used_proof_cannot_be_replayed() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    world.wire = Some(Vec::new());
    let mut call = call_to(World::address(1));
    call.auth = Some(credentials("alice", "secret"));
    let now = world.now;
    world.agent(0).invite(now, call).unwrap();
    world.run_with(seconds(1), guard);
    let is_proof = |text: &str| text.starts_with("INVITE") && text.contains("\r\nAuthorization:");
    let wire = world.wire.take().unwrap();
    let proof = wire
        .iter()
        .map(|datagram| String::from_utf8_lossy(&datagram.payload).into_owned())
        .find(|text| is_proof(text))
        .unwrap();
    // The same proof in a call of somebody else's.
    let replay = proof
        .replace("Call-ID: ", "Call-ID: x")
        .replace("branch=z9hG4bK", "branch=z9hG4bKx");
    let stranger = "203.0.113.5:5060".parse().unwrap();
    world.inject(stranger, 1, replay.as_bytes());
    let mut verdict = None;
    for event in world.take(1) {
        if let Event::Invite { session, .. } = event {
            let expected = credentials("alice", "secret");
            let now = world.now;
            let agent = world.agent(1);
            verdict = Some(
                agent
                    .authorize(now, session, "realm", &expected, BOTH)
                    .unwrap(),
            );
        }
    }
    assert_eq!(verdict, Some(Authorization::Challenged));
    world.run(millis(5));
    let mail = world.mail();
    let answer = String::from_utf8_lossy(&mail.last().unwrap().payload).into_owned();
    assert!(answer.starts_with("SIP/2.0 401 "), "{answer}");
    assert!(answer.contains("stale=true"), "{answer}");
}
