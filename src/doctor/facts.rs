//! What there is to know about the machine. Everything here may be missing: a
//! container shows little, and a fact that is not there is not judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Config, core_list};
use crate::io::{Backend, BackendChoice, BackendSettings, host};

/// The machine, as far as the checks ask.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// Why a ring could not be made, as the system says it.
    pub uring_refused: Option<String>,
    /// Sysctls by name (`net.core.rmem_max`), as they are.
    pub sysctls: BTreeMap<String, String>,
    /// Cores that are online, by number.
    pub cores: BTreeMap<usize, CoreFacts>,
    /// Cores that the scheduler leaves alone (`isolcpus`).
    pub isolated: Vec<usize>,
    /// Cores' worth of time that the control group grants; `None`: no limit.
    pub cpu_quota: Option<f64>,
    /// The choice in `transparent_hugepage/enabled`.
    pub huge_pages: Option<String>,
    /// Where the kernel's time comes from.
    pub clock_source: Option<String>,
    /// Something keeps the clock right.
    pub clock_is_kept: bool,
    /// Hard limit on open files; `None`: no limit.
    pub open_files: Option<u64>,
    /// Limit on locked memory in bytes; `None`: no limit.
    pub locked_memory: Option<u64>,
    /// Network interfaces with a device behind them.
    pub interfaces: Vec<Interface>,
    /// The sockets that the configuration names, tried.
    pub listeners: Vec<Listener>,
    /// Local UDP ports that somebody has.
    pub udp_ports: BTreeSet<u16>,
    /// The file with root certificates.
    pub certificates: Option<PathBuf>,
    /// Bytes free where the data directory is or will be.
    pub free_disk: Option<u64>,
    /// The container engine, as far as it can be told.
    pub container: Option<&'static str>,
}

/// One core.
#[derive(Debug, Clone, Default)]
pub struct CoreFacts {
    /// Hardware threads of the same core, itself too.
    pub siblings: Vec<usize>,
    /// Frequency governor.
    pub governor: Option<String>,
    /// Memory node.
    pub node: Option<usize>,
}

/// One network interface.
#[derive(Debug, Clone, Default)]
pub struct Interface {
    /// As the system calls it.
    pub name: String,
    /// Receive queues.
    pub queues: usize,
    /// Cores that received packets are steered to by software (RPS); empty:
    /// none.
    pub steered_to: bool,
    /// Memory node of its bus.
    pub node: Option<usize>,
    /// Its interrupts: number, and the cores that they may land on.
    pub interrupts: Vec<(u32, Vec<usize>)>,
}

/// A socket of the configuration.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The setting that names it.
    pub setting: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// Why it cannot be bound.
    pub refused: Option<String>,
}

/// Where distributions keep root certificates.
const CERTIFICATES: [&str; 4] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
];

impl Facts {
    /// Looks at this machine: the files below `root` (`/`, or what a test made
    /// look like it), and trials of what cannot be read.
    pub fn read(root: &Path, config: &Config) -> Facts {
        Facts {
            uring_refused: try_ring(),
            clock_is_kept: host::clock_is_kept(),
            listeners: try_listeners(config),
            free_disk: free_disk(&config.data_dir),
            ..Facts::of_files(root)
        }
    }

    /// What can be read from files alone.
    pub(super) fn of_files(root: &Path) -> Facts {
        let files = Files(root);
        Facts {
            kernel: files.word("proc/sys/kernel/osrelease"),
            sysctls: sysctls(&files),
            cores: cores(&files),
            isolated: files.cores("sys/devices/system/cpu/isolated"),
            cpu_quota: quota(&files),
            huge_pages: files
                .word("sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|text| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())),
            clock_source: files
                .word("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            open_files: limit(&files, "Max open files", 1),
            locked_memory: limit(&files, "Max locked memory", 0),
            interfaces: interfaces(&files),
            udp_ports: udp_ports(&files),
            certificates: CERTIFICATES
                .iter()
                .map(|path| root.join(path))
                .find(|path| path.is_file()),
            container: container(&files),
            ..Facts::default()
        }
    }

    /// A sysctl as a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.sysctls.get(name)?.parse().ok()
    }
}

/// Files below a directory that stands for `/`.
struct Files<'r>(&'r Path);

impl Files<'_> {
    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.0.join(path)).ok()
    }

    fn word(&self, path: &str) -> Option<String> {
        let text = self.text(path)?.trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.word(path)?.parse().ok()
    }

    fn cores(&self, path: &str) -> Vec<usize> {
        self.word(path)
            .and_then(|text| core_list(&text).ok())
            .unwrap_or_default()
    }

    /// Names in a directory, in order.
    fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(path)).into_iter().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }
}

fn sysctls(files: &Files) -> BTreeMap<String, String> {
    super::kernel::KNOWN_SYSCTLS
        .into_iter()
        .chain(super::kernel::SYSCTLS.iter().map(|sysctl| sysctl.name))
        .filter_map(|name| {
            let path = format!("proc/sys/{}", name.replace('.', "/"));
            // An empty one counts: no port is reserved.
            let text = files.text(&path)?.trim().to_owned();
            Some((name.to_owned(), text))
        })
        .collect()
}

fn cores(files: &Files) -> BTreeMap<usize, CoreFacts> {
    let facts = |core: usize| {
        let directory = format!("sys/devices/system/cpu/cpu{core}");
        let node = files
            .names(&directory)
            .iter()
            .find_map(|name| name.strip_prefix("node")?.parse().ok());
        CoreFacts {
            siblings: files.cores(&format!("{directory}/topology/thread_siblings_list")),
            governor: files.word(&format!("{directory}/cpufreq/scaling_governor")),
            node,
        }
    };
    let online = files.cores("sys/devices/system/cpu/online");
    online.into_iter().map(|core| (core, facts(core))).collect()
}

