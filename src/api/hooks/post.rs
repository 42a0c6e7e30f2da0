//! One attempt: the request, its signature, and what came back.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use crate::api::auth::{keyed_hash, unix_time};
use crate::api::http_client::{HttpClientError, in_words};
use crate::api::policed_clients::PolicedClients;
use crate::book::{HookContentType, HookPolicy};

use super::backlog::Item;

/// A hook's answer is at most this long (bytes); the rest is not read.
const MAX_ANSWER: usize = 64 * 1024;
/// So much of an answer is kept beside its event (bytes).
const MAX_KEPT: usize = 2 * 1024;

/// Posts to hooks.
pub struct Poster {
    clients: PolicedClients,
}

/// How an attempt went.
#[derive(Debug, Default)]
pub struct Attempt {
    /// The answer's HTTP status.
    pub status: Option<u16>,
    pub content_type: String,
    pub body: Vec<u8>,
    pub failure: Option<Failure>,
}

/// Why an attempt failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub problem: String,
    pub kind: FailureKind,
}

/// What a failure says about the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// It may not be posted to at all.
    Forbidden,
    /// It is there, but did not want this event.
    Refused,
    /// It is down, overloaded or gone.
    Down,
}

impl Attempt {
    /// An attempt that brought no answer.
    pub fn failed(kind: FailureKind, problem: impl ToString) -> Attempt {
        Attempt {
            failure: Some(Failure {
                problem: problem.to_string(),
                kind,
            }),
            ..Attempt::default()
        }
    }

    /// The beginning of the answer's body, as text.
    pub fn excerpt(&self) -> Option<String> {
        let kept = &self.body[..self.body.len().min(MAX_KEPT)];
        (!kept.is_empty()).then(|| String::from_utf8_lossy(kept).into_owned())
    }
}

impl Poster {
    /// With connections of its own.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(policy: Arc<HookPolicy>) -> Result<Poster, HttpClientError> {
        let clients = PolicedClients::new(policy)?;
        Ok(Poster { clients })
    }

    /// What hooks that are not the operator's own may be posted to.
    pub fn policy(&self) -> &Arc<HookPolicy> {
        self.clients.policy()
    }

    /// Posts once, within this time.
    pub async fn post(&self, item: &Item, secret: &str, timeout: Duration) -> Attempt {
        let client = match self.clients.client(&item.hook.url, item.hook.trusted) {
            Ok(client) => client,
            Err(reason) => return Attempt::failed(FailureKind::Forbidden, reason),
        };
        let (content_type, body) = match item.hook.content_type {
            HookContentType::Json => match serde_json::to_vec(&item.body) {
                Ok(body) => ("application/json", body),
                Err(error) => return Attempt::failed(FailureKind::Refused, error),
            },
            HookContentType::Protobuf => ("application/protobuf", item.body.encode_to_vec()),
        };
        let timestamp = unix_time().as_secs();
        let request = client
            .post(&*item.hook.url)
            .timeout(timeout)
            .header("Content-Type", content_type)
            .header("X-Hook-Id", &item.id)
            .header("X-Hook-Timestamp", timestamp)
            .header("X-Hook-Signature", signature(secret, timestamp, &body))
            .body(body);
        match request.send().await {
            Ok(response) => read(response).await,
            Err(error) => Attempt::failed(FailureKind::Down, in_words(error)),
        }
    }
}

async fn read(mut response: reqwest::Response) -> Attempt {
    let status = response.status();
    let (failure, limit) = if status.is_success() {
        (None, MAX_ANSWER)
    } else {
        let problem = match status.is_redirection() {
            true => format!("answered {status}; redirects are not followed"),
            false => format!("answered {status}"),
        };
        // RFC 6585 section 4: 429 is too many requests.
        let kind = match status.is_server_error() || status.as_u16() == 429 {
            true => FailureKind::Down,
            false => FailureKind::Refused,
        };
        (Some(Failure { problem, kind }), MAX_KEPT)
    };
    let content_type = response
        .headers()
        .get(reqwest::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_string();
    let mut attempt = Attempt {
        status: Some(status.as_u16()),
        content_type,
        body: Vec::new(),
        failure,
    };
    while attempt.body.len() <= limit {
        match response.chunk().await {
            Ok(Some(chunk)) => attempt.body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => {
                attempt.failure.get_or_insert(Failure {
                    problem: in_words(error),
                    kind: FailureKind::Down,
                });
                break;
            }
        }
    }
    attempt
}

/// `v1=` and the HMAC-SHA256 of `{timestamp}.{body}` with the app's secret.
fn signature(secret: &str, timestamp: u64, body: &[u8]) -> String {
    let mut signed = format!("{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    format!("v1={}", hex::encode(keyed_hash(secret.as_bytes(), &signed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_openssl_makes_of_it() {
        // printf '%s' '1700000000.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature("secret", 1_700_000_000, b"{}"),
            "v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
        );
    }
}
