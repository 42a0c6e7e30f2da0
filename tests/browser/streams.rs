//! What a browser hears is one stream, whatever becomes of the phone's: on
//! hold, from elsewhere, or through a bad network.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use crate::chromium::Browser;
use crate::network::{Family, ip};
use crate::scene::{
    self, BROWSER_HERTZ, IN_CALL, IN_ROOM, NEIGHBOURS, OWN_NUMBER, PHONE_HERTZ, Room, join,
    on_network, sign_in, wait_until_ringing, wait_until_talking, with_sdk,
};
use crate::support::baresip::Codec;
use crate::support::relay::{LossyRelay, Weather};
use crate::support::rtp::{RtpPeer, Voice};
use crate::support::sip::{SipPeer, pcmu_at};
use crate::support::{Gateway, eventually};

const PCMU: u8 = 0;
const OTHER_HERTZ: u32 = 600;
/// A stream that begins anew where the former one did not end counts thousands
/// of packets as lost; that so many are missing may happen on a busy machine.
const FEW: i64 = 10;
/// Enough packets to say that somebody is heard.
const SOME: u64 = 25;

/// Where media of phones made by hand is.
fn here() -> IpAddr {
    ip("10.99.0.2")
}

fn there() -> IpAddr {
    ip("10.99.0.3")
}

/// What getStats tells of the audio that comes in.
#[track_caller]
fn inbound(browser: &mut Browser) -> Value {
    browser.evaluate("inbound(room.connection)")
}

#[track_caller]
fn assert_same_stream(before: &Value, after: &Value) {
    assert_eq!(after["streams"], 1, "{after}");
    assert_eq!(after["ssrc"], before["ssrc"], "{before} {after}");
    let lost = |stats: &Value| stats["lost"].as_i64().expect("packetsLost");
    let received = |stats: &Value| stats["received"].as_i64().expect("packetsReceived");
    assert!((lost(after) - lost(before)).abs() < FEW, "{before} {after}");
    assert!(received(after) > received(before), "{before} {after}");
}

#[track_caller]
fn wait_until_held(gateway: &Gateway, held: bool) {
    eventually(&format!("held: {held}"), || {
        let calls = gateway.live_calls();
        (calls.first()?["held"] == held).then_some(())
    });
}

#[test]
fn a_phone_that_holds_and_resumes_stays_one_stream() {
    let mut room = Room::with_both(Codec::Pcma);
    let before = inbound(&mut room.browser);
    for _ in 0..2 {
        room.phone.command("hold", "");
        wait_until_held(&room.gateway, true);
        room.phone.command("resume", "");
        wait_until_held(&room.gateway, false);
        room.browser.assert_hears(IN_ROOM, PHONE_HERTZ);
    }
    assert_same_stream(&before, &inbound(&mut room.browser));
    // The phone records nothing any more once it has held.
    let sent = || room.gateway.live_calls()[0]["media"]["packets_sent"].as_u64();
    let then = sent();
    eventually("the browser's voice goes to the phone again", || {
        (sent() > then.map(|then| then + SOME)).then_some(())
    });
}

#[test]
fn a_phone_whose_media_moves_elsewhere_stays_one_stream() {
    let answer = r#"answer = { room = "talk", peer = "phone" }"#;
    let mut gateway = on_network(Family::V4)
        .number_from("7001", NEIGHBOURS, answer)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, here());
    let first = RtpPeer::saying(&mut gateway.ports, here(), Voice::Tone(PHONE_HERTZ));
    let second = RtpPeer::saying(&mut gateway.ports, there(), Voice::Tone(OTHER_HERTZ));
    let mut browser = with_sdk(&gateway, Browser::hearing(BROWSER_HERTZ));
    let mut call = caller.invite(gateway.sip(), "7001", &pcmu_at(first.address()));
    first.talk_to(caller.expect_answer(&mut call).media_address(), PCMU);
    join(&gateway, &mut browser, "browser", "");
    browser.assert_hears(IN_ROOM, PHONE_HERTZ);
    let before = inbound(&mut browser);

    caller.request(&mut call, "INVITE", &pcmu_at(second.address()));
    let answer = caller.expect_answer(&mut call);
    first.be_quiet();
    second.talk_to(answer.media_address(), PCMU);
    browser.assert_hears(IN_ROOM, OTHER_HERTZ);
    eventually("the browser's voice at the new place", || {
        second.heard().first().cloned()
    });
    assert_same_stream(&before, &inbound(&mut browser));
}

#[test]
fn a_bad_network_of_the_phone_is_told_and_survived() {
    let mut gateway = scene::with_own_number();
    let mut caller = SipPeer::open(&mut gateway.ports, here());
    let phone = RtpPeer::saying(&mut gateway.ports, here(), Voice::Tone(PHONE_HERTZ));
    let front = SocketAddr::new(there(), gateway.ports.pair());
    let weather = Weather {
        loss_percent: 8,
        jitter: Duration::from_millis(50),
    };
    let relay = LossyRelay::at(front, phone.address(), weather, 5);
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    sign_in(&gateway, &mut browser, "nowhere.invalid");

    let mut call = caller.invite(gateway.sip(), OWN_NUMBER, &pcmu_at(relay.address()));
    wait_until_ringing(&mut browser);
    browser.click("#accept");
    caller.expect_answer(&mut call);
    wait_until_talking(&mut browser);
    let back = eventually("the browser's voice", || {
        Some(phone.heard().first()?.source)
    });
    phone.talk_to(back, PCMU);
    // What is concealed is not quite the tone.
    browser.assert_hears_at_least(IN_CALL, PHONE_HERTZ, 0.5, 0.2);
    browser.until(
        "inbound(ringwirePhone.session.media.connection).then(({ streams, lost }) => streams === 1 && lost > 10)",
    );
    browser.until("parseFloat(document.querySelector('#q-loss').textContent) > 1");
    browser.until("['fair', 'poor'].includes(document.querySelector('#rating').textContent)");
    let counted = &gateway.live_calls()[0]["media"]["packets_lost"];
    assert!(counted.as_i64() > Some(0), "{counted}");
    assert!(relay.lost() > 0, "the relay lost nothing");
    browser.wait_for_text("#phase", "Connected");

    caller.request(&mut call, "BYE", "");
    assert_eq!(caller.expect_final("BYE").status(), Some(200));
    browser.wait_for_text("#phase", "The other side hung up");
    gateway.wait_until_idle();
}
