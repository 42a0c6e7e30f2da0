//! `POST /call/outgoing`: from a request to a call that rings somewhere.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use crate::book::values;
use crate::book::{
    Book, DtmfPolicy, Hook, HookContentType, HookPolicy, Number, SipAuth, SipHost, SipServer,
    SoundRecord, SoundSource,
};
use crate::call::request::{Action, CallReply, CallRequest, Dial, Direction};
use crate::ids::{AppId, CallId};
use crate::keying::{Srtp, SrtpKeying, SrtpPolicy};

use super::Shared;
use super::body::{StreamBody, read_json};
use super::error::{ApiError, success};
use super::openapi::{Denied, Failure, JsonBody, Success, words};
use super::sound::waiting::NumberSounds;

/// A name that is not found by then is not found (seconds).
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// A number or user name longer than this is none (bytes).
const MAX_NUMBER: usize = 128;

/// Whom to call, and where the call's media goes.
///
/// What the number book knows of `from_number` may be left out, or empty.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = OutgoingCallRequest)]
pub(super) struct Body {
    /// Host, host:port or a sip: URI.
    sip_server: Option<String>,
    /// Where requests go instead; the same forms.
    sip_proxy: Option<String>,
    sip_auth: Option<AuthBody>,
    /// Number or user name of the caller.
    #[schema(required = true, min_length = 1, max_length = 128)]
    from_number: Option<String>,
    /// Number or user name to call.
    #[schema(required = true, min_length = 1, max_length = 128)]
    to_number: Option<String>,
    /// An http:// or https:// URL that is told of the call's events.
    hook: Option<String>,
    #[schema(schema_with = hook_content_types)]
    hook_content_type: Option<String>,
    #[schema(required = true)]
    streaming: Option<StreamBody>,
    /// Whether the callee's media is protected: `off`, `optional` or
    /// `required`.
    srtp: Option<String>,
    /// Where the keys come from: `sdes` or `dtls`.
    srtp_keying: Option<String>,
    /// How keys go to the callee: `auto`, `events`, `info` or `tones`.
    dtmf: Option<String>,
    /// What the callee hears alone in the room, once it has answered.
    hold_music: Option<SoundBody>,
    /// The same while another peer of the room is being called.
    ringback: Option<SoundBody>,
}

/// A sound: one of `asset` and `url`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = SoundSource)]
pub(super) struct SoundBody {
    /// An asset of the app.
    asset: Option<String>,
    /// A file to be fetched, http or https.
    url: Option<String>,
}

/// A call that exists.
#[derive(Serialize, ToSchema)]
#[schema(as = OutgoingCall)]
pub(super) struct DialledView {
    call_id: String,
    /// May act on this call, and nothing else.
    call_token: String,
    /// Path of the call's WebSocket, with the token.
    call_ws: String,
}

/// Credentials for the SIP server.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SipAuth)]
pub(super) struct AuthBody {
    #[schema(required = true, min_length = 1)]
    username: Option<String>,
    #[schema(required = true, min_length = 1)]
    password: Option<String>,
}

fn hook_content_types() -> Object {
    words(&["Json", "Protobuf"])
}

/// Calls somebody.
///
/// The answer comes as soon as the call exists; progress comes on its WebSocket
/// and its hook.
#[utoipa::path(
    post,
    path = "/call/outgoing",
    tag = "calls",
    request_body(content = Body, example = json!({
        "sip_server": "sip.example.com",
        "sip_auth": {"username": "100", "password": "secret"},
        "from_number": "100",
        "to_number": "+4930123456",
        "streaming": {"room": "r1", "peer": "phone"}
    })),
    responses(
        (status = 200, description = "The call exists", body = Success<DialledView>),
        (status = 404, description = "`ASSET_NOT_FOUND`: of `hold_music` or `ringback`", body = Failure),
        (status = 409, description = "`ROOM_FULL`, `PEER_EXISTS`", body = Failure),
        (
            status = 422,
            description = "`HOST_NOT_FOUND`: no address that the gateway can send to. `RECORDING_UNAVAILABLE`, `CLIP_INVALID`, `CLIP_TOO_LONG`, `ROOM_ON_MEDIA_SERVER`",
            body = Failure
        ),
        (
            status = 429,
            description = "`LIMIT_CALLS`, `LIMIT_CALL_RATE`: the number, the app or the gateway has as many calls as its limit allows. With `Retry-After`",
            body = Failure
        ),
        (status = 500, description = "`INTERNAL`", body = Failure),
        (
            status = 503,
            description = "`OVERLOADED`, `PORTS_EXHAUSTED`, `DRAINING`, `MEDIA_UNAVAILABLE`: try again after `Retry-After`",
            body = Failure,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
        Denied,
        JsonBody,
    )
)]
pub async fn dial(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    if shared.draining() {
        return Err(ApiError::draining());
    }
    let body: Body = read_json(Request::from_parts(parts, body)).await?;
    let (dial, sounds) = prepare(&shared, app, body).await?;
    // A client that hangs up now must not leave a call behind that nobody
    // registers: from here on the work does not depend on it.
    let started = tokio::spawn(async move { start(&shared, dial, sounds).await });
    started
        .await
        .unwrap_or_else(|_| Err(ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR)))
}

