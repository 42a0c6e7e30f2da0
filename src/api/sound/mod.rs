//! What may be done to the sound of calls and rooms. The shard of the room does
//! it; a call is asked for its room first.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `plays` | clips and tones, to a call or to a room |
//! | `dtmf` | keys to a call |
//! | `audio` | how a peer is heard and hears |
//! | `recording` | recordings begun, paused and ended |
//! | `waiting` | what somebody hears who rings, or is alone in a room |

use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::call::request::{CallError, CallReply, CallRequest, CallState, SoundRequest};
use crate::ids::{CallId, RoomKey};

use super::Shared;
use super::body::name;
use super::calls::the_call;
use super::error::ApiError;

pub mod audio;
pub mod dtmf;
pub mod plays;
pub mod recording;
pub mod waiting;

/// Whose sound it is.
struct Target {
    room: RoomKey,
    /// One call in it; `None`: the whole room.
    call: Option<CallId>,
}

impl Shared {
    /// A call that somebody may act on, and the room that it talks in.
    /// `action` says in a word what is to be done.
    async fn talking_call(
        &self,
        parts: &Parts,
        call_id: &str,
        action: &'static str,
    ) -> Result<Target, ApiError> {
        let call = self.call_for(parts, call_id, None).await?;
        self.rooms_are_here()?;
        let snapshot = the_call(self, &call).await?;
        match snapshot.state {
            CallState::Early | CallState::Active => {}
            CallState::Trying | CallState::Ringing | CallState::Ending | CallState::Ended => {
                let state = snapshot.state.label();
                return Err(CallError::WrongState { action, state }.into());
            }
        }
        let stream = snapshot.stream.ok_or_else(|| {
            ApiError::new(
                StatusCode::CONFLICT,
                "WRONG_STATE",
                "the call is in no room: its number is answered with an echo",
            )
        })?;
        Ok(Target {
            room: stream.room,
            call: Some(call.id),
        })
    }

    /// A room of whoever asks with its app_secret.
    fn room_for(&self, parts: &Parts, room: String) -> Result<RoomKey, ApiError> {
        let app = self.gate.permit(parts)?.app()?;
        self.rooms_are_here()?;
        let room = name(Some(room), "path.room")?;
        Ok(RoomKey {
            app,
            name: Arc::from(room),
        })
    }

    fn whole_room(&self, parts: &Parts, room: String) -> Result<Target, ApiError> {
        Ok(Target {
            room: self.room_for(parts, room)?,
            call: None,
        })
    }

    fn rooms_are_here(&self) -> Result<(), ApiError> {
        match self.settings().media_server {
            None => Ok(()),
            Some(_) => Err(ApiError::room_on_media_server()),
        }
    }

    /// Nothing is fetched for a room that nobody is in.
    async fn room_is_there(&self, room: &RoomKey) -> Result<(), ApiError> {
        let shard = self.shards.of_room(room);
        match self.ask(shard, CallRequest::Room(room.clone())).await? {
            CallReply::Refused(error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Has the room's shard do it.
    async fn ask_sound(
        &self,
        room: &RoomKey,
        request: SoundRequest,
    ) -> Result<CallReply, ApiError> {
        let shard = self.shards.of_room(room);
        match self.ask(shard, CallRequest::Sound(request)).await? {
            CallReply::Refused(error) => Err(error.into()),
            reply => Ok(reply),
        }
    }
}
