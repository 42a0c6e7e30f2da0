//! The number book: which numbers there are, to which app they belong, who
//! may call them, and what an outgoing call from them needs.
//!
//! Pure and immutable: whoever changes numbers builds a new [`Book`] and hands
//! it to every shard, so a look-up never takes a lock.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;

use crate::ids::AppId;
use crate::keying::{Srtp, SrtpKeying, SrtpPolicy};

mod dtmf;
mod hook_policy;
mod record;
mod sip_server;
mod sound;
pub mod values;
pub use dtmf::DtmfPolicy;
pub use hook_policy::{Forbidden, HookPolicy, HostPattern};
pub use record::{
    AnswerRecord, AuthRecord, CallerAuthRecord, NumberRecord, REGISTER_WHERE, RecordError,
    RoomRecord,
};
pub use sip_server::{DEFAULT_SIP_PORT, SipHost, SipServer, SipServerError};
pub use sound::{SoundRecord, SoundSource};

/// A tenant and its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct App {
    /// The tenant.
    pub id: AppId,
    /// Bearer credential and hook signing key. Never printed.
    pub secret: String,
    /// Its own limits.
    pub limits: CallLimits,
}

/// How many calls there may be; what is not set is limited elsewhere, or not
/// at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallLimits {
    /// At a time.
    pub max_calls: Option<u32>,
    /// That begin in a second.
    pub max_calls_per_second: Option<u32>,
}

impl CallLimits {
    /// These, with `others` where they do not say.
    pub fn or(self, others: CallLimits) -> CallLimits {
        CallLimits {
            max_calls: self.max_calls.or(others.max_calls),
            max_calls_per_second: self.max_calls_per_second.or(others.max_calls_per_second),
        }
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "App({}, secret hidden)", self.id)
    }
}

/// User name and password of a SIP digest (RFC 7616). The password is never
/// printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SipAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for SipAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SipAuth({}, password hidden)", self.username)
    }
}

/// What a digest is hashed with (RFC 7616, RFC 8760).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// What every phone knows.
    Md5,
    /// Stronger, and unknown to many phones; some of them refuse a challenge
    /// that as much as offers it.
    Sha256,
}

impl DigestAlgorithm {
    /// Its name in a challenge, in configuration and API.
    pub fn name(self) -> &'static str {
        match self {
            DigestAlgorithm::Md5 => "MD5",
            DigestAlgorithm::Sha256 => "SHA-256",
        }
    }

    /// The algorithm of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "MD5" => Some(DigestAlgorithm::Md5),
            "SHA-256" => Some(DigestAlgorithm::Sha256),
            _ => None,
        }
    }
}

/// What callers of a number have to prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerAuth {
    /// Name and password.
    pub credentials: SipAuth,
    /// What they are challenged with, the preferred one first; never empty.
    pub algorithms: Vec<DigestAlgorithm>,
}

/// In which form hook bodies are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HookContentType {
    /// Proto3 JSON with the original field names.
    #[default]
    Json,
    /// `application/protobuf`.
    Protobuf,
}

impl HookContentType {
    /// Its word in configuration and API.
    pub fn name(self) -> &'static str {
        match self {
            HookContentType::Json => "Json",
            HookContentType::Protobuf => "Protobuf",
        }
    }

    /// The form that is written so.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "Json" => Some(HookContentType::Json),
            "Protobuf" => Some(HookContentType::Protobuf),
            _ => None,
        }
    }
}

/// Where call events are posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// `http` or `https` URL.
    pub url: Arc<str>,
    /// Form of the bodies.
    pub content_type: HookContentType,
    /// The configuration file names it or it is the root app's, so that it is
    /// the operator's own and may be anywhere. Every other one has to pass the
    /// [`HookPolicy`].
    pub trusted: bool,
}

/// Name of an answered call in its room where the record names none.
pub const DEFAULT_ANSWER_PEER: &str = "{call_id}";

