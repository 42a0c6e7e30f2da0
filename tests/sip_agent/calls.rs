//! Calls as they should go.

use ringwire::sip::agent::{
    AgentError, Body, DropReason, Event, LostReason, MethodLabel, Rejection,
};

use crate::fake_network::{Conditions, World};
use crate::support::*;

#[test]
fn a_call_rings_is_answered_and_ended_by_the_caller() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, callee) = dial(&mut world);
    let now = world.now;
    world.agent(1).progress(now, callee, 180, None).unwrap();
    world.run(millis(10));
    assert_eq!(
        world.take(0),
        [Event::Provisional {
            session: caller,
            fork: 0,
            code: 180,
            body: None
        }]
    );
    world.agent(1).accept(now, callee, sdp("answer")).unwrap();
    world.run(millis(10));
    assert!(matches!(world.take(0)[..], [Event::Answered { .. }]));
    let now = world.now;
    world.agent(0).bye(now, caller).unwrap();
    world.run(millis(10));
    assert_eq!(world.take(0), [Event::Ended { session: caller }]);
    assert_eq!(
        world.take(1),
        [
            Event::Acknowledged {
                session: callee,
                body: None
            },
            Event::Bye { session: callee }
        ]
    );
    assert_nothing_left(&mut world);
}

#[test]
fn a_call_is_seven_messages_and_no_retransmission() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (_, callee) = connect(&mut world);
    let now = world.now;
    world.agent(1).bye(now, callee).unwrap();
    world.run(seconds(100));
    let counters = world.agent(1).counters();
    assert_eq!(counters.requests_received[MethodLabel::Invite as usize], 1);
    assert_eq!(counters.requests_received[MethodLabel::Ack as usize], 1);
    assert_eq!(counters.requests_sent[MethodLabel::Bye as usize], 1);
    assert_eq!(counters.responses_sent, [1, 1, 0, 0, 0, 0]);
    assert_eq!(counters.responses_received, [0, 1, 0, 0, 0, 0]);
    for n in [0, 1] {
        let counters = world.agent(n).counters();
        assert_eq!(counters.retransmissions_sent, 0);
        assert_eq!(counters.retransmissions_absorbed, 0);
        for reason in DropReason::ALL {
            assert_eq!(counters.dropped(reason), 0, "{}", reason.label());
        }
    }
}

#[test]
fn an_incoming_call_says_who_calls_whom_with_what() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let now = world.now;
    world
        .agent(0)
        .invite(now, call_to(World::address(1)))
        .unwrap();
    world.run(millis(10));
    let events = world.take(1);
    let [Event::Invite { invite, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(invite.source, World::address(0));
    assert_eq!(invite.request_uri.to_string(), "sip:bob@192.0.2.2:5060");
    assert_eq!(invite.from.uri.to_string(), "sip:alice@example.com");
    assert!(invite.from.tag().is_some());
    assert_eq!(invite.to.tag(), None);
    assert_eq!(invite.body, Some(sdp("offer")));
}

#[test]
fn early_media_has_its_description_and_the_answer_another() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, callee) = dial(&mut world);
    let now = world.now;
    world
        .agent(1)
        .progress(now, callee, 183, Some(sdp("early")))
        .unwrap();
    world.agent(1).accept(now, callee, sdp("answer")).unwrap();
    world.run(millis(10));
    assert_eq!(
        world.take(0),
        [
            Event::Provisional {
                session: caller,
                fork: 0,
                code: 183,
                body: Some(sdp("early"))
            },
            Event::Answered {
                session: caller,
                fork: 0,
                code: 200,
                body: Some(sdp("answer"))
            }
        ]
    );
}

#[test]
fn a_refusal_reaches_the_caller_with_its_reason_and_retry_after() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, callee) = dial(&mut world);
    let now = world.now;
    let rejection = Rejection {
        code: 486,
        reason: Some("Not Now".to_owned()),
        retry_after: Some(30),
        warning: Some("399 x \"y\"".to_owned()),
    };
    world.agent(1).reject(now, callee, rejection).unwrap();
    world.run(millis(10));
    assert_eq!(
        world.take(0),
        [Event::Failed {
            session: caller,
            code: 486,
            reason: "Not Now".to_owned(),
            retry_after: Some(30)
        }]
    );
    assert_eq!(world.agent(1).sessions(), 0);
    assert_nothing_left(&mut world);
}

#[test]
fn a_silent_destination_fails_with_408_after_64_t1() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    world.wire = Some(Vec::new());
    let now = world.now;
    let caller = world
        .agent(0)
        .invite(now, call_to(World::address(9)))
        .unwrap();
    world.run(millis(31_999));
    assert_eq!(world.take(0), []);
    world.run(millis(1));
    assert_eq!(
        world.take(0),
        [Event::Failed {
            session: caller,
            code: 408,
            reason: "Request Timeout".to_owned(),
            retry_after: None
        }]
    );
    // RFC 3261 section 17.1.1.2: at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s.
    assert_eq!(world.wire.as_ref().unwrap().len(), 7);
    assert_nothing_left(&mut world);
}

