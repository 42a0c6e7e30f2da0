//! The admin panel, as its user sees it: the page comes from the gateway; its
//! API too in the first test, and is `fake_admin.js` in the others, which can be
//! made to misbehave.

use std::path::Path;

use serde_json::{Value, json};

use crate::chromium::Browser;
use crate::network::Family;
use crate::scene::{self, BROWSER_HERTZ};
use crate::support::baresip::Codec;
use crate::support::{Gateway, eventually};

const PASSWORD: &str = "correct horse battery";
/// A markup that would run, were it ever taken as markup.
const MARKUP: &str = "<img src=x onerror=alert(1)>";
/// Every view, with something in it.
const VIEWS: [&str; 15] = [
    "calls",
    "call/c1",
    "numbers",
    "number",
    "number/%2B4930200101",
    "number/601",
    "test?number=%2B4930200100&source=198.51.100.9",
    "apps",
    "records",
    "records/r3",
    "recordings",
    "hooks",
    "hooks/h1",
    "system",
    "password",
];

/// Keeps what the page's policy forbade.
const VIOLATIONS: &str = "globalThis.violations = [];
    addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective))";

/// The page at this place, logged in where `logged_in`.
#[track_caller]
fn panel_at(place: &str, logged_in: bool) -> (Gateway, Browser) {
    let gateway = scene::on_network(Family::V4).start();
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    if logged_in {
        browser.prepare(
            "sessionStorage.getItem('fakeAdmin') ?? sessionStorage.setItem('fakeAdmin', 'in')",
        );
    }
    browser.prepare(include_str!("fake_admin.js"));
    browser.prepare(VIOLATIONS);
    browser.open(&format!("http://{}/admin/#/{place}", gateway.http()));
    (gateway, browser)
}

#[track_caller]
fn panel(place: &str) -> (Gateway, Browser) {
    let (gateway, mut browser) = panel_at(place, true);
    browser.until("document.querySelector('main h1') !== null");
    (gateway, browser)
}

#[track_caller]
fn go(browser: &mut Browser, place: &str) {
    browser.evaluate(&format!("location.hash = {}", json!(format!("#/{place}"))));
    browser.until("document.querySelector('main h1') && !document.querySelector('main .loading')");
}

/// What the page asked the gateway for, changes only.
fn changes(browser: &mut Browser) -> Value {
    browser.evaluate("fakeAdmin.requests.filter((request) => !request.startsWith('GET'))")
}

/// A hook that nobody listens at, so that its events are given up.
const DEAD_HOOK: &str = "http://10.99.0.1:9/calls";

