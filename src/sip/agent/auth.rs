//! Answering the challenges of peers (RFC 3261 section 22).

use super::types::Credentials;
use crate::sip::digest::client::{Answers, challenges};
use crate::sip::header::HeaderName;
use crate::sip::headers::Headers;
use crate::sip::message::Request;

/// More realms than this in one call are not answered.
const MAX_REALMS: usize = 4;

/// A session's credentials and the challenges met so far.
#[derive(Debug)]
pub(super) struct Auth {
    credentials: Credentials,
    answers: Vec<Answers>,
    /// What the request at hand was challenged with: proxy or not, realm, and
    /// how often.
    tried: Vec<(bool, String, u8)>,
}

impl Auth {
    pub fn new(credentials: Credentials) -> Self {
        Auth {
            credentials,
            answers: Vec::new(),
            tried: Vec::new(),
        }
    }

    /// Forgets how often the last request was challenged.
    pub fn start_request(&mut self) {
        self.tried.clear();
    }

    /// Takes in a 401 or 407; true when it is worth another try: once for
    /// each realm, and once more when only the nonce was stale.
    pub fn learn(&mut self, headers: &Headers) -> bool {
        let challenges = challenges(headers);
        if challenges.is_empty() {
            return false;
        }
        for challenge in challenges {
            let key = (challenge.proxy, challenge.realm.as_str());
            let is_full = self.tried.len() == MAX_REALMS;
            match self.tried.iter_mut().find(|(p, r, _)| (*p, &**r) == key) {
                Some((_, _, times)) if *times == 1 && challenge.stale => *times += 1,
                Some(_) => return false,
                None if is_full => return false,
                None => self
                    .tried
                    .push((challenge.proxy, challenge.realm.clone(), 1)),
            }
            self.answers.retain(|known| {
                let known = known.challenge();
                (known.proxy, known.realm.as_str()) != key
            });
            if self.answers.len() < MAX_REALMS {
                self.answers.push(Answers::new(challenge));
            }
        }
        true
    }

    /// Puts the answers to all known challenges into a request, in place of
    /// older ones.
    pub fn sign(&mut self, request: &mut Request, cnonce: u64) {
        request.headers.remove(&HeaderName::Authorization);
        request.headers.remove(&HeaderName::ProxyAuthorization);
        if self.answers.is_empty() {
            return;
        }
        let uri = request.uri.to_string();
        for answers in &mut self.answers {
            let value = answers.answer(
                &self.credentials.username,
                &self.credentials.password,
                &request.method,
                &uri,
                cnonce,
            );
            let name = answers.challenge().answer_header();
            request.headers.push(name, value);
        }
    }
}
