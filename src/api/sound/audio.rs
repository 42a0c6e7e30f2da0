//! `POST /rooms/{room}/peers/{peer}/audio`: how a peer is heard and hears.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::api::Shared;
use crate::api::body::{name, read_json};
use crate::api::error::{ApiError, success};
use crate::api::openapi::{Denied, Failure, JsonBody, Success};
use crate::call::request::{CallError, CallReply, GAIN_DB, SoundRequest, Turned, VoiceChange};

/// Peers that one peer may be heard by alone; a room of more is none for a
/// whisper.
const MOST_LISTENERS: usize = 256;

/// What is to be different; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = AudioChange)]
pub struct AudioBody {
    /// Nobody hears it.
    muted: Option<bool>,
    /// It hears nobody.
    deafened: Option<bool>,
    /// How much louder it is heard, in dB; 0 as it is.
    #[schema(minimum = -60, maximum = 20)]
    gain_db: Option<f32>,
    /// Names of the peers who alone hear it; `null`: everybody. They need not
    /// be there yet.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>, max_items = 256)]
    heard_by: Option<Option<Vec<String>>>,
}

/// Tells `null` from nothing.
fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Vec<String>>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// How a peer is heard and hears.
#[derive(Serialize, ToSchema)]
#[schema(as = Audio)]
pub struct AudioView {
    /// Nobody hears it.
    muted: bool,
    /// It hears nobody.
    deafened: bool,
    /// How much louder it is heard, in dB.
    gain_db: f32,
    /// Names of the peers who alone hear it; `null`: everybody.
    heard_by: Option<Vec<String>>,
}

impl AudioView {
    /// As the API tells it.
    pub fn of(turned: &Turned) -> AudioView {
        let names = |names: &Vec<Arc<str>>| names.iter().map(ToString::to_string).collect();
        AudioView {
            muted: turned.muted,
            deafened: turned.deafened,
            gain_db: turned.gain_db,
            heard_by: turned.heard_by.as_ref().map(names),
        }
    }
}

/// Changes how a peer is heard and hears, and tells how it is now.
///
/// It lasts until the peer leaves. Without any field it only tells.
#[utoipa::path(
    post,
    path = "/rooms/{room}/peers/{peer}/audio",
    operation_id = "turn_peer",
    tag = "sound",
    params(("room" = String, Path), ("peer" = String, Path)),
    request_body(content = AudioBody, example = json!({"heard_by": ["agent"]})),
    responses(
        (status = 200, description = "How it is now", body = Success<AudioView>),
        (status = 404, description = "`ROOM_NOT_FOUND`, `PEER_NOT_FOUND`", body = Failure),
        (status = 422, description = "`ROOM_ON_MEDIA_SERVER`", body = Failure),
        Denied,
        JsonBody,
    )
)]
pub async fn turn(
    State(shared): State<Arc<Shared>>,
    Path((room, peer)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let room = shared.room_for(&parts, room)?;
    let peer = name(Some(peer), "path.peer")?;
    let change = change(read_json(Request::from_parts(parts, body)).await?)?;
    let request = SoundRequest::Turn {
        room: room.clone(),
        peer: Arc::from(peer),
        change,
    };
    match shared.ask_sound(&room, request).await? {
        CallReply::Turned(turned) => Ok(success(AudioView::of(&turned))),
        _ => Err(CallError::UnknownPeer.into()),
    }
}

fn change(body: AudioBody) -> Result<VoiceChange, ApiError> {
    if let Some(gain_db) = body.gain_db
        && !GAIN_DB.contains(&gain_db)
    {
        return Err(ApiError::field(
            "gain_db",
            format!(
                "{gain_db} is out of range; write {} to {} dB",
                GAIN_DB.start(),
                GAIN_DB.end()
            ),
        ));
    }
    let heard_by = match body.heard_by {
        Some(Some(names)) => Some(Some(listeners(names)?)),
        Some(None) => Some(None),
        None => None,
    };
    Ok(VoiceChange {
        muted: body.muted,
        deafened: body.deafened,
        gain_db: body.gain_db,
        heard_by,
    })
}

fn listeners(names: Vec<String>) -> Result<Vec<Arc<str>>, ApiError> {
    if names.len() > MOST_LISTENERS {
        return Err(ApiError::field(
            "heard_by",
            format!("names more than {MOST_LISTENERS} peers; write null for everybody"),
        ));
    }
    let listener = |(index, text)| name(Some(text), &format!("heard_by[{index}]")).map(Arc::from);
    names.into_iter().enumerate().map(listener).collect()
}
