//! What waits for one target of one app. The oldest part of it is in memory,
//! each call's events in order; the rest is on the disk only and is read on
//! from there, so that a long outage costs disk and not memory.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{Notify, oneshot};

use crate::api::proto::sip_gateway::CallEvent;
use crate::book::Hook;
use crate::ids::CallId;
use crate::store::Written;

use super::breaker::{Breaker, Standing};
use crate::api::hook_answer::HookAnswer;

/// Events of one target in memory; more are on the disk only.
const WINDOW: usize = 1_024;
/// Questions have callers waiting and go by the window up to this.
const MAX_IN_MEMORY: usize = 20_000;

/// Where the answer to a question goes.
pub type Asker = oneshot::Sender<Result<HookAnswer, String>>;

/// One event in memory.
pub struct Item {
    /// Its place among all events.
    pub seq: i64,
    /// `X-Hook-Id`.
    pub id: String,
    pub call: CallId,
    pub hook: Hook,
    pub body: CallEvent,
    /// When it happened and until when it is tried, milliseconds since the
    /// Unix epoch.
    pub created_ms: u64,
    pub expires_ms: u64,
    pub attempts: u32,
    /// Not tried before, milliseconds since the Unix epoch.
    pub next_attempt_ms: u64,
    /// Being written to the outbox.
    pub written: Option<Written<()>>,
    /// It is, or will be, in the outbox.
    pub kept: bool,
    /// Of an arrival that is asked about.
    pub answer: Option<Asker>,
}

/// What somebody wants of the event that is being posted; each is asked for
/// once at most, and stays until it is looked at.
#[derive(Clone, Default)]
pub struct Orders {
    /// Try without waiting.
    pub try_now: Arc<Notify>,
    /// It is given up already: stop.
    pub drop: Arc<Notify>,
}

/// What waits of one call.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Item>,
    /// The `seq` of the event that somebody posts.
    posting: Option<(i64, Orders)>,
    /// The next one is to be tried without waiting.
    hurried: bool,
}

/// Where an event was that has been given up.
#[derive(Debug, PartialEq, Eq)]
pub enum Dropped {
    /// In memory, where it is no more.
    Queued,
    /// Being posted; whoever does so stops, and settles it.
    Posting,
    /// On the disk only.
    OnDisk,
    /// Over already.
    Over,
}

/// What became of a call that is to be tried now.
#[derive(Debug, PartialEq, Eq)]
pub enum Hurried {
    /// Whoever posts its events is told.
    Told,
    /// Somebody has to start on it.
    Starts,
    /// Its events are on the disk only, and there is no room in memory.
    NoRoom,
}

/// What became of an event that came in.
pub enum Admitted {
    /// Into memory, behind others of its call.
    Queued,
    /// Into memory, the only one of its call: somebody has to start on it.
    First,
    /// It is read from the disk when its turn has come.
    Later(Box<Item>),
}

/// One target.
#[derive(Default)]
pub struct Backlog {
    calls: HashMap<CallId, Line>,
    in_memory: usize,
    /// Events after `read_to` are on the disk only, but for those `ahead`.
    behind: bool,
    read_to: i64,
    ahead: HashSet<i64>,
    /// Given up while on the disk only; a look at the disk that began before
    /// may still find them.
    dropped: HashSet<i64>,
    /// Events for the disk only that are not written yet.
    unwritten: usize,
    /// Counts events for the disk only.
    generation: u64,
    reading: bool,
    pub breaker: Breaker,
    /// The breaker has changed.
    pub changed: Arc<Notify>,
}

/// A look at the disk.
pub struct Reading {
    /// What happened after this.
    pub after: i64,
    /// So many at most.
    pub limit: usize,
    generation: u64,
    all_written: bool,
}

/// What to do after a look at the disk.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: all that waits is in memory, or memory is full.
    Stop,
    /// Look again at once.
    Again,
    /// Look again once more has been written.
    Soon,
}

