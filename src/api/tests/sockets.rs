use super::*;
use crate::api::proto::sip_gateway::incoming_call_data::{
    self, IncomingCallRequest, incoming_call_event, incoming_call_request, incoming_call_response,
};
use crate::api::proto::sip_gateway::{IncomingCallData, OutgoingCallData, incoming_call_notify};
use crate::api::proto::sip_gateway::{IncomingCallNotify, outgoing_call_data};
use crate::call::request::CallError;
use prost::Message;

#[tokio::test]
async fn a_call_is_followed_in_binary_to_its_end() {
    let gateway = Gateway::start(Vec::new()).await;
    let (call, _, ws) = gateway.dial(json!({})).await;
    let mut socket = gateway.socket(&ws).await;
    let kinds = [
        CallEventKind::Provisional(100),
        CallEventKind::Early(183),
        CallEventKind::Answered(200),
        CallEventKind::PeerHungUp,
        ended(call),
    ];
    for kind in kinds.clone() {
        gateway.event(call, "acme", kind).await;
    }
    for kind in kinds {
        let expected = super::super::messages::CallMessage::of(&kind, Direction::Outgoing);
        let data: OutgoingCallData = socket.binary().await;
        let Some(outgoing_call_data::Data::Event(event)) = data.data else {
            panic!("no event: {data:?}");
        };
        assert_eq!(
            expected,
            Some(super::super::messages::CallMessage::Outgoing(event))
        );
    }
    assert_eq!(socket.close_code().await, 1000);
    gateway.end().await;
}

#[tokio::test]
async fn a_late_client_gets_what_it_missed_in_the_form_it_asks_for() {
    let gateway = Gateway::start(Vec::new()).await;
    let (call, _, ws) = gateway.dial(json!({})).await;
    gateway
        .event(call, "acme", CallEventKind::Provisional(180))
        .await;
    gateway
        .event(call, "acme", CallEventKind::Answered(200))
        .await;
    gateway.settled().await;
    let mut socket = gateway.socket(&format!("{ws}&format=json")).await;
    let ringing = json!({ "event": { "sip": { "provisional": { "code": 180 } } } });
    assert_eq!(socket.json().await, ringing);
    let answered = json!({ "event": { "sip": { "accepted": { "code": 200 } } } });
    assert_eq!(socket.json().await, answered);
    gateway.event(call, "acme", CallEventKind::Terminated).await;
    assert_eq!(
        socket.json().await,
        json!({ "event": { "terminated": {} } })
    );
    gateway.event(call, "acme", ended(call)).await;
    assert_eq!(socket.json().await, json!({ "event": { "ended": {} } }));
    assert_eq!(socket.close_code().await, 1000);

    let mut later = gateway.socket(&format!("{ws}&format=json")).await;
    assert_eq!(later.json().await, ringing);
    assert_eq!(later.json().await, answered);
    gateway.end().await;
}

#[tokio::test]
async fn answers_come_in_the_kind_of_the_last_frame_with_its_req_id() {
    let mut gateway = Gateway::start(Vec::new()).await;
    let (call, _, ws) = gateway.dial(json!({})).await;
    let mut socket = gateway.socket(&ws).await;
    socket
        .send_json(json!({ "request": { "req_id": 7, "end": {} } }))
        .await;
    assert_eq!(
        socket.json().await,
        json!({ "response": { "req_id": 7, "end": {} } })
    );
    assert_eq!(gateway.next_action().await, (call, Action::End));
    gateway.event(call, "acme", CallEventKind::Cancelled).await;
    assert_eq!(socket.json().await, json!({ "event": { "cancelled": {} } }));
    socket.send_json(json!({ "request": { "reqId": 8 } })).await;
    let answer = socket.json().await;
    assert_eq!(answer["response"]["req_id"], 8);
    assert!(
        answer["response"]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no action")
    );
    socket.send_json(json!({ "nonsense": 1 })).await;
    assert!(socket.json().await["response"]["error"]["message"].is_string());
    socket.send(WsMessage::text("{")).await;
    assert!(socket.json().await["response"]["error"]["message"].is_string());
    socket.send(WsMessage::binary(b"\xff\xff".to_vec())).await;
    let data: OutgoingCallData = socket.binary().await;
    let Some(outgoing_call_data::Data::Response(response)) = data.data else {
        panic!("no response: {data:?}");
    };
    assert_eq!(response.req_id, 0);
    gateway.end().await;
}

