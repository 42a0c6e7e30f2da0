//! Browsers that join a room of the real gateway: the connection itself, and
//! what happens to it.

use serde_json::json;

use crate::chromium::{Browser, Settings};
use crate::network::Family;
use crate::scene::{BROWSER_HERTZ, join, load_sdk, on_network, token, with_sdk};
use crate::support::{Gateway, eventually};

/// A gateway and a page with the SDK as `sdk`.
fn page(family: Family, settings: Settings) -> (Gateway, Browser) {
    let gateway = on_network(family).start();
    let browser = with_sdk(&gateway, settings);
    (gateway, browser)
}

/// The same with nothing out of the ordinary.
fn usual_page() -> (Gateway, Browser) {
    page(Family::V4, Browser::hearing(BROWSER_HERTZ))
}

/// How many are in room `talk`.
fn peers(gateway: &Gateway) -> usize {
    let reply = gateway.api().get("/rooms/talk");
    match reply.status {
        404 => 0,
        _ => reply.data()["peers"].as_array().map_or(0, Vec::len),
    }
}

#[test]
fn a_browser_joins_and_leaves() {
    let (gateway, mut browser) = usual_page();
    join(&gateway, &mut browser, "anna", "");
    assert_eq!(browser.evaluate("room.state"), json!("connected"));
    assert_eq!(peers(&gateway), 1);
    browser.evaluate("room.leave()");
    assert_eq!(peers(&gateway), 0);
}

#[test]
fn a_browser_joins_over_ipv6() {
    let (gateway, mut browser) = page(Family::V6, Browser::hearing(BROWSER_HERTZ));
    join(&gateway, &mut browser, "anna", "");
    assert_eq!(browser.evaluate("room.state"), json!("connected"));
}

#[test]
fn a_browser_joins_from_behind_mdns_names() {
    let (gateway, mut browser) = page(Family::V4, Browser::hearing(BROWSER_HERTZ).mdns());
    join(&gateway, &mut browser, "anna", "microphone: false");
    browser.until("room.connection.localDescription.sdp.includes('.local ')");
    assert_eq!(browser.evaluate("room.state"), json!("connected"));
}

#[test]
fn a_connection_is_restored_by_an_ice_restart() {
    let (gateway, mut browser) = usual_page();
    join(&gateway, &mut browser, "anna", "");
    let ufrag = "/ice-ufrag:(.*)/.exec(room.connection.remoteDescription.sdp)[1]";
    let before = browser.evaluate(ufrag);
    let connection = "(globalThis.first ??= room.connection) === room.connection";
    browser.evaluate(connection);
    browser.evaluate("room.reconnect()");
    assert_eq!(browser.evaluate("room.state"), json!("connected"));
    assert_ne!(browser.evaluate(ufrag), before);
    assert_eq!(browser.evaluate(connection), json!(true));
    assert_eq!(peers(&gateway), 1);
}

#[test]
fn a_page_that_is_reloaded_replaces_itself() {
    let (gateway, mut browser) = usual_page();
    join(&gateway, &mut browser, "anna", "");
    browser.reload();
    load_sdk(&mut browser);
    join(&gateway, &mut browser, "anna", "");
    assert_eq!(browser.evaluate("room.state"), json!("connected"));
    assert_eq!(peers(&gateway), 1);
}

#[test]
fn who_joins_twice_is_replaced_and_told_so() {
    let (gateway, mut browser) = usual_page();
    join(&gateway, &mut browser, "anna", "");
    browser.evaluate("void (globalThis.first = room)");
    join(&gateway, &mut browser, "anna", "");
    browser.until("first.state === 'closed'");
    assert_eq!(
        browser.evaluate("first.reason"),
        json!({"kind": "replaced"})
    );
    assert_eq!(browser.evaluate("room.state"), json!("connected"));
    assert_eq!(peers(&gateway), 1);
}

#[test]
fn a_third_is_welcome_and_the_two_stay() {
    let (gateway, mut browser) = usual_page();
    join(&gateway, &mut browser, "anna", "");
    browser.evaluate("void (globalThis.first = room)");
    join(&gateway, &mut browser, "ben", "");
    browser.evaluate("void (globalThis.second = room)");
    join(&gateway, &mut browser, "cleo", "");
    assert_eq!(
        browser.evaluate("[first.state, second.state, room.state]"),
        json!(["connected", "connected", "connected"])
    );
    assert_eq!(peers(&gateway), 3);
}

