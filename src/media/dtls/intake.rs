//! From a datagram to the handshake it is for. Here it is only judged, and
//! copied to where it waits for its step.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Instant;

use super::Key;
use super::association::Component;
use super::queue::{Lane, MAX_WAITING_OF_PORT, Waiting};
use super::records::{self, admissible};
use crate::keying::DtlsRole;
use crate::media::drop_reason::DropReason;
use crate::media::latch::Source;
use crate::media::leg::Described;
use crate::media::packet::{Packet, Verdict};
use crate::media::table::{Route, Table};

/// What records are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    /// The port's attempt of this place.
    Attempt(usize),
    /// A handshake of their own: the peer's ClientHello.
    Begins,
}

impl Table {
    /// A DTLS record: for one of the port's handshakes, if it has any and this
    /// can be its peer. It waits for [`Table::handshake_step`].
    #[cold]
    pub(in crate::media) fn judge_dtls(
        &mut self,
        now: Instant,
        route: Route,
        packet: &Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        let key = (route.leg, Component::of(route.rtcp));
        let from = self.dtls_sender(key, packet.source)?;
        let known = self.transport.dtls.legs.get(&key);
        let known = known.ok_or(DropReason::Dtls)?;
        if known.refused {
            return Err(DropReason::DtlsRefused);
        }
        let admitted = admissible(packet.bytes(), known.peers_role());
        if admitted.has_alert {
            self.hear_alert(now, key, from);
        }
        let lane = match self.destination(key, from, &admitted.records)? {
            Destination::Begins if !self.transport.is_shared(route.leg as usize) => Lane::Unproved,
            Destination::Begins | Destination::Attempt(_) => Lane::Proved,
        };
        self.enqueue(now, key, from, lane, admitted.records)?;
        Ok(Verdict::Consumed)
    }

    /// Who sent a record, where such a sender is heard at all.
    pub(super) fn dtls_sender(
        &self,
        key: Key,
        source: Option<SocketAddr>,
    ) -> Result<SocketAddr, DropReason> {
        let i = key.0 as usize;
        let described = self.cold.get(i).and_then(|cold| cold.remote.as_ref());
        let described = described.ok_or(DropReason::NoRemote)?;
        if !self.transport.dtls.legs.contains_key(&key) {
            return Err(DropReason::Dtls);
        }
        match self.transport.is_shared(i) {
            true => source
                .filter(|from| self.transport.is_address_of(*from, key.0))
                .ok_or(DropReason::WrongSource),
            false => sender(described, key.1, source),
        }
    }

    /// What these records of a heard sender are for.
    pub(super) fn destination(
        &self,
        key: Key,
        from: SocketAddr,
        records: &[u8],
    ) -> Result<Destination, DropReason> {
        if records.is_empty() {
            return Err(DropReason::DtlsUnauthenticated);
        }
        let shared = self.transport.is_shared(key.0 as usize);
        let known = self.transport.dtls.legs.get(&key);
        let known = known.ok_or(DropReason::Dtls)?;
        let hello = records::hello_random(records);
        let begins = known.role == DtlsRole::Server && !known.settled && hello.is_some();
        match known.place_for(from, shared) {
            Some(place) if !begins || shared || known.attempts[place].hello == hello => {
                Ok(Destination::Attempt(place))
            }
            Some(_) | None if begins => Ok(Destination::Begins),
            Some(_) | None => Err(match known.attempts.is_empty() {
                true => DropReason::Dtls,
                false => DropReason::WrongSource,
            }),
        }
    }

    /// An alert in the clear: the peer's, or anybody's.
    fn hear_alert(&mut self, now: Instant, key: Key, from: SocketAddr) {
        let shared = self.transport.is_shared(key.0 as usize);
        let known = self.transport.dtls.legs.get_mut(&key);
        if let Some(known) = known
            && !known.settled
            && known.place_for(from, shared).is_some()
        {
            known.doubt(now, "the peer has ended the handshake with an alert");
            self.arm(now, key);
        }
    }

    /// Has records wait for their step.
    fn enqueue(
        &mut self,
        now: Instant,
        key: Key,
        from: SocketAddr,
        lane: Lane,
        records: Cow<'_, [u8]>,
    ) -> Result<(), DropReason> {
        let dtls = &mut self.transport.dtls;
        let known = dtls.legs.get_mut(&key).ok_or(DropReason::Dtls)?;
        let count = known.waiting.of(lane);
        if *count >= MAX_WAITING_OF_PORT || !dtls.queue.has_room(lane) {
            return Err(DropReason::DtlsQueueFull);
        }
        *count += 1;
        let waiting = Waiting {
            key,
            from,
            records: records.into_owned(),
            since: now,
        };
        dtls.queue.push(lane, waiting);
        Ok(())
    }
}

/// Whether a leg with ports of its own takes a record from there: from the
/// SDP's address, or from anywhere where that has to be learned. Nothing is
/// learned of the record itself.
fn sender(
    described: &Described,
    component: Component,
    source: Option<SocketAddr>,
) -> Result<SocketAddr, DropReason> {
    match (source, described.source, component) {
        (Some(from), Source::Learning { .. }, _) => Ok(from),
        (Some(from), _, Component::Rtp) if from == described.source.destination() => Ok(from),
        (Some(from), _, Component::Rtcp) if described.source.is_host(from) => Ok(from),
        (None, Source::Locked { address, .. }, Component::Rtp) => Ok(address),
        (Some(_) | None, _, _) => Err(DropReason::WrongSource),
    }
}
