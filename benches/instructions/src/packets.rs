//! Packets through the leg table, and legs that begin and end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::ids::{CodecId, LegId, MediaPort};
use crate::keying::Security;
use crate::media::packet::{BATCH, SLOT_SIZE};
use crate::media::{Latch, LegOptions, Packet, PayloadMapping, Remote, Table, TableSettings};
use crate::scenario::Scenario;

/// Octets of an RTP packet with 20 ms of G.711.
pub const RTP: usize = 172;
/// Octets of [`report`].
const REPORT: usize = 40;
/// Full batches, so many packets; for legs of which each has its turn twice.
const UNITS: (u64, u64) = (8_000, 16_000);
/// Legs that have begun and ended.
const STARTS: (u64, u64) = (100, 600);

/// How the packets come.
#[derive(Clone, Copy)]
struct Traffic {
    legs: u32,
    /// As io_uring has it once a leg is locked: sources unknown, destinations
    /// implied.
    connected: bool,
    /// Sender reports instead of RTP.
    rtcp: bool,
}

/// Relaying by number of legs, RTCP, and a leg's beginning and end.
pub fn scenarios() -> Vec<Scenario> {
    let usual = Traffic {
        legs: 100,
        connected: true,
        rtcp: false,
    };
    let of = |name: &str, traffic: Traffic| {
        Scenario::new(name, "packet", UNITS, move |units| {
            relay::<BATCH>(traffic, units);
        })
    };
    vec![
        of("relay/echo", Traffic { legs: 1, ..usual }),
        of("relay/100-legs", usual),
        of(
            "relay/4000-legs",
            Traffic {
                legs: 4_000,
                ..usual
            },
        ),
        Scenario::new("relay/one-at-a-time", "packet", UNITS, move |units| {
            relay::<1>(usual, units);
        }),
        of(
            "relay/by-address",
            Traffic {
                connected: false,
                ..usual
            },
        ),
        of(
            "relay/rtcp",
            Traffic {
                rtcp: true,
                ..usual
            },
        ),
        Scenario::new("relay/leg-from-open-to-close", "leg", STARTS, begin_and_end),
    ]
}

/// Where the peer of a leg sends from.
pub fn peer(leg: u32, port: u16) -> SocketAddr {
    SocketAddr::new([10, 0, (leg >> 8) as u8, leg as u8].into(), port)
}

/// What a leg's peer has described.
pub fn remote(leg: u32, latch: Latch, security: Security) -> Remote {
    let mapping = |codec, number| PayloadMapping {
        codec: CodecId(codec),
        receive: number,
        send: Some(number),
        clock_rate: 8000,
    };
    Remote {
        rtp: peer(leg, 4000),
        rtcp: peer(leg, 4001),
        rtcp_mux: false,
        send: true,
        receive: true,
        held: false,
        latch,
        security,
        payloads: vec![mapping(0, 0), mapping(1, 8), mapping(2, 101)],
    }
}

/// The ports of a leg.
pub fn options(leg: u32, echo: bool) -> LegOptions {
    LegOptions {
        rtp: MediaPort(2 * leg),
        rtcp: MediaPort(2 * leg + 1),
        echo,
    }
}

/// The header of a PCMA packet.
pub fn write_header(slot: &mut [u8], ssrc: u32, sequence: u16) {
    slot[..2].copy_from_slice(&[0x80, 8]);
    slot[2..4].copy_from_slice(&sequence.to_be_bytes());
    slot[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    slot[8..12].copy_from_slice(&ssrc.to_be_bytes());
}

/// A sender report of the leg's stream without blocks, and a CNAME.
fn report(leg: u32) -> [u8; REPORT] {
    let mut packet = [0; REPORT];
    packet[..4].copy_from_slice(&[0x80, 200, 0, 6]);
    packet[4..8].copy_from_slice(&leg.to_be_bytes());
    packet[28..32].copy_from_slice(&[0x81, 202, 0, 2]);
    packet[32..36].copy_from_slice(&leg.to_be_bytes());
    packet[36..40].copy_from_slice(&[1, 1, b'x', 0]);
    packet
}

/// A table of so many legs in pairs (one: an echo), all locked.
fn table(now: Instant, traffic: Traffic) -> Table {
    let mut table = Table::new(TableSettings::default(), [1; 32]);
    let legs: Vec<LegId> = (0..traffic.legs)
        .map(|n| {
            let leg = table.open(now, options(n, traffic.legs == 1));
            table.set_remote(now, leg, remote(n, Latch::Strict, Security::Plain));
            leg
        })
        .collect();
    for pair in legs.chunks_exact(2) {
        table.link(pair[0], pair[1]);
    }
    let mut slot = [0; SLOT_SIZE];
    for n in 0..traffic.legs {
        write_header(&mut slot, n, 0);
        let packet = Packet::new(MediaPort(2 * n), Some(peer(n, 4000)), &mut slot, RTP);
        table.process_batch(now, &mut [packet]);
    }
    while traffic.connected && table.poll_notice().is_some() {}
    table
}

/// Batches of `SIZE` round the legs; the writing of each packet's header is
/// part of the count.
fn relay<const SIZE: usize>(traffic: Traffic, units: u64) {
    let mut now = Instant::now();
    let mut table = table(now, traffic);
    let mut slots = Box::new([[0x55; SLOT_SIZE]; SIZE]);
    let mut leg = 0;
    let mut sequence = 1u16;
    for _ in 0..units / SIZE as u64 {
        let mut packets = slots.each_mut().map(|slot| {
            let (port, length) = if traffic.rtcp {
                slot[..REPORT].copy_from_slice(&report(leg));
                (1, REPORT)
            } else {
                write_header(slot, leg, sequence);
                (0, RTP)
            };
            let source = Some(peer(leg, 4000 + port as u16));
            let source = source.filter(|_| traffic.rtcp || !traffic.connected);
            let packet = Packet::new(MediaPort(2 * leg + port), source, slot, length);
            leg += 1;
            if leg == traffic.legs {
                leg = 0;
                sequence = sequence.wrapping_add(1);
            }
            packet
        });
        now += Duration::from_micros(100);
        table.process_batch(now, &mut packets);
    }
    let counters = table.counters();
    assert_eq!(counters.drops.total(), 0, "{counters:?}");
    assert!(traffic.rtcp || counters.forwarded_packets >= units);
}

/// A leg behind a NAT: opened, described, found out by its packets, closed.
fn begin_and_end(units: u64) {
    let now = Instant::now();
    let traffic = Traffic {
        legs: 100,
        connected: true,
        rtcp: false,
    };
    let mut table = table(now, traffic);
    let mut slot = [0x55; SLOT_SIZE];
    let n = traffic.legs;
    for _ in 0..units {
        let leg = table.open(now, options(n, true));
        table.set_remote(now, leg, remote(n, Latch::Learn, Security::Plain));
        for sequence in 0..4 {
            write_header(&mut slot, n, sequence);
            let source = Some(peer(n, 50_000));
            let mut packets = [Packet::new(MediaPort(2 * n), source, &mut slot, RTP)];
            table.process_batch(now, &mut packets);
        }
        while table.poll_notice().is_some() {}
        table.close(leg);
        while table.poll_notice().is_some() {}
    }
    let counters = table.counters();
    assert_eq!(counters.drops.total(), 0, "{counters:?}");
}