#[test]
fn a_wrong_token_is_refused() {
    let (gateway, mut browser) = usual_page();
    let token = token(&gateway, "ben");
    let refused = browser.evaluate(&format!(
        "Promise.all(['{token}', 'nonsense'].map((token) => sdk.Room.join({{ room: 'talk', peer: 'anna', token }})\
         .catch((error) => error.code)))"
    ));
    assert_eq!(refused, json!(["FORBIDDEN", "UNAUTHORIZED"]));
}

#[test]
fn an_expired_token_is_refused_in_plain_words() {
    let (gateway, mut browser) = usual_page();
    let body = json!({ "room": "talk", "peer": "anna", "ttl": 1 });
    let token = gateway.api().post("/token/room", &body).data()["token"].clone();
    let attempt = format!(
        "sdk.Room.join({{ room: 'talk', peer: 'anna', token: {token} }})\
         .then((room) => room.leave(), (error) => error.code + ': ' + sdk.explain(error))"
    );
    let refused = eventually("the token's end", || {
        browser.evaluate(&attempt).as_str().map(str::to_owned)
    });
    assert_eq!(
        refused,
        "UNAUTHORIZED: The key or token is wrong or has expired. Sign in again."
    );
}

#[test]
fn a_tab_that_is_closed_leaves_its_room() {
    let (gateway, mut browser) = usual_page();
    join(&gateway, &mut browser, "anna", "");
    assert_eq!(peers(&gateway), 1);
    browser.open("about:blank");
    eventually("the room is empty", || (peers(&gateway) == 0).then_some(()));
}

/// Joins by hand, with an offer and an answer that were tampered with; the
/// page keeps what the event stream said in `told`.
#[track_caller]
fn join_tampered(gateway: &Gateway, browser: &mut Browser, offer: &str, answer: &str) {
    let token = token(gateway, "eve");
    browser.evaluate(&format!(
        "(async () => {{
            const pc = new RTCPeerConnection();
            pc.addTransceiver('audio');
            await pc.setLocalDescription();
            const sdp = pc.localDescription.sdp{offer};
            const response = await fetch('/rooms/talk/peers/eve?token={token}', {{
                method: 'POST', headers: {{ 'Content-Type': 'application/sdp' }}, body: sdp }});
            const events = new EventSource(`${{response.headers.get('Location')}}/events?token={token}`);
            globalThis.told = [];
            for (const name of ['state', 'left']) events.addEventListener(name, (e) => told.push(e.data));
            await pc.setRemoteDescription({{ type: 'answer', sdp: (await response.text()){answer} }});
            globalThis.pc = pc;
        }})()"
    ));
}

#[test]
fn a_certificate_that_is_not_the_one_of_the_offer_is_refused() {
    let (gateway, mut browser) = usual_page();
    let other = ".replace(/(a=fingerprint:sha-256 )../g, (all, name) => name + (all.endsWith('00') ? '01' : '00'))";
    join_tampered(&gateway, &mut browser, other, "");
    browser.until("told.some((data) => data.includes('security_failed'))");
    assert_eq!(
        browser.evaluate("told.some((data) => data.includes('connected'))"),
        json!(false)
    );
    assert_eq!(gateway.dropped("dtls_wrong_fingerprint"), 1);
    assert_eq!(peers(&gateway), 0);
}

#[test]
fn checks_with_the_wrong_password_are_counted_and_answered_by_nothing() {
    let (gateway, mut browser) = usual_page();
    let wrong = ".replace(/(a=ice-pwd:).{4}/g, '$1AAAA')";
    join_tampered(&gateway, &mut browser, "", wrong);
    eventually("a refused check", || {
        (gateway.dropped("stun_unauthenticated") > 2).then_some(())
    });
    assert_eq!(
        browser.evaluate("told"),
        json!(["{\"state\":\"connecting\"}"])
    );
    assert_eq!(peers(&gateway), 1);
}
