//! Rooms that a relay cannot serve: peers without a codec in common, and more
//! than two. Who hears whom is told by tones; what is sent to a peer stays one
//! stream whether it is relayed or made here.

use ringwire::sound::codec::AudioCodec::{self, G722, Pcma, Pcmu};
use serde_json::json;

use crate::support::baresip::{self, Baresip};
use crate::support::gateway::Settings;
use crate::support::mixed_room::{Caller, LOCALHOST, gateway};
use crate::support::talker::{OPUS, Sound, Talkers, assert_one_stream, payload_type};
use crate::support::{Gateway, eventually};

/// Enough packets to say that a stream goes on.
const PACKETS: usize = 25;

/// Everybody hears everybody but himself.
#[track_caller]
fn all_hear_the_others(callers: &[(&Caller, u32)]) {
    let mut all: Vec<u32> = callers.iter().map(|(_, hertz)| *hertz).collect();
    all.sort_unstable();
    for (caller, own) in callers {
        let others: Vec<u32> = all.iter().filter(|hertz| *hertz != own).copied().collect();
        caller.talker.wait_for_tones(&others, &all);
    }
}

fn two_with_nothing_in_common(settings: Settings) {
    let mut gateway = gateway(settings, 2);
    let talkers = Talkers::new();
    let alice = Caller::join(&mut gateway, &talkers, 0, Pcmu, 500);
    let bob = Caller::join(&mut gateway, &talkers, 1, Pcma, 900);
    all_hear_the_others(&[(&alice, 500), (&bob, 900)]);
    for (caller, codec) in [(&alice, Pcmu), (&bob, Pcma)] {
        let heard = caller.talker.heard();
        assert_one_stream(&heard, 8000);
        let number = payload_type(codec);
        assert!(heard.iter().all(|packet| packet.payload_type == number));
        assert!(heard.iter().all(|packet| packet.source == caller.target));
    }
}

on_every_gateway!(
    two_peers_with_nothing_in_common_hear_each_other,
    super::two_with_nothing_in_common
);

#[test]
fn a_wideband_peer_and_a_narrowband_one_hear_each_other() {
    let mut gateway = gateway(Gateway::with(), 2);
    let talkers = Talkers::new();
    let alice = Caller::join(&mut gateway, &talkers, 0, G722, 500);
    let bob = Caller::join(&mut gateway, &talkers, 1, Pcmu, 900);
    all_hear_the_others(&[(&alice, 500), (&bob, 900)]);
}

