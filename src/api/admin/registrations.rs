//! `registrations`: where numbers are registered, and how that goes.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use crate::api::Shared;
use crate::api::error::success;

/// `GET /admin/api/registrations`
pub async fn list(State(shared): State<Arc<Shared>>) -> Response {
    success(json!({ "registrations": shared.registrations_json().await }))
}
