//! Packets between their arrival and their turn, in order of their sequence
//! numbers. The buffers of payloads that had their turn are used again, so that
//! a stream that runs allocates nothing, and holds only as many as it needs.

use super::Content;

/// Longest payload that is kept, in bytes: what an Ethernet frame can carry.
pub const MAX_PAYLOAD: usize = 1500;

/// Buffers that are kept for the next packets; what a burst needs beyond goes
/// again.
const SPARE: usize = 16;

/// A packet in its slot.
#[derive(Debug, Default)]
struct Slot {
    /// None: nothing was here yet.
    packet: Option<Header>,
    waits: bool,
    /// Empty unless it waits.
    payload: Vec<u8>,
}

/// What is known of a packet besides its payload.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// Sequence number without wrap.
    pub sequence: i64,
    /// Timestamp without wrap, in units of the content's RTP clock.
    pub timestamp: i64,
    pub content: Content,
    /// From the RTP header: the first packet after a pause.
    pub marker: bool,
}

/// What became of a packet that was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    Stored,
    /// In the place of one that waited for longer than the buffer lasts.
    Replaced,
    /// Payload longer than [`MAX_PAYLOAD`].
    TooLong,
}

/// Bounded by its number of slots; a packet takes the slot of the one that
/// many sequence numbers before it.
#[derive(Debug)]
pub struct JitterBuffer {
    slots: Vec<Slot>,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
    waiting: usize,
    /// Lowest and highest sequence number that may wait.
    first: i64,
    last: i64,
}

impl JitterBuffer {
    /// `capacity` in packets, made a power of two of at least 16.
    pub fn new(capacity: usize) -> JitterBuffer {
        let capacity = capacity.clamp(16, 1024).next_power_of_two();
        let mut slots = Vec::with_capacity(capacity);
        slots.resize_with(capacity, Slot::default);
        JitterBuffer {
            slots,
            spare: Vec::new(),
            waiting: 0,
            first: 0,
            last: -1,
        }
    }

    pub fn capacity(&self) -> i64 {
        self.slots.len() as i64
    }

    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub fn len(&self) -> usize {
        self.waiting
    }

    fn index(&self, sequence: i64) -> usize {
        sequence.rem_euclid(self.slots.len() as i64) as usize
    }

    /// True if this sequence number waits or has had its turn lately.
    pub fn has_seen(&self, sequence: i64) -> bool {
        self.slots[self.index(sequence)]
            .packet
            .is_some_and(|packet| packet.sequence == sequence)
    }

    /// Keeps a packet. A slot that is taken by an older packet goes to the
    /// newer one: the older has waited for longer than the buffer lasts.
    pub fn insert(&mut self, header: Header, payload: &[u8]) -> Inserted {
        if payload.len() > MAX_PAYLOAD {
            return Inserted::TooLong;
        }
        let index = self.index(header.sequence);
        let slot = &mut self.slots[index];
        let replaced = slot.waits;
        if !replaced {
            self.waiting += 1;
            slot.payload = self.spare.pop().unwrap_or_default();
        }
        slot.packet = Some(header);
        slot.waits = true;
        slot.payload.clear();
        slot.payload.extend_from_slice(payload);
        if self.waiting == 1 {
            self.first = header.sequence;
            self.last = header.sequence;
        } else {
            self.first = self.first.min(header.sequence);
            self.last = self.last.max(header.sequence);
            self.first = self.first.max(self.last + 1 - self.slots.len() as i64);
        }
        if replaced {
            Inserted::Replaced
        } else {
            Inserted::Stored
        }
    }

    /// The waiting packet with the lowest sequence number.
    pub fn front(&mut self) -> Option<Header> {
        if self.waiting == 0 {
            return None;
        }
        while self.first <= self.last {
            let slot = &self.slots[self.index(self.first)];
            if let Some(packet) = slot.packet
                && slot.waits
                && packet.sequence == self.first
            {
                return Some(packet);
            }
            self.first += 1;
        }
        None
    }

    /// The packet with this sequence number if it waits.
    pub fn peek(&self, sequence: i64) -> Option<Header> {
        let slot = &self.slots[self.index(sequence)];
        slot.packet
            .filter(|packet| slot.waits && packet.sequence == sequence)
    }

    /// Payload of a packet that waits; else empty.
    pub fn payload(&self, sequence: i64) -> &[u8] {
        &self.slots[self.index(sequence)].payload
    }

    /// The packet's turn has come: its payload, which is to be given back by
    /// [`Self::recycle`]. It is remembered, so that a second one of its number
    /// is a duplicate.
    pub fn take(&mut self, sequence: i64) -> Vec<u8> {
        let index = self.index(sequence);
        let slot = &mut self.slots[index];
        if !slot.waits || slot.packet.is_none_or(|p| p.sequence != sequence) {
            return Vec::new();
        }
        slot.waits = false;
        self.waiting -= 1;
        std::mem::take(&mut slot.payload)
    }

    /// Takes a payload's buffer back.
    pub fn recycle(&mut self, payload: Vec<u8>) {
        if payload.capacity() > 0 && self.spare.len() < SPARE {
            self.spare.push(payload);
        }
    }

    /// The packet will have no turn, but is remembered.
    pub fn remove(&mut self, sequence: i64) {
        let payload = self.take(sequence);
        self.recycle(payload);
    }

    /// A packet that came too late is remembered like one that had its turn.
    pub fn remember(&mut self, header: Header) {
        let index = self.index(header.sequence);
        let slot = &mut self.slots[index];
        if !slot.waits {
            slot.packet = Some(header);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            slot.packet = None;
            slot.waits = false;
            let payload = std::mem::take(&mut slot.payload);
            self.recycle(payload);
        }
        self.waiting = 0;
        self.first = 0;
        self.last = -1;
    }
}
