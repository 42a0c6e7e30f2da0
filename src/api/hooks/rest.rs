//! `GET /hooks/deliveries`, and what an app may do with one of them.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::api::Shared;
use crate::api::error::{ApiError, done, success};
use crate::api::openapi::{Denied, Done, Failure, Success};
use crate::store::outbox;

use super::{Deliveries, DeliveryError};

/// Deliveries in one answer where the request does not say.
const DEFAULT_LIMIT: usize = 50;
/// Deliveries in one answer at most.
const MAX_LIMIT: usize = 500;

/// Which deliveries; texts, so that what is wrong is told with its name.
#[derive(Debug, Default, Deserialize)]
pub struct Wanted {
    state: Option<String>,
    call_id: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

/// Tells what became of the app's hook events, the newest first.
#[utoipa::path(
    get,
    path = "/hooks/deliveries",
    tag = "hooks",
    params(
        ("state" = Option<String>, Query, description = "`pending`, `delivered` or `dead`"),
        ("call_id" = Option<String>, Query),
        ("before" = Option<String>, Query, description = "`next` of the answer before"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500),
    ),
    responses(
        (status = 200, description = "Some of them", body = Success<Deliveries>),
        (status = 400, description = "`BAD_REQUEST`: a parameter is wrong; the message names it", body = Failure),
        (status = 503, description = "`OVERLOADED`: the database cannot be read", body = Failure),
        Denied,
    )
)]
pub async fn list(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let (filter, limit) = wanted.read()?;
    let filter = outbox::Filter {
        app_id: Some(app.to_string()),
        ..filter
    };
    let found = shared.hooks.list(filter, limit).await?;
    Ok(success(found))
}

/// Posts a dead or delivered event again. Of the call of a pending one, the
/// oldest event is tried at once.
#[utoipa::path(
    post,
    path = "/hooks/deliveries/{id}/retry",
    tag = "hooks",
    params(("id" = String, Path, description = "`X-Hook-Id`")),
    responses(
        (status = 200, description = "It waits to be posted, or is being tried", body = Done),
        (status = 404, description = "`NOT_FOUND`", body = Failure),
        (status = 409, description = "`WRONG_STATE`: it has changed meanwhile", body = Failure),
        (status = 503, description = "`OVERLOADED`: the database cannot be written", body = Failure),
        Denied,
    )
)]
pub async fn retry(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    shared.hooks.retry(&id, Some(&app)).await?;
    Ok(done())
}

/// Forgets a dead or delivered event; a pending one is given up, and stays as a
/// dead letter.
#[utoipa::path(
    delete,
    path = "/hooks/deliveries/{id}",
    tag = "hooks",
    params(("id" = String, Path, description = "`X-Hook-Id`")),
    responses(
        (status = 200, description = "It is forgotten, or given up", body = Done),
        (status = 404, description = "`NOT_FOUND`", body = Failure),
        (status = 409, description = "`WRONG_STATE`: it has changed meanwhile", body = Failure),
        (status = 503, description = "`OVERLOADED`: the database cannot be written", body = Failure),
        Denied,
    )
)]
pub async fn discard(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    shared.hooks.discard(&id, Some(&app)).await?;
    Ok(done())
}

impl Wanted {
    /// As the outbox takes it, and how many.
    ///
    /// # Errors
    /// Which part cannot be used.
    pub fn read(self) -> Result<(outbox::Filter, usize), ApiError> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let state = match given(self.state) {
            None => None,
            Some(word) => Some(
                outbox::State::from_name(&word)
                    .ok_or_else(|| ApiError::field("state", "write pending, delivered or dead"))?,
            ),
        };
        let before =
            match given(self.before) {
                None => None,
                Some(text) => Some(text.parse().map_err(|_| {
                    ApiError::field("before", "write the `next` of the answer before")
                })?),
            };
        let limit = match given(self.limit) {
            None => DEFAULT_LIMIT,
            Some(text) => match text.parse() {
                Ok(limit @ 1..=MAX_LIMIT) => limit,
                _ => {
                    let problem = format!("write a number from 1 to {MAX_LIMIT}");
                    return Err(ApiError::field("limit", problem));
                }
            },
        };
        let filter = outbox::Filter {
            state,
            app_id: None,
            call_id: given(self.call_id),
            before,
        };
        Ok((filter, limit))
    }
}

impl From<DeliveryError> for ApiError {
    fn from(error: DeliveryError) -> Self {
        let (status, code) = match &error {
            DeliveryError::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            DeliveryError::Changed | DeliveryError::AppGone => {
                (StatusCode::CONFLICT, "WRONG_STATE")
            }
            DeliveryError::Busy | DeliveryError::Store(_) => {
                return ApiError::overloaded(error.to_string());
            }
        };
        ApiError::new(status, code, error.to_string())
    }
}
