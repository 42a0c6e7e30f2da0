//! Talking through the softphone page: tones both ways, reloads, key tones.

use std::path::Path;

use serde_json::json;

use crate::chromium::Browser;
use crate::network::{PHONE, ip};
use crate::page::{BROWSER_HERTZ, PHONE_HERTZ, call, gateway, signed_in};
use crate::support::Baresip;
use crate::support::baresip::Codec;

/// What the phone records; the analysis skips the beginning.
const SECONDS: f64 = 4.0;
/// What the page hears.
const REMOTE: &str = "ringwirePhone.session.media.remoteStream";

/// Waits until the page is in a call whose audio is connected.
#[track_caller]
fn wait_until_talking(browser: &mut Browser) {
    browser.wait_for_text("#phase", "Connected");
    browser.until("ringwirePhone.session?.connection === 'connected'");
}

fn a_call_by_the_page(codec: Codec, name: &str) {
    let mut gateway = gateway();
    let phone = Baresip::start(&mut gateway.ports, "2000", ip(PHONE), codec, PHONE_HERTZ);
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    signed_in(&gateway, &mut browser, &phone.address().to_string());

    call(&mut browser, "2000");
    wait_until_talking(&mut browser);
    browser.assert_hears(REMOTE, PHONE_HERTZ);
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
    let mut gateway = gateway();
    let mut phone = Baresip::start(
        &mut gateway.ports,
        "2000",
        ip(PHONE),
        Codec::Pcma,
        PHONE_HERTZ,
    );
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    signed_in(&gateway, &mut browser, "nowhere.invalid");

    phone.dial("1000", gateway.sip());
    browser.wait_for_text("#incoming-who", "2000");
    phone.wait_for("CALL_RINGING");
    browser.click("#accept");
    wait_until_talking(&mut browser);
    phone.wait_for("CALL_ESTABLISHED");
    browser.assert_hears(REMOTE, PHONE_HERTZ);
    phone.wait_until_heard(SECONDS);
    phone.hang_up();
    browser.wait_for_text("#phase", "The other side hung up");
    gateway.wait_until_idle();

    phone.listen().assert_tone(BROWSER_HERTZ);
}

#[test]
fn a_page_that_is_reloaded_comes_back_to_its_call() {
    let mut gateway = gateway();
    let phone = Baresip::start(
        &mut gateway.ports,
        "2000",
        ip(PHONE),
        Codec::Opus,
        PHONE_HERTZ,
    );
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    signed_in(&gateway, &mut browser, &phone.address().to_string());
    call(&mut browser, "2000");
    wait_until_talking(&mut browser);
    browser.assert_hears(REMOTE, PHONE_HERTZ);

    browser.reload();
    wait_until_talking(&mut browser);
    browser.assert_hears(REMOTE, PHONE_HERTZ);
    assert_eq!(gateway.calls(), 1);
    browser.click("#hangup");
    phone.wait_for("CALL_CLOSED");
    gateway.wait_until_idle();
}

#[test]
fn key_tones_reach_the_phone() {
    let mut gateway = gateway();
    let phone = Baresip::start(
        &mut gateway.ports,
        "2000",
        ip(PHONE),
        Codec::Pcmu,
        PHONE_HERTZ,
    );
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    signed_in(&gateway, &mut browser, &phone.address().to_string());
    call(&mut browser, "2000");
    wait_until_talking(&mut browser);
    browser.assert_hears(REMOTE, PHONE_HERTZ);

    browser.click("#keys");
    browser.click("#keypad-call [data-key='5']");
    browser.press("#");
    let first = phone.wait_for("CALL_DTMF_START");
    assert_eq!(first["param"], json!("5"), "{first}");
    browser.wait_for_text("#typed", "5#");
}
