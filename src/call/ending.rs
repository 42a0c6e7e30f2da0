//! How calls end, whoever ends them. `finish` is the one way out: it closes
//! the leg, and when the room has told its statistics, `left` says the call's
//! last word.

use std::time::Instant;

use crate::call::calls::Calls;
use crate::call::event::CallEventKind;
use crate::call::incoming::{DECLINED, unavailable};
use crate::call::request::{CallError, Direction, MediaSnapshot};
use crate::call::room::RoomRequest;
use crate::call::state::Phase;
use crate::ids::CallId;
use crate::sip::agent::{LostReason, Rejection};

impl Calls {
    /// Ends a call by whichever of CANCEL, 4xx or BYE its state needs. Ending
    /// it twice does no harm.
    pub(super) fn end(&mut self, now: Instant, id: CallId, reason: &'static str) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        match &mut call.phase {
            Phase::Joining { request, .. } => {
                if let Some(request) = request.take() {
                    self.refuse_wrong_state(request, id, "Accept");
                }
                self.turn_away(now, id, declined(reason), reason);
            }
            Phase::Announced { .. } => self.turn_away(now, id, declined(reason), reason),
            Phase::Opening { .. } => self.never_started(now, id, CallError::Draining),
            Phase::AskingServer { .. } => self.finish(now, id, reason),
            Phase::Calling { .. } => {
                call.phase = Phase::Cancelling;
                call.end_reason = Some(reason);
                if let Some(session) = call.session {
                    // A session that failed this instant tells so itself.
                    let _ = self.agent.cancel(now, session);
                }
                self.tell(now, id, CallEventKind::Cancelled);
            }
            Phase::Active => {
                let direction = call.direction;
                if let Some(session) = self.unbind_session(id) {
                    // The agent sees the BYE through by itself.
                    let _ = self.agent.bye(now, session);
                }
                if direction == Direction::Outgoing {
                    self.tell(now, id, CallEventKind::Terminated);
                }
                self.finish(now, id, reason);
            }
            Phase::Cancelling | Phase::Leaving => {}
        }
    }

    /// The peer has sent BYE; 200 is sent.
    pub(super) fn peer_hung_up(&mut self, now: Instant, id: CallId) {
        self.unbind_session(id);
        self.tell(now, id, CallEventKind::PeerHungUp);
        self.finish(now, id, "remote");
    }

    /// The dialog broke; a BYE is sent where one is due.
    pub(super) fn lost(&mut self, now: Instant, id: CallId, reason: LostReason) {
        self.unbind_session(id);
        let text = match reason {
            LostReason::NoAck => "the caller never acknowledged our answer",
            LostReason::UnknownToPeer => "the peer does not know the call any more",
            LostReason::NoAnswer => "the peer does not answer any more",
        };
        self.tell(now, id, CallEventKind::Error(text.to_string()));
        self.finish(now, id, "lost");
    }

    /// The agent is done with a session that a call still holds.
    pub(super) fn session_over(&mut self, now: Instant, id: CallId) {
        self.unbind_session(id);
        self.finish(now, id, "local");
    }

    /// No media has come for the configured time.
    pub(super) fn silent(&mut self, now: Instant, id: CallId) {
        if let Some(Phase::Active) = self.phase(id) {
            let text = "no media came from the peer for rtp.inactivity_timeout_s";
            self.tell(now, id, CallEventKind::Error(text.to_string()));
            self.end(now, id, "media_timeout");
        }
    }

    /// The SIP side is over: close the leg.
    pub(super) fn finish(&mut self, now: Instant, id: CallId, reason: &'static str) {
        self.timers.stop(&id);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if matches!(call.phase, Phase::Leaving) {
            return;
        }
        call.phase = Phase::Leaving;
        // From here on it is no call to the limits any more.
        drop(call.held_places.take());
        call.ended = Some(now);
        call.end_reason.get_or_insert(reason);
        if call.has_leg {
            self.ask_room(id, RoomRequest::Leave { call: id });
        } else {
            self.left(now, id, None);
        }
    }

    /// The leg is closed: the call's last word.
    pub(super) fn left(&mut self, now: Instant, id: CallId, media: Option<MediaSnapshot>) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        if !matches!(call.phase, Phase::Leaving) {
            // A leg for early media that came to nothing.
            return;
        }
        if let Some(media) = &media {
            self.tally.media_ended(media);
        }
        let summary = call.snapshot(&self.settings.clock, media);
        self.tell(now, id, CallEventKind::Ended(Box::new(summary)));
        self.calls.remove(&id);
        self.traces.end(now, id);
    }
}

/// How a call that is not accepted yet is refused.
fn declined(reason: &'static str) -> Rejection {
    if reason == "shutdown" {
        return unavailable();
    }
    Rejection::code(DECLINED)
}
