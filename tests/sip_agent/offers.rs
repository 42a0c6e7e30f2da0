//! Changes of a session: re-INVITE and UPDATE, both ways, and glare.

use std::collections::BTreeSet;

use ringwire::ids::SessionId;
use ringwire::sip::agent::{AgentError, Event, LostReason, OfferId, Rejection};
use ringwire::sip::method::Method;

use crate::fake_network::{Conditions, World};
use crate::support::*;

fn offered(events: &[Event]) -> (SessionId, OfferId) {
    match events {
        [Event::Offer { session, offer, .. }] => (*session, *offer),
        other => panic!("not one offer: {other:?}"),
    }
}

#[test]
fn hold_and_resume_by_reinvite_go_both_ways() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, callee) = connect(&mut world);
    for (from, session) in [(0, caller), (1, callee), (0, caller)] {
        let to = 1 - from;
        let now = world.now;
        world.agent(from).offer(now, session, sdp("hold")).unwrap();
        world.run(millis(5));
        let events = world.take(to);
        assert!(
            matches!(&events[..], [Event::Offer { method: Method::Invite, body: Some(body), .. }]
                if *body == sdp("hold"))
        );
        let (other, offer) = offered(&events);
        let now = world.now;
        let body = Some(sdp("held"));
        world.agent(to).answer(now, other, offer, body).unwrap();
        world.run(millis(5));
        assert_eq!(
            world.take(from),
            [Event::OfferAnswered {
                session,
                body: Some(sdp("held"))
            }]
        );
        assert_eq!(
            world.take(to),
            [Event::Acknowledged {
                session: other,
                body: None
            }]
        );
    }
    let now = world.now;
    world.agent(1).bye(now, callee).unwrap();
    assert_nothing_left(&mut world);
}

#[test]
fn a_refused_offer_leaves_the_session_as_it_was() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, _) = connect(&mut world);
    let now = world.now;
    world.agent(0).offer(now, caller, sdp("new")).unwrap();
    assert_eq!(
        world.agent(0).offer(now, caller, sdp("another")),
        Err(AgentError::WrongState)
    );
    world.run(millis(5));
    let (callee, offer) = offered(&world.take(1));
    let now = world.now;
    world
        .agent(1)
        .refuse(now, callee, offer, Rejection::code(488))
        .unwrap();
    world.run(millis(5));
    assert_eq!(
        world.take(0),
        [Event::OfferRefused {
            session: caller,
            code: 488
        }]
    );
    assert_eq!(
        (world.agent(0).sessions(), world.agent(1).sessions()),
        (1, 1)
    );
    assert_eq!(
        world
            .agent(1)
            .refuse(now, callee, offer, Rejection::code(488)),
        Err(AgentError::NoOffer)
    );
}

#[test]
fn a_reinvite_without_offer_gets_ours_and_its_ack_the_answer() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = answered_raw(&mut world);
    raw.send(&mut world, &raw.request_with("INVITE", 2, "r", "", ""));
    let events = world.take(0);
    assert!(matches!(events[..], [Event::Offer { body: None, .. }]));
    let (_, offer) = offered(&events);
    let now = world.now;
    let body = Some(sdp("ours"));
    world.agent(0).answer(now, session, offer, body).unwrap();
    assert_eq!(raw.codes(&mut world), [100, 200]);
    let ack = raw.request_with("ACK", 2, "k", "", "v=0\r\ns=theirs\r\n");
    raw.send(&mut world, &ack);
    assert_eq!(
        world.take(0),
        [Event::Acknowledged {
            session,
            body: Some(sdp("theirs"))
        }]
    );
}

#[test]
fn an_update_is_answered_without_ack() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = answered_raw(&mut world);
    let update = raw.request_with("UPDATE", 2, "u", "", "v=0\r\n");
    raw.send(&mut world, &update);
    let events = world.take(0);
    assert!(matches!(
        events[..],
        [Event::Offer {
            method: Method::Update,
            ..
        }]
    ));
    let (_, offer) = offered(&events);
    let now = world.now;
    let body = Some(sdp("ours"));
    world.agent(0).answer(now, session, offer, body).unwrap();
    assert_eq!(raw.codes(&mut world), [200]);
    world.run(seconds(60));
    assert!(raw.codes(&mut world).is_empty());
    // Without a body it only refreshes the target.
    let moved = "Contact: <sip:raw@198.51.100.7:5999>\r\n";
    let update = raw.request_with("UPDATE", 3, "v", moved, "");
    assert_eq!(raw.ask(&mut world, &update), [200]);
    let now = world.now;
    world.agent(0).bye(now, session).unwrap();
    world.run(millis(2));
    assert_eq!(world.mail()[0].to, "198.51.100.7:5999".parse().unwrap());
}

