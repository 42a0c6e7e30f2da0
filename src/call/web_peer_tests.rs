use super::tests::{House, call, stream};
use super::*;
use crate::call::event::{CallEventKind, WebEvent};
use crate::call::request::{CallReply, IceSession, WebRequest};
use crate::ids::{MediaPort, ShardId};
use crate::keying::{Fingerprint, FingerprintHash};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0 8 126\r\nc=IN IP4 0.0.0.0\r\n\
    a=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\n\
    a=fingerprint:sha-1 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
    a=rtpmap:111 opus/48000/2\r\na=rtpmap:126 telephone-event/8000\r\n";

fn house() -> House {
    let mut house = House::new();
    house.rooms.table.share_port(MediaPort(90), false);
    house.rooms.set_web(WebSettings {
        shard: ShardId(0),
        candidates: vec![SocketAddr::from(([192, 0, 2, 1], 7882))],
        fingerprint: Fingerprint {
            hash: FingerprintHash::Sha256,
            digest: vec![1; 32],
        },
        seed: [3; 32],
    });
    house
}

impl House {
    fn web(&mut self, request: WebRequest) -> CallReply {
        self.rooms.handle_web(self.now, request, &mut self.ports)
    }

    fn offer(&mut self, room: &str, peer: &str, offer: &str) -> CallReply {
        self.web(WebRequest::Join {
            stream: stream(room, peer),
            offer: offer.into(),
        })
    }

    fn come_in(&mut self, room: &str, peer: &str) -> (CallId, String) {
        match self.offer(room, peer, OFFER) {
            CallReply::WebJoined { peer, answer, .. } => (peer, answer),
            other => panic!("{other:?}"),
        }
    }

