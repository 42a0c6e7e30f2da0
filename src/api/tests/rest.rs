use super::*;
use crate::call::request::{CallError, PeerKind, RoomPeerSnapshot, RoomSnapshot, Stream};
use crate::ids::RoomKey;

fn error(answer: &(u16, Value)) -> (u16, &str) {
    assert_eq!(answer.1["status"], json!(false), "{answer:?}");
    assert!(!answer.1["message"].as_str().unwrap().is_empty());
    (answer.0, answer.1["error"].as_str().unwrap())
}

fn message(answer: &(u16, Value)) -> &str {
    answer.1["message"].as_str().unwrap()
}

#[tokio::test]
async fn dialling_tells_the_shard_of_the_room_everything_and_the_client_the_ids() {
    let mut gateway = Gateway::start(Vec::new()).await;
    let (call, token, ws) = gateway
        .dial(json!({
            "sip_proxy": "sip:127.0.0.2:5071;lr",
            "sip_auth": { "username": "u", "password": "p" },
            "hook": "http://127.0.0.1:1/hook",
            "hook_content_type": "Protobuf",
            "streaming": { "room": "lobby", "peer": "phone", "record": true },
            "unknown": "ignored",
        }))
        .await;
    assert_eq!(ws, format!("/call/outgoing/{call}?token={token}"));
    let dial = gateway.next_dial().await;
    let room = RoomKey {
        app: AppId::new("acme"),
        name: Arc::from("lobby"),
    };
    assert_eq!(
        call.shard,
        crate::shard::mailbox::room_shard(&room.app, "lobby", 2)
    );
    assert_eq!(dial.app, room.app);
    assert_eq!(dial.destination, "127.0.0.2:5071".parse().unwrap());
    assert_eq!(dial.sip_server, "127.0.0.1:5070");
    assert_eq!(dial.sip_proxy.as_deref(), Some("sip:127.0.0.2:5071;lr"));
    assert_eq!(dial.sip_auth, Some(auth("u", "p")));
    assert_eq!(
        (dial.from_number.as_str(), dial.to_number.as_str()),
        ("100", "200")
    );
    assert_eq!(dial.hook.unwrap().content_type, HookContentType::Protobuf);
    let stream = Stream {
        room,
        peer: Arc::from("phone"),
        record: true,
    };
    assert_eq!(dial.stream, stream);
    assert_eq!(dial.answer_timeout, Duration::from_secs(180));
    gateway.end().await;
}

#[tokio::test]
async fn what_a_dial_leaves_out_comes_from_the_apps_own_number() {
    let mut mine = number("+49 100", "acme");
    mine.hook = Some(Hook {
        url: Arc::from("http://127.0.0.1:1/book"),
        content_type: HookContentType::Protobuf,
        trusted: true,
    });
    mine.outgoing = Outgoing {
        sip_server: Some("127.0.0.9".to_string()),
        sip_proxy: Some("127.0.0.8:5080".to_string()),
        sip_auth: Some(auth("book", "pass")),
        register: false,
    };
    let mut theirs = mine.clone();
    theirs.number = "300".to_string();
    theirs.app = AppId::new("root");
    let mut gateway = Gateway::start(vec![mine, theirs]).await;
    let mut body = dial_body();
    body.as_object_mut().unwrap().remove("sip_server");
    body["from_number"] = json!("49100");
    let answer = gateway.post("/call/outgoing", ACME, body.clone()).await;
    assert_eq!(answer.0, 200, "{answer:?}");
    let dial = gateway.next_dial().await;
    assert_eq!(dial.destination, "127.0.0.8:5080".parse().unwrap());
    assert_eq!(dial.sip_server, "127.0.0.9");
    assert_eq!(dial.sip_auth, Some(auth("book", "pass")));
    assert_eq!(&*dial.hook.unwrap().url, "http://127.0.0.1:1/book");

    body["from_number"] = json!("300");
    let answer = gateway.post("/call/outgoing", ACME, body).await;
    assert_eq!(error(&answer), (400, "BAD_REQUEST"));
    assert!(message(&answer).starts_with("sip_server: is missing"));
    gateway.end().await;
}

