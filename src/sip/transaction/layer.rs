//! The transaction layer over UDP: finds the transaction a message belongs
//! to, steps its machine, and does what the machine asks for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use slab::Slab;

use super::derive::ack_of_failure;
use super::key::KeyWriter;
use super::machine::Machine;
use super::{Action, Timer, TimerSettings};
use crate::sip::message::Response;
use crate::sip::outbox::{Outbox, Path};
use crate::timers::Timers;

/// Below this much room for transactions none is given back.
const SHRINK_FLOOR: usize = 512;

/// Names a transaction. The generation tells a reused slot from its former
/// user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId {
    pub(super) index: u32,
    generation: u32,
}

/// As many transactions exist as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What a received request is to the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFor<O> {
    /// Seen before, or an ACK of a failure: done with.
    Layer,
    /// An ACK that the user of this INVITE waits for (RFC 6026 section 7.1).
    Owner(O),
    /// New: the user's.
    User,
}

/// What a received response is to the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFor<O> {
    /// No transaction waits for it.
    Nobody,
    /// Absorbed.
    Layer,
    /// The user's.
    Owner(TransactionId, O),
}

/// How a client transaction ended without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// To be treated as 408 (RFC 3261 section 8.1.3.1).
    Timeout,
    /// To be treated as 503 (RFC 3261 section 8.1.3.1).
    Transport,
}

/// So much longer a transaction that only waits for repeated messages may be
/// kept (RFC 3261 sections 17.1.1.2 to 17.2.2, RFC 6026): until something else
/// is due, and not at the price of waking for each.
const LINGER_SLACK: Duration = Duration::from_millis(250);

/// All transactions. `O` is what their users call themselves.
#[derive(Debug)]
pub struct Layer<O> {
    settings: TimerSettings,
    capacity: usize,
    entries: Slab<Entry<O>>,
    generation: u32,
    pub(super) by_key: HashMap<Arc<str>, u32>,
    pub(super) keys: KeyWriter,
    /// Client transactions that still send, by where they send to: those an
    /// error of the transport may be about.
    pub(super) sending: BTreeSet<(Path, u32)>,
    pub(super) timers: Timers<(u32, Slot)>,
    /// Those after which a transaction is forgotten, and nobody hears of it.
    lingering: Timers<u32>,
    failures: Vec<(TransactionId, O, Failure)>,
}

/// The timers of one transaction that may run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    /// A, E, G.
    Repeat,
    /// B, F, H.
    Life,
    /// The end of a cancelled INVITE (RFC 3261 section 9.1).
    Abandon,
}

#[derive(Debug)]
pub(super) struct Entry<O> {
    generation: u32,
    key: Arc<str>,
    merged: Option<Arc<str>>,
    pub(super) path: Path,
    /// What [`Action::SendAgain`] sends.
    pub(super) payload: Bytes,
    /// The interval that the repeat timer ran last.
    interval: Duration,
    pub(super) machine: Machine<O>,
}

/// The message that a step is about.
pub(super) enum Given<'a> {
    Nothing,
    /// The message was sent already, these are its octets.
    Sent(Bytes),
    /// A response was received.
    Received(&'a Response),
}

impl<O: Copy> Layer<O> {
    /// No transactions; never more than `capacity`.
    pub fn new(settings: TimerSettings, capacity: usize) -> Self {
        Layer {
            settings,
            capacity,
            entries: Slab::new(),
            generation: 0,
            by_key: HashMap::new(),
            keys: KeyWriter::default(),
            sending: BTreeSet::new(),
            timers: Timers::new(),
            lingering: Timers::new(),
            failures: Vec::new(),
        }
    }

    /// How many transactions there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no transaction.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many timers run.
    pub fn timers(&self) -> usize {
        self.timers.len() + self.lingering.len()
    }

