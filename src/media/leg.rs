//! What is known of one participant. A packet touches one 64-byte line of the
//! leg it came in on and one of the leg it goes out on; everything that only
//! changes with the call lies apart in [`Cold`].

use std::net::SocketAddr;

use super::latch::{Latch, Source};
use super::payload::{PayloadMap, PayloadMapping};
use super::reports::Reports;
use super::stats::{Jitter, Reported, Sequence};
use crate::ids::MediaPort;
use crate::keying::Security;

/// What a leg is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegOptions {
    /// The socket for RTP (and RTCP where it is multiplexed).
    pub rtp: MediaPort,
    /// The socket for RTCP.
    pub rtcp: MediaPort,
    /// Send what comes back to where it came from, until linked elsewhere.
    pub echo: bool,
}

/// The peer as its SDP describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Where it takes RTP.
    pub rtp: SocketAddr,
    /// Where it takes RTCP.
    pub rtcp: SocketAddr,
    /// RTCP shares the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// We may send media to it.
    pub send: bool,
    /// It may send media to us.
    pub receive: bool,
    /// It asked for hold: silence from it does not end the call.
    pub held: bool,
    /// What to believe of its address.
    pub latch: Latch,
    /// How its media is protected.
    pub security: Security,
    /// The payload types agreed; the first [`super::payload::MAX_PAYLOADS`] count.
    pub payloads: Vec<PayloadMapping>,
}

/// Size of a cache line on the machines this runs on, in bytes.
const CACHE_LINE: usize = 64;

/// No leg.
pub(super) const NOBODY: u32 = u32::MAX;

/// Whichever leg the source address or the ICE user name says.
pub(super) const SHARED: u32 = u32::MAX - 1;

/// Bits of [`Receive::state`].
pub(super) mod receive_state {
    /// The peer has been described.
    pub const DESCRIBED: u16 = 1;
    /// The peer may send to us.
    pub const OPEN: u16 = 1 << 1;
    /// The source is locked.
    pub const LOCKED: u16 = 1 << 2;
    /// `ssrc` holds the current source's SSRC.
    pub const HAS_SSRC: u16 = 1 << 3;
    /// The first packet came and was told of.
    pub const STARTED: u16 = 1 << 4;
    /// RTCP is multiplexed onto the RTP port.
    pub const MUX: u16 = 1 << 5;
    /// A `Locked` notice found no room and is still due.
    pub const LOCK_UNTOLD: u16 = 1 << 6;
    /// Only protected packets are taken.
    pub const SECURE: u16 = 1 << 7;
    /// The packets are copied out: somebody here listens.
    pub const TAPPED: u16 = 1 << 8;
    /// The current payload type is one of telephone events.
    pub const EVENT: u16 = 1 << 9;
    /// The current payload type is comfort noise: the peer says nothing on
    /// purpose.
    pub const PAUSING: u16 = 1 << 10;
}

/// The hot line of packets that come from the peer.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(super) struct Receive {
    /// Table index of the leg it goes to, or [`NOBODY`].
    pub(super) sink: u32,
    /// The peer's current SSRC.
    pub(super) ssrc: u32,
    pub(super) state: u16,
    /// Payload type that `clock_rate` belongs to.
    pub(super) clock_payload: u8,
    /// Clock of the current payload type in Hz; 0 before the first packet.
    pub(super) clock_rate: u32,
    pub(super) payloads: PayloadMap,
    pub(super) sequence: Sequence,
    pub(super) jitter: Jitter,
    /// When the last packet came, in ms of the table's clock.
    pub(super) last_ms: u32,
    /// Payload bytes.
    pub(super) bytes: u64,
}

/// Bits of [`Send::state`].
pub(super) mod send_state {
    /// The peer has been described and its address can be sent to.
    pub const READY: u8 = 1;
    /// The peer takes media.
    pub const OPEN: u8 = 1 << 1;
    /// The RTP socket is connected to where the media goes.
    pub const CONNECTED: u8 = 1 << 2;
    /// `source_ssrc` and the offsets hold.
    pub const HAS_SOURCE: u8 = 1 << 3;
    /// At least one packet was sent: the stream continues from the last.
    pub const STARTED: u8 = 1 << 4;
    /// Only protected packets are sent.
    pub const SECURE: u8 = 1 << 5;
}

