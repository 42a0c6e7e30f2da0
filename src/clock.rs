//! Turns the monotonic instants of the pure rooms into wall-clock time.

use std::time::Instant;

/// A monotonic instant and the wall-clock time at that instant, read once.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    instant: Instant,
    unix_ms: u64,
}

impl WallClock {
    /// At `instant` it was `unix_ms` milliseconds since the Unix epoch.
    pub fn new(instant: Instant, unix_ms: u64) -> Self {
        WallClock { instant, unix_ms }
    }

    /// Milliseconds since the Unix epoch at `at`.
    pub fn unix_ms(&self, at: Instant) -> u64 {
        self.unix_micros(at) / 1000
    }

    /// Microseconds since the Unix epoch at `at`.
    pub fn unix_micros(&self, at: Instant) -> u64 {
        let origin = self.unix_ms * 1000;
        match at.checked_duration_since(self.instant) {
            Some(later) => origin + later.as_micros() as u64,
            None => origin.saturating_sub(self.instant.duration_since(at).as_micros() as u64),
        }
    }
}
