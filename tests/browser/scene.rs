//! What most tests begin with: the gateway, a phone and a browser in a network
//! of their own.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::chromium::{self, Browser};
use crate::network::{self, Family, GATEWAY, GATEWAY_V6, PHONE, PHONE_V6, ip};
use crate::support::baresip::Codec;
use crate::support::gateway::{ROOT_SECRET, Settings};
use crate::support::{Baresip, Gateway};

/// What each says.
pub const BROWSER_HERTZ: u32 = 440;
pub const PHONE_HERTZ: u32 = 1000;
/// What a phone records; the analysis skips the beginning.
pub const SECONDS: f64 = 4.0;
/// What the page of a room hears.
pub const IN_ROOM: &str = "room.remoteStream";
/// What the softphone hears.
pub const IN_CALL: &str = "ringwirePhone.session.media.remoteStream";
/// The softphone's own number.
pub const OWN_NUMBER: &str = "1000";
/// Where everybody is who may call it.
pub const NEIGHBOURS: &str = r#"["10.99.0.0/24"]"#;

/// A gateway on a network of this family that is still to be started.
pub fn on_network(family: Family) -> Settings {
    network::enter(family);
    Gateway::with().at(ip(match family {
        Family::V4 => GATEWAY,
        Family::V6 => GATEWAY_V6,
    }))
}

/// A gateway with a number that rings at the softphone.
pub fn with_own_number() -> Gateway {
    on_network(Family::V4)
        .number_from(OWN_NUMBER, NEIGHBOURS, "client_id = \"desk\"")
        .start()
}

/// A phone, 2000, that answers and says its tone.
#[track_caller]
pub fn phone(gateway: &mut Gateway, codec: Codec) -> Baresip {
    phone_with(gateway, "", codec)
}

/// The same with further parameters of its account.
#[track_caller]
pub fn phone_with(gateway: &mut Gateway, account: &str, codec: Codec) -> Baresip {
    let there = match gateway.sip() {
        SocketAddr::V4(_) => PHONE,
        SocketAddr::V6(_) => PHONE_V6,
    };
    let ports = &mut gateway.ports;
    Baresip::start_with(ports, "2000", account, ip(there), codec, PHONE_HERTZ)
}

/// A browser on a page of the gateway with the SDK as `sdk`.
#[track_caller]
pub fn with_sdk(gateway: &Gateway, settings: chromium::Settings) -> Browser {
    let mut browser = settings.start();
    browser.open(&format!("http://{}/sdk/README.md", gateway.http()));
    load_sdk(&mut browser);
    browser
}

/// Loads the SDK into the page there is.
#[track_caller]
pub fn load_sdk(browser: &mut Browser) {
    browser.evaluate("import('/sdk/ringwire.js').then((sdk) => { globalThis.sdk = sdk; })");
}

/// A token for this peer of a room.
#[track_caller]
pub fn token_for(gateway: &Gateway, room: &str, peer: &str) -> String {
    let body = json!({ "room": room, "peer": peer });
    let token = gateway.api().post("/token/room", &body).data()["token"].clone();
    token.as_str().expect("a token").to_owned()
}

/// A token for this peer of the room `talk`.
#[track_caller]
pub fn token(gateway: &Gateway, peer: &str) -> String {
    token_for(gateway, "talk", peer)
}

/// Joins the room `talk` as `peer` with these further options and a token for
/// just that; it is `room` on the page.
#[track_caller]
pub fn join(gateway: &Gateway, browser: &mut Browser, peer: &str, options: &str) {
    join_room(gateway, browser, "talk", peer, options);
}

/// The same in another room.
#[track_caller]
pub fn join_room(gateway: &Gateway, browser: &mut Browser, room: &str, peer: &str, options: &str) {
    let token = token_for(gateway, room, peer);
    browser.evaluate(&format!(
        "sdk.Room.join({{ room: '{room}', peer: '{peer}', token: '{token}', {options} }})\
         .then((room) => {{ globalThis.room = room; }})"
    ));
}

