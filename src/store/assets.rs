//! Sounds that apps have uploaded: what is known of each. The files are the
//! api's business.

use rusqlite::{Connection, OptionalExtension, Row, params};

/// An uploaded sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its name within the app.
    pub name: String,
    /// Of the file, in bytes.
    pub size: u64,
    /// Of the file's bytes, hexadecimal.
    pub sha256: String,
    /// `wav`, `ogg_opus` or `mp3`.
    pub format: String,
    /// In Hz.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// How long it plays.
    pub duration_ms: u64,
    /// When it was uploaded, in milliseconds since the Unix epoch.
    pub changed_ms: u64,
}

/// What an app holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Assets.
    pub count: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

const COLUMNS: &str = "name, size, sha256, format, sample_rate, channels, duration_ms, changed_ms";

/// All of an app, by name.
///
/// # Errors
/// What SQLite says.
pub fn all(connection: &Connection, app: &str) -> rusqlite::Result<Vec<Asset>> {
    let query = format!("SELECT {COLUMNS} FROM assets WHERE app_id = ? ORDER BY name");
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map([app], read)?;
    rows.collect()
}

/// One by its name.
///
/// # Errors
/// What SQLite says.
pub fn one(connection: &Connection, app: &str, name: &str) -> rusqlite::Result<Option<Asset>> {
    let query = format!("SELECT {COLUMNS} FROM assets WHERE app_id = ? AND name = ?");
    connection
        .prepare_cached(&query)?
        .query_row([app, name], read)
        .optional()
}

/// What an app holds beside the asset of this name.
///
/// # Errors
/// What SQLite says.
pub fn held_beside(connection: &Connection, app: &str, name: &str) -> rusqlite::Result<Held> {
    connection
        .prepare_cached(
            "SELECT count(*), coalesce(sum(size), 0) FROM assets WHERE app_id = ? AND name <> ?",
        )?
        .query_row([app, name], held)
}

/// Adds an asset, or puts it in place of the one of its name; true if there
/// was none.
///
/// # Errors
/// What SQLite says.
pub fn put(connection: &Connection, app: &str, asset: &Asset) -> rusqlite::Result<bool> {
    let is_new = one(connection, app, &asset.name)?.is_none();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO assets (app_id, name, size, sha256, format, sample_rate, channels, duration_ms, changed_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            app,
            asset.name,
            asset.size as i64,
            asset.sha256,
            asset.format,
            asset.sample_rate,
            asset.channels,
            asset.duration_ms as i64,
            asset.changed_ms as i64,
        ])?;
    Ok(is_new)
}

/// Removes an asset; false if there was none.
///
/// # Errors
/// What SQLite says.
pub fn delete(connection: &Connection, app: &str, name: &str) -> rusqlite::Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM assets WHERE app_id = ? AND name = ?")?
        .execute([app, name])?;
    Ok(removed > 0)
}

/// Removes all of an app.
///
/// # Errors
/// What SQLite says.
pub fn delete_all(connection: &Connection, app: &str) -> rusqlite::Result<()> {
    connection
        .execute("DELETE FROM assets WHERE app_id = ?", [app])
        .map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Asset> {
    Ok(Asset {
        name: row.get(0)?,
        size: row.get::<_, i64>(1)? as u64,
        sha256: row.get(2)?,
        format: row.get(3)?,
        sample_rate: row.get(4)?,
        channels: row.get(5)?,
        duration_ms: row.get::<_, i64>(6)? as u64,
        changed_ms: row.get::<_, i64>(7)? as u64,
    })
}

fn held(row: &Row<'_>) -> rusqlite::Result<Held> {
    Ok(Held {
        count: row.get::<_, i64>(0)? as u64,
        bytes: row.get::<_, i64>(1)? as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(name: &str, size: u64) -> Asset {
        Asset {
            name: name.to_string(),
            size,
            sha256: "00".to_string(),
            format: "wav".to_string(),
            sample_rate: 8000,
            channels: 1,
            duration_ms: 20,
            changed_ms: 1,
        }
    }

    #[test]
    fn an_app_has_its_own_assets_and_no_others() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("schema/05_assets.sql"))
            .unwrap();
        assert!(put(&db, "a", &asset("x", 1)).unwrap());
        assert!(put(&db, "a", &asset("y", 2)).unwrap());
        assert!(put(&db, "b", &asset("x", 4)).unwrap());
        assert!(!put(&db, "a", &asset("x", 8)).unwrap());
        assert_eq!(all(&db, "a").unwrap(), [asset("x", 8), asset("y", 2)]);
        assert_eq!(one(&db, "b", "x").unwrap(), Some(asset("x", 4)));
        assert_eq!(one(&db, "b", "y").unwrap(), None);
        let held = |count, bytes| Held { count, bytes };
        assert_eq!(held_beside(&db, "a", "x").unwrap(), held(1, 2));
        assert_eq!(held_beside(&db, "a", "new").unwrap(), held(2, 10));
        assert!(delete(&db, "a", "x").unwrap());
        assert!(!delete(&db, "a", "x").unwrap());
        delete_all(&db, "a").unwrap();
        assert_eq!(all(&db, "a").unwrap(), []);
        assert_eq!(all(&db, "b").unwrap(), [asset("x", 4)]);
    }
}
