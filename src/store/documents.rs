//! Small things that are kept by name.

use rusqlite::{Connection, OptionalExtension, params};

/// Puts a document in place of the one of its name.
///
/// # Errors
/// What SQLite says.
pub fn put(connection: &Connection, name: &str, value: &str, now_ms: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO documents (name, value, changed_ms) VALUES (?, ?, ?)",
        )?
        .execute(params![name, value, now_ms as i64])
        .map(drop)
}

/// The document of this name, and when it was put there (milliseconds since
/// the Unix epoch).
///
/// # Errors
/// What SQLite says.
pub fn get(connection: &Connection, name: &str) -> rusqlite::Result<Option<(String, u64)>> {
    connection
        .prepare_cached("SELECT value, changed_ms FROM documents WHERE name = ?")?
        .query_row([name], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))
        })
        .optional()
}

/// The documents whose names begin so, `limit` at most: name and value, sorted
/// by name. The prefix ends with `/`.
///
/// # Errors
/// What SQLite says.
pub fn below(
    connection: &Connection,
    prefix: &str,
    limit: usize,
) -> rusqlite::Result<Vec<(String, String)>> {
    // '0' is what comes after '/'.
    let end = format!("{}0", prefix.trim_end_matches('/'));
    connection
        .prepare_cached(
            "SELECT name, value FROM documents WHERE name >= ? AND name < ? ORDER BY name LIMIT ?",
        )?
        .query_map(params![prefix, end, limit as i64], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect()
}

/// Forgets the document of this name.
///
/// # Errors
/// What SQLite says.
pub fn delete(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection
        .execute("DELETE FROM documents WHERE name = ?", [name])
        .map(drop)
}
