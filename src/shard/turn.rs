//! One shard's thread: wait for anything, let the pure rooms handle it, do
//! what they ask, wait again.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::call::request::{CallError, CallReply, CallRequest, WebRequest};
use crate::call::room::{RoomNotice, RoomRequest, Rooms};
use crate::call::{Calls, Output};
use crate::ids::{ListenerId, RequestId, ShardId};
use crate::io::{Backend, Core, PortPool};
use crate::media::{Notice, Packet};
use crate::shard::capture::Capture;
use crate::shard::counters::{self, Sources, TurnCounters};
use crate::shard::depot::Depot;
use crate::shard::mailbox::{ApiRequest, Mailbox, Receiver};
use crate::shard::outbox::Outbox;
use crate::shard::overload::Overload;
use crate::shard::ports::{PortIndexes, PortSettings, ShardPorts};
use crate::sip::routing;
use crate::trace::Way;

/// How often legs are looked over for silence.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Legs looked over in one turn: some 50 µs, which no packet notices.
const SWEEP_STEP: u32 = 64;
/// How soon the next of them are, where nothing else ends the wait.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);
/// How soon the shard looks again when the api or another shard did not take
/// everything.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);
/// How many messages of a mailbox one turn serves, so that packets do not
/// wait behind a burst of them.
const MESSAGES_PER_TURN: usize = 256;
/// How many messages may wait for another shard whose mailbox is full; the
/// next SIP datagram is dropped, and its sender retransmits it.
const FORWARD_BACKLOG: usize = 65_536;

/// How long a turn codes and mixes before it looks for packets again. With the
/// longest single step (one Opus frame) on top, packets of other rooms wait
/// less than a millisecond for it.
const SOUND_BUDGET: Duration = Duration::from_micros(500);

/// How long a turn shakes hands before it looks for packets again. With the
/// longest single step (a certificate read, its signature verified, a secret
/// agreed on: 0.3 ms, docs/PERFORMANCE.md) on top, handshakes delay a turn by
/// less than 2 ms, however many there are.
const HANDSHAKE_BUDGET: Duration = Duration::from_millis(1);

/// What one shard tells another.
#[derive(Debug)]
pub enum PeerMessage {
    /// A SIP datagram that the kernel gave to the wrong shard. It hops once.
    Datagram {
        /// Socket it came in on; the ids are the same on every shard.
        listener: ListenerId,
        /// Who sent it.
        source: SocketAddr,
        /// The octets.
        datagram: Bytes,
    },
    /// A call asks for media.
    Request(RoomRequest),
    /// A room tells a call.
    Notice(RoomNotice),
    /// A port pair of the other's slice, by its RTP port, is free again.
    FreePair(u16),
}

/// The parts of a shard; `run` sets them going.
pub struct Shard {
    /// Which one.
    pub id: ShardId,
    /// Whether it is late.
    pub overload: Overload,
    /// Copies of its SIP messages go here.
    pub capture: Option<Capture>,
    /// Sockets and rings.
    pub backend: Backend,
    /// Its slice of the RTP port range.
    pub pool: PortPool,
    /// Indexes of its media sockets; the shared ports have theirs already.
    pub indexes: PortIndexes,
    /// Addresses of its media sockets.
    pub port_settings: PortSettings,
    /// Where media sockets are on their way to another shard.
    pub depot: Depot,
    /// Calls, with the SIP user agent.
    pub calls: Calls,
    /// Rooms, with the leg table.
    pub rooms: Rooms,
    /// Requests of the api.
    pub requests: Receiver<ApiRequest>,
    /// Messages of other shards.
    pub messages: Receiver<PeerMessage>,
    /// Mailboxes of all shards, by id; one's own is there and unused.
    pub peers: Vec<Mailbox<PeerMessage>>,
    /// Events for the api.
    pub outbox: Outbox,
    /// Set when the shard shall end.
    pub stop: Arc<AtomicBool>,
}

/// What the backend's callbacks may touch while the backend itself is busy.
struct Inside {
    id: ShardId,
    /// When the backend first had something in this turn.
    woke: Option<Instant>,
    capture: Option<Capture>,
    calls: Calls,
    rooms: Rooms,
    peers: Vec<Mailbox<PeerMessage>>,
    /// What another shard's full mailbox did not take yet.
    unposted: VecDeque<(ShardId, PeerMessage)>,
    counters: TurnCounters,
}

