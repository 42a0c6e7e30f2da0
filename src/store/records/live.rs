//! Calls that live: what a crash must leave of them. The table has no index, so
//! that a call's beginning is one row at its end, and its end one row less.

use rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE;
use rusqlite::{Connection, Row, params};

use crate::book::{Hook, HookContentType};

use super::{
    CallResult, Key, Lost, RESTARTED, Record, RowId, close, is_constraint, last_alive, read_key,
};

/// In the order of [`begin`] and [`read`].
macro_rules! live_columns {
    () => {
        "id, call_id, app_id, direction, from_number, to_number, number, sip_call_id, \
         peer_address, room, peer, created_ms, answered_ms, error"
    };
}
pub(super) use live_columns;

/// A call has begun. What is known of its later life already stays.
///
/// # Errors
/// What SQLite says.
pub fn begin(
    connection: &Connection,
    id: RowId,
    record: &Record,
    hook: Option<&Hook>,
) -> rusqlite::Result<()> {
    const BEGIN: &str = concat!(
        "INSERT INTO live_calls (",
        live_columns!(),
        ", hook, hook_content_type, hook_trusted) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET \
         from_number = excluded.from_number, to_number = excluded.to_number, \
         number = excluded.number, sip_call_id = coalesce(excluded.sip_call_id, sip_call_id), \
         peer_address = excluded.peer_address, room = excluded.room, peer = excluded.peer, \
         created_ms = excluded.created_ms, \
         answered_ms = coalesce(excluded.answered_ms, answered_ms), \
         error = coalesce(excluded.error, error), hook = excluded.hook, \
         hook_content_type = excluded.hook_content_type, hook_trusted = excluded.hook_trusted"
    );
    let place = record.place.as_ref();
    connection
        .prepare_cached(BEGIN)?
        .execute(params![
            id.0,
            record.key.call_id,
            record.key.app_id,
            record.key.direction(),
            record.from,
            record.to,
            record.number,
            record.sip_call_id,
            record.peer_address,
            place.map(|(room, _)| room),
            place.map(|(_, peer)| peer),
            record.created_ms as i64,
            record.answered_ms.map(|at| at as i64),
            record.error,
            hook.map(|hook| &*hook.url),
            hook.map(|hook| hook.content_type.name()),
            hook.map(|hook| hook.trusted),
        ])
        .map(drop)
}

/// A call was answered, into this room where that was not known before.
///
/// # Errors
/// What SQLite says.
pub fn answered(
    connection: &Connection,
    id: RowId,
    at_ms: u64,
    place: Option<&(String, String)>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE live_calls SET answered_ms = ?, room = coalesce(?, room), \
             peer = coalesce(?, peer) WHERE id = ?",
        )?
        .execute(params![
            at_ms as i64,
            place.map(|(room, _)| room),
            place.map(|(_, peer)| peer),
            id.0,
        ])
        .map(drop)
}

/// Something went wrong with a call.
///
/// # Errors
/// What SQLite says.
pub fn went_wrong(connection: &Connection, id: RowId, problem: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE live_calls SET error = ? WHERE id = ?")?
        .execute(params![problem, id.0])
        .map(drop)
}

/// The call lives no longer.
pub(super) fn remove(connection: &Connection, id: RowId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM live_calls WHERE id = ?")?
        .execute([id.0])
        .map(drop)
}

/// The calls that an earlier life of the gateway left open. They ended at the
/// last time it is known to have lived.
///
/// # Errors
/// What SQLite says.
pub fn lost(connection: &Connection) -> rusqlite::Result<Vec<Lost>> {
    let alive_ms = last_alive(connection)?;
    connection
        .prepare(concat!(
            "SELECT ",
            live_columns!(),
            ", hook, hook_content_type, hook_trusted FROM live_calls ORDER BY created_ms, id"
        ))?
        .query_map([], |row| {
            let record = read(row)?;
            let content_type: Option<String> = row.get(15)?;
            let content_type = content_type.as_deref().and_then(HookContentType::from_name);
            let url: Option<String> = row.get(14)?;
            let trusted: Option<bool> = row.get(16)?;
            Ok(Lost {
                ended_ms: ended_ms(&record, alive_ms),
                key: record.key,
                hook: url.map(|url| Hook {
                    url: url.into(),
                    content_type: content_type.unwrap_or_default(),
                    trusted: trusted.unwrap_or(false),
                }),
            })
        })?
        .collect()
}

/// Closes them; how many there were.
///
/// # Errors
/// What SQLite says.
pub fn close_lost(connection: &Connection) -> rusqlite::Result<usize> {
    let alive_ms = last_alive(connection)?;
    let all = concat!("SELECT ", live_columns!(), " FROM live_calls");
    let open: Vec<(RowId, Record)> = connection
        .prepare(all)?
        .query_map([], |row| Ok((RowId(row.get(0)?), read(row)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, record) in &open {
        let lost = Record {
            result: CallResult::Lost,
            end_reason: Some("lost".to_owned()),
            error: Some(RESTARTED.to_owned()),
            ended_ms: Some(ended_ms(record, alive_ms)),
            ..record.clone()
        };
        match close(connection, &lost, id.tie(), Some(*id)) {
            // Its end is there already: no start shall stumble over that.
            Err(error) if is_constraint(&error, SQLITE_CONSTRAINT_UNIQUE) => {
                remove(connection, *id)?;
            }
            closed => closed?,
        }
    }
    Ok(open.len())
}

/// When a call that was lost ended, for all that is known.
fn ended_ms(record: &Record, alive_ms: u64) -> u64 {
    let answered_ms = record.answered_ms.unwrap_or(0);
    record.created_ms.max(answered_ms).max(alive_ms)
}

/// A row that begins with [`live_columns`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Record> {
    let room: Option<String> = row.get(9)?;
    let key: Key = read_key(row)?;
    Ok(Record {
        from: row.get(4)?,
        to: row.get(5)?,
        number: row.get(6)?,
        sip_call_id: row.get(7)?,
        peer_address: row.get(8)?,
        place: room.zip(row.get(10)?),
        answered_ms: row.get::<_, Option<i64>>(12)?.map(|at| at as u64),
        error: row.get(13)?,
        ..Record::open(key, row.get::<_, i64>(11)? as u64)
    })
}