/// What happens to an incoming call that the book lets in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Answering {
    /// Hook and WebSockets decide.
    #[default]
    Ask,
    /// Answered at once; the caller hears himself.
    Echo,
    /// Answered at once into a room. Both names may hold `{call_id}`,
    /// `{from}` and `{to}`.
    Room {
        /// Name of the room.
        room: String,
        /// Name of the peer in it.
        peer: String,
    },
}

/// What an outgoing call from a number takes when the request leaves it out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outgoing {
    /// Host, host:port or a `sip:` URI.
    pub sip_server: Option<String>,
    /// Outbound proxy, same forms.
    pub sip_proxy: Option<String>,
    /// Digest credentials.
    pub sip_auth: Option<SipAuth>,
    /// A registration is kept at the server, which then sends us the number's
    /// calls (RFC 3261 section 10).
    pub register: bool,
}

/// One number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// The number as the integrator wrote it.
    pub number: String,
    /// Whose it is.
    pub app: AppId,
    /// Networks that may call in; empty: nobody.
    pub subnets: Vec<IpNet>,
    /// Callers are challenged for this, if set.
    pub auth: Option<CallerAuth>,
    /// Where its call events go.
    pub hook: Option<Hook>,
    /// Which `notify_ws` client hears of its calls.
    pub client_id: Option<String>,
    /// What happens to its calls.
    pub answering: Answering,
    /// Defaults of outgoing calls.
    pub outgoing: Outgoing,
    /// Whether media of its calls is protected; `None`: of incoming ones where
    /// the caller offers it, of outgoing ones not.
    pub srtp: Option<SrtpPolicy>,
    /// Where the keys of our offers come from; `None`: SDES.
    pub srtp_keying: Option<SrtpKeying>,
    /// How keys go to the peers of its calls; `None`: as configured.
    pub dtmf: Option<DtmfPolicy>,
    /// Its own limits, incoming and outgoing calls together.
    pub limits: CallLimits,
    /// What a caller hears while it rings; `None`: silence, or the caller's
    /// own phone.
    pub ringback: Option<SoundSource>,
    /// What a caller hears alone in a room; `None`: silence.
    pub hold_music: Option<SoundSource>,
}

impl Number {
    /// A number of which nothing is known but its name: nobody may call it.
    pub fn named(number: &str, app: AppId) -> Self {
        Number {
            number: number.to_string(),
            app,
            subnets: Vec::new(),
            auth: None,
            hook: None,
            client_id: None,
            answering: Answering::Ask,
            outgoing: Outgoing::default(),
            srtp: None,
            srtp_keying: None,
            dtmf: None,
            limits: CallLimits::default(),
            ringback: None,
            hold_music: None,
        }
    }

    /// What the number's calls ask for, as `default` where it does not say.
    pub fn srtp(&self, default: Srtp) -> Srtp {
        Srtp {
            policy: self.srtp.unwrap_or(default.policy),
            keying: self.srtp_keying.unwrap_or(default.keying),
        }
    }
}

/// Why the book refuses a call. `Display` tells the operator which rule
/// failed; the caller learns only the SIP code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody has this number: 404.
    #[error("number {number:?} is not in the number book")]
    UnknownNumber {
        /// What was called.
        number: String,
    },
    /// The source address is outside the number's networks: 403.
    #[error("source {source_address} is in none of the subnets {subnets:?} of number {number:?}")]
    SourceNotAllowed {
        /// What was called.
        number: String,
        /// Who called.
        source_address: IpAddr,
        /// What would be allowed.
        subnets: Vec<String>,
    },
}

impl Refusal {
    /// The SIP status that says it to the caller.
    pub fn sip_code(&self) -> u16 {
        match self {
            Refusal::UnknownNumber { .. } => 404,
            Refusal::SourceNotAllowed { .. } => 403,
        }
    }

    /// The metric's label.
    pub fn label(&self) -> &'static str {
        match self {
            Refusal::UnknownNumber { .. } => "unknown_number",
            Refusal::SourceNotAllowed { .. } => "source_not_allowed",
        }
    }
}

