//! Browsers in rooms whose sound is made by the gateway: beside a phone that
//! has none of their codecs, and with more than one other.

use serde_json::json;

use crate::chromium::Browser;
use crate::scene::{self, BROWSER_HERTZ, IN_ROOM, PHONE_HERTZ, Room, SECONDS, join};
use crate::support::baresip::Codec;

/// From now on the page offers Opus and nothing else.
pub const OPUS_ALONE: &str = "{
  const { prototype } = RTCPeerConnection;
  const set = prototype.setLocalDescription;
  prototype.setLocalDescription = function (...given) {
    const { codecs } = RTCRtpReceiver.getCapabilities('audio');
    const opus = codecs.filter(({ mimeType }) => mimeType === 'audio/opus');
    for (const transceiver of this.getTransceivers()) transceiver.setCodecPreferences(opus);
    return set.apply(this, given);
  };
}";

/// A phone of one codec and a browser that has Opus only.
#[track_caller]
fn both_hear_the_other(codec: Codec) {
    let Room {
        mut browser,
        mut phone,
        gateway,
    } = Room::with_phone(codec, Browser::hearing(BROWSER_HERTZ));
    browser.evaluate(OPUS_ALONE);
    join(&gateway, &mut browser, "browser", "");
    browser.assert_hears(IN_ROOM, PHONE_HERTZ);
    browser.until("room.quality?.codec === 'opus'");
    phone.wait_until_heard(SECONDS);
    phone.hang_up();
    phone.wait_for("CALL_CLOSED");
    phone.listen().assert_tone(BROWSER_HERTZ);
}

#[test]
fn opus_and_pcmu_hear_each_other() {
    both_hear_the_other(Codec::Pcmu);
}

#[test]
fn opus_and_g722_hear_each_other() {
    both_hear_the_other(Codec::G722);
}

#[test]
fn three_in_a_browser_and_a_phone_hear_each_other() {
    const TONES: [u32; 3] = [450, 620, 810];
    let Room {
        mut browser,
        phone: _phone,
        gateway,
    } = Room::with_phone(Codec::Pcma, Browser::hearing(BROWSER_HERTZ));
    browser.evaluate("void (globalThis.peers = [])");
    for (peer, hertz) in ["anna", "ben", "cleo"].iter().zip(TONES) {
        // A microphone of his own for each.
        browser.evaluate(&format!(
            "void (navigator.mediaDevices.getUserMedia = async () => {{
               const context = new AudioContext();
               await context.resume();
               const tone = new OscillatorNode(context, {{ frequency: {hertz} }});
               const volume = new GainNode(context, {{ gain: 0.15 }});
               const microphone = context.createMediaStreamDestination();
               tone.connect(volume).connect(microphone);
               tone.start();
               return microphone.stream;
             }})"
        ));
        join(&gateway, &mut browser, peer, "");
        browser.evaluate("void peers.push(room)");
    }
    let all: Vec<u32> = TONES.into_iter().chain([PHONE_HERTZ]).collect();
    for (index, own) in TONES.iter().enumerate() {
        let others: Vec<u32> = all.iter().filter(|tone| *tone != own).copied().collect();
        let heard = browser.evaluate(&format!(
            "awaitTone(peers[{index}].remoteStream, {}, 15000, [{own}])",
            json!(others)
        ));
        assert_eq!(heard, json!(true), "{index} hears the others, not himself");
    }
    let refused = scene::refusal(&gateway, &mut browser, "phone");
    assert_eq!(refused[0], json!("PEER_EXISTS"), "a name is taken once");
}
