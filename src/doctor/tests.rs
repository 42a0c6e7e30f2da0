use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use super::facts::{CoreFacts, Interface, Listener};
use super::*;
use crate::config::Machine;

/// Shards on cores 1 and 2 of 0 to 3, all defaults.
fn config() -> Config {
    config_of(&[
        ("RINGWIRE_CORES", "1-2"),
        ("RINGWIRE_PUBLIC_IP", "203.0.113.7"),
    ])
}

fn config_of(env: &[(&str, &str)]) -> Config {
    let machine = Machine {
        cores: vec![0, 1, 2, 3],
        route_v4: Some(Ipv4Addr::new(192, 168, 1, 2)),
        route_v6: None,
    };
    let value = |name: &str| {
        let found = env.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Config::load_on(&machine, None, value).unwrap()
}

/// A machine on which all is well.
fn good() -> Facts {
    let sysctl = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Facts {
        kernel: Some("6.12.1".to_owned()),
        sysctls: [
            sysctl("net.core.rmem_max", "4194304"),
            sysctl("net.core.wmem_max", "4194304"),
            sysctl("net.core.netdev_max_backlog", "8192"),
            sysctl("net.ipv4.ip_local_port_range", "32768 60999"),
            sysctl("net.ipv4.ip_local_reserved_ports", "30000-40000"),
            sysctl("net.ipv4.conf.all.rp_filter", "2"),
        ]
        .into(),
        cores: (0..4)
            .map(|core| {
                let facts = CoreFacts {
                    siblings: vec![core],
                    governor: Some("performance".to_owned()),
                    node: Some(0),
                };
                (core, facts)
            })
            .collect(),
        isolated: vec![1, 2],
        huge_pages: Some("madvise".to_owned()),
        clock_source: Some("tsc".to_owned()),
        clock_is_kept: true,
        open_files: Some(1 << 20),
        interfaces: vec![Interface {
            name: "eth0".to_owned(),
            queues: 4,
            steered_to: false,
            node: Some(0),
            interrupts: vec![(30, vec![0]), (31, vec![3])],
        }],
        certificates: Some("/etc/ssl/certs/ca-certificates.crt".into()),
        free_disk: Some(20 << 30),
        ..Facts::default()
    }
}

/// What is not well, as check and level.
fn told(facts: &Facts, config: &Config) -> Vec<(String, Level)> {
    let findings = examine(facts, config);
    for finding in &findings {
        // Whatever is not well says why, and what to do.
        let mends = !finding.why.is_empty() && finding.remedy.is_some();
        assert_eq!(finding.level != Level::Ok, mends, "{finding:?}");
    }
    findings
        .into_iter()
        .filter(|finding| finding.level != Level::Ok)
        .map(|finding| (finding.check, finding.level))
        .collect()
}

/// A good machine with one thing changed tells just this.
#[track_caller]
fn tells(change: impl FnOnce(&mut Facts), check: &str, level: Level) {
    let mut facts = good();
    change(&mut facts);
    assert_eq!(told(&facts, &config()), [(check.to_owned(), level)]);
}

#[test]
fn a_good_machine_has_nothing_to_mend() {
    assert_eq!(told(&good(), &config()), []);
    assert!(!has_problem(&examine(&good(), &config())));
}

#[test]
fn a_machine_of_which_nothing_can_be_read_has_no_problem() {
    assert!(!has_problem(&examine(&Facts::default(), &config())));
}

#[test]
fn each_thing_of_the_kernel_is_told() {
    use Level::Advice;
    tells(
        |facts| facts.kernel = Some("5.15.0-91".to_owned()),
        "kernel",
        Advice,
    );
    tells(
        |facts| facts.uring_refused = Some("Operation not permitted".to_owned()),
        "io_uring",
        Advice,
    );
    tells(
        |facts| facts.huge_pages = Some("always".to_owned()),
        "transparent huge pages",
        Advice,
    );
    tells(
        |facts| facts.clock_source = Some("hpet".to_owned()),
        "clock source",
        Advice,
    );
    tells(|facts| facts.clock_is_kept = false, "time", Advice);
    tells(|facts| facts.open_files = Some(4096), "open files", Advice);
    tells(
        |facts| facts.open_files = Some(256),
        "open files",
        Level::Problem,
    );
}

#[test]
fn io_uring_that_is_asked_for_and_refused_is_a_problem_and_names_the_sysctl() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    fs::write(&file, "[rtp]\nbackend = \"uring\"\n").unwrap();
    let config = Config::load(Some(&file), |_| None).unwrap();
    let mut facts = good();
    facts.uring_refused = Some("Operation not permitted".to_owned());
    let name = "kernel.io_uring_disabled".to_owned();
    facts.sysctls.insert(name, "2".to_owned());
    let finding = kernel::uring(&facts, &config);
    assert_eq!(finding.level, Level::Problem);
    assert_eq!(
        finding.remedy.as_deref(),
        Some("sysctl -w kernel.io_uring_disabled=0")
    );
}