#[test]
fn an_operator_adds_a_number_hangs_a_call_up_finds_its_record_and_retries_a_hook() {
    let mut gateway = scene::on_network(Family::V4)
        .env("RINGWIRE_ADMIN_PASSWORD", PASSWORD)
        .hooks("give_up_s = 1")
        .start();
    let phone = scene::phone(&mut gateway, Codec::Pcma);
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    browser.open(&format!("http://{}/admin/#/numbers", gateway.http()));
    browser.wait_for_text("#login", "Log in");
    browser.fill("#login input[type=password]", PASSWORD);
    browser.press("Enter");

    browser.click("text=Add a number");
    browser.fill("[name=number]", "+49301234567");
    browser.fill("[name=subnets]", "192.0.2.0/24");
    browser.press("Tab");
    browser.click("button:has-text('Add number')");
    browser.wait_for_text("main h1", "+49301234567");
    go(
        &mut browser,
        "test?number=%2B49301234567&source=198.51.100.1",
    );
    browser.wait_for_text(".result", "403");

    scene::dial(&gateway, &phone, &json!({ "hook": DEAD_HOOK }));
    go(&mut browser, "calls");
    browser.click("tr:has-text('2000') button");
    browser.click("dialog .danger");
    phone.wait_for("CALL_CLOSED");
    go(&mut browser, "records?number=2000");
    browser.wait_for_text("main h1", "Call records");
    browser.click("main td.main a");
    browser.wait_for_text("main h1", "Call record");
    browser.wait_for_text("main", "Hung up by the application or here");

    eventually("the hook's events are given up", || {
        let dead = gateway.api().get("/hooks/deliveries?state=dead").data();
        (dead["deliveries"].as_array().map(Vec::len) > Some(0)).then_some(())
    });
    go(&mut browser, "hooks?state=dead");
    browser.wait_for_text("main h1", "Hook deliveries");
    browser.click("main tbody button:has-text('Retry')");
    browser.wait_for_text("#notices", "It is being tried again.");
    go(&mut browser, "system");
    browser.wait_for_text("main", env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_number_is_added_a_call_ended_its_record_found_and_a_hook_tried_again() {
    let (_gateway, mut browser) = panel("numbers");
    browser.click("text=Add a number");
    browser.fill("[name=number]", "+49301234567");
    browser.fill("[name=subnets]", "not-a-network");
    browser.click("button:has-text('Add number')");
    browser.wait_for_text(
        "[data-field=subnets] .problem",
        "is not an address or network",
    );
    assert_eq!(
        browser.evaluate("[document.activeElement.name, document.activeElement.ariaInvalid]"),
        json!(["subnets", "true"])
    );
    browser.fill("[name=subnets]", "192.0.2.0/24");
    browser.press("Tab");
    browser.click("button:has-text('Add number')");
    browser.wait_for_text("#notices", "+49301234567 is in the book");
    browser.wait_for_text("main h1", "+49301234567");
    go(&mut browser, "test?number=%2B49301234567&source=192.0.2.7");
    browser.wait_for_text(".result", "The call would be accepted.");

    go(&mut browser, "calls");
    let row = "tr:has-text('+4915112345678')";
    browser.click(&format!("{row} button"));
    browser.wait_for_text("dialog[open]:not(#login)", "+4915112345678");
    browser.press("Escape");
    browser.until("document.querySelector('dialog[open]') === null");
    assert_eq!(
        changes(&mut browser),
        json!(["POST numbers", "POST numbers", "POST numbers/test"])
    );
    browser.click(&format!("{row} button"));
    browser.click("dialog .danger");
    browser.wait_for_text("#notices", "Hung up +4915112345678");
    browser.until("!document.querySelector('main').textContent.includes('+4915112345678')");

    go(&mut browser, "records?number=%2B4915112345678");
    browser.click("main td.main a");
    browser.wait_for_text("main h1", "Call record");
    browser.until(
        "document.querySelector('main').textContent.includes('Hung up by the application or here')",
    );

    go(&mut browser, "hooks?state=dead");
    browser.wait_for_text("main tbody", "connection refused");
    browser.click("main tbody a");
    browser.wait_for_text("main pre", "\"call_id\": \"r3\"");
    browser.click("button:has-text('Retry')");
    browser.wait_for_text(".sheet-head .badge", "Delivered");
    go(&mut browser, "hooks/h1");
    browser.wait_for_text(".sheet-head button", "Try now");
    browser.click(".sheet-head button:has-text('Drop')");
    browser.click("dialog .danger");
    browser.wait_for_text(".sheet-head .badge", "Given up");
    browser.wait_for_text("main", "dropped by operator");
    assert_eq!(
        browser.evaluate(
            "fakeAdmin.requests.filter((request) => !request.startsWith('GET')).slice(-3)"
        ),
        json!(["DELETE calls/c1", "POST hooks/h2/retry", "DELETE hooks/h1"])
    );
    assert_eq!(browser.evaluate("violations"), json!([]));
}

#[test]
fn an_operator_hears_the_recording_of_a_call_and_deletes_it() {
    let mut gateway = scene::on_network(Family::V4)
        .env("RINGWIRE_ADMIN_PASSWORD", PASSWORD)
        .start();
    let phone = scene::phone(&mut gateway, Codec::Pcma);
    let mut browser = Browser::hearing(BROWSER_HERTZ).start();
    browser.prepare(VIOLATIONS);
    browser.open(&format!("http://{}/admin/#/recordings", gateway.http()));
    browser.wait_for_text("#login", "Log in");
    browser.fill("#login input[type=password]", PASSWORD);
    browser.press("Enter");
    browser.wait_for_text("main", "No recordings yet");

    let recorded = json!({ "room": "talk", "peer": "phone", "record": true });
    scene::dial(&gateway, &phone, &json!({ "streaming": recorded }));
    go(&mut browser, "recordings?room=talk");
    browser.wait_for_text("main tbody", "Recording");
    go(&mut browser, "calls");
    browser.click("tr:has-text('2000') button");
    browser.click("dialog .danger");
    phone.wait_for("CALL_CLOSED");

    go(&mut browser, "recordings?room=talk");
    browser.wait_for_text("main tbody", "Ready");
    browser.click("main tbody button:has-text('Play')");
    // Up to its end, so that all of it was there and was sound.
    browser.until("document.querySelector('main audio').ended");
    assert_eq!(
        browser.evaluate(
            "fetch(document.querySelector('main audio').currentSrc, { headers: { Range: 'bytes=0-3' } })
                .then(async (part) => [part.status, part.headers.get('Content-Type'), await part.text()])"
        ),
        json!([206, "audio/ogg; codecs=opus", "OggS"])
    );

    browser.click("main tbody td a[href^='#/records/']");
    browser.wait_for_text("main h1", "Call record");
    browser.wait_for_text("main tbody", "From it");
    browser.wait_for_text("main .card.flush", "Ready");
    browser.click("main tbody button:has-text('Delete')");
    browser.click("dialog .danger");
    browser.wait_for_text("#notices", "The recording is deleted.");
    browser.until("document.querySelector('main .card.flush') === null");
    go(&mut browser, "recordings");
    browser.wait_for_text("main", "No recordings yet");
    assert_eq!(browser.evaluate("violations"), json!([]));
}

#[test]
fn a_recording_that_cannot_be_played_says_why() {
    let (_gateway, mut browser) = panel("recordings?app=root");
    browser.wait_for_text("main tbody", "lobby");
    browser.wait_for_text("main tbody", "1 · 400 ms");
    browser.click("main tbody button:has-text('Play')");
    browser.wait_for_text("#notices", "The recording has no file.");
    assert_eq!(
        browser.evaluate("document.querySelector('main .player').hidden"),
        json!(true)
    );
    browser.click("main tbody button:has-text('Delete')");
    browser.click("dialog .danger");
    browser.wait_for_text("main", "No recording matches");
    assert_eq!(changes(&mut browser), json!(["DELETE recordings/a3"]));
}

#[test]
fn what_a_caller_or_a_record_says_is_text_and_never_markup() {
    let (_gateway, mut browser) = panel("system");
    browser.evaluate(&format!(
        "(() => {{
            globalThis.ran = false;
            globalThis.alert = () => {{ ran = true; }};
            const text = {};
            fakeAdmin.calls[0].from_number = text;
            fakeAdmin.calls[0].streaming.room = text;
            fakeAdmin.rooms[0].peers[1].peer = text;
            fakeAdmin.records[0].from_number = text;
            fakeAdmin.records[0].error = text;
            Object.assign(fakeAdmin.recordings[2], {{ room: text, peer: text, upload_error: text }});
            fakeAdmin.numbers[0] = {{ ...fakeAdmin.numbers[0], number: text, hook: text, ignored: text }};
            fakeAdmin.apps[2].app_id = text;
            Object.assign(fakeAdmin.deliveries[0], {{ event: text, last_error: text, last_response: text, url: text }});
            fakeAdmin.sync.apps.problem = text;
        }})()",
        json!(MARKUP)
    ));
    for place in [
        "calls",
        "call/c1",
        "numbers",
        "apps",
        "records",
        "records/r0",
        "recordings",
        "hooks",
        "hooks/h1",
        "system",
    ] {
        go(&mut browser, place);
        browser.until(&format!(
            "document.querySelector('main').textContent.includes({})",
            json!(MARKUP)
        ));
        assert_eq!(
            browser.evaluate("document.querySelectorAll('main img').length"),
            json!(0),
            "{place}"
        );
    }
    let number: Value = browser.evaluate("encodeURIComponent(fakeAdmin.numbers[0].number)");
    go(
        &mut browser,
        &format!("number/{}", number.as_str().unwrap_or_default()),
    );
    browser.wait_for_text("main h1", MARKUP);
    assert_eq!(browser.evaluate("[ran, violations]"), json!([false, []]));
}

