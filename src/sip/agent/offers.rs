//! Offers in a dialog: re-INVITE both ways (RFC 3261 section 14), UPDATE of
//! the peer (RFC 3311).

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::Rng;

use super::Agent;
use super::body::session_description;
use super::caller::{copy_credentials, is_challenge, next_try};
use super::event::Event;
use super::info::note_allowed;
use super::session::{
    Established, OurOffer, Phase, Session, SessionTimer, TheirOffer, Unacknowledged,
};
use super::stack::{Owner, Received, Role, attach};
use super::types::{AgentError, Body, LostReason, OfferId, Rejection};
use crate::ids::SessionId;
use crate::sip::dialog::Dialog;
use crate::sip::header::HeaderName;
use crate::sip::message::{Response, response_to};
use crate::sip::method::Method;
use crate::sip::outbox::Path;
use crate::sip::status::StatusCode;
use crate::sip::transaction::TransactionId;

/// How often an offer is sent again after 491.
const MAX_GLARES: u8 = 10;

impl Agent {
    // ---- ours ----

    /// Offers the peer a change of the session by re-INVITE; the outcome is
    /// [`Event::OfferAnswered`] or [`Event::OfferRefused`]. While an offer of
    /// the peer, or the ACK of a 2xx of ours, is outstanding, the offer waits;
    /// after 491 it is sent again (RFC 3261 section 14.1). Only one offer at
    /// a time.
    pub fn offer(&mut self, now: Instant, id: SessionId, body: Body) -> Result<(), AgentError> {
        let session = self.sessions.get_mut(id).ok_or(AgentError::NoSession)?;
        let Phase::Established(established) = &mut session.phase else {
            return Err(AgentError::WrongState);
        };
        if !matches!(established.our_offer, OurOffer::None) || established.bye_wanted {
            return Err(AgentError::WrongState);
        }
        let body = Box::new(body);
        established.our_offer = OurOffer::Waiting { body, glares: 0 };
        self.send_waiting_offer(now, id);
        Ok(())
    }

    /// Sends the offer that waits, unless something is still in its way.
    pub(super) fn send_waiting_offer(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Session {
            phase: Phase::Established(established),
            auth,
            ..
        } = session
        else {
            return;
        };
        if established.unacknowledged.is_some() || established.their_offer.is_some() {
            // `settle` comes back here.
            return;
        }
        let OurOffer::Waiting { body, glares } =
            std::mem::replace(&mut established.our_offer, OurOffer::None)
        else {
            return;
        };
        let mut request = established.dialog.request(Method::Invite);
        self.stack.add_contact(
            &mut request.headers,
            session.listener,
            session.user.as_deref(),
        );
        attach(&mut request.headers, &mut request.body, (*body).clone());
        if let Some(auth) = auth {
            auth.start_request();
            auth.sign(&mut request, self.stack.random.next_u64());
        }
        let path = Path {
            peer: established.dialog.next_hop(),
            listener: session.listener,
        };
        let owner = Owner {
            session: id,
            role: Role::Reinvite,
        };
        match self.stack.start(now, path, owner, request) {
            Ok(transaction) => {
                let give_up = self.stack.settings.timers.give_up();
                // The session may end before its re-INVITE does.
                self.stack.layer.abandon(transaction, now + give_up * 2);
                established.our_offer = OurOffer::Sent {
                    transaction,
                    body,
                    glares,
                    cancelled: false,
                };
                self.stack.set_timer(id, SessionTimer::Offer, now + give_up);
            }
            Err(_) => self.event(Event::OfferRefused {
                session: id,
                code: StatusCode::SERVICE_UNAVAILABLE.code(),
            }),
        }
    }

    /// Nobody rings for a re-INVITE: without a final response 64*T1 after it
    /// was sent it is cancelled, and another 64*T1 later it is refused.
    pub(super) fn offer_timeout(&mut self, now: Instant, id: SessionId) {
        let Some(Phase::Established(established)) = self.sessions.get_mut(id).map(|s| &mut s.phase)
        else {
            return;
        };
        let OurOffer::Sent {
            transaction,
            cancelled,
            ..
        } = &mut established.our_offer
        else {
            return;
        };
        if *cancelled {
            established.our_offer = OurOffer::None;
            return self.event(Event::OfferRefused {
                session: id,
                code: StatusCode::REQUEST_TIMEOUT.code(),
            });
        }
        *cancelled = true;
        let transaction = *transaction;
        self.stack.cancel(now, id, transaction);
        let give_up = now + self.stack.settings.timers.give_up();
        self.stack.set_timer(id, SessionTimer::Offer, give_up);
    }

