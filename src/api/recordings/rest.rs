//! `GET /recordings`, `GET` and `DELETE /recordings/{id}`.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use crate::ids::{AppId, RecordingId};
use crate::recording::RemoveError;
use crate::store::StoreError;
use crate::store::recordings::{self, Filter, Recording, Span};

use super::super::Shared;
use super::super::error::{ApiError, done, success};
use super::super::openapi::{Denied, Done, Failure, Success, words};
use super::super::records::{instant, whole};

/// Recordings of a page where the request does not say.
const DEFAULT_LIMIT: usize = 50;
/// Recordings of a page at most.
const MAX_LIMIT: usize = 500;

/// What a list may be asked for.
const PARAMETERS: &str = "call_id, room, from, to, limit and cursor";

/// Lists the app's recordings, the newest first.
#[utoipa::path(
    get,
    path = "/recordings",
    operation_id = "recordings",
    tag = "recordings",
    params(
        ("call_id" = Option<String>, Query, description = "Of this call"),
        ("room" = Option<String>, Query, description = "In the room of this name"),
        ("from" = Option<String>, Query, description = "Began then or later: milliseconds since the Unix epoch, or RFC 3339"),
        ("to" = Option<String>, Query, description = "Began before"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "One page", body = Success<PageView>),
        (status = 400, description = "`BAD_REQUEST`: a parameter is wrong; the message names it", body = Failure),
        (status = 503, description = "`OVERLOADED`: the database cannot be read", body = Failure),
        Denied,
    )
)]
pub async fn list(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let filter = read_query(&parts, Some(&app))?;
    shared.list_recordings(filter).await
}

/// Tells what is known of a recording.
#[utoipa::path(
    get,
    path = "/recordings/{recording_id}",
    operation_id = "recording",
    tag = "recordings",
    params(("recording_id" = String, Path)),
    responses(
        (status = 200, description = "The recording", body = Success<RecordingView>),
        (status = 404, description = "`RECORDING_NOT_FOUND`", body = Failure),
        (status = 503, description = "`OVERLOADED`: the database cannot be read", body = Failure),
        Denied,
    )
)]
pub async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let recording = shared.recording(Some(&app), &id).await?;
    Ok(success(view(&recording)))
}

/// Removes a recording, here and in the object store.
#[utoipa::path(
    delete,
    path = "/recordings/{recording_id}",
    operation_id = "remove_recording",
    tag = "recordings",
    params(("recording_id" = String, Path)),
    responses(
        (status = 200, description = "It is gone", body = Done),
        (status = 404, description = "`RECORDING_NOT_FOUND`", body = Failure),
        (status = 409, description = "`WRONG_STATE`: it is under way", body = Failure),
        (status = 503, description = "`OVERLOADED`: the file, the object store or the database does not let it go just now", body = Failure),
        Denied,
    )
)]
pub async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let recording = shared.recording(Some(&app), &id).await?;
    shared.remove_recording(&recording).await
}

impl Shared {
    /// A page of the recordings that the filter lets through.
    pub async fn list_recordings(&self, filter: Filter) -> Result<Response, ApiError> {
        let page = self.store.read(move |db| recordings::search(db, &filter));
        let page = page.await.map_err(|problem| unreadable(&problem))?;
        Ok(success(PageView {
            recordings: page.recordings.iter().map(view).collect(),
            next: page.next.map(|cursor| cursor.to_string()),
        }))
    }

    /// The recording of this id, if it is this app's. Another app's is as
    /// unknown as none, so that nobody learns which ids there are.
    pub async fn recording(&self, app: Option<&AppId>, id: &str) -> Result<Recording, ApiError> {
        let id: RecordingId = id.parse().map_err(|_| not_found())?;
        let found = self.store.read(move |db| recordings::one(db, id)).await;
        let found = found.map_err(|problem| unreadable(&problem))?;
        found
            .filter(|recording| app.is_none_or(|app| recording.app_id == app.as_str()))
            .ok_or_else(not_found)
    }

    /// Removes it, wherever it is.
    pub async fn remove_recording(&self, recording: &Recording) -> Result<Response, ApiError> {
        match self.recordings.remove(recording).await {
            Ok(()) => {
                tracing::info!(recording_id = %recording.id, app = %recording.app_id, "a recording is removed: it was asked for");
                Ok(done())
            }
            Err(problem @ RemoveError::UnderWay) => Err(ApiError::new(
                StatusCode::CONFLICT,
                "WRONG_STATE",
                problem.to_string(),
            )),
            Err(problem) => {
                tracing::error!(recording_id = %recording.id, %problem, "a recording stays");
                Err(ApiError::overloaded(format!("{problem}; try again later")))
            }
        }
    }
}

fn not_found() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "RECORDING_NOT_FOUND",
        "there is no such recording; it may have been removed because of its age",
    )
}

