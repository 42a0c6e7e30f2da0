//! The choice of backend, and what both of them call.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::poll::PollBackend;
use super::uring::UringBackend;
use super::waker::Waker;
use crate::ids::{ListenerId, MediaPort};
use crate::media::packet::{DropCounters, Packet};

/// Which backend to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// io_uring, or poll where the system refuses io_uring (containers do by
    /// default, kernels before 6.1 lack what is needed).
    #[default]
    Auto,
    /// io_uring or an error.
    Uring,
    /// epoll, recvmmsg and sendmmsg.
    Poll,
}

/// Sizes of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendSettings {
    /// Slots for media datagrams that are under way between receive and send,
    /// at most 32768. When all are taken, datagrams wait in their sockets.
    pub media_slots: u16,
    /// Slots of 64 KiB for SIP datagrams, at most 32768.
    pub signalling_slots: u16,
    /// Entries of io_uring's submission queue.
    pub ring_entries: u32,
    /// Media sockets at once; a port index beyond is refused.
    pub media_ports: u32,
    /// SIP datagrams of one listener waiting to be sent; more are dropped
    /// (and counted): SIP over UDP retransmits.
    pub signalling_queue: usize,
    /// How long io_uring's wait gathers packets where many come, so that they
    /// share a wake-up; zero hands each over as it comes. Kernels before 6.12
    /// cannot, nor can the poll backend.
    pub gather: Duration,
}

impl Default for BackendSettings {
    fn default() -> Self {
        BackendSettings {
            media_slots: 4096,
            signalling_slots: 64,
            ring_entries: 1024,
            media_ports: 65536,
            signalling_queue: 4096,
            gather: Duration::from_micros(500),
        }
    }
}

/// What a shard does with what comes in. Called from [`Backend::turn`].
pub trait Core {
    /// Up to [`BATCH`](crate::media::packet::BATCH) packets that came in
    /// together, at `now`. Sets the verdict of each.
    fn media_batch(&mut self, now: Instant, batch: &mut [Packet<'_>]);

    /// A datagram on a SIP socket.
    fn signalling(
        &mut self,
        now: Instant,
        listener: ListenerId,
        source: SocketAddr,
        datagram: &[u8],
    );

    /// Something sent from a SIP socket did not arrive: the destination where
    /// the kernel said which.
    fn signalling_error(
        &mut self,
        now: Instant,
        listener: ListenerId,
        destination: Option<SocketAddr>,
    );
}

/// Totals of a backend since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IoCounters {
    /// Turns that ended.
    pub turns: u64,
    /// Media datagrams received.
    pub media_received: u64,
    /// Media datagrams dropped here, by reason: the ones that never reached
    /// the core, and the ones that could not be sent.
    pub drops: DropCounters,
    /// ICMP errors on media sockets (the peer's port is closed).
    pub media_icmp_errors: u64,
    /// Times that a receive found no free slot.
    pub slots_exhausted: u64,
    /// Receives that ended and were started again.
    pub rearms: u64,
    /// Media sockets that the kernel refused to connect; they are sent to by
    /// address.
    pub connect_failures: u64,
    /// Media datagrams of the gateway's own that were sent.
    pub media_generated: u64,
    /// SIP datagrams received.
    pub signalling_received: u64,
    /// SIP datagrams sent.
    pub signalling_sent: u64,
    /// SIP datagrams not sent because the queue was full.
    pub signalling_queue_full: u64,
    /// SIP datagrams that the kernel refused, or that came back as ICMP errors.
    pub signalling_errors: u64,
    /// SIP datagrams longer than a slot.
    pub signalling_truncated: u64,
}

/// One shard's sockets and the wait for them.
#[derive(Debug)]
pub enum Backend {
    /// io_uring.
    Uring(Box<UringBackend>),
    /// epoll.
    Poll(Box<PollBackend>),
}

/// Calls the same method on whichever backend it is.
macro_rules! either {
    ($self:expr, $backend:ident => $call:expr) => {
        match $self {
            Backend::Uring($backend) => $call,
            Backend::Poll($backend) => $call,
        }
    };
}

impl Backend {
    /// A backend without sockets. It may be made on one thread and used on
    /// another, but is used on one only from its first turn on.
    pub fn new(choice: BackendChoice, settings: BackendSettings) -> io::Result<Backend> {
        Backend::new_with(choice, settings, UringBackend::new)
    }

