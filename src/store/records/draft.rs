//! What is known of a call's record, until it is on the disk. A call whose
//! beginning waits to be written takes what happens next with it, and one that
//! has ended by then is written once, as it ended. Changes may come in any
//! order: whichever is first makes the row.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::book::Hook;
use crate::store::{Quiet, Store, StoreError};

use super::{Key, Record, RowId, answered, begin, close, went_wrong, went_wrong_after_the_end};

/// The record of one call under way.
#[derive(Default)]
pub struct Draft(Mutex<Stage>);

#[derive(Default)]
enum Stage {
    /// Nothing has happened yet.
    #[default]
    Blank,
    /// The change that writes this is queued.
    Queued(Box<Begun>),
    /// It was handed to the database.
    Live(RowId, Kept),
    /// The change that writes the call's end is queued, or has been made.
    Closed,
}

struct Begun {
    row: RowId,
    record: Record,
    hook: Option<Hook>,
}

/// What the end of a call does not tell again.
#[derive(Default)]
struct Kept {
    number: Option<String>,
    error: Option<String>,
}

impl Draft {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        // Every change under the lock is a single step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The row of the call among those that live, as long as it does.
    pub fn live(&self) -> Option<RowId> {
        match &*self.lock() {
            Stage::Queued(begun) => Some(begun.row),
            Stage::Live(row, _) => Some(*row),
            Stage::Blank | Stage::Closed => None,
        }
    }

    /// The call has begun. `row` is where it is written, unless something else
    /// was known of it before.
    pub fn begin(
        self: &Arc<Self>,
        store: &Store,
        row: RowId,
        record: Record,
        hook: Option<Hook>,
        told: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        let mut stage = self.lock();
        let row = match &mut *stage {
            Stage::Blank => row,
            Stage::Queued(begun) => {
                let known = std::mem::replace(&mut begun.record, record);
                let record = &mut begun.record;
                record.answered_ms = known.answered_ms.or(record.answered_ms);
                record.error = known.error.or(record.error.take());
                begun.hook = hook;
                return;
            }
            Stage::Live(row, kept) => {
                kept.number.clone_from(&record.number);
                let row = *row;
                // Under the lock: behind the call's end it would bring it back.
                let change = move |db: &Connection| begin(db, row, &record, hook.as_ref());
                return store.write_quietly(Quiet::new(change, told));
            }
            Stage::Closed => return,
        };
        *stage = Stage::Queued(Box::new(Begun { row, record, hook }));
        drop(stage);
        self.queue(store, told);
    }

    /// The call was answered, into this room where that was not known before.
    pub fn answer(
        self: &Arc<Self>,
        store: &Store,
        row: RowId,
        key: Key,
        at_ms: u64,
        place: Option<(String, String)>,
        told: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        let mut stage = self.lock();
        match &mut *stage {
            Stage::Blank => {
                let mut record = Record::open(key, at_ms);
                record.answered_ms = Some(at_ms);
                record.place = place;
                *stage = Stage::Queued(Box::new(Begun {
                    row,
                    record,
                    hook: None,
                }));
                drop(stage);
                self.queue(store, told);
            }
            Stage::Queued(begun) => {
                begun.record.answered_ms = Some(at_ms);
                begun.record.place = place.or(begun.record.place.take());
            }
            Stage::Live(row, _) => {
                let row = *row;
                drop(stage);
                let change = move |db: &Connection| answered(db, row, at_ms, place.as_ref());
                store.write_quietly(Quiet::new(change, told));
            }
            Stage::Closed => {}
        }
    }

    /// Something went wrong with the call.
    pub fn fail(
        self: &Arc<Self>,
        store: &Store,
        row: RowId,
        key: Key,
        at_ms: u64,
        problem: String,
        told: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        let mut stage = self.lock();
        match &mut *stage {
            Stage::Blank => {
                let mut record = Record::open(key, at_ms);
                record.error = Some(problem);
                *stage = Stage::Queued(Box::new(Begun {
                    row,
                    record,
                    hook: None,
                }));
                drop(stage);
                self.queue(store, told);
            }
            Stage::Queued(begun) => begun.record.error = Some(problem),
            Stage::Live(row, kept) => {
                let row = *row;
                kept.error = Some(problem.clone());
                drop(stage);
                let change = move |db: &Connection| went_wrong(db, row, &problem);
                store.write_quietly(Quiet::new(change, told));
            }
            Stage::Closed => {
                drop(stage);
                let change =
                    move |db: &Connection| went_wrong_after_the_end(db, &key.call_id, &problem);
                store.write_quietly(Quiet::new(change, told));
            }
        }
    }

    /// The call has ended: the change that says so, to be queued next. Its
    /// number, and what went wrong, are what was known where the record names
    /// none.
    pub fn end(
        &self,
        row: RowId,
        mut record: Record,
        told: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Quiet {
        let (tie, live, kept) = match std::mem::replace(&mut *self.lock(), Stage::Closed) {
            Stage::Blank | Stage::Closed => (row.tie(), None, Kept::default()),
            Stage::Queued(begun) => {
                let Begun { row, record, .. } = *begun;
                let kept = Kept {
                    number: record.number,
                    error: record.error,
                };
                (row.tie(), None, kept)
            }
            Stage::Live(row, kept) => (row.tie(), Some(row), kept),
        };
        record.number = record.number.or(kept.number);
        record.error = record.error.or(kept.error);
        Quiet::new(move |db| close(db, &record, tie, live), told)
    }

    /// Writes what is [`Stage::Queued`] when its turn comes.
    fn queue(
        self: &Arc<Self>,
        store: &Store,
        told: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        let draft = self.clone();
        let write = move |db: &Connection| match draft.written() {
            Some(begun) => begin(db, begun.row, &begun.record, begun.hook.as_ref()),
            None => Ok(()),
        };
        store.write_quietly(Quiet::new(write, told));
    }

    /// What is to be written, unless the call has ended meanwhile.
    fn written(&self) -> Option<Box<Begun>> {
        let mut stage = self.lock();
        match std::mem::take(&mut *stage) {
            Stage::Queued(begun) => {
                let kept = Kept {
                    number: begun.record.number.clone(),
                    error: begun.record.error.clone(),
                };
                *stage = Stage::Live(begun.row, kept);
                Some(begun)
            }
            other => {
                *stage = other;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
