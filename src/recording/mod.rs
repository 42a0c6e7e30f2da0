//! Recordings: sound that shards hand over becomes files, files become events,
//! and in the end they are uploaded or removed.
//!
//! A shard holds a [`Recorder`]; frames go through a bounded queue to a writer
//! thread and nothing ever waits for a disk. A frame that finds the queue full
//! becomes silence and an entry in `gaps`. What a recording is stands in the
//! store from its first moment, so that the next start ends what a killed
//! process left.
//!
//! | file | what it does |
//! | --- | --- |
//! | `handle` | what a shard holds, and the queue |
//! | `writer` | the threads that write |
//! | `track` | one recording: frames by index become a file without holes |
//! | `disk` | where files are |
//! | `ending` | hash, size, store, event; what an earlier process left |
//! | `upload` | what waits for an S3-compatible store |
//! | `bucket` | that store |
//! | `archive` | what is too old is removed |

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::Recording as Settings;
use crate::store::recordings::Recording as Stored;
use crate::store::{Store, StoreError};

mod archive;
mod bucket;
mod counters;
mod disk;
mod ending;
mod handle;
mod track;
mod upload;
mod writer;

pub use archive::RemoveError;
pub use counters::RecordingCounters;
pub use handle::{Recorder, Recording, RecordingStart, StartRefused};

use bucket::Bucket;
use counters::Counters;
use disk::Disk;

/// Events that wait for the api; one more is told late, from the store.
const EVENTS: usize = 1_024;
/// How often it is looked whether all that was stopped is complete.
const SETTLED_EVERY: Duration = Duration::from_millis(20);

/// All recordings of the gateway. Cheap to clone.
#[derive(Clone)]
pub struct Recordings {
    shared: Arc<Shared>,
    threads: Arc<Mutex<writer::Threads>>,
    receiver: Arc<Mutex<Option<mpsc::Receiver<RecordingEvent>>>>,
}

/// What has happened to a recording, which its `state` tells.
pub type RecordingEvent = Box<Stored>;

struct Shared {
    settings: Settings,
    disk: Disk,
    store: Store,
    bucket: Option<Bucket>,
    events: mpsc::Sender<RecordingEvent>,
    counters: Arc<Counters>,
    ending: AtomicBool,
}

/// Why recordings cannot be made. `Display` says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made, or a thread not be started.
    #[error("data_dir {}: cannot keep recordings there: {problem}; make it writable", .path.display())]
    Directory {
        /// The data directory.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// The object store's settings cannot be used.
    #[error("recording.s3: {0}; correct what it names")]
    Bucket(#[from] object_store::Error),
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Recordings {
    /// Ends what an earlier process left, and starts the writers.
    ///
    /// # Errors
    /// [`OpenError`], in words for the operator.
    pub fn open(
        settings: Settings,
        data_dir: &Path,
        store: Store,
    ) -> Result<Recordings, OpenError> {
        let directory = |problem| OpenError::Directory {
            path: data_dir.to_path_buf(),
            problem,
        };
        let (events, receiver) = mpsc::channel(EVENTS);
        let bucket = settings.s3.as_ref().map(Bucket::new).transpose()?;
        let shared = Arc::new(Shared {
            settings,
            bucket,
            disk: Disk::open(data_dir).map_err(directory)?,
            store,
            events,
            counters: Arc::default(),
            ending: AtomicBool::new(false),
        });
        ending::recover(&shared)?;
        let threads = writer::Threads::start(&shared).map_err(directory)?;
        Ok(Recordings {
            shared,
            threads: Arc::new(Mutex::new(threads)),
            receiver: Arc::new(Mutex::new(Some(receiver))),
        })
    }

    /// What happens to recordings, for the first who asks. Events that nobody
    /// takes are not lost: the store knows which were told.
    pub fn events(&self) -> Option<mpsc::Receiver<RecordingEvent>> {
        lock(&self.receiver).take()
    }

    /// Waits until what was stopped by now is complete.
    pub async fn settled(&self) {
        let counters = &self.shared.counters;
        while counters.active.load(Ordering::SeqCst) + counters.completing.load(Ordering::SeqCst)
            > 0
        {
            tokio::time::sleep(SETTLED_EVERY).await;
        }
    }

    /// For one shard: a queue of its own.
    pub fn recorder(&self) -> Recorder {
        let mut threads = lock(&self.threads);
        threads.recorder(&self.shared)
    }

    /// What has happened since the start.
    pub fn counters(&self) -> RecordingCounters {
        self.shared.counters.read()
    }

    /// Ends all recordings and waits until that is on the disk. To be called
    /// once the shards have ended; on a thread that may block.
    pub fn stop(&self) {
        let mut threads = lock(&self.threads);
        threads.stop(&self.shared);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
