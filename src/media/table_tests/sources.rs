//! Whose packets count, the life of a leg, and its numbers.

use super::*;

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
fn silence_is_named_once_it_has_lasted_and_hold_is_exempt() {
    let (mut bench, a, b) = Bench::pair();
    let _undescribed = bench.open(5, false);
    bench.pass(29_000);
    let inactive = |bench: &Bench| {
        let legs = [a, b].into_iter();
        legs.filter(|leg| bench.table.is_inactive(bench.now, *leg))
            .collect::<Vec<_>>()
    };
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
