//! What a recording becomes when it is over: a hash, a size, a row, an event.
//! And the same for what an earlier process left open.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::ids::RecordingId;
use crate::sound::file::{FileError, repair};
use crate::store::StoreError;
use crate::store::recordings::{self, Recording as Stored, Span, State, Upload};

use super::counters::count;
use super::handle::RecordingStart;
use super::track::Track;
use super::{OpenError, Shared};

/// Bytes read at a time for the hash.
const CHUNK: usize = 64 * 1024;

/// A recording whose file is written.
pub(super) struct Ended {
    pub id: RecordingId,
    start: Box<RecordingStart>,
    duration_ms: u64,
    gaps: Vec<Span>,
    pauses: Vec<Span>,
    /// Why it failed, if it did.
    pub reason: Option<&'static str>,
}

impl Ended {
    pub fn of(
        id: RecordingId,
        start: Box<RecordingStart>,
        track: &Track<File>,
        reason: Option<&'static str>,
    ) -> Self {
        Ended {
            id,
            start,
            duration_ms: track.duration_ms(),
            gaps: track.gaps().to_vec(),
            pauses: track.pauses().to_vec(),
            reason,
        }
    }

    /// It has no file.
    pub fn failed_at_once(
        id: RecordingId,
        start: Box<RecordingStart>,
        reason: &'static str,
    ) -> Self {
        Ended {
            id,
            start,
            duration_ms: 0,
            gaps: Vec::new(),
            pauses: Vec::new(),
            reason: Some(reason),
        }
    }
}

/// A recording that has just begun, as it is kept.
pub(super) fn begun(id: RecordingId, start: &RecordingStart) -> Stored {
    Stored {
        id,
        app_id: start.app.to_string(),
        call: start.call,
        room: start.room.to_string(),
        peer: start.peer.to_string(),
        format: start.format,
        channels: start.channels,
        state: State::Recording,
        started_ms: start.started_ms,
        ended_ms: None,
        duration_ms: 0,
        size: 0,
        sha256: None,
        gaps: Vec::new(),
        pauses: Vec::new(),
        recovered: false,
        reason: None,
        local: true,
        incoming: None,
        hook: None,
        upload: Upload::None,
        upload_attempts: 0,
        upload_error: None,
        object: None,
    }
}

/// Why a recording failed, in a word.
pub(super) fn reason(problem: &FileError) -> &'static str {
    match problem {
        FileError::Io(_) if kind(problem) == io::ErrorKind::StorageFull => "disk_full",
        FileError::Io(_) => "write_failed",
        FileError::Codec => "codec_failed",
        FileError::Empty => "lost",
    }
}

pub(super) fn kind(problem: &FileError) -> io::ErrorKind {
    match problem {
        FileError::Io(problem) if problem.kind() == io::ErrorKind::QuotaExceeded => {
            io::ErrorKind::StorageFull
        }
        FileError::Io(problem) => problem.kind(),
        FileError::Codec | FileError::Empty => io::ErrorKind::Other,
    }
}

/// Completes a recording of this process.
pub(super) fn complete(shared: &Shared, ended: Ended) {
    let mut row = begun(ended.id, &ended.start);
    row.duration_ms = ended.duration_ms;
    row.gaps = ended.gaps;
    row.pauses = ended.pauses;
    row.reason = ended.reason.map(str::to_owned);
    finish(shared, row);
}

/// Ends what an earlier process left, before anything is recorded.
pub(super) fn recover(shared: &Arc<Shared>) -> Result<(), OpenError> {
    for mut row in shared.store.read_blocking(recordings::open_ones)? {
        row.recovered = true;
        count(&shared.counters.recovered);
        finish(shared, row);
    }
    Ok(())
}

fn finish(shared: &Shared, mut row: Stored) {
    let whole = row.reason.is_none() && !row.recovered;
    match measure(shared, &row, whole) {
        Ok(measured) => {
            row.size = measured.size;
            row.sha256 = Some(measured.sha256);
            row.duration_ms = measured.duration_ms.unwrap_or(row.duration_ms);
        }
        Err(problem) => {
            tracing::error!(recording_id = %row.id, %problem, "a recording's file cannot be completed");
            row.reason
                .get_or_insert_with(|| reason(&problem).to_owned());
            row.duration_ms = 0;
            row.local = false;
            let removed = shared.disk.remove(&row.app_id, row.id, row.format);
            if let Err(problem) = removed {
                tracing::error!(recording_id = %row.id, %problem, "its file stays");
            }
        }
    }
    let failed = row.reason.is_some();
    row.state = if failed { State::Failed } else { State::Ready };
    row.ended_ms = Some(match row.recovered {
        // Nobody knows better when the process went.
        true => row.started_ms + row.duration_ms,
        false => unix_ms(),
    });
    let counters = &shared.counters;
    count(if failed {
        &counters.failed
    } else {
        &counters.ready
    });
    log(&row);
    match keep(shared, &row) {
        Ok(kept) => shared.tell(Box::new(kept)),
        Err(problem) => {
            tracing::error!(recording_id = %row.id, %problem, "a recording's end is not kept");
            shared.tell(Box::new(row));
        }
    }
}

struct Measured {
    size: u64,
    sha256: String,
    /// Where it had to be repaired.
    duration_ms: Option<u64>,
}

fn measure(shared: &Shared, row: &Stored, whole: bool) -> Result<Measured, FileError> {
    let mut file = shared.disk.open_again(&row.app_id, row.id, row.format)?;
    let duration_ms = if whole {
        None
    } else {
        let repaired = repair(row.format, &mut file)?;
        file.set_len(repaired.length)?;
        Some(repaired.duration_ms)
    };
    // Told of as ready, it survives a power cut.
    file.sync_all()?;
    let (size, sha256) = hash(&mut file)?;
    Ok(Measured {
        size,
        sha256,
        duration_ms,
    })
}

fn hash(file: &mut File) -> io::Result<(u64, String)> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok((size, hex::encode(hash.finalize())));
        }
        size += read as u64;
        hash.update(&chunk[..read]);
    }
}

/// Writes the row, and gives it back with what others have added meanwhile.
fn keep(shared: &Shared, row: &Stored) -> Result<Stored, StoreError> {
    let row = row.clone();
    let bucket = shared.bucket.as_ref().filter(|_| row.local);
    let object = bucket.map(|bucket| bucket.object(&row));
    let change = move |db: &_| {
        // The row of the start may have been refused.
        if recordings::one(db, row.id)?.is_none() {
            recordings::insert(db, &row)?;
        }
        recordings::close(db, &row)?;
        if let Some(object) = &object {
            recordings::set_pending(db, row.id, object)?;
        }
        Ok(recordings::one(db, row.id)?.unwrap_or(row))
    };
    shared.store.write(change).wait()
}

fn log(row: &Stored) {
    let (recording_id, call_id) = (row.id, row.call.map(tracing::field::display));
    let (duration_ms, size, gaps) = (row.duration_ms, row.size, row.gaps.len());
    match &row.reason {
        None => {
            tracing::info!(%recording_id, call_id, duration_ms, size, gaps, "a recording is ready");
        }
        Some(reason) => {
            tracing::error!(%recording_id, call_id, duration_ms, size, reason, "a recording failed");
        }
    }
}

impl Shared {
    /// Tells the api. What finds no room is in the store, and told from there.
    pub(super) fn tell(&self, event: super::RecordingEvent) {
        if let Err(problem) = self.events.try_send(event) {
            tracing::debug!(%problem, "a recording's event is told later");
        }
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}
