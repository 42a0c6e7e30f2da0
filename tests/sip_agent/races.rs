//! CANCEL, and what crosses what.

use ringwire::sip::agent::{Event, Rejection};

use crate::fake_network::{Conditions, World};
use crate::support::*;

fn failed(events: &[Event]) -> Vec<u16> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Failed { code, .. } => Some(*code),
            _ => None,
        })
        .collect()
}

#[test]
fn a_cancelled_call_fails_with_487_and_the_callee_hears_of_it() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, callee) = dial(&mut world);
    let now = world.now;
    world.agent(1).progress(now, callee, 180, None).unwrap();
    world.run(millis(10));
    world.take(0);
    let now = world.now;
    world.agent(0).cancel(now, caller).unwrap();
    assert_eq!(world.take(0), []);
    world.run(millis(10));
    assert_eq!(failed(&world.take(0)), [487]);
    assert_eq!(world.take(1), [Event::Cancelled { session: callee }]);
    assert_nothing_left(&mut world);
}

#[test]
fn a_callee_not_heard_of_is_cancelled_as_soon_as_it_is() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw, invite) = call_raw(&mut world);
    let now = world.now;
    world.agent(0).cancel(now, session).unwrap();
    assert_eq!(failed(&world.take(0)), [487]);
    // RFC 3261 section 9.1: no CANCEL before a provisional response.
    assert!(raw.received(&mut world).is_empty());
    raw.send(&mut world, &raw.response(&invite, 100, "", ""));
    raw.send(&mut world, &raw.response(&invite, 180, "t", ""));
    let got = raw.received(&mut world);
    assert_eq!(got.len(), 1, "{got:?}");
    let cancel = &got[0];
    assert!(cancel.start().starts_with("CANCEL "));
    assert_eq!(cancel.header("Via"), invite.header("Via"));
    assert_eq!(cancel.header("To"), invite.header("To"));
    assert_eq!(cancel.header("CSeq"), "1 CANCEL");
    raw.send(&mut world, &raw.response(cancel, 200, "t", ""));
    raw.send(&mut world, &raw.response(&invite, 487, "t", ""));
    assert!(raw.received(&mut world)[0].start().starts_with("ACK "));
    assert_eq!(world.take(0), []);
    assert_nothing_left(&mut world);
}

#[test]
fn a_2xx_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw, invite) = call_raw(&mut world);
    raw.send(&mut world, &raw.response(&invite, 180, "t", ""));
    let now = world.now;
    world.agent(0).cancel(now, session).unwrap();
    assert!(raw.received(&mut world)[0].start().starts_with("CANCEL "));
    raw.send(&mut world, &raw.response(&invite, 200, "t", RAW_CONTACT));
    let got = raw.received(&mut world);
    assert!(got[0].start().starts_with("ACK "), "{got:?}");
    assert!(got[1].start().starts_with("BYE "), "{got:?}");
    assert_eq!(failed(&world.take(0)), [487]);
    // The same 2xx again: only the ACK.
    raw.send(&mut world, &raw.response(&invite, 200, "t", RAW_CONTACT));
    let got = raw.received(&mut world);
    assert_eq!(got.len(), 1);
    assert_nothing_left(&mut world);
}

#[test]
fn a_2xx_to_a_call_given_up_unheard_is_acknowledged_and_ended() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw, invite) = call_raw(&mut world);
    let now = world.now;
    world.agent(0).cancel(now, session).unwrap();
    raw.send(&mut world, &raw.response(&invite, 200, "t", RAW_CONTACT));
    let got = raw.received(&mut world);
    assert!(got[0].start().starts_with("ACK "), "{got:?}");
    assert!(got[1].start().starts_with("BYE "), "{got:?}");
    assert_nothing_left(&mut world);
}

#[test]
fn without_a_final_response_a_cancelled_call_ends_after_64_t1() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (session, raw, invite) = call_raw(&mut world);
    raw.send(&mut world, &raw.response(&invite, 180, "t", ""));
    let now = world.now;
    world.agent(0).cancel(now, session).unwrap();
    world.take(0);
    world.run(millis(31_999));
    assert!(failed(&world.take(0)).is_empty());
    world.run(millis(2));
    assert_eq!(failed(&world.take(0)), [487]);
    assert_nothing_left(&mut world);
}

#[test]
fn a_call_that_rings_too_long_is_cancelled_and_fails_with_408() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (_, callee) = dial(&mut world);
    let now = world.now;
    world.agent(1).progress(now, callee, 180, None).unwrap();
    world.run(seconds(181));
    assert_eq!(failed(&world.take(0)), [408]);
    assert_eq!(world.take(1), [Event::Cancelled { session: callee }]);
    assert_nothing_left(&mut world);
}

#[test]
fn a_ring_timeout_before_any_response_fails_at_once() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let mut call = call_to(World::address(9));
    call.ring_timeout = seconds(5);
    let now = world.now;
    world.agent(0).invite(now, call).unwrap();
    world.run(seconds(5));
    assert_eq!(failed(&world.take(0)), [408]);
    assert_nothing_left(&mut world);
}

