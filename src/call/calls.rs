//! The calls of one shard: a table, and which input goes to which part of it.
//! What happens to an incoming call stands in `incoming`, to an outgoing one
//! in `outgoing`, to an answered one in `in_dialog`, and how any ends in
//! `ending`.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tracing::{info, warn};

use crate::book::{Book, DtmfPolicy};
use crate::call::event::{CallEvent, CallEventKind};
use crate::call::limits::Limits;
use crate::call::output::Output;
use crate::call::query::Queries;
use crate::call::registering::Registrars;
use crate::call::request::{Action, CallError, CallReply, CallRequest, CallState};
use crate::call::room::{RoomNotice, RoomRequest};
use crate::call::scanners::Scanners;
use crate::call::state::{Call, Phase};
use crate::call::tally::Tally;
use crate::clock::WallClock;
use crate::ids::{CallId, ListenerId, RequestId, RoomKey, SessionId, ShardId};
use crate::keying::{Fingerprint, Srtp};
use crate::sip::agent::{Agent, Event, Transmit};
use crate::timers::Timers;
use crate::trace::{TraceSettings, Traces, Way};

/// What the calls of a shard need to know.
#[derive(Debug, Clone)]
pub struct CallSettings {
    /// This shard.
    pub shard: ShardId,
    /// On which shard a room lives.
    pub room_shard: fn(&RoomKey, u8) -> ShardId,
    /// How many shards there are.
    pub shards: u8,
    /// Turns instants into wall-clock time.
    pub clock: WallClock,
    /// An incoming call nobody acts upon within this is refused with 480.
    pub answer_timeout: Duration,
    /// Realm of our digest challenges (RFC 3261 section 22.1).
    pub realm: String,
    /// Addresses of our SIP listeners as peers see them, by [`ListenerId`].
    pub listeners: Vec<SocketAddr>,
    /// Where rooms are.
    pub rooms: RoomBackend,
    /// How media of incoming calls is protected whose number does not say.
    pub srtp: Srtp,
    /// How keys go to peers of calls whose number or request does not say.
    pub dtmf: DtmfPolicy,
    /// Of the certificate for DTLS; without one there is none.
    pub fingerprint: Option<Arc<Fingerprint>>,
    /// How many calls there may be; shared by all shards.
    pub limits: Arc<Limits>,
    /// Who is not listened to; shared by all shards.
    pub scanners: Arc<Scanners>,
    /// How much of the calls' signalling is kept.
    pub trace: TraceSettings,
    /// Where call ids come from.
    pub seed: [u8; 32],
}

/// Where rooms are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomBackend {
    /// On the shards.
    Local,
    /// On a media server, which the api asks for us.
    External {
        /// Address family of the legs towards it.
        ipv6: bool,
        /// A description that has not come by then does not come.
        patience: Duration,
    },
}

/// Seconds after which a peer that got a 503 may try again.
pub(super) const RETRY_AFTER_SECONDS: u32 = 2;

/// Why incoming calls are refused: the labels of the metric.
const REFUSALS: [&str; 13] = [
    "unknown_number",
    "source_not_allowed",
    "challenged",
    "bad_sdp",
    "no_common_codec",
    "draining",
    "overloaded",
    "too_many_calls",
    "call_rate",
    "app_too_many_calls",
    "app_call_rate",
    "number_too_many_calls",
    "number_call_rate",
];

/// All calls of a shard.
pub struct Calls {
    pub(super) settings: CallSettings,
    pub(super) agent: Agent,
    pub(super) book: Arc<Book>,
    pub(super) registrars: Arc<Registrars>,
    /// Boxed: a map of that many bytes each would keep up to half of them empty.
    pub(super) calls: HashMap<CallId, Box<Call>>,
    pub(super) sessions: HashMap<SessionId, CallId>,
    pub(super) timers: Timers<CallId>,
    pub(super) outputs: VecDeque<Output>,
    pub(super) queries: Queries,
    pub(super) traces: Traces,
    pub(super) random: StdRng,
    pub(super) draining: bool,
    pub(super) congested: bool,
    pub(super) overloaded: bool,
    pub(super) tally: Tally,
    pub(super) refusals: HashMap<&'static str, u64>,
}

impl Calls {
    /// No calls yet.
    pub fn new(settings: CallSettings, agent: Agent, book: Arc<Book>) -> Self {
        let random = StdRng::from_seed(settings.seed);
        let traces = Traces::new(settings.trace);
        Calls {
            settings,
            agent,
            book,
            registrars: Arc::default(),
            calls: HashMap::new(),
            sessions: HashMap::new(),
            timers: Timers::new(),
            outputs: VecDeque::new(),
            queries: Queries::default(),
            traces,
            random,
            draining: false,
            congested: false,
            overloaded: false,
            tally: Tally::new(),
            refusals: REFUSALS.iter().map(|label| (*label, 0)).collect(),
        }
    }

