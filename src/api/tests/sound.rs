//! What is played, keyed, turned and recorded, as the shards are asked for it.

use super::assets::wav;
use super::*;
use crate::call::request::{
    CallError, DialStep, Digit, KeyTiming, PlaySource, Repeat, SoundRequest, Stream, Tone, Turned,
    VoiceChange,
};
use crate::ids::{PlayId, RecordingId, RoomKey};

pub fn lobby() -> RoomKey {
    RoomKey {
        app: AppId::new("acme"),
        name: Arc::from("lobby"),
    }
}

pub fn in_lobby(call: CallId, state: CallState) -> CallReply {
    let stream = Stream {
        room: lobby(),
        peer: Arc::from("phone"),
        record: false,
    };
    CallReply::Call(Box::new(CallSnapshot {
        state,
        stream: Some(stream),
        ended_ms: None,
        end_reason: None,
        ..*snapshot(call, "acme")
    }))
}

/// A gateway whose calls talk in the lobby, and whose shards refuse what
/// `refuse` says.
pub async fn talking(refuse: Option<CallError>) -> Gateway {
    Gateway::with(settings(), Vec::new(), move |request| match request {
        CallRequest::Call(call) => Some(in_lobby(*call, CallState::Active)),
        CallRequest::Sound(request) => Some(match (&refuse, request) {
            (Some(error), _) => CallReply::Refused(error.clone()),
            (None, SoundRequest::Turn { change, .. }) => CallReply::Turned(Turned {
                muted: change.muted.unwrap_or(false),
                gain_db: change.gain_db.unwrap_or(0.0),
                heard_by: change.heard_by.clone().flatten(),
                deafened: false,
            }),
            (
                None,
                SoundRequest::Record { .. }
                | SoundRequest::PauseRecording { .. }
                | SoundRequest::StopRecording { .. },
            ) => CallReply::Recording(RecordingId(0xfeed)),
            (None, _) => CallReply::Done,
        }),
        _ => None,
    })
    .await
}

impl Gateway {
    pub async fn next_sound(&mut self) -> SoundRequest {
        soon("a request about sound", async {
            loop {
                match self.seen.recv().await {
                    Some(CallRequest::Sound(request)) => return request,
                    Some(_) => {}
                    None => panic!("the shards are gone"),
                }
            }
        })
        .await
    }
}

pub fn error(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"].as_str().unwrap_or("none"))
}

pub fn message(answer: &(u16, Value)) -> &str {
    answer.1["message"].as_str().unwrap_or("none")
}

#[tokio::test]
async fn an_asset_is_played_to_a_call_as_it_was_asked_for_and_stopped_again() {
    let mut gateway = talking(None).await;
    gateway
        .upload("hello", ACME, "audio/wav", wav(8000, 800, 100))
        .await;
    let (call, token, _) = gateway.dial(json!({})).await;
    let body = json!({"asset": "hello", "repeat": 3, "volume_db": -6.0, "barge_in": true});
    let (status, answer) = gateway
        .post(&format!("/call/{call}/play"), &token, body)
        .await;
    assert_eq!(status, 200, "{answer}");
    let told: PlayId = answer["data"]["play_id"].as_str().unwrap().parse().unwrap();
    let SoundRequest::Play {
        room,
        call: to,
        play,
        source: PlaySource::Clip(clip),
        options,
    } = gateway.next_sound().await
    else {
        panic!("no clip");
    };
    assert_eq!((room, to, play), (lobby(), Some(call), told));
    assert_eq!(clip.duration(), Duration::from_millis(100));
    assert_eq!(options.repeat, Repeat::Times(3));
    assert_eq!((options.gain_db, options.barge_in), (-6.0, true));

    let path = format!("/call/{call}/play/{told}");
    assert_eq!(
        gateway.delete(&path, &token).await,
        (200, json!({"status": true}))
    );
    let SoundRequest::StopPlay {
        room,
        call: to,
        play,
    } = gateway.next_sound().await
    else {
        panic!("not stopped");
    };
    assert_eq!((room, to, play), (lobby(), Some(call), told));
    gateway.end().await;
}

