//! One media socket's receive, and how it changes with connecting.
//!
//! Unconnected, it receives with the source address. To connect, that receive
//! is cancelled; what strangers had queued until then is drained, still with
//! addresses; and only when the socket was seen empty is it received without
//! addresses, since then nobody but the peer can be in it.

use std::net::{SocketAddr, UdpSocket};

use super::token::{Kind, Token};

/// Errors in a row that no packet and no ICMP message explains, after which a
/// port is given up rather than armed for ever.
const MAX_FAILURES: u8 = 16;

/// A media socket.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) socket: UdpSocket,
    pub(super) generation: u32,
    /// The receive that is under way, if one is.
    pub(super) armed: Option<Kind>,
    /// That receive was told to stop.
    pub(super) stopping: bool,
    /// Who `to: None` means.
    pub(super) peer: Option<SocketAddr>,
    /// The kernel knows the peer.
    pub(super) connected: bool,
    /// The drain that is under way has found something.
    pub(super) found: bool,
    failures: u8,
}

impl Port {
    pub(super) fn new(socket: UdpSocket, generation: u32) -> Port {
        Port {
            socket,
            generation,
            armed: None,
            stopping: false,
            peer: None,
            connected: false,
            found: false,
            failures: 0,
        }
    }

    /// Whether a completion is of this socket's present receive.
    #[inline]
    pub(super) fn owns(&self, token: Token) -> bool {
        self.generation == token.generation && self.armed == Some(token.kind)
    }

    /// Whether what comes without an address is surely from the peer.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.armed == Some(Kind::ReceivePeer) && !self.stopping
    }

    /// The receive to start after one has ended with this result, or first of
    /// all. `None`: the port is given up.
    pub(super) fn next_receive(&mut self, ended: Option<(Kind, i32)>) -> Option<Kind> {
        let result = ended.map_or(0, |(_, result)| result);
        if result >= 0 || is_explained(result) {
            self.failures = 0;
        } else {
            self.failures += 1;
            if self.failures >= MAX_FAILURES {
                return None;
            }
        }
        let found = std::mem::take(&mut self.found);
        if !self.connected {
            return Some(Kind::ReceiveAny);
        }
        Some(match ended {
            // Told to stop while draining, it was connected anew. A drain that
            // found something says EAGAIN also when it has had enough for
            // once (32 datagrams): only one that found nothing says empty.
            Some((Kind::Drain, result)) if result == -libc::EAGAIN && !found && !self.stopping => {
                Kind::ReceivePeer
            }
            Some((Kind::ReceivePeer, _)) if !self.stopping => Kind::ReceivePeer,
            _ => Kind::Drain,
        })
    }
}

/// Whether this result of a receive is part of normal life.
fn is_explained(result: i32) -> bool {
    matches!(
        -result,
        libc::ECANCELED | libc::ENOBUFS | libc::EAGAIN | libc::EINTR
    ) || is_icmp(result)
}

/// Whether this result tells of an ICMP message (the kernel's mapping of
/// types and codes to errors).
pub(super) fn is_icmp(result: i32) -> bool {
    matches!(
        -result,
        libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EMSGSIZE
            | libc::EPROTO
            | libc::EACCES
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(connected: bool) -> Port {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let mut port = Port::new(socket, 1);
        port.connected = connected;
        port
    }

    #[test]
    fn an_open_port_receives_from_anybody_whatever_ended_before() {
        for ended in [
            None,
            Some((Kind::ReceiveAny, -libc::ENOBUFS)),
            Some((Kind::ReceivePeer, -libc::ECANCELED)),
            Some((Kind::Drain, -libc::EAGAIN)),
        ] {
            assert_eq!(port(false).next_receive(ended), Some(Kind::ReceiveAny));
        }
    }

    #[test]
    fn a_connected_port_is_drained_until_empty_before_addresses_are_left_out() {
        let steps = [
            ((Kind::ReceiveAny, -libc::ECANCELED), Kind::Drain),
            ((Kind::Drain, -libc::ENOBUFS), Kind::Drain),
            ((Kind::Drain, -libc::ECONNREFUSED), Kind::Drain),
            ((Kind::Drain, -libc::EAGAIN), Kind::ReceivePeer),
            ((Kind::ReceivePeer, -libc::ECONNREFUSED), Kind::ReceivePeer),
            ((Kind::ReceivePeer, 0), Kind::ReceivePeer),
        ];
        for (ended, next) in steps {
            assert_eq!(
                port(true).next_receive(Some(ended)),
                Some(next),
                "{ended:?}"
            );
        }
    }

    #[test]
    fn a_drain_that_found_something_is_followed_by_another() {
        let mut port = port(true);
        port.found = true;
        let ended = Some((Kind::Drain, -libc::EAGAIN));
        assert_eq!(port.next_receive(ended), Some(Kind::Drain));
        assert_eq!(port.next_receive(ended), Some(Kind::ReceivePeer));
    }

    #[test]
    fn a_port_connected_anew_is_drained_again() {
        let mut port = port(true);
        port.stopping = true;
        for ended in [
            (Kind::ReceivePeer, -libc::ECANCELED),
            (Kind::Drain, -libc::EAGAIN),
        ] {
            assert_eq!(port.next_receive(Some(ended)), Some(Kind::Drain));
        }
    }

    #[test]
    fn icmp_errors_never_end_a_port_and_unexplained_ones_do_in_the_end() {
        let mut port = port(false);
        for _ in 0..1000 {
            let ended = Some((Kind::ReceiveAny, -libc::ECONNREFUSED));
            assert_eq!(port.next_receive(ended), Some(Kind::ReceiveAny));
        }
        let ended = Some((Kind::ReceiveAny, -libc::EINVAL));
        for _ in 1..MAX_FAILURES {
            assert_eq!(port.next_receive(ended), Some(Kind::ReceiveAny));
        }
        assert_eq!(port.next_receive(ended), None);
    }
}
