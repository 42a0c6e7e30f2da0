//! The SIP messages of each call of a shard, kept as they were on the wire.
//!
//! What the gateway sends is kept by reference, what it receives is copied
//! once; nothing is read or masked before somebody asks. Of a long call the
//! first and the last messages are kept. When the shard's share of memory is
//! used up, the traces of ended calls go, the oldest first, and then further
//! messages are only counted.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::ids::{AppId, CallId};

/// How long the trace of an ended call is kept: at least as long as the call
/// itself can be asked for.
const ENDED_KEPT: Duration = Duration::from_secs(65);
/// INVITEs that did not become a call yet: those that were refused or
/// challenged. More of them push out the oldest.
const MAX_UNCLAIMED: usize = 256;
/// What a message costs beside its octets.
const OVERHEAD: usize = 128;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceSettings {
    /// Whether anything is.
    pub enabled: bool,
    /// Messages of one call: half of them the first, half the last.
    pub messages: usize,
    /// Bytes of one call, halved in the same way.
    pub bytes: usize,
    /// Bytes of all calls of the shard.
    pub total_bytes: usize,
}

impl Default for TraceSettings {
    fn default() -> Self {
        TraceSettings {
            enabled: true,
            messages: 100,
            bytes: 128 * 1024,
            total_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the gateway.
    Received,
    /// From the gateway.
    Sent,
}

/// One datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedMessage {
    /// When it was received or queued to be sent.
    pub at: Instant,
    /// Which way.
    pub way: Way,
    /// Our socket's address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The octets, secrets and all: to be masked before anybody sees them.
    pub payload: Bytes,
}

/// All that is kept of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallTrace {
    /// The first messages.
    pub first: Vec<TracedMessage>,
    /// How many between the first and the last were left out.
    pub left_out: u64,
    /// The last messages.
    pub last: VecDeque<TracedMessage>,
}

impl CallTrace {
    /// All messages, in order.
    pub fn messages(&self) -> impl Iterator<Item = &TracedMessage> {
        self.first.iter().chain(&self.last)
    }
}

/// Whose a ladder is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    /// An INVITE that is no call (yet).
    Nobody,
    /// A call's, or those of several calls of one app that share a Call-ID:
    /// a proxy that forks to several numbers makes such.
    App(AppId),
    /// Calls of several apps share the Call-ID: nobody may read it.
    Several,
}

#[derive(Debug)]
struct Ladder {
    owner: Owner,
    trace: CallTrace,
    first_bytes: usize,
    last_bytes: usize,
    /// Calls that it is kept for.
    calls: usize,
}

/// The traces of a shard.
#[derive(Debug)]
pub struct Traces {
    settings: TraceSettings,
    ladders: HashMap<Box<[u8]>, Ladder>,
    by_call: HashMap<CallId, (Box<[u8]>, AppId)>,
    unclaimed: VecDeque<Box<[u8]>>,
    ended: VecDeque<(Instant, CallId)>,
    bytes: usize,
}

