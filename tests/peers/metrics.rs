//! What `/metrics` says after calls, and the dashboard that reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::Gateway;
use crate::support::sip::{SipPeer, pcmu_at};

const DASHBOARD: &str = include_str!("../../config/grafana-dashboard.json");

/// Kind and help of each metric of a page, checked line by line against the
/// text format.
fn read(page: &str) -> BTreeMap<String, (String, String)> {
    let mut metrics: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut current = (String::new(), String::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a help");
            assert!(!metrics.contains_key(name), "{name} stands in two places");
            current = (name.to_owned(), help.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert_eq!(name, current.0);
            metrics.insert(name.to_owned(), (kind.to_owned(), current.1.clone()));
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            value.parse::<f64>().expect("a number");
            let name = series.split('{').next().expect("a name");
            let base = match metrics.get(&current.0).map(|(kind, _)| kind.as_str()) {
                Some("histogram") => ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| name.strip_suffix(suffix))
                    .expect("a part of a histogram"),
                _ => name,
            };
            assert_eq!(base, current.0, "{line}");
        }
    }
    metrics
}

/// A gateway that has seen calls of both directions, answered and refused.
fn busy_gateway() -> Gateway {
    let mut gateway = Gateway::with().number("7000", r#"answer = "echo""#).start();
    let mut caller = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let media = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    let mut call = caller.invite(gateway.sip(), "7000", &media);
    caller.expect_answer(&mut call);
    gateway.dial(caller.address(), "talk", "callee");
    let invite = caller.expect_request("INVITE");
    caller.reply(&invite, 486, "Busy Here", "c", "");
    caller.expect_request("ACK");
    gateway
}

fn page(gateway: &Gateway) -> String {
    let body = gateway.api().anonymous().get("/metrics").body;
    body.as_str().expect("a text").to_owned()
}

#[test]
fn every_metric_says_what_it_means_and_calls_are_counted_by_state_and_result() {
    let gateway = busy_gateway();
    let page = page(&gateway);
    for (name, (kind, help)) in read(&page) {
        assert!(name.starts_with("ringwire_"), "{name}");
        assert_ne!(
            help, "Counted by the shard.",
            "{name} needs a line in metric_help"
        );
        assert!(help.ends_with('.'), "{name}: {help}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
    }
    for line in [
        "ringwire_calls_in_state{shard=\"0\",state=\"active\"} 1",
        "ringwire_call_results_total{shard=\"0\",direction=\"incoming\",code=\"200\"} 1",
        "ringwire_call_results_total{shard=\"0\",direction=\"outgoing\",code=\"486\"} 1",
        "ringwire_call_setup_seconds_count{shard=\"0\",direction=\"incoming\"} 1",
        "ringwire_call_setup_seconds_count{shard=\"0\",direction=\"outgoing\"} 1",
        "ringwire_rtp_port_pairs_in_use{shard=\"0\"} 1",
        "ringwire_shard_overloaded{shard=\"0\"} 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
    }
}

#[test]
fn every_query_of_the_dashboard_names_metrics_that_exist() {
    let gateway = busy_gateway();
    let known = read(&page(&gateway));
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let mut queries = Vec::new();
    collect_queries(&dashboard, &mut queries);
    assert!(queries.len() > 15, "{queries:?}");
    let mut used = BTreeSet::new();
    for query in &queries {
        let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words.filter(|word| word.starts_with("ringwire_")) {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .filter(|base| {
                    known
                        .get(*base)
                        .is_some_and(|(kind, _)| kind == "histogram")
                })
                .unwrap_or(word);
            assert!(
                known.contains_key(base),
                "{word} of {query:?} does not exist"
            );
            used.insert(base.to_owned());
        }
    }
    assert!(used.len() > 15, "{used:?}");
}

fn collect_queries(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(query)) = object.get("expr") {
                queries.push(query.clone());
            }
            object
                .values()
                .for_each(|value| collect_queries(value, queries));
        }
        Value::Array(list) => list
            .iter()
            .for_each(|value| collect_queries(value, queries)),
        _ => {}
    }
}

#[test]
fn each_line_about_a_call_in_the_json_log_is_an_object_with_its_call_id() {
    let mut gateway = Gateway::with().json_log().start();
    let callee = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let call = gateway.dial(callee.address(), "talk", "callee");
    gateway.api().delete(&format!("/call/{}", call.id)).data();
    let ended = crate::support::eventually("the call's last line", || {
        let log = gateway.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let about: Vec<Value> = lines
            .filter(|line: &Value| line["call_id"] == call.id)
            .collect();
        (!about.is_empty()).then_some(about)
    });
    for line in ended {
        for field in ["timestamp", "level", "message"] {
            assert!(line[field].is_string(), "{line}");
        }
    }
}
