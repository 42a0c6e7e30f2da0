//! What a caller is told and hears before the answer: 180, or 183 with early
//! media (RFC 3261 section 13.3.1.1) where the number has a ring-back.

use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use crate::call::calls::{Calls, RoomBackend};
use crate::call::description;
use crate::call::request::{CallError, CallReply, Clip};
use crate::call::room::{Early, LegAddress, Place, RoomRequest};
use crate::call::state::{EarlyMedia, Phase};
use crate::ids::{CallId, PlayId, RequestId};
use crate::keying::Security;
use crate::sdp::Negotiated;

/// 180 Ringing.
const RINGING: u16 = 180;
/// 183 Session Progress, with a description.
const SESSION_PROGRESS: u16 = 183;

impl Calls {
    /// The application lets the caller hear ringing: the tone of its own
    /// network, or what is handed in.
    pub(super) fn ring(
        &mut self,
        now: Instant,
        request: RequestId,
        id: CallId,
        ringback: Option<(PlayId, Arc<Clip>)>,
    ) {
        let local = matches!(self.settings.rooms, RoomBackend::Local);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let (Phase::Announced { ringing, .. } | Phase::Joining { ringing, .. }, Some(_)) =
            (&mut call.phase, call.session)
        else {
            self.refuse_wrong_state(request, id, "Ring");
            return;
        };
        *ringing = true;
        // An answer needs an offer; ours in a 183 would need a reliable one
        // (RFC 3262 section 5).
        let has_offer = matches!(&call.phase, Phase::Announced { offer: Some(_), .. });
        match (&call.early_media, ringback) {
            (EarlyMedia::None, Some(ringback)) if has_offer && local => {
                call.early_media = EarlyMedia::Opening { request };
                call.has_leg = true;
                let (ipv6, app) = (call.ipv6, call.app.clone());
                let early = Box::new(Early::new(app, ringback));
                let call = id;
                self.ask_room(id, RoomRequest::Ring { call, early, ipv6 });
            }
            (EarlyMedia::None, _) => self.send_180(now, request, id),
            // It rings: a 180 after the 183 would only turn the caller's own
            // tone on.
            (EarlyMedia::Opening { .. } | EarlyMedia::Open(_), _) => {
                self.reply(request, CallReply::Done);
            }
        }
    }

    fn send_180(&mut self, now: Instant, request: RequestId, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.ringing.get_or_insert(now);
            call.sip_code = Some(RINGING);
            if let Some(session) = call.session {
                // The caller may have gone this instant; its event follows.
                let _ = self.agent.progress(now, session, RINGING, None);
            }
        }
        self.reply(request, CallReply::Done);
    }

    /// The leg for the ring-back is open: the caller's offer is answered in a
    /// 183.
    pub(super) fn early_leg_open(&mut self, now: Instant, id: CallId, local: &LegAddress) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let EarlyMedia::Opening { request } = call.early_media else {
            return;
        };
        call.early_media = EarlyMedia::None;
        let Phase::Announced {
            offer: Some(offer), ..
        } = &call.phase
        else {
            // It was accepted, or is over, in the same instant.
            self.reply(request, CallReply::Done);
            return;
        };
        let fingerprint = self.settings.fingerprint.as_ref();
        let mut exchange = description::exchange(local, call.srtp, fingerprint, &mut self.random);
        // Whom it will talk with is not known yet.
        let answered = description::answer(&mut exchange, offer, None, call.beside());
        let negotiated = match answered {
            Ok((_, negotiated)) if !is_dtls(&negotiated) => negotiated,
            // It is answered, or refused, when it is accepted.
            Ok(_) | Err(_) => {
                call.has_leg = false;
                self.ask_room(id, RoomRequest::Leave { call: id });
                self.send_180(now, request, id);
                return;
            }
        };
        let ours = description::body(&exchange);
        call.exchange = Some(exchange);
        call.ringing.get_or_insert(now);
        call.early.get_or_insert(now);
        call.sip_code = Some(SESSION_PROGRESS);
        let session = call.session;
        self.connect(now, id, &negotiated);
        if let Some(call) = self.calls.get_mut(&id) {
            call.early_media = EarlyMedia::Open(Box::new(negotiated));
        }
        if let Some(session) = session {
            // The caller may have gone this instant; its event follows.
            let _ = self
                .agent
                .progress(now, session, SESSION_PROGRESS, Some(ours));
        }
        self.reply(request, CallReply::Done);
    }

    /// No leg for the ring-back: the caller hears its own network's.
    pub(super) fn no_early_leg(&mut self, now: Instant, id: CallId, error: &CallError) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if let EarlyMedia::Opening { request } = call.early_media {
            info!(call_id = %id, %error, "rings without early media");
            call.early_media = EarlyMedia::None;
            self.send_180(now, request, id);
        }
    }

    /// Asks for a leg in the place that an incoming call was accepted into,
    /// or for the one that it rang on to go there.
    pub(super) fn ask_for_place(&mut self, id: CallId, place: Place) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let (ipv6, rang) = (call.ipv6, call.early_media.has_leg());
        let call = id;
        if !rang {
            self.ask_room(id, RoomRequest::Join { call, place, ipv6 });
            return;
        }
        let here = self.settings.shard;
        let shard = self.media_shard(id);
        let to = (shard != here).then_some(shard);
        self.ask_rooms_of(here, RoomRequest::Move { call, place, to });
    }

    /// What the answer in the 183 agreed on: the 200 repeats that answer as it
    /// is (RFC 3261 section 13.2.1, RFC 6337 section 3.1.1).
    pub(super) fn early_answer(&mut self, id: CallId) -> Option<Negotiated> {
        let call = self.calls.get_mut(&id)?;
        let EarlyMedia::Open(negotiated) = std::mem::take(&mut call.early_media) else {
            return None;
        };
        Some(*negotiated)
    }
}

/// A handshake belongs to the shard that it began on, which need not be the
/// room's: it waits for the answer.
fn is_dtls(negotiated: &Negotiated) -> bool {
    matches!(negotiated.security, Security::Dtls { .. })
}
