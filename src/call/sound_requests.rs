//! What the application asks of the sound of a room or of one of its peers:
//! plays, keys, voices, recordings.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::call::request::{CallError, CallReply, PlaySource, SoundRequest, VoiceChange};
use crate::call::room::{Member, MemberKind, RoomNotice, Rooms};
use crate::ids::{CallId, LegId, PlayId, RoomKey};
use crate::sound::conference::Voice;
use crate::sound::player::Player;

/// How a play ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayEnd {
    /// It was played to its end.
    Finished,
    /// Somebody stopped it.
    Stopped,
    /// A key of the listener did.
    BargeIn,
}

impl PlayEnd {
    /// The word the API uses.
    pub fn label(self) -> &'static str {
        match self {
            PlayEnd::Finished => "finished",
            PlayEnd::Stopped => "stopped",
            PlayEnd::BargeIn => "barge_in",
        }
    }
}

/// How a member is heard and hears, as the application has asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turned {
    /// Nobody hears it.
    pub muted: bool,
    /// It hears nobody.
    pub deafened: bool,
    /// How much louder it is heard, in dB.
    pub gain_db: f32,
    /// Names of the peers who alone hear it.
    pub heard_by: Option<Vec<Arc<str>>>,
}

/// What is played, and by whom.
#[derive(Default)]
pub(super) struct Plays {
    pub(super) under_way: HashMap<PlayId, Play>,
}

pub(super) struct Play {
    room: RoomKey,
    /// To whom alone.
    pub(super) call: Option<CallId>,
    /// How it will have ended.
    end: PlayEnd,
}

impl Rooms {
    /// Serves a request about the sound of a room or of one of its peers.
    pub fn handle_sound(&mut self, now: Instant, request: SoundRequest) -> CallReply {
        match self.serve_sound(now, request) {
            Ok(reply) => reply,
            Err(error) => CallReply::Refused(error),
        }
    }

    fn serve_sound(&mut self, now: Instant, request: SoundRequest) -> Result<CallReply, CallError> {
        match request {
            SoundRequest::Play {
                room,
                call,
                play,
                source,
                options,
            } => {
                let leg = self.target(&room, call)?;
                let player = match source {
                    PlaySource::Clip(clip) => Player::new(play, clip, options),
                    PlaySource::Tone(tone) => Player::tone(play, tone, options),
                };
                self.play(now, room, call, leg, player)?;
            }
            SoundRequest::StopPlay { room, call, play } => {
                self.stop_play(&room, call, play)?;
            }
            SoundRequest::Keys { room, call, steps } => {
                self.target(&room, Some(call))?;
                self.send_keys(now, &room, call, &steps)?;
            }
            SoundRequest::Wait { room, call, sounds } => {
                self.target(&room, Some(call))?;
                if let Some(member) = self.members.get_mut(&call) {
                    member.sound.waiting.set(sounds);
                }
                self.arrange(now, &room);
            }
            SoundRequest::Turn { room, peer, change } => {
                return self.turn(now, &room, &peer, change);
            }
            SoundRequest::Record { room, call } => {
                let id = self.start_recording(now, &room, call)?;
                return Ok(CallReply::Recording(id));
            }
            SoundRequest::PauseRecording { room, call, paused } => {
                let id = self.recording_of(&room, call)?;
                self.pause_recording(id, paused);
                return Ok(CallReply::Recording(id));
            }
            SoundRequest::StopRecording { room, call } => {
                let id = self.recording_of(&room, call)?;
                self.stop_recording(now, id);
                return Ok(CallReply::Recording(id));
            }
        }
        Ok(CallReply::Done)
    }

    /// The leg of a call that is in this room; `None` for the whole room.
    pub(super) fn target(
        &self,
        room: &RoomKey,
        call: Option<CallId>,
    ) -> Result<Option<LegId>, CallError> {
        if !self.rooms.contains_key(room) {
            return Err(CallError::UnknownRoom);
        }
        let Some(call) = call else {
            return Ok(None);
        };
        match self.room_of(call) {
            Some(its) if its == *room => Ok(self.members.get(&call).map(|member| member.leg)),
            Some(_) | None => Err(CallError::UnknownPeer),
        }
    }

