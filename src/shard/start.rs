//! Starts the shards: binds what they listen on, pins their threads, and
//! introduces them to each other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use crate::book::Book;
use crate::call::event::CallEvent;
use crate::call::room::{ConferenceSettings, ReceiverSettings, RoomSettings, Rooms, WatchSettings};
use crate::call::settings::{Limits, Scanners};
use crate::call::web_peer::WebSettings;
use crate::call::{CallSettings, Calls, RoomBackend};
use crate::clock::WallClock;
use crate::config::{self, Config, MediaBackend, Realtime};
use crate::ids::{ListenerId, ShardId};
use crate::io::dtls::OpenSslEngine;
use crate::io::hep::{HepExporter, HepSettings};
use crate::io::{Backend, BackendChoice, BackendSettings, PortPool, affinity, sockets};
use crate::keying::Srtp;
use crate::media::{DtlsEngine, Table, TableSettings};
use crate::recording::{Recorder, Recordings};
use crate::shard::capture::Capture;
use crate::shard::depot::Depot;
use crate::shard::guards::guards;
use crate::shard::mailbox::{Mailbox, Receiver, Shards, Wake, room_shard};
use crate::shard::outbox::Outbox;
use crate::shard::overload::Overload;
use crate::shard::ports::{PortIndexes, PortSettings};
use crate::shard::recordings::Desk;
use crate::shard::turn::{PeerMessage, Shard};
use crate::shard::web::{self, SharedSockets};
use crate::sip::agent::{Agent, AgentSettings, Listener};
use crate::sip::transaction::TimerSettings;
use crate::trace::TraceSettings;

/// A SIP transaction lingers for 32 s after its call is over, and a call has
/// several: so many more sessions and transactions than calls are held.
const SESSIONS_PER_CALL: usize = 4;
const TRANSACTIONS_PER_CALL: usize = 16;

/// How long an address may be in use at start, and how often it is tried.
const BIND_PATIENCE: Duration = Duration::from_secs(2);
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// How much longer a call waits for a media server than the api does, which
/// therefore is the one to say why.
const SERVER_GRACE: Duration = Duration::from_secs(2);

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A SIP socket.
    #[error(
        "sip.listen: cannot bind {address}: {error}; is another gateway running, or the address not this machine's?"
    )]
    Bind {
        /// What was to be bound.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A port that browsers share.
    #[error(
        "webrtc.port: cannot bind {address}: {error}; is another gateway running, or the address not this machine's?"
    )]
    Shared {
        /// What was to be bound.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// DTLS.
    #[error("webrtc: OpenSSL makes no certificate: {0}")]
    Certificate(String),
    /// The relay.
    #[error(
        "rtp.backend: the media backend cannot start: {0}; \"auto\" falls back to poll where io_uring is refused"
    )]
    Backend(io::Error),
    /// The export to the capture server.
    #[error("hep: its thread cannot start: {0}")]
    Hep(io::Error),
    /// A thread.
    #[error("cannot start the thread of shard {0}: {1}")]
    Thread(u8, io::Error),
}

/// The shards, running.
pub struct RunningShards {
    /// The api's handle on them.
    pub shards: Shards,
    /// Which backend they use.
    pub backend: &'static str,
    /// SIP addresses as bound (a configured port 0 is resolved).
    pub listeners: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    wakers: Vec<Arc<dyn Wake>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    hep_thread: Option<JoinHandle<()>>,
}

impl RunningShards {
    /// Ends the threads and waits for them.
    pub fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        for waker in &self.wakers {
            waker.wake();
        }
        for thread in self.threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!("a shard ended with an error: {error}"),
                Err(_) => tracing::error!("a shard's thread panicked"),
            }
        }
        // It ends with the last shard, once it has sent what was queued.
        if self.hep_thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that exports SIP messages panicked");
        }
    }

    /// Whether a shard's thread has ended although nobody asked it to.
    pub fn has_lost_a_shard(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }
}

/// What a thread tells once its backend stands.
struct Ready {
    waker: Arc<dyn Wake>,
    backend: &'static str,
}

/// What a thread gets once all stand.
struct Introduction {
    requests: Receiver<crate::shard::mailbox::ApiRequest>,
    messages: Receiver<PeerMessage>,
    peers: Vec<Mailbox<PeerMessage>>,
}

