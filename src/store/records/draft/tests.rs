use std::sync::mpsc::{Receiver, Sender, channel};

use super::super::tests::ended;
use super::super::{CallResult, lost, one};
use super::*;

/// A store, one call, and what became of its changes.
struct House {
    store: Store,
    call: Arc<Draft>,
    outcomes: Receiver<bool>,
    told: Sender<bool>,
    _directory: tempfile::TempDir,
}

const ROW: fn() -> RowId = || RowId::new(10, 3);

impl House {
    fn new() -> House {
        let directory = tempfile::tempdir().unwrap();
        let (told, outcomes) = channel();
        House {
            store: Store::open(directory.path()).unwrap(),
            call: Arc::default(),
            outcomes,
            told,
            _directory: directory,
        }
    }

    fn told(&self) -> impl FnOnce(Result<(), StoreError>) + Send + 'static {
        let told = self.told.clone();
        move |outcome| told.send(outcome.is_ok()).unwrap()
    }

    fn begins(&self) {
        let record = Record {
            from: "100".to_owned(),
            number: Some("+200".to_owned()),
            ..Record::open(ended(10, "acme").key, 10)
        };
        self.call
            .begin(&self.store, ROW(), record, None, self.told());
    }

    fn is_answered(&self) {
        let key = ended(10, "acme").key;
        let place = Some(("lobby".to_owned(), "phone".to_owned()));
        self.call
            .answer(&self.store, ROW(), key, 13, place, self.told());
    }

    fn fails(&self, problem: &str) {
        let key = ended(10, "acme").key;
        let problem = problem.to_owned();
        self.call
            .fail(&self.store, ROW(), key, 12, problem, self.told());
    }

    fn ends(&self) {
        let quiet = self.call.end(ROW(), ended(10, "acme"), self.told());
        self.store.write_quietly(quiet);
    }

    /// Everything is written; how many changes that took.
    fn changes(&self) -> usize {
        self.store.write_one(|_| Ok(())).wait().unwrap();
        let outcomes: Vec<bool> = self.outcomes.try_iter().collect();
        assert!(outcomes.iter().all(|written| *written), "{outcomes:?}");
        outcomes.len()
    }

    fn record(&self) -> Option<Record> {
        let (id, live) = (ended(10, "acme").key.call_id, self.call.live());
        self.store.read_blocking(|db| one(db, &id, live)).unwrap()
    }

    /// What a crash would make of it.
    fn left_open(&self) -> usize {
        self.store.read_blocking(lost).unwrap().len()
    }
}

/// The call's record in the end.
fn whole(error: Option<&str>) -> Option<Record> {
    Some(Record {
        number: Some("+200".to_owned()),
        error: error.map(str::to_owned),
        ..ended(10, "acme")
    })
}

#[test]
fn a_call_that_is_over_before_it_is_written_is_written_once_and_whole() {
    let house = House::new();
    house.begins();
    house.fails("no media");
    house.is_answered();
    house.ends();
    // Its beginning, of which nothing is left to write, and its end.
    assert_eq!(house.changes(), 2);
    assert_eq!(house.record(), whole(Some("no media")));
    assert_eq!(house.left_open(), 0);
}

#[test]
fn a_call_that_lasts_is_on_the_disk_as_it_is() {
    let house = House::new();
    house.begins();
    assert_eq!((house.changes(), house.left_open()), (1, 1));
    house.is_answered();
    house.fails("no media");
    assert_eq!((house.changes(), house.left_open()), (2, 1));
    let open = house.record().unwrap();
    assert_eq!(
        (open.result, open.answered_ms),
        (CallResult::Open, Some(13))
    );
    assert_eq!(open.error.as_deref(), Some("no media"));
    assert_eq!(open.place.unwrap().0, "lobby");
    house.ends();
    assert_eq!((house.changes(), house.left_open()), (1, 0));
    assert_eq!(house.record(), whole(Some("no media")));
    house.fails("late");
    assert_eq!(house.changes(), 1);
    assert_eq!(house.record(), whole(Some("late")));
}

#[test]
fn what_overtakes_the_beginning_of_a_call_makes_its_row_and_stays() {
    for written_between in [false, true] {
        let house = House::new();
        house.fails("no media");
        house.is_answered();
        if written_between {
            assert_eq!((house.changes(), house.left_open()), (1, 1));
        }
        house.begins();
        assert_eq!((house.changes(), house.left_open()), (1, 1));
        let open = house.record().unwrap();
        let told = (&*open.from, open.answered_ms, open.error.as_deref());
        assert_eq!(told, ("100", Some(13), Some("no media")));
        house.ends();
        house.changes();
        assert_eq!(house.record(), whole(Some("no media")));
        assert_eq!(house.left_open(), 0);
    }
}

#[test]
fn nothing_that_comes_after_the_end_opens_a_call_again() {
    let house = House::new();
    house.ends();
    house.begins();
    house.is_answered();
    assert_eq!((house.changes(), house.left_open()), (1, 0));
    assert_eq!(house.record(), Some(ended(10, "acme")));
}