    /// A response to a re-INVITE of ours.
    pub(super) fn reinvite_response(
        &mut self,
        now: Instant,
        id: SessionId,
        transaction: TransactionId,
        response: &Response,
        path: Path,
    ) {
        match response.status.class() {
            1 => {}
            2 => self.reinvite_answered(now, id, transaction, response, path),
            _ => self.reinvite_refused(now, id, transaction, response),
        }
    }

    fn reinvite_answered(
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
        let invite = stack.layer.take_invite(transaction);
        let number = response.headers.cseq().map_or(0, |cseq| cseq.number);
        let session = self.sessions.get_mut(id);
        let mut is_current = false;
        let ack = match session.map(|session| &mut session.phase) {
            Some(Phase::Established(established)) => {
                let dialog = &mut established.dialog;
                dialog.refresh_target(&response.headers, path.peer);
                if takes_response(&established.our_offer, transaction) {
                    established.our_offer = OurOffer::None;
                    is_current = true;
                }
                let dialog = &established.dialog;
                Some((dialog.ack(number), dialog.next_hop()))
            }
            Some(Phase::Ending(dialog)) => Some((dialog.ack(number), dialog.next_hop())),
            // The session is gone: the response says enough for an ACK.
            _ => Dialog::of_caller(response, path.peer)
                .map(|dialog| (dialog.ack(number), dialog.next_hop())),
        };
        if let Some((mut ack, peer)) = ack {
            copy_credentials(&mut ack, invite.as_deref());
            let path = Path {
                peer,
                listener: path.listener,
            };
            let octets = stack.send_ack(path, ack);
            stack.layer.keep_ack(transaction, tag, path, octets);
        }
        if is_current {
            stack.stop_timer(id, SessionTimer::Offer);
            self.event(Event::OfferAnswered {
                session: id,
                body: session_description(&response.headers, &response.body).unwrap_or(None),
            });
            self.settle(now, id);
        }
    }

    fn reinvite_refused(
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
        let Phase::Established(established) = &mut session.phase else {
            return;
        };
        if !takes_response(&established.our_offer, transaction) {
            return;
        }
        let offer = std::mem::replace(&mut established.our_offer, OurOffer::None);
        let OurOffer::Sent {
            body,
            glares,
            cancelled,
            ..
        } = offer
        else {
            return;
        };
        if let (Some(auth), Some(invite), Some(path), false) =
            (&mut session.auth, invite, path, cancelled)
            && is_challenge(response)
            && auth.learn(&response.headers)
        {
            let mut request = next_try(*invite);
            established.dialog.local_cseq += 1;
            auth.sign(&mut request, self.stack.random.next_u64());
            let owner = Owner {
                session: id,
                role: Role::Reinvite,
            };
            if let Ok(transaction) = self.stack.start(now, path, owner, request) {
                let give_up = now + self.stack.settings.timers.give_up() * 2;
                self.stack.layer.abandon(transaction, give_up);
                established.our_offer = OurOffer::Sent {
                    transaction,
                    body,
                    glares,
                    cancelled: false,
                };
                return;
            }
        }
        self.stack.stop_timer(id, SessionTimer::Offer);
        match response.status {
            StatusCode::CALL_DOES_NOT_EXIST => self.lose(now, id, LostReason::UnknownToPeer),
            StatusCode::REQUEST_TIMEOUT => self.lose(now, id, LostReason::NoAnswer),
            StatusCode::REQUEST_PENDING if glares < MAX_GLARES && !cancelled => {
                let glares = glares + 1;
                let we_called = matches!(self.we_called(id), Some(true));
                self.wait_after_glare(now, id, OurOffer::Waiting { body, glares }, we_called);
            }
            status => {
                self.event(Event::OfferRefused {
                    session: id,
                    code: if cancelled { 408 } else { status.code() },
                });
                self.settle(now, id);
            }
        }
    }

