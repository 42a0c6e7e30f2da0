//! Recordings of a running gateway: what is in their files, what is told of
//! them, and what is left when the gateway is killed or the disk is full.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::gateway::{ROOT_SECRET, Settings};
use crate::support::hooks::event_name;
use crate::support::mixed_room::{self, Caller, LOCALHOST};
use crate::support::sip::{OurCall, SipPeer};
use crate::support::talker::{Sound, Talker, Talkers};
use crate::support::{Gateway, HookReceiver, WebSocket, eventually};
use ringwire::sound::codec::AudioCodec::Pcmu;

mod actions;
mod endings;
mod sides;
mod timing;

/// What Alice says, who called into the room, in hertz.
const ALICE: u32 = 500;
/// What Bob says, whose call is recorded.
const BOB: u32 = 900;
/// What is said while nothing is to be recorded.
const SECRET: u32 = 1300;
const TONES: [u32; 3] = [ALICE, BOB, SECRET];
/// Samples of a WAV file in a millisecond, of each side.
const WAV_SAMPLES: usize = 16;

/// Peers of one codec in the room `talk`: Alice, and Bob with a call of his
/// own.
struct Scene {
    hook: HookReceiver,
    ws: WebSocket,
    gateway: Gateway,
    _talkers: Talkers,
    alice: Caller,
    /// Kept for the dialog.
    _bobs_sip: (SipPeer, Option<OurCall>),
    bob: Talker,
    /// Where the gateway takes Bob's media.
    for_bob: std::net::SocketAddr,
    /// Bob's call.
    id: String,
}

/// Recordings with each side in a channel, for as long as the disk has room.
fn stereo_wav() -> Settings {
    let table = "[recording]\nformat = \"wav\"\nchannels = \"stereo\"\nminimum_free_mb = 0";
    Gateway::with().table(table)
}

impl Scene {
    /// The gateway calls Bob.
    fn outgoing(settings: Settings, record: bool) -> Scene {
        let scene = Self::quiet(settings, record, &[Sound::Tone(ALICE), Sound::Tone(BOB)]);
        scene.talk();
        scene
    }

    /// The same, and nobody says anything yet.
    fn quiet(settings: Settings, record: bool, [alice, bob]: &[Sound; 2]) -> Scene {
        let hook = HookReceiver::silent();
        let mut gateway = mixed_room::gateway(settings, 1);
        let talkers = Talkers::new();
        let alice = Caller::join_quiet(&mut gateway, &talkers, 0, Pcmu, alice);
        let mut sip = SipPeer::open(&mut gateway.ports, LOCALHOST);
        let bob = talkers.open(&mut gateway.ports, LOCALHOST, Pcmu, bob);
        let call = gateway.dial_with(json!({
            "sip_server": sip.address().to_string(), "from_number": "1000", "to_number": "2000",
            "hook": hook.url(),
            "streaming": { "room": "talk", "peer": "bob", "record": record },
        }));
        let ws = WebSocket::open(&gateway, &call.ws);
        let invite = sip.expect_request("INVITE");
        sip.reply(&invite, 200, "OK", "bob", &bob.description());
        sip.expect_request("ACK");
        Scene {
            hook,
            ws,
            gateway,
            _talkers: talkers,
            alice,
            _bobs_sip: (sip, None),
            bob,
            for_bob: invite.media_address(),
            id: call.id,
        }
    }

    /// Bob calls, and his application lets him in.
    fn incoming(settings: Settings) -> Scene {
        let hook = HookReceiver::answering(json!({
            "action": "Accept", "stream": { "room": "talk", "peer": "bob", "record": true },
        }));
        let settings = settings.number("7100", &format!("hook = \"{}\"", hook.url()));
        let mut gateway = mixed_room::gateway(settings, 1);
        let talkers = Talkers::new();
        let alice = Caller::join_quiet(&mut gateway, &talkers, 0, Pcmu, &Sound::Tone(ALICE));
        let mut sip = SipPeer::open(&mut gateway.ports, LOCALHOST);
        let bob = talkers.open(&mut gateway.ports, LOCALHOST, Pcmu, &Sound::Tone(BOB));
        let mut call = sip.invite(gateway.sip(), "7100", &bob.description());
        let for_bob = sip.expect_answer(&mut call).media_address();
        let arrived = hook.wait_for("notify.arrived");
        let path = arrived.json()["notify"]["arrived"]["call_ws"].clone();
        let scene = Scene {
            ws: WebSocket::open(&gateway, path.as_str().expect("a path")),
            hook,
            gateway,
            _talkers: talkers,
            alice,
            _bobs_sip: (sip, Some(call)),
            bob,
            for_bob,
            id: arrived.call_id(),
        };
        scene.talk();
        scene
    }

