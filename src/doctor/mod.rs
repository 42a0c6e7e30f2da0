//! `ringwire doctor`: looks at the machine and says what keeps the gateway
//! from running well, why, and which command mends it.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`facts`] | reads the machine: `/proc`, `/sys`, a few trials. Judges nothing |
//! | `processors`, `kernel`, `network`, `surroundings` | judge the facts, each check a pure function |
//! | `health` | `ringwire healthy` |
//! | `report` | the lines for people, and JSON |
//!
//! Nothing is changed, and no other program is run.

use crate::config::Config;

pub mod facts;
mod health;
mod kernel;
mod network;
mod processors;
mod report;
mod surroundings;

#[cfg(test)]
mod tests;

pub use facts::Facts;
pub use health::healthy;
pub use kernel::SYSCTLS;
pub use report::{Finding, Level, json, text};

/// Every check, in the order in which they are told.
pub fn examine(facts: &Facts, config: &Config) -> Vec<Finding> {
    let mut findings = vec![
        kernel::release(facts),
        kernel::uring(facts, config),
        processors::cores(facts, config),
        processors::siblings(facts, config),
        processors::isolation(facts, config),
        processors::governor(facts, config),
        processors::quota(facts, config),
        processors::interrupts(facts, config),
        processors::memory_nodes(facts, config),
        kernel::huge_pages(facts),
        kernel::clock_source(facts),
        surroundings::time(facts),
        kernel::open_files(facts, config),
        kernel::locked_memory(facts),
    ];
    findings.extend(kernel::sysctls(facts));
    findings.extend([
        network::reserved_ports(facts, config),
        network::connection_tracking(facts, config),
        network::reverse_path(facts),
        network::queues(facts, config),
        network::public_address(config),
        network::rtp_ports(facts, config),
    ]);
    findings.extend(network::listeners(facts));
    findings.extend([
        surroundings::certificates(facts, config),
        surroundings::disk(facts, config),
        surroundings::container(facts),
    ]);
    findings
}

/// Whether something keeps the gateway from running.
pub fn has_problem(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.level == Level::Problem)
}