#[tokio::test]
async fn tones_are_played_to_rooms_once_or_for_ever() {
    let mut gateway = talking(None).await;
    for (word, repeat, tone, expected) in [
        (
            "ringback",
            json!("forever"),
            Tone::RingBackEurope,
            Repeat::Forever,
        ),
        (
            "ringback_us",
            json!(0),
            Tone::RingBackNorthAmerica,
            Repeat::Forever,
        ),
        ("busy", json!(null), Tone::BusyEurope, Repeat::Once),
        ("busy_us", json!(1), Tone::BusyNorthAmerica, Repeat::Once),
        (
            "beep",
            json!(1000),
            Tone::RecordingBeep,
            Repeat::Times(1000),
        ),
    ] {
        let body = json!({"tone": word, "repeat": repeat});
        let answer = gateway.post("/rooms/lobby/play", ACME, body).await;
        assert_eq!(answer.0, 200, "{answer:?}");
        let SoundRequest::Play {
            room,
            call,
            source: PlaySource::Tone(played),
            options,
            ..
        } = gateway.next_sound().await
        else {
            panic!("no tone");
        };
        assert_eq!((room, call, played), (lobby(), None, tone));
        assert_eq!(options.repeat, expected, "{word}");
    }
    let stopped = gateway
        .delete("/rooms/lobby/play/0123456789abcdef", ACME)
        .await;
    assert_eq!(stopped.0, 200);
    let SoundRequest::StopPlay {
        call: None, play, ..
    } = gateway.next_sound().await
    else {
        panic!("not stopped");
    };
    assert_eq!(play, PlayId(0x0123_4567_89ab_cdef));
    gateway.end().await;
}

