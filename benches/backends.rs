//! The relay over loopback: each backend with the whole packet logic, against
//! a bare epoll forwarder that parses nothing, in the same run; in the clear,
//! and from the clear to SRTP.
//!
//! `cargo bench --bench backends -- [calls] [seconds]`
//!
//! What counts is the CPU time of the forwarding thread per packet, and its
//! ratio to the bare forwarder's: absolute figures drift with the machine. On
//! loopback the cost of receiving falls on the sender, which flatters
//! everybody alike; over a veth pair ratios are larger.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringwire::ids::{CodecId, ListenerId, MediaPort};
use ringwire::io::affinity::{allowed_cores, pin_to_core};
use ringwire::io::sockets::{bind_media, raise_file_limit};
use ringwire::io::{Backend, BackendChoice, BackendSettings, Core};
use ringwire::keying::{MasterKey, Security, Suite};
use ringwire::media::packet::SLOT_SIZE;
use ringwire::media::srtp::{Protector, Sealable};
use ringwire::media::{
    Latch, LegOptions, Notice, Packet, PayloadMapping, Remote, Table, TableSettings,
};

/// Bytes of an RTP packet with 20 ms of G.711.
const RTP: usize = 172;

/// Packets under way at once when the relay is driven as fast as it can.
const WINDOW: u64 = 512;

/// Sockets on the far side, so that no one of them is the bottleneck.
const SINKS: usize = 16;

