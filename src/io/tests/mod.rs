//! Both backends, driven by the same tests over loopback.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::backend::{Backend, BackendChoice, BackendSettings, Core};
use super::sockets;
use crate::ids::{ListenerId, MediaPort};
use crate::media::packet::{DropReason, MAX_DATAGRAM, Packet, SLOT_SIZE, TRAILER_ROOM, Verdict};

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Forwards by a fixed table and notes what it saw.
#[derive(Default)]
struct Recorder {
    routes: HashMap<u32, (u32, Option<SocketAddr>)>,
    /// Bytes put behind each forwarded packet.
    append: usize,
    media: Vec<(u32, Option<SocketAddr>, Vec<u8>)>,
    largest_batch: usize,
    signalling: Vec<(u8, SocketAddr, Vec<u8>)>,
    errors: Vec<(u8, Option<SocketAddr>)>,
}

impl Core for Recorder {
    fn media_batch(&mut self, _: Instant, batch: &mut [Packet<'_>]) {
        self.largest_batch = self.largest_batch.max(batch.len());
        for packet in batch {
            self.media
                .push((packet.port.0, packet.source, packet.bytes().to_vec()));
            packet.verdict = match self.routes.get(&packet.port.0) {
                Some((port, to)) => Verdict::Forward {
                    port: MediaPort(*port),
                    to: *to,
                },
                None => Verdict::Consumed,
            };
            let (len, grown) = (packet.len(), packet.len() + self.append);
            packet.set_len(grown);
            assert_eq!(packet.len(), grown, "the trailer has room");
            packet.bytes_mut()[len..].fill(0xaa);
        }
    }

    fn signalling(&mut self, _: Instant, listener: ListenerId, from: SocketAddr, data: &[u8]) {
        self.signalling.push((listener.0, from, data.to_vec()));
    }

    fn signalling_error(&mut self, _: Instant, listener: ListenerId, to: Option<SocketAddr>) {
        self.errors.push((listener.0, to));
    }
}

/// A backend and what it told.
struct Rig {
    backend: Backend,
    core: Recorder,
}

impl Rig {
    fn new(choice: BackendChoice) -> Rig {
        Rig::with(choice, BackendSettings::default())
    }

    fn with(choice: BackendChoice, settings: BackendSettings) -> Rig {
        Rig {
            backend: Backend::new(choice, settings).expect("a backend"),
            core: Recorder::default(),
        }
    }

    /// Adds a media socket; its address.
    fn media(&mut self, port: u32, bind: &str) -> SocketAddr {
        let socket = sockets::bind_media(free_port(bind)).expect("bound");
        let address = socket.local_addr().expect("an address");
        self.backend
            .add_media(MediaPort(port), socket)
            .expect("added");
        address
    }

    fn listener(&mut self, id: u8, bind: &str) -> SocketAddr {
        let socket = sockets::bind_signalling(bind.parse().expect("an address")).expect("bound");
        let address = socket.local_addr().expect("an address");
        self.backend
            .add_signalling(ListenerId(id), socket)
            .expect("added");
        address
    }

    /// Turns until the condition holds.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Rig) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < end, "never came: {what}");
            let deadline = Instant::now() + Duration::from_millis(5);
            self.backend
                .turn(Some(deadline), &mut self.core)
                .expect("a turn");
        }
    }

    /// Turns for a while, for what must not come.
    fn settle(&mut self) {
        for _ in 0..5 {
            let deadline = Instant::now() + Duration::from_millis(5);
            self.backend
                .turn(Some(deadline), &mut self.core)
                .expect("a turn");
        }
    }

    fn heard(&mut self, count: usize) {
        self.until(&format!("packet {count}"), |rig| {
            rig.core.media.len() >= count
        });
    }
}

/// A free port by number: one that the kernel chose for a socket is lost when
/// that socket is disconnected. From below the range the kernel chooses from,
/// so that no test that runs beside this one gets it.
fn free_port(bind: &str) -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    let mut address: SocketAddr = bind.parse().expect("an address");
    let start = (std::process::id() as u16).wrapping_mul(7919);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        address.set_port(FIRST + start.wrapping_add(step) % COUNT);
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

fn peer(bind: &str) -> UdpSocket {
    let socket = UdpSocket::bind(bind).expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).expect("received in time");
    buffer[..len].to_vec()
}

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("an address")
}

impl Rig {
    /// One more turn: what was decided in the last one is sent.
    fn settle_sends(&mut self) {
        let now = Instant::now();
        self.backend
            .turn(Some(now), &mut self.core)
            .expect("a turn");
    }
}

/// Makes each function a test of both backends.
macro_rules! on_both_backends {
    ($($name:ident),+ $(,)?) => {
        mod poll {
            $(#[test] fn $name() { super::$name(crate::io::BackendChoice::Poll); })+
        }
        mod uring {
            $(#[test] fn $name() { super::$name(crate::io::BackendChoice::Uring); })+
        }
    };
}

mod media;
mod refused;
mod signalling;
