//! RTCP through the table.

use super::*;
use crate::clock::WallClock;

/// When the bench's clock stood at its start, in s since the Unix epoch, and
/// the same in NTP time.
const UNIX: u64 = 1_700_000_000;
const NTP: u32 = (UNIX + 2_208_988_800) as u32;

/// A receiver report, a CNAME, and a generic NACK of packet 77 of `about`.
fn compound(ssrc: u32, about: u32) -> Vec<u8> {
    let mut bytes = receiver_report(ssrc, about, [0; 5]);
    bytes.extend([0x81, 202, 0, 2]);
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend([1, 1, b'x', 0]);
    bytes.extend(nack(ssrc, about, 77));
    bytes
}

fn nack(ssrc: u32, about: u32, sequence: u16) -> Vec<u8> {
    words(0x81cd_0003, &[ssrc, about, u32::from(sequence) << 16])
}

/// A receiver report with one block: `about`, then losses, highest sequence
/// number, jitter, LSR and DLSR.
fn receiver_report(ssrc: u32, about: u32, block: [u32; 5]) -> Vec<u8> {
    words(0x81c9_0007, &[&[ssrc, about][..], &block].concat())
}

/// A sender report without blocks whose NTP time has this middle.
fn sender_report(ssrc: u32, middle: u32) -> Vec<u8> {
    let ntp = [middle >> 16, middle << 16];
    words(0x80c8_0006, &[ssrc, ntp[0], ntp[1], 160, 10, 1600])
}

fn words(header: u32, words: &[u32]) -> Vec<u8> {
    let all = [&[header][..], words].concat();
    all.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// In 1/65536 s.
fn units(ms: u32) -> u32 {
    ms * 65_536 / 1000
}

impl Bench {
    fn with_clock() -> (Bench, LegId, LegId) {
        let (mut bench, a, b) = Bench::pair();
        bench
            .table
            .set_clock(WallClock::new(bench.now, UNIX * 1000));
        (bench, a, b)
    }

    /// 20 ms later: what the table sends by itself.
    fn step(&mut self) -> Vec<Transmit> {
        self.pass(20);
        if self.table.next_timeout().is_some_and(|due| due <= self.now) {
            self.table.handle_timeout(self.now);
        }
        self.transmits()
    }

    fn transmits(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.table.poll_transmit()).collect()
    }

    /// Packet `n` of both peers.
    fn both_talk(&mut self, n: u16) -> [Rtp; 2] {
        let timestamp = u32::from(n) * 160;
        [
            self.relayed(0, Rtp::new(n, timestamp, 0xaaaa)),
            self.relayed(1, Rtp::new(n, timestamp, 0xbbbb)),
        ]
    }

    /// Both talk, a packet every 20 ms from number `n` on, until a report for
    /// this leg's peer is made: it, and the next number.
    fn next_report(&mut self, leg: u32, mut n: u16) -> (Vec<u8>, u16) {
        for _ in 0..1000 {
            let made = self.step();
            if let Some(report) = made.iter().find(|t| t.to == Some(rtcp_peer(leg))) {
                assert_eq!(report.port, MediaPort(2 * leg + 1));
                return (report.payload.to_vec(), n);
            }
            self.both_talk(n);
            n += 1;
        }
        panic!("no report within 20 s");
    }

    /// RTCP from the peer of leg n; it has to end here.
    fn consumed(&mut self, n: u32, bytes: &[u8]) {
        let (verdict, _) = self.send(2 * n + 1, Some(rtcp_peer(n)), bytes);
        assert_eq!(verdict, Verdict::Consumed);
    }
}

