//! The threads that write: each takes what its queues hold, encodes it and
//! brings it to the disk.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::ids::RecordingId;
use crate::sound::file::FileError;
use crate::store::recordings;

use super::counters::count;
use super::ending::{self, Ended};
use super::handle::{Lane, Message, Over, Recorder, RecordingStart, What};
use super::track::Track;
use super::{Shared, lock};

/// Writers at most: recordings are a small part of a gateway's work.
const MAX_WRITERS: usize = 4;
/// Between two looks at the queues, while something is recorded.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Between two looks at the disk's free space; what was said since is flushed too.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The writers, and the thread that completes what they have written.
pub(super) struct Threads {
    writers: Vec<Writer>,
    ending: Option<JoinHandle<()>>,
}

struct Writer {
    lanes: Arc<Mutex<Vec<Arc<Lane>>>>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

impl Threads {
    pub fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let (ended, to_end) = channel();
        let completing = shared.clone();
        let ending = thread::Builder::new()
            .name("recording-end".to_owned())
            .spawn(move || {
                for ended in to_end {
                    ending::complete(&completing, ended);
                    active(&completing.counters.completing, -1);
                }
            })?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let writers = (0..cores.min(MAX_WRITERS))
            .map(|number| Writer::start(number, shared.clone(), ended.clone()))
            .collect::<io::Result<Vec<Writer>>>()?;
        Ok(Threads {
            writers,
            ending: Some(ending),
        })
    }

    pub fn recorder(&mut self, shared: &Shared) -> Recorder {
        let lane = |writer: &Writer| {
            let lane = Arc::new(Lane::new(writer.thread.clone(), shared.counters.clone()));
            lock(&writer.lanes).push(lane.clone());
            lane
        };
        Recorder::new(self.writers.iter().map(lane).collect())
    }

    pub fn stop(&mut self, shared: &Shared) {
        shared.ending.store(true, Ordering::SeqCst);
        let writers = self.writers.drain(..).filter_map(|mut writer| {
            writer.thread.unpark();
            writer.handle.take()
        });
        for thread in writers.chain(self.ending.take()) {
            if thread.join().is_err() {
                tracing::error!("a thread that writes recordings has failed");
            }
        }
    }
}

impl Writer {
    fn start(number: usize, shared: Arc<Shared>, ended: Sender<Ended>) -> io::Result<Self> {
        let lanes: Arc<Mutex<Vec<Arc<Lane>>>> = Arc::default();
        let mut work = Work {
            shared,
            ended,
            tracks: HashMap::new(),
        };
        let of_thread = lanes.clone();
        let handle = thread::Builder::new()
            .name(format!("recording-{number}"))
            .spawn(move || work.run(&of_thread))?;
        Ok(Writer {
            lanes,
            thread: handle.thread().clone(),
            handle: Some(handle),
        })
    }
}

/// One writer's own.
struct Work {
    shared: Arc<Shared>,
    ended: Sender<Ended>,
    tracks: HashMap<RecordingId, Open>,
}

struct Open {
    start: Box<RecordingStart>,
    track: Track<File>,
    over: Over,
}

impl Work {
    fn run(&mut self, lanes: &Mutex<Vec<Arc<Lane>>>) {
        let mut checked = Instant::now();
        loop {
            // Read first: what was queued before the end is written.
            let ending = self.shared.ending.load(Ordering::SeqCst);
            let mine = lock(lanes).clone();
            for lane in &mine {
                lane.drain(|message| self.take(lane, message));
            }
            if ending {
                let left: Vec<RecordingId> = self.tracks.keys().copied().collect();
                left.into_iter().for_each(|id| self.stop(id, None));
                return;
            }
            if checked.elapsed() >= CHECK_EVERY {
                checked = Instant::now();
                self.check();
            }
            if self.tracks.is_empty() {
                // Woken by the next start.
                thread::park();
            } else {
                thread::park_timeout(LOOK_EVERY);
            }
        }
    }

