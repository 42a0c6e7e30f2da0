//! `GET /call/{call_id}/trace`: the SIP messages of one call, as JSON or as a
//! ladder in plain text, without what would let a reader in.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use crate::call::request::{CallReply, CallRequest, TraceSnapshot};
use crate::ids::CallId;
use crate::trace::{TracedMessage, Way, masked};

use super::Shared;
use super::error::{ApiError, success};
use super::openapi::{Denied, Failure, Success, words};

/// The SIP messages of a call.
#[derive(Serialize, ToSchema)]
#[schema(as = Trace)]
pub(super) struct TraceView {
    messages: Vec<TracedMessageView>,
    /// How many messages are missing,
    left_out: u64,
    /// and after how many of these.
    left_out_after: usize,
}

/// One SIP message as it was on the wire, its secrets masked.
#[derive(Serialize, ToSchema)]
#[schema(as = TracedMessage)]
struct TracedMessageView {
    /// Milliseconds since the Unix epoch.
    timestamp_ms: u64,
    #[schema(schema_with = directions)]
    direction: &'static str,
    transport: &'static str,
    #[schema(value_type = String)]
    local: SocketAddr,
    #[schema(value_type = String)]
    remote: SocketAddr,
    text: String,
}

fn directions() -> Object {
    words(&["received", "sent"])
}

/// Shows the SIP messages of a call.
#[utoipa::path(
    get,
    path = "/call/{call_id}/trace",
    tag = "calls",
    params(("call_id" = String, Path)),
    responses(
        (
            status = 200,
            description = "The messages; as a ladder where text is asked for",
            content(
                (Success<TraceView> = "application/json"),
                (String = "text/plain"),
            )
        ),
        (status = 404, description = "`CALL_NOT_FOUND`, `TRACE_NOT_FOUND`", body = Failure),
        Denied,
    )
)]
pub async fn call_trace(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let id: CallId = call_id.parse().map_err(|_| ApiError::call_not_found())?;
    if shared.known_call(id).await?.app != app {
        return Err(ApiError::forbidden("this call belongs to another app"));
    }
    match shared.ask(id.shard, CallRequest::Trace(id)).await? {
        CallReply::Trace(trace) if wants_text(&parts.headers) => {
            let content_type = "text/plain; charset=utf-8";
            Ok(([(header::CONTENT_TYPE, content_type)], text(&trace)).into_response())
        }
        CallReply::Trace(trace) => Ok(success(view(&trace))),
        CallReply::Refused(error) => Err(error.into()),
        _ => Err(ApiError::call_not_found()),
    }
}

/// Only a client that asks for text and not for JSON gets it.
fn wants_text(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .map(str::trim);
    let mut text = false;
    for range in accepted {
        match range {
            "application/json" => return false,
            "text/plain" => text = true,
            _ => {}
        }
    }
    text
}

fn view(snapshot: &TraceSnapshot) -> TraceView {
    let message = |message: &TracedMessage| TracedMessageView {
        timestamp_ms: snapshot.clock.unix_ms(message.at),
        direction: match message.way {
            Way::Received => "received",
            Way::Sent => "sent",
        },
        transport: "udp",
        local: message.local,
        remote: message.remote,
        text: String::from_utf8_lossy(&masked(&message.payload)).into_owned(),
    };
    let trace = snapshot.trace.read();
    TraceView {
        messages: trace.messages().map(message).collect(),
        left_out: trace.left_out,
        left_out_after: trace.first.len(),
    }
}

/// An overview of one line per message, and then the messages.
fn text(snapshot: &TraceSnapshot) -> String {
    let trace = snapshot.trace.read();
    let start = trace.messages().next().map(|message| message.at);
    let mut overview = String::new();
    let mut whole = String::new();
    for (place, message) in trace.messages().enumerate() {
        if place == trace.first.len() && trace.left_out > 0 {
            let line = format!("... {} messages left out ...\n", trace.left_out);
            overview.push_str(&line);
            whole.push_str(&format!("\n{line}"));
        }
        let since = start.map_or(0.0, |start| (message.at - start).as_secs_f64());
        let arrow = match message.way {
            Way::Received => "<--",
            Way::Sent => "-->",
        };
        let bytes = masked(&message.payload);
        let text = String::from_utf8_lossy(&bytes);
        let line = format!(
            "{since:>9.3} s  {} {arrow} {}  udp  {}\n",
            message.local,
            message.remote,
            first_line(&text)
        );
        overview.push_str(&line);
        // Writing to a String cannot fail.
        let _ = write!(
            whole,
            "\n{}at {} ms\n{}",
            line,
            snapshot.clock.unix_ms(message.at),
            with_newlines(&text)
        );
    }
    format!("{overview}{whole}")
}

fn first_line(text: &str) -> &str {
    text.trim_start().lines().next().unwrap_or_default()
}

/// For terminals: the lines of SIP end with CRLF.
fn with_newlines(text: &str) -> Cow<'_, str> {
    match text.contains('\r') {
        true => Cow::Owned(text.replace("\r\n", "\n")),
        false => Cow::Borrowed(text),
    }
}
