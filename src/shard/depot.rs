//! Media sockets on their way from one shard to another: whoever gives a pair
//! away puts it here before it tells of it, and whoever is told takes it.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The pairs that are under way, of all shards, by their RTP port. There are
/// never more than ports.
#[derive(Debug, Clone, Default)]
pub struct Depot(Arc<Mutex<HashMap<u16, [UdpSocket; 2]>>>);

impl Depot {
    /// Puts the sockets for RTP and RTCP down.
    pub fn put(&self, rtp_port: u16, pair: [UdpSocket; 2]) {
        self.pairs().insert(rtp_port, pair);
    }

    /// Takes them up.
    pub fn take(&self, rtp_port: u16) -> Option<[UdpSocket; 2]> {
        self.pairs().remove(&rtp_port)
    }

    fn pairs(&self) -> MutexGuard<'_, HashMap<u16, [UdpSocket; 2]>> {
        // The table is whole whatever its last user died of.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
