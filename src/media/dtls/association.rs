//! The handshakes of one port of a leg. There may be several at a time: a
//! peer whose address is not known yet is found among them by its
//! certificate, and what fails beside it does it no harm.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::DtlsSession;
use super::queue::Lane;
use crate::keying::{DtlsRole, Fingerprint};
use crate::media::latch::rank;

/// Handshakes of one port at a time. Only peers that have shown that they
/// receive at their address bring one in.
const MAX_ATTEMPTS: usize = 4;

/// After something that anybody could have forged spoke against the handshake,
/// it may still come to a good end for this long.
const DOUBT: Duration = Duration::from_secs(10);

/// First wait before a client begins anew; the next ones double.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Which of a leg's ports a handshake is for: without rtcp-mux each has its
/// own (RFC 5764 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::media) enum Component {
    Rtp,
    Rtcp,
}

impl Component {
    pub(in crate::media) const ALL: [Component; 2] = [Component::Rtp, Component::Rtcp];

    pub(super) fn of(rtcp: bool) -> Component {
        match rtcp {
            true => Component::Rtcp,
            false => Component::Rtp,
        }
    }
}

/// One port's DTLS.
#[derive(Debug)]
pub(super) struct Association {
    pub(super) role: DtlsRole,
    pub(super) fingerprints: Vec<Fingerprint>,
    /// At most [`MAX_ATTEMPTS`]; the one whose keys are in use when settled.
    pub(super) attempts: Vec<Attempt>,
    /// The keys of the one attempt are in use.
    pub(super) settled: bool,
    /// Nothing of this peer is believed until it is described anew.
    pub(super) refused: bool,
    /// What speaks against the handshake.
    pub(super) doubt: Option<Doubt>,
    /// When a client begins anew.
    pub(super) again: Option<Instant>,
    /// How long it has waited for that the last time.
    pause: Duration,
    /// What of this port waits in the queue.
    pub(super) waiting: InQueue,
}

/// How many datagrams of one port wait, by lane.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InQueue {
    proved: u16,
    unproved: u16,
}

impl InQueue {
    pub(super) fn of(&mut self, lane: Lane) -> &mut u16 {
        match lane {
            Lane::Proved => &mut self.proved,
            Lane::Unproved => &mut self.unproved,
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.proved == 0 && self.unproved == 0
    }
}

/// One handshake with one address.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) session: Box<dyn DtlsSession>,
    /// Where its datagrams go and come from.
    pub(super) peer: SocketAddr,
    /// The ClientHello that began it; `None` for one of our own.
    pub(super) hello: Option<[u8; 32]>,
    /// Records in the clear that were handed to it.
    pub(super) taken: u32,
}

/// Something that speaks against a handshake, and when it is believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    pub(super) reason: &'static str,
    pub(super) until: Instant,
}

impl Association {
    pub(super) fn new(role: DtlsRole, fingerprints: Vec<Fingerprint>) -> Association {
        Association {
            role,
            fingerprints,
            attempts: Vec::new(),
            settled: false,
            refused: false,
            doubt: None,
            again: None,
            pause: Duration::ZERO,
            waiting: InQueue::default(),
        }
    }

    /// Who the peer is in it.
    pub(super) fn peers_role(&self) -> DtlsRole {
        match self.role {
            DtlsRole::Client => DtlsRole::Server,
            DtlsRole::Server => DtlsRole::Client,
        }
    }

    /// The attempt that a record from there is for. On a shared port ICE
    /// knows each of the peer's addresses, and there is one attempt.
    pub(super) fn place_for(&self, from: SocketAddr, shared: bool) -> Option<usize> {
        match shared {
            true => (!self.attempts.is_empty()).then_some(0),
            false => self.place_of(from),
        }
    }

    pub(super) fn place_of(&self, peer: SocketAddr) -> Option<usize> {
        self.attempts
            .iter()
            .position(|attempt| attempt.peer == peer)
    }

    /// Makes room for a handshake with this address: it takes the place of an
    /// older one with the same, else of the oldest of those that match the
    /// SDP's address worst. False when all match it better.
    pub(super) fn make_room(&mut self, peer: SocketAddr, sdp: SocketAddr) -> bool {
        if let Some(place) = self.place_of(peer) {
            self.attempts.remove(place);
        }
        if self.attempts.len() < MAX_ATTEMPTS {
            return true;
        }
        let worst = (0..self.attempts.len()).min_by_key(|n| rank(self.attempts[*n].peer, sdp));
        let Some(worst) = worst else {
            return true;
        };
        let gives_way = rank(self.attempts[worst].peer, sdp) <= rank(peer, sdp);
        if gives_way {
            self.attempts.remove(worst);
        }
        gives_way
    }

    /// Notes what speaks against the handshake; a client begins anew after a
    /// while.
    pub(super) fn doubt(&mut self, now: Instant, reason: &'static str) {
        let until = now + DOUBT;
        self.doubt.get_or_insert(Doubt { reason, until });
        if self.role == DtlsRole::Client && self.attempts.is_empty() {
            self.pause = (self.pause * 2).max(FIRST_PAUSE);
            self.again = Some(now + self.pause);
        }
    }

    /// Its keys are in use: nothing else is of interest.
    pub(super) fn settle(&mut self, place: usize) {
        self.attempts.swap(0, place);
        self.attempts.truncate(1);
        self.settled = true;
        self.doubt = None;
        self.again = None;
    }

    /// Nothing of the peer is believed any more.
    pub(super) fn refuse(&mut self) {
        self.attempts.clear();
        self.refused = true;
        self.doubt = None;
        self.again = None;
    }

    /// When it has something to do by itself.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let sessions = self
            .attempts
            .iter()
            .filter_map(|a| a.session.next_timeout());
        let doubt = self.doubt.map(|doubt| doubt.until);
        sessions.chain(doubt).chain(self.again).min()
    }
}