impl Shard {
    /// The thread's whole life.
    ///
    /// # Errors
    /// When the backend fails for good.
    pub fn run(self) -> io::Result<()> {
        let mut turn = Turn {
            backend: self.backend,
            pool: self.pool,
            indexes: self.indexes,
            port_settings: self.port_settings,
            depot: self.depot,
            returned: Vec::new(),
            requests: self.requests,
            messages: self.messages,
            outbox: self.outbox,
            overload: self.overload,
            replies: HashMap::new(),
            next_request: 0,
            next_sweep: Instant::now() + SWEEP_INTERVAL,
            inside: Inside {
                id: self.id,
                woke: None,
                capture: self.capture,
                calls: self.calls,
                rooms: self.rooms,
                peers: self.peers,
                unposted: VecDeque::new(),
                counters: TurnCounters::default(),
            },
        };
        while !self.stop.load(Ordering::Relaxed) {
            turn.once()?;
        }
        Ok(())
    }
}

struct Turn {
    backend: Backend,
    pool: PortPool,
    indexes: PortIndexes,
    port_settings: PortSettings,
    depot: Depot,
    /// Closed port pairs that other shards have yet to hear of.
    returned: Vec<(ShardId, u16)>,
    requests: Receiver<ApiRequest>,
    messages: Receiver<PeerMessage>,
    outbox: Outbox,
    overload: Overload,
    replies: HashMap<RequestId, oneshot::Sender<CallReply>>,
    next_request: u64,
    next_sweep: Instant,
    inside: Inside,
}

impl Turn {
    fn once(&mut self) -> io::Result<()> {
        let deadline = self.deadline();
        self.backend.turn(Some(deadline), &mut self.inside)?;
        let now = Instant::now();
        self.inside.counters.turns += 1;
        let emptied = self.serve_messages(now) & self.serve_requests(now);
        if self.inside.calls.next_timeout().is_some_and(|at| at <= now) {
            self.inside.calls.handle_timeout(now);
        }
        let media = &mut self.inside.rooms.table;
        if media.next_timeout().is_some_and(|at| at <= now) {
            media.handle_timeout(now);
        }
        if now >= self.next_sweep {
            self.inside.rooms.begin_sweep();
            self.inside.calls.sweep(now);
            self.next_sweep = now + SWEEP_INTERVAL;
        }
        self.inside.rooms.sweep_step(now, SWEEP_STEP);
        let sounded = self.make_sound();
        self.shake_hands();
        self.settle(now);
        self.look_back(now, emptied & sounded);
        Ok(())
    }

    /// How long the turn worked, and whether the shard keeps up.
    fn look_back(&mut self, served: Instant, emptied: bool) {
        let woke = self.inside.woke.take().unwrap_or(served);
        let now = Instant::now();
        let worked = now.saturating_duration_since(woke);
        self.inside.counters.worked.record(worked);
        let overloaded = self.overload.turn(now, worked, emptied);
        self.inside.calls.set_overloaded(overloaded);
    }

    /// Codes and mixes what is due, for as long as packets may wait for it.
    /// True when nothing is left.
    fn make_sound(&mut self) -> bool {
        let Turn {
            backend, inside, ..
        } = self;
        let mut send = |port, to, datagram: &[u8]| backend.send_media(port, to, datagram);
        let Some(due) = inside.rooms.next_sound() else {
            return true;
        };
        let began = Instant::now();
        let mut now = began;
        if due > now {
            return true;
        }
        while inside.rooms.sound_step(now, &mut send) {
            now = Instant::now();
            if now.saturating_duration_since(began) >= SOUND_BUDGET {
                inside.counters.sound_postponed += 1;
                return false;
            }
        }
        true
    }

    /// Does what handshakes have to do, for as long as packets may wait for
    /// it. A backlog is no lateness of the shard that calls had to be refused
    /// for: strangers can make one, and it has bounds of its own.
    fn shake_hands(&mut self) {
        let Inside {
            rooms, counters, ..
        } = &mut self.inside;
        let began = Instant::now();
        let mut now = began;
        while rooms.table.next_handshake().is_some_and(|due| due <= now) {
            if now.saturating_duration_since(began) >= HANDSHAKE_BUDGET {
                counters.handshakes_postponed += 1;
                return;
            }
            rooms.table.handshake_step(now);
            now = Instant::now();
        }
    }

    /// Until when the backend may wait.
    fn deadline(&mut self) -> Instant {
        // Both have to hear that the shard is about to wait.
        let quiet = self.requests.may_sleep() & self.messages.may_sleep();
        let now = Instant::now();
        if !quiet {
            return now;
        }
        let mut deadline = self.next_sweep;
        if let Some(at) = self.inside.calls.next_timeout() {
            deadline = deadline.min(at);
        }
        if let Some(at) = self.inside.rooms.table.next_timeout() {
            deadline = deadline.min(at);
        }
        if let Some(at) = self.inside.rooms.table.next_handshake() {
            deadline = deadline.min(at);
        }
        if self.inside.rooms.is_sweeping() {
            deadline = deadline.min(now + SWEEP_PAUSE);
        }
        if let Some(at) = self.inside.rooms.next_sound() {
            deadline = deadline.min(at);
        }
        if self.outbox.is_waiting() || !self.inside.unposted.is_empty() {
            deadline = deadline.min(now + RETRY_INTERVAL);
        }
        deadline
    }

