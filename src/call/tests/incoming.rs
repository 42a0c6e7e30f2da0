use std::time::Duration;

use super::house::{House, stream};
use crate::call::request::{Action, CallError, CallReply, CallRequest};

fn body(message: &crate::sip::message::Response) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

#[test]
fn an_unknown_number_gets_404_and_a_foreign_source_403() {
    let mut house = House::new();
    house.invite("nobody", "a", Some("0"));
    house.sent_response(404);
    house.invite("foreign", "b", Some("0"));
    house.sent_response(403);
    assert!(house.told().is_empty());
    house.assert_empty();
}

#[test]
fn a_caller_of_a_locked_number_is_challenged() {
    let mut house = House::new();
    house.invite("locked", "a", Some("0"));
    house.sent_response(401);
    assert!(house.told().is_empty());
}

#[test]
fn an_echo_number_answers_at_once_and_ends_with_the_callers_bye() {
    let mut house = House::new();
    house.invite("echo", "a", Some("8 0"));
    let ok = house.sent_response(200);
    assert!(body(&ok).contains("RTP/AVP 8 0"), "{}", body(&ok));
    house.in_dialog("ACK", 1, &ok, None);
    house.in_dialog("BYE", 2, &ok, None);
    house.sent_response(200);
    assert_eq!(house.told(), ["arrived", "accepted", "bye", "ended remote"]);
    house.assert_empty();
}

#[test]
fn a_number_can_answer_into_a_room_of_its_own() {
    let mut house = House::new();
    house.invite("own", "a", Some("0"));
    house.sent_response(200);
    let call = house.announced();
    let Some(CallReply::Call(snapshot)) = house.ask(CallRequest::Call(call)) else {
        panic!("no snapshot");
    };
    let stream = snapshot.stream.unwrap();
    assert_eq!(*stream.room.name, format!("own-{call}"));
    assert_eq!(&*stream.peer, "caller");
    assert_eq!(snapshot.media.unwrap().codec, "PCMU");
}

#[test]
fn the_application_rings_accepts_and_ends() {
    let mut house = House::new();
    house.invite("ask", "a", Some("0"));
    let call = house.announced();
    assert!(matches!(
        house.act(call, Action::Ring),
        Some(CallReply::Done)
    ));
    house.sent_response(180);
    let reply = house.act(call, Action::Accept(stream("r", "phone")));
    assert!(matches!(reply, Some(CallReply::Done)));
    let ok = house.sent_response(200);
    house.in_dialog("ACK", 1, &ok, None);
    assert!(matches!(
        house.act(call, Action::Accept(stream("r", "again"))),
        Some(CallReply::Refused(CallError::WrongState {
            state: "active",
            ..
        }))
    ));
    assert!(matches!(
        house.act(call, Action::End),
        Some(CallReply::Done)
    ));
    house.sent_request("BYE");
    assert_eq!(house.told(), ["arrived", "accepted", "ended local"]);
    house.assert_empty();
}

#[test]
fn ending_before_accepting_is_a_rejection() {
    let mut house = House::new();
    house.invite("ask", "a", Some("0"));
    let call = house.announced();
    house.act(call, Action::End);
    house.sent_response(486);
    assert_eq!(house.told(), ["arrived", "rejected 486", "ended local"]);
    house.assert_empty();
}

#[test]
fn a_call_nobody_acts_upon_gets_480_after_the_answer_timeout() {
    let mut house = House::new();
    house.invite("ask", "a", Some("0"));
    house.pass(Duration::from_secs(179));
    assert_eq!(house.told(), ["arrived"]);
    house.pass(Duration::from_secs(2));
    house.sent_response(480);
    assert_eq!(house.told(), ["rejected 480", "ended no_answer"]);
    house.assert_empty();
}

#[test]
fn a_caller_may_give_up_while_it_rings() {
    let mut house = House::new();
    house.invite("ask", "a", Some("0"));
    let call = house.announced();
    house.act(call, Action::Ring);
    let ringing = house.sent_response(180);
    house.in_dialog("CANCEL", 1, &ringing, None);
    house.sent_response(487);
    assert_eq!(
        house.told(),
        ["arrived", "caller cancelled", "ended cancelled"]
    );
    house.assert_empty();
}

#[test]
fn a_full_room_refuses_the_action_and_leaves_the_call_ringing() {
    let mut house = House::new();
    house.dialed("r", "one", "0");
    house.dialed("r", "two", "0");
    house.invite("ask", "a", Some("0"));
    let call = house.announced();
    assert!(matches!(
        house.act(call, Action::Accept(stream("r", "three"))),
        Some(CallReply::Refused(CallError::RoomFull))
    ));
    assert!(matches!(
        house.act(call, Action::Accept(stream("other", "three"))),
        Some(CallReply::Done)
    ));
    house.sent_response(200);
}

#[test]
fn an_answering_number_whose_room_is_full_is_busy() {
    let mut house = House::new();
    house.dialed("lobby", "one", "0");
    house.dialed("lobby", "two", "0");
    house.told();
    house.invite("lobby", "a", Some("0"));
    house.sent_response(486);
    assert_eq!(
        house.told(),
        ["arrived", "error", "rejected 486", "ended no_media"]
    );
}

#[test]
fn exhausted_ports_are_503_with_retry_after() {
    let mut house = House::new();
    house.ports.limit = 0;
    house.invite("echo", "a", Some("0"));
    let refused = house.sent_response(503);
    assert!(refused.headers.retry_after().is_some());
    house.told();
    house.assert_empty();
}

#[test]
fn nothing_in_common_is_488_before_anybody_is_bothered() {
    let mut house = House::new();
    house.invite("ask", "a", Some("3"));
    house.sent_response(488);
    assert!(house.told().is_empty());
}

