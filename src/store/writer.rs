//! The one thread that changes the database. Changes that wait are put into
//! one transaction, so that a busy second costs a few commits, not thousands.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::StoreError;

/// Changes that wait at most; one more is refused with [`StoreError::Full`].
const MAX_QUEUED: usize = 65_536;
/// Changes in one transaction at most.
const MAX_BATCH: usize = 1_024;

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
    jobs: Option<SyncSender<Box<dyn Job>>>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queued: AtomicUsize,
    written: AtomicU64,
    transactions: AtomicU64,
    failed: AtomicU64,
}

/// One change.
trait Job: Send {
    /// Makes it, inside a transaction.
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Tells how it went.
    fn finish(self: Box<Self>, result: Result<(), StoreError>);
}

struct Change<F, T> {
    change: Option<F>,
    value: Option<T>,
    done: oneshot::Sender<Result<T, StoreError>>,
}

/// Two changes that are made both or not at all, each with its own listener.
struct Both<A, B>(A, B);

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

impl<A: Job, B: Job> Job for Both<A, B> {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.0.run(connection)?;
        self.1.run(connection)
    }

    fn finish(self: Box<Self>, result: Result<(), StoreError>) {
        let Both(first, second) = *self;
        Box::new(first).finish(result.clone());
        Box::new(second).finish(result);
    }
}

/// A change and where its listener waits.
fn change<T, F>(change: F) -> (Change<F, T>, Written<T>) {
    let (sender, done) = oneshot::channel();
    let job = Change {
        change: Some(change),
        value: None,
        done: sender,
    };
    (job, Written { done })
}

impl Writer {
    pub(super) fn start(connection: Connection) -> std::io::Result<Writer> {
        let (jobs, queue) = sync_channel(MAX_QUEUED);
        let shared = Arc::new(Shared::default());
        let counted = shared.clone();
        let thread = std::thread::Builder::new()
            .name("store".to_string())
            .spawn(move || work(connection, &queue, &counted))?;
        Ok(Writer {
            jobs: Some(jobs),
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(super) fn queue<T: Send + 'static>(
        &self,
        made: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Written<T> {
        let (job, written) = change(made);
        self.submit(Box::new(job));
        written
    }

    pub(super) fn queue_both<A: Send + 'static, B: Send + 'static>(
        &self,
        first: impl FnOnce(&Connection) -> rusqlite::Result<A> + Send + 'static,
        second: impl FnOnce(&Connection) -> rusqlite::Result<B> + Send + 'static,
    ) -> (Written<A>, Written<B>) {
        let (first, first_written) = change(first);
        let (second, second_written) = change(second);
        self.submit(Box::new(Both(first, second)));
        (first_written, second_written)
    }

    fn submit(&self, job: Box<dyn Job>) {
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        let refused = match &self.jobs {
            Some(jobs) => match jobs.try_send(job) {
                Ok(()) => return,
                Err(TrySendError::Full(job)) => (job, StoreError::Full),
                Err(TrySendError::Disconnected(job)) => (job, StoreError::Closed),
            },
            None => (job, StoreError::Closed),
        };
        self.shared.queued.fetch_sub(1, Ordering::Relaxed);
        self.shared.failed.fetch_add(1, Ordering::Relaxed);
        let (job, error) = refused;
        job.finish(Err(error));
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
        self.jobs = None;
        let thread = self.thread.get_mut();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has logged what went wrong.
            let _ = thread.join();
        }
    }
}

fn work(mut connection: Connection, queue: &Receiver<Box<dyn Job>>, shared: &Shared) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while let Ok(job) = queue.recv() {
        batch.push(job);
        while batch.len() < MAX_BATCH
            && let Ok(job) = queue.try_recv()
        {
            batch.push(job);
        }
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
            // A savepoint each: one that fails takes no other with it.
            execute(&transaction, "SAVEPOINT change")?;
            let result = job.run(&transaction);
            if result.is_err() {
                execute(&transaction, "ROLLBACK TO change")?;
            }
            execute(&transaction, "RELEASE change")?;
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

/// A statement that is parsed once, not for every change.
fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(statement)?
        .execute([])
        .map(|_| ())
}
