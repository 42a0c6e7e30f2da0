//! The client of our own HTTP requests: hooks, a media server, fetched lists.

use std::time::Duration;

use reqwest::redirect::Policy;

/// Idle connections kept per host.
const MAX_IDLE_PER_HOST: usize = 32;

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the client for HTTP requests could not be made: {0}")]
pub struct HttpClientError(#[source] reqwest::Error);

/// A client that follows no redirects. The timeout is of a whole request;
/// without one the caller has to see to it.
pub fn new(timeout: Option<Duration>) -> Result<reqwest::Client, HttpClientError> {
    with(timeout, |builder| builder)
}

/// The same, made in a more special way. What is not said there: redirects are
/// not followed, and no answer is asked for compressed.
pub fn with(
    timeout: Option<Duration>,
    special: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, HttpClientError> {
    // TLS by ring: a much smaller build than aws-lc. Refused only when a
    // provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        let builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .gzip(false)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .user_agent(concat!("ringwire/", env!("CARGO_PKG_VERSION")));
        special(match timeout {
            Some(timeout) => builder.timeout(timeout),
            None => builder,
        })
    };
    // A container without root certificates can still speak http.
    builder()
        .build()
        .or_else(|error| {
            tracing::warn!(%error, "no root certificates: requests to https:// will fail");
            builder().tls_certs_only([]).build()
        })
        .map_err(HttpClientError)
}

/// An error without the URL, whose query may hold a secret, and with its
/// cause.
pub fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
