use std::fs;
use std::sync::Arc;

use super::*;
use crate::book::{Answering, CallLimits, HookContentType, SoundSource};
use crate::ids::AppId;

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

const EXAMPLE: &str = include_str!("../../config/gateway.example.toml");

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
    assert_eq!(tables.len(), 17);
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

#[test]
fn rooms_are_here_or_on_a_media_server() {
    assert_eq!(load("").rooms, Rooms::Local);
    let external = |url: &str, more: &str| {
        let text = format!("[rooms]\nbackend = \"external\"\nurl = {url:?}\n{more}");
        load_with(&text, &[]).map(|config| config.rooms)
    };
    let server = |url: &str, ipv6| {
        Rooms::External(MediaServer {
            url: url.to_string(),
            ipv6,
            token_ttl: Duration::from_secs(3600),
            timeout: Duration::from_secs(5),
            give_up: Duration::from_secs(3600),
        })
    };
    for (url, base, ipv6) in [
        ("http://media.example", "http://media.example", false),
        ("https://media.example/x/", "https://media.example/x", false),
        ("http://[::1]:3000", "http://[::1]:3000", true),
    ] {
        assert_eq!(external(url, "").unwrap(), server(base, ipv6));
    }
    let ipv6 = external("http://media.example", "address_family = \"ipv6\"");
    assert_eq!(ipv6.unwrap(), server("http://media.example", true));
    let refused = |text: &str| load_with(text, &[]).unwrap_err().to_string();
    let backend = "[rooms]\nbackend = \"external\"\n";
    assert!(refused(backend).contains("rooms.url: is missing"));
    assert!(refused("rooms.url = \"http://m\"").contains("rooms.backend is missing"));
    assert!(refused("rooms.backend = \"externel\"").contains("did you mean \"external\""));
    for url in [
        "media.example:3000",
        "ftp://media.example",
        "http://m?x=1",
        "http://m#x",
        "http://user:password@m",
    ] {
        let error = external(url, "").unwrap_err().to_string();
        assert!(error.contains("rooms.url: "), "{error}");
        assert!(!error.contains("password"), "{error}");
    }
    let error = external("http://m", "timeout_s = 11").unwrap_err();
    assert!(error.to_string().contains("rooms.timeout_s: 11"), "{error}");
}

#[test]
fn the_shared_port_is_read_from_file_and_environment_and_checked() {
    assert_eq!(load("").webrtc.port, 7882);
    assert_eq!(load("webrtc.port = 9000").webrtc.port, 9000);
    let env = [("RINGWIRE_WEBRTC_PORT", "0")];
    let config = load_with("webrtc.port = 9000", &env).unwrap();
    assert_eq!(config.webrtc.port, 0);
    let error = load_with("webrtc.port = 5060", &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("webrtc.port: takes port 5060"), "{error}");
    let env = [("RINGWIRE_WEBRTC_PORT", "many")];
    assert!(load_with("", &env).is_err());
}

#[test]
fn a_numbers_sounds_are_assets_or_urls_of_the_operators_own() {
    let number = |fields: &str| format!("[[number]]\nnumber = \"1\"\n{fields}");
    let config = load(&number(
        "ringback = { asset = \"ring.wav\" }\nhold_music = { url = \"http://10.0.0.1/h.mp3\" }",
    ));
    let found = config.book.number("1").unwrap();
    assert_eq!(
        found.ringback,
        Some(SoundSource::Asset(Arc::from("ring.wav")))
    );
    let url = SoundSource::Url {
        url: Arc::from("http://10.0.0.1/h.mp3"),
        trusted: true,
    };
    assert_eq!(found.hold_music, Some(url));
    for (field, words) in [
        ("ringback = { asset = \"../x\" }", "is no asset's name"),
        ("ringback = {}", "names no sound"),
        ("hold_music = { url = \"x.mp3\" }", "is no URL"),
        ("hold_music = { file = \"x\" }", "asset"),
    ] {
        let error = load_with(&number(field), &[]).unwrap_err().to_string();
        assert!(error.contains(words), "{field}: {error}");
    }
}

#[test]
fn the_cache_holds_the_longest_sound() {
    assert_eq!(load("").assets.max_file, 20 * 1024 * 1024);
    let error = |text: &str| load_with(text, &[]).unwrap_err().to_string();
    let small = error("assets.cache_mib = 100");
    assert!(small.contains("write 135 or more"), "{small}");
    let long = error("assets.max_minutes = 60");
    assert!(long.contains("write 540 or more"), "{long}");
    let both = load("assets.max_minutes = 60\nassets.cache_mib = 540");
    assert_eq!(both.assets.max_duration, Duration::from_secs(3600));
}