    /// RFC 3261 section 14.1: the owner of the Call-ID waits 2.1 to 4 s, the
    /// other 0 to 2 s, in steps of 10 ms.
    fn wait_after_glare(&mut self, now: Instant, id: SessionId, offer: OurOffer, we_called: bool) {
        let steps = match we_called {
            true => self.stack.random_in(210..=400),
            false => self.stack.random_in(0..=200),
        };
        if let Some(Phase::Established(established)) =
            self.sessions.get_mut(id).map(|s| &mut s.phase)
        {
            established.our_offer = offer;
            let at = now + Duration::from_millis(u64::from(steps) * 10);
            self.stack.set_timer(id, SessionTimer::Glare, at);
        }
    }

    /// Whether the Call-ID is ours: the call was made by us.
    fn we_called(&mut self, id: SessionId) -> Option<bool> {
        Some(self.sessions.get_mut(id)?.we_called)
    }

    /// A re-INVITE of ours got no response at all (RFC 3261 section
    /// 12.2.1.2: as if 408 had come).
    pub(super) fn reinvite_failed(
        &mut self,
        now: Instant,
        id: SessionId,
        transaction: TransactionId,
        status: StatusCode,
    ) {
        let Some(Phase::Established(established)) = self.sessions.get_mut(id).map(|s| &mut s.phase)
        else {
            return;
        };
        if !takes_response(&established.our_offer, transaction) {
            return;
        }
        established.our_offer = OurOffer::None;
        self.stack.stop_timer(id, SessionTimer::Offer);
        if status == StatusCode::REQUEST_TIMEOUT {
            return self.lose(now, id, LostReason::NoAnswer);
        }
        self.event(Event::OfferRefused {
            session: id,
            code: status.code(),
        });
        self.settle(now, id);
    }

    // ---- theirs ----

    /// A re-INVITE or an UPDATE in a confirmed dialog.
    pub(super) fn offer_received(&mut self, now: Instant, id: SessionId, received: Received) {
        if let Some(session) = self.sessions.get_mut(id) {
            note_allowed(&mut session.takes_info, &received.request.headers);
        }
        let Some(Phase::Established(established)) = self.sessions.get_mut(id).map(|s| &mut s.phase)
        else {
            return;
        };
        let is_invite = received.request.method == Method::Invite;
        if established.their_offer.is_some() {
            // RFC 3261 section 14.2.
            return self.refuse_for_a_while(now, &received);
        }
        let sdp = session_description(&received.request.headers, &received.request.body);
        let Ok(body) = sdp else {
            return self.refuse_body(&received);
        };
        // RFC 3311 section 5.2: an UPDATE without offer crosses nothing.
        let exchanges = is_invite || body.is_some();
        let ours_is_out = matches!(established.our_offer, OurOffer::Sent { .. })
            || established.unacknowledged.is_some();
        if exchanges && (ours_is_out || established.bye_wanted) {
            return self.refuse_in_dialog(now, &received, StatusCode::REQUEST_PENDING);
        }
        if !exchanges {
            established
                .dialog
                .refresh_target(&received.request.headers, received.source);
            let mut response = self.stack.response(&received, StatusCode::OK);
            let session = self.sessions.get_mut(id);
            let user = session.and_then(|session| session.user.as_deref());
            let listener = received.path.listener;
            self.stack
                .add_contact(&mut response.headers, listener, user);
            return self.stack.answer_once(now, &received, &response);
        }
        let Received {
            mut request,
            via,
            cseq,
            path,
            source,
        } = received;
        let owner = Owner {
            session: id,
            role: Role::Reinvite,
        };
        let layer = &mut self.stack.layer;
        let Ok(transaction) = layer.serve(path, owner, &request, &via, &cseq) else {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let response = response_to(&request, status, None);
            self.stack.out.response(path, &response);
            return;
        };
        if is_invite {
            let trying = response_to(&request, StatusCode::TRYING, None);
            layer.respond(now, &mut self.stack.out, transaction, &trying);
        }
        self.offers = self.offers.wrapping_add(1);
        let offer = OfferId(self.offers);
        let method = request.method.clone();
        request.body = Bytes::new();
        established.their_offer = Some(Box::new(TheirOffer {
            id: offer,
            transaction,
            request,
            source,
        }));
        self.event(Event::Offer {
            session: id,
            offer,
            method,
            body,
        });
    }

