//! Ports that no other test takes.
//!
//! Tests run in parallel, each in its own process, so "bind to 0, look, close"
//! would race. Each test leases a block below the kernel's ephemeral range by
//! locking a file; the lock goes with the process.

use std::fs::{File, OpenOptions};
use std::net::{TcpListener, UdpSocket};
use std::ops::RangeInclusive;

const FIRST: u16 = 10_000;
const BLOCK: u16 = 200;
/// The kernel hands out ephemeral ports from 32768 on.
const BLOCKS: u16 = (32_768 - FIRST) / BLOCK;

/// Blocks of ports leased for as long as this value lives: one, and another
/// where somebody outside of the tests has taken too many of its ports.
pub struct Ports {
    next: u16,
    end: u16,
    locks: Vec<File>,
}

impl Ports {
    /// Leases a block.
    pub fn lease() -> Self {
        let mut ports = Self {
            next: 0,
            end: 0,
            locks: Vec::new(),
        };
        ports.lease_block();
        ports
    }

    /// Goes on in a fresh block.
    fn lease_block(&mut self) {
        let directory = std::env::temp_dir().join("ringwire-test-ports");
        std::fs::create_dir_all(&directory).expect("the directory of port leases");
        // Spread the tests so that a port just closed is not the next one used.
        let start = (std::process::id() % u32::from(BLOCKS)) as u16;
        for step in 0..BLOCKS {
            let block = (start + step) % BLOCKS;
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(directory.join(block.to_string()))
                .expect("a port lease file");
            if lock.try_lock().is_ok() {
                self.next = FIRST + block * BLOCK;
                self.end = self.next + BLOCK;
                self.locks.push(lock);
                return;
            }
        }
        panic!("all {BLOCKS} blocks of test ports are leased");
    }

    /// One port that is free for UDP and TCP now, on IPv4 and IPv6.
    pub fn one(&mut self) -> u16 {
        loop {
            let port = self.take(1);
            if is_free(port) {
                return port;
            }
        }
    }

    /// An even port with the odd one above it, for RTP and RTCP.
    pub fn pair(&mut self) -> u16 {
        *self.range(2).start()
    }

    /// `count` consecutive free ports, the first one even.
    pub fn range(&mut self, count: u16) -> RangeInclusive<u16> {
        loop {
            if !self.next.is_multiple_of(2) {
                self.next += 1;
            }
            let first = self.take(count);
            let range = first..=first + count - 1;
            if range.clone().all(is_free) {
                return range;
            }
        }
    }

    fn take(&mut self, count: u16) -> u16 {
        assert!(count <= BLOCK, "{count} ports are more than a block has");
        if self.next + count > self.end {
            self.lease_block();
        }
        let first = self.next;
        self.next += count;
        first
    }
}

fn is_free(port: u16) -> bool {
    UdpSocket::bind(("127.0.0.1", port)).is_ok()
        && TcpListener::bind(("127.0.0.1", port)).is_ok()
        && UdpSocket::bind(("::1", port)).is_ok()
}

/// Whether some process has bound this UDP port: how a peer that says nothing
/// at start shows that it is ready.
pub fn udp_is_bound(port: u16) -> bool {
    ["/proc/net/udp", "/proc/net/udp6"].iter().any(|table| {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        // "  sl  local_address rem_address …", addresses as HEXIP:HEXPORT.
        text.lines().skip(1).any(|line| {
            line.split_whitespace()
                .nth(1)
                .and_then(|local| local.rsplit(':').next())
                .and_then(|hex| u16::from_str_radix(hex, 16).ok())
                == Some(port)
        })
    })
}
