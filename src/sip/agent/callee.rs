//! Calls that are made to us (RFC 3261 section 13.3).

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::Rng;

use super::Agent;
use super::body::session_description;
use super::event::{Event, IncomingInvite};
use super::info::note_allowed;
use super::session::{
    Established, Incoming, OurOffer, Phase, Session, SessionTimer, Unacknowledged,
};
use super::stack::{ACCEPT, Owner, Received, Role, attach};
use super::types::{AgentError, Authorization, Body, Credentials, LostReason, Rejection};
use crate::ids::SessionId;
use crate::sip::counters::DropReason;
use crate::sip::dialog::Dialog;
use crate::sip::digest::Algorithm;
use crate::sip::digest::server::{Expected, Nonces, Verdict};
use crate::sip::header::HeaderName;
use crate::sip::message::{Response, response_to};
use crate::sip::method::Method;
use crate::sip::routing;
use crate::sip::status::StatusCode;

/// A 1xx is sent again once a minute, so that no proxy gives the call up
/// (RFC 3261 section 13.3.1.1).
const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);

/// How long a caller may take to answer a challenge.
const NONCE_LIFETIME: Duration = Duration::from_secs(300);

/// How many used nonces are remembered.
const NONCE_CAPACITY: usize = 65_536;

impl Agent {
    pub(super) fn invite_received(&mut self, now: Instant, received: Received) {
        let headers = &received.request.headers;
        // RFC 3261 section 20.1: no Accept means application/sdp.
        if headers.contains(&HeaderName::Accept) && !accepts_sdp(&received) {
            let mut response = self.stack.response(&received, NOT_ACCEPTABLE);
            response
                .headers
                .push(HeaderName::Warning, "399 ringwire \"the answer is SDP\"");
            return self.stack.answer(&received, &response);
        }
        let Ok(body) = session_description(headers, &received.request.body) else {
            return self.refuse_body(&received);
        };
        let (Ok(from), Ok(to), Ok(sip_call_id)) = (headers.from(), headers.to(), headers.call_id())
        else {
            return self.refuse_request(&received, StatusCode::BAD_REQUEST);
        };
        let sip_call_id = sip_call_id.to_owned();
        let id = self.sessions.next_id();
        let owner = Owner {
            session: id,
            role: Role::Invite,
        };
        let Received {
            mut request,
            via,
            cseq,
            path,
            source,
        } = received;
        let layer = &mut self.stack.layer;
        // There was room an instant ago.
        let Ok(transaction) = layer.serve(path, owner, &request, &via, &cseq) else {
            return;
        };
        let trying = response_to(&request, StatusCode::TRYING, None);
        layer.respond(now, &mut self.stack.out, transaction, &trying);
        let tag = self.stack.random.next_u64();
        request.headers.add_to_tag(&self.stack.tag(tag));
        request.body = Bytes::new();
        let invite = IncomingInvite {
            listener: path.listener,
            source,
            request_uri: request.uri.clone(),
            from,
            to,
            sip_call_id,
            body,
        };
        let mut takes_info = false;
        note_allowed(&mut takes_info, &request.headers);
        self.sessions.insert(Session {
            id,
            tag,
            listener: path.listener,
            we_called: false,
            user: request.uri.user().map(|user| Box::from(&*user)),
            auth: None,
            takes_info,
            phase: Phase::Incoming(Box::new(Incoming {
                transaction,
                source,
                request,
                progress: Bytes::new(),
            })),
        });
        self.event(Event::Invite {
            session: id,
            invite: Box::new(invite),
        });
    }

