//! `GET /call/{call_id}`, `GET /calls`, `GET /rooms`, `GET /rooms/{room}`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use crate::call::request::{
    CallError, CallReply, CallRequest, CallSnapshot, CallState, Direction, MediaSnapshot, PeerKind,
    Rating, RoomSnapshot, two_decimals,
};
use crate::ids::{AppId, CallId, RoomKey};

use super::Shared;
use super::error::{ApiError, success};
use super::openapi::{Denied, Failure, Success, words};
use super::records::record_view;
use super::registry::Call;

/// A call that the shard has just forgotten has ended; its last event is on
/// its way to us and does not take longer than this.
const END_ON_ITS_WAY: Duration = Duration::from_secs(1);

/// Tells one call.
#[utoipa::path(
    get,
    path = "/call/{call_id}",
    tag = "calls",
    params(("call_id" = String, Path, description = "As `POST /call/outgoing` or the notification told it")),
    responses(
        (status = 200, description = "The call", body = Success<CallView>),
        (status = 404, description = "`CALL_NOT_FOUND`", body = Failure),
        Denied,
    )
)]
pub async fn one_call(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let id: CallId = call_id.parse().map_err(|_| ApiError::call_not_found())?;
    let Some(call) = shared.registry.get(id) else {
        let record = shared.record_for(&app, id).await?;
        return Ok(success(record_view(&record)));
    };
    if call.app != app {
        return Err(ApiError::forbidden("this call belongs to another app"));
    }
    let snapshot = the_call(&shared, &call).await?;
    Ok(success(call_view(&snapshot)))
}

/// How a call is, or was when it ended.
pub async fn the_call(shared: &Shared, call: &Call) -> Result<Box<CallSnapshot>, ApiError> {
    if let Some(snapshot) = call.ended() {
        return Ok(snapshot);
    }
    match shared
        .ask(call.id.shard, CallRequest::Call(call.id))
        .await?
    {
        CallReply::Call(snapshot) => Ok(snapshot),
        CallReply::Refused(CallError::UnknownCall) => {
            its_end(call).await.ok_or_else(ApiError::call_not_found)
        }
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

/// Lists the app's calls.
#[utoipa::path(
    get,
    path = "/calls",
    tag = "calls",
    responses(
        (status = 200, description = "The calls", body = Success<CallsView>),
        Denied,
    )
)]
pub async fn all_calls(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let calls = calls_of(&shared, Some(app)).await?;
    let calls = calls.iter().map(call_view).collect();
    Ok(success(CallsView { calls }))
}

/// The calls of an app, or all, the oldest first.
pub async fn calls_of(shared: &Shared, app: Option<AppId>) -> Result<Vec<CallSnapshot>, ApiError> {
    let mut calls = Vec::new();
    for shard in shared.shards.all() {
        match shared.ask(shard, CallRequest::Calls(app.clone())).await? {
            CallReply::Calls(part) => calls.extend(part),
            CallReply::Refused(error) => return Err(error.into()),
            _ => {}
        }
    }
    calls.sort_by_key(|call| (call.created_ms, call.call.random));
    Ok(calls)
}

/// Lists the app's rooms.
#[utoipa::path(
    get,
    path = "/rooms",
    tag = "rooms",
    responses(
        (status = 200, description = "The rooms", body = Success<RoomsView>),
        Denied,
    )
)]
pub async fn all_rooms(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let rooms = rooms_of(&shared, Some(app)).await?;
    let rooms = rooms.iter().map(|room| room_view(&shared, room)).collect();
    Ok(success(RoomsView { rooms }))
}

/// The rooms of an app, or all, by name.
pub async fn rooms_of(shared: &Shared, app: Option<AppId>) -> Result<Vec<RoomSnapshot>, ApiError> {
    let mut rooms = Vec::new();
    for shard in shared.shards.all() {
        match shared.ask(shard, CallRequest::Rooms(app.clone())).await? {
            CallReply::Rooms(part) => rooms.extend(part),
            CallReply::Refused(error) => return Err(error.into()),
            _ => {}
        }
    }
    let key = |room: &RoomSnapshot| (room.room.name.clone(), room.room.app.to_string());
    rooms.sort_by_key(key);
    Ok(rooms)
}

