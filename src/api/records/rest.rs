//! `GET /calls/records` and `GET /calls/records/{call_id}`.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use crate::ids::{AppId, CallId};
use crate::store::StoreError;
use crate::store::records::{self, CallResult, Filter, Record};

use super::super::Shared;
use super::super::error::{ApiError, success};
use super::super::openapi::{Denied, Failure, Success, words};
use super::csv;

/// Records of a page where the request does not say.
const DEFAULT_LIMIT: usize = 50;
/// Records of a page at most.
const MAX_LIMIT: usize = 500;

/// What else a search may be asked for.
const PARAMETERS: &str =
    "from, to, number, direction, result, sip_code, since, until, limit, cursor and format";

/// Searches the records of calls, the newest call first.
#[utoipa::path(
    get,
    path = "/calls/records",
    tag = "calls",
    params(
        ("from" = Option<String>, Query, description = "Calls from this number"),
        ("to" = Option<String>, Query, description = "Calls to this number"),
        ("number" = Option<String>, Query, description = "Either of both"),
        ("direction" = Option<String>, Query, description = "`incoming` or `outgoing`"),
        ("result" = Option<String>, Query, description = "How it went; left out: all that have ended"),
        ("sip_code" = Option<u16>, Query, minimum = 100, maximum = 699),
        ("since" = Option<String>, Query, description = "Began then or later: milliseconds since the Unix epoch, or RFC 3339"),
        ("until" = Option<String>, Query, description = "Began before"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("format" = Option<String>, Query, description = "`json` or `csv`"),
    ),
    responses(
        (
            status = 200,
            description = "One page; as CSV, all of them",
            content(
                (Success<PageView> = "application/json"),
                (String = "text/csv"),
            )
        ),
        (status = 400, description = "`BAD_REQUEST`: a parameter is wrong; the message names it", body = Failure),
        (status = 503, description = "`OVERLOADED`: the database cannot be read", body = Failure),
        Denied,
    )
)]
pub async fn search(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let (filter, as_csv) = read_query(&parts, Some(&app))?;
    shared.search_records(filter, as_csv).await
}

/// Tells the record of one call.
#[utoipa::path(
    get,
    path = "/calls/records/{call_id}",
    tag = "calls",
    params(("call_id" = String, Path)),
    responses(
        (status = 200, description = "The record", body = Success<RecordView>),
        (status = 404, description = "`CALL_NOT_FOUND`", body = Failure),
        (status = 503, description = "`OVERLOADED`: the database cannot be read", body = Failure),
        Denied,
    )
)]
pub async fn one_record(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let id: CallId = call_id.parse().map_err(|_| ApiError::call_not_found())?;
    let record = shared.record_for(&app, id).await?;
    Ok(success(record_view(&record)))
}

impl Shared {
    /// A page of the records that the filter lets through; as CSV, all of them.
    pub async fn search_records(&self, filter: Filter, as_csv: bool) -> Result<Response, ApiError> {
        if as_csv {
            return csv::stream(self.store.clone(), filter).await;
        }
        let page = self.store.read(move |db| records::search(db, &filter));
        let page = page.await.map_err(|problem| unreadable(&problem))?;
        Ok(success(PageView {
            records: page.records.iter().map(record_view).collect(),
            next: page.next.map(|cursor| cursor.to_string()),
        }))
    }

    /// The record of a call, if it is this app's.
    pub async fn record_for(&self, app: &AppId, id: CallId) -> Result<Record, ApiError> {
        match self.record_of(id).await? {
            None => Err(ApiError::call_not_found()),
            Some(record) if record.key.app_id != app.as_str() => {
                Err(ApiError::forbidden("this call belongs to another app"))
            }
            Some(record) => Ok(record),
        }
    }
}

impl Shared {
    /// The record of a call, if there is one, as of now.
    pub async fn record_of(&self, id: CallId) -> Result<Option<Record>, ApiError> {
        let call = self.registry.get(id);
        let live = call.as_ref().and_then(|call| call.record.live());
        if call.is_some() {
            // Nobody waits for what is written of it, but whoever asks.
            self.records.settled().await;
        }
        let record = self.records.one(id, live).await;
        record.map_err(|problem| unreadable(&problem))
    }
}

pub(super) fn unreadable(problem: &StoreError) -> ApiError {
    tracing::error!(%problem, "call records cannot be read");
    ApiError::overloaded("the call records cannot be read just now; try again in a second")
}

