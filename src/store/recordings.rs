//! Recordings: what is known of each, and what is still to be done with it.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde::{Deserialize, Serialize};

use crate::book::{Hook, HookContentType};
use crate::ids::{CallId, RecordingId};
use crate::sound::file::{Channels, FileFormat};

mod search;
mod work;

pub use search::{Cursor, CursorError, Filter, Page, search};
pub use work::{
    confirmed, expired, local_gone, open_ones, set_pending, told, untold, upload_failed,
    uploads_due,
};

/// What became of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is under way.
    Recording,
    /// It ended as it should.
    Ready,
    /// Something ended it; what was written up to then is there.
    Failed,
}

/// Whether a recording is brought to the object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upload {
    /// It stays here.
    None,
    /// It waits for its turn, or for another try.
    Pending,
    /// It is there.
    Done,
}

/// A stretch of a recording, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where in the file it begins.
    pub at_ms: u64,
    /// How long it lasted.
    pub duration_ms: u64,
}

/// A recording. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Which.
    pub id: RecordingId,
    /// Whose.
    pub app_id: String,
    /// The call it is of, if it is of one.
    pub call: Option<CallId>,
    /// The room's name.
    pub room: String,
    /// The recorded peer's name in the room.
    pub peer: String,
    /// The file's format.
    pub format: FileFormat,
    /// What its channels are.
    pub channels: Channels,
    /// What became of it.
    pub state: State,
    /// When its sound begins.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// How long it plays, in ms.
    pub duration_ms: u64,
    /// Of the file, in bytes.
    pub size: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: Option<String>,
    /// Where sound was lost; there is silence of the same length.
    pub gaps: Vec<Span>,
    /// Where it was paused; the time is left out.
    pub pauses: Vec<Span>,
    /// Its process did not live to end it.
    pub recovered: bool,
    /// What ended it, where it failed.
    pub reason: Option<String>,
    /// The file is on the disk.
    pub local: bool,
    /// The call's direction, once known.
    pub incoming: Option<bool>,
    /// Where the call's events go.
    pub hook: Option<Hook>,
    /// Whether it is brought to the object store.
    pub upload: Upload,
    /// How often that was tried.
    pub upload_attempts: u32,
    /// Why the last try failed.
    pub upload_error: Option<String>,
    /// Its name in the object store.
    pub object: Option<String>,
}

impl State {
    /// Its word in API and database.
    pub fn name(self) -> &'static str {
        match self {
            State::Recording => "recording",
            State::Ready => "ready",
            State::Failed => "failed",
        }
    }
}

impl Upload {
    /// Its word in API and database.
    pub fn name(self) -> &'static str {
        match self {
            Upload::None => "none",
            Upload::Pending => "pending",
            Upload::Done => "done",
        }
    }
}

const COLUMNS: &str = "recording_id, app_id, call_id, room, peer, format, channels, state, \
    started_ms, ended_ms, duration_ms, size, sha256, gaps, pauses, recovered, reason, local, \
    incoming, hook, hook_content_type, hook_trusted, upload, upload_attempts, upload_error, object";

/// A recording has begun.
///
/// # Errors
/// What SQLite says.
pub fn insert(db: &Connection, recording: &Recording) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO recordings (recording_id, app_id, call_id, room, peer, format, channels, \
         started_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        recording.id.to_string(),
        recording.app_id,
        recording.call.map(|call| call.to_string()),
        recording.room,
        recording.peer,
        recording.format.name(),
        recording.channels.name(),
        recording.started_ms as i64,
    ])
    .map(drop)
}

/// Where the events of its call go.
///
/// # Errors
/// What SQLite says.
pub fn set_route(
    db: &Connection,
    id: RecordingId,
    incoming: bool,
    hook: Option<&Hook>,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE recordings SET incoming = ?, hook = ?, hook_content_type = ?, hook_trusted = ?
         WHERE recording_id = ?",
    )?
    .execute(params![
        incoming,
        hook.map(|hook| &*hook.url),
        hook.map(|hook| hook.content_type.name()),
        hook.map(|hook| hook.trusted),
        id.to_string(),
    ])
    .map(drop)
}