impl Backlog {
    /// With what an earlier start of the gateway has left on the disk.
    pub fn left_over() -> Self {
        Backlog {
            behind: true,
            ..Backlog::default()
        }
    }

    /// One more event, which is being written.
    pub fn admit(&mut self, mut item: Item) -> Admitted {
        if self.in_memory >= MAX_IN_MEMORY {
            // The asker is told by this that nobody will answer.
            item.answer = None;
        }
        if item.answer.is_some() {
            if self.behind {
                self.ahead.insert(item.seq);
            }
            return self.queue(item);
        }
        if self.behind || self.in_memory >= WINDOW {
            self.goes_to_disk(item.seq);
            return Admitted::Later(Box::new(item));
        }
        self.queue(item)
    }

    /// The event of this `seq` will be on the disk only.
    pub fn goes_to_disk(&mut self, seq: i64) {
        if !self.behind {
            self.behind = true;
            self.read_to = seq - 1;
        }
        self.unwritten += 1;
        self.generation += 1;
    }

    /// An event for the disk only has been written, or could not be.
    pub fn went_to_disk(&mut self) {
        self.unwritten = self.unwritten.saturating_sub(1);
    }

    /// Into memory.
    pub fn queue(&mut self, item: Item) -> Admitted {
        self.in_memory += 1;
        let first = !self.calls.contains_key(&item.call);
        let line = self.calls.entry(item.call).or_default();
        line.waiting.push_back(item);
        match first {
            true => Admitted::First,
            false => Admitted::Queued,
        }
    }

    /// The call's next event; after none, somebody has to start anew on it.
    pub fn next(&mut self, call: CallId) -> Option<(Item, Orders)> {
        let line = self.calls.get_mut(&call)?;
        let Some(item) = line.waiting.pop_front() else {
            self.calls.remove(&call);
            return None;
        };
        let orders = Orders::default();
        if std::mem::take(&mut line.hurried) {
            orders.try_now.notify_one();
        }
        line.posting = Some((item.seq, orders.clone()));
        Some((item, orders))
    }

    /// The call's oldest event is to be tried without waiting. `head` is that
    /// event as the disk has it, for a call that is not in memory.
    pub fn hurry(&mut self, call: CallId, head: Option<Item>) -> Hurried {
        if let Some(line) = self.calls.get_mut(&call) {
            match &line.posting {
                Some((_, orders)) => orders.try_now.notify_one(),
                None => line.hurried = true,
            }
            return Hurried::Told;
        }
        let Some(head) = head.filter(|head| self.is_on_disk_only(head.seq)) else {
            // It was read, and settled, meanwhile.
            return Hurried::Told;
        };
        if self.in_memory >= MAX_IN_MEMORY {
            return Hurried::NoRoom;
        }
        self.ahead.insert(head.seq);
        self.queue(head);
        if let Some(line) = self.calls.get_mut(&call) {
            line.hurried = true;
        }
        Hurried::Starts
    }

    /// This event of the call has been given up on the disk.
    pub fn drop_event(&mut self, call: CallId, seq: i64) -> Dropped {
        if let Some(line) = self.calls.get_mut(&call) {
            if let Some((posting, orders)) = &line.posting
                && *posting == seq
            {
                orders.drop.notify_one();
                return Dropped::Posting;
            }
            if let Some(at) = line.waiting.iter().position(|item| item.seq == seq) {
                line.waiting.remove(at);
                self.finished();
                return Dropped::Queued;
            }
        }
        if self.is_on_disk_only(seq) {
            self.dropped.insert(seq);
            return Dropped::OnDisk;
        }
        Dropped::Over
    }

    fn is_on_disk_only(&self, seq: i64) -> bool {
        self.behind && seq > self.read_to && !self.ahead.contains(&seq)
    }

    /// An event is over.
    pub fn finished(&mut self) {
        self.in_memory = self.in_memory.saturating_sub(1);
    }