#[tokio::test]
async fn a_wrong_dial_names_the_field_and_what_would_be_right() {
    let gateway = Gateway::start(Vec::new()).await;
    for (field, value, expected) in [
        (
            "from_number",
            json!(7),
            "from_number: invalid type: integer `7`, expected a string",
        ),
        ("from_number", json!(null), "from_number: is missing"),
        (
            "to_number",
            json!("a@b"),
            "to_number: '@' cannot stand in it",
        ),
        ("streaming", json!(null), "streaming: is missing"),
        (
            "streaming",
            json!({ "room": 3 }),
            "streaming.room: invalid type: integer `3`",
        ),
        (
            "streaming",
            json!({ "peer": "p" }),
            "streaming.room: is missing",
        ),
        (
            "streaming",
            json!({ "room": "r", "peer": "" }),
            "streaming.peer: is empty",
        ),
        (
            "sip_auth",
            json!({ "username": "u" }),
            "sip_auth.password: is missing",
        ),
        (
            "sip_server",
            json!("sips:x.example.com"),
            "sip_server: \"sips:x.example.com\" asks for SIP over TLS",
        ),
        (
            "sip_server",
            json!("http://x"),
            "sip_server: \"http://x\" is not a sip: URI",
        ),
        (
            "sip_server",
            json!("[::1]:5060"),
            "sip_server: ::1: sip.listen has no address of this family",
        ),
        (
            "sip_proxy",
            json!("x:port"),
            "sip_proxy: \"x:port\" has no usable port",
        ),
        ("hook", json!("ftp://x/"), "hook: \"ftp://x/\" is neither"),
        (
            "hook_content_type",
            json!("json"),
            "hook_content_type: \"json\" is neither \"Json\" nor",
        ),
    ] {
        let mut body = dial_body();
        body[field] = value;
        let answer = gateway.post("/call/outgoing", ACME, body).await;
        assert_eq!(error(&answer), (400, "BAD_REQUEST"), "{field}");
        assert!(message(&answer).starts_with(expected), "{answer:?}");
    }
    let mut body = dial_body();
    body["sip_server"] = json!("no-such-host.invalid");
    let answer = gateway.post("/call/outgoing", ACME, body).await;
    assert_eq!(error(&answer), (422, "HOST_NOT_FOUND"));
    let mut body = dial_body();
    body["sip_server"] = json!("localhost");
    assert_eq!(gateway.post("/call/outgoing", ACME, body).await.0, 200);
    gateway.end().await;
}

#[tokio::test]
async fn what_the_shard_refuses_is_told_with_its_code() {
    for (refusal, expected) in [
        (CallError::RoomFull, (409, "ROOM_FULL")),
        (CallError::PeerExists, (409, "PEER_EXISTS")),
        (
            CallError::RecordingUnavailable("the disk is full".to_owned()),
            (503, "RECORDING_UNAVAILABLE"),
        ),
        (CallError::PortsExhausted, (503, "PORTS_EXHAUSTED")),
        (CallError::TooManyCalls, (503, "OVERLOADED")),
    ] {
        let gateway = Gateway::with(settings(), Vec::new(), move |request| match request {
            CallRequest::Dial(_) => Some(CallReply::Refused(refusal.clone())),
            _ => None,
        })
        .await;
        let answer = gateway.post("/call/outgoing", ACME, dial_body()).await;
        assert_eq!(error(&answer), expected);
        gateway.end().await;
    }
}

#[tokio::test]
async fn actions_reach_the_call_by_secret_and_by_its_token() {
    let mut gateway = Gateway::start(Vec::new()).await;
    let (call, token, _) = gateway.dial(json!({})).await;
    let path = format!("/call/outgoing/{call}/action");
    let answer = gateway
        .post(&path, &token, json!({ "action": "End" }))
        .await;
    assert_eq!(answer, (200, json!({ "status": true })));
    assert_eq!(gateway.next_action().await, (call, Action::End));
    let by_query = format!("{path}?token={token}");
    let answer = gateway
        .post(&by_query, "", json!({ "action": "End" }))
        .await;
    assert_eq!(answer.0, 200);
    assert_eq!(gateway.next_action().await, (call, Action::End));
    for path in [format!("/call/{call}"), format!("/call/outgoing/{call}")] {
        let answer = gateway.delete(&path, ACME).await;
        assert_eq!(answer, (200, json!({ "status": true })));
        assert_eq!(gateway.next_action().await, (call, Action::End));
    }
    let answer = gateway
        .post(&path, &token, json!({ "action": "Ring" }))
        .await;
    assert_eq!(error(&answer), (400, "BAD_REQUEST"));
    assert!(message(&answer).contains("\"Ring\" is not \"End\""));
    let wrong_direction = format!("/call/incoming/{call}");
    let answer = gateway.delete(&wrong_direction, ACME).await;
    assert_eq!(error(&answer), (404, "CALL_NOT_FOUND"));
    gateway.end().await;
}

