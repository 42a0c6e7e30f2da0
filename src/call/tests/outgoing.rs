use std::time::Duration;

use super::house::{House, dial, stream};
use crate::call::request::{Action, CallError, CallReply, CallRequest, CallState};

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

fn dialed(reply: &CallReply) -> crate::ids::CallId {
    match reply {
        CallReply::Dialed { call, .. } => *call,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ringing_early_media_answer_and_our_hang_up_are_told_in_order() {
    let mut house = House::new();
    let call = dialed(&house.dial("r", "one"));
    let invite = house.sent_request("INVITE");
    house.respond(&invite, 180, None);
    house.pass(Duration::from_secs(1));
    house.respond(&invite, 183, Some("0"));
    house.pass(Duration::from_secs(2));
    house.respond(&invite, 200, Some("8"));
    house.sent_request("ACK");
    let Some(CallReply::Call(snapshot)) = house.ask(CallRequest::Call(call)) else {
        panic!("no snapshot");
    };
    assert_eq!(snapshot.state, CallState::Active);
    let since_start = |at: Option<u64>| at.map(|at| at - snapshot.created_ms);
    assert_eq!(since_start(snapshot.ringing_ms), Some(0));
    assert_eq!(since_start(snapshot.early_ms), Some(1_000));
    assert_eq!(since_start(snapshot.answered_ms), Some(3_000));
    // The 200's description counts, not the 183's.
    assert_eq!(snapshot.media.unwrap().codec, "PCMA");
    house.act(call, Action::End);
    house.sent_request("BYE");
    assert_eq!(
        house.told(),
        [
            "provisional 180",
            "early 183",
            "answered 200",
            "terminated",
            "ended local"
        ]
    );
    house.assert_empty();
}

#[test]
fn a_busy_callee_is_a_failure_with_its_code() {
    let mut house = House::new();
    house.dial("r", "one");
    let invite = house.sent_request("INVITE");
    house.respond(&invite, 486, None);
    house.sent_request("ACK");
    assert_eq!(house.told(), ["failed 486", "ended failed"]);
    house.assert_empty();
}

#[test]
fn nobody_answering_is_408_and_the_call_is_cancelled() {
    let mut house = House::new();
    house.dial("r", "one");
    let invite = house.sent_request("INVITE");
    house.respond(&invite, 180, None);
    house.pass(Duration::from_secs(61));
    house.sent_request("CANCEL");
    house.respond(&invite, 487, None);
    house.pass(Duration::from_secs(64));
    assert_eq!(
        house.told(),
        ["provisional 180", "failed 408", "ended failed"]
    );
    house.assert_empty();
}

#[test]
fn a_peer_that_never_says_anything_is_408_after_timer_b() {
    let mut house = House::new();
    house.dial("r", "one");
    house.pass(Duration::from_secs(33));
    assert_eq!(house.told(), ["failed 408", "ended failed"]);
    house.assert_empty();
}

#[test]
fn ending_while_it_rings_sends_cancel() {
    let mut house = House::new();
    let call = dialed(&house.dial("r", "one"));
    let invite = house.sent_request("INVITE");
    house.respond(&invite, 180, None);
    house.act(call, Action::End);
    let cancel = house.sent_request("CANCEL");
    house.respond(&cancel, 200, None);
    house.respond(&invite, 487, None);
    assert_eq!(
        house.told(),
        ["provisional 180", "cancelled", "ended local"]
    );
    house.assert_empty();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_hung_up() {
    let mut house = House::new();
    let call = dialed(&house.dial("r", "one"));
    let invite = house.sent_request("INVITE");
    house.respond(&invite, 180, None);
    house.act(call, Action::End);
    house.sent.clear();
    house.respond(&invite, 200, Some("0"));
    let bye = house.sent_request("BYE");
    house.respond(&bye, 200, None);
    assert_eq!(
        house.told(),
        ["provisional 180", "cancelled", "ended local"]
    );
    house.assert_empty();
}

#[test]
fn a_third_call_into_a_room_is_refused_before_anything_rings() {
    let mut house = House::new();
    house.dialed("r", "one", "0");
    house.dialed("r", "two", "0");
    house.sent.clear();
    assert!(matches!(
        house.dial("r", "three"),
        CallReply::Refused(CallError::RoomFull)
    ));
    assert!(house.sent.is_empty());
    assert_eq!(house.calls.len(), 2);
}

#[test]
fn recording_is_refused_rather_than_ignored() {
    let mut house = House::new();
    let mut wanted = dial("r", "one");
    wanted.stream.record = true;
    assert!(matches!(
        house.ask(CallRequest::Dial(Box::new(wanted))),
        Some(CallReply::Refused(CallError::RecordingOff))
    ));
    house.assert_empty();
}

#[test]
fn the_second_leg_of_a_room_offers_first_what_the_first_agreed_on() {
    let mut house = House::new();
    house.dialed("r", "one", "8 0");
    house.dial("r", "two");
    let offer = text(&house.sent_request("INVITE").body);
    // Everything else behind it: the room would be mixed.
    assert!(offer.contains("RTP/AVP 8 0 "), "{offer}");
    assert!(offer.contains("opus"), "{offer}");
}

#[test]
fn a_peer_that_sends_what_the_newcomer_lacks_is_asked_to_change() {
    let mut house = House::new();
    house.dialed("r", "one", "8 0");
    house.dial("r", "two");
    let invite = house.sent_request("INVITE");
    house.respond(&invite, 200, Some("0"));
    let again = house.sent_request("INVITE");
    assert!(again.headers.to_tag().is_some(), "a re-INVITE");
    let offer = text(&again.body);
    assert!(offer.contains("PCMU") && !offer.contains("PCMA"), "{offer}");
    house.respond(&again, 200, Some("0"));
    house.sent_request("ACK");
    let Some(CallReply::Calls(calls)) =
        house.ask(CallRequest::Calls(Some(crate::ids::AppId::new("root"))))
    else {
        panic!("no calls");
    };
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(call.media.unwrap().codec, "PCMU");
    }
}

#[test]
fn an_answer_without_description_ends_the_call() {
    let mut house = House::new();
    house.dial("r", "one");
    let invite = house.sent_request("INVITE");
    house.respond(&invite, 200, None);
    let sent: Vec<String> = house
        .sent
        .iter()
        .map(|message| match message {
            crate::sip::message::Message::Request(request) => request.method.as_str().to_string(),
            crate::sip::message::Message::Response(_) => "response".to_string(),
        })
        .collect();
    assert_eq!(sent, ["ACK", "BYE"]);
    assert_eq!(
        house.told(),
        ["answered 200", "error", "terminated", "ended bad_answer"]
    );
    house.assert_empty();
}

#[test]
fn a_server_name_that_is_none_is_refused_by_field() {
    let mut house = House::new();
    let mut wrong = dial("r", "one");
    wrong.sip_server = "what is this".to_string();
    let Some(CallReply::Refused(CallError::Invalid { field, .. })) =
        house.ask(CallRequest::Dial(Box::new(wrong)))
    else {
        panic!("not refused");
    };
    assert_eq!(field, "sip_server");
    house.assert_empty();
}

#[test]
fn accept_and_ring_are_not_for_outgoing_calls() {
    let mut house = House::new();
    let call = dialed(&house.dial("r", "one"));
    for action in [Action::Ring, Action::Accept(stream("r", "two"))] {
        assert!(matches!(
            house.act(call, action),
            Some(CallReply::Refused(CallError::WrongState { .. }))
        ));
    }
}
