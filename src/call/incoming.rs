//! Incoming calls, from the INVITE to the answer.

use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use crate::book::{Answering, DigestAlgorithm, Number};
use crate::call::calls::{Calls, RETRY_AFTER_SECONDS};
use crate::call::description;
use crate::call::event::{Arrival, CallEventKind};
use crate::call::in_dialog::NO_COMMON_SECURITY;
use crate::call::limits::{LimitExceeded, Permit};
use crate::call::request::{CallError, CallReply, Direction, Stream};
use crate::call::room::{LegAddress, Place};
use crate::call::scanners::InCall;
use crate::call::state::{Call, Phase};
use crate::ids::{CallId, RequestId, RoomKey, SessionId};
use crate::sdp::{Codec, Session};
use crate::sip::agent::{Authorization, Body, Credentials, IncomingInvite, Rejection};
use crate::sip::digest::Algorithm;
use crate::sip::uri::Uri;

/// Nobody acted upon the call in time: 480 Temporarily Unavailable.
const NOBODY_ANSWERED: u16 = 480;
/// The application ended a call it had not accepted: 486 Busy Here, which
/// leaves a forking proxy its other branches (RFC 3261 section 16.7).
pub(super) const DECLINED: u16 = 486;

impl Calls {
    /// An INVITE outside a dialog has come in; 100 is sent.
    pub(super) fn invited(&mut self, now: Instant, session: SessionId, invite: IncomingInvite) {
        // Before anything that costs: who is late does not get earlier by
        // looking at what it cannot take.
        if let Some(label) = self.closed() {
            self.refuse_invite(now, session, label, 503);
            return;
        }
        let to_user = user_of(&invite.request_uri);
        let header_user = user_of(&invite.to.uri);
        let candidates = [to_user.as_str(), header_user.as_str()];
        let source = invite.source.ip();
        let admitted = self.book.admit(&candidates, source).or_else(|refusal| {
            let registered = self.called_by_registrar(&candidates, source, &refusal);
            registered.ok_or(refusal)
        });
        let number = match admitted {
            Ok(number) => number,
            Err(refusal) => {
                info!(
                    source = %invite.source,
                    sip_call_id = %invite.sip_call_id,
                    code = refusal.sip_code(),
                    "incoming call refused: {refusal}"
                );
                self.suspect(now, invite.source.ip());
                self.refuse_invite(now, session, refusal.label(), refusal.sip_code());
                return;
            }
        };
        if let Some(auth) = &number.auth {
            let credentials = Credentials {
                username: auth.credentials.username.clone(),
                password: auth.credentials.password.clone(),
            };
            let algorithms: Vec<Algorithm> = auth
                .algorithms
                .iter()
                .map(|algorithm| match algorithm {
                    DigestAlgorithm::Md5 => Algorithm::Md5,
                    DigestAlgorithm::Sha256 => Algorithm::Sha256,
                })
                .collect();
            let realm = &self.settings.realm;
            let verdict = self
                .agent
                .authorize(now, session, realm, &credentials, &algorithms);
            match verdict {
                Ok(Authorization::Valid) => {}
                Ok(Authorization::Failed) => {
                    self.suspect(now, invite.source.ip());
                    self.count_refusal("challenged");
                    return;
                }
                Ok(Authorization::Challenged) | Err(_) => {
                    self.count_refusal("challenged");
                    return;
                }
            }
        }
        match offered_description(invite.body.as_ref()) {
            Ok(offer) => match self.take_place(now, &number.app, Some(&number), invite.source) {
                Ok(places) => self.arrived(now, session, invite, offer, number, places),
                Err(exceeded) => self.limited(now, session, &invite, &exceeded),
            },
            Err((label, rejection)) => {
                info!(
                    source = %invite.source,
                    sip_call_id = %invite.sip_call_id,
                    code = rejection.code,
                    reason = label,
                    "incoming call refused for its session description"
                );
                self.count_refusal(label);
                // A session that is gone already needs no answer.
                let _ = self.agent.reject(now, session, rejection);
            }
        }
    }

