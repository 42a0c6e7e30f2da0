//! Dialog and room on different shards: control crosses, media does not.

use ringwire::ids::ShardId;
use ringwire::sip::routing::by_call_id;

use crate::support::placement::room_on;
use crate::support::rtp::RtpPeer;
use crate::support::sip::{SipPeer, pcmu_at};
use crate::support::{Gateway, eventually};

const LOCALHOST: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PCMU: u8 = 0;
const SHARDS: u8 = 2;
/// Enough packets to say that somebody is heard.
const SOME: usize = 10;

/// Calls the number until a Call-ID hashes to this shard; the others are hung
/// up as soon as they are answered.
fn caller_on(
    gateway: &mut Gateway,
    shard: u8,
    number: &str,
    fill: u8,
) -> (SipPeer, RtpPeer, std::net::SocketAddr) {
    let mut caller = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media = RtpPeer::open(&mut gateway.ports, LOCALHOST, fill);
    for _ in 0..64 {
        let mut call = caller.invite(gateway.sip(), number, &pcmu_at(media.address()));
        let answer = caller.expect_answer(&mut call).media_address();
        if by_call_id(call.call_id.as_bytes(), SHARDS) == ShardId(shard) {
            return (caller, media, answer);
        }
        caller.request(&mut call, "BYE", "");
        caller.expect_final("BYE");
        eventually("the room is free again", || {
            let calls = gateway.api().get("/calls").data()["calls"].clone();
            let in_it = |c: &serde_json::Value| c["to_number"] == number && c["state"] == "active";
            let there = calls.as_array()?.iter().filter(|c| in_it(c)).count();
            (there <= usize::from(fill > 0x11)).then_some(())
        });
    }
    panic!("no Call-ID of 64 hashes to shard {shard}");
}

#[test]
fn callers_hear_each_other_wherever_their_dialogs_and_their_room_live() {
    for room in 0..SHARDS {
        let answer = format!(
            r#"answer = {{ room = "{}", peer = "{{call_id}}" }}"#,
            room_on(room, SHARDS)
        );
        let mut gateway = Gateway::with()
            .shards(SHARDS)
            .number("7001", &answer)
            .start();
        // One dialog on the room's own shard, one on the other.
        let (_one, alice, for_alice) = caller_on(&mut gateway, room, "7001", 0x11);
        let (_two, bob, for_bob) = caller_on(&mut gateway, 1 - room, "7001", 0x22);
        alice.talk_to(for_alice, PCMU);
        bob.talk_to(for_bob, PCMU);
        alice.wait_for(SOME, 0x22);
        bob.wait_for(SOME, 0x11);
        let calls = gateway.api().get("/calls").data()["calls"].clone();
        let received: Vec<u64> = calls
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|call| call["media"]["packets_received"].as_u64())
            .collect();
        assert_eq!(received.len(), 2, "{calls}");
        assert!(received.iter().all(|packets| *packets > 0), "{calls}");
    }
}