#[test]
fn a_peer_beside_one_without_rtcp_gets_reports_with_exact_counts() {
    let (mut bench, a, _) = Bench::with_clock();
    let start = bench.now;
    let [_, b_out] = bench.both_talk(1);
    // Five of a's are lost, and one comes twice.
    for n in 2..=20u16 {
        bench.pass(20);
        if !(4..9).contains(&n) {
            bench.relayed(0, Rtp::new(n, u32::from(n) * 160, 0xaaaa));
        }
        bench.relayed(1, Rtp::new(n, u32::from(n) * 160, 0xbbbb));
    }
    bench.relayed(0, Rtp::new(20, 20 * 160, 0xaaaa));
    let (report, next) = bench.next_report(0, 21);
    let (last, sent) = (next - 1, u32::from(next - 1));
    let elapsed = (bench.now - start).as_millis() as u32;
    assert_eq!(word(&report, 0), 0x81c8_000c);
    assert_eq!(word(&report, 4), b_out.ssrc);
    assert_eq!(word(&report, 8), NTP + elapsed / 1000);
    let fraction = u64::from(elapsed % 1000) * (1 << 32) / 1000;
    assert_eq!(word(&report, 12), fraction as u32);
    // The last packet went 20 ms ago.
    let rtp_time = b_out.timestamp.wrapping_add(sent * 160);
    assert_eq!(word(&report, 16), rtp_time);
    assert_eq!((word(&report, 20), word(&report, 24)), (sent, sent * 160));
    assert_eq!(word(&report, 28), 0xaaaa);
    // Lost: five, less the duplicate.
    let fraction = 4 * 256 / sent;
    assert_eq!(word(&report, 32), fraction << 24 | 4);
    assert_eq!(word(&report, 36), u32::from(last));
    assert_eq!(word(&report, 40), 0, "steady arrival");
    assert_eq!((word(&report, 44), word(&report, 48)), (0, 0), "no SR came");
    let name = bench.table.source(a).expect("open").cname;
    assert_eq!(
        (word(&report, 52), word(&report, 56)),
        (0x81ca_0008, b_out.ssrc)
    );
    assert_eq!(report[60..62], [1, 24]);
    assert_eq!(report[62..], [name.as_bytes(), &[0, 0]].concat());
    // Nothing was lost since.
    let (second, next) = bench.next_report(0, next);
    assert_eq!(word(&second, 20), u32::from(next - 1));
    assert_eq!(word(&second, 32), 4);
}

#[test]
fn the_first_report_comes_after_half_the_time_and_the_others_about_every_5_s() {
    let (mut bench, _, _) = Bench::with_clock();
    let mut from = bench.now;
    let mut next = 1;
    for (least, most) in [(1_250, 3_850), (2_500, 7_600), (2_500, 7_600)] {
        let (_, n) = bench.next_report(1, next);
        let passed = (bench.now - from).as_millis();
        assert!((least..=most).contains(&passed), "{passed} ms");
        (from, next) = (bench.now, n);
    }
}

#[test]
fn a_report_names_the_peers_last_sender_report_and_how_long_ago_it_came() {
    let (mut bench, _, _) = Bench::with_clock();
    bench.both_talk(1);
    bench.consumed(0, &sender_report(0xaaaa, 0x1234_5678));
    let came = bench.now;
    let (report, next) = bench.next_report(0, 2);
    let held = (bench.now - came).as_millis() as u32;
    assert_eq!(word(&report, 44), 0x1234_5678);
    assert_eq!(word(&report, 48), units(held));
    // One of an SSRC that the peer does not send with is not named.
    bench.consumed(0, &sender_report(0x9999, 0x1111_1111));
    let (report, _) = bench.next_report(0, next);
    assert_eq!(word(&report, 44), 0x1234_5678);
}

#[test]
fn the_round_trip_is_worked_out_of_the_peers_answer_and_nonsense_is_not() {
    let (mut bench, a, _) = Bench::with_clock();
    let (report, _) = bench.next_report(0, 1);
    let ours = word(&report, 4);
    let middle = word(&report, 8) << 16 | word(&report, 12) >> 16;
    bench.pass(600);
    let answer = |lsr, dlsr| receiver_report(0xaaaa, ours, [0x40ff_ffff, 1, 80, lsr, dlsr]);
    bench.consumed(0, &answer(middle, units(500)));
    let sent = bench.table.stats(a).expect("open").sent;
    let micros = sent.round_trip.expect("known").as_micros();
    assert!((99_900..100_100).contains(&micros), "{micros} µs");
    let reported = sent.reported.expect("reported");
    assert_eq!(
        (reported.fraction_lost, reported.cumulative_lost),
        (0x40, -1)
    );
    assert_eq!(reported.jitter, Duration::from_millis(10));
    // Longer held than it is old; no report named; of more than a minute ago.
    for (lsr, dlsr) in [(middle, units(700)), (0, 0), (middle - (61 << 16), 0)] {
        bench.consumed(0, &answer(lsr, dlsr));
        let again = bench.table.stats(a).expect("open").sent;
        assert_eq!(again.round_trip, sent.round_trip);
    }
}

