//! Talking through the softphone page: tones both ways, reloads, key tones.

use std::path::Path;

use serde_json::json;

use crate::chromium::Browser;
use crate::scene::{BROWSER_HERTZ, Desk, IN_CALL, PHONE_HERTZ, SECONDS, wait_until_talking};
use crate::support::baresip::Codec;

fn a_call_by_the_page(codec: Codec, name: &str) {
    let Desk {
        mut browser,
        phone,
        gateway,
    } = Desk::in_call(codec);
    phone.wait_until_heard(SECONDS);
    browser.wait_for_text("#q-codec", name);
    browser.until("document.querySelector('#q-rtt').textContent.includes('ms')");
    if let Some(picture) = std::env::var_os("RINGWIRE_SCREENSHOT") {
        browser.screenshot(Path::new(&picture));
    }
    browser.click("#hangup");
    phone.wait_for("CALL_CLOSED");
    browser.wait_for_text("#phase", "Call ended");
    gateway.wait_until_idle();

    phone.listen().assert_tone(BROWSER_HERTZ);
}

#[test]
fn browser_and_phone_hear_each_other_in_pcmu() {
    a_call_by_the_page(Codec::Pcmu, "PCMU");
}

#[test]
fn browser_and_phone_hear_each_other_in_pcma() {
    a_call_by_the_page(Codec::Pcma, "PCMA");
}

#[test]
fn browser_and_phone_hear_each_other_in_g722() {
    a_call_by_the_page(Codec::G722, "G722");
}

#[test]
fn browser_and_phone_hear_each_other_in_opus() {
    a_call_by_the_page(Codec::Opus, "opus");
}

#[test]
fn a_call_to_the_page_is_accepted_and_heard() {
    let Desk {
        mut browser,
        mut phone,
        gateway,
    } = Desk::being_called(Codec::Pcma);
    browser.wait_for_text("#incoming-who", "2000");
    phone.wait_for("CALL_RINGING");
    browser.click("#accept");
    wait_until_talking(&mut browser);
    phone.wait_for("CALL_ESTABLISHED");
    browser.assert_hears(IN_CALL, PHONE_HERTZ);
    phone.wait_until_heard(SECONDS);
    phone.hang_up();
    browser.wait_for_text("#phase", "The other side hung up");
    gateway.wait_until_idle();

    phone.listen().assert_tone(BROWSER_HERTZ);
}

#[test]
fn a_page_that_is_reloaded_comes_back_to_its_call() {
    let mut desk = Desk::in_call(Codec::Opus);
    desk.browser.reload();
    wait_until_talking(&mut desk.browser);
    desk.browser.assert_hears(IN_CALL, PHONE_HERTZ);
    assert_eq!(desk.gateway.calls(), 1);
    desk.browser.click("#hangup");
    desk.phone.wait_for("CALL_CLOSED");
    desk.gateway.wait_until_idle();
}

#[test]
fn key_tones_reach_the_phone() {
    let mut desk = Desk::in_call(Codec::Pcmu);
    desk.browser.click("#keys");
    desk.browser.click("#keypad-call [data-key='5']");
    desk.browser.press("#");
    let first = desk.phone.wait_for("CALL_DTMF_START");
    assert_eq!(first["param"], json!("5"), "{first}");
    desk.browser.wait_for_text("#typed", "5#");
}

/// Waits until the page shows this peer of the call so.
fn wait_for_talker(browser: &mut Browser, peer: &str, talking: bool, text: &str) {
    browser.until(&format!(
        "document.querySelector(\"#talkers [data-peer='{peer}'][data-talking='{talking}']\")\
         ?.textContent === '{text}'"
    ));
}

#[test]
fn the_page_shows_who_talks_and_the_gateway_sends_keys_for_it() {
    let mut desk = Desk::in_call(Codec::Pcmu);
    // Both say a tone all the time.
    wait_for_talker(&mut desk.browser, "phone", true, "phone");
    wait_for_talker(&mut desk.browser, "browser", true, "You");
    // While something is played the room is mixed, and the gateway knows.
    desk.browser
        .evaluate("ringwirePhone.session.call.play({ tone: 'ringback', repeat: Infinity })");
    desk.browser
        .until("ringwirePhone.session.control.info().then((room) => room.sound === 'mixed')");
    wait_for_talker(&mut desk.browser, "phone", true, "phone");
    desk.browser
        .evaluate("ringwirePhone.session.call.sendDtmf('7', { duration: 200 })");
    let first = desk.phone.wait_for("CALL_DTMF_START");
    assert_eq!(first["param"], json!("7"), "{first}");
    let mute = "ringwirePhone.session.control.turn('phone', { muted: true })";
    assert_eq!(
        desk.browser.evaluate(mute),
        json!({ "muted": true, "deafened": false, "gainDb": 0, "heardBy": null })
    );
    wait_for_talker(&mut desk.browser, "phone", false, "phone (muted)");
}
