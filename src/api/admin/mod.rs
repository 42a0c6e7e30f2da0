//! `/admin/api/…`: what the admin panel, or an administrator's script, may ask
//! and do. It sees all apps; what opens it is the administrator's password
//! and a session's cookie, never an app_secret.
//!
//! | file | what it does |
//! | --- | --- |
//! | `password`, `login`, `limiter`, `sessions` | who may come in |
//! | `apps`, `numbers`, `number_test` | the number book |
//! | `registrations` | where numbers are registered |
//! | `calls` | calls and rooms of all apps |
//! | `records`, `recordings`, `hooks` | what is left of calls |
//! | `system` | what the gateway is, does, and should be told of |
//! | `live` | server-sent events with what goes on |

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use tokio::sync::Semaphore;

use crate::config::{self, KeptSecret, RootSecretError};
use crate::store::Store;

use super::Shared;
use super::error::ApiError;
use super::routes::{in_envelope, limited};

mod apps;
mod calls;
mod hooks;
mod limiter;
mod live;
mod login;
mod number_test;
mod numbers;
mod page;
mod password;
mod recordings;
mod records;
mod registrations;
mod sessions;
mod system;

pub use password::PasswordError;

use limiter::Limiter;
use live::Live;
use password::Password;
use sessions::{Patience, Sessions, same};

/// The session's cookie.
const COOKIE: &str = "ringwire_admin";
/// Comes with every change, so that no page of another site can ask for one.
const CSRF_HEADER: &str = "x-csrf-token";
/// Requests at a time; one more is told to come back.
const MAX_REQUESTS: usize = 256;
/// What an answer may make a browser do, if one shows it as a page: nothing.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// What the administrators' side keeps.
pub struct Admin {
    settings: RwLock<config::Admin>,
    password: Password,
    sessions: Sessions,
    limiter: Limiter,
    live: Live,
    room: Semaphore,
}

/// The session that a request belongs to.
#[derive(Clone)]
pub struct SessionId(pub String);

impl Admin {
    /// As configured.
    pub fn open(config: &config::Config, store: Store) -> Result<Self, PasswordError> {
        Ok(Admin {
            settings: RwLock::new(config.admin.clone()),
            password: Password::open(config, store)?,
            sessions: Sessions::default(),
            limiter: Limiter::new(Instant::now()),
            live: Live::default(),
            room: Semaphore::new(MAX_REQUESTS),
        })
    }

    /// From now on this configuration counts. Another configured password
    /// ends all sessions.
    pub fn use_config(&self, admin: &config::Admin) -> Result<(), RootSecretError> {
        self.password.use_config(admin)?;
        let other_password = self.settings().password != admin.password;
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = admin.clone();
        if other_password || !admin.enabled {
            self.sessions.close_all();
        }
        Ok(())
    }

    /// The setup code, as long as no password is set.
    pub fn setup_code(&self) -> Option<KeptSecret> {
        self.password.setup_code()
    }

    /// Administrators that are logged in.
    pub fn sessions(&self) -> usize {
        self.sessions.len(Instant::now(), self.patience())
    }

