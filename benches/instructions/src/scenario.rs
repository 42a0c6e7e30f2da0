//! The list of scenarios.

use crate::{calls, packets, sdp_texts, sip_messages, sound_frames, srtp_packets};

/// Something to be counted.
pub struct Scenario {
    /// What it is called on the command line and in the baseline.
    pub name: String,
    /// What one unit of it is.
    pub unit: &'static str,
    /// Units after which everything is warm: tables have found their size.
    pub few: u64,
    /// More units. What they cost beyond the few, divided by how many more they
    /// are, is the cost of one.
    pub many: u64,
    /// Sets up, and works through so many units.
    pub run: Box<dyn Fn(u64)>,
}

impl Scenario {
    /// Between `few` and `many` units.
    pub fn new(
        name: impl Into<String>,
        unit: &'static str,
        (few, many): (u64, u64),
        run: impl Fn(u64) + 'static,
    ) -> Scenario {
        Scenario {
            name: name.into(),
            unit,
            few,
            many,
            run: Box::new(run),
        }
    }
}

/// All of them, in the order of the table.
pub fn all() -> Vec<Scenario> {
    let rooms = [
        packets::scenarios(),
        srtp_packets::scenarios(),
        sip_messages::scenarios(),
        sdp_texts::scenarios(),
        calls::scenarios(),
        sound_frames::scenarios(),
    ];
    rooms.into_iter().flatten().collect()
}
