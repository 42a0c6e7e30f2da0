//! The shard's recordings on their way to the writers.

use std::collections::HashMap;

use crate::call::room::{RecordingAbout, RecordingDesk};
use crate::config;
use crate::ids::RecordingId;
use crate::recording::{Recorder, Recording, RecordingStart};
use crate::sound::file::Channels;
use crate::sound::format::SampleRate;

/// Hands frames of rooms to the recorder, recording by recording.
pub(super) struct Desk {
    recorder: Recorder,
    settings: config::Recording,
    under_way: HashMap<RecordingId, Recording>,
}

impl Desk {
    /// Nothing is recorded yet.
    pub(super) fn new(recorder: Recorder, settings: config::Recording) -> Desk {
        Desk {
            recorder,
            settings,
            under_way: HashMap::new(),
        }
    }
}

impl RecordingDesk for Desk {
    fn start(&mut self, about: RecordingAbout) -> Result<RecordingId, String> {
        // A whole room has one side; a second channel would be silent.
        let channels = match about.call {
            Some(_) => self.settings.channels,
            None => Channels::Mono,
        };
        let start = RecordingStart {
            app: about.app,
            call: about.call,
            room: about.room,
            peer: about.peer,
            format: self.settings.format,
            channels,
            started_ms: about.started_ms,
        };
        let recording = self.recorder.start(start).map_err(|why| why.to_string())?;
        let id = recording.id();
        self.under_way.insert(id, recording);
        Ok(id)
    }

    fn frame(
        &mut self,
        id: RecordingId,
        index: u64,
        rate: SampleRate,
        left: &[i16],
        right: Option<&[i16]>,
    ) {
        if let Some(recording) = self.under_way.get_mut(&id) {
            // What finds no room is counted, and marked in the file.
            let _ = recording.frame(index, rate, left, right);
        }
    }

    fn is_over(&self, id: RecordingId) -> bool {
        self.under_way.get(&id).is_none_or(Recording::is_over)
    }

    fn pause(&mut self, id: RecordingId, index: u64) {
        if let Some(recording) = self.under_way.get_mut(&id) {
            recording.pause(index);
        }
    }

    fn resume(&mut self, id: RecordingId, index: u64) {
        if let Some(recording) = self.under_way.get_mut(&id) {
            recording.resume(index);
        }
    }

    fn stop(&mut self, id: RecordingId, frames: u64) {
        if let Some(recording) = self.under_way.remove(&id) {
            recording.stop(frames);
        }
    }
}
