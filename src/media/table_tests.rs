//! The table as a whole, packet in, packet out, in simulated time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::ids::{CodecId, LegId, MediaPort};

const PCMA: CodecId = CodecId(8);
const DTMF: CodecId = CodecId(101);
const OPUS: CodecId = CodecId(111);

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A table with a clock; leg n has ports 2n and 2n+1, and its peer is at
/// 192.0.2.(n+1), RTP on 4000 and RTCP on 4001.
struct Bench {
    table: Table,
    now: Instant,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            table: Table::new(TableSettings::default(), [7; 32]),
            now: Instant::now(),
        }
    }

    fn open(&mut self, n: u32, echo: bool) -> LegId {
        let options = LegOptions {
            rtp: MediaPort(2 * n),
            rtcp: MediaPort(2 * n + 1),
            echo,
        };
        self.table.open(self.now, options)
    }

    fn leg(&mut self, n: u32) -> LegId {
        let leg = self.open(n, false);
        assert!(self.table.set_remote(self.now, leg, remote(n)));
        leg
    }

    fn pair() -> (Bench, LegId, LegId) {
        let mut bench = Bench::new();
        let (a, b) = (bench.leg(0), bench.leg(1));
        assert!(bench.table.link(a, b));
        (bench, a, b)
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// Sends a datagram in; what came of it, and the datagram then.
    fn send(&mut self, port: u32, from: Option<SocketAddr>, bytes: &[u8]) -> (Verdict, Vec<u8>) {
        let mut slot = vec![0; bytes.len() + 16];
        slot[..bytes.len()].copy_from_slice(bytes);
        let packet = Packet::new(MediaPort(port), from, &mut slot, bytes.len());
        let mut batch = [packet];
        self.table.process_batch(self.now, &mut batch);
        (batch[0].verdict, batch[0].bytes().to_vec())
    }

    /// RTP from the peer of leg n; what came of it.
    fn rtp(&mut self, n: u32, rtp: Rtp) -> (Verdict, Rtp) {
        let (verdict, bytes) = self.send(2 * n, Some(peer(n)), &rtp.bytes());
        (verdict, Rtp::read(&bytes))
    }

    /// The same, where it must be forwarded.
    fn relayed(&mut self, n: u32, rtp: Rtp) -> Rtp {
        let (verdict, out) = self.rtp(n, rtp);
        assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
        out
    }

    fn dropped(&mut self, n: u32, rtp: Rtp) -> DropReason {
        match self.rtp(n, rtp).0 {
            Verdict::Drop(reason) => reason,
            other => panic!("not dropped: {other:?}"),
        }
    }

    fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.table.poll_notice()).collect()
    }
}

fn peer(n: u32) -> SocketAddr {
    at(&format!("192.0.2.{}:4000", n + 1))
}

fn rtcp_peer(n: u32) -> SocketAddr {
    at(&format!("192.0.2.{}:4001", n + 1))
}

fn mapping(codec: CodecId, receive: u8, send: u8, clock_rate: u32) -> PayloadMapping {
    PayloadMapping {
        codec,
        receive,
        send,
        clock_rate,
    }
}

fn remote(n: u32) -> Remote {
    Remote {
        rtp: peer(n),
        rtcp: rtcp_peer(n),
        rtcp_mux: false,
        send: true,
        receive: true,
        held: false,
        latch: Latch::Strict,
        payloads: vec![
            mapping(PCMA, 8, 8, 8000),
            // The two peers number DTMF differently.
            mapping(DTMF, 100 + n as u8, 100 + n as u8, 8000),
        ],
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Rtp {
    marker: bool,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
}

impl Rtp {
    fn new(sequence: u16, timestamp: u32, ssrc: u32) -> Rtp {
        Rtp {
            marker: false,
            payload_type: 8,
            sequence,
            timestamp,
            ssrc,
        }
    }

    fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0x80, u8::from(self.marker) << 7 | self.payload_type];
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.timestamp.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        bytes.extend([0x55; 160]);
        bytes
    }

    fn read(bytes: &[u8]) -> Rtp {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4"));
        Rtp {
            marker: bytes[1] & 0x80 != 0,
            payload_type: bytes[1] & 0x7f,
            sequence: word(0) as u16,
            timestamp: word(4),
            ssrc: word(8),
        }
    }
}

