//! Bodies: session descriptions are taken, also from inside a multipart
//! (RFC 5621); anything else is refused or passed over.

use bytes::Bytes;

use super::types::Body;
use crate::sip::header::HeaderName;
use crate::sip::headers::Headers;

const SDP: &str = "application/sdp";

/// Parts of a multipart that are looked at.
const MAX_PARTS: usize = 16;

/// A body that cannot be taken: 415 (RFC 3261 section 8.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsupported;

/// The session description in a message.
pub(super) fn session_description(
    headers: &Headers,
    body: &Bytes,
) -> Result<Option<Body>, Unsupported> {
    if body.is_empty() {
        return Ok(None);
    }
    let encoded = headers
        .values(&HeaderName::ContentEncoding)
        .any(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    if encoded {
        return Err(Unsupported);
    }
    match headers.media_type() {
        Some(kind) if kind.eq_ignore_ascii_case(SDP) => Ok(Some(Body::sdp(body.clone()))),
        // Without Content-Type, a look at the first line (RFC 8866 section 5.1).
        None if body.starts_with(b"v=0") => Ok(Some(Body::sdp(body.clone()))),
        Some(kind) if is_multipart(kind) => {
            let content_type = headers.get(&HeaderName::ContentType).unwrap_or_default();
            let part = boundary(content_type).and_then(|boundary| find_sdp(body, &boundary));
            part.map(|sdp| Some(Body::sdp(sdp))).ok_or(Unsupported)
        }
        _ if is_optional(headers) => Ok(None),
        _ => Err(Unsupported),
    }
}

/// Whatever a message carries.
pub(super) fn any(headers: &Headers, body: &Bytes) -> Option<Body> {
    (!body.is_empty()).then(|| Body {
        content_type: headers
            .get(&HeaderName::ContentType)
            .unwrap_or("application/octet-stream")
            .to_owned(),
        content: body.clone(),
    })
}

/// RFC 3261 section 20.11: a body that is not understood may be passed over
/// when its handling is optional.
fn is_optional(headers: &Headers) -> bool {
    headers
        .get(&HeaderName::ContentDisposition)
        .is_some_and(|text| {
            text.split(';').skip(1).any(|param| {
                param.split_once('=').is_some_and(|(name, value)| {
                    name.trim().eq_ignore_ascii_case("handling")
                        && value.trim().eq_ignore_ascii_case("optional")
                })
            })
        })
}

fn is_multipart(kind: &str) -> bool {
    kind.get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
}

fn boundary(content_type: &str) -> Option<String> {
    content_type.split(';').skip(1).find_map(|param| {
        let (name, value) = param.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty())
            .then(|| value.to_owned())
    })
}

/// The content of the first part that is a session description (RFC 2046
/// section 5.1.1).
fn find_sdp(body: &Bytes, boundary: &str) -> Option<Bytes> {
    let delimiter = format!("--{boundary}");
    let mut starts = delimiters(body, delimiter.as_bytes()).take(MAX_PARTS + 1);
    let (_, mut start) = starts.next()?;
    for (end, next) in starts {
        let part = body.slice(start.min(end)..end);
        if let Some(content) = sdp_part(&part) {
            return Some(content);
        }
        start = next;
    }
    None
}

/// Where delimiter lines begin and end.
fn delimiters<'a>(
    body: &'a [u8],
    delimiter: &'a [u8],
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < body.len() {
            let line_end = body[at..]
                .iter()
                .position(|b| *b == b'\n')
                .map_or(body.len(), |length| at + length + 1);
            let line = at;
            at = line_end;
            if body[line..line_end].starts_with(delimiter) {
                return Some((line, line_end));
            }
        }
        None
    })
}

fn sdp_part(part: &Bytes) -> Option<Bytes> {
    let mut is_sdp = false;
    let mut at = 0;
    while at < part.len() {
        let line_end = part[at..]
            .iter()
            .position(|b| *b == b'\n')
            .map_or(part.len(), |length| at + length + 1);
        let line = part[at..line_end].trim_ascii();
        at = line_end;
        if line.is_empty() {
            return is_sdp.then(|| part.slice(at..));
        }
        if let Some(colon) = line.iter().position(|b| *b == b':') {
            let name = line[..colon].trim_ascii();
            let value = line[colon + 1..].trim_ascii();
            let kind = value.split(|b| *b == b';').next().unwrap_or_default();
            is_sdp |= (name.eq_ignore_ascii_case(b"content-type")
                || name.eq_ignore_ascii_case(b"c"))
                && kind.trim_ascii().eq_ignore_ascii_case(SDP.as_bytes());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: Option<&str>, body: &'static str) -> Result<Option<Body>, Unsupported> {
        let mut headers = Headers::new();
        if let Some(content_type) = content_type {
            headers.push(HeaderName::ContentType, content_type);
        }
        session_description(&headers, &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn an_empty_body_is_none_whatever_its_type() {
        assert_eq!(read(Some("text/plain"), ""), Ok(None));
    }

    #[test]
    fn a_session_description_is_taken_with_or_without_its_type() {
        let expected = Ok(Some(Body::sdp("v=0\r\n")));
        assert_eq!(read(Some("Application/SDP;x=y"), "v=0\r\n"), expected);
        assert_eq!(read(None, "v=0\r\n"), expected);
        assert_eq!(read(None, "hello"), Err(Unsupported));
        assert_eq!(read(Some("text/plain"), "v=0\r\n"), Err(Unsupported));
    }

    #[test]
    fn a_description_is_found_inside_a_multipart() {
        let body = "preamble\r\n--b1\r\nContent-Type: application/isup\r\n\r\nxx\r\n\
                    --b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=x\r\n--b1--\r\n";
        assert_eq!(
            read(Some("multipart/mixed;boundary=\"b1\""), body),
            Ok(Some(Body::sdp("v=0\r\no=x\r\n")))
        );
        assert_eq!(read(Some("multipart/mixed"), body), Err(Unsupported));
        assert_eq!(
            read(Some("multipart/mixed;boundary=zz"), body),
            Err(Unsupported)
        );
    }

    #[test]
    fn an_encoded_body_is_refused_and_an_optional_one_passed_over() {
        let mut headers = Headers::new();
        headers.push(HeaderName::ContentType, "application/x");
        headers.push(HeaderName::ContentDisposition, "render; handling=optional");
        let body = Bytes::from_static(b"x");
        assert_eq!(session_description(&headers, &body), Ok(None));
        headers.push(HeaderName::ContentEncoding, "gzip");
        assert_eq!(session_description(&headers, &body), Err(Unsupported));
    }
}
