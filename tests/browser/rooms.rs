//! Rooms through the SDK, with a phone that a program dialled into them.

use serde_json::{Value, json};

use crate::chromium::Browser;
use crate::network::{self, Family, GATEWAY, GATEWAY_V6, PHONE, PHONE_V6, ip};
use crate::support::baresip::Codec;
use crate::support::{Baresip, Gateway};

const BROWSER_HERTZ: u32 = 440;
const PHONE_HERTZ: u32 = 1000;
/// What the phone records; the analysis skips the beginning.
const SECONDS: f64 = 4.0;

/// A page with the SDK as `sdk`, and a token for this room as `token`.
#[track_caller]
fn page(gateway: &Gateway, browser: &mut Browser, room: &str) {
    let body = json!({ "room": room, "peer": "browser" });
    let token = gateway.api().post("/token/room", &body).data()["token"].clone();
    browser.open(&format!("http://{}/sdk/README.md", gateway.http()));
    browser.evaluate(&format!(
        "import('/sdk/ringwire.js').then((sdk) => {{ globalThis.sdk = sdk; globalThis.token = {token}; }})"
    ));
}

/// Joins as `browser` with these further options; `room` on the page.
#[track_caller]
fn join(browser: &mut Browser, room: &str, options: &str) {
    browser.evaluate(&format!(
        "sdk.Room.join({{ room: '{room}', peer: 'browser', token, {options} }})\
         .then((room) => {{ globalThis.room = room; }})"
    ));
}

/// Dials the phone into room `talk` with these further fields.
#[track_caller]
fn dial(gateway: &Gateway, phone: &Baresip, fields: &Value) {
    let mut body = json!({
        "sip_server": phone.address().to_string(), "from_number": "1000", "to_number": "2000",
        "streaming": { "room": "talk", "peer": "phone", "record": false },
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    gateway.dial_with(body);
    phone.wait_for("CALL_ESTABLISHED");
}

/// Both hear the other: the phone dialled with these account parameters and
/// fields, over this family.
#[track_caller]
fn both_hear_the_other(family: Family, account: &str, fields: &Value) {
    network::enter(family);
    let (here, there) = match family {
        Family::V4 => (GATEWAY, PHONE),
        Family::V6 => (GATEWAY_V6, PHONE_V6),
    };
    let mut gateway = Gateway::with().at(ip(here)).start();
    let mut phone = Baresip::start_with(
        &mut gateway.ports,
        "2000",
        account,
        ip(there),
        Codec::Pcma,
        PHONE_HERTZ,
    );
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    page(&gateway, &mut browser, "talk");
    dial(&gateway, &phone, fields);
    join(&mut browser, "talk", "");
    browser.assert_hears("room.remoteStream", PHONE_HERTZ);
    phone.wait_until_heard(SECONDS);
    phone.hang_up();
    phone.wait_for("CALL_CLOSED");
    phone.listen().assert_tone(BROWSER_HERTZ);
}

#[test]
fn over_ipv6() {
    both_hear_the_other(Family::V6, "", &json!({}));
}

#[test]
fn with_a_phone_that_encrypts_by_sdes() {
    let fields = json!({ "srtp": "required", "srtp_keying": "sdes" });
    both_hear_the_other(Family::V4, ";mediaenc=srtp-mand", &fields);
}

#[test]
fn with_a_phone_that_encrypts_by_dtls() {
    let fields = json!({ "srtp": "required", "srtp_keying": "dtls" });
    both_hear_the_other(Family::V4, ";mediaenc=dtls_srtp", &fields);
}

#[test]
fn a_page_without_a_microphone_listens_from_behind_mdns_names() {
    network::enter(Family::V4);
    let mut gateway = Gateway::with().at(ip(GATEWAY)).start();
    let phone = Baresip::start(
        &mut gateway.ports,
        "2000",
        ip(PHONE),
        Codec::Opus,
        PHONE_HERTZ,
    );
    let mut browser = Browser::hearing(BROWSER_HERTZ).mdns().start();
    page(&gateway, &mut browser, "talk");
    dial(&gateway, &phone, &json!({}));
    join(&mut browser, "talk", "microphone: false");
    browser.until("room.connection.localDescription.sdp.includes('.local ')");
    browser.assert_hears("room.remoteStream", PHONE_HERTZ);
}

#[test]
fn a_full_room_is_refused_and_its_call_goes_on() {
    network::enter(Family::V4);
    let mut gateway = Gateway::with().at(ip(GATEWAY)).start();
    let phone = Baresip::start(
        &mut gateway.ports,
        "2000",
        ip(PHONE),
        Codec::Pcmu,
        PHONE_HERTZ,
    );
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    page(&gateway, &mut browser, "talk");
    dial(&gateway, &phone, &json!({}));
    join(&mut browser, "talk", "");
    let body = json!({ "room": "talk", "peer": "third" });
    let token = gateway.api().post("/token/room", &body).data()["token"].clone();
    let refused = browser.evaluate(&format!(
        "sdk.Room.join({{ room: 'talk', peer: 'third', token: {token} }}).catch((error) => [error.code, error.status])"
    ));
    assert_eq!(refused, json!(["ROOM_FULL", 409]));
    browser.assert_hears("room.remoteStream", PHONE_HERTZ);
}

#[test]
fn key_tones_of_the_phone_are_heard_in_the_browser() {
    network::enter(Family::V4);
    let mut gateway = Gateway::with().at(ip(GATEWAY)).start();
    let mut phone = Baresip::start(
        &mut gateway.ports,
        "2000",
        ip(PHONE),
        Codec::Pcmu,
        PHONE_HERTZ,
    );
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    page(&gateway, &mut browser, "talk");
    dial(&gateway, &phone, &json!({}));
    join(&mut browser, "talk", "");
    browser.assert_hears("room.remoteStream", PHONE_HERTZ);
    // A browser tells a page nothing of telephone-events, it plays them: 770
    // and 1336 Hz for a 5.
    browser.evaluate("void (globalThis.heard = awaitTone(room.remoteStream, [770, 1336], 10000))");
    phone.command("sndcode", "5");
    assert_eq!(browser.evaluate("heard"), json!(true));
}
