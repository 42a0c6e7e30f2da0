//! Recordings of calls and rooms: begun, paused and ended here; who keeps the
//! frames is behind [`RecordingDesk`].

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::call::request::CallError;
use crate::call::room::{RoomNotice, Rooms};
use crate::call::studio::ConferenceId;
use crate::ids::{AppId, CallId, PlayId, RecordingId, RoomKey};
use crate::sound::conference::Recorded;
use crate::sound::format::SampleRate;
use crate::sound::player::{PlayOptions, Player, Repeat};
use crate::sound::tone::Tone;

/// A recording under way.
pub(super) struct RoomRecording {
    room: RoomKey,
    /// Whose call; `None`: the whole room.
    pub(super) call: Option<CallId>,
    /// The conference's tick that its first frame is of.
    first_tick: u64,
    pub(super) paused: bool,
    /// Pauses and their ends, with the frame that each is to begin at: frames
    /// come some time after they were captured.
    turns: VecDeque<(u64, bool)>,
    /// Whether what comes now is left out.
    leaves_out: bool,
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

impl RoomRecording {
    /// Pauses and resumes what is due before this frame.
    fn turn(&mut self, id: RecordingId, index: u64, desk: &mut dyn RecordingDesk) {
        while let Some((at, paused)) = self.turns.pop_front_if(|(at, _)| *at <= index) {
            self.leaves_out = paused;
            match paused {
                true => desk.pause(id, at),
                false => desk.resume(id, at),
            }
        }
    }
}

/// Hands a frame to the desk; false when its recording has ended by itself.
pub(super) fn hand_over(
    recordings: &mut HashMap<RecordingId, RoomRecording>,
    desk: &mut dyn RecordingDesk,
    recorded: &Recorded<'_>,
) -> bool {
    let id = recorded.recording;
    let Some(recording) = recordings.get_mut(&id) else {
        return true;
    };
    if desk.is_over(id) {
        return false;
    }
    let index = recorded.tick.saturating_sub(recording.first_tick);
    recording.turn(id, index, desk);
    if !recording.leaves_out {
        desk.frame(id, index, recorded.rate, recorded.left, recorded.right);
    }
    true
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
            first_tick: 0,
            paused: false,
            turns: VecDeque::new(),
            leaves_out: false,
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
            let first_tick = conference.record(id, leg);
            if let Some(recording) = self.recordings.get_mut(&id) {
                recording.first_tick = first_tick;
            }
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
        let room = self.rooms.get(&recording.room);
        let conference = room.and_then(|room| self.studio.get(room.sound.conference?));
        let Some(conference) = conference else {
            return;
        };
        recording.paused = paused;
        let index = conference.next_tick().saturating_sub(recording.first_tick);
        // Of what is turned to and fro within a frame the last counts, so that
        // no more wait than frames do.
        recording.turns.pop_back_if(|(at, _)| *at == index);
        recording.turns.push_back((index, paused));
    }

    pub(super) fn stop_recording(&mut self, now: Instant, id: RecordingId) {
        let Some(key) = self.recordings.get(&id).map(|its| its.room.clone()) else {
            return;
        };
        let room = self.rooms.get_mut(&key);
        let conference = room.and_then(|room| {
            room.sound.recordings.retain(|other| *other != id);
            room.sound.conference
        });
        self.end_recording(id, conference);
        self.arrange(now, &key);
    }

    /// Hands over what is left of a recording, and ends it.
    pub(super) fn end_recording(&mut self, id: RecordingId, conference: Option<ConferenceId>) {
        let conference = conference.and_then(|conference| self.studio.get_mut(conference));
        let mut end = None;
        if let Some(conference) = conference {
            let (recordings, desk) = (&mut self.recordings, &mut self.desk);
            end = Some(conference.stop_recording(id, |recorded| {
                if let Some(desk) = desk {
                    hand_over(recordings, desk.as_mut(), &recorded);
                }
            }));
            let beep = recordings.get(&id).and_then(|recording| recording.beep);
            beep.map(|beep| conference.stop(beep));
        }
        let (Some(mut recording), Some(desk)) = (self.recordings.remove(&id), &mut self.desk)
        else {
            return;
        };
        let frames = end.unwrap_or_default().saturating_sub(recording.first_tick);
        recording.turn(id, frames, desk.as_mut());
        desk.stop(id, frames);
    }
}