#[test]
fn each_sysctl_that_is_too_small_is_told_with_the_command_that_raises_it() {
    for sysctl in SYSCTLS {
        let mut facts = good();
        facts.sysctls.insert(sysctl.name.to_owned(), "1".to_owned());
        let findings = examine(&facts, &config());
        let finding = findings
            .iter()
            .find(|one| one.check == sysctl.name)
            .unwrap();
        let command = format!("sysctl -w {}={}", sysctl.name, sysctl.least);
        assert_eq!(finding.remedy.as_ref(), Some(&command));
    }
}

#[test]
fn each_thing_of_the_cores_is_told() {
    use Level::{Advice, Problem};
    tells(
        |facts| {
            facts.cores.remove(&2);
        },
        "cores",
        Problem,
    );
    tells(
        |facts| facts.cores.get_mut(&1).unwrap().siblings = vec![1, 2],
        "hyper-threads",
        Advice,
    );
    tells(|facts| facts.isolated = vec![1], "isolated cores", Advice);
    tells(
        |facts| facts.cores.get_mut(&1).unwrap().governor = Some("powersave".to_owned()),
        "frequency governor",
        Advice,
    );
    // That core 0 is slow is nobody's business.
    let mut facts = good();
    facts.cores.get_mut(&0).unwrap().governor = Some("powersave".to_owned());
    assert_eq!(told(&facts, &config()), []);
    tells(|facts| facts.cpu_quota = Some(2.0), "cpu quota", Advice);
    tells(
        |facts| facts.cores.get_mut(&2).unwrap().node = Some(1),
        "memory nodes",
        Advice,
    );
    tells(
        |facts| facts.interfaces[0].interrupts[1].1 = vec![0, 2],
        "interrupts",
        Advice,
    );
}

#[test]
fn a_shard_on_every_core_leaves_none_for_the_api() {
    let config = config_of(&[
        ("RINGWIRE_CORES", "0-3"),
        ("RINGWIRE_PUBLIC_IP", "203.0.113.7"),
    ]);
    assert_eq!(
        told(&good(), &config),
        [("cores".to_owned(), Level::Advice)]
    );
}

#[test]
fn each_thing_of_the_network_is_told() {
    use Level::{Advice, Problem};
    let set = |facts: &mut Facts, name: &str, value: &str| {
        facts.sysctls.insert(name.to_owned(), value.to_owned());
    };
    tells(
        |facts| {
            set(
                facts,
                "net.ipv4.ip_local_reserved_ports",
                "8080,30000-35000",
            )
        },
        "net.ipv4.ip_local_reserved_ports",
        Advice,
    );
    tells(
        |facts| set(facts, "net.netfilter.nf_conntrack_max", "1024"),
        "connection tracking",
        Advice,
    );
    tells(
        |facts| {
            set(facts, "net.ipv4.conf.all.rp_filter", "1");
            let mut second = facts.interfaces[0].clone();
            second.name = "eth1".to_owned();
            facts.interfaces.push(second);
        },
        "net.ipv4.conf.all.rp_filter",
        Advice,
    );
    tells(
        |facts| facts.interfaces[0].queues = 1,
        "receive queues",
        Advice,
    );
    tells(
        |facts| facts.udp_ports = (30000..31000).collect(),
        "rtp.ports",
        Advice,
    );
    tells(
        |facts| {
            facts.listeners.push(Listener {
                setting: "sip.listen",
                address: "0.0.0.0:5060".parse().unwrap(),
                refused: Some("Address already in use".to_owned()),
            });
        },
        "sip.listen",
        Problem,
    );
}

#[test]
fn ports_that_are_reserved_in_pieces_or_outside_of_the_range_are_fine() {
    let mut facts = good();
    let reserved = "net.ipv4.ip_local_reserved_ports".to_owned();
    facts
        .sysctls
        .insert(reserved.clone(), "36001-40000,32768-36000".to_owned());
    assert_eq!(told(&facts, &config()), []);
    facts.sysctls.insert(reserved, String::new());
    let range = "net.ipv4.ip_local_port_range".to_owned();
    facts.sysctls.insert(range, "40001\t60999".to_owned());
    assert_eq!(told(&facts, &config()), []);
}

#[test]
fn an_address_that_peers_cannot_reach_is_told() {
    // Of the default route, where nothing is configured.
    let config = config_of(&[("RINGWIRE_CORES", "1-2")]);
    assert_eq!(
        told(&good(), &config),
        [("public_ip".to_owned(), Level::Advice)]
    );
}

