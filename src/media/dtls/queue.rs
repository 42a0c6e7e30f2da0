//! Datagrams that wait for a handshake's next step. A step is up to a third of
//! a millisecond of signatures and curves, so that none is taken where packets
//! are judged: the shard takes them one by one, looking at its clock between.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use super::Key;

/// Datagrams of one lane that wait at most; one more is dropped and counted,
/// and its sender repeats it (RFC 6347 section 4.2.4). So many are a third of
/// a second of a shard that relays as well, less than peers wait before they
/// repeat a flight (1 s, RFC 6347 section 4.2.4.1).
pub(super) const MAX_WAITING: usize = 1024;

/// The same of one port, so that no peer takes the places of all others. A
/// flight with a long chain of certificates is half as many.
pub(super) const MAX_WAITING_OF_PORT: u16 = 32;

/// Which datagrams wait behind each other. What anybody can send in another's
/// name does not hold up those who have shown where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// For a handshake under way, or of an address that ICE has proved.
    Proved,
    /// First words of an address that nothing has proved.
    Unproved,
}

/// One datagram.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The port it came in on.
    pub(super) key: Key,
    /// Who sent it.
    pub(super) from: SocketAddr,
    /// Those of its records that may be handed on; at least one.
    pub(super) records: Vec<u8>,
    /// When it came.
    pub(super) since: Instant,
}

/// Whose turn it is: each of the three in turn, so that none waits for all of
/// another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// [`Lane::Proved`].
    #[default]
    Proved,
    /// [`Lane::Unproved`].
    Unproved,
    /// A deadline: a flight to repeat, a handshake of ours to begin.
    Deadline,
}

impl Turn {
    /// How many take turns.
    pub(super) const COUNT: usize = 3;
}

/// What waits in a table.
#[derive(Debug, Default)]
pub(super) struct Queue {
    proved: VecDeque<Waiting>,
    unproved: VecDeque<Waiting>,
    next: Turn,
}

impl Queue {
    /// Whether the lane takes one more.
    pub(super) fn has_room(&self, lane: Lane) -> bool {
        match lane {
            Lane::Proved => self.proved.len() < MAX_WAITING,
            Lane::Unproved => self.unproved.len() < MAX_WAITING,
        }
    }

    /// Puts a datagram behind all others of its lane.
    pub(super) fn push(&mut self, lane: Lane, waiting: Waiting) {
        self.lane(lane).push_back(waiting);
    }

    /// The lane's first.
    pub(super) fn pop(&mut self, lane: Lane) -> Option<Waiting> {
        self.lane(lane).pop_front()
    }

    /// Takes out what waits for this port.
    pub(super) fn forget(&mut self, key: Key) {
        for lane in [&mut self.proved, &mut self.unproved] {
            lane.retain(|waiting| waiting.key != key);
        }
    }

    /// Whose turn it is; the next call names the next.
    pub(super) fn turn(&mut self) -> Turn {
        let turn = self.next;
        self.next = match turn {
            Turn::Proved => Turn::Unproved,
            Turn::Unproved => Turn::Deadline,
            Turn::Deadline => Turn::Proved,
        };
        turn
    }

    /// Since when something waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let fronts = [self.proved.front(), self.unproved.front()];
        fronts
            .into_iter()
            .flatten()
            .map(|waiting| waiting.since)
            .min()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.proved.len() + self.unproved.len()
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Waiting> {
        match lane {
            Lane::Proved => &mut self.proved,
            Lane::Unproved => &mut self.unproved,
        }
    }
}
