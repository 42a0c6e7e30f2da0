//! The softphone page, as a user sees it.

use std::path::Path;

use serde_json::{Value, json};

use crate::chromium::Browser;
use crate::network::{self, Family, GATEWAY, PHONE, ip};
use crate::support::baresip::Codec;
use crate::support::gateway::ROOT_SECRET;
use crate::support::{Baresip, Gateway};

const BROWSER_HERTZ: u32 = 440;
const PHONE_HERTZ: u32 = 1000;
/// What the phone records; the analysis skips the beginning.
const SECONDS: f64 = 4.0;
/// What the page hears.
const REMOTE: &str = "ringwirePhone.session.media.remoteStream";

/// A gateway on the network with a number that rings at the page.
fn gateway() -> Gateway {
    network::enter(Family::V4);
    Gateway::with()
        .at(ip(GATEWAY))
        .number_from("1000", r#"["10.99.0.0/24"]"#, "client_id = \"desk\"")
        .start()
}

/// The page, signed in, dialling through `server`.
#[track_caller]
fn signed_in(gateway: &Gateway, browser: &mut Browser, server: &str) {
    browser.open(&format!(
        "http://{}/phone/#key={ROOT_SECRET}&server={server}&from=1000&client=desk&waiting=true",
        gateway.http()
    ));
    browser.wait_for_text("#presence-text", "Ready for calls");
}

#[track_caller]
fn call(browser: &mut Browser, number: &str) {
    browser.fill("#number", number);
    browser.press("Enter");
}

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

#[test]
fn a_number_nobody_has_is_told_in_words() {
    let gateway = gateway();
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    // The gateway itself is the phone server, and knows no such number.
    signed_in(&gateway, &mut browser, &gateway.sip().to_string());
    call(&mut browser, "4711");
    browser.wait_for_text("#phase", "This number does not exist (SIP 404)");
    browser.wait_for_text("#recent", "4711");
    gateway.wait_until_idle();
}

#[test]
fn a_call_to_the_page_is_declined_or_given_up() {
    let mut gateway = gateway();
    let mut phone = Baresip::start(
        &mut gateway.ports,
        "2000",
        ip(PHONE),
        Codec::Pcmu,
        PHONE_HERTZ,
    );
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    signed_in(&gateway, &mut browser, "nowhere.invalid");

    phone.dial("1000", gateway.sip());
    browser.wait_for_text("#incoming-title", "Incoming call");
    browser.until("!document.querySelector('#view-incoming').hidden");
    phone.wait_for("CALL_RINGING");
    browser.press("Escape");
    browser.wait_for_text("#phase", "Declined");
    let closed: Value = phone.wait_for("CALL_CLOSED");
    assert!(
        closed["param"]
            .as_str()
            .is_some_and(|why| why.starts_with("486")),
        "{closed}"
    );
    gateway.wait_until_idle();

    phone.dial("1000", gateway.sip());
    browser.until("!document.querySelector('#view-incoming').hidden");
    phone.hang_up();
    browser.wait_for_text("#phase", "The caller gave up");
    gateway.wait_until_idle();
}

#[test]
fn a_wrong_key_and_a_missing_microphone_are_told_in_words() {
    let gateway = gateway();
    let mut browser = Browser::hearing(BROWSER_HERTZ).no_microphone().start();
    let page = format!("http://{}/phone/", gateway.http());
    browser.open(&format!("{page}#key=wrong&from=1000"));
    browser.wait_for_text("#notice-text", "The key or token is wrong or has expired");

    browser.fill("#key", ROOT_SECRET);
    browser.click("#settings-form .pill");
    browser.wait_for_text("#presence-text", "Ready");
    browser.evaluate(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))",
    );
    call(&mut browser, "4711");
    browser.wait_for_text("#phase", "does not let this page use the microphone");
    assert_eq!(gateway.calls(), 0, "nobody is called without a microphone");
}
