//! `GET /recordings/{recording_id}/audio`: the file, or the part of it that
//! was asked for (RFC 9110 section 14).

use std::io::SeekFrom;
use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_range_header::parse_range_header;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::store::recordings::{Recording, State as Stage};

use super::super::Shared;
use super::super::error::ApiError;
use super::super::openapi::{Denied, Failure};

/// Read from the file at a time.
const CHUNK: usize = 64 * 1024;

/// Fetches a recording's file, or a part of it.
#[utoipa::path(
    get,
    path = "/recordings/{recording_id}/audio",
    operation_id = "recording_audio",
    tag = "recordings",
    params(
        ("recording_id" = String, Path),
        ("Range" = Option<String>, Header, description = "One range of bytes; several are answered with the whole file"),
        ("If-Range" = Option<String>, Header, description = "The `ETag` that the range is of"),
    ),
    responses(
        (
            status = 200,
            description = "The file",
            content(
                (Vec<u8> = "audio/ogg; codecs=opus"),
                (Vec<u8> = "audio/wav"),
            )
        ),
        (
            status = 206,
            description = "A part of it",
            content(
                (Vec<u8> = "audio/ogg; codecs=opus"),
                (Vec<u8> = "audio/wav"),
            )
        ),
        (status = 304, description = "`If-None-Match` has its `ETag`"),
        (status = 404, description = "`RECORDING_NOT_FOUND`", body = Failure),
        (status = 409, description = "`WRONG_STATE`: it is under way", body = Failure),
        (status = 410, description = "`RECORDING_GONE`: the file is not here; the recording's `object` says where it is", body = Failure),
        (status = 416, description = "`RANGE_NOT_SATISFIABLE`: it is not that long", body = Failure),
        (status = 503, description = "`OVERLOADED`: the database cannot be read", body = Failure),
        Denied,
    )
)]
pub async fn audio(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let recording = shared.recording(Some(&app), &id).await?;
    shared.serve_recording(&recording, &parts.headers).await
}

impl Shared {
    /// The file of a recording, as the request's headers want it.
    pub async fn serve_recording(
        &self,
        recording: &Recording,
        request: &HeaderMap,
    ) -> Result<Response, ApiError> {
        if recording.state == Stage::Recording {
            let problem = "the recording is under way; it can be fetched once it is ready";
            return Err(ApiError::new(StatusCode::CONFLICT, "WRONG_STATE", problem));
        }
        // It does not change any more, so its hash is a strong validator.
        let etag = format!("\"{}\"", recording.sha256.as_deref().unwrap_or_default());
        let mut headers = HeaderMap::new();
        let mut set = |name, value: &str| {
            // Hexadecimal digits and words of ours can stand in a header.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(header::ETAG, &etag);
        set(header::ACCEPT_RANGES, "bytes");
        set(header::CACHE_CONTROL, "private, no-transform");
        if names(request, &etag) {
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
        let file = File::open(self.recordings.path(recording)).await;
        let mut file = file.map_err(|problem| gone(recording, &problem))?;
        let size = recording.size;
        let part = match wanted(request, &etag, size) {
            Wanted::Whole => None,
            Wanted::Part(part) => Some(part),
            Wanted::Nothing => return Ok(not_satisfiable(size)),
        };
        let (start, length) = match &part {
            Some(part) => (*part.start(), part.end() - part.start() + 1),
            None => (0, size),
        };
        let sought = file.seek(SeekFrom::Start(start)).await;
        sought.map_err(|problem| gone(recording, &problem))?;
        set(header::CONTENT_TYPE, recording.format.media_type());
        set(header::CONTENT_LENGTH, &length.to_string());
        let extension = recording.format.extension();
        set(
            header::CONTENT_DISPOSITION,
            &format!("inline; filename=\"{}.{extension}\"", recording.id),
        );
        let status = match part {
            Some(part) => {
                let range = format!("bytes {}-{}/{size}", part.start(), part.end());
                set(header::CONTENT_RANGE, &range);
                StatusCode::PARTIAL_CONTENT
            }
            None => StatusCode::OK,
        };
        let body = Body::from_stream(stream::try_unfold((file, length), next_chunk));
        Ok((status, headers, body).into_response())
    }
}

/// What of the file is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(RangeInclusive<u64>),
    /// Something behind its end.
    Nothing,
}

fn wanted(request: &HeaderMap, etag: &str, size: u64) -> Wanted {
    let text = |name| request.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(header::RANGE) else {
        return Wanted::Whole;
    };
    // RFC 9110 section 13.1.5: a part of another version is of no use. We give
    // no Last-Modified, so a date is never right.
    if text(header::IF_RANGE).is_some_and(|condition| condition != etag) {
        return Wanted::Whole;
    }
    // Section 14.2: what we do not understand is ignored.
    let Ok(ranges) = parse_range_header(range) else {
        return Wanted::Whole;
    };
    match ranges.validate(size).as_deref() {
        Ok([one]) => Wanted::Part(one.clone()),
        Ok(_) => Wanted::Whole,
        Err(_) => Wanted::Nothing,
    }
}

/// Whether `If-None-Match` has it (RFC 9110 section 13.1.2).
fn names(request: &HeaderMap, etag: &str) -> bool {
    let known = request.get_all(header::IF_NONE_MATCH).iter();
    known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}

fn not_satisfiable(size: u64) -> Response {
    let problem = format!("the file has {size} bytes; ask for a part of them");
    let error = ApiError::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "RANGE_NOT_SATISFIABLE",
        problem,
    );
    let mut response = error.into_response();
    // Section 15.5.17.
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}

