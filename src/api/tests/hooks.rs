use super::*;
use crate::api::proto::sip_gateway::{CallEvent as HookBody, call_event, incoming_call_notify};
use crate::call::request::CallError;
use prost::Message;

fn with_hook(receiver: &Receiver, content_type: HookContentType) -> Number {
    let mut number = number("200", "acme");
    number.hook = Some(receiver.hook(content_type));
    number
}

fn reply(body: Value) -> HookReply {
    Some((200, "application/json", body.to_string().into_bytes()))
}

#[tokio::test]
async fn a_hook_is_told_in_order_and_signed() {
    let mut receiver = Receiver::start(Vec::new()).await;
    let gateway = Gateway::start(Vec::new()).await;
    let (call, _, _) = gateway.dial(json!({ "hook": receiver.url })).await;
    gateway
        .event(call, "acme", CallEventKind::Provisional(180))
        .await;
    gateway
        .event(call, "acme", CallEventKind::Answered(200))
        .await;
    gateway.event(call, "acme", CallEventKind::PeerHungUp).await;
    gateway.event(call, "acme", ended(call)).await;
    for outgoing in [
        json!({ "sip": { "provisional": { "code": 180 } } }),
        json!({ "sip": { "accepted": { "code": 200 } } }),
        json!({ "sip": { "bye": {} } }),
        json!({ "ended": {} }),
    ] {
        let posted = receiver.next().await;
        let expected = json!({
            "timestamp": "1700000000000",
            "call_id": call.to_string(),
            "outgoing": outgoing,
        });
        assert_eq!(posted.json(), expected);
        assert_eq!(posted.header("Content-Type"), "application/json");
        let mut signed = format!("{}.", posted.header("X-Hook-Timestamp")).into_bytes();
        signed.extend_from_slice(&posted.body);
        let hash = super::super::auth::keyed_hash(ACME.as_bytes(), &signed);
        assert_eq!(
            posted.header("X-Hook-Signature"),
            format!("v1={}", hex::encode(hash))
        );
        assert_eq!(posted.header("X-Hook-Id").len(), 32);
    }
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_come_before_the_dial_is_registered_are_posted_too() {
    let mut receiver = Receiver::start(Vec::new()).await;
    let call = call_id(0, 4711);
    let (started, mut dialled) = mpsc::unbounded_channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gateway = Gateway::with(settings(), Vec::new(), move |request| match request {
        CallRequest::Dial(_) => {
            let _ = started.send(());
            // The reply waits until the events were taken.
            tokio::task::block_in_place(|| gone.recv_timeout(PATIENCE).unwrap());
            Some(CallReply::Dialed {
                call,
                sip_call_id: Some(Arc::from("x@y")),
            })
        }
        _ => None,
    });
    let gateway = gateway.await;
    let mut body = dial_body();
    body["hook"] = json!(receiver.url);
    let dialling = gateway.post("/call/outgoing", ACME, body);
    let telling = async {
        soon("the dial", dialled.recv()).await;
        gateway
            .event(call, "acme", CallEventKind::Provisional(100))
            .await;
        gateway
            .event(call, "acme", CallEventKind::Provisional(180))
            .await;
        soon("the events", async {
            while gateway.api.shared.registry.get(call).is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        go.send(()).unwrap();
    };
    let ((status, _), ()) = tokio::join!(dialling, telling);
    assert_eq!(status, 200);
    for code in [100, 180] {
        let posted = receiver.next().await.json();
        assert_eq!(posted["outgoing"]["sip"]["provisional"]["code"], code);
    }
    gateway.end().await;
}

#[tokio::test]
async fn a_failed_hook_is_retried_with_its_id_before_the_next_event() {
    let mut receiver = Receiver::start(vec![
        Some((500, "text/plain", Vec::new())),
        Some((302, "text/plain", Vec::new())),
        Some((404, "text/plain", Vec::new())),
    ])
    .await;
    let gateway = Gateway::start(Vec::new()).await;
    let (call, _, _) = gateway.dial(json!({ "hook": receiver.url })).await;
    gateway
        .event(call, "acme", CallEventKind::Provisional(180))
        .await;
    gateway
        .event(call, "acme", CallEventKind::Answered(200))
        .await;
    let first = receiver.next().await;
    for _ in 0..3 {
        let retry = receiver.next().await;
        assert_eq!(retry.body, first.body);
        assert_eq!(retry.header("X-Hook-Id"), first.header("X-Hook-Id"));
    }
    let next = receiver.next().await;
    assert_eq!(next.json()["outgoing"]["sip"]["accepted"]["code"], 200);
    assert_ne!(next.header("X-Hook-Id"), first.header("X-Hook-Id"));
    gateway.end().await;
}

#[tokio::test]
async fn a_hook_that_stays_down_is_given_up_and_counted() {
    let impatient = ApiSettings {
        hooks: HookSettings {
            give_up: Duration::from_millis(100),
            ..settings().hooks
        },
        ..settings()
    };
    let gateway = Gateway::with(impatient, Vec::new(), |_| None).await;
    // Bound, never accepted from, and closed: nobody listens there.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    let (call, _, _) = gateway.dial(json!({ "hook": url })).await;
    gateway
        .event(call, "acme", CallEventKind::Provisional(180))
        .await;
    gateway.settled().await;
    soon("giving up", gateway.api.shared.hooks.drained()).await;
    let line = "ringwire_hook_events_given_up_total{reason=\"expired\"}";
    assert_eq!(gateway.metric(line).await, Some(format!("{line} 1")));
    gateway.end().await;
}

#[tokio::test]
async fn a_dead_hook_of_one_app_does_not_delay_anothers() {
    let dead = Receiver::start(vec![None; 80]).await;
    let mut fine = Receiver::start(Vec::new()).await;
    let patient = ApiSettings {
        hooks: HookSettings {
            timeout: Duration::from_secs(600),
            give_up: Duration::from_secs(3600),
            ..settings().hooks
        },
        ..settings()
    };
    let gateway = Gateway::with(patient, Vec::new(), |_| None).await;
    // More than may be posted at a time.
    for n in 0..80 {
        let room = json!({ "room": format!("r{n}"), "peer": "p" });
        let (call, _, _) = gateway
            .dial(json!({ "hook": dead.url, "streaming": room }))
            .await;
        gateway
            .event(call, "acme", CallEventKind::Provisional(180))
            .await;
    }
    let mut body = dial_body();
    body["hook"] = json!(fine.url);
    let (_, answer) = gateway.post("/call/outgoing", ROOT, body).await;
    let call: CallId = answer["data"]["call_id"].as_str().unwrap().parse().unwrap();
    gateway
        .event(call, "root", CallEventKind::Answered(200))
        .await;
    assert_eq!(fine.next().await.json()["call_id"], call.to_string());
    gateway.task.abort();
}

#[tokio::test]
async fn a_hook_decides_about_an_incoming_call() {
    let accept = b"\x5a\x06\x0a\x01r\x12\x01p".to_vec();
    for (content_type, answer, expected) in [
        (HookContentType::Json, reply(json!({ "ring": {} })), "Ring"),
        (HookContentType::Json, reply(json!({ "end": {} })), "End"),
        (
            HookContentType::Json,
            reply(json!({ "accept": { "room": "r", "peer": "p" } })),
            "Accept r p",
        ),
        (
            HookContentType::Json,
            reply(json!({ "action": "Accept", "stream": { "room": "r", "peer": "p" } })),
            "Accept r p",
        ),
        (
            HookContentType::Protobuf,
            Some((200, "application/protobuf", accept)),
            "Accept r p",
        ),
        (
            HookContentType::Json,
            Some((500, "text/plain", Vec::new())),
            "Reject 480",
        ),
        (
            HookContentType::Json,
            Some((301, "text/plain", Vec::new())),
            "Reject 480",
        ),
        (
            HookContentType::Json,
            Some((200, "text/plain", b"OK".to_vec())),
            "Reject 480",
        ),
        (
            HookContentType::Json,
            reply(json!({ "action": "Accept" })),
            "Reject 480",
        ),
        (
            HookContentType::Json,
            reply(json!({ "accept": { "room": "r" } })),
            "nothing",
        ),
    ] {
        let mut receiver = Receiver::start(vec![answer]).await;
        let mut gateway = Gateway::start(Vec::new()).await;
        let call = call_id(0, 3);
        let number = with_hook(&receiver, content_type);
        gateway.event(call, "acme", arrival(number)).await;
        let posted = receiver.next().await;
        let arrived = match content_type {
            HookContentType::Json => {
                let body = posted.json();
                assert_eq!(body["call_id"], call.to_string());
                body["notify"]["arrived"]["call_to"]
                    .as_str()
                    .unwrap()
                    .to_string()
            }
            HookContentType::Protobuf => {
                let body = HookBody::decode(posted.body.as_slice()).unwrap();
                let Some(call_event::Event::Notify(notify)) = body.event else {
                    panic!("{body:?}");
                };
                let Some(incoming_call_notify::Event::Arrived(arrived)) = notify.event else {
                    panic!("{notify:?}");
                };
                arrived.call_to
            }
        };
        assert_eq!(arrived, "200");
        if expected == "nothing" {
            // An accept without a peer cannot be followed: it is told, and the
            // caller is not left waiting.
            assert!(receiver.next().await.json()["incoming"]["err"]["message"].is_string());
            assert_eq!(gateway.next_action().await, (call, Action::Reject(480)));
            gateway.end().await;
            continue;
        }
        let (acted_on, action) = gateway.next_action().await;
        assert_eq!(acted_on, call);
        let action = match action {
            Action::Ring => "Ring".to_string(),
            Action::End => "End".to_string(),
            Action::Reject(code) => format!("Reject {code}"),
            Action::Accept(stream) => format!("Accept {} {}", stream.room.name, stream.peer),
        };
        assert_eq!(action, expected);
        gateway.end().await;
    }
}

#[tokio::test]
async fn a_hook_that_says_to_wait_leaves_the_call_to_an_action() {
    for answer in [
        Some((204, "text/plain", Vec::new())),
        reply(json!({})),
        reply(json!({ "continue": {} })),
        reply(json!({ "action": "Continue" })),
    ] {
        let mut receiver = Receiver::start(vec![answer]).await;
        let mut gateway = Gateway::start(Vec::new()).await;
        let call = call_id(0, 3);
        gateway
            .event(
                call,
                "acme",
                arrival(with_hook(&receiver, HookContentType::Json)),
            )
            .await;
        receiver.next().await;
        soon("the answer", gateway.api.shared.hooks.drained()).await;
        let path = format!("/call/incoming/{call}/action");
        assert_eq!(
            gateway
                .post(&path, ACME, json!({ "action": "Ring" }))
                .await
                .0,
            200
        );
        assert_eq!(gateway.next_action().await, (call, Action::Ring));
        gateway.end().await;
    }
}

#[tokio::test]
async fn a_hook_that_does_not_answer_in_time_costs_the_caller_the_failure_code() {
    let receiver = Receiver::start(vec![None]).await;
    let impatient = ApiSettings {
        hooks: HookSettings {
            timeout: Duration::from_millis(100),
            ..settings().hooks
        },
        failure_code: 486,
        ..settings()
    };
    let mut gateway = Gateway::with(impatient, Vec::new(), |_| None).await;
    let call = call_id(0, 3);
    gateway
        .event(
            call,
            "acme",
            arrival(with_hook(&receiver, HookContentType::Json)),
        )
        .await;
    assert_eq!(gateway.next_action().await, (call, Action::Reject(486)));
    gateway.end().await;
}

#[tokio::test]
async fn an_accept_that_the_shard_refuses_is_told_and_the_caller_rejected() {
    let accept = json!({ "accept": { "room": "r", "peer": "p" } });
    let mut receiver = Receiver::start(vec![reply(accept)]).await;
    let mut gateway = Gateway::with(settings(), Vec::new(), |request| match request {
        CallRequest::Act {
            action: Action::Accept(_),
            ..
        } => Some(CallReply::Refused(CallError::RoomFull)),
        _ => None,
    })
    .await;
    let call = call_id(0, 3);
    gateway
        .event(
            call,
            "acme",
            arrival(with_hook(&receiver, HookContentType::Json)),
        )
        .await;
    assert!(receiver.next().await.json()["notify"]["arrived"].is_object());
    let told = receiver.next().await.json();
    assert!(
        told["incoming"]["err"]["message"]
            .as_str()
            .unwrap()
            .contains("as many peers")
    );
    assert!(matches!(
        gateway.next_action().await,
        (_, Action::Accept(_))
    ));
    assert_eq!(gateway.next_action().await, (call, Action::Reject(480)));
    gateway.end().await;
}

#[tokio::test]
async fn the_hook_of_an_incoming_call_hears_the_follow_ups_in_order() {
    let mut receiver = Receiver::start(Vec::new()).await;
    let gateway = Gateway::start(Vec::new()).await;
    let call = call_id(0, 3);
    gateway
        .event(
            call,
            "acme",
            arrival(with_hook(&receiver, HookContentType::Json)),
        )
        .await;
    gateway
        .event(call, "acme", CallEventKind::CallerCancelled)
        .await;
    gateway.event(call, "acme", ended(call)).await;
    assert!(receiver.next().await.json()["notify"]["arrived"].is_object());
    let caller = json!({ "call_from": "100", "call_to": "200" });
    assert_eq!(
        receiver.next().await.json()["notify"],
        json!({ "cancelled": caller })
    );
    assert_eq!(
        receiver.next().await.json()["incoming"],
        json!({ "sip": { "cancelled": {} } })
    );
    assert_eq!(
        receiver.next().await.json()["incoming"],
        json!({ "ended": {} })
    );
    gateway.end().await;
}

#[tokio::test]
async fn a_call_that_is_answered_without_asking_is_told_but_the_answer_does_not_count() {
    let mut receiver = Receiver::start(vec![reply(json!({ "end": {} }))]).await;
    let mut gateway = Gateway::start(Vec::new()).await;
    let call = call_id(0, 3);
    let CallEventKind::Arrived(mut arrival) = arrival(with_hook(&receiver, HookContentType::Json))
    else {
        panic!("no arrival");
    };
    arrival.answered_without_asking = true;
    gateway
        .event(call, "acme", CallEventKind::Arrived(arrival))
        .await;
    gateway.event(call, "acme", CallEventKind::Accepted).await;
    assert!(receiver.next().await.json()["notify"]["arrived"].is_object());
    assert!(receiver.next().await.json()["notify"]["accepted"].is_object());
    assert_eq!(
        receiver.next().await.json()["incoming"],
        json!({ "accepted": {} })
    );
    gateway.settled().await;
    while let Ok(request) = gateway.seen.try_recv() {
        assert!(!matches!(request, CallRequest::Act { .. }), "{request:?}");
    }
    gateway.end().await;
}

#[tokio::test]
async fn at_the_end_waiting_hooks_are_still_posted() {
    let mut receiver = Receiver::start(vec![Some((500, "text/plain", Vec::new()))]).await;
    // Without the end the retry would come in half an hour at the earliest.
    let slow = ApiSettings {
        hooks: HookSettings {
            give_up: Duration::from_secs(86_400),
            first_delay: Duration::from_secs(3_600),
            longest_delay: Duration::from_secs(3_600),
            ..settings().hooks
        },
        ..settings()
    };
    let gateway = Gateway::with(slow, Vec::new(), |_| None).await;
    let (call, _, _) = gateway.dial(json!({ "hook": receiver.url })).await;
    gateway.event(call, "acme", CallEventKind::Terminated).await;
    gateway.event(call, "acme", ended(call)).await;
    gateway.end().await;
    let posts: Vec<Value> = std::iter::from_fn(|| receiver.posts.try_recv().ok())
        .map(|posted| posted.json()["outgoing"].clone())
        .collect();
    let terminated = json!({ "terminated": {} });
    assert_eq!(
        posts,
        [terminated.clone(), terminated, json!({ "ended": {} })]
    );
}
