//! Numbers that an administrator has added: records as the API takes them.

use rusqlite::{Connection, params};

use crate::book::{NumberRecord, comparable};

/// All of them, by number. A record that cannot be read any more is named in
/// the log and left out.
///
/// # Errors
/// What SQLite says.
pub fn all(connection: &Connection) -> rusqlite::Result<Vec<NumberRecord>> {
    let mut statement =
        connection.prepare_cached("SELECT key, record FROM numbers ORDER BY key")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    let mut records = Vec::new();
    for row in rows {
        let (number, text) = row?;
        match serde_json::from_str(&text) {
            Ok(record) => records.push(record),
            Err(problem) => {
                tracing::error!(number, %problem, "a number in the database cannot be read");
            }
        }
    }
    Ok(records)
}

/// Adds a number, or puts it in place of the one that is written alike.
///
/// # Errors
/// What SQLite says.
pub fn put(connection: &Connection, record: &NumberRecord, now_ms: u64) -> rusqlite::Result<()> {
    let text = serde_json::to_string(record)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection
        .execute(
            "INSERT OR REPLACE INTO numbers (key, record, changed_ms) VALUES (?, ?, ?)",
            params![comparable(&record.number), text, now_ms as i64],
        )
        .map(drop)
}

/// Removes a number; false if there was none.
///
/// # Errors
/// What SQLite says.
pub fn delete(connection: &Connection, number: &str) -> rusqlite::Result<bool> {
    let removed = connection.execute("DELETE FROM numbers WHERE key = ?", [comparable(number)])?;
    Ok(removed > 0)
}