    /// One call more than a limit allows.
    fn limited(
        &mut self,
        now: Instant,
        session: SessionId,
        invite: &IncomingInvite,
        exceeded: &LimitExceeded,
    ) {
        let code = exceeded.sip_code();
        info!(
            source = %invite.source,
            sip_call_id = %invite.sip_call_id,
            code,
            reason = exceeded.label(),
            "incoming call refused: {exceeded}"
        );
        self.refuse_invite(now, session, exceeded.label(), code);
    }

    fn arrived(
        &mut self,
        now: Instant,
        session: SessionId,
        invite: IncomingInvite,
        offer: Option<Session>,
        number: Arc<Number>,
        places: (Permit, InCall),
    ) {
        let id = self.new_call_id();
        // Media uses the family of the offer's address, which need not be the
        // one of the signalling.
        let ipv6 = offer
            .as_ref()
            .and_then(Session::audio_address)
            .map_or(invite.source.is_ipv6(), |address| address.is_ipv6());
        let from: Arc<str> = Arc::from(user_of(&invite.from.uri));
        let to: Arc<str> = Arc::from(number.number.as_str());
        let stream = match &number.answering {
            Answering::Ask | Answering::Echo => None,
            Answering::Room { room, peer } => {
                let fill = |template: &str| fill_template(template, id, &from, &to);
                Some(Stream {
                    room: RoomKey {
                        app: number.app.clone(),
                        name: Arc::from(fill(room)),
                    },
                    peer: Arc::from(fill(peer)),
                    record: false,
                })
            }
        };
        let answered_without_asking = number.answering != Answering::Ask;
        let phase = Phase::Announced {
            offer: offer.map(Box::new),
            ringing: false,
        };
        let app = number.app.clone();
        let call = Call {
            from: from.clone(),
            to: to.clone(),
            sip_call_id: Arc::from(invite.sip_call_id.as_str()),
            sip_code: Some(100),
            ipv6,
            srtp: number.srtp(self.settings.srtp),
            dtmf: number.dtmf.unwrap_or(self.settings.dtmf),
            held_places: Some(places),
            ..Call::new(id, app, Direction::Incoming, invite.source, now, phase)
        };
        self.traces.claim(&call.sip_call_id, id, &call.app);
        self.calls.insert(id, Box::new(call));
        self.bind_session(id, session);
        self.tell(
            now,
            id,
            CallEventKind::Arrived(Box::new(Arrival {
                from,
                to,
                source: invite.source,
                sip_call_id: Arc::from(invite.sip_call_id.as_str()),
                number: number.clone(),
                answered_without_asking,
                stream: stream.clone(),
            })),
        );
        match (&number.answering, stream) {
            (Answering::Ask, _) => self.timers.set(id, now + self.settings.answer_timeout),
            (Answering::Echo, _) | (Answering::Room { .. }, None) => {
                self.join(id, Place::Echo, None);
            }
            (Answering::Room { .. }, Some(stream)) => self.join(id, self.place(stream), None),
        }
    }

    /// The application takes the call into a room.
    pub(super) fn accept(&mut self, _now: Instant, request: RequestId, id: CallId, stream: Stream) {
        match self.phase(id) {
            Some(Phase::Announced { .. }) => self.join(id, self.place(stream), Some(request)),
            _ => self.refuse_wrong_state(request, id, "Accept"),
        }
    }

    /// The application, or the want of one, refuses the call with a code.
    pub(super) fn reject(&mut self, now: Instant, request: RequestId, id: CallId, code: u16) {
        match self.phase(id) {
            Some(Phase::Announced { .. }) => {
                self.turn_away(now, id, Rejection::code(code), "rejected");
                self.reply(request, CallReply::Done);
            }
            _ => self.refuse_wrong_state(request, id, "Reject"),
        }
    }

