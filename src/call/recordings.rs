//! Recordings of calls and rooms: begun, paused and ended here; who keeps the
//! frames is behind [`RecordingDesk`].

use std::sync::Arc;
use std::time::Instant;

use crate::call::request::CallError;
use crate::call::room::{RoomNotice, Rooms};
use crate::ids::{AppId, CallId, PlayId, RecordingId, RoomKey};
use crate::sound::format::SampleRate;
use crate::sound::player::{PlayOptions, Player, Repeat};
use crate::sound::tone::Tone;

/// A recording under way.
pub(super) struct RoomRecording {
    room: RoomKey,
    /// Whose call; `None`: the whole room.
    pub(super) call: Option<CallId>,
    /// The conference's tick that its first frame was of; `None` before it.
    pub(super) first_tick: Option<u64>,
    /// Frames handed over, the pauses included.
    pub(super) frames: u64,
    pub(super) paused: bool,
    /// What tells those who are recorded.
    beep: Option<PlayId>,
}

/// What a recording is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingAbout {
    /// Whose.
    pub app: AppId,
    /// Which call; `None`: the whole room.
    pub call: Option<CallId>,
    /// The room.
    pub room: Arc<str>,
    /// The call's name in it.
    pub peer: Arc<str>,
    /// Its first frame, in ms since the epoch.
    pub started_ms: u64,
}

/// Takes recordings' frames without ever waiting; implemented by the shard.
pub trait RecordingDesk: Send {
    /// Begins one.
    ///
    /// # Errors
    /// Why there is none.
    fn start(&mut self, about: RecordingAbout) -> Result<RecordingId, String>;
    /// One frame; `index` counts them from the start.
    fn frame(
        &mut self,
        id: RecordingId,
        index: u64,
        rate: SampleRate,
        left: &[i16],
        right: Option<&[i16]>,
    );
    /// Whether it has ended by itself: its disk is full, for example.
    fn is_over(&self, id: RecordingId) -> bool;
    /// What follows is not to be recorded.
    fn pause(&mut self, id: RecordingId, index: u64);
    /// What follows is to be recorded again.
    fn resume(&mut self, id: RecordingId, index: u64);
    /// It ends, after so many frames.
    fn stop(&mut self, id: RecordingId, frames: u64);
}

impl Rooms {
    /// From now on calls can be recorded.
    pub fn set_recording_desk(&mut self, desk: Box<dyn RecordingDesk>) {
        self.desk = Some(desk);
    }

    /// Whether there is a place for recordings.
    pub(super) fn can_record(&self) -> Result<(), CallError> {
        match self.desk {
            Some(_) => Ok(()),
            None => Err(CallError::RecordingOff),
        }
    }

    /// A peer that was to be recorded is connected.
    pub(super) fn record_if_wanted(&mut self, now: Instant, room: &RoomKey, call: CallId) {
        let Some(member) = self.members.get_mut(&call) else {
            return;
        };
        let wanted = member.place.stream().is_some_and(|stream| stream.record);
        if !wanted || std::mem::replace(&mut member.sound.recorded, true) {
            return;
        }
        if let Err(error) = self.start_recording(now, room, Some(call)) {
            self.notices.push_back(RoomNotice::NotRecorded {
                call,
                why: error.to_string(),
            });
        }
    }

    /// Begins to record a call, or a whole room.
    pub(super) fn start_recording(
        &mut self,
        now: Instant,
        room: &RoomKey,
        call: Option<CallId>,
    ) -> Result<RecordingId, CallError> {
        let leg = self.target(room, call)?;
        if self.recording_of(room, call).is_ok() {
            return Err(CallError::AlreadyRecording);
        }
        let stream = call.and_then(|call| self.members.get(&call)?.place.stream());
        let about = RecordingAbout {
            app: room.app.clone(),
            call,
            room: room.name.clone(),
            peer: stream.map_or_else(|| Arc::from(""), |stream| stream.peer.clone()),
            started_ms: self.clock.unix_ms(now),
        };
        let desk = self.desk.as_mut();
        let desk = desk.ok_or(CallError::RecordingOff)?;
        let started = desk.start(about);
        let id = started.map_err(CallError::RecordingUnavailable)?;
        let recording = RoomRecording {
            room: room.clone(),
            call,
            first_tick: None,
            frames: 0,
            paused: false,
            // 64 random bits of 128 are as good a name.
            beep: self
                .settings
                .announce_recordings
                .then_some(PlayId(id.0 as u64)),
        };
        let beep = recording.beep;
        self.recordings.insert(id, recording);
        if let Some(room) = self.rooms.get_mut(room) {
            room.sound.recordings.push(id);
        }
        let conference = self.open_conference(now, room)?;
        if let Some(conference) = self.studio.get_mut(conference) {
            conference.record(id, leg);
            if let Some(beep) = beep {
                let for_ever = PlayOptions {
                    repeat: Repeat::Forever,
                    ..PlayOptions::default()
                };
                conference.play(leg, Player::tone(beep, Tone::RecordingBeep, for_ever));
            }
        }
        self.arrange(now, room);
        Ok(id)
    }

    /// The recording of a call, or of a whole room.
    pub(super) fn recording_of(
        &self,
        room: &RoomKey,
        call: Option<CallId>,
    ) -> Result<RecordingId, CallError> {
        let its = self.rooms.get(room).ok_or(CallError::UnknownRoom)?;
        let is = |id: &&RecordingId| self.recordings.get(id).is_some_and(|r| r.call == call);
        let found = its.sound.recordings.iter().find(is);
        found.copied().ok_or(CallError::NotRecording)
    }

    pub(super) fn pause_recording(&mut self, id: RecordingId, paused: bool) {
        let Some(recording) = self.recordings.get_mut(&id) else {
            return;
        };
        if recording.paused == paused {
            return;
        }
        recording.paused = paused;
        let index = recording.frames;
        if let Some(desk) = &mut self.desk {
            match paused {
                true => desk.pause(id, index),
                false => desk.resume(id, index),
            }
        }
    }

    pub(super) fn stop_recording(&mut self, now: Instant, id: RecordingId) {
        let Some(recording) = self.recordings.remove(&id) else {
            return;
        };
        if let Some(desk) = &mut self.desk {
            desk.stop(id, recording.frames);
        }
        let key = recording.room;
        let Some(room) = self.rooms.get_mut(&key) else {
            return;
        };
        room.sound.recordings.retain(|other| *other != id);
        if let Some(conference) = room.sound.conference.and_then(|c| self.studio.get_mut(c)) {
            conference.stop_recording(id);
            if let Some(beep) = recording.beep {
                conference.stop(beep);
            }
        }
        self.arrange(now, &key);
    }
}
