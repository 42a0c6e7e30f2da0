//! A caller's side of digest authentication (RFC 7616), made by hand.

use md5::Md5;
use sha2::{Digest, Sha256};

use super::sip::SipMessage;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Md5 => hex::encode(Md5::digest(text)),
            Algorithm::Sha256 => hex::encode(Sha256::digest(text)),
        }
    }

    /// The `response` of RFC 7616 section 3.4.1 with qop=auth.
    pub fn response(
        self,
        credentials: [&str; 3],
        nonce: [&str; 3],
        method: &str,
        uri: &str,
    ) -> String {
        let [username, realm, password] = credentials;
        let [nonce, nc, cnonce] = nonce;
        let secret = self.hash(&format!("{username}:{realm}:{password}"));
        let request = self.hash(&format!("{method}:{uri}"));
        self.hash(&format!("{secret}:{nonce}:{nc}:{cnonce}:auth:{request}"))
    }
}

/// The value of one parameter of a digest header.
pub fn parameter<'a>(header: &'a str, name: &str) -> &'a str {
    header
        .trim_start_matches("Digest ")
        .split(',')
        .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
        .map_or("", |value| value.trim_matches('"'))
}

/// One challenge of a 401.
#[derive(Debug, Clone)]
pub struct Challenge {
    algorithm: Algorithm,
    realm: String,
    pub nonce: String,
    pub stale: bool,
}

impl Challenge {
    /// The one with this algorithm.
    #[track_caller]
    pub fn of(refusal: &SipMessage, algorithm: Algorithm) -> Self {
        let header = refusal
            .all("www-authenticate")
            .find(|header| parameter(header, "algorithm") == algorithm.name())
            .unwrap_or_else(|| panic!("no challenge with {}: {refusal:#?}", algorithm.name()));
        Self {
            algorithm,
            realm: parameter(header, "realm").to_owned(),
            nonce: parameter(header, "nonce").to_owned(),
            stale: parameter(header, "stale").eq_ignore_ascii_case("true"),
        }
    }

    /// The value of Authorization for an INVITE.
    pub fn answer(&self, username: &str, password: &str, uri: &str, count: u32) -> String {
        let (nc, cnonce) = (format!("{count:08x}"), "0a4f113b");
        let Self {
            algorithm,
            realm,
            nonce,
            ..
        } = self;
        let response = algorithm.response(
            [username, realm, password],
            [nonce, &nc, cnonce],
            "INVITE",
            uri,
        );
        format!(
            "Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={}, cnonce=\"{cnonce}\", qop=auth, nc={nc}",
            algorithm.name(),
        )
    }
}