impl Traces {
    /// No traces yet.
    pub fn new(settings: TraceSettings) -> Self {
        Traces {
            settings,
            ladders: HashMap::new(),
            by_call: HashMap::new(),
            unclaimed: VecDeque::new(),
            ended: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Whether a message with this Call-ID is to be recorded. `begins`: it is
    /// an INVITE outside of any dialog, which may become a call.
    pub fn wants(&mut self, sip_call_id: &[u8], begins: bool) -> bool {
        if !self.settings.enabled {
            return false;
        }
        if self.ladders.contains_key(sip_call_id) {
            return true;
        }
        if begins {
            self.open(sip_call_id, Owner::Nobody);
            self.unclaimed.push_back(sip_call_id.into());
            while self.unclaimed.len() > MAX_UNCLAIMED {
                self.drop_oldest_unclaimed();
            }
        }
        begins
    }

    /// Keeps a message of a Call-ID that is [wanted](Self::wants).
    pub fn record(&mut self, sip_call_id: &[u8], message: TracedMessage) {
        let cost = message.payload.len() + OVERHEAD;
        while self.bytes + cost > self.settings.total_bytes && self.drop_oldest(sip_call_id) {}
        let is_full = self.bytes + cost > self.settings.total_bytes;
        let Some(ladder) = self.ladders.get_mut(sip_call_id) else {
            return;
        };
        if is_full {
            ladder.trace.left_out += 1;
            return;
        }
        let TraceSettings {
            messages, bytes, ..
        } = self.settings;
        let trace = &mut ladder.trace;
        let begun = trace.left_out > 0 || !trace.last.is_empty();
        if !begun && trace.first.len() < messages / 2 && ladder.first_bytes + cost <= bytes / 2 {
            ladder.first_bytes += cost;
            self.bytes += cost;
            trace.first.push(message);
            return;
        }
        trace.last.push_back(message);
        ladder.last_bytes += cost;
        self.bytes += cost;
        while trace.last.len() > messages.div_ceil(2) || ladder.last_bytes > bytes / 2 {
            let Some(oldest) = trace.last.pop_front() else {
                return;
            };
            let freed = oldest.payload.len() + OVERHEAD;
            ladder.last_bytes -= freed;
            self.bytes -= freed;
            trace.left_out += 1;
        }
    }

    /// The messages of this Call-ID, so far and to come, are this call's.
    pub fn claim(&mut self, sip_call_id: &str, call: CallId, app: &AppId) {
        if !self.settings.enabled {
            return;
        }
        let key = sip_call_id.as_bytes();
        self.open(key, Owner::App(app.clone()));
        if let Some(ladder) = self.ladders.get_mut(key) {
            match &ladder.owner {
                Owner::Nobody => ladder.owner = Owner::App(app.clone()),
                Owner::App(owner) if owner == app => {}
                Owner::App(_) | Owner::Several => ladder.owner = Owner::Several,
            }
            ladder.calls += 1;
        }
        self.unclaimed.retain(|unclaimed| &**unclaimed != key);
        self.by_call.insert(call, (key.into(), app.clone()));
    }

    /// The call is over; its trace is kept for a while.
    pub fn end(&mut self, now: Instant, call: CallId) {
        if self.by_call.contains_key(&call) {
            self.ended.push_back((now, call));
        }
    }

    /// Forgets the calls that ended long enough ago.
    pub fn sweep(&mut self, now: Instant) {
        while let Some((since, _)) = self.ended.front() {
            if now.saturating_duration_since(*since) < ENDED_KEPT {
                break;
            }
            self.drop_oldest_ended();
        }
    }

    /// What is kept of a call; none when nothing is, or when its Call-ID is
    /// that of another app's call too.
    pub fn of_call(&self, call: CallId) -> Option<CallTrace> {
        let (key, app) = self.by_call.get(&call)?;
        let ladder = self.ladders.get(key)?;
        (ladder.owner == Owner::App(app.clone())).then(|| ladder.trace.clone())
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn open(&mut self, key: &[u8], owner: Owner) {
        if !self.ladders.contains_key(key) {
            let ladder = Ladder {
                owner,
                trace: CallTrace::default(),
                first_bytes: 0,
                last_bytes: 0,
                calls: 0,
            };
            self.ladders.insert(key.into(), ladder);
        }
    }

    /// Makes room; false when nothing is left that may go.
    fn drop_oldest(&mut self, but: &[u8]) -> bool {
        if self.unclaimed.front().is_some_and(|key| &**key != but) {
            self.drop_oldest_unclaimed();
            return true;
        }
        let oldest = self.ended.front().map(|(_, call)| *call);
        let is_other = oldest
            .and_then(|call| self.by_call.get(&call))
            .is_some_and(|(key, _)| &**key != but);
        if is_other {
            self.drop_oldest_ended();
        }
        is_other
    }

    fn drop_oldest_unclaimed(&mut self) {
        if let Some(key) = self.unclaimed.pop_front() {
            self.close(&key);
        }
    }

    fn drop_oldest_ended(&mut self) {
        let Some((_, call)) = self.ended.pop_front() else {
            return;
        };
        let Some((key, _)) = self.by_call.remove(&call) else {
            return;
        };
        // Another call of the same Call-ID may be alive, or have ended later.
        let Some(ladder) = self.ladders.get_mut(&key) else {
            return;
        };
        ladder.calls = ladder.calls.saturating_sub(1);
        if ladder.calls == 0 {
            self.close(&key);
        }
    }

    fn close(&mut self, key: &[u8]) {
        if let Some(ladder) = self.ladders.remove(key) {
            self.bytes -= ladder.first_bytes + ladder.last_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    fn id(random: u128) -> CallId {
        CallId {
            shard: ShardId(0),
            random,
        }
    }

    fn app() -> AppId {
        AppId::new("a")
    }

    fn message(now: Instant, text: &str) -> TracedMessage {
        TracedMessage {
            at: now,
            way: Way::Received,
            local: "127.0.0.1:5060".parse().unwrap(),
            remote: "127.0.0.1:5070".parse().unwrap(),
            payload: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    fn texts(trace: &CallTrace) -> Vec<&str> {
        trace
            .messages()
            .map(|message| std::str::from_utf8(&message.payload).unwrap())
            .collect()
    }

    fn settings() -> TraceSettings {
        TraceSettings {
            messages: 4,
            ..TraceSettings::default()
        }
    }

    #[test]
    fn what_came_before_the_call_was_one_belongs_to_it() {
        let (now, mut traces) = (Instant::now(), Traces::new(settings()));
        assert!(traces.wants(b"x", true));
        traces.record(b"x", message(now, "INVITE"));
        traces.claim("x", id(1), &app());
        assert!(traces.wants(b"x", false));
        traces.record(b"x", message(now, "200"));
        assert_eq!(texts(&traces.of_call(id(1)).unwrap()), ["INVITE", "200"]);
        assert!(!traces.wants(b"y", false));
        assert_eq!(traces.of_call(id(2)), None);
    }

    #[test]
    fn of_many_messages_the_first_and_the_last_are_kept() {
        let (now, mut traces) = (Instant::now(), Traces::new(settings()));
        traces.claim("x", id(1), &app());
        for n in 0..10 {
            traces.record(b"x", message(now, &n.to_string()));
        }
        let trace = traces.of_call(id(1)).unwrap();
        assert_eq!(texts(&trace), ["0", "1", "8", "9"]);
        assert_eq!(trace.left_out, 6);
        assert_eq!(traces.bytes(), 4 * (1 + OVERHEAD));
    }

    #[test]
    fn the_bytes_of_a_call_are_bounded() {
        let settings = TraceSettings {
            bytes: 2 * (10 + OVERHEAD),
            ..TraceSettings::default()
        };
        let (now, mut traces) = (Instant::now(), Traces::new(settings));
        traces.claim("x", id(1), &app());
        for n in 0..5 {
            traces.record(b"x", message(now, &format!("message  {n}")));
        }
        let trace = traces.of_call(id(1)).unwrap();
        assert_eq!(texts(&trace), ["message  0", "message  4"]);
        assert_eq!(trace.left_out, 3);
    }

    #[test]
    fn an_ended_call_is_kept_for_a_while_and_then_nothing_is_left() {
        let (now, mut traces) = (Instant::now(), Traces::new(settings()));
        traces.claim("x", id(1), &app());
        traces.record(b"x", message(now, "BYE"));
        traces.end(now, id(1));
        traces.record(b"x", message(now, "200"));
        traces.sweep(now + ENDED_KEPT - Duration::from_millis(1));
        assert_eq!(texts(&traces.of_call(id(1)).unwrap()), ["BYE", "200"]);
        traces.sweep(now + ENDED_KEPT);
        assert_eq!(traces.of_call(id(1)), None);
        assert_eq!((traces.bytes(), traces.ladders.len()), (0, 0));
    }

    #[test]
    fn when_memory_is_used_up_ended_calls_go_first_and_then_messages_are_only_counted() {
        let settings = TraceSettings {
            total_bytes: 2 * (4 + OVERHEAD),
            ..TraceSettings::default()
        };
        let (now, mut traces) = (Instant::now(), Traces::new(settings));
        traces.claim("x", id(1), &app());
        traces.record(b"x", message(now, "1111"));
        traces.end(now, id(1));
        traces.claim("y", id(2), &app());
        traces.record(b"y", message(now, "2222"));
        traces.record(b"y", message(now, "3333"));
        assert_eq!(traces.of_call(id(1)), None);
        traces.record(b"y", message(now, "4444"));
        let trace = traces.of_call(id(2)).unwrap();
        assert_eq!(texts(&trace), ["2222", "3333"]);
        assert_eq!(trace.left_out, 1);
    }

    #[test]
    fn invites_that_never_became_calls_push_each_other_out() {
        let (now, mut traces) = (Instant::now(), Traces::new(settings()));
        for n in 0..=MAX_UNCLAIMED {
            let key = n.to_string();
            assert!(traces.wants(key.as_bytes(), true));
            traces.record(key.as_bytes(), message(now, "INVITE"));
        }
        assert_eq!(traces.ladders.len(), MAX_UNCLAIMED);
        assert!(!traces.wants(b"0", false));
    }

    #[test]
    fn a_call_id_that_two_apps_share_is_shown_to_neither() {
        let mut traces = Traces::new(settings());
        traces.claim("x", id(1), &app());
        traces.claim("x", id(2), &app());
        assert!(traces.of_call(id(1)).is_some());
        traces.claim("x", id(3), &AppId::new("b"));
        for n in 1..=3 {
            assert_eq!(traces.of_call(id(n)), None);
        }
    }

    #[test]
    fn nothing_is_kept_where_tracing_is_off() {
        let settings = TraceSettings {
            enabled: false,
            ..TraceSettings::default()
        };
        let mut traces = Traces::new(settings);
        assert!(!traces.wants(b"x", true));
        traces.claim("x", id(1), &app());
        assert_eq!(traces.of_call(id(1)), None);
    }
}
