//! The one thread that changes the database. Changes that wait are put into
//! one transaction, so that a busy second costs a few commits, not thousands:
//! what somebody waits for is written at once, but no sooner than [`PACE`] or
//! [`BUSY_PACE`] after the transaction before it; what nobody waits for is written with it,
//! or within [`QUIET_PATIENCE`]. All changes are made in the order in which
//! they were queued.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::StoreError;

/// Changes that wait at most; one more is refused with [`StoreError::Full`].
const MAX_QUEUED: usize = 65_536;
/// Changes in one transaction at most. So many are written at once, whoever
/// waits for them.
const MAX_BATCH: usize = 1_024;
/// How long a change that nobody waits for may stay in memory.
const QUIET_PATIENCE: Duration = Duration::from_millis(100);
/// From the beginning of a transaction to that of the next at least: what a
/// commit costs hardly depends on how much it commits.
const PACE: Duration = Duration::from_millis(4);
/// The same after a transaction of more than [`FEW`] changes: so many come
/// then that a commit for those of 4 ms would be most of the work.
const BUSY_PACE: Duration = Duration::from_millis(10);
/// Changes of a transaction that is not busy.
const FEW: usize = 16;

/// What the writer has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreCounters {
    /// Changes that wait now.
    pub queued: u64,
    /// Changes written.
    pub written: u64,
    /// Transactions that wrote them.
    pub transactions: u64,
    /// Changes that were refused: by a full queue, or by SQLite.
    pub failed: u64,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// The writer has to look at the queue sooner than it meant to.
    changed: Condvar,
    queued: AtomicUsize,
    written: AtomicU64,
    transactions: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    /// When the next transaction begins; `None` as long as nothing waits.
    due: Option<Instant>,
    /// Not before this moment.
    not_before: Option<Instant>,
    closed: bool,
}

/// One change.
trait Job: Send {
    /// Makes it, inside a transaction.
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Whether it may fail after it has changed something, which is then taken
    /// back.
    fn may_be_half_made(&self) -> bool;
    /// Tells how it went.
    fn finish(self: Box<Self>, result: Result<(), StoreError>);
}

struct Change<F, T> {
    change: Option<F>,
    value: Option<T>,
    done: oneshot::Sender<Result<T, StoreError>>,
    single: bool,
}

/// A change that nobody waits for, and who hears how it went.
struct QuietChange<F, D> {
    change: Option<F>,
    told: D,
}

/// Two changes that are made both or not at all, each with its own listener.
struct Both<A>(A, Box<dyn Job>);

/// A change of one statement that nobody waits for.
pub struct Quiet(Box<dyn Job>);

impl Quiet {
    /// Of this change, which is one statement that may fail and perhaps others
    /// before it that change nothing; `told` hears on the writer's thread how
    /// it went.
    pub fn new(
        change: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
        told: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Quiet {
        Quiet(Box::new(QuietChange {
            change: Some(change),
            told,
        }))
    }
}

/// A change under way. As a future it gives what the change gave, once that
/// is on the disk.
#[must_use = "await it to know, or call `detach` where nobody needs to"]
pub struct Written<T> {
    done: oneshot::Receiver<Result<T, StoreError>>,
}

impl<T> Written<T> {
    /// Lets it happen without being told.
    pub fn detach(self) {}

    /// Waits on a thread that may block.
    ///
    /// # Errors
    /// Why the change did not happen.
    pub fn wait(self) -> Result<T, StoreError> {
        self.done.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }
}

impl<T> Future for Written<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.done)
            .poll(context)
            .map(|result| result.unwrap_or(Err(StoreError::Closed)))
    }
}

impl<F, T> Job for Change<F, T>
where
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(change) = self.change.take() {
            self.value = Some(change(connection)?);
        }
        Ok(())
    }

    fn may_be_half_made(&self) -> bool {
        !self.single
    }

    fn finish(self: Box<Self>, result: Result<(), StoreError>) {
        let outcome = match (result, self.value) {
            (Ok(()), Some(value)) => Ok(value),
            (Ok(()), None) => Err(StoreError::Closed),
            (Err(error), _) => Err(error),
        };
        let problem = outcome.as_ref().err().cloned();
        if self.done.send(outcome).is_err()
            && let Some(problem) = problem
        {
            tracing::error!(%problem, "a change was not written to the database");
        }
    }
}

impl<F, D> Job for QuietChange<F, D>
where
    F: FnOnce(&Connection) -> rusqlite::Result<()> + Send,
    D: FnOnce(Result<(), StoreError>) + Send,
{
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.change
            .take()
            .map_or(Ok(()), |change| change(connection))
    }

    fn may_be_half_made(&self) -> bool {
        false
    }

    fn finish(self: Box<Self>, result: Result<(), StoreError>) {
        (self.told)(result);
    }
}

impl<A: Job> Job for Both<A> {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.0.run(connection)?;
        self.1.run(connection)
    }

    fn may_be_half_made(&self) -> bool {
        true
    }

    fn finish(self: Box<Self>, result: Result<(), StoreError>) {
        let Both(first, second) = *self;
        Box::new(first).finish(result.clone());
        second.finish(result);
    }
}

/// A change and where its listener waits.
fn change<T, F>(change: F, single: bool) -> (Change<F, T>, Written<T>) {
    let (sender, done) = oneshot::channel();
    let job = Change {
        change: Some(change),
        value: None,
        done: sender,
        single,
    };
    (job, Written { done })
}

