//! Recordings over REST and as events.

use super::admin::{Browser, refusal};
use super::*;
use crate::ids::RecordingId;
use crate::recording::{Recording, RecordingStart};
use crate::sound::file::{Channels, FileFormat};
use crate::sound::format::SampleRate;
use crate::store::recordings::{self, State};

fn start(call: Option<CallId>, room: &str) -> RecordingStart {
    RecordingStart {
        app: AppId::new("acme"),
        call,
        room: Arc::from(room),
        peer: Arc::from("phone"),
        format: FileFormat::Wav,
        channels: Channels::Mono,
        started_ms: 1_700_000_000_000,
    }
}

impl Gateway {
    fn record(&self, start: RecordingStart) -> Recording {
        let mut recording = self.recordings.recorder().start(start).unwrap();
        for index in 0..50 {
            recording.frame(index, SampleRate::Wide, &[100; 320], None);
        }
        recording
    }

    /// A recording of one second that is over.
    async fn recorded(&self, room: &str) -> RecordingId {
        let recording = self.record(start(None, room));
        let id = recording.id();
        recording.stop(50);
        self.over(id).await;
        id
    }

    async fn over(&self, id: RecordingId) -> Value {
        soon("the recording", async {
            loop {
                let (status, answer) = self.get(&format!("/recordings/{id}"), ACME).await;
                if status == 200 && answer["data"]["state"] != "recording" {
                    return answer["data"].clone();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    /// Status, `Content-Range` and body of the file.
    async fn audio(&self, id: RecordingId, headers: &[(&str, &str)]) -> (u16, String, Vec<u8>) {
        let url = format!("http://{}/recordings/{id}/audio", self.address);
        let mut request = self.http.get(url).bearer_auth(ACME);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = soon("the file", request.send()).await.unwrap();
        let range = response.headers().get("Content-Range");
        let range = range.map(|range| range.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, range.unwrap_or_default(), body.to_vec())
    }
}

#[tokio::test]
async fn a_recording_is_told_of_with_size_and_hash_and_fetched_whole_or_in_parts() {
    let gateway = Gateway::start(Vec::new()).await;
    let id = gateway.recorded("lobby").await;
    let told = gateway.over(id).await;
    assert_eq!(told["state"], "ready");
    assert_eq!(told["duration_ms"], 1_000);
    assert_eq!(told["size"], 32_080);
    let (status, range, whole) = gateway.audio(id, &[]).await;
    assert_eq!((status, range.as_str(), whole.len()), (200, "", 32_080));
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&whole));
    assert_eq!(told["sha256"], hash.as_str());
    let etag = format!("\"{hash}\"");
    let part = ("Range", "bytes=80-179");
    let (status, range, bytes) = gateway.audio(id, &[part]).await;
    assert_eq!((status, range.as_str()), (206, "bytes 80-179/32080"));
    assert!(bytes == whole[80..180]);
    let (status, range, bytes) = gateway.audio(id, &[("Range", "bytes=-10")]).await;
    assert_eq!((status, range.as_str()), (206, "bytes 32070-32079/32080"));
    assert!(bytes == whole[32_070..]);
    let (status, range, bytes) = gateway.audio(id, &[("Range", "bytes=32080-")]).await;
    assert_eq!((status, range.as_str()), (416, "bytes */32080"));
    let problem: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(problem["error"], "RANGE_NOT_SATISFIABLE");
    let same = gateway.audio(id, &[part, ("If-Range", &etag)]).await;
    assert_eq!(same.0, 206);
    let other = gateway.audio(id, &[part, ("If-Range", "\"other\"")]).await;
    assert_eq!((other.0, other.2.len()), (200, 32_080));
    let known = gateway.audio(id, &[("If-None-Match", &etag)]).await;
    assert_eq!((known.0, known.2.len()), (304, 0));
    gateway.end().await;
}

#[tokio::test]
async fn recordings_are_listed_by_room_and_time_a_page_at_a_time() {
    let gateway = Gateway::start(Vec::new()).await;
    let mut lobby = vec![
        gateway.recorded("lobby").await,
        gateway.recorded("lobby").await,
        gateway.recorded("lobby").await,
    ];
    gateway.recorded("hall").await;
    // All began at the same instant: their ids order them, the newest first.
    lobby.sort();
    lobby.reverse();
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/recordings?room=lobby&limit=2&cursor={cursor}");
        let (status, answer) = gateway.get(&path, ACME).await;
        assert_eq!(status, 200, "{answer}");
        for recording in answer["data"]["recordings"].as_array().unwrap() {
            let id = recording["recording_id"].as_str().unwrap();
            found.push(id.parse::<RecordingId>().unwrap());
        }
        match answer["data"]["next"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, lobby);
    for (query, expected) in [
        ("?from=1700000000000", 4),
        ("?from=1700000000001", 0),
        ("?to=1700000000000", 0),
        ("?call_id=1", 0),
    ] {
        let (_, answer) = gateway.get(&format!("/recordings{query}"), ACME).await;
        let count = answer["data"]["recordings"].as_array().unwrap().len();
        assert_eq!(count, expected, "{query}");
    }
    let (status, answer) = gateway.get("/recordings?rom=1", ACME).await;
    assert_eq!(status, 400);
    assert!(answer["message"].as_str().unwrap().starts_with("rom: "));
    gateway.end().await;
}

#[tokio::test]
async fn another_apps_recording_is_as_unknown_as_none() {
    let gateway = Gateway::start(Vec::new()).await;
    let id = gateway.recorded("lobby").await;
    let unknown = RecordingId(7);
    for (id, token) in [(id, ROOT), (unknown, ACME)] {
        for path in [
            format!("/recordings/{id}"),
            format!("/recordings/{id}/audio"),
        ] {
            let (status, answer) = gateway.get(&path, token).await;
            assert_eq!(
                (status, &answer["error"]),
                (404, &json!("RECORDING_NOT_FOUND"))
            );
        }
        let (status, _) = gateway.delete(&format!("/recordings/{id}"), token).await;
        assert_eq!(status, 404);
    }
    let (_, answer) = gateway.get("/recordings", ROOT).await;
    assert_eq!(answer["data"]["recordings"], json!([]));
    let (status, _) = gateway.get(&format!("/recordings/{id}"), "").await;
    assert_eq!(status, 401);
    let (status, _) = gateway
        .get("/recordings/..%2F..%2Fringwire.db/audio", ACME)
        .await;
    assert_eq!(status, 404);
    assert_eq!(gateway.audio(id, &[]).await.0, 200);
    gateway.end().await;
}

#[tokio::test]
async fn a_recording_is_removed_once_it_is_over() {
    let gateway = Gateway::start(Vec::new()).await;
    let recording = gateway.record(start(None, "lobby"));
    let id = recording.id();
    let path = format!("/recordings/{id}");
    soon("the row", async {
        while gateway.get(&path, ACME).await.0 != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (status, answer) = gateway.delete(&path, ACME).await;
    assert_eq!((status, &answer["error"]), (409, &json!("WRONG_STATE")));
    assert_eq!(gateway.audio(id, &[]).await.0, 409);
    recording.stop(50);
    gateway.over(id).await;
    let file = gateway
        .data
        .path()
        .join(format!("recordings/acme/{id}.wav"));
    assert!(file.exists());
    assert_eq!(gateway.delete(&path, ACME).await.0, 200);
    assert!(!file.exists());
    assert_eq!(gateway.delete(&path, ACME).await.0, 404);
    gateway.end().await;
}

#[tokio::test]
async fn hook_and_websocket_hear_of_a_recording_and_the_hook_after_the_end_too() {
    let mut receiver = Receiver::start(Vec::new()).await;
    let gateway = Gateway::start(Vec::new()).await;
    let (call, _, path) = gateway.dial(json!({ "hook": receiver.url })).await;
    let mut socket = gateway.socket(&format!("{path}&format=json")).await;
    let recording = gateway.record(start(Some(call), "lobby"));
    let id = recording.id().to_string();
    let begun = json!({ "recording_id": id, "format": "wav", "channels": "mono" });
    let posted = receiver.next().await.json();
    assert_eq!(posted["outgoing"]["recording_started"], begun);
    let heard = socket.json().await;
    assert_eq!(heard["event"]["recording_started"], begun);
    let ended = CallEventKind::Ended(snapshot(call, "acme"));
    gateway.event(call, "acme", ended).await;
    assert_eq!(
        receiver.next().await.json()["outgoing"],
        json!({ "ended": {} })
    );
    recording.stop(50);
    let posted = receiver.next().await.json();
    assert_eq!(posted["call_id"], call.to_string());
    let ready = &posted["outgoing"]["recording_ready"];
    assert_eq!(ready["recording_id"], id);
    assert_eq!(
        (&ready["size"], &ready["duration_ms"]),
        (&json!("32080"), &json!("1000"))
    );
    assert_eq!(ready["sha256"].as_str().unwrap().len(), 64);
    gateway.end().await;
}

#[tokio::test]
async fn what_a_crash_kept_from_being_told_is_told_at_the_next_start() {
    let mut receiver = Receiver::start(Vec::new()).await;
    let gateway = Gateway::start(Vec::new()).await;
    let (call, _, _) = gateway.dial(json!({ "hook": receiver.url })).await;
    let recording = gateway.record(start(Some(call), "lobby"));
    let id = recording.id();
    assert!(receiver.next().await.json()["outgoing"]["recording_started"].is_object());
    recording.stop(50);
    assert!(receiver.next().await.json()["outgoing"]["recording_ready"].is_object());
    let store = gateway.api.shared.store.clone();
    let told = move |db: &rusqlite::Connection| {
        db.query_row("SELECT told FROM recordings", [], |row| {
            row.get::<_, bool>(0)
        })
    };
    soon("the mark", async {
        while !store.read(told).await.unwrap() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // As if the gateway had been killed while it recorded.
    let undo = move |db: &rusqlite::Connection| {
        db.execute("UPDATE recordings SET state = 'recording', told = 0", [])
    };
    store.write(undo).await.unwrap();
    drop(store);
    gateway.recordings.stop();
    let data = gateway.end().await;
    let gateway = Gateway::in_directory(data, settings(), Vec::new(), |_| None).await;
    let mut posted = receiver.next().await.json();
    // The call was lost as well, and its hook is told of that first.
    while posted["outgoing"]["recording_ready"].is_null() {
        posted = receiver.next().await.json();
    }
    assert_eq!(posted["call_id"], call.to_string());
    let ready = &posted["outgoing"]["recording_ready"];
    assert_eq!(ready["recording_id"], id.to_string());
    assert_eq!(ready["recovered"], true);
    gateway.end().await;
}

#[tokio::test]
async fn a_recording_that_is_too_old_is_removed_with_its_file() {
    let gateway = Gateway::start(Vec::new()).await;
    let id = gateway.recorded("lobby").await;
    let store = gateway.api.shared.store.clone();
    // It ended long ago, as the next start finds it.
    let age = move |db: &rusqlite::Connection| {
        db.execute("UPDATE recordings SET ended_ms = 1, told = 1", [])
    };
    store.write(age).await.unwrap();
    drop(store);
    gateway.recordings.stop();
    let data = gateway.end().await;
    let gateway = Gateway::in_directory(data, settings(), Vec::new(), |_| None).await;
    soon("its removal", async {
        while gateway.get(&format!("/recordings/{id}"), ACME).await.0 != 404 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let file = gateway
        .data
        .path()
        .join(format!("recordings/acme/{id}.wav"));
    assert!(!file.exists());
    let left = gateway
        .api
        .shared
        .store
        .read(|db| recordings::untold(db, 10));
    assert_eq!(
        left.await
            .unwrap()
            .iter()
            .filter(|row| row.state == State::Ready)
            .count(),
        0
    );
    gateway.end().await;
}

#[tokio::test]
async fn an_administrator_finds_hears_and_removes_the_recordings_of_all_apps() {
    let gateway = Gateway::start(Vec::new()).await;
    let mut admin = Browser::first(&gateway).await;
    let id = gateway.recorded("lobby").await;
    let other = gateway.recorded("hall").await;
    for (query, expected) in [
        ("?room=lobby", 1),
        ("?app=acme", 2),
        ("?app=root", 0),
        ("?limit=1", 1),
    ] {
        let (status, answer) = admin.get(&format!("/recordings{query}")).await;
        assert_eq!(status, 200, "{answer}");
        let found = answer["data"]["recordings"].as_array().unwrap();
        assert_eq!(found.len(), expected, "{query}");
        if query == "?room=lobby" {
            assert_eq!(found[0]["recording_id"], id.to_string());
            assert_eq!(found[0]["app_id"], "acme");
        }
    }
    let answer = admin.get("/recordings?rom=lobby").await;
    assert_eq!(refusal(&answer), (400, "BAD_REQUEST"));

    let audio = format!("/recordings/{id}/audio");
    let request = admin.request(Method::GET, &audio);
    let part = request.header("Range", "bytes=0-43").send();
    let part = soon("a part", part).await.unwrap();
    assert_eq!(part.status(), 206);
    let headers = part.headers();
    assert_eq!(headers["content-range"], "bytes 0-43/32080");
    assert_eq!(headers["content-type"], "audio/wav");
    assert_eq!(headers["cache-control"], "no-store");
    let (_, _, whole) = gateway.audio(id, &[]).await;
    assert!(part.bytes().await.unwrap() == whole[..44]);
    let unknown = format!("/recordings/{}/audio", RecordingId(7));
    let answer = admin.get(&unknown).await;
    assert_eq!(refusal(&answer), (404, "RECORDING_NOT_FOUND"));

    let path = format!("/recordings/{id}");
    let stranger = Browser::of(&gateway);
    for path in ["/recordings", &audio] {
        let answer = stranger.get(path).await;
        assert_eq!(refusal(&answer), (401, "NOT_LOGGED_IN"), "{path}");
    }
    let answer = stranger.send(Method::DELETE, &path, json!({})).await;
    assert_eq!(refusal(&answer), (401, "NOT_LOGGED_IN"));
    // An app's secret opens nothing here.
    let (status, _) = gateway.get("/admin/api/recordings", ACME).await;
    assert_eq!(status, 401);
    let token = std::mem::replace(&mut admin.csrf, "made up".to_string());
    let answer = admin.send(Method::DELETE, &path, json!({})).await;
    assert_eq!(refusal(&answer), (403, "CSRF"));
    admin.csrf = token;
    assert_eq!(gateway.audio(id, &[]).await.0, 200);

    let (status, answer) = admin.send(Method::DELETE, &path, json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let answer = admin.send(Method::DELETE, &path, json!({})).await;
    assert_eq!(refusal(&answer), (404, "RECORDING_NOT_FOUND"));
    assert_eq!(gateway.audio(id, &[]).await.0, 404);
    assert_eq!(gateway.audio(other, &[]).await.0, 200);
    gateway.end().await;
}
