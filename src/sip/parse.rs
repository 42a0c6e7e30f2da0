//! Octets to messages.
//!
//! Tolerant as RFC 4475 asks: compact and oddly cased names, folding, several
//! values on a line, bare LF, any order; header lines that are none are
//! passed over (RFC 3261 section 8.2). What the gateway needs to be right is
//! checked here, once: who, what, in answer to what, and how long.

use std::sync::Arc;

use bytes::Bytes;

use super::header::HeaderName;
use super::headers::{HeaderError, Headers};
use super::message::{Message, Request, Response};
use super::method::Method;
use super::status::StatusCode;
use super::text::Malformed;
use super::uri::Uri;
use super::via::Via;

/// The largest message taken, in octets: the largest UDP datagram.
pub const MAX_MESSAGE: usize = 65_535;

/// The most header fields that a message may have.
pub const MAX_HEADERS: usize = 256;

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
    /// More than [`MAX_MESSAGE`] octets.
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
    /// More than [`MAX_HEADERS`] header fields.
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

/// Reads the message in a UDP datagram. Octets after the body that
/// Content-Length gives are ignored (RFC 3261 section 18.3), and so are line
/// ends before the start line (section 7.5).
pub fn parse(datagram: &[u8]) -> Result<Message, ParseError> {
    let unanswered = |reason| ParseError {
        reason,
        answer: None,
    };
    if datagram.len() > MAX_MESSAGE {
        return Err(unanswered(ParseErrorReason::TooLarge));
    }
    let is_filler = |b: &u8| matches!(b, b'\r' | b'\n' | b'\0');
    let Some(start) = datagram.iter().position(|b| !is_filler(b)) else {
        return Err(unanswered(ParseErrorReason::KeepAlive));
    };
    let (head, body) = split_head(&datagram[start..]);
    let line_end = head.find('\n').unwrap_or(head.len());
    let start_line = StartLine::read(&head[..line_end]).map_err(unanswered)?;
    let (headers, fault) = read_fields(&head, (line_end + 1).min(head.len()));
    let checked = match (fault, body) {
        (Some(fault), _) => Err(fault),
        (None, None) => Err(ParseErrorReason::Unended),
        (None, Some(body)) => start_line.check(&headers, body),
    };
    match checked {
        Ok((first, body)) => Ok(first.into_message(headers, Bytes::copy_from_slice(body))),
        Err(reason) => Err(ParseError {
            answer: start_line.answer(&headers, &reason),
            reason,
        }),
    }
}

/// The head as text, up to its last line's end, and what follows the empty
/// line, when there is one. Octets that are not UTF-8 are read as Latin-1,
/// which is what peers that do not speak UTF-8 mean.
fn split_head(datagram: &[u8]) -> (Arc<str>, Option<&[u8]>) {
    let (text, whole) = match std::str::from_utf8(datagram) {
        Ok(text) => (text, true),
        Err(error) => {
            let (valid, _) = datagram.split_at(error.valid_up_to());
            (std::str::from_utf8(valid).unwrap_or_default(), false)
        }
    };
    let mut at = 0;
    while let Some(line) = text[at..].find('\n') {
        at += line + 1;
        let rest = &datagram[at..];
        if let Some(body) = rest.strip_prefix(b"\n").or(rest.strip_prefix(b"\r\n")) {
            return (Arc::from(&text[..at]), Some(body));
        }
    }
    if whole {
        return (Arc::from(text), None);
    }
    let end = (0..datagram.len()).find_map(|at| {
        let rest = datagram[at..].strip_prefix(b"\n")?;
        let body = rest.strip_prefix(b"\n").or(rest.strip_prefix(b"\r\n"))?;
        Some((at + 1, body))
    });
    let (end, body) = match end {
        Some((end, body)) => (end, Some(body)),
        None => (datagram.len(), None),
    };
    let mut head = String::with_capacity(end);
    for chunk in datagram[..end].utf8_chunks() {
        head.push_str(chunk.valid());
        head.extend(chunk.invalid().iter().map(|b| char::from(*b)));
    }
    (Arc::from(head), body)
}