/// Tries to join as `peer`; what the SDK throws as `[code, status]`.
#[track_caller]
pub fn refusal(gateway: &Gateway, browser: &mut Browser, peer: &str) -> Value {
    let token = token(gateway, peer);
    browser.evaluate(&format!(
        "sdk.Room.join({{ room: 'talk', peer: '{peer}', token: '{token}' }})\
         .catch((error) => [error.code, error.status])"
    ))
}

/// Dials the phone into the room `talk` with these further fields.
#[track_caller]
pub fn dial(gateway: &Gateway, phone: &Baresip, fields: &Value) {
    let mut body = json!({
        "sip_server": phone.address().to_string(), "from_number": OWN_NUMBER, "to_number": "2000",
        "streaming": { "room": "talk", "peer": "phone", "record": false },
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    gateway.dial_with(body);
    phone.wait_for("CALL_ESTABLISHED");
}

/// A phone that was dialled into the room `talk`, and a page that may join it.
/// They end in this order.
pub struct Room {
    pub browser: Browser,
    pub phone: Baresip,
    pub gateway: Gateway,
}

impl Room {
    /// The browser is not in yet.
    #[track_caller]
    pub fn with_phone(codec: Codec, browser: chromium::Settings) -> Self {
        let mut gateway = on_network(Family::V4).start();
        let phone = phone(&mut gateway, codec);
        let browser = with_sdk(&gateway, browser);
        dial(&gateway, &phone, &json!({}));
        Self {
            browser,
            phone,
            gateway,
        }
    }

    /// Both are in, and the browser hears the phone.
    #[track_caller]
    pub fn with_both(codec: Codec) -> Self {
        let mut room = Self::with_phone(codec, Browser::hearing(BROWSER_HERTZ));
        join(&room.gateway, &mut room.browser, "browser", "");
        room.browser.assert_hears(IN_ROOM, PHONE_HERTZ);
        room
    }
}

/// Somebody signed in at the softphone page, and a phone to call.
pub struct Desk {
    pub browser: Browser,
    pub phone: Baresip,
    pub gateway: Gateway,
}

impl Desk {
    /// Nobody has called yet.
    #[track_caller]
    pub fn with_phone(codec: Codec) -> Self {
        let mut gateway = with_own_number();
        let phone = phone(&mut gateway, codec);
        let mut browser = Browser::hearing(BROWSER_HERTZ).start();
        sign_in(&gateway, &mut browser, &phone.address().to_string());
        Self {
            browser,
            phone,
            gateway,
        }
    }

    /// The phone calls.
    #[track_caller]
    pub fn being_called(codec: Codec) -> Self {
        let mut desk = Self::with_phone(codec);
        desk.ring();
        desk
    }

    /// The phone calls the page, which rings.
    #[track_caller]
    pub fn ring(&mut self) {
        self.phone.dial(OWN_NUMBER, self.gateway.sip());
        wait_until_ringing(&mut self.browser);
    }

    /// The page has called the phone, and they talk.
    #[track_caller]
    pub fn in_call(codec: Codec) -> Self {
        let mut desk = Self::with_phone(codec);
        call(&mut desk.browser, "2000");
        wait_until_talking(&mut desk.browser);
        desk.browser.assert_hears(IN_CALL, PHONE_HERTZ);
        desk
    }
}

/// Opens the softphone of somebody who dials through `server`.
#[track_caller]
pub fn sign_in(gateway: &Gateway, browser: &mut Browser, server: &str) {
    browser.open(&format!(
        "http://{}/phone/#key={ROOT_SECRET}&server={server}&from={OWN_NUMBER}&client=desk&waiting=true",
        gateway.http()
    ));
    browser.wait_for_text("#presence-text", "Ready for calls");
}

/// Types a number at the softphone, then Enter.
#[track_caller]
pub fn call(browser: &mut Browser, number: &str) {
    browser.fill("#number", number);
    browser.press("Enter");
}

/// Waits until the softphone is in a call whose audio is connected.
#[track_caller]
pub fn wait_until_talking(browser: &mut Browser) {
    browser.wait_for_text("#phase", "Connected");
    browser.until("ringwirePhone.session?.connection === 'connected'");
}

/// Waits for an incoming call at the softphone.
#[track_caller]
pub fn wait_until_ringing(browser: &mut Browser) {
    browser.until("!document.querySelector('#view-incoming').hidden");
}
