//! Checks of the kernel: io_uring, sysctls, limits, memory, clocks.

use crate::config::{Config, MediaBackend};
use crate::io::sockets::SIGNALLING_BUFFER;

use super::facts::Facts;
use super::report::{Finding, Level};

/// A sysctl that should be at least this.
#[derive(Debug, Clone, Copy)]
pub struct Sysctl {
    /// Its name, as `sysctl` writes it.
    pub name: &'static str,
    /// The least value that does.
    pub least: u64,
    /// Why.
    pub why: &'static str,
}

/// Sysctls of which more is better. `config/sysctl.conf` sets them.
pub const SYSCTLS: &[Sysctl] = &[
    Sysctl {
        name: "net.core.rmem_max",
        least: SIGNALLING_BUFFER as u64,
        why: "SIP sockets ask for 4 MiB to hold a burst; the kernel cuts that down to this, and drops what does not fit",
    },
    Sysctl {
        name: "net.core.wmem_max",
        least: SIGNALLING_BUFFER as u64,
        why: "SIP sockets ask for 4 MiB to send a burst; the kernel cuts that down to this",
    },
    Sysctl {
        name: "net.core.netdev_max_backlog",
        least: 8192,
        why: "packets steered to another core wait here; RTP comes in bursts, and what does not fit is dropped before any socket",
    },
];

/// Sysctls that other checks read.
pub(super) const KNOWN_SYSCTLS: [&str; 6] = [
    "kernel.io_uring_disabled",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.conf.all.rp_filter",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_count",
];

/// io_uring has what the gateway needs from this release on.
const URING_RELEASE: (u32, u32) = (6, 1);
/// Open files besides media sockets: HTTP connections and WebSockets.
const OTHER_FILES: u64 = 8192;
/// What a few rings lock at most where the kernel counts it (bytes).
const RING_MEMORY: u64 = 64 << 20;

/// The kernel's release.
pub(super) fn release(facts: &Facts) -> Finding {
    let check = "kernel";
    let Some(release) = &facts.kernel else {
        return Finding::ok(check, "its release cannot be read here");
    };
    match version(release) {
        Some(version) if version < URING_RELEASE => Finding::advice(
            check,
            format!("{release} is older than 6.1"),
            "io_uring lacks what the relay needs; the gateway falls back to recvmmsg and sendmmsg, which carry fewer calls per core",
            "run a kernel of 6.1 or newer (Debian 12, Ubuntu 24.04)",
        ),
        _ => Finding::ok(check, release),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether a ring can be made.
pub(super) fn uring(facts: &Facts, config: &Config) -> Finding {
    let check = "io_uring";
    let Some(refused) = &facts.uring_refused else {
        return Finding::ok(check, "a ring can be made");
    };
    let disabled = facts.number("kernel.io_uring_disabled").unwrap_or(0);
    let remedy = match disabled {
        0 => {
            "in a container, allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile (docs/BARE-METAL.md)"
        }
        _ => "sysctl -w kernel.io_uring_disabled=0",
    };
    let finding = match disabled {
        0 => format!("refused: {refused}"),
        value => format!("refused: {refused}; kernel.io_uring_disabled is {value}"),
    };
    match config.rtp.backend {
        MediaBackend::Uring => Finding::problem(
            check,
            finding,
            "rtp.backend is \"uring\", so the gateway does not start without it",
            remedy,
        ),
        MediaBackend::Auto => Finding::advice(
            check,
            finding,
            "the gateway falls back to recvmmsg and sendmmsg, which carry fewer calls per core",
            remedy,
        ),
        MediaBackend::Poll => Finding::ok(check, format!("{finding}; rtp.backend is \"poll\"")),
    }
}

/// The sysctls of which more is better.
pub(super) fn sysctls(facts: &Facts) -> Vec<Finding> {
    let judge = |sysctl: &Sysctl| match facts.number(sysctl.name) {
        None => Finding::ok(sysctl.name, "cannot be read here; it belongs to the host"),
        Some(value) if value >= sysctl.least => Finding::ok(sysctl.name, value.to_string()),
        Some(value) => Finding::advice(
            sysctl.name,
            format!("{value}, less than {}", sysctl.least),
            sysctl.why,
            format!("sysctl -w {}={}", sysctl.name, sysctl.least),
        ),
    };
    SYSCTLS.iter().map(judge).collect()
}

/// Transparent huge pages.
pub(super) fn huge_pages(facts: &Facts) -> Finding {
    let check = "transparent huge pages";
    match facts.huge_pages.as_deref() {
        Some("always") => Finding::advice(
            check,
            "always",
            "the kernel may stop a shard to put a huge page together; the gateway asks for none",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        Some(choice) => Finding::ok(check, choice),
        None => Finding::ok(check, "none"),
    }
}

/// Where the time comes from.
pub(super) fn clock_source(facts: &Facts) -> Finding {
    let check = "clock source";
    match facts.clock_source.as_deref() {
        None => Finding::ok(check, "cannot be read here"),
        // Sources that user space reads without a system call.
        Some(
            source @ ("tsc" | "kvm-clock" | "arch_sys_counter" | "hyperv_clocksource_tsc_page"),
        ) => Finding::ok(check, source),
        Some(source) => Finding::advice(
            check,
            source,
            "every batch of packets reads the clock once; with this source that is a system call, or a slow device",
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource, if available_clocksource there lists it",
        ),
    }
}

/// The limit on open files.
pub(super) fn open_files(facts: &Facts, config: &Config) -> Finding {
    let check = "open files";
    let ports = config.rtp.ports.clone().count() as u64;
    // Two ports and sockets a leg; a call has one leg.
    let wanted = ports.min(2 * config.calls.max_calls as u64) + OTHER_FILES;
    let Some(limit) = facts.open_files else {
        return Finding::ok(check, "no limit");
    };
    if limit >= wanted {
        return Finding::ok(check, format!("{limit}, of which {wanted} may be needed"));
    }
    let remedy = format!(
        "LimitNOFILE={wanted} in the unit, --ulimit nofile={wanted} for docker, or ulimit -Hn {wanted}"
    );
    let finding = format!("at most {limit}, and {wanted} may be needed");
    let why = "each call has two sockets; when they run out, new calls are refused with 503";
    match limit < OTHER_FILES / 8 {
        true => Finding::problem(check, finding, why, remedy),
        false => Finding::advice(check, finding, why, remedy),
    }
}

/// The limit on locked memory, where rings count towards it.
pub(super) fn locked_memory(facts: &Facts) -> Finding {
    let check = "locked memory";
    let level = match facts.locked_memory {
        Some(bytes) if bytes < RING_MEMORY && facts.uring_refused.is_some() => Level::Advice,
        _ => Level::Ok,
    };
    let finding = match facts.locked_memory {
        Some(bytes) => format!("at most {} KiB", bytes >> 10),
        None => "no limit".to_owned(),
    };
    match level {
        Level::Ok => Finding::ok(check, finding),
        _ => Finding::advice(
            check,
            finding,
            "some kernels count rings and their buffers as locked memory, and refuse a ring that does not fit",
            "LimitMEMLOCK=infinity in the unit, --ulimit memlock=-1 for docker, or ulimit -l unlimited",
        ),
    }
}