#[test]
fn a_stream_is_relayed_with_one_ssrc_and_its_gaps_and_order() {
    let (mut bench, ..) = Bench::pair();
    let first = bench.relayed(0, Rtp::new(65530, 4_294_967_000, 0xaaaa));
    assert_ne!(first.ssrc, 0xaaaa);
    for (step, timestamp) in [(1u16, 160u32), (2, 320), (9, 1440), (8, 1280), (12, 1920)] {
        bench.pass(20);
        let rtp = Rtp::new(
            65530u16.wrapping_add(step),
            4_294_967_000u32.wrapping_add(timestamp),
            0xaaaa,
        );
        let expected = Rtp {
            sequence: first.sequence.wrapping_add(step),
            timestamp: first.timestamp.wrapping_add(timestamp),
            ..first
        };
        assert_eq!(bench.relayed(0, rtp), expected);
    }
}

#[test]
fn it_goes_out_of_the_other_legs_port_to_the_other_peer() {
    let (mut bench, ..) = Bench::pair();
    let (verdict, _) = bench.rtp(0, Rtp::new(1, 1, 1));
    let to = Some(peer(1));
    assert_eq!(
        verdict,
        Verdict::Forward {
            port: MediaPort(2),
            to
        }
    );
    let (verdict, _) = bench.rtp(1, Rtp::new(1, 1, 1));
    let to = Some(peer(0));
    assert_eq!(
        verdict,
        Verdict::Forward {
            port: MediaPort(0),
            to
        }
    );
    assert_eq!(bench.table.counters().forwarded_packets, 2);
    assert_eq!(bench.table.counters().forwarded_bytes, 2 * 172);
}

#[test]
fn a_new_ssrc_continues_the_stream_where_the_old_one_stopped() {
    let (mut bench, ..) = Bench::pair();
    bench.relayed(0, Rtp::new(100, 1000, 0xaaaa));
    bench.pass(20);
    let last = bench.relayed(0, Rtp::new(101, 1160, 0xaaaa));
    // The peer's ringback ends and its answer begins 200 ms later.
    bench.pass(200);
    let next = bench.relayed(0, Rtp::new(40000, 77, 0xbbbb));
    assert_eq!(next.ssrc, last.ssrc);
    assert_eq!(next.sequence, last.sequence.wrapping_add(1));
    assert_eq!(next.timestamp, last.timestamp.wrapping_add(1600));
    bench.pass(20);
    let after = bench.relayed(0, Rtp::new(40001, 237, 0xbbbb));
    assert_eq!(after.sequence, last.sequence.wrapping_add(2));
    assert_eq!(after.timestamp, next.timestamp.wrapping_add(160));
}

#[test]
fn a_straggler_of_the_old_ssrc_does_not_switch_back() {
    let (mut bench, ..) = Bench::pair();
    bench.relayed(0, Rtp::new(100, 1000, 0xaaaa));
    let switched = bench.relayed(0, Rtp::new(5, 5, 0xbbbb));
    bench.pass(20);
    assert_eq!(
        bench.dropped(0, Rtp::new(101, 1160, 0xaaaa)),
        DropReason::StaleSsrc
    );
    let next = bench.relayed(0, Rtp::new(6, 165, 0xbbbb));
    assert_eq!(next.sequence, switched.sequence.wrapping_add(1));
    // Much later it is a source like any other.
    bench.pass(1000);
    bench.relayed(0, Rtp::new(102, 1320, 0xaaaa));
}

#[test]
fn a_leg_hears_one_stream_whoever_it_is_linked_to() {
    let (mut bench, _, b) = Bench::pair();
    let last = bench.relayed(0, Rtp::new(100, 1000, 0xaaaa));
    let c = bench.leg(2);
    assert!(bench.table.link(c, b));
    assert_eq!(
        bench.dropped(0, Rtp::new(101, 1160, 0xaaaa)),
        DropReason::NotLinked
    );
    bench.pass(1000);
    let next = bench.relayed(2, Rtp::new(9, 9, 0xcccc));
    assert_eq!(next.ssrc, last.ssrc);
    assert_eq!(next.sequence, last.sequence.wrapping_add(1));
    assert_eq!(next.timestamp, last.timestamp.wrapping_add(8000));
}

