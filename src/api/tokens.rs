//! `POST /token/notify` and `POST /token/room`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::Shared;
use super::body::{name, read_json};
use super::error::{ApiError, success};

/// No token holds longer (seconds): thirty days.
const MAX_TTL: u64 = 30 * 86_400;

#[derive(Deserialize)]
struct NotifyBody {
    client_id: Option<String>,
    session_id: Option<String>,
    ttl: Option<u64>,
}

#[derive(Deserialize)]
struct RoomBody {
    room: Option<String>,
    peer: Option<String>,
    ttl: Option<u64>,
}

/// `POST /token/notify`
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
    Ok(success(json!({
        "token": token,
        "notify_ws": format!("/call/incoming/notify?token={token}"),
    })))
}

/// `POST /token/room`
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
    Ok(success(json!({ "token": token })))
}

fn ttl(shared: &Shared, seconds: Option<u64>) -> Result<Duration, ApiError> {
    match seconds {
        None => Ok(shared.settings.token_ttl),
        Some(seconds @ 1..=MAX_TTL) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err(ApiError::field(
            "ttl",
            format!("write 1 to {MAX_TTL} seconds"),
        )),
    }
}