    /// The call's events stay for the next start of the gateway; how many.
    pub fn leave(&mut self, call: CallId) -> usize {
        let left = self
            .calls
            .remove(&call)
            .map_or(0, |line| line.waiting.len());
        self.in_memory = self.in_memory.saturating_sub(left);
        left
    }

    /// Whether somebody has to read on from the disk; if so, that is taken to
    /// happen.
    pub fn starts_reading(&mut self) -> bool {
        let starts = self.behind && !self.reading && self.in_memory <= WINDOW / 2;
        self.reading |= starts;
        starts
    }

    /// What to read now.
    pub fn reading(&self) -> Reading {
        Reading {
            after: self.read_to,
            limit: WINDOW.saturating_sub(self.in_memory).max(1),
            generation: self.generation,
            all_written: self.unwritten == 0,
        }
    }

    /// These were found, the oldest first; the calls that somebody has to
    /// start on, and what to do next.
    pub fn read(&mut self, reading: &Reading, items: Vec<Item>) -> (Vec<CallId>, Next) {
        let short = items.len() < reading.limit;
        let mut started = Vec::new();
        for item in items {
            self.read_to = item.seq;
            let call = item.call;
            if self.dropped.remove(&item.seq) {
                continue;
            }
            if !self.ahead.remove(&item.seq) && matches!(self.queue(item), Admitted::First) {
                started.push(call);
            }
        }
        let unchanged = self.generation == reading.generation;
        let next = if short && reading.all_written && unchanged {
            self.behind = false;
            self.ahead.clear();
            self.dropped.clear();
            Next::Stop
        } else if self.in_memory > WINDOW / 2 {
            Next::Stop
        } else if short {
            Next::Soon
        } else {
            Next::Again
        };
        self.reading = next != Next::Stop;
        (started, next)
    }

    /// How many of its events are in memory.
    pub fn in_memory(&self) -> usize {
        self.in_memory
    }

    /// Whether nothing of it needs to be remembered.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.in_memory == 0
            && !self.behind
            && self.breaker.standing() == Standing::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::HookContentType;
    use crate::ids::ShardId;

    fn call(n: u128) -> CallId {
        CallId {
            shard: ShardId(0),
            random: n,
        }
    }

    fn item(seq: i64, n: u128) -> Item {
        Item {
            seq,
            id: seq.to_string(),
            call: call(n),
            hook: Hook {
                url: Arc::from("http://127.0.0.1/"),
                content_type: HookContentType::Json,
                trusted: true,
            },
            body: CallEvent::default(),
            created_ms: 0,
            expires_ms: 0,
            attempts: 0,
            next_attempt_ms: 0,
            written: None,
            kept: true,
            answer: None,
        }
    }

    fn seqs(backlog: &mut Backlog, n: u128) -> Vec<i64> {
        std::iter::from_fn(|| backlog.next(call(n)))
            .map(|(item, _)| item.seq)
            .collect()
    }

    #[test]
    fn past_the_window_events_wait_on_the_disk_and_come_back_in_order() {
        let mut backlog = Backlog::default();
        let window = WINDOW as i64;
        for seq in 0..window {
            assert!(!matches!(backlog.admit(item(seq, 1)), Admitted::Later(_)));
        }
        for seq in [window, window + 1] {
            assert!(matches!(backlog.admit(item(seq, 1)), Admitted::Later(_)));
            backlog.went_to_disk();
        }
        assert!(!backlog.starts_reading(), "memory is full");
        assert_eq!(seqs(&mut backlog, 1).len(), WINDOW);
        (0..window).for_each(|_| backlog.finished());
        // There is room, but what waits on the disk is older.
        assert!(matches!(
            backlog.admit(item(window + 2, 1)),
            Admitted::Later(_)
        ));
        assert!(backlog.starts_reading());
        let reading = backlog.reading();
        assert_eq!((reading.after, reading.limit), (window - 1, WINDOW));
        let found = vec![item(window, 1), item(window + 1, 1)];
        let (started, next) = backlog.read(&reading, found);
        assert_eq!((started, next), (vec![call(1)], Next::Soon));
        backlog.went_to_disk();
        let reading = backlog.reading();
        assert_eq!(reading.after, window + 1);
        let (started, next) = backlog.read(&reading, vec![item(window + 2, 1)]);
        assert_eq!((started, next), (Vec::new(), Next::Stop));
        assert_eq!(seqs(&mut backlog, 1), [window, window + 1, window + 2]);
        assert!(matches!(
            backlog.admit(item(window + 3, 1)),
            Admitted::First
        ));
    }