impl Writer {
    pub(super) fn start(connection: Connection) -> std::io::Result<Writer> {
        let shared = Arc::new(Shared::default());
        let worker = shared.clone();
        let thread = std::thread::Builder::new()
            .name("store".to_string())
            .spawn(move || work(connection, &worker))?;
        Ok(Writer {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(super) fn queue<T: Send + 'static>(
        &self,
        made: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        single: bool,
    ) -> Written<T> {
        let (job, written) = change(made, single);
        self.submit(Box::new(job), true);
        written
    }

    pub(super) fn queue_both<A: Send + 'static>(
        &self,
        first: impl FnOnce(&Connection) -> rusqlite::Result<A> + Send + 'static,
        second: Quiet,
    ) -> Written<A> {
        let (first, written) = change(first, false);
        self.submit(Box::new(Both(first, second.0)), true);
        written
    }

    pub(super) fn queue_quietly(&self, quiet: Quiet) {
        self.submit(quiet.0, false);
    }

    fn submit(&self, job: Box<dyn Job>, awaited: bool) {
        match self.shared.take(job, awaited) {
            Ok(true) => self.shared.changed.notify_one(),
            Ok(false) => {}
            Err((job, error)) => {
                self.shared.failed.fetch_add(1, Ordering::Relaxed);
                job.finish(Err(error));
            }
        }
    }

    pub(super) fn counters(&self) -> StoreCounters {
        let shared = &self.shared;
        StoreCounters {
            queued: shared.queued.load(Ordering::Relaxed) as u64,
            written: shared.written.load(Ordering::Relaxed),
            transactions: shared.transactions.load(Ordering::Relaxed),
            failed: shared.failed.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Writer {
    /// What was queued by now is written before this returns.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        let thread = self.thread.get_mut();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has logged what went wrong.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Every change under this lock is whole even where its holder panicked.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a change; whether the writer has to be woken for it.
    fn take(&self, job: Box<dyn Job>, awaited: bool) -> Result<bool, (Box<dyn Job>, StoreError)> {
        let now = Instant::now();
        let mut queue = self.lock();
        if queue.closed {
            return Err((job, StoreError::Closed));
        }
        if queue.jobs.len() >= MAX_QUEUED {
            return Err((job, StoreError::Full));
        }
        queue.jobs.push_back(job);
        self.queued.fetch_add(1, Ordering::Relaxed);
        let latest = match awaited || queue.jobs.len() >= MAX_BATCH {
            true => queue.not_before.map_or(now, |at| now.max(at)),
            false => now + QUIET_PATIENCE,
        };
        let sooner = queue.due.is_none_or(|due| latest < due);
        if sooner {
            queue.due = Some(latest);
        }
        Ok(sooner)
    }

    /// Waits for the next transaction's changes; false once there will be none.
    fn next(&self, batch: &mut Vec<Box<dyn Job>>) -> bool {
        let mut queue = self.lock();
        loop {
            let now = Instant::now();
            queue = match queue.due {
                None if queue.closed => return false,
                None => self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(due) if due > now && !queue.closed => {
                    self.changed
                        .wait_timeout(queue, due - now)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                Some(_) => {
                    let size = queue.jobs.len().min(MAX_BATCH);
                    batch.extend(queue.jobs.drain(..size));
                    let pace = if size > FEW { BUSY_PACE } else { PACE };
                    queue.not_before = Some(now + pace);
                    // What did not fit has waited long enough.
                    queue.due = (!queue.jobs.is_empty()).then_some(now);
                    return true;
                }
            };
        }
    }
}

fn work(mut connection: Connection, shared: &Shared) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while shared.next(&mut batch) {
        let results = write(&mut connection, &mut batch);
        shared.queued.fetch_sub(batch.len(), Ordering::Relaxed);
        shared.transactions.fetch_add(1, Ordering::Relaxed);
        for (job, result) in batch.drain(..).zip(results) {
            let counter = match &result {
                Ok(()) => &shared.written,
                Err(_) => &shared.failed,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            job.finish(result);
        }
    }
}

/// All of the batch in one transaction; how each went.
fn write(connection: &mut Connection, batch: &mut [Box<dyn Job>]) -> Vec<Result<(), StoreError>> {
    let mut results = Vec::with_capacity(batch.len());
    let mut all = || -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for job in batch.iter_mut() {
            let result = match job.may_be_half_made() {
                true => run_revocably(job.as_mut(), &transaction)?,
                false => job.run(&transaction),
            };
            // Some failures, a full disk among them, take everything back.
            if let (Err(error), true) = (&result, transaction.is_autocommit()) {
                return Err(rusqlite::Error::SqliteFailure(
                    error
                        .sqlite_error()
                        .copied()
                        .unwrap_or(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT)),
                    Some(error.to_string()),
                ));
            }
            results.push(result.map_err(StoreError::from));
        }
        transaction.commit()
    };
    if let Err(error) = all() {
        let error = StoreError::from(error);
        results.clear();
        results.resize_with(batch.len(), || Err(error.clone()));
    }
    results
}

/// In a savepoint, so that one that fails takes no other with it. Every page
/// that is changed in one is copied first.
fn run_revocably(
    job: &mut dyn Job,
    connection: &Connection,
) -> rusqlite::Result<rusqlite::Result<()>> {
    execute(connection, "SAVEPOINT change")?;
    let result = job.run(connection);
    if result.is_err() {
        execute(connection, "ROLLBACK TO change")?;
    }
    execute(connection, "RELEASE change")?;
    Ok(result)
}

/// A statement that is parsed once, not for every change.
fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(statement)?
        .execute([])
        .map(|_| ())
}