#[tokio::test]
async fn a_wrong_play_names_the_field_and_what_would_be_right() {
    let gateway = talking(None).await;
    let (call, token, _) = gateway.dial(json!({})).await;
    let beep = |more: Value| {
        let mut body = json!({"tone": "beep"});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    for (body, status, expected) in [
        (json!({}), 400, "asset: is missing; write one of"),
        (
            json!({"asset": "a", "url": "http://x/"}),
            400,
            "asset: has both asset and url",
        ),
        (
            json!({"asset": "a", "tone": "busy"}),
            400,
            "tone: is there beside another sound",
        ),
        (
            json!({"asset": "../a"}),
            400,
            "asset: \"../a\" is no asset's name",
        ),
        (
            json!({"url": "file:///x"}),
            400,
            "url: \"file:///x\" is neither",
        ),
        (
            json!({"tone": "C4"}),
            400,
            "tone: \"C4\" is no tone; write one of ringback, ",
        ),
        (json!({"tone": 4}), 400, "tone: invalid type"),
        (
            beep(json!({"repeat": -1})),
            400,
            "repeat: -1 is not possible; write 1 to 1000",
        ),
        (
            beep(json!({"repeat": 1001})),
            400,
            "repeat: 1001 is not possible",
        ),
        (
            beep(json!({"repeat": "twice"})),
            400,
            "repeat: \"twice\" is not possible",
        ),
        (
            beep(json!({"volume_db": 21})),
            400,
            "volume_db: 21 is out of range; write -60 to 20",
        ),
        (
            beep(json!({"barge_in": "no"})),
            400,
            "barge_in: invalid type",
        ),
        (json!({"asset": "none"}), 404, "there is no asset \"none\""),
        (
            json!({"url": "http://127.0.0.1:1/x.wav"}),
            502,
            "the sound could not be fetched",
        ),
    ] {
        for (path, token) in [
            (format!("/call/{call}/play"), token.as_str()),
            ("/rooms/lobby/play".to_string(), ACME),
        ] {
            let answer = gateway.post(&path, token, body.clone()).await;
            assert_eq!(answer.0, status, "{body}: {answer:?}");
            assert!(message(&answer).contains(expected), "{body}: {answer:?}");
        }
    }
    gateway.end().await;
}

#[tokio::test]
async fn keys_are_sent_with_their_timing_and_waits() {
    let mut gateway = talking(None).await;
    let (call, token, _) = gateway.dial(json!({})).await;
    let path = format!("/call/{call}/dtmf");
    let body = json!({"digits": "1w#d", "duration_ms": 80, "pause_ms": 60});
    let sent = gateway.post(&path, &token, body).await;
    assert_eq!(sent, (200, json!({"status": true})));
    let SoundRequest::Keys {
        room,
        call: to,
        steps,
    } = gateway.next_sound().await
    else {
        panic!("no keys");
    };
    let timing = KeyTiming::new(80, 60).unwrap();
    let one = Digit::number(1).unwrap();
    assert_eq!((room, to), (lobby(), call));
    assert_eq!(
        steps,
        [
            DialStep::Key(one, timing),
            DialStep::Wait(500),
            DialStep::Key(Digit::Pound, timing),
            DialStep::Key(Digit::D, timing),
        ]
    );
    for (body, expected) in [
        (json!({}), "digits: is missing; write 0-9"),
        (json!({"digits": ""}), "digits: is empty"),
        (json!({"digits": "12x"}), "digits: 'x' is no key; write 0-9"),
        (
            json!({"digits": "1".repeat(65)}),
            "digits: are more than 64",
        ),
        (json!({"digits": 1}), "digits: invalid type"),
        (
            json!({"digits": "1", "duration_ms": 39}),
            "duration_ms: a DTMF tone of 39 ms",
        ),
        (
            json!({"digits": "1", "pause_ms": 5001}),
            "pause_ms: a DTMF pause of 5001 ms",
        ),
    ] {
        let answer = gateway.post(&path, &token, body).await;
        assert_eq!(error(&answer), (400, "BAD_REQUEST"));
        assert!(message(&answer).starts_with(expected), "{answer:?}");
    }
    gateway.end().await;
}

#[tokio::test]
async fn a_peer_is_turned_field_by_field_and_its_state_told() {
    let mut gateway = talking(None).await;
    let path = "/rooms/lobby/peers/coach/audio";
    let body = json!({"heard_by": ["agent"], "gain_db": -3});
    let (status, answer) = gateway.post(path, ACME, body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer["data"],
        json!({"muted": false, "deafened": false, "gain_db": -3.0, "heard_by": ["agent"]})
    );
    let SoundRequest::Turn { room, peer, change } = gateway.next_sound().await else {
        panic!("not turned");
    };
    assert_eq!((room, &*peer), (lobby(), "coach"));
    let expected = VoiceChange {
        gain_db: Some(-3.0),
        heard_by: Some(Some(vec![Arc::from("agent")])),
        ..VoiceChange::default()
    };
    assert_eq!(change, expected);
    for (body, expected) in [
        (json!({}), VoiceChange::default()),
        (
            json!({"heard_by": null, "muted": true}),
            VoiceChange {
                muted: Some(true),
                heard_by: Some(None),
                ..VoiceChange::default()
            },
        ),
    ] {
        let answer = gateway.post(path, ACME, body).await;
        assert_eq!(answer.0, 200);
        let SoundRequest::Turn { change, .. } = gateway.next_sound().await else {
            panic!("not turned");
        };
        assert_eq!(change, expected);
    }
    for (body, expected) in [
        (
            json!({"gain_db": -61}),
            "gain_db: -61 is out of range; write -60 to 20 dB",
        ),
        (json!({"muted": 1}), "muted: invalid type"),
        (json!({"heard_by": ["a", ""]}), "heard_by[1]: is empty"),
        (
            json!({"heard_by": vec!["a"; 257]}),
            "heard_by: names more than 256",
        ),
    ] {
        let answer = gateway.post(path, ACME, body).await;
        assert_eq!(error(&answer), (400, "BAD_REQUEST"));
        assert!(message(&answer).starts_with(expected), "{answer:?}");
    }
    gateway.end().await;
}

#[tokio::test]
async fn recordings_of_calls_and_rooms_are_begun_paused_and_ended() {
    let mut gateway = talking(None).await;
    let (call, token, _) = gateway.dial(json!({})).await;
    for (path, token, whose) in [
        (
            format!("/call/{call}/recording"),
            token.as_str(),
            Some(call),
        ),
        ("/rooms/lobby/recording".to_string(), ACME, None),
    ] {
        for action in ["start", "pause", "resume", "stop"] {
            let (status, answer) = gateway.post(&path, token, json!({"action": action})).await;
            assert_eq!(status, 200, "{answer}");
            assert_eq!(
                answer["data"],
                json!({"recording_id": RecordingId(0xfeed).to_string()})
            );
            let asked = match gateway.next_sound().await {
                SoundRequest::Record { call, .. } => ("start", call),
                SoundRequest::PauseRecording {
                    call, paused: true, ..
                } => ("pause", call),
                SoundRequest::PauseRecording {
                    call,
                    paused: false,
                    ..
                } => ("resume", call),
                SoundRequest::StopRecording { call, .. } => ("stop", call),
                other => panic!("{other:?}"),
            };
            assert_eq!(asked, (action, whose));
        }
        for (body, expected) in [
            (json!({}), "action: is missing; write \"start\""),
            (
                json!({"action": "Start"}),
                "action: \"Start\" is not \"start\"",
            ),
        ] {
            let answer = gateway.post(&path, token, body).await;
            assert_eq!(error(&answer), (400, "BAD_REQUEST"));
            assert!(message(&answer).starts_with(expected), "{answer:?}");
        }
    }
    gateway.end().await;
}
