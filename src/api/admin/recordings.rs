//! `recordings`: those of all apps, to be heard and removed.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;

use crate::api::Shared;
use crate::api::error::ApiError;
use crate::api::recordings::read_query;

/// `GET /admin/api/recordings`
pub async fn list(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let filter = read_query(&parts, None)?;
    shared.list_recordings(filter).await
}

/// `GET /admin/api/recordings/{recording_id}/audio`
pub async fn audio(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let recording = shared.recording(None, &id).await?;
    shared.serve_recording(&recording, &headers).await
}

/// `DELETE /admin/api/recordings/{recording_id}`
pub async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let recording = shared.recording(None, &id).await?;
    tracing::info!(recording_id = %recording.id, app = %recording.app_id, "an administrator removes a recording");
    shared.remove_recording(&recording).await
}
