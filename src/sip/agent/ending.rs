//! The end of a dialog: BYE of ours (RFC 3261 section 15.1.1), and dialogs
//! that break (section 12.2.1.2). The peer's BYE is in `requests`.

use std::time::Instant;

use rand::Rng;

use super::Agent;
use super::caller::is_challenge;
use super::event::Event;
use super::session::{Phase, Session};
use super::stack::{Owner, Role};
use super::types::{AgentError, LostReason};
use crate::ids::SessionId;
use crate::sip::message::Response;
use crate::sip::method::Method;
use crate::sip::outbox::Path;

impl Agent {
    /// Hangs up; [`Event::Ended`] follows when the peer has answered or is
    /// given up. Before the ACK of our 2xx came, the BYE waits for it (RFC
    /// 3261 section 15).
    pub fn bye(&mut self, now: Instant, id: SessionId) -> Result<(), AgentError> {
        let session = self.sessions.get_mut(id).ok_or(AgentError::NoSession)?;
        match &mut session.phase {
            Phase::Established(established) => {
                established.bye_wanted = true;
                self.settle(now, id);
                Ok(())
            }
            Phase::Ending(_) => Ok(()),
            Phase::Outgoing(_) | Phase::Incoming(_) => Err(AgentError::WrongState),
        }
    }

    /// Sends the BYE of an established session.
    pub(super) fn send_bye_now(&mut self, now: Instant, id: SessionId) {
        self.drop_their_offer(now, id);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Phase::Established(established) = &session.phase else {
            return;
        };
        session.phase = Phase::Ending(Box::new(established.dialog.clone()));
        if let Some(auth) = &mut session.auth {
            auth.start_request();
        }
        self.send_bye_of_session(now, id);
    }

    fn send_bye_of_session(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Session {
            phase: Phase::Ending(dialog),
            auth,
            listener,
            ..
        } = session
        else {
            return;
        };
        let mut bye = dialog.request(Method::Bye);
        if let Some(auth) = auth {
            auth.sign(&mut bye, self.stack.random.next_u64());
        }
        let path = Path {
            peer: dialog.next_hop(),
            listener: *listener,
        };
        if self.stack.layer.is_full() {
            self.stack.send_bye(now, id, path.listener, path.peer, bye);
            return self.ended(id);
        }
        let owner = Owner {
            session: id,
            role: Role::Bye,
        };
        if self.stack.start(now, path, owner, bye).is_err() {
            self.ended(id);
        }
    }

    /// A response to the BYE of a session.
    pub(super) fn bye_response(&mut self, now: Instant, id: SessionId, response: &Response) {
        if response.status.is_provisional() {
            return;
        }
        let auth = self.sessions.get_mut(id).and_then(|s| s.auth.as_mut());
        if let Some(auth) = auth
            && is_challenge(response)
            && auth.learn(&response.headers)
        {
            return self.send_bye_of_session(now, id);
        }
        // Whatever it says, the session is over (RFC 3261 section 15.1.1).
        self.ended(id);
    }

    pub(super) fn bye_failed(&mut self, id: SessionId) {
        self.ended(id);
    }

    fn ended(&mut self, id: SessionId) {
        if self.remove(id).is_some() {
            self.event(Event::Ended { session: id });
        }
    }

    /// The dialog broke: BYE, for the peer may see it otherwise, and the
    /// session is gone. A user that hung up already hears that it ended.
    pub(super) fn lose(&mut self, now: Instant, id: SessionId, reason: LostReason) {
        self.drop_their_offer(now, id);
        let Some(mut session) = self.remove(id) else {
            return;
        };
        let Phase::Established(mut established) = session.phase else {
            return;
        };
        let dialog = &mut established.dialog;
        self.stack.forget(
            now,
            id,
            session.listener,
            session.auth.as_deref_mut(),
            dialog,
        );
        self.event(match established.bye_wanted {
            true => Event::Ended { session: id },
            false => Event::Lost {
                session: id,
                reason,
            },
        });
    }
}
