//! `POST …/recording`: recordings of calls and rooms begun, paused and ended.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use crate::api::Shared;
use crate::api::body::read_json;
use crate::api::error::{ApiError, success};
use crate::api::openapi::{Denied, Failure, JsonBody, Success, words};
use crate::call::request::{CallError, CallReply, SoundRequest};

use super::Target;

const ACTIONS: [&str; 4] = ["start", "pause", "resume", "stop"];

/// What is to be done with a recording.
#[derive(Deserialize, ToSchema)]
#[schema(as = RecordingAction)]
pub struct RecordingBody {
    /// Begin one; leave out what follows; go on; end it.
    #[schema(required = true, schema_with = actions)]
    action: Option<String>,
}

/// The recording that was meant.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordingMeant)]
pub struct RecordingView {
    recording_id: String,
}

fn actions() -> Object {
    words(&ACTIONS)
}

/// Begins, pauses, resumes or ends the recording of a call.
///
/// What the peer says is on the left, what it hears on the right.
#[utoipa::path(
    post,
    path = "/call/{call_id}/recording",
    operation_id = "record_call",
    tag = "sound",
    params(("call_id" = String, Path, description = "As `POST /call/outgoing` or the notification told it")),
    request_body(content = RecordingBody, example = json!({"action": "start"})),
    responses(
        (status = 200, description = "Done", body = Success<RecordingView>),
        (status = 404, description = "`CALL_NOT_FOUND`, `PEER_NOT_FOUND`; `RECORDING_NOT_FOUND`: it is not recorded", body = Failure),
        (status = 409, description = "`ALREADY_RECORDING`; `WRONG_STATE`: nobody hears anything yet, or any more", body = Failure),
        (status = 422, description = "`RECORDING_UNAVAILABLE`: nothing is recorded here; `ROOM_ON_MEDIA_SERVER`", body = Failure),
        (status = 503, description = "`RECORDING_UNAVAILABLE`: no room for it just now; `OVERLOADED`", body = Failure, headers(("Retry-After" = u32, description = "Seconds"))),
        Denied,
        JsonBody,
    )
)]
pub async fn of_call(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let target = shared.talking_call(&parts, &call_id, "recording").await?;
    let body = read_json(Request::from_parts(parts, body)).await?;
    shared.record(target, body).await
}

/// Begins, pauses, resumes or ends the recording of a whole room.
#[utoipa::path(
    post,
    path = "/rooms/{room}/recording",
    operation_id = "record_room",
    tag = "sound",
    params(("room" = String, Path)),
    request_body(content = RecordingBody, example = json!({"action": "start"})),
    responses(
        (status = 200, description = "Done", body = Success<RecordingView>),
        (status = 404, description = "`ROOM_NOT_FOUND`; `RECORDING_NOT_FOUND`: it is not recorded", body = Failure),
        (status = 409, description = "`ALREADY_RECORDING`", body = Failure),
        (status = 422, description = "`RECORDING_UNAVAILABLE`: nothing is recorded here; `ROOM_ON_MEDIA_SERVER`", body = Failure),
        (status = 503, description = "`RECORDING_UNAVAILABLE`: no room for it just now; `OVERLOADED`", body = Failure, headers(("Retry-After" = u32, description = "Seconds"))),
        Denied,
        JsonBody,
    )
)]
pub async fn of_room(
    State(shared): State<Arc<Shared>>,
    Path(room): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let target = shared.whole_room(&parts, room)?;
    let body = read_json(Request::from_parts(parts, body)).await?;
    shared.record(target, body).await
}

impl Shared {
    async fn record(&self, target: Target, body: RecordingBody) -> Result<Response, ApiError> {
        let Target { room, call } = target;
        let shard_room = room.clone();
        let pause = |paused| SoundRequest::PauseRecording {
            room: room.clone(),
            call,
            paused,
        };
        let request = match body.action.as_deref() {
            Some("start") => SoundRequest::Record {
                room: room.clone(),
                call,
            },
            Some("pause") => pause(true),
            Some("resume") => pause(false),
            Some("stop") => SoundRequest::StopRecording {
                room: room.clone(),
                call,
            },
            other => return Err(wrong_action(other)),
        };
        match self.ask_sound(&shard_room, request).await? {
            CallReply::Recording(id) => Ok(success(RecordingView {
                recording_id: id.to_string(),
            })),
            _ => Err(CallError::NotRecording.into()),
        }
    }
}

fn wrong_action(action: Option<&str>) -> ApiError {
    const KNOWN: &str = "\"start\", \"pause\", \"resume\" or \"stop\"";
    match action {
        Some(action) => ApiError::field("action", format!("{action:?} is not {KNOWN}")),
        None => ApiError::field("action", format!("is missing; write {KNOWN}")),
    }
}
