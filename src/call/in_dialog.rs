//! What happens in an established dialog: offers from either side, hold,
//! change of address or codec, and what the room's other peer takes.

use std::time::Instant;

use tracing::info;

use crate::call::calls::Calls;
use crate::call::description;
use crate::call::event::CallEventKind;
use crate::call::request::CallError;
use crate::call::room::{LegAddress, RoomRequest};
use crate::call::state::Phase;
use crate::ids::{CallId, SessionId};
use crate::sdp::{Codec, Negotiated};
use crate::sip::agent::{Body, OfferId};
use crate::sip::method::Method;

/// 488 Not Acceptable Here: the offer cannot be taken, the session stays as it
/// is (RFC 3261 section 14.2).
const NOT_ACCEPTABLE_HERE: u16 = 488;
/// 491 Request Pending: an offer of ours is under way (RFC 3264 section 4).
const REQUEST_PENDING: u16 = 491;

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
        if let Some(call) = self.calls.get_mut(&id) {
            call.has_leg = false;
        }
        match self.phase(id) {
            Some(Phase::Joining { .. }) => self.no_leg_for_incoming(now, id, error),
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
        let allowed = description::allowed_codecs(call.allowed.as_deref());
        let Ok(offer) = exchange.offer(allowed) else {
            return;
        };
        if self
            .agent
            .offer(now, session, description::body(&offer))
            .is_ok()
        {
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
            Err(code) => {
                info!(call_id = %id, code, "offer in the dialog refused");
                let _ = self.agent.refuse(now, session, offer, code);
            }
        }
    }

    /// The body of the 200 to an offer in the dialog, or the code that refuses
    /// it.
    fn answer_to(
        &mut self,
        now: Instant,
        id: CallId,
        method: &Method,
        body: Option<&Body>,
    ) -> Result<Option<Body>, u16> {
        let call = self.calls.get_mut(&id).ok_or(481u16)?;
        let Some(exchange) = &mut call.exchange else {
            return Err(REQUEST_PENDING);
        };
        let allowed = description::allowed_codecs(call.allowed.as_deref());
        let Some(body) = body else {
            // An UPDATE without an offer only refreshes the target
            // (RFC 3311 section 5.2); a re-INVITE without one wants ours
            // (RFC 3261 section 14.2).
            if *method == Method::Update {
                return Ok(None);
            }
            let ours = exchange.offer(allowed).map_err(|_| NOT_ACCEPTABLE_HERE)?;
            call.offering = true;
            return Ok(Some(description::body(&ours)));
        };
        if call.offering {
            return Err(REQUEST_PENDING);
        }
        let theirs = description::parse(body).map_err(|_| NOT_ACCEPTABLE_HERE)?;
        let (ours, negotiated) = exchange
            .answer(&theirs, allowed)
            .map_err(|_| NOT_ACCEPTABLE_HERE)?;
        self.connect(now, id, &negotiated);
        Ok(Some(description::body(&ours)))
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
        if let Err(reason) = self.apply_answer(now, id, body.as_ref()) {
            self.tell(now, id, CallEventKind::Error(reason));
            self.end(now, id, "bad_answer");
        }
    }

    /// The peer has accepted our re-INVITE.
    pub(super) fn offer_answered(&mut self, now: Instant, id: CallId, body: Option<Body>) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.offering = false;
        }
        if let Err(reason) = self.apply_answer(now, id, body.as_ref()) {
            self.tell(now, id, CallEventKind::Error(reason));
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

    /// Takes an answer to our offer; the error is one for the integrator.
    pub(super) fn apply_answer(
        &mut self,
        now: Instant,
        id: CallId,
        body: Option<&Body>,
    ) -> Result<(), String> {
        let call = self.calls.get_mut(&id);
        let Some(exchange) = call.and_then(|call| call.exchange.as_mut()) else {
            return Ok(());
        };
        let body = body.ok_or("the peer answered without a session description")?;
        let answer = description::parse(body)
            .map_err(|error| format!("the peer's session description: {error}"))?;
        let negotiated = exchange
            .apply_answer(&answer)
            .map_err(|error| format!("the peer's answer: {error}"))?;
        self.connect(now, id, &negotiated);
        Ok(())
    }

    /// Tells the room where the peer's media comes from and goes to.
    pub(super) fn connect(&mut self, now: Instant, id: CallId, negotiated: &Negotiated) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.held = negotiated.held;
        let remote = description::remote(negotiated, call.peer_address.ip());
        self.ask_room(
            id,
            RoomRequest::Connect {
                call: id,
                remote: Box::new(remote),
                codecs: negotiated.codec_list(),
            },
        );
        self.answer_server(now, id, &negotiated.codec_list());
    }
}
