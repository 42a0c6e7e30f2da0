//! What somebody hears whom nobody else hears yet: a caller while it rings, and
//! the peer of a call that is alone in its room. The sounds are those of the
//! number, or of the request that dialled. They are made ready here, and played
//! by the shard whenever it is so.

use std::sync::Arc;
use std::time::Duration;

use crate::api::Shared;
use crate::api::auth::unix_ms;
use crate::api::error::ApiError;
use crate::api::messages::CallMessage;
use crate::api::registry::Call;
use crate::book::{Number, SoundSource};
use crate::call::request::{
    Action, CallReply, CallRequest, Clip, Direction, SoundRequest, WaitingSounds,
};
use crate::ids::PlayId;

/// A ring-back that takes longer to be had does not keep the caller waiting:
/// the tone of its own network comes first.
const AT_ONCE: Duration = Duration::from_millis(200);

/// The sounds of a number, or of a call that was dialled.
#[derive(Debug, Clone, Default)]
pub struct NumberSounds {
    /// While nobody else is there.
    pub hold_music: Option<SoundSource>,
    /// While it rings, or somebody else is being called.
    pub ringback: Option<SoundSource>,
}

impl NumberSounds {
    /// Those of this number.
    pub fn of(number: &Number) -> NumberSounds {
        NumberSounds {
            hold_music: number.hold_music.clone(),
            ringback: number.ringback.clone(),
        }
    }

    /// Whether it hears nothing of ours.
    pub fn is_empty(&self) -> bool {
        self.hold_music.is_none() && self.ringback.is_none()
    }
}

impl Shared {
    /// Lets the caller hear ringing: the ring-back of the number where it has
    /// one, as early media, else the tone of its own network.
    pub async fn ring(self: &Arc<Self>, call: &Arc<Call>) -> Result<(), ApiError> {
        let source = match self.settings().media_server {
            // There is no media before the server has answered.
            Some(_) => None,
            None => call.sounds().ringback,
        };
        if source.is_none() {
            return self.act(call, Action::Ring).await;
        }
        let (shared, its) = (self.clone(), call.clone());
        let mut ready = tokio::spawn(async move { shared.ready(&its, "ringback", source).await });
        match tokio::time::timeout(AT_ONCE, &mut ready).await {
            Ok(Ok(Some(ringback))) => self.ring_back(call, ringback).await,
            Ok(_) => self.act(call, Action::Ring).await,
            Err(_) => {
                self.act(call, Action::Ring).await?;
                let (shared, call) = (self.clone(), call.clone());
                tokio::spawn(async move {
                    if let Ok(Some(ringback)) = ready.await
                        && let Err(error) = shared.ring_back(&call, ringback).await
                    {
                        tracing::debug!(call_id = %call.id, problem = %error.message, "rings no more");
                    }
                });
                Ok(())
            }
        }
    }

    async fn ring_back(&self, call: &Call, ringback: (PlayId, Arc<Clip>)) -> Result<(), ApiError> {
        let request = CallRequest::RingBack {
            call: call.id,
            ringback,
        };
        match self.ask(call.id.shard, request).await? {
            CallReply::Refused(error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The call was accepted into a room, or answered there: its sounds are
    /// made ready, while nobody waits for them.
    pub fn keep_company(self: &Arc<Self>, call: &Arc<Call>) {
        let sounds = call.sounds();
        if self.settings().media_server.is_some() || sounds.is_empty() {
            return;
        }
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
                tracing::warn!(call_id = %call.id, %problem, field, "a sound for somebody who waits cannot be played");
                let whose = match call.direction {
                    Direction::Incoming => "number",
                    Direction::Outgoing => "call",
                };
                let message = format!("{field} of the {whose} cannot be played: {problem}");
                call.push(unix_ms(), CallMessage::error(&message, call.direction));
                None
            }
        }
    }
}
