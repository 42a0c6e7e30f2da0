//! When a shard refuses new calls so that those it has go on in time.
//!
//! What is looked at is how late the shard is: the longer of the time that one
//! turn worked and the time for which a mailbox has not been emptied. As in
//! CoDel (RFC 8289), a moment of lateness means nothing; one that stays for a
//! whole interval does, and so does its absence.

use std::time::{Duration, Instant};

/// For how long the shard has to be late, or in time again.
const INTERVAL: Duration = Duration::from_millis(200);

/// Watches one shard.
#[derive(Debug)]
pub struct Overload {
    /// More than this is late; zero: nothing ever is.
    bound: Duration,
    overloaded: bool,
    /// Since when the state and what is seen disagree.
    since: Option<Instant>,
    /// Since when a mailbox has had something left over.
    behind: Option<Instant>,
}

impl Overload {
    /// A shard in time.
    pub fn new(bound: Duration) -> Self {
        Overload {
            bound,
            overloaded: false,
            since: None,
            behind: None,
        }
    }

    /// From now on more than this is late.
    pub fn use_bound(&mut self, bound: Duration) {
        self.bound = bound;
    }

    /// A turn that ended at `now` worked for `worked`; `emptied` says whether
    /// it has emptied its mailboxes. True while the shard is overloaded.
    pub fn turn(&mut self, now: Instant, worked: Duration, emptied: bool) -> bool {
        if self.bound.is_zero() {
            *self = Overload::new(self.bound);
            return false;
        }
        self.behind = match (emptied, self.behind) {
            (true, _) => None,
            (false, since) => since.or(Some(now)),
        };
        let age = self
            .behind
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let late = worked.max(age);
        // Half of the bound ends it, so that it does not flutter.
        let disagrees = match self.overloaded {
            false => late > self.bound,
            true => late < self.bound / 2,
        };
        self.since = match (disagrees, self.since) {
            (false, _) => None,
            (true, since) => since.or(Some(now)),
        };
        if self
            .since
            .is_some_and(|since| now.saturating_duration_since(since) >= INTERVAL)
        {
            self.overloaded = !self.overloaded;
            self.since = None;
        }
        self.overloaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(100);
    const QUICK: Duration = Duration::from_millis(1);
    const SLOW: Duration = Duration::from_millis(120);

    /// The state after each turn: (milliseconds, worked, emptied).
    fn states(turns: &[(u64, Duration, bool)]) -> Vec<bool> {
        let start = Instant::now();
        let mut overload = Overload::new(BOUND);
        turns
            .iter()
            .map(|(ms, worked, emptied)| {
                overload.turn(start + Duration::from_millis(*ms), *worked, *emptied)
            })
            .collect()
    }

    #[test]
    fn one_slow_turn_is_no_overload() {
        assert_eq!(
            states(&[(0, SLOW, true), (10, QUICK, true), (300, SLOW, true)]),
            [false, false, false]
        );
    }

    #[test]
    fn slow_turns_for_a_whole_interval_are_one_until_it_is_over_for_as_long() {
        assert_eq!(
            states(&[
                (0, SLOW, true),
                (120, SLOW, true),
                (240, SLOW, true),
                (250, QUICK, true),
                (449, QUICK, true),
                (450, QUICK, true),
            ]),
            [false, false, true, true, true, false]
        );
    }

    #[test]
    fn a_turn_between_half_and_the_whole_bound_changes_nothing() {
        let between = Duration::from_millis(70);
        assert_eq!(
            states(&[
                (0, SLOW, true),
                (200, SLOW, true),
                (300, QUICK, true),
                (400, between, true),
                (550, QUICK, true),
                (800, QUICK, true),
            ]),
            [false, true, true, true, true, false]
        );
    }

    #[test]
    fn a_mailbox_that_is_never_emptied_is_overload_however_quick_the_turns() {
        let turns: Vec<(u64, Duration, bool)> = (0..=32).map(|n| (n * 10, QUICK, false)).collect();
        let states = states(&turns);
        // Late from 110 ms on, overloaded an interval later.
        assert_eq!(states.iter().position(|overloaded| *overloaded), Some(31));
    }

    #[test]
    fn a_bound_that_becomes_zero_ends_an_overload() {
        let (start, mut overload) = (Instant::now(), Overload::new(BOUND));
        assert!(!overload.turn(start, SLOW, true));
        let later = start + INTERVAL;
        assert!(overload.turn(later, SLOW, true));
        overload.use_bound(Duration::ZERO);
        assert!(!overload.turn(later, SLOW, true));
        overload.use_bound(BOUND);
        assert!(!overload.turn(later, SLOW, true));
    }

    #[test]
    fn a_bound_of_zero_means_never() {
        let start = Instant::now();
        let mut overload = Overload::new(Duration::ZERO);
        for ms in 0..1_000 {
            let now = start + Duration::from_millis(ms);
            assert!(!overload.turn(now, Duration::from_secs(1), false));
        }
    }
}
