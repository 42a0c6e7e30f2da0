//! The sound of a shard's rooms: which rooms are a relay, which are mixed, and
//! the work of those that are.
//!
//! Two peers whose codecs fit are relayed: nothing is decoded. Everything else
//! (a third peer, codecs that do not fit, something played, a voice turned
//! down) is a [`Conference`]. A room moves between the two whenever somebody
//! joins, leaves or negotiates anew; the streams go on across the change.

use std::time::{Duration, Instant};

use slab::Slab;

use crate::ids::RoomKey;
use crate::sound::conference::{Conference, ConferenceSettings};
use crate::timers::Timers;

/// First ticks of rooms that begin together are spread over this, so that they
/// do not all fall due at once.
const SPREAD: Duration = Duration::from_micros(700);
/// After so many the spread begins anew: within one tick.
const SPREAD_OVER: u32 = 28;

/// Names a conference of the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ConferenceId(usize);

/// The conferences of a shard.
pub(super) struct Studio {
    pub(super) settings: ConferenceSettings,
    conferences: Slab<(RoomKey, Conference)>,
    due: Timers<ConferenceId>,
    /// The one whose tick is under way.
    current: Option<ConferenceId>,
    opened: u32,
    skipped_before: u64,
}

impl Studio {
    pub(super) fn new(settings: ConferenceSettings) -> Studio {
        Studio {
            settings,
            conferences: Slab::new(),
            due: Timers::new(),
            current: None,
            opened: 0,
            skipped_before: 0,
        }
    }

    pub(super) fn open(&mut self, now: Instant, room: RoomKey) -> ConferenceId {
        let first = now + SPREAD * (self.opened % SPREAD_OVER);
        self.opened = self.opened.wrapping_add(1);
        let conference = Conference::new(first, self.settings);
        let id = ConferenceId(self.conferences.insert((room, conference)));
        self.due.set(id, first);
        id
    }

    pub(super) fn close(&mut self, id: ConferenceId) {
        self.due.stop(&id);
        if self.current == Some(id) {
            self.current = None;
        }
        if let Some((_, conference)) = self.conferences.try_remove(id.0) {
            self.skipped_before += conference.skipped();
        }
    }

    pub(super) fn get(&self, id: ConferenceId) -> Option<&Conference> {
        self.conferences.get(id.0).map(|(_, conference)| conference)
    }

    pub(super) fn get_mut(&mut self, id: ConferenceId) -> Option<&mut Conference> {
        self.conferences
            .get_mut(id.0)
            .map(|(_, conference)| conference)
    }

    /// When there is work.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        match self.current {
            Some(id) => self.get(id).map(Conference::due),
            None => self.due.next_deadline(),
        }
    }

    /// The room whose conference's next step is due, with the conference.
    pub(super) fn next(&mut self, now: Instant) -> Option<(&RoomKey, &mut Conference)> {
        let id = match self.current {
            Some(id) => id,
            None => {
                let id = self.due.pop(now)?;
                self.current = Some(id);
                id
            }
        };
        let (room, conference) = self.conferences.get_mut(id.0)?;
        Some((room, conference))
    }

    /// The tick of the current conference is done.
    pub(super) fn ticked(&mut self) {
        if let Some(id) = self.current.take()
            && let Some(conference) = self.get(id)
        {
            let due = conference.due();
            self.due.set(id, due);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.conferences.len()
    }

    /// Ticks left out because the shard was late.
    pub(super) fn skipped(&self) -> u64 {
        let now: u64 = self.conferences.iter().map(|(_, (_, c))| c.skipped()).sum();
        self.skipped_before + now
    }
}
