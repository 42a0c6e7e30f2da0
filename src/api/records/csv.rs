//! Call records as CSV (RFC 4180), streamed: a page at a time is in memory.

use std::io;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use csv::Writer;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::store::Store;
use crate::store::records::{self, Filter, Page, Record};

use super::super::error::ApiError;
use super::rest::unreadable;

/// Records that are read at a time.
const PAGE: usize = 1_000;

const HEAD: &[&str] = &[
    "call_id",
    "direction",
    "result",
    "from_number",
    "to_number",
    "number",
    "created",
    "ringing",
    "early",
    "answered",
    "ended",
    "talk_s",
    "sip_code",
    "end_reason",
    "hung_up_by",
    "error",
    "room",
    "peer",
    "peer_address",
    "sip_call_id",
    "security",
    "srtp_suite",
    "codec",
    "packets_received",
    "bytes_received",
    "packets_lost",
    "jitter_ms",
    "packets_sent",
    "bytes_sent",
    "remote_packets_lost",
    "remote_jitter_ms",
    "round_trip_ms",
    "mos_average",
    "mos_min",
    "remote_mos_average",
    "remote_mos_min",
];

/// Everything that the filter lets through, the newest first.
pub async fn stream(store: Store, filter: Filter) -> Result<Response, ApiError> {
    let filter = Filter {
        limit: PAGE,
        ..filter
    };
    // The first page decides whether there is an answer at all.
    let first = read(&store, filter.clone()).await;
    let first = first.map_err(|problem| unreadable(&problem))?;
    let start = (Some(first), true);
    let parts = futures_util::stream::try_unfold(start, move |(page, is_first)| {
        let (store, filter) = (store.clone(), filter.clone());
        async move {
            let Some(page) = page else {
                return Ok::<_, io::Error>(None);
            };
            let text = lines(&page.records, is_first)?;
            let next = match page.next {
                None => None,
                Some(cursor) => {
                    let filter = Filter {
                        before: Some(cursor),
                        ..filter
                    };
                    Some(read(&store, filter).await.map_err(io::Error::other)?)
                }
            };
            Ok(Some((text, (next, false))))
        }
    });
    let headers = [
        (
            header::CONTENT_TYPE,
            "text/csv; charset=utf-8; header=present",
        ),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"calls.csv\"",
        ),
    ];
    Ok((headers, Body::from_stream(parts)).into_response())
}

async fn read(store: &Store, filter: Filter) -> Result<Page, crate::store::StoreError> {
    store.read(move |db| records::search(db, &filter)).await
}

fn lines(records: &[Record], with_head: bool) -> io::Result<Vec<u8>> {
    let mut writer = Writer::from_writer(Vec::new());
    if with_head {
        writer.write_record(HEAD)?;
    }
    for record in records {
        writer.write_record(cells(record))?;
    }
    writer
        .into_inner()
        .map_err(|error| io::Error::other(error.to_string()))
}

fn cells(record: &Record) -> Vec<String> {
    let text = |text: Option<&str>| text.map(safe).unwrap_or_default();
    let time = |at: Option<u64>| at.map(written).unwrap_or_default();
    let media = record.media.as_ref();
    let number = |value: Option<String>| value.unwrap_or_default();
    let end = record.answered_ms.zip(record.ended_ms);
    let talk = end.map(|(answered, ended)| ended.saturating_sub(answered) as f64 / 1000.0);
    vec![
        record.key.call_id.clone(),
        record.key.direction().to_owned(),
        record.result.name().to_owned(),
        safe(&record.from),
        safe(&record.to),
        text(record.number.as_deref()),
        written(record.created_ms),
        time(record.ringing_ms),
        time(record.early_ms),
        time(record.answered_ms),
        time(record.ended_ms),
        number(talk.map(|seconds| seconds.to_string())),
        number(record.sip_code.map(|code| code.to_string())),
        text(record.end_reason.as_deref()),
        text(record.hung_up_by.as_deref()),
        text(record.error.as_deref()),
        text(record.place.as_ref().map(|(room, _)| room.as_str())),
        text(record.place.as_ref().map(|(_, peer)| peer.as_str())),
        text(record.peer_address.as_deref()),
        text(record.sip_call_id.as_deref()),
        text(record.security.as_deref()),
        text(record.srtp_suite.as_deref()),
        text(media.map(|media| media.codec.as_str())),
        number(media.map(|media| media.packets_received.to_string())),
        number(media.map(|media| media.bytes_received.to_string())),
        number(media.map(|media| media.packets_lost.to_string())),
        number(media.map(|media| media.jitter_ms.to_string())),
        number(media.map(|media| media.packets_sent.to_string())),
        number(media.map(|media| media.bytes_sent.to_string())),
        number(media.and_then(|media| Some(media.remote_packets_lost?.to_string()))),
        number(media.and_then(|media| Some(media.remote_jitter_ms?.to_string()))),
        number(media.and_then(|media| Some(media.round_trip_ms?.to_string()))),
        number(media.and_then(|media| Some(media.mos_average?.to_string()))),
        number(media.and_then(|media| Some(media.mos_min?.to_string()))),
        number(media.and_then(|media| Some(media.remote_mos_average?.to_string()))),
        number(media.and_then(|media| Some(media.remote_mos_min?.to_string()))),
    ]
}

/// A time as people and spreadsheets read it.
fn written(at_ms: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| at_ms.to_string())
}

/// A text that no spreadsheet takes for a formula: callers choose what they
/// are called. A number with its "+" is none, and stays as it is dialled.
fn safe(text: &str) -> String {
    let is_number = text
        .strip_prefix('+')
        .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    match text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) && !is_number {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::records::Key;

    #[test]
    fn a_line_has_a_cell_for_each_name_and_no_formula() {
        let key = Key {
            call_id: "00".to_owned(),
            app_id: "acme".to_owned(),
            incoming: true,
        };
        let record = Record {
            from: "=cmd|'/c calc'!A1".to_owned(),
            to: "+4930123".to_owned(),
            number: Some("+49-30".to_owned()),
            place: Some(("a,\"b\"".to_owned(), "@sum".to_owned())),
            answered_ms: Some(1_777_593_600_000),
            ended_ms: Some(1_777_593_601_500),
            ..Record::open(key, 1_777_593_600_250)
        };
        assert_eq!(cells(&record).len(), HEAD.len());
        let text = String::from_utf8(lines(&[record], true).unwrap()).unwrap();
        let (head, line) = text.split_once('\n').unwrap();
        assert_eq!(head, HEAD.join(","));
        assert!(
            line.starts_with(
                "00,incoming,open,'=cmd|'/c calc'!A1,+4930123,'+49-30,\
                 2026-05-01T00:00:00.25Z,,,2026-05-01T00:00:00Z,2026-05-01T00:00:01.5Z,1.5,,,,,\
                 \"a,\"\"b\"\"\",'@sum,"
            ),
            "{line}"
        );
    }
}
