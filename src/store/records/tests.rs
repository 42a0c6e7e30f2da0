use super::super::Store;
use super::*;

/// An empty database of the newest schema.
pub(super) fn connection() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    for step in [
        include_str!("../schema/01_book.sql"),
        include_str!("../schema/03_records.sql"),
        include_str!("../schema/07_quality.sql"),
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
pub(super) fn many(connection: &Connection, count: u64) {
    connection.execute_batch("BEGIN").unwrap();
    for n in 0..count {
        let mut record = ended(n / 3, ["acme", "root"][n as usize % 2]);
        record.key.call_id = format!("{n:034x}");
        record.key.incoming = n % 5 != 0;
        close(connection, &record).unwrap();
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
fn a_record_reads_back_what_was_written_of_begin_and_end() {
    let connection = connection();
    let record = ended(10, "acme");
    let begun = Record {
        from: "100".to_owned(),
        number: Some("+200".to_owned()),
        ..Record::open(record.key.clone(), 9)
    };
    open(&connection, &begun, Some(&hook())).unwrap();
    let id = &record.key.call_id;
    assert_eq!(one(&connection, id).unwrap(), Some(begun));
    answered(&connection, &record.key, 13, None).unwrap();
    went_wrong(&connection, &record.key, 14, "no media").unwrap();
    let half = one(&connection, id).unwrap().unwrap();
    assert_eq!(
        (half.result, half.answered_ms, half.error.as_deref()),
        (CallResult::Open, Some(13), Some("no media"))
    );
    close(&connection, &record).unwrap();
    let whole = Record {
        number: Some("+200".to_owned()),
        error: Some("no media".to_owned()),
        ..record.clone()
    };
    assert_eq!(one(&connection, id).unwrap(), Some(whole));
    let hooks: u32 = connection
        .query_row("SELECT count(hook) FROM records", [], |row| row.get(0))
        .unwrap();
    assert_eq!(hooks, 0);
}

#[test]
fn a_record_is_the_same_when_its_changes_come_in_another_order() {
    let connection = connection();
    let record = ended(10, "acme");
    answered(&connection, &record.key, 13, None).unwrap();
    let begun = Record {
        from: "100".to_owned(),
        ..Record::open(record.key.clone(), 9)
    };
    open(&connection, &begun, None).unwrap();
    let half = one(&connection, &record.key.call_id).unwrap().unwrap();
    assert_eq!((half.created_ms, half.answered_ms), (9, Some(13)));
    close(&connection, &record).unwrap();
    open(&connection, &begun, Some(&hook())).unwrap();
    answered(&connection, &record.key, 99, None).unwrap();
    let stored = one(&connection, &record.key.call_id).unwrap();
    assert_eq!(stored, Some(record));
}

#[test]
fn calls_that_were_left_open_are_lost_at_the_last_time_they_are_known_to_have_lived() {
    let connection = connection();
    let key = |id: &str| Key {
        call_id: id.to_owned(),
        app_id: "acme".to_owned(),
        incoming: false,
    };
    open(&connection, &Record::open(key("00"), 100), Some(&hook())).unwrap();
    alive(&connection, 150).unwrap();
    open(&connection, &Record::open(key("01"), 160), None).unwrap();
    answered(&connection, &key("01"), 170, Some(place())).unwrap();
    close(&connection, &ended(1, "acme")).unwrap();
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
        let record = one(&connection, id).unwrap().unwrap();
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
fn the_oldest_go_first_and_open_calls_stay() {
    let connection = connection();
    many(&connection, 30);
    let mut lives = ended(0, "acme");
    lives.key.call_id = "ff".to_owned();
    lives.result = CallResult::Open;
    close(&connection, &lives).unwrap();
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
    assert!(one(&connection, &format!("{:034x}", 15)).unwrap().is_none());
    assert!(one(&connection, &format!("{:034x}", 16)).unwrap().is_some());
    assert!(one(&connection, "ff").unwrap().is_some());
}

#[test]
fn records_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let record = ended(5, "acme");
    let written = record.clone();
    store.write(move |db| close(db, &written)).detach();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    let id = record.key.call_id.clone();
    let read = store.read_blocking(|db| one(db, &id)).unwrap();
    assert_eq!(read, Some(record));
}
