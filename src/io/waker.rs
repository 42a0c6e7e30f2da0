//! Waking a backend from another thread.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::sockets::checked;

/// Ends the wait of the backend's `turn`. Cheap to clone; wakes that come
/// before the backend has seen the first cost no system call.
#[derive(Debug, Clone)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    event: OwnedFd,
    /// A wake is on its way and not seen yet.
    pending: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> io::Result<Waker> {
        // SAFETY: eventfd takes no pointers.
        let fd = checked(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Waker {
            shared: Arc::new(Shared {
                event,
                pending: AtomicBool::new(false),
            }),
        })
    }

    /// Makes the present or the next `turn` return without waiting. What was
    /// written before this call is seen by the thread of the backend after it.
    pub fn wake(&self) {
        if self.shared.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        let one = 1u64;
        // SAFETY: writes eight bytes of a live integer. It fails only when the
        // counter is full, and then the wake is under way already.
        unsafe { libc::write(self.fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    pub(super) fn fd(&self) -> RawFd {
        self.shared.event.as_raw_fd()
    }

    /// The wake was seen: the next one must write again. Called before `turn`
    /// returns, so that what is sent from now on wakes once more.
    pub(super) fn seen(&self) {
        self.shared.pending.swap(false, Ordering::AcqRel);
    }

    /// Takes the event off the descriptor.
    pub(super) fn drain(&self) {
        let mut count = 0u64;
        // SAFETY: reads eight bytes into a live integer; the descriptor does
        // not block.
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }
}
