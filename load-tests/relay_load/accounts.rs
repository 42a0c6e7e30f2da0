//! What the device has cost so far, by the kernel's books.

use std::fs;
use std::io;

/// CPU time in nanoseconds, all of it since some start: differences count.
#[derive(Clone, Copy, Default)]
pub struct Accounts {
    /// Of the device's process, all threads.
    pub process: u64,
    /// Of the kernel thread that receives for the device.
    pub receiving: u64,
    /// The device's core had nothing to do. The kernel tells it in ticks of
    /// 10 ms.
    pub idle: u64,
    /// The hypervisor took the device's core away.
    pub stolen: u64,
}

/// Whose accounts to read.
pub struct Device {
    pub pid: u32,
    pub receiving: Option<u32>,
    pub core: usize,
}

impl Device {
    pub fn accounts(&self) -> Accounts {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid));
        let tasks = tasks.into_iter().flatten().flatten();
        let (idle, stolen) = core(self.core).unwrap_or_default();
        Accounts {
            process: tasks
                .filter_map(|task| ran(&task.path().join("schedstat").to_string_lossy()))
                .sum(),
            receiving: self
                .receiving
                .and_then(|thread| ran(&format!("/proc/{thread}/schedstat")))
                .unwrap_or(0),
            idle,
            stolen,
        }
    }
}

/// The first figure of a schedstat: nanoseconds on a core.
fn ran(schedstat: &str) -> Option<u64> {
    let text = fs::read_to_string(schedstat).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Idle (waiting for disks included) and stolen time of a core.
fn core(core: usize) -> Option<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // SAFETY: sysconf takes a number and gives one.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
    let tick = 1_000_000_000 / per_second.max(1);
    // user nice system idle iowait irq softirq steal
    Some(((ticks.get(3)? + ticks.get(4)?) * tick, ticks.get(7)? * tick))
}

/// This thread, and those that it starts, run on one core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    // SAFETY: cpu_set_t is plain data, for which all zeros is a valid value,
    // and CPU_SET stays within it.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if core >= 8 * size_of::<libc::cpu_set_t>() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The wall clock in nanoseconds: the one that the kernel stamps packets with.
#[inline]
pub fn clock() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the place is live.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
