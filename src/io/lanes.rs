//! The poll backend's packets: one lane per packet of a batch, filled by
//! recvmmsg and emptied by sendmmsg.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Instant;

use super::backend::{Core, IoCounters};
use super::batch::PacketBatch;
use super::sockets::{RAW_ADDRESS, RawAddress, checked};
use crate::ids::MediaPort;
use crate::media::packet::{BATCH, DropReason, MAX_DATAGRAM, Packet, SLOT_SIZE, Verdict};

/// Datagrams taken from one socket before the next one has its turn.
pub(super) const BURST: usize = 8;

/// How to send out of a port.
pub(super) struct Way {
    pub(super) fd: RawFd,
    /// Who `to: None` means, where the socket itself does not know.
    pub(super) by_default: Option<SocketAddr>,
}

/// One lane per packet of a batch: its slot, its addresses, and the headers
/// that point the kernel at them. Made once; the headers' pointers stay right
/// because the boxes never move.
pub(super) struct Lanes {
    slots: Box<[[u8; SLOT_SIZE]]>,
    ports: [MediaPort; BATCH],
    sources: Box<[RawAddress]>,
    targets: Box<[RawAddress]>,
    incoming: Box<[libc::mmsghdr]>,
    outgoing: Box<[libc::mmsghdr]>,
    incoming_parts: Box<[libc::iovec]>,
    outgoing_parts: Box<[libc::iovec]>,
    pub(super) filled: usize,
}

// SAFETY: the raw pointers in the headers lead into the boxes beside them,
// which move with the struct and belong to it alone.
unsafe impl Send for Lanes {}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes")
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

impl Lanes {
    pub(super) fn new() -> Lanes {
        // SAFETY: mmsghdr and iovec are plain data, for which all zeros is valid.
        let (header, part): (libc::mmsghdr, libc::iovec) = unsafe { std::mem::zeroed() };
        let mut lanes = Lanes {
            slots: vec![[0; SLOT_SIZE]; BATCH].into(),
            ports: [MediaPort(0); BATCH],
            sources: vec![RawAddress::default(); BATCH].into(),
            targets: vec![RawAddress::default(); BATCH].into(),
            incoming: vec![header; BATCH].into(),
            outgoing: vec![header; BATCH].into(),
            incoming_parts: vec![part; BATCH].into(),
            outgoing_parts: vec![part; BATCH].into(),
            filled: 0,
        };
        for n in 0..BATCH {
            let part = &mut lanes.incoming_parts[n];
            part.iov_base = lanes.slots[n].as_mut_ptr().cast();
            // The rest of the slot is room for a trailer.
            part.iov_len = MAX_DATAGRAM;
            let header = &mut lanes.incoming[n].msg_hdr;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut lanes.sources[n].storage).cast();
            let header = &mut lanes.outgoing[n].msg_hdr;
            header.msg_iov = &mut lanes.outgoing_parts[n];
            header.msg_iovlen = 1;
        }
        lanes
    }

    /// Takes up to [`BURST`] datagrams of a socket in.
    pub(super) fn receive(&mut self, fd: RawFd, port: MediaPort) -> io::Result<usize> {
        let start = self.filled;
        let end = (start + BURST).min(BATCH);
        for header in &mut self.incoming[start..end] {
            header.msg_hdr.msg_namelen = RAW_ADDRESS as libc::socklen_t;
        }
        // SAFETY: the headers in start..end lead to slots and addresses of
        // this struct, of the lengths they say, and nobody else looks at them
        // during the call.
        let taken = checked(unsafe {
            libc::recvmmsg(
                fd,
                self.incoming[start..end].as_mut_ptr(),
                (end - start) as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        })? as usize;
        self.ports[start..start + taken].fill(port);
        self.filled += taken;
        Ok(taken)
    }

    /// Hands what was taken in to the core, and sends what comes of it.
    pub(super) fn run(
        &mut self,
        now: Instant,
        core: &mut impl Core,
        counters: &mut IoCounters,
        mut way: impl FnMut(MediaPort) -> Option<Way>,
    ) {
        let mut batch = PacketBatch::new();
        for (n, slot) in self.slots.iter_mut().take(self.filled).enumerate() {
            let header = &self.incoming[n];
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                counters.drops.add(DropReason::Truncated);
                continue;
            }
            let (len, source) = (header.msg_len as usize, self.sources[n].decode());
            // No more than BATCH lanes, so the batch has room.
            let _ = batch.push(Packet::new(self.ports[n], source, slot, len));
        }
        self.filled = 0;
        if batch.is_empty() {
            return;
        }
        core.media_batch(now, batch.as_mut_slice());

        // Packets in a row that leave by the same socket share a system call.
        let mut queued = 0;
        let mut queued_way: Option<(MediaPort, RawFd)> = None;
        for packet in batch.as_mut_slice() {
            let (port, to) = match packet.verdict {
                Verdict::Forward { port, to } => (port, to),
                Verdict::Drop(_) | Verdict::Consumed => continue,
            };
            let Some(way) = way(port) else {
                counters.drops.add(DropReason::StalePort);
                continue;
            };
            if let Some((last, fd)) = queued_way
                && last != port
            {
                send_all(fd, &mut self.outgoing[..queued], counters);
                queued = 0;
            }
            queued_way = Some((port, way.fd));
            let bytes = packet.bytes_mut();
            self.outgoing_parts[queued].iov_len = bytes.len();
            self.outgoing_parts[queued].iov_base = bytes.as_mut_ptr().cast();
            let header = &mut self.outgoing[queued].msg_hdr;
            match to.or(way.by_default) {
                Some(address) => {
                    self.targets[queued] = RawAddress::encode(address);
                    header.msg_name = (&raw mut self.targets[queued].storage).cast();
                    header.msg_namelen = self.targets[queued].len();
                }
                None => {
                    header.msg_name = ptr::null_mut();
                    header.msg_namelen = 0;
                }
            }
            queued += 1;
        }
        if let Some((_, fd)) = queued_way {
            send_all(fd, &mut self.outgoing[..queued], counters);
        }
    }
}

/// Sends all of them; one that fails is dropped and counted.
fn send_all(fd: RawFd, headers: &mut [libc::mmsghdr], counters: &mut IoCounters) {
    let mut rest = headers;
    while !rest.is_empty() {
        // SAFETY: every header leads to bytes and an address that are live and
        // of the lengths it says: they were set for this batch.
        let sent = checked(unsafe {
            libc::sendmmsg(
                fd,
                rest.as_mut_ptr(),
                rest.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        });
        let done = match sent {
            Ok(sent) => sent as usize,
            Err(error) => {
                match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::EAGAIN | libc::ENOBUFS) => {
                        counters.drops.add(DropReason::SendBufferFull);
                    }
                    // The answer to an earlier packet; this one went nowhere.
                    Some(libc::ECONNREFUSED) => {
                        counters.media_icmp_errors += 1;
                        counters.drops.add(DropReason::SendFailed);
                    }
                    _ => counters.drops.add(DropReason::SendFailed),
                }
                1
            }
        };
        rest = rest.split_at_mut(done.min(rest.len())).1;
    }
}
