//! What is looked at once a second in every leg: keys whose end was lost, how
//! it sounds, whether its peer has fallen silent. Done in steps, so that no
//! packet waits until thousands of legs are done.

use std::time::Instant;

use crate::call::room::{MemberKind, RoomNotice, Rooms};
use crate::ids::LegId;

impl Rooms {
    /// Begins to look at every leg, to be called once a second; what is then
    /// to be done, [`Self::sweep_step`] does. Does nothing while the last round
    /// is not over.
    pub fn begin_sweep(&mut self) {
        if self.next_swept.is_none() {
            self.watched_seconds = self.watched_seconds.wrapping_add(1);
            self.next_swept = Some(0);
        }
    }

    /// Whether legs are left that the round has not come to.
    pub fn is_sweeping(&self) -> bool {
        self.next_swept.is_some()
    }

    /// Looks at so many places of the leg table more. True while some are left.
    pub fn sweep_step(&mut self, now: Instant, places: u32) -> bool {
        let Some(first) = self.next_swept else {
            return false;
        };
        let end = self.table.places();
        let next = first.saturating_add(places).min(end);
        for index in first..next {
            if let Some(leg) = self.table.leg_at(index) {
                self.look_at(now, leg);
            }
        }
        self.next_swept = (next < end).then_some(next);
        self.is_sweeping()
    }

    /// A whole round at once.
    pub fn sweep(&mut self, now: Instant) {
        self.begin_sweep();
        self.sweep_step(now, u32::MAX);
    }

    fn look_at(&mut self, now: Instant, leg: LegId) {
        // The one towards a media server is looked after with its call's.
        let Some(&call) = self.by_leg.get(&leg) else {
            return;
        };
        self.expire_key(now, call);
        self.watch(now, call);
        if self.table.is_inactive(now, leg)
            && let Some(MemberKind::Sip(_)) = self.members.get(&call).map(|member| &member.kind)
        {
            self.notices.push_back(RoomNotice::Silent { call });
        }
    }
}