#[tokio::test]
async fn an_incoming_call_is_accepted_over_its_websocket() {
    let mut known = number("200", "acme");
    known.client_id = Some("desk".to_string());
    let mut gateway = Gateway::with(settings(), vec![known.clone()], {
        let mut accepted = false;
        move |request| match request {
            CallRequest::Act {
                action: Action::Accept(_),
                ..
            } if accepted => Some(CallReply::Refused(CallError::WrongState {
                action: "Accept",
                state: "active",
            })),
            CallRequest::Act {
                action: Action::Accept(_),
                ..
            } => {
                accepted = true;
                None
            }
            _ => None,
        }
    })
    .await;
    let mut desk = gateway
        .socket("/call/incoming/notify?token=acme-secret&client_id=desk")
        .await;
    let call = call_id(0, 6);
    gateway.event(call, "acme", arrival(known)).await;
    let arrived: IncomingCallNotify = desk.binary().await;
    let Some(incoming_call_notify::Event::Arrived(arrived)) = arrived.event else {
        panic!("not arrived: {arrived:?}");
    };
    assert_eq!(
        (arrived.call_from.as_str(), arrived.call_to.as_str()),
        ("100", "200")
    );
    assert_eq!(
        arrived.call_ws,
        format!("/call/incoming/{call}?token={}", arrived.call_token)
    );

    let mut socket = gateway.socket(&arrived.call_ws).await;
    let accept = IncomingCallData {
        data: Some(incoming_call_data::Data::Request(IncomingCallRequest {
            req_id: 3,
            action: Some(incoming_call_request::Action::Accept(
                incoming_call_request::Accept {
                    room: "r".to_string(),
                    peer: "p".to_string(),
                    record: false,
                },
            )),
        })),
    };
    socket.send(WsMessage::binary(accept.encode_to_vec())).await;
    let (_, action) = gateway.next_action().await;
    assert!(matches!(action, Action::Accept(stream) if &*stream.room.name == "r"));
    for expected in ["Accept", "Error"] {
        let answer: IncomingCallData = socket.binary().await;
        let Some(incoming_call_data::Data::Response(answer)) = answer.data else {
            panic!("no response: {answer:?}");
        };
        assert_eq!(answer.req_id, 3);
        match answer.response.unwrap() {
            incoming_call_response::Response::Accept(_) => assert_eq!(expected, "Accept"),
            incoming_call_response::Response::Error(error) => {
                assert_eq!(expected, "Error");
                assert!(error.message.contains("the call is active"));
            }
            other => panic!("{other:?}"),
        }
        if expected == "Accept" {
            socket.send(WsMessage::binary(accept.encode_to_vec())).await;
        }
    }
    gateway.event(call, "acme", CallEventKind::Accepted).await;
    let event: IncomingCallData = socket.binary().await;
    let Some(incoming_call_data::Data::Event(event)) = event.data else {
        panic!("no event: {event:?}");
    };
    assert!(matches!(
        event.event,
        Some(incoming_call_event::Event::Accepted(_))
    ));
    let accepted: IncomingCallNotify = desk.binary().await;
    assert!(matches!(
        accepted.event,
        Some(incoming_call_notify::Event::Accepted(_))
    ));
    gateway.end().await;
}

#[tokio::test]
async fn every_connection_of_a_client_is_told_and_later_ones_while_the_call_waits() {
    let mut known = number("200", "acme");
    known.client_id = Some("desk".to_string());
    let gateway = Gateway::start(vec![known.clone()]).await;
    let path = "/call/incoming/notify?token=acme-secret&client_id=desk&format=json";
    let mut first = gateway.socket(path).await;
    let mut second = gateway.socket(path).await;
    let mut other = gateway.socket(&path.replace("desk", "door")).await;
    let call = call_id(0, 6);
    gateway.event(call, "acme", arrival(known.clone())).await;
    let arrived = first.json().await;
    assert_eq!(arrived["arrived"]["call_to"], "200");
    assert_eq!(second.json().await, arrived);
    let mut late = gateway.socket(path).await;
    assert_eq!(late.json().await, arrived);
    gateway
        .event(call, "acme", CallEventKind::CallerCancelled)
        .await;
    let cancelled = json!({ "cancelled": { "call_from": "100", "call_to": "200" } });
    for socket in [&mut first, &mut second, &mut late] {
        assert_eq!(socket.json().await, cancelled);
    }
    gateway.event(call, "acme", ended(call)).await;
    gateway.settled().await;

    let mut after = gateway.socket(path).await;
    let next = call_id(0, 7);
    gateway.event(next, "acme", arrival(known)).await;
    let arrived = after.json().await;
    assert!(
        arrived["arrived"]["call_ws"]
            .as_str()
            .unwrap()
            .contains(&next.to_string())
    );
    gateway
        .event(next, "acme", CallEventKind::Rejected(486))
        .await;
    assert!(after.json().await["rejected"].is_object());
    gateway
        .api
        .shared
        .clients
        .settled(&AppId::new("acme"), "door", next, None);
    let _ = other.0.close(None).await;
    gateway.end().await;
}

