//! The backend for where io_uring is refused: epoll, recvmmsg, sendmmsg.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Instant;

use bytes::Bytes;

use super::backend::{BackendSettings, Core, IoCounters};
use super::lanes::{BURST, Lanes, Way};
use super::signalling::{Listeners, MAX_SIGNALLING, SendResult};
use super::sockets::{self, checked};
use super::waker::Waker;
use crate::ids::{ListenerId, MediaPort};
use crate::media::packet::{BATCH, DropReason};

/// Events taken from one epoll_wait.
const EVENTS: usize = 256;

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

    pub(super) fn send_media(&mut self, port: MediaPort, to: Option<SocketAddr>, payload: &[u8]) {
        let Some(known) = socket_of(&mut self.media, port) else {
            self.counters.drops.add(DropReason::StalePort);
            return;
        };
        let to = to.or(known.peer.filter(|_| !known.connected));
        match sockets::send_now(&known.socket, to, payload) {
            Ok(()) => self.counters.media_generated += 1,
            Err(reason) => self.counters.drops.add(reason),
        }
    }

    pub(super) fn remove_media(&mut self, port: MediaPort) {
        // Closing the only descriptor of a socket takes it out of the epoll
        // set; events read before that carry the old generation.
        if let Some(place) = self.media.get_mut(port.0 as usize) {
            *place = None;
        }
    }

    pub(super) fn release_media(&mut self, port: MediaPort) -> Option<UdpSocket> {
        let known = self.media.get_mut(port.0 as usize)?.take()?;
        // Another descriptor of it is closed with nothing.
        let (fd, epoll) = (known.socket.as_raw_fd(), &self.epoll);
        // A socket that is not in the set needs not be taken out.
        let _ = watch(epoll, libc::EPOLL_CTL_DEL, fd, 0, 0);
        Some(known.socket)
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
