//! Searches: the newest calls first, a page at a time. Whatever is asked for,
//! a page reads about as many rows as it holds: each search walks an index
//! that begins with one of the conditions and ends with the order of the
//! pages, and several such walks are merged where one condition is an "or".

//!
//! The calls that live are few beside those, and have no index: whoever asks for
//! them has them looked through.

use std::fmt::Write;
use std::str::FromStr;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use crate::book::comparable;

use super::live::{self, live_columns};
use super::{CallResult, Record, RowId, TIE_BITS, columns, direction, read};

/// Which calls are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of this app only; `None`: of all.
    pub app: Option<String>,
    /// From this number, compared without `+` and separators.
    pub from: Option<String>,
    /// To this number.
    pub to: Option<String>,
    /// From or to this number.
    pub number: Option<String>,
    /// Only incoming ones (true), only outgoing ones (false).
    pub incoming: Option<bool>,
    /// That went so. `None`: all that have ended.
    pub result: Option<CallResult>,
    /// Whose last SIP status was this.
    pub sip_code: Option<u16>,
    /// That began at this time or later, milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// That began before this time.
    pub until_ms: Option<u64>,
    /// Older than the last one of the page before.
    pub before: Option<RowId>,
    /// At most this many.
    pub limit: usize,
}

/// A text is not a [`RowId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no place between two pages; write the `next` of the page before")]
pub struct CursorError;

/// As a place between two pages.
impl std::fmt::Display for RowId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:05x}", self.created_ms(), self.tie())
    }
}

impl FromStr for RowId {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (created_ms, tie) = text.split_once('-').ok_or(CursorError)?;
        let created_ms: u64 = created_ms.parse().map_err(|_| CursorError)?;
        if tie.starts_with('+') {
            return Err(CursorError);
        }
        let tie = u32::from_str_radix(tie, 16).map_err(|_| CursorError)?;
        let id = RowId::new(created_ms, tie);
        if id.created_ms() != created_ms || tie >> TIE_BITS != 0 {
            return Err(CursorError);
        }
        Ok(id)
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The newest first.
    pub records: Vec<Record>,
    /// Where the next page begins, if there is one.
    pub next: Option<RowId>,
}

/// The record of this call; `live` is its row among the calls that live, if it
/// had one at last notice.
///
/// # Errors
/// What SQLite says.
pub fn one(
    connection: &Connection,
    call_id: &str,
    live: Option<RowId>,
) -> rusqlite::Result<Option<Record>> {
    if let Some(id) = live {
        let row = concat!("SELECT ", live_columns!(), " FROM live_calls WHERE id = ?");
        let found = connection
            .prepare_cached(row)?
            .query_row([id.0], live::read)
            .optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    connection
        .prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM records WHERE call_id = ?"
        ))?
        .query_row([call_id], read)
        .optional()
}

/// The calls that the filter lets through. Calls that began at the same
/// instant are ordered by their rows, so that paging meets each once.
///
/// # Errors
/// What SQLite says.
pub fn search(connection: &Connection, filter: &Filter) -> rusqlite::Result<Page> {
    let mut found = Vec::new();
    if filter.result == Some(CallResult::Open) {
        found = search_live(connection, filter)?;
    } else {
        let mut walks = 0;
        for (app, walk) in walks_of(connection, filter)? {
            let query = Query::new(filter, app.as_deref(), walk);
            let mut statement = connection.prepare_cached(&query.sql)?;
            let rows = statement.query_map(params_from_iter(query.values), |row| {
                Ok((RowId(row.get(0)?), read(row)?))
            })?;
            for row in rows {
                found.push(row?);
            }
            walks += 1;
        }
        if walks > 1 {
            found.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
            found.dedup_by_key(|(id, _)| *id);
        }
    }
    let more = found.len() > filter.limit;
    found.truncate(filter.limit);
    let next = found.last().filter(|_| more).map(|(id, _)| *id);
    let records = found.into_iter().map(|(_, record)| record).collect();
    Ok(Page { records, next })
}