#[test]
fn where_both_report_each_hears_of_the_whole_way() {
    let (mut bench, _, _) = Bench::with_clock();
    let (report, next) = bench.next_report(1, 0);
    let ours = word(&report, 4);
    let middle = word(&report, 8) << 16 | word(&report, 12) >> 16;
    let reported = bench.now;
    let [a_out, _] = bench.both_talk(next);
    bench.consumed(0, &sender_report(0xaaaa, 0x1234_5678));
    let came = bench.now;
    // b answers over a way of 80 ms: it has heard all up to a_out.
    bench.pass(80);
    let highest = u32::from(a_out.sequence);
    let passed = (bench.now - reported).as_millis() as u32;
    let block = [0x4000_0003, highest, 33, middle, units(passed - 80)];
    bench.consumed(1, &receiver_report(0xbbbb, ours, block));
    let heard = u32::from(next);
    let (report, mut next) = bench.next_report(0, next + 1);
    assert_eq!(word(&report, 28), 0xaaaa);
    assert_eq!(word(&report, 32), 0x4000_0003);
    assert_eq!(word(&report, 36), heard, "a's own numbers");
    assert_eq!(word(&report, 40), 33);
    assert_eq!(word(&report, 44), 0x1234_5678);
    let held = (bench.now - came).as_millis() as u32;
    let told = word(&report, 48);
    let expected = units(held - 80);
    assert!(told.abs_diff(expected) <= 3, "{told} instead of {expected}");
    // b says no more: after a while a hears of this hop alone.
    for _ in 0..8 {
        let (report, n) = bench.next_report(0, next);
        next = n;
        if word(&report, 32) == 0 {
            assert_eq!(word(&report, 36), u32::from(next - 1));
            return;
        }
    }
    panic!("an old report is told for ever");
}

#[test]
fn an_echo_reports_on_its_own_hop() {
    let mut bench = Bench::new();
    let leg = bench.open(0, true);
    bench.table.set_remote(bench.now, leg, remote(0));
    let out = bench.relayed(0, Rtp::new(1, 160, 0xaaaa));
    bench.consumed(
        0,
        &receiver_report(0xaaaa, out.ssrc, [0x4000_0003, 1, 33, 0, 0]),
    );
    let report = (0..250)
        .flat_map(|_| bench.step())
        .next()
        .expect("a report");
    assert_eq!(word(&report.payload, 28), 0xaaaa);
    assert_eq!(word(&report.payload, 32), 0);
}

/// Everything that goes to the peers of these legs within 10 s.
fn made(bench: &mut Bench) -> Vec<Transmit> {
    (0..500).flat_map(|_| bench.step()).collect()
}

#[test]
fn nothing_is_reported_before_there_is_media_nor_where_nothing_may_be_sent() {
    let (mut bench, a, b) = Bench::with_clock();
    assert_eq!(made(&mut bench), []);
    bench.both_talk(1);
    let mut hold_of_old = remote(0);
    hold_of_old.rtp = at("0.0.0.0:4000");
    hold_of_old.rtcp = at("0.0.0.0:4001");
    bench.table.set_remote(bench.now, a, hold_of_old);
    let mut without_keys = remote(1);
    without_keys.security = crate::keying::Security::Dtls {
        role: crate::keying::DtlsRole::Server,
        fingerprints: Vec::new(),
    };
    bench.table.set_remote(bench.now, b, without_keys);
    assert_eq!(made(&mut bench), []);
    bench.table.close(a);
    bench.table.close(b);
    assert_eq!(bench.table.next_timeout(), None);
    assert_eq!(bench.table.counters().drops.total(), 0);
}

#[test]
fn a_peer_on_hold_gets_receiver_reports_of_nothing() {
    let (mut bench, _, b) = Bench::with_clock();
    bench.both_talk(1);
    let mut hold = remote(1);
    (hold.send, hold.receive, hold.held) = (false, false, true);
    bench.table.set_remote(bench.now, b, hold);
    let mut to_b: Vec<Transmit> = (0..1500).flat_map(|_| bench.step()).collect();
    to_b.retain(|t| t.to == Some(rtcp_peer(1)));
    assert!(to_b.len() > 3);
    // What was sent before is told once or twice more (RFC 3550 section 6.4).
    assert_eq!(word(&to_b[0].payload, 0), 0x81c8_000c);
    let last = &to_b[to_b.len() - 1].payload;
    assert_eq!(word(last, 0), 0x80c9_0001);
}

