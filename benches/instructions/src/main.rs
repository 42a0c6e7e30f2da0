//! Units of work of the pure rooms, to be counted in instructions: what a
//! packet, a message, a call or a frame costs, without a clock.
//!
//! `benches/instructions/run` builds this, runs it under valgrind and compares
//! with `baseline.json`. By hand: `ringwire-instructions` lists the scenarios,
//! `ringwire-instructions NAME UNITS` runs one.
//!
//! The rooms are compiled into this crate from their sources, since the whole
//! gateway takes many minutes to optimise, and the pure rooms about one.

// Each scenario uses a part of the rooms.
#![allow(dead_code, unused_imports)]

use std::process::ExitCode;

mod calls;
mod fixed;
mod invite;
mod packets;
mod scenario;
mod sdp_texts;
mod sip_messages;
mod sound_frames;
mod srtp_packets;

// What the sources name `crate::…` stands at the root, as in `src/lib.rs`.
#[path = "../../../src/call/mod.rs"]
pub mod call;
#[path = "../../../src/clock.rs"]
pub mod clock;
#[path = "../../../src/ids.rs"]
pub mod ids;
#[path = "../../../src/keying.rs"]
pub mod keying;
#[path = "../../../src/media/mod.rs"]
pub mod media;
#[path = "../../../src/sdp/mod.rs"]
pub mod sdp;
#[path = "../../../src/sip/mod.rs"]
pub mod sip;
#[path = "../../../src/sound/mod.rs"]
pub mod sound;
#[path = "../../../src/timers.rs"]
pub mod timers;

// Rooms of a file with a directory beside it: where the path is that of a
// file, its parts are looked for in the file's own directory.
#[path = "../../../src"]
mod with_directories {
    pub mod book;
    pub mod trace;
}
pub use with_directories::{book, trace};

/// As in the gateway's binary; its version is locked, that of the machine's
/// libc is not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let scenarios = scenario::all();
    match arguments.as_slice() {
        [] => {
            for scenario in &scenarios {
                println!(
                    "{} {} {} {}",
                    scenario.name, scenario.unit, scenario.few, scenario.many
                );
            }
            ExitCode::SUCCESS
        }
        [name, units] => {
            let scenario = scenarios.iter().find(|scenario| scenario.name == *name);
            match (scenario, units.parse()) {
                (Some(scenario), Ok(units)) => {
                    (scenario.run)(units);
                    ExitCode::SUCCESS
                }
                (None, _) => refuse(&format!("no scenario is called {name}")),
                (_, Err(_)) => refuse(&format!("{units} is no number of units")),
            }
        }
        _ => refuse("usage: ringwire-instructions [NAME UNITS]"),
    }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("ringwire-instructions: {why}");
    ExitCode::from(2)
}
