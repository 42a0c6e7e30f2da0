//! The softphone page, as a user sees it.

use serde_json::Value;

use crate::chromium::Browser;
use crate::network::{Family, PHONE, ip};
use crate::scene::{self, BROWSER_HERTZ, Desk, NEIGHBOURS, OWN_NUMBER, call, sign_in};
use crate::support::Gateway;
use crate::support::baresip::Codec;
use crate::support::gateway::ROOT_SECRET;
use crate::support::sip::SipPeer;

#[test]
fn a_number_nobody_has_is_told_in_words() {
    let gateway = scene::with_own_number();
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    // The gateway itself is the phone server, and knows no such number.
    sign_in(&gateway, &mut browser, &gateway.sip().to_string());
    call(&mut browser, "4711");
    browser.wait_for_text("#phase", "This number does not exist (SIP 404)");
    browser.wait_for_text("#recent", "4711");
    gateway.wait_until_idle();
}

#[test]
fn a_call_to_the_page_is_declined_or_given_up() {
    let mut desk = Desk::being_called(Codec::Pcmu);
    desk.browser
        .wait_for_text("#incoming-title", "Incoming call");
    desk.phone.wait_for("CALL_RINGING");
    desk.browser.press("Escape");
    desk.browser.wait_for_text("#phase", "Declined");
    let closed: Value = desk.phone.wait_for("CALL_CLOSED");
    let why = closed["param"].as_str();
    assert!(why.is_some_and(|why| why.starts_with("486")), "{closed}");
    desk.gateway.wait_until_idle();

    desk.ring();
    desk.phone.hang_up();
    desk.browser.wait_for_text("#phase", "The caller gave up");
    desk.gateway.wait_until_idle();
}

/// Opens the page with a wrong key, then gives it the right one.
#[track_caller]
fn sign_in_at_the_second_try(gateway: &Gateway, browser: &mut Browser) {
    browser.open(&format!(
        "http://{}/phone/#key=wrong&from=1000",
        gateway.http()
    ));
    browser.wait_for_text("#notice-text", "The key or token is wrong or has expired");
    browser.fill("#key", ROOT_SECRET);
    browser.click("#settings-form .pill");
    browser.wait_for_text("#presence-text", "Ready");
}

#[test]
fn a_wrong_key_and_a_microphone_that_is_denied_are_told_in_words() {
    let gateway = scene::with_own_number();
    let settings = Browser::hearing(BROWSER_HERTZ).microphone_denied();
    let mut browser = settings.start();
    sign_in_at_the_second_try(&gateway, &mut browser);
    // The key is kept for as long as the tab is open.
    browser.reload();
    browser.wait_for_text("#presence-text", "Ready");
    call(&mut browser, "4711");
    browser.wait_for_text("#phase", "does not let this page use the microphone");
    assert_eq!(gateway.calls(), 0, "nobody is called without a microphone");
}

#[test]
fn a_missing_microphone_and_a_full_room_are_told_in_words() {
    let mut gateway = scene::on_network(Family::V4)
        .number_from(OWN_NUMBER, NEIGHBOURS, "client_id = \"desk\"")
        .table("[sound]\nroom_capacity = 2")
        .start();
    let mut browser = Browser::hearing(BROWSER_HERTZ).microphone_missing().start();
    let phone = SipPeer::open(&mut gateway.ports, ip(PHONE));
    sign_in(&gateway, &mut browser, &phone.address().to_string());
    call(&mut browser, "4711");
    browser.wait_for_text("#phase", "No microphone was found");
    assert_eq!(gateway.calls(), 0, "nobody is called without a microphone");

    // Somebody guessed the room that the page makes up.
    let room = format!("phone-{}", "00".repeat(9));
    for peer in ["one", "two"] {
        gateway.dial(phone.address(), &room, peer);
    }
    browser.evaluate("void (crypto.getRandomValues = (array) => array.fill(0))");
    browser.evaluate(
        "void (navigator.mediaDevices.getUserMedia = async () => new AudioContext().createMediaStreamDestination().stream)",
    );
    browser.click("#again");
    browser.wait_for_text("#phase", "there is no place left");
    assert_eq!(gateway.calls(), 2, "the two stay");
}
