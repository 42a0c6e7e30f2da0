//! Searches: the newest calls first, a page at a time. Whatever is asked for,
//! a page reads about as many rows as it holds: each search walks an index
//! that begins with one of the conditions and ends with the order of the
//! pages, and several such walks are merged where one condition is an "or".

use std::fmt::Write;
use std::str::FromStr;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::book::comparable;

use super::{COLUMNS, CallResult, Record, direction, read};

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
    pub before: Option<Cursor>,
    /// At most this many.
    pub limit: usize,
}

/// A place between two pages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    created_ms: u64,
    call_id: String,
}

/// A text is not a [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no place between two pages; write the `next` of the page before")]
pub struct CursorError;

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.created_ms, self.call_id)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (created_ms, call_id) = text.split_once('-').ok_or(CursorError)?;
        let created_ms: u64 = created_ms.parse().map_err(|_| CursorError)?;
        if i64::try_from(created_ms).is_err() || !call_id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(CursorError);
        }
        Ok(Cursor {
            created_ms,
            call_id: call_id.to_owned(),
        })
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The newest first.
    pub records: Vec<Record>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// The record of this call.
///
/// # Errors
/// What SQLite says.
pub fn one(connection: &Connection, call_id: &str) -> rusqlite::Result<Option<Record>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE call_id = ?"))?
        .query_row([call_id], read)
        .optional()
}

/// The calls that the filter lets through. Calls that began at the same
/// instant are ordered by their ids, so that paging meets each once.
///
/// # Errors
/// What SQLite says.
pub fn search(connection: &Connection, filter: &Filter) -> rusqlite::Result<Page> {
    let mut records = Vec::new();
    let mut walks = 0;
    for (app, walk) in walks_of(connection, filter)? {
        let query = Query::new(filter, app.as_deref(), walk);
        let mut statement = connection.prepare_cached(&query.sql)?;
        for record in statement.query_map(params_from_iter(query.values), read)? {
            records.push(record?);
        }
        walks += 1;
    }
    if walks > 1 {
        records.sort_by(|a, b| place(b).cmp(&place(a)));
        records.dedup_by(|a, b| a.key.call_id == b.key.call_id);
    }
    let more = records.len() > filter.limit;
    records.truncate(filter.limit);
    let next = records.last().filter(|_| more).map(|last| Cursor {
        created_ms: last.created_ms,
        call_id: last.key.call_id.clone(),
    });
    Ok(Page { records, next })
}

