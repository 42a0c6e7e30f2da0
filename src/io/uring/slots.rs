//! The memory that the kernel receives into: equal slots, offered through a
//! ring of provided buffers.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// The kernel wants the ring at the start of a page.
const PAGE: usize = 4096;

/// Most entries of a buffer ring.
const MAX_SLOTS: u16 = 1 << 15;

/// Zeroed memory at a page's start, for as long as this lives.
struct Region {
    start: NonNull<u8>,
    layout: Layout,
}

impl Region {
    fn new(bytes: usize) -> io::Result<Region> {
        let layout = Layout::from_size_align(bytes.max(PAGE), PAGE)
            .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(layout);
        };
        Ok(Region { start, layout })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Slots of one size, each in the kernel's hands or in ours.
pub(super) struct Slots {
    memory: ManuallyDrop<Region>,
    ring: ManuallyDrop<Region>,
    leaked: bool,
    group: u16,
    count: u16,
    stride: usize,
    /// Bytes at a slot's start that the kernel does not receive into.
    head: usize,
    /// Bytes behind the head that it does.
    window: usize,
    /// Where the next slot is offered; the kernel sees it once published.
    tail: u16,
}

// SAFETY: the regions belong to this struct alone; whoever holds it, holds
// them.
unsafe impl Send for Slots {}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots")
            .field("group", &self.group)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Slots {
    /// At least `count` slots (a power of two, up to 32768) of `stride` bytes,
    /// all offered to the kernel as buffer group `group`.
    pub(super) fn new(
        submitter: &Submitter<'_>,
        group: u16,
        count: u16,
        stride: usize,
        head: usize,
        window: usize,
    ) -> io::Result<Slots> {
        debug_assert!(head + window <= stride);
        let count = count.clamp(2, MAX_SLOTS).next_power_of_two();
        let mut slots = Slots {
            memory: ManuallyDrop::new(Region::new(usize::from(count) * stride)?),
            ring: ManuallyDrop::new(Region::new(usize::from(count) * size_of::<BufRingEntry>())?),
            leaked: false,
            group,
            count,
            stride,
            head,
            window,
            tail: 0,
        };
        // SAFETY: the ring is page-aligned, zeroed, as long as the count says,
        // and lives until the backend's last request has ended.
        unsafe {
            submitter.register_buf_ring_with_flags(
                slots.ring.start.as_ptr() as u64,
                count,
                group,
                0,
            )?;
        }
        for slot in 0..count {
            slots.give(slot);
        }
        slots.publish();
        Ok(slots)
    }

    pub(super) fn group(&self) -> u16 {
        self.group
    }

    /// Keeps the memory for ever: the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        self.leaked = true;
    }

    /// Where a slot starts; `None` for a number that is none.
    #[inline]
    pub(super) fn start(&self, slot: u16) -> Option<NonNull<u8>> {
        if slot >= self.count {
            return None;
        }
        // SAFETY: the memory is `count` times `stride` long.
        Some(unsafe { self.memory.start.add(usize::from(slot) * self.stride) })
    }

    /// Offers the slot to the kernel again, from the next [`publish`](Self::publish) on.
    #[inline]
    pub(super) fn give(&mut self, slot: u16) {
        let Some(start) = self.start(slot) else {
            return;
        };
        let place = usize::from(self.tail & (self.count - 1));
        let entries = self.ring.start.cast::<BufRingEntry>();
        // SAFETY: `place` is below the count of entries, the kernel reads the
        // entry only once the tail has moved past it, and there are never more
        // slots to give than entries. Fields are set one by one because the
        // first entry also holds the ring's tail.
        unsafe {
            let entry = entries.add(place).as_mut();
            entry.set_addr(start.as_ptr() as u64 + self.head as u64);
            entry.set_len(self.window as u32);
            entry.set_bid(slot);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see what was given.
    #[inline]
    pub(super) fn publish(&mut self) {
        let entries = self.ring.start.cast::<BufRingEntry>().as_ptr();
        // SAFETY: the first entry is live and aligned, and its tail field is
        // only ever accessed atomically.
        unsafe {
            let tail = BufRingEntry::tail(entries).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: dropped here only, and not used after.
            unsafe {
                ManuallyDrop::drop(&mut self.memory);
                ManuallyDrop::drop(&mut self.ring);
            }
        }
    }
}