fn main() -> io::Result<()> {
    let numbers: Vec<u64> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let calls = numbers.first().copied().unwrap_or(500) as usize;
    let time = Duration::from_secs(numbers.get(1).copied().unwrap_or(4));
    raise_file_limit()?;
    let cores = allowed_cores()?;
    println!("{calls} calls (two legs each), {RTP}-byte RTP, {time:?} per figure, loopback");
    println!(
        "{:<28}{:>10}{:>10}{:>12}{:>8}{:>10}",
        "forwarder", "load", "pps", "µs CPU/pkt", "lost", "vs bare"
    );
    let mut kinds = vec![Kind::Bare];
    for choice in [BackendChoice::Poll, BackendChoice::Uring] {
        kinds.extend(TO.map(|suite| Kind::Backend(choice, suite)));
    }
    for load in [Load::Saturated, Load::Voice] {
        let mut bare = None;
        for kind in kinds.iter().copied() {
            let figure = measure(kind, load, calls, time, &cores)?;
            let bare = *bare.get_or_insert(figure.micros);
            println!(
                "{:<28}{:>10}{:>10.0}{:>12.2}{:>8}{:>9.2}x",
                kind.name(),
                load.name(),
                figure.pps,
                figure.micros,
                figure.lost,
                bare / figure.micros,
            );
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Bare,
    /// The far side is in the clear, or under SRTP with this suite.
    Backend(BackendChoice, Option<Suite>),
}

/// What the far side takes.
const TO: [Option<Suite>; 3] = [
    None,
    Some(Suite::Aes128CmSha1_80),
    Some(Suite::AeadAes128Gcm),
];

impl Kind {
    /// What the far side makes of its RTP.
    fn spoken(self, plain: &[u8]) -> Vec<u8> {
        let mut slot = [0; SLOT_SIZE];
        slot[..plain.len()].copy_from_slice(plain);
        let mut packet = Packet::new(MediaPort(0), None, &mut slot, plain.len());
        if let Kind::Backend(_, Some(suite)) = self {
            let mut protector = Protector::new(&key(suite)).expect("a key");
            let sealable = Sealable::new(&mut packet).expect("room");
            protector.rtp(sealable).expect("protected");
        }
        packet.bytes().to_vec()
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Bare => "bare epoll, no parsing",
            Kind::Backend(BackendChoice::Poll, None) => "poll, plain to plain",
            Kind::Backend(BackendChoice::Poll, Some(Suite::AeadAes128Gcm)) => {
                "poll, plain to GCM-128"
            }
            Kind::Backend(BackendChoice::Poll, Some(_)) => "poll, plain to AES_CM_80",
            Kind::Backend(_, None) => "uring, plain to plain",
            Kind::Backend(_, Some(Suite::AeadAes128Gcm)) => "uring, plain to GCM-128",
            Kind::Backend(_, Some(_)) => "uring, plain to AES_CM_80",
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Load {
    /// As fast as it goes, a window of packets under way.
    Saturated,
    /// Fifty packets a second and call, one direction.
    Voice,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Load::Saturated => "flat out",
            Load::Voice => "voice",
        }
    }
}

struct Figure {
    pps: f64,
    micros: f64,
    lost: u64,
}

/// The far side: one source, and sinks that count what arrives.
struct Far {
    source: UdpSocket,
    sinks: Vec<UdpSocket>,
}

impl Far {
    fn new() -> io::Result<Far> {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_nonblocking(true)?;
            socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
            Ok(socket)
        };
        Ok(Far {
            source: bind()?,
            sinks: (0..SINKS).map(|_| bind()).collect::<io::Result<_>>()?,
        })
    }

    fn drain(&self) -> u64 {
        let mut buffer = [0; 2048];
        self.sinks
            .iter()
            .map(|sink| std::iter::from_fn(|| sink.recv(&mut buffer).ok()).count() as u64)
            .sum()
    }
}

fn measure(
    kind: Kind,
    load: Load,
    calls: usize,
    time: Duration,
    cores: &[usize],
) -> io::Result<Figure> {
    let far = Far::new()?;
    let source = far.source.local_addr()?;
    let sinks: Vec<SocketAddr> = far
        .sinks
        .iter()
        .map(UdpSocket::local_addr)
        .collect::<io::Result<_>>()?;
    let mut next = 10_000;
    let sockets: Vec<[UdpSocket; 2]> = (0..calls)
        .map(|_| [bind_next(&mut next), bind_next(&mut next)])
        .collect();
    let address = |leg: usize| -> io::Result<Vec<SocketAddr>> {
        sockets.iter().map(|pair| pair[leg].local_addr()).collect()
    };
    let (near, away) = (address(0)?, address(1)?);

    let stop = Arc::new(AtomicBool::new(false));
    let forwarder = {
        let stop = stop.clone();
        let core = cores.first().copied();
        thread::spawn(move || {
            if let Some(core) = core {
                let _ = pin_to_core(core);
            }
            match kind {
                Kind::Bare => bare(&sockets, &sinks, &stop),
                Kind::Backend(choice, suite) => {
                    gateway(choice, suite, sockets, source, &sinks, &stop)
                }
            }
        })
    };
    if let Some(core) = cores.last() {
        let _ = pin_to_core(*core);
    }
    // Both peers of every call speak first, so that all sources are locked.
    thread::sleep(Duration::from_millis(300));
    for round in 0..2 {
        for (n, address) in away.iter().enumerate() {
            let _ = far.sinks[n % SINKS].send_to(&kind.spoken(&rtp(n, round)), address);
            if n % 32 == 31 {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    drive(&far, &near, load, Duration::from_millis(500), 10);
    let cpu_before = thread_cpu(&forwarder);
    let start = Instant::now();
    let (sent, received) = drive(&far, &near, load, time, 1000);
    let elapsed = start.elapsed();
    let cpu = thread_cpu(&forwarder) - cpu_before;
    stop.store(true, Ordering::Relaxed);
    forwarder
        .join()
        .map_err(|_| io::Error::other("the forwarder panicked"))??;
    Ok(Figure {
        pps: received as f64 / elapsed.as_secs_f64(),
        micros: cpu.as_secs_f64() * 1e6 / received.max(1) as f64,
        lost: sent.saturating_sub(received),
    })
}

fn bind_next(port: &mut u16) -> UdpSocket {
    loop {
        *port += 1;
        match bind_media(([127, 0, 0, 1], *port).into()) {
            Ok(socket) => return socket,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => panic!("cannot bind: {error}"),
        }
    }
}

/// Sends for this long, and reads what comes out; packets sent and received.
fn drive(far: &Far, near: &[SocketAddr], load: Load, time: Duration, first: u16) -> (u64, u64) {
    let (mut sent, mut received) = (0u64, 0u64);
    let start = Instant::now();
    let interval = Duration::from_millis(20) / near.len() as u32;
    let mut sequence = first;
    let mut leg = 0;
    while start.elapsed() < time {
        let due = match load {
            Load::Saturated => (received + WINDOW).saturating_sub(sent),
            Load::Voice => {
                let due = (start.elapsed().as_nanos() / interval.as_nanos()) as u64;
                due.saturating_sub(sent)
            }
        };
        for _ in 0..due.min(64) {
            if far.source.send_to(&rtp(leg, sequence), near[leg]).is_ok() {
                sent += 1;
            }
            leg += 1;
            if leg == near.len() {
                leg = 0;
                sequence = sequence.wrapping_add(1);
            }
        }
        received += far.drain();
    }
    let end = Instant::now();
    while received < sent && end.elapsed() < Duration::from_millis(200) {
        received += far.drain();
    }
    (sent, received)
}

fn rtp(leg: usize, sequence: u16) -> [u8; RTP] {
    let mut packet = [0x55; RTP];
    packet[0] = 0x80;
    packet[1] = 8;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&(leg as u32).to_be_bytes());
    packet
}

/// CPU time that a thread has used.
fn thread_cpu<T>(thread: &thread::JoinHandle<T>) -> Duration {
    use std::os::unix::thread::JoinHandleExt;
    let mut clock = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the thread has not been joined, and both places are live.
    unsafe {
        if libc::pthread_getcpuclockid(thread.as_pthread_t(), &mut clock) == 0 {
            libc::clock_gettime(clock, &mut time);
        }
    }
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The reference: one receive and one send per packet, nothing looked at.
fn bare(sockets: &[[UdpSocket; 2]], sinks: &[SocketAddr], stop: &AtomicBool) -> io::Result<()> {
    // SAFETY: epoll_create1 takes no pointers.
    let epoll = unsafe { libc::epoll_create1(0) };
    for (n, pair) in sockets.iter().enumerate() {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: n as u64,
        };
        // SAFETY: the event is live.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, pair[0].as_raw_fd(), &mut event) };
    }
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: the events are live and as many as said.
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 256, 100) };
        for event in events.iter().take(ready.max(0) as usize) {
            let n = event.u64 as usize;
            if let Ok((len, _)) = sockets[n][0].recv_from(&mut buffer) {
                let _ = sockets[n][1].send_to(&buffer[..len], sinks[n % SINKS]);
            }
        }
    }
    // SAFETY: opened above and used no more.
    unsafe { libc::close(epoll) };
    Ok(())
}

