//! The circuit breaker of one target: once it has failed often enough, nobody
//! tries until it has rested, and then one event alone.

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const FAILURES_TO_OPEN: u32 = 10;

/// The breaker.
#[derive(Debug)]
pub struct Breaker {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Everybody may try.
    Closed {
        /// In a row.
        failures: u32,
    },
    /// Nobody may.
    Open {
        /// Then one may.
        until: Instant,
        /// How often it has opened without closing.
        openings: u32,
    },
    /// One has been let through, and has not told yet.
    HalfOpen {
        /// By then it would have told; another one may.
        until: Instant,
        /// How often it has opened without closing.
        openings: u32,
    },
}

/// Whether to try.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// Try now, and report.
    Go,
    /// Ask again then, or when it changes.
    Wait(Instant),
}

/// What a report made of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// From now on nobody tries for a while.
    Opened,
    /// It has recovered.
    Closed,
    /// Whoever waits has another time to wait for.
    Reopened,
}

/// How a breaker stands, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// All is well.
    Closed,
    /// The target is left alone.
    Open,
    /// The target is being tried.
    HalfOpen,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker {
            state: State::Closed { failures: 0 },
        }
    }
}

impl Breaker {
    /// Whether to try now. Who is let through reports within `patience`.
    pub fn admit(&mut self, now: Instant, patience: Duration) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Go,
            State::Open { until, openings } | State::HalfOpen { until, openings } => {
                if now < until {
                    return Admission::Wait(until);
                }
                self.state = State::HalfOpen {
                    until: now + patience,
                    openings,
                };
                Admission::Go
            }
        }
    }

    /// Somebody wants one attempt now, however it stands. Who makes it reports
    /// within `patience`.
    pub fn force(&mut self, now: Instant, patience: Duration) {
        if let State::Open { openings, .. } | State::HalfOpen { openings, .. } = self.state {
            self.state = State::HalfOpen {
                until: now + patience,
                openings,
            };
        }
    }

    /// An attempt has ended, well or not; `rest` says how long to leave the
    /// target alone after it has opened so many times.
    pub fn report(
        &mut self,
        well: bool,
        now: Instant,
        rest: impl FnOnce(u32) -> Duration,
    ) -> Option<Change> {
        match (&mut self.state, well) {
            (State::Closed { failures }, true) => {
                *failures = 0;
                None
            }
            (State::Closed { failures }, false) => {
                *failures += 1;
                if *failures < FAILURES_TO_OPEN {
                    return None;
                }
                self.state = State::Open {
                    until: now + rest(0),
                    openings: 1,
                };
                Some(Change::Opened)
            }
            (State::Open { .. } | State::HalfOpen { .. }, true) => {
                self.state = State::Closed { failures: 0 };
                Some(Change::Closed)
            }
            // Begun before it opened: no news.
            (State::Open { .. }, false) => None,
            (State::HalfOpen { openings, .. }, false) => {
                let openings = *openings;
                self.state = State::Open {
                    until: now + rest(openings),
                    openings: openings.saturating_add(1),
                };
                Some(Change::Reopened)
            }
        }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Closed { .. } => Standing::Closed,
            State::Open { .. } => Standing::Open,
            State::HalfOpen { .. } => Standing::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn rest(openings: u32) -> Duration {
        Duration::from_secs(1 << openings)
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES_TO_OPEN {
            assert_eq!(breaker.report(false, now, rest), None);
        }
        assert_eq!(breaker.report(false, now, rest), Some(Change::Opened));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_starts_the_count_anew() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            for _ in 1..FAILURES_TO_OPEN {
                assert_eq!(breaker.report(false, now, rest), None);
            }
            assert_eq!(breaker.report(true, now, rest), None);
        }
        assert_eq!(breaker.admit(now, PATIENCE), Admission::Go);
        let mut breaker = opened(now);
        let until = now + Duration::from_secs(1);
        assert_eq!(breaker.admit(now, PATIENCE), Admission::Wait(until));
        // What was under way when it opened says nothing new.
        assert_eq!(breaker.report(false, now, rest), None);
        assert_eq!(breaker.admit(now, PATIENCE), Admission::Wait(until));
    }

    #[test]
    fn one_may_be_made_to_try_before_the_rest_is_over_and_its_failure_makes_the_rest_longer() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.force(now, PATIENCE);
        assert_eq!(breaker.standing(), Standing::HalfOpen);
        let told_by = now + PATIENCE;
        assert_eq!(breaker.admit(now, PATIENCE), Admission::Wait(told_by));
        assert_eq!(breaker.report(false, now, rest), Some(Change::Reopened));
        let until = now + rest(1);
        assert_eq!(breaker.admit(now, PATIENCE), Admission::Wait(until));
        breaker.force(now, PATIENCE);
        assert_eq!(breaker.report(true, now, rest), Some(Change::Closed));
        breaker.force(now, PATIENCE);
        assert_eq!(breaker.standing(), Standing::Closed);
    }

    #[test]
    fn after_a_rest_one_tries_and_its_success_closes_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let then = now + Duration::from_secs(1);
        assert_eq!(breaker.admit(then, PATIENCE), Admission::Go);
        assert_eq!(breaker.standing(), Standing::HalfOpen);
        let told_by = then + PATIENCE;
        assert_eq!(breaker.admit(then, PATIENCE), Admission::Wait(told_by));
        assert_eq!(breaker.report(true, then, rest), Some(Change::Closed));
        assert_eq!(breaker.admit(then, PATIENCE), Admission::Go);
    }

    #[test]
    fn a_try_that_fails_makes_the_rest_longer_and_one_that_never_tells_is_replaced() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let then = now + Duration::from_secs(1);
        assert_eq!(breaker.admit(then, PATIENCE), Admission::Go);
        assert_eq!(breaker.report(false, then, rest), Some(Change::Reopened));
        let until = then + Duration::from_secs(2);
        assert_eq!(breaker.admit(then, PATIENCE), Admission::Wait(until));
        assert_eq!(breaker.admit(until, PATIENCE), Admission::Go);
        assert_eq!(breaker.admit(until + PATIENCE, PATIENCE), Admission::Go);
    }
}