    /// Agrees to an offer of the peer with 200: the answer, or our offer
    /// where the re-INVITE had none.
    pub fn answer(
        &mut self,
        now: Instant,
        id: SessionId,
        offer: OfferId,
        body: Option<Body>,
    ) -> Result<(), AgentError> {
        let (listener, user) = {
            let session = self.sessions.get_mut(id).ok_or(AgentError::NoSession)?;
            (session.listener, session.user.clone())
        };
        let established = self.established(id)?;
        let theirs = take_offer(established, offer)?;
        established
            .dialog
            .refresh_target(&theirs.request.headers, theirs.source);
        let cseq = established.dialog.remote_cseq.unwrap_or_default();
        let cseq = theirs.request.headers.cseq().map_or(cseq, |c| c.number);
        let mut response = response_to(&theirs.request, StatusCode::OK, None);
        self.stack
            .add_contact(&mut response.headers, listener, user.as_deref());
        self.stack.sign_response(&mut response);
        if let Some(body) = body {
            attach(&mut response.headers, &mut response.body, body);
        }
        let transaction = theirs.transaction;
        let layer = &mut self.stack.layer;
        let payload = layer.respond(now, &mut self.stack.out, transaction, &response);
        if theirs.request.method == Method::Invite {
            let timers = self.stack.settings.timers;
            let answer = Unacknowledged {
                transaction,
                cseq,
                payload,
                interval: timers.t1,
                give_up: now + timers.give_up(),
            };
            self.established(id)?.unacknowledged = Some(Box::new(answer));
            self.stack
                .set_timer(id, SessionTimer::Answer, now + timers.t1);
        }
        self.settle(now, id);
        Ok(())
    }

    /// Refuses an offer of the peer; the session goes on as it was.
    pub fn refuse(
        &mut self,
        now: Instant,
        id: SessionId,
        offer: OfferId,
        rejection: Rejection,
    ) -> Result<(), AgentError> {
        let status = StatusCode::new(rejection.code)
            .filter(|status| status.code() >= 300)
            .ok_or(AgentError::BadCode)?;
        let theirs = take_offer(self.established(id)?, offer)?;
        self.refuse_their_offer(now, &theirs, status, rejection.warning);
        self.settle(now, id);
        Ok(())
    }

    /// The peer's offer is void: 487.
    pub(super) fn drop_their_offer(&mut self, now: Instant, id: SessionId) {
        let Ok(established) = self.established(id) else {
            return;
        };
        if let Some(theirs) = established.their_offer.take() {
            self.refuse_their_offer(now, &theirs, StatusCode::REQUEST_TERMINATED, None);
        }
    }

    fn refuse_their_offer(
        &mut self,
        now: Instant,
        theirs: &TheirOffer,
        status: StatusCode,
        warning: Option<String>,
    ) {
        let mut response = response_to(&theirs.request, status, None);
        if let Some(warning) = warning {
            response.headers.push(HeaderName::Warning, warning);
        }
        self.stack.sign_response(&mut response);
        let layer = &mut self.stack.layer;
        layer.respond(now, &mut self.stack.out, theirs.transaction, &response);
    }

    pub(super) fn established(&mut self, id: SessionId) -> Result<&mut Established, AgentError> {
        let session = self.sessions.get_mut(id).ok_or(AgentError::NoSession)?;
        match &mut session.phase {
            Phase::Established(established) => Ok(established),
            Phase::Outgoing(_) | Phase::Incoming(_) | Phase::Ending(_) => {
                Err(AgentError::WrongState)
            }
        }
    }
}

fn takes_response(offer: &OurOffer, transaction: TransactionId) -> bool {
    matches!(offer, OurOffer::Sent { transaction: ours, .. } if *ours == transaction)
}

fn take_offer(
    established: &mut Established,
    offer: OfferId,
) -> Result<Box<TheirOffer>, AgentError> {
    established
        .their_offer
        .take_if(|theirs| theirs.id == offer)
        .ok_or(AgentError::NoOffer)
}
