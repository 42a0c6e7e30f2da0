//! Recordings are found again, by an index in the order of the pages.

use rusqlite::Connection;

use super::*;

fn database() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(include_str!("../schema/04_recordings.sql"))
        .unwrap();
    db
}

fn recording(id: u128, app: &str, room: &str, started_ms: u64) -> Recording {
    Recording {
        id: RecordingId(id),
        app_id: app.to_owned(),
        call: Some(CallId {
            shard: crate::ids::ShardId(1),
            random: 7,
        }),
        room: room.to_owned(),
        peer: "alice".to_owned(),
        format: FileFormat::Wav,
        channels: Channels::Stereo,
        state: State::Recording,
        started_ms,
        ended_ms: None,
        duration_ms: 0,
        size: 0,
        sha256: None,
        gaps: Vec::new(),
        pauses: Vec::new(),
        recovered: false,
        reason: None,
        local: true,
        incoming: None,
        hook: None,
        upload: Upload::None,
        upload_attempts: 0,
        upload_error: None,
        object: None,
    }
}

#[test]
fn a_recording_is_read_as_it_was_written() {
    let db = database();
    let mut row = recording(1, "acme", "lobby", 5);
    insert(&db, &row).unwrap();
    assert_eq!(one(&db, row.id).unwrap().unwrap(), row);
    let hook = Hook {
        url: "https://example.com/hook".into(),
        content_type: HookContentType::default(),
        trusted: true,
    };
    set_route(&db, row.id, true, Some(&hook)).unwrap();
    set_pending(&db, row.id, "a/b.wav").unwrap();
    let span = Span {
        at_ms: 20,
        duration_ms: 40,
    };
    set_spans(&db, row.id, &[span], &[]).unwrap();
    row.incoming = Some(true);
    row.hook = Some(hook);
    row.upload = Upload::Pending;
    row.object = Some("a/b.wav".to_owned());
    row.gaps = vec![span];
    assert_eq!(one(&db, row.id).unwrap().unwrap(), row);
    row.state = State::Failed;
    row.reason = Some("disk_full".to_owned());
    row.ended_ms = Some(9);
    row.size = 44;
    row.duration_ms = 4;
    row.sha256 = Some("ab".to_owned());
    row.pauses = vec![span, span];
    close(&db, &row).unwrap();
    assert_eq!(one(&db, row.id).unwrap().unwrap(), row);
    assert_eq!(untold(&db, 9).unwrap(), [row.clone()]);
    told(&db, row.id).unwrap();
    assert!(untold(&db, 9).unwrap().is_empty());
    // Too old, but it waits to be uploaded.
    assert!(expired(&db, 10, 9).unwrap().is_empty());
    upload_failed(&db, row.id, "no route", 50).unwrap();
    assert!(uploads_due(&db, 49, 9).unwrap().is_empty());
    assert_eq!(uploads_due(&db, 50, 9).unwrap()[0].upload_attempts, 1);
    confirmed(&db, row.id).unwrap();
    local_gone(&db, row.id).unwrap();
    let found = expired(&db, 10, 9).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].upload, found[0].local), (Upload::Done, false));
    assert!(delete(&db, row.id).unwrap());
    assert!(!delete(&db, row.id).unwrap());
}

#[test]
fn every_search_of_an_app_walks_an_index_in_the_order_of_its_pages() {
    let db = database();
    for (filter, index) in [
        ("app_id = 'a'", "recordings_by_app"),
        ("app_id = 'a' AND call_id = 'b'", "recordings_by_call"),
        ("app_id = 'a' AND room = 'b'", "recordings_by_room"),
    ] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT {COLUMNS} FROM recordings WHERE true AND {filter}
             AND (started_ms, recording_id) < (5, 'x')
             ORDER BY started_ms DESC, recording_id DESC LIMIT 3"
        );
        let plan: Vec<String> = db
            .prepare(&sql)
            .unwrap()
            .query_map([], |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let plan = plan.join("; ");
        assert!(
            plan.contains(index) && !plan.contains("TEMP B-TREE"),
            "{filter}: {plan}"
        );
    }
}

#[test]
fn pages_meet_each_recording_once() {
    let db = database();
    for id in 0..25 {
        insert(&db, &recording(id, "acme", "lobby", 100 + id as u64 / 10)).unwrap();
        insert(&db, &recording(1_000 + id, "other", "lobby", 100)).unwrap();
    }
    let mut filter = Filter {
        app: Some("acme".to_owned()),
        limit: 10,
        ..Filter::default()
    };
    let mut found = Vec::new();
    loop {
        let page = search(&db, &filter).unwrap();
        found.extend(page.recordings.iter().map(|recording| recording.id.0));
        match page.next {
            Some(next) => filter.before = Some(next.to_string().parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(found, (0..25).rev().collect::<Vec<u128>>());
    for text in ["", "5", "5-", "x-1", "5-zz", "-1-00"] {
        assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
    }
}