/// Tells one room.
#[utoipa::path(
    get,
    path = "/rooms/{room}",
    tag = "rooms",
    params(("room" = String, Path)),
    responses(
        (status = 200, description = "The room", body = Success<RoomView>),
        (status = 404, description = "`ROOM_NOT_FOUND`", body = Failure),
        Denied,
    )
)]
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
            Some(room) => Ok(success(room_view(&shared, room))),
            None => Err(CallError::UnknownRoom.into()),
        },
        CallReply::Refused(error) => Err(error.into()),
        _ => Err(CallError::UnknownRoom.into()),
    }
}

/// One call. Times are milliseconds since the Unix epoch.
#[derive(Serialize, ToSchema)]
#[schema(as = Call)]
pub struct CallView {
    call_id: String,
    #[schema(schema_with = directions)]
    direction: &'static str,
    #[schema(schema_with = states)]
    state: &'static str,
    from_number: String,
    to_number: String,
    streaming: Option<StreamView>,
    /// The SIP Call-ID, for comparison with the peer's logs.
    sip_call_id: String,
    /// Last SIP status of the INVITE, sent or received.
    sip_code: Option<u16>,
    /// The peer's signalling address.
    #[schema(value_type = String, example = "192.0.2.1:5060")]
    peer_address: SocketAddr,
    created_ms: u64,
    /// When it first rang.
    ringing_ms: Option<u64>,
    /// When early media began.
    early_ms: Option<u64>,
    answered_ms: Option<u64>,
    ended_ms: Option<u64>,
    /// Who or what ended it, in a word.
    #[schema(value_type = Option<String>)]
    end_reason: Option<&'static str>,
    /// The peer has put us on hold.
    held: bool,
    /// What the last description agreed on: `none`, `sdes` or `dtls`.
    #[schema(value_type = String)]
    security: &'static str,
    #[schema(value_type = Option<String>)]
    srtp_suite: Option<&'static str>,
    media: Option<MediaView>,
}

/// Where a call's media goes.
#[derive(Serialize, ToSchema)]
#[schema(as = CallStream)]
pub(super) struct StreamView {
    room: String,
    peer: String,
    record: bool,
}

/// Calls of the app, those that ended in the last minute too.
#[derive(Serialize, ToSchema)]
#[schema(as = Calls)]
pub(super) struct CallsView {
    calls: Vec<CallView>,
}

/// Rooms of the app.
#[derive(Serialize, ToSchema)]
#[schema(as = Rooms)]
pub(super) struct RoomsView {
    rooms: Vec<RoomView>,
}

/// One room.
#[derive(Serialize, ToSchema)]
#[schema(as = Room)]
pub struct RoomView {
    room: String,
    /// Where peers hear each other.
    #[schema(schema_with = backends)]
    backend: &'static str,
    /// Milliseconds since the Unix epoch.
    created_ms: u64,
    peers: Vec<PeerView>,
}

/// One peer of a room.
#[derive(Serialize, ToSchema)]
#[schema(as = RoomPeer)]
pub(super) struct PeerView {
    peer: String,
    /// Its call; of a WebRTC peer its own id.
    call_id: String,
    #[schema(schema_with = kinds)]
    kind: &'static str,
    /// Milliseconds since the Unix epoch.
    joined_ms: u64,
    media: Option<MediaView>,
}

/// What the media did so far.
#[derive(Serialize, ToSchema)]
#[schema(as = Media)]
pub(super) struct MediaView {
    /// First audio codec in common.
    codec: String,
    /// The gateway's RTP address as written into the SDP.
    #[schema(value_type = Option<String>, example = "192.0.2.1:30000")]
    local: Option<SocketAddr>,
    /// The peer's RTP address as latched or in its SDP.
    #[schema(value_type = Option<String>, example = "192.0.2.1:30000")]
    remote: Option<SocketAddr>,
    packets_received: u64,
    bytes_received: u64,
    packets_sent: u64,
    bytes_sent: u64,
    /// Lost on the way to the gateway (RFC 3550 A.3).
    packets_lost: i64,
    /// Interarrival jitter (RFC 3550 A.8).
    jitter_ms: f64,
    /// To the peer and back (RFC 3550 section 6.4.1), once it has told.
    round_trip_ms: Option<f64>,
    /// Of the gateway's stream lost on the way to the peer, as it reports.
    remote_packets_lost: Option<i64>,
    /// Jitter of the gateway's stream at the peer, as it reports.
    remote_jitter_ms: Option<f64>,
    last_packet_ms_ago: Option<u64>,
    /// Mean opinion score of what came from the peer in the last seconds, 1 to
    /// 4.41 (E-model, ITU-T G.107).
    mos: Option<f64>,
    /// Its transmission rating factor, 0 to 93.2.
    r_factor: Option<f64>,
    /// The mean of all its scores.
    mos_average: Option<f64>,
    /// The worst of them.
    mos_min: Option<f64>,
    /// The same of what the peer hears, as it reports.
    remote_mos: Option<f64>,
    remote_r_factor: Option<f64>,
    remote_mos_average: Option<f64>,
    remote_mos_min: Option<f64>,
}