    /// Whether no further transaction may be started.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn next_timeout(&mut self) -> Option<Instant> {
        let lingering = self.lingering.next_deadline();
        let latest = lingering.map(|at| at + LINGER_SLACK);
        [self.timers.next_deadline(), latest]
            .into_iter()
            .flatten()
            .min()
    }

    /// Fires the timers that are due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        while let Some((index, slot)) = self.timers.pop(now) {
            self.fire(now, out, index, slot);
        }
        while let Some(index) = self.lingering.pop(now) {
            self.end_of_life(now, out, index);
        }
    }

    /// Fails the client transactions that send there (RFC 3261 section
    /// 17.1.4). Server transactions are not looked for: an error changes no
    /// INVITE's state (RFC 6026), and no user waits to hear of it.
    pub fn transport_error(&mut self, now: Instant, out: &mut Outbox, path: Path) {
        let concerned: Vec<u32> = self
            .sending
            .range((path, 0)..=(path, u32::MAX))
            .map(|(_, index)| *index)
            .collect();
        for index in concerned {
            let Some(machine) = self.machine_mut(index) else {
                continue;
            };
            let actions = machine.transport_error();
            self.run(now, out, index, actions, Given::Nothing);
        }
    }

    /// The next client transaction that ended without a response.
    pub fn pop_failure(&mut self) -> Option<(TransactionId, O, Failure)> {
        self.failures.pop()
    }

    fn fire(&mut self, now: Instant, out: &mut Outbox, index: u32, slot: Slot) {
        match slot {
            Slot::Repeat => {
                if let Some(machine) = self.machine_mut(index) {
                    let actions = machine.repeat_timer();
                    self.run(now, out, index, actions, Given::Nothing);
                }
            }
            Slot::Life => self.end_of_life(now, out, index),
            Slot::Abandon => self.remove(index),
        }
    }

    fn end_of_life(&mut self, now: Instant, out: &mut Outbox, index: u32) {
        if let Some(machine) = self.machine_mut(index) {
            let actions = machine.life_timer();
            self.run(now, out, index, actions, Given::Nothing);
        }
    }

    /// Does what a step asked for, then tidies up after the state it led to.
    /// True when the message at hand is the user's.
    pub(super) fn run(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        index: u32,
        actions: &[Action],
        given: Given<'_>,
    ) -> bool {
        let id = self.id(index);
        let Some(entry) = self.entries.get_mut(index as usize) else {
            return false;
        };
        let mut delivered = false;
        let repeat = (index, Slot::Repeat);
        for action in actions {
            match *action {
                Action::Send => {
                    if let Given::Sent(payload) = &given {
                        entry.payload = payload.clone();
                    }
                }
                Action::SendAgain => out.again(entry.path, entry.payload.clone()),
                Action::Acknowledge => entry.acknowledge(out, &given),
                Action::Deliver => delivered = true,
                Action::ReportTimeout => {
                    if let Some(owner) = entry.machine.client_owner() {
                        out.counters.timeouts += 1;
                        self.failures.push((id, owner, Failure::Timeout));
                    }
                }
                Action::ReportTransportError => {
                    if let Some(owner) = entry.machine.client_owner() {
                        out.counters.transport_errors += 1;
                        self.failures.push((id, owner, Failure::Transport));
                    }
                }
                Action::Start(timer) => {
                    let interval = self.settings.first(timer);
                    match slot_of(timer) {
                        Some(slot) => {
                            start(&mut self.timers, entry, (index, slot), now, interval);
                        }
                        None => self.lingering.set(index, now + interval),
                    }
                }
                Action::Backoff(timer) => {
                    let interval = self.settings.backoff(timer, entry.interval);
                    start(&mut self.timers, entry, repeat, now, interval);
                }
                Action::Slow(_) => start(&mut self.timers, entry, repeat, now, self.settings.t2),
                Action::Stop(timer) => {
                    match slot_of(timer) {
                        Some(slot) => self.timers.stop(&(index, slot)),
                        None => self.lingering.stop(&index),
                    };
                }
            }
        }
        self.tidy(index);
        delivered
    }

    fn tidy(&mut self, index: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else {
            return;
        };
        let needs = entry.machine.needs();
        if !needs.payload {
            entry.payload = Bytes::new();
        }
        if !needs.unfinished {
            self.timers.stop(&(index, Slot::Abandon));
        }
        if !needs.sends {
            self.sending.remove(&(entry.path, index));
        }
        if needs.over {
            self.remove(index);
        }
    }

    pub(super) fn machine_mut(&mut self, index: u32) -> Option<&mut Machine<O>> {
        let entry = self.entries.get_mut(index as usize)?;
        Some(&mut entry.machine)
    }

    pub(super) fn insert(
        &mut self,
        key: Arc<str>,
        merged: Option<Arc<str>>,
        path: Path,
        machine: Machine<O>,
    ) -> TransactionId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.entries.insert(Entry {
            generation,
            key: Arc::clone(&key),
            merged: merged.clone(),
            path,
            payload: Bytes::new(),
            interval: Duration::ZERO,
            machine,
        }) as u32;
        self.by_key.insert(key, index);
        if let Some(merged) = merged {
            self.by_key.insert(merged, index);
        }
        TransactionId { index, generation }
    }

    pub(super) fn remove(&mut self, index: u32) {
        let Some(entry) = self.entries.try_remove(index as usize) else {
            return;
        };
        for key in std::iter::once(entry.key).chain(entry.merged) {
            if self.by_key.get(&key) == Some(&index) {
                self.by_key.remove(&key);
            }
        }
        self.sending.remove(&(entry.path, index));
        for slot in [Slot::Repeat, Slot::Life, Slot::Abandon] {
            self.timers.stop(&(index, slot));
        }
        self.lingering.stop(&index);
        // Memory of a rush that is over is given back.
        if self.by_key.capacity() > SHRINK_FLOOR && self.by_key.len() < self.by_key.capacity() / 8 {
            self.by_key.shrink_to(self.by_key.len() * 2);
            self.entries.shrink_to_fit();
        }
    }

    pub(super) fn id(&self, index: u32) -> TransactionId {
        let generation = self
            .entries
            .get(index as usize)
            .map_or(0, |entry| entry.generation);
        TransactionId { index, generation }
    }

    pub(super) fn entry(&self, id: TransactionId) -> Option<&Entry<O>> {
        self.entries
            .get(id.index as usize)
            .filter(|entry| entry.generation == id.generation)
    }

    pub(super) fn entry_mut(&mut self, id: TransactionId) -> Option<&mut Entry<O>> {
        self.entries
            .get_mut(id.index as usize)
            .filter(|entry| entry.generation == id.generation)
    }
}

