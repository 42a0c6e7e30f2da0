//! Whose packets count. RTP has no handshake, so the source address is the
//! only thing that says whose a packet is: it is the one in the SDP, or, where
//! that one cannot be right (a private address behind a NAT), one learned from
//! the first packets. Once locked, only a new SDP unlocks it.

use std::net::SocketAddr;

/// What to believe of the address in the peer's SDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latch {
    /// It is where the packets come from: address and port must match.
    Strict,
    /// The packets may come from somewhere else; the first ones tell.
    Learn,
}

/// Packets in a row that a learned source must send before it is locked.
/// Relaying starts with the first.
const LOCK_AFTER: u8 = 3;

/// Where the peer's RTP comes from, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Only the SDP's own address will do.
    Expected { address: SocketAddr },
    /// Not known yet; the best candidate so far.
    Learning {
        sdp: SocketAddr,
        candidate: Option<Candidate>,
    },
    /// Known; `described` is what the SDP said.
    Locked {
        address: SocketAddr,
        described: SocketAddr,
    },
    /// ICE has said whose packets count before they come here.
    Ice { selected: SocketAddr },
}

/// A source that may be the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) address: SocketAddr,
    in_a_row: u8,
}

/// What the source of a packet means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is not the peer.
    Refuse,
    /// Relay it; the source is not locked yet.
    Accept,
    /// Relay it; with this packet the source is locked.
    Lock,
}

/// How well a source matches the SDP; a better match displaces a worse one.
pub(super) fn rank(source: SocketAddr, sdp: SocketAddr) -> u8 {
    if source == sdp {
        2
    } else if source.ip() == sdp.ip() {
        1
    } else {
        0
    }
}

impl Source {
    pub(super) fn new(sdp: SocketAddr, latch: Latch) -> Source {
        match latch {
            Latch::Strict => Source::Expected { address: sdp },
            Latch::Learn => Source::Learning {
                sdp,
                candidate: None,
            },
        }
    }

    /// Judges a packet from `from`. A candidate that stays silent is displaced
    /// by the next source that matches the SDP no worse.
    pub(super) fn judge(&mut self, from: SocketAddr) -> Decision {
        match self {
            Source::Locked { address, .. } if *address == from => Decision::Accept,
            Source::Locked { .. } => Decision::Refuse,
            Source::Expected { address } if *address == from => {
                *self = Source::Locked {
                    address: from,
                    described: from,
                };
                Decision::Lock
            }
            Source::Expected { .. } => Decision::Refuse,
            Source::Ice { .. } => Decision::Accept,
            Source::Learning { sdp, candidate } => {
                let in_a_row = match candidate {
                    Some(known) if known.address == from => known.in_a_row + 1,
                    Some(known) if rank(from, *sdp) < rank(known.address, *sdp) => {
                        return Decision::Refuse;
                    }
                    Some(_) | None => 1,
                };
                if in_a_row >= LOCK_AFTER {
                    *self = Source::Locked {
                        address: from,
                        described: *sdp,
                    };
                    return Decision::Lock;
                }
                *candidate = Some(Candidate {
                    address: from,
                    in_a_row,
                });
                Decision::Accept
            }
        }
    }

    /// The peer has proved by other means that this is its address: what is
    /// still being learned is locked to it. False where nothing is learned.
    pub(super) fn prove(&mut self, peer: SocketAddr) -> bool {
        let Source::Learning { sdp, .. } = *self else {
            return false;
        };
        *self = Source::Locked {
            address: peer,
            described: sdp,
        };
        true
    }

    /// Where to send: to the source, once there is one, else to the SDP's
    /// address.
    pub(super) fn destination(&self) -> SocketAddr {
        match self {
            Source::Expected { address } | Source::Locked { address, .. } => *address,
            Source::Learning { sdp, candidate } => candidate.map_or(*sdp, |c| c.address),
            Source::Ice { selected } => *selected,
        }
    }

    /// Whether RTCP, which may have a port of its own, is the peer's.
    pub(super) fn is_host(&self, from: SocketAddr) -> bool {
        match self {
            Source::Ice { .. } => true,
            Source::Expected { .. } | Source::Locked { .. } | Source::Learning { .. } => {
                self.destination().ip() == from.ip()
            }
        }
    }

