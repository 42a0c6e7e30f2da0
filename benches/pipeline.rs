//! Packets per second through `media::Table::process_batch`, without sockets:
//! what the packet logic itself costs.
//!
//! `cargo bench --bench pipeline`

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringwire::ids::{CodecId, MediaPort};
use ringwire::media::packet::BATCH;
use ringwire::media::{
    Latch, LegOptions, Notice, Packet, PayloadMapping, Remote, Table, TableSettings,
};

/// Bytes of an RTP packet with 20 ms of G.711.
const RTP: usize = 172;

fn peer(leg: u32, port: u16) -> SocketAddr {
    SocketAddr::new([10, 0, (leg >> 8) as u8, leg as u8].into(), port)
}

fn remote(leg: u32) -> Remote {
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
        latch: Latch::Strict,
        security: ringwire::keying::Security::Plain,
        payloads: vec![mapping(0, 0), mapping(1, 8), mapping(2, 101)],
    }
}

/// A table of this many legs (at least two), in pairs, all locked; where
/// `connected`, as io_uring has it: sources unknown, destinations implied.
fn table(legs: u32, connected: bool) -> Table {
    let mut table = Table::new(TableSettings::default(), [1; 32]);
    let now = Instant::now();
    let ids: Vec<_> = (0..legs)
        .map(|n| {
            let (rtp, rtcp) = (MediaPort(2 * n), MediaPort(2 * n + 1));
            let echo = legs == 1;
            let leg = table.open(now, LegOptions { rtp, rtcp, echo });
            table.set_remote(now, leg, remote(n));
            leg
        })
        .collect();
    for pair in ids.chunks_exact(2) {
        table.link(pair[0], pair[1]);
    }
    for n in 0..legs {
        let mut slot = rtp(n, 0);
        let from = Some(peer(n, 4000));
        let packet = Packet::new(MediaPort(2 * n), from, &mut slot, RTP);
        table.process_batch(now, &mut [packet]);
    }
    while connected && let Some(notice) = table.poll_notice() {
        assert!(matches!(
            notice,
            Notice::Locked { .. } | Notice::Started { .. }
        ));
    }
    table
}

fn rtp(leg: u32, sequence: u16) -> [u8; RTP] {
    let mut packet = [0x55; RTP];
    packet[0] = 0x80;
    packet[1] = 8;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&leg.to_be_bytes());
    packet
}

/// A sender report of the leg's stream without blocks, and a CNAME.
fn report(leg: u32) -> [u8; RTP] {
    let mut packet = [0; RTP];
    packet[..4].copy_from_slice(&[0x80, 200, 0, 6]);
    packet[4..8].copy_from_slice(&leg.to_be_bytes());
    packet[28..32].copy_from_slice(&[0x81, 202, 0, 2]);
    packet[32..36].copy_from_slice(&leg.to_be_bytes());
    packet[36..40].copy_from_slice(&[1, 1, b'x', 0]);
    packet
}

const REPORT: usize = 40;

/// Runs batches round the legs; the time of `process_batch` and of writing
/// the packets anew.
fn run(table: &mut Table, legs: u32, connected: bool, rtcp: bool, batches: u64) -> Duration {
    let mut slots = [[0u8; RTP]; BATCH];
    let mut leg = 0u32;
    let mut sequence = 1u16;
    let mut now = Instant::now();
    let start = Instant::now();
    for _ in 0..batches {
        let mut packets = slots.each_mut().map(|slot| {
            *slot = if rtcp {
                report(leg)
            } else {
                rtp(leg, sequence)
            };
            let (offset, len) = if rtcp { (1, REPORT) } else { (0, RTP) };
            let from = Some(peer(leg, 4000)).filter(|_| rtcp || !connected);
            let packet = Packet::new(MediaPort(2 * leg + offset), from, slot, len);
            leg += 1;
            if leg == legs {
                leg = 0;
                sequence = sequence.wrapping_add(1);
            }
            packet
        });
        now += Duration::from_micros(100);
        table.process_batch(now, &mut packets);
    }
    start.elapsed()
}

fn pipeline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("process_batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    for legs in [1u32, 100, 4000] {
        for (name, connected, rtcp) in [
            ("relay_connected", true, false),
            ("relay_by_address", false, false),
            ("rtcp", true, true),
        ] {
            let mut table = table(legs, connected);
            let id = BenchmarkId::new(name, legs);
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|batches| run(&mut table, legs, connected, rtcp, batches));
            });
            let drops = table.counters().drops.total();
            assert_eq!(drops, 0, "{:?}", table.counters());
        }
    }
    group.finish();
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