/// The filter of a query, and whether CSV is asked for. Who is of no app, an
/// administrator, may ask for the calls of any by `app`.
pub fn read_query(parts: &Parts, app: Option<&AppId>) -> Result<(Filter, bool), ApiError> {
    let accept = parts.headers.get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok());
    let mut as_csv = accept.is_some_and(|accept| accept.contains("text/csv"));
    let mut filter = Filter {
        app: app.map(ToString::to_string),
        limit: DEFAULT_LIMIT,
        ..Filter::default()
    };
    let query = parts.uri.query().unwrap_or_default();
    let mut seen = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let text = value.trim();
        if seen.contains(&name) {
            return Err(ApiError::field(&name, "stands twice; write it once"));
        }
        match &*name {
            // The credential.
            "token" => {}
            // A form that was left empty.
            _ if text.is_empty() => {}
            "app" if app.is_none() => filter.app = Some(text.to_owned()),
            "from" => filter.from = Some(text.to_owned()),
            "to" => filter.to = Some(text.to_owned()),
            "number" => filter.number = Some(text.to_owned()),
            "direction" => filter.incoming = Some(is_incoming(text)?),
            "result" => filter.result = Some(result(text)?),
            "sip_code" => filter.sip_code = Some(whole(text, "sip_code", 100, 699)? as u16),
            "since" => filter.since_ms = Some(instant(text, "since")?),
            "until" => filter.until_ms = Some(instant(text, "until")?),
            "limit" => filter.limit = whole(text, "limit", 1, MAX_LIMIT as u64)? as usize,
            "cursor" => {
                let cursor = text.parse();
                filter.before = Some(cursor.map_err(|error| ApiError::field("cursor", error))?);
            }
            "format" => {
                as_csv = match text {
                    "csv" => true,
                    "json" => false,
                    _ => return Err(ApiError::field("format", "write json or csv")),
                }
            }
            unknown => {
                let problem = format!("is unknown here; there are {PARAMETERS}");
                return Err(ApiError::field(unknown, problem));
            }
        }
        seen.push(name);
    }
    Ok((filter, as_csv))
}

fn is_incoming(text: &str) -> Result<bool, ApiError> {
    match text {
        "incoming" => Ok(true),
        "outgoing" => Ok(false),
        _ => Err(ApiError::field("direction", "write incoming or outgoing")),
    }
}

fn result(text: &str) -> Result<CallResult, ApiError> {
    CallResult::from_name(text).ok_or_else(|| {
        let names = CallResult::ALL.map(CallResult::name).join(", ");
        ApiError::field("result", format!("write one of {names}"))
    })
}

/// A whole number in bounds.
pub fn whole(text: &str, field: &str, least: u64, most: u64) -> Result<u64, ApiError> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(ApiError::field(
            field,
            format!("write a whole number from {least} to {most}"),
        )),
    }
}

/// Milliseconds since the Unix epoch, written so or as RFC 3339.
pub fn instant(text: &str, field: &str) -> Result<u64, ApiError> {
    let wrong = || {
        let problem =
            "write milliseconds since the Unix epoch, or a time like 2026-05-01T00:00:00Z";
        ApiError::field(field, problem)
    };
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let milliseconds: i64 = text.parse().map_err(|_| wrong())?;
        return Ok(milliseconds as u64);
    }
    // A "+" that was not escaped arrives as a space.
    let text = text.replace(' ', "+");
    let time = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| wrong())?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).map_err(|_| wrong())
}

/// A record in the words of `GET /call/{call_id}`, and what only records know.
#[derive(Serialize, ToSchema)]
#[schema(as = CallRecord)]
pub struct RecordView {
    call_id: String,
    app_id: String,
    #[schema(schema_with = directions)]
    direction: &'static str,
    /// `trying` or `active` while the call is open, else `ended`.
    state: &'static str,
    #[schema(schema_with = results)]
    result: &'static str,
    from_number: String,
    to_number: String,
    /// The number of the number book that counted for it.
    number: Option<String>,
    streaming: Option<PlaceView>,
    sip_call_id: Option<String>,
    sip_code: Option<u16>,
    peer_address: Option<String>,
    /// Milliseconds since the Unix epoch, as all of these.
    created_ms: u64,
    ringing_ms: Option<u64>,
    early_ms: Option<u64>,
    answered_ms: Option<u64>,
    ended_ms: Option<u64>,
    end_reason: Option<String>,
    /// `local`, `remote` or `gateway`.
    hung_up_by: Option<String>,
    /// The text of the last `err` event.
    error: Option<String>,
    security: Option<String>,
    srtp_suite: Option<String>,
    media: Option<RecordedMediaView>,
}

/// Where the call's media went.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordedPlace)]
struct PlaceView {
    room: String,
    peer: String,
}

/// What the call's media did.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordedMedia)]
struct RecordedMediaView {
    codec: String,
    packets_received: u64,
    bytes_received: u64,
    packets_sent: u64,
    bytes_sent: u64,
    packets_lost: i64,
    jitter_ms: f64,
    round_trip_ms: Option<f64>,
    remote_packets_lost: Option<i64>,
    remote_jitter_ms: Option<f64>,
    /// Mean opinion score (E-model) of what came from the peer, over the call.
    mos_average: Option<f64>,
    /// The same at its worst.
    mos_min: Option<f64>,
    /// The same two of what went to the peer.
    remote_mos_average: Option<f64>,
    remote_mos_min: Option<f64>,
}