/// The same of the calls that live, and one more than the page holds.
fn search_live(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<(RowId, Record)>> {
    let of = |number: &Option<String>| number.as_deref().map(comparable);
    let (from, to, either) = (of(&filter.from), of(&filter.to), of(&filter.number));
    let fits = |record: &Record| {
        let is = |wanted: &Option<String>, of: &[&str]| {
            let same = |number: &&str| Some(comparable(number)) == *wanted;
            wanted.is_none() || of.iter().any(same)
        };
        filter.app.as_ref().is_none_or(|app| *app == record.key.app_id)
            && filter.incoming.is_none_or(|incoming| incoming == record.key.incoming)
            // It has no final status yet.
            && filter.sip_code.is_none()
            && is(&from, &[&record.from])
            && is(&to, &[&record.to])
            && is(&either, &[&record.from, &record.to])
    };
    let all = concat!(
        "SELECT ",
        live_columns!(),
        " FROM live_calls WHERE id < ? AND id >= ? ORDER BY id DESC"
    );
    let mut statement = connection.prepare_cached(all)?;
    let (before, since) = (upper_bound(filter), lower_bound(filter));
    let mut rows = statement.query(params![before.map_or(i64::MAX, |id| id.0), since.0])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()?
        && found.len() <= filter.limit
    {
        let record = live::read(row)?;
        if fits(&record) {
            found.push((RowId(row.get(0)?), record));
        }
    }
    Ok(found)
}

/// Rows before this one: of two bounds the closer.
fn upper_bound(filter: &Filter) -> Option<RowId> {
    let until = filter.until_ms.map(|until_ms| RowId::new(until_ms, 0));
    [until, filter.before].into_iter().flatten().min()
}

/// Rows from this one on.
fn lower_bound(filter: &Filter) -> RowId {
    RowId::new(filter.since_ms.unwrap_or(0), 0)
}

/// The condition that an index begins with.
#[derive(Debug, Clone, Copy)]
enum Walk<'a> {
    From(&'a str),
    To(&'a str),
    Code,
    Result,
    Direction(bool),
    Time,
}

fn walks_of<'a>(
    connection: &Connection,
    filter: &'a Filter,
) -> rusqlite::Result<Vec<(Option<String>, Walk<'a>)>> {
    let walks = match filter {
        Filter {
            from: Some(from), ..
        } => vec![Walk::From(from)],
        Filter { to: Some(to), .. } => vec![Walk::To(to)],
        Filter {
            number: Some(number),
            ..
        } => vec![Walk::From(number), Walk::To(number)],
        Filter {
            sip_code: Some(_), ..
        } => vec![Walk::Code],
        Filter {
            result: Some(_), ..
        } => vec![Walk::Result],
        Filter {
            incoming: Some(incoming),
            ..
        } => vec![Walk::Direction(*incoming)],
        Filter { app: Some(_), .. } => vec![Walk::Direction(true), Walk::Direction(false)],
        Filter { .. } => return Ok(vec![(None, Walk::Time)]),
    };
    let apps = match &filter.app {
        Some(app) => vec![app.clone()],
        None => apps(connection)?,
    };
    let each = |app: String| {
        walks
            .clone()
            .into_iter()
            .map(move |walk| (Some(app.clone()), walk))
    };
    Ok(apps.into_iter().flat_map(each).collect())
}

/// The apps that have records, found by hopping from one to the next.
fn apps(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(
            "WITH RECURSIVE apps (app_id) AS (
                 SELECT min(app_id) FROM records
                 UNION ALL
                 SELECT (SELECT min(app_id) FROM records WHERE app_id > apps.app_id)
                 FROM apps WHERE app_id IS NOT NULL
             )
             SELECT app_id FROM apps WHERE app_id IS NOT NULL",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}

struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    fn new(filter: &Filter, app: Option<&str>, walk: Walk<'_>) -> Query {
        let index = match walk {
            Walk::From(_) => "INDEXED BY records_by_from",
            Walk::To(_) => "INDEXED BY records_by_to",
            Walk::Code => "INDEXED BY records_by_code",
            Walk::Result => "INDEXED BY records_by_result",
            Walk::Direction(_) => "INDEXED BY records_by_direction",
            // The table is in the order of time itself.
            Walk::Time => "NOT INDEXED",
        };
        let columns = columns!();
        let mut query = Query {
            sql: format!("SELECT {columns} FROM records {index} WHERE true"),
            values: Vec::new(),
        };
        if let Some(app) = app {
            query.and("app_id = ?", [app.to_owned().into()]);
        }
        match walk {
            Walk::From(number) => query.and("from_key = ?", [comparable(number).into()]),
            Walk::To(number) => query.and("to_key = ?", [comparable(number).into()]),
            Walk::Direction(incoming) => query.and_direction(incoming),
            Walk::Code | Walk::Result | Walk::Time => {}
        }
        query.and_filter(filter, walk);
        if let Some(before) = upper_bound(filter) {
            query.and("id < ?", [before.0.into()]);
        }
        if filter.since_ms.is_some() {
            query.and("id >= ?", [lower_bound(filter).0.into()]);
        }
        query.sql.push_str(" ORDER BY id DESC LIMIT ?");
        // One more than the page holds tells whether there is another page.
        query
            .values
            .push((filter.limit as i64).saturating_add(1).into());
        query
    }

    fn and_filter(&mut self, filter: &Filter, walk: Walk<'_>) {
        if let (Some(to), Walk::From(_)) = (&filter.to, walk) {
            self.and("to_key = ?", [comparable(to).into()]);
        }
        if let (Some(number), Some(_)) =
            (&filter.number, filter.from.as_ref().or(filter.to.as_ref()))
        {
            let number = comparable(number);
            let values = [number.clone().into(), number.into()];
            self.and("(from_key = ? OR to_key = ?)", values);
        }
        if let (Some(incoming), false) = (filter.incoming, matches!(walk, Walk::Direction(_))) {
            self.and_direction(incoming);
        }
        if let Some(result) = filter.result {
            self.and("result = ?", [result.name().to_owned().into()]);
        }
        if let Some(code) = filter.sip_code {
            self.and("sip_code = ?", [i64::from(code).into()]);
        }
    }

    fn and_direction(&mut self, incoming: bool) {
        self.and("direction = ?", [direction(incoming).to_owned().into()]);
    }

    fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        // Writing to a String cannot fail.
        let _ = write!(self.sql, " AND {condition}");
        self.values.extend(values);
    }
}

#[cfg(test)]
mod tests;