#[test]
fn a_cancel_after_the_2xx_changes_nothing() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let raw = Raw::new();
    raw.send(&mut world, &raw.request("INVITE", 1, "a", ""));
    let session = invited(&world.take(0));
    let now = world.now;
    world.agent(0).accept(now, session, sdp("answer")).unwrap();
    raw.received(&mut world);
    assert_eq!(
        raw.ask(&mut world, &raw.request("CANCEL", 1, "a", "")),
        [200]
    );
    assert_eq!(world.take(0), []);
    assert_eq!(world.agent(0).sessions(), 1);
}

#[test]
fn a_cancel_gets_200_and_its_invite_487_with_the_same_tag_9_2() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let raw = Raw::new();
    raw.send(&mut world, &raw.request("INVITE", 1, "a", ""));
    let session = invited(&world.take(0));
    raw.received(&mut world);
    let cancel = raw.request("CANCEL", 1, "a", "");
    raw.send(&mut world, &cancel);
    let got = raw.received(&mut world);
    assert_eq!(got.iter().map(Text::code).collect::<Vec<_>>(), [200, 487]);
    assert_eq!(got[0].tag("To"), got[1].tag("To"));
    assert_eq!(world.take(0), [Event::Cancelled { session }]);
    // Repeated, it is answered again.
    assert_eq!(raw.ask(&mut world, &cancel), [200]);
    let mut ack = Raw::new();
    ack.to = got[1].header("To").to_owned();
    let ack = ack.request("ACK", 1, "a", "");
    assert!(raw.ask(&mut world, &ack).is_empty());
    assert_nothing_left(&mut world);
}

#[test]
fn a_cancel_for_nothing_gets_481() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let raw = Raw::new();
    assert_eq!(
        raw.ask(&mut world, &raw.request("CANCEL", 1, "a", "")),
        [481]
    );
}

#[test]
fn cancelling_a_call_answered_an_instant_ago_is_a_bye() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, callee) = connect(&mut world);
    let now = world.now;
    world.agent(0).cancel(now, caller).unwrap();
    world.run(millis(10));
    assert_eq!(world.take(0), [Event::Ended { session: caller }]);
    assert_eq!(world.take(1), [Event::Bye { session: callee }]);
}

#[test]
fn a_refusal_that_crosses_the_cancel_counts_as_cancelled() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, callee) = dial(&mut world);
    let now = world.now;
    world.agent(0).cancel(now, caller).unwrap();
    let busy = Rejection::code(486);
    world.agent(1).reject(now, callee, busy).unwrap();
    world.run(millis(10));
    assert_eq!(failed(&world.take(0)), [487]);
    assert_eq!(world.take(1), []);
    assert_nothing_left(&mut world);
}

#[test]
fn a_bye_on_a_call_not_answered_yet_ends_it_with_487_15_1_2() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let mut raw = Raw::new();
    raw.send(&mut world, &raw.request("INVITE", 1, "a", ""));
    let session = invited(&world.take(0));
    let now = world.now;
    world.agent(0).progress(now, session, 180, None).unwrap();
    let ringing = raw.received(&mut world).pop().unwrap();
    raw.to = ringing.header("To").to_owned();
    assert_eq!(
        raw.ask(&mut world, &raw.request("BYE", 2, "b", "")),
        [200, 487]
    );
    assert_eq!(world.take(0), [Event::Cancelled { session }]);
}

#[test]
fn byes_that_cross_end_both_sides() {
    let mut world = World::new(1, Conditions::PERFECT, 2);
    let (caller, callee) = connect(&mut world);
    let now = world.now;
    world.agent(0).bye(now, caller).unwrap();
    world.agent(1).bye(now, callee).unwrap();
    world.run(millis(10));
    assert_eq!(world.take(0), [Event::Ended { session: caller }]);
    assert_eq!(world.take(1), [Event::Ended { session: callee }]);
    assert_nothing_left(&mut world);
}

#[test]
fn a_bye_of_the_caller_before_its_ack_is_taken() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let mut raw = Raw::new();
    raw.send(&mut world, &raw.request("INVITE", 1, "a", ""));
    let session = invited(&world.take(0));
    let now = world.now;
    world.agent(0).accept(now, session, sdp("answer")).unwrap();
    let ok = raw.received(&mut world).pop().unwrap();
    raw.to = ok.header("To").to_owned();
    assert_eq!(raw.ask(&mut world, &raw.request("BYE", 2, "b", "")), [200]);
    assert_eq!(world.take(0), [Event::Bye { session }]);
    // The 2xx is not repeated any more, and a late ACK is nothing.
    world.run(seconds(1));
    assert!(
        raw.ask(&mut world, &raw.request("ACK", 1, "c", ""))
            .is_empty()
    );
    assert_nothing_left(&mut world);
}

#[test]
fn a_repeated_bye_after_the_session_is_gone_is_answered_again() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let (_, raw) = answered_raw(&mut world);
    let bye = raw.request("BYE", 2, "b", "");
    assert_eq!(raw.ask(&mut world, &bye), [200]);
    assert_eq!(raw.ask(&mut world, &bye), [200]);
    let another = raw.request("BYE", 3, "c", "");
    assert_eq!(raw.ask(&mut world, &another), [481]);
    assert_nothing_left(&mut world);
}
