//! One half of what is kept of a call: its first messages, or its last ones.

use std::collections::VecDeque;
use std::time::Instant;

use super::ladder::TracedMessage;
use super::packed::{Chunk, pack};

/// What a message costs beside its octets, as it came.
pub(super) const OVERHEAD: usize = 128;
/// Octets that are made small at once, and a message that is larger: some 30 µs
/// of work.
const MOST_PACKED: usize = 16 * 1024;

/// What a message costs as it came.
pub(super) fn cost(payload_len: usize) -> usize {
    payload_len + OVERHEAD
}

/// Messages in their order: those made small, then those as they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    /// Chunks, one behind the other.
    packed: Vec<u8>,
    fresh: VecDeque<TracedMessage>,
    /// So many of the first chunk's messages are dropped.
    dropped: usize,
    messages: usize,
    /// What the messages cost as they came.
    cost: usize,
    /// What those that have not been made small cost.
    fresh_cost: usize,
}

impl Run {
    pub(super) fn len(&self) -> usize {
        self.messages
    }

    /// What the messages cost as they came: what the bound of a call is about.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// What they take now.
    pub(super) fn memory(&self) -> usize {
        self.packed.len() + self.fresh_cost
    }

    pub(super) fn push(&mut self, message: TracedMessage) {
        let cost = cost(message.payload.len());
        self.messages += 1;
        self.cost += cost;
        self.fresh_cost += cost;
        self.fresh.push_back(message);
    }

    /// Drops the oldest message; false when there is none.
    pub(super) fn pop(&mut self) -> bool {
        let dropped = match Chunk::first(&self.packed) {
            Some(chunk) => {
                let length = chunk.payload_len(self.dropped);
                self.dropped += 1;
                if self.dropped >= chunk.len() {
                    let over = self.packed.len() - chunk.rest.len();
                    self.packed.drain(..over);
                    self.packed.shrink_to_fit();
                    self.dropped = 0;
                }
                length.map(cost)
            }
            None => {
                let oldest = self.fresh.pop_front();
                let dropped = oldest.map(|message| cost(message.payload.len()));
                self.fresh_cost -= dropped.unwrap_or_default();
                dropped
            }
        };
        self.messages -= usize::from(dropped.is_some());
        self.cost -= dropped.unwrap_or_default();
        dropped.is_some()
    }

    /// Since when there have been messages as they came, if there are any.
    pub(super) fn fresh_since(&self) -> Option<Instant> {
        self.fresh.front().map(|message| message.at)
    }

    /// Whether any message is as it came.
    pub(super) fn is_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Makes the oldest of those small that are as they came.
    pub(super) fn pack(&mut self, epoch: Instant) {
        let mut octets = 0;
        let fits = |message: &&TracedMessage| {
            octets += message.payload.len();
            octets <= MOST_PACKED
        };
        let count = self.fresh.iter().take_while(fits).count();
        let count = count.max(1).min(self.fresh.len());
        if count == 0 {
            return;
        }
        pack(epoch, self.fresh.range(..count), &mut self.packed);
        for message in self.fresh.drain(..count) {
            self.fresh_cost -= cost(message.payload.len());
        }
        if self.fresh.is_empty() {
            self.fresh = VecDeque::new();
        }
    }

    /// All messages, as they came.
    pub(super) fn read(&self, epoch: Instant) -> Vec<TracedMessage> {
        let mut messages = Vec::with_capacity(self.messages);
        let mut skip = self.dropped;
        let mut packed = self.packed.as_slice();
        while let Some(chunk) = Chunk::first(packed) {
            let unpacked = chunk.unpack(epoch).unwrap_or_default();
            messages.extend(unpacked.into_iter().skip(skip));
            skip = 0;
            packed = chunk.rest;
        }
        messages.extend(self.fresh.iter().cloned());
        messages
    }
}