#[tokio::test]
async fn incoming_calls_are_rung_accepted_and_ended() {
    let mut known = number("200", "acme");
    known.client_id = Some("desk".to_string());
    let mut gateway = Gateway::start(vec![known.clone()]).await;
    let _listening = gateway
        .socket("/call/incoming/notify?token=acme-secret&client_id=desk")
        .await;
    let call = call_id(1, 5);
    gateway.event(call, "acme", arrival(known)).await;
    gateway.settled().await;
    let path = format!("/call/incoming/{call}/action");
    let post = |body| gateway.post(&path, ACME, body);
    assert_eq!(post(json!({ "action": "Ring" })).await.0, 200);
    let accept = json!({ "action": "Accept", "stream": { "room": "r", "peer": "p" } });
    assert_eq!(post(accept).await.0, 200);
    assert_eq!(post(json!({ "action": "End" })).await.0, 200);
    for (body, expected) in [
        (json!({ "action": "Accept" }), "stream: is missing"),
        (
            json!({ "action": "Accept", "stream": { "room": "r" } }),
            "stream.peer: is missing",
        ),
        (json!({ "action": 1 }), "action: invalid type"),
        (json!({}), "action: is missing"),
        (
            json!({ "action": "Hold" }),
            "action: \"Hold\" is not \"Ring\", \"Accept\" or \"End\"",
        ),
    ] {
        let answer = post(body).await;
        assert_eq!(error(&answer), (400, "BAD_REQUEST"));
        assert!(message(&answer).starts_with(expected), "{answer:?}");
    }
    let stream = Stream {
        room: RoomKey {
            app: AppId::new("acme"),
            name: Arc::from("r"),
        },
        peer: Arc::from("p"),
        record: false,
    };
    assert_eq!(gateway.next_action().await, (call, Action::Ring));
    assert_eq!(gateway.next_action().await, (call, Action::Accept(stream)));
    assert_eq!(gateway.next_action().await, (call, Action::End));
    gateway.end().await;
}

#[tokio::test]
async fn credentials_open_what_they_are_for_and_nothing_else() {
    let gateway = Gateway::start(Vec::new()).await;
    let (call, token, _) = gateway.dial(json!({})).await;
    let (other, other_token, _) = gateway.dial(json!({})).await;
    let path = format!("/call/{call}");
    assert_eq!(error(&gateway.get(&path, "").await), (401, "UNAUTHORIZED"));
    assert_eq!(
        error(&gateway.get(&path, "wrong").await),
        (401, "UNAUTHORIZED")
    );
    assert_eq!(error(&gateway.get(&path, &token).await), (403, "FORBIDDEN"));
    assert_eq!(error(&gateway.get(&path, ROOT).await), (403, "FORBIDDEN"));
    assert_eq!(
        error(&gateway.delete(&path, &other_token).await),
        (403, "FORBIDDEN")
    );
    assert_eq!(
        error(&gateway.delete(&path, ROOT).await),
        (403, "FORBIDDEN")
    );
    assert_eq!(
        gateway
            .delete(&format!("/call/{other}"), &other_token)
            .await
            .0,
        200
    );
    for path in ["/calls", "/rooms", "/rooms/r"] {
        assert_eq!(error(&gateway.get(path, &token).await), (403, "FORBIDDEN"));
    }
    for path in ["/call/outgoing", "/token/notify", "/token/room"] {
        let answer = gateway.post(path, &token, json!({})).await;
        assert_eq!(error(&answer), (403, "FORBIDDEN"), "{path}");
    }
    let missing = format!("/call/{}", call_id(0, 77));
    assert_eq!(
        error(&gateway.get(&missing, ACME).await),
        (404, "CALL_NOT_FOUND")
    );
    assert_eq!(
        error(&gateway.get("/call/nonsense", ACME).await),
        (404, "CALL_NOT_FOUND")
    );
    gateway.end().await;
}

