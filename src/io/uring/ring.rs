//! The ring itself: setting it up, filling it, waiting on it.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{IoUring, Submitter, squeue};

use super::super::backend::BackendSettings;
use super::super::sockets::RAW_ADDRESS;
use super::Completion;
use super::patience::Wait;
use super::token::Token;

/// Completion queue entries per submission queue entry: room for what comes in
/// while the core is busy.
const COMPLETIONS_PER_ENTRY: u32 = 8;

/// The ring.
pub(super) struct Ring {
    ring: IoUring,
    /// What found no room in the submission queue.
    backlog: VecDeque<squeue::Entry>,
    enabled: bool,
    /// A wait can be for many completions or a time (since Linux 6.12).
    gathers: bool,
    /// The shape of every receive with address; boxed because the kernel is
    /// told where it is.
    template: Box<libc::msghdr>,
}

// SAFETY: the raw pointers in the template are null; it is only a shape.
unsafe impl Send for Ring {}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("enabled", &self.enabled)
            .field("backlog", &self.backlog.len())
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// Fails where the system refuses io_uring, or lacks what 6.1 brought.
    pub(super) fn new(settings: &BackendSettings) -> io::Result<Ring> {
        let entries = settings.ring_entries.clamp(64, 32768).next_power_of_two();
        let ring = IoUring::builder()
            .setup_cqsize(entries * COMPLETIONS_PER_ENTRY)
            .setup_clamp()
            .setup_submit_all()
            // One thread submits, and completions wait until it asks for them:
            // no interrupts, no locks. That thread is the one that enables.
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_r_disabled()
            .build(entries)?;
        let features = ring.params();
        if !features.is_feature_nodrop()
            || !features.is_feature_ext_arg()
            || !features.is_feature_skip_cqe_on_success()
        {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let gathers = features.is_feature_min_timeout();
        // SAFETY: msghdr is plain data, for which all zeros is a valid value.
        let mut template: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        template.msg_namelen = RAW_ADDRESS as libc::socklen_t;
        Ok(Ring {
            ring,
            backlog: VecDeque::new(),
            enabled: false,
            gathers,
            template,
        })
    }

    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    pub(super) fn template(&self) -> *const libc::msghdr {
        &*self.template
    }

    /// Queues a request for the next submit. The memory that it points at must
    /// stay until it has completed.
    #[inline]
    pub(super) fn push(&mut self, entry: squeue::Entry) {
        if self.backlog.is_empty() && self.push_now(&entry) {
            return;
        }
        self.backlog.push_back(entry);
    }

    #[inline]
    fn push_now(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the callers of `push` keep what the entry points at.
        unsafe { self.ring.submission().push(entry).is_ok() }
    }

    fn push_backlog(&mut self) {
        while let Some(entry) = self.backlog.pop_front() {
            if !self.push_now(&entry) {
                self.backlog.push_front(entry);
                return;
            }
        }
    }

    /// Hands everything queued to the kernel.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        self.enable()?;
        loop {
            self.push_backlog();
            match passing(self.ring.submit())? {
                0 => return Ok(()),
                _ if self.backlog.is_empty() => return Ok(()),
                _ => {}
            }
        }
    }

    /// The same, and waits for a completion or the deadline. The one place
    /// that says how many completions a wait is for, and for how long.
    pub(super) fn submit_and_wait(
        &mut self,
        deadline: Option<Instant>,
        wait: Wait,
    ) -> io::Result<()> {
        if !self.backlog.is_empty() {
            self.submit()?;
        }
        self.enable()?;
        // What was left over from the last turn has waited already.
        let leftover = !self.ring.completion().is_empty();
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        // The kernel gathers past a deadline, be it sound or a handshake that
        // the last turn left for this one.
        let has_time = left.is_none_or(|left| left >= wait.gather);
        let wait = match self.gathers && !leftover && has_time {
            true => wait,
            false => Wait::ANY,
        };
        let want = wait.completions;
        let submitted = match left.map(Timespec::from) {
            None => self.ring.submit_and_wait(Wait::ANY.completions),
            Some(left) => {
                let gather = wait.gather.as_micros() as u32;
                let args = SubmitArgs::new().timespec(&left).min_wait_usec(gather);
                self.ring.submitter().submit_with_args(want, &args)
            }
        };
        passing(submitted).map(|_| ())
    }

    /// Whether the kernel has seen every request that was queued.
    #[inline]
    pub(super) fn all_submitted(&mut self) -> bool {
        self.backlog.is_empty() && self.ring.submission().is_empty()
    }

    /// Takes as many completions as there are and fit.
    #[inline]
    pub(super) fn take(&mut self, into: &mut [Option<Completion>]) -> usize {
        let mut taken = 0;
        let mut queue = self.ring.completion();
        for place in into {
            let Some(entry) = queue.next() else {
                break;
            };
            *place = Token::decode(entry.user_data()).map(|token| Completion {
                token,
                result: entry.result(),
                flags: entry.flags(),
            });
            taken += 1;
        }
        taken
    }

    /// Ends every request; false when some may still be under way.
    pub(super) fn cancel_all(&mut self) -> bool {
        if !self.enabled {
            return true;
        }
        let cancelled = self
            .ring
            .submitter()
            .register_sync_cancel(None, CancelBuilder::any());
        match cancelled {
            Ok(()) => true,
            Err(error) => error.raw_os_error() == Some(libc::ENOENT),
        }
    }

    /// Ties the ring to the thread that calls this first.
    fn enable(&mut self) -> io::Result<()> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        Ok(())
    }
}

/// Errors of a submit that the next one gets over.
fn passing(submitted: io::Result<usize>) -> io::Result<usize> {
    match submitted {
        Ok(submitted) => Ok(submitted),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(0),
            _ => Err(error),
        },
    }
}