#[test]
fn dtmf_shares_sequence_and_timestamps_and_keeps_its_marker() {
    let (mut bench, ..) = Bench::pair();
    let audio = bench.relayed(0, Rtp::new(10, 1000, 0xaaaa));
    bench.pass(20);
    let event = Rtp {
        marker: true,
        payload_type: 100,
        ..Rtp::new(11, 1160, 0xaaaa)
    };
    let expected = Rtp {
        marker: true,
        payload_type: 101,
        sequence: audio.sequence.wrapping_add(1),
        timestamp: audio.timestamp.wrapping_add(160),
        ssrc: audio.ssrc,
    };
    assert_eq!(bench.relayed(0, event), expected);
}

#[test]
fn payload_types_are_dropped_when_unknown_to_either_side() {
    let (mut bench, a, _) = Bench::pair();
    let with = |payload_type| Rtp {
        payload_type,
        ..Rtp::new(1, 1, 1)
    };
    assert_eq!(bench.dropped(0, with(99)), DropReason::UnknownPayload);
    let mut opus = remote(0);
    opus.payloads.push(mapping(OPUS, 111, 111, 48000));
    bench.table.set_remote(bench.now, a, opus);
    assert_eq!(bench.dropped(0, with(111)), DropReason::CodecNotShared);
    // What is held back leaves no gap.
    let one = bench.relayed(0, Rtp::new(2, 2, 1));
    assert_eq!(bench.dropped(0, with(111)), DropReason::CodecNotShared);
    let two = bench.relayed(0, Rtp::new(4, 322, 1));
    assert_eq!(two.sequence, one.sequence.wrapping_add(1));
    assert_eq!(two.timestamp, one.timestamp.wrapping_add(320));
}

#[test]
fn nothing_is_sent_to_a_peer_on_hold_and_the_stream_goes_on_after_it() {
    let (mut bench, _, b) = Bench::pair();
    let before = bench.relayed(0, Rtp::new(10, 1000, 0xaaaa));
    let mut hold = remote(1);
    (hold.send, hold.held) = (false, true);
    bench.table.set_remote(bench.now, b, hold);
    for n in 1..500u16 {
        bench.pass(20);
        let rtp = Rtp::new(10 + n, 1000 + 160 * u32::from(n), 0xaaaa);
        assert_eq!(bench.dropped(0, rtp), DropReason::Held);
    }
    bench.table.set_remote(bench.now, b, remote(1));
    let after = bench.relayed(0, Rtp::new(510, 81_000, 0xaaaa));
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    assert_eq!(after.timestamp, before.timestamp.wrapping_add(80_000));
}

#[test]
fn a_peer_that_may_not_send_is_not_relayed() {
    let (mut bench, a, _) = Bench::pair();
    let mut silent = remote(0);
    silent.receive = false;
    bench.table.set_remote(bench.now, a, silent);
    assert_eq!(
        bench.dropped(0, Rtp::new(1, 1, 1)),
        DropReason::NotReceiving
    );
}

#[test]
fn an_address_of_zeros_is_never_sent_to() {
    let (mut bench, _, b) = Bench::pair();
    let mut hold = remote(1);
    hold.rtp = at("0.0.0.0:4000");
    bench.table.set_remote(bench.now, b, hold);
    assert_eq!(
        bench.dropped(0, Rtp::new(1, 1, 1)),
        DropReason::SinkNotReady
    );
}

#[test]
fn packets_are_dropped_until_both_sides_are_described_and_linked() {
    let mut bench = Bench::new();
    let (a, b) = (bench.open(0, false), bench.open(1, false));
    assert_eq!(bench.dropped(0, Rtp::new(1, 1, 1)), DropReason::NoRemote);
    bench.table.set_remote(bench.now, a, remote(0));
    assert_eq!(bench.dropped(0, Rtp::new(1, 1, 1)), DropReason::NotLinked);
    bench.table.link(a, b);
    assert_eq!(
        bench.dropped(0, Rtp::new(2, 2, 1)),
        DropReason::SinkNotReady
    );
    bench.table.set_remote(bench.now, b, remote(1));
    bench.relayed(0, Rtp::new(3, 3, 1));
    assert!(bench.table.unlink(a));
    assert_eq!(bench.dropped(1, Rtp::new(1, 1, 1)), DropReason::NotLinked);
}

