//! Pinning a thread to a core, and putting it before others there.

use std::io;

use super::sockets::checked;

/// Pins the calling thread to this core. Fails with `InvalidInput` when the
/// machine, or the container, has no such core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: cpu_set_t is plain data, for which all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the core is below CPU_SETSIZE, so the bit lies inside the set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is live and of the size given; 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    checked(result).map(|_| ())
}

/// The lowest of the real-time priorities: before every ordinary thread, behind
/// what the kernel itself runs so.
const SHARD_PRIORITY: libc::c_int = 1;

/// Puts the calling thread before all ordinary ones of its core, the kernel's
/// included. Where more comes in than can be relayed, the thread that fills the
/// sockets would otherwise get its share of the core for packets that are then
/// dropped; behind the shard it waits, and the device's queue, which is short,
/// overflows instead of the sockets'. Fails with `PermissionDenied` without
/// CAP_SYS_NICE and with an RLIMIT_RTPRIO of 0.
pub fn become_realtime() -> io::Result<()> {
    // SAFETY: sched_param is plain data, for which all zeros is a valid value.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = SHARD_PRIORITY;
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `parameters` is live; 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, policy, &parameters) };
    checked(result).map(|_| ())
}

/// The cores the calling thread may run on, in order.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    // SAFETY: cpu_set_t is plain data, for which all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is live and of the size given; 0 is the calling thread.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    checked(result)?;
    let cores = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: every core asked for is below CPU_SETSIZE.
    Ok(cores
        .filter(|core| unsafe { libc::CPU_ISSET(*core, &set) })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_where_it_was_pinned() {
        std::thread::spawn(|| {
            let core = *allowed_cores().expect("read").last().expect("one core");
            pin_to_core(core).expect("pinned");
            assert_eq!(allowed_cores().expect("read"), [core]);
        })
        .join()
        .expect("joined");
    }

    #[test]
    fn a_thread_becomes_a_realtime_one_unless_that_is_refused() {
        std::thread::spawn(|| {
            let became = become_realtime();
            // SAFETY: takes no pointers; 0 is the calling thread.
            let policy = unsafe { libc::sched_getscheduler(0) };
            match became {
                Ok(()) => assert_eq!(policy, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                    assert_eq!(policy, libc::SCHED_OTHER);
                }
            }
        })
        .join()
        .expect("joined");
    }

    #[test]
    fn a_core_that_does_not_exist_is_refused() {
        assert!(pin_to_core(1023).is_err());
        assert!(pin_to_core(usize::MAX).is_err());
    }
}
