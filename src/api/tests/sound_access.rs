//! Who may work on which sound, what shards refuse, and what rooms tell.

use super::assets::wav;
use super::sound::{error, in_lobby, lobby, message, talking};
use super::*;
use crate::book::SoundSource;
use crate::call::request::{
    AudioSnapshot, CallError, MediaSnapshot, PeerKind, PeerSound, PlaySnapshot, ReceiverStatistics,
    RecordingSnapshot, RoomPeerSnapshot, RoomSnapshot, SoundRequest, Turned,
};
use crate::ids::{PlayId, RecordingId};

/// Every route with a body that it takes.
fn routes(call: CallId) -> [(Method, String, Option<Value>); 8] {
    let tone = Some(json!({"tone": "beep"}));
    let start = Some(json!({"action": "start"}));
    [
        (Method::POST, format!("/call/{call}/play"), tone.clone()),
        (
            Method::DELETE,
            format!("/call/{call}/play/0123456789abcdef"),
            None,
        ),
        (
            Method::POST,
            format!("/call/{call}/dtmf"),
            Some(json!({"digits": "1"})),
        ),
        (
            Method::POST,
            format!("/call/{call}/recording"),
            start.clone(),
        ),
        (Method::POST, "/rooms/lobby/play".to_string(), tone),
        (
            Method::DELETE,
            "/rooms/lobby/play/0123456789abcdef".to_string(),
            None,
        ),
        (Method::POST, "/rooms/lobby/recording".to_string(), start),
        (
            Method::POST,
            "/rooms/lobby/peers/phone/audio".to_string(),
            Some(json!({})),
        ),
    ]
}

#[tokio::test]
async fn a_call_is_for_its_token_and_its_app_and_a_room_for_its_app_alone() {
    let gateway = talking(None).await;
    let (call, token, _) = gateway.dial(json!({})).await;
    let (_, other_token, _) = gateway.dial(json!({})).await;
    let body = json!({"room": "lobby", "peer": "phone"});
    let (_, answer) = gateway.post("/token/room", ACME, body).await;
    let room_token = answer["data"]["token"].as_str().unwrap().to_string();
    for (method, path, body) in routes(call) {
        let of_call = path.starts_with("/call");
        for (who, credential, expected) in [
            ("nobody", "", 401),
            ("a stranger", "wrong", 401),
            ("the app", ACME, 200),
            ("the call", &token, if of_call { 200 } else { 403 }),
            ("another call", &other_token, 403),
            ("a room token", &room_token, 403),
            // Rooms are of their app: root has none of this name, and asks
            // for its own.
            ("another app", ROOT, if of_call { 403 } else { 200 }),
        ] {
            let answer = gateway
                .request(method.clone(), &path, credential, body.clone())
                .await;
            assert_eq!(answer.0, expected, "{method} {path} by {who}: {answer:?}");
        }
    }
    gateway.end().await;
}

#[tokio::test]
async fn what_a_shard_refuses_is_told_in_its_words() {
    for (refused, status, code) in [
        (CallError::UnknownRoom, 404, "ROOM_NOT_FOUND"),
        (CallError::UnknownPeer, 404, "PEER_NOT_FOUND"),
        (CallError::UnknownPlay, 404, "PLAY_NOT_FOUND"),
        (CallError::NotRecording, 404, "RECORDING_NOT_FOUND"),
        (CallError::AlreadyRecording, 409, "ALREADY_RECORDING"),
        (CallError::RecordingOff, 422, "RECORDING_UNAVAILABLE"),
        (CallError::TooManyPlays, 429, "TOO_MANY_PLAYS"),
        (CallError::TooManyKeys, 429, "TOO_MANY_KEYS"),
        (CallError::PeerOnHold, 409, "PEER_ON_HOLD"),
        (
            CallError::RecordingUnavailable("no disk".to_string()),
            503,
            "RECORDING_UNAVAILABLE",
        ),
    ] {
        let gateway = talking(Some(refused)).await;
        let (call, ..) = gateway.dial(json!({})).await;
        for (method, path, body) in routes(call) {
            let answer = gateway.request(method, &path, ACME, body).await;
            assert_eq!(error(&answer), (status, code), "{path}");
        }
        gateway.end().await;
    }
}

#[tokio::test]
async fn a_call_that_nobody_hears_yet_or_any_more_is_in_the_wrong_state() {
    let gateway = Gateway::with(settings(), Vec::new(), |request| match request {
        CallRequest::Call(call) => Some(in_lobby(*call, CallState::Ringing)),
        _ => None,
    })
    .await;
    let (call, token, _) = gateway.dial(json!({})).await;
    for (method, path, body) in routes(call) {
        if !path.starts_with("/call") {
            continue;
        }
        let answer = gateway.request(method, &path, &token, body).await;
        assert_eq!(error(&answer), (409, "WRONG_STATE"), "{path}");
        assert!(
            message(&answer).starts_with("the call is ringing; "),
            "{answer:?}"
        );
    }
    let unknown = format!("/call/{}/dtmf", call_id(0, 7));
    let answer = gateway.post(&unknown, ACME, json!({"digits": "1"})).await;
    assert_eq!(error(&answer), (404, "CALL_NOT_FOUND"));
    let answer = gateway.delete("/rooms/lobby/play/7", ACME).await;
    assert_eq!(error(&answer), (404, "PLAY_NOT_FOUND"));
    gateway.end().await;
}