    /// Checks a caller's credentials (RFC 3261 section 22.2). When they are
    /// missing, wrong, too old or hashed with something else, 401 with a
    /// challenge by each of the algorithms is sent, and the session is gone.
    pub fn authorize(
        &mut self,
        now: Instant,
        id: SessionId,
        realm: &str,
        credentials: &Credentials,
        algorithms: &[Algorithm],
    ) -> Result<Authorization, AgentError> {
        let session = self.sessions.get_mut(id).ok_or(AgentError::NoSession)?;
        let Phase::Incoming(incoming) = &session.phase else {
            return Err(AgentError::WrongState);
        };
        let secret = self.nonce_secret;
        let nonces = self
            .nonces
            .get_or_insert_with(|| Nonces::new(now, secret, NONCE_LIFETIME, NONCE_CAPACITY));
        let expected = Expected {
            realm,
            username: &credentials.username,
            password: &credentials.password,
            algorithms,
        };
        let headers = &incoming.request.headers;
        let (stale, outcome) = match nonces.verify(now, &Method::Invite, headers, &expected) {
            Verdict::Valid => return Ok(Authorization::Valid),
            Verdict::Stale => (true, Authorization::Challenged),
            Verdict::Missing => (false, Authorization::Challenged),
            Verdict::Wrong => (false, Authorization::Failed),
        };
        let random = self.stack.random.next_u64();
        let challenges = nonces.challenge(now, random, realm, algorithms, stale);
        let mut response = response_to(&incoming.request, StatusCode::UNAUTHORIZED, None);
        for challenge in challenges {
            response
                .headers
                .push(HeaderName::WwwAuthenticate, challenge);
        }
        self.stack.sign_response(&mut response);
        let transaction = incoming.transaction;
        let layer = &mut self.stack.layer;
        layer.respond(now, &mut self.stack.out, transaction, &response);
        self.remove(id);
        Ok(outcome)
    }

    /// Sends a 101 to 199.
    pub fn progress(
        &mut self,
        now: Instant,
        id: SessionId,
        code: u16,
        body: Option<Body>,
    ) -> Result<(), AgentError> {
        let status = StatusCode::new(code)
            .filter(|status| status.is_provisional() && *status != StatusCode::TRYING)
            .ok_or(AgentError::BadCode)?;
        let session = self.sessions.get_mut(id).ok_or(AgentError::NoSession)?;
        let Phase::Incoming(incoming) = &mut session.phase else {
            return Err(AgentError::WrongState);
        };
        let mut response = dialog_response(&incoming.request, status);
        let user = session.user.as_deref();
        self.stack
            .add_contact(&mut response.headers, session.listener, user);
        self.stack.sign_response(&mut response);
        if let Some(body) = body {
            attach(&mut response.headers, &mut response.body, body);
        }
        let layer = &mut self.stack.layer;
        incoming.progress =
            layer.respond(now, &mut self.stack.out, incoming.transaction, &response);
        self.stack
            .set_timer(id, SessionTimer::Refresh, now + PROGRESS_INTERVAL);
        Ok(())
    }

    pub(super) fn refresh_progress(&mut self, now: Instant, id: SessionId) {
        let Some(Phase::Incoming(incoming)) = self.sessions.get_mut(id).map(|s| &s.phase) else {
            return;
        };
        let payload = incoming.progress.clone();
        let layer = &mut self.stack.layer;
        layer.respond_again(&mut self.stack.out, incoming.transaction, payload);
        self.stack
            .set_timer(id, SessionTimer::Refresh, now + PROGRESS_INTERVAL);
    }

    /// Sends 200, again and again until its ACK comes
    /// ([`Event::Acknowledged`]) or 64*T1 are over (BYE and [`Event::Lost`]).
    pub fn accept(&mut self, now: Instant, id: SessionId, body: Body) -> Result<(), AgentError> {
        let session = self.sessions.get_mut(id).ok_or(AgentError::NoSession)?;
        let Phase::Incoming(incoming) = &session.phase else {
            return Err(AgentError::WrongState);
        };
        let dialog =
            Dialog::of_callee(&incoming.request, incoming.source).ok_or(AgentError::WrongState)?;
        let mut response = dialog_response(&incoming.request, StatusCode::OK);
        let user = session.user.as_deref();
        self.stack
            .add_contact(&mut response.headers, session.listener, user);
        self.stack.sign_response(&mut response);
        attach(&mut response.headers, &mut response.body, body);
        let transaction = incoming.transaction;
        let mut established = Established::new(dialog);
        let payload = self
            .stack
            .layer
            .respond(now, &mut self.stack.out, transaction, &response);
        established.unacknowledged = Some(Box::new(Unacknowledged {
            transaction,
            cseq: established.dialog.remote_cseq.unwrap_or_default(),
            payload,
            interval: self.stack.settings.timers.t1,
            give_up: now + self.stack.settings.timers.give_up(),
        }));
        session.phase = Phase::Established(Box::new(established));
        self.stack.stop_timer(id, SessionTimer::Refresh);
        let again = now + self.stack.settings.timers.t1;
        self.stack.set_timer(id, SessionTimer::Answer, again);
        Ok(())
    }

