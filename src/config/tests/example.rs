//! The example configuration is true.

use super::*;

const EXAMPLE: &str = include_str!("../../../config/gateway.example.toml");

#[test]
fn the_example_is_a_whole_configuration() {
    let config = load(EXAMPLE);
    let number = config.book.number("+49301234567").unwrap();
    assert_eq!(number.app, AppId::new("acme"));
    let hook = number.hook.as_ref().unwrap();
    assert_eq!(hook.content_type, HookContentType::Json);
    assert_eq!(
        config.book.number("echo").unwrap().answering,
        Answering::Echo
    );
    assert_eq!(
        config.book.number("200").unwrap().answering,
        Answering::Room {
            room: "lobby-{to}".to_string(),
            peer: "{from}".to_string()
        }
    );
}

/// The example with every stated setting made real, up to the first app. Of
/// the two ways to write the administrator's password one is enough.
fn stated() -> String {
    let settings = EXAMPLE.split("\n# Apps (tenants)").next().unwrap();
    let uncommented = settings.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with("password = ") => line,
        Some(setting) if setting.contains(" = ") && !setting.starts_with(' ') => setting,
        _ => line,
    });
    uncommented.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_defaults_that_the_example_states_are_the_defaults() {
    let mut stated = load(&stated());
    assert!(stated.secret.take().is_some());
    stated.public.v4_is_set = false;
    stated.public.v6_is_set = false;
    stated.file = None;
    stated.webrtc.advertise.clear();
    stated.calls.srtp = None;
    assert!(stated.hep.take().is_some());
    assert!(stated.recording.s3.take().is_some());
    assert_eq!(stated.limits.max_calls_per_second.take(), Some(100));
    stated.limits.per_app = CallLimits::default();
    stated.limits.per_number = CallLimits::default();
    assert!(stated.admin.password.take().is_some());
    assert!(stated.admin.listen.take().is_some());
    assert!(stated.sync.numbers_url.take().is_some());
    assert!(stated.sync.apps_url.take().is_some());
    assert_eq!(std::mem::take(&mut stated.sync.headers).len(), 2);
    let defaults = Config::load_on(&machine(), None, |_| None).unwrap();
    assert_eq!(format!("{stated:?}"), format!("{defaults:?}"));
}

/// What serde knows at this table: it lists them when it meets another.
fn fields(table: &str) -> Vec<String> {
    let text = match table {
        "" => "zzzzzz = 1".to_string(),
        "app" | "number" => format!("[[{table}]]\nzzzzzz = 1"),
        _ => format!("{table}.zzzzzz = 1"),
    };
    let error = load_with(&text, &[]).unwrap_err().to_string();
    let (_, known) = error.split_once("known here: ").unwrap();
    known.split(", ").map(str::to_string).collect()
}

#[test]
fn the_example_mentions_every_field() {
    let tables = fields("").into_iter().filter(|name| {
        matches!(
            name.as_str(),
            "http"
                | "sip"
                | "rtp"
                | "rooms"
                | "sound"
                | "webrtc"
                | "calls"
                | "limits"
                | "scanners"
                | "hep"
                | "hooks"
                | "records"
                | "assets"
                | "recording"
                | "admin"
                | "sync"
                | "app"
                | "number"
        )
    });
    let tables: Vec<String> = tables.collect();
    assert_eq!(tables.len(), 18);
    for name in fields("") {
        let mentioned = match tables.contains(&name) {
            true => {
                EXAMPLE.contains(&format!("\n[{name}]\n"))
                    || EXAMPLE.contains(&format!("\n[[{name}]]\n"))
            }
            false => stated().contains(&format!("\n{name} = ")),
        };
        assert!(mentioned, "{name}");
    }
    for table in tables.iter().map(String::as_str).chain(["recording.s3"]) {
        let header = EXAMPLE.find(&format!("[{table}]")).unwrap();
        for name in fields(table) {
            let section = &EXAMPLE[header..];
            let mentioned = section.contains(&format!("\n#{name} = "))
                || section.contains(&format!("\n{name} = "))
                || section.contains(&format!("\n[{table}.{name}]\n"));
            assert!(mentioned, "{table}.{name}");
        }
    }
}
