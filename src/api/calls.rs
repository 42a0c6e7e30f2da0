//! `GET /call/{call_id}`, `GET /calls`, `GET /rooms`, `GET /rooms/{room}`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde_json::{Value, json};

use crate::call::request::{
    CallError, CallReply, CallRequest, CallSnapshot, Direction, MediaSnapshot, PeerKind,
    RoomSnapshot,
};
use crate::ids::{AppId, CallId, RoomKey};

use super::Shared;
use super::error::{ApiError, success};
use super::registry::Call;

/// A call that the shard has just forgotten has ended; its last event is on
/// its way to us and does not take longer than this.
const END_ON_ITS_WAY: Duration = Duration::from_secs(1);

/// `GET /call/{call_id}`
pub async fn one_call(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let id: CallId = call_id.parse().map_err(|_| ApiError::call_not_found())?;
    let call = shared
        .registry
        .get(id)
        .ok_or_else(ApiError::call_not_found)?;
    if call.app != app {
        return Err(ApiError::forbidden("this call belongs to another app"));
    }
    if let Some(snapshot) = call.ended() {
        return Ok(success(call_json(&snapshot)));
    }
    match shared.ask(id.shard, CallRequest::Call(id)).await? {
        CallReply::Call(snapshot) => Ok(success(call_json(&snapshot))),
        CallReply::Refused(CallError::UnknownCall) => match its_end(&call).await {
            Some(snapshot) => Ok(success(call_json(&snapshot))),
            None => Err(ApiError::call_not_found()),
        },
        CallReply::Refused(error) => Err(error.into()),
        _ => Err(ApiError::call_not_found()),
    }
}

async fn its_end(call: &Call) -> Option<Box<CallSnapshot>> {
    let mut changes = call.changes();
    let ended = async { while call.ended().is_none() && changes.changed().await.is_ok() {} };
    let _ = tokio::time::timeout(END_ON_ITS_WAY, ended).await;
    call.ended()
}

/// `GET /calls`
pub async fn all_calls(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let mut calls = Vec::new();
    for shard in shared.shards.all() {
        match shared.ask(shard, CallRequest::Calls(app.clone())).await? {
            CallReply::Calls(part) => calls.extend(part),
            CallReply::Refused(error) => return Err(error.into()),
            _ => {}
        }
    }
    calls.sort_by_key(|call| (call.created_ms, call.call.random));
    let calls: Vec<Value> = calls.iter().map(call_json).collect();
    Ok(success(json!({ "calls": calls })))
}

/// `GET /rooms`
pub async fn all_rooms(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let mut rooms = Vec::new();
    for shard in shared.shards.all() {
        match shared.ask(shard, CallRequest::Rooms(app.clone())).await? {
            CallReply::Rooms(part) => rooms.extend(part),
            CallReply::Refused(error) => return Err(error.into()),
            _ => {}
        }
    }
    rooms.sort_by(|a, b| a.room.name.cmp(&b.room.name));
    let rooms: Vec<Value> = rooms.iter().map(|room| room_json(&shared, room)).collect();
    Ok(success(json!({ "rooms": rooms })))
}

/// `GET /rooms/{room}`
pub async fn one_room(
    State(shared): State<Arc<Shared>>,
    Path(room): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app: AppId = shared.gate.permit(&parts)?.app()?;
    let room = RoomKey {
        app,
        name: Arc::from(room),
    };
    let shard = shared.shards.of_room(&room);
    match shared.ask(shard, CallRequest::Room(room)).await? {
        CallReply::Rooms(rooms) => match rooms.first() {
            Some(room) => Ok(success(room_json(&shared, room))),
            None => Err(CallError::UnknownRoom.into()),
        },
        CallReply::Refused(error) => Err(error.into()),
        _ => Err(CallError::UnknownRoom.into()),
    }
}

fn call_json(call: &CallSnapshot) -> Value {
    let stream = call.stream.as_ref().map(|stream| {
        json!({
            "room": &*stream.room.name,
            "peer": &*stream.peer,
            "record": stream.record,
        })
    });
    json!({
        "call_id": call.call.to_string(),
        "direction": match call.direction {
            Direction::Incoming => "incoming",
            Direction::Outgoing => "outgoing",
        },
        "state": call.state.label(),
        "from_number": &*call.from,
        "to_number": &*call.to,
        "streaming": stream,
        "sip_call_id": &*call.sip_call_id,
        "sip_code": call.sip_code,
        "peer_address": call.peer_address,
        "created_ms": call.created_ms,
        "answered_ms": call.answered_ms,
        "ended_ms": call.ended_ms,
        "end_reason": call.end_reason,
        "held": call.held,
        "security": call.security,
        "srtp_suite": call.srtp_suite,
        "media": call.media.as_ref().map(media_json),
    })
}

fn room_json(shared: &Shared, room: &RoomSnapshot) -> Value {
    let backend = match &shared.settings.media_server {
        None => "local",
        Some(_) => "external",
    };
    let peers = room.peers.iter().map(|peer| {
        json!({
            "peer": &*peer.peer,
            "call_id": peer.call.to_string(),
            "kind": match peer.kind {
                PeerKind::Sip => "sip",
                PeerKind::WebRtc => "webrtc",
            },
            "joined_ms": peer.joined_ms,
            "media": peer.media.as_ref().map(media_json),
        })
    });
    json!({
        "room": &*room.room.name,
        "backend": backend,
        "created_ms": room.created_ms,
        "peers": peers.collect::<Vec<_>>(),
    })
}

fn media_json(media: &MediaSnapshot) -> Value {
    json!({
        "codec": media.codec,
        "local": media.local,
        "remote": media.remote,
        "packets_received": media.packets_received,
        "bytes_received": media.bytes_received,
        "packets_sent": media.packets_sent,
        "bytes_sent": media.bytes_sent,
        "packets_lost": media.packets_lost,
        "jitter_ms": media.jitter_ms,
        "round_trip_ms": media.round_trip_ms,
        "remote_packets_lost": media.remote_packets_lost,
        "remote_jitter_ms": media.remote_jitter_ms,
        "last_packet_ms_ago": media.last_packet_ms_ago,
    })
}
