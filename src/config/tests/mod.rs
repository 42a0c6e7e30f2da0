//! Configurations as they are written, and what is made of them.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::book::{Answering, CallLimits, HookContentType, SoundSource};
use crate::ids::AppId;

mod example;
mod tables;

fn machine() -> Machine {
    Machine {
        cores: vec![0, 1, 2, 3],
        route_v4: Some("203.0.113.7".parse().unwrap()),
        route_v6: Some("2001:db8::7".parse().unwrap()),
    }
}

fn load_with(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.toml");
    fs::write(&path, text).unwrap();
    let env = |name: &str| {
        let found = env.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.to_string())
    };
    Config::load_on(&machine(), Some(&path), env)
}

fn load(text: &str) -> Config {
    load_with(text, &[]).unwrap()
}

/// The error's line without the temporary directory.
fn error(text: &str) -> String {
    let error = load_with(text, &[]).unwrap_err().to_string();
    error[error.find("gateway.toml").unwrap()..].to_string()
}

#[test]
fn without_a_file_everything_has_a_default() {
    let config = Config::load_on(&machine(), None, |_| None).unwrap();
    assert_eq!(config.file, None);
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!(config.cores, [1, 2, 3]);
    assert_eq!(config.http.listen, "0.0.0.0:8008".parse().unwrap());
    assert_eq!(config.sip.listen, ["0.0.0.0:5060".parse().unwrap()]);
    assert_eq!(config.rtp.ports, 30000..=40000);
    assert_eq!(config.hooks.failure_code, 480);
    assert_eq!(
        config.records.keep,
        std::time::Duration::from_secs(90 * 86_400)
    );
    assert_eq!(config.records.max, 1_000_000);
    assert_eq!(config.calls.ws_grace, Duration::from_secs(10));
    assert_eq!(config.public.v4, "203.0.113.7".parse::<Ipv4Addr>().unwrap());
    assert!(config.book.is_empty());
}

#[test]
fn the_only_core_gets_the_shard() {
    let machine = Machine {
        cores: vec![5],
        route_v4: None,
        route_v6: None,
    };
    let config = Config::load_on(&machine, None, |_| None).unwrap();
    assert_eq!(config.cores, [5]);
    assert_eq!(config.public.v4, Ipv4Addr::LOCALHOST);
}

#[test]
fn shards_come_first_only_where_a_core_is_left_for_everything_else() {
    let realtime = |text: &str| load(text).rtp.realtime;
    assert_eq!(realtime(""), Realtime::Allowed);
    assert_eq!(realtime("cores = \"0-3\""), Realtime::No);
    let auto = "[rtp]\nrealtime = \"auto\"\n";
    assert_eq!(realtime(auto), Realtime::Allowed);
    assert_eq!(realtime(&format!("cores = \"0-3\"\n{auto}")), Realtime::No);
    assert_eq!(realtime("[rtp]\nrealtime = true\n"), Realtime::Wanted);
    assert_eq!(realtime("[rtp]\nrealtime = false\n"), Realtime::No);
}

#[test]
fn the_environment_wins_over_the_file() {
    let text = "secret = \"s\"\ncores = [1]\ndata_dir = \"a\"\npublic_ip = \"192.0.2.1\"\n\
                [http]\nlisten = \"127.0.0.1:1\"\n[sip]\nlisten = \"127.0.0.1:2\"\n\
                [rtp]\nports = \"100-200\"\n";
    let env = [
        ("RINGWIRE_SECRET", "t"),
        ("RINGWIRE_CORES", "2-3"),
        ("RINGWIRE_DATA_DIR", "/b"),
        ("RINGWIRE_PUBLIC_IP", "192.0.2.2, 2001:db8::2"),
        ("RINGWIRE_HTTP_LISTEN", "[::1]:8080"),
        ("RINGWIRE_SIP_LISTEN", "0.0.0.0:5070,[::]:5070"),
        ("RINGWIRE_RTP_PORTS", "1000-2000"),
    ];
    let config = load_with(text, &env).unwrap();
    assert_eq!(config.root_secret().unwrap().value, "t");
    assert_eq!(config.cores, [2, 3]);
    assert_eq!(config.data_dir, PathBuf::from("/b"));
    assert_eq!(config.public.v4, "192.0.2.2".parse::<Ipv4Addr>().unwrap());
    assert_eq!(config.public.v6, "2001:db8::2".parse::<Ipv6Addr>().unwrap());
    assert_eq!(config.http.listen, "[::1]:8080".parse().unwrap());
    assert_eq!(config.sip.listen.len(), 2);
    assert_eq!(config.rtp.ports, 1000..=2000);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let config = load_with("cores = [1]", &[("RINGWIRE_CORES", " ")]).unwrap();
    assert_eq!(config.cores, [1]);
}

