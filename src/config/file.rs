//! The configuration file as it is written: names and types, nothing checked.
//! Every value keeps its place, so that what is wrong can be pointed at.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use toml::Spanned;

/// A setting that may be left out and knows where it stands.
pub type Setting<T> = Option<Spanned<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub data_dir: Setting<String>,
    pub cores: Setting<Cores>,
    pub secret: Setting<String>,
    pub public_ip: Setting<Strings>,
    pub log_level: Setting<String>,
    pub log_format: Setting<String>,
    pub http: Http,
    pub sip: Sip,
    pub rtp: Rtp,
    pub rooms: Rooms,
    pub sound: RoomSound,
    pub webrtc: WebRtc,
    pub calls: Calls,
    pub limits: Limits,
    pub scanners: Scanners,
    pub hep: Hep,
    pub hooks: Hooks,
    pub records: Records,
    pub assets: Assets,
    pub recording: Recording,
    pub admin: Admin,
    pub sync: Sync,
    pub app: Vec<Spanned<App>>,
    pub number: Vec<Spanned<Number>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    pub listen: Setting<String>,
    pub token_ttl_s: Setting<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sip {
    pub listen: Setting<Strings>,
    pub user_agent: Setting<String>,
    pub t1_ms: Setting<Whole>,
    pub t2_ms: Setting<Whole>,
    pub t4_ms: Setting<Whole>,
    pub trace: Setting<bool>,
    pub trace_messages: Setting<Whole>,
    pub trace_call_kib: Setting<Whole>,
    pub trace_total_mib: Setting<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rtp {
    pub ports: Setting<String>,
    pub backend: Setting<String>,
    pub gather_us: Setting<Whole>,
    pub realtime: Setting<Automatic>,
    pub inactivity_timeout_s: Setting<Whole>,
    pub port_reuse_delay_s: Setting<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rooms {
    pub backend: Setting<String>,
    pub url: Setting<String>,
    pub address_family: Setting<String>,
    pub token_ttl_s: Setting<Whole>,
    pub timeout_s: Setting<Whole>,
    pub give_up_s: Setting<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoomSound {
    pub room_capacity: Setting<Whole>,
    pub loudest: Setting<Whole>,
    pub jitter_minimum_ms: Setting<Whole>,
    pub jitter_maximum_ms: Setting<Whole>,
    pub inband_dtmf: Setting<bool>,
    pub dead_air_s: Setting<Whole>,
    pub one_way_s: Setting<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebRtc {
    pub enabled: Setting<bool>,
    pub port: Setting<Whole>,
    pub advertise: Setting<Strings>,
    pub consent_timeout_s: Setting<Whole>,
    pub handshakes_per_second: Setting<Whole>,
    pub handshakes_per_second_per_address: Setting<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calls {
    pub answer_timeout_s: Setting<Whole>,
    pub ws_grace_s: Setting<Whole>,
    pub max_calls: Setting<Whole>,
    pub drain_timeout_s: Setting<Whole>,
    pub srtp: Setting<String>,
    pub srtp_keying: Setting<String>,
    pub dtmf: Setting<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub max_calls_per_second: Setting<Whole>,
    pub max_calls_per_app: Setting<Whole>,
    pub max_calls_per_second_per_app: Setting<Whole>,
    pub max_calls_per_number: Setting<Whole>,
    pub max_calls_per_second_per_number: Setting<Whole>,
    pub max_lag_ms: Setting<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scanners {
    pub enabled: Setting<bool>,
    pub threshold: Setting<Whole>,
    pub window_s: Setting<Whole>,
    pub ban_s: Setting<Whole>,
    pub never_ban: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hep {
    pub collector: Setting<String>,
    pub capture_id: Setting<Whole>,
    pub auth_key: Setting<String>,
    pub messages: Setting<String>,
    pub mask: Setting<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    pub timeout_s: Setting<Whole>,
    pub failure_code: Setting<Whole>,
    pub give_up_s: Setting<Whole>,
    pub delivered_kept_s: Setting<Whole>,
    pub dead_letters_kept_s: Setting<Whole>,
    pub allow: Option<Vec<Spanned<String>>>,
    pub allow_private: Setting<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Records {
    pub keep_days: Setting<Whole>,
    pub max: Setting<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Assets {
    pub max_file_mib: Setting<Whole>,
    pub max_minutes: Setting<Whole>,
    pub max_files_per_app: Setting<Whole>,
    pub max_mib_per_app: Setting<Whole>,
    pub cache_mib: Setting<Whole>,
    pub url_timeout_s: Setting<Whole>,
    pub url_fresh_s: Setting<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recording {
    pub format: Setting<String>,
    pub channels: Setting<String>,
    pub keep_days: Setting<Whole>,
    pub minimum_free_mb: Setting<Whole>,
    pub announcement: Setting<bool>,
    pub s3: Option<Spanned<S3>>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3 {
    pub endpoint: Setting<String>,
    pub bucket: Setting<String>,
    pub region: Setting<String>,
    pub access_key: Setting<String>,
    pub secret_key: Setting<String>,
    pub prefix: Setting<String>,
    pub allow_http: Setting<bool>,
    pub timeout_s: Setting<Whole>,
    pub checksums: Setting<bool>,
    pub delete_local_after_upload: Setting<bool>,
    pub delete_expired: Setting<bool>,
}

impl S3 {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == S3::default()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    pub enabled: Setting<bool>,
    pub listen: Setting<String>,
    pub password_hash: Setting<String>,
    pub password: Setting<String>,
    pub secure_cookie: Setting<bool>,
    pub session_idle_s: Setting<Whole>,
    pub session_max_s: Setting<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sync {
    pub numbers_url: Setting<String>,
    pub apps_url: Setting<String>,
    pub interval_s: Setting<Whole>,
    pub timeout_s: Setting<Whole>,
    pub max_bytes: Setting<Whole>,
    pub bearer: Setting<String>,
    pub header: Setting<String>,
    pub allow_empty: Setting<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct App {
    pub app_id: Setting<String>,
    pub app_secret: Setting<String>,
    pub max_calls: Setting<Whole>,
    pub max_calls_per_second: Setting<Whole>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Number {
    pub number: Setting<String>,
    pub subnets: Vec<Spanned<String>>,
    pub app_id: Setting<String>,
    pub auth: Setting<CallerAuth>,
    pub hook: Setting<String>,
    pub hook_content_type: Setting<String>,
    pub client_id: Setting<String>,
    pub answer: Setting<Answer>,
    pub sip_server: Setting<String>,
    pub sip_proxy: Setting<String>,
    pub sip_auth: Setting<Auth>,
    pub register: Setting<bool>,
    pub srtp: Setting<String>,
    pub srtp_keying: Setting<String>,
    pub dtmf: Setting<String>,
    pub max_calls: Setting<Whole>,
    pub max_calls_per_second: Setting<Whole>,
    pub ringback: Setting<Sound>,
    pub hold_music: Setting<Sound>,
}

/// An asset of the number's app, or a URL.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sound {
    pub asset: Option<String>,
    pub url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    pub username: Setting<String>,
    pub password: Setting<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallerAuth {
    pub username: Setting<String>,
    pub password: Setting<String>,
    pub algorithms: Option<Vec<Spanned<String>>>,
}

/// `"ask"`, `"echo"`, or a table.
#[derive(Debug)]
pub enum Answer {
    Word(String),
    Room(AnswerRoom),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerRoom {
    pub room: Setting<String>,
    pub peer: Setting<String>,
}

/// A list of numbers, or `"1-3,5"`.
#[derive(Debug)]
pub enum Cores {
    Text(String),
    List(Vec<u64>),
}

/// Yes, no, or what the machine is fit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Automatic {
    Auto,
    Said(bool),
}

/// A string or a list of strings.
#[derive(Debug)]
pub struct Strings(pub Vec<String>);

/// A number that is not negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Whole(pub u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number that is not negative")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Whole, E> {
                Ok(Whole(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Whole, E> {
                u64::try_from(value)
                    .map(Whole)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Strings;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Strings, E> {
                Ok(Strings(vec![value.to_string()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Strings, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Strings(values))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl<'de> Deserialize<'de> for Cores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Cores;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of core numbers like [1, 2] or a text like \"1-3\"")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Cores, E> {
                Ok(Cores::Text(value.to_string()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Cores, A::Error> {
                let mut values = Vec::new();
                while let Some(Whole(value)) = list.next_element()? {
                    values.push(value);
                }
                Ok(Cores::List(values))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl<'de> Deserialize<'de> for Automatic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Automatic;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or \"auto\"")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Automatic, E> {
                Ok(Automatic::Said(value))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Automatic, E> {
                match value {
                    "auto" => Ok(Automatic::Auto),
                    _ => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Answer;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "\"ask\", \"echo\" or a table like { room = \"lobby\", peer = \"{from}\" }",
                )
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Answer, E> {
                Ok(Answer::Word(value.to_string()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Answer, A::Error> {
                AnswerRoom::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(Answer::Room)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}
