//! How long a wait goes on after the first packet is there.
//!
//! At the rates of speech, packets come one by one, and a thread that wakes
//! for each spends more on waking than on the packet. So where many come, a
//! wait is for a whole batch, or for what has come after a short time; where
//! few come, the first one ends it, since nothing would be shared.

use std::time::{Duration, Instant};

use crate::media::packet::BATCH;

/// Over how much time the rate of packets is taken, at least.
const PERIOD: Duration = Duration::from_millis(2);

/// Packets that must be expected within the time of gathering for it to be
/// worth waiting: below, each is handled as it comes.
const WORTHWHILE: u64 = 4;

/// What one wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    /// This many completions end it at once,
    pub(super) completions: usize,
    /// and after this time a single one does.
    pub(super) gather: Duration,
}

impl Wait {
    /// Whatever comes ends it.
    pub(super) const ANY: Wait = Wait {
        completions: 1,
        gather: Duration::ZERO,
    };
}

/// Decides by the rate of packets of the recent past.
#[derive(Debug)]
pub(super) struct Patience {
    gather: Duration,
    period_began: Option<Instant>,
    in_period: u64,
    /// Packets expected in `gather`.
    expected: u64,
}

impl Patience {
    /// Waits up to `gather` for others to come; zero never waits.
    pub(super) fn new(gather: Duration) -> Patience {
        Patience {
            gather,
            period_began: None,
            in_period: 0,
            expected: 0,
        }
    }

    /// So many packets were taken by a turn at `now`.
    #[inline]
    pub(super) fn took(&mut self, now: Instant, packets: usize) {
        let Some(began) = self.period_began else {
            self.period_began = Some(now);
            return;
        };
        self.in_period += packets as u64;
        let passed = now.saturating_duration_since(began);
        if passed < PERIOD {
            return;
        }
        let (gather, passed) = (self.gather.as_micros() as u64, passed.as_micros() as u64);
        self.expected = self.in_period.saturating_mul(gather) / passed;
        self.period_began = Some(now);
        self.in_period = 0;
    }

    /// What the next wait is for.
    #[inline]
    pub(super) fn next(&self) -> Wait {
        if self.expected < WORTHWHILE {
            return Wait::ANY;
        }
        Wait {
            completions: BATCH,
            gather: self.gather,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATHER: Duration = Duration::from_micros(500);

    /// The wait after a second of one turn every `interval` with `packets`.
    fn after(packets: usize, interval: Duration) -> Wait {
        let mut patience = Patience::new(GATHER);
        let start = Instant::now();
        for turn in 0..(Duration::from_secs(1).as_micros() / interval.as_micros()) as u32 {
            patience.took(start + interval * turn, packets);
        }
        patience.next()
    }

    #[test]
    fn a_lone_call_is_served_packet_by_packet() {
        assert_eq!(after(2, Duration::from_millis(20)), Wait::ANY);
        assert_eq!(after(1, Duration::from_millis(10)), Wait::ANY);
    }

    #[test]
    fn fifty_thousand_packets_a_second_are_gathered() {
        let gathered = Wait {
            completions: BATCH,
            gather: GATHER,
        };
        assert_eq!(after(1, Duration::from_micros(20)), gathered);
        assert_eq!(after(25, Duration::from_micros(500)), gathered);
    }

    #[test]
    fn gathering_ends_with_the_first_period_without_packets() {
        let mut patience = Patience::new(GATHER);
        let start = Instant::now();
        for turn in 0..100 {
            patience.took(start + GATHER * turn, 30);
        }
        assert_ne!(patience.next(), Wait::ANY);
        patience.took(start + Duration::from_secs(1), 0);
        patience.took(start + Duration::from_secs(2), 0);
        assert_eq!(patience.next(), Wait::ANY);
    }

    #[test]
    fn a_gathering_time_of_zero_never_waits() {
        let mut patience = Patience::new(Duration::ZERO);
        let start = Instant::now();
        for turn in 0..1000 {
            patience.took(start + Duration::from_micros(100) * turn, 64);
        }
        assert_eq!(patience.next(), Wait::ANY);
    }
}
