//! Recordings: what becomes of them is told to the call's WebSockets and its
//! hook, and they are listed, fetched and removed over REST.
//!
//! That a recording is over stands in the store, marked as told only once the
//! event is on its way to the outbox: a crash in between repeats it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::call::request::Direction;
use crate::ids::{AppId, CallId};
use crate::recording::RecordingEvent;
use crate::store::StoreError;
use crate::store::recordings::{self, Recording, State};

use super::Shared;
use super::auth::unix_ms;
use super::messages::CallMessage;

mod audio;
mod rest;

pub(super) use audio::__path_audio;
pub use audio::audio;
pub(super) use rest::{__path_list, __path_one, __path_remove};
pub use rest::{list, one, read_query, remove};

/// How often the store is asked what was not told.
const LATE_EVERY: Duration = Duration::from_secs(10);
/// Read from it at a time.
const LATE_BATCH: usize = 100;
/// An app that is not there by then has not come back with the gateway.
const APPS_COME_WITHIN: Duration = Duration::from_secs(60);

/// Tells what happens to recordings, and looks after those that are over, until
/// it is told to stop; then tells what has come by then.
pub async fn run(shared: Arc<Shared>, stop: oneshot::Receiver<()>) {
    let Some(mut events) = shared.recordings.events() else {
        return;
    };
    tokio::select! {
        () = tell(&shared, &mut events) => {}
        () = shared.recordings.keep() => {}
        _ = stop => {}
    }
    while let Ok(event) = events.try_recv() {
        report(shared.tell_recording(&event, false).await);
    }
}

/// Never ends.
async fn tell(shared: &Shared, events: &mut mpsc::Receiver<RecordingEvent>) {
    let started = Instant::now();
    let mut late = tokio::time::interval(LATE_EVERY);
    loop {
        report(tokio::select! {
            biased;
            Some(event) = events.recv() => shared.tell_recording(&event, false).await,
            _ = late.tick() => shared.tell_late(started.elapsed() >= APPS_COME_WITHIN).await,
        });
    }
}

fn report(result: Result<(), StoreError>) {
    if let Err(problem) = result {
        tracing::error!(%problem, "what became of a recording is told later");
    }
}

impl Shared {
    async fn tell_late(&self, apps_are_there: bool) -> Result<(), StoreError> {
        let untold = self.store.read(|db| recordings::untold(db, LATE_BATCH));
        for recording in untold.await? {
            self.tell_recording(&recording, apps_are_there).await?;
        }
        Ok(())
    }

    async fn tell_recording(
        &self,
        recording: &Recording,
        apps_are_there: bool,
    ) -> Result<(), StoreError> {
        let told = match recording.call {
            Some(call) => self.tell_call(recording, call).await?,
            None => true,
        };
        if recording.state != State::Recording && (told || apps_are_there) {
            let id = recording.id;
            self.store.write(move |db| recordings::told(db, id)).await?;
        }
        Ok(())
    }

    /// Whether somebody was told, or there is nobody.
    async fn tell_call(&self, recording: &Recording, id: CallId) -> Result<bool, StoreError> {
        let now_ms = unix_ms();
        if let Some(call) = self.registry.get(id) {
            let message = CallMessage::recording(recording, call.direction);
            if recording.state == State::Recording {
                let (id, incoming) = (recording.id, call.direction == Direction::Incoming);
                let hook = call.hooks().map(|hooks| hooks.hook().clone());
                self.store
                    .write(move |db| recordings::set_route(db, id, incoming, hook.as_ref()))
                    .await?;
            }
            match (call.ended(), call.hooks()) {
                (None, _) => call.push(now_ms, message),
                // Its WebSockets are closed; the hook still hears of it.
                (Some(_), Some(hooks)) => hooks.post(now_ms, message.hook_event()),
                (Some(_), None) => {}
            }
            return Ok(true);
        }
        // The call is long over, or was of an earlier process.
        let (Some(incoming), Some(hook)) = (recording.incoming, &recording.hook) else {
            return Ok(true);
        };
        let direction = match incoming {
            true => Direction::Incoming,
            false => Direction::Outgoing,
        };
        let app = AppId::new(&recording.app_id);
        let Some(hooks) = self.hooks.of_call(&app, id, hook.clone()) else {
            return Ok(false);
        };
        let message = CallMessage::recording(recording, direction);
        hooks.post(now_ms, message.hook_event());
        Ok(true)
    }
}
