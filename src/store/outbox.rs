//! Call events on their way to hooks. A row is written before its event is
//! posted, and stays for a while after the hook has taken it.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits to be posted, or to be posted again.
    Pending,
    /// The hook took it.
    Delivered,
    /// It was given up.
    Dead,
}

impl State {
    /// Its word in API and database.
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Delivered => "delivered",
            State::Dead => "dead",
        }
    }

    /// The state of this word.
    pub fn from_name(name: &str) -> Option<State> {
        [State::Pending, State::Delivered, State::Dead]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// The order in which events happened.
    pub seq: i64,
    /// `X-Hook-Id`.
    pub id: String,
    /// Whose event it is.
    pub call_id: String,
    /// The tenant.
    pub app_id: String,
    /// Scheme, host and port of the URL: what fails and recovers together.
    pub target: String,
    /// Where it is posted.
    pub url: String,
    /// `Json` or `Protobuf`.
    pub content_type: String,
    /// The URL is the operator's own.
    pub trusted: bool,
    /// `sip_gateway.CallEvent`, protobuf.
    pub body: Vec<u8>,
    /// When it happened, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// It is tried until then, milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// How often it was posted.
    pub attempts: u32,
    /// Not posted again before, milliseconds since the Unix epoch.
    pub next_attempt_ms: u64,
    /// What became of it.
    pub state: State,
    /// When it was last tried or given up, milliseconds since the Unix epoch.
    pub changed_ms: u64,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// The HTTP status of the last answer.
    pub last_status: Option<u16>,
    /// The beginning of the last answer's body.
    pub last_response: Option<String>,
}

/// How an attempt went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Attempts so far, this one included.
    pub attempts: u32,
    /// Why it failed.
    pub error: Option<String>,
    /// The answer's HTTP status.
    pub status: Option<u16>,
    /// The beginning of the answer's body.
    pub response: Option<String>,
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// Which rows are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those in this state only.
    pub state: Option<State>,
    /// Those of this app only.
    pub app_id: Option<String>,
    /// Those of this call only.
    pub call_id: Option<String>,
    /// Those that happened before the one of this `seq` only.
    pub before: Option<i64>,
}

const COLUMNS: &str = "seq, id, call_id, app_id, target, url, content_type, trusted, body,
    created_ms, expires_ms, attempts, next_attempt_ms, state, changed_ms,
    last_error, last_status, last_response";

/// Adds an event that has not been posted yet.
///
/// # Errors
/// What SQLite says.
pub fn insert(db: &Connection, row: &OutboxRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO outbox (seq, id, call_id, app_id, target, url, content_type, trusted, body,
         created_ms, expires_ms, changed_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        row.seq,
        row.id,
        row.call_id,
        row.app_id,
        row.target,
        row.url,
        row.content_type,
        row.trusted,
        row.body,
        row.created_ms as i64,
        row.expires_ms as i64,
        row.changed_ms as i64,
    ])
    .map(drop)
}

/// The newest event of a call, if the outbox has any: a `CallEvent`.
///
/// # Errors
/// What SQLite says.
pub fn last_of_call(db: &Connection, call_id: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    db.prepare_cached("SELECT body FROM outbox WHERE call_id = ? ORDER BY seq DESC LIMIT 1")?
        .query_row([call_id], |row| row.get(0))
        .optional()
}

/// The hook took it; or, without a state that ends it, it is tried again at
/// `next_attempt_ms`. Nothing where it is over already: an operator has dropped
/// it meanwhile.
///
/// # Errors
/// What SQLite says.
pub fn attempted(
    db: &Connection,
    seq: i64,
    state: State,
    next_attempt_ms: u64,
    outcome: &Outcome,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE outbox SET state = ?, next_attempt_ms = ?, attempts = ?, last_error = ?,
         last_status = ?, last_response = ?, changed_ms = ?
         WHERE seq = ? AND state = 'pending'",
    )?
    .execute(params![
        state.name(),
        next_attempt_ms as i64,
        outcome.attempts,
        outcome.error,
        outcome.status,
        outcome.response,
        outcome.at_ms as i64,
        seq,
    ])
    .map(drop)
}

