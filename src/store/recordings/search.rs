//! Pages of recordings, the newest first.

use std::str::FromStr;

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::ids::RecordingId;

use super::{Recording, select};

/// Which recordings are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of this app only; `None`: of all.
    pub app: Option<String>,
    /// Of this call.
    pub call_id: Option<String>,
    /// In the room of this name.
    pub room: Option<String>,
    /// That began at this time or later, milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// That began before this time.
    pub until_ms: Option<u64>,
    /// Older than the last one of the page before.
    pub before: Option<Cursor>,
    /// At most this many.
    pub limit: usize,
}

/// A place between two pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    started_ms: u64,
    id: RecordingId,
}

/// A text is not a [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no place between two pages; write the `next` of the page before")]
pub struct CursorError;

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.started_ms, self.id)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (started_ms, id) = text.split_once('-').ok_or(CursorError)?;
        let started_ms: u64 = started_ms.parse().map_err(|_| CursorError)?;
        if i64::try_from(started_ms).is_err() {
            return Err(CursorError);
        }
        let id = id.parse().map_err(|_| CursorError)?;
        Ok(Cursor { started_ms, id })
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The newest first.
    pub recordings: Vec<Recording>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// The recordings that the filter lets through.
///
/// # Errors
/// What SQLite says.
pub fn search(db: &Connection, filter: &Filter) -> rusqlite::Result<Page> {
    let mut conditions = String::from("WHERE true");
    let mut values: Vec<Value> = Vec::new();
    let mut and = |condition: &str, value: Value| {
        conditions.push_str(" AND ");
        conditions.push_str(condition);
        values.push(value);
    };
    for (condition, value) in [
        ("app_id = ?", &filter.app),
        ("call_id = ?", &filter.call_id),
        ("room = ?", &filter.room),
    ] {
        if let Some(value) = value {
            and(condition, value.clone().into());
        }
    }
    if let Some(since_ms) = filter.since_ms {
        and("started_ms >= ?", (since_ms as i64).into());
    }
    if let Some(until_ms) = filter.until_ms {
        and("started_ms < ?", (until_ms as i64).into());
    }
    if let Some(Cursor { started_ms, id }) = filter.before {
        and(
            "(started_ms, recording_id) < (?",
            (started_ms as i64).into(),
        );
        conditions.push_str(", ?)");
        values.push(id.to_string().into());
    }
    conditions.push_str(" ORDER BY started_ms DESC, recording_id DESC LIMIT ?");
    // One more than the page holds tells whether there is another page.
    values.push((filter.limit as i64).saturating_add(1).into());
    let mut recordings = select(db, &conditions, values)?;
    let more = recordings.len() > filter.limit;
    recordings.truncate(filter.limit);
    let next = recordings.last().filter(|_| more).map(|last| Cursor {
        started_ms: last.started_ms,
        id: last.id,
    });
    Ok(Page { recordings, next })
}
