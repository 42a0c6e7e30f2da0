//! Apps that an administrator has added.

use std::fmt;

use rusqlite::{Connection, Row, params};

use crate::book::{App, CallLimits};
use crate::ids::AppId;

/// An app as it is kept. Its secrets are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredApp {
    /// The tenant.
    pub app_id: String,
    /// Its secret.
    pub secret: String,
    /// The secret before the last rotation, and until when it still opens the
    /// app (milliseconds since the Unix epoch).
    pub previous: Option<(String, u64)>,
    /// When it was added, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Its own limits.
    pub limits: CallLimits,
}

impl fmt::Debug for StoredApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredApp({}, secrets hidden)", self.app_id)
    }
}

impl StoredApp {
    /// As the number book has it.
    pub fn app(&self) -> App {
        App {
            id: AppId::new(&self.app_id),
            secret: self.secret.clone(),
            limits: self.limits,
        }
    }
}

/// All of them, by id.
///
/// # Errors
/// What SQLite says.
pub fn all(connection: &Connection) -> rusqlite::Result<Vec<StoredApp>> {
    connection
        .prepare_cached(
            "SELECT app_id, secret, previous_secret, previous_until_ms, created_ms,
                    max_calls, max_calls_per_second
             FROM apps ORDER BY app_id",
        )?
        .query_map([], read)?
        .collect()
}

/// Adds an app, or puts it in place of the one of its id.
///
/// # Errors
/// What SQLite says.
pub fn put(connection: &Connection, app: &StoredApp) -> rusqlite::Result<()> {
    let (previous, until) = match &app.previous {
        Some((secret, until)) => (Some(secret), Some(*until as i64)),
        None => (None, None),
    };
    connection
        .execute(
            "INSERT OR REPLACE INTO apps
             (app_id, secret, previous_secret, previous_until_ms, created_ms,
              max_calls, max_calls_per_second)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                app.app_id,
                app.secret,
                previous,
                until,
                app.created_ms as i64,
                app.limits.max_calls,
                app.limits.max_calls_per_second,
            ],
        )
        .map(drop)
}

/// Removes an app; false if there was none.
///
/// # Errors
/// What SQLite says.
pub fn delete(connection: &Connection, app_id: &str) -> rusqlite::Result<bool> {
    let removed = connection.execute("DELETE FROM apps WHERE app_id = ?", [app_id])?;
    Ok(removed > 0)
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredApp> {
    let secret: Option<String> = row.get(2)?;
    let until: Option<i64> = row.get(3)?;
    Ok(StoredApp {
        app_id: row.get(0)?,
        secret: row.get(1)?,
        previous: secret.zip(until.map(|until| until as u64)),
        created_ms: row.get::<_, i64>(4)? as u64,
        limits: CallLimits {
            max_calls: row.get(5)?,
            max_calls_per_second: row.get(6)?,
        },
    })
}