/// A page of records.
#[derive(Serialize, ToSchema)]
#[schema(as = CallRecords)]
struct PageView {
    records: Vec<RecordView>,
    /// The `cursor` of the next page; `null` on the last one.
    next: Option<String>,
}

fn directions() -> Object {
    words(&["incoming", "outgoing"])
}

fn results() -> Object {
    words(&CallResult::ALL.map(CallResult::name))
}

/// As the API tells it.
pub fn record_view(record: &Record) -> RecordView {
    RecordView {
        call_id: record.key.call_id.clone(),
        app_id: record.key.app_id.clone(),
        direction: record.key.direction(),
        state: match (record.result, record.answered_ms) {
            (CallResult::Open, None) => "trying",
            (CallResult::Open, Some(_)) => "active",
            _ => "ended",
        },
        result: record.result.name(),
        from_number: record.from.clone(),
        to_number: record.to.clone(),
        number: record.number.clone(),
        streaming: record
            .place
            .clone()
            .map(|(room, peer)| PlaceView { room, peer }),
        sip_call_id: record.sip_call_id.clone(),
        sip_code: record.sip_code,
        peer_address: record.peer_address.clone(),
        created_ms: record.created_ms,
        ringing_ms: record.ringing_ms,
        early_ms: record.early_ms,
        answered_ms: record.answered_ms,
        ended_ms: record.ended_ms,
        end_reason: record.end_reason.clone(),
        hung_up_by: record.hung_up_by.clone(),
        error: record.error.clone(),
        security: record.security.clone(),
        srtp_suite: record.srtp_suite.clone(),
        media: record.media.as_ref().map(|media| RecordedMediaView {
            codec: media.codec.clone(),
            packets_received: media.packets_received,
            bytes_received: media.bytes_received,
            packets_sent: media.packets_sent,
            bytes_sent: media.bytes_sent,
            packets_lost: media.packets_lost,
            jitter_ms: media.jitter_ms,
            round_trip_ms: media.round_trip_ms,
            remote_packets_lost: media.remote_packets_lost,
            remote_jitter_ms: media.remote_jitter_ms,
            mos_average: media.mos_average,
            mos_min: media.mos_min,
            remote_mos_average: media.remote_mos_average,
            remote_mos_min: media.remote_mos_min,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<(Filter, bool), String> {
        let uri = format!("/calls/records?{query}");
        let request = axum::http::Request::get(uri).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        read_query(&parts, Some(&AppId::new("acme"))).map_err(|error| error.message)
    }

    #[test]
    fn times_are_milliseconds_or_rfc_3339() {
        for (text, expected) in [
            ("1779999999999", 1_779_999_999_999),
            ("2026-05-01T00:00:00Z", 1_777_593_600_000),
            ("2026-05-01T02:00:00.250%2B02:00", 1_777_593_600_250),
            ("2026-05-01T02:00:00+02:00", 1_777_593_600_000),
        ] {
            let (filter, _) = read(&format!("since={text}")).unwrap();
            assert_eq!(filter.since_ms, Some(expected), "{text}");
        }
    }

    #[test]
    fn a_wrong_parameter_is_named_with_what_would_be_right() {
        for (query, expected) in [
            ("since=yesterday", "since: write milliseconds since"),
            ("until=99999999999999999999", "until: write milliseconds"),
            ("limit=0", "limit: write a whole number from 1 to 500"),
            ("limit=501", "limit: write a whole number from 1 to 500"),
            ("sip_code=ok", "sip_code: write a whole number from 100"),
            ("direction=in", "direction: write incoming or outgoing"),
            ("result=good", "result: write one of open, answered, "),
            ("cursor=7", "cursor: is no place between two pages"),
            ("format=xml", "format: write json or csv"),
            ("form=1", "form: is unknown here; there are from, to"),
            ("from=1&from=2", "from: stands twice"),
        ] {
            let told = read(query).unwrap_err();
            assert!(told.starts_with(expected), "{query}: {told}");
        }
    }

    #[test]
    fn a_whole_query_is_read() {
        let query = "from=%2B49&to=1&number=2&direction=incoming&result=lost&sip_code=486\
                     &since=1&until=2&limit=3&cursor=5-0a&format=csv&token=secret";
        let expected = Filter {
            app: Some("acme".to_owned()),
            from: Some("+49".to_owned()),
            to: Some("1".to_owned()),
            number: Some("2".to_owned()),
            incoming: Some(true),
            result: Some(CallResult::Lost),
            sip_code: Some(486),
            since_ms: Some(1),
            until_ms: Some(2),
            before: Some("5-0a".parse().unwrap()),
            limit: 3,
        };
        assert_eq!(read(query), Ok((expected, true)));
        assert!(!read("from=&format=").unwrap().1);
    }
}
