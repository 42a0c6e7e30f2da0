//! WebRTC peers of rooms over HTTP: `POST /rooms/{room}/peers/{peer}` with an
//! SDP offer, then `PATCH`, `DELETE` and an event stream on the resource that
//! the answer's `Location` names. WHIP (RFC 9725) and WHEP clients work with
//! it as they are.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::call::request::{CallError, CallReply, CallRequest, IceSession, Stream, WebRequest};
use crate::ids::{AppId, CallId, RoomKey};

use super::Shared;
use super::auth::Permit;
use super::body::{StreamBody, read_bytes};
use super::error::{ApiError, done};
use super::openapi::{Denied, Done, Failure};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// RFC 5789 section 3.1.
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Lets a browser, WHIP or WHEP client into a room.
///
/// A WebRTC peer that has this place already is replaced.
#[utoipa::path(
    post,
    path = "/rooms/{room}/peers/{peer}",
    tag = "rooms",
    params(("room" = String, Path), ("peer" = String, Path)),
    request_body(content = String, content_type = "application/sdp", description = "An SDP offer"),
    responses(
        (
            status = 201,
            description = "The SDP answer",
            body = String,
            content_type = "application/sdp",
            headers(
                ("Location" = String, description = "The peer from here on"),
                ("ETag" = String, description = "Names the ICE session"),
                ("Accept-Patch" = String),
            )
        ),
        (status = 400, description = "`BAD_REQUEST`: the message says what is wrong with the SDP", body = Failure),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`: more than 64 KiB", body = Failure),
        (status = 415, description = "`UNSUPPORTED_MEDIA_TYPE`", body = Failure),
        (status = 409, description = "`ROOM_FULL`, `PEER_EXISTS`, `NO_COMMON_CODEC`", body = Failure),
        (status = 422, description = "`WEBRTC_DISABLED`", body = Failure),
        (
            status = 503,
            description = "`OVERLOADED`, `PORTS_EXHAUSTED`, `DRAINING`, `MEDIA_UNAVAILABLE`: try again after `Retry-After`",
            body = Failure,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
        Denied,
    )
)]
pub async fn join(
    State(shared): State<Arc<Shared>>,
    Path((room, peer)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let stream = shared.place(&parts, room, peer)?;
    if shared.settings().media_server.is_some() {
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "ROOM_ON_MEDIA_SERVER",
            "rooms are on a media server (rooms.backend = \"external\"); join there",
        ));
    }
    if shared.draining() {
        return Err(ApiError::draining());
    }
    if media_type(&parts.headers) != Some(SDP) {
        return Err(unsupported("an SDP offer", SDP));
    }
    let offer = read_bytes(body).await?;
    let shard = shared.shards.of_room(&stream.room);
    let request = WebRequest::Join {
        stream: stream.clone(),
        offer: offer.to_vec(),
    };
    match shared.ask(shard, CallRequest::Web(request)).await? {
        CallReply::WebJoined {
            peer,
            answer,
            ufrag,
        } => {
            let location = location(&stream, peer);
            let mut response = (StatusCode::CREATED, answer).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
            headers.insert(header::ETAG, etag(&ufrag));
            headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
            if let Ok(location) = HeaderValue::from_str(&location) {
                headers.insert(header::LOCATION, location);
            }
            Ok(response)
        }
        other => Err(refused(other)),
    }
}

/// Takes a fragment (RFC 8840) or a whole new offer of a WebRTC peer.
#[utoipa::path(
    patch,
    path = "/rooms/{room}/peers/{peer}/{id}",
    operation_id = "patch_peer",
    tag = "rooms",
    params(("room" = String, Path), ("peer" = String, Path), ("id" = String, Path, description = "As the `Location` of the answer named it"), ("If-Match" = Option<String>, Header, description = "The latest `ETag`, or `*` to restart ICE whatever the session is")),
    request_body(content((String = "application/trickle-ice-sdpfrag"), (String = "application/sdp"))),
    responses(
        (
            status = 200,
            description = "The answer to an offer, or to an ICE restart",
            content((String = "application/sdp"), (String = "application/trickle-ice-sdpfrag")),
            headers(("ETag" = String, description = "Names the ICE session"))
        ),
        (status = 204, description = "Taken; there is nothing to say"),
        (status = 400, description = "`BAD_REQUEST`: the message says what is wrong with the SDP", body = Failure),
        (status = 412, description = "`PRECONDITION_FAILED`: the ICE session that is meant is over", body = Failure),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`: more than 64 KiB", body = Failure),
        (status = 415, description = "`UNSUPPORTED_MEDIA_TYPE`", body = Failure),
        (status = 404, description = "`PEER_NOT_FOUND`", body = Failure),
        (status = 409, description = "`NO_COMMON_CODEC`, `WRONG_STATE`", body = Failure),
        (status = 422, description = "`WEBRTC_DISABLED`", body = Failure),
        (
            status = 503,
            description = "`OVERLOADED`, `PORTS_EXHAUSTED`, `DRAINING`, `MEDIA_UNAVAILABLE`: try again after `Retry-After`",
            body = Failure,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
        Denied,
    )
)]
pub async fn patch(
    State(shared): State<Arc<Shared>>,
    Path((room, peer, id)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let stream = shared.place(&parts, room, peer)?;
    let peer = peer_id(&id)?;
    let kind = media_type(&parts.headers);
    let is_offer = kind == Some(SDP);
    if !is_offer && kind != Some(FRAGMENT) {
        return Err(unsupported(
            "a fragment or an offer",
            "application/trickle-ice-sdpfrag or application/sdp",
        ));
    }
    let session = meant_session(&parts.headers)?;
    let body = read_bytes(body).await?.to_vec();
    let request = if is_offer {
        WebRequest::Offer {
            peer,
            stream,
            offer: body,
            session,
        }
    } else {
        WebRequest::Fragment {
            peer,
            stream,
            fragment: body,
            session,
        }
    };
    match shared.ask(peer.shard, CallRequest::Web(request)).await? {
        CallReply::Done => Ok(StatusCode::NO_CONTENT.into_response()),
        CallReply::WebAnswered { answer, ufrag } => {
            let kind = if is_offer { SDP } else { FRAGMENT };
            let mut response = answer.into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.insert(header::ETAG, etag(&ufrag));
            Ok(response)
        }
        other => Err(refused(other)),
    }
}

/// Takes a WebRTC peer out of its room.
#[utoipa::path(
    delete,
    path = "/rooms/{room}/peers/{peer}/{id}",
    tag = "rooms",
    params(("room" = String, Path), ("peer" = String, Path), ("id" = String, Path, description = "As the `Location` of the answer named it")),
    responses(
        (status = 200, description = "It is out", body = Done),
        (status = 404, description = "`PEER_NOT_FOUND`", body = Failure),
        (status = 422, description = "`WEBRTC_DISABLED`", body = Failure),
        Denied,
    )
)]
pub async fn leave(
    State(shared): State<Arc<Shared>>,
    Path((room, peer, id)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let stream = shared.place(&parts, room, peer)?;
    let peer = peer_id(&id)?;
    let request = WebRequest::Leave { peer, stream };
    match shared.ask(peer.shard, CallRequest::Web(request)).await? {
        CallReply::Done => Ok(done()),
        other => Err(refused(other)),
    }
}

/// Says what may be sent (RFC 9725 section 4.2).
#[utoipa::path(
    options,
    path = "/rooms/{room}/peers/{peer}",
    operation_id = "options_of_place",
    tag = "rooms",
    params(("room" = String, Path), ("peer" = String, Path)),
    responses(
        (status = 204, description = "In the headers", headers(("Accept-Post" = String), ("Accept-Patch" = String))),
    )
)]
pub async fn options() -> Response {
    what_may_be_sent()
}

