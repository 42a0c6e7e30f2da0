//! Checks of the cores that the shards are pinned to.

use std::fmt::Display;

use crate::config::Config;

use super::facts::Facts;
use super::report::Finding;

/// Whether the configured cores are there, and leave something for the API.
pub(super) fn cores(facts: &Facts, config: &Config) -> Finding {
    let check = "cores";
    if facts.cores.is_empty() {
        return Finding::ok(check, "cannot be read here");
    }
    let shards = list(&config.cores);
    let missing: Vec<usize> = config
        .cores
        .iter()
        .copied()
        .filter(|core| !facts.cores.contains_key(core))
        .collect();
    if !missing.is_empty() {
        return Finding::problem(
            check,
            format!("core {} is not online", list(&missing)),
            "a shard is pinned to its core, so the gateway does not start without it",
            format!("set cores to some of {}", list(facts.cores.keys())),
        );
    }
    let online = facts.cores.len();
    if online > 1 && config.cores.len() == online {
        return Finding::advice(
            check,
            format!("all {online} cores have a shard"),
            "the API and the kernel's own work share a core with a shard, and delay its packets",
            format!("leave one free: cores = [{}]", list(&config.cores[1..])),
        );
    }
    Finding::ok(check, format!("shards on {shards}, of {online} online"))
}

/// Whether two shards share one core's execution units.
pub(super) fn siblings(facts: &Facts, config: &Config) -> Finding {
    let check = "hyper-threads";
    let pair = config.cores.iter().enumerate().find_map(|(at, &core)| {
        let siblings = &facts.cores.get(&core)?.siblings;
        let other = config.cores[at + 1..]
            .iter()
            .find(|other| siblings.contains(other))?;
        Some((core, *other))
    });
    match pair {
        Some((core, other)) => Finding::advice(
            check,
            format!("cores {core} and {other} are threads of one core, and both have a shard"),
            "two threads of one core share its units: two shards there slow each other down",
            "give each shard a core of its own (lscpu -e shows which are), or accept it and measure",
        ),
        None => Finding::ok(check, "no two shards share a core"),
    }
}

/// Whether the scheduler keeps other work away from the shards.
pub(super) fn isolation(facts: &Facts, config: &Config) -> Finding {
    let check = "isolated cores";
    let others = facts.cores.len().saturating_sub(config.cores.len());
    let exposed: Vec<usize> = config
        .cores
        .iter()
        .copied()
        .filter(|core| !facts.isolated.contains(core))
        .collect();
    if exposed.is_empty() {
        return Finding::ok(check, format!("{} are isolated", list(&config.cores)));
    }
    if others == 0 {
        return Finding::ok(check, "none; there is no core besides those of the shards");
    }
    let cores = list(&config.cores);
    Finding::advice(
        check,
        format!("other work may run on {}", list(&exposed)),
        "a process that the scheduler puts beside a shard delays packets by up to a time slice",
        format!(
            "boot with isolcpus={cores} nohz_full={cores} rcu_nocbs={cores}, on a machine that only does this"
        ),
    )
}

/// How the cores' frequency is chosen.
pub(super) fn governor(facts: &Facts, config: &Config) -> Finding {
    let check = "frequency governor";
    let slow: Vec<(usize, &str)> = config
        .cores
        .iter()
        .filter_map(|core| Some((*core, facts.cores.get(core)?.governor.as_deref()?)))
        .filter(|(_, governor)| *governor != "performance")
        .collect();
    match slow.first() {
        None => Finding::ok(check, "performance, or left to the hardware"),
        Some((core, governor)) => Finding::advice(
            check,
            format!("{governor} on core {core}"),
            "a core that has slowed down needs time to speed up again, which is jitter",
            "cpupower frequency-set -g performance",
        ),
    }
}

/// Whether a control group takes the cores away now and then.
pub(super) fn quota(facts: &Facts, config: &Config) -> Finding {
    let check = "cpu quota";
    let wanted = config.cores.len() as f64;
    match facts.cpu_quota {
        None => Finding::ok(check, "none"),
        Some(quota) if quota > wanted => {
            Finding::ok(check, format!("{quota} cores for {wanted} shards"))
        }
        Some(quota) => Finding::advice(
            check,
            format!("{quota} cores for {wanted} shards and the API"),
            "when the quota of a period is used up, all threads stop until the next one, up to 100 ms",
            "run without a CPU limit (docker: no --cpus; kubernetes: no limits.cpu, or the static CPU manager)",
        ),
    }
}

/// Whether network interrupts land on cores of shards.
pub(super) fn interrupts(facts: &Facts, config: &Config) -> Finding {
    let check = "interrupts";
    if facts.cores.len() <= config.cores.len() {
        return Finding::ok(check, "there is no core besides those of the shards");
    }
    let free: Vec<usize> = facts
        .cores
        .keys()
        .copied()
        .filter(|core| !config.cores.contains(core))
        .collect();
    let hit = facts.interfaces.iter().find_map(|interface| {
        let (number, _) = interface
            .interrupts
            .iter()
            .find(|(_, cores)| cores.iter().any(|core| config.cores.contains(core)))?;
        Some((interface, *number))
    });
    match hit {
        None => Finding::ok(check, "none of a network card lands on a shard's core"),
        Some((interface, number)) => Finding::advice(
            check,
            format!("{number} of {} may land on a shard's core", interface.name),
            "a card's interrupts and the work behind them come before the shard, in bursts",
            format!(
                "stop irqbalance, then echo {} > /proc/irq/{number}/smp_affinity_list, and so for the others of {}",
                list(&free),
                interface.name
            ),
        ),
    }
}

/// Whether shards are on the memory node of the card.
pub(super) fn memory_nodes(facts: &Facts, config: &Config) -> Finding {
    let check = "memory nodes";
    let far = facts.interfaces.iter().find_map(|interface| {
        let node = interface.node?;
        let core = config.cores.iter().find(|core| {
            let its = facts.cores.get(core).and_then(|core| core.node);
            its.is_some_and(|its| its != node)
        })?;
        Some((interface, node, *core))
    });
    match far {
        None => Finding::ok(check, "the shards are where the network cards are"),
        Some((interface, node, core)) => Finding::advice(
            check,
            format!(
                "{} is on node {node}, the shard of core {core} is not",
                interface.name
            ),
            "each packet then crosses the link between the processors twice",
            format!(
                "set cores to some of node {node}: cat /sys/devices/system/node/node{node}/cpulist"
            ),
        ),
    }
}

/// Numbers with commas.
pub(super) fn list<T: Display>(numbers: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = numbers.into_iter().map(|one| one.to_string()).collect();
    texts.join(",")
}
