//! A UDP relay that loses packets and holds others up, the same ones for the
//! same seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the relay rests when there is nothing to do.
const REST: Duration = Duration::from_millis(2);

/// What happens to packets on their way, either way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// So many of a hundred are lost.
    pub loss_percent: u32,
    /// Each is held up by anything up to this. Where it is longer than the pace
    /// of the packets, they overtake each other.
    pub jitter: Duration,
}

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
    /// either way.
    pub fn start(port: u16, target: SocketAddr, percent: u32, seed: u64) -> Self {
        let weather = Weather {
            loss_percent: percent,
            ..Weather::default()
        };
        Self::at(([127, 0, 0, 1], port).into(), target, weather, seed)
    }

    /// A relay at this address. Senders are told apart by their address; each
    /// has its own socket towards the target.
    pub fn at(front: SocketAddr, target: SocketAddr, weather: Weather, seed: u64) -> Self {
        let front = UdpSocket::bind(front).expect("the relay's port");
        front.set_nonblocking(true).expect("a non-blocking socket");
        let address = front.local_addr().expect("the relay's address");
        let over = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Counts::default());
        let run = Run {
            front,
            target,
            weather: Random {
                weather,
                state: seed.max(1),
            },
            backs: HashMap::new(),
            held: BinaryHeap::new(),
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
    weather: Random,
    /// Towards the target, by sender.
    backs: HashMap<SocketAddr, UdpSocket>,
    held: BinaryHeap<Reverse<Held>>,
    counts: Arc<Counts>,
}

/// A packet on its way, in the order in which they arrive.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Instant,
    sender: SocketAddr,
    way: Way,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    There,
    Back,
}

impl Run {
    fn until(mut self, over: &AtomicBool) {
        let mut buffer = vec![0; 65_536];
        while !over.load(Ordering::Relaxed) {
            let mut arrived = Vec::new();
            while let Some((length, sender)) = receive(&self.front, &mut buffer) {
                arrived.push((sender, Way::There, buffer[..length].to_vec()));
            }
            for (sender, back) in &self.backs {
                while let Some((length, _)) = receive(back, &mut buffer) {
                    arrived.push((*sender, Way::Back, buffer[..length].to_vec()));
                }
            }
            let idle = arrived.is_empty();
            for (sender, way, bytes) in arrived {
                self.take(sender, way, bytes);
            }
            self.deliver();
            if idle {
                // Nothing to relay: the relay's own pace, nobody waits for it.
                std::thread::sleep(REST);
            }
        }
    }

    fn take(&mut self, sender: SocketAddr, way: Way, bytes: Vec<u8>) {
        let ip = self.target.ip();
        self.backs.entry(sender).or_insert_with(|| {
            // Where the target is: it may answer nobody else.
            let socket = UdpSocket::bind((ip, 0)).expect("a socket of the relay");
            socket.set_nonblocking(true).expect("a non-blocking socket");
            socket
        });
        match self.weather.delay() {
            None => self.counts.lost.fetch_add(1, Ordering::Relaxed),
            Some(delay) => {
                self.held.push(Reverse(Held {
                    due: Instant::now() + delay,
                    sender,
                    way,
                    bytes,
                }));
                self.counts.passed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        while self
            .held
            .peek()
            .is_some_and(|Reverse(held)| held.due <= now)
        {
            let Some(Reverse(held)) = self.held.pop() else {
                return;
            };
            let _ = match held.way {
                Way::There => self.backs[&held.sender].send_to(&held.bytes, self.target),
                Way::Back => self.front.send_to(&held.bytes, held.sender),
            };
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

struct Random {
    weather: Weather,
    state: u64,
}

impl Random {
    /// How long the next packet takes; `None` where it is lost.
    fn delay(&mut self) -> Option<Duration> {
        if self.next() % 100 < u64::from(self.weather.loss_percent) {
            return None;
        }
        let most = self.weather.jitter.as_micros() as u64;
        Some(Duration::from_micros(match most {
            0 => 0,
            most => self.next() % most,
        }))
    }

    /// xorshift64
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}