#[test]
fn many_legs_wake_their_shard_ten_times_a_second_at_most() {
    let mut bench = Bench::new();
    for n in 0..100 {
        let leg = bench.leg(n);
        bench.table.link(leg, leg);
        bench.relayed(n, Rtp::new(1, 160, n));
    }
    let (start, mut woken, mut made) = (bench.now, 0, 0);
    while let Some(due) = bench.table.next_timeout()
        && due - start < Duration::from_secs(10)
    {
        assert_eq!((due - start).as_millis() % 100, 0);
        bench.now = due;
        bench.table.handle_timeout(due);
        made += bench.transmits().len();
        woken += 1;
    }
    assert!(woken <= 100, "{woken} times");
    assert!((150..=400).contains(&made), "{made} reports");
}

#[test]
fn feedback_goes_on_behind_a_report_of_the_other_leg_and_reports_end_here() {
    let (mut bench, _, b) = Bench::pair();
    let [a_out, b_out] = bench.both_talk(76);
    let lost = b_out.sequence.wrapping_add(1);
    let mut feedback = receiver_report(0xaaaa, b_out.ssrc, [0; 5]);
    feedback.extend(nack(0xaaaa, b_out.ssrc, lost));
    bench.consumed(0, &feedback);
    let passed = bench.transmits();
    assert_eq!(passed.len(), 1);
    assert_eq!(
        (passed[0].port, passed[0].to),
        (MediaPort(3), Some(rtcp_peer(1)))
    );
    let bytes = &passed[0].payload;
    assert_eq!(bytes[..8], words(0x80c9_0001, &[a_out.ssrc]));
    assert_eq!((bytes[9], word(bytes, 12)), (202, a_out.ssrc));
    let name = bench.table.source(b).expect("open").cname;
    assert_eq!(bytes[18..42], *name.as_bytes());
    assert_eq!(bytes[44..], nack(a_out.ssrc, 0xbbbb, 77));
    // A farewell too, but no mere report.
    bench.consumed(0, &words(0x81cb_0001, &[0xaaaa]));
    let passed = bench.transmits();
    assert_eq!(passed[0].payload[44..], words(0x81cb_0001, &[a_out.ssrc]));
    bench.consumed(0, &receiver_report(0xaaaa, b_out.ssrc, [0; 5]));
    assert_eq!(bench.transmits(), []);
}

#[test]
fn muxed_rtcp_is_told_apart_and_leaves_by_the_rtp_port() {
    let (mut bench, a, _) = Bench::pair();
    let mut muxed = remote(0);
    muxed.rtcp_mux = true;
    bench.table.set_remote(bench.now, a, muxed);
    let [a_out, b_out] = bench.both_talk(1);
    let (verdict, _) = bench.send(0, Some(peer(0)), &compound(0xaaaa, b_out.ssrc));
    assert_eq!(verdict, Verdict::Consumed);
    let to = |bench: &mut Bench| {
        let passed = bench.transmits();
        assert_eq!(passed.len(), 1);
        (passed[0].port, passed[0].to)
    };
    assert_eq!(to(&mut bench), (MediaPort(3), Some(rtcp_peer(1))));
    bench.consumed(1, &compound(0xbbbb, a_out.ssrc));
    assert_eq!(to(&mut bench), (MediaPort(0), Some(peer(0))));
    bench.notices();
    bench.consumed(1, &compound(0xbbbb, a_out.ssrc));
    assert_eq!(to(&mut bench), (MediaPort(0), None));
}

#[test]
fn rtcp_counts_from_the_host_of_the_rtp_and_flows_during_hold() {
    let (mut bench, _, b) = Bench::pair();
    let [_, b_out] = bench.both_talk(1);
    let mut hold = remote(1);
    (hold.send, hold.receive, hold.held) = (false, false, true);
    bench.table.set_remote(bench.now, b, hold);
    let feedback = compound(0xaaaa, b_out.ssrc);
    let (verdict, _) = bench.send(1, Some(at("192.0.2.1:777")), &feedback);
    assert_eq!(verdict, Verdict::Consumed);
    assert_eq!(bench.transmits().len(), 1);
    let (verdict, _) = bench.send(1, Some(at("192.0.2.99:4001")), &feedback);
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
    let seeds = [Rtp::new(2, 160, 0xaaaa).bytes(), compound(0xaaaa, 0xbbbb)];
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
        while bench.table.poll_transmit().is_some() {}
    }
}