#[test]
fn how_media_is_protected_is_said_by_the_number_and_by_calls() {
    let numbers = "[[number]]\nnumber = \"1\"\n[[number]]\nnumber = \"2\"\nsrtp = \"off\"\nsrtp_keying = \"sdes\"\n";
    let of = |config: &Config, number: &str| {
        let number = config.book.number(number).unwrap();
        (number.srtp, number.srtp_keying)
    };
    let config = load(numbers);
    assert_eq!(config.calls.srtp, None);
    assert_eq!(of(&config, "1"), (None, None));
    assert_eq!(
        of(&config, "2"),
        (Some(SrtpPolicy::Off), Some(SrtpKeying::Sdes))
    );
    let file = format!("[calls]\nsrtp = \"required\"\nsrtp_keying = \"dtls\"\n{numbers}");
    let config = load(&file);
    assert_eq!(config.calls.srtp, Some(SrtpPolicy::Required));
    assert_eq!(config.calls.srtp_keying, SrtpKeying::Dtls);
    let env = [
        ("RINGWIRE_SRTP", "optional"),
        ("RINGWIRE_SRTP_KEYING", "sdes"),
    ];
    let config = load_with(&file, &env).unwrap();
    assert_eq!(config.calls.srtp, Some(SrtpPolicy::Optional));
    assert_eq!(config.calls.srtp_keying, SrtpKeying::Sdes);
}

#[test]
fn an_srtp_word_that_is_none_is_told_with_its_field_and_the_right_ones() {
    let told = error("[calls]\nsrtp = \"require\"");
    assert!(
        told.starts_with("gateway.toml:2:8: calls.srtp: \"require\" is none of"),
        "{told}"
    );
    assert!(told.ends_with("did you mean \"required\"?"), "{told}");
    let told = error("[[number]]\nnumber = \"1\"\nsrtp_keying = \"zrtp\"");
    assert!(
        told.contains("srtp_keying: \"zrtp\" is none of \"sdes\", \"dtls\""),
        "{told}"
    );
}

#[test]
fn limits_are_read_for_all_for_each_and_for_one() {
    let config = load(
        "[limits]\nmax_calls_per_second = 50\nmax_calls_per_app = 9\nmax_lag_ms = 0\n\
         [[app]]\napp_id = \"a\"\napp_secret = \"s\"\nmax_calls = 7\n\
         [[number]]\nnumber = \"1\"\nmax_calls_per_second = 3\n",
    );
    assert_eq!(config.limits.max_calls_per_second, Some(50));
    assert_eq!(config.limits.per_app.max_calls, Some(9));
    assert_eq!(config.limits.per_number, CallLimits::default());
    assert!(config.limits.max_lag.is_zero());
    let app = config.book.app(&AppId::new("a")).unwrap();
    assert_eq!(app.limits.max_calls, Some(7));
    let number = config.book.number("1").unwrap();
    assert_eq!(number.limits.max_calls_per_second, Some(3));
    let error = load_with("[[number]]\nnumber = \"1\"\nmax_calls = 0", &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("0 is out of range; write 1 to"), "{error}");
}

#[test]
fn a_capture_server_needs_a_port_and_what_it_is_sent_is_checked() {
    assert_eq!(load("").hep, None);
    let hep = load("hep.collector = \"[2001:db8::1]:9060\"").hep.unwrap();
    assert!(hep.calls_only && hep.mask);
    for (text, problem) in [
        ("hep.collector = \"homer\"", "is no host:port"),
        ("hep.collector = \"homer:0\"", "is no host:port"),
        (
            "hep.messages = \"some\"",
            "is neither \"calls\" nor \"all\"",
        ),
    ] {
        let error = load_with(text, &[]).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn networks_that_are_never_banned_are_read_as_subnets_are() {
    let never = |text: &str| load(text).scanners.never_ban;
    assert_eq!(never("").len(), 2);
    assert_eq!(never("scanners.never_ban = []"), []);
    let nets: Vec<String> = never("scanners.never_ban = [\"192.0.2.1\", \"10.0.0.0/8\"]")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(nets, ["192.0.2.1/32", "10.0.0.0/8"]);
    assert!(load_with("scanners.never_ban = [\"10.0.0.1/8\"]", &[]).is_err());
}
