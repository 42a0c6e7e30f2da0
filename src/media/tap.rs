//! Packets whose sound is wanted here: a tapped leg's packets are copied out
//! before they go on (or in place of going on, where the leg has no sink).
//! Telephone events of every leg are too, because the gateway tells of them,
//! and what the leg's sink cannot take, because it may have to be coded anew.

use std::time::Instant;

use super::leg::receive_state;
use super::packet::Packet;
use super::rtp::Header;
use super::table::Table;
use crate::ids::{CodecId, LegId};

/// Bytes of packets that wait at most; more are not copied. The shard empties
/// the list after every batch, which is far less.
const MAX_BYTES: usize = 1 << 20;

/// One packet that was heard on a leg; its payload is in [`HeardPackets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The leg.
    pub leg: LegId,
    /// When its batch came in.
    pub arrival: Instant,
    /// What the payload type means on this leg.
    pub codec: CodecId,
    /// RTP clock of the payload type, in Hz.
    pub clock_rate: u32,
    /// Of the peer, not as relayed.
    pub ssrc: u32,
    /// Of the peer.
    pub sequence: u16,
    /// Of the peer.
    pub timestamp: u32,
    /// The marker bit: first of a talkspurt, or of an event.
    pub marker: bool,
    /// The leg is linked to one that cannot take it.
    pub unfit: bool,
    start: usize,
    end: usize,
}

/// Packets that were heard, in their order, until somebody listens to them.
#[derive(Debug, Default)]
pub struct HeardPackets {
    packets: Vec<Heard>,
    bytes: Vec<u8>,
}

impl HeardPackets {
    /// Each packet with its payload.
    pub fn iter(&self) -> impl Iterator<Item = (&Heard, &[u8])> {
        self.packets.iter().map(|heard| {
            let payload = self.bytes.get(heard.start..heard.end);
            (heard, payload.unwrap_or_default())
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Forgets them; the memory stays for the next.
    pub fn clear(&mut self) {
        self.packets.clear();
        self.bytes.clear();
    }
}

impl Table {
    /// Whether the leg's packets are copied out from now on. False when it is
    /// gone.
    pub fn tap(&mut self, leg: LegId, on: bool) -> bool {
        let Some(i) = self.live(leg) else {
            return false;
        };
        self.receive[i].set(receive_state::TAPPED, on);
        true
    }

    /// Puts what was heard since the last time into `into`, which is emptied
    /// first.
    pub fn take_heard(&mut self, into: &mut HeardPackets) {
        into.clear();
        std::mem::swap(&mut self.heard, into);
    }

    /// Copies one packet that came in on the leg.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        i: usize,
        packet: &Packet<'_>,
        header: &Header,
        unfit: bool,
    ) {
        let leg = self.leg_id(i);
        let remote = self.cold.get(i).and_then(|cold| cold.remote.as_ref());
        let known = remote.and_then(|remote| {
            let mut payloads = remote.payloads.iter();
            payloads.find(|known| known.receive & 0x7f == header.payload_type)
        });
        let Some(known) = known else {
            return;
        };
        let payload = header.payload(packet.bytes());
        let start = self.heard.bytes.len();
        if start + payload.len() > MAX_BYTES {
            return;
        }
        self.heard.bytes.extend_from_slice(payload);
        self.heard.packets.push(Heard {
            leg,
            arrival: now,
            codec: known.codec,
            clock_rate: known.clock_rate,
            ssrc: header.ssrc,
            sequence: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            unfit,
            start,
            end: start + payload.len(),
        });
    }
}
