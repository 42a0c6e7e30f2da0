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

/// Nice value of a shard's thread: some thirty times the share of an ordinary
/// thread. Where more comes in than a shard can relay, the kernel's own threads
/// that fill the sockets must not get half of the core for packets that are
/// then dropped: behind the shard they wait, and the device's queue, which is
/// short, overflows instead of the sockets'.
const SHARD_NICE: libc::c_int = -15;

/// Puts the calling thread before ordinary ones. Fails with `PermissionDenied`
/// without CAP_SYS_NICE and with an RLIMIT_NICE below it.
pub fn raise_priority() -> io::Result<()> {
    // SAFETY: takes no pointers; 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, SHARD_NICE) };
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
    fn a_raised_thread_stands_before_others_unless_that_is_refused() {
        std::thread::spawn(|| {
            let raised = raise_priority();
            // SAFETY: takes no pointers.
            let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
            match raised {
                Ok(()) => assert_eq!(nice, SHARD_NICE),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                    assert!(nice > SHARD_NICE);
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
