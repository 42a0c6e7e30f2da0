//! The HTTP interface of a media server that rooms are on: one function a
//! step, each of which says what went wrong and whether it may go away.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;

use crate::call::event::ServerRequest;
use crate::call::request::{MediaServerFailure, Stream};
use crate::config::MediaServer;

use super::http_client::in_words;

const SDP: &str = "application/sdp";
/// No answer that is read is longer (bytes).
const MAX_ANSWER: usize = 64 * 1024;
/// Of what the server says of itself, so much is told (characters).
const MAX_WORDS: usize = 200;

/// A request to the media server, as the metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Token,
    Offer,
    Answer,
    Complete,
    Delete,
}

impl Step {
    pub fn label(self) -> &'static str {
        match self {
            Step::Token => "token",
            Step::Offer => "offer",
            Step::Answer => "answer",
            Step::Complete => "complete",
            Step::Delete => "delete",
        }
    }
}

/// What kind of trouble a request met, as the metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// 5xx, 408 or 429: it may go away.
    Overloaded,
    /// Any other refusal.
    Refused,
    /// An answer that is not of the interface.
    Malformed,
}

impl TroubleKind {
    pub fn label(self) -> &'static str {
        match self {
            TroubleKind::Unreachable => "unreachable",
            TroubleKind::Timeout => "timeout",
            TroubleKind::Overloaded => "overloaded",
            TroubleKind::Refused => "refused",
            TroubleKind::Malformed => "malformed",
        }
    }
}

/// A request that failed, in words without any secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub kind: TroubleKind,
    pub words: String,
}

impl Trouble {
    fn new(kind: TroubleKind, words: impl Into<String>) -> Self {
        Trouble {
            kind,
            words: words.into(),
        }
    }

    pub fn late(timeout: Duration) -> Self {
        let words = format!("no answer within {} s", timeout.as_secs_f32());
        Trouble::new(TroubleKind::Timeout, words)
    }

    /// As the call takes it.
    pub fn failure(&self, step: Step) -> MediaServerFailure {
        let words = format!("{}: {}", step.label(), self.words);
        match self.kind {
            TroubleKind::Unreachable | TroubleKind::Timeout | TroubleKind::Overloaded => {
                MediaServerFailure::Unavailable(words)
            }
            TroubleKind::Refused | TroubleKind::Malformed => MediaServerFailure::Unusable(words),
        }
    }
}

/// What a call has on the media server.
#[derive(Debug)]
pub struct Made {
    /// Where it is changed and deleted.
    pub url: Url,
    /// Where the response came from.
    pub source: Option<IpAddr>,
    /// Its SDP, unless it did not arrive whole.
    pub sdp: Result<Vec<u8>, Trouble>,
}

/// The media server, as far as it is known. None of the requests has a time
/// limit of its own.
pub struct Server {
    pub client: Client,
    pub settings: MediaServer,
}

impl Server {
    /// `POST /token/rtpengine`: a token for one place.
    pub async fn token(&self, secret: &str, stream: &Stream) -> Result<String, Trouble> {
        let body = json!({
            "room": &*stream.room.name,
            "peer": &*stream.peer,
            "ttl": self.settings.token_ttl.as_secs(),
            "record": stream.record,
        });
        let request = self
            .post("/token/rtpengine")
            .bearer_auth(secret)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        let mut response = succeeded(request).await?;
        read_token(&read(&mut response).await?)
    }

    /// `POST /rtpengine/offer` or `/rtpengine/answer`: the call's session
    /// there.
    pub async fn make(&self, token: &str, request: &ServerRequest) -> Result<Made, Trouble> {
        let request = match request {
            ServerRequest::Answer { offer, .. } => self
                .post("/rtpengine/answer")
                .header(CONTENT_TYPE, SDP)
                .body(offer.clone()),
            ServerRequest::Offer(_) | ServerRequest::Complete(_) => {
                // An empty body, so that its length is told (RFC 9110 section
                // 8.6).
                self.post("/rtpengine/offer").body("")
            }
        };
        let request = request.bearer_auth(token).header(ACCEPT, SDP);
        let mut response = succeeded(request).await?;
        let location = response.headers().get(LOCATION);
        let Some(location) = location.and_then(|value| value.to_str().ok()) else {
            let words = format!("answered {} without a Location", response.status());
            return Err(Trouble::new(TroubleKind::Malformed, words));
        };
        let Some(url) = resource(&self.settings.url, location) else {
            let words = "answered with a Location that is not below rooms.url";
            return Err(Trouble::new(TroubleKind::Malformed, words));
        };
        Ok(Made {
            url,
            source: response.remote_addr().map(|address| address.ip()),
            sdp: read(&mut response).await,
        })
    }

    /// `PATCH` with our SDP answer.
    pub async fn complete(&self, url: &Url, answer: String) -> Result<(), Trouble> {
        let request = self
            .client
            .patch(url.clone())
            .header(CONTENT_TYPE, SDP)
            .body(answer);
        succeeded(request).await.map(|_| ())
    }