#[tokio::test]
async fn tokens_are_made_for_notify_and_rooms() {
    let gateway = Gateway::start(Vec::new()).await;
    for field in ["client_id", "session_id"] {
        let (status, answer) = gateway
            .post("/token/notify", ACME, json!({ field: "desk" }))
            .await;
        assert_eq!(status, 200);
        let token = answer["data"]["token"].as_str().unwrap();
        let ws = answer["data"]["notify_ws"].as_str().unwrap();
        assert_eq!(ws, format!("/call/incoming/notify?token={token}"));
        gateway.socket(ws).await;
    }
    let body = json!({ "room": "r", "peer": "p", "ttl": 60 });
    let (status, answer) = gateway.post("/token/room", ACME, body).await;
    assert_eq!(status, 200);
    assert!(answer["data"]["token"].is_string());
    for (body, expected) in [
        (json!({}), "room: is missing"),
        (json!({ "room": "r" }), "peer: is missing"),
        (
            json!({ "room": "r", "peer": "p", "ttl": 0 }),
            "ttl: write 1 to",
        ),
        (
            json!({ "room": "r", "peer": "p", "ttl": "1h" }),
            "ttl: invalid type",
        ),
    ] {
        let answer = gateway.post("/token/room", ACME, body).await;
        assert!(message(&answer).starts_with(expected), "{answer:?}");
    }
    gateway.end().await;
}

#[tokio::test]
async fn an_ended_call_can_still_be_asked_for_but_not_acted_on() {
    let gateway = Gateway::with(settings(), Vec::new(), |request| match request {
        CallRequest::Act { .. } | CallRequest::Call(_) => {
            Some(CallReply::Refused(CallError::UnknownCall))
        }
        _ => None,
    })
    .await;
    let (call, _, _) = gateway.dial(json!({})).await;
    gateway.event(call, "acme", ended(call)).await;
    let (status, answer) = gateway.get(&format!("/call/{call}"), ACME).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"]["state"], "ended");
    assert_eq!(answer["data"]["sip_code"], 486);
    assert_eq!(answer["data"]["end_reason"], "rejected");
    let answer = gateway.delete(&format!("/call/{call}"), ACME).await;
    assert_eq!(error(&answer), (404, "CALL_NOT_FOUND"));
    gateway.end().await;
}

#[tokio::test]
async fn calls_and_rooms_are_gathered_from_all_shards() {
    let room = |name: &str| RoomSnapshot {
        room: RoomKey {
            app: AppId::new("acme"),
            name: Arc::from(name),
        },
        created_ms: 5,
        mixed: false,
        plays: Vec::new(),
        recordings: Vec::new(),
        peers: vec![RoomPeerSnapshot {
            peer: Arc::from("p"),
            call: call_id(0, 1),
            kind: PeerKind::Sip,
            joined_ms: 6,
            media: None,
        }],
    };
    let mut turn = 0;
    let gateway = Gateway::with(settings(), Vec::new(), move |request| {
        turn += 1;
        match request {
            CallRequest::Calls(Some(app)) if app.as_str() == "acme" => {
                Some(CallReply::Calls(vec![*snapshot(call_id(0, turn), "acme")]))
            }
            CallRequest::Rooms(_) => Some(CallReply::Rooms(vec![room(&format!("r{turn}"))])),
            CallRequest::Room(key) if &*key.name == "a b" => {
                Some(CallReply::Rooms(vec![room("a b")]))
            }
            CallRequest::Room(_) => Some(CallReply::Refused(CallError::UnknownRoom)),
            _ => None,
        }
    })
    .await;
    let (_, answer) = gateway.get("/calls", ACME).await;
    assert_eq!(answer["data"]["calls"].as_array().unwrap().len(), 2);
    assert_eq!(answer["data"]["calls"][0]["from_number"], "100");
    let (_, answer) = gateway.get("/rooms", ACME).await;
    assert_eq!(answer["data"]["rooms"].as_array().unwrap().len(), 2);
    let (_, answer) = gateway.get("/rooms/a%20b", ACME).await;
    assert_eq!(answer["data"]["room"], "a b");
    assert_eq!(answer["data"]["peers"][0]["peer"], "p");
    assert_eq!(answer["data"]["peers"][0]["kind"], "sip");
    assert_eq!(answer["data"]["peers"][0]["joined_ms"], 6);
    let answer = gateway.get("/rooms/none", ACME).await;
    assert_eq!(error(&answer), (404, "ROOM_NOT_FOUND"));
    gateway.end().await;
}

