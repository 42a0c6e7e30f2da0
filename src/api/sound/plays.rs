//! `POST …/play`, `DELETE …/play/{play_id}`: clips and tones, to a call or to
//! all of a room.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type};

use crate::api::Shared;
use crate::api::body::read_json;
use crate::api::error::{ApiError, done, success};
use crate::api::openapi::{Denied, Done, Failure, JsonBody, Success, words};
use crate::book::SoundRecord;
use crate::call::request::{
    CallError, GAIN_DB, PlayOptions, PlaySource, Repeat, SoundRequest, Tone,
};
use crate::ids::{AppId, PlayId};

use super::Target;

/// A sound is played so many times at most, unless it is played for ever.
const MOST_TIMES: u64 = 1_000;

/// The tones, by the words that ask for them.
const TONES: [(&str, Tone); 5] = [
    ("ringback", Tone::RingBackEurope),
    ("ringback_us", Tone::RingBackNorthAmerica),
    ("busy", Tone::BusyEurope),
    ("busy_us", Tone::BusyNorthAmerica),
    ("beep", Tone::RecordingBeep),
];

/// What is to be played, and how: one of `asset`, `url` and `tone`.
#[derive(Deserialize, ToSchema)]
#[schema(as = Play)]
pub struct PlayBody {
    /// An asset of the app.
    asset: Option<String>,
    /// A file to be fetched, http or https.
    url: Option<String>,
    /// A tone that the gateway makes: ring-back and busy as in most of Europe
    /// or (`_us`) in North America, or the beep that announces a recording.
    #[schema(schema_with = tones)]
    tone: Option<String>,
    /// How often: 1 to 1000, or `"forever"` (0 is another word for it), which
    /// is until it is stopped. Default 1. A tone counts by periods of its
    /// cadence.
    #[schema(schema_with = repeats)]
    repeat: Option<Value>,
    /// Louder or softer than the file, in dB.
    #[schema(minimum = -60, maximum = 20)]
    volume_db: Option<f32>,
    /// Whether a key that a listener presses ends it. Default false.
    barge_in: Option<bool>,
}

/// What is played.
#[derive(Serialize, ToSchema)]
#[schema(as = PlayStarted)]
pub struct PlayView {
    #[schema(example = "0123456789abcdef")]
    play_id: String,
}

fn tones() -> Object {
    let mut object = words(&TONES.map(|(word, _)| word));
    object.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    if let Some(values) = &mut object.enum_values {
        values.push(Value::Null);
    }
    object
}

fn repeats() -> Schema {
    let times = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(MOST_TIMES as i64));
    let forms = OneOfBuilder::new()
        .item(times)
        .item(words(&["forever"]))
        .item(ObjectBuilder::new().schema_type(Type::Null));
    Schema::OneOf(forms.build())
}

/// Plays a sound to a call.
///
/// `play_finished` tells its end. A sound that everybody in the room is to
/// hear is played to the room.
#[utoipa::path(
    post,
    path = "/call/{call_id}/play",
    operation_id = "play_to_call",
    tag = "sound",
    params(("call_id" = String, Path, description = "As `POST /call/outgoing` or the notification told it")),
    request_body(content = PlayBody, example = json!({"asset": "welcome.wav", "barge_in": true})),
    responses(
        (status = 200, description = "It is played", body = Success<PlayView>),
        (status = 404, description = "`CALL_NOT_FOUND`, `PEER_NOT_FOUND`, `ASSET_NOT_FOUND`", body = Failure),
        (status = 409, description = "`WRONG_STATE`: nobody hears anything yet, or any more", body = Failure),
        (status = 422, description = "`CLIP_INVALID`, `CLIP_TOO_LONG`, `URL_NOT_ALLOWED`, `ROOM_ON_MEDIA_SERVER`", body = Failure),
        (status = 429, description = "`TOO_MANY_PLAYS`: stop something first", body = Failure, headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 502, description = "`FETCH_FAILED`: the URL could not be fetched", body = Failure),
        Denied,
        JsonBody,
    )
)]
pub async fn play_to_call(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let target = shared.talking_call(&parts, &call_id, "play").await?;
    let body = read_json(Request::from_parts(parts, body)).await?;
    shared.play(target, body).await
}

/// Plays a sound to all of a room.
#[utoipa::path(
    post,
    path = "/rooms/{room}/play",
    operation_id = "play_to_room",
    tag = "sound",
    params(("room" = String, Path)),
    request_body(content = PlayBody, example = json!({"tone": "beep"})),
    responses(
        (status = 200, description = "It is played", body = Success<PlayView>),
        (status = 404, description = "`ROOM_NOT_FOUND`, `ASSET_NOT_FOUND`", body = Failure),
        (status = 422, description = "`CLIP_INVALID`, `CLIP_TOO_LONG`, `URL_NOT_ALLOWED`, `ROOM_ON_MEDIA_SERVER`", body = Failure),
        (status = 429, description = "`TOO_MANY_PLAYS`: stop something first", body = Failure, headers(("Retry-After" = u32, description = "Seconds"))),
        (status = 502, description = "`FETCH_FAILED`: the URL could not be fetched", body = Failure),
        Denied,
        JsonBody,
    )
)]
pub async fn play_to_room(
    State(shared): State<Arc<Shared>>,
    Path(room): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let target = shared.whole_room(&parts, room)?;
    let body = read_json(Request::from_parts(parts, body)).await?;
    shared.room_is_there(&target.room).await?;
    shared.play(target, body).await
}