    /// True when none is left.
    fn serve_messages(&mut self, now: Instant) -> bool {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(message) = self.messages.take() else {
                return true;
            };
            match message {
                PeerMessage::Datagram {
                    listener,
                    source,
                    datagram,
                } => self.inside.take_datagram(now, listener, source, &datagram),
                PeerMessage::Request(request) => self.ask_rooms(now, request),
                PeerMessage::Notice(notice) => self.inside.calls.handle_room(now, notice),
                PeerMessage::FreePair(rtp_port) => self.pool.release(now, rtp_port),
            }
        }
        false
    }

    /// True when none is left.
    fn serve_requests(&mut self, now: Instant) -> bool {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(ApiRequest { request, reply }) = self.requests.take() else {
                return true;
            };
            let answer = match request {
                CallRequest::Rooms(app) => Some(CallReply::Rooms(
                    self.inside.rooms.of_app(now, app.as_ref()),
                )),
                CallRequest::Room(key) => Some(match self.inside.rooms.room(now, &key) {
                    Some(room) => CallReply::Rooms(vec![room]),
                    None => CallReply::Refused(CallError::UnknownRoom),
                }),
                CallRequest::Counters => {
                    let counters = counters::collect(&Sources {
                        now,
                        calls: &self.inside.calls,
                        rooms: &self.inside.rooms,
                        turn: &self.inside.counters,
                        backend: &self.backend,
                        pool: &self.pool,
                        outbox: &self.outbox,
                        waiting: [self.requests.len(), self.messages.len()],
                        overloaded: self.inside.calls.is_overloaded(),
                        hep: self.inside.capture.as_ref().map(Capture::counters),
                        shared: self.inside.id.0 == 0,
                    });
                    Some(CallReply::Counters(Box::new(counters)))
                }
                CallRequest::Web(request) => Some(self.ask_web(now, request)),
                CallRequest::Sound(request) => Some(self.inside.rooms.handle_sound(now, request)),
                request => {
                    match &request {
                        CallRequest::EndAll => self.end_web(now),
                        CallRequest::UseGuards(guards) => self.overload.use_bound(guards.max_lag),
                        _ => {}
                    }
                    self.next_request += 1;
                    let id = RequestId(self.next_request);
                    self.replies.insert(id, reply);
                    self.inside.calls.handle_request(now, id, request);
                    continue;
                }
            };
            if let Some(answer) = answer {
                // Whoever asked may have gone.
                let _ = reply.send(answer);
            }
        }
        false
    }

    /// Does what calls and rooms ask until neither has anything left.
    fn settle(&mut self, now: Instant) {
        loop {
            let mut idle = true;
            while let Some(output) = self.inside.calls.poll_output() {
                idle = false;
                match output {
                    Output::Event(event) => self.outbox.send(event),
                    Output::Reply(id, reply) => {
                        if let Some(asker) = self.replies.remove(&id) {
                            // Whoever asked may have gone.
                            let _ = asker.send(reply);
                        }
                    }
                    Output::Room(shard, request) if shard == self.inside.id => {
                        self.ask_rooms(now, request);
                    }
                    Output::Room(shard, request) => {
                        self.inside.post(shard, PeerMessage::Request(request));
                    }
                }
            }
            while let Some(notice) = self.inside.rooms.poll_notice() {
                idle = false;
                let shard = notice.addressee();
                if shard == self.inside.id {
                    self.inside.calls.handle_room(now, notice);
                } else {
                    self.inside.post(shard, PeerMessage::Notice(notice));
                }
            }
            while let Some(event) = self.inside.rooms.poll_event() {
                self.outbox.send(event);
            }
            // A leg that falls silent may end a peer, and with it a room.
            let busy = self.follow_media_notices(now);
            if idle && !busy {
                break;
            }
        }
        while let Some(transmit) = self.inside.rooms.table.poll_transmit() {
            self.backend
                .send_media(transmit.port, transmit.to, &transmit.payload);
        }
        while let Some(transmit) = self.inside.calls.poll_transmit(now) {
            if let Some(capture) = &self.inside.capture {
                let payload = transmit.payload.clone();
                let (listener, to) = (transmit.listener, transmit.destination);
                capture.message(now, Way::Sent, listener, to, payload);
            }
            self.backend
                .send_signalling(transmit.listener, transmit.destination, transmit.payload);
        }
        for (shard, rtp_port) in self.returned.drain(..) {
            self.inside.post(shard, PeerMessage::FreePair(rtp_port));
        }
        self.inside.repost();
        self.outbox.flush();
        self.inside.calls.set_congested(self.outbox.is_congested());
    }

    fn ask_rooms(&mut self, now: Instant, request: RoomRequest) {
        let (rooms, mut ports) = self.rooms_and_ports();
        rooms.handle(now, request, &mut ports);
        while let Some((shard, request)) = self.inside.rooms.poll_onward() {
            self.inside.post(shard, PeerMessage::Request(request));
        }
    }

    fn ask_web(&mut self, now: Instant, request: WebRequest) -> CallReply {
        let (rooms, mut ports) = self.rooms_and_ports();
        rooms.handle_web(now, request, &mut ports)
    }

    fn end_web(&mut self, now: Instant) {
        let (rooms, mut ports) = self.rooms_and_ports();
        rooms.end_web(now, &mut ports);
    }

    fn rooms_and_ports(&mut self) -> (&mut Rooms, ShardPorts<'_>) {
        let ports = ShardPorts {
            backend: &mut self.backend,
            pool: &mut self.pool,
            indexes: &mut self.indexes,
            settings: self.port_settings,
            depot: &self.depot,
            returned: &mut self.returned,
        };
        (&mut self.inside.rooms, ports)
    }

    /// What the media side has to tell; true when that made something for the
    /// calls or the api.
    fn follow_media_notices(&mut self, now: Instant) -> bool {
        let mut busy = false;
        while let Some(notice) = self.inside.rooms.table.poll_notice() {
            match notice {
                Notice::Locked { port, address } => self.backend.connect_media(port, address),
                Notice::Unlocked { port } => self.backend.disconnect_media(port),
                Notice::Started { .. } | Notice::Nominated { .. } => {}
                Notice::Secured { leg } => {
                    busy = true;
                    self.inside.rooms.secured(now, leg);
                }
                Notice::ConsentLost { leg } => {
                    busy = true;
                    let (rooms, mut ports) = self.rooms_and_ports();
                    rooms.consent_lost(now, leg, &mut ports);
                }
                Notice::SecurityFailed { leg, reason } => {
                    busy = true;
                    let (rooms, mut ports) = self.rooms_and_ports();
                    rooms.security_failed(now, leg, reason, &mut ports);
                }
            }
        }
        busy
    }
}

