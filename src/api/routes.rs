//! Paths, and what holds for all of them: CORS, limits, the envelope.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use tokio::sync::Semaphore;

use super::error::ApiError;
use super::{Shared, actions, calls, dial, metrics, pages, peer_events, peers, tokens, ws};

/// Requests at a time; one more is told to come back.
const MAX_REQUESTS: usize = 4_096;
/// A request is answered within this, its body's arrival included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

struct Guard {
    shared: Arc<Shared>,
    room: Semaphore,
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let guard = Arc::new(Guard {
        shared: shared.clone(),
        room: Semaphore::new(MAX_REQUESTS),
    });
    Router::new()
        .route("/call/outgoing", post(dial::dial))
        .route(
            "/call/outgoing/{call_id}",
            get(ws::outgoing).delete(actions::end_outgoing),
        )
        .route(
            "/call/outgoing/{call_id}/action",
            post(actions::act_on_outgoing),
        )
        .route("/call/incoming/notify", get(ws::notify))
        .route(
            "/call/incoming/{call_id}",
            get(ws::incoming).delete(actions::end_incoming),
        )
        .route(
            "/call/incoming/{call_id}/action",
            post(actions::act_on_incoming),
        )
        .route(
            "/call/{call_id}",
            delete(actions::end_any).get(calls::one_call),
        )
        .route("/calls", get(calls::all_calls))
        .route("/rooms", get(calls::all_rooms))
        .route("/rooms/{room}", get(calls::one_room))
        .route(
            "/rooms/{room}/peers/{peer}",
            post(peers::join).options(peers::options),
        )
        .route(
            "/rooms/{room}/peers/{peer}/{id}",
            patch(peers::patch)
                .delete(peers::leave)
                .options(peers::options),
        )
        .route(
            "/rooms/{room}/peers/{peer}/{id}/events",
            get(peer_events::events),
        )
        .route("/token/notify", post(tokens::notify))
        .route("/token/room", post(tokens::room))
        .route("/healthz", get(metrics::healthz))
        .route("/readyz", get(metrics::readyz))
        .route("/metrics", get(metrics::metrics))
        .merge(pages::router())
        .fallback(|| async { ApiError::of_status(StatusCode::NOT_FOUND) })
        .with_state(shared)
        .layer(from_fn_with_state(guard, around))
}

async fn around(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = if is_preflight(&request) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        limited(&guard, request, next).await
    };
    response = in_envelope(response);
    guard.shared.counters.request(response.status());
    cors(response.headers_mut());
    response
}

async fn limited(guard: &Guard, request: Request, next: Next) -> Response {
    let Ok(_room) = guard.room.try_acquire() else {
        return ApiError::overloaded("the gateway is overloaded; try again in a second")
            .into_response();
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::of_status(StatusCode::REQUEST_TIMEOUT).into_response(),
    }
}

/// Whatever refuses a request, what the client reads is our envelope.
fn in_envelope(response: Response) -> Response {
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value == "application/json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let mut enveloped = ApiError::of_status(status).into_response();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        enveloped.headers_mut().insert(header::ALLOW, allow.clone());
    }
    enveloped
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Any page may call: there are no cookies, so a page can do only what the
/// token that it was given can do anywhere.
fn cors(headers: &mut HeaderMap) {
    let mut set = |name: HeaderName, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        "GET, POST, PATCH, DELETE",
    );
    set(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Authorization, Content-Type, If-Match",
    );
    set(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        "Location, Retry-After, ETag, Accept-Patch, Link",
    );
    set(header::ACCESS_CONTROL_MAX_AGE, "86400");
}
