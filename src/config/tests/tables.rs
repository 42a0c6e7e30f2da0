//! The tables that go beyond where things listen: rooms, WebRTC, sounds, SRTP,
//! limits, capture, scanners.

use super::*;

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

#[test]
fn rooms_have_their_capacity_voices_and_patience() {
    let usual = Sound {
        room_capacity: 200,
        loudest: 6,
        jitter_minimum: Duration::ZERO,
        jitter_maximum: Duration::from_millis(400),
        inband_dtmf: true,
        dead_air: Some(Duration::from_secs(30)),
        one_way: Some(Duration::from_secs(10)),
    };
    assert_eq!(load("").sound, usual);
    let text = "[sound]\nroom_capacity = 2\nloudest = 3\njitter_minimum_ms = 40\n\
                jitter_maximum_ms = 120\ninband_dtmf = false\ndead_air_s = 0\n\
                one_way_s = 5\n";
    let set = Sound {
        room_capacity: 2,
        loudest: 3,
        jitter_minimum: Duration::from_millis(40),
        jitter_maximum: Duration::from_millis(120),
        inband_dtmf: false,
        dead_air: None,
        one_way: Some(Duration::from_secs(5)),
    };
    assert_eq!(load(text).sound, set);
    for (line, expected) in [
        (
            "room_capacity = 1",
            "1 is out of range; write 2 to 10000 peers",
        ),
        ("loudest = 0", "0 is out of range; write 1 to 64 voices"),
        (
            "jitter_maximum_ms = 2000",
            "2000 is out of range; write 20 to 1275",
        ),
        (
            "jitter_minimum_ms = 401",
            "401 ms is more than sound.jitter_maximum_ms (400)",
        ),
    ] {
        let told = error(&format!("[sound]\n{line}\n"));
        assert!(told.contains(expected), "{told}");
    }
}
