//! The described API, `/docs/`, on a phone.

use serde_json::json;

use crate::chromium::Browser;
use crate::network::Family;
use crate::scene::{self, BROWSER_HERTZ};

/// Whether the page is as wide as the screen and no wider.
const FITS: &str = "document.documentElement.scrollWidth <= innerWidth";

/// What of the opened operation a reader would have to scroll the page for:
/// text past the edge, unless it is in something that scrolls by itself.
const PAST_THE_EDGE: &str = "[...document.querySelectorAll('details.route[open] *')]
    .filter((one) => !one.closest('.scroll, pre') && one.getBoundingClientRect().right > innerWidth)
    .map((one) => `${one.tagName} ${one.textContent.slice(0, 40)}`)";

/// Columns of text that are too narrow to be read.
const TOO_NARROW: &str = "[...document.querySelectorAll('details.route[open] td, details.route[open] li, details.route[open] p')]
    .filter((one) => one.textContent.trim().length > 40 && one.getBoundingClientRect().width < 120)
    .map((one) => `${one.tagName} ${one.textContent.slice(0, 40)}`)";

#[test]
fn an_operation_is_opened_and_read_on_a_phone_without_scrolling_sideways() {
    let gateway = scene::on_network(Family::V4).start();
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    browser.open(&format!("http://{}/docs/", gateway.http()));
    browser.resize(390, 844);
    browser.wait_for_text("#routes", "/call/outgoing");
    assert_eq!(browser.evaluate(FITS), json!(true), "all closed");
    browser.click("details.route:has-text('/call/outgoing') > summary");
    browser.wait_for_text("details.route[open] .body", "from_number");
    assert_eq!(browser.evaluate(FITS), json!(true), "one opened");
    assert_eq!(browser.evaluate(PAST_THE_EDGE), json!([]));
    assert_eq!(browser.evaluate(TOO_NARROW), json!([]));
    browser
        .evaluate("document.querySelectorAll('details.route').forEach((one) => (one.open = true))");
    browser.until(
        "[...document.querySelectorAll('details.route')].every((one) => one.children.length === 2)",
    );
    assert_eq!(browser.evaluate(FITS), json!(true), "all opened");
    assert_eq!(browser.evaluate(PAST_THE_EDGE), json!([]));
    assert_eq!(browser.evaluate(TOO_NARROW), json!([]));
    browser.assert_accessible("docs on a phone");
}