#[test]
fn the_first_byte_tells_what_is_no_rtp() {
    let (mut bench, ..) = Bench::pair();
    let mut reason = |port, bytes: &[u8]| match bench.send(port, Some(peer(0)), bytes).0 {
        Verdict::Drop(reason) => reason,
        other => panic!("not dropped: {other:?}"),
    };
    assert_eq!(reason(0, &[]), DropReason::UnknownProtocol);
    assert_eq!(reason(0, b"GET /"), DropReason::UnknownProtocol);
    assert_eq!(reason(0, &[0, 1, 0, 0]), DropReason::Stun);
    assert_eq!(reason(0, &[22, 254, 253]), DropReason::Dtls);
    assert_eq!(reason(0, &[0x80, 8, 0, 0]), DropReason::RtpInvalid);
    assert_eq!(reason(0, &[0x80, 200, 0, 0]), DropReason::RtcpNotMuxed);
    assert_eq!(reason(1, &[0x80, 200, 0, 0]), DropReason::RtcpInvalid);
    assert_eq!(reason(77, &[0x80, 8, 0, 0]), DropReason::UnknownPort);
    assert_eq!(bench.table.counters().drops.total(), 8);
}

#[test]
fn a_strict_leg_locks_with_its_first_packet_and_says_so_once() {
    let (mut bench, a, _) = Bench::pair();
    let stranger = Some(at("192.0.2.1:4002"));
    let (verdict, _) = bench.send(0, stranger, &Rtp::new(1, 1, 1).bytes());
    assert_eq!(verdict, Verdict::Drop(DropReason::WrongSource));
    assert_eq!(bench.notices(), []);
    bench.relayed(0, Rtp::new(1, 1, 1));
    bench.relayed(0, Rtp::new(2, 2, 1));
    let locked = Notice::Locked {
        port: MediaPort(0),
        address: peer(0),
    };
    assert_eq!(bench.notices(), [locked, Notice::Started { leg: a }]);
}

#[test]
fn a_connected_port_is_sent_to_without_address_and_heard_without_source() {
    let (mut bench, ..) = Bench::pair();
    let bytes = Rtp::new(1, 1, 1).bytes();
    let (verdict, _) = bench.send(0, None, &bytes);
    assert_eq!(
        verdict,
        Verdict::Drop(DropReason::WrongSource),
        "not locked yet"
    );
    bench.relayed(0, Rtp::new(1, 1, 1));
    let (verdict, _) = bench.rtp(1, Rtp::new(1, 1, 2));
    let to = Some(peer(0));
    assert_eq!(
        verdict,
        Verdict::Forward {
            port: MediaPort(0),
            to
        },
        "not polled yet"
    );
    bench.notices();
    let (verdict, _) = bench.send(2, None, &Rtp::new(2, 2, 2).bytes());
    assert_eq!(
        verdict,
        Verdict::Forward {
            port: MediaPort(0),
            to: None
        }
    );
    let (verdict, _) = bench.send(0, None, &Rtp::new(2, 2, 1).bytes());
    assert_eq!(
        verdict,
        Verdict::Forward {
            port: MediaPort(2),
            to: None
        }
    );
}

#[test]
fn a_learned_source_is_sent_to_and_locked_with_its_third_packet() {
    let (mut bench, a, _) = Bench::pair();
    let mut behind_nat = remote(0);
    behind_nat.rtp = at("10.0.0.5:4000");
    behind_nat.latch = Latch::Learn;
    bench.table.set_remote(bench.now, a, behind_nat);
    bench.relayed(1, Rtp::new(1, 1, 2));
    bench.notices();
    let nat = at("198.51.100.9:61000");
    for n in 1..=3 {
        assert_eq!(bench.notices(), []);
        bench.send(0, Some(nat), &Rtp::new(n, 1, 1).bytes());
        if n == 1 {
            let (verdict, _) = bench.rtp(1, Rtp::new(2, 2, 2));
            let to = Some(nat);
            assert_eq!(
                verdict,
                Verdict::Forward {
                    port: MediaPort(0),
                    to
                }
            );
            assert_eq!(bench.notices(), [Notice::Started { leg: a }]);
        }
    }
    let address = nat;
    assert_eq!(
        bench.notices(),
        [Notice::Locked {
            port: MediaPort(0),
            address
        }]
    );
    assert_eq!(bench.dropped(0, Rtp::new(9, 9, 9)), DropReason::WrongSource);
}