impl<O: Copy> Entry<O> {
    /// The ACK is made once and kept for repeated failures.
    fn acknowledge(&mut self, out: &mut Outbox, given: &Given<'_>) {
        let Some(client) = self.machine.client_invite_mut() else {
            return;
        };
        match (given, &client.request) {
            (Given::Received(response), Some(invite)) if !client.acknowledged => {
                client.acknowledged = true;
                self.payload = out.request(self.path, &ack_of_failure(invite, response));
            }
            _ => out.again(self.path, self.payload.clone()),
        }
    }
}

fn start<O>(
    timers: &mut Timers<(u32, Slot)>,
    entry: &mut Entry<O>,
    key: (u32, Slot),
    now: Instant,
    interval: Duration,
) {
    if key.1 == Slot::Repeat {
        entry.interval = interval;
    }
    timers.set(key, now + interval);
}

/// Which timer of its transaction it is; `None`: the one after which it is
/// forgotten.
fn slot_of(timer: Timer) -> Option<Slot> {
    match timer {
        Timer::A | Timer::E | Timer::G => Some(Slot::Repeat),
        Timer::B | Timer::F | Timer::H => Some(Slot::Life),
        Timer::D | Timer::I | Timer::J | Timer::K | Timer::L | Timer::M => None,
    }
}
