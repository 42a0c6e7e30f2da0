//! Rooms through the SDK, with a phone that a program dialled into them.

use ringwire::ids::CallId;
use serde_json::{Value, json};

use crate::chromium::Browser;
use crate::network::Family;
use crate::scene::{
    self, BROWSER_HERTZ, IN_ROOM, NEIGHBOURS, PHONE_HERTZ, Room, SECONDS, dial, join, join_room,
    on_network, phone, phone_with, with_sdk,
};
use crate::support::baresip::Codec;
use crate::support::gateway::{Backend, Settings};
use crate::support::placement::room_on;
use crate::support::{Baresip, HookReceiver, HookReply};

/// Both hear the other: the phone dialled with these account parameters and
/// fields.
#[track_caller]
fn both_hear_the_other(settings: Settings, account: &str, fields: &Value) {
    let mut gateway = settings.start();
    let mut phone = phone_with(&mut gateway, account, Codec::Pcma);
    let mut browser = with_sdk(&gateway, Browser::hearing(BROWSER_HERTZ));
    dial(&gateway, &phone, fields);
    join(&gateway, &mut browser, "browser", "");
    both_hear(&mut browser, &mut phone);
}

#[track_caller]
fn both_hear(browser: &mut Browser, phone: &mut Baresip) {
    browser.assert_hears(IN_ROOM, PHONE_HERTZ);
    phone.wait_until_heard(SECONDS);
    phone.hang_up();
    phone.wait_for("CALL_CLOSED");
    phone.listen().assert_tone(BROWSER_HERTZ);
}

#[test]
fn over_ipv6() {
    both_hear_the_other(on_network(Family::V6), "", &json!({}));
}

#[test]
fn with_a_phone_that_encrypts_by_sdes() {
    let fields = json!({ "srtp": "required", "srtp_keying": "sdes" });
    both_hear_the_other(on_network(Family::V4), ";mediaenc=srtp-mand", &fields);
}

#[test]
fn with_a_phone_that_encrypts_by_dtls() {
    let fields = json!({ "srtp": "required", "srtp_keying": "dtls" });
    both_hear_the_other(on_network(Family::V4), ";mediaenc=dtls_srtp", &fields);
}

#[test]
fn with_the_poll_backend() {
    let settings = on_network(Family::V4).backend(Backend::Poll);
    both_hear_the_other(settings, "", &json!({}));
}

#[test]
fn with_dialog_and_room_on_different_shards() {
    const SHARDS: u8 = 2;
    let settings = on_network(Family::V4).shards(SHARDS);
    let elsewhere = |call_id: &str| {
        let call: CallId = call_id.parse().expect("a call_id");
        room_on(1 - call.shard.0, SHARDS)
    };
    let hook = HookReceiver::scripted(move |post| match post.event().as_str() {
        "notify.arrived" => HookReply::json(json!({
            "action": "Accept",
            "stream": { "room": elsewhere(&post.call_id()), "peer": "phone", "record": false },
        })),
        _ => HookReply::nothing(),
    });
    let lines = format!("hook = {:?}\nhook_content_type = \"Json\"", hook.url());
    let mut gateway = settings.number_from("7001", NEIGHBOURS, &lines).start();
    let mut phone = phone(&mut gateway, Codec::Pcma);
    let mut browser = with_sdk(&gateway, Browser::hearing(BROWSER_HERTZ));
    phone.dial("7001", gateway.sip());
    let room = elsewhere(&hook.wait_for("notify.arrived").call_id());
    phone.wait_for("CALL_ESTABLISHED");
    join_room(&gateway, &mut browser, &room, "browser", "");
    both_hear(&mut browser, &mut phone);
}

#[test]
fn a_page_without_a_microphone_listens_from_behind_mdns_names() {
    let Room {
        mut browser,
        phone: _phone,
        gateway,
    } = Room::with_phone(Codec::Opus, Browser::hearing(BROWSER_HERTZ).mdns());
    join(&gateway, &mut browser, "browser", "microphone: false");
    browser.until("room.connection.localDescription.sdp.includes('.local ')");
    browser.assert_hears(IN_ROOM, PHONE_HERTZ);
}

#[test]
fn a_full_room_is_refused_and_its_call_goes_on() {
    let settings = on_network(Family::V4).table("[sound]\nroom_capacity = 2");
    let mut gateway = settings.start();
    let phone = phone(&mut gateway, Codec::Pcmu);
    let mut browser = with_sdk(&gateway, Browser::hearing(BROWSER_HERTZ));
    dial(&gateway, &phone, &json!({}));
    join(&gateway, &mut browser, "browser", "");
    let refused = scene::refusal(&gateway, &mut browser, "third");
    assert_eq!(refused, json!(["ROOM_FULL", 409]));
    browser.assert_hears(IN_ROOM, PHONE_HERTZ);
}

#[test]
fn key_tones_of_the_phone_are_heard_in_the_browser() {
    let mut room = Room::with_both(Codec::Pcmu);
    // A browser tells a page nothing of telephone-events, it plays them: 770
    // and 1336 Hz for a 5.
    room.browser
        .evaluate("void (globalThis.heard = awaitTone(room.remoteStream, [770, 1336], 10000))");
    room.phone.command("sndcode", "5");
    assert_eq!(room.browser.evaluate("heard"), json!(true));
}
