//! `POST /token/notify` and `POST /token/room`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::body::{name, read_json};
use super::error::{ApiError, success};
use super::openapi::{Denied, JsonBody, Success};

/// No token holds longer (seconds): thirty days.
const MAX_TTL: u64 = 30 * 86_400;

/// Who is to be notified.
#[derive(Deserialize, ToSchema)]
#[schema(as = NotifyTokenRequest)]
pub(super) struct NotifyBody {
    /// Clients of one name share what arrives.
    #[schema(min_length = 1, max_length = 256)]
    client_id: Option<String>,
    /// Another name of `client_id`.
    #[schema(min_length = 1, max_length = 256)]
    session_id: Option<String>,
    /// Seconds that it holds.
    #[schema(minimum = 1, maximum = 2_592_000)]
    ttl: Option<u64>,
}

/// Which place in which room.
#[derive(Deserialize, ToSchema)]
#[schema(as = RoomTokenRequest)]
pub(super) struct RoomBody {
    #[schema(required = true, min_length = 1, max_length = 256)]
    room: Option<String>,
    #[schema(required = true, min_length = 1, max_length = 256)]
    peer: Option<String>,
    /// Seconds that it holds.
    #[schema(minimum = 1, maximum = 2_592_000)]
    ttl: Option<u64>,
}

/// A token for the notify WebSocket.
#[derive(Serialize, ToSchema)]
pub(super) struct NotifyToken {
    token: String,
    /// Path of the WebSocket, with the token.
    notify_ws: String,
}

/// A token for a WebRTC peer.
#[derive(Serialize, ToSchema)]
pub(super) struct RoomToken {
    token: String,
}

/// Makes a token for the notify WebSocket.
#[utoipa::path(
    post,
    path = "/token/notify",
    operation_id = "notify_token",
    tag = "tokens",
    request_body(content = NotifyBody, example = json!({"client_id": "desk-1"})),
    responses(
        (status = 200, description = "The token", body = Success<NotifyToken>),
        Denied,
        JsonBody,
    )
)]
pub async fn notify(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let body: NotifyBody = read_json(Request::from_parts(parts, body)).await?;
    let client = name(body.client_id.or(body.session_id), "client_id")?;
    let token = shared
        .gate
        .notify_token(&app, client, ttl(&shared, body.ttl)?)?;
    let notify_ws = format!("/call/incoming/notify?token={token}");
    Ok(success(NotifyToken { token, notify_ws }))
}

/// Makes a token for one place in one room.
#[utoipa::path(
    post,
    path = "/token/room",
    operation_id = "room_token",
    tag = "tokens",
    request_body(content = RoomBody, example = json!({"room": "r1", "peer": "ada"})),
    responses(
        (status = 200, description = "The token", body = Success<RoomToken>),
        Denied,
        JsonBody,
    )
)]
pub async fn room(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let body: RoomBody = read_json(Request::from_parts(parts, body)).await?;
    let room = name(body.room, "room")?;
    let peer = name(body.peer, "peer")?;
    let token = shared
        .gate
        .room_token(&app, room, peer, ttl(&shared, body.ttl)?)?;
    Ok(success(RoomToken { token }))
}

fn ttl(shared: &Shared, seconds: Option<u64>) -> Result<Duration, ApiError> {
    match seconds {
        None => Ok(shared.settings().token_ttl),
        Some(seconds @ 1..=MAX_TTL) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err(ApiError::field(
            "ttl",
            format!("write 1 to {MAX_TTL} seconds"),
        )),
    }
}