impl Inside {
    /// A SIP datagram that this shard owns.
    fn take_datagram(
        &mut self,
        now: Instant,
        listener: ListenerId,
        source: SocketAddr,
        datagram: &[u8],
    ) {
        if let Some(capture) = &self.capture {
            let payload = Bytes::copy_from_slice(datagram);
            capture.message(now, Way::Received, listener, source, payload);
        }
        self.calls.handle_datagram(now, listener, source, datagram);
    }

    /// Posts to another shard, in order, keeping what does not fit.
    fn post(&mut self, shard: ShardId, message: PeerMessage) {
        if !self.unposted.is_empty() {
            self.unposted.push_back((shard, message));
            return;
        }
        let Some(peer) = self.peers.get(usize::from(shard.0)) else {
            self.counters.forwards_dropped += 1;
            return;
        };
        if let Err(message) = peer.post(message) {
            self.unposted.push_back((shard, message));
        }
    }

    fn repost(&mut self) {
        for _ in 0..self.unposted.len() {
            let Some((shard, message)) = self.unposted.pop_front() else {
                return;
            };
            let Some(peer) = self.peers.get(usize::from(shard.0)) else {
                continue;
            };
            if let Err(message) = peer.post(message) {
                self.unposted.push_front((shard, message));
                return;
            }
        }
    }
}

impl Core for Inside {
    fn media_batch(&mut self, now: Instant, batch: &mut [Packet<'_>]) {
        self.woke.get_or_insert(now);
        self.rooms.table.process_batch(now, batch);
        self.rooms.hear(now);
    }

    fn signalling(
        &mut self,
        now: Instant,
        listener: ListenerId,
        source: SocketAddr,
        datagram: &[u8],
    ) {
        self.woke.get_or_insert(now);
        if self.calls.is_banned(now, source.ip()) {
            self.counters.banned += 1;
            return;
        }
        let shards = self.peers.len() as u8;
        if shards > 1
            && let Some(owner) = routing::owner(datagram, shards)
            && owner != self.id
        {
            if self.unposted.len() >= FORWARD_BACKLOG {
                self.counters.forwards_dropped += 1;
                return;
            }
            self.counters.forwards += 1;
            let message = PeerMessage::Datagram {
                listener,
                source,
                datagram: Bytes::copy_from_slice(datagram),
            };
            self.post(owner, message);
            return;
        }
        self.take_datagram(now, listener, source, datagram);
    }

    fn signalling_error(
        &mut self,
        now: Instant,
        listener: ListenerId,
        destination: Option<SocketAddr>,
    ) {
        self.counters.signalling_errors += 1;
        if let Some(destination) = destination {
            self.calls.handle_unreachable(now, listener, destination);
        }
    }
}