#[test]
fn rows_that_change_leave_focus_and_scroll_alone() {
    let (_gateway, mut browser) = panel("calls");
    browser.evaluate(
        "fakeAdmin.calls.push(...Array.from({ length: 40 }, (_, index) => \
         ({ ...fakeAdmin.calls[0], call_id: `x${index}`, created_ms: 1000 - index })))",
    );
    browser.evaluate("fakeAdmin.tell()");
    browser.until("document.querySelectorAll('main tbody tr').length === 44");
    browser
        .evaluate("document.querySelectorAll('main tbody tr')[20].querySelector('button').focus()");
    browser.evaluate("globalThis.place = [scrollY, document.activeElement]; document.activeElement.getAttribute('aria-label')");
    browser.evaluate("fakeAdmin.calls.at(-1).media = { ...fakeAdmin.calls.at(-1).media, packets_lost: 5000 }; fakeAdmin.tell()");
    browser.until("[...document.querySelectorAll('main tbody .badge')].some((badge) => badge.dataset.kind === 'poor')");
    assert_eq!(
        browser.evaluate("scrollY === place[0] && document.activeElement === place[1]"),
        json!(true)
    );
}

#[test]
fn an_ended_session_asks_for_the_password_and_goes_on_where_it_was() {
    let (_gateway, mut browser) = panel("number");
    browser.fill("[name=number]", "+49309999999");
    browser.fill("[name=subnets]", "192.0.2.0/24");
    browser.evaluate("fakeAdmin.expire()");
    browser.click("button:has-text('Add number')");
    browser.wait_for_text("#login", "Your session has ended");
    browser.press("Escape");
    browser.fill("#login input[type=password]", "wrong");
    browser.press("Enter");
    browser.wait_for_text("#login", "This is not the password.");
    browser.fill("#login input[type=password]", PASSWORD);
    browser.press("Enter");
    // What had been sent is sent again, and nothing that was typed is lost.
    browser.wait_for_text("main h1", "+49309999999");
    assert_eq!(
        browser.evaluate("document.querySelector('#login').open"),
        json!(false)
    );
}