/// It is given up if it still waits, and what is known of its last attempt
/// stays; whether it did.
///
/// # Errors
/// What SQLite says.
pub fn give_up(db: &Connection, seq: i64, reason: &str, now_ms: u64) -> rusqlite::Result<bool> {
    let changed = db
        .prepare_cached(
            "UPDATE outbox SET state = 'dead', last_error = ?, changed_ms = ?
             WHERE seq = ? AND state = 'pending'",
        )?
        .execute(params![reason, now_ms as i64, seq])?;
    Ok(changed > 0)
}

/// Gives up everything of an app that waits; how many those were.
///
/// # Errors
/// What SQLite says.
pub fn give_up_app(
    db: &Connection,
    app_id: &str,
    reason: &str,
    now_ms: u64,
) -> rusqlite::Result<usize> {
    db.execute(
        "UPDATE outbox SET state = 'dead', last_error = ?, changed_ms = ?
         WHERE state = 'pending' AND app_id = ?",
        params![reason, now_ms as i64, app_id],
    )
}

/// What waits for a target and happened after `seq`, the oldest first.
///
/// # Errors
/// What SQLite says.
pub fn pending_after(
    db: &Connection,
    app_id: &str,
    target: &str,
    seq: i64,
    limit: usize,
) -> rusqlite::Result<Vec<OutboxRow>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM outbox
         WHERE state = 'pending' AND app_id = ? AND target = ? AND seq > ?
         ORDER BY seq LIMIT ?"
    ))?
    .query_map(params![app_id, target, seq, limit as i64], read)?
    .collect()
}

/// The oldest event of a call that waits for this target.
///
/// # Errors
/// What SQLite says.
pub fn head_of_call(
    db: &Connection,
    call_id: &str,
    target: &str,
) -> rusqlite::Result<Option<OutboxRow>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM outbox
         WHERE call_id = ? AND target = ? AND state = 'pending' ORDER BY seq LIMIT 1"
    ))?
    .query_row([call_id, target], read)
    .optional()
}

/// Apps and targets for which something waits, and how much.
///
/// # Errors
/// What SQLite says.
pub fn waiting(db: &Connection) -> rusqlite::Result<Vec<(String, String, u64)>> {
    db.prepare_cached(
        "SELECT app_id, target, count(*) FROM outbox WHERE state = 'pending'
         GROUP BY app_id, target",
    )?
    .query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)? as u64))
    })?
    .collect()
}

/// The highest `seq` there is; 0 if there is none.
///
/// # Errors
/// What SQLite says.
pub fn newest(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("SELECT coalesce(max(seq), 0) FROM outbox", [], |row| {
        row.get(0)
    })
}

/// How many were given up.
///
/// # Errors
/// What SQLite says.
pub fn dead(db: &Connection) -> rusqlite::Result<u64> {
    let count: i64 = db.query_row(
        "SELECT count(*) FROM outbox WHERE state = 'dead'",
        [],
        |row| row.get(0),
    )?;
    Ok(count as u64)
}

/// The rows that the filter lets through, the newest first.
///
/// # Errors
/// What SQLite says.
pub fn list(db: &Connection, filter: &Filter, limit: usize) -> rusqlite::Result<Vec<OutboxRow>> {
    let mut conditions = vec!["1".to_string()];
    let mut values: Vec<Value> = Vec::new();
    if let Some(state) = filter.state {
        // Written out, so that SQLite sees which partial index fits.
        conditions.push(format!("state = '{}'", state.name()));
    }
    for (column, value) in [("app_id", &filter.app_id), ("call_id", &filter.call_id)] {
        if let Some(value) = value {
            conditions.push(format!("{column} = ?"));
            values.push(value.clone().into());
        }
    }
    if let Some(before) = filter.before {
        conditions.push("seq < ?".to_string());
        values.push(before.into());
    }
    values.push((limit as i64).into());
    let conditions = conditions.join(" AND ");
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM outbox WHERE {conditions} ORDER BY seq DESC LIMIT ?"
    ))?
    .query_map(params_from_iter(values), read)?
    .collect()
}