    fn take(&mut self, lane: &Lane, message: Message) {
        let Message { id, what } = message;
        let what = match what {
            What::Start { start, over } => return self.start(id, start, over),
            What::Stop { frames } => return self.stop(id, frames),
            other => other,
        };
        // What comes behind a recording that failed.
        let Some(open) = self.tracks.get_mut(&id) else {
            return;
        };
        let result = match what {
            What::Frame(frame) => {
                let result = open.track.frame(&frame);
                lane.give_back(frame.samples);
                result
            }
            What::Lost(lost) => open.track.lost(lost),
            What::Pause { index } => open.track.pause(index),
            What::Resume { index } => open.track.resume(index),
            What::Start { .. } | What::Stop { .. } => Ok(()),
        };
        if let Err(problem) = result {
            self.fail(id, &problem);
        }
    }

    fn start(&mut self, id: RecordingId, start: Box<RecordingStart>, over: Over) {
        let row = ending::begun(id, &start);
        count(&self.shared.counters.started);
        let written = row.clone();
        let change = move |db: &_| recordings::insert(db, &written);
        self.shared.store.write(change).detach();
        tracing::info!(
            recording_id = %id,
            call_id = start.call.map(tracing::field::display),
            app_id = %start.app,
            "recording"
        );
        self.shared.tell(Box::new(row));
        let opened = self.has_space().and_then(|()| {
            let disk = &self.shared.disk;
            let file = disk.create(start.app.as_str(), id, start.format)?;
            Track::new(start.format, start.channels, id.0 as u32, file)
        });
        match opened {
            Ok(track) => {
                active(&self.shared.counters.active, 1);
                self.tracks.insert(id, Open { start, track, over });
            }
            Err(problem) => {
                over.store(true, Ordering::Relaxed);
                let ended = Ended::failed_at_once(id, start, ending::reason(&problem));
                self.hand_over(ended);
            }
        }
    }

    fn stop(&mut self, id: RecordingId, frames: Option<u64>) {
        let Some(mut open) = self.tracks.remove(&id) else {
            return;
        };
        let result = open.track.stop(frames);
        self.end(id, open, result);
        active(&self.shared.counters.active, -1);
    }

    fn fail(&mut self, id: RecordingId, problem: &FileError) {
        let Some(open) = self.tracks.remove(&id) else {
            return;
        };
        open.over.store(true, Ordering::Relaxed);
        let ended = Ended::of(id, open.start, &open.track, Some(ending::reason(problem)));
        self.hand_over(ended);
        active(&self.shared.counters.active, -1);
    }

    fn end(&mut self, id: RecordingId, open: Open, result: Result<(), FileError>) {
        let mut ended = Ended::of(id, open.start, &open.track, None);
        if let Err(problem) = result.and_then(|()| open.track.finish().map(drop)) {
            ended.reason = Some(ending::reason(&problem));
        }
        self.hand_over(ended);
    }

    fn hand_over(&self, ended: Ended) {
        active(&self.shared.counters.completing, 1);
        // The other thread lives as long as there are writers.
        if let Err(lost) = self.ended.send(ended) {
            tracing::error!(recording_id = %lost.0.id, "a recording is left for the next start");
        }
    }

    /// What is due every second.
    fn check(&mut self) {
        let space = self.has_space();
        let mut failed = Vec::new();
        for (id, open) in &mut self.tracks {
            if let Err(problem) = &space {
                failed.push((*id, FileError::Io(io::Error::from(ending::kind(problem)))));
            } else if let Err(problem) = open.track.flush() {
                failed.push((*id, problem));
            }
            if open.track.spans_changed() {
                let (id, gaps) = (*id, open.track.gaps().to_vec());
                let pauses = open.track.pauses().to_vec();
                let change = move |db: &_| recordings::set_spans(db, id, &gaps, &pauses);
                self.shared.store.write(change).detach();
            }
        }
        for (id, problem) in failed {
            self.fail(id, &problem);
        }
    }

    fn has_space(&self) -> Result<(), FileError> {
        if self.shared.disk.free()? < self.shared.settings.minimum_free {
            return Err(io::Error::from(io::ErrorKind::StorageFull).into());
        }
        Ok(())
    }
}

fn active(counter: &AtomicU64, change: i64) {
    counter.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
}