#[test]
fn a_new_gateway_is_set_up_with_its_setup_code() {
    let (_gateway, mut browser) = panel_at("apps", false);
    browser.wait_for_text("#login", "Log in");
    browser.prepare("fakeAdmin.setupNeeded = true");
    browser.reload();
    browser.wait_for_text("#login", "Set up this gateway");
    browser.assert_accessible("setup");
    browser.fill("[name=code]", "654321");
    browser.fill("[name=password]", "long enough, this");
    browser.fill("[name=again]", "something else");
    browser.press("Enter");
    browser.wait_for_text("[data-field=again] .problem", "The two passwords differ");
    browser.fill("[name=again]", "long enough, this");
    browser.press("Enter");
    browser.wait_for_text("[data-field=code] .problem", "This is not the code");
    browser.fill("[name=code]", "123456");
    browser.press("Enter");
    browser.wait_for_text("main h1", "Apps");
    browser.click("button:has-text('New app')");
    browser.fill("[name=app_id]", "acme");
    browser.fill("[name=max_calls]", "20");
    browser.press("Enter");
    browser.until("document.querySelector('dialog .secret')?.value === 'secret-shown-once'");
    browser.press("Escape");
    browser.click("text=I have kept it");
    browser.wait_for_text("main tbody", "acme");
    let shown = "document.documentElement.outerHTML.includes('secret-shown-once')";
    assert_eq!(browser.evaluate(shown), json!(false));
}

#[test]
fn what_is_old_is_said_to_be_until_the_gateway_is_back() {
    let (_gateway, mut browser) = panel("calls");
    browser.wait_for_text("#fresh-text", "Live");
    browser.evaluate("fakeAdmin.reachable = false");
    browser.wait_for_text("#fresh-text", "Stale since ");
    browser.wait_for_text("main tbody", "+4915112345678");
    browser.evaluate("fakeAdmin.reachable = true");
    browser.wait_for_text("#fresh-text", "Live");
}

#[test]
fn every_view_is_accessible_and_fits_a_telephone() {
    let (_gateway, mut browser) = panel("calls");
    browser.wait_for_text("#fresh-text", "Live");
    let pictures = std::env::temp_dir().join("ringwire-panel");
    std::fs::create_dir_all(&pictures).expect("a directory for pictures");
    let picture = |size: &str, view: &str| -> std::path::PathBuf {
        Path::new(&pictures).join(format!(
            "{size}-{}.png",
            view.split(['/', '?']).next().unwrap_or(view)
        ))
    };
    for view in VIEWS {
        browser.resize(1280, 800);
        go(&mut browser, view);
        browser.screenshot(&picture("desk", view));
        browser.assert_accessible(view);
        browser.resize(390, 844);
        browser.screenshot(&picture("phone", view));
        let fits = browser.evaluate("document.documentElement.scrollWidth <= innerWidth");
        assert_eq!(fits, json!(true), "{view} is wider than a telephone");
    }
    assert_eq!(browser.evaluate("violations"), json!([]));
}

#[test]
fn the_worse_way_of_a_call_is_the_one_that_is_shown() {
    let (_gateway, mut browser) = panel("calls");
    let mut score = |media: Value| {
        browser.evaluate(&format!(
            "import('/admin/quality.js').then(({{ worst }}) => worst({media})?.mos ?? null)"
        ))
    };
    let media = |mos: Value, remote: Value| {
        json!({
            "packets_received": 100, "packets_lost": 0, "mos": mos,
            "packets_sent": 100, "remote_packets_lost": 0, "remote_mos": remote,
        })
    };
    assert_eq!(score(media(json!(4.2), json!(3.1))), json!(3.1));
    assert_eq!(score(media(json!(2.9), json!(null))), json!(2.9));
    assert_eq!(score(media(json!(null), json!(null))), json!(null));
}
