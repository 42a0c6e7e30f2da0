//! What a hook may answer to an arrived call: an `IncomingCallNotifyResponse`
//! in the encoding it was asked in, the JSON body of the action API, or
//! nothing, which means to wait for an action.

use prost::Message;
use serde_json::Value;

use crate::book::HookContentType;

use super::actions::{self, IncomingAction};
use super::body::StreamBody;
use super::proto::sip_gateway::incoming_call_data::IncomingCallNotifyResponse;
use super::proto::sip_gateway::incoming_call_data::incoming_call_notify_response::Action;

/// What to do with an arrived call.
#[derive(Debug)]
pub enum HookAnswer {
    /// Do this.
    Act(IncomingAction),
    /// Wait for an action by REST or WebSocket.
    Continue,
}

/// Reads a successful answer's body. An error says why it cannot be used.
pub fn read(
    content_type: &str,
    asked_in: HookContentType,
    body: &[u8],
) -> Result<HookAnswer, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(HookAnswer::Continue);
    }
    let content_type = content_type.to_ascii_lowercase();
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    // No protobuf answer starts with a brace: 0x7b would be field 15 as a
    // group, and the message has none.
    let json = first == Some(&b'{')
        || content_type.contains("json")
        || (asked_in == HookContentType::Json && !content_type.contains("protobuf"));
    if json {
        read_json(body)
    } else {
        read_protobuf(body)
    }
}

fn read_json(body: &[u8]) -> Result<HookAnswer, String> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| format!("answered no JSON: {error}"))?;
    let Value::Object(fields) = &value else {
        return Err("answered JSON that is no object".to_string());
    };
    match fields.get("action") {
        Some(Value::String(action)) if action == "Continue" => Ok(HookAnswer::Continue),
        Some(_) => actions::incoming_from_json(value)
            .map(HookAnswer::Act)
            .map_err(|error| error.message),
        None => {
            let response: IncomingCallNotifyResponse = serde_json::from_value(value)
                .map_err(|error| format!("answered no IncomingCallNotifyResponse: {error}"))?;
            Ok(of_response(response))
        }
    }
}

fn read_protobuf(body: &[u8]) -> Result<HookAnswer, String> {
    IncomingCallNotifyResponse::decode(body)
        .map(of_response)
        .map_err(|error| format!("answered no IncomingCallNotifyResponse: {error}"))
}

fn of_response(response: IncomingCallNotifyResponse) -> HookAnswer {
    match response.action {
        Some(Action::Ring(_)) => HookAnswer::Act(IncomingAction::Ring),
        Some(Action::End(_)) => HookAnswer::Act(IncomingAction::End),
        Some(Action::Accept(accept)) => HookAnswer::Act(IncomingAction::Accept(StreamBody {
            room: Some(accept.room),
            peer: Some(accept.peer),
            record: Some(accept.record),
        })),
        // A message without an action says as much as no message.
        Some(Action::Continue(_)) | None => HookAnswer::Continue,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> String {
        match read("application/json", HookContentType::Json, body.as_bytes()) {
            Ok(answer) => format!("{answer:?}"),
            Err(problem) => problem,
        }
    }

    const ACCEPT: &str =
        r#"Act(Accept(StreamBody { room: Some("r"), peer: Some("p"), record: Some(false) }))"#;

    #[test]
    fn the_message_in_json_is_understood() {
        assert_eq!(json(r#"{"ring":{}}"#), "Act(Ring)");
        assert_eq!(json(r#"{"end":{}}"#), "Act(End)");
        assert_eq!(json(r#"{"continue":{}}"#), "Continue");
        assert_eq!(json(r#"{"accept":{"room":"r","peer":"p"}}"#), ACCEPT);
        assert_eq!(json(r#"{"colour":1}"#), "Continue");
    }

    #[test]
    fn the_action_apis_body_is_understood() {
        assert_eq!(json(r#"{"action":"Ring"}"#), "Act(Ring)");
        assert_eq!(json(r#"{"action":"End"}"#), "Act(End)");
        assert_eq!(json(r#"{"action":"Continue"}"#), "Continue");
        assert_eq!(
            json(r#"{"action":"Accept","stream":{"room":"r","peer":"p","record":false}}"#),
            ACCEPT
        );
    }

    #[test]
    fn nothing_means_to_wait() {
        for body in ["", " \r\n", "{}"] {
            assert_eq!(json(body), "Continue", "{body:?}");
        }
    }

    #[test]
    fn protobuf_is_understood_and_json_even_where_protobuf_was_asked() {
        let read = |content_type: &str, body: &[u8]| {
            format!(
                "{:?}",
                read(content_type, HookContentType::Protobuf, body).unwrap()
            )
        };
        let accept = b"\x5a\x06\x0a\x01r\x12\x01p";
        assert_eq!(read("application/protobuf", accept), ACCEPT);
        assert_eq!(read("", accept), ACCEPT);
        assert_eq!(read("application/protobuf", b"\x52\x00"), "Act(Ring)");
        assert_eq!(read("application/protobuf", b"\x62\x00"), "Act(End)");
        assert_eq!(read("application/protobuf", b"\x6a\x00"), "Continue");
        assert_eq!(read("text/plain", br#"{"action":"End"}"#), "Act(End)");
    }

    #[test]
    fn what_is_no_answer_is_told() {
        assert!(json("OK").contains("no JSON"));
        assert!(json("[]").contains("no object"));
        assert!(json(r#"{"action":"Hold"}"#).contains("Hold"));
        assert!(json(r#"{"action":"Accept"}"#).contains("stream"));
        assert!(read("", HookContentType::Protobuf, b"OK").is_err());
    }
}
