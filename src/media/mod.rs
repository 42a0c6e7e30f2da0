//! RTP and RTCP without sockets: the leg table of one shard.
//!
//! `io` hands [`table::Table::process_batch`] up to 64 packets at a time; each
//! comes back with a [`packet::Verdict`]. The packet's port names the leg it
//! came in on, the leg is linked to another (or to itself: an echo), and the
//! packet is rewritten in place so that every leg sees one continuous stream
//! of one SSRC, whoever feeds it. What must happen outside (connect a socket)
//! is a [`table::Notice`], polled between batches.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`packet`] | the slot a datagram lives in, and the verdict on it |
//! | [`drop_reason`] | why packets are dropped; the labels of the metric |
//! | [`rtp`], [`rtcp`] | the two formats |
//! | [`feedback`] | what of a peer's RTCP passes on to the other |
//! | [`reports`] | each leg's own reports, and what the peer's say |
//! | [`payload`] | payload type numbers by codec |
//! | [`leg`] | what is known of one participant: hot lines and cold line |
//! | [`latch`] | whose packets count: the source rules |
//! | [`tap`], [`own_stream`] | the way to sound: payloads heard, payloads of our own |
//! | [`carry`] | a leg that goes on in another shard's table |
//! | [`table`] | open, link, close: everything that is not per packet |
//! | [`batch`] | everything that is per packet |
//! | [`stun`], [`ice`] | connectivity checks, and the lite agent that answers them |
//! | [`shared`] | legs that share one port, found by user name and address |
//! | [`dtls`] | keys by handshake, over an engine that is handed in |
//! | `security` | which legs are protected, and their keys |
//! | [`generated`] | datagrams and deadlines of the table's own |
//! | [`srtp`] | RFC 3711 and RFC 7714 |
//! | [`stats`] | RFC 3550 A.3 and A.8 |

pub mod batch;
pub mod carry;
pub mod drop_reason;
pub mod dtls;
pub mod feedback;
pub mod generated;
mod ice;
pub mod latch;
pub mod leg;
pub mod own_stream;
pub mod packet;
pub mod payload;
pub mod reports;
pub mod rtcp;
pub mod rtp;
mod security;
mod shared;
pub mod srtp;
pub mod stats;
pub mod stun;
pub mod table;
#[cfg(test)]
mod table_tests;
pub mod tap;

pub use carry::CarriedLeg;
pub use drop_reason::{DropCounters, DropReason};
pub use dtls::{DtlsEngine, DtlsKeys, DtlsSession, DtlsState};
pub use generated::Transmit;
pub use latch::Latch;
pub use leg::{LegOptions, Remote};
pub use own_stream::{OwnPacket, OwnPayload};
pub use packet::{Packet, Verdict};
pub use payload::PayloadMapping;
pub use reports::SynchronizationSource;
pub use stats::{LegStats, Reported};
pub use table::{Counters, Notice, Table, TableSettings};
pub use tap::{Heard, HeardPackets};
