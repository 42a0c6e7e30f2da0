//! Calls whose room is on a media server, which the test plays.

use std::time::Duration;

use super::house::{House, stream};
use crate::call::event::{CallEventKind, ServerRequest};
use crate::call::request::{
    Action, CallError, CallReply, CallRequest, MediaServerFailure, ServerDescription,
};
use crate::ids::CallId;

/// As such servers describe themselves: bare LF, a name of one letter, PCMA
/// and telephone events only.
const SERVER: &str = "v=0\no=Z 0 0 IN IP4 127.0.0.1\ns=Z\nc=IN IP4 127.0.0.1\nt=0 0\n\
    m=audio 50000 RTP/AVP 8 101\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\n\
    a=fmtp:101 0-16\na=rtcp-mux\na=sendrecv\n";

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

impl House {
    /// What the media server was asked last.
    fn asked(&self) -> ServerRequest {
        let asked = self
            .events
            .iter()
            .rev()
            .find_map(|event| match &event.kind {
                CallEventKind::MediaServer(request) => Some(request.clone()),
                _ => None,
            });
        asked.expect("the media server was asked")
    }

    fn server_says(&mut self, call: CallId, outcome: Result<&str, MediaServerFailure>) {
        let outcome = outcome.map(|sdp| ServerDescription {
            sdp: sdp.as_bytes().to_vec(),
            source: Some("127.0.0.1".parse().unwrap()),
        });
        let reply = self.ask(CallRequest::MediaServer { call, outcome });
        assert!(matches!(reply, Some(CallReply::Done)));
    }

    /// Dials into a room on the media server, which has not answered yet.
    fn dials(&mut self) -> CallId {
        let CallReply::Dialed { call, .. } = self.dial("r", "one") else {
            panic!("not dialled");
        };
        assert!(self.sent.is_empty(), "no INVITE before the server's offer");
        assert!(matches!(self.asked(), ServerRequest::Offer(place) if place == stream("r", "one")));
        call
    }

    /// A caller with these payload types whom the application has accepted.
    fn accepts(&mut self, formats: Option<&str>) -> CallId {
        self.invite("ask", "dialog", formats);
        let call = self.announced();
        let reply = self.act(call, Action::Accept(stream("r", "one")));
        assert!(reply.is_none(), "accepted once the server has answered");
        call
    }
}

fn unavailable() -> MediaServerFailure {
    MediaServerFailure::Unavailable("answered 500".to_string())
}

#[test]
fn an_outgoing_call_offers_what_the_server_takes_and_answers_it_with_what_the_callee_took() {
    let mut house = House::with_media_server();
    let call = house.dials();
    house.server_says(call, Ok(SERVER));
    let invite = house.sent_request("INVITE");
    let offer = text(&invite.body);
    assert!(offer.contains(" RTP/AVP 8 101\r\n"), "{offer}");

    house.respond(&invite, 180, None);
    house.respond(&invite, 200, Some("8"));
    house.sent_request("ACK");
    let ServerRequest::Complete(answer) = house.asked() else {
        panic!("no answer");
    };
    assert!(answer.contains(" RTP/AVP 8\r\n"), "{answer}");
    assert!(answer.contains("c=IN IP4 127.0.0.1\r\n"), "{answer}");
    assert!(answer.contains("a=rtcp-mux\r\n"), "{answer}");
    assert_eq!(house.rooms.legs(), 2);

    house.act(call, Action::End);
    house.sent_request("BYE");
    assert_eq!(
        house.told(),
        [
            "media server: offer",
            "provisional 180",
            "answered 200",
            "media server: complete",
            "terminated",
            "ended local"
        ]
    );
    house.assert_empty();
}

#[test]
fn early_media_answers_the_server_and_a_later_description_does_not_again() {
    let mut house = House::with_media_server();
    let call = house.dials();
    house.server_says(call, Ok(SERVER));
    let invite = house.sent_request("INVITE");
    house.respond(&invite, 183, Some("8"));
    house.respond(&invite, 200, Some("8"));
    house.act(call, Action::End);
    assert_eq!(
        house.told(),
        [
            "media server: offer",
            "media server: complete",
            "early 183",
            "answered 200",
            "terminated",
            "ended local"
        ]
    );
    house.assert_empty();
}

#[test]
fn an_incoming_call_offers_the_server_what_the_caller_has_and_is_answered_with_what_it_took() {
    let mut house = House::with_media_server();
    let call = house.accepts(Some("0 8"));
    let ServerRequest::Answer {
        offer,
        stream: place,
    } = house.asked()
    else {
        panic!("no offer");
    };
    assert_eq!(place, stream("r", "one"));
    assert!(offer.contains(" RTP/AVP 0 8\r\n"), "{offer}");
    // Ringing goes on meanwhile.
    assert!(matches!(
        house.act(call, Action::Ring),
        Some(CallReply::Done)
    ));
    house.sent_response(180);

    house.server_says(call, Ok(SERVER));
    let answer = text(&house.sent_response(200).body);
    assert!(answer.contains(" RTP/AVP 8\r\n"), "{answer}");
    assert_eq!(
        house.told(),
        ["arrived", "media server: answer", "accepted"]
    );
    house.act(call, Action::End);
    house.assert_empty();
}

#[test]
fn a_caller_without_an_offer_gets_what_the_server_took() {
    let mut house = House::with_media_server();
    let call = house.accepts(None);
    house.server_says(call, Ok(SERVER));
    let offer = text(&house.sent_response(200).body);
    assert!(offer.contains(" RTP/AVP 8 101\r\n"), "{offer}");
    house.act(call, Action::End);
    house.assert_empty();
}

