//! One INVITE of ours, several callees (RFC 3261 sections 12.1.2, 13.2.2.4).

use ringwire::sip::agent::{DropReason, Event};

use crate::fake_network::{Conditions, World};
use crate::support::*;

#[test]
fn early_dialogs_are_numbered_and_one_answer_wins() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw, invite) = call_raw(&mut world);
    for (code, tag) in [(180, "one"), (183, "two"), (180, "one")] {
        raw.send(&mut world, &raw.response(&invite, code, tag, ""));
    }
    raw.send(&mut world, &raw.response(&invite, 200, "two", RAW_CONTACT));
    let events = world.take(0);
    let forks: Vec<(u32, u16)> = events
        .iter()
        .map(|event| match event {
            Event::Provisional { fork, code, .. } | Event::Answered { fork, code, .. } => {
                (*fork, *code)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(forks, [(0, 180), (1, 183), (0, 180), (1, 200)]);
    assert_eq!(world.agent(0).sessions(), 1);
    let ack = &raw.received(&mut world)[0];
    assert!(ack.start().starts_with("ACK "));
    assert_eq!(ack.tag("To"), "two");
    let _ = session;
}

#[test]
fn a_second_2xx_is_acknowledged_and_that_fork_ended() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (_, raw, invite) = call_raw(&mut world);
    raw.send(&mut world, &raw.response(&invite, 200, "one", RAW_CONTACT));
    assert_eq!(world.take(0).len(), 1);
    assert_eq!(raw.received(&mut world).len(), 1);
    raw.send(&mut world, &raw.response(&invite, 200, "two", RAW_CONTACT));
    let got = raw.received(&mut world);
    let methods: Vec<&str> = got.iter().map(|text| &text.start()[..3]).collect();
    assert_eq!(methods, ["ACK", "BYE"]);
    assert!(got.iter().all(|text| text.tag("To") == "two"));
    assert_eq!(world.take(0), []);
    raw.send(&mut world, &raw.response(&got[1], 200, "", ""));
    // Both 2xx are repeated: both are acknowledged again, no more.
    for tag in ["one", "two"] {
        raw.send(&mut world, &raw.response(&invite, 200, tag, RAW_CONTACT));
        let got = raw.received(&mut world);
        assert_eq!(got.len(), 1, "{got:?}");
        assert_eq!(got[0].tag("To"), tag);
        assert!(got[0].start().starts_with("ACK "));
    }
    assert_eq!(world.agent(0).sessions(), 1);
}

#[test]
fn a_2xx_of_a_fork_after_the_call_is_over_is_ended_too() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw, invite) = call_raw(&mut world);
    raw.send(&mut world, &raw.response(&invite, 200, "one", RAW_CONTACT));
    let now = world.now;
    world.agent(0).bye(now, session).unwrap();
    let bye = raw.received(&mut world).pop().unwrap();
    raw.send(&mut world, &raw.response(&bye, 200, "", ""));
    assert_eq!(world.agent(0).sessions(), 0);
    raw.send(&mut world, &raw.response(&invite, 200, "two", RAW_CONTACT));
    let got = raw.received(&mut world);
    assert!(got[0].start().starts_with("ACK "), "{got:?}");
    assert!(got[1].start().starts_with("BYE "), "{got:?}");
    // A repeated 2xx of the call itself is acknowledged still.
    raw.send(&mut world, &raw.response(&invite, 200, "one", RAW_CONTACT));
    let got = raw.received(&mut world);
    assert!(
        got.iter()
            .any(|text| text.start().starts_with("ACK ") && text.tag("To") == "one")
    );
    assert_nothing_left(&mut world);
}

#[test]
fn more_forks_than_a_call_may_have_are_dropped() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (_, raw, invite) = call_raw(&mut world);
    for n in 0..100 {
        raw.send(
            &mut world,
            &raw.response(&invite, 180, &format!("t{n}"), ""),
        );
    }
    assert_eq!(world.take(0).len(), 16);
    let dropped = |world: &mut World| {
        let counters = world.agent(0).counters();
        counters.dropped(DropReason::TooManyForks)
    };
    assert_eq!(dropped(&mut world), 84);
    for n in 0..100 {
        let answer = raw.response(&invite, 200, &format!("t{n}"), RAW_CONTACT);
        raw.send(&mut world, &answer);
    }
    assert_eq!(world.take(0).len(), 1);
    assert_eq!(dropped(&mut world), 84 + 84);
    assert_nothing_left_after_bye(&mut world);
}

fn assert_nothing_left_after_bye(world: &mut World) {
    world.run(seconds(100));
    let agent = world.agent(0);
    assert_eq!((agent.sessions(), agent.transactions()), (1, 0));
}

#[test]
fn a_request_of_a_fork_that_lost_meets_no_dialog() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (_, mut raw) = connected_raw(&mut world);
    raw.from = raw.from.replace("tag=callee", "tag=other");
    let bye = raw.request("BYE", 1, "b", "");
    assert_eq!(raw.ask(&mut world, &bye), [481]);
    assert_eq!(world.agent(0).sessions(), 1);
}

#[test]
fn early_dialogs_know_requests_but_take_no_offer_and_no_bye() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, mut raw, invite) = call_raw(&mut world);
    raw.send(
        &mut world,
        &raw.response(&invite, 183, "early", RAW_CONTACT),
    );
    world.take(0);
    raw.call_id = Box::leak(invite.header("Call-ID").to_owned().into_boxed_str());
    raw.from = format!("{};tag=early", invite.header("To"));
    raw.to = invite.header("From").to_owned();
    for (method, body, code) in [
        ("OPTIONS", "", 200),
        ("INFO", "x", 200),
        ("UPDATE", "v=0\r\n", 491),
        ("INVITE", "v=0\r\n", 491),
        ("BYE", "", 481),
    ] {
        let text = raw.request_with(method, 5, method, "", body);
        assert_eq!(raw.ask(&mut world, &text), [code], "{method}");
    }
    assert!(matches!(world.take(0)[..], [Event::Info { session: s, .. }] if s == session));
    assert_eq!(world.agent(0).sessions(), 1);
}