async fn prepare(
    shared: &Shared,
    app: AppId,
    body: Body,
) -> Result<(Dial, NumberSounds), ApiError> {
    let from_number = number(body.from_number, "from_number")?;
    let to_number = number(body.to_number, "to_number")?;
    let stream = match body.streaming {
        Some(stream) => stream.stream(&app, "streaming")?,
        None => {
            return Err(ApiError::field(
                "streaming",
                "is missing; write {\"room\", \"peer\"}",
            ));
        }
    };
    let sip_auth = body.sip_auth.map(auth).transpose()?;
    let book = shared.directory.book();
    let book = own_number(&book, &app, &from_number);
    // Clients with typed bodies write "" for what they leave out.
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let policy = match app.is_root() {
        true => None,
        false => Some(shared.hooks.policy()),
    };
    let hook = hook(
        given(body.hook),
        body.hook_content_type,
        book,
        policy.as_deref(),
    )?;

    let default = shared.settings().srtp;
    let default = book.map_or(default, |number| number.srtp(default));
    let srtp = srtp(given(body.srtp), given(body.srtp_keying), default)?;
    let dtmf = match given(body.dtmf) {
        None => book.and_then(|number| number.dtmf),
        Some(text) => {
            let problem = "write auto, events, info or tones";
            let policy = DtmfPolicy::from_name(&text);
            Some(policy.ok_or_else(|| ApiError::field("dtmf", problem))?)
        }
    };
    let mut sounds = book
        .map(|number| NumberSounds::of(number))
        .unwrap_or_default();
    if let Some(sound) = body.hold_music {
        sounds.hold_music = Some(sound.source(shared, &app, "hold_music").await?);
    }
    if let Some(sound) = body.ringback {
        sounds.ringback = Some(sound.source(shared, &app, "ringback").await?);
    }
    let outgoing = book
        .map(|number| number.outgoing.clone())
        .unwrap_or_default();
    let Some(server_text) = given(body.sip_server).or(outgoing.sip_server) else {
        return Err(ApiError::field(
            "sip_server",
            "is missing; write host, host:port or a sip: URI, or give from_number a sip_server in the number book",
        ));
    };
    let server = server(&server_text, "sip_server")?;
    let proxy = match given(body.sip_proxy).or(outgoing.sip_proxy) {
        Some(text) => Some(self::server(&text, "sip_proxy")?),
        None => None,
    };
    let destination = match &proxy {
        Some(proxy) => look_up(shared, proxy, "sip_proxy").await?,
        None => look_up(shared, &server, "sip_server").await?,
    };
    let dial = Dial {
        app,
        destination,
        sip_server: server.to_string(),
        // RFC 3261 section 16.12: `lr` says that the proxy routes loosely.
        sip_proxy: proxy.map(|proxy| format!("sip:{proxy};lr")),
        sip_auth: sip_auth.or(outgoing.sip_auth),
        from_number,
        to_number,
        hook,
        stream,
        answer_timeout: shared.settings().answer_timeout,
        srtp,
        dtmf,
    };
    Ok((dial, sounds))
}

impl SoundBody {
    /// The sound it names. An asset has to be there; a URL is fetched when
    /// somebody waits.
    async fn source(
        self,
        shared: &Shared,
        app: &AppId,
        field: &str,
    ) -> Result<SoundSource, ApiError> {
        if shared.settings().media_server.is_some() {
            return Err(ApiError::room_on_media_server());
        }
        let record = SoundRecord {
            asset: self.asset,
            url: self.url,
        };
        // The root app is the operator's own.
        let source = record.to_source(app.is_root());
        let source = source.map_err(|problem| ApiError::field(field, problem))?;
        let source = source.ok_or_else(|| {
            let problem = "names no sound; write {\"asset\": \"hold.wav\"} or {\"url\": \"https://example.com/hold.mp3\"}";
            ApiError::field(field, problem)
        })?;
        if let SoundSource::Asset(_) = &source {
            shared.clips.clip(app, &source).await?;
        }
        Ok(source)
    }
}

