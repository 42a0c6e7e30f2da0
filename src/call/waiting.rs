//! What somebody hears who is alone in a room: hold music, or ring-back while
//! another peer of the room is being called.

use std::sync::Arc;
use std::time::Instant;

use crate::call::room::Rooms;
use crate::ids::{CallId, PlayId, RoomKey};
use crate::sound::clip::Clip;
use crate::sound::player::{PlayOptions, Player, Repeat};

/// What a call hears while it is alone in its room.
#[derive(Debug, Clone, Default)]
pub struct WaitingSounds {
    /// While nobody else is there.
    pub hold_music: Option<(PlayId, Arc<Clip>)>,
    /// While somebody else is being called into the room; without one the hold
    /// music goes on.
    pub ringback: Option<(PlayId, Arc<Clip>)>,
}

/// The same with what it hears now.
#[derive(Default)]
pub(super) struct Waiting {
    sounds: WaitingSounds,
    playing: Option<PlayId>,
}

impl Waiting {
    /// From now on these.
    pub(super) fn set(&mut self, sounds: WaitingSounds) {
        self.sounds = sounds;
    }
}

impl Rooms {
    /// Begins or ends what the one peer who waits for others hears.
    pub(super) fn keep_company(&mut self, now: Instant, key: &RoomKey, peers: &[CallId]) {
        for call in peers {
            let wanted = self.wanted_company(key, *call, peers);
            let Some(member) = self.members.get_mut(call) else {
                continue;
            };
            let leg = member.leg;
            let waiting = &mut member.sound.waiting;
            let wanted_id = wanted.as_ref().map(|(id, _)| *id);
            if waiting.playing == wanted_id {
                continue;
            }
            let before = waiting.playing.take();
            if let Some(before) = before
                && let Some(id) = self.conference_of_room(key)
                && let Some(conference) = self.studio.get_mut(id)
            {
                conference.stop(before);
            }
            let Some((id, clip)) = wanted else {
                continue;
            };
            let options = PlayOptions {
                repeat: Repeat::Forever,
                ..PlayOptions::default()
            };
            let Ok(conference) = self.open_conference(now, key) else {
                continue;
            };
            // Where too much is played already, there is sound enough.
            let begun = self.studio.get_mut(conference).is_some_and(|conference| {
                conference.play(Some(leg), Player::new(id, clip, options))
            });
            if begun && let Some(member) = self.members.get_mut(call) {
                member.sound.waiting.playing = Some(id);
            }
        }
    }

    /// What this peer is to hear now: nothing as soon as another is connected,
    /// and nothing beside what the application plays.
    fn wanted_company(
        &self,
        key: &RoomKey,
        call: CallId,
        peers: &[CallId],
    ) -> Option<(PlayId, Arc<Clip>)> {
        let connected = |call: &CallId| {
            let member = self.members.get(call);
            member.is_some_and(|member| member.sound.description.is_some())
        };
        let WaitingSounds {
            hold_music,
            ringback,
        } = &self.members.get(&call)?.sound.waiting.sounds;
        let others = || peers.iter().filter(|other| **other != call);
        if !connected(&call) || others().any(connected) {
            return None;
        }
        let played = &self.rooms.get(key)?.sound.plays;
        let hears = |id: &PlayId| {
            let play = self.plays.under_way.get(id);
            play.is_some_and(|play| play.call.is_none_or(|to| to == call))
        };
        if played.iter().any(hears) {
            return None;
        }
        let called = others().next().is_some();
        let ringback = ringback.as_ref().filter(|_| called);
        ringback.or(hold_music.as_ref()).cloned()
    }
}