fn directions() -> Object {
    words(&["incoming", "outgoing"])
}

fn states() -> Object {
    use CallState::*;
    words(&[Trying, Ringing, Early, Active, Ending, Ended].map(CallState::label))
}

fn kinds() -> Object {
    words(&["sip", "webrtc"])
}

fn backends() -> Object {
    words(&["local", "external"])
}

/// A call as the API tells it.
pub fn call_view(call: &CallSnapshot) -> CallView {
    let stream = call.stream.as_ref().map(|stream| StreamView {
        room: stream.room.name.to_string(),
        peer: stream.peer.to_string(),
        record: stream.record,
    });
    CallView {
        call_id: call.call.to_string(),
        direction: match call.direction {
            Direction::Incoming => "incoming",
            Direction::Outgoing => "outgoing",
        },
        state: call.state.label(),
        from_number: call.from.to_string(),
        to_number: call.to.to_string(),
        streaming: stream,
        sip_call_id: call.sip_call_id.to_string(),
        sip_code: call.sip_code,
        peer_address: call.peer_address,
        created_ms: call.created_ms,
        ringing_ms: call.ringing_ms,
        early_ms: call.early_ms,
        answered_ms: call.answered_ms,
        ended_ms: call.ended_ms,
        end_reason: call.end_reason,
        held: call.held,
        security: call.security,
        srtp_suite: call.srtp_suite,
        media: call.media.as_ref().map(media_view),
    }
}

/// A room as the API tells it.
pub fn room_view(shared: &Shared, room: &RoomSnapshot) -> RoomView {
    let backend = match &shared.settings().media_server {
        None => "local",
        Some(_) => "external",
    };
    let peers = room.peers.iter().map(|peer| PeerView {
        peer: peer.peer.to_string(),
        call_id: peer.call.to_string(),
        kind: match peer.kind {
            PeerKind::Sip => "sip",
            PeerKind::WebRtc => "webrtc",
        },
        joined_ms: peer.joined_ms,
        media: peer.media.as_ref().map(media_view),
    });
    RoomView {
        room: room.room.name.to_string(),
        backend,
        created_ms: room.created_ms,
        peers: peers.collect(),
    }
}

fn media_view(media: &MediaSnapshot) -> MediaView {
    let heard = |of: fn(&Rating) -> f32| media.quality.as_ref().map(of).map(two_decimals);
    let remote = media.remote_quality;
    let remote = |of: fn(&Rating) -> f32| remote.as_ref().map(of).map(two_decimals);
    MediaView {
        codec: media.codec.clone(),
        local: media.local,
        remote: media.remote,
        packets_received: media.packets_received,
        bytes_received: media.bytes_received,
        packets_sent: media.packets_sent,
        bytes_sent: media.bytes_sent,
        packets_lost: media.packets_lost,
        jitter_ms: media.jitter_ms,
        round_trip_ms: media.round_trip_ms,
        remote_packets_lost: media.remote_packets_lost,
        remote_jitter_ms: media.remote_jitter_ms,
        last_packet_ms_ago: media.last_packet_ms_ago,
        mos: heard(|rating| rating.mos),
        r_factor: heard(|rating| rating.r),
        mos_average: heard(|rating| rating.mos_average),
        mos_min: heard(|rating| rating.mos_min),
        remote_mos: remote(|rating| rating.mos),
        remote_r_factor: remote(|rating| rating.r),
        remote_mos_average: remote(|rating| rating.mos_average),
        remote_mos_min: remote(|rating| rating.mos_min),
    }
}
