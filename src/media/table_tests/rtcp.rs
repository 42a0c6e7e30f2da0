//! RTCP through the table.

use super::*;

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