    /// Both talk from now on.
    fn talk(&self) {
        self.alice.talker.talk_to(self.alice.target);
        self.bob.talk_to(self.for_bob);
    }

    /// Waits until so many further packets have come to Bob: so much time.
    #[track_caller]
    fn pass(&self, packets: usize) {
        let before = self.bob.heard().len();
        self.bob.wait_for_packets(before + packets);
    }

    #[track_caller]
    fn both_hear_each_other(&self) {
        self.alice.talker.wait_for_tones(&[BOB], &TONES);
        self.bob.wait_for_tones(&[ALICE], &TONES);
    }

    fn room(&self) -> Value {
        self.gateway.api().get("/rooms/talk").data()
    }

    /// Does something to the recording of Bob's call; its id.
    #[track_caller]
    fn record(&self, action: &str) -> String {
        act(
            &self.gateway,
            &format!("/call/{}/recording", self.id),
            action,
        )
    }

    /// The fields of an event of Bob's call, from the hook.
    #[track_caller]
    fn told(&self, event: &str) -> Value {
        let posted = eventually(&format!("{event} at the hook"), || {
            let ends = |name: &str| name.rsplit('.').next() == Some(event);
            let mut posts = self.hook.posts().into_iter();
            posts.find(|post| ends(&event_name(&post.json())))
        });
        assert_eq!(posted.call_id(), self.id);
        let body = posted.json();
        let direction = ["outgoing", "incoming"].map(|name| body[name][event].clone());
        let found = direction.into_iter().find(Value::is_object);
        found.unwrap_or_else(|| panic!("{event} in {body}"))
    }
}

#[track_caller]
fn act(gateway: &Gateway, path: &str, action: &str) -> String {
    let data = gateway
        .api()
        .post(path, &json!({ "action": action }))
        .data();
    let id = data["recording_id"].as_str();
    id.unwrap_or_else(|| panic!("an id in {data}")).to_owned()
}

/// What is kept of a recording, once it is over.
#[track_caller]
fn over(gateway: &Gateway, id: &str) -> Value {
    eventually("the recording is over", || {
        // One that has just begun may not be found yet.
        let reply = gateway.api().get(&format!("/recordings/{id}"));
        let row = (reply.status != 404).then(|| reply.data())?;
        (row["state"] != "recording").then_some(row)
    })
}

/// The file, which is as its row says.
#[track_caller]
fn fetch(gateway: &Gateway, row: &Value) -> Vec<u8> {
    let id = row["recording_id"].as_str().expect("an id");
    let file = gateway
        .api()
        .download(&format!("/recordings/{id}/audio"), &[]);
    assert_eq!(file.status, 200, "{}", String::from_utf8_lossy(&file.bytes));
    let hash = hex::encode(Sha256::digest(&file.bytes));
    assert_eq!(
        (&row["size"], &row["sha256"]),
        (&json!(file.bytes.len()), &json!(hash))
    );
    file.bytes
}

/// The channels of a WAV file of ours.
#[track_caller]
fn channels(wav: &[u8]) -> Vec<Vec<i16>> {
    let word = |at: usize| u16::from_le_bytes([wav[at], wav[at + 1]]);
    assert_eq!(
        (&wav[..4], &wav[8..12], &wav[72..76]),
        (&b"RIFF"[..], &b"WAVE"[..], &b"data"[..])
    );
    let count = usize::from(word(58));
    let samples: Vec<i16> = (80..wav.len() - 1)
        .step_by(2)
        .map(|at| word(at).cast_signed())
        .collect();
    let channel = |n: usize| samples.iter().skip(n).step_by(count).copied().collect();
    (0..count).map(channel).collect()
}

/// A number as a row has it.
#[track_caller]
fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("a number: {value}"))
}

/// An event and a row say the same. The event is proto3 JSON: large numbers are
/// texts, and what is 0, false or empty is left out.
#[track_caller]
fn assert_agree(event: &Value, row: &Value) {
    for field in [
        "recording_id",
        "format",
        "duration_ms",
        "size",
        "sha256",
        "gaps",
        "recovered",
        "reason",
    ] {
        let wanted = match &row[field] {
            Value::Number(number) => json!(number.to_string()),
            Value::Bool(false) => Value::Null,
            Value::Array(list) if list.is_empty() => Value::Null,
            other => other.clone(),
        };
        assert_eq!(event[field], wanted, "{field}: {event}, {row}");
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock").as_millis() as u64
}
