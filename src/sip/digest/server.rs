//! Challenging others, and checking what they answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{Algorithm, Inputs, Parameters, push_bare_param, push_param, read_digests};
use crate::sip::header::HeaderName;
use crate::sip::headers::Headers;
use crate::sip::method::Method;

/// What an answer to a challenge is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Name and password are right, and the nonce is ours and fresh.
    Valid,
    /// There is no answer for this realm: challenge.
    Missing,
    /// Name and password are right, but the nonce is too old, was used
    /// before, or is not ours: challenge again with `stale`.
    Stale,
    /// Name or password is wrong, or the answer makes no sense.
    Wrong,
}

/// Makes nonces and knows which were used. A nonce carries its time and a
/// proof that it was made here, so nothing is kept of those never answered.
pub struct Nonces {
    key: [u8; 64],
    epoch: Instant,
    lifetime: Duration,
    capacity: usize,
    /// The highest count seen of each nonce used and not yet expired.
    used: BTreeMap<Stamp, u32>,
    /// Nonces up to this one are stale: their counts had to be forgotten.
    forgotten: Option<Stamp>,
}

/// When a nonce was made, in milliseconds since the epoch, and its random part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    made: u64,
    random: u64,
}

impl Stamp {
    fn octets(self) -> [u8; 16] {
        let both = u128::from(self.made) << 64 | u128::from(self.random);
        both.to_be_bytes()
    }

    fn of(octets: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(octets);
        Stamp {
            made: (both >> 64) as u64,
            random: both as u64,
        }
    }
}

/// Who may answer, for which request.
pub struct Expected<'a> {
    /// The realm that was challenged for.
    pub realm: &'a str,
    /// The user's name.
    pub username: &'a str,
    /// The user's password.
    pub password: &'a str,
    /// What the answer may be hashed with; others are wrong, so that nobody
    /// can talk us down to a weaker one.
    pub algorithms: &'a [Algorithm],
}

impl Nonces {
    /// Nonces that prove themselves by `secret` and live for `lifetime`. Of
    /// at most `capacity` nonces the use is remembered; past that, the oldest
    /// become stale before their time. `now` is any time not after the first
    /// challenge.
    pub fn new(now: Instant, secret: [u8; 32], lifetime: Duration, capacity: usize) -> Self {
        let mut key = [0; 64];
        key[..32].copy_from_slice(&secret);
        Nonces {
            key,
            epoch: now,
            lifetime,
            capacity,
            used: BTreeMap::new(),
            forgotten: None,
        }
    }

    /// A value for WWW-Authenticate by each of the algorithms, in their order:
    /// the preferred one first (RFC 8760 section 2.3). `random` makes the
    /// nonce unguessable and unique.
    pub fn challenge(
        &self,
        now: Instant,
        random: u64,
        realm: &str,
        algorithms: &[Algorithm],
        stale: bool,
    ) -> Vec<String> {
        let stamp = Stamp {
            made: self.milliseconds(now),
            random,
        };
        let mut nonce = hex::encode(stamp.octets());
        nonce.push_str(&hex::encode(self.proof(stamp, realm)));
        let challenge = |algorithm: &Algorithm| {
            let mut value = String::with_capacity(192);
            value.push_str("Digest");
            push_param(&mut value, "realm", realm);
            push_param(&mut value, "nonce", &nonce);
            push_bare_param(&mut value, "algorithm", algorithm.as_str());
            push_param(&mut value, "qop", "auth");
            if stale {
                push_bare_param(&mut value, "stale", "true");
            }
            value
        };
        algorithms.iter().map(challenge).collect()
    }

    /// Judges the answer that a request carries in Authorization.
    pub fn verify(
        &mut self,
        now: Instant,
        method: &Method,
        headers: &Headers,
        expected: &Expected<'_>,
    ) -> Verdict {
        let answer = headers
            .all(&HeaderName::Authorization)
            .flat_map(read_digests)
            .find(|digest| digest.get("realm") == Some(expected.realm));
        let Some(answer) = answer else {
            return Verdict::Missing;
        };
        let Some((nonce, count)) = read_answer(&answer, method, expected) else {
            return Verdict::Wrong;
        };
        if self.spend(now, nonce, count, expected.realm) {
            Verdict::Valid
        } else {
            Verdict::Stale
        }
    }

