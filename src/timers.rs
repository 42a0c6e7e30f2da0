//! Keyed deadlines: set, stop, next. The one timer facility of the pure rooms.
//!
//! A binary heap with lazy deletion: stopping or moving a timer leaves its old
//! heap entry behind, recognised by its sequence number and dropped when it
//! surfaces. Garbage is bounded: the heap is rebuilt when more than half of it
//! is dead.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// Below this many entries a rebuild is not worth its while.
const REBUILD_FLOOR: usize = 64;
/// Below this much room for keys none is given back.
const SHRINK_FLOOR: usize = 512;

/// Deadlines by key; each key has at most one.
#[derive(Debug)]
pub struct Timers<K> {
    live: HashMap<K, (Instant, u64)>,
    heap: BinaryHeap<Reverse<Entry<K>>>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<K> {
    at: Instant,
    sequence: u64,
    key: K,
}

impl<K> PartialEq for Entry<K> {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl<K> Eq for Entry<K> {}

impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Entry<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers {
            live: HashMap::new(),
            heap: BinaryHeap::new(),
            sequence: 0,
        }
    }
}

impl<K: Copy + Eq + Hash> Timers<K> {
    /// No deadlines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the deadline of `key`, in place of one it may have had.
    pub fn set(&mut self, key: K, at: Instant) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.live.insert(key, (at, sequence));
        self.heap.push(Reverse(Entry { at, sequence, key }));
        self.rebuild_when_mostly_dead();
    }

    /// Takes the deadline of `key` away; true if it had one.
    pub fn stop(&mut self, key: &K) -> bool {
        let had = self.live.remove(key).is_some();
        self.shrink_when_mostly_empty();
        had
    }

    /// The deadline of `key`.
    pub fn get(&self, key: &K) -> Option<Instant> {
        self.live.get(key).map(|(at, _)| *at)
    }

    /// The earliest deadline. Takes `&mut self` to clear dead entries away.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(Reverse(entry)) = self.heap.peek() {
            if self.is_live(entry) {
                return Some(entry.at);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes one key whose deadline is at or before `now`: earliest first, of
    /// equal ones the one set first.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        if self.next_deadline()? > now {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.live.remove(&entry.key);
        self.shrink_when_mostly_empty();
        Some(entry.key)
    }

    /// How many deadlines are set.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no deadline is set.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Memory of a rush that is over is given back.
    fn shrink_when_mostly_empty(&mut self) {
        if self.live.capacity() > SHRINK_FLOOR && self.live.len() < self.live.capacity() / 8 {
            let room = self.live.len() * 2;
            let live = &self.live;
            self.heap.retain(|Reverse(entry)| {
                live.get(&entry.key)
                    .is_some_and(|(_, sequence)| *sequence == entry.sequence)
            });
            self.live.shrink_to(room);
            self.heap.shrink_to(room);
        }
    }

    fn is_live(&self, entry: &Entry<K>) -> bool {
        self.live
            .get(&entry.key)
            .is_some_and(|(_, sequence)| *sequence == entry.sequence)
    }

    fn rebuild_when_mostly_dead(&mut self) {
        if self.heap.len() < REBUILD_FLOOR || self.heap.len() / 2 < self.live.len() {
            return;
        }
        let live = &self.live;
        self.heap.retain(|Reverse(entry)| {
            live.get(&entry.key)
                .is_some_and(|(_, sequence)| *sequence == entry.sequence)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_come_in_order_and_only_when_due() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.set("late", start + Duration::from_secs(2));
        timers.set("early", start + Duration::from_secs(1));
        assert_eq!(timers.pop(start), None);
        assert_eq!(timers.next_deadline(), Some(start + Duration::from_secs(1)));
        let end = start + Duration::from_secs(3);
        assert_eq!(timers.pop(end), Some("early"));
        assert_eq!(timers.pop(end), Some("late"));
        assert_eq!(timers.pop(end), None);
    }

    #[test]
    fn a_moved_deadline_fires_once_at_its_new_time() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.set(1, start + Duration::from_secs(1));
        timers.set(1, start + Duration::from_secs(5));
        assert_eq!(timers.pop(start + Duration::from_secs(2)), None);
        assert_eq!(timers.pop(start + Duration::from_secs(5)), Some(1));
        assert!(timers.is_empty());
    }

    #[test]
    fn a_stopped_deadline_never_fires() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.set(1, start);
        assert!(timers.stop(&1));
        assert!(!timers.stop(&1));
        assert_eq!(timers.pop(start + Duration::from_secs(9)), None);
    }

    #[test]
    fn the_room_of_a_rush_is_given_back_and_the_deadlines_left_stay() {
        let start = Instant::now();
        let mut timers = Timers::new();
        let at = |key: u64| start + Duration::from_secs(key);
        for key in 0..10_000 {
            timers.set(key, at(key));
        }
        let most = (timers.live.capacity(), timers.heap.capacity());
        for key in 0..9_990 {
            assert!(match key % 2 {
                0 => timers.stop(&key),
                _ => timers.pop(at(key)) == Some(key),
            });
        }
        assert!(timers.live.capacity() < most.0 / 8);
        assert!(timers.heap.capacity() < most.1 / 8);
        let left: Vec<u64> = std::iter::from_fn(|| timers.pop(at(10_000))).collect();
        assert_eq!(left, (9_990..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn moving_one_deadline_a_million_times_keeps_the_heap_small() {
        let start = Instant::now();
        let mut timers = Timers::new();
        for step in 0..1_000_000 {
            timers.set(1, start + Duration::from_micros(step));
        }
        assert!(timers.heap.len() <= REBUILD_FLOOR);
    }
}