    /// A 2xx of ours has no ACK yet (RFC 3261 section 13.3.1.4; for a
    /// re-INVITE, section 14.2).
    pub(super) fn repeat_answer(&mut self, now: Instant, id: SessionId) {
        let Some(Phase::Established(established)) = self.sessions.get_mut(id).map(|s| &mut s.phase)
        else {
            return;
        };
        let Some(answer) = &mut established.unacknowledged else {
            return;
        };
        if now >= answer.give_up {
            return self.lose(now, id, LostReason::NoAck);
        }
        let payload = answer.payload.clone();
        let layer = &mut self.stack.layer;
        layer.respond_again(&mut self.stack.out, answer.transaction, payload);
        answer.interval = (answer.interval * 2).min(self.stack.settings.timers.t2);
        let at = (now + answer.interval).min(answer.give_up);
        self.stack.set_timer(id, SessionTimer::Answer, at);
    }

    /// An ACK: of the INVITE that this session owns, or found by its To tag.
    pub(super) fn acknowledged(
        &mut self,
        now: Instant,
        owner: Option<SessionId>,
        received: &Received,
    ) {
        let headers = &received.request.headers;
        let found = headers.to_tag().and_then(tag_of);
        let id = found.and_then(|tag| self.sessions.by_tag(tag)).or(owner);
        let counters = &mut self.stack.out.counters;
        let Some(id) = id else {
            return counters.drop(DropReason::StrayAck);
        };
        let Some(Phase::Established(established)) = self.sessions.get_mut(id).map(|s| &mut s.phase)
        else {
            return counters.drop(DropReason::StrayAck);
        };
        if !established.dialog.matches(headers) {
            return counters.drop(DropReason::StrayAck);
        }
        match &established.unacknowledged {
            Some(answer) if answer.cseq == received.cseq.number => {}
            // The ACK of a 2xx that was sent more than once.
            _ => {
                counters.retransmissions_absorbed += 1;
                return;
            }
        }
        established.unacknowledged = None;
        established.dialog.source = received.source;
        let body = session_description(headers, &received.request.body).unwrap_or(None);
        self.stack.stop_timer(id, SessionTimer::Answer);
        self.event(Event::Acknowledged { session: id, body });
        self.settle(now, id);
    }

    /// Refuses a call; the session is gone.
    pub fn reject(
        &mut self,
        now: Instant,
        id: SessionId,
        rejection: Rejection,
    ) -> Result<(), AgentError> {
        let session = self.sessions.get_mut(id).ok_or(AgentError::NoSession)?;
        let Phase::Incoming(incoming) = &session.phase else {
            return Err(AgentError::WrongState);
        };
        let status = StatusCode::new(rejection.code)
            .filter(|status| status.code() >= 300)
            .unwrap_or(StatusCode::SERVER_INTERNAL_ERROR);
        let mut response = response_to(&incoming.request, status, rejection.reason.as_deref());
        if let Some(seconds) = rejection.retry_after {
            response
                .headers
                .push(HeaderName::RetryAfter, seconds.to_string());
        }
        if let Some(warning) = rejection.warning {
            response.headers.push(HeaderName::Warning, warning);
        }
        self.stack.sign_response(&mut response);
        let transaction = incoming.transaction;
        let layer = &mut self.stack.layer;
        layer.respond(now, &mut self.stack.out, transaction, &response);
        self.remove(id);
        Ok(())
    }

