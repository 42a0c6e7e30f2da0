//! `session`, `setup`, `login`, `logout` and `password`: how an administrator
//! comes in and goes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use crate::api::Shared;
use crate::api::auth::unix_ms;
use crate::api::body::read_json;
use crate::api::error::{ApiError, done, success};
use crate::config::check_admin_password;

use super::password::Origin;
use super::sessions::Ticket;
use super::{COOKIE, SessionId};

#[derive(Deserialize)]
struct SetupBody {
    #[serde(default)]
    code: String,
    #[serde(default)]
    password: String,
}

#[derive(Deserialize)]
struct LoginBody {
    #[serde(default)]
    password: String,
}

#[derive(Deserialize)]
struct PasswordBody {
    #[serde(default)]
    current: String,
    #[serde(default)]
    new: String,
}

/// `GET /admin/api/session`
pub async fn session(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let admin = &shared.admin;
    let ticket = super::cookie(&headers).and_then(|id| {
        let patience = admin.patience();
        admin.sessions.find(&id, Instant::now(), patience)
    });
    match ticket {
        Some(ticket) => success(shared.admin.session_json(&ticket)),
        None => success(json!({
            "logged_in": false,
            "setup_needed": admin.password.origin() == Origin::NotSet,
        })),
    }
}

/// `POST /admin/api/setup`
pub async fn setup(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let address = tries(&shared, &parts)?;
    let body: SetupBody = read_json(Request::from_parts(parts.clone(), body)).await?;
    check_admin_password(&body.password).map_err(|problem| ApiError::field("password", problem))?;
    let admin = &shared.admin;
    if !admin
        .password
        .set_first(body.code.trim(), &body.password)
        .await?
    {
        tracing::warn!(%address, "a wrong setup code for the admin panel");
        shared.counters.admin_login(false);
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "SETUP_CODE_WRONG",
            "this is not the setup code; the gateway's log and the file admin-setup-code in its data directory have it",
        ));
    }
    tracing::info!(%address, "the administrator's password was set");
    Ok(come_in(&shared, &parts, address))
}

/// `POST /admin/api/login`
pub async fn login(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    if shared.admin.password.origin() == Origin::NotSet {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "PASSWORD_NOT_SET",
            "no password is set yet; set the first one with the setup code",
        ));
    }
    let address = tries(&shared, &parts)?;
    let body: LoginBody = read_json(Request::from_parts(parts.clone(), body)).await?;
    if !shared.admin.password.is(&body.password).await? {
        tracing::warn!(%address, "a wrong password for the admin panel");
        shared.counters.admin_login(false);
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "LOGIN_FAILED",
            "this is not the administrator's password",
        ));
    }
    tracing::info!(%address, "an administrator logged in");
    Ok(come_in(&shared, &parts, address))
}

/// `POST /admin/api/logout`
pub async fn logout(
    State(shared): State<Arc<Shared>>,
    session: axum::Extension<SessionId>,
    headers: HeaderMap,
) -> Response {
    shared.admin.sessions.close(&session.0.0);
    let mut response = done();
    let gone = cookie_text("", Duration::ZERO, is_secure(&shared, &headers));
    set_cookie(&mut response, &gone);
    response
}

/// `POST /admin/api/password`
pub async fn password(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let admin = &shared.admin;
    if admin.password.origin() == Origin::Configured {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "PASSWORD_CONFIGURED",
            "the password is in the configuration; change it there, and reload",
        ));
    }
    let address = tries(&shared, &parts)?;
    let body: PasswordBody = read_json(Request::from_parts(parts.clone(), body)).await?;
    check_admin_password(&body.new).map_err(|problem| ApiError::field("new", problem))?;
    if !admin.password.is(&body.current).await? {
        shared.counters.admin_login(false);
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "PASSWORD_WRONG",
            "`current` is not the administrator's password",
        ));
    }
    admin.password.change(&body.new).await?;
    admin.sessions.close_all();
    tracing::info!(%address, "the administrator's password was changed");
    Ok(come_in(&shared, &parts, address))
}

/// The address that asks, if it has a try left.
fn tries(shared: &Shared, parts: &Parts) -> Result<IpAddr, ApiError> {
    let address = parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    let taken = shared.admin.limiter.take(address, Instant::now());
    taken.map_err(|wait| ApiError {
        // Whole seconds, and not too early.
        retry_after: Some(Duration::from_secs(wait.as_secs() + 1)),
        ..ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TOO_MANY_LOGINS",
            "too many tries; wait as long as Retry-After says",
        )
    })?;
    Ok(address)
}

fn come_in(shared: &Shared, parts: &Parts, address: IpAddr) -> Response {
    let admin = &shared.admin;
    let now = Instant::now();
    admin.limiter.succeeded(address, now);
    shared.counters.admin_login(true);
    let ticket = admin.sessions.open(now, admin.patience());
    let mut response = success(admin.session_json(&ticket));
    let longest = admin.patience().longest;
    let cookie = cookie_text(&ticket.id, longest, is_secure(shared, &parts.headers));
    set_cookie(&mut response, &cookie);
    response
}

impl super::Admin {
    fn session_json(&self, ticket: &Ticket) -> serde_json::Value {
        json!({
            "logged_in": true,
            "setup_needed": false,
            "csrf_token": ticket.csrf,
            "expires_ms": unix_ms() + ticket.left.as_millis() as u64,
            "idle_timeout_s": self.patience().idle.as_secs(),
            "password_changeable": self.password.origin() != Origin::Configured,
        })
    }
}

/// No script reads it, no other site sends it, and no other path gets it.
fn cookie_text(id: &str, longest: Duration, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    let seconds = longest.as_secs();
    format!("{COOKIE}={id}; Path=/admin; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}

/// Behind a proxy that speaks https to the browser, or configured to be.
fn is_secure(shared: &Shared, headers: &HeaderMap) -> bool {
    let forwarded = headers
        .get("x-forwarded-proto")
        .is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
    forwarded || shared.admin.settings().secure_cookie
}
