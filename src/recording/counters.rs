//! What has happened to recordings, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub(super) struct Counters {
    /// Those under way.
    pub active: AtomicU64,
    /// Those that are stopped and not complete yet.
    pub completing: AtomicU64,
    pub started: AtomicU64,
    pub ready: AtomicU64,
    pub failed: AtomicU64,
    pub recovered: AtomicU64,
    /// Frames that found no room in the queue.
    pub frames_lost: AtomicU64,
    pub uploaded: AtomicU64,
    pub upload_failures: AtomicU64,
    pub expired: AtomicU64,
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordingCounters {
    /// Recordings under way now.
    pub active: u64,
    /// Begun.
    pub started: u64,
    /// Ended as they should.
    pub ready: u64,
    /// Ended for another reason: the disk is full, most likely.
    pub failed: u64,
    /// Left by an earlier process and ended at the start.
    pub recovered: u64,
    /// Frames of 20 ms that became silence, because too much waited to be
    /// written.
    pub frames_lost: u64,
    /// Brought to the object store.
    pub uploaded: u64,
    /// Attempts at that which failed.
    pub upload_failures: u64,
    /// Removed because they were too old.
    pub expired: u64,
}

impl Counters {
    pub fn read(&self) -> RecordingCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RecordingCounters {
            active: read(&self.active),
            started: read(&self.started),
            ready: read(&self.ready),
            failed: read(&self.failed),
            recovered: read(&self.recovered),
            frames_lost: read(&self.frames_lost),
            uploaded: read(&self.uploaded),
            upload_failures: read(&self.upload_failures),
            expired: read(&self.expired),
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
