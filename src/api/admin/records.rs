//! `records` and `records.csv`: those of all apps.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::json;

use crate::api::Shared;
use crate::api::error::{ApiError, success};
use crate::api::records::{read_query, record_view};
use crate::ids::CallId;

/// `GET /admin/api/records`
pub async fn list(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let (filter, as_csv) = read_query(&parts, None)?;
    shared.search_records(filter, as_csv).await
}

/// `GET /admin/api/records.csv`
pub async fn csv(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let (filter, _) = read_query(&parts, None)?;
    let mut response = shared.search_records(filter, true).await?;
    let name = HeaderValue::from_static("attachment; filename=\"calls.csv\"");
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

/// `GET /admin/api/records/{call_id}`
pub async fn one(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
) -> Result<Response, ApiError> {
    let id: CallId = call_id.parse().map_err(|_| ApiError::call_not_found())?;
    let record = shared.record_of(id).await?;
    let record = record.ok_or_else(ApiError::call_not_found)?;
    Ok(success(json!({ "record": record_view(&record) })))
}
