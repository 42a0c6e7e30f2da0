//! A UDP relay that loses packets, the same ones for the same seed.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a receive waits before it looks whether the relay is to end.
const TICK: Duration = Duration::from_millis(20);

/// Relays between whoever sends to it and one target.
pub struct LossyRelay {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    passed: AtomicU32,
    lost: AtomicU32,
}

impl LossyRelay {
    /// A relay on `port` of loopback that loses `percent` of the packets,
    /// either way. Senders are told apart by their address; each has its own
    /// socket towards the target.
    pub fn start(port: u16, target: SocketAddr, percent: u32, seed: u64) -> Self {
        let front = UdpSocket::bind(("127.0.0.1", port)).expect("the relay's port");
        front.set_nonblocking(true).expect("a non-blocking socket");
        let address = front.local_addr().expect("the relay's address");
        let over = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Counts::default());
        let run = Run {
            front,
            target,
            percent,
            random: seed.max(1),
            backs: HashMap::new(),
            counts: Arc::clone(&counts),
        };
        let stop = Arc::clone(&over);
        let thread = std::thread::spawn(move || run.until(&stop));
        Self {
            address,
            over,
            counts,
            thread: Some(thread),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many packets were lost.
    pub fn lost(&self) -> u32 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    /// How many came through.
    pub fn passed(&self) -> u32 {
        self.counts.passed.load(Ordering::Relaxed)
    }
}

impl Drop for LossyRelay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if std::thread::panicking() {
            eprintln!(
                "--- the relay lost {} packets and passed {}",
                self.lost(),
                self.passed()
            );
        }
    }
}

struct Run {
    front: UdpSocket,
    target: SocketAddr,
    percent: u32,
    random: u64,
    backs: HashMap<SocketAddr, UdpSocket>,
    counts: Arc<Counts>,
}

impl Run {
    fn until(mut self, over: &AtomicBool) {
        let mut buffer = vec![0; 65_536];
        while !over.load(Ordering::Relaxed) {
            let mut idle = true;
            while let Some((length, source)) = receive(&self.front, &mut buffer) {
                idle = false;
                let back = self.backs.entry(source).or_insert_with(|| {
                    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket of the relay");
                    socket.set_nonblocking(true).expect("a non-blocking socket");
                    socket
                });
                if survives(&mut self.random, self.percent, &self.counts) {
                    let _ = back.send_to(&buffer[..length], self.target);
                }
            }
            for (client, back) in &self.backs {
                while let Some((length, _)) = receive(back, &mut buffer) {
                    idle = false;
                    if survives(&mut self.random, self.percent, &self.counts) {
                        let _ = self.front.send_to(&buffer[..length], client);
                    }
                }
            }
            if idle {
                // Nothing to relay: the relay's own pace, nobody waits for it.
                std::thread::sleep(TICK / 10);
            }
        }
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buffer) {
            Ok(received) => return Some(received),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            // An ICMP error of an earlier send.
            Err(_) => {}
        }
    }
}

/// xorshift64: whether the next packet comes through.
fn survives(random: &mut u64, percent: u32, counts: &Counts) -> bool {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    let passes = *random % 100 >= u64::from(percent);
    let counter = if passes { &counts.passed } else { &counts.lost };
    counter.fetch_add(1, Ordering::Relaxed);
    passes
}