/// The row of this id.
///
/// # Errors
/// What SQLite says.
pub fn get(db: &Connection, id: &str) -> rusqlite::Result<Option<OutboxRow>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM outbox WHERE id = ?"))?
        .query_row([id], read)
        .optional()
}

/// Makes an event that is over wait again, as the one of `seq`; false if there
/// is none, or it waits already.
///
/// # Errors
/// What SQLite says.
pub fn revive(db: &Connection, id: &str, seq: i64, expires_ms: u64) -> rusqlite::Result<bool> {
    let changed = db.execute(
        "UPDATE outbox SET state = 'pending', seq = ?, expires_ms = ?, next_attempt_ms = 0
         WHERE id = ? AND state <> 'pending'",
        params![seq, expires_ms as i64, id],
    )?;
    Ok(changed > 0)
}

/// Forgets an event that is over; false if there is none.
///
/// # Errors
/// What SQLite says.
pub fn delete(db: &Connection, id: &str) -> rusqlite::Result<bool> {
    let removed = db.execute(
        "DELETE FROM outbox WHERE id = ? AND state <> 'pending'",
        [id],
    )?;
    Ok(removed > 0)
}

/// Forgets what has been in this state since before `until_ms`, at most
/// `limit` rows, and beyond `keep` rows the oldest; how many those were.
///
/// # Errors
/// What SQLite says.
pub fn forget(
    db: &Connection,
    state: State,
    until_ms: u64,
    keep: usize,
    limit: usize,
) -> rusqlite::Result<usize> {
    let state = state.name();
    let old = db
        .prepare_cached(&format!(
            "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox
             WHERE state = '{state}' AND changed_ms < ? ORDER BY changed_ms LIMIT ?)"
        ))?
        .execute(params![until_ms as i64, limit as i64])?;
    let many = db
        .prepare_cached(&format!(
            "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE state = '{state}'
             ORDER BY changed_ms LIMIT min(?, max(0,
             (SELECT count(*) FROM outbox WHERE state = '{state}') - ?)))"
        ))?
        .execute(params![limit as i64, keep as i64])?;
    Ok(old + many)
}

