use rusqlite::StatementStatus;

use super::super::tests::{connection, ended, many};
use super::super::{begin, close};
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
    many(&connection, 0..10);
    for mut filter in filters() {
        for before in [None, Some("500-00".parse().unwrap())] {
            filter.before = before;
            for line in explain(&connection, &filter) {
                let index = line.contains("USING INDEX records_by_");
                let ordered = index || line.contains("records USING INTEGER PRIMARY KEY");
                let ordered = ordered || line == "SCAN records";
                assert!(
                    ordered && !line.contains("TEMP B-TREE"),
                    "{filter:?}: {line}"
                );
                // A page in the middle is found, not counted up to.
                let bounded = line.contains("rowid<?");
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
    for rows in [0..1_000, 1_000..10_000] {
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
fn pages_of_live_calls_hold_each_once() {
    let connection = connection();
    for n in 0..9 {
        let call = Record::open(ended(n, "acme").key, 5);
        begin(&connection, RowId::new(5, n as u32), &call, None).unwrap();
    }
    let mut filter = Filter {
        result: Some(CallResult::Open),
        limit: 3,
        ..Filter::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = search(&connection, &filter).unwrap();
        seen.extend(page.records.into_iter().map(|record| record.key.call_id));
        match page.next {
            Some(next) => filter.before = Some(next),
            None => break,
        }
    }
    let all: Vec<String> = (0..9).rev().map(|n| ended(n, "").key.call_id).collect();
    assert_eq!(seen, all);
}

#[test]
fn pages_hold_every_call_once_while_new_ones_come() {
    let connection = connection();
    many(&connection, 0..100);
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
            close(&connection, &ended(newer, "acme"), 0, None).unwrap();
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
            .execute("DELETE FROM records WHERE id >= 1000000 << 20", [])
            .unwrap();
    }
}

#[test]
fn a_search_finds_what_its_filter_names_and_no_open_call_unless_asked() {
    let connection = connection();
    many(&connection, 0..20);
    let mut odd = ended(77, "root");
    odd.from = "+49 30 123".to_owned();
    odd.result = CallResult::Busy;
    odd.sip_code = Some(486);
    odd.key.incoming = false;
    close(&connection, &odd, 0, None).unwrap();
    let open = Record {
        from: "+49 30 124".to_owned(),
        to: "200".to_owned(),
        ..Record::open(ended(78, "root").key, 78)
    };
    begin(&connection, RowId::new(78, 5), &open, None).unwrap();
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
    assert_eq!(found(lives.clone()), [&*open.key.call_id]);
    let number = |number: &str| Filter {
        number: Some(number.to_owned()),
        ..lives.clone()
    };
    assert_eq!(found(number("+49 30-124")), [&*open.key.call_id]);
    for filter in [
        number("4930123"),
        Filter {
            until_ms: Some(78),
            ..lives.clone()
        },
        Filter {
            since_ms: Some(79),
            ..lives.clone()
        },
        Filter {
            sip_code: Some(200),
            ..lives.clone()
        },
        Filter {
            incoming: Some(false),
            ..lives.clone()
        },
        Filter {
            app: Some("acme".to_owned()),
            ..lives.clone()
        },
        Filter {
            before: Some(RowId::new(78, 5)),
            ..lives
        },
    ] {
        assert!(found(filter.clone()).is_empty(), "{filter:?}");
    }
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
        "7-100000",
        "7-+1",
        "99999999999999999999-00",
        "18446744073709551615-0",
    ] {
        assert_eq!(text.parse::<RowId>(), Err(CursorError), "{text:?}");
    }
}
