//! The sessions of an agent and what each state of one needs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use slab::Slab;

use super::auth::Auth;
use super::info::Infos;
use super::types::{Body, OfferId};
use crate::ids::{ListenerId, SessionId};
use crate::sip::dialog::Dialog;
use crate::sip::message::Request;
use crate::sip::transaction::TransactionId;

/// One INVITE and what follows from it.
#[derive(Debug)]
pub(super) struct Session {
    pub id: SessionId,
    /// The random part of our tag.
    pub tag: u64,
    /// All requests of the session leave here.
    pub listener: ListenerId,
    /// The Call-ID is ours (RFC 3261 section 14.1).
    pub we_called: bool,
    /// User part of our Contact.
    pub user: Option<Box<str>>,
    pub auth: Option<Box<Auth>>,
    /// The peer's Allow has INFO.
    pub takes_info: bool,
    pub phase: Phase,
}

/// Where a session stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// Our INVITE waits for a final response.
    Outgoing(Outgoing),
    /// The peer's INVITE waits for ours.
    Incoming(Box<Incoming>),
    /// A 2xx was sent or received.
    Established(Box<Established>),
    /// Our BYE waits for its response.
    Ending(Box<Dialog>),
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub transaction: TransactionId,
    pub call_id: Box<str>,
    /// Remote tags of the early dialogs; the place is the fork's number.
    pub forks: Vec<Box<str>>,
    /// A 1xx came: CANCEL may be sent (RFC 3261 section 9.1).
    pub heard: bool,
    /// CANCEL was sent, and why.
    pub cancelled: Option<CancelReason>,
}

/// Why a call of ours was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CancelReason {
    /// The user asked for it.
    Asked,
    /// It rang too long.
    NoAnswer,
}

#[derive(Debug)]
pub(super) struct Incoming {
    pub transaction: TransactionId,
    pub source: std::net::SocketAddr,
    /// The INVITE without its body; To has our tag.
    pub request: Request,
    /// The last 1xx, to be sent again now and then.
    pub progress: Bytes,
}

/// What is not there for most of a call's life is boxed.
#[derive(Debug)]
pub(super) struct Established {
    pub dialog: Dialog,
    /// A 2xx of ours without ACK.
    pub unacknowledged: Option<Box<Unacknowledged>>,
    pub our_offer: OurOffer,
    pub their_offer: Option<Box<TheirOffer>>,
    /// BYE is to be sent as soon as our 2xx is acknowledged.
    pub bye_wanted: bool,
    pub infos: Infos,
}

#[derive(Debug)]
pub(super) struct Unacknowledged {
    pub transaction: TransactionId,
    pub cseq: u32,
    pub payload: Bytes,
    pub interval: Duration,
    pub give_up: Instant,
}

#[derive(Debug)]
pub(super) enum OurOffer {
    None,
    /// To be sent when the peer's offer or our 2xx is done with, or when the
    /// timer of RFC 3261 section 14.1 fires.
    Waiting {
        body: Box<Body>,
        glares: u8,
    },
    /// Sent.
    Sent {
        transaction: TransactionId,
        body: Box<Body>,
        glares: u8,
        cancelled: bool,
    },
}

#[derive(Debug)]
pub(super) struct TheirOffer {
    pub id: OfferId,
    pub transaction: TransactionId,
    /// The re-INVITE or UPDATE, without its body.
    pub request: Request,
    pub source: std::net::SocketAddr,
}

impl Established {
    pub fn new(dialog: Dialog) -> Self {
        Established {
            dialog,
            unacknowledged: None,
            our_offer: OurOffer::None,
            their_offer: None,
            bye_wanted: false,
            infos: Infos::default(),
        }
    }
}

/// What a session may wait for. Only one of the first three runs in each
/// state before the session is established, and so do the others after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SessionTimer {
    /// The callee takes too long.
    Ring,
    /// The cancelled callee takes too long.
    Cancel,
    /// A 1xx is due again.
    Refresh,
    /// A 2xx is due again.
    Answer,
    /// Our offer is due again after a glare.
    Glare,
    /// The answer to our offer takes too long.
    Offer,
}

impl SessionTimer {
    pub const ALL: [SessionTimer; 6] = [
        SessionTimer::Ring,
        SessionTimer::Cancel,
        SessionTimer::Refresh,
        SessionTimer::Answer,
        SessionTimer::Glare,
        SessionTimer::Offer,
    ];
}

/// All sessions, found by id or by our tag.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slots: Slab<Session>,
    by_tag: HashMap<u64, u32>,
    generation: u32,
}

impl Sessions {
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The id that the next session will have.
    pub fn next_id(&self) -> SessionId {
        SessionId {
            index: self.slots.vacant_key() as u32,
            generation: self.generation,
        }
    }

    /// Takes in a session that was made with [`next_id`](Self::next_id).
    pub fn insert(&mut self, session: Session) {
        self.generation = self.generation.wrapping_add(1);
        let tag = session.tag;
        let index = self.slots.insert(session);
        self.by_tag.insert(tag, index as u32);
    }

    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.slots
            .get(id.index as usize)
            .filter(|session| session.id == id)
    }

    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.slots
            .get_mut(id.index as usize)
            .filter(|session| session.id == id)
    }

    pub fn by_tag(&self, tag: u64) -> Option<SessionId> {
        let index = *self.by_tag.get(&tag)?;
        Some(self.slots.get(index as usize)?.id)
    }

    pub fn remove(&mut self, id: SessionId) -> Option<Session> {
        self.get_mut(id)?;
        let session = self.slots.try_remove(id.index as usize)?;
        self.by_tag.remove(&session.tag);
        Some(session)
    }
}