    /// Whether the nonce is ours, fresh, and was not used up to this count.
    /// Comes after the password was right, so nobody else can fill the table.
    fn spend(&mut self, now: Instant, nonce: &str, count: u32, realm: &str) -> bool {
        let mut octets = [0; 32];
        if hex::decode_to_slice(nonce, &mut octets).is_err() {
            return false;
        }
        let (stamp, proof) = octets.split_at(16);
        let stamp = Stamp::of(stamp.try_into().unwrap_or_default());
        if !bool::from(proof.ct_eq(&self.proof(stamp, realm))) {
            return false;
        }
        let lifetime = self.lifetime.as_millis() as u64;
        let now = self.milliseconds(now);
        let expired = |stamp: Stamp| now > stamp.made.saturating_add(lifetime);
        while let Some(oldest) = self.used.first_entry()
            && expired(*oldest.key())
        {
            oldest.remove();
        }
        if expired(stamp) || self.forgotten.is_some_and(|forgotten| stamp <= forgotten) {
            return false;
        }
        let highest = self.used.entry(stamp).or_insert(0);
        if count <= *highest {
            return false;
        }
        *highest = count;
        if self.used.len() > self.capacity
            && let Some((oldest, _)) = self.used.pop_first()
        {
            self.forgotten = Some(oldest);
        }
        true
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }

    fn proof(&self, stamp: Stamp, realm: &str) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(&stamp.octets());
        mac.update(realm.as_bytes());
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        half
    }
}