/// Stops what is played to a call.
#[utoipa::path(
    delete,
    path = "/call/{call_id}/play/{play_id}",
    operation_id = "stop_play_to_call",
    tag = "sound",
    params(
        ("call_id" = String, Path, description = "As `POST /call/outgoing` or the notification told it"),
        ("play_id" = String, Path, description = "As it was told when it began"),
    ),
    responses(
        (status = 200, description = "It fades out", body = Done),
        (status = 404, description = "`CALL_NOT_FOUND`, `PLAY_NOT_FOUND`", body = Failure),
        (status = 409, description = "`WRONG_STATE`: nobody hears anything yet, or any more", body = Failure),
        (status = 422, description = "`ROOM_ON_MEDIA_SERVER`", body = Failure),
        Denied,
    )
)]
pub async fn stop_play_to_call(
    State(shared): State<Arc<Shared>>,
    Path((call_id, play_id)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let target = shared
        .talking_call(&parts, &call_id, "stopping a play")
        .await?;
    shared.stop_play(target, &play_id).await
}

/// Stops what is played to a room.
#[utoipa::path(
    delete,
    path = "/rooms/{room}/play/{play_id}",
    operation_id = "stop_play_to_room",
    tag = "sound",
    params(
        ("room" = String, Path),
        ("play_id" = String, Path, description = "As it was told when it began"),
    ),
    responses(
        (status = 200, description = "It fades out", body = Done),
        (status = 404, description = "`PLAY_NOT_FOUND`", body = Failure),
        (status = 422, description = "`ROOM_ON_MEDIA_SERVER`", body = Failure),
        Denied,
    )
)]
pub async fn stop_play_to_room(
    State(shared): State<Arc<Shared>>,
    Path((room, play_id)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let target = shared.whole_room(&parts, room)?;
    shared.stop_play(target, &play_id).await
}

impl Shared {
    async fn play(&self, target: Target, body: PlayBody) -> Result<Response, ApiError> {
        let options = options(&body)?;
        let source = self.play_source(&target.room.app, &body).await?;
        let play = PlayId(rand::random());
        let request = SoundRequest::Play {
            room: target.room.clone(),
            call: target.call,
            play,
            source,
            options,
        };
        self.ask_sound(&target.room, request).await?;
        Ok(success(PlayView {
            play_id: play.to_string(),
        }))
    }

    async fn play_source(&self, app: &AppId, body: &PlayBody) -> Result<PlaySource, ApiError> {
        const WHICH: &str = "write one of \"asset\", \"url\" and \"tone\"";
        let named = SoundRecord {
            asset: body.asset.clone(),
            url: body.url.clone(),
        };
        // The root app is the operator's own.
        let source = named.to_source(app.is_root()).map_err(|problem| {
            let field = if body.asset.is_some() { "asset" } else { "url" };
            ApiError::field(field, problem)
        })?;
        match (source, &body.tone) {
            (Some(source), None) => Ok(PlaySource::Clip(self.clips.clip(app, &source).await?)),
            (None, Some(word)) => tone(word).map(PlaySource::Tone),
            (None, None) => Err(ApiError::field("asset", format!("is missing; {WHICH}"))),
            (Some(_), Some(_)) => Err(ApiError::field(
                "tone",
                format!("is there beside another sound; {WHICH}"),
            )),
        }
    }

    async fn stop_play(&self, target: Target, play_id: &str) -> Result<Response, ApiError> {
        let play = play_id
            .parse()
            .map_err(|_| ApiError::from(CallError::UnknownPlay))?;
        let request = SoundRequest::StopPlay {
            room: target.room.clone(),
            call: target.call,
            play,
        };
        self.ask_sound(&target.room, request).await?;
        Ok(done())
    }
}

fn tone(word: &str) -> Result<Tone, ApiError> {
    let found = TONES.iter().find(|(known, _)| *known == word);
    found.map(|(_, tone)| *tone).ok_or_else(|| {
        let known = TONES.map(|(known, _)| known).join(", ");
        ApiError::field("tone", format!("{word:?} is no tone; write one of {known}"))
    })
}

fn options(body: &PlayBody) -> Result<PlayOptions, ApiError> {
    let gain_db = body.volume_db.unwrap_or(0.0);
    if !GAIN_DB.contains(&gain_db) {
        return Err(ApiError::field(
            "volume_db",
            format!(
                "{gain_db} is out of range; write {} to {} dB",
                GAIN_DB.start(),
                GAIN_DB.end()
            ),
        ));
    }
    Ok(PlayOptions {
        repeat: repeat(body.repeat.as_ref())?,
        gain_db,
        barge_in: body.barge_in.unwrap_or(false),
    })
}

fn repeat(value: Option<&Value>) -> Result<Repeat, ApiError> {
    let wrong = |value: &Value| {
        ApiError::field(
            "repeat",
            format!("{value} is not possible; write 1 to {MOST_TIMES}, or \"forever\""),
        )
    };
    match value {
        None | Some(Value::Null) => Ok(Repeat::Once),
        Some(Value::String(word)) if word == "forever" => Ok(Repeat::Forever),
        Some(value) => match value.as_u64() {
            Some(0) => Ok(Repeat::Forever),
            Some(1) => Ok(Repeat::Once),
            Some(times @ 2..=MOST_TIMES) => Ok(Repeat::Times(times as u32)),
            Some(_) | None => Err(wrong(value)),
        },
    }
}
