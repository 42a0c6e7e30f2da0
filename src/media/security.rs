//! A leg's keys: which legs are protected, and what happens to those whose
//! keys are not there. Such a leg never sends or takes anything in the clear.

use super::drop_reason::DropReason;
use super::leg::{receive_state, send_state};
use super::table::Table;
use crate::ids::LegId;
use crate::keying::{MasterKey, Security};

/// The keys of one leg. Without them everything of a protected leg is dropped.
#[derive(Debug)]
pub(super) struct SrtpSession {
    /// Master key of what we send, and of what we receive.
    keys: (MasterKey, MasterKey),
}

/// What one leg was described with, and the keys it has so far.
#[derive(Debug, Default)]
pub(super) struct LegSecurity {
    described: Security,
    session: Option<Box<SrtpSession>>,
}

impl Table {
    /// The SSRC that the leg's peer sees of us, which lasts as long as the leg
    /// (RFC 3550 section 5.1). `None` when the leg is gone.
    pub fn ssrc(&self, leg: LegId) -> Option<u32> {
        self.live(leg)
            .and_then(|i| self.send.get(i))
            .map(|send| send.ssrc)
    }

    /// From now on the leg's media is protected with these keys. The same keys
    /// as before keep their rollover counters and replay lists.
    pub(super) fn secure(&mut self, i: usize, send: &MasterKey, receive: &MasterKey) {
        let Some(security) = self.security.get_mut(i) else {
            return;
        };
        let same = |session: &SrtpSession| session.keys.0 == *send && session.keys.1 == *receive;
        if !security.session.as_deref().is_some_and(same) {
            let keys = (send.clone(), receive.clone());
            security.session = Some(Box::new(SrtpSession { keys }));
        }
        self.mark_secure(i, true);
    }

    /// Takes over how the peer's description protects the leg. Keys from a
    /// handshake stay while fingerprints and role stay.
    pub(super) fn describe_security(&mut self, i: usize, described: &Security) {
        let Some(security) = self.security.get_mut(i) else {
            return;
        };
        let changed = security.described != *described;
        if changed {
            security.described = described.clone();
        }
        match described {
            Security::Plain => {
                security.session = None;
                self.mark_secure(i, false);
            }
            Security::Sdes { send, receive } => self.secure(i, send, receive),
            Security::Dtls { .. } => {
                if changed {
                    security.session = None;
                }
                self.mark_secure(i, true);
            }
        }
    }

    /// Forgets the keys of a leg that is opened or closed.
    pub(super) fn forget_security(&mut self, i: usize) {
        if self.security.len() <= i {
            self.security.resize_with(i + 1, LegSecurity::default);
        }
        self.security[i] = LegSecurity::default();
    }

    /// Whether what came in on the leg may be read as it is.
    #[inline]
    pub(super) fn admit(&self, i: usize) -> Result<(), DropReason> {
        match self.receive.get(i) {
            Some(receive) if receive.is(receive_state::SECURE) => Err(DropReason::NotYetSecured),
            Some(_) => Ok(()),
            None => Err(DropReason::UnknownPort),
        }
    }

    /// Whether what goes out on the leg may be sent as it is.
    #[inline]
    pub(super) fn release(&self, i: usize) -> Result<(), DropReason> {
        match self.send.get(i) {
            Some(send) if send.is(send_state::SECURE) => Err(DropReason::NotYetSecured),
            Some(_) => Ok(()),
            None => Err(DropReason::NotLinked),
        }
    }

    fn mark_secure(&mut self, i: usize, on: bool) {
        self.receive[i].set(receive_state::SECURE, on);
        self.send[i].set(send_state::SECURE, on);
    }
}
