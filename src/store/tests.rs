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
    let (told, outcomes) = std::sync::mpsc::channel();
    let quiet = |change: fn(&Connection) -> rusqlite::Result<()>| {
        let told = told.clone();
        Quiet::new(change, move |outcome| told.send(outcome.is_ok()).unwrap())
    };
    let kept = store.write_both(put("a"), quiet(|db| documents::put(db, "b", "1", 1)));
    assert!(kept.wait().is_ok() && outcomes.recv().unwrap());
    let kept = store.write_both(put("c"), quiet(|db| db.execute_batch("nonsense")));
    assert!(kept.wait().is_err() && !outcomes.recv().unwrap());
    let kept = store.write_both(broken, quiet(|db| documents::put(db, "d", "1", 1)));
    assert!(kept.wait().is_err() && !outcomes.recv().unwrap());
    let there = |name: &'static str| {
        let found = store.read_blocking(|db| documents::get(db, name));
        found.unwrap().is_some()
    };
    assert_eq!(["a", "b", "c", "d"].map(there), [true, true, false, false]);
}

#[test]
fn what_nobody_waits_for_is_written_in_its_place_with_what_somebody_does() {
    let (store, _directory) = store();
    let (told, outcomes) = std::sync::mpsc::channel();
    for (name, value) in [("a", "1"), ("b", "1"), ("a", "2")] {
        let told = told.clone();
        let put = move |db: &Connection| documents::put(db, name, value, 1);
        store.write_quietly(Quiet::new(put, move |outcome| {
            told.send((name, outcome.is_ok())).unwrap();
        }));
    }
    let broken = store.write(|db| db.execute_batch("nonsense"));
    let read = |db: &Connection| documents::get(db, "a");
    let seen = store.write_one(read);
    assert!(broken.wait().is_err());
    assert_eq!(seen.wait().unwrap(), Some(("2".to_string(), 1)));
    let order: Vec<_> = outcomes.try_iter().collect();
    assert_eq!(order, [("a", true), ("b", true), ("a", true)]);
}

#[test]
fn what_nobody_waits_for_is_written_by_itself() {
    let (store, _directory) = store();
    let (told, outcomes) = std::sync::mpsc::channel();
    let put = |db: &Connection| documents::put(db, "a", "1", 1);
    store.write_quietly(Quiet::new(put, move |outcome| {
        told.send(outcome.is_ok()).unwrap();
    }));
    assert!(outcomes.recv().unwrap());
    let read = store.read_blocking(|db| documents::get(db, "a")).unwrap();
    assert!(read.is_some());
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