#[test]
fn only_another_address_unlocks_a_strict_leg() {
    let (mut bench, a, _) = Bench::pair();
    bench.relayed(0, Rtp::new(1, 1, 1));
    bench.notices();
    bench.table.set_remote(bench.now, a, remote(0));
    assert_eq!(bench.notices(), [], "a refresh changes nothing");
    let mut moved = remote(0);
    moved.rtp = at("192.0.2.77:9000");
    bench.table.set_remote(bench.now, a, moved);
    assert_eq!(bench.notices(), [Notice::Unlocked { port: MediaPort(0) }]);
    assert_eq!(bench.dropped(0, Rtp::new(2, 2, 1)), DropReason::WrongSource);
    let (verdict, _) = bench.rtp(1, Rtp::new(1, 1, 2));
    let to = Some(at("192.0.2.77:9000"));
    assert_eq!(
        verdict,
        Verdict::Forward {
            port: MediaPort(0),
            to
        }
    );
}

#[test]
fn a_lock_that_was_not_polled_before_the_leg_unlocked_is_never_told() {
    let (mut bench, a, _) = Bench::pair();
    bench.relayed(0, Rtp::new(1, 1, 1));
    let mut moved = remote(0);
    moved.rtp = at("192.0.2.77:9000");
    bench.table.set_remote(bench.now, a, moved);
    let unlocked = Notice::Unlocked { port: MediaPort(0) };
    assert_eq!(bench.notices(), [Notice::Started { leg: a }, unlocked]);
}

#[test]
fn an_echo_leg_hears_itself_with_the_gateways_ssrc() {
    let mut bench = Bench::new();
    let leg = bench.open(0, true);
    bench.table.set_remote(bench.now, leg, remote(0));
    let (verdict, out) = bench.rtp(0, Rtp::new(1, 1, 0xaaaa));
    let to = Some(peer(0));
    assert_eq!(
        verdict,
        Verdict::Forward {
            port: MediaPort(0),
            to
        }
    );
    assert_ne!(out.ssrc, 0xaaaa);
    let other = bench.leg(1);
    bench.table.link(leg, other);
    let (verdict, _) = bench.rtp(0, Rtp::new(2, 161, 0xaaaa));
    let to = Some(peer(1));
    assert_eq!(
        verdict,
        Verdict::Forward {
            port: MediaPort(2),
            to
        }
    );
}

#[test]
fn statistics_count_both_directions() {
    let (mut bench, a, b) = Bench::pair();
    let start = bench.now;
    for n in [1u16, 2, 3, 6] {
        bench.relayed(0, Rtp::new(n, 160 * u32::from(n), 0xaaaa));
        bench.pass(20);
    }
    let last = start + Duration::from_millis(60);
    let stats = bench.table.stats(a).expect("open");
    assert_eq!(stats.received.packets, 4);
    assert_eq!(stats.received.bytes, 640);
    assert_eq!(stats.received.lost, 2);
    assert_eq!(stats.received.last_packet, Some(last));
    // The last one came 40 ms early: 40 ms / 16 of jitter (RFC 3550 A.8).
    assert_eq!(stats.received.jitter, Duration::from_micros(2500));
    assert_eq!(stats.sent, Default::default());
    let stats = bench.table.stats(b).expect("open");
    assert_eq!(stats.sent.packets, 4);
    assert_eq!(stats.sent.bytes, 640);
    assert_eq!(stats.sent.last_packet, Some(last));
    assert_eq!(stats.received, Default::default());
}

#[test]
fn losses_add_up_over_ssrcs_and_restarts() {
    let (mut bench, a, _) = Bench::pair();
    for (sequence, ssrc) in [(1, 1), (3, 1), (100, 2), (103, 2), (40_000, 2), (40_001, 2)] {
        bench.pass(1000);
        bench.relayed(0, Rtp::new(sequence, 0, ssrc));
    }
    let received = bench.table.stats(a).expect("open").received;
    // One of SSRC 1, two of SSRC 2; the restart at 40000 is no loss.
    assert_eq!((received.packets, received.lost), (6, 3));
}