/// The nonce and the count of an answer whose digest is right. One without
/// qop (RFC 2069) has no count: it takes the highest, so that its nonce is
/// good once.
fn read_answer<'a>(
    answer: &'a Parameters,
    method: &Method,
    expected: &Expected<'_>,
) -> Option<(&'a str, u32)> {
    let nonce = answer.get("nonce")?;
    let (auth, count) = match answer.get("qop") {
        None => (None, u32::MAX),
        Some(qop) if qop.eq_ignore_ascii_case("auth") => {
            let text = answer.get("nc")?;
            // RFC 7616 section 3.4: `nc` is 8LHEX.
            let is_hex = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
            let count = u32::from_str_radix(is_hex.then_some(text)?, 16).ok()?;
            (Some((text, answer.get("cnonce")?)), count)
        }
        Some(_) => return None,
    };
    // The answer's own URI is hashed: a proxy may have changed the
    // Request-URI on its way (RFC 3261 section 22.4).
    let algorithm = Algorithm::read(answer.get("algorithm"))
        .filter(|algorithm| expected.algorithms.contains(algorithm))?;
    let digest = Inputs {
        algorithm,
        username: expected.username,
        realm: expected.realm,
        password: expected.password,
        method: method.as_str(),
        uri: answer.get("uri")?,
        nonce,
        auth,
    }
    .digest();
    let response = answer.get("response")?.to_ascii_lowercase();
    let same_name = answer
        .get("username")?
        .as_bytes()
        .ct_eq(expected.username.as_bytes());
    let same_digest = response.as_bytes().ct_eq(digest.as_bytes());
    bool::from(same_name & same_digest).then_some((nonce, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::digest::client::{Answers, challenges};

    const LIFETIME: Duration = Duration::from_secs(300);
    const BOTH: &[Algorithm] = &[Algorithm::Sha256, Algorithm::Md5];
    const ALICE: Expected<'_> = Expected {
        realm: "ringwire",
        username: "alice",
        password: "wonder\"land",
        algorithms: BOTH,
    };

    struct Scene {
        start: Instant,
        nonces: Nonces,
    }

    impl Scene {
        fn new(capacity: usize) -> Self {
            let start = Instant::now();
            Scene {
                start,
                nonces: Nonces::new(start, [7; 32], LIFETIME, capacity),
            }
        }

        fn challenge(&self, at: u64, random: u64) -> Answers {
            let values = self
                .nonces
                .challenge(self.at(at), random, ALICE.realm, BOTH, false);
            let mut headers = Headers::new();
            for value in values {
                headers.push(HeaderName::WwwAuthenticate, value);
            }
            Answers::new(challenges(&headers).remove(0))
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn verify(&mut self, at: u64, value: &str) -> Verdict {
            let now = self.at(at);
            let mut headers = Headers::new();
            headers.push(HeaderName::Authorization, "Digest realm=\"other\"");
            headers.push(HeaderName::Authorization, value);
            self.nonces.verify(now, &Method::Invite, &headers, &ALICE)
        }
    }

    fn answer(answers: &mut Answers, password: &str) -> String {
        answers.answer(ALICE.username, password, &Method::Invite, "sip:b@x", 5)
    }

    #[test]
    fn a_right_answer_is_valid_once_and_the_next_count_again() {
        let mut scene = Scene::new(10);
        let mut answers = scene.challenge(0, 1);
        let first = answer(&mut answers, ALICE.password);
        let second = answer(&mut answers, ALICE.password);
        assert!(first.contains("algorithm=SHA-256"), "{first}");
        assert_eq!(scene.verify(1, &first), Verdict::Valid);
        assert_eq!(scene.verify(1, &first), Verdict::Stale);
        assert_eq!(scene.verify(1, &second), Verdict::Valid);
        assert_eq!(scene.verify(1, &first), Verdict::Stale);
    }

    #[test]
    fn a_wrong_password_name_or_field_is_wrong() {
        let mut scene = Scene::new(10);
        let mut answers = scene.challenge(0, 1);
        let wrong = answer(&mut answers, "guess");
        assert_eq!(scene.verify(1, &wrong), Verdict::Wrong);
        let right = answer(&mut answers, ALICE.password);
        for (from, to) in [
            ("username=\"alice\"", "username=\"alicf\""),
            ("nc=00000002", "nc=2"),
            ("nc=00000002", "nc=+0000002"),
            ("qop=auth", "qop=auth-int"),
            ("SHA-256", "SHA-256-sess"),
            ("response=", "answer="),
            ("uri=\"sip:b", "uri=\"sip:c"),
        ] {
            let broken = right.replace(from, to);
            assert_ne!(broken, right);
            assert_eq!(scene.verify(1, &broken), Verdict::Wrong, "{to}");
        }
        assert_eq!(scene.verify(1, &right), Verdict::Valid);
    }

    #[test]
    fn no_answer_for_the_realm_is_missing() {
        let mut scene = Scene::new(10);
        for value in [
            "Basic abc",
            "Digest",
            "Digest realm=\"else\", nonce=\"1\"",
            "",
        ] {
            assert_eq!(scene.verify(0, value), Verdict::Missing, "{value}");
        }
    }

    #[test]
    fn a_nonce_is_stale_after_its_lifetime() {
        let mut scene = Scene::new(10);
        let mut answers = scene.challenge(10, 1);
        let first = answer(&mut answers, ALICE.password);
        let second = answer(&mut answers, ALICE.password);
        assert_eq!(scene.verify(310, &first), Verdict::Valid);
        assert_eq!(scene.verify(311, &second), Verdict::Stale);
        let stale = scene.nonces.challenge(scene.start, 2, "r", BOTH, true);
        assert!(stale[0].ends_with("stale=true"));
    }

    #[test]
    fn a_nonce_made_elsewhere_is_stale() {
        let mut scene = Scene::new(10);
        let elsewhere = Nonces::new(scene.start, [8; 32], LIFETIME, 10);
        let mut headers = Headers::new();
        let value = &elsewhere.challenge(scene.start, 1, ALICE.realm, BOTH, false)[0];
        headers.push(HeaderName::WwwAuthenticate, value);
        let mut answers = Answers::new(challenges(&headers).remove(0));
        let value = answer(&mut answers, ALICE.password);
        assert_eq!(scene.verify(1, &value), Verdict::Stale);
    }

    #[test]
    fn when_the_table_is_full_the_oldest_nonce_is_stale() {
        let mut scene = Scene::new(2);
        let mut answers: Vec<_> = (0..3).map(|n| scene.challenge(n, n)).collect();
        for one in &mut answers {
            let value = answer(one, ALICE.password);
            assert_eq!(scene.verify(5, &value), Verdict::Valid);
        }
        let again: Vec<_> = answers
            .iter_mut()
            .map(|one| answer(one, ALICE.password))
            .map(|value| scene.verify(5, &value))
            .collect();
        assert_eq!(again, [Verdict::Stale, Verdict::Valid, Verdict::Valid]);
    }

    #[test]
    fn an_answer_without_qop_is_good_once() {
        let mut scene = Scene::new(10);
        let challenge = scene
            .nonces
            .challenge(scene.start, 1, ALICE.realm, &[Algorithm::Md5], false)
            .remove(0);
        let mut headers = Headers::new();
        let without_qop = challenge.replace(", qop=\"auth\"", "");
        headers.push(HeaderName::WwwAuthenticate, without_qop);
        let mut answers = Answers::new(challenges(&headers).remove(0));
        let value = answer(&mut answers, ALICE.password);
        assert!(!value.contains("nc="));
        assert_eq!(scene.verify(1, &value), Verdict::Valid);
        assert_eq!(scene.verify(1, &value), Verdict::Stale);
    }
}