#[tokio::test]
async fn a_call_that_nobody_can_be_asked_about_is_rejected() {
    let mut gateway = Gateway::start(Vec::new()).await;
    let call = call_id(0, 6);
    gateway
        .event(call, "acme", arrival(number("200", "acme")))
        .await;
    assert_eq!(gateway.next_action().await, (call, Action::Reject(480)));
    let mut known = number("300", "acme");
    known.client_id = Some("nobody".to_string());
    let call = call_id(0, 7);
    gateway.event(call, "acme", arrival(known)).await;
    assert_eq!(gateway.next_action().await, (call, Action::Reject(480)));
    gateway.end().await;
}

#[tokio::test]
async fn a_call_whose_last_websocket_stays_away_is_ended() {
    let mut gateway = Gateway::start(Vec::new()).await;
    let (call, _, ws) = gateway.dial(json!({})).await;
    gateway
        .event(call, "acme", CallEventKind::Answered(200))
        .await;
    let mut first = gateway.socket(&ws).await;
    let _: OutgoingCallData = first.binary().await;
    let mut second = gateway.socket(&ws).await;
    let _: OutgoingCallData = second.binary().await;
    first.0.close(None).await.unwrap();
    second.0.close(None).await.unwrap();
    assert_eq!(gateway.next_action().await, (call, Action::End));
    gateway.end().await;
}

#[tokio::test]
async fn a_call_that_has_a_websocket_again_in_time_goes_on() {
    let patient = ApiSettings {
        ws_grace: Duration::from_secs(600),
        ..settings()
    };
    let mut gateway = Gateway::with(patient, Vec::new(), |_| None).await;
    let (call, _, ws) = gateway.dial(json!({})).await;
    gateway
        .event(call, "acme", CallEventKind::Answered(200))
        .await;
    let mut first = gateway.socket(&ws).await;
    let _: OutgoingCallData = first.binary().await;
    first.0.close(None).await.unwrap();
    let mut second = gateway.socket(&ws).await;
    let _: OutgoingCallData = second.binary().await;
    assert!(matches!(gateway.next_dial().await, Dial { .. }));
    gateway.settled().await;
    while let Ok(request) = gateway.seen.try_recv() {
        assert!(!matches!(request, CallRequest::Act { .. }));
    }
    gateway.end().await;
}

#[tokio::test]
async fn a_client_that_answers_pings_stays_and_a_silent_one_is_dropped() {
    let mut gateway = Gateway::start(Vec::new()).await;
    let (silent, _, ws) = gateway.dial(json!({})).await;
    let frozen = gateway.socket(&ws).await;
    let (alive, _, ws) = gateway
        .dial(json!({ "streaming": { "room": "x", "peer": "y" } }))
        .await;
    let mut answering = gateway.socket(&ws).await;
    let ended_for_silence = async {
        // Reading is what makes this client answer pings.
        tokio::select! {
            frame = answering.next() => panic!("{frame:?}"),
            action = gateway.next_action() => action,
        }
    };
    assert_eq!(
        soon("the drop", ended_for_silence).await,
        (silent, Action::End)
    );
    gateway
        .event(alive, "acme", CallEventKind::Answered(200))
        .await;
    let _: OutgoingCallData = answering.binary().await;
    drop(frozen);
    gateway.end().await;
}

#[tokio::test]
async fn websockets_are_refused_in_the_envelope() {
    let gateway = Gateway::start(Vec::new()).await;
    let (call, token, _) = gateway.dial(json!({})).await;
    for (path, status) in [
        (format!("/call/outgoing/{call}"), 401),
        (format!("/call/outgoing/{call}?token=wrong"), 401),
        (format!("/call/outgoing/{call}?token={ROOT}"), 403),
        (format!("/call/incoming/{call}?token={token}"), 404),
        (
            format!("/call/outgoing/{}?token={ACME}", call_id(0, 9)),
            404,
        ),
        (
            format!("/call/outgoing/{call}?token={token}&format=xml"),
            400,
        ),
        (format!("/call/incoming/notify?token={token}"), 403),
        (format!("/call/incoming/notify?token={ACME}"), 400),
    ] {
        assert_eq!(gateway.refused_socket(&path).await, status, "{path}");
    }
    gateway.end().await;
}

#[tokio::test]
async fn at_the_end_clients_get_the_last_events_before_they_are_closed() {
    let gateway = Gateway::start(Vec::new()).await;
    let (call, _, ws) = gateway.dial(json!({})).await;
    let mut socket = gateway.socket(&format!("{ws}&format=json")).await;
    let (_, _, other) = gateway
        .dial(json!({ "streaming": { "room": "x", "peer": "y" } }))
        .await;
    let mut open = gateway.socket(&other).await;
    gateway.event(call, "acme", CallEventKind::Terminated).await;
    gateway.event(call, "acme", ended(call)).await;
    let reading = async move {
        assert_eq!(
            socket.json().await,
            json!({ "event": { "terminated": {} } })
        );
        assert_eq!(socket.json().await, json!({ "event": { "ended": {} } }));
        assert_eq!(socket.close_code().await, 1000);
        assert_eq!(open.close_code().await, 1001);
    };
    tokio::join!(gateway.end(), reading);
}
