//! Session descriptions from outside: what real devices send, what the gateway
//! answers, how a dialog's descriptions follow each other, and what hostile
//! input does.

mod dialog;
mod exercise;
mod hostile;
mod offer_answer;
mod real_devices;
mod security;

use std::net::IpAddr;

use ringwire::sdp::{Codec, Local, Negotiated, Session};

/// A description whose text is known to be good.
fn parse(text: &str) -> Session {
    Session::parse(text.as_bytes()).expect("the test's own description")
}

/// The gateway's side: 203.0.113.1, ports 30000 and 30001, session id 7.
fn local() -> Local {
    local_at([203, 0, 113, 1].into())
}

fn local_at(address: IpAddr) -> Local {
    Local::new(address, 30000, 30001, 7)
}

/// A peer's description at 192.0.2.9 with these lines below `t=`.
fn peer(lines: &str) -> Session {
    parse(&format!(
        "v=0\no=- 1 1 IN IP4 192.0.2.9\ns=-\nc=IN IP4 192.0.2.9\nt=0 0\n{lines}\n"
    ))
}

/// The codecs as `name receive/send`.
fn codecs(negotiated: &Negotiated) -> Vec<String> {
    let text = |entry: &ringwire::sdp::NegotiatedCodec| {
        format!("{} {}/{}", entry.codec.rtpmap(), entry.receive, entry.send)
    };
    negotiated.codecs.iter().map(text).collect()
}

/// The lines of the printed description from the first `m=` on.
fn media_lines(session: &Session) -> Vec<String> {
    let text = session.to_string();
    let lines = text.split("\r\n").filter(|line| !line.is_empty());
    lines
        .skip_while(|line| !line.starts_with("m="))
        .map(str::to_owned)
        .collect()
}

const ALL: &[Codec] = &Codec::ALL;
