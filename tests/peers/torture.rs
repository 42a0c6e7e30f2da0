//! Every message of RFC 4475 at a running gateway: it stays up and answers
//! what it should. The verdicts are in `tests/torture/verdicts.toml`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use crate::support::sip::{SipMessage, SipPeer};
use crate::support::{Gateway, PATIENCE};

/// The Via of almost all messages names no port, which means 5060.
const DEFAULT_PORT: u16 = 5060;
/// `quotbal` names this one.
const QUOTBAL_PORT: u16 = 5050;

struct Verdict {
    answers: Vec<u16>,
    may_drop: bool,
}

fn verdicts() -> BTreeMap<String, Verdict> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture/verdicts.toml");
    let text = std::fs::read_to_string(path).expect("the verdicts");
    let table: toml::Table = text.parse().expect("the verdicts are TOML");
    let code = |value: &toml::Value| value.as_integer().and_then(|code| u16::try_from(code).ok());
    table
        .into_iter()
        .map(|(name, entry)| {
            let answers = match &entry["answer"] {
                toml::Value::Array(codes) => codes.iter().filter_map(code).collect(),
                value => code(value).into_iter().collect(),
            };
            let may_drop = entry
                .get("may_drop")
                .and_then(toml::Value::as_bool)
                .unwrap_or(false);
            (name, Verdict { answers, may_drop })
        })
        .collect()
}

#[test]
fn every_torture_message_gets_the_answer_of_its_verdict() {
    // As in the verdicts: no user that the messages name is served.
    let mut gateway = Gateway::with().number("7000", r#"answer = "echo""#).start();
    // Answers go to port 5060 of the source, so this test needs an address of
    // its own: one made from its lease of ports.
    let [high, low] = gateway.sip().port().to_be_bytes();
    let ip = Ipv4Addr::new(127, 77, high, low.max(1));
    let mut peer = SipPeer::on((ip, DEFAULT_PORT).into());
    let mut quotbal = SipPeer::on((ip, QUOTBAL_PORT).into());

    let mut wrong = Vec::new();
    let mut answered = Vec::new();
    for (name, verdict) in verdicts() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/torture/{name}.dat"));
        let message = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        peer.send(gateway.sip(), &message);
        let ear = if name == "quotbal" {
            &mut quotbal
        } else {
            &mut peer
        };
        // An answer to an earlier message may come once more: told by Call-ID.
        let mut is_new = |message: &SipMessage| {
            message.status().is_some_and(|code| code >= 200)
                && !answered.contains(&message.header("call-id").to_owned())
        };
        let patience = if verdict.answers.is_empty() || verdict.may_drop {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let mut answer = ear.within(patience, &mut is_new);
        // The gateway is alive, and what it had to say to the message it said
        // before it answered this.
        let pong = ping(&mut peer, &gateway, &name);
        assert_eq!(pong.status(), Some(200), "after {name}: {pong:#?}");
        if answer.is_none() {
            let ear = if name == "quotbal" {
                &mut quotbal
            } else {
                &mut peer
            };
            let mut is_new = |message: &SipMessage| {
                message.status().is_some_and(|code| code >= 200)
                    && !answered.contains(&message.header("call-id").to_owned())
            };
            answer = ear.within(Duration::ZERO, &mut is_new);
        }
        let code = answer.as_ref().and_then(SipMessage::status);
        let fine = match code {
            Some(code) => verdict.answers.contains(&code),
            None => verdict.answers.is_empty() || verdict.may_drop,
        };
        if !fine {
            wrong.push(format!(
                "{name}: wanted {:?}, got {code:?}",
                verdict.answers
            ));
        }
        if let Some(answer) = answer {
            if matches!(code, Some(405 | 501)) {
                assert!(
                    !answer.header("allow").is_empty(),
                    "{name}: {code:?} without Allow"
                );
            }
            if code == Some(420) {
                let unsupported: Vec<&str> = answer.all("unsupported").collect();
                assert!(
                    unsupported.join(",").contains("nothingSupportsThis"),
                    "{name}: {unsupported:?}"
                );
            }
            answered.push(answer.header("call-id").to_owned());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        answered.len() >= 30,
        "only {} messages were answered",
        answered.len()
    );
    gateway.assert_alive();
}

/// An OPTIONS and its answer.
#[track_caller]
fn ping(peer: &mut SipPeer, gateway: &Gateway, name: &str) -> SipMessage {
    let call_id = format!("ping-after-{name}");
    let text = format!(
        "OPTIONS sip:{target} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {address};rport;branch=z9hG4bK-{call_id}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:ping@{address}>;tag=ping\r\n\
         To: <sip:{target}>\r\n\
         Call-ID: {call_id}\r\n\
         CSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n",
        target = gateway.sip(),
        address = peer.address(),
    );
    peer.send(gateway.sip(), text.as_bytes());
    peer.expect("an answer to OPTIONS", |message| {
        message.status().is_some() && message.header("call-id") == call_id
    })
}

#[test]
fn bytes_that_are_no_sip_at_all_are_dropped() {
    let mut gateway = Gateway::with().start();
    let mut peer = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let garbage: [&[u8]; 6] = [
        b"",
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 1400],
        b"INVITE sip:",
    ];
    for (n, bytes) in garbage.iter().enumerate() {
        peer.send(gateway.sip(), bytes);
        assert_eq!(
            ping(&mut peer, &gateway, &format!("garbage-{n}")).status(),
            Some(200)
        );
    }
    gateway.assert_alive();
}
