//! Decoded clips by where they come from, up to a number of bytes: the one
//! that was not asked for the longest goes first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::MutexGuard;

use crate::api::registry::lock;
use crate::ids::AppId;
use crate::sound::clip::Clip;

use super::ClipLoadError;
use super::fetch::Validators;

/// Places without a clip: failures that are remembered, and loads under way.
/// Beyond this the oldest of them are forgotten.
const MAX_SLOTS: usize = 4_096;

/// Where a clip comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// An asset of an app.
    Asset { app: AppId, name: Arc<str> },
    /// A URL. What the operator may fetch is not there for others.
    Url { url: Arc<str>, trusted: bool },
}

/// What came of a load.
#[derive(Debug)]
pub struct Loaded {
    pub result: Result<Arc<Clip>, ClipLoadError>,
    pub origin: Origin,
}

/// How to tell whether it still counts.
#[derive(Debug)]
pub enum Origin {
    Asset {
        sha256: String,
    },
    Url {
        /// Until then nobody asks.
        fresh_until: Instant,
        validators: Validators,
    },
}

impl Loaded {
    /// What to ask with whether there is something new; only where there is
    /// something old.
    pub fn validators(&self) -> Option<&Validators> {
        match &self.origin {
            Origin::Url { validators, .. } if self.result.is_ok() => Some(validators),
            _ => None,
        }
    }

    /// It counts until then.
    pub fn stays_fresh_until(&mut self, then: Instant) {
        if let Origin::Url { fresh_until, .. } = &mut self.origin {
            *fresh_until = then;
        }
    }
}

/// The place of one clip. Who loads it holds the lock.
#[derive(Debug)]
pub struct Slot {
    key: Key,
    loaded: tokio::sync::Mutex<Option<Loaded>>,
}

impl Slot {
    pub async fn lock(&self) -> MutexGuard<'_, Option<Loaded>> {
        self.loaded.lock().await
    }
}

#[derive(Debug)]
struct Entry {
    slot: Arc<Slot>,
    bytes: u64,
    /// When it was asked for last, in turns of the cache.
    used: u64,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Key, Entry>,
    bytes: u64,
    turn: u64,
}

/// All of them.
#[derive(Debug)]
pub struct Cache {
    entries: Mutex<Entries>,
    most: u64,
}

impl Cache {
    /// Up to so many bytes of samples.
    pub fn new(most: u64) -> Self {
        Cache {
            entries: Mutex::default(),
            most,
        }
    }

    /// The place for this key. It counts as used now.
    pub fn slot(&self, key: Key) -> Arc<Slot> {
        let mut entries = lock(&self.entries);
        entries.turn += 1;
        let turn = entries.turn;
        let entry = entries.by_key.entry(key.clone()).or_insert_with(|| Entry {
            slot: Arc::new(Slot {
                key,
                loaded: tokio::sync::Mutex::default(),
            }),
            bytes: 0,
            used: turn,
        });
        entry.used = turn;
        let slot = entry.slot.clone();
        entries.make_room(self.most);
        slot
    }

    /// The slot holds so many bytes from now on.
    pub fn keep(&self, slot: &Arc<Slot>, bytes: u64) {
        let mut entries = lock(&self.entries);
        // It may have been forgotten meanwhile; whoever holds it plays it.
        let Some(entry) = entries.by_key.get_mut(&slot.key) else {
            return;
        };
        if !Arc::ptr_eq(&entry.slot, slot) {
            return;
        }
        let before = std::mem::replace(&mut entry.bytes, bytes);
        entries.bytes = entries.bytes - before + bytes;
        entries.make_room(self.most);
    }

    /// Clips that are kept, and their bytes.
    pub fn kept(&self) -> (usize, u64) {
        let entries = lock(&self.entries);
        let clips = entries.by_key.values().filter(|entry| entry.bytes > 0);
        (clips.count(), entries.bytes)
    }
}

impl Entries {
    /// Forgets what was not used for the longest. Linear in what is there,
    /// which is little beside the load that made it necessary.
    fn make_room(&mut self, most: u64) {
        while self.bytes > most || self.by_key.len() > MAX_SLOTS {
            let too_many_bytes = self.bytes > most;
            let oldest = self
                .by_key
                .values()
                .filter(|entry| !too_many_bytes || entry.bytes > 0)
                .min_by_key(|entry| entry.used)
                .map(|entry| entry.slot.key.clone());
            let Some(entry) = oldest.and_then(|key| self.by_key.remove(&key)) else {
                return;
            };
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::Asset {
            app: AppId::new("a"),
            name: Arc::from(name),
        }
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first() {
        let cache = Cache::new(100);
        let first = cache.slot(key("first"));
        cache.keep(&first, 40);
        let second = cache.slot(key("second"));
        cache.keep(&second, 40);
        assert!(Arc::ptr_eq(&cache.slot(key("first")), &first));
        let third = cache.slot(key("third"));
        cache.keep(&third, 40);
        assert_eq!(cache.kept(), (2, 80));
        assert!(Arc::ptr_eq(&cache.slot(key("first")), &first));
        assert!(!Arc::ptr_eq(&cache.slot(key("second")), &second));
    }

    #[test]
    fn what_is_more_than_all_is_not_kept() {
        let cache = Cache::new(100);
        let slot = cache.slot(key("long"));
        cache.keep(&slot, 101);
        assert_eq!(cache.kept(), (0, 0));
        // Nor when it is told of late.
        cache.keep(&slot, 50);
        assert_eq!(cache.kept(), (0, 0));
    }

    #[test]
    fn a_clip_that_grows_is_counted_once() {
        let cache = Cache::new(100);
        let slot = cache.slot(key("a"));
        cache.keep(&slot, 40);
        cache.keep(&slot, 60);
        assert_eq!(cache.kept(), (1, 60));
    }

    #[test]
    fn names_of_nothing_do_not_pile_up() {
        let cache = Cache::new(100);
        let slot = cache.slot(key("kept"));
        cache.keep(&slot, 40);
        for n in 0..2 * MAX_SLOTS {
            if n % 1000 == 0 {
                cache.slot(key("kept"));
            }
            cache.slot(key(&n.to_string()));
        }
        assert_eq!(cache.kept(), (1, 40));
        assert_eq!(lock(&cache.entries).by_key.len(), MAX_SLOTS);
    }
}