#[test]
fn offers_that_cross_are_both_refused_with_491_and_tried_again_14_1() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, callee) = connect(&mut world);
    let now = world.now;
    world.agent(0).offer(now, caller, sdp("a")).unwrap();
    world.agent(1).offer(now, callee, sdp("b")).unwrap();
    let mut log = Vec::new();
    world.run_with(seconds(10), |agent, n, now, event| {
        if let Event::Offer { session, offer, .. } = event {
            log.push((n, now));
            let body = Some(sdp("yes"));
            agent.answer(now, session, offer, body).unwrap();
            return None;
        }
        Some(event)
    });
    let answered = |events: Vec<Event>| {
        let answered = |e: &&Event| matches!(e, Event::OfferAnswered { .. });
        events.iter().filter(answered).count()
    };
    assert_eq!(answered(world.take(0)), 1);
    assert_eq!(answered(world.take(1)), 1);
    // The one that did not make the Call-ID waits up to 2 s, the other longer.
    let waited = |n: usize| {
        let (_, at) = log.iter().find(|(by, _)| *by == n).unwrap();
        at.duration_since(now).as_millis()
    };
    assert!(waited(0) <= 2_100, "{}", waited(0));
    assert!((2_100..=4_100).contains(&waited(1)), "{}", waited(1));
}

#[test]
fn our_offer_that_meets_491_forever_is_refused_in_the_end() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = connected_raw(&mut world);
    let now = world.now;
    world.agent(0).offer(now, session, sdp("x")).unwrap();
    let mut tries = BTreeSet::new();
    for _ in 0..100 {
        for request in raw.received(&mut world) {
            if request.start().starts_with("INVITE") {
                tries.insert(request.header("CSeq").to_owned());
                raw.send(&mut world, &raw.response(&request, 491, "", ""));
            }
        }
        world.run(seconds(1));
    }
    assert_eq!(tries.len(), 11);
    assert_eq!(world.take(0), [Event::OfferRefused { session, code: 491 }]);
}

#[test]
fn an_offer_while_theirs_is_open_waits_for_its_end() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = answered_raw(&mut world);
    raw.send(&mut world, &raw.request("INVITE", 2, "r", ""));
    let (_, offer) = offered(&world.take(0));
    let now = world.now;
    world.agent(0).offer(now, session, sdp("mine")).unwrap();
    assert_eq!(raw.codes(&mut world), [100]);
    let body = Some(sdp("yes"));
    world.agent(0).answer(now, session, offer, body).unwrap();
    assert_eq!(raw.codes(&mut world), [200]);
    raw.send(&mut world, &raw.request("ACK", 2, "k", ""));
    let got = raw.received(&mut world);
    assert!(got[0].start().starts_with("INVITE "), "{got:?}");
    assert!(got[0].0.ends_with("s=mine\r\n"));
}

#[test]
fn a_second_offer_of_the_peer_gets_500_with_retry_after_14_2() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (_, raw) = answered_raw(&mut world);
    raw.send(&mut world, &raw.request("INVITE", 2, "r", ""));
    raw.received(&mut world);
    for (method, cseq) in [("INVITE", 3), ("UPDATE", 4)] {
        let second = raw.request_with(method, cseq, method, "", "v=0\r\n");
        raw.send(&mut world, &second);
        let got = raw.received(&mut world);
        assert_eq!(got[0].code(), 500);
        let seconds: u32 = got[0].header("Retry-After").parse().unwrap();
        assert!(seconds <= 10);
    }
}

#[test]
fn an_offer_of_the_peer_before_its_ack_gets_491() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = answered_raw(&mut world);
    raw.send(&mut world, &raw.request("INVITE", 2, "r", ""));
    let (_, offer) = offered(&world.take(0));
    let now = world.now;
    world.agent(0).answer(now, session, offer, None).unwrap();
    raw.received(&mut world);
    let second = raw.request("INVITE", 3, "s", "");
    assert_eq!(raw.ask(&mut world, &second), [491]);
}

#[test]
fn a_cancelled_reinvite_gets_487_and_its_offer_is_void() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = answered_raw(&mut world);
    raw.send(&mut world, &raw.request("INVITE", 2, "r", ""));
    let (_, offer) = offered(&world.take(0));
    raw.received(&mut world);
    let cancel = raw.request("CANCEL", 2, "r", "");
    assert_eq!(raw.ask(&mut world, &cancel), [200, 487]);
    let now = world.now;
    assert_eq!(
        world.agent(0).answer(now, session, offer, None),
        Err(AgentError::NoOffer)
    );
    assert_eq!(world.agent(0).sessions(), 1);
}

