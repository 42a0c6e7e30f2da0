//! Payloads copied out of legs, and payloads of the gateway's own.

use super::*;
use crate::media::packet::SLOT_SIZE;
use crate::media::{HeardPackets, OwnPayload};

/// A codec that nobody else has.
const OTHER: CodecId = CodecId(3);

impl Bench {
    fn heard(&mut self) -> Vec<(LegId, u16, CodecId, usize)> {
        let mut heard = HeardPackets::default();
        self.table.take_heard(&mut heard);
        let each = heard.iter();
        each.map(|(h, payload)| (h.leg, h.sequence, h.codec, payload.len()))
            .collect()
    }

    fn own(&mut self, leg: LegId, timestamp: u32) -> Result<Rtp, DropReason> {
        let mut slot = vec![0; SLOT_SIZE];
        let own = OwnPayload {
            payload_type: 8,
            clock_rate: 8000,
            marker: false,
            timestamp,
            payload: &[1; 160],
        };
        let packet = self.table.write_own(self.now, leg, own, &mut slot)?;
        assert_eq!(packet.len, 172);
        Ok(Rtp::read(&slot[..packet.len]))
    }
}

#[test]
fn a_tapped_leg_without_a_sink_is_heard_and_not_dropped() {
    let mut bench = Bench::new();
    let leg = bench.leg(0);
    assert_eq!(bench.dropped(0, Rtp::new(1, 0, 9)), DropReason::NotLinked);
    assert!(bench.table.tap(leg, true));
    assert_eq!(bench.rtp(0, Rtp::new(2, 160, 9)).0, Verdict::Consumed);
    assert_eq!(bench.heard(), [(leg, 2, PCMA, 160)]);
    assert!(bench.table.tap(leg, false));
    assert_eq!(bench.dropped(0, Rtp::new(3, 320, 9)), DropReason::NotLinked);
    assert_eq!(bench.heard(), []);
}

#[test]
fn a_tapped_leg_that_is_relayed_is_heard_as_it_was_and_goes_on() {
    let (mut bench, a, _) = Bench::pair();
    bench.table.tap(a, true);
    let out = bench.relayed(0, Rtp::new(7, 0, 9));
    assert_ne!(out.ssrc, 9);
    assert_eq!(bench.heard(), [(a, 7, PCMA, 160)]);
}

#[test]
fn telephone_events_are_heard_on_every_leg_and_sound_is_not() {
    let (mut bench, a, _) = Bench::pair();
    let event = Rtp {
        payload_type: 100,
        ..Rtp::new(2, 160, 9)
    };
    bench.relayed(0, Rtp::new(1, 0, 9));
    bench.relayed(0, event);
    bench.relayed(
        0,
        Rtp {
            sequence: 3,
            ..event
        },
    );
    bench.relayed(0, Rtp::new(4, 320, 9));
    assert_eq!(bench.heard(), [(a, 2, DTMF, 160), (a, 3, DTMF, 160)]);
}

#[test]
fn a_stream_goes_on_from_relayed_to_own_and_back() {
    let (mut bench, a, b) = Bench::pair();
    let first = bench.relayed(0, Rtp::new(500, 8000, 9));
    bench.pass(20);
    bench.table.unlink(a);
    let second = bench.own(b, 160).unwrap();
    assert_eq!(second.ssrc, first.ssrc);
    assert_eq!(second.sequence, first.sequence.wrapping_add(1));
    assert_eq!(second.timestamp, first.timestamp.wrapping_add(160));
    let third = bench.own(b, 320).unwrap();
    assert_eq!(third.sequence, second.sequence.wrapping_add(1));
    assert_eq!(third.timestamp, second.timestamp.wrapping_add(160));
    bench.pass(20);
    bench.table.link(a, b);
    let fourth = bench.relayed(0, Rtp::new(503, 8480, 9));
    assert_eq!(fourth.sequence, third.sequence.wrapping_add(1));
    assert_eq!(fourth.timestamp, third.timestamp.wrapping_add(160));
    assert_eq!(bench.table.stats(b).unwrap().sent.packets, 4);
}

#[test]
fn nothing_of_our_own_goes_to_a_peer_on_hold_and_no_number_is_used_up() {
    let mut bench = Bench::new();
    let leg = bench.leg(0);
    let before = bench.own(leg, 0).unwrap();
    let held = Remote {
        send: false,
        held: true,
        ..remote(0)
    };
    bench.table.set_remote(bench.now, leg, held);
    assert_eq!(bench.own(leg, 160), Err(DropReason::Held));
    bench.table.set_remote(bench.now, leg, remote(0));
    bench.pass(1000);
    let after = bench.own(leg, 320).unwrap();
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
}

#[test]
fn our_stream_goes_on_where_another_conference_counts_from_0() {
    let mut bench = Bench::new();
    let leg = bench.leg(0);
    let before = bench.own(leg, 160_000).unwrap();
    bench.pass(40);
    let after = bench.own(leg, 0).unwrap();
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    assert_eq!(after.timestamp, before.timestamp.wrapping_add(320));
    let next = bench.own(leg, 160).unwrap();
    assert_eq!(next.timestamp, after.timestamp.wrapping_add(160));
}

#[test]
fn our_stream_goes_on_where_another_clock_was_agreed() {
    let mut bench = Bench::new();
    let leg = bench.leg(0);
    let before = bench.own(leg, 160_000).unwrap();
    bench.table.set_remote(bench.now, leg, remote(0));
    bench.pass(20);
    // The conference's tick in units of 48 kHz.
    let after = bench.own(leg, 960_960).unwrap();
    assert_eq!(after.timestamp, before.timestamp.wrapping_add(160));
}

#[test]
fn what_the_sink_cannot_take_is_heard_and_marked_as_such() {
    let mut bench = Bench::new();
    let a = bench.leg(0);
    let b = bench.open(1, false);
    let lacking = Remote {
        payloads: vec![mapping(OTHER, 0, 0, 8000)],
        ..remote(1)
    };
    bench.table.set_remote(bench.now, b, lacking);
    assert!(bench.table.link(a, b));
    let dropped = bench.dropped(0, Rtp::new(1, 0, 9));
    assert_eq!(dropped, DropReason::CodecNotShared);
    let mut heard = HeardPackets::default();
    bench.table.take_heard(&mut heard);
    let marks: Vec<(LegId, bool)> = heard.iter().map(|(h, _)| (h.leg, h.unfit)).collect();
    assert_eq!(marks, [(a, true)]);
}