/// Says what may be sent (RFC 9725 section 4.2).
#[utoipa::path(
    options,
    path = "/rooms/{room}/peers/{peer}/{id}",
    operation_id = "options_of_peer",
    tag = "rooms",
    params(("room" = String, Path), ("peer" = String, Path), ("id" = String, Path, description = "As the `Location` of the answer named it")),
    responses(
        (status = 204, description = "In the headers", headers(("Accept-Post" = String), ("Accept-Patch" = String))),
    )
)]
pub async fn options_of_one() -> Response {
    what_may_be_sent()
}

fn what_may_be_sent() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static("accept-post"),
        HeaderValue::from_static(SDP),
    );
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
    response
}

impl Shared {
    /// The place that the path names, if the credential reaches it.
    pub(super) fn place(
        &self,
        parts: &Parts,
        room: String,
        peer: String,
    ) -> Result<Stream, ApiError> {
        let app: AppId = match self.gate.permit(parts)? {
            Permit::App(app) => app,
            Permit::Room(app, its_room, its_peer) if its_room == room && its_peer == peer => app,
            Permit::Room(..) => {
                return Err(ApiError::forbidden(
                    "this token is for another room or another peer name",
                ));
            }
            Permit::Call(..) | Permit::Notify(..) => {
                return Err(ApiError::forbidden(
                    "this needs a room token (POST /token/room) or the app_secret",
                ));
            }
        };
        let stream = StreamBody {
            room: Some(room),
            peer: Some(peer),
            record: None,
        };
        stream.stream(&app, "path")
    }
}