fn unreadable(problem: &StoreError) -> ApiError {
    tracing::error!(%problem, "recordings cannot be read");
    ApiError::overloaded("the recordings cannot be read just now; try again in a second")
}

/// The filter of a query. Who is of no app, an administrator, may ask for the
/// recordings of any by `app`.
pub fn read_query(parts: &Parts, app: Option<&AppId>) -> Result<Filter, ApiError> {
    let mut filter = Filter {
        app: app.map(ToString::to_string),
        limit: DEFAULT_LIMIT,
        ..Filter::default()
    };
    let query = parts.uri.query().unwrap_or_default();
    let mut seen = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let text = value.trim();
        if seen.contains(&name) {
            return Err(ApiError::field(&name, "stands twice; write it once"));
        }
        match &*name {
            // The credential.
            "token" => {}
            // A form that was left empty.
            _ if text.is_empty() => {}
            "app" if app.is_none() => filter.app = Some(text.to_owned()),
            "call_id" => filter.call_id = Some(text.to_owned()),
            "room" => filter.room = Some(text.to_owned()),
            "from" => filter.since_ms = Some(instant(text, "from")?),
            "to" => filter.until_ms = Some(instant(text, "to")?),
            "limit" => filter.limit = whole(text, "limit", 1, MAX_LIMIT as u64)? as usize,
            "cursor" => {
                let cursor = text.parse();
                filter.before = Some(cursor.map_err(|error| ApiError::field("cursor", error))?);
            }
            unknown => {
                let also = if app.is_none() { "app, " } else { "" };
                let problem = format!("is unknown here; there are {also}{PARAMETERS}");
                return Err(ApiError::field(unknown, problem));
            }
        }
        seen.push(name);
    }
    Ok(filter)
}

/// A page of recordings.
#[derive(Serialize, ToSchema)]
#[schema(as = Recordings)]
struct PageView {
    recordings: Vec<RecordingView>,
    /// The `cursor` of the next page; `null` on the last one.
    next: Option<String>,
}

/// What is known of a recording.
#[derive(Serialize, ToSchema)]
#[schema(as = Recording)]
pub struct RecordingView {
    recording_id: String,
    app_id: String,
    call_id: Option<String>,
    room: String,
    peer: String,
    #[schema(schema_with = formats)]
    format: &'static str,
    #[schema(schema_with = layouts)]
    channels: &'static str,
    #[schema(schema_with = states)]
    state: &'static str,
    /// Why it failed: `disk_full`, `write_failed`, `codec_failed` or `lost`.
    reason: Option<String>,
    /// Milliseconds since the Unix epoch, as `ended_ms`.
    started_ms: u64,
    ended_ms: Option<u64>,
    /// How long it plays.
    duration_ms: u64,
    /// Bytes of the file.
    size: u64,
    /// Of the file, hexadecimal.
    sha256: Option<String>,
    /// Where sound was lost: silence of the same length.
    gaps: Vec<SpanView>,
    /// Where it was paused: the time is left out.
    pauses: Vec<SpanView>,
    /// The gateway was killed meanwhile; the file ends where it was.
    recovered: bool,
    /// The file can be fetched here.
    local: bool,
    #[schema(schema_with = uploads)]
    upload: &'static str,
    upload_attempts: u32,
    upload_error: Option<String>,
    /// Its name in the object store.
    object: Option<String>,
}

/// A stretch of a recording.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordingSpan)]
struct SpanView {
    /// Where in the file it begins.
    at_ms: u64,
    duration_ms: u64,
}

fn formats() -> Object {
    words(&["ogg_opus", "wav"])
}

fn layouts() -> Object {
    words(&["mono", "stereo"])
}

fn states() -> Object {
    words(&["recording", "ready", "failed"])
}

fn uploads() -> Object {
    words(&["none", "pending", "done"])
}

/// As the API tells it.
pub fn view(recording: &Recording) -> RecordingView {
    let spans = |spans: &[Span]| {
        let span = |span: &Span| SpanView {
            at_ms: span.at_ms,
            duration_ms: span.duration_ms,
        };
        spans.iter().map(span).collect()
    };
    RecordingView {
        recording_id: recording.id.to_string(),
        app_id: recording.app_id.clone(),
        call_id: recording.call.map(|call| call.to_string()),
        room: recording.room.clone(),
        peer: recording.peer.clone(),
        format: recording.format.name(),
        channels: recording.channels.name(),
        state: recording.state.name(),
        reason: recording.reason.clone(),
        started_ms: recording.started_ms,
        ended_ms: recording.ended_ms,
        duration_ms: recording.duration_ms,
        size: recording.size,
        sha256: recording.sha256.clone(),
        gaps: spans(&recording.gaps),
        pauses: spans(&recording.pauses),
        recovered: recording.recovered,
        local: recording.local,
        upload: recording.upload.name(),
        upload_attempts: recording.upload_attempts,
        upload_error: recording.upload_error.clone(),
        object: recording.object.clone(),
    }
}