    /// A SIP datagram has come in.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        listener: ListenerId,
        source: SocketAddr,
        datagram: &[u8],
    ) {
        let way = Way::Received;
        self.trace(now, way, listener, source, datagram, || {
            Bytes::copy_from_slice(datagram)
        });
        self.agent.handle_datagram(now, listener, source, datagram);
        if self.agent.take_suspicion() {
            self.suspect(now, source.ip());
        }
        self.handle_agent_events(now);
    }

    /// Whether a datagram from here is to be dropped unread.
    pub fn is_banned(&self, now: Instant, source: IpAddr) -> bool {
        let scanners = &self.settings.scanners;
        scanners.is_banned(now, source, &self.book) && !self.registrars.contains(source)
    }

    /// A bad request has come from here.
    pub(super) fn suspect(&mut self, now: Instant, source: IpAddr) {
        if !self.registrars.contains(source) {
            let scanners = &self.settings.scanners;
            scanners.bad_request(now, source, &self.book);
        }
    }

    /// The network says that `destination` cannot be reached.
    pub fn handle_unreachable(
        &mut self,
        now: Instant,
        listener: ListenerId,
        destination: SocketAddr,
    ) {
        self.agent.transport_error(now, listener, destination);
        self.handle_agent_events(now);
    }

    /// Serves a request of the api. Requests about rooms and counters are not
    /// for calls; they are answered by the shard.
    pub fn handle_request(&mut self, now: Instant, id: RequestId, request: CallRequest) {
        match request {
            CallRequest::Dial(dial) => self.dial(now, id, dial),
            CallRequest::Act { call, action } => self.act(now, id, call, action),
            CallRequest::RingBack { call, ringback } => match self.calls.contains_key(&call) {
                true => self.ring(now, id, call, Some(ringback)),
                false => self.reply(id, CallReply::Refused(CallError::UnknownCall)),
            },
            CallRequest::Call(call) => self.query_call(id, call),
            CallRequest::Calls(app) => self.query_app(id, app.as_ref()),
            CallRequest::MediaServer { call, outcome } => {
                self.server_told(now, call, outcome);
                self.reply(id, CallReply::Done);
            }
            CallRequest::Trace(call) => self.tell_trace(id, call),
            CallRequest::UseBook(book) => {
                self.book = book;
                self.reply(id, CallReply::Done);
            }
            CallRequest::UseAnswerTimeout(timeout) => {
                self.settings.answer_timeout = timeout;
                self.reply(id, CallReply::Done);
            }
            CallRequest::UseGuards(guards) => {
                self.settings.limits.use_settings(guards.limits);
                self.settings.scanners.use_settings(guards.scanners);
                self.reply(id, CallReply::Done);
            }
            CallRequest::Admission { source, number } => {
                let admission = self.admission(now, source, &number);
                self.reply(id, CallReply::Admission(admission));
            }
            CallRequest::Register(plan) => self.register(now, id, &plan),
            CallRequest::Unregister(number) => {
                self.agent.unregister(now, &number);
                self.reply(id, CallReply::Done);
            }
            CallRequest::Registrations => self.query_registrations(now, id),
            CallRequest::UseRegistrars(registrars) => {
                self.registrars = registrars;
                self.reply(id, CallReply::Done);
            }
            CallRequest::Drain => {
                self.draining = true;
                // Whoever calls from now on is served elsewhere, or not at all.
                self.agent.unregister_all(now);
                self.reply(id, CallReply::Done);
            }
            CallRequest::EndAll => {
                let all: Vec<CallId> = self.calls.keys().copied().collect();
                for call in all {
                    self.end(now, call, "shutdown");
                }
                self.reply(id, CallReply::Done);
            }
            CallRequest::Rooms(_)
            | CallRequest::Room(_)
            | CallRequest::Web(_)
            | CallRequest::Sound(_)
            | CallRequest::Counters => {}
        }
        self.handle_agent_events(now);
    }

    /// The shard where a call's media lives has something to tell.
    pub fn handle_room(&mut self, now: Instant, notice: RoomNotice) {
        match notice {
            RoomNotice::Joined {
                call,
                local,
                allowed,
                server,
            } => match server {
                Some(server) => self.ask_server(now, call, local, server),
                None => self.joined(now, call, local, allowed),
            },
            RoomNotice::Ringing { call, local } => self.early_leg_open(now, call, &local),
            RoomNotice::Refused { call, error } => self.join_refused(now, call, error),
            RoomNotice::Allowed {
                call,
                codecs,
                renegotiate,
            } => self.allowed(now, call, codecs, renegotiate),
            RoomNotice::OtherJoined { call, peer } => {
                self.tell(now, call, CallEventKind::OtherJoined(peer));
            }
            RoomNotice::OtherLeft { call, peer, reason } => {
                self.tell(now, call, CallEventKind::OtherLeft { peer, reason });
            }
            RoomNotice::SecurityFailed { call, reason } => {
                self.tell(now, call, CallEventKind::Error(reason.to_owned()));
                self.end(now, call, "security_failed");
            }
            RoomNotice::Key { call, key } => self.tell(now, call, CallEventKind::Key(key)),
            RoomNotice::SendKey { call, key } => self.send_key(now, call, key),
            RoomNotice::KeysDropped { call } => {
                let text = "the peer holds: keys that were not out are dropped".to_owned();
                self.tell(now, call, CallEventKind::Error(text));
            }
            RoomNotice::NotRecorded { call, why } => {
                let text = format!("not recorded: {why}");
                self.tell(now, call, CallEventKind::Error(text));
            }
            RoomNotice::Played { call, play, end } => {
                self.tell(now, call, CallEventKind::Played { play, end });
            }
            RoomNotice::Alarm { call, alarm } => {
                self.tally.alarmed(&alarm);
                self.tell(now, call, CallEventKind::Alarm(alarm));
            }
            RoomNotice::Silent { call } => self.silent(now, call),
            RoomNotice::Left { call, media } => self.left(now, call, media),
            RoomNotice::Statistics { query, media, .. } => {
                if let Some((id, reply)) = self.queries.answered(query, media) {
                    self.reply(id, reply);
                }
            }
        }
        self.handle_agent_events(now);
    }

    /// Deadlines up to `now` have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.agent.handle_timeout(now);
        self.handle_agent_events(now);
        while let Some(call) = self.timers.pop(now) {
            self.nobody_acted(now, call);
            self.server_silent(now, call);
        }
        self.handle_agent_events(now);
    }

    /// When [`Self::handle_timeout`] has to be called next.
    pub fn next_timeout(&mut self) -> Option<Instant> {
        [self.agent.next_timeout(), self.timers.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next SIP datagram to send.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        let transmit = self.agent.poll_transmit()?;
        let Transmit {
            listener,
            destination,
            payload,
        } = &transmit;
        self.trace(now, Way::Sent, *listener, *destination, payload, || {
            payload.clone()
        });
        Some(transmit)
    }

    /// Once a second: what has been kept for long enough is forgotten.
    pub fn sweep(&mut self, now: Instant) {
        self.traces.sweep(now);
        self.settings.scanners.sweep(now);
    }

    /// How many bytes the calls' traces take.
    pub fn trace_bytes(&self) -> usize {
        self.traces.bytes()
    }

    /// The next thing to do for a call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How many calls are alive.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there are no calls.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// While true no new calls are taken: the api does not keep up with the
    /// events of those there are.
    pub fn set_congested(&mut self, congested: bool) {
        self.congested = congested;
    }

    /// While true no new calls are taken: the shard is late.
    pub fn set_overloaded(&mut self, overloaded: bool) {
        if overloaded != self.overloaded {
            self.overloaded = overloaded;
            let shard = self.settings.shard.0;
            match overloaded {
                true => warn!(shard, "the shard is late: new calls are refused"),
                false => info!(shard, "the shard is in time again: new calls are taken"),
            }
        }
    }

    /// Whether new calls are refused because the shard is late.
    pub fn is_overloaded(&self) -> bool {
        self.overloaded
    }

    /// How many SIP listeners there are.
    pub fn listeners(&self) -> usize {
        self.settings.listeners.len()
    }

    /// Who is not listened to.
    pub fn scanners(&self) -> &Scanners {
        &self.settings.scanners
    }

    /// What became of calls, and how long it took.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How many calls are in each state.
    pub fn by_state(&self) -> impl Iterator<Item = (CallState, u64)> {
        let states = CallState::ALL.map(|state| {
            let calls = self.calls.values();
            (
                state,
                calls.filter(|call| call.state() == state).count() as u64,
            )
        });
        states.into_iter()
    }

    /// The user agent's counters.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// How many incoming calls were refused, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.refusals.iter().map(|(label, count)| (*label, *count))
    }

    fn handle_agent_events(&mut self, now: Instant) {
        while let Some(event) = self.agent.poll_event() {
            self.handle_agent_event(now, event);
        }
        self.log_registrations(now);
    }

    fn handle_agent_event(&mut self, now: Instant, event: Event) {
        if let Event::Invite { session, invite } = event {
            self.invited(now, session, *invite);
            return;
        }
        let Some(&call) = self.sessions.get(&event.session()) else {
            // Its call ended before the SIP side did: nobody is left to tell.
            return;
        };
        match event {
            Event::Invite { .. } => {}
            Event::Cancelled { .. } => self.caller_cancelled(now, call),
            Event::Provisional { code, body, .. } => self.provisional(now, call, code, body),
            Event::Answered { code, body, .. } => self.answered(now, call, code, body),
            Event::Failed { code, reason, .. } => self.failed(now, call, code, &reason),
            Event::Acknowledged { body, .. } => self.acknowledged(now, call, body),
            Event::Offer {
                session,
                offer,
                method,
                body,
            } => self.offered(now, call, session, offer, &method, body),
            Event::OfferAnswered { body, .. } => self.offer_answered(now, call, body),
            Event::OfferRefused { code, .. } => self.offer_refused(call, code),
            Event::Info { body, .. } => self.info(now, call, body),
            Event::InfoAnswered {
                code, given_back, ..
            } => self.info_answered(now, call, code, &given_back),
            Event::Bye { .. } => self.peer_hung_up(now, call),
            Event::Lost { reason, .. } => self.lost(now, call, reason),
            Event::Ended { .. } => self.session_over(now, call),
        }
    }

    fn act(&mut self, now: Instant, id: RequestId, call: CallId, action: Action) {
        if !self.calls.contains_key(&call) {
            self.reply(id, CallReply::Refused(CallError::UnknownCall));
            return;
        }
        match action {
            Action::Ring => self.ring(now, id, call, None),
            Action::Accept(stream) => self.accept(now, id, call, stream),
            Action::Reject(code) => self.reject(now, id, call, code),
            Action::End => {
                self.end(now, call, "local");
                self.reply(id, CallReply::Done);
            }
        }
    }

    pub(super) fn reply(&mut self, id: RequestId, reply: CallReply) {
        self.outputs.push_back(Output::Reply(id, reply));
    }

    pub(super) fn refuse_wrong_state(&mut self, id: RequestId, call: CallId, action: &'static str) {
        let state = self
            .calls
            .get(&call)
            .map_or("ended", |call| call.state().label());
        let error = CallError::WrongState { action, state };
        self.reply(id, CallReply::Refused(error));
    }

    pub(super) fn tell(&mut self, now: Instant, call: CallId, kind: CallEventKind) {
        let Some(call) = self.calls.get(&call) else {
            return;
        };
        self.outputs.push_back(Output::Event(CallEvent {
            call: call.id,
            app: call.app.clone(),
            timestamp_ms: self.settings.clock.unix_ms(now),
            kind,
        }));
    }

    /// Sends a request to the shard where the call's media lives.
    pub(super) fn ask_room(&mut self, call: CallId, request: RoomRequest) {
        let shard = self.media_shard(call);
        self.ask_rooms_of(shard, request);
    }

    pub(super) fn ask_rooms_of(&mut self, shard: ShardId, request: RoomRequest) {
        self.outputs.push_back(Output::Room(shard, request));
    }

    /// An echo is its call's own; a room lives where its name hashes to.
    pub(super) fn media_shard(&self, call: CallId) -> ShardId {
        match self.calls.get(&call).and_then(|call| call.stream.as_ref()) {
            Some(stream) => (self.settings.room_shard)(&stream.room, self.settings.shards),
            None => self.settings.shard,
        }
    }

    pub(super) fn new_call_id(&mut self) -> CallId {
        CallId {
            shard: self.settings.shard,
            random: self.random.random(),
        }
    }

    pub(super) fn bind_session(&mut self, call: CallId, session: SessionId) {
        self.sessions.insert(session, call);
        if let Some(call) = self.calls.get_mut(&call) {
            call.session = Some(session);
        }
    }

    /// The SIP side of the call is over or no longer of interest.
    pub(super) fn unbind_session(&mut self, call: CallId) -> Option<SessionId> {
        let session = self.calls.get_mut(&call)?.session.take()?;
        self.sessions.remove(&session);
        Some(session)
    }

    pub(super) fn phase(&self, call: CallId) -> Option<&Phase> {
        Some(&self.calls.get(&call)?.phase)
    }
}