/// The first line, as far as it is right.
enum StartLine<'a> {
    Request {
        method: &'a str,
        uri: &'a str,
        version_known: bool,
    },
    Response {
        code: &'a str,
        reason: &'a str,
        version_known: bool,
    },
}

/// What the first line says, once checked.
enum First {
    Request(Method, Uri),
    Response(StatusCode, String),
}

impl<'a> StartLine<'a> {
    fn read(line: &'a str) -> Result<Self, ParseErrorReason> {
        let line = line.trim_ascii_end();
        if is_version(line.split(' ').next().unwrap_or_default()) {
            let (version, rest) = line.split_once(' ').ok_or(ParseErrorReason::StartLine)?;
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            return Ok(StartLine::Response {
                code,
                reason,
                version_known: version.eq_ignore_ascii_case("SIP/2.0"),
            });
        }
        // More than one space between the parts is let pass (RFC 4475
        // sections 3.1.2.9 and 3.1.2.10).
        let (method, rest) = line.split_once(' ').ok_or(ParseErrorReason::StartLine)?;
        let (uri, version) = rest.rsplit_once(' ').ok_or(ParseErrorReason::StartLine)?;
        if !is_version(version) {
            return Err(ParseErrorReason::StartLine);
        }
        Ok(StartLine::Request {
            method,
            uri: uri.trim_ascii(),
            version_known: version.eq_ignore_ascii_case("SIP/2.0"),
        })
    }

    fn check<'b>(
        &self,
        headers: &Headers,
        body: &'b [u8],
    ) -> Result<(First, &'b [u8]), ParseErrorReason> {
        let first = match self {
            StartLine::Request {
                version_known: false,
                ..
            }
            | StartLine::Response {
                version_known: false,
                ..
            } => return Err(ParseErrorReason::Version),
            StartLine::Request { method, uri, .. } => {
                let method = Method::parse(method).ok_or(ParseErrorReason::StartLine)?;
                let mut uri = Uri::parse(uri).map_err(ParseErrorReason::RequestUri)?;
                // Headers have no meaning in a Request-URI (RFC 3261 section
                // 19.1.1) and must never become headers of anything
                // (RFC 4475 section 3.1.2.11).
                if let Some(sip) = uri.as_sip_mut() {
                    sip.headers = None;
                }
                First::Request(method, uri)
            }
            StartLine::Response { code, reason, .. } => First::Response(
                read_status(code).ok_or(ParseErrorReason::StatusCode)?,
                (*reason).to_owned(),
            ),
        };
        check_fields(&first, headers)?;
        let body = match headers.content_length()? {
            None => body,
            Some(length) => body.get(..length).ok_or(ParseErrorReason::BodyTooShort)?,
        };
        Ok((first, body))
    }

    /// The answer to a request that is refused.
    fn answer(&self, headers: &Headers, reason: &ParseErrorReason) -> Option<Box<Response>> {
        match self {
            StartLine::Response { .. } => None,
            // An ACK is never answered (RFC 3261 section 17.1.1.3).
            StartLine::Request { method: "ACK", .. } => None,
            StartLine::Request { .. } => refusal(headers, reason).map(Box::new),
        }
    }
}

impl First {
    fn into_message(self, headers: Headers, body: Bytes) -> Message {
        match self {
            First::Request(method, uri) => Message::Request(Request {
                method,
                uri,
                headers,
                body,
            }),
            First::Response(status, reason) => Message::Response(Response {
                status,
                reason: if reason == status.default_reason() {
                    status.default_reason().into()
                } else {
                    reason.into()
                },
                headers,
                body,
            }),
        }
    }
}

