//! When messages are sent again, and when not (RFC 3261 section 17).

use ringwire::sip::agent::{Event, Rejection};

use crate::fake_network::{Conditions, World};
use crate::support::*;

/// The half seconds, counted from now, in which the raw peer gets something
/// that starts with `start`.
fn halves(world: &mut World, raw: &Raw, start: &str, seconds: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for half in 0..seconds * 2 {
        // Looking takes 2 ms of the time.
        let got = raw.received(world);
        let hits = got.iter().filter(|text| text.start().starts_with(start));
        found.extend(hits.map(|_| half));
        world.run(millis(498));
    }
    found
}

#[test]
fn an_invite_is_repeated_with_doubled_intervals_until_a_1xx() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let raw = Raw::new();
    let now = world.now;
    world.agent(0).invite(now, call_to(raw.address)).unwrap();
    let sent = halves(&mut world, &raw, "INVITE", 31);
    assert_eq!(sent, [0, 1, 3, 7, 15, 31]);

    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (_, raw, invite) = call_raw(&mut world);
    raw.send(&mut world, &raw.response(&invite, 100, "", ""));
    assert!(halves(&mut world, &raw, "INVITE", 60).is_empty());
}

#[test]
fn a_bye_is_repeated_up_to_every_4_s_and_so_after_a_1xx() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = connected_raw(&mut world);
    let now = world.now;
    world.agent(0).bye(now, session).unwrap();
    let sent = halves(&mut world, &raw, "BYE", 40);
    assert_eq!(sent, [0, 1, 3, 7, 15, 23, 31, 39, 47, 55, 63]);
    assert_eq!(world.take(0), [Event::Ended { session }]);

    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = connected_raw(&mut world);
    let now = world.now;
    world.agent(0).bye(now, session).unwrap();
    let bye = raw.received(&mut world).pop().unwrap();
    raw.send(&mut world, &raw.response(&bye, 100, "", ""));
    let sent = halves(&mut world, &raw, "BYE", 40);
    // 2 ms went by before.
    assert_eq!(sent, [1, 9, 17, 25, 33, 41, 49, 57]);
}

#[test]
fn a_failure_is_repeated_until_its_ack_and_no_longer() {
    for acknowledged in [false, true] {
        let mut world = World::new(1, Conditions::PERFECT, 1);
        let mut raw = Raw::new();
        raw.send(&mut world, &raw.request("INVITE", 1, "a", ""));
        let session = invited(&world.take(0));
        let now = world.now;
        let agent = world.agent(0);
        agent.reject(now, session, Rejection::code(486)).unwrap();
        let busy = raw.received(&mut world).pop().unwrap();
        if acknowledged {
            raw.to = busy.header("To").to_owned();
            raw.send(&mut world, &raw.request("ACK", 1, "a", ""));
        }
        let sent = halves(&mut world, &raw, "SIP/2.0 486", 40);
        let expected: &[u64] = match acknowledged {
            false => &[1, 3, 7, 15, 23, 31, 39, 47, 55, 63],
            true => &[],
        };
        assert_eq!(sent, expected);
        assert_nothing_left(&mut world);
    }
}

#[test]
fn a_repeated_failure_is_acknowledged_each_time_with_the_same_ack() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (_, raw, invite) = call_raw(&mut world);
    let busy = raw.response(&invite, 486, "t", "");
    let mut acks = Vec::new();
    for _ in 0..3 {
        raw.send(&mut world, &busy);
        acks.extend(raw.received(&mut world).into_iter().map(|text| text.0));
    }
    assert_eq!(acks.len(), 3);
    assert!(acks.iter().all(|ack| *ack == acks[0]));
    assert_eq!(world.take(0).len(), 1);
    // 32 s later it is forgotten (timer D).
    world.run(seconds(33));
    raw.send(&mut world, &busy);
    assert!(raw.received(&mut world).is_empty());
}

#[test]
fn a_repeated_invite_gets_the_last_1xx_again_and_none_after_the_2xx() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let raw = Raw::new();
    let invite = raw.request("INVITE", 1, "a", "");
    raw.send(&mut world, &invite);
    let session = invited(&world.take(0));
    assert_eq!(raw.ask(&mut world, &invite), [100, 100]);
    let now = world.now;
    world.agent(0).progress(now, session, 183, None).unwrap();
    assert_eq!(raw.ask(&mut world, &invite), [183, 183]);
    let now = world.now;
    world.agent(0).accept(now, session, sdp("x")).unwrap();
    assert_eq!(raw.ask(&mut world, &invite), [200]);
    assert!(world.take(0).is_empty());
    assert_eq!(world.agent(0).sessions(), 1);
}

#[test]
fn a_repeated_request_in_a_dialog_is_answered_again_and_told_once() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (_, raw) = answered_raw(&mut world);
    let info = raw.request_with("INFO", 2, "i", "", "x");
    for _ in 0..3 {
        assert_eq!(raw.ask(&mut world, &info), [200]);
    }
    assert_eq!(world.take(0).len(), 1);
    assert_eq!(world.agent(0).counters().retransmissions_absorbed, 2);
}

#[test]
fn transactions_that_only_linger_are_forgotten_together() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    // The callee's: INVITE (timer L) and BYE (timer J) of two calls, 50 ms apart.
    for _ in 0..2 {
        let (caller, _) = connect(&mut world);
        let now = world.now;
        world.agent(0).bye(now, caller).unwrap();
        world.run(millis(40));
        world.take(0);
        world.take(1);
    }
    let ended = world.now;
    world.run(seconds(31));
    let agent = world.agent(1);
    assert_eq!(agent.transactions(), 4);
    let due = agent.next_timeout().unwrap();
    assert!(due > ended + seconds(32), "{:?}", due - ended);
    assert!(due < ended + seconds(32) + millis(250));
    agent.handle_timeout(due);
    assert_eq!((agent.transactions(), agent.next_timeout()), (0, None));
}
