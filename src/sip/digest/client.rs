//! Answering the challenges of others.

use super::{Algorithm, Inputs, Parameters, push_bare_param, push_param, read_digests};
use crate::sip::header::HeaderName;
use crate::sip::headers::Headers;
use crate::sip::method::Method;

/// A challenge that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Whether a proxy asked (407) rather than the server itself (401).
    pub proxy: bool,
    /// The realm: whose password is wanted.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// The last answer was right but for its nonce: try again with the same
    /// password (RFC 7616 section 3.3).
    pub stale: bool,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// Whether the challenge named its algorithm; if not, the answer does not.
    algorithm_named: bool,
    /// Whether `qop=auth` was offered; if no qop at all was, the answer is
    /// that of RFC 2069.
    qop: bool,
}

impl Challenge {
    fn read(proxy: bool, digest: &Parameters) -> Option<Self> {
        let qop = digest.get("qop");
        let offers_auth = qop.is_some_and(|qop| {
            qop.split(',')
                .any(|one| one.trim_ascii().eq_ignore_ascii_case("auth"))
        });
        if qop.is_some() && !offers_auth {
            return None;
        }
        let algorithm = digest.get("algorithm");
        Some(Challenge {
            proxy,
            realm: digest.get("realm")?.to_owned(),
            nonce: digest.get("nonce")?.to_owned(),
            stale: digest
                .get("stale")
                .is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            opaque: digest.get("opaque").map(str::to_owned),
            algorithm: Algorithm::read(algorithm)?,
            algorithm_named: algorithm.is_some(),
            qop: offers_auth,
        })
    }

    /// The header field that the answer goes into.
    pub const fn answer_header(&self) -> HeaderName {
        if self.proxy {
            HeaderName::ProxyAuthorization
        } else {
            HeaderName::Authorization
        }
    }
}

/// The challenges of a 401 or 407 that can be answered, one for each realm:
/// the strongest algorithm, then the first (RFC 8760 section 2.4). Those with
/// an unknown scheme, algorithm or quality of protection are passed over.
pub fn challenges(headers: &Headers) -> Vec<Challenge> {
    let mut chosen: Vec<Challenge> = Vec::new();
    for (name, proxy) in [
        (HeaderName::WwwAuthenticate, false),
        (HeaderName::ProxyAuthenticate, true),
    ] {
        for digest in headers.all(&name).flat_map(read_digests) {
            let Some(challenge) = Challenge::read(proxy, &digest) else {
                continue;
            };
            let same = |other: &&mut Challenge| {
                other.proxy == challenge.proxy && other.realm == challenge.realm
            };
            match chosen.iter_mut().find(same) {
                Some(other) if other.algorithm < challenge.algorithm => *other = challenge,
                Some(_) => {}
                None => chosen.push(challenge),
            }
        }
    }
    chosen
}

/// A challenge in use: counts how often its nonce was answered.
#[derive(Debug, Clone)]
pub struct Answers {
    challenge: Challenge,
    count: u32,
}

impl Answers {
    /// Answers to this challenge, none given yet.
    pub const fn new(challenge: Challenge) -> Self {
        Answers {
            challenge,
            count: 0,
        }
    }

    /// The challenge answered.
    pub const fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// The value of [`Challenge::answer_header`] for one request; `uri` is
    /// its Request-URI as printed, `cnonce` 64 random bits.
    pub fn answer(
        &mut self,
        username: &str,
        password: &str,
        method: &Method,
        uri: &str,
        cnonce: u64,
    ) -> String {
        // RFC 7616 section 3.4: the count is of requests with this nonce.
        self.count = self.count.saturating_add(1);
        let count = format!("{:08x}", self.count);
        let cnonce = format!("{cnonce:016x}");
        let challenge = &self.challenge;
        let response = Inputs {
            algorithm: challenge.algorithm,
            username,
            realm: &challenge.realm,
            password,
            method: method.as_str(),
            uri,
            nonce: &challenge.nonce,
            auth: challenge.qop.then_some((&count, &cnonce)),
        }
        .digest();
        let mut value = String::with_capacity(320);
        value.push_str("Digest");
        push_param(&mut value, "username", username);
        push_param(&mut value, "realm", &challenge.realm);
        push_param(&mut value, "nonce", &challenge.nonce);
        push_param(&mut value, "uri", uri);
        push_param(&mut value, "response", &response);
        if challenge.algorithm_named {
            push_bare_param(&mut value, "algorithm", challenge.algorithm.as_str());
        }
        if challenge.qop {
            push_bare_param(&mut value, "qop", "auth");
            push_bare_param(&mut value, "nc", &count);
            push_param(&mut value, "cnonce", &cnonce);
        }
        if let Some(opaque) = &challenge.opaque {
            push_param(&mut value, "opaque", opaque);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenged(values: &[&str]) -> Vec<Challenge> {
        let mut headers = Headers::new();
        for value in values {
            headers.push(HeaderName::WwwAuthenticate, *value);
        }
        challenges(&headers)
    }

    #[test]
    fn the_strongest_known_challenge_of_a_realm_is_taken() {
        let chosen = challenged(&[
            r#"Digest realm="a", nonce="1", algorithm=MD5, qop="auth""#,
            r#"Digest realm="a", nonce="2", algorithm=SHA-512-256, qop="auth""#,
            r#"Digest realm="a", nonce="3", algorithm=sha-256, qop="auth-int, auth""#,
            r#"Digest realm="a", nonce="4", algorithm=SHA-256, qop="auth-int""#,
            r#"Basic realm="a""#,
            r#"Digest realm="b", nonce="5", stale=TRUE"#,
        ]);
        let seen: Vec<_> = chosen
            .iter()
            .map(|c| (c.realm.as_str(), c.nonce.as_str(), c.stale))
            .collect();
        assert_eq!(seen, [("a", "3", false), ("b", "5", true)]);
    }

    #[test]
    fn an_answer_counts_and_quotes() {
        let challenge = challenged(&[
            r#"Digest realm="a\"b", nonce="n", algorithm=MD5, qop="auth", opaque="o""#,
        ])
        .remove(0);
        let mut answers = Answers::new(challenge);
        let mut answer = || answers.answer("al\"ice", "pw", &Method::Invite, "sip:x", 0xc);
        assert!(answer().contains("nc=00000001, cnonce=\"000000000000000c\""));
        let second = answer();
        let expected = Inputs {
            algorithm: Algorithm::Md5,
            username: "al\"ice",
            realm: "a\"b",
            password: "pw",
            method: "INVITE",
            uri: "sip:x",
            nonce: "n",
            auth: Some(("00000002", "000000000000000c")),
        }
        .digest();
        assert_eq!(
            second,
            format!(
                "Digest username=\"al\\\"ice\", realm=\"a\\\"b\", nonce=\"n\", uri=\"sip:x\", \
                 response=\"{expected}\", algorithm=MD5, qop=auth, nc=00000002, \
                 cnonce=\"000000000000000c\", opaque=\"o\""
            )
        );
    }

    #[test]
    fn a_challenge_without_qop_is_answered_as_of_old() {
        let challenge = challenged(&[r#"Digest realm="r",nonce="n""#]).remove(0);
        let value = Answers::new(challenge).answer("u", "p", &Method::Bye, "sip:x", 1);
        let expected = Inputs {
            algorithm: Algorithm::Md5,
            username: "u",
            realm: "r",
            password: "p",
            method: "BYE",
            uri: "sip:x",
            nonce: "n",
            auth: None,
        }
        .digest();
        assert_eq!(
            value,
            format!(
                "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:x\", \
                 response=\"{expected}\""
            )
        );
    }
}
