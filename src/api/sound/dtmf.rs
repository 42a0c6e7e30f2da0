//! `POST /call/{call_id}/dtmf`: keys to a call.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::Shared;
use crate::api::body::read_json;
use crate::api::error::{ApiError, done};
use crate::api::openapi::{Denied, Done, Failure, JsonBody};
use crate::call::request::{DialStep, Digit, KeyTiming, MAX_QUEUED_KEYS, SoundRequest};

/// What a `w` waits, in ms, as in dial strings of other gateways.
const WAIT_MS: u32 = 500;
const USUAL_MS: u32 = 100;

/// Keys to be sent.
#[derive(Deserialize, ToSchema)]
#[schema(as = Dtmf)]
pub struct DtmfBody {
    /// `0` to `9`, `*`, `#`, `A` to `D`; `w` waits for half a second. At most
    /// 64 of them.
    #[schema(required = true, pattern = "^[0-9*#A-Da-dw]{1,64}$", example = "123#")]
    digits: Option<String>,
    /// How long each key is held. Default 100.
    #[schema(minimum = 40, maximum = 5000)]
    duration_ms: Option<u32>,
    /// The pause after each. Default 100.
    #[schema(minimum = 50, maximum = 5000)]
    pause_ms: Option<u32>,
}

/// Sends keys to a call.
///
/// As telephone events (RFC 4733) where the peer takes them, else as tones.
/// They are sent after those that wait already. None wait for a peer that is on
/// hold; those that are not out when it holds are dropped, and an `error` event
/// says so.
#[utoipa::path(
    post,
    path = "/call/{call_id}/dtmf",
    operation_id = "send_dtmf",
    tag = "sound",
    params(("call_id" = String, Path, description = "As `POST /call/outgoing` or the notification told it")),
    request_body(content = DtmfBody, example = json!({"digits": "123#", "duration_ms": 100, "pause_ms": 100})),
    responses(
        (status = 200, description = "They are being sent", body = Done),
        (status = 404, description = "`CALL_NOT_FOUND`, `PEER_NOT_FOUND`", body = Failure),
        (status = 409, description = "`WRONG_STATE`: nobody hears anything yet, or any more; `PEER_ON_HOLD`", body = Failure),
        (status = 422, description = "`ROOM_ON_MEDIA_SERVER`", body = Failure),
        (status = 429, description = "`TOO_MANY_KEYS`: with these, more than 64 would wait", body = Failure, headers(("Retry-After" = u32, description = "Seconds"))),
        Denied,
        JsonBody,
    )
)]
pub async fn send(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let target = shared.talking_call(&parts, &call_id, "dtmf").await?;
    let steps = steps(&read_json(Request::from_parts(parts, body)).await?)?;
    if let Some(call) = target.call {
        let request = SoundRequest::Keys {
            room: target.room.clone(),
            call,
            steps,
        };
        shared.ask_sound(&target.room, request).await?;
    }
    Ok(done())
}

fn steps(body: &DtmfBody) -> Result<Vec<DialStep>, ApiError> {
    let wrong = |problem: String| ApiError::field("digits", problem);
    const KEYS: &str = "write 0-9, *, #, A-D, or w for a wait of half a second";
    let digits = match body.digits.as_deref() {
        None => return Err(wrong(format!("is missing; {KEYS}"))),
        Some("") => return Err(wrong(format!("is empty; {KEYS}"))),
        Some(digits) => digits,
    };
    if digits.chars().count() > MAX_QUEUED_KEYS {
        return Err(wrong(format!(
            "are more than {MAX_QUEUED_KEYS}; send the rest when these are out"
        )));
    }
    let (tone_ms, pause_ms) = (
        body.duration_ms.unwrap_or(USUAL_MS),
        body.pause_ms.unwrap_or(USUAL_MS),
    );
    let timing = KeyTiming::new(tone_ms, pause_ms).map_err(|problem| {
        let tone_is_right = KeyTiming::new(tone_ms, USUAL_MS).is_ok();
        let field = if tone_is_right {
            "pause_ms"
        } else {
            "duration_ms"
        };
        ApiError::field(field, problem)
    })?;
    let step = |character| match (character, Digit::from_char(character)) {
        ('w', _) => Ok(DialStep::Wait(WAIT_MS)),
        (_, Some(digit)) => Ok(DialStep::Key(digit, timing)),
        (_, None) => Err(wrong(format!("{character:?} is no key; {KEYS}"))),
    };
    digits.chars().map(step).collect()
}
