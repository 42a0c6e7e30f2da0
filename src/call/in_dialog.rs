//! What happens in an established dialog: offers from either side, hold,
//! change of address or codec, and what the room's other peer takes.

use std::time::Instant;

use tracing::info;

use crate::book::DtmfPolicy;
use crate::call::calls::Calls;
use crate::call::description;
use crate::call::event::CallEventKind;
use crate::call::incoming::not_acceptable;
use crate::call::request::CallError;
use crate::call::room::{KeyDelivery, LegAddress, RoomRequest};
use crate::call::state::{EarlyMedia, Phase};
use crate::ids::{CallId, SessionId};
use crate::sdp::{Codec, Negotiated, NegotiationError};
use crate::sip::agent::{Body, OfferId, Rejection};
use crate::sip::method::Method;

/// 488 Not Acceptable Here: the offer cannot be taken, the session stays as it
/// is (RFC 3261 section 14.2).
const NOT_ACCEPTABLE_HERE: u16 = 488;
/// 481 Call/Transaction Does Not Exist.
const NO_SUCH_DIALOG: u16 = 481;
/// 491 Request Pending: an offer of ours is under way (RFC 3264 section 4).
const REQUEST_PENDING: u16 = 491;

/// What ends a call whose peer answered with something of no use.
const BAD_ANSWER: &str = "bad_answer";
/// The same, where its media would not be protected as the call asks for.
pub(super) const NO_COMMON_SECURITY: &str = "no_common_security";

/// An answer that cannot be followed.
pub(super) struct BadAnswer {
    /// What is wrong, for the integrator.
    pub text: String,
    /// What the call ends for.
    pub reason: &'static str,
}

/// 488, with a Warning where the protection of the media is at stake.
fn refusal(error: NegotiationError) -> Rejection {
    match error.is_about_security() {
        true => not_acceptable(&error.to_string()),
        false => Rejection::code(NOT_ACCEPTABLE_HERE),
    }
}

impl Calls {
    /// The room's shard has opened the leg.
    pub(super) fn joined(
        &mut self,
        now: Instant,
        id: CallId,
        local: LegAddress,
        allowed: Option<Vec<Codec>>,
    ) {
        match self.phase(id) {
            Some(Phase::Joining { .. }) => self.leg_for_incoming(now, id, &local, allowed),
            Some(Phase::Opening { .. }) => self.leg_for_outgoing(now, id, &local, allowed),
            // It ended meanwhile; its Leave is on the way.
            _ => {}
        }
    }

