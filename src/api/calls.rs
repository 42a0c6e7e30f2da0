//! `GET /call/{call_id}`, `GET /calls`, `GET /rooms`, `GET /rooms/{room}`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use crate::call::request::{
    AudioSnapshot, CallError, CallReply, CallRequest, CallSnapshot, CallState, Direction,
    MediaSnapshot, PeerKind, PeerSound, Rating, RoomSnapshot, two_decimals,
};
use crate::ids::{AppId, CallId, RoomKey};

use super::Shared;
use super::error::{ApiError, success};
use super::openapi::{Denied, Failure, Success, words};
use super::records::record_view;
use super::registry::Call;
use super::sound::audio::AudioView;

/// A call that the shard has and we do not know has just arrived, and one that
/// the shard has just forgotten has ended. The event that says so is on its way
/// to us and does not take longer than this.
const EVENT_ON_ITS_WAY: Duration = Duration::from_secs(1);

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
    let call = match shared.known_call(id).await {
        Ok(call) => call,
        Err(error) if error.status == StatusCode::NOT_FOUND => {
            let record = shared.record_for(&app, id).await?;
            return Ok(success(record_view(&record)));
        }
        Err(error) => return Err(error),
    };
    if call.app != app {
        return Err(ApiError::forbidden("this call belongs to another app"));
    }
    let snapshot = the_call(&shared, &call).await?;
    Ok(success(call_view(&snapshot)))
}

impl Shared {
    /// The call, if it lives or has ended a short while ago.
    ///
    /// A shard names a call in its answers (`GET /calls`, `GET /rooms`) as soon
    /// as it has it, which may be before its arrival has come to us: whoever
    /// read of it there can act on it.
    ///
    /// # Errors
    /// 404 for no such call, 503 where its shard does not answer.
    pub async fn known_call(&self, id: CallId) -> Result<Arc<Call>, ApiError> {
        if let Some(call) = self.registry.get(id) {
            return Ok(call);
        }
        if !self.shards.all().any(|shard| shard == id.shard) {
            return Err(ApiError::call_not_found());
        }
        match self.ask(id.shard, CallRequest::Call(id)).await? {
            CallReply::Call(_) => tokio::time::timeout(EVENT_ON_ITS_WAY, self.registry.known(id))
                .await
                .map_err(|_| ApiError::call_not_found()),
            // It may have come and gone meanwhile.
            _ => self.registry.get(id).ok_or_else(ApiError::call_not_found),
        }
    }
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
    let _ = tokio::time::timeout(EVENT_ON_ITS_WAY, ended).await;
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
    /// How it is heard and hears, in a room of this gateway.
    audio: Option<PeerAudioView>,
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
    /// `relayed`: its two peers get each other's packets, and nothing is
    /// decoded for them; `mixed`: what they hear is made here.
    #[schema(schema_with = mixes)]
    sound: &'static str,
    /// What is played.
    plays: Vec<RoomPlayView>,
    /// What is recorded.
    recordings: Vec<RoomRecordingView>,
    peers: Vec<PeerView>,
}

/// Something that is played.
#[derive(Serialize, ToSchema)]
#[schema(as = RoomPlay)]
pub(super) struct RoomPlayView {
    play_id: String,
    /// To which call alone; `null`: to all.
    call_id: Option<String>,
}

/// Something that is recorded.
#[derive(Serialize, ToSchema)]
#[schema(as = RoomRecording)]
pub(super) struct RoomRecordingView {
    recording_id: String,
    /// Which call; `null`: the whole room.
    call_id: Option<String>,
    /// Nothing is recorded just now.
    paused: bool,
}

/// How a peer is heard and hears.
#[derive(Serialize, ToSchema)]
#[schema(as = PeerAudio)]
pub struct PeerAudioView {
    #[serde(flatten)]
    turned: AudioView,
    /// How loud it is, in dBov (RFC 6464): 0 is full scale, -127 silence.
    /// `null` where its sound is not decoded, as in a relayed room.
    level_dbov: Option<i8>,
    /// It speaks, and is not muted.
    speaking: Option<bool>,
    /// It is among the loudest, who are heard.
    heard: Option<bool>,
    jitter_buffer: Option<JitterBufferView>,
}

/// What the jitter buffer did so far.
#[derive(Serialize, ToSchema)]
#[schema(as = JitterBuffer)]
pub(super) struct JitterBufferView {
    /// How long sound waits in it now.
    delay_ms: f64,
    /// How long it is to wait.
    target_ms: f64,
    /// Packets that never came.
    lost: u64,
    /// Packets that came when their turn was over.
    late: u64,
    /// Packets that a full buffer or a new stream pushed out.
    discarded: u64,
    /// Packets whose sound came from the redundancy of the next one.
    recovered: u64,
    /// The share of the sound that stood in for what was not there in time,
    /// from 0 to 1.
    concealed_share: f64,
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
    /// How it is heard and hears, in a room of this gateway.
    audio: Option<PeerAudioView>,
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

fn mixes() -> Object {
    words(&["relayed", "mixed"])
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
        audio: audio_view(call.media.as_ref()),
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
        audio: audio_view(peer.media.as_ref()),
    });
    let plays = room.plays.iter().map(|play| RoomPlayView {
        play_id: play.play.to_string(),
        call_id: play.call.map(|call| call.to_string()),
    });
    let recordings = room.recordings.iter().map(|recording| RoomRecordingView {
        recording_id: recording.recording.to_string(),
        call_id: recording.call.map(|call| call.to_string()),
        paused: recording.paused,
    });
    RoomView {
        room: room.room.name.to_string(),
        backend,
        created_ms: room.created_ms,
        sound: match room.mixed {
            true => "mixed",
            false => "relayed",
        },
        plays: plays.collect(),
        recordings: recordings.collect(),
        peers: peers.collect(),
    }
}

fn audio_view(media: Option<&MediaSnapshot>) -> Option<PeerAudioView> {
    let AudioSnapshot { turned, sound } = media?.audio.as_deref()?;
    let sound = sound.as_ref();
    Some(PeerAudioView {
        turned: AudioView::of(turned),
        level_dbov: sound.map(|sound| sound.level_dbov),
        speaking: sound.map(|sound| sound.speaking),
        heard: sound.map(|sound| sound.heard),
        jitter_buffer: sound.map(jitter_buffer_view),
    })
}

fn jitter_buffer_view(sound: &PeerSound) -> JitterBufferView {
    let buffer = &sound.receiver;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let total = buffer.total.as_secs_f64();
    JitterBufferView {
        delay_ms: milliseconds(buffer.current_delay),
        target_ms: milliseconds(buffer.target_delay),
        lost: buffer.lost,
        late: buffer.late,
        discarded: buffer.discarded,
        recovered: buffer.recovered,
        concealed_share: match total > 0.0 {
            true => buffer.concealed.as_secs_f64() / total,
            false => 0.0,
        },
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