    /// `DELETE`; what is not there any more counts as deleted.
    pub async fn delete(&self, url: &Url) -> Result<(), Trouble> {
        let request = self.client.request(Method::DELETE, url.clone());
        let response = request.send().await.map_err(unreachable)?;
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
            status if status.is_success() => Ok(()),
            status => Err(refused(status)),
        }
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.settings.url))
    }
}

async fn succeeded(request: RequestBuilder) -> Result<Response, Trouble> {
    let response = request.send().await.map_err(unreachable)?;
    match response.status() {
        status if status.is_success() => Ok(response),
        status => Err(refused(status)),
    }
}

async fn read(response: &mut Response) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            let words = format!("answered more than {MAX_ANSWER} bytes");
            return Err(Trouble::new(TroubleKind::Malformed, words));
        }
    }
    Ok(body)
}

fn unreachable(error: reqwest::Error) -> Trouble {
    Trouble::new(TroubleKind::Unreachable, in_words(error))
}

fn refused(status: StatusCode) -> Trouble {
    let passing = status.is_server_error()
        || status == StatusCode::REQUEST_TIMEOUT
        || status == StatusCode::TOO_MANY_REQUESTS;
    let kind = match passing {
        true => TroubleKind::Overloaded,
        false => TroubleKind::Refused,
    };
    Trouble::new(kind, format!("answered {status}"))
}

#[derive(Deserialize)]
struct TokenReply {
    status: bool,
    error: Option<String>,
    data: Option<TokenData>,
}

#[derive(Deserialize)]
struct TokenData {
    token: String,
}

/// A wrong secret comes as 200 with `"status": false`.
fn read_token(body: &[u8]) -> Result<String, Trouble> {
    let malformed = |words: &str| Trouble::new(TroubleKind::Malformed, words);
    // What serde says of the body might quote the token.
    let reply: TokenReply = serde_json::from_slice(body)
        .map_err(|_| malformed("answered no JSON of the form {status, data: {token}}"))?;
    if !reply.status {
        let said = reply.error.unwrap_or_default();
        let said: String = said
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_WORDS)
            .collect();
        let words = format!("refused with {said:?}; does it know the app_secret?");
        return Err(Trouble::new(TroubleKind::Refused, words));
    }
    match reply.data {
        Some(TokenData { token }) if !token.is_empty() => Ok(token),
        Some(_) | None => Err(malformed("answered without a token")),
    }
}

/// The URL of a Location: a path below the base, or an absolute URL on the
/// same server.
fn resource(base: &str, location: &str) -> Option<Url> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Url::parse(&format!("{base}{location}")).ok();
    }
    let url = Url::parse(location).ok()?;
    let base = Url::parse(base).ok()?;
    (url.origin() == base.origin()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_put_at_the_end_of_the_base() {
        let at = |location| resource("http://m.example/base", location).map(String::from);
        assert_eq!(
            at("/rtpengine/conn/7").as_deref(),
            Some("http://m.example/base/rtpengine/conn/7")
        );
        assert_eq!(
            at("http://m.example/x/7").as_deref(),
            Some("http://m.example/x/7")
        );
        assert_eq!(at("http://other.example/x/7"), None);
        assert_eq!(at("//other.example/x/7"), None);
        assert_eq!(at("conn/7"), None);
        assert_eq!(at(""), None);
    }

    #[test]
    fn a_token_is_read_and_what_is_none_is_told_without_quoting_it() {
        let token = |body: &str| read_token(body.as_bytes());
        assert_eq!(
            token(r#"{"status":true,"data":{"token":"t"}}"#),
            Ok("t".to_string())
        );
        for (body, kind) in [
            (
                r#"{"status":false,"error":"TOKEN_FAILED"}"#,
                TroubleKind::Refused,
            ),
            (r#"{"status":false}"#, TroubleKind::Refused),
            (r#"{"status":true}"#, TroubleKind::Malformed),
            (
                r#"{"status":true,"data":{"token":""}}"#,
                TroubleKind::Malformed,
            ),
            (r#"{"data":{"token":"secret"}}"#, TroubleKind::Malformed),
            ("secret", TroubleKind::Malformed),
        ] {
            let trouble = token(body).unwrap_err();
            assert_eq!(trouble.kind, kind, "{body}");
            assert!(!trouble.words.contains("secret\""), "{}", trouble.words);
        }
    }

    #[test]
    fn what_may_go_away_is_unavailable_and_everything_else_unusable() {
        let failure = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            refused(status).failure(Step::Offer)
        };
        for status in [500, 502, 503, 408, 429] {
            let failure = failure(status);
            assert!(
                matches!(failure, MediaServerFailure::Unavailable(_)),
                "{status}: {failure}"
            );
        }
        for status in [300, 400, 401, 404] {
            let failure = failure(status);
            assert!(
                matches!(failure, MediaServerFailure::Unusable(_)),
                "{status}: {failure}"
            );
        }
    }
}
