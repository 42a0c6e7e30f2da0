//! Whatever happens in whatever order: every call that was told of ends, once,
//! and leaves nothing behind.

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::house::{House, sdp, stream};
use super::ringing::clip;
use crate::call::event::CallEventKind;
use crate::call::request::{Action, CallReply, CallRequest, MediaServerFailure, ServerDescription};
use crate::ids::{CallId, PlayId};
use crate::sip::message::{Message, Request, Response};

/// One step of a day at random: the application, the peer or time acts.
fn step(house: &mut House, random: &mut StdRng, known: &mut Vec<CallId>, number: usize) {
    let room = format!("room-{}", random.random_range(0..3));
    let formats = ["0", "8 0", "8", "96 0", "0/inactive"][random.random_range(0..5)];
    match random.random_range(0..10) {
        0 | 1 => {
            let number_called = ["ask", "echo", "lobby", "own"][random.random_range(0..4)];
            let offer = random.random_bool(0.8).then_some(formats);
            house.invite(number_called, &format!("dialog{number}"), offer);
        }
        2 => {
            if let CallReply::Dialed { call, .. } = house.dial(&room, &format!("peer{number}")) {
                known.push(call);
            }
        }
        3..=5 if !known.is_empty() => {
            let call = known[random.random_range(0..known.len())];
            let act = |action| CallRequest::Act { call, action };
            house.ask(match random.random_range(0..6) {
                0 => act(Action::Ring),
                1 | 2 => CallRequest::RingBack {
                    call,
                    ringback: (PlayId(1), clip()),
                },
                3 | 4 => act(Action::Accept(stream(&room, &format!("peer{number}")))),
                _ => act(Action::End),
            });
        }
        6 => house.pass(Duration::from_millis(random.random_range(0..40_000))),
        7 | 8 if !known.is_empty() => {
            let call = known[random.random_range(0..known.len())];
            let outcome = match random.random_range(0..4) {
                0 => Err(MediaServerFailure::Unavailable("answered 500".to_string())),
                _ => Ok(ServerDescription {
                    sdp: sdp(formats).into_bytes(),
                    source: None,
                }),
            };
            house.ask(CallRequest::MediaServer { call, outcome });
        }
        _ => {}
    }
    answer_some(house, random, formats);
    for event in &house.events {
        if matches!(event.kind, CallEventKind::Arrived(_)) && !known.contains(&event.call) {
            known.push(event.call);
        }
    }
}

/// The peer reacts, or does not, to what it was sent.
fn answer_some(house: &mut House, random: &mut StdRng, formats: &str) {
    let sent: Vec<Message> = std::mem::take(&mut house.sent);
    for message in sent {
        if random.random_bool(0.2) {
            continue;
        }
        match message {
            Message::Request(request) => answer(house, random, &request, formats),
            Message::Response(response) => react(house, random, &response, formats),
        }
    }
}

fn answer(house: &mut House, random: &mut StdRng, request: &Request, formats: &str) {
    let code = match request.method.as_str() {
        "ACK" => return,
        "INVITE" => [180, 183, 200, 200, 486, 503, 491][random.random_range(0..7)],
        _ => 200,
    };
    let described = matches!(code, 183 | 200) && request.method.as_str() == "INVITE";
    house.respond(request, code, described.then_some(formats));
}

fn react(house: &mut House, random: &mut StdRng, response: &Response, formats: &str) {
    let cseq = response.headers.cseq().unwrap();
    if cseq.method.as_str() != "INVITE" {
        return;
    }
    match response.status.code() {
        100..=199 if random.random_bool(0.2) => {
            house.in_dialog("CANCEL", cseq.number, response, None)
        }
        200 => {
            house.in_dialog("ACK", cseq.number, response, Some(formats));
            if random.random_bool(0.3) {
                house.in_dialog("BYE", cseq.number + 1, response, None);
            } else if random.random_bool(0.3) {
                house.in_dialog("INVITE", cseq.number + 1, response, Some(formats));
            }
        }
        300.. => house.in_dialog("ACK", cseq.number, response, None),
        _ => {}
    }
}

#[test]
fn every_call_ends_once_and_leaves_nothing_behind() {
    every_call_ends(House::new);
}

#[test]
fn so_does_every_call_whose_room_is_on_a_media_server() {
    every_call_ends(House::with_media_server);
}

fn every_call_ends(house: fn() -> House) {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut house = house();
        let mut known = Vec::new();
        for number in 0..120 {
            step(&mut house, &mut random, &mut known, number);
        }
        house.ask(CallRequest::EndAll);
        house.pass(Duration::from_secs(600));
        house.pass(Duration::from_secs(600));
        let mut ends: HashMap<CallId, usize> = HashMap::new();
        for event in &house.events {
            let ended = ends.entry(event.call).or_default();
            assert_eq!(*ended, 0, "seed {seed}: {:?} after the end", event.kind);
            if matches!(event.kind, CallEventKind::Ended(_)) {
                *ended += 1;
            }
        }
        assert!(
            ends.values().all(|ended| *ended == 1),
            "seed {seed}: a call never ended"
        );
        house.assert_empty();
        assert_eq!(house.calls.agent().sessions(), 0, "seed {seed}");
    }
}