struct Relay {
    table: Table,
}

impl Core for Relay {
    fn media_batch(&mut self, now: Instant, batch: &mut [Packet<'_>]) {
        self.table.process_batch(now, batch);
    }

    fn signalling(&mut self, _: Instant, _: ListenerId, _: SocketAddr, _: &[u8]) {}

    fn signalling_error(&mut self, _: Instant, _: ListenerId, _: Option<SocketAddr>) {}
}

/// The gateway's own path: backend, table, notices.
fn gateway(
    choice: BackendChoice,
    suite: Option<Suite>,
    sockets: Vec<[UdpSocket; 2]>,
    source: SocketAddr,
    sinks: &[SocketAddr],
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut backend = Backend::new(choice, BackendSettings::default())?;
    let mut table = Table::new(TableSettings::default(), [3; 32]);
    for (n, pair) in sockets.into_iter().enumerate() {
        let now = Instant::now();
        let legs = [source, sinks[n % SINKS]].map(|peer| (peer, MediaPort(0)));
        let mut linked = Vec::new();
        for (side, ((peer, _), socket)) in legs.into_iter().zip(pair).enumerate() {
            let rtp = MediaPort((4 * n + 2 * side) as u32);
            let rtcp = MediaPort(rtp.0 + 1);
            backend.add_media(rtp, socket)?;
            let leg = table.open(
                now,
                LegOptions {
                    rtp,
                    rtcp,
                    echo: false,
                },
            );
            let security = match suite.filter(|_| side == 1) {
                Some(suite) => Security::Sdes {
                    send: key(suite),
                    receive: key(suite),
                },
                None => Security::Plain,
            };
            table.set_remote(now, leg, remote(peer, security));
            linked.push(leg);
        }
        table.link(linked[0], linked[1]);
    }
    let mut relay = Relay { table };
    while !stop.load(Ordering::Relaxed) {
        let deadline = Instant::now() + Duration::from_millis(100);
        backend.turn(Some(deadline), &mut relay)?;
        while let Some(notice) = relay.table.poll_notice() {
            match notice {
                Notice::Locked { port, address } => backend.connect_media(port, address),
                Notice::Unlocked { port } => backend.disconnect_media(port),
                _ => {}
            }
        }
    }
    if std::env::var_os("BACKENDS_VERBOSE").is_some() {
        println!("{:?}\n{:?}", backend.counters(), relay.table.counters());
    }
    Ok(())
}

fn key(suite: Suite) -> MasterKey {
    MasterKey {
        suite,
        key: vec![7; suite.key_len()],
        salt: vec![9; suite.salt_len()],
    }
}

fn remote(peer: SocketAddr, security: Security) -> Remote {
    Remote {
        rtp: peer,
        rtcp: peer,
        rtcp_mux: true,
        send: true,
        receive: true,
        held: false,
        latch: Latch::Strict,
        security,
        payloads: vec![PayloadMapping {
            codec: CodecId(8),
            receive: 8,
            send: Some(8),
            clock_rate: 8000,
        }],
    }
}
