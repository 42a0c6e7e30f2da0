//! What a caller hears who is alone in a room: the ring-back and hold music of
//! the number that he called. They are made ready here, and played by the room
//! whenever it is so.

use std::sync::Arc;

use crate::api::Shared;
use crate::api::auth::unix_ms;
use crate::api::messages::CallMessage;
use crate::api::registry::Call;
use crate::book::{Number, SoundSource};
use crate::call::request::{Clip, SoundRequest, WaitingSounds};
use crate::ids::PlayId;

/// The sounds of a number.
#[derive(Debug, Clone)]
pub struct NumberSounds {
    hold_music: Option<SoundSource>,
    ringback: Option<SoundSource>,
}

impl NumberSounds {
    /// Those of this number, if it has any.
    pub fn of(number: &Number) -> Option<NumberSounds> {
        let sounds = NumberSounds {
            hold_music: number.hold_music.clone(),
            ringback: number.ringback.clone(),
        };
        let any = sounds.hold_music.is_some() || sounds.ringback.is_some();
        any.then_some(sounds)
    }
}

impl Shared {
    /// The call was accepted into a room: its number's sounds are made ready,
    /// while nobody waits for them.
    pub fn keep_company(self: &Arc<Self>, call: &Arc<Call>) {
        if self.settings().media_server.is_some() {
            return;
        }
        let Some(sounds) = call.caller().and_then(|caller| caller.sounds) else {
            return;
        };
        let (shared, call) = (self.clone(), call.clone());
        tokio::spawn(async move {
            let sounds = WaitingSounds {
                hold_music: shared.ready(&call, "hold_music", sounds.hold_music).await,
                ringback: shared.ready(&call, "ringback", sounds.ringback).await,
            };
            // Without a place it is an echo.
            let Some(place) = call.place() else { return };
            let request = SoundRequest::Wait {
                room: place.room.clone(),
                call: call.id,
                sounds,
            };
            if let Err(error) = shared.ask_sound(&place.room, request).await {
                tracing::debug!(call_id = %call.id, problem = %error.message, "nobody waits any more");
            }
        });
    }

    async fn ready(
        &self,
        call: &Call,
        field: &str,
        source: Option<SoundSource>,
    ) -> Option<(PlayId, Arc<Clip>)> {
        match self.clips.clip(&call.app, &source?).await {
            Ok(clip) => Some((PlayId(rand::random()), clip)),
            Err(problem) => {
                tracing::warn!(call_id = %call.id, %problem, field, "a number's sound cannot be played");
                let message = format!("{field} of the number cannot be played: {problem}");
                call.push(unix_ms(), CallMessage::error(&message, call.direction));
                None
            }
        }
    }
}
