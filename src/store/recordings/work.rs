//! What is still to be done with recordings: events to be told, files to be
//! uploaded, and to be removed.

use rusqlite::{Connection, params};

use crate::ids::RecordingId;

use super::{Recording, select};

/// Those that an earlier process has not ended.
///
/// # Errors
/// What SQLite says.
pub fn open_ones(db: &Connection) -> rusqlite::Result<Vec<Recording>> {
    select(db, "WHERE state = 'recording' ORDER BY recording_id", [])
}

/// Those that are over and of which nobody was told, at most this many, the
/// oldest first.
///
/// # Errors
/// What SQLite says.
pub fn untold(db: &Connection, limit: usize) -> rusqlite::Result<Vec<Recording>> {
    select(
        db,
        "WHERE told = 0 AND state <> 'recording' ORDER BY ended_ms LIMIT ?",
        [(limit as i64).into()],
    )
}

/// What became of it was told.
///
/// # Errors
/// What SQLite says.
pub fn told(db: &Connection, id: RecordingId) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE recordings SET told = 1 WHERE recording_id = ?")?
        .execute([id.to_string()])
        .map(drop)
}

/// It is to be brought to the object store under this name.
///
/// # Errors
/// What SQLite says.
pub fn set_pending(db: &Connection, id: RecordingId, object: &str) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE recordings SET upload = 'pending', object = ? WHERE recording_id = ?",
    )?
    .execute(params![object, id.to_string()])
    .map(drop)
}

/// Those whose turn to be uploaded has come, at most this many.
///
/// # Errors
/// What SQLite says.
pub fn uploads_due(db: &Connection, now_ms: u64, limit: usize) -> rusqlite::Result<Vec<Recording>> {
    select(
        db,
        "WHERE upload = 'pending' AND upload_next_ms <= ? ORDER BY upload_next_ms LIMIT ?",
        [(now_ms as i64).into(), (limit as i64).into()],
    )
}

/// An upload failed, and is tried again then.
///
/// # Errors
/// What SQLite says.
pub fn upload_failed(
    db: &Connection,
    id: RecordingId,
    problem: &str,
    next_ms: u64,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE recordings SET upload_attempts = upload_attempts + 1, upload_error = ?, \
         upload_next_ms = ? WHERE recording_id = ?",
    )?
    .execute(params![problem, next_ms as i64, id.to_string()])
    .map(drop)
}

/// The object store has it.
///
/// # Errors
/// What SQLite says.
pub fn confirmed(db: &Connection, id: RecordingId) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE recordings SET upload = 'done', upload_attempts = upload_attempts + 1, \
         upload_error = NULL WHERE recording_id = ?",
    )?
    .execute([id.to_string()])
    .map(drop)
}

/// Its file is no longer on the disk.
///
/// # Errors
/// What SQLite says.
pub fn local_gone(db: &Connection, id: RecordingId) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE recordings SET local = 0 WHERE recording_id = ?")?
        .execute([id.to_string()])
        .map(drop)
}

/// Those that ended before this time and do not wait to be uploaded, at most
/// this many.
///
/// # Errors
/// What SQLite says.
pub fn expired(db: &Connection, until_ms: u64, limit: usize) -> rusqlite::Result<Vec<Recording>> {
    select(
        db,
        "WHERE state <> 'recording' AND ended_ms < ? AND upload <> 'pending'
         ORDER BY ended_ms LIMIT ?",
        [(until_ms as i64).into(), (limit as i64).into()],
    )
}