/// A number stands twice in the book.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "number {0:?} is listed twice (a leading '+' and the separators '-', '.', '(', ')' and space do not count)"
)]
pub struct DuplicateNumber(pub String);

/// All apps and numbers.
#[derive(Debug, Clone, Default)]
pub struct Book {
    numbers: HashMap<String, Arc<Number>>,
    apps: HashMap<AppId, App>,
    /// All subnets of all numbers but those that name everybody; none holds
    /// another, in ascending order. Found out when first asked for.
    expected: OnceLock<Vec<IpNet>>,
}

impl Book {
    /// A book of these.
    pub fn new(
        apps: impl IntoIterator<Item = App>,
        numbers: impl IntoIterator<Item = Number>,
    ) -> Result<Self, DuplicateNumber> {
        let mut book = Book {
            numbers: HashMap::new(),
            apps: apps.into_iter().map(|app| (app.id.clone(), app)).collect(),
            expected: OnceLock::new(),
        };
        for number in numbers {
            let key = comparable(&number.number);
            if book.numbers.contains_key(&key) {
                return Err(DuplicateNumber(number.number));
            }
            book.numbers.insert(key, Arc::new(number));
        }
        Ok(book)
    }

    /// The same book with this app in it, in place of one with the same id.
    pub fn with_app(mut self, app: App) -> Self {
        self.apps.insert(app.id.clone(), app);
        self
    }

    /// The number written like this, if there is one.
    pub fn number(&self, number: &str) -> Option<&Arc<Number>> {
        self.numbers.get(&comparable(number))
    }

    /// The app of this id.
    pub fn app(&self, id: &AppId) -> Option<&App> {
        self.apps.get(id)
    }

    /// All apps, in no order.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.values()
    }

    /// All numbers, in no order.
    pub fn numbers(&self) -> impl Iterator<Item = &Arc<Number>> {
        self.numbers.values()
    }

    /// Whether a number names this source as one of its callers; a subnet of
    /// everybody names nobody.
    pub fn expects(&self, source: IpAddr) -> bool {
        let expected = self.expected.get_or_init(|| self.named_networks());
        let after = expected.partition_point(|net| net.network() <= source);
        let nearest = after.checked_sub(1).and_then(|at| expected.get(at));
        nearest.is_some_and(|net| net.contains(&source))
    }

    fn named_networks(&self) -> Vec<IpNet> {
        let all = self.numbers.values().flat_map(|number| &number.subnets);
        let named: Vec<IpNet> = all.filter(|net| net.prefix_len() > 0).copied().collect();
        let mut apart = IpNet::aggregate(&named);
        apart.sort_unstable_by_key(IpNet::network);
        apart
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there is no number.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Adds the app; false if there is one of this id already.
    pub fn add_app(&mut self, app: App) -> bool {
        let room = !self.apps.contains_key(&app.id);
        if room {
            self.apps.insert(app.id.clone(), app);
        }
        room
    }

    /// Adds the number; false if there is one written alike already.
    pub fn add_number(&mut self, number: Arc<Number>) -> bool {
        let key = comparable(&number.number);
        let room = !self.numbers.contains_key(&key);
        if room {
            self.numbers.insert(key, number);
            self.expected = OnceLock::new();
        }
        room
    }

    /// May `source` call one of `candidates` (tried in order; the first that
    /// is in the book counts)?
    pub fn admit(&self, candidates: &[&str], source: IpAddr) -> Result<Arc<Number>, Refusal> {
        let Some(number) = candidates.iter().find_map(|text| self.number(text)) else {
            return Err(Refusal::UnknownNumber {
                number: candidates.first().unwrap_or(&"").to_string(),
            });
        };
        let source = source.to_canonical();
        if number.subnets.iter().any(|net| net.contains(&source)) {
            return Ok(number.clone());
        }
        Err(Refusal::SourceNotAllowed {
            number: number.number.clone(),
            source_address: source,
            subnets: number.subnets.iter().map(ToString::to_string).collect(),
        })
    }
}

