//! Octets to messages.
//!
//! Tolerant as RFC 4475 asks: compact and oddly cased names, folding, several
//! values on a line, bare LF, any order; header lines that are none are
//! passed over (RFC 3261 section 8.2). What the gateway needs to be right is
//! checked here, once: who, what, in answer to what, and how long.

mod error;

use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr;

use error::refusal;
pub use error::{ParseError, ParseErrorReason};

use super::header::HeaderName;
use super::headers::Headers;
use super::message::{Message, Request, Response};
use super::method::Method;
use super::name_addr::NameAddr;
use super::status::StatusCode;
use super::text::split_once;
use super::uri::Uri;
use super::via::Via;

/// The largest message taken, in octets: the largest UDP datagram.
pub const MAX_MESSAGE: usize = 65_535;

/// The most header fields that a message may have.
pub const MAX_HEADERS: usize = 256;

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
    let head = text_of(head);
    let fields_at = line_end(head.as_bytes(), 0);
    let start_line = StartLine::read(&head[..fields_at]).map_err(unanswered)?;
    let (headers, fault) = read_fields(&head, fields_at);
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

/// What is before the empty line, and what is after it when there is one.
fn split_head(datagram: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut at = 0;
    while at < datagram.len() {
        at = line_end(datagram, at);
        let (head, rest) = datagram.split_at(at);
        if let Some(body) = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n")) {
            return (head, Some(body));
        }
    }
    (datagram, None)
}

/// Where the line that holds `at` ends, behind its line end.
fn line_end(text: &[u8], at: usize) -> usize {
    memchr(b'\n', &text[at..]).map_or(text.len(), |end| at + end + 1)
}

/// The head as text. Octets that are not UTF-8 are read as Latin-1, which is
/// what peers that do not speak UTF-8 mean.
fn text_of(head: &[u8]) -> Arc<str> {
    if let Ok(text) = std::str::from_utf8(head) {
        return Arc::from(text);
    }
    let mut text = String::with_capacity(head.len() + head.len() / 8);
    for chunk in head.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|b| char::from(*b)));
    }
    Arc::from(text)
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
        if is_version(line) {
            let (version, rest) = split_once(line, b' ').ok_or(ParseErrorReason::StartLine)?;
            let (code, reason) = split_once(rest, b' ').unwrap_or((rest, ""));
            return Ok(StartLine::Response {
                code,
                // Control characters are printed as spaces, and of these none
                // is kept at the end of a line.
                reason: reason.trim_end_matches(|c: char| c.is_ascii_control() || c == ' '),
                version_known: version.eq_ignore_ascii_case("SIP/2.0"),
            });
        }
        // More than one space between the parts is let pass (RFC 4475
        // sections 3.1.2.9 and 3.1.2.10).
        let (method, rest) = split_once(line, b' ').ok_or(ParseErrorReason::StartLine)?;
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
            at = line_end(head.as_bytes(), at);
            match head.as_bytes().get(at) {
                Some(b' ' | b'\t') => folded = true,
                _ => break,
            }
        }
        let line = &head[start..at];
        let Some(colon) = line.bytes().position(|b| b == b':') else {
            continue;
        };
        let Some(name) = HeaderName::parse(line[..colon].trim_ascii_end()) else {
            continue;
        };
        if headers.len() == MAX_HEADERS {
            fault.get_or_insert(ParseErrorReason::TooManyHeaders);
            break;
        }
        if seen.before(&name) {
            fault.get_or_insert_with(|| ParseErrorReason::Repeated(name.clone()));
        }
        let value = line[colon + 1..].trim_ascii_start();
        let value_at = at - value.len();
        let value = value.trim_ascii_end();
        // The whole value is looked at, for that is faster than to stop early.
        let has_return = value.bytes().fold(false, |found, b| found | (b == b'\r'));
        if folded || has_return {
            headers.push_unfolded(name, unfold(value));
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
    headers.check_first(HeaderName::From, NameAddr::check)?;
    headers.check_first(HeaderName::To, NameAddr::check)?;
    headers.call_id()?;
    let cseq = headers.cseq()?;
    headers.check_first(HeaderName::Via, Via::check)?;
    let First::Request(method, _) = first else {
        return Ok(());
    };
    if cseq.method != *method {
        return Err(ParseErrorReason::CSeqMethod);
    }
    headers.max_forwards()?;
    headers.check_all(HeaderName::Contact, |value| match value {
        "*" => Ok(()),
        value => NameAddr::check(value),
    })?;
    headers.check_all(HeaderName::Route, NameAddr::check)?;
    headers.check_all(HeaderName::RecordRoute, NameAddr::check)?;
    Ok(())
}

#[cfg(test)]
mod tests;
