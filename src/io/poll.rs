//! The backend for where io_uring is refused: epoll, recvmmsg, sendmmsg.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Instant;

use bytes::Bytes;

use super::backend::{BackendSettings, Core, IoCounters};
use super::batch::PacketBatch;
use super::signalling::{Listeners, MAX_SIGNALLING, SendResult};
use super::sockets::{self, RAW_ADDRESS, RawAddress, checked};
use super::waker::Waker;
use crate::ids::{ListenerId, MediaPort};
use crate::media::packet::{BATCH, DropReason, MAX_DATAGRAM, Packet, SLOT_SIZE, Verdict};

/// Events taken from one epoll_wait.
const EVENTS: usize = 256;

/// Datagrams taken from one socket before the next one has its turn.
const BURST: usize = 8;

/// SIP datagrams taken from one socket in one turn.
const SIGNALLING_BURST: usize = 32;

/// What an event is about, in its upper eight bits.
const MEDIA: u64 = 0 << 56;
const SIGNALLING: u64 = 1 << 56;
const WAKER: u64 = 2 << 56;
const KIND: u64 = 0xff << 56;

/// epoll, recvmmsg and sendmmsg. See [`super::Backend`] for the methods.
#[derive(Debug)]
pub struct PollBackend {
    epoll: OwnedFd,
    waker: Waker,
    media: Vec<Option<MediaSocket>>,
    generation: u32,
    settings: BackendSettings,
    listeners: Listeners,
    events: Vec<libc::epoll_event>,
    lanes: Lanes,
    datagram: Vec<u8>,
    counters: IoCounters,
}

#[derive(Debug)]
struct MediaSocket {
    socket: UdpSocket,
    generation: u32,
    /// Who `to: None` means.
    peer: Option<SocketAddr>,
    connected: bool,
}

