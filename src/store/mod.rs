//! What outlives a restart: an embedded SQLite database in the data
//! directory.
//!
//! Nobody on a call's path waits for it. Reads that calls need come from a
//! snapshot in memory; changes go through one bounded [`writer`] that puts
//! many of them into one transaction, and tells those who ask once theirs is
//! on the disk. Everything else reads through [`Store::read`], on threads
//! where blocking is allowed.
//!
//! | file | what it does |
//! | --- | --- |
//! | `schema` | migrations, and the refusal of a newer file |
//! | `writer` | the one thread that changes the database |
//! | `apps`, `numbers` | what an administrator has added |
//! | `assets` | what is known of uploaded sounds |
//! | `outbox` | call events on their way to hooks |
//! | `records` | call records: those that live, those that have ended, searched, pruned |
//! | `documents` | small things by name: the last good sync answers, the administrator's password, what is to be deleted on the media server |
//! | `recordings` | recordings: searched, told, uploaded, removed |

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

pub mod apps;
pub mod assets;
pub mod documents;
pub mod numbers;
pub mod outbox;
pub mod recordings;
pub mod records;
mod schema;
mod writer;

pub use writer::{Quiet, StoreCounters, Written};

/// The database's file in the data directory.
const FILE_NAME: &str = "ringwire.db";
/// Held as long as a gateway uses the data directory.
const LOCK_NAME: &str = "lock";
/// Readers at a time; more wait.
const READERS: usize = 4;
/// Statements that a connection keeps parsed: more than there are.
const STATEMENTS: usize = 128;
/// Pages of 4 KiB in the log after which they are copied into the database. A
/// page that many changes touch is copied once in so many.
const CHECKPOINT_PAGES: u32 = 4_000;
/// Pages of the database that the writer keeps in memory, in KiB.
const CACHE_KIB: i32 = 16_384;
/// How long a connection waits for another one's lock. In WAL mode readers
/// and the writer do not wait for each other; a checkpoint or a backup may.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The database. Cheap to clone; all clones are the same one. It closes when
/// the last clone is dropped, once what was written by then is on the disk.
#[derive(Clone)]
pub struct Store {
    writer: Arc<writer::Writer>,
    readers: Arc<Readers>,
}

struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    room: Semaphore,
    /// Locked for this process alone.
    _lock: File,
}

/// Why the database cannot be opened. `Display` says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or the file cannot be made or read.
    #[error("data_dir {}: {problem}; make it writable, or set data_dir to a directory that is", .path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// Another gateway uses the directory.
    #[error("data_dir {} is in use by another gateway; end it, or set data_dir to a directory of this one's own", .0.display())]
    InUse(PathBuf),
    /// Written by a newer gateway.
    #[error(
        "{} was written by a newer gateway (schema {found}, this one knows up to {known}); run the newer gateway, or restore the backup made before it ran", .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Our newest schema.
        known: u32,
    },
    /// SQLite refuses it.
    #[error("{}: {problem}; restore a backup, or move the file away to start with an empty one", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        problem: rusqlite::Error,
    },
}

/// Why a read or a change did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Too many changes wait to be written.
    #[error("too many changes wait to be written to the database; its disk is too slow or full")]
    Full,
    /// SQLite refused: the disk is full, most likely.
    #[error("the database refused: {0}")]
    Refused(Arc<rusqlite::Error>),
    /// The gateway is ending.
    #[error("the database is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::Refused(Arc::new(error))
    }
}

impl Store {
    /// Opens the database of this data directory, makes both if they are not
    /// there, and brings an older schema up to date.
    ///
    /// # Errors
    /// [`OpenError`], in words for the operator.
    pub fn open(data_dir: &Path) -> Result<Store, OpenError> {
        let directory = |problem| OpenError::Directory {
            path: data_dir.to_path_buf(),
            problem,
        };
        fs::create_dir_all(data_dir).map_err(directory)?;
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(data_dir.join(LOCK_NAME))
            .map_err(directory)?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => OpenError::InUse(data_dir.to_path_buf()),
            fs::TryLockError::Error(problem) => directory(problem),
        })?;
        let path = data_dir.join(FILE_NAME);
        private_file(&path).map_err(directory)?;
        let mut connection = connect(&path, false).map_err(|problem| OpenError::Database {
            path: path.clone(),
            problem,
        })?;
        schema::migrate(&mut connection, &path)?;
        Ok(Store {
            writer: Arc::new(writer::Writer::start(connection).map_err(directory)?),
            readers: Arc::new(Readers {
                path,
                idle: Mutex::default(),
                room: Semaphore::new(READERS),
                _lock: lock,
            }),
        })
    }

    /// Queues a change. What it returns comes once it is on the disk; who does
    /// not care drops it, and a change that failed is then logged and counted.
    ///
    /// A change that fails takes nothing else with it.
    pub fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Written<T> {
        self.writer.queue(change, false)
    }

    /// The same for a change of one statement, which SQLite makes whole or not
    /// at all by itself; it costs less.
    pub fn write_one<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Written<T> {
        self.writer.queue(change, true)
    }

    /// Queues a change and one that nobody waits for, which are made both or
    /// not at all, whenever the gateway is killed.
    pub fn write_both<A: Send + 'static>(
        &self,
        first: impl FnOnce(&Connection) -> rusqlite::Result<A> + Send + 'static,
        second: Quiet,
    ) -> Written<A> {
        self.writer.queue_both(first, second)
    }

    /// Queues a change that nobody waits for. It is made after those that were
    /// queued before it, 0.1 s later at most.
    pub fn write_quietly(&self, quiet: Quiet) {
        self.writer.queue_quietly(quiet);
    }

    /// Reads, on a thread that may block.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = self.readers.clone();
        let _room = readers
            .room
            .acquire()
            .await
            .map_err(|_| StoreError::Closed)?;
        let work = {
            let readers = self.readers.clone();
            move || readers.query(query)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| StoreError::Closed)?
    }

    /// The same where blocking is no matter: at start, before anything runs.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn read_blocking<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.readers.query(query)
    }

    /// What the writer has done, for the metrics.
    pub fn counters(&self) -> StoreCounters {
        self.writer.counters()
    }
}

impl Readers {
    fn query<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, true)?,
        };
        let result = query(&connection);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS {
            idle.push(connection);
        }
        Ok(result?)
    }
}

/// Secrets are in it: nobody else may read it. SQLite gives its side files the
/// same mode.
fn private_file(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn connect(path: &Path, read_only: bool) -> rusqlite::Result<Connection> {
    let access = match read_only {
        true => OpenFlags::SQLITE_OPEN_READ_ONLY,
        false => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    // No mutex: a connection is only ever used by one thread at a time.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    if !read_only {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A commit that was told of survives a power cut; batches make it cheap.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        // Negative: KiB and not pages.
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    }
    Ok(connection)
}

#[cfg(test)]
mod tests;