fn place(record: &Record) -> (u64, &str) {
    (record.created_ms, &record.key.call_id)
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
            Walk::From(_) => "records_by_from",
            Walk::To(_) => "records_by_to",
            Walk::Code => "records_by_code",
            Walk::Result => "records_by_result",
            Walk::Direction(_) => "records_by_direction",
            Walk::Time => "records_by_time",
        };
        let mut query = Query {
            sql: format!("SELECT {COLUMNS} FROM records INDEXED BY {index} WHERE true"),
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
        // Of two bounds the database walks from one only: give it the closer.
        let until = filter.until_ms.map(|until_ms| Cursor {
            created_ms: until_ms,
            call_id: String::new(),
        });
        let bounds = [until, filter.before.clone()];
        if let Some(Cursor {
            created_ms,
            call_id,
        }) = bounds.into_iter().flatten().min()
        {
            let values = [(created_ms as i64).into(), call_id.into()];
            query.and("(created_ms, call_id) < (?, ?)", values);
        }
        if let Some(since_ms) = filter.since_ms {
            query.and("created_ms >= ?", [(since_ms as i64).into()]);
        }
        query
            .sql
            .push_str(" ORDER BY created_ms DESC, call_id DESC LIMIT ?");
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
        match filter.result {
            Some(result) => self.and("result = ?", [result.name().to_owned().into()]),
            None => self.and("result <> 'open'", []),
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
mod tests {
    use rusqlite::StatementStatus;

    use super::super::tests::{connection, ended, many};
    use super::*;

    fn filters() -> Vec<Filter> {
        let all = Filter {
            limit: 50,
            ..Filter::default()
        };
        let acme = Filter {
            app: Some("acme".to_owned()),
            ..all.clone()
        };
        let mut filters = Vec::new();
        for base in [all, acme] {
            filters.extend([
                base.clone(),
                Filter {
                    from: Some("100".to_owned()),
                    ..base.clone()
                },
                Filter {
                    to: Some("200".to_owned()),
                    incoming: Some(true),
                    ..base.clone()
                },
                Filter {
                    number: Some("+20-0".to_owned()),
                    ..base.clone()
                },
                Filter {
                    incoming: Some(false),
                    ..base.clone()
                },
                Filter {
                    result: Some(CallResult::Answered),
                    ..base.clone()
                },
                Filter {
                    sip_code: Some(200),
                    since_ms: Some(1),
                    until_ms: Some(1_000_000),
                    ..base.clone()
                },
            ]);
        }
        filters
    }

    fn explain(connection: &Connection, filter: &Filter) -> Vec<String> {
        let mut lines = Vec::new();
        for (app, walk) in walks_of(connection, filter).unwrap() {
            let query = Query::new(filter, app.as_deref(), walk);
            let sql = format!("EXPLAIN QUERY PLAN {}", query.sql);
            let mut statement = connection.prepare(&sql).unwrap();
            let told = statement
                .query_map(params_from_iter(query.values), |row| {
                    row.get::<_, String>(3)
                })
                .unwrap();
            lines.extend(told.map(Result::unwrap));
        }
        lines
    }

    #[test]
    fn every_search_walks_an_index_in_the_order_of_its_pages() {
        let connection = connection();
        many(&connection, 10);
        for mut filter in filters() {
            for before in [None, Some("500-00".parse().unwrap())] {
                filter.before = before;
                for line in explain(&connection, &filter) {
                    let index = line.contains("USING INDEX records_by_");
                    assert!(index && !line.contains("TEMP B-TREE"), "{filter:?}: {line}");
                    // A page in the middle is found, not counted up to.
                    let bounded = line.contains("(created_ms,call_id)<(?,?)");
                    assert!(bounded || filter.before.is_none(), "{filter:?}: {line}");
                }
            }
        }
        let filter = Filter {
            app: Some("acme".to_owned()),
            from: Some("100".to_owned()),
            limit: 1,
            ..Filter::default()
        };
        assert_eq!(
            explain(&connection, &filter),
            ["SEARCH records USING INDEX records_by_from (app_id=? AND from_key=?)"]
        );
    }

    #[test]
    fn a_page_costs_the_same_however_many_rows_there_are() {
        let connection = connection();
        let mut costs = Vec::new();
        for rows in [1_000, 10_000] {
            many(&connection, rows);
            let mut steps = 0;
            for filter in filters() {
                for (app, walk) in walks_of(&connection, &filter).unwrap() {
                    let query = Query::new(&filter, app.as_deref(), walk);
                    let mut statement = connection.prepare(&query.sql).unwrap();
                    let found = statement
                        .query_map(params_from_iter(query.values), read)
                        .unwrap()
                        .count();
                    assert!(found <= filter.limit + 1, "{filter:?}");
                    steps += statement.get_status(StatementStatus::VmStep);
                }
            }
            costs.push(steps);
        }
        assert!(costs[1] < costs[0] * 11 / 10, "{costs:?}");
    }

    #[test]
    fn pages_hold_every_call_once_while_new_ones_come() {
        let connection = connection();
        many(&connection, 100);
        for number in [None, Some("200".to_owned())] {
            let mut filter = Filter {
                number,
                limit: 7,
                ..Filter::default()
            };
            let mut seen = Vec::new();
            let mut newer = 1_000_000;
            loop {
                let page = search(&connection, &filter).unwrap();
                seen.extend(page.records.into_iter().map(|record| record.key.call_id));
                super::super::close(&connection, &ended(newer, "acme")).unwrap();
                newer += 1;
                match page.next {
                    Some(next) => filter.before = Some(next.to_string().parse().unwrap()),
                    None => break,
                }
            }
            let whole = Filter {
                limit: 1000,
                until_ms: Some(1_000_000),
                before: None,
                ..filter
            };
            let whole = search(&connection, &whole).unwrap();
            let all: Vec<String> = whole
                .records
                .into_iter()
                .map(|record| record.key.call_id)
                .collect();
            assert_eq!(seen, all);
            assert_eq!(seen.len(), 100);
            connection
                .execute("DELETE FROM records WHERE created_ms >= 1000000", [])
                .unwrap();
        }
    }

    #[test]
    fn a_search_finds_what_its_filter_names_and_no_open_call_unless_asked() {
        let connection = connection();
        many(&connection, 20);
        let mut odd = ended(77, "root");
        odd.from = "+49 30 123".to_owned();
        odd.result = CallResult::Busy;
        odd.sip_code = Some(486);
        odd.key.incoming = false;
        super::super::close(&connection, &odd).unwrap();
        let mut open = ended(78, "root");
        open.result = CallResult::Open;
        super::super::close(&connection, &open).unwrap();
        let base = Filter {
            limit: 100,
            ..Filter::default()
        };
        let found = |filter: Filter| {
            let page = search(&connection, &filter).unwrap();
            page.records
                .into_iter()
                .map(|record| record.key.call_id)
                .collect::<Vec<_>>()
        };
        let only_odd = [odd.key.call_id.clone()];
        for filter in [
            Filter {
                from: Some("4930123".to_owned()),
                ..base.clone()
            },
            Filter {
                number: Some("4930-123".to_owned()),
                incoming: Some(false),
                ..base.clone()
            },
            Filter {
                result: Some(CallResult::Busy),
                ..base.clone()
            },
            Filter {
                sip_code: Some(486),
                ..base.clone()
            },
            Filter {
                app: Some("root".to_owned()),
                incoming: Some(false),
                since_ms: Some(20),
                ..base.clone()
            },
            Filter {
                since_ms: Some(77),
                until_ms: Some(79),
                ..base.clone()
            },
            Filter {
                from: Some("4930123".to_owned()),
                to: Some("200".to_owned()),
                number: Some("200".to_owned()),
                ..base.clone()
            },
        ] {
            assert_eq!(found(filter.clone()), only_odd, "{filter:?}");
        }
        let lives = Filter {
            result: Some(CallResult::Open),
            ..base.clone()
        };
        assert_eq!(found(lives), [open.key.call_id]);
        let nobody = Filter {
            app: Some("other".to_owned()),
            ..base
        };
        assert!(found(nobody).is_empty());
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            "7",
            "x-00",
            "7-0g",
            "99999999999999999999-00",
            "18446744073709551615-0",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
        }
    }
}
