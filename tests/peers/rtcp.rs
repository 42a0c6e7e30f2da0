//! Reports of the gateway's own, beside a peer that sends none.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::media::pair;
use crate::support::eventually;
use crate::support::gateway::Settings;
use crate::support::rtp::packet;

const PCMU: u8 = 0;
const BOB: u8 = 0x22;
/// Alice's SSRC, and the middle of the NTP time of her sender report.
const ALICE: u32 = 0xa11c_e000;
const MIDDLE: u32 = 0x1234_5678;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn a_peer_beside_one_without_rtcp(settings: Settings) {
    let started = Instant::now();
    let pair = pair(settings);
    let rtcp = SocketAddr::new(pair.for_alice.ip(), pair.for_alice.port() + 1);
    pair.bob.talk_to(pair.for_bob, PCMU);
    // Five of Alice's fifty are lost on their way.
    for n in (1..=50_u16).filter(|n| !(10..15).contains(n)) {
        let bytes = packet(PCMU, n, 160 * u32::from(n), ALICE, 0x11);
        pair.alice.send(pair.for_alice, &bytes);
    }
    let report = [MIDDLE >> 16, MIDDLE << 16, 50 * 160, 45, 45 * 160];
    let report = [&[0x80c8_0006, ALICE][..], &report].concat();
    pair.alice.send_rtcp(rtcp, &words(&report));
    let bobs = pair.alice.wait_for(1, BOB)[0].ssrc;

    // A first one may have been made before anything was there to tell.
    let (report, source) = std::iter::repeat_with(|| pair.alice.expect_rtcp())
        .take(3)
        .find(|(report, _)| report[1] == 200 && report[0] == 0x81)
        .expect("a sender report with a block");
    let came = Instant::now();
    assert_eq!(source, rtcp);
    assert_eq!((word(&report, 0), word(&report, 4)), (0x81c8_000c, bobs));
    let sent = word(&report, 20);
    assert!(sent > 0);
    eventually("what the report counts is heard", || {
        (pair.alice.heard().len() as u32 >= sent).then_some(())
    });
    assert_eq!(word(&report, 24), sent * 160);
    assert_eq!(word(&report, 28), ALICE);
    assert_eq!(word(&report, 32), (5 * 256 / 50) << 24 | 5);
    assert_eq!((word(&report, 36), word(&report, 44)), (50, MIDDLE));

    // Alice answers late, and admits to all but 300 ms of that.
    std::thread::sleep(Duration::from_millis(500));
    let admitted = came.elapsed() - Duration::from_millis(300);
    let middle = word(&report, 8) << 16 | word(&report, 12) >> 16;
    let delay = (admitted.as_micros() << 16) / 1_000_000;
    let answer = [0x81c9_0007, ALICE, bobs, 7, sent, 80, middle, delay as u32];
    pair.alice.send_rtcp(rtcp, &words(&answer));
    let media = eventually("the report is heard", || {
        let media = pair.state()["media"].clone();
        media["round_trip_ms"].is_number().then_some(media)
    });
    let round_trip = media["round_trip_ms"].as_f64().expect("a number");
    let most = started.elapsed().as_secs_f64() * 1000.0;
    assert!((299.9..most).contains(&round_trip), "{media}");
    assert_eq!(media["remote_packets_lost"], 7, "{media}");
    assert_eq!(media["remote_jitter_ms"], 10.0, "{media}");
    // Bob has said nothing.
    let room = pair.gateway.api().get("/rooms/talk").data();
    let peers = room["peers"].as_array().expect("peers");
    let bob = peers.iter().find(|peer| peer["peer"] == "bob");
    let bob = &bob.expect("Bob is in")["media"];
    assert!(bob["packets_received"].as_u64() > Some(0), "{bob}");
    for name in ["round_trip_ms", "remote_packets_lost", "remote_jitter_ms"] {
        assert!(bob[name].is_null(), "{name} in {bob}");
    }
}

on_every_gateway!(
    a_peer_beside_one_without_rtcp_gets_reports_and_is_measured,
    super::a_peer_beside_one_without_rtcp
);