    fn play(
        &mut self,
        now: Instant,
        room: RoomKey,
        call: Option<CallId>,
        leg: Option<LegId>,
        player: Player,
    ) -> Result<(), CallError> {
        let id = player.id();
        let conference = self.open_conference(now, &room)?;
        let conference = self.studio.get_mut(conference);
        let conference = conference.ok_or(CallError::UnknownRoom)?;
        if !conference.play(leg, player) {
            return Err(CallError::TooManyPlays);
        }
        self.plays.under_way.insert(
            id,
            Play {
                room: room.clone(),
                call,
                end: PlayEnd::Finished,
            },
        );
        if let Some(room) = self.rooms.get_mut(&room) {
            room.sound.plays.push(id);
        }
        self.arrange(now, &room);
        Ok(())
    }

    fn stop_play(
        &mut self,
        room: &RoomKey,
        call: Option<CallId>,
        play: PlayId,
    ) -> Result<(), CallError> {
        let known = self.plays.under_way.get_mut(&play);
        let known = known.filter(|known| known.room == *room && known.call == call);
        let known = known.ok_or(CallError::UnknownPlay)?;
        known.end = PlayEnd::Stopped;
        if let Some(id) = self.conference_of_room(room)
            && let Some(conference) = self.studio.get_mut(id)
        {
            conference.stop(play);
        }
        Ok(())
    }

    /// Tells everybody whom it concerns.
    pub(super) fn play_ended(&mut self, play: PlayId) {
        let Some(Play { room, call, end }) = self.plays.under_way.remove(&play) else {
            return;
        };
        if let Some(room) = self.rooms.get_mut(&room) {
            room.sound.plays.retain(|other| *other != play);
        }
        let concerned = match call {
            Some(call) => vec![call],
            None => self
                .rooms
                .get(&room)
                .map_or(Vec::new(), |room| room.peers.clone()),
        };
        for call in concerned {
            if let Some(MemberKind::Sip(_)) = self.members.get(&call).map(|m| &m.kind) {
                self.notices
                    .push_back(RoomNotice::Played { call, play, end });
            }
        }
    }

    /// What was played to a member that leaves ends with it.
    pub(super) fn forget_plays_to(&mut self, call: CallId) {
        let Some(room) = self.room_of(call).and_then(|key| self.rooms.get_mut(&key)) else {
            return;
        };
        let under_way = &mut self.plays.under_way;
        room.sound.plays.retain(|id| {
            let to_it = under_way
                .get(id)
                .is_some_and(|play| play.call == Some(call));
            if to_it {
                under_way.remove(id);
            }
            !to_it
        });
    }

    fn turn(
        &mut self,
        now: Instant,
        room: &RoomKey,
        peer: &str,
        change: VoiceChange,
    ) -> Result<CallReply, CallError> {
        let call = self.peer_named(room, peer)?;
        let member = self.members.get_mut(&call).ok_or(CallError::UnknownPeer)?;
        let turned = &mut member.sound.turned;
        let VoiceChange {
            muted,
            deafened,
            gain_db,
            heard_by,
        } = change;
        turned.muted = muted.unwrap_or(turned.muted);
        turned.deafened = deafened.unwrap_or(turned.deafened);
        turned.gain_db = gain_db.unwrap_or(turned.gain_db);
        if let Some(heard_by) = heard_by {
            turned.heard_by = heard_by;
        }
        let turned = turned.clone();
        self.arrange(now, room);
        Ok(CallReply::Turned(turned))
    }

    fn peer_named(&self, room: &RoomKey, peer: &str) -> Result<CallId, CallError> {
        let peers = &self.rooms.get(room).ok_or(CallError::UnknownRoom)?.peers;
        let named = |call: &&CallId| {
            let stream = self.members.get(call).and_then(|m| m.place.stream());
            stream.is_some_and(|stream| *stream.peer == *peer)
        };
        peers
            .iter()
            .find(named)
            .copied()
            .ok_or(CallError::UnknownPeer)
    }

    /// How a member is heard, by legs: names of peers who are not there yet
    /// are looked up again when somebody comes.
    pub(super) fn voice(&self, member: &Member) -> Voice {
        let turned = &member.sound.turned;
        let leg_of = |name: &Arc<str>| {
            let room = &member.place.stream()?.room;
            let call = self.peer_named(room, name).ok()?;
            self.members.get(&call).map(|member| member.leg)
        };
        let legs = |names: &Vec<Arc<str>>| names.iter().filter_map(leg_of).collect();
        Voice {
            muted: turned.muted,
            deafened: turned.deafened,
            gain_db: turned.gain_db,
            heard_by: turned.heard_by.as_ref().map(legs),
        }
    }
}

impl Plays {
    pub(super) fn end_by(&mut self, play: PlayId, end: PlayEnd) {
        if let Some(play) = self.under_way.get_mut(&play) {
            play.end = end;
        }
    }
}
