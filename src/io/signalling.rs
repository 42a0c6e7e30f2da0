//! SIP sockets of the poll backend: their send queues and error queues.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use bytes::Bytes;

use super::backend::Core;
use super::sockets::{self, RAW_ADDRESS, RawAddress};
use crate::ids::ListenerId;

/// Longest SIP datagram: all that UDP can carry.
pub(super) const MAX_SIGNALLING: usize = 65536;

/// ICMP errors of one socket reported in one turn.
const MAX_ERRORS: usize = 64;

/// A send can be answered with the error of an earlier one; tried again this
/// often before the error is believed to be its own.
const SEND_ATTEMPTS: usize = 3;

/// What became of the first datagram of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendResult {
    Sent,
    /// The kernel will not send to this destination.
    Refused(SocketAddr),
    /// The socket's buffer is full; the datagram waits.
    Blocked,
}

/// The SIP sockets by listener, each with its bounded send queue.
#[derive(Debug)]
pub(super) struct Listeners {
    listeners: Vec<Option<Listener>>,
    limit: usize,
}

#[derive(Debug)]
struct Listener {
    socket: UdpSocket,
    queue: VecDeque<(SocketAddr, Bytes)>,
    blocked: bool,
}

impl Listeners {
    pub(super) fn new(limit: usize) -> Listeners {
        Listeners {
            listeners: Vec::new(),
            limit,
        }
    }

    pub(super) fn add(&mut self, listener: ListenerId, socket: UdpSocket) {
        let at = usize::from(listener.0);
        if at >= self.listeners.len() {
            self.listeners.resize_with(at + 1, || None);
        }
        self.listeners[at] = Some(Listener {
            socket,
            queue: VecDeque::new(),
            blocked: false,
        });
    }

    pub(super) fn fd(&self, listener: ListenerId) -> Option<RawFd> {
        let listener = self.listeners.get(usize::from(listener.0))?.as_ref()?;
        Some(listener.socket.as_raw_fd())
    }

    /// False when the queue is full or the listener unknown.
    pub(super) fn queue(
        &mut self,
        listener: ListenerId,
        destination: SocketAddr,
        payload: Bytes,
    ) -> bool {
        let limit = self.limit;
        match self.get_mut(listener) {
            Some(listener) if listener.queue.len() < limit => {
                listener.queue.push_back((destination, payload));
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.listeners
            .iter()
            .flatten()
            .all(|listener| listener.queue.is_empty())
    }

    /// Listeners that have something to send and room to send it.
    pub(super) fn waiting(&self) -> impl Iterator<Item = ListenerId> + use<> {
        let waiting: u128 = (0u32..)
            .zip(&self.listeners)
            .fold(0, |bits, (n, listener)| {
                let ready = listener
                    .as_ref()
                    .is_some_and(|l| !l.blocked && !l.queue.is_empty());
                bits | (u128::from(ready) << n.min(127))
            });
        (0..128u8)
            .filter(move |n| waiting >> n & 1 == 1)
            .map(ListenerId)
    }

    pub(super) fn unblock(&mut self, listener: ListenerId) {
        if let Some(listener) = self.get_mut(listener) {
            listener.blocked = false;
        }
    }

    /// Sends the first datagram of the queue; `None` when there is none.
    pub(super) fn send_next(&mut self, listener: ListenerId) -> Option<(SendResult, RawFd)> {
        let listener = self.get_mut(listener)?;
        let (destination, payload) = listener.queue.front()?;
        let destination = *destination;
        let mut result = SendResult::Refused(destination);
        for _ in 0..SEND_ATTEMPTS {
            match listener.socket.send_to(payload, destination) {
                Ok(_) => {
                    result = SendResult::Sent;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.blocked = true;
                    result = SendResult::Blocked;
                    break;
                }
                Err(_) => {}
            }
        }
        if result != SendResult::Blocked {
            listener.queue.pop_front();
        }
        Some((result, listener.socket.as_raw_fd()))
    }

    /// One datagram: its length, which is beyond the buffer's when it was cut,
    /// and its source. `Ok(None)`: an error of an earlier send was taken.
    pub(super) fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        let mut name = RawAddress::default();
        let mut name_len = RAW_ADDRESS as libc::socklen_t;
        // SAFETY: buffer and address are live and of the lengths given.
        let received = unsafe {
            libc::recvfrom(
                fd,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                (&raw mut name.storage).cast(),
                &mut name_len,
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock => Err(error),
                _ => Ok(None),
            };
        }
        Ok(name.decode().map(|source| (received as usize, source)))
    }

    /// Tells the core of every ICMP error the socket has kept; how many.
    pub(super) fn report_errors(
        fd: RawFd,
        now: Instant,
        listener: ListenerId,
        core: &mut impl Core,
    ) -> u64 {
        let mut count = 0;
        for _ in 0..MAX_ERRORS {
            let Some(destination) = sockets::take_icmp_error(fd) else {
                break;
            };
            core.signalling_error(now, listener, destination);
            count += 1;
        }
        count
    }

    fn get_mut(&mut self, listener: ListenerId) -> Option<&mut Listener> {
        self.listeners.get_mut(usize::from(listener.0))?.as_mut()
    }
}