#[tokio::test]
async fn whatever_is_refused_is_refused_in_the_envelope() {
    let gateway = Gateway::start(Vec::new()).await;
    let answer = gateway.get("/nothing/here", ACME).await;
    assert_eq!(error(&answer), (404, "NOT_FOUND"));
    let answer = gateway.get("/call/outgoing", ACME).await;
    assert_eq!(error(&answer), (405, "METHOD_NOT_ALLOWED"));
    let answer = gateway.post("/rooms/r/peers/p", ACME, json!({})).await;
    assert_eq!(error(&answer), (415, "UNSUPPORTED_MEDIA_TYPE"));
    let answer = gateway.get("/rooms/%FF", ACME).await;
    assert_eq!(error(&answer), (400, "BAD_REQUEST"));
    let (call, _, ws) = gateway.dial(json!({})).await;
    let answer = gateway.get(&ws, "").await;
    assert_eq!(error(&answer), (426, "UPGRADE_REQUIRED"), "{call}");

    let url = format!("http://{}/call/outgoing", gateway.address);
    let post = |content_type: &'static str, body: Vec<u8>| {
        let request = gateway
            .http
            .post(&url)
            .header("Authorization", "Bearer acme-secret");
        let request = request.header("Content-Type", content_type).body(body);
        async move {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            (
                status,
                serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
            )
        }
    };
    let answer = post("text/plain", b"{}".to_vec()).await;
    assert_eq!(error(&answer), (415, "UNSUPPORTED_MEDIA_TYPE"));
    let answer = post("application/json", b"{".to_vec()).await;
    assert_eq!(error(&answer), (400, "BAD_REQUEST"));
    let answer = post("application/json", vec![b' '; 65 * 1024]).await;
    assert_eq!(error(&answer), (413, "PAYLOAD_TOO_LARGE"));
    let allowed = gateway.http.get(&url).send().await.unwrap();
    assert_eq!(allowed.headers()["Allow"], "POST");
    gateway.end().await;
}

#[tokio::test]
async fn pages_of_any_origin_may_call() {
    let gateway = Gateway::start(Vec::new()).await;
    let url = format!("http://{}/call/outgoing", gateway.address);
    let preflight = gateway
        .http
        .request(Method::OPTIONS, &url)
        .header("Origin", "https://app.example.com")
        .header("Access-Control-Request-Method", "POST")
        .header(
            "Access-Control-Request-Headers",
            "authorization, content-type",
        )
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["Access-Control-Allow-Origin"], "*");
    let allowed = preflight.headers()["Access-Control-Allow-Headers"]
        .to_str()
        .unwrap();
    assert!(allowed.contains("Authorization"));
    let refused = gateway.http.post(&url).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["Access-Control-Allow-Origin"], "*");
    gateway.end().await;
}

#[tokio::test]
async fn draining_refuses_new_calls_but_not_actions_on_old_ones() {
    let gateway = Gateway::start(Vec::new()).await;
    let (call, token, _) = gateway.dial(json!({})).await;
    assert_eq!(gateway.get("/readyz", "").await.0, 200);
    gateway.api.drain();
    let url = format!("http://{}/call/outgoing", gateway.address);
    let refused = gateway
        .http
        .post(&url)
        .header("Authorization", "Bearer acme-secret");
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("Retry-After"));
    let answer = gateway.post("/call/outgoing", ACME, dial_body()).await;
    assert_eq!(error(&answer), (503, "DRAINING"));
    assert_eq!(error(&gateway.get("/readyz", "").await), (503, "DRAINING"));
    assert_eq!(gateway.get("/healthz", "").await.0, 200);
    assert_eq!(
        gateway.delete(&format!("/call/{call}"), &token).await.0,
        200
    );
    gateway.end().await;
}

#[tokio::test]
async fn metrics_are_those_of_the_shards_and_of_the_api() {
    let gateway = Gateway::with(settings(), Vec::new(), |request| match request {
        CallRequest::Counters => Some(CallReply::Counters(Box::new(ShardCounters {
            calls: 7,
            totals: vec![("refused_calls", "reason", "unknown_number".to_string(), 3)],
            ..ShardCounters::default()
        }))),
        _ => None,
    })
    .await;
    gateway.get("/nothing", "").await;
    let url = format!("http://{}/metrics", gateway.address);
    let page = gateway
        .http
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for line in [
        "ringwire_calls{shard=\"0\"} 7",
        "ringwire_calls{shard=\"1\"} 7",
        "ringwire_up{shard=\"1\"} 1",
        "ringwire_refused_calls_total{shard=\"0\",reason=\"unknown_number\"} 3",
        "ringwire_http_requests_total{status=\"404\"} 1",
        "ringwire_hook_posts_total{result=\"failed\"} 0",
        "ringwire_websockets 0",
        "ringwire_draining 0",
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\n{page}");
    }
    gateway.end().await;
}
