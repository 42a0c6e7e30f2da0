//! The torture messages of RFC 4475 against the parser: what must be taken is
//! taken, what must not is refused with the answer that the RFC asks for.
//! `tests/torture/README.md` explains the verdicts.

use std::collections::BTreeMap;
use std::path::Path;

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
fn every_message_taken_prints_to_what_reads_the_same() {
    for entry in std::fs::read_dir(directory()).expect("the directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "dat") {
            continue;
        }
        let Ok(first) = parse(&std::fs::read(&path).expect("a file")) else {
            continue;
        };
        let mut printed = Vec::new();
        first.write_to(&mut printed);
        let second = parse(&printed).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut again = Vec::new();
        second.write_to(&mut again);
        assert_eq!(
            String::from_utf8_lossy(&printed),
            String::from_utf8_lossy(&again),
            "{}",
            path.display()
        );
    }
}