#[test]
fn a_wrong_variable_is_named() {
    let error = load_with("", &[("RINGWIRE_RTP_PORTS", "many")]).unwrap_err();
    assert_eq!(error.place, Place::Environment("RINGWIRE_RTP_PORTS"));
    let error = load_with("", &[("RINGWIRE_SIP_LISTEN", "0.0.0.0:5060,x")]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("environment variable RINGWIRE_SIP_LISTEN: \"x\"")
    );
}

#[test]
fn a_socket_is_known_by_its_own_address_or_the_public_one() {
    let of = |config: &Config, bound: &str| config.public.advertised(bound.parse().unwrap());
    let config = load("");
    assert_eq!(
        of(&config, "0.0.0.0:5060"),
        "203.0.113.7:5060".parse().unwrap()
    );
    assert_eq!(
        of(&config, "[::]:5060"),
        "[2001:db8::7]:5060".parse().unwrap()
    );
    assert_eq!(
        of(&config, "10.0.0.1:5060"),
        "10.0.0.1:5060".parse().unwrap()
    );
    let config = load("public_ip = \"198.51.100.1\"");
    assert_eq!(
        of(&config, "10.0.0.1:5060"),
        "198.51.100.1:5060".parse().unwrap()
    );
    assert_eq!(of(&config, "[::1]:5060"), "[::1]:5060".parse().unwrap());
}

#[test]
fn bound_to_one_address_media_is_advertised_there_too() {
    let config = load("sip.listen = [\"127.0.0.1:5060\", \"[::1]:5060\"]");
    assert_eq!(config.public.v4, Ipv4Addr::LOCALHOST);
    assert_eq!(config.public.v6, Ipv6Addr::LOCALHOST);
}