    /// The room's shard has no leg for the call.
    pub(super) fn join_refused(&mut self, now: Instant, id: CallId, error: CallError) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        // One that rang rings on, on this shard.
        let rings = matches!(call.early_media, EarlyMedia::Open(_));
        call.has_leg = rings;
        match self.phase(id) {
            Some(Phase::Joining { .. }) => self.no_leg_for_incoming(now, id, error),
            Some(Phase::Announced { .. }) => self.no_early_leg(now, id, &error),
            Some(Phase::Leaving) if rings => {
                let here = self.settings.shard;
                self.ask_rooms_of(here, RoomRequest::Leave { call: id });
            }
            Some(Phase::Opening { .. }) => self.never_started(now, id, error),
            _ => {}
        }
    }

    /// What the room's other peer takes has changed.
    pub(super) fn allowed(
        &mut self,
        now: Instant,
        id: CallId,
        codecs: Option<Vec<Codec>>,
        renegotiate: bool,
    ) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.allowed = codecs;
        let busy = call.offering || !matches!(call.phase, Phase::Active);
        let (false, true, Some(session)) = (busy, renegotiate, call.session) else {
            return;
        };
        let Some(exchange) = &mut call.exchange else {
            return;
        };
        // Only these: the other's codecs are what the offer is for.
        let codecs = call.allowed.as_deref().unwrap_or(&Codec::ALL);
        if exchange.offer(codecs).is_err() {
            return;
        }
        let body = description::body(exchange);
        if self.agent.offer(now, session, body).is_ok() {
            call.offering = true;
            info!(call_id = %id, "re-INVITE sent: the room's other peer takes fewer codecs");
        }
    }

    /// The peer offers anew (re-INVITE, UPDATE), or asks for an offer.
    pub(super) fn offered(
        &mut self,
        now: Instant,
        id: CallId,
        session: SessionId,
        offer: OfferId,
        method: &Method,
        body: Option<Body>,
    ) {
        match self.answer_to(now, id, method, body.as_ref()) {
            // The session may have ended this instant; its event follows.
            Ok(answer) => {
                let _ = self.agent.answer(now, session, offer, answer);
            }
            Err(rejection) => {
                let (code, warning) = (rejection.code, rejection.warning.clone());
                info!(call_id = %id, code, warning, "offer in the dialog refused");
                let _ = self.agent.refuse(now, session, offer, rejection);
                if let Some(warning) = warning {
                    let text = format!("an offer of the peer was refused: {warning}");
                    self.tell(now, id, CallEventKind::Error(text));
                }
            }
        }
    }

    /// The body of the 200 to an offer in the dialog, or what refuses it. The
    /// session then stays as it is (RFC 3261 section 14.2).
    fn answer_to(
        &mut self,
        now: Instant,
        id: CallId,
        method: &Method,
        body: Option<&Body>,
    ) -> Result<Option<Body>, Rejection> {
        let call = self.calls.get_mut(&id);
        let call = call.ok_or(Rejection::code(NO_SUCH_DIALOG))?;
        let beside = call.beside();
        let Some(exchange) = &mut call.exchange else {
            return Err(Rejection::code(REQUEST_PENDING));
        };
        let allowed = call.allowed.as_deref();
        let Some(body) = body else {
            // An UPDATE without an offer only refreshes the target
            // (RFC 3311 section 5.2); a re-INVITE without one wants ours
            // (RFC 3261 section 14.2).
            if *method == Method::Update {
                return Ok(None);
            }
            let codecs = description::offered_codecs(allowed, beside);
            exchange.offer(&codecs).map_err(refusal)?;
            let ours = description::body(exchange);
            call.offering = true;
            return Ok(Some(ours));
        };
        if call.offering {
            return Err(Rejection::code(REQUEST_PENDING));
        }
        let theirs = description::parse(body).map_err(|_| Rejection::code(NOT_ACCEPTABLE_HERE))?;
        let answered = description::answer(exchange, &theirs, allowed, beside);
        let (_, negotiated) = answered.map_err(refusal)?;
        let ours = description::body(exchange);
        self.connect(now, id, &negotiated);
        Ok(Some(ours))
    }

    /// The ACK to a 2xx of ours has come, with the answer if the offer was
    /// ours.
    pub(super) fn acknowledged(&mut self, now: Instant, id: CallId, body: Option<Body>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if !std::mem::take(&mut call.offering) {
            return;
        }
        if let Err(bad) = self.apply_answer(now, id, body.as_ref()) {
            self.tell(now, id, CallEventKind::Error(bad.text));
            self.end(now, id, bad.reason);
        }
    }

    /// The peer has accepted our re-INVITE.
    pub(super) fn offer_answered(&mut self, now: Instant, id: CallId, body: Option<Body>) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.offering = false;
        }
        if let Err(bad) = self.apply_answer(now, id, body.as_ref()) {
            self.tell(now, id, CallEventKind::Error(bad.text));
            // The peer means to go on in the clear, and we do not.
            if bad.reason == NO_COMMON_SECURITY {
                self.end(now, id, bad.reason);
            }
        }
    }

    /// The peer has refused our re-INVITE: the session stays as it was
    /// (RFC 3261 section 14.1).
    pub(super) fn offer_refused(&mut self, id: CallId, code: u16) {
        info!(call_id = %id, code, "re-INVITE refused by the peer");
        if let Some(call) = self.calls.get_mut(&id) {
            call.offering = false;
        }
    }

    /// Takes an answer to our offer.
    pub(super) fn apply_answer(
        &mut self,
        now: Instant,
        id: CallId,
        body: Option<&Body>,
    ) -> Result<(), BadAnswer> {
        let call = self.calls.get_mut(&id);
        let Some(exchange) = call.and_then(|call| call.exchange.as_mut()) else {
            return Ok(());
        };
        let bad = |text: String, reason| BadAnswer { text, reason };
        let missing = "the peer answered without a session description";
        let body = body.ok_or_else(|| bad(missing.to_owned(), BAD_ANSWER))?;
        let answer = description::parse(body).map_err(|error| {
            bad(
                format!("the peer's session description: {error}"),
                BAD_ANSWER,
            )
        })?;
        let negotiated = exchange.apply_answer(&answer).map_err(|error| {
            let reason = match error.is_about_security() {
                true => NO_COMMON_SECURITY,
                false => BAD_ANSWER,
            };
            bad(format!("the peer's answer: {error}"), reason)
        })?;
        self.connect(now, id, &negotiated);
        Ok(())
    }

    /// Tells the room where the peer's media comes from and goes to.
    pub(super) fn connect(&mut self, now: Instant, id: CallId, negotiated: &Negotiated) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.held = negotiated.held;
        let takes_info = call.session.is_some_and(|id| self.agent.takes_info(id));
        let policy = match call.server {
            // Nothing but a relay stands between the call and its server.
            Some(_) => DtmfPolicy::Events,
            None => call.dtmf,
        };
        let mut keys = description::keys(policy, negotiated, takes_info);
        if call.info_refused && keys.delivery == KeyDelivery::Info {
            keys.delivery = description::delivery_without_info(negotiated);
        }
        let by_info = keys.delivery == KeyDelivery::Info;
        call.by_info = by_info.then(|| Box::new(negotiated.clone()));
        let remote = description::remote(negotiated, call.peer_address.ip(), keys.delivery);
        self.ask_room(
            id,
            RoomRequest::Connect {
                call: id,
                remote: Box::new(remote),
                codecs: negotiated.codec_list(),
                sound: description::sound(negotiated, keys.delivery),
                keys,
            },
        );
        self.answer_server(now, id, &negotiated.codec_list());
    }
}