/// Starts one shard per configured core.
///
/// # Errors
/// [`StartError`] when a socket, the backend or a thread is refused.
pub fn start(
    config: &Config,
    book: &Arc<Book>,
    recordings: &Recordings,
    events: &mpsc::Sender<CallEvent>,
) -> Result<RunningShards, StartError> {
    let count = config.cores.len() as u8;
    let mut sockets = bind_listeners(config, count)?;
    let bound: Vec<SocketAddr> = sockets.first().map_or_else(Vec::new, |sockets| {
        sockets
            .iter()
            .filter_map(|socket| socket.local_addr().ok())
            .collect()
    });
    let port_settings = port_settings(config, &bound);
    let mut shared = web::bind(config, &port_settings, &bound, count)?;
    let dtls = OpenSslEngine::new().map_err(|error| StartError::Certificate(error.to_string()))?;
    let guards = guards(config);
    let limits = Limits::new(guards.limits);
    let scanners = Scanners::new(guards.scanners);
    let (hep, hep_thread) = match &config.hep {
        None => (None, None),
        Some(hep) => {
            let (exporter, thread) =
                HepExporter::start(hep_settings(hep)).map_err(StartError::Hep)?;
            (Some(exporter), Some(thread))
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    let clock = WallClock::new(Instant::now(), unix_ms());
    let depot = Depot::default();
    let mut threads = Vec::new();
    let mut introductions = Vec::new();
    let mut wakers: Vec<Arc<dyn Wake>> = Vec::new();
    let mut backend = "";
    for (index, core) in config.cores.iter().enumerate() {
        let id = ShardId(index as u8);
        let (ready, is_ready) = std_mpsc::channel();
        let (introduce, introduced) = std_mpsc::channel();
        let plan = Plan {
            id,
            count,
            core: *core,
            config: config.clone(),
            sockets: sockets.remove(0),
            shared: shared.remove(0),
            dtls: dtls.clone(),
            port_settings,
            depot: depot.clone(),
            bound: bound.clone(),
            book: book.clone(),
            recorder: recordings.recorder(),
            outbox: Outbox::new(events.clone()),
            clock,
            limits: limits.clone(),
            scanners: scanners.clone(),
            hep: hep.clone(),
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("shard-{}", id.0))
            .spawn(move || plan.run(&ready, &introduced))
            .map_err(|error| StartError::Thread(id.0, error))?;
        let ready: Ready = is_ready
            .recv()
            .map_err(|_| StartError::Thread(id.0, io::Error::other("it ended at once")))?
            .map_err(StartError::Backend)?;
        backend = ready.backend;
        wakers.push(ready.waker);
        introductions.push(introduce);
        threads.push(thread);
    }
    let (requests, request_ends): (Vec<_>, Vec<_>) =
        wakers.iter().cloned().map(Mailbox::new).unzip();
    let (peers, message_ends): (Vec<_>, Vec<_>) = wakers.iter().cloned().map(Mailbox::new).unzip();
    for ((introduce, requests), messages) in
        introductions.iter().zip(request_ends).zip(message_ends)
    {
        // A thread that ended meanwhile is found by `has_lost_a_shard`.
        let _ = introduce.send(Introduction {
            requests,
            messages,
            peers: peers.clone(),
        });
    }
    Ok(RunningShards {
        shards: Shards::new(requests),
        backend,
        listeners: bound,
        stop,
        wakers,
        threads,
        hep_thread,
    })
}

/// Binds; an address that is in use may be that of a gateway that was killed
/// just now, whose ring the kernel has not yet taken down.
fn bind_patiently(address: SocketAddr) -> io::Result<UdpSocket> {
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        match UdpSocket::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(BIND_PAUSE);
            }
            result => return result,
        }
    }
}

/// One set of SIP sockets per shard, all on the same addresses.
fn bind_listeners(config: &Config, shards: u8) -> Result<Vec<Vec<UdpSocket>>, StartError> {
    let mut sets: Vec<Vec<UdpSocket>> = (0..shards).map(|_| Vec::new()).collect();
    for &address in &config.sip.listen {
        let refused = |error| StartError::Bind { address, error };
        // SO_REUSEPORT would let a second gateway share our port unseen, so a
        // socket without it asks first whether the port is free.
        let address = {
            let probe = bind_patiently(address).map_err(refused)?;
            probe.local_addr().map_err(refused)?
        };
        for set in &mut sets {
            set.push(sockets::bind_signalling(address).map_err(refused)?);
        }
    }
    Ok(sets)
}