#[test]
fn each_thing_around_is_told() {
    tells(
        |facts| facts.certificates = None,
        "root certificates",
        Level::Advice,
    );
    tells(
        |facts| facts.free_disk = Some(100 << 20),
        "data_dir",
        Level::Advice,
    );
    tells(
        |facts| facts.free_disk = Some(0),
        "data_dir",
        Level::Problem,
    );
}

#[test]
fn the_facts_are_read_from_the_files_below_the_root() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("proc/sys/kernel/osrelease", "6.8.0-45-generic\n");
    write("proc/sys/net/core/rmem_max", "212992\n");
    write("proc/sys/net/ipv4/ip_local_reserved_ports", "\n");
    write("sys/devices/system/cpu/online", "0-1\n");
    write("sys/devices/system/cpu/isolated", "\n");
    write(
        "sys/devices/system/cpu/cpu1/topology/thread_siblings_list",
        "0-1\n",
    );
    write(
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
        "powersave\n",
    );
    write("sys/devices/system/cpu/cpu1/node1/cpulist", "0-1\n");
    write(
        "sys/kernel/mm/transparent_hugepage/enabled",
        "always [madvise] never\n",
    );
    write("sys/fs/cgroup/cpu.max", "150000 100000\n");
    write(
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n\
         Max open files            1024                 524288               files     \n\
         Max locked memory         unlimited            unlimited            bytes     \n",
    );
    write("sys/class/net/eth0/device/numa_node", "-1\n");
    write(
        "sys/class/net/eth0/queues/rx-0/rps_cpus",
        "00000000,00000003\n",
    );
    write("sys/class/net/eth0/queues/tx-0/xps_cpus", "0\n");
    write("sys/class/net/lo/mtu", "65536\n");
    write(
        "proc/interrupts",
        "           CPU0  CPU1\n 42:  7  0  PCI-MSI 1-edge  eth0-rx-0\n 43:  1  0  PCI-MSI 2-edge  nvme0q0\n",
    );
    write("proc/irq/42/smp_affinity_list", "0-1\n");
    write(
        "proc/net/udp",
        "  sl  local_address rem_address\n   12: 0100007F:13C4 00000000:0000 07\n",
    );
    write(".dockerenv", "");
    let facts = Facts::of_files(root.path());
    assert_eq!(facts.kernel.as_deref(), Some("6.8.0-45-generic"));
    assert_eq!(facts.number("net.core.rmem_max"), Some(212_992));
    assert_eq!(facts.sysctls["net.ipv4.ip_local_reserved_ports"], "");
    assert_eq!(facts.cores.len(), 2);
    assert_eq!(facts.cores[&1].siblings, [0, 1]);
    assert_eq!(facts.cores[&1].governor.as_deref(), Some("powersave"));
    assert_eq!(facts.cores[&1].node, Some(1));
    assert_eq!(facts.cpu_quota, Some(1.5));
    assert_eq!(facts.huge_pages.as_deref(), Some("madvise"));
    assert_eq!(facts.open_files, Some(524_288));
    assert_eq!(facts.locked_memory, None);
    assert_eq!(facts.interfaces.len(), 1, "loopback is no card");
    let card = &facts.interfaces[0];
    assert_eq!((card.queues, card.steered_to, card.node), (1, true, None));
    assert_eq!(card.interrupts, [(42, vec![0, 1])]);
    assert!(facts.udp_ports.contains(&5060));
    assert_eq!(facts.container, Some("docker"));
}

#[test]
fn this_machine_can_be_examined() {
    let findings = examine(&Facts::read(Path::new("/"), &config()), &config());
    let json: serde_json::Value = serde_json::from_str(&json(&findings)).unwrap();
    assert_eq!(json["findings"].as_array().unwrap().len(), findings.len());
    assert!(text(&findings).contains(" ok, "));
}

#[test]
fn every_key_of_the_sysctl_file_is_checked_and_its_value_does() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sysctl.conf");
    let mut facts = good();
    for line in fs::read_to_string(file).unwrap().lines() {
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let key = key.trim();
        let is_known =
            kernel::KNOWN_SYSCTLS.contains(&key) || SYSCTLS.iter().any(|sysctl| sysctl.name == key);
        assert!(
            is_known,
            "{key} is in config/sysctl.conf and checked nowhere"
        );
        facts
            .sysctls
            .insert(key.to_owned(), value.trim().to_owned());
    }
    assert_eq!(told(&facts, &config()), []);
}

#[test]
fn every_check_is_explained() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/BARE-METAL.md");
    let docs = fs::read_to_string(docs).unwrap();
    for finding in examine(&good(), &config()) {
        let check = finding.check;
        assert!(docs.contains(&check), "docs/BARE-METAL.md: {check}");
    }
}
