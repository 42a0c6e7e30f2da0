use super::super::Store;
use super::*;
use crate::book::HookContentType;

/// An empty database of the newest schema.
pub(super) fn connection() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    for step in [
        include_str!("../schema/01_book.sql"),
        include_str!("../schema/03_records.sql"),
        include_str!("../schema/07_quality.sql"),
        include_str!("../schema/08_live_calls.sql"),
    ] {
        connection.execute_batch(step).unwrap();
    }
    connection
}

/// An answered call from 100 to 200 that began at this time.
pub(super) fn ended(created_ms: u64, app: &str) -> Record {
    let key = Key {
        call_id: format!("{created_ms:034x}"),
        app_id: app.to_owned(),
        incoming: true,
    };
    Record {
        result: CallResult::Answered,
        from: "100".to_owned(),
        to: "+200".to_owned(),
        sip_call_id: Some("x@y".to_owned()),
        peer_address: Some("192.0.2.1:5060".to_owned()),
        place: Some(("lobby".to_owned(), "phone".to_owned())),
        ringing_ms: Some(created_ms + 1),
        early_ms: Some(created_ms + 2),
        answered_ms: Some(created_ms + 3),
        ended_ms: Some(created_ms + 4),
        sip_code: Some(200),
        end_reason: Some("remote".to_owned()),
        hung_up_by: Some("remote".to_owned()),
        security: Some("sdes".to_owned()),
        srtp_suite: Some("AEAD_AES_128_GCM".to_owned()),
        media: Some(Media {
            codec: "PCMU".to_owned(),
            packets_received: 1,
            bytes_received: 2,
            packets_lost: -3,
            jitter_ms: 4.5,
            packets_sent: 5,
            bytes_sent: 6,
            remote_packets_lost: Some(-7),
            remote_jitter_ms: Some(8.5),
            round_trip_ms: None,
            mos_average: Some(4.2),
            mos_min: Some(3.9),
            remote_mos_average: Some(4.1),
            remote_mos_min: None,
        }),
        ..Record::open(key, created_ms)
    }
}

