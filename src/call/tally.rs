//! What became of the calls of a shard, and how long it took to know.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::call::histogram::Histogram;
use crate::call::request::{Direction, MediaSnapshot};
use crate::call::watch::SoundAlarm;

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
    /// Keys sent by INFO, in the order of [`InfoOutcome::ALL`].
    infos: [u64; InfoOutcome::ALL.len()],
    /// Alarms that began, by what they are.
    alarms: BTreeMap<&'static str, u64>,
    /// Mean opinion score of what came from peers, at the ends of calls.
    pub mos_received: Histogram,
    /// The same of what went to them.
    pub mos_sent: Histogram,
}

/// Upper bounds of the buckets of mean opinion scores: where G.107 (annex B,
/// table B.1) parts its classes of users, and what lies below.
const MOS: [f64; 9] = [1.5, 2.0, 2.58, 3.1, 3.6, 4.03, 4.2, 4.34, 4.5];

/// What became of a key that was to go by INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfoOutcome {
    /// The peer has said 2xx.
    Taken,
    /// It has said anything else, or nothing.
    Refused,
    /// It was not sent: the call was over, or too many waited.
    Dropped,
}

impl InfoOutcome {
    /// All of them.
    pub const ALL: [InfoOutcome; 3] = [
        InfoOutcome::Taken,
        InfoOutcome::Refused,
        InfoOutcome::Dropped,
    ];

    pub(super) fn of(code: u16) -> Self {
        match code {
            200..300 => InfoOutcome::Taken,
            _ => InfoOutcome::Refused,
        }
    }

    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            InfoOutcome::Taken => "taken",
            InfoOutcome::Refused => "refused",
            InfoOutcome::Dropped => "dropped",
        }
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        Tally {
            incoming_setup: Histogram::new(&SETUP_SECONDS),
            outgoing_setup: Histogram::new(&SETUP_SECONDS),
            results: BTreeMap::new(),
            infos: [0; InfoOutcome::ALL.len()],
            alarms: ["quality", "one_way_audio", "dead_air"]
                .map(|kind| (kind, 0))
                .into(),
            mos_received: Histogram::new(&MOS),
            mos_sent: Histogram::new(&MOS),
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

    /// A key that was to go by INFO has come to its end.
    pub(super) fn info_sent(&mut self, outcome: InfoOutcome) {
        self.infos[outcome as usize] += 1;
    }

    /// How many keys were to go by INFO, and what became of them.
    pub fn infos(&self) -> impl Iterator<Item = (InfoOutcome, u64)> {
        InfoOutcome::ALL.into_iter().zip(self.infos)
    }

    /// A call was told of an alarm.
    pub(super) fn alarmed(&mut self, alarm: &SoundAlarm) {
        if alarm.begins() {
            *self.alarms.entry(alarm.label()).or_insert(0) += 1;
        }
    }

    /// How often calls were told that something is wrong with their sound.
    pub fn alarms(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.alarms.iter().map(|(kind, count)| (*kind, *count))
    }

    /// A call has ended whose media did this.
    pub(super) fn media_ended(&mut self, media: &MediaSnapshot) {
        for (rating, scores) in [
            (media.quality, &mut self.mos_received),
            (media.remote_quality, &mut self.mos_sent),
        ] {
            if let Some(rating) = rating {
                scores.record_value(rating.mos_average.into());
            }
        }
    }

    /// How many calls ended in which direction with which SIP status.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, u16, u64)> {
        self.results
            .iter()
            .map(|((direction, code), count)| (*direction, *code, *count))
    }
}