#[test]
fn what_is_wrong_is_told_with_line_column_field_and_what_would_be_right() {
    for (text, expected) in [
        (
            "[http]\nlisen = \"0.0.0.0:80\"\n",
            "gateway.toml:2:1: http.lisen: unknown field; did you mean `listen`? Known here: listen, token_ttl_s",
        ),
        (
            "colour = 1\n",
            "gateway.toml:1:1: colour: unknown field; known here: data_dir, cores,",
        ),
        (
            "[calls]\nws_grace_s = \"ten\"\n",
            "gateway.toml:2:14: calls.ws_grace_s: invalid type: string \"ten\", expected a whole number",
        ),
        (
            "[calls]\nws_grace_s = -1\n",
            "gateway.toml:2:14: calls.ws_grace_s: invalid value: integer `-1`, expected a whole number that is not negative",
        ),
        (
            "[calls]\nws_grace_s = 90000\n",
            "gateway.toml:2:14: calls.ws_grace_s: 90000 is out of range; write 0 to 86400 seconds",
        ),
        (
            "[sip]\nlisten = [1]\n",
            "gateway.toml:2:11: sip.listen: invalid type: integer `1`, expected a string",
        ),
        (
            "[sip]\nlisten = \"5060\"\n",
            "gateway.toml:2:10: sip.listen: \"5060\" is no address with a port; write e.g. \"0.0.0.0:5060\"",
        ),
        (
            "[http]\nlisten = \"localhost:80\"\n",
            "gateway.toml:2:10: http.listen: \"localhost:80\" is no address",
        ),
        (
            "[rtp]\nports = \"40000-30000\"\n",
            "gateway.toml:2:9: rtp.ports: \"40000-30000\" is no range",
        ),
        (
            "[rtp]\nports = \"30001-30002\"\n",
            "gateway.toml:2:9: rtp.ports: holds 0 pairs",
        ),
        (
            "[rtp]\nports = \"5000-5100\"\n",
            "gateway.toml:2:9: rtp.ports: holds port 5060 of sip.listen",
        ),
        (
            "[rtp]\nbackend = \"iouring\"\n",
            "gateway.toml:2:11: rtp.backend: \"iouring\" is none of \"auto\", \"uring\", \"poll\"; did you mean \"uring\"?",
        ),
        (
            "[rtp]\ngather_us = 6000\n",
            "gateway.toml:2:13: rtp.gather_us: 6000 is out of range; write 0 to 5000 microseconds",
        ),
        (
            "cores = \"0-3\"\n[rtp]\nrealtime = true\n",
            "gateway.toml:3:12: rtp.realtime: leaves everything else without time where every core has a shard; leave one out of cores, or write \"auto\"",
        ),
        (
            "[rtp]\nrealtime = \"yes\"\n",
            "gateway.toml:2:12: rtp.realtime: invalid value: string \"yes\", expected true, false or \"auto\"",
        ),
        (
            "cores = [1, 1]\n",
            "gateway.toml:1:9: cores: core 1 is listed twice",
        ),
        (
            "cores = \"7\"\n",
            "gateway.toml:1:9: cores: core 7 cannot be used here; this process may run on 0,1,2,3",
        ),
        ("cores = []\n", "gateway.toml:1:9: cores: is empty"),
        (
            "public_ip = \"0.0.0.0\"\n",
            "gateway.toml:1:13: public_ip: 0.0.0.0 cannot be reached",
        ),
        (
            "public_ip = [\"10.0.0.1\", \"10.0.0.2\"]\n",
            "gateway.toml:1:13: public_ip: holds two addresses of one family",
        ),
        (
            "[hooks]\nfailure_code = 200\n",
            "gateway.toml:2:16: hooks.failure_code: 200 is out of range; write 400 to 699",
        ),
        (
            "[sip]\nt1_ms = 5000\n",
            "gateway.toml:2:9: sip.t1_ms: t2_ms must not be smaller than t1_ms",
        ),
        (
            "secret = \"a b\"\n",
            "gateway.toml:1:10: secret: has a character",
        ),
        ("[http\n", "gateway.toml:1:6: unclosed table, expected `]`"),
        (
            "http = 1\n",
            "gateway.toml:1:8: http: invalid type: integer `1`, expected ",
        ),
    ] {
        let told = error(text);
        assert!(
            told.starts_with(expected),
            "{text}\n told: {told}\n want: {expected}"
        );
    }
}

