//! `hooks`: what became of the hook events of all apps.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use crate::api::Shared;
use crate::api::error::{ApiError, done, success};
use crate::api::hooks::rest::Wanted;

use super::query;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Filter {
    app: String,
}

/// `GET /admin/api/hooks`
pub async fn list(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let of: Filter = query(&uri)?;
    let (mut filter, limit) = wanted.read()?;
    filter.app_id = Some(of.app).filter(|app| !app.is_empty());
    let found = shared.hooks.list(filter, limit).await?;
    Ok(success(json!({
        "deliveries": found.deliveries,
        "next": found.next,
        "counts": {
            "pending": shared.hooks.waiting(),
            "dead": shared.hooks.dead_letters(),
        },
    })))
}

/// `GET /admin/api/hooks/{id}`
pub async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let delivery = shared.hooks.one(&id).await?;
    Ok(success(json!({ "delivery": delivery })))
}

/// `POST /admin/api/hooks/{id}/retry`
pub async fn retry(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    shared.hooks.retry(&id, None).await?;
    tracing::info!(%id, "an administrator has a hook event posted again, or at once");
    Ok(done())
}

/// `DELETE /admin/api/hooks/{id}`
pub async fn discard(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    shared.hooks.discard(&id, None).await?;
    tracing::info!(%id, "an administrator drops or forgets a hook event");
    Ok(done())
}
