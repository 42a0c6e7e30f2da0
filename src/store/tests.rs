use super::*;

fn store() -> (Store, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Store::open(directory.path()).unwrap(), directory)
}

#[test]
fn what_was_written_is_there_after_the_next_start() {
    let (store, directory) = store();
    store
        .write(|db| documents::put(db, "a", "1", 7))
        .wait()
        .unwrap();
    // Nobody waits for this one: it is written before the store closes.
    store.write(|db| documents::put(db, "b", "2", 8)).detach();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    let read = |name: &'static str| store.read_blocking(|db| documents::get(db, name)).unwrap();
    assert_eq!(read("a"), Some(("1".to_string(), 7)));
    assert_eq!(read("b"), Some(("2".to_string(), 8)));
    assert_eq!(read("c"), None);
}

#[test]
fn a_change_that_fails_takes_no_other_with_it() {
    let (store, _directory) = store();
    let first = store.write(|db| documents::put(db, "a", "1", 1));
    let broken = store.write(|db| {
        documents::put(db, "a", "2", 2)?;
        db.execute_batch("nonsense")
    });
    let last = store.write(|db| documents::put(db, "b", "3", 3));
    assert!(first.wait().is_ok());
    assert!(matches!(broken.wait(), Err(StoreError::Refused(_))));
    assert!(last.wait().is_ok());
    let a = store.read_blocking(|db| documents::get(db, "a")).unwrap();
    assert_eq!(a, Some(("1".to_string(), 1)));
    let counters = store.counters();
    assert_eq!(
        (counters.written, counters.failed, counters.queued),
        (2, 1, 0)
    );
}

#[test]
fn a_data_directory_belongs_to_one_gateway_at_a_time() {
    let (store, directory) = store();
    let Err(error) = Store::open(directory.path()) else {
        panic!("two stores in one directory");
    };
    assert!(
        error.to_string().contains("in use by another gateway"),
        "{error}"
    );
    drop(store);
    assert!(Store::open(directory.path()).is_ok());
}

#[test]
fn nobody_else_can_read_the_database() {
    let (store, directory) = store();
    store
        .write(|db| documents::put(db, "a", "1", 1))
        .wait()
        .unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.file_name());
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join(FILE_NAME),
        "not a database, but long enough to be read as one",
    )
    .unwrap();
    let Err(error) = Store::open(directory.path()) else {
        panic!("opened");
    };
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

#[test]
fn two_changes_that_belong_together_are_made_both_or_not_at_all() {
    let (store, _directory) = store();
    let put = |name: &'static str| move |db: &Connection| documents::put(db, name, "1", 1);
    let broken = |db: &Connection| db.execute_batch("nonsense");
    let (first, second) = store.write_both(put("a"), put("b"));
    assert!(first.wait().is_ok() && second.wait().is_ok());
    let (first, second) = store.write_both(put("c"), broken);
    assert!(first.wait().is_err() && second.wait().is_err());
    let (first, second) = store.write_both(broken, put("d"));
    assert!(first.wait().is_err() && second.wait().is_err());
    let there = |name: &'static str| {
        let found = store.read_blocking(|db| documents::get(db, name));
        found.unwrap().is_some()
    };
    assert_eq!(["a", "b", "c", "d"].map(there), [true, true, false, false]);
}

#[test]
fn documents_are_found_by_how_their_names_begin() {
    let (store, _directory) = store();
    for name in ["x/2", "x/1", "x0", "y/1"] {
        let put = store.write(move |db| documents::put(db, name, name, 1));
        put.wait().unwrap();
    }
    let found = store.read_blocking(|db| documents::below(db, "x/", 10));
    let pair = |name: &str| (name.to_string(), name.to_string());
    assert_eq!(found.unwrap(), [pair("x/1"), pair("x/2")]);
}
