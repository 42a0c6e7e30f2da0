//! The peer's requests in a dialog (RFC 3261 section 12.2.2).

use std::time::Instant;

use super::Agent;
use super::callee::tag_of;
use super::event::Event;
use super::session::Phase;
use super::stack::Received;
use crate::ids::SessionId;
use crate::sip::header::HeaderName;
use crate::sip::method::Method;
use crate::sip::status::StatusCode;

/// What a session is to a request with its tag.
enum Standing {
    /// No dialog that the request could be of.
    None,
    /// A call of ours that nobody has answered yet; the fork is known.
    EarlyCaller,
    /// A call to us that has no answer yet.
    EarlyCallee,
    Confirmed,
    /// Our BYE is on its way.
    Ending,
    /// Its CSeq is lower than one before.
    OutOfOrder,
}

impl Agent {
    pub(super) fn request_in_dialog(&mut self, now: Instant, received: Received) {
        let tag = received.request.headers.to_tag().and_then(tag_of);
        let id = tag.and_then(|tag| self.sessions.by_tag(tag));
        let standing = id.map_or(Standing::None, |id| self.standing(id, &received));
        let (Some(id), false) = (id, matches!(standing, Standing::None)) else {
            return self.refuse_request(&received, StatusCode::CALL_DOES_NOT_EXIST);
        };
        if matches!(standing, Standing::OutOfOrder) {
            let status = StatusCode::SERVER_INTERNAL_ERROR;
            return self.refuse_in_dialog(now, &received, status);
        }
        if self.refuse_extensions(&received) {
            return;
        }
        match &received.request.method {
            Method::Bye => self.bye_received(now, id, &received, &standing),
            Method::Options => {
                let response = self.capabilities(&received);
                self.stack.answer_once(now, &received, &response);
            }
            Method::Info => self.info_received(now, id, &received),
            Method::Invite | Method::Update => match standing {
                Standing::Confirmed => self.offer_received(now, id, received),
                // Our offer has no answer yet (RFC 3261 section 14.2, RFC
                // 3311 section 5.2).
                Standing::EarlyCaller => {
                    self.refuse_in_dialog(now, &received, StatusCode::REQUEST_PENDING);
                }
                // The peer's has none.
                Standing::EarlyCallee => self.refuse_for_a_while(now, &received),
                Standing::Ending | Standing::None | Standing::OutOfOrder => {
                    self.refuse_in_dialog(now, &received, StatusCode::CALL_DOES_NOT_EXIST);
                }
            },
            _ => self.refuse_method(&received),
        }
    }

    fn standing(&mut self, id: SessionId, received: &Received) -> Standing {
        let headers = &received.request.headers;
        let number = received.cseq.number;
        let Some(session) = self.sessions.get_mut(id) else {
            return Standing::None;
        };
        match &mut session.phase {
            Phase::Outgoing(outgoing) => {
                let tag = headers.from_tag().unwrap_or_default();
                match outgoing.forks.iter().any(|fork| **fork == *tag) {
                    true => Standing::EarlyCaller,
                    false => Standing::None,
                }
            }
            Phase::Incoming(incoming) => {
                let invite = &incoming.request.headers;
                let same = invite.call_id() == headers.call_id()
                    && invite.from_tag() == headers.from_tag();
                match (same, invite.cseq()) {
                    (true, Ok(first)) if number < first.number => Standing::OutOfOrder,
                    (true, _) => Standing::EarlyCallee,
                    (false, _) => Standing::None,
                }
            }
            Phase::Established(established) => {
                let dialog = &mut established.dialog;
                if !dialog.matches(headers) {
                    return Standing::None;
                }
                if !dialog.in_order(number) {
                    return Standing::OutOfOrder;
                }
                dialog.source = received.source;
                Standing::Confirmed
            }
            Phase::Ending(dialog) => match dialog.matches(headers) {
                true => Standing::Ending,
                false => Standing::None,
            },
        }
    }

    fn bye_received(
        &mut self,
        now: Instant,
        id: SessionId,
        received: &Received,
        standing: &Standing,
    ) {
        if matches!(standing, Standing::EarlyCaller) {
            // RFC 3261 section 15: no callee may do that.
            let status = StatusCode::CALL_DOES_NOT_EXIST;
            return self.refuse_in_dialog(now, received, status);
        }
        let response = self.stack.response(received, StatusCode::OK);
        self.stack.answer_once(now, received, &response);
        match standing {
            // RFC 3261 section 15.1.2: what is pending gets 487.
            Standing::EarlyCallee => self.end_incoming(now, id),
            Standing::Confirmed => {
                self.drop_their_offer(now, id);
                self.remove(id);
                self.event(Event::Bye { session: id });
            }
            // Both hung up; ours still waits for its answer.
            Standing::Ending | Standing::EarlyCaller | Standing::None | Standing::OutOfOrder => {}
        }
    }

    /// Answers with a bare code, by a transaction.
    pub(super) fn refuse_in_dialog(
        &mut self,
        now: Instant,
        received: &Received,
        status: StatusCode,
    ) {
        let response = self.stack.response(received, status);
        self.stack.answer_once(now, received, &response);
    }

    /// 500 with Retry-After of up to 10 s: the peer's last offer has no
    /// answer yet (RFC 3261 section 14.2, RFC 3311 section 5.2).
    pub(super) fn refuse_for_a_while(&mut self, now: Instant, received: &Received) {
        let status = StatusCode::SERVER_INTERNAL_ERROR;
        let mut response = self.stack.response(received, status);
        let seconds = self.stack.random_in(0..=10).to_string();
        response.headers.push(HeaderName::RetryAfter, seconds);
        self.stack.answer_once(now, received, &response);
    }
}