impl PollBackend {
    pub(super) fn new(settings: BackendSettings) -> io::Result<PollBackend> {
        // SAFETY: epoll_create1 takes no pointers.
        let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let waker = Waker::new()?;
        watch(
            &epoll,
            libc::EPOLL_CTL_ADD,
            waker.fd(),
            libc::EPOLLIN,
            WAKER,
        )?;
        Ok(PollBackend {
            epoll,
            waker,
            media: Vec::new(),
            generation: 0,
            settings,
            listeners: Listeners::new(settings.signalling_queue),
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS],
            lanes: Lanes::new(),
            datagram: vec![0; MAX_SIGNALLING],
            counters: IoCounters::default(),
        })
    }

    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    pub(super) fn counters(&self) -> &IoCounters {
        &self.counters
    }

    pub(super) fn add_signalling(
        &mut self,
        listener: ListenerId,
        socket: UdpSocket,
    ) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let token = SIGNALLING | u64::from(listener.0);
        watch(
            &self.epoll,
            libc::EPOLL_CTL_ADD,
            socket.as_raw_fd(),
            libc::EPOLLIN,
            token,
        )?;
        self.listeners.add(listener, socket);
        Ok(())
    }

    pub(super) fn send_signalling(
        &mut self,
        listener: ListenerId,
        destination: SocketAddr,
        payload: Bytes,
    ) {
        if !self.listeners.queue(listener, destination, payload) {
            self.counters.signalling_queue_full += 1;
        }
    }

    pub(super) fn add_media(&mut self, port: MediaPort, socket: UdpSocket) -> io::Result<()> {
        let at = port.0 as usize;
        if port.0 >= self.settings.media_ports {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        socket.set_nonblocking(true)?;
        if at >= self.media.len() {
            self.media.resize_with(at + 1, || None);
        }
        // 24 bits of generation fit beside the port in an event.
        self.generation = (self.generation + 1) & 0xff_ffff;
        watch(
            &self.epoll,
            libc::EPOLL_CTL_ADD,
            socket.as_raw_fd(),
            libc::EPOLLIN,
            MEDIA | (u64::from(self.generation) << 32) | u64::from(port.0),
        )?;
        self.media[at] = Some(MediaSocket {
            socket,
            generation: self.generation,
            peer: None,
            connected: false,
        });
        Ok(())
    }

    pub(super) fn connect_media(&mut self, port: MediaPort, peer: SocketAddr) {
        if let Some(media) = socket_of(&mut self.media, port) {
            media.peer = Some(peer);
            media.connected = sockets::connect(media.socket.as_raw_fd(), peer).is_ok();
            if !media.connected {
                self.counters.connect_failures += 1;
            }
        }
    }

    pub(super) fn disconnect_media(&mut self, port: MediaPort) {
        if let Some(media) = socket_of(&mut self.media, port) {
            media.peer = None;
            media.connected = false;
            // Fails on a socket that is not connected: nothing to undo then.
            let _ = sockets::disconnect(media.socket.as_raw_fd());
        }
    }

    pub(super) fn remove_media(&mut self, port: MediaPort) {
        // Closing the only descriptor of a socket takes it out of the epoll
        // set; events read before that carry the old generation.
        if let Some(place) = self.media.get_mut(port.0 as usize) {
            *place = None;
        }
    }

    pub(super) fn turn(
        &mut self,
        deadline: Option<Instant>,
        core: &mut impl Core,
    ) -> io::Result<()> {
        self.flush_signalling(core);
        let ready = self.wait(deadline)?;
        let mut now = Instant::now();
        for n in 0..ready {
            let event = self.events[n];
            let index = event.u64 as u32;
            match event.u64 & KIND {
                WAKER => {
                    self.waker.drain();
                    self.waker.seen();
                }
                SIGNALLING => self.signalling(now, ListenerId(index as u8), event.events, core),
                _ => {
                    let generation = (event.u64 >> 32) as u32 & 0xff_ffff;
                    self.receive(MediaPort(index), generation);
                    if self.lanes.filled + BURST > BATCH {
                        self.run_batch(now, core);
                        now = Instant::now();
                    }
                }
            }
        }
        self.run_batch(now, core);
        self.flush_signalling(core);
        self.counters.turns += 1;
        Ok(())
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<usize> {
        let timeout = match deadline {
            Some(at) => {
                let left = at.saturating_duration_since(Instant::now());
                // Rounded up: a turn that ends too early only turns again.
                i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
            }
            None => -1,
        };
        // SAFETY: `events` is live and as long as said.
        let ready = checked(unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS as i32,
                timeout,
            )
        });
        match ready {
            Ok(ready) => Ok(ready as usize),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Takes up to [`BURST`] datagrams from a media socket into the lanes.
    fn receive(&mut self, port: MediaPort, generation: u32) {
        let Some(media) = socket_of(&mut self.media, port) else {
            return;
        };
        if media.generation != generation {
            return;
        }
        match self.lanes.receive(media.socket.as_raw_fd(), port) {
            Ok(taken) => self.counters.media_received += taken as u64,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                // An ICMP error of a connected socket; reading it cleared it.
                _ => self.counters.media_icmp_errors += 1,
            },
        }
    }

    /// Hands what is in the lanes to the core and sends what comes of it.
    fn run_batch(&mut self, now: Instant, core: &mut impl Core) {
        let media = &mut self.media;
        let counters = &mut self.counters;
        self.lanes.run(now, core, counters, |port| {
            let media = socket_of(media, port)?;
            Some(Way {
                fd: media.socket.as_raw_fd(),
                // An address costs a route lookup that a connected socket saves.
                by_default: media.peer.filter(|_| !media.connected),
            })
        });
    }

    fn signalling(
        &mut self,
        now: Instant,
        listener: ListenerId,
        events: u32,
        core: &mut impl Core,
    ) {
        let Some(fd) = self.listeners.fd(listener) else {
            return;
        };
        if events & libc::EPOLLERR as u32 != 0 {
            self.counters.signalling_errors += Listeners::report_errors(fd, now, listener, core);
        }
        if events & libc::EPOLLOUT as u32 != 0 {
            self.listeners.unblock(listener);
            // Nothing to be done about a refusal: writes are tried every turn.
            let _ = self.want_writable(listener, fd, false);
        }
        for _ in 0..SIGNALLING_BURST {
            match Listeners::receive(fd, &mut self.datagram) {
                Ok(Some((len, source))) => {
                    self.counters.signalling_received += 1;
                    match self.datagram.get(..len) {
                        Some(datagram) => core.signalling(now, listener, source, datagram),
                        None => self.counters.signalling_truncated += 1,
                    }
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
    }

    fn flush_signalling(&mut self, core: &mut impl Core) {
        if self.listeners.is_idle() {
            return;
        }
        let now = Instant::now();
        for listener in self.listeners.waiting() {
            while let Some((result, fd)) = self.listeners.send_next(listener) {
                match result {
                    SendResult::Sent => self.counters.signalling_sent += 1,
                    SendResult::Refused(destination) => {
                        self.counters.signalling_errors += 1;
                        core.signalling_error(now, listener, Some(destination));
                    }
                    SendResult::Blocked => {
                        let _ = self.want_writable(listener, fd, true);
                        break;
                    }
                }
            }
        }
    }

    fn want_writable(&self, listener: ListenerId, fd: RawFd, on: bool) -> io::Result<()> {
        let events = libc::EPOLLIN | if on { libc::EPOLLOUT } else { 0 };
        let token = SIGNALLING | u64::from(listener.0);
        watch(&self.epoll, libc::EPOLL_CTL_MOD, fd, events, token)
    }
}

fn socket_of(media: &mut [Option<MediaSocket>], port: MediaPort) -> Option<&mut MediaSocket> {
    media.get_mut(port.0 as usize)?.as_mut()
}

fn watch(
    epoll: &OwnedFd,
    operation: libc::c_int,
    fd: RawFd,
    events: libc::c_int,
    token: u64,
) -> io::Result<()> {
    let mut event = libc::epoll_event {
        events: events as u32,
        u64: token,
    };
    // SAFETY: `event` is live; the kernel copies it.
    checked(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &mut event) }).map(|_| ())
}

/// How to send out of a port.
struct Way {
    fd: RawFd,
    /// Who `to: None` means, where the socket itself does not know.
    by_default: Option<SocketAddr>,
}

/// One lane per packet of a batch: its slot, its addresses, and the headers
/// that point the kernel at them. Made once; the headers' pointers stay right
/// because the boxes never move.
struct Lanes {
    slots: Box<[[u8; SLOT_SIZE]]>,
    ports: [MediaPort; BATCH],
    sources: Box<[RawAddress]>,
    targets: Box<[RawAddress]>,
    incoming: Box<[libc::mmsghdr]>,
    outgoing: Box<[libc::mmsghdr]>,
    incoming_parts: Box<[libc::iovec]>,
    outgoing_parts: Box<[libc::iovec]>,
    filled: usize,
}

// SAFETY: the raw pointers in the headers lead into the boxes beside them,
// which move with the struct and belong to it alone.
unsafe impl Send for Lanes {}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes")
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

impl Lanes {
    fn new() -> Lanes {
        // SAFETY: mmsghdr and iovec are plain data, for which all zeros is valid.
        let (header, part): (libc::mmsghdr, libc::iovec) = unsafe { std::mem::zeroed() };
        let mut lanes = Lanes {
            slots: vec![[0; SLOT_SIZE]; BATCH].into(),
            ports: [MediaPort(0); BATCH],
            sources: vec![RawAddress::default(); BATCH].into(),
            targets: vec![RawAddress::default(); BATCH].into(),
            incoming: vec![header; BATCH].into(),
            outgoing: vec![header; BATCH].into(),
            incoming_parts: vec![part; BATCH].into(),
            outgoing_parts: vec![part; BATCH].into(),
            filled: 0,
        };
        for n in 0..BATCH {
            let part = &mut lanes.incoming_parts[n];
            part.iov_base = lanes.slots[n].as_mut_ptr().cast();
            // The rest of the slot is room for a trailer.
            part.iov_len = MAX_DATAGRAM;
            let header = &mut lanes.incoming[n].msg_hdr;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut lanes.sources[n].storage).cast();
            let header = &mut lanes.outgoing[n].msg_hdr;
            header.msg_iov = &mut lanes.outgoing_parts[n];
            header.msg_iovlen = 1;
        }
        lanes
    }

    fn receive(&mut self, fd: RawFd, port: MediaPort) -> io::Result<usize> {
        let start = self.filled;
        let end = (start + BURST).min(BATCH);
        for header in &mut self.incoming[start..end] {
            header.msg_hdr.msg_namelen = RAW_ADDRESS as libc::socklen_t;
        }
        // SAFETY: the headers in start..end lead to slots and addresses of
        // this struct, of the lengths they say, and nobody else looks at them
        // during the call.
        let taken = checked(unsafe {
            libc::recvmmsg(
                fd,
                self.incoming[start..end].as_mut_ptr(),
                (end - start) as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        })? as usize;
        self.ports[start..start + taken].fill(port);
        self.filled += taken;
        Ok(taken)
    }

    fn run(
        &mut self,
        now: Instant,
        core: &mut impl Core,
        counters: &mut IoCounters,
        mut way: impl FnMut(MediaPort) -> Option<Way>,
    ) {
        let mut batch = PacketBatch::new();
        for (n, slot) in self.slots.iter_mut().take(self.filled).enumerate() {
            let header = &self.incoming[n];
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                counters.drops.add(DropReason::Truncated);
                continue;
            }
            let (len, source) = (header.msg_len as usize, self.sources[n].decode());
            // No more than BATCH lanes, so the batch has room.
            let _ = batch.push(Packet::new(self.ports[n], source, slot, len));
        }
        self.filled = 0;
        if batch.is_empty() {
            return;
        }
        core.media_batch(now, batch.as_mut_slice());

        // Packets in a row that leave by the same socket share a system call.
        let mut queued = 0;
        let mut queued_way: Option<(MediaPort, RawFd)> = None;
        for packet in batch.as_mut_slice() {
            let (port, to) = match packet.verdict {
                Verdict::Forward { port, to } => (port, to),
                Verdict::Drop(_) | Verdict::Consumed => continue,
            };
            let Some(way) = way(port) else {
                counters.drops.add(DropReason::StalePort);
                continue;
            };
            if let Some((last, fd)) = queued_way
                && last != port
            {
                send_all(fd, &mut self.outgoing[..queued], counters);
                queued = 0;
            }
            queued_way = Some((port, way.fd));
            let bytes = packet.bytes_mut();
            self.outgoing_parts[queued].iov_len = bytes.len();
            self.outgoing_parts[queued].iov_base = bytes.as_mut_ptr().cast();
            let header = &mut self.outgoing[queued].msg_hdr;
            match to.or(way.by_default) {
                Some(address) => {
                    self.targets[queued] = RawAddress::encode(address);
                    header.msg_name = (&raw mut self.targets[queued].storage).cast();
                    header.msg_namelen = self.targets[queued].len();
                }
                None => {
                    header.msg_name = ptr::null_mut();
                    header.msg_namelen = 0;
                }
            }
            queued += 1;
        }
        if let Some((_, fd)) = queued_way {
            send_all(fd, &mut self.outgoing[..queued], counters);
        }
    }
}

/// Sends all of them; one that fails is dropped and counted.
fn send_all(fd: RawFd, headers: &mut [libc::mmsghdr], counters: &mut IoCounters) {
    let mut rest = headers;
    while !rest.is_empty() {
        // SAFETY: every header leads to bytes and an address that are live and
        // of the lengths it says: they were set for this batch.
        let sent = checked(unsafe {
            libc::sendmmsg(
                fd,
                rest.as_mut_ptr(),
                rest.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        });
        let done = match sent {
            Ok(sent) => sent as usize,
            Err(error) => {
                match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::EAGAIN | libc::ENOBUFS) => {
                        counters.drops.add(DropReason::SendBufferFull);
                    }
                    // The answer to an earlier packet; this one went nowhere.
                    Some(libc::ECONNREFUSED) => {
                        counters.media_icmp_errors += 1;
                        counters.drops.add(DropReason::SendFailed);
                    }
                    _ => counters.drops.add(DropReason::SendFailed),
                }
                1
            }
        };
        rest = rest.split_at_mut(done.min(rest.len())).1;
    }
}
