//! The torture messages of RFC 4475 against the parser: what must be taken is
//! taken, what must not is refused with the answer that the RFC asks for.
//! `tests/torture/README.md` explains the verdicts. [`mutation`] goes on from
//! there to what no RFC wrote down.

mod exercise;
mod mutation;

use std::collections::BTreeMap;
use std::path::Path;

use ringwire::sip::header::HeaderName;
use ringwire::sip::message::Message;
use ringwire::sip::params::Params;
use ringwire::sip::parse::{ParseError, parse};
use serde::Deserialize;

#[derive(Deserialize)]
struct Verdict {
    parse: Parse,
    answer: toml::Value,
    #[serde(default)]
    may_drop: bool,
}

#[derive(Deserialize, PartialEq, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Parse {
    Ok,
    Reject,
    Lenient,
}

impl Verdict {
    fn allows(&self, answer: Option<i64>) -> bool {
        match (&self.answer, answer) {
            (toml::Value::String(none), answer) => none == "none" && answer.is_none(),
            (_, None) => self.may_drop,
            (toml::Value::Integer(code), Some(answer)) => *code == answer,
            (toml::Value::Array(codes), Some(answer)) => {
                codes.iter().any(|code| code.as_integer() == Some(answer))
            }
            _ => false,
        }
    }
}

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture"))
}

/// All messages, in the order of their names.
fn messages() -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(directory())
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "dat"))
        .map(|path| {
            let message = std::fs::read(&path).expect("a file");
            (path.display().to_string(), message)
        })
        .collect()
}

fn message(name: &str) -> Message {
    parse(&read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(directory().join(format!("{name}.dat"))).expect("a .dat file")
}

#[test]
fn every_message_gets_its_verdict() {
    let text = std::fs::read_to_string(directory().join("verdicts.toml")).expect("verdicts");
    let verdicts: BTreeMap<String, Verdict> = toml::from_str(&text).expect("verdicts");
    assert_eq!(verdicts.len(), 49);
    let mut wrong = Vec::new();
    for (name, verdict) in &verdicts {
        match (parse(&read(name)), verdict.parse) {
            (Ok(_), Parse::Ok | Parse::Lenient) => {}
            (Ok(_), Parse::Reject) => wrong.push(format!("{name}: taken")),
            (Err(error), Parse::Ok) => wrong.push(format!("{name}: refused, {error}")),
            (Err(ParseError { reason, answer }), Parse::Reject | Parse::Lenient) => {
                let code = answer.map(|answer| i64::from(answer.status.code()));
                if !verdict.allows(code) {
                    wrong.push(format!("{name}: {reason}, answered {code:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_message_keeps_its_word() {
    for (_, message) in messages() {
        exercise::exercise(&message);
    }
}

#[test]
fn escapes_and_odd_values_are_read_as_the_rfc_says() {
    let wsinv = message("wsinv");
    let headers = wsinv.headers();
    assert_eq!(headers.to_tag(), Some("1918181833n"));
    let from = headers.from().expect("From");
    assert_eq!(from.display.as_deref(), Some("J Rosenberg \\\""));
    assert_eq!(headers.max_forwards(), Ok(Some(68)));
    assert_eq!(headers.cseq().map(|cseq| cseq.number), Ok(9));
    let vias: Vec<_> = headers
        .vias()
        .expect("Via")
        .into_iter()
        .map(|via| via.to_string())
        .collect();
    assert_eq!(
        vias,
        [
            "SIP/2.0/UDP 192.0.2.2;branch=390skdjuw",
            "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8",
            "SIP/2.0/UDP 192.168.255.111;branch=z9hG4bK30239",
        ]
    );
    let unknown = HeaderName::Other("UnknownHeaderWithUnusualValue".into());
    assert_eq!(headers.get(&unknown), Some(";;,,;;,;"));
    let contacts = headers.contacts().expect("Contact");
    assert_eq!(contacts[0].display.as_deref(), Some("Quoted string \"\""));
    assert_eq!(contacts[0].params.get("q"), Some("0.33"));

    let user = |name: &str| match message(name) {
        Message::Request(request) => request.uri.user().map(|user| user.into_owned()),
        Message::Response(_) => None,
    };
    assert_eq!(user("esc01").as_deref(), Some("sips:user@example.com"));
    assert_eq!(user("semiuri").as_deref(), Some("user;par=u@example.net"));
    let esc01 = message("esc01");
    let contact = esc01.headers().contacts().expect("Contact").remove(0);
    assert_eq!(contact.uri.user().as_deref(), Some("caller"));
    assert_eq!(
        contact.uri.params().map(Params::as_str),
        Some(";%6C%72;n%61me=v%61lue%25%34%31")
    );

    let to = message("escnull").headers().to().expect("To");
    assert_eq!(to.uri.user().as_deref(), Some("null-\0-null"));
    let to = message("intmeth").headers().to().expect("To");
    assert_eq!(to.display.as_deref(), Some("BEL:\x07 NUL:\0 DEL:\x7f"));
    assert_eq!(
        message("esc02").headers().contacts().map(|c| c.len()),
        Ok(2)
    );
    assert_eq!(message("longreq").headers().vias().map(|v| v.len()), Ok(34));
    assert_eq!(message("mpart01").body().len(), 553);
    assert!(message("dblreq").body().is_empty());

    let contact = |name: &str| {
        message(name)
            .headers()
            .contacts()
            .expect("Contact")
            .remove(0)
    };
    assert!(contact("cparam01").params.contains("unknownparam"));
    assert!(!contact("cparam01").uri.has_param("unknownparam"));
    assert!(contact("cparam02").uri.has_param("unknownparam"));
    let Message::Response(unreason) = message("unreason") else {
        panic!("a response");
    };
    assert!(
        unreason.reason.starts_with("= 2**3 * 5**2"),
        "{}",
        unreason.reason
    );
}