#[test]
fn nothing_in_common_with_the_rooms_other_peer_is_answered_and_the_room_mixed() {
    let mut house = House::new();
    house.dialed("r", "one", "8");
    house.told();
    house.invite("ask", "a", Some("0"));
    let call = house.announced();
    assert!(matches!(
        house.act(call, Action::Accept(stream("r", "two"))),
        Some(CallReply::Done)
    ));
    house.sent_response(200);
    assert_eq!(house.told(), ["arrived", "accepted"]);
    assert_eq!(house.rooms.conferences(), 1);
}

#[test]
fn an_invite_without_offer_gets_ours_and_answers_in_the_ack() {
    let mut house = House::new();
    house.invite("echo", "a", None);
    let ok = house.sent_response(200);
    assert!(body(&ok).contains("m=audio"));
    house.in_dialog("ACK", 1, &ok, Some("8"));
    let call = house.announced();
    let Some(CallReply::Call(snapshot)) = house.ask(CallRequest::Call(call)) else {
        panic!("no snapshot");
    };
    assert_eq!(snapshot.media.unwrap().codec, "PCMA");
}

#[test]
fn a_late_offer_that_is_never_answered_ends_the_call() {
    let mut house = House::new();
    house.invite("echo", "a", None);
    let ok = house.sent_response(200);
    house.in_dialog("ACK", 1, &ok, None);
    house.sent_request("BYE");
    assert_eq!(
        house.told(),
        ["arrived", "accepted", "error", "ended bad_answer"]
    );
    house.assert_empty();
}

#[test]
fn hold_and_resume_are_answered_and_hold_is_no_silence() {
    let mut house = House::new();
    house.invite("echo", "a", Some("0"));
    let ok = house.sent_response(200);
    house.in_dialog("ACK", 1, &ok, None);
    house.in_dialog("INVITE", 2, &ok, Some("0/inactive"));
    let held = house.sent_response(200);
    assert!(body(&held).contains("a=inactive"), "{}", body(&held));
    house.in_dialog("ACK", 2, &ok, None);
    house.pass(Duration::from_secs(60));
    assert_eq!(house.told(), ["arrived", "accepted"]);
    house.in_dialog("INVITE", 3, &ok, Some("0"));
    let resumed = house.sent_response(200);
    assert!(!body(&resumed).contains("a=inactive"));
    house.in_dialog("ACK", 3, &ok, None);
    house.pass(Duration::from_secs(31));
    house.sent_request("BYE");
    assert_eq!(house.told(), ["error", "ended media_timeout"]);
}

#[test]
fn a_re_invite_to_an_unknown_codec_is_488_and_the_call_goes_on() {
    let mut house = House::new();
    house.invite("echo", "a", Some("0"));
    let ok = house.sent_response(200);
    house.in_dialog("ACK", 1, &ok, None);
    house.in_dialog("INVITE", 2, &ok, Some("3"));
    house.sent_response(488);
    house.in_dialog("ACK", 2, &ok, None);
    assert_eq!(house.calls.len(), 1);
}

#[test]
fn a_draining_gateway_refuses_new_calls() {
    let mut house = House::new();
    house.ask(CallRequest::Drain);
    house.invite("echo", "a", Some("0"));
    assert!(house.sent_response(503).headers.retry_after().is_some());
    assert!(matches!(
        house.dial("r", "one"),
        CallReply::Refused(CallError::Draining)
    ));
}

#[test]
fn one_call_too_many_is_503() {
    let mut house = House::with_limit(1);
    house.invite("echo", "a", Some("0"));
    house.sent_response(200);
    house.invite("echo", "b", Some("0"));
    house.sent_response(503);
    assert!(matches!(
        house.dial("r", "one"),
        CallReply::Refused(CallError::TooManyCalls)
    ));
}

#[test]
fn while_the_shard_is_late_new_calls_are_refused_and_the_others_go_on() {
    let mut house = House::new();
    house.invite("echo", "a", Some("0"));
    house.sent_response(200);
    house.calls.set_overloaded(true);
    house.invite("echo", "b", Some("0"));
    assert!(house.sent_response(503).headers.retry_after().is_some());
    assert!(matches!(
        house.dial("r", "one"),
        CallReply::Refused(CallError::Overloaded)
    ));
    assert_eq!(house.calls.len(), 1);
    let overloaded = house.calls.refusals().find(|(why, _)| *why == "overloaded");
    assert_eq!(overloaded, Some(("overloaded", 1)));
    house.calls.set_overloaded(false);
    house.invite("echo", "c", Some("0"));
    house.sent_response(200);
}

#[test]
fn a_call_that_does_not_exist_is_told_so() {
    let mut house = House::new();
    house.invite("echo", "a", Some("0"));
    let call = house.announced();
    house.act(call, Action::End);
    for action in [Action::Ring, Action::End] {
        assert!(matches!(
            house.act(call, action),
            Some(CallReply::Refused(CallError::UnknownCall))
        ));
    }
    assert!(matches!(
        house.ask(CallRequest::Call(call)),
        Some(CallReply::Refused(CallError::UnknownCall))
    ));
}

#[test]
fn a_new_number_book_counts_from_the_next_call_on() {
    let mut house = House::new();
    house.invite("echo", "a", Some("0"));
    house.sent_response(200);
    let empty = std::sync::Arc::new(crate::book::Book::default());
    house.ask(CallRequest::UseBook(empty));
    house.invite("echo", "b", Some("0"));
    house.sent_response(404);
    assert_eq!(house.calls.len(), 1);
}
