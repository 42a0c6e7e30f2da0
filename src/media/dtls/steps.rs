//! The work of handshakes, cut into steps of one datagram or one deadline.
//! Whoever owns the clock decides how many are taken before packets are looked
//! at again.

use std::net::SocketAddr;
use std::time::Instant;

use super::association::Association;
use super::intake::Destination;
use super::progress::Cause;
use super::queue::{Lane, Turn, Waiting};
use super::{Key, records};
use crate::media::drop_reason::DropReason;
use crate::media::table::Table;

impl Table {
    /// When [`Table::handshake_step`] has something to do; a time that is past
    /// while datagrams wait.
    pub fn next_handshake(&mut self) -> Option<Instant> {
        let waiting = self.transport.dtls.queue.oldest();
        let due = self.transport.retransmission.next_deadline();
        waiting.into_iter().chain(due).min()
    }

    /// Does one step of the handshakes, one datagram of one peer or one
    /// deadline; the longest verifies one signature and agrees on one secret.
    /// True when there was something to do.
    pub fn handshake_step(&mut self, now: Instant) -> bool {
        for _ in 0..Turn::COUNT {
            let done = match self.transport.dtls.queue.turn() {
                Turn::Proved => self.serve(now, Lane::Proved),
                Turn::Unproved => self.serve(now, Lane::Unproved),
                Turn::Deadline => self.wake(now),
            };
            if done.is_some() {
                return true;
            }
        }
        false
    }

    /// How many datagrams wait for a step.
    pub fn handshakes_waiting(&self) -> usize {
        self.transport.dtls.queue.len()
    }

    fn serve(&mut self, now: Instant, lane: Lane) -> Option<()> {
        let dtls = &mut self.transport.dtls;
        let Waiting {
            key, from, records, ..
        } = dtls.queue.pop(lane)?;
        if let Some(known) = dtls.legs.get_mut(&key) {
            let count = known.waiting.of(lane);
            *count = count.saturating_sub(1);
        }
        if let Err(reason) = self.take_records(now, key, from, records) {
            self.counters.drops.add(reason);
        }
        Some(())
    }

    /// Much may have happened since the records came: they are judged again.
    fn take_records(
        &mut self,
        now: Instant,
        key: Key,
        from: SocketAddr,
        mut records: Vec<u8>,
    ) -> Result<(), DropReason> {
        self.dtls_sender(key, Some(from))?;
        let destination = self.destination(key, from, &records)?;
        let known = self.transport.dtls.legs.get_mut(&key);
        let known = known.ok_or(DropReason::Dtls)?;
        if known.refused {
            return Err(DropReason::DtlsRefused);
        }
        let place = match destination {
            Destination::Begins => return self.begin(now, key, from, &records),
            Destination::Attempt(place) => place,
        };
        // Another of its own addresses, where there are several.
        let attempt = &mut known.attempts[place];
        attempt.peer = from;
        records::renumber(&mut records, &mut attempt.taken);
        self.drive(now, key, place, Cause::Datagram, |session, out| {
            session.handle(now, &records, out);
        });
        Ok(())
    }

    /// Does what one port has due: repeats flights, begins anew, gives up.
    fn wake(&mut self, now: Instant) -> Option<()> {
        let key = self.transport.retransmission.pop(now)?;
        // The peer may have moved to another address meanwhile.
        let moved = self.transport.selected(key.0 as usize);
        let known = self.transport.dtls.legs.get_mut(&key);
        let Some(known) = known else { return Some(()) };
        if let Some(doubt) = known.doubt
            && doubt.until <= now
        {
            self.fail_handshake(key, doubt.reason);
            return Some(());
        }
        let begins = known.again.take_if(|at| *at <= now).is_some();
        for attempt in &mut known.attempts {
            attempt.peer = moved.unwrap_or(attempt.peer);
        }
        for place in (0..known.attempts.len()).rev() {
            let known = self.transport.dtls.legs.get(&key);
            if known.is_some_and(|known| is_due(known, place, now)) {
                self.drive(now, key, place, Cause::Timeout, |session, out| {
                    session.timeout(now, out);
                });
            }
        }
        if begins {
            self.open_handshake(now, key);
        }
        self.arm(now, key);
        Some(())
    }
}

fn is_due(known: &Association, place: usize, now: Instant) -> bool {
    let attempt = known.attempts.get(place);
    let due = attempt.and_then(|attempt| attempt.session.next_timeout());
    due.is_some_and(|at| at <= now)
}