fn read(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    let milliseconds = |column| row.get::<_, i64>(column).map(|ms| ms as u64);
    let state: String = row.get(13)?;
    Ok(OutboxRow {
        seq: row.get(0)?,
        id: row.get(1)?,
        call_id: row.get(2)?,
        app_id: row.get(3)?,
        target: row.get(4)?,
        url: row.get(5)?,
        content_type: row.get(6)?,
        trusted: row.get(7)?,
        body: row.get(8)?,
        created_ms: milliseconds(9)?,
        expires_ms: milliseconds(10)?,
        attempts: row.get(11)?,
        next_attempt_ms: milliseconds(12)?,
        // The table's CHECK lets no other word in.
        state: State::from_name(&state).unwrap_or(State::Dead),
        changed_ms: milliseconds(14)?,
        last_error: row.get(15)?,
        last_status: row.get(16)?,
        last_response: row.get(17)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("schema/02_outbox.sql"))
            .unwrap();
        db
    }

    fn row(seq: i64, app: &str, target: &str) -> OutboxRow {
        OutboxRow {
            seq,
            id: format!("id-{seq}"),
            call_id: format!("call-{}", seq % 2),
            app_id: app.to_string(),
            target: target.to_string(),
            url: format!("{target}/hook"),
            content_type: "Json".to_string(),
            trusted: false,
            body: vec![seq as u8],
            created_ms: 1_000 + seq as u64,
            expires_ms: 9_000,
            attempts: 0,
            next_attempt_ms: 0,
            state: State::Pending,
            changed_ms: 1_000 + seq as u64,
            last_error: None,
            last_status: None,
            last_response: None,
        }
    }

    fn seqs(rows: &[OutboxRow]) -> Vec<i64> {
        rows.iter().map(|row| row.seq).collect()
    }

    #[test]
    fn what_waits_for_a_target_is_read_in_order_and_as_it_was_written() {
        let db = database();
        for (seq, app, target) in [(1, "a", "x"), (2, "a", "y"), (3, "b", "x"), (4, "a", "x")] {
            insert(&db, &row(seq, app, target)).unwrap();
        }
        let found = pending_after(&db, "a", "x", 0, 10).unwrap();
        assert_eq!(found, [row(1, "a", "x"), row(4, "a", "x")]);
        assert_eq!(seqs(&pending_after(&db, "a", "x", 1, 10).unwrap()), [4]);
        assert_eq!(seqs(&pending_after(&db, "a", "x", 0, 1).unwrap()), [1]);
        attempted(&db, 4, State::Delivered, 0, &Outcome::default()).unwrap();
        let left = [("a", "x", 1), ("a", "y", 1), ("b", "x", 1)];
        let left = left.map(|(app, target, n)| (app.to_string(), target.to_string(), n));
        assert_eq!(waiting(&db).unwrap(), left);
        assert_eq!(newest(&db).unwrap(), 4);
    }

    #[test]
    fn an_attempt_leaves_what_is_known_of_it_and_a_retry_begins_anew() {
        let db = database();
        insert(&db, &row(1, "a", "x")).unwrap();
        let outcome = Outcome {
            attempts: 3,
            error: Some("answered 503".to_string()),
            status: Some(503),
            response: Some("closed".to_string()),
            at_ms: 5_000,
        };
        attempted(&db, 1, State::Pending, 6_000, &outcome).unwrap();
        assert!(!revive(&db, "id-1", 7, 0).unwrap(), "it waits already");
        assert!(!delete(&db, "id-1").unwrap(), "it waits");
        give_up(&db, 1, "too late", 7_000).unwrap();
        let dead = get(&db, "id-1").unwrap().unwrap();
        assert_eq!((dead.attempts, dead.last_status), (3, Some(503)));
        assert_eq!((dead.state, dead.changed_ms), (State::Dead, 7_000));
        assert_eq!(dead.last_error.as_deref(), Some("too late"));
        assert!(revive(&db, "id-1", 7, 20_000).unwrap());
        let waits = pending_after(&db, "a", "x", 1, 10).unwrap().remove(0);
        assert_eq!(
            (waits.seq, waits.expires_ms, waits.next_attempt_ms),
            (7, 20_000, 0)
        );
        assert_eq!(give_up_app(&db, "a", "gone", 8_000).unwrap(), 1);
        assert!(delete(&db, "id-1").unwrap());
        assert_eq!(get(&db, "id-1").unwrap(), None);
    }

    #[test]
    fn the_old_and_the_too_many_are_forgotten_and_what_waits_never() {
        let db = database();
        for seq in 1..=9 {
            insert(&db, &row(seq, "a", "x")).unwrap();
            let outcome = Outcome {
                at_ms: seq as u64 * 1_000,
                ..Outcome::default()
            };
            let state = match seq {
                1 => State::Pending,
                2 => State::Dead,
                _ => State::Delivered,
            };
            attempted(&db, seq, state, 0, &outcome).unwrap();
        }
        assert_eq!(forget(&db, State::Delivered, 5_000, 100, 1).unwrap(), 1);
        assert_eq!(forget(&db, State::Delivered, 5_000, 3, 100).unwrap(), 3);
        let all = list(&db, &Filter::default(), 100).unwrap();
        assert_eq!(seqs(&all), [9, 8, 7, 2, 1]);
        assert_eq!(dead(&db).unwrap(), 1);
        let wanted = Filter {
            state: Some(State::Delivered),
            app_id: Some("a".to_string()),
            call_id: Some("call-1".to_string()),
            before: Some(9),
        };
        assert_eq!(seqs(&list(&db, &wanted, 100).unwrap()), [7]);
    }
}