#[tokio::test]
async fn an_echo_has_no_sound_to_work_on() {
    let gateway = Gateway::with(settings(), Vec::new(), |request| match request {
        CallRequest::Call(call) => Some(CallReply::Call(Box::new(CallSnapshot {
            state: CallState::Active,
            ..*snapshot(*call, "acme")
        }))),
        _ => None,
    })
    .await;
    let (call, token, _) = gateway.dial(json!({})).await;
    let answer = gateway
        .post(
            &format!("/call/{call}/dtmf"),
            &token,
            json!({"digits": "1"}),
        )
        .await;
    assert_eq!(error(&answer), (409, "WRONG_STATE"));
    assert!(message(&answer).contains("echo"), "{answer:?}");
    gateway.end().await;
}

fn loud() -> MediaSnapshot {
    let mut sound = PeerSound {
        level_dbov: -20,
        speaking: true,
        heard: true,
        receiver: ReceiverStatistics::default(),
    };
    sound.receiver.current_delay = Duration::from_millis(40);
    sound.receiver.target_delay = Duration::from_millis(30);
    sound.receiver.lost = 1;
    sound.receiver.late = 2;
    sound.receiver.concealed = Duration::from_secs(1);
    sound.receiver.total = Duration::from_secs(4);
    MediaSnapshot {
        audio: Some(Box::new(AudioSnapshot {
            turned: Turned {
                gain_db: 3.0,
                ..Turned::default()
            },
            sound: Some(sound),
        })),
        ..MediaSnapshot::default()
    }
}

fn loud_json() -> Value {
    json!({
        "muted": false, "deafened": false, "gain_db": 3.0, "heard_by": null,
        "level_dbov": -20, "speaking": true, "heard": true,
        "jitter_buffer": {
            "delay_ms": 40.0, "target_ms": 30.0, "lost": 1, "late": 2, "discarded": 0,
            "recovered": 0, "concealed_share": 0.25,
        },
    })
}

#[tokio::test]
async fn a_room_tells_who_talks_and_what_is_played_and_recorded() {
    let (speaker, silent) = (call_id(0, 1), call_id(0, 2));
    let peer = move |name: &str, call, media| RoomPeerSnapshot {
        peer: Arc::from(name),
        call,
        kind: PeerKind::Sip,
        joined_ms: 5,
        media,
    };
    let gateway = Gateway::with(settings(), Vec::new(), move |request| match request {
        CallRequest::Room(room) => Some(CallReply::Rooms(vec![RoomSnapshot {
            room: room.clone(),
            created_ms: 4,
            mixed: true,
            plays: vec![PlaySnapshot {
                play: PlayId(1),
                call: Some(speaker),
            }],
            recordings: vec![RecordingSnapshot {
                recording: RecordingId(2),
                call: None,
                paused: true,
            }],
            peers: vec![
                peer("loud", speaker, Some(loud())),
                peer("silent", silent, None),
            ],
        }])),
        CallRequest::Call(call) => {
            let CallReply::Call(mut snapshot) = in_lobby(*call, CallState::Active) else {
                return None;
            };
            snapshot.media = Some(loud());
            Some(CallReply::Call(snapshot))
        }
        _ => None,
    })
    .await;
    let (status, answer) = gateway.get("/rooms/lobby", ACME).await;
    assert_eq!(status, 200, "{answer}");
    let room = &answer["data"];
    assert_eq!(room["sound"], "mixed");
    assert_eq!(
        room["plays"],
        json!([{"play_id": "0000000000000001", "call_id": speaker.to_string()}])
    );
    assert_eq!(
        room["recordings"],
        json!([{"recording_id": RecordingId(2).to_string(), "call_id": null, "paused": true}])
    );
    assert_eq!(room["peers"][0]["audio"], loud_json());
    assert_eq!(room["peers"][1]["audio"], Value::Null);
    let (call, ..) = gateway.dial(json!({})).await;
    let (_, answer) = gateway.get(&format!("/call/{call}"), ACME).await;
    assert_eq!(answer["data"]["audio"], loud_json());
    gateway.end().await;
}

#[tokio::test]
async fn an_accepted_callers_room_gets_the_sounds_of_the_number() {
    let mut gateway = talking(None).await;
    gateway
        .upload("hold", ACME, "audio/wav", wav(8000, 800, 100))
        .await;
    let mut called = number("200", "acme");
    called.hold_music = Some(SoundSource::Asset(Arc::from("hold")));
    called.ringback = Some(SoundSource::Asset(Arc::from("none")));
    called.client_id = Some("desk".to_string());
    let call = call_id(1, 3);
    gateway.event(call, "acme", arrival(called)).await;
    gateway.settled().await;
    let body = json!({"action": "Accept", "stream": {"room": "lobby", "peer": "phone"}});
    let path = format!("/call/incoming/{call}/action");
    assert_eq!(gateway.post(&path, ACME, body).await.0, 200);
    gateway.event(call, "acme", CallEventKind::Accepted).await;
    let SoundRequest::Wait {
        room,
        call: whose,
        sounds,
    } = gateway.next_sound().await
    else {
        panic!("nobody waits");
    };
    assert_eq!((room, whose), (lobby(), call));
    let (_, clip) = sounds.hold_music.unwrap();
    assert_eq!(clip.duration(), Duration::from_millis(100));
    // What cannot be played is told, and takes nothing else with it.
    assert!(sounds.ringback.is_none());
    let mut socket = gateway
        .socket(&format!("/call/incoming/{call}?token={ACME}&format=json"))
        .await;
    loop {
        let event = socket.json().await;
        if let Some(told) = event["event"]["err"]["message"].as_str() {
            assert!(
                told.starts_with("ringback of the number cannot be played"),
                "{told}"
            );
            break;
        }
    }
    gateway.end().await;
}