/// Calls of two apps, some of them at one instant.
pub(super) fn many(connection: &Connection, which: std::ops::Range<u64>) {
    connection.execute_batch("BEGIN").unwrap();
    for n in which {
        let mut record = ended(n / 3, ["acme", "root"][n as usize % 2]);
        record.key.call_id = format!("{n:034x}");
        record.key.incoming = n % 5 != 0;
        close(connection, &record, n as u32, None).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

fn place() -> (String, String) {
    ("lobby".to_owned(), "phone".to_owned())
}

fn hook() -> Hook {
    Hook {
        url: "https://example.com/h".into(),
        content_type: HookContentType::Protobuf,
        trusted: true,
    }
}

#[test]
fn a_call_that_lives_reads_back_what_was_written_and_leaves_with_its_end() {
    let connection = connection();
    let record = ended(10, "acme");
    let begun = Record {
        from: "100".to_owned(),
        number: Some("+200".to_owned()),
        ..Record::open(record.key.clone(), 9)
    };
    let row = RowId::new(9, 7);
    begin(&connection, row, &begun, Some(&hook())).unwrap();
    let id = &record.key.call_id;
    assert_eq!(one(&connection, id, Some(row)).unwrap(), Some(begun));
    answered(&connection, row, 13, None).unwrap();
    went_wrong(&connection, row, "no media").unwrap();
    let half = one(&connection, id, Some(row)).unwrap().unwrap();
    assert_eq!(
        (half.result, half.answered_ms, half.error.as_deref()),
        (CallResult::Open, Some(13), Some("no media"))
    );
    assert_eq!(one(&connection, id, None).unwrap(), None);
    close(&connection, &record, row.tie(), Some(row)).unwrap();
    for row in [None, Some(row)] {
        let found = one(&connection, id, row).unwrap();
        assert_eq!(found.as_ref(), Some(&record));
    }
    went_wrong_after_the_end(&connection, id, "late").unwrap();
    let late = one(&connection, id, None).unwrap().unwrap();
    assert_eq!(late.error.as_deref(), Some("late"));
    assert_eq!(lost(&connection), Ok(Vec::new()));
}

#[test]
fn what_is_known_of_a_live_call_stays_when_its_beginning_comes_last() {
    let connection = connection();
    let row = RowId::new(9, 7);
    let known = Record {
        answered_ms: Some(13),
        error: Some("no media".to_owned()),
        ..Record::open(ended(10, "acme").key, 13)
    };
    begin(&connection, row, &known, None).unwrap();
    let begun = Record {
        from: "100".to_owned(),
        place: Some(place()),
        ..Record::open(known.key.clone(), 9)
    };
    begin(&connection, row, &begun, Some(&hook())).unwrap();
    answered(
        &connection,
        row,
        14,
        Some(&("other".to_owned(), "x".to_owned())),
    )
    .unwrap();
    let found = one(&connection, &known.key.call_id, Some(row)).unwrap();
    let expected = Record {
        answered_ms: Some(14),
        error: known.error,
        place: Some(("other".to_owned(), "x".to_owned())),
        ..begun
    };
    assert_eq!(found, Some(expected));
    assert_eq!(lost(&connection).unwrap()[0].hook, Some(hook()));
}

#[test]
fn calls_of_one_moment_and_tie_have_a_row_each_and_one_call_never_two() {
    let connection = connection();
    let last = (1 << TIE_BITS) - 1;
    for n in 0..3 {
        let mut record = ended(10, "acme");
        record.key.call_id = format!("0{n}");
        close(&connection, &record, last, None).unwrap();
        assert_eq!(
            one(&connection, &format!("0{n}"), None).unwrap(),
            Some(record)
        );
    }
    let mut again = ended(11, "acme");
    again.key.call_id = "01".to_owned();
    assert!(close(&connection, &again, 0, None).is_err());
    assert_eq!(extent(&connection).unwrap().rows, 3);
}

#[test]
fn a_row_is_where_its_call_began_however_late_that_is() {
    for (created_ms, tie) in [(0, 0), (1_780_000_000_000, 77), ((1 << 43) - 1, 0xf_ffff)] {
        let id = RowId::new(created_ms, tie);
        assert_eq!((id.created_ms(), id.tie()), (created_ms, tie));
        assert!(id.0 >= 0);
    }
    assert_eq!(RowId::new(u64::MAX, 0), RowId::new((1 << 43) - 1, 0));
    assert!(RowId::new(5, 0xf_ffff) < RowId::new(6, 0));
}

#[test]
fn records_of_the_schema_before_are_there_and_open_calls_are_lost() {
    let connection = Connection::open_in_memory().unwrap();
    for step in [
        include_str!("../schema/01_book.sql"),
        include_str!("../schema/03_records.sql"),
        include_str!("../schema/07_quality.sql"),
    ] {
        connection.execute_batch(step).unwrap();
    }
    for (id, result, created_ms, number) in [
        ("0b", "answered", 10, "NULL"),
        ("0a", "busy", 10, "'+200'"),
        ("0c", "open", 11, "'300'"),
        ("0d", "lost", 9, "NULL"),
    ] {
        let row = format!(
            "INSERT INTO records (call_id, app_id, direction, result, from_number, to_number, \
             from_key, to_key, number, created_ms, answered_ms, sip_code, codec, \
             packets_received, bytes_received, packets_lost, jitter_ms, packets_sent, \
             bytes_sent, mos_average, hook, hook_content_type, hook_trusted) \
             VALUES ('{id}', 'acme', 'incoming', '{result}', '+1 2', '3', '12', '3', {number}, \
             {created_ms}, 12, 486, 'PCMU', 1, 2, -3, 4.5, 5, 6, 4.2, 'https://example.com/h', \
             'Protobuf', 1)"
        );
        connection.execute_batch(&row).unwrap();
    }
    connection
        .execute_batch(include_str!("../schema/08_live_calls.sql"))
        .unwrap();
    let all = Filter {
        from: Some("+12".to_owned()),
        limit: 10,
        ..Filter::default()
    };
    let page = search(&connection, &all).unwrap();
    let found: Vec<_> = page
        .records
        .iter()
        .map(|record| (&*record.key.call_id, record.result, record.created_ms))
        .collect();
    let expected = [
        ("0b", CallResult::Answered, 10),
        ("0a", CallResult::Busy, 10),
        ("0d", CallResult::Lost, 9),
    ];
    assert_eq!(found, expected);
    let busy = &page.records[1];
    assert_eq!(
        (busy.number.as_deref(), busy.sip_code),
        (Some("+200"), Some(486))
    );
    let media = busy.media.clone().unwrap();
    assert_eq!((media.bytes_sent, media.mos_average), (6, Some(4.2)));
    let open = lost(&connection).unwrap();
    assert_eq!((&*open[0].key.call_id, open[0].ended_ms), ("0c", 12));
    assert_eq!(open[0].hook, Some(hook()));
    assert_eq!(close_lost(&connection), Ok(1));
    let closed = one(&connection, "0c", None).unwrap().unwrap();
    assert_eq!(
        (closed.result, closed.number.as_deref()),
        (CallResult::Lost, Some("300"))
    );
    assert_eq!((closed.created_ms, closed.answered_ms), (11, Some(12)));
}

#[test]
fn calls_that_were_left_open_are_lost_at_the_last_time_they_are_known_to_have_lived() {
    let connection = connection();
    let key = |id: &str| Key {
        call_id: id.to_owned(),
        app_id: "acme".to_owned(),
        incoming: false,
    };
    let (first, second) = (RowId::new(100, 0), RowId::new(160, 1));
    begin(
        &connection,
        first,
        &Record::open(key("00"), 100),
        Some(&hook()),
    )
    .unwrap();
    alive(&connection, 150).unwrap();
    begin(&connection, second, &Record::open(key("01"), 160), None).unwrap();
    answered(&connection, second, 170, Some(&place())).unwrap();
    close(&connection, &ended(1, "acme"), 0, None).unwrap();
    let found = lost(&connection).unwrap();
    assert_eq!(close_lost(&connection), Ok(found.len()));
    let expected = [("00", 150, Some(hook())), ("01", 170, None)];
    let expected = expected.map(|(id, ended_ms, hook)| Lost {
        key: key(id),
        ended_ms,
        hook,
    });
    assert_eq!(found, expected);
    for (id, ended_ms) in [("00", 150), ("01", 170)] {
        let record = one(&connection, id, None).unwrap().unwrap();
        assert_eq!(record.result, CallResult::Lost);
        assert_eq!(record.ended_ms, Some(ended_ms));
        assert_eq!(record.end_reason.as_deref(), Some("lost"));
        assert_eq!(record.error.as_deref(), Some(RESTARTED));
        assert_eq!(record.place, (id == "01").then(place));
    }
    assert_eq!(lost(&connection), Ok(Vec::new()));
    assert_eq!(close_lost(&connection), Ok(0));
}

#[test]
fn a_call_whose_end_is_there_is_not_lost_whatever_was_left_of_it() {
    let connection = connection();
    let ended = ended(10, "acme");
    let row = RowId::new(10, 0);
    begin(&connection, row, &Record::open(ended.key.clone(), 10), None).unwrap();
    close(&connection, &ended, 0, None).unwrap();
    assert_eq!(close_lost(&connection), Ok(1));
    assert_eq!(lost(&connection), Ok(Vec::new()));
    let found = one(&connection, &ended.key.call_id, None).unwrap();
    assert_eq!(found, Some(ended));
}

#[test]
fn the_oldest_go_first_and_open_calls_stay() {
    let connection = connection();
    many(&connection, 0..30);
    let mut lives = Record::open(ended(0, "acme").key, 0);
    lives.key.call_id = "ff".to_owned();
    let row = RowId::new(0, 0);
    begin(&connection, row, &lives, None).unwrap();
    let extent_of = |rows, oldest_ms| Extent {
        rows,
        oldest_ms: Some(oldest_ms),
    };
    assert_eq!(extent(&connection).unwrap(), extent_of(31, 0));
    assert_eq!(prune(&connection, 5, 10).unwrap(), 10);
    assert_eq!(prune(&connection, 5, 10).unwrap(), 5);
    assert_eq!(prune(&connection, 5, 10).unwrap(), 0);
    assert_eq!(extent(&connection).unwrap(), extent_of(16, 0));
    assert_eq!(prune(&connection, u64::MAX >> 1, 1).unwrap(), 1);
    assert!(
        one(&connection, &format!("{:034x}", 15), None)
            .unwrap()
            .is_none()
    );
    assert!(
        one(&connection, &format!("{:034x}", 16), None)
            .unwrap()
            .is_some()
    );
    assert!(one(&connection, "ff", Some(row)).unwrap().is_some());
}

#[test]
fn records_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let record = ended(5, "acme");
    let written = record.clone();
    let change = move |db: &Connection| close(db, &written, 0, None);
    store.write_quietly(crate::store::Quiet::new(change, drop));
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    let id = record.key.call_id.clone();
    let read = store.read_blocking(|db| one(db, &id, None)).unwrap();
    assert_eq!(read, Some(record));
}
