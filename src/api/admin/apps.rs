//! `apps`: the tenants.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Shared;
use crate::api::auth::unix_ms;
use crate::api::body::read_json;
use crate::api::directory::{ChangeError, Origin};
use crate::api::error::{ApiError, done, success};
use crate::book::{CallLimits, values};
use crate::ids::AppId;

use super::sessions::random_text;

/// How long a replaced secret still opens its app where nobody says
/// otherwise, and at most (seconds).
const OVERLAP_S: u64 = 3_600;
const LONGEST_OVERLAP_S: u64 = 30 * 86_400;

#[derive(Deserialize)]
struct AddBody {
    #[serde(default)]
    app_id: String,
    app_secret: Option<String>,
    #[serde(flatten)]
    limits: LimitsBody,
}

/// What is left out, or null, is as `[limits]` says.
#[derive(Deserialize)]
struct LimitsBody {
    max_calls: Option<u64>,
    max_calls_per_second: Option<u64>,
}

#[derive(Deserialize)]
struct RotateBody {
    overlap_s: Option<u64>,
    app_secret: Option<String>,
}

/// `GET /admin/api/apps`
pub async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let stored = shared.directory.stored_apps().await;
    let view = shared.directory.view();
    let live = shared.registry.live_by_app();
    let mut numbers: HashMap<&str, u64> = HashMap::new();
    for number in &view.numbers {
        *numbers.entry(number.record.app.as_str()).or_default() += 1;
    }
    let mut apps: Vec<_> = view.apps.iter().collect();
    apps.sort_by(|a, b| (a.record.id.as_str(), a.origin).cmp(&(b.record.id.as_str(), b.origin)));
    let apps = apps.iter().map(|app| {
        let id = app.record.id.as_str();
        let stored = stored
            .iter()
            .find(|stored| app.origin == Origin::Admin && stored.app_id == id);
        let previous = stored.and_then(|stored| stored.previous.as_ref());
        let previous = previous.map(|(_, until_ms)| *until_ms);
        json!({
            "app_id": id,
            "origin": app.origin.name(),
            "ignored": app.ignored,
            "numbers": numbers.get(id).copied().unwrap_or_default(),
            "live_calls": match app.ignored {
                None => live.get(&app.record.id).copied().unwrap_or_default(),
                Some(_) => 0,
            },
            "previous_secret_until_ms": previous.filter(|until_ms| *until_ms > unix_ms()),
            "created_ms": stored.map(|stored| stored.created_ms),
            "max_calls": app.record.limits.max_calls,
            "max_calls_per_second": app.record.limits.max_calls_per_second,
            "editable": app.origin == Origin::Admin,
        })
    });
    success(json!({ "apps": apps.collect::<Vec<Value>>() }))
}

/// `POST /admin/api/apps`
pub async fn add(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let body: AddBody = read_json(request).await?;
    let secret = secret(body.app_secret);
    let limits = body.limits.read()?;
    let directory = &shared.directory;
    directory.add_app(&body.app_id, &secret, limits).await?;
    tracing::info!(app = body.app_id, "an administrator added an app");
    let data = json!({ "app_id": body.app_id, "app_secret": secret });
    Ok((StatusCode::CREATED, success(data)).into_response())
}

/// `PUT /admin/api/apps/{app_id}`
pub async fn change(
    State(shared): State<Arc<Shared>>,
    Path(app_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let body: LimitsBody = read_json(request).await?;
    shared.directory.limit_app(&app_id, body.read()?).await?;
    tracing::info!(app = app_id, "an administrator changed an app's limits");
    Ok(done())
}

/// `POST /admin/api/apps/{app_id}/rotate`
pub async fn rotate(
    State(shared): State<Arc<Shared>>,
    Path(app_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let body: RotateBody = read_json(request).await?;
    let overlap_s = body.overlap_s.unwrap_or(OVERLAP_S);
    if overlap_s > LONGEST_OVERLAP_S {
        let problem = format!("is too long; write 0 to {LONGEST_OVERLAP_S} seconds");
        return Err(ApiError::field("overlap_s", problem));
    }
    let secret = secret(body.app_secret);
    let until_ms = unix_ms() + overlap_s * 1_000;
    shared
        .directory
        .rotate_secret(&app_id, &secret, until_ms)
        .await?;
    tracing::info!(app = app_id, overlap_s, "an administrator rotated a secret");
    Ok(success(json!({
        "app_id": app_id,
        "app_secret": secret,
        "previous_secret_until_ms": until_ms,
    })))
}

/// `DELETE /admin/api/apps/{app_id}`
pub async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(app_id): Path<String>,
) -> Result<Response, ApiError> {
    shared.directory.remove_app(&app_id).await?;
    // The app is gone all the same.
    if let Err(problem) = shared.assets.delete_all(&AppId::new(&app_id)).await {
        tracing::error!(app = app_id, %problem, "the assets of a removed app are left");
    }
    tracing::info!(app = app_id, "an administrator removed an app");
    Ok(done())
}

impl LimitsBody {
    fn read(&self) -> Result<CallLimits, ApiError> {
        let read = |field, limit: Option<u64>| {
            let read = limit.map(values::call_limit).transpose();
            read.map_err(|problem| ApiError::field(field, problem))
        };
        Ok(CallLimits {
            max_calls: read("max_calls", self.max_calls)?,
            max_calls_per_second: read("max_calls_per_second", self.max_calls_per_second)?,
        })
    }
}

fn secret(given: Option<String>) -> String {
    given
        .filter(|secret| !secret.is_empty())
        .unwrap_or_else(random_text)
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let (status, code) = match &error {
            ChangeError::Record(_)
            | ChangeError::UnknownApp(_)
            | ChangeError::SecretTaken
            | ChangeError::Secret(_)
            | ChangeError::AppId(_) => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
            ChangeError::Configured(_) => (StatusCode::CONFLICT, "CONFIGURED"),
            ChangeError::Exists(_) => (StatusCode::CONFLICT, "EXISTS"),
            ChangeError::NotFound(_) => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            ChangeError::AppInUse { .. } => (StatusCode::CONFLICT, "APP_IN_USE"),
            ChangeError::Store(error) => return error.clone().into(),
        };
        ApiError::new(status, code, error.to_string())
    }
}
