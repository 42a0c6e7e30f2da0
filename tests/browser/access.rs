//! The softphone for who has no mouse, and for who does not see the page.

use serde_json::json;

use crate::chromium::Browser;
use crate::network::{PHONE, ip};
use crate::scene::{
    self, BROWSER_HERTZ, Desk, IN_CALL, OWN_NUMBER, PHONE_HERTZ, call, sign_in, wait_until_ringing,
    wait_until_talking,
};
use crate::support::baresip::Codec;
use crate::support::rtp::RtpPeer;
use crate::support::sip::{SipMessage, SipPeer, pcmu_at};

/// Keeps what a screen reader is given to say, as `announced` on the page.
const LISTEN_TO_ANNOUNCEMENTS: &str = "(() => {
    globalThis.announced = [];
    const live = document.querySelector('[aria-live=polite]');
    new MutationObserver(() => announced.push(live.textContent)).observe(live, { childList: true });
})()";

#[track_caller]
fn wait_until_announced(browser: &mut Browser, text: &str) {
    browser.until(&format!(
        "announced.some((text) => text.startsWith({}))",
        json!(text)
    ));
}

#[track_caller]
fn assert_focus(browser: &mut Browser, id: &str) {
    let focus = browser.evaluate("focused()");
    assert_eq!(
        (&focus["id"], &focus["visible"]),
        (&json!(id), &json!(true)),
        "{focus}"
    );
}

#[test]
fn a_call_is_made_and_ended_by_the_keyboard_alone() {
    let Desk {
        mut browser,
        phone,
        gateway,
    } = Desk::with_phone(Codec::Pcmu);
    browser.evaluate(LISTEN_TO_ANNOUNCEMENTS);
    browser.tab_to("number");
    for key in ["2", "0", "0", "0", "Enter"] {
        browser.press(key);
    }
    wait_until_talking(&mut browser);
    wait_until_announced(&mut browser, "Connected, 2000");
    assert_focus(&mut browser, "hangup");
    browser.assert_hears(IN_CALL, PHONE_HERTZ);

    browser.tab_to("keys");
    browser.press("Enter");
    browser.until("document.querySelector('#keys').ariaExpanded === 'true'");
    // Back over the pad: its last key comes first.
    browser.press("Shift+Tab");
    browser.press("Shift+Tab");
    browser.press("Shift+Tab");
    browser.press("Space");
    browser.press("5");
    let last = "document.querySelector('#typed').textContent";
    assert_eq!(browser.evaluate(last), json!("#5"));
    let first = phone.wait_for("CALL_DTMF_START");
    assert_eq!(first["param"], json!("#"), "{first}");
    browser.press("m");
    browser.until("document.querySelector('#mute').ariaPressed === 'true'");
    wait_until_announced(&mut browser, "Muted");

    browser.press("Escape");
    phone.wait_for("CALL_CLOSED");
    wait_until_announced(&mut browser, "Call ended, 2000");
    assert_focus(&mut browser, "done");
    browser.press("Enter");
    assert_focus(&mut browser, "number");
    gateway.wait_until_idle();
}

#[test]
fn a_call_is_taken_by_the_keyboard_alone() {
    let mut desk = Desk::with_phone(Codec::Pcmu);
    desk.browser.evaluate(LISTEN_TO_ANNOUNCEMENTS);
    desk.browser.tab_to("number");
    desk.ring();
    let Desk {
        mut browser,
        phone,
        gateway,
    } = desk;
    wait_until_announced(&mut browser, "Incoming call, 2000");
    assert_focus(&mut browser, "accept");
    browser.press("Enter");
    wait_until_talking(&mut browser);
    wait_until_announced(&mut browser, "Connected, 2000");
    browser.press("Escape");
    phone.wait_for("CALL_CLOSED");
    gateway.wait_until_idle();
}

#[test]
fn every_state_of_the_page_is_accessible() {
    let mut gateway = scene::with_own_number();
    let mut phone = SipPeer::open(&mut gateway.ports, ip(PHONE));
    let media = RtpPeer::open(&mut gateway.ports, ip(PHONE), 0xd5);
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    browser.open(&format!("http://{}/phone/#key=wrong", gateway.http()));
    browser.wait_for_text("#notice-text", "The key or token is wrong or has expired");
    browser.assert_accessible("a wrong key, the settings open");
    // Else only what is behind the # would be another, and nothing be loaded.
    browser.open("about:blank");
    sign_in(&gateway, &mut browser, &phone.address().to_string());
    browser.assert_accessible("idle");
    for rating in ["good", "fair", "poor", "silent"] {
        browser.evaluate(&format!(
            "import('/phone/view.js').then((view) => {{
                view.$('quality').hidden = false;
                view.showQuality({{ lossPercent: 2, jitterMs: 9, roundTripMs: 8, codec: 'PCMA', rating: '{rating}' }});
            }})"
        ));
        browser.assert_accessible(rating);
    }

    call(&mut browser, "2000");
    let invite = phone.expect_request("INVITE");
    browser.assert_accessible("calling");
    phone.reply(&invite, 180, "Ringing", "phone", "");
    browser.wait_for_text("#phase", "Ringing");
    browser.assert_accessible("ringing");
    phone.reply(&invite, 200, "OK", "phone", &pcmu_at(media.address()));
    phone.expect_request("ACK");
    wait_until_talking(&mut browser);
    browser.assert_accessible("in a call");
    browser.click("#keys");
    browser.click("#keypad-call [data-key='5']");
    browser.press("m");
    browser.assert_accessible("in a call, muted, with the keypad");
    // The audit itself works: this is too pale.
    browser.evaluate("void (document.querySelector('#phase').style.color = '#ccc')");
    assert!(
        browser
            .audit()
            .iter()
            .any(|found| found.contains("color-contrast"))
    );
    browser.evaluate("void (document.querySelector('#phase').style.color = '')");
    browser.click("#hangup");
    let bye = phone.expect_request("BYE");
    phone.reply(&bye, 200, "OK", "phone", "");
    browser.wait_for_text("#phase", "Call ended");
    browser.assert_accessible("after a call");

    browser.press("Shift+Tab");
    assert_focus(&mut browser, "again");
    browser.press("Enter");
    let another = |message: &SipMessage| {
        message.method() == Some("INVITE") && message.header("call-id") != invite.header("call-id")
    };
    let invite = phone.expect("another INVITE", another);
    // The former call's are gone, and so is its button that had the focus.
    assert_eq!(
        browser.evaluate("document.querySelector('#typed').textContent"),
        json!("")
    );
    assert_focus(&mut browser, "hangup");
    phone.reply(&invite, 486, "Busy Here", "busy", "");
    browser.wait_for_text("#phase", "(SIP 486)");
    browser.assert_accessible("after a failure");
    browser.click("#done");

    let mut caller = SipPeer::open(&mut gateway.ports, ip(PHONE));
    let mut incoming = caller.invite(gateway.sip(), OWN_NUMBER, &pcmu_at(media.address()));
    wait_until_ringing(&mut browser);
    browser.assert_accessible("an incoming call");
    caller.request(&mut incoming, "CANCEL", "");
    gateway.wait_until_idle();
}
