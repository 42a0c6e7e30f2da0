//! INFO of ours in a dialog (RFC 6086 section 2).

use ringwire::ids::SessionId;
use ringwire::sip::agent::{AgentError, Body, Event};

use crate::fake_network::{Conditions, World};
use crate::support::*;

fn key(digit: char) -> Body {
    Body {
        content_type: "application/dtmf-relay".to_owned(),
        content: format!("Signal={digit}\r\nDuration=160\r\n").into(),
    }
}

fn answered(session: SessionId, code: u16, given_back: &[char]) -> Event {
    Event::InfoAnswered {
        session,
        code,
        given_back: given_back.iter().copied().map(key).collect(),
    }
}

#[test]
fn infos_go_one_after_the_other_and_each_is_told_of() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, callee) = connect(&mut world);
    let now = world.now;
    for digit in ['1', '2', '3'] {
        world.agent(0).info(now, caller, key(digit)).unwrap();
    }
    world.run(seconds(1));
    let received = |digit| Event::Info {
        session: callee,
        body: Some(key(digit)),
    };
    assert_eq!(world.take(1), ['1', '2', '3'].map(received));
    let taken = answered(caller, 200, &[]);
    assert_eq!(world.take(0), [taken.clone(), taken.clone(), taken]);
}

#[test]
fn the_next_info_waits_for_the_answer_to_the_one_before() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = connected_raw(&mut world);
    let now = world.now;
    world.agent(0).info(now, session, key('1')).unwrap();
    world.agent(0).info(now, session, key('2')).unwrap();
    let first = raw.received(&mut world);
    assert_eq!(first.len(), 1);
    assert!(
        first[0]
            .start()
            .starts_with("INFO sip:raw@198.51.100.7:5070")
    );
    assert_eq!(first[0].header("Content-Type"), "application/dtmf-relay");
    assert!(first[0].0.ends_with("\r\n\r\nSignal=1\r\nDuration=160\r\n"));
    raw.send(&mut world, &raw.response(&first[0], 200, "", ""));
    let second = raw.received(&mut world);
    assert!(second[0].0.contains("Signal=2"));
    assert_eq!(world.take(0), [answered(session, 200, &[])]);
}

#[test]
fn a_refused_info_is_given_back_with_those_behind_it() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = connected_raw(&mut world);
    let now = world.now;
    for digit in ['1', '2', '3'] {
        world.agent(0).info(now, session, key(digit)).unwrap();
    }
    let first = raw.received(&mut world).pop().unwrap();
    raw.send(&mut world, &raw.response(&first, 415, "", ""));
    assert_eq!(raw.received(&mut world).len(), 0);
    assert_eq!(world.take(0), [answered(session, 415, &['1', '2', '3'])]);
    // One that is sent all the same has its own answer.
    let now = world.now;
    world.agent(0).info(now, session, key('4')).unwrap();
    let fourth = raw.received(&mut world).pop().unwrap();
    assert!(fourth.0.contains("Signal=4"));
    raw.send(&mut world, &raw.response(&fourth, 200, "", ""));
    world.run(millis(10));
    assert_eq!(world.take(0), [answered(session, 200, &[])]);
}

#[test]
fn an_info_without_an_answer_ends_nothing() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, _raw) = connected_raw(&mut world);
    let now = world.now;
    world.agent(0).info(now, session, key('1')).unwrap();
    world.run(seconds(40));
    assert_eq!(world.take(0), [answered(session, 408, &['1'])]);
    assert_eq!(world.agent(0).sessions(), 1);
}

#[test]
fn a_challenged_info_proves_itself() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let raw = Raw::new();
    let mut call = call_to(raw.address);
    call.auth = Some(credentials("alice", "secret"));
    let now = world.now;
    let session = world.agent(0).invite(now, call).unwrap();
    let invite = raw.received(&mut world).pop().unwrap();
    raw.send(
        &mut world,
        &raw.response(&invite, 200, "callee", RAW_CONTACT),
    );
    raw.received(&mut world);
    world.take(0);
    let now = world.now;
    world.agent(0).info(now, session, key('1')).unwrap();
    let bare = raw.received(&mut world).pop().unwrap();
    assert_eq!(bare.header("Proxy-Authorization"), "");
    let challenge = "Proxy-Authenticate: Digest realm=\"p\", nonce=\"n1\", qop=\"auth\"\r\n";
    raw.send(&mut world, &raw.response(&bare, 407, "", challenge));
    let proved = raw.received(&mut world).pop().unwrap();
    assert!(
        proved
            .header("Proxy-Authorization")
            .contains("nonce=\"n1\"")
    );
    assert!(proved.0.ends_with("Signal=1\r\nDuration=160\r\n"));
    raw.send(&mut world, &raw.response(&proved, 200, "", ""));
    world.run(millis(10));
    assert_eq!(world.take(0), [answered(session, 200, &[])]);
}

#[test]
fn no_more_infos_wait_than_there_is_room_for() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, _raw) = connected_raw(&mut world);
    let now = world.now;
    // One is on its way, 32 wait.
    for _ in 0..33 {
        world.agent(0).info(now, session, key('1')).unwrap();
    }
    let agent = world.agent(0);
    assert_eq!(agent.info(now, session, key('1')), Err(AgentError::Full));
    agent.bye(now, session).unwrap();
    assert_eq!(
        agent.info(now, session, key('1')),
        Err(AgentError::WrongState)
    );
    assert_nothing_left(&mut world);
}

#[test]
fn the_peer_says_in_allow_whether_it_takes_info() {
    for (allow, takes) in [
        ("Allow: INVITE, ACK, BYE, INFO\r\n", true),
        ("Allow: INVITE, ACK, BYE\r\n", false),
        ("", false),
    ] {
        let mut world = World::new(1, Conditions::PERFECT, 1);
        let (session, raw, invite) = call_raw(&mut world);
        let extra = format!("{RAW_CONTACT}{allow}");
        raw.send(&mut world, &raw.response(&invite, 200, "callee", &extra));
        raw.received(&mut world);
        assert_eq!(world.agent(0).takes_info(session), takes, "{allow:?}");

        let mut world = World::new(1, Conditions::PERFECT, 1);
        let raw = Raw::new();
        raw.send(&mut world, &raw.request("INVITE", 1, "first", allow));
        world.run(millis(2));
        let session = invited(&world.take(0));
        assert_eq!(world.agent(0).takes_info(session), takes, "{allow:?}");
    }
}