/// A phone, baresip, in a room with a hand-made peer of another codec.
#[track_caller]
fn a_phone_beside(account: &str, phone_codec: baresip::Codec, fields: serde_json::Value) {
    let mut gateway = gateway(Gateway::with(), 1);
    let talkers = Talkers::new();
    let alice = Caller::join(&mut gateway, &talkers, 0, Pcmu, 500);
    let ports = &mut gateway.ports;
    let bob = Baresip::start_with(ports, "2000", account, LOCALHOST, phone_codec, 1000);
    let mut body = json!({
        "sip_server": bob.address().to_string(), "from_number": "1000", "to_number": "2000",
        "streaming": { "room": "talk", "peer": "bob", "record": false },
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let call = gateway.dial_with(body);
    bob.wait_for("CALL_ESTABLISHED");
    alice.talker.wait_for_tones(&[1000], &[500, 1000]);
    bob.wait_until_heard(4.0);
    gateway.api().delete(&format!("/call/{}", call.id));
    bob.wait_for("CALL_CLOSED");
    bob.listen().assert_tone(500);
}

#[test]
fn a_phone_with_opus_and_a_peer_with_pcmu_hear_each_other() {
    a_phone_beside("", baresip::Codec::Opus, json!({}));
}

#[test]
fn a_phone_that_encrypts_is_transcoded_too() {
    let fields = json!({ "srtp": "required", "srtp_keying": "sdes" });
    a_phone_beside(";mediaenc=srtp-mand", baresip::Codec::Pcma, fields);
}

#[test]
fn a_third_peer_comes_and_goes_and_the_streams_go_on() {
    let mut gateway = gateway(Gateway::with(), 3);
    let talkers = Talkers::new();
    let alice = Caller::join(&mut gateway, &talkers, 0, Pcmu, 500);
    let bob = Caller::join(&mut gateway, &talkers, 1, Pcmu, 900);
    all_hear_the_others(&[(&alice, 500), (&bob, 900)]);
    assert_eq!(
        gateway.counted("sound_rooms", ""),
        0,
        "two of one codec are a relay"
    );

    let mut carol = Caller::join(&mut gateway, &talkers, 2, OPUS, 1300);
    all_hear_the_others(&[(&alice, 500), (&bob, 900), (&carol, 1300)]);
    assert_eq!(gateway.counted("sound_rooms", ""), 1);

    carol.leave();
    all_hear_the_others(&[(&alice, 500), (&bob, 900)]);
    eventually("the two are relayed again", || {
        (gateway.counted("sound_rooms", "") == 0).then_some(())
    });
    for caller in [&alice, &bob] {
        let before = caller.talker.heard().len();
        caller.talker.wait_for_packets(before + PACKETS);
        assert_one_stream(&caller.talker.heard(), 8000);
    }
}

#[test]
fn a_re_invite_may_change_the_codec() {
    let mut gateway = gateway(Gateway::with(), 2);
    let talkers = Talkers::new();
    let mut alice = Caller::join(&mut gateway, &talkers, 0, Pcmu, 500);
    let bob = Caller::join(&mut gateway, &talkers, 1, Pcma, 900);
    all_hear_the_others(&[(&alice, 500), (&bob, 900)]);

    alice.talker.say(OPUS, &Sound::Tone(700));
    let description = alice.talker.description();
    alice.offer(&description);
    alice.talker.wait_for_tones(&[900], &[500, 700, 900]);
    bob.talker.wait_for_tones(&[700], &[500, 700, 900]);
    // Another codec, another clock, one stream.
    assert_one_stream(&alice.talker.heard(), 48_000);
    assert_one_stream(&bob.talker.heard(), 8000);

    // Then to what Bob has: nothing is to be made here any more.
    alice.talker.say(Pcma, &Sound::Tone(500));
    let description = alice.talker.description();
    alice.offer(&description);
    all_hear_the_others(&[(&alice, 500), (&bob, 900)]);
    eventually("the two are relayed", || {
        (gateway.counted("sound_rooms", "") == 0).then_some(())
    });
    assert_one_stream(&alice.talker.heard(), 48_000);
    assert_one_stream(&bob.talker.heard(), 8000);
}

#[test]
fn a_peer_of_a_mixed_room_on_hold_hears_nothing_and_is_not_heard() {
    let mut gateway = gateway(Gateway::with(), 3);
    let talkers = Talkers::new();
    let mut alice = Caller::join(&mut gateway, &talkers, 0, Pcmu, 500);
    let bob = Caller::join(&mut gateway, &talkers, 1, Pcma, 900);
    let carol = Caller::join(&mut gateway, &talkers, 2, G722, 1300);
    let all = [500, 900, 1300];
    all_hear_the_others(&[(&alice, 500), (&bob, 900), (&carol, 1300)]);

    let held = alice.talker.description_with("a=inactive\r\n");
    alice.offer(&held);
    bob.talker.wait_for_tones(&[1300], &all);
    carol.talker.wait_for_tones(&[900], &all);
    eventually("nothing is sent to Alice", || {
        alice.talker.forget();
        std::thread::sleep(std::time::Duration::from_millis(200));
        alice.talker.heard().is_empty().then_some(())
    });

    let resumed = alice.talker.description();
    alice.offer(&resumed);
    all_hear_the_others(&[(&alice, 500), (&bob, 900), (&carol, 1300)]);
}

#[test]
fn reports_of_a_mixed_room_are_about_our_own_stream() {
    let mut gateway = gateway(Gateway::with(), 2);
    let talkers = Talkers::new();
    let alice = Caller::join(&mut gateway, &talkers, 0, Pcmu, 500);
    let bob = Caller::join(&mut gateway, &talkers, 1, Pcma, 900);
    all_hear_the_others(&[(&alice, 500), (&bob, 900)]);
    let word = |bytes: &[u8], at: usize| {
        u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
    };
    // RFC 3550 section 6.4.1; the first may have been made before both talked.
    let (report, heard) =
        std::iter::repeat_with(|| (alice.talker.expect_rtcp(), alice.talker.heard()))
            .take(3)
            .find(|(report, _)| report[1] == 200 && report[0] == 0x81)
            .expect("a sender report with a block");
    let last = heard.last().expect("a packet");
    assert_eq!(word(&report, 4), last.ssrc, "of the stream that is sent");
    let sent = word(&report, 20);
    let counted = |packets: usize| packets.abs_diff(sent as usize) <= PACKETS;
    assert!(counted(heard.len()), "{sent} of {}", heard.len());
    assert_eq!(word(&report, 24), sent * 160);
    // The clock that the packets have, at the time that is told beside it.
    let behind = word(&report, 16).wrapping_sub(last.timestamp) as i32;
    assert!(behind.abs() < 4000, "{behind} units from the last packet");
    // Alice is heard without loss, in her own numbers.
    assert_eq!(word(&report, 32), 0, "nothing was lost");
}

/// So many in one room, with these codecs in turn, all but some of whom leave.
#[track_caller]
fn crowd(peers: usize, staying: usize, codecs: &[AudioCodec]) {
    const LOUDEST: usize = 6;
    let tones: Vec<u32> = (0..peers as u32).map(|n| 410 + 50 * n).collect();
    // Without optimisation, and beside other tests, the shard may be late.
    let settings = Gateway::with().rtp_ports(2 * peers as u16 + 20);
    let mut gateway = gateway(settings.table("[limits]\nmax_lag_ms = 0"), peers);
    let talkers = Talkers::new();
    let mut callers: Vec<Caller> = Vec::new();
    for (peer, hertz) in tones.iter().enumerate() {
        let codec = codecs[peer % codecs.len()];
        callers.push(Caller::join(&mut gateway, &talkers, peer, codec, *hertz));
    }
    let heard_by = |caller: &Caller, here: &[u32], own: u32, most: usize| {
        let others: Vec<u32> = here.iter().filter(|tone| **tone != own).copied().collect();
        eventually("the others are heard", || {
            let heard = caller.talker.tones_of(here);
            let enough = heard.len() == others.len().min(most)
                || (here.len() > LOUDEST && (LOUDEST - 1..=LOUDEST).contains(&heard.len()));
            (enough && !heard.contains(&own)).then_some(())
        });
    };
    for (caller, own) in callers.iter().zip(&tones) {
        heard_by(caller, &tones, *own, LOUDEST);
    }
    // All but some leave, one after the other.
    for mut caller in callers.split_off(staying) {
        caller.leave();
    }
    let here = &tones[..staying];
    for (caller, own) in callers.iter().zip(here) {
        heard_by(caller, here, *own, LOUDEST);
        let clock = match codecs[(own - 410) as usize / 50 % codecs.len()] {
            AudioCodec::Opus(_) => 48_000,
            _ => 8000,
        };
        assert_one_stream(&caller.talker.heard(), clock);
    }
}

#[test]
fn three_of_one_room_hear_the_others_while_one_leaves() {
    crowd(3, 2, &[G722, OPUS, Pcma]);
}

#[test]
fn eight_of_one_room_hear_the_others_while_some_leave() {
    let narrow = [Pcmu, Pcma, Pcmu, Pcma];
    crowd(8, 5, &[&[G722, OPUS], &narrow[..]].concat());
}

#[test]
fn fifty_of_one_room_hear_the_loudest_while_most_leave() {
    // What a build without optimisation can do beside a browser.
    crowd(50, 4, &[Pcmu, Pcma]);
}