/// The hot line of packets that go to the peer.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(super) struct Send {
    pub(super) port: MediaPort,
    pub(super) state: u8,
    /// The SSRC the peer sees, whoever is the source.
    pub(super) ssrc: u32,
    /// The source's SSRC that the offsets belong to.
    pub(super) source_ssrc: u32,
    /// Added to the source's sequence numbers.
    pub(super) sequence_offset: u16,
    /// Highest sequence number sent.
    pub(super) sequence: u16,
    /// Added to the source's timestamps.
    pub(super) timestamp_offset: u32,
    /// Timestamp of the packet with the highest sequence number.
    pub(super) timestamp: u32,
    /// When the last packet went, in ms of the table's clock.
    pub(super) last_ms: u32,
    pub(super) packets: u64,
    /// Payload bytes.
    pub(super) bytes: u64,
}

// A relayed packet touches two lines of the table: one of the leg it came
// from, one of the leg it goes to. 4000 legs are half a megabyte.
const _: () = assert!(size_of::<Receive>() == CACHE_LINE);
const _: () = assert!(size_of::<Send>() == CACHE_LINE);

/// What no packet of a settled stream touches.
#[derive(Debug)]
pub(super) struct Cold {
    pub(super) options: LegOptions,
    pub(super) remote: Option<Described>,
    /// Sequence number a restarted source must send next (RFC 3550 A.1).
    pub(super) restart_at: Option<u16>,
    /// Extended sequence number of the SSRC's first packet.
    pub(super) first_sequence: u32,
    /// The SSRC left behind, and when, in ms of the table's clock.
    pub(super) left_ssrc: Option<(u32, u32)>,
    /// Packets and losses of SSRCs left behind.
    pub(super) packets_before: u64,
    pub(super) lost_before: u64,
    /// Silence counts from here at the earliest, in ms of the table's clock.
    pub(super) quiet_since_ms: u32,
    pub(super) reported: Option<Reported>,
    pub(super) reports: Reports,
}

/// The peer, once described.
#[derive(Debug)]
pub(super) struct Described {
    /// Where RTP comes from and goes to.
    pub(super) source: Source,
    /// Where RTCP goes to.
    pub(super) rtcp: SocketAddr,
    pub(super) latch: Latch,
    pub(super) held: bool,
    pub(super) payloads: Vec<PayloadMapping>,
}

impl Receive {
    pub(super) fn new() -> Receive {
        Receive {
            sink: NOBODY,
            ssrc: 0,
            state: 0,
            clock_payload: 0,
            clock_rate: 0,
            payloads: PayloadMap::EMPTY,
            sequence: Sequence::default(),
            jitter: Jitter::default(),
            last_ms: 0,
            bytes: 0,
        }
    }

    #[inline]
    pub(super) fn is(&self, bits: u16) -> bool {
        self.state & bits == bits
    }

    /// Whether any of the bits is set.
    #[inline]
    pub(super) fn is_any(&self, bits: u16) -> bool {
        self.state & bits != 0
    }

    pub(super) fn set(&mut self, bit: u16, on: bool) {
        self.state = if on {
            self.state | bit
        } else {
            self.state & !bit
        };
    }
}

impl Send {
    pub(super) fn new(port: MediaPort, ssrc: u32, sequence: u16, timestamp: u32) -> Send {
        Send {
            port,
            state: 0,
            ssrc,
            source_ssrc: 0,
            sequence_offset: 0,
            sequence,
            timestamp_offset: 0,
            timestamp,
            last_ms: 0,
            packets: 0,
            bytes: 0,
        }
    }

    #[inline]
    pub(super) fn is(&self, bits: u8) -> bool {
        self.state & bits == bits
    }

    pub(super) fn set(&mut self, bit: u8, on: bool) {
        self.state = if on {
            self.state | bit
        } else {
            self.state & !bit
        };
    }
}
