//! The softphone page, as a user sees it.

use serde_json::Value;

use crate::chromium::Browser;
use crate::network::{self, Family, GATEWAY, PHONE, ip};
use crate::support::baresip::Codec;
use crate::support::gateway::ROOT_SECRET;
use crate::support::{Baresip, Gateway};

pub const BROWSER_HERTZ: u32 = 440;
pub const PHONE_HERTZ: u32 = 1000;

/// A gateway on the network with a number that rings at the page.
pub fn gateway() -> Gateway {
    network::enter(Family::V4);
    Gateway::with()
        .at(ip(GATEWAY))
        .number_from("1000", r#"["10.99.0.0/24"]"#, "client_id = \"desk\"")
        .start()
}

/// The page, signed in, dialling through `server`.
#[track_caller]
pub fn signed_in(gateway: &Gateway, browser: &mut Browser, server: &str) {
    browser.open(&format!(
        "http://{}/phone/#key={ROOT_SECRET}&server={server}&from=1000&client=desk&waiting=true",
        gateway.http()
    ));
    browser.wait_for_text("#presence-text", "Ready for calls");
}

#[track_caller]
pub fn call(browser: &mut Browser, number: &str) {
    browser.fill("#number", number);
    browser.press("Enter");
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
    // The key is kept for as long as the tab is open.
    browser.reload();
    browser.wait_for_text("#presence-text", "Ready");
    browser.evaluate(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))",
    );
    call(&mut browser, "4711");
    browser.wait_for_text("#phase", "does not let this page use the microphone");
    assert_eq!(gateway.calls(), 0, "nobody is called without a microphone");
}
