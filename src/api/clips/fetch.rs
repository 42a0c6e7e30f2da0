//! Sounds from URLs: where hooks may be posted to, sounds may be fetched from.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Bytes;
use reqwest::StatusCode;
use reqwest::header::{
    ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};

use crate::api::http_client::{HttpClientError, in_words};
use crate::api::policed_clients::PolicedClients;
use crate::book::{Forbidden, HookPolicy};

use super::ClipLoadError;

/// What a server gave to ask with whether there is something new (RFC 9110
/// section 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    etag: Option<String>,
    last_modified: Option<String>,
}

/// What a request brought.
#[derive(Debug)]
pub enum Fetched {
    /// A file.
    File {
        bytes: Bytes,
        validators: Validators,
    },
    /// Nothing new since then.
    Unchanged,
}

/// Fetches.
pub struct Fetcher {
    clients: RwLock<Arc<PolicedClients>>,
    timeout: Duration,
    max_bytes: u64,
}

impl Fetcher {
    /// Within this time, at most so many bytes.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        policy: HookPolicy,
        timeout: Duration,
        max_bytes: u64,
    ) -> Result<Fetcher, HttpClientError> {
        Ok(Fetcher {
            clients: RwLock::new(Arc::new(PolicedClients::new(Arc::new(policy))?)),
            timeout,
            max_bytes,
        })
    }

    /// From now on this policy counts, with new connections.
    ///
    /// # Errors
    /// When TLS cannot be set up; nothing has changed then.
    pub fn use_policy(&self, policy: &HookPolicy) -> Result<(), HttpClientError> {
        if **self.clients().policy() != *policy {
            let fresh = Arc::new(PolicedClients::new(Arc::new(policy.clone()))?);
            let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
            *clients = fresh;
        }
        Ok(())
    }

    fn clients(&self) -> Arc<PolicedClients> {
        let clients = self.clients.read();
        clients.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches a file, or hears that it is as it was.
    pub async fn fetch(
        &self,
        url: &str,
        trusted: bool,
        known: Option<&Validators>,
    ) -> Result<Fetched, ClipLoadError> {
        let clients = self.clients();
        let client = clients
            .client(url, trusted)
            .map_err(|reason| ClipLoadError::UrlNotAllowed(reason.to_string()))?;
        let mut request = client.get(url).timeout(self.timeout);
        if let Some(known) = known {
            if let Some(etag) = &known.etag {
                request = request.header(IF_NONE_MATCH, etag);
            }
            if let Some(last_modified) = &known.last_modified {
                request = request.header(IF_MODIFIED_SINCE, last_modified);
            }
        }
        let response = request.send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => self.file(response).await,
            StatusCode::NOT_MODIFIED => Ok(Fetched::Unchanged),
            status if status.is_redirection() => Err(ClipLoadError::FetchFailed(format!(
                "the server answered {status}; redirects are not followed, write where it leads"
            ))),
            status => Err(ClipLoadError::FetchFailed(format!(
                "the server answered {status}"
            ))),
        }
    }

    async fn file(&self, mut response: reqwest::Response) -> Result<Fetched, ClipLoadError> {
        let too_large = || {
            ClipLoadError::FetchFailed(format!(
                "the file is longer than {} bytes (assets.max_file_mib)",
                self.max_bytes
            ))
        };
        if response
            .content_length()
            .is_some_and(|length| length > self.max_bytes)
        {
            return Err(too_large());
        }
        let validators = Validators::of(response.headers());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if (bytes.len() + chunk.len()) as u64 > self.max_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Fetched::File {
            bytes: bytes.into(),
            validators,
        })
    }
}

impl Validators {
    fn of(headers: &HeaderMap) -> Validators {
        let text = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.to_string())
        };
        Validators {
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
        }
    }
}

/// The policy's refusal of a name comes as the failure of a look-up.
fn failed(error: reqwest::Error) -> ClipLoadError {
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        if let Some(reason) = cause.downcast_ref::<Forbidden>() {
            return ClipLoadError::UrlNotAllowed(reason.to_string());
        }
        source = cause.source();
    }
    match error.is_timeout() {
        true => ClipLoadError::FetchFailed("the server did not answer in time".to_string()),
        false => ClipLoadError::FetchFailed(in_words(error)),
    }
}