#[test]
fn a_reinvite_without_an_ack_of_its_2xx_loses_the_session_14_2() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = answered_raw(&mut world);
    raw.send(&mut world, &raw.request("INVITE", 2, "r", ""));
    let (_, offer) = offered(&world.take(0));
    let now = world.now;
    world.agent(0).answer(now, session, offer, None).unwrap();
    world.run(seconds(33));
    let reason = LostReason::NoAck;
    assert_eq!(world.take(0), [Event::Lost { session, reason }]);
    assert_nothing_left(&mut world);
}

#[test]
fn a_peer_that_does_not_know_the_dialog_loses_it_12_2_1_2() {
    for (code, reason) in [
        (481, LostReason::UnknownToPeer),
        (408, LostReason::NoAnswer),
    ] {
        let mut world = World::new(1, Conditions::PERFECT, 1);
        let (session, raw) = connected_raw(&mut world);
        let now = world.now;
        world.agent(0).offer(now, session, sdp("x")).unwrap();
        let invite = raw.received(&mut world).pop().unwrap();
        raw.send(&mut world, &raw.response(&invite, code, "", ""));
        assert_eq!(world.take(0), [Event::Lost { session, reason }]);
        let got = raw.received(&mut world);
        assert!(got[0].start().starts_with("ACK "), "{got:?}");
        assert!(got[1].start().starts_with("BYE "), "{got:?}");
        assert_nothing_left(&mut world);
    }
}

#[test]
fn a_peer_silent_to_our_offer_loses_the_dialog_12_2_1_2() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, _) = connect(&mut world);
    world.network.conditions.lost = 1000;
    let now = world.now;
    world.agent(0).offer(now, caller, sdp("x")).unwrap();
    world.run(seconds(33));
    assert_eq!(
        world.take(0),
        [Event::Lost {
            session: caller,
            reason: LostReason::NoAnswer
        }]
    );
}

#[test]
fn a_peer_that_only_says_100_to_our_offer_is_cancelled() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = connected_raw(&mut world);
    let now = world.now;
    world.agent(0).offer(now, session, sdp("x")).unwrap();
    let invite = raw.received(&mut world).pop().unwrap();
    raw.send(&mut world, &raw.response(&invite, 100, "", ""));
    world.run(millis(32_100));
    assert!(raw.received(&mut world)[0].start().starts_with("CANCEL "));
    raw.send(&mut world, &raw.response(&invite, 487, "", ""));
    assert_eq!(world.take(0), [Event::OfferRefused { session, code: 408 }]);
    assert_eq!(world.agent(0).sessions(), 1);
}

#[test]
fn hanging_up_while_the_peers_offer_is_open_refuses_it() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = answered_raw(&mut world);
    raw.send(&mut world, &raw.request("INVITE", 2, "r", ""));
    world.take(0);
    raw.received(&mut world);
    let now = world.now;
    world.agent(0).bye(now, session).unwrap();
    let got = raw.received(&mut world);
    assert_eq!(got[0].code(), 487);
    assert!(got[1].start().starts_with("BYE "));
}

#[test]
fn the_peers_bye_ends_a_session_with_offers_open_both_ways() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, callee) = connect(&mut world);
    let now = world.now;
    world.agent(0).offer(now, caller, sdp("x")).unwrap();
    world.run(millis(5));
    offered(&world.take(1));
    let now = world.now;
    world.agent(1).bye(now, callee).unwrap();
    world.run(millis(10));
    // 15.1.2: what is pending gets 487, and the BYE follows it.
    assert_eq!(
        world.take(0),
        [
            Event::OfferRefused {
                session: caller,
                code: 487
            },
            Event::Bye { session: caller }
        ]
    );
    assert_eq!(world.take(1), [Event::Ended { session: callee }]);
    assert_nothing_left(&mut world);
}

#[test]
fn a_reinvite_left_open_by_a_peer_that_hung_up_ends_by_itself() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = connected_raw(&mut world);
    let now = world.now;
    world.agent(0).offer(now, session, sdp("x")).unwrap();
    let invite = raw.received(&mut world).pop().unwrap();
    raw.send(&mut world, &raw.response(&invite, 100, "", ""));
    assert_eq!(raw.ask(&mut world, &raw.request("BYE", 1, "b", "")), [200]);
    assert_eq!(world.take(0), [Event::Bye { session }]);
    assert_nothing_left(&mut world);
}
