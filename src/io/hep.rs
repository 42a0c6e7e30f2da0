//! SIP messages on their way to a capture server (HEP version 3 over UDP).
//! One thread of its own: shards only put into a bounded queue, so a capture
//! server that is slow, dead or unknown to DNS delays nobody.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::trace::{HepMessage, HepSender, encode_hep, is_of_call, masked, sip_call_id};

/// Messages that may wait to be sent; more are counted as lost.
const QUEUE: usize = 8_192;
/// How long a collector whose name or address is refused is left alone.
const RETRY: Duration = Duration::from_secs(30);

/// Where to export, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HepSettings {
    /// Host and port of the capture server.
    pub collector: String,
    /// Who we are to it.
    pub sender: HepSender,
    /// Only what belongs to calls: no OPTIONS, REGISTER and the like.
    pub calls_only: bool,
    /// Take secrets out.
    pub mask: bool,
}

/// Totals since the start.
#[derive(Debug, Default)]
pub struct HepCounters {
    /// Packets sent.
    pub sent: AtomicU64,
    /// Packets that the network or the collector's host refused, messages too
    /// long for a packet among them.
    pub failed: AtomicU64,
    /// Messages for which the queue had no room.
    pub lost: AtomicU64,
}

/// The shards' end of the queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HepExporter {
    queue: SyncSender<HepMessage>,
    counters: Arc<HepCounters>,
}

impl HepExporter {
    /// Starts the thread; it ends when all exporters are dropped and the queue
    /// is empty.
    pub fn start(settings: HepSettings) -> io::Result<(HepExporter, JoinHandle<()>)> {
        let (queue, messages) = sync_channel(QUEUE);
        let counters = Arc::new(HepCounters::default());
        let exporter = HepExporter {
            queue,
            counters: counters.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("hep".to_owned())
            .spawn(move || Sending::new(settings, counters).run(&messages))?;
        Ok((exporter, thread))
    }

    /// Queues a message; never waits.
    pub fn export(&self, message: HepMessage) {
        if self.queue.try_send(message).is_err() {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Totals.
    pub fn counters(&self) -> &HepCounters {
        &self.counters
    }
}

/// The thread's side.
struct Sending {
    settings: HepSettings,
    counters: Arc<HepCounters>,
    socket: Option<UdpSocket>,
    next_attempt: Instant,
}

impl Sending {
    fn new(settings: HepSettings, counters: Arc<HepCounters>) -> Self {
        Sending {
            settings,
            counters,
            socket: None,
            next_attempt: Instant::now(),
        }
    }

    fn run(mut self, messages: &Receiver<HepMessage>) {
        let mut packet = Vec::new();
        while let Ok(message) = messages.recv() {
            if self.settings.calls_only && !is_of_call(&message.payload) {
                continue;
            }
            let call_id = sip_call_id(&message.payload);
            let sender = &self.settings.sender;
            let fits = if self.settings.mask {
                let payload = masked(&message.payload);
                encode_hep(sender, &message, &payload, call_id, &mut packet)
            } else {
                encode_hep(sender, &message, &message.payload, call_id, &mut packet)
            };
            let counter = match fits && self.send(&packet) {
                true => &self.counters.sent,
                false => &self.counters.failed,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn send(&mut self, packet: &[u8]) -> bool {
        if self.socket.is_none() && Instant::now() >= self.next_attempt {
            self.next_attempt = Instant::now() + RETRY;
            match connect(&self.settings.collector) {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => tracing::warn!(
                    collector = self.settings.collector,
                    "hep.collector cannot be reached, tried again in {} s: {error}",
                    RETRY.as_secs()
                ),
            }
        }
        // An error may be that of an earlier packet (ICMP); either way one did
        // not arrive.
        let socket = self.socket.as_ref();
        socket.is_some_and(|socket| socket.send(packet).is_ok())
    }
}

fn connect(collector: &str) -> io::Result<UdpSocket> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let address = collector.to_socket_addrs()?.next().ok_or_else(unknown)?;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    Ok(socket)
}