/// Control group version 2, then 1.
fn quota(files: &Files) -> Option<f64> {
    let (granted, period): (f64, f64) = match files.word("sys/fs/cgroup/cpu.max") {
        Some(text) => {
            let (granted, period) = text.split_once(' ')?;
            (granted.parse().ok()?, period.parse().ok()?)
        }
        None => (
            files.number("sys/fs/cgroup/cpu/cpu.cfs_quota_us")?,
            files.number("sys/fs/cgroup/cpu/cpu.cfs_period_us")?,
        ),
    };
    (granted > 0.0 && period > 0.0).then(|| granted / period)
}

/// A line of `/proc/self/limits`; column 0 is the soft limit, 1 the hard one.
/// What cannot be read counts as no limit.
fn limit(files: &Files, name: &str, column: usize) -> Option<u64> {
    let text = files.text("proc/self/limits")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(column)?.parse().ok()
}

fn interfaces(files: &Files) -> Vec<Interface> {
    let names = files.names("sys/class/net");
    let real = names
        .into_iter()
        .filter(|name| files.has(&format!("sys/class/net/{name}/device")));
    let table = files.text("proc/interrupts").unwrap_or_default();
    real.map(|name| interface(files, name, &table)).collect()
}

fn interface(files: &Files, name: String, table: &str) -> Interface {
    let directory = format!("sys/class/net/{name}");
    let queues: Vec<String> = files
        .names(&format!("{directory}/queues"))
        .into_iter()
        .filter(|queue| queue.starts_with("rx-"))
        .collect();
    let is_steered = |queue: &String| {
        let mask = files.word(&format!("{directory}/queues/{queue}/rps_cpus"));
        mask.is_some_and(|mask| mask.chars().any(|digit| !matches!(digit, '0' | ',')))
    };
    let mut numbers: Vec<u32> = files
        .names(&format!("{directory}/device/msi_irqs"))
        .iter()
        .filter_map(|number| number.parse().ok())
        .collect();
    if numbers.is_empty() {
        numbers = named_interrupts(table, &name);
    }
    let interrupts = numbers.into_iter().map(|number| {
        let cores = files.cores(&format!("proc/irq/{number}/smp_affinity_list"));
        (number, cores)
    });
    Interface {
        steered_to: queues.iter().any(is_steered),
        queues: queues.len(),
        // -1 where the bus has no node.
        node: files.number(&format!("{directory}/device/numa_node")),
        interrupts: interrupts.collect(),
        name,
    }
}

/// Interrupts that `/proc/interrupts` names after the interface (`eth0-rx-1`).
fn named_interrupts(table: &str, name: &str) -> Vec<u32> {
    let lines = table.lines().filter_map(|line| {
        let (number, rest) = line.split_once(':')?;
        let is_its = rest
            .split_whitespace()
            .any(|word| word == name || word.starts_with(&format!("{name}-")));
        is_its.then(|| number.trim().parse().ok()).flatten()
    });
    lines.collect()
}

fn udp_ports(files: &Files) -> BTreeSet<u16> {
    ["proc/net/udp", "proc/net/udp6"]
        .iter()
        .filter_map(|path| files.text(path))
        .flat_map(|text| {
            text.lines()
                .skip(1)
                .filter_map(local_port)
                .collect::<Vec<u16>>()
        })
        .collect()
}

/// The port in `  12: 00000000:13C4 00000000:0000 …`.
fn local_port(line: &str) -> Option<u16> {
    let local = line.split_whitespace().nth(1)?;
    u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()
}

fn container(files: &Files) -> Option<&'static str> {
    let group = files.text("proc/1/cgroup").unwrap_or_default();
    if files.has(".dockerenv") {
        Some("docker")
    } else if files.has("run/.containerenv") {
        Some("podman")
    } else if files.has("var/run/secrets/kubernetes.io") || group.contains("kubepods") {
        Some("kubernetes")
    } else if group.contains("/docker") || group.contains("/lxc") {
        Some("a container")
    } else {
        None
    }
}

/// The gateway's own way to make a ring, with a small one.
fn try_ring() -> Option<String> {
    let settings = BackendSettings {
        media_slots: 64,
        signalling_slots: 4,
        ring_entries: 64,
        media_ports: 64,
        signalling_queue: 64,
        gather: Duration::ZERO,
    };
    let made = Backend::new(BackendChoice::Uring, settings);
    made.err().map(|error| error.to_string())
}

fn try_listeners(config: &Config) -> Vec<Listener> {
    let http = config.http.listen;
    let mut listeners = vec![Listener {
        setting: "http.listen",
        address: http,
        refused: TcpListener::bind(http).err().map(|error| error.to_string()),
    }];
    listeners.extend(config.sip.listen.iter().map(|&address| {
        Listener {
            setting: "sip.listen",
            address,
            refused: UdpSocket::bind(address)
                .err()
                .map(|error| error.to_string()),
        }
    }));
    listeners
}

/// The directory is made at the first start: then its nearest parent counts.
fn free_disk(directory: &Path) -> Option<u64> {
    let absolute = std::path::absolute(directory).ok()?;
    let existing = absolute.ancestors().find(|path| path.exists())?;
    host::free_disk(existing).ok()
}