/// The id in a resource's path.
pub(super) fn peer_id(text: &str) -> Result<CallId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::from(CallError::UnknownPeer))
}

fn location(stream: &Stream, peer: CallId) -> String {
    let RoomKey { name, .. } = &stream.room;
    format!(
        "/rooms/{}/peers/{}/{peer}",
        path_segment(name),
        path_segment(&stream.peer)
    )
}

/// A path segment (RFC 3986 section 3.3): everything but the unreserved
/// characters is percent-encoded.
fn path_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Names the ICE session (RFC 9725 section 4.3.1).
fn etag(ufrag: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{ufrag}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The ICE session that `If-Match` names (RFC 9110 section 13.1.1). Where there
/// is none, RFC 9725 section 4.3.1 has 428 answered; many clients send none,
/// and the credentials in what they send tell as well which session it is of.
fn meant_session(headers: &HeaderMap) -> Result<IceSession, ApiError> {
    let mut names = Vec::new();
    let mut values = headers.get_all(header::IF_MATCH).iter().peekable();
    if values.peek().is_none() {
        return Ok(IceSession::Any);
    }
    for value in values {
        let text = value.to_str().map_err(|_| wrong_if_match())?.trim();
        if text == "*" {
            return Ok(IceSession::Any);
        }
        // Our tags have no comma in them, so one that has is none of ours
        // however it is cut.
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            names.push(entity_tag(tag).ok_or_else(wrong_if_match)?);
        }
    }
    Ok(IceSession::Named(names))
}

/// What stands between the quotes. A weak tag never matches (RFC 9110 section
/// 13.1.1): it keeps its `W/`, which no name of ours begins with. A tag without
/// quotes is what some clients make of it.
fn entity_tag(tag: &str) -> Option<String> {
    if tag.starts_with("W/") {
        return Some(tag.to_owned());
    }
    let inner = match tag.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => tag,
    };
    (!inner.contains('"')).then(|| inner.to_owned())
}

fn wrong_if_match() -> ApiError {
    ApiError::field(
        "If-Match",
        "is no entity tag; send the ETag of the latest answer, in its quotes, or * to restart ICE",
    )
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim())
}

fn unsupported(what: &str, kind: &str) -> ApiError {
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
        format!("send {what} with Content-Type: {kind}"),
    )
}

fn refused(reply: CallReply) -> ApiError {
    match reply {
        CallReply::Refused(error) => error.into(),
        _ => ApiError::from(CallError::UnknownPeer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(values: &[&'static str]) -> Option<IceSession> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_static(value));
        }
        meant_session(&headers).ok()
    }

    #[test]
    fn if_match_names_ice_sessions_or_any() {
        let named = |names: &[&str]| {
            Some(IceSession::Named(
                names.iter().map(ToString::to_string).collect(),
            ))
        };
        assert_eq!(meant(&[]), Some(IceSession::Any));
        assert_eq!(meant(&["*"]), Some(IceSession::Any));
        assert_eq!(meant(&["\"a/b\""]), named(&["a/b"]));
        assert_eq!(meant(&["\"a\", \"b\"", "c"]), named(&["a", "b", "c"]));
        assert_eq!(meant(&["W/\"a\""]), named(&["W/\"a\""]));
        assert_eq!(meant(&["\"a"]), None);
        assert_eq!(meant(&["a\"b"]), None);
    }

    #[test]
    fn a_name_with_anything_in_it_makes_one_path_segment() {
        assert_eq!(path_segment("a b/ü~1"), "a%20b%2F%C3%BC~1");
    }
}