fn gone(recording: &Recording, problem: &std::io::Error) -> ApiError {
    let message = match &recording.object {
        Some(object) if !recording.local => {
            format!("the file is not here any more, but in the object store, as {object}")
        }
        Some(_) | None => {
            if recording.local {
                tracing::error!(recording_id = %recording.id, %problem, "a recording's file cannot be read");
            }
            "the recording has no file".to_owned()
        }
    };
    ApiError::new(StatusCode::GONE, "RECORDING_GONE", message)
}

async fn next_chunk(
    (mut file, left): (File, u64),
) -> std::io::Result<Option<(Bytes, (File, u64))>> {
    if left == 0 {
        return Ok(None);
    }
    let mut chunk = BytesMut::with_capacity(CHUNK.min(left as usize));
    let read = (&mut file).take(left).read_buf(&mut chunk).await?;
    if read == 0 {
        // Shorter than it was: the client must not take it for whole.
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((chunk.freeze(), (file, left - read as u64))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str, if_range: Option<&str>) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        if let Some(condition) = if_range {
            headers.insert(header::IF_RANGE, condition.parse().unwrap());
        }
        wanted(&headers, "\"a\"", 100)
    }

    #[test]
    fn a_range_is_a_part_or_the_whole_or_nothing() {
        for (range, expected) in [
            ("bytes=0-9", Wanted::Part(0..=9)),
            ("bytes=90-", Wanted::Part(90..=99)),
            ("bytes=-5", Wanted::Part(95..=99)),
            ("bytes=0-1000", Wanted::Part(0..=99)),
            ("bytes=99-99", Wanted::Part(99..=99)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=100-200", Wanted::Nothing),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("seconds=0-1", Wanted::Whole),
            ("bytes=x", Wanted::Whole),
        ] {
            assert_eq!(asked(range, None), expected, "{range}");
        }
        assert_eq!(asked("bytes=0-9", Some("\"a\"")), Wanted::Part(0..=9));
        assert_eq!(asked("bytes=0-9", Some("\"b\"")), Wanted::Whole);
        let date = Some("Wed, 21 Oct 2026 07:28:00 GMT");
        assert_eq!(asked("bytes=0-9", date), Wanted::Whole);
    }
}