    #[test]
    fn an_event_that_comes_while_the_disk_is_read_keeps_it_behind() {
        let mut backlog = Backlog::left_over();
        assert!(backlog.starts_reading());
        assert!(!backlog.starts_reading(), "somebody reads already");
        let reading = backlog.reading();
        assert!(matches!(backlog.admit(item(5, 1)), Admitted::Later(_)));
        assert_eq!(backlog.read(&reading, Vec::new()), (Vec::new(), Next::Soon));
        backlog.went_to_disk();
        let reading = backlog.reading();
        let (started, next) = backlog.read(&reading, vec![item(5, 1)]);
        assert_eq!((started, next), (vec![call(1)], Next::Stop));
        assert!(!backlog.is_idle());
    }

    #[test]
    fn a_question_goes_by_what_waits_and_is_not_read_again() {
        let mut backlog = Backlog::left_over();
        let (sender, _receiver) = oneshot::channel();
        let question = Item {
            answer: Some(sender),
            ..item(7, 2)
        };
        assert!(matches!(backlog.admit(question), Admitted::First));
        let reading = backlog.reading();
        let (started, next) = backlog.read(&reading, vec![item(6, 1), item(7, 2)]);
        assert_eq!((started, next), (vec![call(1)], Next::Stop));
        assert_eq!(seqs(&mut backlog, 2), [7]);
    }

    #[test]
    fn what_is_dropped_is_not_posted_wherever_it_was_and_what_follows_is() {
        let mut backlog = Backlog::default();
        (1..=3).for_each(|seq| drop(backlog.admit(item(seq, 1))));
        let (posting, _) = backlog.next(call(1)).unwrap();
        assert_eq!(backlog.drop_event(call(1), posting.seq), Dropped::Posting);
        assert_eq!(backlog.drop_event(call(1), 2), Dropped::Queued);
        assert_eq!(backlog.drop_event(call(1), 2), Dropped::Over);
        assert_eq!(seqs(&mut backlog, 1), [3]);
        assert_eq!(backlog.in_memory(), 2, "those that were posted");

        let mut backlog = Backlog::left_over();
        let reading = backlog.reading();
        assert_eq!(backlog.drop_event(call(1), 4), Dropped::OnDisk);
        // The look at the disk began before.
        let found = vec![item(4, 1), item(5, 1)];
        assert_eq!(backlog.read(&reading, found), (vec![call(1)], Next::Stop));
        assert_eq!(seqs(&mut backlog, 1), [5]);
    }

    #[test]
    fn a_call_on_the_disk_is_tried_ahead_and_read_once() {
        let mut backlog = Backlog::left_over();
        let reading = backlog.reading();
        let head = Some(item(7, 2));
        assert_eq!(backlog.hurry(call(2), head), Hurried::Starts);
        assert_eq!(backlog.hurry(call(2), None), Hurried::Told);
        let (first, _) = backlog.next(call(2)).unwrap();
        assert_eq!(first.seq, 7);
        let found = vec![item(6, 1), item(7, 2), item(8, 2)];
        assert_eq!(backlog.read(&reading, found), (vec![call(1)], Next::Stop));
        assert_eq!(seqs(&mut backlog, 2), [8]);
    }
}
