//! What became of the calls of a shard, and how long it took to know.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::call::histogram::Histogram;
use crate::call::request::Direction;

/// Upper bounds of the buckets in seconds: from a machine that answers to a
/// person who does not.
const SETUP_SECONDS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Counts since the start.
#[derive(Debug)]
pub struct Tally {
    /// From INVITE to final answer, incoming calls.
    pub incoming_setup: Histogram,
    /// The same of outgoing calls.
    pub outgoing_setup: Histogram,
    /// Calls that got a final answer, by direction and SIP status.
    results: BTreeMap<(&'static str, u16), u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Tally {
            incoming_setup: Histogram::new(&SETUP_SECONDS),
            outgoing_setup: Histogram::new(&SETUP_SECONDS),
            results: BTreeMap::new(),
        }
    }

    /// The INVITE of a call got its final answer.
    pub(super) fn answered(&mut self, direction: Direction, code: u16, took: Duration) {
        let setup = match direction {
            Direction::Incoming => &mut self.incoming_setup,
            Direction::Outgoing => &mut self.outgoing_setup,
        };
        setup.record(took);
        // No more codes than there are in SIP, whatever a peer sends.
        let code = code.clamp(100, 699);
        *self.results.entry((direction.label(), code)).or_insert(0) += 1;
    }

    /// How many calls ended in which direction with which SIP status.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, u16, u64)> {
        self.results
            .iter()
            .map(|((direction, code), count)| (*direction, *code, *count))
    }
}
