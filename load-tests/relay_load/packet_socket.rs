//! One packet socket for all streams: whole frames out in batches, past the
//! queueing discipline, and in through a ring that is shared with the kernel.
//! A socket for each stream would cost the generator more than the device.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Room for a frame that is sent, or unprotected.
pub const FRAME: usize = 2048;
/// Most frames that are handed to the kernel at once.
pub const BATCH: usize = 32;

/// Of the ring: a frame with the kernel's header, how many of them, and how
/// many to a block. A third of a second at 200,000 packets/s.
const RING_FRAME: usize = 2048;
const RING_FRAMES: usize = 1 << 16;
const RING_BLOCK: usize = 1 << 20;

/// IPv4, as packet sockets have it.
const IPV4: u16 = (libc::ETH_P_IP as u16).to_be();

/// The socket.
pub struct PacketSocket {
    socket: OwnedFd,
    /// The hardware address of the interface.
    pub address: [u8; 6],
    ring: NonNull<u8>,
    next: usize,
    frames: Box<[[u8; FRAME]; BATCH]>,
    lengths: [usize; BATCH],
    filled: usize,
}

/// What became of a batch.
#[derive(Default)]
pub struct Sent {
    /// The device's end of the veth pair had no room.
    pub refused: u64,
}

impl PacketSocket {
    pub fn open(interface: &str) -> io::Result<PacketSocket> {
        let name = CString::new(interface)?;
        // SAFETY: the name is a C string.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::other(format!("no interface {interface:?}")));
        }
        // SAFETY: takes numbers; bound to a protocol only below, so that
        // nothing is queued before there is a ring.
        let socket = checked(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) })?;
        // SAFETY: just opened, nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        set(
            &socket,
            libc::PACKET_VERSION,
            &libc::tpacket_versions::TPACKET_V2,
        )?;
        set(&socket, libc::PACKET_QDISC_BYPASS, &1i32)?;
        let request = libc::tpacket_req {
            tp_block_size: RING_BLOCK as u32,
            tp_block_nr: (RING_FRAMES * RING_FRAME / RING_BLOCK) as u32,
            tp_frame_size: RING_FRAME as u32,
            tp_frame_nr: RING_FRAMES as u32,
        };
        set(&socket, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping, as long as the ring just made.
        let ring = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                RING_FRAMES * RING_FRAME,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                socket.as_raw_fd(),
                0,
            )
        };
        if ring == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: plain data, for which all zeros is a valid value.
        let mut place: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        place.sll_family = libc::AF_PACKET as u16;
        place.sll_protocol = IPV4;
        place.sll_ifindex = index as i32;
        // SAFETY: the address is live and as long as said.
        checked(unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const place).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        })?;
        Ok(PacketSocket {
            address: hardware_address(interface)?,
            socket,
            ring: NonNull::new(ring.cast()).ok_or(io::ErrorKind::OutOfMemory)?,
            next: 0,
            frames: Box::new([[0; FRAME]; BATCH]),
            lengths: [0; BATCH],
            filled: 0,
        })
    }

    /// Adds a frame to the batch, which has room for [`BATCH`].
    #[inline]
    pub fn add(&mut self, write: impl FnOnce(&mut [u8; FRAME]) -> usize) {
        self.lengths[self.filled] = write(&mut self.frames[self.filled]);
        self.filled += 1;
    }

    /// Hands the batch to the kernel.
    pub fn send(&mut self) -> io::Result<Sent> {
        let count = std::mem::take(&mut self.filled);
        let mut parts = [libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        }; BATCH];
        // SAFETY: plain data, for which all zeros is a valid value.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        for at in 0..count {
            parts[at].iov_base = self.frames[at].as_mut_ptr().cast();
            parts[at].iov_len = self.lengths[at];
            messages[at].msg_hdr.msg_iov = &raw mut parts[at];
            messages[at].msg_hdr.msg_iovlen = 1;
        }
        let mut sent = Sent::default();
        let mut at = 0;
        while at < count {
            // SAFETY: the messages, their parts and frames are live, and as
            // many as said are left from `at` on.
            let taken = unsafe {
                let first = messages.as_mut_ptr().add(at);
                libc::sendmmsg(self.socket.as_raw_fd(), first, (count - at) as u32, 0)
            };
            if taken < 0 {
                let error = io::Error::last_os_error();
                if error.raw_os_error() != Some(libc::ENOBUFS) {
                    return Err(error);
                }
            }
            // Where it stops, it was refused; a second try would be another
            // packet at another time.
            at += taken.max(0) as usize;
            if at < count {
                sent.refused += 1;
                at += 1;
            }
        }
        Ok(sent)
    }

    /// Hands over frames that have come in, with the kernel's time of arrival
    /// in nanoseconds, `most` at a time; how many there were.
    #[inline]
    pub fn receive(&mut self, most: usize, mut take: impl FnMut(&[u8], u64)) -> usize {
        for taken in 0..most {
            // SAFETY: `next` is below the number of frames.
            let frame = unsafe { self.ring.add(self.next * RING_FRAME) };
            // SAFETY: a frame begins with its header, whose first word is the
            // status; the kernel writes it too, hence the atomic.
            let status = unsafe { AtomicU32::from_ptr(frame.as_ptr().cast()) };
            if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return taken;
            }
            // SAFETY: the kernel has given the frame to us, header and bytes;
            // both offsets are its own, and cut to the frame.
            let (bytes, at) = unsafe {
                let header = frame.cast::<libc::tpacket2_hdr>().as_ref();
                let offset = usize::from(header.tp_mac).min(RING_FRAME);
                let length = (header.tp_snaplen as usize).min(RING_FRAME - offset);
                let at = u64::from(header.tp_sec) * 1_000_000_000 + u64::from(header.tp_nsec);
                let start = frame.as_ptr().add(offset);
                (std::slice::from_raw_parts(start, length), at)
            };
            take(bytes, at);
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.next = (self.next + 1) % RING_FRAMES;
        }
        most
    }

    /// Frames that the ring had no room for since the last call.
    pub fn missed(&self) -> u64 {
        let mut statistics = [0u32; 2];
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the place is live, and as long as said.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &mut length,
            )
        };
        if result == 0 {
            u64::from(statistics[1])
        } else {
            0
        }
    }
}

impl Drop for PacketSocket {
    fn drop(&mut self) {
        // SAFETY: mapped in `open`, this long, and not used after.
        unsafe { libc::munmap(self.ring.as_ptr().cast(), RING_FRAMES * RING_FRAME) };
    }
}

fn hardware_address(interface: &str) -> io::Result<[u8; 6]> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{interface}/address"))?;
    let bytes = hex::decode(text.trim().replace(':', "")).map_err(io::Error::other)?;
    bytes
        .try_into()
        .map_err(|_| io::Error::other(format!("{interface}: no hardware address")))
}

fn set<T>(socket: &OwnedFd, option: i32, value: &T) -> io::Result<i32> {
    // SAFETY: the value is live and as long as said.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
}

fn checked(result: i32) -> io::Result<i32> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        other => Ok(other),
    }
}
