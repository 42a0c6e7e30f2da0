//! What a sync server answers, read record by record: one that cannot be used
//! is named and skipped, and takes no other with it.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::book::{App, CallLimits, Number, NumberRecord, RecordError, comparable, values};
use crate::ids::AppId;

/// Bad records that are remembered; more are only counted.
pub const MAX_NAMED: usize = 100;
/// A record's name is told up to this length (characters).
const MAX_NAME: usize = 64;

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{"apps": […]}`
    Apps,
    /// `{"numbers": […]}`
    Numbers,
}

impl Kind {
    /// The list's name in the answer, the API and the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Apps => "apps",
            Kind::Numbers => "numbers",
        }
    }
}

/// The records that can be used.
#[derive(Debug, Clone)]
pub enum Table {
    /// Apps.
    Apps(Vec<App>),
    /// Numbers.
    Numbers(Vec<Arc<Number>>),
}

impl Table {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Table::Apps(apps) => apps.len(),
            Table::Numbers(numbers) => numbers.len(),
        }
    }
}

/// A record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// Its number or app_id, or its place in the list.
    pub record: String,
    /// Which field.
    pub field: String,
    /// What is wrong with it. Never says a secret.
    pub problem: String,
}

/// An answer, read.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What can be used.
    pub table: Table,
    /// What cannot, as far as it is remembered.
    pub named: Vec<BadRecord>,
    /// How many cannot.
    pub bad: usize,
    /// How many of those are there twice.
    pub duplicates: usize,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    apps: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    numbers: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct AppRecord {
    #[serde(default)]
    app_id: String,
    #[serde(default)]
    app_secret: String,
    max_calls: Option<u64>,
    max_calls_per_second: Option<u64>,
}

/// Reads an answer.
///
/// # Errors
/// Why none of it can be used.
pub fn read(kind: Kind, body: &[u8], allow_empty: bool) -> Result<Answer, String> {
    let name = kind.name();
    // Serde's words may quote what they stumbled over.
    let parsed: Body<'_> =
        serde_json::from_slice(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => format!("the answer has no list {name:?}"),
            _ => format!(
                "the answer is no JSON (line {}, column {})",
                error.line(),
                error.column()
            ),
        })?;
    let list = match kind {
        Kind::Apps => parsed.apps,
        Kind::Numbers => parsed.numbers,
    };
    let list = list.ok_or_else(|| format!("the answer has no list {name:?}"))?;
    if list.is_empty() && !allow_empty {
        return Err(format!(
            "the list {name:?} is empty, which counts as a mistake; set sync.allow_empty if it is none"
        ));
    }
    let mut reader = Reader::default();
    let table = match kind {
        Kind::Apps => Table::Apps(reader.each(&list, app)),
        Kind::Numbers => Table::Numbers(reader.each(&list, number)),
    };
    if table.len() == 0 && !list.is_empty() {
        let first = reader.named.first().map(ToString::to_string);
        let first = first.unwrap_or_default();
        return Err(format!(
            "no record of the answer can be used; the first: {first}"
        ));
    }
    Ok(Answer {
        table,
        named: reader.named,
        bad: reader.bad,
        duplicates: reader.duplicates,
    })
}

impl std::fmt::Display for BadRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.record, self.field, self.problem)
    }
}

#[derive(Default)]
struct Reader {
    seen: HashSet<String>,
    named: Vec<BadRecord>,
    bad: usize,
    duplicates: usize,
}

/// A record that can be used, with what it is known by.
type Read<T> = Result<(String, T), BadRecord>;

impl Reader {
    fn each<T>(&mut self, list: &[&RawValue], read: fn(&RawValue, usize) -> Read<T>) -> Vec<T> {
        let mut good = Vec::with_capacity(list.len());
        for (at, record) in list.iter().enumerate() {
            match read(record, at) {
                Ok((key, value)) if self.seen.insert(key.clone()) => good.push(value),
                Ok((key, _)) => {
                    self.duplicates += 1;
                    self.refuse(BadRecord {
                        record: key,
                        field: "record".to_string(),
                        problem: "is there twice; the first one counts".to_string(),
                    });
                }
                Err(bad) => self.refuse(bad),
            }
        }
        good
    }

    fn refuse(&mut self, bad: BadRecord) {
        self.bad += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push(bad);
        }
    }
}

fn number(raw: &RawValue, at: usize) -> Read<Arc<Number>> {
    let record: NumberRecord = typed(raw, at, "number")?;
    match record.to_number() {
        Ok(number) => Ok((comparable(&number.number), Arc::new(number))),
        Err(error) => Err(BadRecord {
            record: known_as(&record.number, at),
            problem: without_values(&error),
            field: error.field.to_string(),
        }),
    }
}

fn app(raw: &RawValue, at: usize) -> Read<App> {
    let record: AppRecord = typed(raw, at, "app_id")?;
    let fail = |field: &str, problem: String| BadRecord {
        record: known_as(&record.app_id, at),
        field: field.to_string(),
        problem,
    };
    values::app_id(&record.app_id).map_err(|problem| fail("app_id", problem))?;
    if record.app_id == AppId::ROOT {
        let problem = "the root app's secret is configured, and never fetched";
        return Err(fail("app_id", problem.to_string()));
    }
    values::secret(&record.app_secret).map_err(|problem| fail("app_secret", problem))?;
    let limit = |field: &str, limit: Option<u64>| {
        let read = limit.map(values::call_limit).transpose();
        read.map_err(|problem| fail(field, problem))
    };
    let limits = CallLimits {
        max_calls: limit("max_calls", record.max_calls)?,
        max_calls_per_second: limit("max_calls_per_second", record.max_calls_per_second)?,
    };
    let app = App {
        id: AppId::new(&record.app_id),
        secret: record.app_secret,
        limits,
    };
    Ok((record.app_id, app))
}

/// A record by its types. What was of the wrong type is named, not quoted: it
/// may be a password.
fn typed<T: serde::de::DeserializeOwned>(
    raw: &RawValue,
    at: usize,
    name: &str,
) -> Result<T, BadRecord> {
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let record: Option<serde_json::Value> = serde_json::from_str(raw.get()).ok();
        let known = record.as_ref().and_then(|record| record[name].as_str());
        BadRecord {
            record: known_as(known.unwrap_or_default(), at),
            field: match error.path().to_string().as_str() {
                "." => "record".to_string(),
                path => path.to_string(),
            },
            problem: "is of the wrong type".to_string(),
        }
    })
}

fn known_as(name: &str, at: usize) -> String {
    match name {
        "" => format!("record {}", at + 1),
        name => name.chars().take(MAX_NAME).collect(),
    }
}

/// Addresses may hold user names, passwords and keys.
fn without_values(error: &RecordError) -> String {
    match error.field {
        "hook" => "is neither an http:// nor an https:// URL".to_string(),
        "sip_server" | "sip_proxy" => "is no host, host:port or sip: URI".to_string(),
        _ => error.problem.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(body: &str) -> Result<Answer, String> {
        read(Kind::Numbers, body.as_bytes(), false)
    }

    #[test]
    fn a_bad_record_is_named_and_takes_no_other_with_it() {
        let answer = numbers(
            r#"{"more": 1, "numbers": [
                {"number": "100", "colour": "red"},
                {"number": "200", "subnets": ["10.0.0.1/8"]},
                {"subnets": []},
                {"number": "300", "auth": "hush"},
                {"number": "1-00"},
                7,
                {"number": "400", "hook": "ftp://u:hush@x/"}
            ]}"#,
        )
        .unwrap();
        let Table::Numbers(good) = &answer.table else {
            panic!("not numbers: {answer:?}");
        };
        assert_eq!(good.len(), 1);
        assert_eq!(good[0].number, "100");
        let named: Vec<_> = answer
            .named
            .iter()
            .map(|bad| (bad.record.as_str(), bad.field.as_str()))
            .collect();
        assert_eq!(
            named,
            [
                ("200", "subnets"),
                ("record 3", "number"),
                ("300", "auth"),
                ("100", "record"),
                ("record 6", "record"),
                ("400", "hook"),
            ]
        );
        assert_eq!((answer.bad, answer.duplicates), (6, 1));
        assert!(!format!("{answer:?}").contains("hush"), "{answer:?}");
    }

    #[test]
    fn what_is_no_answer_at_all_is_refused_whole() {
        for (body, problem) in [
            ("", "is no JSON"),
            ("<html>", "is no JSON"),
            (r#"{"numbers": [{"number": "1"}"#, "is no JSON"),
            ("[]", "no list"),
            ("{}", "no list"),
            (r#"{"numbers": {}}"#, "no list"),
            (r#"{"numbers": []}"#, "is empty"),
            (r#"{"numbers": [{}]}"#, "no record of the answer"),
        ] {
            let told = numbers(body).unwrap_err();
            assert!(told.contains(problem), "{body}: {told}");
        }
        let empty = read(Kind::Numbers, br#"{"numbers": []}"#, true).unwrap();
        assert_eq!(empty.table.len(), 0);
    }

    #[test]
    fn apps_need_an_id_and_a_secret_of_their_own_and_root_is_never_fetched() {
        let body = br#"{"apps": [
            {"app_id": "acme", "app_secret": "a"},
            {"app_id": "acme", "app_secret": "b"},
            {"app_id": "root", "app_secret": "r"},
            {"app_id": "two words", "app_secret": "c"},
            {"app_id": "bare"}
        ]}"#;
        let answer = read(Kind::Apps, body, false).unwrap();
        let fields: Vec<_> = answer.named.iter().map(|bad| bad.field.as_str()).collect();
        assert_eq!(fields, ["record", "app_id", "app_id", "app_secret"]);
        let Table::Apps(apps) = answer.table else {
            panic!("not apps");
        };
        assert_eq!((apps.len(), apps[0].secret.as_str()), (1, "a"));
    }

    #[test]
    fn only_so_many_bad_records_are_remembered() {
        let bad = vec![r#"{"number": ""}"#; 150].join(",");
        let body = format!(r#"{{"numbers": [{bad}, {{"number": "1"}}]}}"#);
        let answer = numbers(&body).unwrap();
        assert_eq!((answer.bad, answer.named.len()), (150, MAX_NAMED));
    }
}
