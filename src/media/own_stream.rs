//! RTP of the gateway's own: what was mixed, played or keyed for a leg's peer
//! goes out in the same stream that a relayed source would have, so that the
//! peer sees one SSRC with one run of sequence numbers whoever speaks.

use std::net::SocketAddr;
use std::time::Instant;

use super::batch::rebase;
use super::drop_reason::DropReason;
use super::leg::send_state;
use super::packet::Packet;
use super::rtp::{self, FIXED_HEADER, Header};
use super::table::Table;
use crate::ids::{LegId, MediaPort};

/// One payload for a leg's peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnPayload<'p> {
    /// The number that the peer takes it by.
    pub payload_type: u8,
    /// Clock of the timestamp, in Hz.
    pub clock_rate: u32,
    /// First of a talkspurt, or of an event.
    pub marker: bool,
    /// On the source's own clock, which may start anywhere; it is shifted so
    /// that the peer's stream goes on.
    pub timestamp: u32,
    /// The octets.
    pub payload: &'p [u8],
}

/// A packet that is ready: `slot[..len]` is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnPacket {
    /// Out of this socket,
    pub port: MediaPort,
    /// to this address; `None`: to the peer the socket is connected to.
    pub to: Option<SocketAddr>,
    /// Bytes of the slot.
    pub len: usize,
}

impl Table {
    /// Writes the payload as the next packet of the leg's stream into `slot`
    /// (of [`super::packet::SLOT_SIZE`] bytes), protected where the leg is.
    ///
    /// # Errors
    /// The reason why nothing can be sent to the peer now; it is not counted
    /// as a dropped packet, because none was taken.
    pub fn write_own(
        &mut self,
        now: Instant,
        leg: LegId,
        own: OwnPayload<'_>,
        slot: &mut [u8],
    ) -> Result<OwnPacket, DropReason> {
        let i = self.live(leg).ok_or(DropReason::NotLinked)?;
        let tick = self.tick(now);
        let released = self.release(i);
        let send = self.send.get_mut(i).ok_or(DropReason::NotLinked)?;
        if !send.is(send_state::READY) {
            return Err(DropReason::SinkNotReady);
        }
        if !send.is(send_state::OPEN) {
            // What is held back is no loss: the sequence closes over it.
            send.set(send_state::HAS_SOURCE, false);
            return Err(DropReason::Held);
        }
        released?;
        // The source of our own stream is the stream itself.
        let source = send.ssrc;
        let sequence = match send.is(send_state::STARTED) {
            true => send.sequence.wrapping_add(1),
            false => send.sequence,
        };
        // Another conference counts from 0 again.
        let ahead = own
            .timestamp
            .wrapping_add(send.timestamp_offset)
            .wrapping_sub(send.timestamp);
        let anew = send.source_ssrc == source && (ahead as i32) < 0;
        if anew {
            send.source_ssrc = !source;
        }
        if anew || !send.is(send_state::HAS_SOURCE) || send.source_ssrc != source {
            let header = Header {
                payload_type: own.payload_type,
                marker: own.marker,
                sequence,
                timestamp: own.timestamp,
                ssrc: source,
                payload_start: FIXED_HEADER,
                payload_len: own.payload.len(),
            };
            rebase(send, tick, &header, own.clock_rate);
        }
        let timestamp = own.timestamp.wrapping_add(send.timestamp_offset);
        let len = FIXED_HEADER + own.payload.len();
        let place = slot.get_mut(..len).ok_or(DropReason::Truncated)?;
        place[0] = 0x80; // RFC 3550 section 5.1: version 2, nothing else
        place[1] = u8::from(own.marker) << 7;
        place[FIXED_HEADER..].copy_from_slice(own.payload);
        rtp::rewrite(place, own.payload_type, sequence, timestamp, send.ssrc);
        send.sequence = sequence;
        send.timestamp = timestamp;
        send.last_ms = tick.ms;
        let (port, connected) = (send.port, send.is(send_state::CONNECTED));
        let mut packet = Packet::new(port, None, slot, len);
        self.seal(i, &mut packet, false)?;
        let len = packet.len();
        let to = match connected {
            true => None,
            false => Some(self.rtp_destination(i)?),
        };
        if let Some(send) = self.send.get_mut(i) {
            send.packets += 1;
            send.bytes += own.payload.len() as u64;
        }
        Ok(OwnPacket { port, to, len })
    }
}
