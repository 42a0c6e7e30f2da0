//! The SIP messages of each call of a shard, kept as they were on the wire.
//!
//! What the gateway sends is kept by reference, what it receives is copied
//! once; nothing is read or masked before somebody asks. A while later the
//! messages of a call that goes on are made small (`packed`), a few calls' at
//! a time. Of a long call the first and the last messages are kept. When the
//! shard's share of memory is used up, the traces of ended calls go, the oldest
//! first, and then further messages are only counted.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::run::{Run, cost};
use crate::ids::{AppId, CallId};

/// How long the trace of an ended call is kept: at least as long as the call
/// itself can be asked for.
const ENDED_KEPT: Duration = Duration::from_secs(65);
/// INVITEs that did not become a call yet: those that were refused or
/// challenged. More of them push out the oldest.
const MAX_UNCLAIMED: usize = 256;
/// How long messages stay as they came: longer than most calls take to be
/// answered, so that the messages of an answered call are made small together.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// Calls whose messages are made small with each message that is kept. As each
/// makes one call at most wait for it, nothing piles up.
const PACKED_PER_MESSAGE: usize = 2;
/// The same once a second, for when no message comes.
const PACKED_PER_SWEEP: usize = 128;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceSettings {
    /// Whether anything is.
    pub enabled: bool,
    /// Messages of one call: half of them the first, half the last.
    pub messages: usize,
    /// Bytes of one call, as they came, halved in the same way.
    pub bytes: usize,
    /// Bytes of all calls of the shard, as they are kept.
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
    pub last: Vec<TracedMessage>,
}

impl CallTrace {
    /// All messages, in order.
    pub fn messages(&self) -> impl Iterator<Item = &TracedMessage> {
        self.first.iter().chain(&self.last)
    }
}

/// All that is kept of one call, as it is kept. To read it takes time that a
/// shard has better use for.
#[derive(Debug, Clone, Default)]
pub struct KeptTrace {
    first: Run,
    left_out: u64,
    last: Run,
    epoch: Option<Instant>,
}

impl KeptTrace {
    /// The messages as they came.
    pub fn read(&self) -> CallTrace {
        let read = |run: &Run| match self.epoch {
            Some(epoch) => run.read(epoch),
            None => Vec::new(),
        };
        CallTrace {
            first: read(&self.first),
            left_out: self.left_out,
            last: read(&self.last),
        }
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
    /// The first messages.
    first: Run,
    /// How many between the first and the last were left out.
    left_out: u64,
    /// The last messages, of a call that has more than the first ones.
    last: Option<Box<Run>>,
    /// Its messages wait for being made small; only those of live calls do.
    waits: bool,
    /// Calls of those it is kept for that have not ended.
    live: usize,
    /// Calls that it is kept for.
    calls: usize,
}

impl Ladder {
    /// The bytes that it takes.
    fn memory(&self) -> usize {
        let last = self.last.as_ref().map_or(0, |last| last.memory());
        self.first.memory() + last
    }