fn srtp(policy: Option<String>, keying: Option<String>, mut srtp: Srtp) -> Result<Srtp, ApiError> {
    if let Some(text) = policy {
        let problem = "write off, optional or required";
        let policy = SrtpPolicy::from_name(&text);
        srtp.policy = policy.ok_or_else(|| ApiError::field("srtp", problem))?;
    }
    if let Some(text) = keying {
        let keying = SrtpKeying::from_name(&text);
        let problem = "write sdes or dtls";
        srtp.keying = keying.ok_or_else(|| ApiError::field("srtp_keying", problem))?;
    }
    Ok(srtp)
}

async fn start(
    shared: &Arc<Shared>,
    dial: Dial,
    sounds: NumberSounds,
) -> Result<Response, ApiError> {
    let shard = shared.shards.of_room(&dial.stream.room);
    let request = CallRequest::Dial(Box::new(dial.clone()));
    let shards = shared.shards.clone();
    let mut reply = tokio::spawn(async move { shards.request(shard, request).await });
    let reply = match tokio::time::timeout(super::SHARD_TIMEOUT, &mut reply).await {
        Ok(reply) => reply,
        Err(_) => {
            // The client is told that there is no call, so there must be none.
            let shared = shared.clone();
            tokio::spawn(async move {
                if let Ok(Ok(CallReply::Dialed { call, sip_call_id })) = reply.await {
                    register(&shared, call, dial, sounds, sip_call_id.as_deref());
                    let action = Action::End;
                    let _ = shared.ask(shard, CallRequest::Act { call, action }).await;
                }
            });
            return Err(super::shard_silent());
        }
    };
    let reply = reply.map_err(|_| ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR))?;
    match reply? {
        CallReply::Dialed { call, sip_call_id } => {
            let app = dial.app.clone();
            register(shared, call, dial, sounds, sip_call_id.as_deref());
            // Who is told of a call finds its record, whenever we are killed.
            shared.records.settled().await;
            let token = shared
                .gate
                .call_token(&app, call, shared.settings().token_ttl)?;
            Ok(success(DialledView {
                call_id: call.to_string(),
                call_ws: format!("/call/outgoing/{call}?token={token}"),
                call_token: token,
            }))
        }
        CallReply::Refused(error) => Err(error.into()),
        _ => Err(ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

/// From here on the call can be asked for, and its events have a way to go.
fn register(
    shared: &Arc<Shared>,
    call: CallId,
    dial: Dial,
    sounds: NumberSounds,
    sip_call_id: Option<&str>,
) {
    let app = &dial.app;
    let book = shared.directory.book();
    let number = own_number(&book, app, &dial.from_number);
    let number = number.map(|number| number.number.as_str());
    let entry = shared.registry.entry(call, app, Direction::Outgoing);
    shared.records.dialled(&entry, &dial, number, sip_call_id);
    entry.set_place(dial.stream.clone());
    if entry.set_sounds(sounds) {
        // The callee was quicker than we.
        shared.keep_company(&entry);
    }
    let hooks = dial
        .hook
        .and_then(|hook| shared.hooks.of_call(app, call, hook));
    entry.set_hooks(hooks);
}

/// The number's record in the book; another app's gives nothing to this one.
fn own_number<'a>(book: &'a Book, app: &AppId, number: &str) -> Option<&'a Arc<Number>> {
    book.number(number).filter(|number| number.app == *app)
}

fn number(value: Option<String>, field: &str) -> Result<String, ApiError> {
    let Some(number) = value else {
        return Err(ApiError::field(
            field,
            "is missing; write a number or user name",
        ));
    };
    if number.is_empty() || number.len() > MAX_NUMBER {
        let problem = format!("write 1 to {MAX_NUMBER} characters");
        return Err(ApiError::field(field, problem));
    }
    // RFC 3261 section 25.1, user: what is not listed there travels escaped.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/%".contains(&b);
    if let Some(wrong) = number
        .chars()
        .find(|c| !u8::try_from(*c).is_ok_and(allowed))
    {
        let hint = match wrong {
            '#' => "write %23 for #",
            '@' => "write the user part only; sip_server names the host",
            _ => "write a number or user name; other characters as %XX",
        };
        return Err(ApiError::field(
            field,
            format!("{wrong:?} cannot stand in it; {hint}"),
        ));
    }
    Ok(number)
}