    /// CANCEL: of a call that waits for an answer, or of a re-INVITE (RFC
    /// 3261 section 9.2).
    pub(super) fn cancel_received(&mut self, now: Instant, received: &Received) {
        let Received {
            request, via, cseq, ..
        } = received;
        let Some((transaction, owner)) = self.stack.layer.cancelled(request, via, cseq) else {
            return self.refuse_request(received, StatusCode::CALL_DOES_NOT_EXIST);
        };
        let mut response = self.stack.response(received, StatusCode::OK);
        let id = owner.session;
        let Some(session) = self.sessions.get_mut(id) else {
            return self.stack.answer_once(now, received, &response);
        };
        // The tag is the same in both responses (section 9.2).
        let tag = self.stack.tag(session.tag);
        if request.headers.to_tag().is_none()
            && let Ok(mut to) = request.headers.to()
        {
            to.set_tag(&tag);
            response.headers.set(HeaderName::To, to.to_string());
        }
        self.stack.answer_once(now, received, &response);
        match &mut session.phase {
            Phase::Incoming(incoming) if incoming.transaction == transaction => {
                self.end_incoming(now, id);
            }
            Phase::Established(established)
                if established
                    .their_offer
                    .as_ref()
                    .is_some_and(|offer| offer.transaction == transaction) =>
            {
                self.drop_their_offer(now, id);
                self.settle(now, id);
            }
            // Too late: it has its final response.
            Phase::Incoming(_) | Phase::Established(_) | Phase::Outgoing(_) | Phase::Ending(_) => {}
        }
    }

    /// The caller gave up: 487 to its INVITE.
    pub(super) fn end_incoming(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.remove(id) else {
            return;
        };
        let Phase::Incoming(incoming) = session.phase else {
            return;
        };
        let mut response = response_to(&incoming.request, StatusCode::REQUEST_TERMINATED, None);
        self.stack.sign_response(&mut response);
        let layer = &mut self.stack.layer;
        layer.respond(now, &mut self.stack.out, incoming.transaction, &response);
        self.event(Event::Cancelled { session: id });
    }

    /// Goes on with what waited for an ACK or for the end of an offer.
    pub(super) fn settle(&mut self, now: Instant, id: SessionId) {
        let Some(Phase::Established(established)) = self.sessions.get_mut(id).map(|s| &s.phase)
        else {
            return;
        };
        if established.unacknowledged.is_some() {
            return;
        }
        if established.bye_wanted {
            return self.send_bye_now(now, id);
        }
        let glare_runs = self.stack.timers.get(&(id, SessionTimer::Glare)).is_some();
        if matches!(established.our_offer, OurOffer::Waiting { .. }) && !glare_runs {
            self.send_waiting_offer(now, id);
        }
    }
}

/// 406.
const NOT_ACCEPTABLE: StatusCode = match StatusCode::new(406) {
    Some(status) => status,
    None => StatusCode::BAD_REQUEST,
};

fn accepts_sdp(received: &Received) -> bool {
    let mut accepted = received.request.headers.values(&HeaderName::Accept);
    accepted.any(|value| {
        let kind = value.split(';').next().unwrap_or_default().trim();
        [ACCEPT, "application/*", "*/*"]
            .iter()
            .any(|known| kind.eq_ignore_ascii_case(known))
    })
}

/// A response that makes a dialog: with the route recorded on the way (RFC
/// 3261 section 12.1.1).
fn dialog_response(request: &crate::sip::message::Request, status: StatusCode) -> Response {
    let mut response = response_to(request, status, None);
    response
        .headers
        .copy_all(&request.headers, &HeaderName::RecordRoute);
    response
}

/// The random part of a tag of ours.
pub(super) fn tag_of(tag: &str) -> Option<u64> {
    routing::shard_of_tag(tag.as_bytes())?;
    u64::from_str_radix(tag.get(4..)?, 16).ok()
}
