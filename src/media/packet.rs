//! The slot one datagram lives in from receive to send, and the verdict on it.
//!
//! The backend owns the memory; a [`Packet`] borrows one slot of it for one
//! batch. Nothing is copied between receiving and sending.

use std::net::SocketAddr;

use crate::ids::MediaPort;
pub use crate::media::drop_reason::{DropCounters, DropReason};

/// Most packets handed to one [`process_batch`](super::table::Table::process_batch)
/// call: enough to share a clock read and a submit, few enough that a packet
/// never waits long for its batch.
pub const BATCH: usize = 64;

/// Bytes of one slot: an Ethernet frame with room before and behind.
pub const SLOT_SIZE: usize = 2048;

/// Bytes kept free behind a received datagram for what protection appends:
/// libsrtp's `SRTP_MAX_TRAILER_LEN` (a 16-byte tag and a 128-byte MKI) and
/// SRTCP's 4-byte index (RFC 3711 sections 3.1 and 3.4).
pub const TRAILER_ROOM: usize = 16 + 128 + 4;

/// Longest datagram taken in, in bytes. More than any path MTU below jumbo
/// frames carries; longer ones are dropped as [`DropReason::Truncated`].
pub const MAX_DATAGRAM: usize = 1800;

/// One received datagram: where it came in, from whom, its bytes, and what is
/// to become of it.
#[derive(Debug)]
pub struct Packet<'b> {
    /// The socket it came in on.
    pub port: MediaPort,
    /// Who sent it; `None` when the socket is connected, and it was that peer.
    pub source: Option<SocketAddr>,
    /// What is to become of it.
    pub verdict: Verdict,
    slot: &'b mut [u8],
    len: usize,
}

impl<'b> Packet<'b> {
    /// A datagram of `len` bytes at the start of `slot`; what lies behind it in
    /// the slot is room to grow. A `len` beyond the slot is cut to the slot.
    pub fn new(
        port: MediaPort,
        source: Option<SocketAddr>,
        slot: &'b mut [u8],
        len: usize,
    ) -> Packet<'b> {
        let len = len.min(slot.len());
        Packet {
            port,
            source,
            verdict: Verdict::Consumed,
            slot,
            len,
        }
    }

    /// The datagram.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.slot.get(..self.len).unwrap_or_default()
    }

    /// The datagram, to rewrite in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.slot.get_mut(..self.len).unwrap_or_default()
    }

    /// Its length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the datagram is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole slot: the datagram and the room behind it.
    #[inline]
    pub fn slot_mut(&mut self) -> &mut [u8] {
        self.slot
    }

    /// Makes the datagram shorter or longer, at most to the end of the slot.
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(self.slot.len());
    }
}

/// What is to become of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it as it now is.
    Forward {
        /// Out of this socket,
        port: MediaPort,
        /// to this address; `None`: to the peer the socket was last connected
        /// to with `Backend::connect_media`.
        to: Option<SocketAddr>,
    },
    /// It goes no further.
    Drop(DropReason),
    /// It was for the gateway itself; nothing to send.
    Consumed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_grows_into_the_room_behind_it_and_never_past_its_slot() {
        let mut slot = [7u8; 16];
        let mut packet = Packet::new(MediaPort(0), None, &mut slot, 10);
        assert_eq!(packet.bytes().len(), 10);
        packet.set_len(14);
        assert_eq!(packet.bytes_mut().len(), 14);
        packet.set_len(99);
        assert_eq!(packet.len(), 16);
    }

    #[test]
    fn a_length_beyond_the_slot_is_cut() {
        let mut slot = [0u8; 4];
        assert_eq!(Packet::new(MediaPort(0), None, &mut slot, 5).len(), 4);
    }
}
