//! WebRTC peers over HTTP, with shards that do what a test says.

use super::*;
use crate::call::event::WebEvent;
use crate::call::request::{CallError, IceSession, Stream, WebRequest};
use crate::ids::RoomKey;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

fn peer() -> CallId {
    call_id(1, 77)
}

fn place() -> Stream {
    Stream {
        room: RoomKey {
            app: AppId::new("acme"),
            name: Arc::from("a b"),
        },
        peer: Arc::from("web"),
        record: false,
    }
}

/// A shard for which every offer is a good one.
fn agreeable(request: &CallRequest) -> Option<CallReply> {
    let CallRequest::Web(request) = request else {
        return None;
    };
    Some(match request {
        WebRequest::Join { stream, .. } if *stream.peer == *"full" => {
            CallReply::Refused(CallError::RoomFull)
        }
        WebRequest::Join { .. } => CallReply::WebJoined {
            peer: peer(),
            answer: "the answer".to_string(),
            ufrag: "ours".to_string(),
        },
        WebRequest::Offer { session, .. } | WebRequest::Fragment { session, .. }
            if !session.is("ours") =>
        {
            CallReply::Refused(CallError::FormerIceSession)
        }
        WebRequest::Offer { .. } => CallReply::WebAnswered {
            answer: "another answer".to_string(),
            ufrag: "ours".to_string(),
        },
        WebRequest::Fragment { fragment, .. } if fragment == b"restart" => CallReply::WebAnswered {
            answer: "our fragment".to_string(),
            ufrag: "new".to_string(),
        },
        WebRequest::Fragment { .. } => CallReply::Done,
        WebRequest::Leave { peer: who, .. } if *who == peer() => CallReply::Done,
        WebRequest::Leave { .. } => CallReply::Refused(CallError::UnknownPeer),
    })
}

impl Gateway {
    async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        kind: &str,
        body: &str,
    ) -> (u16, reqwest::header::HeaderMap, String) {
        self.send_if(None, method, path, token, kind, body).await
    }

    /// The same with an `If-Match`.
    async fn send_if(
        &self,
        if_match: Option<&str>,
        method: Method,
        path: &str,
        token: &str,
        kind: &str,
        body: &str,
    ) -> (u16, reqwest::header::HeaderMap, String) {
        let mut request = self
            .http
            .request(method, format!("http://{}{path}", self.address))
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Type", kind)
            .body(body.to_string());
        if let Some(if_match) = if_match {
            request = request.header("If-Match", if_match);
        }
        let response = soon("an answer", request.send()).await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        (status, headers, response.text().await.unwrap())
    }

    async fn room_token(&self, room: &str, peer: &str) -> String {
        let body = json!({ "room": room, "peer": peer });
        let (_, answer) = self.post("/token/room", ACME, body).await;
        answer["data"]["token"].as_str().unwrap().to_string()
    }
}

#[tokio::test]
async fn an_offer_is_answered_with_a_location_that_patch_and_delete_work_on() {
    let mut gateway = Gateway::with(settings(), Vec::new(), agreeable).await;
    let token = gateway.room_token("a b", "web").await;
    let (status, headers, answer) = gateway
        .send(Method::POST, "/rooms/a%20b/peers/web", &token, SDP, "offer")
        .await;
    assert_eq!((status, answer.as_str()), (201, "the answer"));
    assert_eq!(headers["content-type"], SDP);
    assert_eq!(headers["etag"], "\"ours\"");
    assert_eq!(headers["accept-patch"], FRAGMENT);
    let location = headers["location"].to_str().unwrap().to_string();
    assert_eq!(location, format!("/rooms/a%20b/peers/web/{}", peer()));
    match soon("the request", gateway.seen.recv()).await {
        Some(CallRequest::Web(WebRequest::Join { stream, offer })) => {
            assert_eq!(stream, place());
            assert_eq!(offer, b"offer");
        }
        other => panic!("{other:?}"),
    }

    let patch = |kind, body| gateway.send(Method::PATCH, &location, &token, kind, body);
    let (status, headers, answer) = patch(SDP, "offer 2").await;
    assert_eq!((status, answer.as_str()), (200, "another answer"));
    assert_eq!(headers["content-type"], SDP);
    let (status, _, answer) = patch(FRAGMENT, "candidate").await;
    assert_eq!((status, answer.as_str()), (204, ""));
    let (status, headers, answer) = patch(FRAGMENT, "restart").await;
    assert_eq!((status, answer.as_str()), (200, "our fragment"));
    assert_eq!(headers["content-type"], FRAGMENT);
    assert_eq!(headers["etag"], "\"new\"");
    let (status, _, _) = patch("text/plain", "x").await;
    assert_eq!(status, 415);

    assert_eq!(gateway.delete(&location, &token).await.0, 200);
    let gone = format!("/rooms/a%20b/peers/web/{}", call_id(0, 5));
    let (status, answer) = gateway.delete(&gone, &token).await;
    assert_eq!((status, &answer["error"]), (404, &json!("PEER_NOT_FOUND")));
    gateway.end().await;
}