    fn join(&mut self, id: CallId, place: Place, request: Option<RequestId>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Phase::Announced { offer, ringing } = &mut call.phase else {
            return;
        };
        call.phase = Phase::Joining {
            offer: offer.take(),
            ringing: *ringing,
            request,
        };
        if let Some(stream) = place.stream() {
            call.stream = Some(stream.clone());
        }
        call.has_leg = true;
        self.ask_for_place(id, place);
    }

    /// The leg of an accepted call is open: answer the INVITE.
    pub(super) fn leg_for_incoming(
        &mut self,
        now: Instant,
        id: CallId,
        local: &LegAddress,
        allowed: Option<Vec<Codec>>,
    ) {
        let early = self.early_answer(id);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let fingerprint = self.settings.fingerprint.as_ref();
        let mut exchange = description::exchange(local, call.srtp, fingerprint, &mut self.random);
        let beside = call.beside();
        let Phase::Joining { offer, request, .. } = &mut call.phase else {
            return;
        };
        let (offer, request) = (offer.take(), request.take());
        let others = allowed.as_deref();
        let described_early = early.is_some();
        let described = match (early, &offer) {
            (Some(negotiated), _) => Ok(Some(negotiated)),
            // RFC 3264 section 5: an INVITE without an offer gets ours in the
            // 200, and its answer comes in the ACK.
            (None, None) => exchange
                .offer(&description::offered_codecs(others, beside))
                .map(|_| None),
            (None, Some(theirs)) => description::answer(&mut exchange, theirs, others, beside)
                .map(|(_, negotiated)| Some(negotiated)),
        };
        let negotiated = match described {
            Ok(negotiated) => negotiated,
            Err(error) => {
                if let Some(request) = request {
                    self.reply(request, CallReply::Refused(error.into()));
                }
                self.tell(now, id, CallEventKind::Error(error.to_string()));
                let rejection = not_acceptable(&error.to_string());
                let reason = if error.is_about_security() {
                    NO_COMMON_SECURITY
                } else {
                    "no_common_codec"
                };
                self.turn_away(now, id, rejection, reason);
                return;
            }
        };
        if !described_early {
            call.exchange = Some(exchange);
        }
        let ours = call.exchange.as_ref().map(description::body);
        call.allowed = allowed;
        call.offering = negotiated.is_none();
        call.phase = Phase::Active;
        call.answered = Some(now);
        call.sip_code = Some(200);
        self.tally
            .answered(Direction::Incoming, 200, now - call.created);
        let session = call.session;
        self.timers.stop(&id);
        // The room knows the peer of a leg that rang.
        if let Some(negotiated) = negotiated
            && !described_early
        {
            self.connect(now, id, &negotiated);
        }
        if let (Some(session), Some(ours)) = (session, ours) {
            // A caller that has gone this instant is told of by its own event.
            let _ = self.agent.accept(now, session, ours);
        }
        self.tell(now, id, CallEventKind::Accepted);
        if let Some(request) = request {
            self.reply(request, CallReply::Done);
        }
    }

