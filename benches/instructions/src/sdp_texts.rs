//! Session descriptions: read, printed, offered, answered.

use std::hint::black_box;
use std::net::Ipv4Addr;

use crate::invite::INVITE;
use crate::scenario::Scenario;
use crate::sdp::{Codec, Local, Session, answer, apply_answer, offer};

const DESCRIPTIONS: (u64, u64) = (50, 550);

/// One exchange in its parts.
pub fn scenarios() -> Vec<Scenario> {
    let of = |name: &str, run: fn(u64)| Scenario::new(name, "description", DESCRIPTIONS, run);
    vec![
        of("sdp/parse", |units| {
            for _ in 0..units {
                black_box(Session::parse(black_box(body())).is_ok());
            }
        }),
        of("sdp/offer-and-print", |units| {
            let local = local();
            for _ in 0..units {
                let session = offer(black_box(&local)).expect("an offer");
                black_box(session.to_string());
            }
        }),
        of("sdp/answer-and-print", |units| {
            let local = local();
            let theirs = Session::parse(body()).expect("a good description");
            for _ in 0..units {
                let answered = answer(black_box(&theirs), &local, &Codec::ALL);
                let (session, negotiated) = answered.expect("an answer");
                black_box((session.to_string(), negotiated));
            }
        }),
        of("sdp/take-answer", |units| {
            let local = local();
            let ours = offer(&local).expect("an offer");
            let answered = answer(&ours, &local, &Codec::ALL);
            let (theirs, _) = answered.expect("an answer");
            for _ in 0..units {
                black_box(apply_answer(black_box(&ours), black_box(&theirs)).is_ok());
            }
        }),
    ]
}

fn local() -> Local {
    Local::new(Ipv4Addr::new(192, 0, 2, 7).into(), 30_000, 30_001, 1)
}

fn body() -> &'static [u8] {
    let at = INVITE.find("\r\n\r\n").map_or(0, |end| end + 4);
    &INVITE.as_bytes()[at..]
}
