//! Bare forwarding with io_uring: multishot receives into a ring of provided
//! buffers, sends from the buffer that was received into, one system call for
//! as many of both as there are.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use crate::forwarder::LOOK;

/// Buffers, a power of two, and the bytes of each.
const BUFFERS: u16 = 4096;
const SIZE: usize = 2048;
/// Buffer group.
const GROUP: u16 = 0;
/// Entries of the submission queue; the completion queue has eight times as
/// many.
const ENTRIES: u32 = 1024;
/// Completions to a turn.
const TURN: usize = 64;
/// Marks the completion of a send, which is told of only when it failed.
const SEND: u64 = 1 << 32;

pub fn forward(sockets: &[UdpSocket], over: &AtomicBool) -> io::Result<()> {
    let mut ring: IoUring = IoUring::builder()
        .setup_cqsize(8 * ENTRIES)
        .setup_clamp()
        .setup_submit_all()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(ENTRIES)?;
    let files: Vec<i32> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    ring.submitter().register_files(&files)?;
    let mut buffers = Buffers::new(&ring)?;
    for leg in 0..sockets.len() {
        push(&mut ring, &receive(leg as u64))?;
    }
    let look = Timespec::from(LOOK);
    let mut leaving = Vec::with_capacity(TURN);
    let mut done: Vec<(u64, i32, u32)> = Vec::with_capacity(TURN);
    while !over.load(Ordering::Relaxed) {
        let arguments = SubmitArgs::new().timespec(&look);
        match ring.submitter().submit_with_args(1, &arguments) {
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => {}
                _ => return Err(error),
            },
        }
        // With MSG_DONTWAIT a send is over when the call that submitted it
        // returns.
        for buffer in leaving.drain(..) {
            buffers.give(buffer);
        }
        done.extend(
            ring.completion()
                .take(TURN)
                .map(|entry| (entry.user_data(), entry.result(), entry.flags())),
        );
        for (leg, length, flags) in done.drain(..) {
            if leg & SEND != 0 {
                continue;
            }
            if let Some(buffer) = cqueue::buffer_select(flags) {
                let start = buffers.start(buffer);
                let send = opcode::Send::new(Fixed((leg ^ 1) as u32), start, length.max(0) as u32)
                    .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                    .build()
                    .flags(squeue::Flags::SKIP_SUCCESS)
                    .user_data(SEND);
                push(&mut ring, &send)?;
                leaving.push(buffer);
            }
            if !cqueue::more(flags) {
                push(&mut ring, &receive(leg))?;
            }
        }
        buffers.publish();
    }
    Ok(())
}

fn receive(leg: u64) -> squeue::Entry {
    opcode::RecvMulti::new(Fixed(leg as u32), GROUP)
        .build()
        .user_data(leg)
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: receives point at no memory of ours, sends at a buffer that is
    // given back after the call that submitted them.
    while unsafe { ring.submission().push(entry).is_err() } {
        ring.submit()?;
    }
    Ok(())
}

/// The buffers, never freed: the ring may write to them until the end.
struct Buffers {
    memory: NonNull<u8>,
    entries: NonNull<BufRingEntry>,
    tail: u16,
}

impl Buffers {
    fn new(ring: &IoUring) -> io::Result<Buffers> {
        let mut buffers = Buffers {
            memory: pages(usize::from(BUFFERS) * SIZE)?,
            entries: pages(usize::from(BUFFERS) * size_of::<BufRingEntry>())?.cast(),
            tail: 0,
        };
        let entries = buffers.entries.as_ptr() as u64;
        // SAFETY: the entries begin a page, are as many as said and never
        // freed.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(entries, BUFFERS, GROUP, 0)?;
        }
        (0..BUFFERS).for_each(|buffer| buffers.give(buffer));
        buffers.publish();
        Ok(buffers)
    }

    fn start(&self, buffer: u16) -> *mut u8 {
        let at = usize::from(buffer % BUFFERS) * SIZE;
        // SAFETY: the memory has room for all buffers.
        unsafe { self.memory.add(at).as_ptr() }
    }

    fn give(&mut self, buffer: u16) {
        let start = self.start(buffer) as u64;
        // SAFETY: the place is below the number of entries, and the kernel
        // reads it only once the tail has passed it.
        unsafe {
            let entry = self.entries.add(usize::from(self.tail % BUFFERS)).as_mut();
            entry.set_addr(start);
            entry.set_len(SIZE as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the first entry is live and aligned, and its tail is only
        // ever accessed atomically.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

/// Zeroed memory that begins a page.
fn pages(bytes: usize) -> io::Result<NonNull<u8>> {
    let layout = Layout::from_size_align(bytes, 4096).map_err(io::Error::other)?;
    // SAFETY: the layout is not empty.
    let start = unsafe { alloc_zeroed(layout) };
    NonNull::new(start).map_or_else(|| handle_alloc_error(layout), Ok)
}