#[tokio::test]
async fn a_patch_says_which_ice_session_it_means() {
    let mut gateway = Gateway::with(settings(), Vec::new(), agreeable).await;
    let path = format!("/rooms/a%20b/peers/web/{}", peer());
    for (if_match, kind, expected) in [
        ("\"ours\"", FRAGMENT, 204),
        ("*", FRAGMENT, 204),
        ("\"ours\"", SDP, 200),
        ("\"former\"", FRAGMENT, 412),
        ("W/\"ours\"", FRAGMENT, 412),
        ("\"former\"", SDP, 412),
        ("\"ours", FRAGMENT, 400),
    ] {
        let patch = gateway.send_if(
            Some(if_match),
            Method::PATCH,
            &path,
            ACME,
            kind,
            "candidate",
        );
        let (status, _, body) = patch.await;
        assert_eq!(status, expected, "{if_match} {kind}: {body}");
        if status >= 400 {
            let body: Value = serde_json::from_str(&body).unwrap();
            let code = if status == 412 {
                "PRECONDITION_FAILED"
            } else {
                "BAD_REQUEST"
            };
            assert_eq!(
                (&body["status"], &body["error"]),
                (&json!(false), &json!(code))
            );
            assert!(
                body["message"].as_str().unwrap().contains("If-Match"),
                "{body}"
            );
        }
    }
    match soon("the request", gateway.seen.recv()).await {
        Some(CallRequest::Web(WebRequest::Fragment { session, .. })) => {
            assert_eq!(session, IceSession::Named(vec!["ours".to_string()]));
        }
        other => panic!("{other:?}"),
    }
    // RFC 9725 section 4.3.1: to go, no session has to be named, and none counts.
    let leave = gateway.send_if(Some("\"former\""), Method::DELETE, &path, ACME, SDP, "");
    assert_eq!(leave.await.0, 200);
    gateway.end().await;
}

#[tokio::test]
async fn a_credential_reaches_its_own_place_only() {
    let gateway = Gateway::with(settings(), Vec::new(), agreeable).await;
    let token = gateway.room_token("a b", "web").await;
    let join = |path, token| gateway.send(Method::POST, path, token, SDP, "offer");
    assert_eq!(join("/rooms/a%20b/peers/web", ACME).await.0, 201);
    assert_eq!(join("/rooms/a%20b/peers/other", &token).await.0, 403);
    assert_eq!(join("/rooms/other/peers/web", &token).await.0, 403);
    assert_eq!(join("/rooms/a%20b/peers/web", "wrong").await.0, 401);
    let (_, call_token, _) = gateway.dial(json!({})).await;
    assert_eq!(join("/rooms/a%20b/peers/web", &call_token).await.0, 403);
    let (status, _, body) = join("/rooms/a%20b/peers/full", ACME).await;
    assert_eq!(status, 409);
    assert!(body.contains("ROOM_FULL"), "{body}");
    gateway.api.drain();
    assert_eq!(join("/rooms/a%20b/peers/web", ACME).await.0, 503);
    gateway.end().await;
}

#[tokio::test]
async fn the_event_stream_tells_the_state_the_wish_for_an_offer_and_the_end() {
    let gateway = Gateway::with(settings(), Vec::new(), agreeable).await;
    let web = |event| gateway.event(peer(), "acme", CallEventKind::Web(event));
    let Stream {
        room, peer: name, ..
    } = place();
    web(WebEvent::Joined { room, peer: name }).await;
    let path = format!(
        "http://{}/rooms/a%20b/peers/web/{}/events?token={ACME}",
        gateway.address,
        peer()
    );
    let mut response = soon("the stream", gateway.http.get(&path).send())
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let steps = [
        (
            "event: state\ndata: {\"state\":\"connecting\"}\n\n",
            WebEvent::Connected,
        ),
        (
            "event: state\ndata: {\"state\":\"connected\"}\n\n",
            WebEvent::Renegotiate,
        ),
        (
            "event: renegotiate\ndata: {}\n\n",
            WebEvent::Left("consent_lost"),
        ),
    ];

    for (expected, next) in steps {
        while text.len() < expected.len() {
            let chunk = soon("an event", response.chunk()).await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        assert_eq!(text, expected);
        text.clear();
        web(next).await;
    }
    while let Some(chunk) = soon("the end", response.chunk()).await.unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert_eq!(text, "event: left\ndata: {\"reason\":\"consent_lost\"}\n\n");
    // Who asks only now hears of the end too.
    let late = soon("the stream", gateway.http.get(&path).send())
        .await
        .unwrap();
    let late = soon("its end", late.text()).await.unwrap();
    assert!(late.ends_with(&text), "{late}");
    gateway.end().await;
}