/// Numbers are compared without what RFC 3966 section 5.1.1 calls visual
/// separators, and without the leading `+` that some trunks add and others
/// drop. Names are left alone.
pub fn comparable(number: &str) -> String {
    let separator = |c: char| matches!(c, '-' | '.' | '(' | ')' | ' ');
    let digits_only = number
        .strip_prefix('+')
        .unwrap_or(number)
        .chars()
        .all(|c| c.is_ascii_digit() || separator(c));
    if !digits_only {
        return number.to_string();
    }
    number
        .chars()
        .filter(|c| *c != '+' && !separator(*c))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str, subnets: &[&str]) -> Number {
        Number {
            subnets: subnets.iter().map(|net| net.parse().unwrap()).collect(),
            ..Number::named(text, AppId::new(AppId::ROOT))
        }
    }

    #[test]
    fn a_number_is_found_with_and_without_plus_and_separators() {
        let book = Book::new([], [number("+49 (30) 123-45", &["0.0.0.0/0"])]).unwrap();
        assert!(book.number("493012345").is_some());
        assert!(book.number("+493012345").is_some());
        assert!(book.number("0493012345").is_none());
    }

    #[test]
    fn a_name_keeps_its_dots_and_dashes() {
        let book = Book::new([], [number("front-desk", &[])]).unwrap();
        assert!(book.number("front-desk").is_some());
        assert!(book.number("frontdesk").is_none());
    }

    #[test]
    fn an_unknown_number_is_404_and_a_foreign_source_403() {
        let book = Book::new([], [number("100", &["10.0.0.0/8"])]).unwrap();
        let source: IpAddr = "10.1.2.3".parse().unwrap();
        let refusal = book.admit(&["200"], source).unwrap_err();
        assert_eq!(refusal.sip_code(), 404);
        assert!(book.admit(&["100"], source).is_ok());
        let foreign: IpAddr = "192.0.2.1".parse().unwrap();
        let refusal = book.admit(&["100"], foreign).unwrap_err();
        assert_eq!(refusal.sip_code(), 403);
        assert!(refusal.to_string().contains("192.0.2.1"));
        assert!(refusal.to_string().contains("10.0.0.0/8"));
    }

    #[test]
    fn empty_subnets_let_nobody_in() {
        let book = Book::new([], [number("100", &[])]).unwrap();
        assert!(book.admit(&["100"], "127.0.0.1".parse().unwrap()).is_err());
    }

    #[test]
    fn an_ipv4_source_on_an_ipv6_socket_is_matched_as_ipv4() {
        let book = Book::new([], [number("100", &["127.0.0.0/8"])]).unwrap();
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        assert!(book.admit(&["100"], mapped).is_ok());
    }

    #[test]
    fn expected_sources_are_those_that_subnets_name() {
        let numbers = [
            number("100", &["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0"]),
            number("200", &["192.0.2.128/25", "2001:db8::/32", "192.0.2.0/25"]),
        ];
        let book = Book::new([], numbers).unwrap();
        for (source, expected) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("9.255.255.255", false),
            ("11.0.0.0", false),
            ("192.0.2.1", true),
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(book.expects(source.parse().unwrap()), expected, "{source}");
        }
        assert!(!Book::default().expects("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn the_same_number_twice_is_refused_by_name() {
        let error = Book::new([], [number("100", &[]), number("1-00", &[])]).unwrap_err();
        assert_eq!(error, DuplicateNumber("1-00".to_string()));
    }

    #[test]
    fn no_secret_is_ever_printed() {
        let app = App {
            id: AppId::new("a"),
            secret: "hush".to_string(),
            limits: CallLimits::default(),
        };
        let auth = SipAuth {
            username: "u".to_string(),
            password: "hush".to_string(),
        };
        assert!(!format!("{app:?}{auth:?}").contains("hush"));
    }
}