fn auth(body: AuthBody) -> Result<SipAuth, ApiError> {
    let part = |value: Option<String>, field: &str| match value {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(ApiError::field(
            field,
            "is missing; write username and password",
        )),
    };
    Ok(SipAuth {
        username: part(body.username, "sip_auth.username")?,
        password: part(body.password, "sip_auth.password")?,
    })
}

/// The call's hook. Without a policy it may be anywhere.
fn hook(
    url: Option<String>,
    content_type: Option<String>,
    book: Option<&Arc<Number>>,
    policy: Option<&HookPolicy>,
) -> Result<Option<Hook>, ApiError> {
    let content_type = match content_type {
        None => None,
        Some(text) => Some(HookContentType::from_name(&text).ok_or_else(|| {
            let problem = format!("{text:?} is neither \"Json\" nor \"Protobuf\"");
            ApiError::field("hook_content_type", problem)
        })?),
    };
    if let Some(url) = &url {
        let url = values::hook_url(url).map_err(|problem| ApiError::field("hook", problem))?;
        if let Some(policy) = policy {
            let checked = policy.check_url(&url);
            checked.map_err(|problem| ApiError::field("hook", problem))?;
        }
    }
    let from_book = book.and_then(|number| number.hook.clone());
    Ok(match (url, from_book) {
        (Some(url), _) => Some(Hook {
            url: Arc::from(url),
            content_type: content_type.unwrap_or_default(),
            trusted: policy.is_none(),
        }),
        (None, Some(hook)) => Some(Hook {
            content_type: content_type.unwrap_or(hook.content_type),
            ..hook
        }),
        (None, None) => None,
    })
}

pub(super) fn server(text: &str, field: &str) -> Result<SipServer, ApiError> {
    text.parse().map_err(|error| ApiError::field(field, error))
}

/// The address to send to: the first one of a family that we have a SIP
/// socket for.
pub(super) async fn look_up(
    shared: &Shared,
    server: &SipServer,
    field: &str,
) -> Result<SocketAddr, ApiError> {
    let port = server.port_or_default();
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(_) => shared.settings().ipv4,
        IpAddr::V6(_) => shared.settings().ipv6,
    };
    let name = match &server.host {
        SipHost::Address(address) if usable(address) => {
            return Ok(SocketAddr::new(*address, port));
        }
        SipHost::Address(address) => {
            return Err(ApiError::field(
                field,
                format!("{address}: sip.listen has no address of this family"),
            ));
        }
        SipHost::Name(name) => name,
    };
    let not_found = |problem: String| {
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "HOST_NOT_FOUND",
            format!("{field}: {name:?} {problem}"),
        )
    };
    let Ok(_room) = shared.lookups.acquire().await else {
        return Err(ApiError::overloaded("the gateway is ending"));
    };
    let found = tokio::time::timeout(
        LOOKUP_TIMEOUT,
        tokio::net::lookup_host((name.as_str(), port)),
    )
    .await
    .map_err(|_| not_found("was not found in time; check the name and the DNS server".into()))?
    .map_err(|error| not_found(format!("was not found ({error}); check the name")))?;
    let addresses: Vec<SocketAddr> = found.collect();
    addresses
        .iter()
        .find(|address| usable(&address.ip()))
        .copied()
        .ok_or_else(|| {
            let found: Vec<String> = addresses.iter().map(|a| a.ip().to_string()).collect();
            not_found(format!(
                "has only addresses of a family that sip.listen does not have ({})",
                found.join(", ")
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(value: &str) -> String {
        number(Some(value.to_string()), "to_number")
            .unwrap_err()
            .message
    }

    #[test]
    fn numbers_and_user_names_pass() {
        for text in [
            "100",
            "+4930123",
            "alice",
            "*31*123",
            "a%23b",
            "x;phone-context=y",
        ] {
            assert_eq!(number(Some(text.to_string()), "f"), Ok(text.to_string()));
        }
    }

    #[test]
    fn what_could_break_out_of_a_uri_is_refused() {
        assert!(refused("alice@example.com").contains("sip_server names the host"));
        assert!(refused("#31#").contains("%23"));
        for text in ["", "a b", "a\r\nX: y", "a>", "\"a\"", "sip:a", "ü"] {
            assert!(refused(text).starts_with("to_number: "), "{text:?}");
        }
    }
}