#[test]
fn an_unreachable_destination_fails_with_503_at_once() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let now = world.now;
    let caller = world
        .agent(0)
        .invite(now, call_to(World::address(9)))
        .unwrap();
    let listener = ringwire::ids::ListenerId(0);
    world
        .agent(0)
        .transport_error(now, listener, World::address(8));
    assert_eq!(world.take(0), []);
    world
        .agent(0)
        .transport_error(now, listener, World::address(9));
    assert!(
        matches!(world.take(0)[..], [Event::Failed { session, code: 503, .. }] if session == caller)
    );
    assert_nothing_left(&mut world);
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let raw = Raw::new();
    raw.send(&mut world, &raw.request_with("INVITE", 1, "a", "", ""));
    let events = world.take(0);
    let [Event::Invite { session, invite }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(invite.body, None);
    let now = world.now;
    world.agent(0).accept(now, *session, sdp("offer")).unwrap();
    let ok = raw.received(&mut world).pop().unwrap();
    assert!(ok.0.ends_with("s=offer\r\n"));
    let ack = Raw {
        to: ok.header("To").to_owned(),
        ..Raw::new()
    };
    ack.send(
        &mut world,
        &ack.request_with("ACK", 1, "b", "", "v=0\r\ns=late\r\n"),
    );
    assert_eq!(
        world.take(0),
        [Event::Acknowledged {
            session: *session,
            body: Some(sdp("late"))
        }]
    );
}

#[test]
fn a_1xx_is_repeated_every_minute_while_it_rings() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let raw = Raw::new();
    raw.send(&mut world, &raw.request("INVITE", 1, "a", ""));
    let session = invited(&world.take(0));
    let now = world.now;
    world.agent(0).progress(now, session, 180, None).unwrap();
    assert_eq!(raw.codes(&mut world), [100, 180]);
    world.run(seconds(121));
    assert_eq!(raw.codes(&mut world), [180, 180]);
}

#[test]
fn without_an_ack_the_2xx_is_repeated_and_then_the_session_is_lost() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let raw = Raw::new();
    raw.send(&mut world, &raw.request("INVITE", 1, "a", ""));
    let session = invited(&world.take(0));
    let now = world.now;
    world.agent(0).accept(now, session, sdp("answer")).unwrap();
    world.run(seconds(31));
    // RFC 3261 section 13.3.1.4: 0, 0.5, 1.5, 3.5, 7.5, 11.5, ... 27.5.
    let codes = raw.codes(&mut world);
    assert_eq!(
        codes,
        [100, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200]
    );
    world.run(seconds(2));
    assert_eq!(
        world.take(0),
        [Event::Lost {
            session,
            reason: LostReason::NoAck
        }]
    );
    let last = raw.received(&mut world);
    assert_eq!(last[0].code(), 200);
    assert!(last[1].start().starts_with("BYE sip:raw@198.51.100.7:5070"));
    assert_nothing_left(&mut world);
}

#[test]
fn a_bye_before_the_ack_waits_for_it() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let raw = Raw::new();
    raw.send(&mut world, &raw.request("INVITE", 1, "a", ""));
    let session = invited(&world.take(0));
    let now = world.now;
    world.agent(0).accept(now, session, sdp("answer")).unwrap();
    world.agent(0).bye(now, session).unwrap();
    let got = raw.received(&mut world);
    assert_eq!(got.len(), 2, "{got:?}");
    let ack = Raw {
        to: got[1].header("To").to_owned(),
        ..Raw::new()
    };
    ack.send(&mut world, &ack.request("ACK", 1, "b", ""));
    let got = raw.received(&mut world);
    assert!(got[0].start().starts_with("BYE "), "{got:?}");
    raw.send(&mut world, &raw.response(&got[0], 200, "", ""));
    let events = world.take(0);
    assert_eq!(events.last(), Some(&Event::Ended { session }));
    assert_nothing_left(&mut world);
}

#[test]
fn a_peer_that_vanishes_ends_with_our_bye_unanswered() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, _) = connect(&mut world);
    world.network.conditions.lost = 1000;
    let now = world.now;
    world.agent(0).bye(now, caller).unwrap();
    world.run(seconds(33));
    assert_eq!(world.take(0), [Event::Ended { session: caller }]);
}

#[test]
fn info_is_answered_and_told_with_whatever_it_carries() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw) = answered_raw(&mut world);
    let extra = "Content-Type: application/dtmf-relay\r\n";
    let info = raw.request_with("INFO", 2, "i", extra, "Signal=5\r\n");
    assert_eq!(raw.ask(&mut world, &info), [200]);
    assert_eq!(
        world.take(0),
        [Event::Info {
            session,
            body: Some(Body {
                content_type: "application/dtmf-relay".to_owned(),
                content: "Signal=5\r\n".into()
            })
        }]
    );
}

#[test]
fn what_does_not_fit_the_state_is_refused_to_the_user() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, callee) = dial(&mut world);
    let now = world.now;
    let agent = world.agent(1);
    assert_eq!(agent.bye(now, callee), Err(AgentError::WrongState));
    assert_eq!(agent.cancel(now, callee), Err(AgentError::WrongState));
    assert_eq!(
        agent.progress(now, callee, 200, None),
        Err(AgentError::BadCode)
    );
    agent.reject(now, callee, Rejection::code(486)).unwrap();
    assert_eq!(
        agent.accept(now, callee, sdp("late")),
        Err(AgentError::NoSession)
    );
    assert_eq!(
        world.agent(0).accept(now, caller, sdp("x")),
        Err(AgentError::WrongState)
    );
}

#[test]
fn a_call_to_ourselves_is_two_sessions() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let now = world.now;
    let caller = world
        .agent(0)
        .invite(now, call_to(World::address(0)))
        .unwrap();
    world.run(millis(10));
    let callee = invited(&world.take(0));
    let now = world.now;
    world.agent(0).accept(now, callee, sdp("self")).unwrap();
    world.run(millis(10));
    assert_eq!(world.take(0).len(), 2);
    let now = world.now;
    world.agent(0).bye(now, caller).unwrap();
    world.run(millis(10));
    assert_eq!(
        world.take(0),
        [
            Event::Bye { session: callee },
            Event::Ended { session: caller }
        ]
    );
    assert_nothing_left(&mut world);
}
