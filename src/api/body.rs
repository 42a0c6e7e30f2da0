//! Request bodies: JSON of limited size, and every mistake told with its
//! field.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use crate::call::request::Stream;
use crate::ids::{AppId, RoomKey};

use super::error::ApiError;

/// No body of this API is longer (bytes), but for files.
pub const MAX_BODY: usize = 64 * 1024;
/// Names of rooms, peers and clients are at most this long (bytes).
const MAX_NAME: usize = 256;

/// Where a call's media goes, as it is written.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Stream)]
pub struct StreamBody {
    /// A room of the app; it comes to be with its first peer.
    #[schema(required = true, min_length = 1, max_length = 256)]
    pub room: Option<String>,
    /// The call's name in the room.
    #[schema(required = true, min_length = 1, max_length = 256)]
    pub peer: Option<String>,
    /// Not available yet.
    pub record: Option<bool>,
}

impl StreamBody {
    /// The place it names in a room of this app; `field` is what the body
    /// calls it.
    pub fn stream(self, app: &AppId, field: &str) -> Result<Stream, ApiError> {
        let room = name(self.room, &format!("{field}.room"))?;
        let peer = name(self.peer, &format!("{field}.peer"))?;
        Ok(Stream {
            room: RoomKey {
                app: app.clone(),
                name: Arc::from(room),
            },
            peer: Arc::from(peer),
            record: self.record.unwrap_or(false),
        })
    }
}

/// A name that must be there.
pub fn name(value: Option<String>, field: &str) -> Result<String, ApiError> {
    match value {
        None => Err(ApiError::field(field, "is missing; write a name")),
        Some(name) if name.is_empty() => Err(ApiError::field(field, "is empty; write a name")),
        Some(name) if name.len() > MAX_NAME => Err(ApiError::field(
            field,
            format!("is longer than {MAX_NAME} bytes; write a shorter name"),
        )),
        Some(name) if name.chars().any(char::is_control) => Err(ApiError::field(
            field,
            "has a control character; write a plain name",
        )),
        Some(name) => Ok(name),
    }
}

/// The request's body as `T`. Unknown fields are let through: clients may be
/// newer than we are.
pub async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    check_content_type(&request)?;
    parse_json(&read_bytes(request.into_body()).await?)
}

/// A body of whatever kind.
pub async fn read_bytes(body: Body) -> Result<Bytes, ApiError> {
    read_bytes_up_to(body, MAX_BODY).await
}

/// A body of whatever kind, of at most so many bytes.
pub async fn read_bytes_up_to(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, limit)
        .await
        .map_err(|error| match is_length_limit(&error) {
            true => ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "PAYLOAD_TOO_LARGE",
                format!("the body is longer than {limit} bytes"),
            ),
            false => ApiError::bad_request("the body did not arrive whole"),
        })
}

/// JSON bytes as `T`.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad_request("the body is empty; send JSON"));
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("the body is no JSON: {error}")))?;
    if !value.is_object() {
        return Err(ApiError::bad_request(
            "the body is JSON but no object; send {\"name\": value, …}",
        ));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." => ApiError::bad_request(error.inner().to_string()),
            field => ApiError::field(field, error.inner()),
        }
    })
}

fn check_content_type(request: &Request) -> Result<(), ApiError> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value.to_str().unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().ends_with("+json")
    {
        return Ok(());
    }
    Err(ApiError::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body {
        #[allow(dead_code)]
        streaming: Option<StreamBody>,
    }

    fn message(body: &str) -> String {
        parse_json::<Body>(body.as_bytes()).unwrap_err().message
    }

    #[test]
    fn a_wrong_type_is_told_with_its_field() {
        assert_eq!(
            message("{\"streaming\":{\"room\":3}}"),
            "streaming.room: invalid type: integer `3`, expected a string"
        );
    }

    #[test]
    fn what_is_no_json_object_is_told() {
        assert!(message("").contains("empty"));
        assert!(message("[]").contains("no object"));
        assert!(message("{").starts_with("the body is no JSON: "));
    }

    #[test]
    fn unknown_fields_are_let_through() {
        assert!(parse_json::<Body>(b"{\"colour\":1}").is_ok());
    }

    #[test]
    fn a_stream_needs_room_and_peer() {
        let app = AppId::new("a");
        let told = |body: StreamBody| body.stream(&app, "stream").unwrap_err().message;
        assert_eq!(
            told(StreamBody::default()),
            "stream.room: is missing; write a name"
        );
        let long = StreamBody {
            room: Some("r".to_string()),
            peer: Some("x".repeat(257)),
            record: None,
        };
        assert!(told(long).starts_with("stream.peer: is longer"));
    }
}
