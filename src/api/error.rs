//! The envelope, and every way a request can fail.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::call::request::{CallError, LimitKind};
use crate::shard::mailbox::MailboxError;
use crate::store::StoreError;

use super::openapi::{Done, Failure, Success};

/// What a client that met an overload is asked to wait before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// While draining: by then another gateway, or the next start, has taken over.
const RETRY_AFTER_DRAINING: Duration = Duration::from_secs(30);

/// Success with data.
pub fn success(data: impl Serialize) -> Response {
    Json(Success { status: true, data }).into_response()
}

/// Success with nothing to say.
pub fn done() -> Response {
    Json(Done { status: true }).into_response()
}

/// A request that fails: status, code, and what was wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// `SNAKE_CODE`, stable.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// When it is worth trying again.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// The sound of rooms is to be worked on, and they are elsewhere.
    pub fn room_on_media_server() -> Self {
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "ROOM_ON_MEDIA_SERVER",
            "rooms are on a media server (rooms.backend = \"external\"); their sound is its own",
        )
    }

    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ApiError {
            status,
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// A field that is wrong or missing.
    pub fn field(field: &str, problem: impl std::fmt::Display) -> Self {
        ApiError::bad_request(format!("{field}: {problem}"))
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    pub fn unauthorized(message: &str) -> Self {
        ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    pub fn forbidden(message: &str) -> Self {
        ApiError::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    pub fn call_not_found() -> Self {
        ApiError::from(CallError::UnknownCall)
    }

    pub fn overloaded(message: impl Into<String>) -> Self {
        ApiError {
            retry_after: Some(RETRY_AFTER),
            ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", message)
        }
    }

    pub fn draining() -> Self {
        ApiError::from(CallError::Draining)
    }

    /// What a status says that we did not choose ourselves.
    pub fn of_status(status: StatusCode) -> Self {
        let (code, message) = match status {
            StatusCode::BAD_REQUEST => ("BAD_REQUEST", "the request could not be read"),
            StatusCode::NOT_FOUND => (
                "NOT_FOUND",
                "there is nothing at this path; see the API's documentation for those that exist",
            ),
            StatusCode::METHOD_NOT_ALLOWED => (
                "METHOD_NOT_ALLOWED",
                "this path does not take this method; the Allow header names those it takes",
            ),
            StatusCode::REQUEST_TIMEOUT => ("TIMEOUT", "the request took too long to arrive"),
            StatusCode::PAYLOAD_TOO_LARGE => ("PAYLOAD_TOO_LARGE", "the body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (
                "UNSUPPORTED_MEDIA_TYPE",
                "send JSON with Content-Type: application/json",
            ),
            StatusCode::UPGRADE_REQUIRED => (
                "UPGRADE_REQUIRED",
                "this path is a WebSocket; connect with a WebSocket client",
            ),
            status if status.is_client_error() => ("BAD_REQUEST", "the request was refused"),
            _ => ("INTERNAL", "something went wrong inside the gateway"),
        };
        ApiError::new(status, code, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Failure {
            status: false,
            error: self.code,
            message: self.message,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 11.6.1: a 401 names the scheme.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        let (status, code) = match &error {
            CallError::UnknownCall => (StatusCode::NOT_FOUND, "CALL_NOT_FOUND"),
            CallError::NoTrace => (StatusCode::NOT_FOUND, "TRACE_NOT_FOUND"),
            CallError::UnknownPeer => (StatusCode::NOT_FOUND, "PEER_NOT_FOUND"),
            CallError::FormerIceSession => (StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED"),
            CallError::WebRtcDisabled => (StatusCode::UNPROCESSABLE_ENTITY, "WEBRTC_DISABLED"),
            CallError::UnknownRoom => (StatusCode::NOT_FOUND, "ROOM_NOT_FOUND"),
            CallError::WrongState { .. } => (StatusCode::CONFLICT, "WRONG_STATE"),
            CallError::RoomFull => (StatusCode::CONFLICT, "ROOM_FULL"),
            CallError::PeerExists => (StatusCode::CONFLICT, "PEER_EXISTS"),
            CallError::RecordingOff => (StatusCode::UNPROCESSABLE_ENTITY, "RECORDING_UNAVAILABLE"),
            CallError::RecordingUnavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "RECORDING_UNAVAILABLE")
            }
            CallError::AlreadyRecording => (StatusCode::CONFLICT, "ALREADY_RECORDING"),
            CallError::NotRecording => (StatusCode::NOT_FOUND, "RECORDING_NOT_FOUND"),
            CallError::UnknownPlay => (StatusCode::NOT_FOUND, "PLAY_NOT_FOUND"),
            CallError::TooManyPlays => (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_PLAYS"),
            CallError::TooManyKeys => (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_KEYS"),
            CallError::PeerOnHold => (StatusCode::CONFLICT, "PEER_ON_HOLD"),
            CallError::PortsExhausted => (StatusCode::SERVICE_UNAVAILABLE, "PORTS_EXHAUSTED"),
            CallError::TooManyCalls | CallError::Overloaded => {
                (StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED")
            }
            CallError::Limit(exceeded) => match exceeded.kind {
                LimitKind::Calls => (StatusCode::TOO_MANY_REQUESTS, "LIMIT_CALLS"),
                LimitKind::CallRate => (StatusCode::TOO_MANY_REQUESTS, "LIMIT_CALL_RATE"),
            },
            CallError::Draining => (StatusCode::SERVICE_UNAVAILABLE, "DRAINING"),
            CallError::Invalid { .. } => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
            CallError::NoCommonCodec => (StatusCode::CONFLICT, "NO_COMMON_CODEC"),
            CallError::MediaServer(_) => (StatusCode::BAD_GATEWAY, "MEDIA_SERVER_FAILED"),
            CallError::NoCommonSecurity(_) => (StatusCode::CONFLICT, "NO_COMMON_SECURITY"),
            CallError::Media(_) => (StatusCode::SERVICE_UNAVAILABLE, "MEDIA_UNAVAILABLE"),
        };
        let retry_after = match error {
            CallError::Draining => Some(RETRY_AFTER_DRAINING),
            CallError::Limit(_) | CallError::TooManyPlays | CallError::TooManyKeys => {
                Some(RETRY_AFTER)
            }
            _ => (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER),
        };
        ApiError {
            retry_after,
            ..ApiError::new(status, code, error.to_string())
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        ApiError::overloaded(error.to_string())
    }
}

impl From<MailboxError> for ApiError {
    fn from(error: MailboxError) -> Self {
        ApiError::overloaded(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_503_says_when_to_try_again() {
        for error in [
            ApiError::from(CallError::PortsExhausted),
            ApiError::from(CallError::TooManyCalls),
            ApiError::from(CallError::Draining),
            ApiError::from(CallError::Media("no socket".to_string())),
            ApiError::from(MailboxError::Full),
            ApiError::from(MailboxError::Gone),
        ] {
            let response = error.into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(response.headers().contains_key(header::RETRY_AFTER));
        }
    }

    #[test]
    fn a_401_names_the_scheme() {
        let response = ApiError::unauthorized("no").into_response();
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
