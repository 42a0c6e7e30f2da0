//! SRTP: each suite alone, and on the way through the leg table.

use std::hint::black_box;
use std::time::Instant;

use crate::ids::MediaPort;
use crate::keying::{MasterKey, Security, Suite};
use crate::media::packet::{BATCH, SLOT_SIZE};
use crate::media::srtp::{Protector, Sealable, Unprotector};
use crate::media::{Latch, Packet, Table, TableSettings};
use crate::packets::{RTP, options, peer, remote, write_header};
use crate::scenario::Scenario;

/// Packets of 20 ms of G.711. Those that are to be unprotected are made in the
/// set-up, always as many as `many`.
const FEW: u64 = 640;
const MANY: u64 = 2_560;

/// Protecting and unprotecting by suite.
pub fn scenarios() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for suite in Suite::ALL {
        let mut add = |what: &str, run: fn(Suite, u64)| {
            let name = format!("srtp/{what}/{}", suite.name());
            let run = move |units| run(suite, units);
            scenarios.push(Scenario::new(name, "packet", (FEW, MANY), run));
        };
        add("protect", protect);
        add("unprotect", unprotect);
        add("plain-to-srtp", plain_to_srtp);
        add("srtp-to-plain", srtp_to_plain);
    }
    scenarios
}

fn key(suite: Suite) -> MasterKey {
    MasterKey {
        suite,
        key: vec![1; suite.key_len()],
        salt: vec![2; suite.salt_len()],
    }
}

fn protect(suite: Suite, units: u64) {
    let mut protector = Protector::new(&key(suite)).expect("a key");
    let mut slot = [0x55; SLOT_SIZE];
    for n in 0..units {
        write_header(&mut slot, 1, n as u16);
        let mut packet = Packet::new(MediaPort(0), None, &mut slot, RTP);
        let sealable = Sealable::new(&mut packet).expect("room");
        protector.rtp(sealable).expect("protected");
        black_box(&packet);
    }
}

fn unprotect(suite: Suite, units: u64) {
    let mut slots = protected(suite);
    let mut unprotector = Unprotector::new(&key(suite)).expect("a key");
    for (slot, length) in slots.iter_mut().take(units as usize) {
        let mut packet = Packet::new(MediaPort(0), None, slot, *length);
        unprotector.rtp(&mut packet).expect("authentic");
        black_box(&packet);
    }
}

/// As many packets as are ever wanted, and their lengths.
fn protected(suite: Suite) -> Vec<([u8; SLOT_SIZE], usize)> {
    let mut protector = Protector::new(&key(suite)).expect("a key");
    (0..MANY)
        .map(|n| {
            let mut slot = [0x55; SLOT_SIZE];
            write_header(&mut slot, 1, n as u16);
            let mut packet = Packet::new(MediaPort(0), None, &mut slot, RTP);
            let sealable = Sealable::new(&mut packet).expect("room");
            protector.rtp(sealable).expect("protected");
            let length = packet.len();
            (slot, length)
        })
        .collect()
}

fn plain_to_srtp(suite: Suite, units: u64) {
    let mut slots: Vec<([u8; SLOT_SIZE], usize)> = (0..MANY)
        .map(|n| {
            let mut slot = [0x55; SLOT_SIZE];
            write_header(&mut slot, 1, n as u16);
            (slot, RTP)
        })
        .collect();
    relay(Security::Plain, sdes(suite), &mut slots[..units as usize]);
}

fn srtp_to_plain(suite: Suite, units: u64) {
    let mut slots = protected(suite);
    relay(sdes(suite), Security::Plain, &mut slots[..units as usize]);
}

fn sdes(suite: Suite) -> Security {
    Security::Sdes {
        send: key(suite),
        receive: key(suite),
    }
}

/// These packets from one leg to another, in full batches.
fn relay(from: Security, to: Security, slots: &mut [([u8; SLOT_SIZE], usize)]) {
    let now = Instant::now();
    let mut table = Table::new(TableSettings::default(), [1; 32]);
    let legs = [from, to].map(|security| {
        let n = table.len() as u32;
        let leg = table.open(now, options(n, false));
        table.set_remote(now, leg, remote(n, Latch::Strict, security));
        leg
    });
    table.link(legs[0], legs[1]);
    let count = slots.len() as u64;
    let source = Some(peer(0, 4000));
    for batch in slots.chunks_exact_mut(BATCH) {
        let mut packets: Vec<Packet<'_>> = batch
            .iter_mut()
            .map(|(slot, length)| Packet::new(MediaPort(0), source, slot, *length))
            .collect();
        table.process_batch(now, &mut packets);
    }
    let counters = table.counters();
    assert_eq!(counters.drops.total(), 0, "{counters:?}");
    assert_eq!(counters.forwarded_packets, count);
}
