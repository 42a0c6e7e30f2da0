//! How many handshakes peers may begin per second: each costs a signature.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Over this long handshakes are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// What was begun in the current second.
#[derive(Debug, Default)]
pub(super) struct Limits {
    window: Option<Instant>,
    started: u32,
    started_by: HashMap<IpAddr, u32>,
}

impl Limits {
    /// Whether one more handshake with this host may start now.
    pub(super) fn admit(&mut self, now: Instant, host: IpAddr, all: u32, each: u32) -> bool {
        let is_over = |start: Instant| now.saturating_duration_since(start) >= WINDOW;
        if self.window.is_none_or(is_over) {
            self.window = Some(now);
            self.started = 0;
            self.started_by.clear();
        }
        // No more than `all` hosts are ever remembered.
        if self.started >= all {
            return false;
        }
        let by_host = self.started_by.entry(host).or_insert(0);
        if *by_host >= each {
            return false;
        }
        *by_host += 1;
        self.started += 1;
        true
    }
}