    fn settings(&self) -> config::Admin {
        self.settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn patience(&self) -> Patience {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        Patience {
            idle: settings.session_idle,
            longest: settings.session_max,
        }
    }
}

/// The panel and its API, which are there only if they are not turned off.
pub(super) fn site(shared: Arc<Shared>) -> Router {
    let page = page::router().layer(from_fn_with_state(shared.clone(), turned_on));
    Router::new().nest("/admin/api", router(shared)).merge(page)
}

async fn turned_on(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match shared.admin.settings().enabled {
        true => in_envelope(next.run(request).await),
        false => ApiError::of_status(StatusCode::NOT_FOUND).into_response(),
    }
}

/// The routes below `/admin/api`.
fn router(shared: Arc<Shared>) -> Router {
    let open = Router::new()
        .route("/session", get(login::session))
        .route("/setup", post(login::setup))
        .route("/login", post(login::login))
        .layer(from_fn_with_state(shared.clone(), own_page_only));
    let guarded = Router::new()
        .route("/logout", post(login::logout))
        .route("/password", post(login::password))
        .route("/apps", get(apps::list).post(apps::add))
        .route("/apps/{app_id}", put(apps::change).delete(apps::remove))
        .route("/apps/{app_id}/rotate", post(apps::rotate))
        .route("/registrations", get(registrations::list))
        .route("/numbers", get(numbers::list).post(numbers::add))
        .route("/numbers/test", post(number_test::test))
        .route(
            "/numbers/{number}",
            get(numbers::one)
                .put(numbers::change)
                .delete(numbers::remove),
        )
        .route("/calls", get(calls::list))
        .route("/calls/{call_id}", get(calls::one).delete(calls::hang_up))
        .route("/rooms", get(calls::rooms))
        .route("/records", get(records::list))
        .route("/records.csv", get(records::csv))
        .route("/records/{call_id}", get(records::one))
        .route("/recordings", get(recordings::list))
        .route("/recordings/{recording_id}", delete(recordings::remove))
        .route("/recordings/{recording_id}/audio", get(recordings::audio))
        .route("/hooks", get(hooks::list))
        .route("/hooks/{id}", get(hooks::one).delete(hooks::discard))
        .route("/hooks/{id}/retry", post(hooks::retry))
        .route("/system", get(system::system))
        .route("/sync", post(system::sync_now))
        .route("/reload", post(system::reload))
        .route("/events", get(live::events))
        .layer(from_fn_with_state(shared.clone(), guard));
    open.merge(guarded)
        .fallback(|| async { ApiError::of_status(StatusCode::NOT_FOUND) })
        .with_state(shared.clone())
        .layer(from_fn_with_state(shared, around))
}

/// Off, overloaded, in our envelope, and with headers for browsers.
async fn around(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let response = match shared.admin.settings().enabled {
        true => limited(&shared.admin.room, request, next).await,
        false => ApiError::of_status(StatusCode::NOT_FOUND).into_response(),
    };
    let mut response = in_envelope(response);
    shared.counters.request(response.status());
    secure(response.headers_mut());
    response
}

/// No other site frames, guesses at or keeps what is shown here.
fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// For requests that need no session: none comes from a page of another site.
async fn own_page_only(request: Request, next: Next) -> Response {
    match changes(request.method()) && !is_own_page(request.headers(), request.uri()) {
        true => foreign().into_response(),
        false => next.run(request).await,
    }
}

/// For all others: there is a session, and a change is meant by its holder.
async fn guard(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let admin = &shared.admin;
    let found = cookie(request.headers())
        .and_then(|id| admin.sessions.find(&id, Instant::now(), admin.patience()));
    let Some(ticket) = found else {
        return ApiError::new(
            StatusCode::UNAUTHORIZED,
            "NOT_LOGGED_IN",
            "log in first; a session ends when it is not used for a while",
        )
        .into_response();
    };
    if changes(request.method()) {
        let sent = request.headers().get(CSRF_HEADER);
        let sent = sent.and_then(|token| token.to_str().ok()).unwrap_or("");
        if !same(sent, &ticket.csrf) || !is_own_page(request.headers(), request.uri()) {
            return foreign().into_response();
        }
    }
    let change = changes(request.method());
    request.extensions_mut().insert(SessionId(ticket.id));
    if !change {
        return next.run(request).await;
    }
    // A change is made whole, even if whoever asked does not wait for it.
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR).into_response(),
    }
}

fn foreign() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "CSRF",
        "this does not come from the admin panel; send the session's csrf_token as X-CSRF-Token",
    )
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// What a browser says of where a request comes from (Fetch Metadata; `Origin`
/// of RFC 6454 section 7 where it is silent, as it is over plain http). A
/// client that is no browser says nothing.
fn is_own_page(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.or(uri.authority().map(|authority| authority.as_str()));
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| origin.split_once("://"));
    matches!((host, origin), (Some(host), Some((_, origin))) if host.eq_ignore_ascii_case(origin))
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value.to_string())
}

/// The query's values.
fn query<T: serde::de::DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    let read = axum::extract::Query::try_from_uri(uri);
    read.map(|query| query.0)
        .map_err(|error| ApiError::bad_request(format!("the query: {}", error.body_text())))
}

/// What a list gives at once where the query does not say, and at most.
#[derive(Clone, Copy)]
struct Paging {
    default: usize,
    most: usize,
}

impl Paging {
    /// The part of these that the query asks for, with where it is.
    fn part<T, V>(
        self,
        all: &[T],
        offset: Option<usize>,
        limit: Option<usize>,
        json: impl Fn(&T) -> V,
    ) -> (Vec<V>, usize, usize) {
        let offset = offset.unwrap_or(0);
        let limit = limit.unwrap_or(self.default).min(self.most);
        let part = all.iter().skip(offset).take(limit).map(json);
        (part.collect(), offset, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                header::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_page_of_another_site_is_told_from_our_own() {
        let own = |pairs: &[(&'static str, &'static str)]| {
            is_own_page(&headers(pairs), &Uri::from_static("/admin/api/login"))
        };
        assert!(own(&[]), "no browser");
        assert!(own(&[
            ("sec-fetch-site", "same-origin"),
            ("origin", "https://proxy")
        ]));
        assert!(!own(&[("sec-fetch-site", "cross-site")]));
        assert!(!own(&[("sec-fetch-site", "same-site")]));
        let host = ("host", "gateway:8008");
        assert!(own(&[host, ("origin", "http://gateway:8008")]));
        assert!(!own(&[host, ("origin", "http://gateway:8009")]));
        assert!(!own(&[host, ("origin", "null")]));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |text| cookie(&headers(&[("cookie", text)]));
        assert_eq!(found("a=b; ringwire_admin=x; c=d").as_deref(), Some("x"));
        assert_eq!(found("ringwire_adminx=x"), None);
    }
}
