//! The SDK alone, against a gateway inside the page that does as it is told.

use serde_json::json;

use crate::chromium::{Browser, Settings};
use crate::network::{self, Family};
use crate::scene::{BROWSER_HERTZ, IN_ROOM, with_sdk};
use crate::support::Gateway;

/// What the fake gateway's peer says.
const GATEWAY_HERTZ: u32 = 600;

/// A page of the gateway with the SDK and the fake loaded.
fn page() -> (Gateway, Browser) {
    page_of(Family::V4, Browser::hearing(BROWSER_HERTZ))
}

/// The same, and the page has joined.
fn joined() -> (Gateway, Browser) {
    let (gateway, mut browser) = page();
    browser.evaluate(JOIN);
    (gateway, browser)
}

fn page_of(family: Family, settings: Settings) -> (Gateway, Browser) {
    network::enter(family);
    let gateway = Gateway::with().start();
    let mut browser = with_sdk(&gateway, settings);
    browser.evaluate(include_str!("fake_gateway.js"));
    (gateway, browser)
}

/// Joins; the room is `room` on the page and its states are `states`.
const JOIN: &str = "(async () => {
    globalThis.states = [];
    globalThis.room = await sdk.Room.join({
        room: 'r', peer: 'b', token: 't',
        onRoom: (room) => room.on('state', (state) => states.push(state)),
    });
})()";

#[test]
fn a_room_is_joined_heard_muted_and_left() {
    let (_gateway, mut browser) = joined();
    assert_eq!(browser.evaluate("states"), json!(["connected"]));
    browser.assert_hears(IN_ROOM, GATEWAY_HERTZ);
    let theirs = "new MediaStream([fakeGateway.peers.at(-1).getReceivers()[0].track])";
    browser.assert_hears(theirs, BROWSER_HERTZ);
    browser.until("room.levels.input > 0.5 && room.levels.output > 0.5");
    browser.until("room.quality?.rating === 'good' && room.quality.codec === 'opus'");
    browser.evaluate("room.mute()");
    assert_eq!(browser.evaluate("room.levels.input"), json!(0));
    assert_eq!(
        browser.evaluate("room.localStream.getAudioTracks()[0].enabled"),
        json!(false)
    );
    browser.evaluate("room.leave()");
    assert_eq!(
        browser.evaluate("fakeGateway.requests"),
        json!(["POST /rooms/r/peers/b", "DELETE /rooms/r/peers/b/1"])
    );
    assert_eq!(browser.evaluate("room.reason.kind"), json!("left"));
    assert_eq!(
        browser.evaluate("room.localStream.getAudioTracks()[0].readyState"),
        json!("ended")
    );
}

#[test]
fn the_gateway_asks_for_a_new_offer_and_gets_one() {
    let (_gateway, mut browser) = joined();
    browser.evaluate("fakeGateway.events('renegotiate', {})");
    browser.until("fakeGateway.requests.includes('PATCH /rooms/r/peers/b/1')");
    browser.assert_hears(IN_ROOM, GATEWAY_HERTZ);
}

#[test]
fn a_connection_is_restored_by_an_ice_restart() {
    let (_gateway, mut browser) = joined();
    browser.evaluate("room.reconnect()");
    assert_eq!(
        browser.evaluate("[states, fakeGateway.requests]"),
        json!([
            ["connected", "reconnecting", "connected"],
            ["POST /rooms/r/peers/b", "PATCH /rooms/r/peers/b/1"]
        ])
    );
    browser.assert_hears(IN_ROOM, GATEWAY_HERTZ);
}

#[test]
fn a_patch_names_the_ice_session_and_a_restart_any() {
    let (_gateway, mut browser) = joined();
    browser.evaluate("fakeGateway.events('renegotiate', {})");
    browser.until("fakeGateway.matched.length === 1");
    browser.evaluate("room.reconnect()");
    // The answer to another restart was lost: the page learns so, and restarts.
    browser.evaluate(
        "(fakeGateway.next = [412, 'PRECONDITION_FAILED'], fakeGateway.events('renegotiate', {}))",
    );
    browser.until("fakeGateway.matched.length === 4");
    assert_eq!(
        browser.evaluate("fakeGateway.matched"),
        json!(["\"1\"", "*", "\"2\"", "*"])
    );
    browser.assert_hears(IN_ROOM, GATEWAY_HERTZ);
}

#[test]
fn a_peer_the_gateway_has_forgotten_joins_afresh() {
    let (_gateway, mut browser) = joined();
    browser.evaluate("(fakeGateway.next = [404, 'PEER_NOT_FOUND'], room.reconnect())");
    browser.evaluate("fakeGateway.events('left', { reason: 'consent_lost' })");
    browser.until("fakeGateway.peers.length === 3 && room.state === 'connected'");
    browser.assert_hears(IN_ROOM, GATEWAY_HERTZ);
}

#[test]
fn a_refusal_is_an_error_with_the_gateways_code_and_plain_words() {
    let (_gateway, mut browser) = page();
    let refused = browser.evaluate(
        "(fakeGateway.next = [409, 'ROOM_FULL'], sdk.Room.join({ room: 'r', peer: 'b', token: 't' }).catch((error) => \
         [error instanceof sdk.GatewayError, error.code, error.status, sdk.explain(error)]))",
    );
    assert_eq!(
        refused,
        json!([
            true,
            "ROOM_FULL",
            409,
            "Somebody else is already in this call; there is no place left."
        ])
    );
}

#[test]
fn who_is_replaced_by_another_tab_is_told_so() {
    let (_gateway, mut browser) = joined();
    browser.evaluate("fakeGateway.events('left', { reason: 'replaced' })");
    assert_eq!(browser.evaluate("room.reason"), json!({"kind": "replaced"}));
}

#[test]
fn a_room_is_joined_where_there_is_only_ipv6() {
    let (_gateway, mut browser) = page_of(Family::V6, Browser::hearing(BROWSER_HERTZ));
    browser.evaluate(JOIN);
    browser.assert_hears(IN_ROOM, GATEWAY_HERTZ);
}

#[test]
fn who_only_listens_needs_no_microphone_and_offers_mdns_names() {
    let (_gateway, mut browser) = page_of(Family::V4, Browser::hearing(BROWSER_HERTZ).mdns());
    browser.evaluate(
        "sdk.Room.join({ room: 'r', peer: 'b', token: 't', microphone: false })\
         .then((room) => { globalThis.room = room; })",
    );
    browser.until("room.connection.localDescription.sdp.includes('.local ')");
    browser.assert_hears(IN_ROOM, GATEWAY_HERTZ);
}