/// What is missing in a recording that goes on.
///
/// # Errors
/// What SQLite says.
pub fn set_spans(
    db: &Connection,
    id: RecordingId,
    gaps: &[Span],
    pauses: &[Span],
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE recordings SET gaps = ?, pauses = ? WHERE recording_id = ? AND state = 'recording'",
    )?
    .execute(params![json(gaps), json(pauses), id.to_string()])
    .map(drop)
}

/// A recording is over.
///
/// # Errors
/// What SQLite says.
pub fn close(db: &Connection, recording: &Recording) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE recordings SET state = ?, ended_ms = ?, duration_ms = ?, size = ?, sha256 = ?, \
         gaps = ?, pauses = ?, recovered = ?, reason = ?, local = ? WHERE recording_id = ?",
    )?
    .execute(params![
        recording.state.name(),
        recording.ended_ms.map(|ended| ended as i64),
        recording.duration_ms as i64,
        recording.size as i64,
        recording.sha256,
        json(&recording.gaps),
        json(&recording.pauses),
        recording.recovered,
        recording.reason,
        recording.local,
        recording.id.to_string(),
    ])
    .map(drop)
}

/// The recording of this id.
///
/// # Errors
/// What SQLite says.
pub fn one(db: &Connection, id: RecordingId) -> rusqlite::Result<Option<Recording>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM recordings WHERE recording_id = ?"
    ))?
    .query_row([id.to_string()], read)
    .optional()
}

/// Forgets a recording; false if there was none.
///
/// # Errors
/// What SQLite says.
pub fn delete(db: &Connection, id: RecordingId) -> rusqlite::Result<bool> {
    let removed = db.execute(
        "DELETE FROM recordings WHERE recording_id = ?",
        [id.to_string()],
    )?;
    Ok(removed > 0)
}

/// Those that the conditions let through, in this order.
fn select(
    db: &Connection,
    rest: &str,
    values: impl IntoIterator<Item = Value>,
) -> rusqlite::Result<Vec<Recording>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM recordings {rest}"))?
        .query_map(params_from_iter(values), read)?
        .collect()
}

/// A list of two numbers each cannot fail to be written.
fn json(spans: &[Span]) -> String {
    serde_json::to_string(spans).unwrap_or_else(|_| "[]".to_owned())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Recording> {
    let number = |column| row.get::<_, i64>(column).map(|value| value as u64);
    let text = |column| row.get::<_, String>(column);
    let spans = |column| text(column).map(|json| serde_json::from_str(&json).unwrap_or_default());
    let hook = match row.get::<_, Option<String>>(19)? {
        Some(url) => Some(Hook {
            url: url.into(),
            content_type: HookContentType::from_name(&text(20)?).unwrap_or_default(),
            trusted: row.get(21)?,
        }),
        None => None,
    };
    Ok(Recording {
        id: text(0)?.parse().map_err(|problem| strange(0, problem))?,
        app_id: row.get(1)?,
        call: match row.get::<_, Option<String>>(2)? {
            Some(call) => Some(call.parse().map_err(|problem| strange(2, problem))?),
            None => None,
        },
        room: row.get(3)?,
        peer: row.get(4)?,
        // Only we write these words; one that we do not know is read as what is usual.
        format: FileFormat::from_name(&text(5)?).unwrap_or(FileFormat::OggOpus),
        channels: Channels::from_name(&text(6)?).unwrap_or(Channels::Mono),
        state: match text(7)?.as_str() {
            "recording" => State::Recording,
            "ready" => State::Ready,
            // The table's CHECK lets no other word in.
            _ => State::Failed,
        },
        started_ms: number(8)?,
        ended_ms: row.get::<_, Option<i64>>(9)?.map(|ended| ended as u64),
        duration_ms: number(10)?,
        size: number(11)?,
        sha256: row.get(12)?,
        gaps: spans(13)?,
        pauses: spans(14)?,
        recovered: row.get(15)?,
        reason: row.get(16)?,
        local: row.get(17)?,
        incoming: row.get(18)?,
        hook,
        upload: match text(22)?.as_str() {
            "pending" => Upload::Pending,
            "done" => Upload::Done,
            _ => Upload::None,
        },
        upload_attempts: row.get(23)?,
        upload_error: row.get(24)?,
        object: row.get(25)?,
    })
}

fn strange(
    column: usize,
    problem: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        rusqlite::types::Type::Text,
        Box::new(problem),
    )
}

#[cfg(test)]
mod tests;