    fn events(&mut self) -> Vec<(CallId, WebEvent)> {
        let next = || self.rooms.poll_event();
        std::iter::from_fn(next)
            .map(|event| match event.kind {
                CallEventKind::Web(web) => (event.call, web),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn formats(answer: &str) -> &str {
    let line = answer.lines().find(|line| line.starts_with("m=audio"));
    line.unwrap().split_once("SAVPF ").unwrap().1
}

fn ufrag(answer: &str) -> &str {
    let line = answer.lines().find_map(|l| l.strip_prefix("a=ice-ufrag:"));
    line.unwrap()
}

#[test]
fn alone_a_browser_is_answered_with_the_best_codec_first() {
    let mut house = house();
    let (_, answer) = house.come_in("r", "web");
    assert_eq!(formats(&answer), "111 8 0 126");
    let snapshot = house
        .rooms
        .room(house.now, &stream("r", "web").room)
        .unwrap();
    assert_eq!(
        snapshot.peers[0].kind,
        crate::call::request::PeerKind::WebRtc
    );
}

#[test]
fn beside_a_call_it_takes_what_the_call_takes() {
    let mut house = house();
    house.join(1, "r", "phone");
    house.connect(1, &[Codec::Pcma, Codec::TelephoneEvent(8000)]);
    let (_, answer) = house.come_in("r", "web");
    assert_eq!(formats(&answer), "8 126");
    let none = OFFER.replace(" 0 8 126", "");
    house.join(2, "s", "phone");
    house.connect(2, &[Codec::Pcma]);
    // Nothing in common: the room is mixed.
    let joined = house.offer("s", "web", &none);
    let CallReply::WebJoined { answer, .. } = joined else {
        panic!("{joined:?}");
    };
    assert_eq!(formats(&answer), "111");
    assert_eq!(house.rooms.conferences(), 1);
}

#[test]
fn a_call_that_lacks_what_the_browser_sends_makes_it_offer_anew() {
    let mut house = house();
    let (web, _) = house.come_in("r", "web");
    house.join(1, "r", "phone");
    house.events();
    let notices = house.connect(1, &[Codec::Pcma]);
    assert!(notices.is_empty(), "{notices:?}");
    assert_eq!(house.events(), [(web, WebEvent::Renegotiate)]);
    let reply = house.web(WebRequest::Offer {
        peer: web,
        stream: stream("r", "web"),
        offer: OFFER.into(),
        session: IceSession::Any,
    });
    let CallReply::WebAnswered { answer, .. } = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(formats(&answer), "8");
    assert!(answer.contains("o=- ") && answer.contains(" 2 IN IP4 192.0.2.1\r\n"));
    assert!(house.events().is_empty());
}

#[test]
fn a_reload_takes_its_own_place_again_and_a_third_peer_none() {
    let mut house = house();
    house.join(1, "r", "phone");
    let (first, _) = house.come_in("r", "web");
    let (second, _) = house.come_in("r", "web");
    assert_ne!(first, second);
    let left: Vec<_> = house.events().into_iter().skip(1).collect();
    assert_eq!(left[0], (first, WebEvent::Left("replaced")));
    assert!(matches!(left[1], (id, WebEvent::Joined { .. }) if id == second));
    let refused = house.offer("r", "other", OFFER);
    assert!(matches!(refused, CallReply::Refused(CallError::RoomFull)));
    // A call is never pushed out by a browser of its name.
    let refused = house.offer("r", "phone", OFFER);
    assert!(matches!(refused, CallReply::Refused(CallError::PeerExists)));
    assert_eq!(house.rooms.legs(), 2);
}

#[test]
fn an_offer_that_is_no_good_leaves_the_former_peer_in() {
    let mut house = house();
    let (web, _) = house.come_in("r", "web");
    house.events();
    let refused = house.offer("r", "web", "v=0 and nothing else");
    assert!(matches!(
        refused,
        CallReply::Refused(CallError::Invalid { field: "offer", .. })
    ));
    let refused = house.offer("r", "web", &OFFER.replace("a=rtcp-mux\r\n", ""));
    assert!(matches!(
        refused,
        CallReply::Refused(CallError::Invalid { .. })
    ));
    assert!(house.events().is_empty());
    let leave = WebRequest::Leave {
        peer: web,
        stream: stream("r", "web"),
    };
    assert!(matches!(house.web(leave), CallReply::Done));
    assert!(house.rooms.is_empty());
}

#[test]
fn a_request_for_another_place_reaches_nobody() {
    let mut house = house();
    let (web, _) = house.come_in("r", "web");
    let leave = WebRequest::Leave {
        peer: web,
        stream: stream("r", "other"),
    };
    assert!(matches!(
        house.web(leave),
        CallReply::Refused(CallError::UnknownPeer)
    ));
}

#[test]
fn new_credentials_restart_ice_and_candidates_alone_do_not() {
    let mut house = house();
    let (web, answer) = house.come_in("r", "web");
    let mut fragment = |text: &str| {
        house.web(WebRequest::Fragment {
            peer: web,
            stream: stream("r", "web"),
            fragment: text.into(),
            session: IceSession::Any,
        })
    };
    let same = "a=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\na=candidate:x\r\n";
    assert!(matches!(fragment(same), CallReply::Done));
    let CallReply::WebAnswered { answer: new, .. } = fragment(&same.replace("EsAw", "EsAx")) else {
        panic!("no restart");
    };
    assert_ne!(ufrag(&new), ufrag(&answer));
    assert!(new.contains("a=candidate:1 1 udp "), "{new}");
    assert!(matches!(
        fragment("a=ice-ufrag:x\r\n"),
        CallReply::Refused(CallError::Invalid { .. })
    ));
}

#[test]
fn a_request_about_a_former_ice_session_changes_nothing() {
    let mut house = house();
    let (web, answer) = house.come_in("r", "web");
    let (peer, place) = (web, stream("r", "web"));
    let first = IceSession::Named(vec!["x".into(), ufrag(&answer).into()]);
    let fragment = |text: &str, session: &IceSession| WebRequest::Fragment {
        peer,
        stream: place.clone(),
        fragment: text.into(),
        session: session.clone(),
    };
    let theirs = "a=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\n";
    let restarting = theirs.replace("EsAw", "EsAx");
    assert!(matches!(
        house.web(fragment(theirs, &first)),
        CallReply::Done
    ));
    let CallReply::WebAnswered { ufrag: second, .. } =
        house.web(fragment(&restarting, &IceSession::Any))
    else {
        panic!("no restart");
    };

    let offer = WebRequest::Offer {
        peer,
        stream: place.clone(),
        offer: OFFER.into(),
        session: first.clone(),
    };
    let late = [
        offer,
        fragment(&restarting, &first),
        // Without a name its credentials tell.
        fragment(theirs, &IceSession::Any),
    ];
    for request in late {
        assert!(matches!(
            house.web(request),
            CallReply::Refused(CallError::FormerIceSession)
        ));
    }
    let second = IceSession::Named(vec![second]);
    assert!(matches!(
        house.web(fragment(&restarting, &second)),
        CallReply::Done
    ));
}

#[test]
fn lost_consent_clears_the_room_and_tells_the_call() {
    let mut house = house();
    let (web, _) = house.come_in("r", "web");
    house.join(1, "r", "phone");
    let leg = *house
        .rooms
        .by_leg
        .iter()
        .find(|(_, id)| **id == web)
        .unwrap()
        .0;
    house.rooms.secured(house.now, leg);
    house.rooms.consent_lost(house.now, leg, &mut house.ports);
    let heard: Vec<RoomNotice> = std::iter::from_fn(|| house.rooms.poll_notice()).collect();
    assert!(
        matches!(&heard[0], RoomNotice::OtherJoined { call: c, peer } if *c == call(1) && **peer == *"web")
    );
    assert!(matches!(
        &heard[1],
        RoomNotice::OtherLeft {
            reason: "consent_lost",
            ..
        }
    ));
    let events = house.events();
    assert_eq!(
        events.last().unwrap(),
        &(web, WebEvent::Left("consent_lost"))
    );
    assert_eq!(house.rooms.legs(), 1);
}