    /// Makes the oldest of its messages small; whether there are more.
    fn pack(&mut self, epoch: Instant) -> bool {
        if self.first.is_fresh() {
            self.first.pack(epoch);
        } else if let Some(last) = &mut self.last {
            last.pack(epoch);
        }
        let last = self.last.as_ref();
        self.first.is_fresh() || last.is_some_and(|last| last.is_fresh())
    }
}

/// The traces of a shard.
#[derive(Debug)]
pub struct Traces {
    settings: TraceSettings,
    /// Boxed: a map of that many bytes each would keep up to half of them empty.
    ladders: HashMap<Arc<[u8]>, Box<Ladder>>,
    by_call: HashMap<CallId, Arc<[u8]>>,
    unclaimed: VecDeque<Arc<[u8]>>,
    ended: VecDeque<(Instant, CallId)>,
    /// Ladders with messages as they came, each once, and since when they have
    /// such.
    waiting: VecDeque<(Instant, Arc<[u8]>)>,
    /// What times are counted from.
    epoch: Option<Instant>,
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
            waiting: VecDeque::new(),
            epoch: None,
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
            let key = self.open(sip_call_id, Owner::Nobody);
            self.unclaimed.push_back(key);
            while self.unclaimed.len() > MAX_UNCLAIMED {
                self.drop_oldest_unclaimed();
            }
        }
        begins
    }

    /// Keeps a message of a Call-ID that is [wanted](Self::wants).
    pub fn record(&mut self, sip_call_id: &[u8], message: TracedMessage) {
        self.pack_due(message.at, PACKED_PER_MESSAGE);
        let cost = cost(message.payload.len());
        while self.bytes + cost > self.settings.total_bytes && self.drop_oldest(sip_call_id) {}
        let is_full = self.bytes + cost > self.settings.total_bytes;
        let Some(ladder) = self.ladders.get_mut(sip_call_id) else {
            return;
        };
        if is_full {
            ladder.left_out += 1;
            return;
        }
        let TraceSettings {
            messages, bytes, ..
        } = self.settings;
        let at = message.at;
        self.epoch.get_or_insert(at);
        // What is no live call's is not kept for long.
        let waited = ladder.live == 0 || std::mem::replace(&mut ladder.waits, true);
        let before = ladder.memory();
        let first = &mut ladder.first;
        let begun = ladder.left_out > 0 || ladder.last.is_some();
        if !begun && first.len() < messages / 2 && first.cost() + cost <= bytes / 2 {
            first.push(message);
        } else {
            let last = ladder.last.get_or_insert_default();
            last.push(message);
            while last.len() > messages.div_ceil(2) || last.cost() > bytes / 2 {
                if !last.pop() {
                    break;
                }
                ladder.left_out += 1;
            }
        }
        self.bytes = self.bytes + ladder.memory() - before;
        if !waited && let Some((key, _)) = self.ladders.get_key_value(sip_call_id) {
            self.waiting.push_back((at, key.clone()));
        }
    }

    /// The messages of this Call-ID, so far and to come, are this call's.
    pub fn claim(&mut self, sip_call_id: &str, call: CallId, app: &AppId) {
        if !self.settings.enabled {
            return;
        }
        let key = self.open(sip_call_id.as_bytes(), Owner::App(app.clone()));
        if let Some(ladder) = self.ladders.get_mut(&key) {
            match &ladder.owner {
                Owner::Nobody => ladder.owner = Owner::App(app.clone()),
                Owner::App(owner) if owner == app => {}
                Owner::App(_) | Owner::Several => ladder.owner = Owner::Several,
            }
            ladder.calls += 1;
            ladder.live += 1;
            if let Some(since) = ladder.first.fresh_since()
                && !std::mem::replace(&mut ladder.waits, true)
            {
                self.waiting.push_back((since, key.clone()));
            }
        }
        self.unclaimed.retain(|unclaimed| *unclaimed != key);
        self.by_call.insert(call, key);
    }

    /// The call is over; its trace is kept for a while.
    pub fn end(&mut self, now: Instant, call: CallId) {
        if let Some(key) = self.by_call.get(&call) {
            if let Some(ladder) = self.ladders.get_mut(key) {
                ladder.live = ladder.live.saturating_sub(1);
            }
            self.ended.push_back((now, call));
        }
    }

    /// Once a second: forgets the calls that ended long enough ago, and makes
    /// messages small.
    pub fn sweep(&mut self, now: Instant) {
        self.pack_due(now, PACKED_PER_SWEEP);
        while let Some((since, _)) = self.ended.front() {
            if now.saturating_duration_since(*since) < ENDED_KEPT {
                break;
            }
            self.drop_oldest_ended();
        }
    }

    /// What is kept of a call; none when nothing is, or when its Call-ID is
    /// that of another app's call too.
    pub fn of_call(&self, call: CallId) -> Option<KeptTrace> {
        let ladder = self.ladders.get(self.by_call.get(&call)?)?;
        match ladder.owner {
            // A ladder of one app's is the app's of all its calls.
            Owner::App(_) => Some(KeptTrace {
                first: ladder.first.clone(),
                left_out: ladder.left_out,
                last: ladder.last.as_deref().cloned().unwrap_or_default(),
                epoch: self.epoch,
            }),
            Owner::Nobody | Owner::Several => None,
        }
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The key of this Call-ID's ladder, which is there from now on.
    fn open(&mut self, sip_call_id: &[u8], owner: Owner) -> Arc<[u8]> {
        if let Some((key, _)) = self.ladders.get_key_value(sip_call_id) {
            return key.clone();
        }
        let key: Arc<[u8]> = sip_call_id.into();
        let ladder = Ladder {
            owner,
            first: Run::default(),
            left_out: 0,
            last: None,
            waits: false,
            live: 0,
            calls: 0,
        };
        self.ladders.insert(key.clone(), Box::new(ladder));
        key
    }

    /// Makes messages small that have been there for long enough, of so many
    /// calls at most.
    fn pack_due(&mut self, now: Instant, at_most: usize) {
        let Some(epoch) = self.epoch else { return };
        for _ in 0..at_most {
            match self.waiting.front() {
                Some((since, _)) if now.saturating_duration_since(*since) >= FRESH_FOR => {}
                Some(_) | None => return,
            }
            let Some((since, key)) = self.waiting.pop_front() else {
                return;
            };
            // It may be gone, or be another by now, which comes to no harm.
            let Some(ladder) = self.ladders.get_mut(&key) else {
                continue;
            };
            if ladder.live == 0 {
                // A short call's messages are not worth the work any more.
                ladder.waits = false;
                continue;
            }
            let before = ladder.memory();
            ladder.waits = ladder.pack(epoch);
            self.bytes = self.bytes + ladder.memory() - before;
            if ladder.waits {
                self.waiting.push_front((since, key));
            }
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
            .is_some_and(|key| &**key != but);
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
        let Some(key) = self.by_call.remove(&call) else {
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
            self.bytes -= ladder.memory();
        }
    }
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