#[test]
fn a_restarted_source_goes_on_counting_for_its_listener() {
    let (mut bench, ..) = Bench::pair();
    bench.relayed(0, Rtp::new(1, 0, 1));
    for n in 0..3 {
        bench.relayed(0, Rtp::new(40_000 + n, 160, 1));
    }
    bench.pass(20);
    let last = bench.relayed(0, Rtp::new(40_003, 160, 1));
    let next = bench.relayed(0, Rtp::new(7, 7, 2));
    assert_eq!(next.sequence, last.sequence.wrapping_add(1));
}

#[test]
fn silence_is_named_once_it_has_lasted_and_hold_is_exempt() {
    let (mut bench, a, b) = Bench::pair();
    let _undescribed = bench.open(5, false);
    bench.pass(29_000);
    let inactive = |bench: &Bench| bench.table.inactive(bench.now).collect::<Vec<_>>();
    assert_eq!(inactive(&bench), []);
    bench.relayed(1, Rtp::new(1, 1, 1));
    bench.pass(1_000);
    assert_eq!(inactive(&bench), [a]);
    let mut held = remote(0);
    held.held = true;
    bench.table.set_remote(bench.now, a, held);
    bench.pass(60_000);
    assert_eq!(inactive(&bench), [b]);
    // Back from hold, it has its full time again.
    bench.table.set_remote(bench.now, a, remote(0));
    assert_eq!(inactive(&bench), [b]);
    bench.pass(30_000);
    assert_eq!(inactive(&bench), [a, b]);
}

#[test]
fn a_closed_legs_id_and_ports_are_worth_nothing_when_its_place_is_reused() {
    let (mut bench, a, b) = Bench::pair();
    bench.relayed(0, Rtp::new(1, 1, 1));
    assert_eq!(bench.table.close(a).received.packets, 1);
    assert_eq!(bench.notices(), [], "nothing is told of a closed leg");
    assert_eq!(bench.dropped(0, Rtp::new(2, 2, 1)), DropReason::UnknownPort);
    assert_eq!(bench.dropped(1, Rtp::new(2, 2, 1)), DropReason::NotLinked);
    let again = bench.leg(0);
    assert_eq!(again.index, a.index);
    assert_ne!(again, a);
    assert_eq!(bench.table.close(a), LegStats::default());
    assert_eq!(bench.table.stats(a), None);
    assert!(!bench.table.link(a, b));
    assert!(!bench.table.unlink(a));
    assert!(!bench.table.set_remote(bench.now, a, remote(0)));
    assert_eq!(bench.table.len(), 2);
    assert_eq!(
        bench.table.stats(again).map(|s| s.received.packets),
        Some(0)
    );
}

#[test]
fn a_source_that_takes_over_a_closed_legs_listener_continues_its_stream() {
    let (mut bench, a, _) = Bench::pair();
    let last = bench.relayed(0, Rtp::new(1, 1, 1));
    bench.table.close(a);
    let c = bench.leg(2);
    let b = LegId {
        index: 1,
        generation: 0,
    };
    assert!(bench.table.link(c, b));
    bench.pass(40);
    let next = bench.relayed(2, Rtp::new(900, 900, 3));
    assert_eq!(next.ssrc, last.ssrc);
    assert_eq!(next.timestamp, last.timestamp.wrapping_add(320));
}

