//! The HMACs of a batch's packets, side by side: those of what was received
//! before the first packet's turn, those of what is sent after the last's.
//!
//! AES-GCM gains nothing by it, and takes no part.

use std::fmt;

use super::authentication::{Message, digests};
use super::counter_mode::{DueTag, ForeseenDigest};
use super::lanes::{self, LANES};
use crate::media::packet::{BATCH, Packet};

/// What the packets of one batch have yet to get, and what was worked out for
/// them beforehand. Each batch begins and ends with nothing in it.
#[derive(Default)]
pub struct SideBySide {
    /// Whose turn it is in the batch.
    place: usize,
    /// One for each packet at most.
    due: Vec<(usize, DueTag)>,
    /// By place; empty when nothing was foreseen.
    foreseen: Vec<Option<ForeseenDigest>>,
    /// Packets of counter mode that the batch in hand has brought so far.
    received: usize,
}

impl fmt::Debug for SideBySide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SideBySide(hidden)")
    }
}

impl SideBySide {
    /// With room for a batch, so that none allocates.
    pub fn new() -> SideBySide {
        SideBySide {
            due: Vec::with_capacity(BATCH),
            foreseen: Vec::with_capacity(BATCH),
            ..SideBySide::default()
        }
    }

    /// Begins a batch; whether it is worth looking ahead, as it is when the one
    /// before had packets enough to work on together.
    #[inline]
    pub fn begin(&mut self) -> bool {
        let before = std::mem::take(&mut self.received);
        before > 1 && before >= lanes::worthwhile()
    }

    /// Works out the digests of these packets, each with its place in the
    /// batch. `message` says what is to be authenticated of one.
    pub(in crate::media) fn foresee<'p>(
        &mut self,
        batch: &'p [Packet<'_>],
        places: &mut [usize],
        mut message: impl FnMut(&'p Packet<'_>) -> Option<ForeseeableMessage<'p>>,
    ) {
        self.foreseen.resize(batch.len(), None);
        places.sort_unstable_by_key(|place| batch.get(*place).map_or(0, Packet::len));
        for group in places.chunks(LANES) {
            let mut messages = [Message::EMPTY; LANES];
            let mut whose = [0; LANES];
            let mut count = 0;
            for place in group {
                let Some(packet) = batch.get(*place) else {
                    continue;
                };
                if let Some(ForeseeableMessage(message)) = message(packet) {
                    messages[count] = message;
                    whose[count] = *place;
                    count += 1;
                }
            }
            let digests = digests(&messages[..count]);
            for n in 0..count {
                let digest = ForeseenDigest::new(&messages[n], digests[n]);
                self.foreseen[whose[n]] = Some(digest);
            }
        }
    }

    /// It is this packet's turn.
    #[inline]
    pub fn turn(&mut self, place: usize) {
        self.place = place;
    }

    /// What was worked out for the packet whose turn it is.
    #[inline]
    pub(super) fn foreseen(&mut self) -> Option<&ForeseenDigest> {
        self.received += 1;
        self.foreseen.get(self.place)?.as_ref()
    }

    /// The packet whose turn it is gets its tag at the end of the batch.
    #[inline]
    pub(super) fn due(&mut self, tag: DueTag) {
        self.due.push((self.place, tag));
    }

    /// Ends the batch: every tag is written.
    #[inline]
    pub fn end(&mut self, batch: &mut [Packet<'_>]) {
        self.foreseen.clear();
        if !self.due.is_empty() {
            self.write(batch);
        }
    }

    fn write(&mut self, batch: &mut [Packet<'_>]) {
        // Messages of one length cost the least together.
        self.due
            .sort_unstable_by_key(|(place, _)| batch.get(*place).map_or(0, Packet::len));
        for group in self.due.chunks(LANES) {
            let mut messages = [Message::EMPTY; LANES];
            for (message, (place, due)) in messages.iter_mut().zip(group) {
                *message = due.message(batch.get(*place).map_or(&[], Packet::bytes));
            }
            let digests = digests(&messages[..group.len()]);
            for ((place, due), digest) in group.iter().zip(&digests) {
                if let Some(packet) = batch.get_mut(*place) {
                    due.write(packet.bytes_mut(), digest);
                }
            }
        }
        self.due.clear();
    }
}

/// What is to be authenticated of a packet that was received.
pub(in crate::media) struct ForeseeableMessage<'p>(pub(super) Message<'p>);
