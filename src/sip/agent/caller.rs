//! Calls that we make (RFC 3261 section 13.2).

use std::time::Instant;

use rand::Rng;

use super::Agent;
use super::auth::Auth;
use super::body::session_description;
use super::event::{Event, OutgoingInvite};
use super::info::note_allowed;
use super::session::{CancelReason, Established, Outgoing, Phase, Session, SessionTimer};
use super::stack::{Owner, Role, attach};
use super::types::AgentError;
use crate::ids::SessionId;
use crate::sip::counters::DropReason;
use crate::sip::dialog::Dialog;
use crate::sip::header::HeaderName;
use crate::sip::headers::CSeq;
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;
use crate::sip::name_addr::NameAddr;
use crate::sip::outbox::Path;
use crate::sip::status::StatusCode;
use crate::sip::transaction::TransactionId;

/// Early dialogs, and 2xx of forks, that one call may have.
const MAX_FORKS: usize = 16;

impl Agent {
    /// Makes a call. Its end is one of [`Event::Failed`], [`Event::Bye`],
    /// [`Event::Lost`] and [`Event::Ended`].
    pub fn invite(&mut self, now: Instant, call: OutgoingInvite) -> Result<SessionId, AgentError> {
        if self.stack.advertised(call.listener).is_none() {
            return Err(AgentError::NoListener);
        }
        if !self.has_room() {
            return Err(AgentError::Full);
        }
        let id = self.sessions.next_id();
        let tag = self.stack.random.next_u64();
        let user = call.from.uri.user().map(|user| Box::from(&*user));
        let mut from = call.from;
        from.set_tag(&self.stack.tag(tag));
        let mut request = Request::new(Method::Invite, call.request_uri);
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, "70");
        if let Some(mut proxy) = call.proxy {
            if let Some(sip) = proxy.as_sip_mut() {
                sip.params.set("lr", None);
            }
            headers.push(HeaderName::Route, NameAddr::new(proxy).to_string());
        }
        headers.push(HeaderName::From, from.to_string());
        headers.push(HeaderName::To, call.to.without_tag().to_string());
        let call_id = (self.stack.random.next_u64(), self.stack.random.next_u64());
        let call_id = format!("{:016x}{:016x}", call_id.0, call_id.1);
        headers.push(HeaderName::CallId, call_id.as_str());
        let cseq = CSeq {
            number: 1,
            method: Method::Invite,
        };
        headers.push(HeaderName::CSeq, cseq.to_string());
        self.stack
            .add_contact(&mut request.headers, call.listener, user.as_deref());
        attach(&mut request.headers, &mut request.body, call.body);
        let path = Path {
            peer: call.destination,
            listener: call.listener,
        };
        let owner = Owner {
            session: id,
            role: Role::Invite,
        };
        let transaction = self
            .stack
            .start(now, path, owner, request)
            .map_err(|_| AgentError::Full)?;
        self.sessions.insert(Session {
            id,
            tag,
            listener: call.listener,
            we_called: true,
            user,
            auth: call.auth.map(|auth| Box::new(Auth::new(auth))),
            takes_info: false,
            phase: Phase::Outgoing(Outgoing {
                transaction,
                call_id: call_id.into(),
                forks: Vec::new(),
                heard: false,
                cancelled: None,
            }),
        });
        let ring_end = now + call.ring_timeout;
        self.stack.set_timer(id, SessionTimer::Ring, ring_end);
        Ok(id)
    }

    /// The Call-ID of a call of ours, or of one that is established.
    pub fn call_id(&self, id: SessionId) -> Option<&str> {
        match &self.sessions.get(id)?.phase {
            Phase::Outgoing(outgoing) => Some(&outgoing.call_id),
            Phase::Incoming(incoming) => incoming.request.headers.call_id().ok(),
            Phase::Established(established) => Some(&established.dialog.call_id),
            Phase::Ending(dialog) => Some(&dialog.call_id),
        }
    }

    /// Gives a call of ours up (RFC 3261 section 9.1): CANCEL once a 1xx has
    /// come, then [`Event::Failed`] with 487 when the INVITE is over, even if
    /// a 2xx crosses, which gets ACK and BYE. Of a callee not heard of yet,
    /// `Failed` comes at once, and the CANCEL when it is heard. A call that
    /// was answered an instant ago is ended with BYE.
    pub fn cancel(&mut self, now: Instant, id: SessionId) -> Result<(), AgentError> {
        let session = self.sessions.get_mut(id).ok_or(AgentError::NoSession)?;
        match session.phase {
            Phase::Outgoing(_) => {
                self.give_up(now, id, CancelReason::Asked);
                Ok(())
            }
            Phase::Established(_) => self.bye(now, id),
            Phase::Ending(_) => Ok(()),
            Phase::Incoming(_) => Err(AgentError::WrongState),
        }
    }

    pub(super) fn ring_timeout(&mut self, now: Instant, id: SessionId) {
        self.give_up(now, id, CancelReason::NoAnswer);
    }

    fn give_up(&mut self, now: Instant, id: SessionId, reason: CancelReason) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Phase::Outgoing(outgoing) = &mut session.phase else {
            return;
        };
        if outgoing.cancelled.is_some() {
            return;
        }
        if !outgoing.heard {
            // No CANCEL before a 1xx; see `orphan_response` for what follows.
            return self.fail(id, reason.status(), None, None);
        }
        outgoing.cancelled = Some(reason);
        self.stack.cancel(now, id, outgoing.transaction);
        self.stack.stop_timer(id, SessionTimer::Ring);
        let give_up = now + self.stack.settings.timers.give_up();
        self.stack.set_timer(id, SessionTimer::Cancel, give_up);
    }

    /// RFC 3261 section 9.1: 64*T1 after the CANCEL the INVITE is over, with
    /// or without a response. The transaction ends at the same time.
    pub(super) fn cancel_timeout(&mut self, id: SessionId) {
        self.invite_failed(id, StatusCode::REQUEST_TIMEOUT);
    }

    /// No response came to the INVITE.
    pub(super) fn invite_failed(&mut self, id: SessionId, status: StatusCode) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Phase::Outgoing(outgoing) = &session.phase {
            let status = outgoing.cancelled.map_or(status, CancelReason::status);
            self.fail(id, status, None, None);
        }
    }

    fn fail(
        &mut self,
        id: SessionId,
        status: StatusCode,
        reason: Option<&str>,
        retry_after: Option<u32>,
    ) {
        self.remove(id);
        self.event(Event::Failed {
            session: id,
            code: status.code(),
            reason: reason.unwrap_or(status.default_reason()).to_owned(),
            retry_after,
        });
    }

    /// A response to the INVITE that made a session.
    pub(super) fn invite_response(
        &mut self,
        now: Instant,
        id: SessionId,
        transaction: TransactionId,
        response: &Response,
        path: Path,
    ) {
        let session = self.sessions.get_mut(id);
        let phase = session.map(|session| {
            if matches!(response.status.class(), 1 | 2) {
                note_allowed(&mut session.takes_info, &response.headers);
            }
            &session.phase
        });
        match (phase, response.status.class()) {
            (Some(Phase::Outgoing(_)), 1) => self.provisional(id, response),
            (Some(Phase::Outgoing(_)), 2) => self.answered(now, id, transaction, response, path),
            (Some(Phase::Outgoing(_)), _) => self.refused(now, id, transaction, response),
            (_, 1) => self.stack.cancel(now, id, transaction),
            (_, 2) => self.further_answer(now, id, transaction, response, path),
            (_, _) => drop(self.stack.layer.take_invite(transaction)),
        }
    }

    fn provisional(&mut self, id: SessionId, response: &Response) {
        let Some(Phase::Outgoing(outgoing)) = self.sessions.get_mut(id).map(|s| &mut s.phase)
        else {
            return;
        };
        outgoing.heard = true;
        if response.status == StatusCode::TRYING || outgoing.cancelled.is_some() {
            return;
        }
        let tag = response.headers.to_tag().unwrap_or_default();
        let known = outgoing.forks.iter().position(|fork| **fork == *tag);
        let fork = match known {
            Some(fork) => fork,
            None if outgoing.forks.len() < MAX_FORKS => {
                outgoing.forks.push(tag.into());
                outgoing.forks.len() - 1
            }
            None => return self.stack.out.counters.drop(DropReason::TooManyForks),
        };
        self.event(Event::Provisional {
            session: id,
            fork: fork as u32,
            code: response.status.code(),
            body: session_description(&response.headers, &response.body).unwrap_or(None),
        });
    }

    fn answered(
        &mut self,
        now: Instant,
        id: SessionId,
        transaction: TransactionId,
        response: &Response,
        path: Path,
    ) {
        let Some(mut dialog) = Dialog::of_caller(response, path.peer) else {
            return self.stack.out.counters.drop(DropReason::BrokenResponse);
        };
        let invite = self.stack.layer.take_invite(transaction);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Phase::Outgoing(outgoing) = &session.phase else {
            return;
        };
        let mut ack = dialog.ack(dialog.local_cseq);
        copy_credentials(&mut ack, invite.as_deref());
        let ack_path = Path {
            peer: dialog.next_hop(),
            listener: session.listener,
        };
        let octets = self.stack.send_ack(ack_path, ack);
        let tag = &dialog.remote_tag;
        self.stack
            .layer
            .keep_ack(transaction, tag, ack_path, octets);
        if let Some(reason) = outgoing.cancelled {
            // The 2xx crossed our CANCEL.
            let auth = session.auth.as_deref_mut();
            self.stack
                .forget(now, id, session.listener, auth, &mut dialog);
            return self.fail(id, reason.status(), None, None);
        }
        let known = outgoing.forks.iter().position(|fork| *fork == *tag);
        let fork = known.unwrap_or(outgoing.forks.len()) as u32;
        session.phase = Phase::Established(Box::new(Established::new(dialog)));
        self.stack.stop_timer(id, SessionTimer::Ring);
        self.event(Event::Answered {
            session: id,
            fork,
            code: response.status.code(),
            body: session_description(&response.headers, &response.body).unwrap_or(None),
        });
    }

    /// A 2xx after the first, or after the session: repeated, it is
    /// acknowledged again; of another fork, it is acknowledged and that fork
    /// ended (RFC 3261 section 13.2.2.4).
    fn further_answer(
        &mut self,
        now: Instant,
        id: SessionId,
        transaction: TransactionId,
        response: &Response,
        path: Path,
    ) {
        let tag = response.headers.to_tag().unwrap_or_default();
        let stack = &mut self.stack;
        if stack.layer.repeat_ack(&mut stack.out, transaction, tag) {
            return;
        }
        drop(stack.layer.take_invite(transaction));
        if stack.layer.acks(transaction) >= MAX_FORKS {
            return stack.out.counters.drop(DropReason::TooManyForks);
        }
        let Some(mut dialog) = Dialog::of_caller(response, path.peer) else {
            return stack.out.counters.drop(DropReason::BrokenResponse);
        };
        let ack_path = Path {
            peer: dialog.next_hop(),
            listener: path.listener,
        };
        let octets = stack.send_ack(ack_path, dialog.ack(dialog.local_cseq));
        stack.layer.keep_ack(transaction, tag, ack_path, octets);
        let auth = self
            .sessions
            .get_mut(id)
            .and_then(|s| s.auth.as_deref_mut());
        stack.forget(now, id, path.listener, auth, &mut dialog);
    }

    /// A 3xx to 6xx; the layer has acknowledged it.
    fn refused(
        &mut self,
        now: Instant,
        id: SessionId,
        transaction: TransactionId,
        response: &Response,
    ) {
        let path = self.stack.layer.invite(transaction).map(|(path, _)| path);
        let invite = self.stack.layer.take_invite(transaction);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Phase::Outgoing(outgoing) = &mut session.phase else {
            return;
        };
        if let Some(reason) = outgoing.cancelled {
            return self.fail(id, reason.status(), None, None);
        }
        if let (Some(auth), Some(invite), Some(path)) = (&mut session.auth, invite, path)
            && is_challenge(response)
            && auth.learn(&response.headers)
        {
            let mut request = next_try(*invite);
            auth.sign(&mut request, self.stack.random.next_u64());
            let owner = Owner {
                session: id,
                role: Role::Invite,
            };
            if let Ok(transaction) = self.stack.start(now, path, owner, request) {
                outgoing.transaction = transaction;
                outgoing.heard = false;
                return;
            }
        }
        self.fail(
            id,
            response.status,
            Some(&response.reason),
            response.headers.retry_after(),
        );
    }
}

impl CancelReason {
    fn status(self) -> StatusCode {
        match self {
            CancelReason::Asked => StatusCode::REQUEST_TERMINATED,
            CancelReason::NoAnswer => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// The ACK of a 2xx has the credentials of its INVITE (RFC 3261 section
/// 22.1): nobody can challenge an ACK.
pub(super) fn copy_credentials(ack: &mut Request, invite: Option<&Request>) {
    if let Some(invite) = invite {
        for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
            ack.headers.copy_all(&invite.headers, &name);
        }
    }
}

/// 401 or 407.
pub(super) fn is_challenge(response: &Response) -> bool {
    matches!(
        response.status,
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED
    )
}

/// The same request once more, as a new one: CSeq one higher, and without a
/// Via (RFC 3261 section 8.1.3.5).
pub(super) fn next_try(mut request: Request) -> Request {
    request.headers.remove(&HeaderName::Via);
    if let Ok(mut cseq) = request.headers.cseq() {
        cseq.number += 1;
        request.headers.set(HeaderName::CSeq, cseq.to_string());
    }
    request
}
