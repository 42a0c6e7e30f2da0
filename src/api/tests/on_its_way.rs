//! Calls that a shard names before their arrival has come to the api.

use super::*;

/// Waits until the shard was asked for a call this often.
async fn asked_for(seen: &mut mpsc::UnboundedReceiver<CallRequest>, times: usize) {
    soon("the shard is asked", async {
        for _ in 0..times {
            while !matches!(seen.recv().await, Some(CallRequest::Call(_))) {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_can_be_acted_on_as_soon_as_its_shard_names_it() {
    let mut known = number("200", "acme");
    known.client_id = Some("desk".to_string());
    let call = call_id(1, 5);
    let mut gateway = Gateway::with(settings(), vec![known.clone()], move |request| {
        let living = CallSnapshot {
            state: CallState::Trying,
            ..*snapshot(call, "acme")
        };
        match request {
            CallRequest::Calls(_) => Some(CallReply::Calls(vec![living])),
            CallRequest::Call(_) => Some(CallReply::Call(Box::new(living))),
            _ => None,
        }
    })
    .await;
    let _listening = gateway
        .socket("/call/incoming/notify?token=acme-secret&client_id=desk")
        .await;
    let (status, listed) = gateway.get("/calls", ACME).await;
    assert_eq!(status, 200);
    assert_eq!(
        listed["data"]["calls"][0]["call_id"],
        json!(call.to_string())
    );

    let mut seen = std::mem::replace(&mut gateway.seen, mpsc::unbounded_channel().1);
    let (one, action) = (
        format!("/call/{call}"),
        format!("/call/incoming/{call}/action"),
    );
    let follow = format!("/call/incoming/{call}?token={ACME}");
    let arrives = async {
        asked_for(&mut seen, 4).await;
        gateway.event(call, "acme", arrival(known)).await;
    };
    let ring = json!({ "action": "Ring" });
    let ((told, _), (rung, _), (foreign, _), _socket, ()) = tokio::join!(
        gateway.get(&one, ACME),
        gateway.post(&action, ACME, ring),
        gateway.delete(&one, ROOT),
        gateway.socket(&follow),
        arrives,
    );
    assert_eq!((told, rung, foreign), (200, 200, 403));
    gateway.end().await;
}

#[tokio::test]
async fn a_call_that_no_shard_has_is_not_waited_for() {
    let gateway = Gateway::with(settings(), Vec::new(), |request| match request {
        CallRequest::Call(_) => Some(CallReply::Refused(
            crate::call::request::CallError::UnknownCall,
        )),
        _ => None,
    })
    .await;
    for call in [call_id(1, 5), call_id(200, 5)] {
        let (status, answer) = gateway.delete(&format!("/call/{call}"), ACME).await;
        assert_eq!((status, &answer["error"]), (404, &json!("CALL_NOT_FOUND")));
    }
    gateway.end().await;
}
