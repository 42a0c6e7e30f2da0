//! Paths, and what holds for all of them: CORS, limits, the envelope.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ApiError;
use super::{
    Shared, actions, assets, call_trace, calls, dial, hooks, metrics, openapi, pages, peer_events,
    peers, recordings, records, sound, tokens, ws,
};

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
    let (router, _) = described().split_for_parts();
    router
        .fallback(|| async { ApiError::of_status(StatusCode::NOT_FOUND) })
        .with_state(shared)
        .layer(from_fn_with_state(guard, around))
}

/// Every route with its description. Further routers are merged here; theirs
/// are described the same way.
pub(super) fn described() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(openapi::Base::openapi())
        .routes(routes!(dial::dial))
        .routes(routes!(ws::outgoing, actions::end_outgoing))
        .routes(routes!(actions::act_on_outgoing))
        .routes(routes!(ws::notify))
        .routes(routes!(ws::incoming, actions::end_incoming))
        .routes(routes!(actions::act_on_incoming))
        .routes(routes!(calls::one_call, actions::end_any))
        .routes(routes!(call_trace::call_trace))
        .routes(routes!(calls::all_calls))
        .routes(routes!(records::search))
        .routes(routes!(records::one_record))
        .routes(routes!(recordings::list))
        .routes(routes!(recordings::one, recordings::remove))
        .routes(routes!(recordings::audio))
        .routes(routes!(hooks::rest::list))
        .routes(routes!(hooks::rest::discard))
        .routes(routes!(hooks::rest::retry))
        .routes(routes!(assets::rest::all_assets))
        .routes(routes!(
            assets::rest::upload_asset,
            assets::rest::one_asset,
            assets::rest::delete_asset
        ))
        .routes(routes!(assets::rest::asset_audio))
        .routes(routes!(calls::all_rooms))
        .routes(routes!(calls::one_room))
        .routes(routes!(peers::join, peers::options))
        .routes(routes!(peers::patch, peers::leave, peers::options_of_one))
        .routes(routes!(peer_events::events))
        .routes(routes!(sound::plays::play_to_call))
        .routes(routes!(sound::plays::stop_play_to_call))
        .routes(routes!(sound::plays::play_to_room))
        .routes(routes!(sound::plays::stop_play_to_room))
        .routes(routes!(sound::dtmf::send))
        .routes(routes!(sound::audio::turn))
        .routes(routes!(sound::recording::of_call))
        .routes(routes!(sound::recording::of_room))
        .routes(routes!(tokens::notify))
        .routes(routes!(tokens::room))
        .routes(routes!(metrics::healthz))
        .routes(routes!(metrics::readyz))
        .routes(routes!(metrics::metrics))
        .routes(routes!(openapi::description))
        .merge(pages::router())
}

async fn around(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = if is_preflight(&request) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        limited(&guard.room, request, next).await
    };
    response = in_envelope(response);
    guard.shared.counters.request(response.status());
    cors(response.headers_mut());
    response
}

/// As many as there is room for, each in limited time.
pub(super) async fn limited(room: &Semaphore, request: Request, next: Next) -> Response {
    let Ok(_room) = room.try_acquire() else {
        return ApiError::overloaded("the gateway is overloaded; try again in a second")
            .into_response();
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::of_status(StatusCode::REQUEST_TIMEOUT).into_response(),
    }
}

/// Whatever refuses a request, what the client reads is our envelope.
pub(super) fn in_envelope(response: Response) -> Response {
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
        "Authorization, Content-Type, If-Match, If-Range, Range",
    );
    set(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        "Location, Retry-After, ETag, Accept-Patch, Link",
    );
    set(header::ACCESS_CONTROL_MAX_AGE, "86400");
}