/// Whether this is `SIP/` and some version.
fn is_version(text: &str) -> bool {
    text.get(..4)
        .is_some_and(|name| name.eq_ignore_ascii_case("SIP/"))
}

fn read_status(text: &str) -> Option<StatusCode> {
    let three_digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
    StatusCode::new(three_digits.then(|| text.parse().ok())??)
}

/// The header fields of the lines from `at` on; and the first fault that
/// makes them unfit, though reading goes on, for an answer needs the others.
fn read_fields(head: &Arc<str>, mut at: usize) -> (Headers, Option<ParseErrorReason>) {
    let mut headers = Headers::of_source(Arc::clone(head));
    let mut seen = Seen::default();
    let mut fault = None;
    while at < head.len() {
        let start = at;
        let mut folded = false;
        // RFC 3261 section 7.3.1: a line that starts with white space
        // continues the one before.
        loop {
            at += head[at..].find('\n').map_or(head.len() - at, |end| end + 1);
            match head.as_bytes().get(at) {
                Some(b' ' | b'\t') => folded = true,
                _ => break,
            }
        }
        let line = &head[start..at];
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let Some(name) = HeaderName::parse(name.trim_ascii_end()) else {
            continue;
        };
        if headers.len() == MAX_HEADERS {
            fault.get_or_insert(ParseErrorReason::TooManyHeaders);
            break;
        }
        if seen.before(&name) {
            fault.get_or_insert_with(|| ParseErrorReason::Repeated(name.clone()));
        }
        let value_at = at - value.trim_ascii_start().len();
        let value = value.trim_ascii();
        if folded || value.contains('\r') {
            headers.push(name, unfold(value));
        } else {
            headers.push_range(name, value_at, value_at + value.len());
        }
    }
    (headers, fault)
}

/// A line end and the white space around it count as one space.
fn unfold(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for line in value.split(['\r', '\n']) {
        let line = line.trim_ascii();
        if !line.is_empty() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(line);
        }
    }
    text
}

/// Which of the fields that may be there once were met.
#[derive(Default)]
struct Seen(u8);

impl Seen {
    fn before(&mut self, name: &HeaderName) -> bool {
        let bit = match name {
            HeaderName::From => 1,
            HeaderName::To => 2,
            HeaderName::CallId => 4,
            HeaderName::CSeq => 8,
            HeaderName::MaxForwards => 16,
            HeaderName::ContentType => 32,
            _ => return false,
        };
        let before = self.0 & bit != 0;
        self.0 |= bit;
        before
    }
}

/// The fields that every message must have (RFC 3261 section 8.1.1; but
/// Max-Forwards, which RFC 2543 did not know), and those that a request is
/// routed by.
fn check_fields(first: &First, headers: &Headers) -> Result<(), ParseErrorReason> {
    headers.from()?;
    headers.to()?;
    headers.call_id()?;
    let cseq = headers.cseq()?;
    headers.via()?;
    let First::Request(method, _) = first else {
        return Ok(());
    };
    if cseq.method != *method {
        return Err(ParseErrorReason::CSeqMethod);
    }
    headers.max_forwards()?;
    headers.contacts()?;
    headers.routes()?;
    headers.record_routes()?;
    Ok(())
}

/// The answer to a request that is refused for this reason, with what could
/// be read of the fields that every response copies. The topmost Via is put
/// right where it is broken, the broken ones below it are left out.
fn refusal(headers: &Headers, reason: &ParseErrorReason) -> Option<Response> {
    let mut vias = headers.values(&HeaderName::Via);
    let top = vias.next()?;
    let mut response = Response::new(reason.status());
    response.reason = reason.to_string().into();
    let copied = &mut response.headers;
    match Via::parse(top) {
        Ok(_) => copied.push(HeaderName::Via, top),
        Err(_) => copied.push(HeaderName::Via, Via::salvage(top)?.to_string()),
    }
    for via in vias.filter(|via| Via::parse(via).is_ok()) {
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
