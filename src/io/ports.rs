//! The shard's slice of the RTP port range: pairs of an even port for RTP and
//! the next one for RTCP (RFC 3550 section 11).

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::sockets::bind_media;

/// Why there is no pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Every pair is in use, resting, or refused by the system.
    #[error("all RTP ports of this shard are in use")]
    Exhausted,
}

/// The two bound sockets of a leg.
#[derive(Debug)]
pub struct PortPair {
    /// Bound to `rtp_port`.
    pub rtp_socket: UdpSocket,
    /// Bound to `rtp_port + 1`.
    pub rtcp_socket: UdpSocket,
    /// Even.
    pub rtp_port: u16,
}

/// Hands out pairs of one shard's slice of the range.
#[derive(Debug)]
pub struct PortPool {
    /// Free since ever or rested enough, longest first.
    free: VecDeque<u16>,
    /// Given back, with the moment from which they may be used; in that order.
    resting: VecDeque<(Instant, u16)>,
    in_use: HashSet<u16>,
    reuse_delay: Duration,
    pairs: usize,
    /// RTP port of the range's first pair.
    first: u32,
    shard: u8,
    shards: u8,
}

impl PortPool {
    /// The pairs of `range` that belong to `shard` of `shards`: every
    /// `shards`-th pair, so that no two shards share one. A range that starts
    /// odd loses its first port. A pair given back rests for `reuse_delay`, so
    /// that packets still under way do not reach the next call.
    pub fn new(
        range: RangeInclusive<u16>,
        shard: u8,
        shards: u8,
        reuse_delay: Duration,
    ) -> PortPool {
        let first = u32::from(*range.start()).next_multiple_of(2);
        let last = u32::from(*range.end());
        let step = 2 * usize::from(shards.max(1));
        let free: VecDeque<u16> = (first + 2 * u32::from(shard)..last)
            .step_by(step)
            .filter_map(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0)
            .collect();
        PortPool {
            pairs: free.len(),
            free,
            resting: VecDeque::new(),
            in_use: HashSet::new(),
            reuse_delay,
            first,
            shard,
            shards: shards.max(1),
        }
    }

    /// The shard whose slice this pair is of, where that is another's: a leg
    /// may have moved with its pair.
    pub fn foreign(&self, rtp_port: u16) -> Option<u8> {
        let place = u32::from(rtp_port).checked_sub(self.first)? / 2;
        let shard = (place % u32::from(self.shards)) as u8;
        (shard != self.shard).then_some(shard)
    }

    /// Binds the next free pair at this address. A pair that somebody else has
    /// goes to the end of the queue and the next one is tried; where the system
    /// refuses for another reason (no more files), no other would be granted.
    pub fn open_pair(&mut self, now: Instant, bind: IpAddr) -> Result<PortPair, PortError> {
        while let Some(&(from, port)) = self.resting.front()
            && from <= now
        {
            self.resting.pop_front();
            self.free.push_back(port);
        }
        for _ in 0..self.free.len() {
            let Some(rtp_port) = self.free.pop_front() else {
                break;
            };
            let rtp = bind_media(SocketAddr::new(bind, rtp_port));
            let rtcp = bind_media(SocketAddr::new(bind, rtp_port + 1));
            let (rtp_socket, rtcp_socket) = match (rtp, rtcp) {
                (Ok(rtp), Ok(rtcp)) => (rtp, rtcp),
                (Err(error), _) | (_, Err(error)) if is_taken(&error) => {
                    self.free.push_back(rtp_port);
                    continue;
                }
                (Err(error), _) | (_, Err(error)) => {
                    tracing::warn!(%error, rtp_port, "cannot bind an RTP port pair");
                    self.free.push_front(rtp_port);
                    break;
                }
            };
            self.in_use.insert(rtp_port);
            return Ok(PortPair {
                rtp_socket,
                rtcp_socket,
                rtp_port,
            });
        }
        Err(PortError::Exhausted)
    }

    /// Takes a pair back; its sockets must be closed by now or soon. A port
    /// that was not handed out is ignored.
    pub fn release(&mut self, now: Instant, rtp_port: u16) {
        if self.in_use.remove(&rtp_port) {
            self.resting.push_back((now + self.reuse_delay, rtp_port));
        }
    }

    /// Pairs handed out.
    pub fn in_use(&self) -> usize {
        self.in_use.len()
    }

    /// Pairs in the slice.
    pub fn capacity(&self) -> usize {
        self.pairs
    }
}

/// Whether another port may still be granted.
fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const REST: Duration = Duration::from_secs(5);

    fn ports(pool: &PortPool) -> Vec<u16> {
        pool.free.iter().copied().collect()
    }

    #[test]
    fn shards_share_the_range_without_overlap() {
        let pool = |shard| PortPool::new(39001..=39010, shard, 2, REST);
        assert_eq!(ports(&pool(0)), [39002, 39006]);
        assert_eq!(ports(&pool(1)), [39004, 39008]);
        let foreign = |port| (pool(0).foreign(port), pool(1).foreign(port));
        assert_eq!(foreign(39002), (None, Some(0)));
        assert_eq!(foreign(39008), (Some(1), None));
    }

    #[test]
    fn an_rtp_port_without_room_for_its_rtcp_port_is_left_out() {
        assert_eq!(ports(&PortPool::new(40000..=40002, 0, 1, REST)), [40000]);
        assert_eq!(ports(&PortPool::new(65534..=65535, 0, 1, REST)), [65534]);
        assert!(ports(&PortPool::new(40000..=40000, 0, 1, REST)).is_empty());
    }

    #[test]
    fn a_pair_given_back_rests_before_it_is_used_again() {
        let now = Instant::now();
        let mut pool = PortPool::new(31100..=31101, 0, 1, REST);
        let pair = pool.open_pair(now, LOOPBACK).expect("one pair");
        assert_eq!(pair.rtp_port, 31100);
        assert_eq!(
            pool.open_pair(now, LOOPBACK).err(),
            Some(PortError::Exhausted)
        );
        drop(pair);
        pool.release(now, 31100);
        pool.release(now, 31100);
        let early = now + REST - Duration::from_millis(1);
        assert!(pool.open_pair(early, LOOPBACK).is_err());
        assert!(pool.open_pair(now + REST, LOOPBACK).is_ok());
        assert!(pool.open_pair(now + REST, LOOPBACK).is_err());
    }

    #[test]
    fn a_pair_the_system_refuses_is_skipped() {
        let now = Instant::now();
        let taken = UdpSocket::bind((LOOPBACK, 31203)).expect("bound");
        let mut pool = PortPool::new(31202..=31205, 0, 1, REST);
        assert_eq!(
            pool.open_pair(now, LOOPBACK).expect("a pair").rtp_port,
            31204
        );
        drop(taken);
        assert_eq!(
            pool.open_pair(now, LOOPBACK).expect("a pair").rtp_port,
            31202
        );
    }
}