    /// Learning again after a new description: `None` when that names another
    /// address than the one before, and nothing learned is worth keeping.
    pub(super) fn relearn(&self, sdp: SocketAddr) -> Option<Source> {
        let known = match self {
            Source::Learning { sdp: old, .. } if *old != sdp => return None,
            Source::Learning { candidate, .. } => candidate.map(|c| c.address),
            Source::Locked { described, .. } if *described != sdp => return None,
            Source::Locked { address, .. } => Some(*address),
            Source::Expected { .. } | Source::Ice { .. } => None,
        };
        Some(Source::Learning {
            sdp,
            candidate: known.map(|address| Candidate {
                address,
                in_a_row: 0,
            }),
        })
    }

    pub(super) fn is_locked_to(&self, address: SocketAddr) -> bool {
        match self {
            Source::Locked { address: known, .. } => *known == address,
            Source::Expected { .. } | Source::Learning { .. } | Source::Ice { .. } => false,
        }
    }

    pub(super) fn is_locked(&self) -> bool {
        match self {
            Source::Locked { .. } => true,
            Source::Expected { .. } | Source::Learning { .. } | Source::Ice { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn strict_takes_the_address_of_the_sdp_and_no_other() {
        let mut source = Source::new(at("192.0.2.1:4000"), Latch::Strict);
        assert_eq!(source.judge(at("192.0.2.1:4002")), Decision::Refuse);
        assert_eq!(source.judge(at("192.0.2.2:4000")), Decision::Refuse);
        assert_eq!(source.judge(at("192.0.2.1:4000")), Decision::Lock);
        assert_eq!(source.judge(at("192.0.2.1:4000")), Decision::Accept);
        assert_eq!(source.judge(at("192.0.2.2:4000")), Decision::Refuse);
    }

    #[test]
    fn learning_relays_from_the_first_packet_and_locks_with_the_third() {
        let mut source = Source::new(at("10.0.0.1:4000"), Latch::Learn);
        let nat = at("198.51.100.7:61000");
        assert_eq!(source.destination(), at("10.0.0.1:4000"));
        assert_eq!(source.judge(nat), Decision::Accept);
        assert_eq!(source.destination(), nat);
        assert_eq!(source.judge(nat), Decision::Accept);
        assert_eq!(source.judge(nat), Decision::Lock);
        assert_eq!(source.judge(at("10.0.0.1:4000")), Decision::Refuse);
    }

    #[test]
    fn a_source_with_the_ip_of_the_sdp_displaces_a_stranger_and_not_the_other_way() {
        let mut source = Source::new(at("10.0.0.1:4000"), Latch::Learn);
        assert_eq!(source.judge(at("203.0.113.5:9")), Decision::Accept);
        assert_eq!(source.judge(at("10.0.0.1:5000")), Decision::Accept);
        assert_eq!(source.judge(at("203.0.113.5:9")), Decision::Refuse);
        assert_eq!(source.judge(at("10.0.0.1:4000")), Decision::Accept);
        assert_eq!(source.judge(at("10.0.0.1:5000")), Decision::Refuse);
        assert_eq!(source.judge(at("10.0.0.1:4000")), Decision::Accept);
        assert_eq!(source.judge(at("10.0.0.1:4000")), Decision::Lock);
    }

    #[test]
    fn learning_again_goes_on_with_what_was_known_until_another_source_shows_up() {
        let mut source = Source::new(at("10.0.0.1:4000"), Latch::Learn);
        let (nat, moved) = (at("198.51.100.7:61000"), at("198.51.100.9:2000"));
        for _ in 0..3 {
            source.judge(nat);
        }
        let mut again = source.relearn(at("10.0.0.1:4000")).expect("same address");
        assert_eq!(again.destination(), nat);
        assert!(!again.is_locked());
        again.judge(moved);
        assert_eq!(again.destination(), moved);
        assert_eq!(source.relearn(at("10.0.0.2:4000")), None);
    }

    #[test]
    fn sources_that_take_turns_never_lock() {
        let mut source = Source::new(at("10.0.0.1:4000"), Latch::Learn);
        for _ in 0..50 {
            assert_eq!(source.judge(at("203.0.113.5:9")), Decision::Accept);
            assert_eq!(source.judge(at("203.0.113.6:9")), Decision::Accept);
        }
        assert!(!source.is_locked());
    }
}