    /// The same with the way to make the io_uring backend handed in.
    fn new_with(
        choice: BackendChoice,
        settings: BackendSettings,
        uring: impl FnOnce(BackendSettings) -> io::Result<UringBackend>,
    ) -> io::Result<Backend> {
        let poll = || PollBackend::new(settings).map(|poll| Backend::Poll(Box::new(poll)));
        let uring = |settings| uring(settings).map(|uring| Backend::Uring(Box::new(uring)));
        match choice {
            BackendChoice::Poll => poll(),
            BackendChoice::Uring => uring(settings),
            BackendChoice::Auto => uring(settings).or_else(|error| {
                tracing::info!(%error, "io_uring is refused here: using the poll backend");
                poll()
            }),
        }
    }

    /// `"uring"` or `"poll"`.
    pub fn name(&self) -> &'static str {
        match self {
            Backend::Uring(_) => "uring",
            Backend::Poll(_) => "poll",
        }
    }

    /// Ends this backend's wait from another thread.
    pub fn waker(&self) -> Waker {
        either!(self, backend => backend.waker())
    }

    /// Takes a SIP socket in.
    pub fn add_signalling(&mut self, listener: ListenerId, socket: UdpSocket) -> io::Result<()> {
        either!(self, backend => backend.add_signalling(listener, socket))
    }

    /// Queues a SIP datagram; it goes out with the next turn.
    pub fn send_signalling(
        &mut self,
        listener: ListenerId,
        destination: SocketAddr,
        payload: Bytes,
    ) {
        either!(self, backend => backend.send_signalling(listener, destination, payload));
    }

    /// Takes a media socket in, in place of one the port may have had. Fails
    /// when the index is beyond the configured number.
    pub fn add_media(&mut self, port: MediaPort, socket: UdpSocket) -> io::Result<()> {
        either!(self, backend => backend.add_media(port, socket))
    }

    /// Connects a media socket to its peer: only what that one sends comes in,
    /// and `to: None` means that one. A kernel that refuses is no error: the
    /// socket stays open and is sent to by address. Ignores an unknown port.
    pub fn connect_media(&mut self, port: MediaPort, peer: SocketAddr) {
        either!(self, backend => backend.connect_media(port, peer));
    }

    /// Undoes [`connect_media`](Self::connect_media).
    pub fn disconnect_media(&mut self, port: MediaPort) {
        either!(self, backend => backend.disconnect_media(port));
    }

    /// Sends one datagram of the gateway's own out of a media socket, at once;
    /// `to: None` means the connected peer. What the kernel does not take is
    /// dropped and counted: whoever made it repeats it.
    pub fn send_media(&mut self, port: MediaPort, to: Option<SocketAddr>, payload: &[u8]) {
        either!(self, backend => backend.send_media(port, to, payload));
    }

    /// Closes a media socket. What is still under way for it reaches nobody,
    /// also when the index is used again at once.
    pub fn remove_media(&mut self, port: MediaPort) {
        either!(self, backend => backend.remove_media(port));
    }

    /// Gives a media socket away, as it is; `None` for an unknown port. What is
    /// still under way for it here reaches nobody.
    pub fn release_media(&mut self, port: MediaPort) -> Option<UdpSocket> {
        either!(self, backend => backend.release_media(port))
    }

    /// Sends what is queued, waits until anything comes, a wake, or the
    /// deadline, and hands what came to `core`. May return earlier than the
    /// deadline with nothing done. An error here is the backend's end.
    pub fn turn(&mut self, deadline: Option<Instant>, core: &mut impl Core) -> io::Result<()> {
        either!(self, backend => backend.turn(deadline, core))
    }

    /// Totals.
    pub fn counters(&self) -> &IoCounters {
        either!(self, backend => backend.counters())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(_: BackendSettings) -> io::Result<UringBackend> {
        Err(io::Error::from_raw_os_error(libc::EPERM))
    }

    #[test]
    fn auto_falls_back_to_poll_where_io_uring_is_refused() {
        let settings = BackendSettings::default();
        let backend = Backend::new_with(BackendChoice::Auto, settings, refused).expect("made");
        assert_eq!(backend.name(), "poll");
    }

    #[test]
    fn asking_for_io_uring_where_it_is_refused_is_an_error() {
        let settings = BackendSettings::default();
        let error = Backend::new_with(BackendChoice::Uring, settings, refused).expect_err("error");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
}
