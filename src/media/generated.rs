//! Datagrams of the gateway's own, and the deadlines they come from.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::drop_reason::DropReason;
use super::table::Table;
use crate::ids::MediaPort;

/// Datagrams that wait for [`Table::poll_transmit`] at most; more are dropped
/// and counted: everything that is generated is also repeated.
const MAX_TRANSMITS: usize = 4096;

/// A datagram that answers no packet of its own batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Out of this socket,
    pub port: MediaPort,
    /// to this address; `None`: to the peer the socket is connected to.
    pub to: Option<SocketAddr>,
    /// its bytes.
    pub payload: Bytes,
}

impl Table {
    /// The next datagram to send, oldest first.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transport.transmits.pop_front()
    }

    /// When [`Table::handle_timeout`] has something to do. Handshakes have
    /// deadlines of their own, [`Table::next_handshake`].
    pub fn next_timeout(&mut self) -> Option<Instant> {
        let ice = self.transport.consent.next_deadline();
        let reports = self.transport.reports.next_deadline();
        ice.into_iter().chain(reports).min()
    }

    /// Does what is due at `now`: lost consent is told, reports are made.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire_consent(now);
        self.send_reports(now);
    }

    /// Queues a datagram of the gateway's own.
    pub(super) fn transmit(&mut self, transmit: Transmit) {
        if self.transport.transmits.len() < MAX_TRANSMITS {
            self.transport.transmits.push_back(transmit);
        } else {
            self.counters.drops.add(DropReason::TransmitQueueFull);
        }
    }
}