/// Everything a shard's thread is made of.
struct Plan {
    id: ShardId,
    count: u8,
    core: usize,
    config: Config,
    sockets: Vec<UdpSocket>,
    shared: SharedSockets,
    dtls: OpenSslEngine,
    port_settings: PortSettings,
    depot: Depot,
    bound: Vec<SocketAddr>,
    book: Arc<Book>,
    recorder: Recorder,
    outbox: Outbox,
    clock: WallClock,
    limits: Arc<Limits>,
    scanners: Arc<Scanners>,
    hep: Option<HepExporter>,
    stop: Arc<AtomicBool>,
}

impl Plan {
    /// Puts the thread before the ordinary ones of its core, where it is to be.
    fn come_first(&self) {
        let wanted = match self.config.rtp.realtime {
            Realtime::No => return,
            Realtime::Allowed => false,
            Realtime::Wanted => true,
        };
        match affinity::become_realtime() {
            Ok(()) => tracing::debug!(core = self.core, "the shard's thread is a realtime one"),
            Err(error) if wanted => tracing::warn!(
                core = self.core,
                "rtp.realtime: the shard's thread is an ordinary one: {error} (CAP_SYS_NICE or LimitRTPRIO=1 allows it)"
            ),
            Err(error) => tracing::debug!(
                core = self.core,
                "the shard's thread is an ordinary one: {error}"
            ),
        }
    }

    fn run(
        self,
        ready: &std_mpsc::Sender<Result<Ready, io::Error>>,
        introduced: &std_mpsc::Receiver<Introduction>,
    ) -> io::Result<()> {
        // Pinned before anything is allocated, so that memory is the core's.
        if let Err(error) = affinity::pin_to_core(self.core) {
            tracing::warn!(
                core = self.core,
                "the shard's thread is not pinned: {error}"
            );
        }
        self.come_first();
        let choice = match self.config.rtp.backend {
            MediaBackend::Auto => BackendChoice::Auto,
            MediaBackend::Uring => BackendChoice::Uring,
            MediaBackend::Poll => BackendChoice::Poll,
        };
        let settings = BackendSettings {
            gather: self.config.rtp.gather,
            ..BackendSettings::default()
        };
        let mut backend = match Backend::new(choice, settings) {
            Ok(backend) => backend,
            Err(error) => {
                // The starter waits for this word and says it to the operator.
                let _ = ready.send(Err(error));
                return Ok(());
            }
        };
        let waker: Arc<dyn Wake> = Arc::new(backend.waker());
        let told = Ready {
            waker,
            backend: backend.name(),
        };
        let (Ok(()), Ok(introduction)) = (ready.send(Ok(told)), introduced.recv()) else {
            return Ok(());
        };
        for (index, socket) in self.sockets.iter().enumerate() {
            backend.add_signalling(ListenerId(index as u8), socket.try_clone()?)?;
        }
        let mut indexes = PortIndexes::default();
        let mut rooms = self.rooms();
        let desk = Desk::new(self.recorder.clone(), self.config.recording.clone());
        rooms.set_recording_desk(Box::new(desk));
        self.share_ports(&mut backend, &mut indexes, &mut rooms)?;
        let shard = Shard {
            id: self.id,
            overload: Overload::new(self.config.limits.max_lag),
            capture: self.capture(),
            pool: self.port_pool(),
            indexes,
            port_settings: self.port_settings,
            calls: self.calls(),
            depot: self.depot,
            rooms,
            backend,
            requests: introduction.requests,
            messages: introduction.messages,
            peers: introduction.peers,
            outbox: self.outbox,
            stop: self.stop,
        };
        shard.run()
    }

    fn port_pool(&self) -> PortPool {
        PortPool::new(
            self.config.rtp.ports.clone(),
            self.id.0,
            self.count,
            self.config.rtp.port_reuse_delay,
        )
    }

    /// Gives the rooms what they have for WebRTC peers.
    fn share_ports(
        &self,
        backend: &mut Backend,
        indexes: &mut PortIndexes,
        rooms: &mut Rooms,
    ) -> io::Result<()> {
        rooms.table.set_dtls(Box::new(self.dtls.clone()));
        for socket in &self.shared.sockets {
            let ipv6 = socket.local_addr()?.is_ipv6();
            let port = indexes.take();
            backend.add_media(port, socket.try_clone()?)?;
            rooms.table.share_port(port, ipv6);
        }
        if !self.shared.candidates.is_empty() {
            rooms.set_web(WebSettings {
                shard: self.id,
                candidates: self.shared.candidates.clone(),
                fingerprint: self.dtls.fingerprint(),
                seed: rand::random(),
            });
        }
        Ok(())
    }

