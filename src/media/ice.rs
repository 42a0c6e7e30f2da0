//! A lite ICE agent (RFC 8445 section 2.5): it answers connectivity checks,
//! remembers which addresses sent authenticated ones, follows the peer's
//! nomination, and watches over its consent (RFC 7675). It never checks by
//! itself, and never answers what is not authenticated.

use std::net::SocketAddr;

use super::stun::{Builder, Class, IceRole, Message};
use crate::keying::IceCredentials;

/// Addresses of one peer at most that may send media: more candidate pairs
/// than any browser keeps alive. The one silent for longest makes room.
pub(super) const MAX_ADDRESSES: usize = 8;

/// A selected address that has sent no check for this long, in ms, is left for
/// one that has, also without nomination. Browsers check every 2.5 s or more
/// often.
const SILENT_MS: u32 = 8_000;

/// What is known of one peer's ICE.
#[derive(Debug)]
pub(super) struct Agent {
    local: IceCredentials,
    /// Those before a restart, valid until the first check with the new ones
    /// (RFC 8445 section 9: media goes on meanwhile).
    previous: Option<IceCredentials>,
    addresses: Vec<Validated>,
    selected: Option<SocketAddr>,
    nominated: bool,
    /// When an authenticated check last came, or the leg was opened, in ms of
    /// the table's clock.
    pub(super) consent_ms: u32,
    /// The loss of consent was told; a check takes it back.
    pub(super) consent_lost: bool,
}

/// An address that sent an authenticated check.
#[derive(Debug, Clone, Copy)]
struct Validated {
    address: SocketAddr,
    checked_ms: u32,
}

/// What a check has changed, and how it is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The datagram to send back to where the check came from.
    pub(super) response: Vec<u8>,
    pub(super) change: Change,
}

/// What the table must know of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Change {
    /// This address of the peer made room for a new one.
    pub(super) removed: Option<SocketAddr>,
    /// Media now goes to the address that sent the check.
    pub(super) selected: bool,
    /// The peer's first check after a restart: the old user name is void.
    pub(super) restarted: bool,
}

impl Agent {
    pub(super) fn new(local: IceCredentials, now_ms: u32) -> Agent {
        Agent {
            local,
            previous: None,
            addresses: Vec::new(),
            selected: None,
            nominated: false,
            consent_ms: now_ms,
            consent_lost: false,
        }
    }

    /// New credentials; returns the user name that is void at once, if one is.
    pub(super) fn restart(&mut self, local: IceCredentials) -> Option<String> {
        let current = std::mem::replace(&mut self.local, local);
        self.nominated = false;
        self.previous.replace(current).map(|void| void.ufrag)
    }

    /// Where media goes to.
    pub(super) fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    /// The peer has chosen.
    pub(super) fn is_nominated(&self) -> bool {
        self.nominated
    }

    /// Sends nowhere until the next check: consent is lost.
    pub(super) fn deselect(&mut self) {
        self.selected = None;
        self.nominated = false;
    }

    pub(super) fn ufrags(&self) -> impl Iterator<Item = &str> {
        let previous = self.previous.iter().map(|old| old.ufrag.as_str());
        previous.chain([self.local.ufrag.as_str()])
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.addresses.iter().map(|known| known.address)
    }

    /// Judges a Binding request that names one of our user names. `None`: it
    /// is not authentic, and gets no answer.
    pub(super) fn check(
        &mut self,
        now_ms: u32,
        from: SocketAddr,
        request: &Message<'_>,
    ) -> Option<Answer> {
        let (ours, _) = request.username?.split_once(':')?;
        let is_current = ours == self.local.ufrag;
        let credentials = match (&self.previous, is_current) {
            (_, true) => &self.local,
            (Some(previous), false) if previous.ufrag == ours => previous,
            (Some(_) | None, false) => return None,
        };
        if !request.is_authentic(&credentials.password) {
            return None;
        }
        let password = credentials.password.clone();
        let refuse =
            |code, reason| Builder::binding(Class::Error, request.transaction).error(code, reason);
        let refused = |builder: Builder| Answer {
            response: builder.signed(&password),
            change: Change::default(),
        };
        if !request.unknown().is_empty() {
            // RFC 8489 section 6.3.1.
            let answer = refuse(420, "Unknown Attribute").unknown(request.unknown());
            return Some(refused(answer));
        }
        if request.role == Some(IceRole::Controlled) {
            // RFC 8445 section 7.3.1.1: a lite agent never controls.
            return Some(refused(refuse(487, "Role Conflict")));
        }
        let mut change = self.validate(now_ms, from, request.use_candidate);
        if is_current && self.previous.is_some() {
            change.restarted = true;
        }
        let response = Builder::binding(Class::Success, request.transaction)
            .mapped(from)
            .signed(&password);
        Some(Answer { response, change })
    }

    /// Forgets the credentials of before the restart, and says their name.
    pub(super) fn forget_previous(&mut self) -> Option<String> {
        self.previous.take().map(|void| void.ufrag)
    }

    fn validate(&mut self, now_ms: u32, from: SocketAddr, nominates: bool) -> Change {
        let mut change = Change::default();
        self.consent_ms = now_ms;
        self.consent_lost = false;
        match self
            .addresses
            .iter_mut()
            .find(|known| known.address == from)
        {
            Some(known) => known.checked_ms = now_ms,
            None => {
                change.removed = self.make_room(now_ms);
                self.addresses.push(Validated {
                    address: from,
                    checked_ms: now_ms,
                });
            }
        }
        let follows = match self.selected {
            None => true,
            Some(selected) if selected == from => false,
            Some(_) if nominates => true,
            Some(selected) => self.silent_ms(now_ms, selected) >= SILENT_MS,
        };
        if follows {
            self.selected = Some(from);
            change.selected = true;
        }
        self.nominated |= nominates;
        change
    }

    /// The oldest address that is not selected goes when there are too many.
    fn make_room(&mut self, now_ms: u32) -> Option<SocketAddr> {
        if self.addresses.len() < MAX_ADDRESSES {
            return None;
        }
        let selected = self.selected;
        let at = (0..self.addresses.len())
            .filter(|at| Some(self.addresses[*at].address) != selected)
            .max_by_key(|at| now_ms.wrapping_sub(self.addresses[*at].checked_ms))?;
        Some(self.addresses.swap_remove(at).address)
    }

    fn silent_ms(&self, now_ms: u32, address: SocketAddr) -> u32 {
        let known = self.addresses.iter().find(|known| known.address == address);
        known.map_or(u32::MAX, |known| now_ms.wrapping_sub(known.checked_ms))
    }
}
