//! One request to a sync server: conditional, bounded in time and size, and
//! redirected nowhere else.

use reqwest::StatusCode;
use reqwest::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::redirect::{Attempt, Policy};
use serde::{Deserialize, Serialize};

use crate::api::http_client::{self, HttpClientError, in_words};
use crate::config;

/// Redirects in a row.
const MAX_REDIRECTS: usize = 5;

/// What a server said of the answer that we have (RFC 9110 section 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// ETag.
    #[serde(default)]
    pub etag: Option<String>,
    /// Last-Modified.
    #[serde(default)]
    pub last_modified: Option<String>,
}

/// What came back.
pub enum Fetched {
    /// What we have still counts.
    NotModified,
    /// An answer, unread.
    Body(Vec<u8>, Validators),
}

/// The client of all fetches.
///
/// # Errors
/// When there is no TLS.
pub fn client() -> Result<reqwest::Client, HttpClientError> {
    http_client::with(None, |builder| {
        builder.redirect(Policy::custom(same_server)).gzip(true)
    })
}

/// A secret header goes to the server that it was written for, and nowhere
/// else.
fn same_server(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let asked = attempt.previous().first();
    let same = asked.is_some_and(|asked| asked.origin() == attempt.url().origin());
    match same && attempt.previous().len() <= MAX_REDIRECTS {
        true => attempt.follow(),
        false => attempt.stop(),
    }
}

/// Asks for what is there.
///
/// # Errors
/// What went wrong, without the address: it may hold a secret.
pub async fn fetch(
    client: &reqwest::Client,
    settings: &config::Sync,
    url: &str,
    have: &Validators,
) -> Result<Fetched, String> {
    let mut request = client
        .get(url)
        .timeout(settings.timeout)
        .header("Accept", "application/json");
    for header in &settings.headers {
        request = request.header(&header.name, &header.value);
    }
    if let Some(etag) = &have.etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    if let Some(since) = &have.last_modified {
        request = request.header(IF_MODIFIED_SINCE, since);
    }
    let mut response = request.send().await.map_err(|e| words(e, settings))?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if *have != Validators::default() => {
            return Ok(Fetched::NotModified);
        }
        status if status.is_redirection() => {
            return Err(format!(
                "the server redirects elsewhere ({status}), which is not followed; write the address that it redirects to"
            ));
        }
        status => return Err(format!("the server answers {status}")),
    }
    let text = |name| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_string)
    };
    let validators = Validators {
        etag: text(ETAG),
        last_modified: text(LAST_MODIFIED),
    };
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|e| words(e, settings))? {
        if body.len() + part.len() > settings.max_bytes {
            let most = settings.max_bytes;
            return Err(format!(
                "the answer is longer than {most} bytes (sync.max_bytes)"
            ));
        }
        body.extend_from_slice(&part);
    }
    Ok(Fetched::Body(body, validators))
}

fn words(error: reqwest::Error, settings: &config::Sync) -> String {
    if error.is_timeout() {
        let seconds = settings.timeout.as_secs();
        return format!("no whole answer within {seconds} s (sync.timeout_s)");
    }
    let what = match () {
        () if error.is_connect() => "the server cannot be reached",
        () if error.is_body() || error.is_decode() => "the answer did not arrive whole",
        () => "the request failed",
    };
    format!("{what}: {}", in_words(error))
}