/// A sender report of `ssrc` with one block about `about`, and a CNAME.
fn sender_report(ssrc: u32, rtp_time: u32, about: u32, highest: u32) -> Vec<u8> {
    let mut bytes = vec![0x81, 200, 0, 12];
    for word in [ssrc, 0xe000_0001, 0x8000_0000, rtp_time, 10, 1600] {
        bytes.extend(word.to_be_bytes());
    }
    for word in [about, 0x40ff_ffff, highest, 33, 0x1234_5678, 0x0001_0000] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend([0x81, 202, 0, 2]);
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend([1, 1, b'x', 0]);
    bytes
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

#[test]
fn reports_name_the_streams_that_each_peer_knows() {
    let (mut bench, a, _) = Bench::pair();
    let a_out = bench.relayed(0, Rtp::new(500, 1000, 0xaaaa));
    let b_out = bench.relayed(1, Rtp::new(65_535, 9000, 0xbbbb));
    let b_out_next = bench.relayed(1, Rtp::new(0, 9160, 0xbbbb));
    // The peer of a reports on what it hears: b's stream as numbered by us.
    let report = sender_report(0xaaaa, 1160, b_out.ssrc, u32::from(b_out_next.sequence));
    let (verdict, out) = bench.send(1, Some(rtcp_peer(0)), &report);
    let to = Some(rtcp_peer(1));
    assert_eq!(
        verdict,
        Verdict::Forward {
            port: MediaPort(3),
            to
        }
    );
    assert_eq!(out.len(), report.len());
    assert_eq!(word(&out, 4), a_out.ssrc);
    assert_eq!(out[8..16], report[8..16], "the wall clock stays");
    assert_eq!(word(&out, 16), a_out.timestamp.wrapping_add(160));
    assert_eq!(
        (word(&out, 20), word(&out, 24)),
        (1, 160),
        "what was relayed"
    );
    assert_eq!(word(&out, 28), 0xbbbb);
    assert_eq!(word(&out, 36), 0x1_0000, "b's own count, wrapped once");
    assert_eq!(out[40..52], report[40..52]);
    assert_eq!(word(&out, 56), a_out.ssrc, "SDES");
    let reported = bench
        .table
        .stats(a)
        .expect("open")
        .sent
        .reported
        .expect("reported");
    assert_eq!(reported.fraction_lost, 0x40);
    assert_eq!(reported.cumulative_lost, -1);
    assert_eq!(reported.jitter, 33);
}

#[test]
fn muxed_rtcp_is_told_apart_and_leaves_by_the_rtp_port() {
    let (mut bench, a, _) = Bench::pair();
    let mut muxed = remote(0);
    muxed.rtcp_mux = true;
    bench.table.set_remote(bench.now, a, muxed);
    let a_out = bench.relayed(0, Rtp::new(1, 1, 0xaaaa));
    let report = sender_report(0xaaaa, 1, 0, 0);
    let (verdict, out) = bench.send(0, Some(peer(0)), &report);
    let to = Some(rtcp_peer(1));
    assert_eq!(
        verdict,
        Verdict::Forward {
            port: MediaPort(3),
            to
        }
    );
    assert_eq!(word(&out, 4), a_out.ssrc);
    let report = sender_report(0xbbbb, 1, 0, 0);
    let (verdict, _) = bench.send(3, Some(rtcp_peer(1)), &report);
    let to = Some(peer(0));
    assert_eq!(
        verdict,
        Verdict::Forward {
            port: MediaPort(0),
            to
        }
    );
    bench.notices();
    let (verdict, _) = bench.send(3, Some(rtcp_peer(1)), &report);
    assert_eq!(
        verdict,
        Verdict::Forward {
            port: MediaPort(0),
            to: None
        }
    );
}

#[test]
fn rtcp_counts_from_the_host_of_the_rtp_and_flows_during_hold() {
    let (mut bench, _, b) = Bench::pair();
    bench.relayed(0, Rtp::new(1, 1, 0xaaaa));
    let mut hold = remote(1);
    (hold.send, hold.receive, hold.held) = (false, false, true);
    bench.table.set_remote(bench.now, b, hold);
    let report = sender_report(0xaaaa, 1, 0, 0);
    let (verdict, _) = bench.send(1, Some(at("192.0.2.1:777")), &report);
    assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
    let (verdict, _) = bench.send(1, Some(at("192.0.2.99:4001")), &report);
    assert_eq!(verdict, Verdict::Drop(DropReason::WrongSource));
}

#[test]
fn random_packets_never_panic_nor_grow_beyond_their_slot() {
    let (mut bench, a, _) = Bench::pair();
    let mut muxed = remote(0);
    muxed.rtcp_mux = true;
    bench.table.set_remote(bench.now, a, muxed);
    bench.relayed(0, Rtp::new(1, 1, 0xaaaa));
    bench.relayed(1, Rtp::new(1, 1, 0xbbbb));
    let seeds = [
        Rtp::new(2, 160, 0xaaaa).bytes(),
        sender_report(0xaaaa, 160, 0xbbbb, 77),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    for _ in 0..100_000 {
        let mut bytes = seeds[random(2)].clone();
        bytes.truncate(random(bytes.len() + 1));
        for _ in 0..random(6) {
            if !bytes.is_empty() {
                let at = random(bytes.len().min(64));
                bytes[at] = random(256) as u8;
            }
        }
        let (_, out) = bench.send(random(4) as u32, Some(peer(0)), &bytes);
        assert!(out.len() <= bytes.len());
    }
}