    /// No leg for an accepted call. One that somebody asked for may be put
    /// elsewhere; one that is answered without asking is refused.
    pub(super) fn no_leg_for_incoming(&mut self, now: Instant, id: CallId, error: CallError) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Phase::Joining {
            offer,
            ringing,
            request,
        } = &mut call.phase
        else {
            return;
        };
        let request = request.take();
        call.phase = Phase::Announced {
            offer: offer.take(),
            ringing: *ringing,
        };
        call.stream = None;
        match request {
            Some(request) => self.reply(request, CallReply::Refused(error)),
            None => {
                self.tell(now, id, CallEventKind::Error(error.to_string()));
                let rejection = match &error {
                    CallError::RoomFull | CallError::PeerExists => Rejection::code(486),
                    _ => unavailable(),
                };
                self.turn_away(now, id, rejection, "no_media");
            }
        }
    }

    /// The answer timeout of a call nobody acted upon.
    pub(super) fn nobody_acted(&mut self, now: Instant, id: CallId) {
        if let Some(Phase::Announced { .. }) = self.phase(id) {
            self.turn_away(now, id, Rejection::code(NOBODY_ANSWERED), "no_answer");
        }
    }

    /// Refuses a call that was announced.
    pub(super) fn turn_away(
        &mut self,
        now: Instant,
        id: CallId,
        rejection: Rejection,
        reason: &'static str,
    ) {
        let code = rejection.code;
        if let Some(call) = self.calls.get_mut(&id) {
            call.sip_code = Some(code);
            self.tally
                .answered(Direction::Incoming, code, now - call.created);
        }
        if let Some(session) = self.unbind_session(id) {
            // A caller that has gone this instant needs no answer.
            let _ = self.agent.reject(now, session, rejection);
        }
        self.tell(now, id, CallEventKind::Rejected(code));
        self.finish(now, id, reason);
    }

    /// The caller gave up; 487 is sent.
    pub(super) fn caller_cancelled(&mut self, now: Instant, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.sip_code = Some(487);
            self.tally
                .answered(Direction::Incoming, 487, now - call.created);
            if let Phase::Joining { request, .. } = &mut call.phase
                && let Some(request) = request.take()
            {
                self.refuse_wrong_state(request, id, "Accept");
            }
        }
        self.unbind_session(id);
        self.tell(now, id, CallEventKind::CallerCancelled);
        self.finish(now, id, "cancelled");
    }

    fn refuse_invite(&mut self, now: Instant, session: SessionId, label: &'static str, code: u16) {
        self.count_refusal(label);
        let rejection = match code {
            503 => unavailable(),
            code => Rejection::code(code),
        };
        // A session that is gone already needs no answer.
        let _ = self.agent.reject(now, session, rejection);
    }

    fn count_refusal(&mut self, label: &'static str) {
        *self.refusals.entry(label).or_insert(0) += 1;
    }
}

/// 503 that says when to come back (RFC 3261 section 21.5.4).
pub(super) fn unavailable() -> Rejection {
    Rejection {
        retry_after: Some(RETRY_AFTER_SECONDS),
        ..Rejection::code(503)
    }
}

/// 488 with the reason in a Warning (RFC 3261 section 20.43, code 399).
pub(super) fn not_acceptable(reason: &str) -> Rejection {
    let quoted: String = reason
        .chars()
        .filter(|c| !matches!(c, '"' | '\\' | '\r' | '\n'))
        .collect();
    Rejection {
        warning: Some(format!("399 ringwire \"{quoted}\"")),
        ..Rejection::code(488)
    }
}

/// The caller's description, if it can lead to a call at all. Found out before
/// anybody is bothered.
fn offered_description(body: Option<&Body>) -> Result<Option<Session>, (&'static str, Rejection)> {
    let Some(body) = body else {
        return Ok(None);
    };
    let session = description::parse(body).map_err(|error| {
        let rejection = Rejection {
            reason: Some("Bad Session Description".to_string()),
            ..Rejection::code(400)
        };
        info!("session description not understood: {error}");
        ("bad_sdp", rejection)
    })?;
    if session.audio_codecs().iter().any(|codec| codec.is_audio()) {
        return Ok(Some(session));
    }
    let reason = "no audio codec in common; PCMU, PCMA, G722 and opus are spoken here";
    Err(("no_common_codec", not_acceptable(reason)))
}

/// The user part, or the host where there is none.
fn user_of(uri: &Uri) -> String {
    match uri.user() {
        Some(user) => user.into_owned(),
        None => uri.host().map(ToString::to_string).unwrap_or_default(),
    }
}

fn fill_template(template: &str, id: CallId, from: &str, to: &str) -> String {
    template
        .replace("{call_id}", &id.to_string())
        .replace("{from}", from)
        .replace("{to}", to)
}
