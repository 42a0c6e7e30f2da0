//! A copy of every SIP message, on its way to the capture server.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::clock::WallClock;
use crate::ids::ListenerId;
use crate::io::hep::{HepCounters, HepExporter};
use crate::trace::{HepMessage, Way};

/// What one shard captures with.
pub struct Capture {
    /// Takes the copies.
    pub exporter: HepExporter,
    /// Tells the time of day.
    pub clock: WallClock,
    /// Our sockets as peers see them, by [`ListenerId`].
    pub listeners: Vec<SocketAddr>,
}

impl Capture {
    /// What became of the copies, of all shards.
    pub fn counters(&self) -> &HepCounters {
        self.exporter.counters()
    }

    /// Exports a message between a listener and a peer.
    pub fn message(
        &self,
        now: Instant,
        way: Way,
        listener: ListenerId,
        peer: SocketAddr,
        payload: Bytes,
    ) {
        let Some(&local) = self.listeners.get(usize::from(listener.0)) else {
            return;
        };
        let (source, destination) = match way {
            Way::Received => (peer, local),
            Way::Sent => (local, peer),
        };
        self.exporter.export(HepMessage {
            unix_us: self.clock.unix_micros(now),
            source,
            destination,
            payload,
        });
    }
}
