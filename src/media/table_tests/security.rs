//! Legs that are to be protected: nothing passes them in the clear.

use super::*;
use crate::keying::{DtlsRole, Fingerprint, FingerprintHash, Security};

fn dtls(n: u32) -> Remote {
    Remote {
        security: Security::Dtls {
            role: DtlsRole::Server,
            fingerprints: vec![Fingerprint {
                hash: FingerprintHash::Sha256,
                digest: vec![1; 32],
            }],
        },
        ..remote(n)
    }
}

fn counted(bench: &Bench) -> u64 {
    bench.table.counters().drops.get(DropReason::NotYetSecured)
}

#[test]
fn a_leg_that_awaits_its_keys_neither_takes_nor_sends_rtp_in_the_clear() {
    let (mut bench, a, _) = Bench::pair();
    assert!(bench.table.set_remote(bench.now, a, dtls(0)));
    let into = bench.dropped(0, Rtp::new(1, 160, 7));
    let out_of = bench.dropped(1, Rtp::new(1, 160, 8));
    assert_eq!(
        (into, out_of),
        (DropReason::NotYetSecured, DropReason::NotYetSecured)
    );
    assert_eq!(counted(&bench), 2);
}

#[test]
fn nor_does_it_take_rtcp_in_the_clear() {
    let (mut bench, a, _) = Bench::pair();
    assert!(bench.table.set_remote(bench.now, a, dtls(0)));
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    let (verdict, _) = bench.send(1, Some(rtcp_peer(0)), &report);
    assert_eq!(verdict, Verdict::Drop(DropReason::NotYetSecured));
}

#[test]
fn its_source_is_not_learned_from_what_is_not_authenticated() {
    let (mut bench, a, _) = Bench::pair();
    let learned = Remote {
        latch: Latch::Learn,
        ..dtls(0)
    };
    assert!(bench.table.set_remote(bench.now, a, learned));
    bench.notices();
    bench.dropped(0, Rtp::new(1, 160, 7));
    assert_eq!(bench.notices(), []);
}

#[test]
fn a_leg_described_as_plain_again_passes_packets_as_before() {
    let (mut bench, a, _) = Bench::pair();
    assert!(bench.table.set_remote(bench.now, a, dtls(0)));
    assert!(bench.table.set_remote(bench.now, a, remote(0)));
    bench.relayed(0, Rtp::new(1, 160, 7));
}

#[test]
fn a_place_is_plain_again_after_a_protected_leg_has_left_it() {
    let mut bench = Bench::new();
    let gone = bench.leg(0);
    assert!(bench.table.set_remote(bench.now, gone, dtls(0)));
    bench.table.close(gone);
    let next = bench.open(0, true);
    assert!(bench.table.set_remote(bench.now, next, remote(0)));
    bench.relayed(0, Rtp::new(1, 160, 7));
}

#[test]
fn the_ssrc_a_leg_sends_with_is_known_before_it_sends() {
    let (mut bench, a, b) = Bench::pair();
    let source = bench.table.source(b);
    let ssrc = source.map(|source| source.ssrc);
    assert_eq!(ssrc, Some(bench.relayed(0, Rtp::new(1, 160, 7)).ssrc));
    bench.table.close(a);
    assert_eq!(bench.table.source(a), None);
}
