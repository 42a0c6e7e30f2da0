//! Checks of what is around the gateway: time, certificates, disk, container.

use crate::config::Config;

use super::facts::Facts;
use super::report::Finding;

/// With less than this free the root secret, records and logs are in danger
/// (bytes).
const LEAST_DISK: u64 = 1 << 30;
/// With less than this nothing can be kept at all (bytes).
const NO_DISK: u64 = 16 << 20;

/// Whether something keeps the clock right.
pub(super) fn time(facts: &Facts) -> Finding {
    let check = "time";
    match facts.clock_is_kept {
        true => Finding::ok(check, "the clock is synchronized"),
        false => Finding::advice(
            check,
            "the kernel says that nothing synchronizes the clock",
            "tokens expire, and hooks are signed, by the clock; logs of two machines can only be compared by it",
            "systemctl enable --now systemd-timesyncd (or chrony); a container has the host's",
        ),
    }
}

/// Whether https hooks can be posted.
pub(super) fn certificates(facts: &Facts, config: &Config) -> Finding {
    let check = "root certificates";
    match &facts.certificates {
        Some(file) => Finding::ok(check, file.display().to_string()),
        None => {
            let why =
                "a hook with an https URL cannot be posted: its certificate would not be trusted";
            let remedy = "apt-get install ca-certificates";
            let mut hooks = config
                .book
                .numbers()
                .filter_map(|number| number.hook.as_ref());
            let has_https = hooks.any(|hook| hook.url.starts_with("https:"));
            match has_https {
                true => {
                    Finding::problem(check, "none, and a number has an https hook", why, remedy)
                }
                false => Finding::advice(check, "none", why, remedy),
            }
        }
    }
}

/// Whether the data directory has room.
pub(super) fn disk(facts: &Facts, config: &Config) -> Finding {
    let check = "data_dir";
    let directory = config.data_dir.display();
    let Some(free) = facts.free_disk else {
        return Finding::ok(check, format!("{directory}: its free space cannot be read"));
    };
    let finding = format!("{directory}: {} MiB free", free >> 20);
    let why = "the root secret and what else outlives a restart is kept there";
    let remedy = format!("df -h {directory}, then make room or set data_dir to another disk");
    match free {
        ..NO_DISK => Finding::problem(check, finding, why, remedy),
        NO_DISK..LEAST_DISK => Finding::advice(check, finding, why, remedy),
        _ => Finding::ok(check, finding),
    }
}

/// Whether this is a container, where some things belong to the host.
pub(super) fn container(facts: &Facts) -> Finding {
    let check = "container";
    match facts.container {
        None => Finding::ok(check, "no"),
        Some(engine) => Finding::ok(
            check,
            format!(
                "{engine}: sysctls, interrupts and governors are the host's; run with its network"
            ),
        ),
    }
}
