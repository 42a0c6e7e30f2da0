//! The messages of RFC 4475, each handed to an agent whose user serves
//! nobody: what comes back is what the RFC asks for.

use std::path::Path;

use ringwire::sip::agent::{Event, Rejection};

use crate::fake_network::{Conditions, World};
use crate::support::*;

#[test]
fn every_torture_message_gets_the_answer_the_rfc_asks_for() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    let verdicts = std::fs::read_to_string(directory.join("verdicts.toml")).unwrap();
    let verdicts: toml::Table = verdicts.parse().unwrap();
    let mut wrong = Vec::new();
    for (name, verdict) in &verdicts {
        let message = std::fs::read(directory.join(format!("{name}.dat"))).unwrap();
        let got = answers(&message);
        let expected: Vec<i64> = match &verdict["answer"] {
            toml::Value::Integer(code) => vec![*code],
            toml::Value::Array(codes) => codes.iter().flat_map(|c| c.as_integer()).collect(),
            _ => Vec::new(),
        };
        let may_drop = expected.is_empty() || verdict.get("may_drop").is_some();
        let good = match got[..] {
            [] => may_drop,
            [code] => expected.contains(&i64::from(code)),
            _ => false,
        };
        if !good {
            wrong.push((name, expected, got));
        }
    }
    assert!(wrong.is_empty(), "message, expected, got: {wrong:#?}");
    assert_eq!(verdicts.len(), 49);
}

/// The codes of the final answers to a message.
fn answers(message: &[u8]) -> Vec<u16> {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let source = "198.51.100.7:5070".parse().unwrap();
    world.inject(source, 0, message);
    for event in world.take(0) {
        if let Event::Invite { session, .. } = event {
            let now = world.now;
            let nobody = Rejection::code(404);
            world.agent(0).reject(now, session, nobody).unwrap();
        }
    }
    world.run(millis(2));
    let mail = world.mail();
    let codes = mail.iter().map(|datagram| {
        assert_eq!(datagram.to.ip(), source.ip());
        Text(String::from_utf8_lossy(&datagram.payload).into_owned()).code()
    });
    codes.filter(|code| *code >= 200).collect()
}
