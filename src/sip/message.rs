//! Requests and responses.

use std::borrow::Cow;

use bytes::Bytes;

use super::header::HeaderName;
use super::headers::Headers;
use super::method::Method;
use super::status::StatusCode;
use super::uri::Uri;

/// A SIP message (RFC 3261 section 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// A request (RFC 3261 section 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The Request-URI.
    pub uri: Uri,
    /// All header fields; Content-Length is set when printed.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// A response (RFC 3261 section 7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// The reason phrase, for people.
    pub reason: Cow<'static, str>,
    /// All header fields; Content-Length is set when printed.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// A request without header fields and body.
    pub const fn new(method: Method, uri: Uri) -> Self {
        Request {
            method,
            uri,
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }
}

impl Response {
    /// A response without header fields and body, with the default reason.
    pub const fn new(status: StatusCode) -> Self {
        Response {
            status,
            reason: Cow::Borrowed(status.default_reason()),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }
}

impl Message {
    /// The header fields.
    pub const fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }

    /// The body.
    pub const fn body(&self) -> &Bytes {
        match self {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        }
    }
}

/// A response to this request with what every response copies from it: Via,
/// From, To, Call-ID and CSeq, and in a 100 also Timestamp (RFC 3261 sections
/// 8.2.6.1 and 8.2.6.2). The To tag is the caller's to add
/// ([`Headers::add_to_tag`]).
pub fn response_to(request: &Request, status: StatusCode, reason: Option<&str>) -> Response {
    let mut response = Response::new(status);
    if let Some(reason) = reason {
        response.reason = Cow::Owned(reason.to_owned());
    }
    let headers = &mut response.headers;
    headers.copy_all(&request.headers, &HeaderName::Via);
    for name in [
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
        HeaderName::CSeq,
    ] {
        headers.copy_first(&request.headers, &name);
    }
    if status == StatusCode::TRYING {
        headers.copy_first(&request.headers, &HeaderName::Timestamp);
    }
    response
}