#[test]
fn a_wrong_number_or_app_is_told_with_its_line() {
    let number = "[[number]]\nnumber = \"1\"\n";
    for (text, expected) in [
        (
            "subnets = [\"10.0.0.0/33\"]",
            "gateway.toml:3:12: number.subnets: \"10.0.0.0/33\" is no network",
        ),
        (
            "subnets = [\"10.0.0.1/8\"]",
            "gateway.toml:3:12: number.subnets: 10.0.0.1/8 has bits set beyond its prefix; write 10.0.0.0/8, or 10.0.0.1/32",
        ),
        (
            "app_id = \"rot\"",
            "gateway.toml:3:10: number.app_id: there is no app \"rot\"; did you mean \"root\"?",
        ),
        (
            "hook = \"ftp://x/\"",
            "gateway.toml:3:8: number.hook: \"ftp://x/\" is neither",
        ),
        (
            "hook = \"x\"",
            "gateway.toml:3:8: number.hook: \"x\" is no URL",
        ),
        (
            "hook_content_type = \"Json\"",
            "gateway.toml:3:21: number.hook_content_type: there is no `hook`",
        ),
        (
            "hook = \"http://x/\"\nhook_content_type = \"json\"",
            "gateway.toml:4:21: number.hook_content_type: \"json\" is none of \"Json\", \"Protobuf\"; did you mean \"Json\"?",
        ),
        (
            "auth = { username = \"u\" }",
            "gateway.toml:3:8: number.auth: `password` is missing",
        ),
        (
            "auth = { user = \"u\" }",
            "gateway.toml:3:10: number.auth.user: unknown field; did you mean `username`?",
        ),
        (
            "answer = \"Echo\"",
            "gateway.toml:3:10: number.answer: \"Echo\" is none of",
        ),
        (
            "answer = 3",
            "gateway.toml:3:10: number.answer: invalid type: integer `3`, expected \"ask\", \"echo\" or a table",
        ),
        (
            "answer = { peer = \"x\" }",
            "gateway.toml:3:10: number.answer: `room` is missing",
        ),
        (
            "answer = { room = \"{form}\" }",
            "gateway.toml:3:19: number.answer.room: {form} is not replaced by anything",
        ),
        (
            "answer = { rooom = \"x\" }",
            "gateway.toml:3:12: number.answer.rooom: unknown field; did you mean `room`?",
        ),
        (
            "sip_server = \"sips:x\"",
            "gateway.toml:3:14: number.sip_server: \"sips:x\" asks for SIP over TLS",
        ),
        (
            "client_id = \"\"",
            "gateway.toml:3:13: number.client_id: is empty",
        ),
        (
            "[[number]]\nnumber = \"+1\"",
            "gateway.toml:4:10: number.number: number \"+1\" is in the book already, by line 2",
        ),
        (
            "[[number]]\nsubnets = []",
            "gateway.toml:3:1: number: `number` is missing",
        ),
        (
            "[[app]]\napp_id = \"root\"\napp_secret = \"x\"",
            "gateway.toml:4:10: app.app_id: the root app always exists",
        ),
        (
            "[[app]]\napp_id = \"a\"",
            "gateway.toml:3:1: app: `app_secret` is missing",
        ),
        (
            "[[app]]\napp_id = \"a\"\napp_secret = \"x\"\n[[app]]\napp_id = \"b\"\napp_secret = \"x\"",
            "gateway.toml:8:14: app.app_secret: another app has this secret",
        ),
    ] {
        let told = error(&format!("{number}{text}\n"));
        assert!(
            told.starts_with(expected),
            "{text}\n told: {told}\n want: {expected}"
        );
    }
}

#[test]
fn no_secret_is_printed_with_the_configuration() {
    let text = "secret = \"hush-1\"\n[[app]]\napp_id = \"a\"\napp_secret = \"hush-2\"\n\
                [[number]]\nnumber = \"1\"\nauth = { username = \"u\", password = \"hush-3\" }\n";
    assert!(!format!("{:?}", load(text)).contains("hush"));
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load_on(&machine(), Some(Path::new("/no/such.toml")), |_| None);
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("/no/such.toml: cannot be read: "),
        "{error}"
    );
}

#[test]
fn recordings_stay_here_or_go_to_a_bucket() {
    assert_eq!(load("[recording.s3]").recording.s3, None);
    let bucket = "[recording.s3]\nbucket = \"calls\"\nprefix = \"/a/b/\"\n";
    let keys = [
        ("RINGWIRE_S3_ACCESS_KEY", "key"),
        ("RINGWIRE_S3_SECRET_KEY", "hush"),
    ];
    let s3 = load_with(bucket, &keys).unwrap().recording.s3.unwrap();
    assert_eq!(
        (s3.access_key.as_str(), s3.secret_key(), s3.prefix.as_str()),
        ("key", "hush", "a/b")
    );
    assert!(!format!("{s3:?}").contains("hush"));
    for (text, expected) in [
        (
            "recording.format = \"mp3\"",
            "recording.format: \"mp3\" is neither",
        ),
        (
            "recording.channels = \"both\"",
            "recording.channels: \"both\" is neither",
        ),
        (
            "recording.keep_days = 0",
            "recording.keep_days: 0 is out of range",
        ),
        (
            "recording.s3.region = \"x\"",
            "bucket is missing; write the bucket's name",
        ),
        (
            "recording.s3.bucket = \"x\"",
            "access_key is missing; write the store's key",
        ),
        (
            "recording.s3.endpoint = \"http://s\"",
            "recording.s3.endpoint: \"http://s\" is not encrypted; write https",
        ),
        (
            "recording.s3.endpoint = \"s\"",
            "recording.s3.endpoint: \"s\" is no URL",
        ),
    ] {
        let error = load_with(text, &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