#[test]
fn a_caller_is_refused_by_what_went_wrong() {
    let garbage = "HTTP is not SDP";
    let video =
        "v=0\no=Z 0 0 IN IP4 127.0.0.1\ns=Z\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 4 RTP/AVP 96\n";
    let unusable = MediaServerFailure::Unusable("answered 400".to_string());
    for (formats, outcome, code) in [
        ("8", Err(unavailable()), 503),
        ("8", Err(unusable), 500),
        ("8", Ok(garbage), 500),
        ("8", Ok(video), 500),
        ("0", Ok(SERVER), 488),
    ] {
        let mut house = House::with_media_server();
        let call = house.accepts(Some(formats));
        house.server_says(call, outcome.clone());
        house.sent_response(code);
        let told = house.told();
        assert_eq!(told[0..2], ["arrived", "media server: answer"]);
        assert!(told[2].starts_with("error"), "{told:?}");
        assert_eq!(
            told[3..],
            [
                format!("rejected {code}").as_str(),
                "ended media_server_failed"
            ],
            "{outcome:?}"
        );
        // Whoever accepted it hears why.
        let refused = house
            .replies
            .drain()
            .any(|(_, reply)| matches!(reply, CallReply::Refused(CallError::MediaServer(_))));
        assert!(refused, "{outcome:?}");
        house.assert_empty();
    }
}

#[test]
fn an_outgoing_call_without_a_usable_offer_ends_before_any_invite() {
    for outcome in [Err(unavailable()), Ok("garbage"), Ok("v=0\n")] {
        let mut house = House::with_media_server();
        let call = house.dials();
        house.server_says(call, outcome);
        assert!(house.sent.is_empty());
        let told = house.told();
        assert!(told[1].starts_with("error"), "{told:?}");
        assert_eq!(told[2..], ["ended media_server_failed"]);
        house.assert_empty();
    }
}

#[test]
fn a_server_that_does_not_take_our_answer_ends_the_call() {
    let mut house = House::with_media_server();
    let call = house.dialed_to_server();
    house.server_says(call, Err(unavailable()));
    house.sent_request("BYE");
    let told = house.told();
    assert_eq!(told[told.len() - 1], "ended media_server_failed");
    house.assert_empty();
}

impl House {
    fn dialed_to_server(&mut self) -> CallId {
        let call = self.dials();
        self.server_says(call, Ok(SERVER));
        let invite = self.sent_request("INVITE");
        self.respond(&invite, 200, Some("8"));
        self.sent_request("ACK");
        call
    }
}

#[test]
fn a_server_that_is_silent_is_given_up() {
    let mut house = House::with_media_server();
    house.accepts(Some("8"));
    house.pass(Duration::from_secs(9));
    house.sent_response(503);
    house.assert_empty();

    house.dials();
    house.pass(Duration::from_secs(9));
    assert_eq!(
        house.told().last().map(String::as_str),
        Some("ended media_server_failed")
    );
    house.assert_empty();
}

#[test]
fn a_call_that_ends_while_the_server_is_asked_ends_at_once_and_its_answer_is_late() {
    let mut house = House::with_media_server();
    let call = house.dials();
    house.act(call, Action::End);
    house.server_says(call, Ok(SERVER));
    assert!(house.sent.is_empty());
    assert_eq!(house.told(), ["media server: offer", "ended local"]);
    house.assert_empty();

    let call = house.accepts(Some("8"));
    let trying = house.sent_response(100);
    house.in_dialog("CANCEL", 1, &trying, None);
    house.server_says(call, Ok(SERVER));
    assert_eq!(
        house.told(),
        [
            "arrived",
            "media server: answer",
            "caller cancelled",
            "ended cancelled"
        ]
    );
    house.assert_empty();
}

#[test]
fn hold_by_the_callee_stays_between_it_and_the_gateway() {
    let mut house = House::with_media_server();
    house.accepts(Some("8"));
    let call = house.announced();
    house.server_says(call, Ok(SERVER));
    let answer = house.sent_response(200);
    house.in_dialog("ACK", 1, &answer, None);
    house.told();
    house.in_dialog("INVITE", 2, &answer, Some("8/inactive"));
    let held = text(&house.sent_response(200).body);
    assert!(held.contains("a=inactive\r\n"), "{held}");
    assert_eq!(house.told(), Vec::<String>::new());
}

#[test]
fn a_room_on_a_media_server_has_any_number_of_peers_and_takes_recording() {
    let mut house = House::with_media_server();
    for peer in ["one", "two", "three"] {
        let mut dial = super::house::dial("r", peer);
        dial.stream.record = true;
        let reply = house.ask(CallRequest::Dial(Box::new(dial)));
        assert!(matches!(reply, Some(CallReply::Dialed { .. })), "{reply:?}");
        assert!(matches!(house.asked(), ServerRequest::Offer(place) if place.record));
    }
    let app = crate::ids::AppId::new(crate::ids::AppId::ROOT);
    let rooms = house.rooms.of_app(house.now, Some(&app));
    let peers: Vec<&str> = rooms[0].peers.iter().map(|peer| &*peer.peer).collect();
    assert_eq!(peers, ["one", "two", "three"]);
    assert!(matches!(
        house.dial("r", "two"),
        CallReply::Refused(CallError::PeerExists)
    ));
}

#[test]
fn when_there_are_no_ports_for_the_second_leg_the_first_is_given_back() {
    let mut house = House::with_media_server();
    house.ports.limit = 1;
    assert!(matches!(
        house.dial("r", "one"),
        CallReply::Refused(CallError::PortsExhausted)
    ));
    house.assert_empty();
}
