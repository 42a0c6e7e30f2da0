//! Why a datagram was refused, and how that is answered.

use crate::sip::header::HeaderName;
use crate::sip::headers::{HeaderError, Headers};
use crate::sip::message::Response;
use crate::sip::status::StatusCode;
use crate::sip::text::Malformed;
use crate::sip::via::Via;

/// A datagram that is no good message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ParseError {
    /// Why.
    pub reason: ParseErrorReason,
    /// The answer to send (400 or 505, RFC 3261 section 8.2), when it was a
    /// request other than ACK and its topmost Via can be read. To has no tag
    /// of ours yet, and Via no `received`.
    pub answer: Option<Box<Response>>,
}

/// Why a datagram is no good message. The text is fit for a reason phrase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorReason {
    /// Nothing but line ends or NULs: a keep-alive (RFC 5626 section 3.5.1).
    #[error("Keep-Alive")]
    KeepAlive,
    /// More than [`super::MAX_MESSAGE`] octets.
    #[error("Message Too Large")]
    TooLarge,
    /// The first line is neither that of a request nor of a response.
    #[error("Malformed Start Line")]
    StartLine,
    /// The Request-URI is none.
    #[error("Malformed Request-URI: {0}")]
    RequestUri(Malformed),
    /// A version other than SIP/2.0.
    #[error("Version Not Supported")]
    Version,
    /// A status code outside of 100 to 699.
    #[error("Malformed Status Code")]
    StatusCode,
    /// The empty line that ends the header fields is not there.
    #[error("Header Not Ended")]
    Unended,
    /// More than [`super::MAX_HEADERS`] header fields.
    #[error("Too Many Header Fields")]
    TooManyHeaders,
    /// A field that must be there is not.
    #[error("Missing {0}")]
    Missing(HeaderName),
    /// A field that may be there once is there twice.
    #[error("Repeated {0}")]
    Repeated(HeaderName),
    /// A field that is needed does not follow the grammar.
    #[error("Malformed {0}: {1}")]
    Malformed(HeaderName, Malformed),
    /// CSeq names another method than the request line
    /// (RFC 3261 section 8.1.1.5).
    #[error("CSeq Method Mismatch")]
    CSeqMethod,
    /// Content-Length says more than came (RFC 3261 section 18.3).
    #[error("Body Shorter Than Content-Length")]
    BodyTooShort,
}

impl ParseErrorReason {
    /// What a request with this fault is answered with.
    pub const fn status(&self) -> StatusCode {
        match self {
            ParseErrorReason::Version => StatusCode::VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<HeaderError> for ParseErrorReason {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Missing(name) => ParseErrorReason::Missing(name),
            HeaderError::Malformed(name, why) => ParseErrorReason::Malformed(name, why),
        }
    }
}

/// The answer to a request that is refused for this reason, with what could
/// be read of the fields that every response copies. The topmost Via is put
/// right where it is broken, the broken ones below it are left out.
pub(super) fn refusal(headers: &Headers, reason: &ParseErrorReason) -> Option<Response> {
    let mut vias = headers.values(&HeaderName::Via);
    let top = vias.next()?;
    let mut response = Response::new(reason.status());
    response.reason = reason.to_string().into();
    let copied = &mut response.headers;
    match Via::check(top) {
        Ok(()) => copied.push(HeaderName::Via, top),
        Err(_) => copied.push(HeaderName::Via, Via::salvage(top)?.to_string()),
    }
    for via in vias.filter(|via| Via::check(via).is_ok()) {
        copied.push(HeaderName::Via, via);
    }
    for name in [
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
        HeaderName::CSeq,
    ] {
        copied.copy_first(headers, &name);
    }
    Some(response)
}
