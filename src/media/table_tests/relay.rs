//! What is relayed, as what, and what is not.

use super::*;

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
fn comfort_noise_is_relayed_by_the_sinks_number_to_who_takes_it_only() {
    let (mut bench, a, b) = Bench::pair();
    let with_noise = |n, number| {
        let mut remote = remote(n);
        let noise = mapping(CodecId::COMFORT_NOISE, number, number, 8000);
        remote.payloads.push(noise);
        remote
    };
    let noise = |sequence, timestamp| Rtp {
        payload_type: 13,
        ..Rtp::new(sequence, timestamp, 0xaaaa)
    };
    bench.table.set_remote(bench.now, a, with_noise(0, 13));
    let before = bench.relayed(0, Rtp::new(10, 1000, 0xaaaa));
    // The other has not agreed to any: the stream pauses, and goes on without
    // a gap of its sequence.
    assert_eq!(
        bench.dropped(0, noise(11, 1160)),
        DropReason::CodecNotShared
    );
    let after = bench.relayed(0, Rtp::new(12, 9000, 0xaaaa));
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    assert_eq!(after.timestamp, before.timestamp.wrapping_add(8000));

    bench.table.set_remote(bench.now, b, with_noise(1, 97));
    let passed = bench.relayed(0, noise(13, 9160));
    let expected = Rtp {
        payload_type: 97,
        sequence: after.sequence.wrapping_add(1),
        timestamp: after.timestamp.wrapping_add(160),
        ..after
    };
    assert_eq!(passed, expected);
}

#[test]
fn a_pausing_peer_is_there_as_long_as_it_reports() {
    let (mut bench, a, _) = Bench::pair();
    let mut with_noise = remote(0);
    with_noise
        .payloads
        .push(mapping(CodecId::COMFORT_NOISE, 13, 13, 8000));
    bench.table.set_remote(bench.now, a, with_noise);
    let inactive = |bench: &Bench| bench.table.is_inactive(bench.now, a);
    // RFC 3550 section 6.4.2: an empty receiver report.
    let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
    let limit = TableSettings::default().inactivity.as_millis() as u64;

    bench.rtp(0, Rtp::new(1, 0, 9));
    assert!(!bench.table.is_pausing(a));
    bench.pass(limit - 1000);
    bench.send(1, Some(rtcp_peer(0)), &report);
    bench.pass(1000);
    assert!(inactive(&bench), "who does not pause is to send sound");

    let noise = Rtp {
        payload_type: 13,
        ..Rtp::new(2, 160, 9)
    };
    bench.rtp(0, noise);
    assert!(bench.table.is_pausing(a));
    bench.pass(limit - 1000);
    bench.send(1, Some(rtcp_peer(0)), &report);
    bench.pass(limit - 1000);
    assert!(!inactive(&bench));
    bench.pass(1000);
    assert!(inactive(&bench), "neither sound nor reports");
    bench.rtp(0, Rtp::new(3, 320, 9));
    assert!(!bench.table.is_pausing(a));
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
