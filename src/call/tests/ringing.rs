//! What a caller is told and hears before the answer.

use std::sync::Arc;
use std::time::Duration;

use super::house::{House, stream};
use crate::call::request::{Action, CallError, CallReply, CallRequest, CallState, Clip};
use crate::ids::{CallId, PlayId};
use crate::sound::clip::ClipLimits;

/// A tenth of a second of silence.
pub fn clip() -> Arc<Clip> {
    let data = 1_600u32;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(8_000u32.to_le_bytes());
    file.extend(16_000u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(data.to_le_bytes());
    file.extend([0; 1_600]);
    Arc::new(Clip::decode(&file, ClipLimits::default()).unwrap())
}

impl House {
    /// The application rings with a ring-back.
    #[track_caller]
    fn ring_back(&mut self, call: CallId) {
        let ringback = (PlayId(1), clip());
        let reply = self.ask(CallRequest::RingBack { call, ringback });
        assert!(matches!(reply, Some(CallReply::Done)), "{reply:?}");
    }

    /// A call to this number that rings so.
    fn ringing(number: &str, formats: Option<&str>) -> (House, CallId) {
        let mut house = House::new();
        house.invite(number, "a", formats);
        let call = house.announced();
        house.sent.clear();
        house.ring_back(call);
        (house, call)
    }
}

#[test]
fn the_answer_repeats_the_description_of_the_183() {
    let (mut house, call) = House::ringing("ask", Some("8 0 101"));
    let progress = house.sent_response(183);
    assert!(String::from_utf8_lossy(&progress.body).contains("RTP/AVP 8 0 101"));
    let Some(CallReply::Call(told)) = house.ask(CallRequest::Call(call)) else {
        panic!("no snapshot");
    };
    assert_eq!((told.state, told.sip_code), (CallState::Ringing, Some(183)));
    assert_eq!(told.early_ms, Some(told.created_ms));
    // A 180 now would turn the caller's own tone on.
    assert!(matches!(
        house.act(call, Action::Ring),
        Some(CallReply::Done)
    ));
    house.ring_back(call);
    assert!(house.sent.is_empty());

    let reply = house.act(call, Action::Accept(stream("r", "phone")));
    assert!(matches!(reply, Some(CallReply::Done)), "{reply:?}");
    let ok = house.sent_response(200);
    assert_eq!(ok.body, progress.body);
    assert_eq!(
        (house.rooms.len(), house.rooms.legs(), house.ports.open),
        (1, 1, 1)
    );
    house.in_dialog("ACK", 1, &ok, None);
    house.in_dialog("BYE", 2, &ok, None);
    assert_eq!(house.told(), ["arrived", "accepted", "bye", "ended remote"]);
    house.assert_empty();
}

#[test]
fn a_183_is_sent_again_each_minute() {
    let (mut house, _) = House::ringing("ask", Some("0"));
    let progress = house.sent_response(183);
    house.pass(Duration::from_secs(61));
    assert_eq!(house.sent_response(183).body, progress.body);
}

#[test]
fn a_full_room_leaves_the_call_ringing_as_it_was() {
    let (mut house, call) = House::ringing("ask", Some("0"));
    let progress = house.sent_response(183);
    house.dialed("r", "one", "0");
    house.dialed("r", "two", "0");
    house.sent.clear();
    let reply = house.act(call, Action::Accept(stream("r", "phone")));
    assert!(
        matches!(reply, Some(CallReply::Refused(CallError::RoomFull))),
        "{reply:?}"
    );
    assert!(house.sent.is_empty());
    house.act(call, Action::Accept(stream("other", "phone")));
    assert_eq!(house.sent_response(200).body, progress.body);
}

#[test]
fn a_caller_that_gives_up_or_is_refused_leaves_no_port_open() {
    let (mut house, _) = House::ringing("ask", Some("0"));
    let progress = house.sent_response(183);
    house.in_dialog("CANCEL", 1, &progress, None);
    house.sent_response(487);
    assert_eq!(
        house.told(),
        ["arrived", "caller cancelled", "ended cancelled"]
    );
    house.assert_empty();

    let (mut house, call) = House::ringing("ask", Some("0"));
    house.act(call, Action::Reject(603));
    house.sent_response(603);
    assert_eq!(house.told(), ["arrived", "rejected 603", "ended rejected"]);
    house.assert_empty();
}

#[test]
fn a_call_nobody_accepts_ends_with_its_early_media() {
    let (mut house, _) = House::ringing("ask", Some("0"));
    house.pass(Duration::from_secs(181));
    house.sent_response(480);
    house.assert_empty();
}

#[test]
fn where_there_is_nothing_to_answer_early_the_caller_gets_180() {
    // Without an offer; without the protection that the number requires.
    for (number, formats) in [("ask", None), ("guarded", Some("0"))] {
        let (mut house, call) = House::ringing(number, formats);
        assert_eq!(house.sent_response(180).body.len(), 0);
        assert_eq!((house.rooms.legs(), house.ports.open), (0, 0));
        assert_eq!(house.told(), ["arrived"]);
        house.act(call, Action::End);
        house.sent_response(486);
        house.assert_empty();
    }
}

#[test]
fn where_no_port_is_free_the_caller_gets_180() {
    let mut house = House::new();
    house.ports.limit = 0;
    house.invite("ask", "a", Some("0"));
    let call = house.announced();
    house.ring_back(call);
    house.sent_response(180);
    house.ports.limit = 1;
    house.act(call, Action::Accept(stream("r", "phone")));
    house.sent_response(200);
}

#[test]
fn a_call_that_is_accepted_before_its_leg_is_open_is_answered_at_once() {
    let mut house = House::new();
    house.invite("ask", "a", Some("0"));
    let call = house.announced();
    house.sent.clear();
    let ringback = (PlayId(1), clip());
    let accept = Action::Accept(stream("r", "phone"));
    let replies = house.ask_all([
        CallRequest::RingBack { call, ringback },
        CallRequest::Act {
            call,
            action: accept,
        },
    ]);
    assert!(
        matches!(replies[..], [Some(CallReply::Done), Some(CallReply::Done)]),
        "{replies:?}"
    );
    house.sent_response(200);
    assert_eq!((house.rooms.len(), house.rooms.legs()), (1, 1));
    house.act(call, Action::End);
    house.assert_empty();
}

#[test]
fn an_outgoing_call_cannot_be_rung() {
    let mut house = House::new();
    let call = house.dialed("r", "one", "0");
    let ringback = (PlayId(1), clip());
    let reply = house.ask(CallRequest::RingBack { call, ringback });
    assert!(
        matches!(
            reply,
            Some(CallReply::Refused(CallError::WrongState { .. }))
        ),
        "{reply:?}"
    );
}
