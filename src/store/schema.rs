//! The schema: each step brings a database from the version before it to its
//! own, and never changes once it has been released.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::OpenError;

/// The steps, oldest first; a database's `user_version` counts those it has.
const STEPS: &[&str] = &[
    include_str!("schema/01_book.sql"),
    include_str!("schema/02_outbox.sql"),
    include_str!("schema/03_records.sql"),
    include_str!("schema/04_recordings.sql"),
    include_str!("schema/05_assets.sql"),
    include_str!("schema/06_app_limits.sql"),
    include_str!("schema/07_quality.sql"),
    include_str!("schema/08_live_calls.sql"),
];

/// Takes the steps that the database lacks, all or none of them.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    migrate_by(connection, path, STEPS)
}

fn migrate_by(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), OpenError> {
    let refused = |problem| OpenError::Database {
        path: path.to_path_buf(),
        problem,
    };
    let found: u32 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(refused)?;
    let known = steps.len() as u32;
    if found > known {
        return Err(OpenError::Newer {
            path: path.to_path_buf(),
            found,
            known,
        });
    }
    if found == known {
        return Ok(());
    }
    let mut all = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for step in &steps[found as usize..] {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", known)?;
        transaction.commit()
    };
    all().map_err(refused)?;
    tracing::info!(
        from = found,
        to = known,
        "the database's schema is up to date"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "CREATE TABLE one (a INTEGER) STRICT;";
    const TWO: &str = "INSERT INTO one VALUES (1); CREATE TABLE two (b TEXT) STRICT;";
    const BROKEN: &str = "INSERT INTO one VALUES (2); CREATE TABLE;";

    fn count(connection: &Connection) -> u32 {
        connection
            .query_row("SELECT count(*) FROM one", [], |row| row.get(0))
            .unwrap()
    }

    #[test]
    fn only_the_steps_that_are_missing_are_taken() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_by(&mut connection, Path::new("db"), &[ONE]).unwrap();
        assert_eq!(count(&connection), 0);
        for _ in 0..2 {
            migrate_by(&mut connection, Path::new("db"), &[ONE, TWO]).unwrap();
            assert_eq!(count(&connection), 1);
        }
    }

    #[test]
    fn a_step_that_fails_leaves_everything_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_by(&mut connection, Path::new("db"), &[ONE]).unwrap();
        let error = migrate_by(&mut connection, Path::new("db"), &[ONE, TWO, BROKEN]).unwrap_err();
        assert!(matches!(error, OpenError::Database { .. }), "{error}");
        assert_eq!(count(&connection), 0);
        migrate_by(&mut connection, Path::new("db"), &[ONE, TWO]).unwrap();
        assert_eq!(count(&connection), 1);
    }

    #[test]
    fn a_newer_file_is_refused_with_both_versions() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 9).unwrap();
        let error = migrate_by(&mut connection, Path::new("x.db"), &[ONE]).unwrap_err();
        let words = error.to_string();
        assert!(words.contains("x.db") && words.contains("schema 9") && words.contains("up to 1"));
    }
}
