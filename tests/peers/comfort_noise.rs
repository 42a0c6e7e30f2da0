//! Peers that send comfort noise in place of silence (RFC 3389).

use ringwire::sound::codec::AudioCodec::{Pcma, Pcmu};
use ringwire::sound::comfort_noise::level_of;

use crate::support::gateway::Settings;
use crate::support::mixed_room::{Caller, gateway};
use crate::support::talker::{NOISE, Talkers, assert_one_stream};
use crate::support::{Gateway, eventually};

/// Of the background of who pauses, in -dBov.
const LEVEL: u8 = 45;

/// A second of packets.
const SECOND: usize = 50;

fn a_pause_in_a_mixed_room(settings: Settings) {
    let mut gateway = gateway(settings, 2);
    let talkers = Talkers::new();
    let mut alice = Caller::join(&mut gateway, &talkers, 0, Pcmu, 500);
    let bob = Caller::join(&mut gateway, &talkers, 1, Pcma, 900);
    let offer = alice.talker.description_with_noise();
    let answer = alice.offer(&offer);
    assert!(answer.has_sdp_line(&format!("a=rtpmap:{NOISE} CN/8000")));
    bob.talker.wait_for_tones(&[500], &[500, 900]);
    assert_eq!(gateway.counted("sound_rooms", ""), 1);

    alice.talker.pause(LEVEL);
    bob.talker.wait_for_tones(&[], &[500, 900]);
    bob.talker.forget();
    bob.talker.wait_for_packets(2 * SECOND);
    let heard = bob.talker.heard();
    let level = level_of(&bob.talker.decode(&heard[SECOND..]));
    assert!(level.abs_diff(LEVEL) <= 2, "{level} is not {LEVEL}");
    // What Alice hears goes on meanwhile.
    alice.talker.wait_for_tones(&[900], &[500, 900]);

    alice.talker.talk_to(alice.target);
    bob.talker.wait_for_tones(&[500], &[500, 900]);
    assert_one_stream(&bob.talker.heard(), 8000);
    assert_eq!(gateway.counted("media_drops_total", "unknown_payload"), 0);
}

on_every_gateway!(
    a_peer_that_pauses_in_a_mixed_room_is_heard_as_noise,
    super::a_pause_in_a_mixed_room
);

#[test]
fn comfort_noise_is_relayed_to_who_takes_it_and_to_nobody_else() {
    let mut gateway = gateway(Gateway::with(), 2);
    let talkers = Talkers::new();
    let mut alice = Caller::join(&mut gateway, &talkers, 0, Pcmu, 500);
    let noise = format!("a=rtpmap:{NOISE} CN/8000");
    let offer = alice.talker.description_with_noise();
    assert!(alice.offer(&offer).has_sdp_line(&noise));

    // Bob takes none, so what Alice sends ends at the relay.
    let mut bob = Caller::join(&mut gateway, &talkers, 1, Pcmu, 900);
    bob.talker.wait_for_tones(&[500], &[500, 900]);
    alice.talker.pause(LEVEL);
    eventually("the noise is not passed on", || {
        (gateway.counted("media_drops_total", "codec_not_shared") == 1).then_some(())
    });
    assert_eq!(gateway.counted("sound_rooms", ""), 0, "it is still a relay");
    alice.talker.talk_to(alice.target);

    let offer = bob.talker.description_with_noise();
    assert!(bob.offer(&offer).has_sdp_line(&noise));
    bob.talker.wait_for_tones(&[500], &[500, 900]);
    bob.talker.forget();
    alice.talker.pause(LEVEL);
    eventually("Bob is told of the pause", || {
        let heard = bob.talker.heard();
        let told = heard.iter().find(|packet| packet.payload_type == NOISE)?;
        assert_eq!(told.payload, [LEVEL]);
        Some(())
    });
    assert_one_stream(&bob.talker.heard(), 8000);
    alice.talker.wait_for_tones(&[900], &[500, 900]);
}
