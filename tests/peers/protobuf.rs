//! The same messages in the binary encoding, on the WebSockets and on hooks.
//! The bytes are written out here: the field numbers are a promise, and a test
//! that used the gateway's own types would not notice a change.

use serde_json::json;

use crate::support::websocket::Frame;
use crate::support::{Gateway, HookReceiver, HookReply, PATIENCE, Sipp, WebSocket};

/// A field of length: its number and its bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("a short field");
    assert!(number < 16 && length < 128, "one byte each");
    [&[number << 3 | 2, length], bytes].concat()
}

/// A field of a small number.
fn number(field: u8, value: u8) -> Vec<u8> {
    assert!(field < 16 && value < 128, "one byte each");
    vec![field << 3, value]
}

/// `code = 1` of 200 as a varint.
const CODE_200: [u8; 3] = [0x08, 0xc8, 0x01];

/// Every binary frame up to this one.
#[track_caller]
fn frames_until(ws: &mut WebSocket, last: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    loop {
        match ws.frame(PATIENCE) {
            Some(Frame::Binary(bytes)) => frames.push(bytes),
            other => panic!("expected a binary frame, got {other:?} after {frames:02x?}"),
        }
        if frames.last().is_some_and(|frame| frame == last) {
            return frames;
        }
    }
}

#[test]
fn an_outgoing_calls_websocket_speaks_protobuf_unless_asked_otherwise() {
    let mut gateway = Gateway::with().start();
    let callee = Sipp::scenario("callee_answers").answer(&mut gateway);
    let call = gateway.dial(callee.address(), "lobby", "callee");
    let mut ws = WebSocket::open_exactly(&gateway, &call.ws);

    // OutgoingCallData.event = 1, sip = 2, accepted = 3.
    let accepted = field(1, &field(2, &field(3, &CODE_200)));
    assert_eq!(frames_until(&mut ws, &accepted), [accepted]);
    // request = 2, req_id = 1, end = 10.
    ws.send_binary(field(2, &[number(1, 7), field(10, &[])].concat()));
    // event = 1, ended = 3.
    let frames = frames_until(&mut ws, &field(1, &field(3, &[])));
    // response = 3, req_id = 1, end = 11; event = 1, terminated = 5.
    let response = field(3, &[number(1, 7), field(11, &[])].concat());
    assert!(frames.contains(&response), "{frames:02x?}");
    assert!(frames.contains(&field(1, &field(5, &[]))), "{frames:02x?}");
    callee.succeeds();
}

#[test]
fn an_incoming_calls_websocket_speaks_protobuf_too() {
    let hook = HookReceiver::silent();
    let mut gateway = Gateway::with()
        .number("7001", &format!("hook = \"{}\"", hook.url()))
        .start();
    let caller = Sipp::scenario("caller_talks")
        .set("talk_ms", "200")
        .call(&mut gateway, "7001");
    let arrived = hook.wait_for("notify.arrived").json();
    let path = arrived["notify"]["arrived"]["call_ws"]
        .as_str()
        .expect("call_ws")
        .to_owned();
    let mut ws = WebSocket::open_exactly(&gateway, &path);

    // request = 2, req_id = 1, accept = 11 { room = 1, peer = 2 }.
    let accept = [field(1, b"talk"), field(2, b"p")].concat();
    ws.send_binary(field(2, &[number(1, 1), field(11, &accept)].concat()));
    // event = 1, ended = 13.
    let frames = frames_until(&mut ws, &field(1, &field(13, &[])));
    // response = 3, accept = 12; event = 1, accepted = 12; sip = 11, bye = 2.
    for wanted in [
        field(3, &[number(1, 1), field(12, &[])].concat()),
        field(1, &field(12, &[])),
        field(1, &field(11, &field(2, &[]))),
    ] {
        assert!(
            frames.contains(&wanted),
            "{wanted:02x?} is missing in {frames:02x?}"
        );
    }
    caller.succeeds();
}

#[test]
fn the_server_answers_in_the_kind_of_the_last_frame() {
    let mut gateway = Gateway::with().start();
    let callee = Sipp::scenario("callee_answers").answer(&mut gateway);
    let call = gateway.dial(callee.address(), "lobby", "callee");
    let mut ws = WebSocket::open_exactly(&gateway, &call.ws);
    let accepted = field(1, &field(2, &field(3, &CODE_200)));
    frames_until(&mut ws, &accepted);
    // From here on in JSON.
    assert_eq!(
        ws.request(9, "end", json!({})),
        json!({ "req_id": 9, "end": {} })
    );
    ws.wait_for("ended");
    callee.succeeds();
}

/// The numbers of the oneof fields of a `CallEvent`, as far down as they name
/// the event.
fn path_of(event: &[u8]) -> Vec<u8> {
    let (kind, inner) = oneof(event).expect("an event");
    let (first, inner) = oneof(inner).expect("an event");
    // IncomingCallEvent.sip = 11 holds one oneof more.
    match (kind, first, oneof(inner)) {
        (12, 11, Some((second, _))) => vec![kind, first, second],
        _ => vec![kind, first],
    }
}

/// The first field of length that is not `call_id`: its number and bytes.
fn oneof(mut message: &[u8]) -> Option<(u8, &[u8])> {
    const CALL_ID: u8 = 2;
    let mut top = true;
    while let [key, rest @ ..] = message {
        if key & 7 == 0 {
            let end = rest.iter().position(|byte| byte & 0x80 == 0)?;
            message = &rest[end + 1..];
            continue;
        }
        let mut length = usize::from(*rest.first()? & 0x7f);
        let mut start = 1;
        if rest[0] & 0x80 != 0 {
            length |= usize::from(rest[1]) << 7;
            start = 2;
        }
        let body = rest.get(start..start + length)?;
        let is_call_id = top && key >> 3 == CALL_ID && length == 34;
        if !is_call_id {
            return Some((key >> 3, body));
        }
        top = false;
        message = &rest[start + length..];
    }
    None
}

#[test]
fn a_hook_may_be_protobuf_and_answer_in_it() {
    // accept = 11 { room = 1, peer = 2 }.
    let answer = field(11, &[field(1, b"talk"), field(2, b"p")].concat());
    let mut first = true;
    let hook = HookReceiver::scripted(move |_| {
        if std::mem::take(&mut first) {
            HookReply::protobuf(answer.clone())
        } else {
            HookReply::nothing()
        }
    });
    let lines = format!(
        "hook = \"{}\"\nhook_content_type = \"Protobuf\"",
        hook.url()
    );
    let mut gateway = Gateway::with().number("7001", &lines).start();
    Sipp::scenario("caller_talks")
        .set("talk_ms", "200")
        .call(&mut gateway, "7001")
        .succeeds();
    hook.wait_for_posts(5);

    let posts = hook.posts();
    let paths: Vec<Vec<u8>> = posts.iter().map(|post| path_of(&post.body)).collect();
    // notify = 10 { arrived = 10, accepted = 12 }, incoming = 12 { accepted = 12,
    // sip = 11 { bye = 2 }, ended = 13 }.
    assert_eq!(
        paths,
        [
            vec![10, 10],
            vec![10, 12],
            vec![12, 12],
            vec![12, 11, 2],
            vec![12, 13]
        ]
    );
    for post in &posts {
        assert_eq!(post.content_type, "application/protobuf");
    }
    hook.assert_all_signed();
}
