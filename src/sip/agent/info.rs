//! INFO both ways, as it was used before there were info packages (RFC 6086
//! section 2): a request of its own in an established dialog, which changes
//! nothing of it.

use std::collections::VecDeque;
use std::time::Instant;

use rand::Rng;

use super::Agent;
use super::body;
use super::caller::is_challenge;
use super::event::Event;
use super::session::{Phase, Session};
use super::stack::{Owner, Received, Role, attach};
use super::types::{AgentError, Body};
use crate::ids::SessionId;
use crate::sip::header::HeaderName;
use crate::sip::headers::Headers;
use crate::sip::message::Response;
use crate::sip::method::Method;
use crate::sip::outbox::Path;
use crate::sip::status::StatusCode;

/// INFOs of a session that wait for the one before to be answered; one more is
/// not taken.
const MAX_WAITING: usize = 32;

/// What a session has to say by INFO.
#[derive(Debug, Default)]
pub(super) struct Infos {
    waiting: VecDeque<Body>,
    /// Sent, without a final response.
    under_way: Option<Box<Body>>,
}

impl Agent {
    /// Whether the peer has said that it takes INFO (`Allow`, RFC 3261 section
    /// 20.5).
    pub fn takes_info(&self, id: SessionId) -> bool {
        self.sessions.get(id).is_some_and(|s| s.takes_info)
    }

    /// Sends an INFO in an established session, after those that wait: one at
    /// a time, so that they arrive in their order. The outcome of each is an
    /// [`Event::InfoAnswered`], which gives back those that wait where it is a
    /// refusal; those that wait when the session ends are dropped.
    ///
    /// # Errors
    /// [`AgentError::Full`] when [`MAX_WAITING`] wait already.
    pub fn info(&mut self, now: Instant, id: SessionId, body: Body) -> Result<(), AgentError> {
        let infos = &mut self.established(id)?.infos;
        if infos.waiting.len() >= MAX_WAITING {
            return Err(AgentError::Full);
        }
        infos.waiting.push_back(body);
        self.send_next_info(now, id);
        Ok(())
    }

    fn send_next_info(&mut self, now: Instant, id: SessionId) {
        let Ok(established) = self.established(id) else {
            return;
        };
        if established.infos.under_way.is_some() || established.bye_wanted {
            return;
        }
        let Some(body) = established.infos.waiting.pop_front() else {
            return;
        };
        established.infos.under_way = Some(Box::new(body));
        if let Some(auth) = self.sessions.get_mut(id).and_then(|s| s.auth.as_mut()) {
            auth.start_request();
        }
        self.send_info_under_way(now, id);
    }

    fn send_info_under_way(&mut self, now: Instant, id: SessionId) {
        let Some(Session {
            phase: Phase::Established(established),
            auth,
            listener,
            ..
        }) = self.sessions.get_mut(id)
        else {
            return;
        };
        let Some(body) = established.infos.under_way.clone() else {
            return;
        };
        let mut info = established.dialog.request(Method::Info);
        attach(&mut info.headers, &mut info.body, *body);
        if let Some(auth) = auth {
            auth.sign(&mut info, self.stack.random.next_u64());
        }
        let path = Path {
            peer: established.dialog.next_hop(),
            listener: *listener,
        };
        let owner = Owner {
            session: id,
            role: Role::Info,
        };
        if self.stack.start(now, path, owner, info).is_err() {
            self.info_over(now, id, StatusCode::SERVICE_UNAVAILABLE);
        }
    }

    /// A response to an INFO of ours. Whatever it says, the session goes on:
    /// a key that was not taken is no reason to end a call.
    pub(super) fn info_response(&mut self, now: Instant, id: SessionId, response: &Response) {
        if response.status.is_provisional() {
            return;
        }
        let auth = self.sessions.get_mut(id).and_then(|s| s.auth.as_mut());
        if let Some(auth) = auth
            && is_challenge(response)
            && auth.learn(&response.headers)
        {
            return self.send_info_under_way(now, id);
        }
        self.info_over(now, id, response.status);
    }

    pub(super) fn info_failed(&mut self, now: Instant, id: SessionId, status: StatusCode) {
        self.info_over(now, id, status);
    }

    fn info_over(&mut self, now: Instant, id: SessionId, status: StatusCode) {
        let Ok(established) = self.established(id) else {
            return;
        };
        let infos = &mut established.infos;
        let under_way = infos.under_way.take();
        let given_back = match status.code() {
            200..300 => Vec::new(),
            _ => under_way
                .map(|body| *body)
                .into_iter()
                .chain(infos.waiting.drain(..))
                .collect(),
        };
        self.event(Event::InfoAnswered {
            session: id,
            code: status.code(),
            given_back,
        });
        self.send_next_info(now, id);
    }

    pub(super) fn info_received(&mut self, now: Instant, id: SessionId, received: &Received) {
        let response = self.stack.response(received, StatusCode::OK);
        self.stack.answer_once(now, received, &response);
        self.event(Event::Info {
            session: id,
            body: body::any(&received.request.headers, &received.request.body),
        });
    }
}

/// Whether the message's sender takes INFO. One that says nothing of what it
/// takes leaves it as it was (RFC 3261 section 20.5).
pub(super) fn note_allowed(takes_info: &mut bool, headers: &Headers) {
    if headers.contains(&HeaderName::Allow) {
        *takes_info = headers.lists(&HeaderName::Allow, "INFO");
    }
}