    fn rooms(&self) -> Rooms {
        let settings = TableSettings {
            inactivity: self.config.rtp.inactivity_timeout,
            consent: self.config.webrtc.consent_timeout,
            handshakes_per_second: self.config.webrtc.handshakes_per_second,
            handshakes_per_second_per_address: self.config.webrtc.handshakes_per_second_per_address,
        };
        let table = Table::new(settings, rand::random());
        let sound = &self.config.sound;
        let settings = RoomSettings {
            capacity: sound.room_capacity,
            conference: ConferenceSettings {
                loudest: sound.loudest,
                receiver: ReceiverSettings {
                    minimum_delay: sound.jitter_minimum,
                    maximum_delay: sound.jitter_maximum,
                    ..ReceiverSettings::default()
                },
                dead_air: sound.dead_air,
            },
            detect_keys: sound.inband_dtmf,
            announce_recordings: self.config.recording.announcement,
            watch: WatchSettings {
                one_way: sound.one_way,
            },
        };
        Rooms::new(table, self.clock, settings)
    }

    fn room_backend(&self) -> RoomBackend {
        match &self.config.rooms {
            config::Rooms::Local => RoomBackend::Local,
            config::Rooms::External(server) => RoomBackend::External {
                ipv6: server.ipv6,
                // A token, then a description.
                patience: 2 * server.timeout + SERVER_GRACE,
            },
        }
    }

    fn capture(&self) -> Option<Capture> {
        Some(Capture {
            exporter: self.hep.clone()?,
            clock: self.clock,
            listeners: self.listeners().iter().map(|l| l.advertised).collect(),
        })
    }

    /// The memory for traces is shared out evenly.
    fn trace(&self) -> TraceSettings {
        let trace = self.config.sip.trace;
        TraceSettings {
            total_bytes: trace.total_bytes / usize::from(self.count),
            ..trace
        }
    }

    fn listeners(&self) -> Vec<Listener> {
        let listener = |&bound: &SocketAddr| Listener {
            bound,
            advertised: self.config.public.advertised(bound),
        };
        self.bound.iter().map(listener).collect()
    }

    fn calls(&self) -> Calls {
        let listeners = self.listeners();
        // Where calls land is not even: each shard has room for all of them.
        let max_calls = self.config.calls.max_calls;
        let settings = CallSettings {
            shard: self.id,
            room_shard: |room, shards| room_shard(&room.app, &room.name, shards),
            shards: self.count,
            clock: self.clock,
            answer_timeout: self.config.calls.answer_timeout,
            realm: "ringwire".to_string(),
            listeners: listeners.iter().map(|l| l.advertised).collect(),
            rooms: self.room_backend(),
            srtp: Srtp {
                policy: self.config.calls.srtp.unwrap_or(Srtp::WHERE_OFFERED.policy),
                keying: self.config.calls.srtp_keying,
            },
            dtmf: self.config.calls.dtmf,
            fingerprint: Some(Arc::new(self.dtls.fingerprint())),
            limits: self.limits.clone(),
            scanners: self.scanners.clone(),
            trace: self.trace(),
            seed: rand::random(),
        };
        let agent = Agent::new(AgentSettings {
            shard: self.id,
            listeners,
            user_agent: self.config.sip.user_agent.clone(),
            timers: TimerSettings {
                t1: self.config.sip.t1,
                t2: self.config.sip.t2,
                t4: self.config.sip.t4,
            },
            max_sessions: max_calls * SESSIONS_PER_CALL,
            max_transactions: max_calls * TRANSACTIONS_PER_CALL,
            seed: rand::random(),
        });
        Calls::new(settings, agent, self.book.clone())
    }
}

/// Media sockets are bound to the address of a SIP listener of their family
/// where it is a single one, else to all.
fn port_settings(config: &Config, bound: &[SocketAddr]) -> PortSettings {
    let listener = |ipv6: bool| {
        bound
            .iter()
            .map(SocketAddr::ip)
            .find(|ip| ip.is_ipv6() == ipv6)
    };
    let bind_v4 = listener(false).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let bind_v6 = listener(true).unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let advertised = |ip| config.public.advertised(SocketAddr::new(ip, 0)).ip();
    PortSettings {
        bind_v4,
        bind_v6,
        advertised_v4: advertised(bind_v4),
        advertised_v6: advertised(bind_v6),
    }
}

fn hep_settings(config: &config::Hep) -> HepSettings {
    HepSettings {
        collector: config.collector.clone(),
        sender: config.sender.clone(),
        calls_only: config.calls_only,
        mask: config.mask,
    }
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
