//! What becomes of recordings later: they are removed when they are too old,
//! or when somebody asks for it; and what was not told is told.

use std::path::PathBuf;
use std::time::Duration;

use crate::ids::RecordingId;
use crate::store::StoreError;
use crate::store::recordings::{self, Recording as Stored, State, Upload};

use super::counters::count;
use super::ending::unix_ms;
use super::{Recordings, Shared};

/// How often uploads are looked for.
const UPLOAD_EVERY: Duration = Duration::from_secs(1);
/// How often old recordings are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// Recordings removed at a time, so that other changes get in between.
const EXPIRE_BATCH: usize = 100;

/// Why a recording stays.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It is under way; stop it first.
    #[error("the recording is under way; stop it first")]
    UnderWay,
    /// Its file cannot be removed.
    #[error("its file cannot be removed: {0}")]
    File(std::io::Error),
    /// The object store does not let it go.
    #[error("it cannot be removed from the object store: {0}")]
    Bucket(String),
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Recordings {
    /// Uploads, and removes what is too old; never ends.
    pub async fn keep(&self) {
        let shared = &self.shared;
        let mut upload = tokio::time::interval(UPLOAD_EVERY);
        let mut expire = tokio::time::interval(EXPIRE_EVERY);
        let uploading = async {
            loop {
                upload.tick().await;
                if let Err(problem) = shared.upload_due().await {
                    tracing::error!(%problem, "recordings are not uploaded");
                }
            }
        };
        let expiring = async {
            loop {
                expire.tick().await;
                if let Err(problem) = shared.expire(unix_ms()).await {
                    tracing::error!(%problem, "old recordings are not removed");
                }
            }
        };
        tokio::join!(uploading, expiring);
    }

    /// Where a recording's file is.
    pub fn path(&self, row: &Stored) -> PathBuf {
        self.shared.disk.path(&row.app_id, row.id, row.format)
    }

    /// Removes a recording from wherever it is, the object store too.
    ///
    /// # Errors
    /// [`RemoveError`]; it can be tried again.
    pub async fn remove(&self, row: &Stored) -> Result<(), RemoveError> {
        if row.state == State::Recording {
            return Err(RemoveError::UnderWay);
        }
        self.shared.remove_object(row).await?;
        self.shared.remove_local(row).await
    }
}

impl Shared {
    /// Removes what ended too long ago and does not wait to be uploaded. What
    /// is in the object store stays there, unless the settings say otherwise.
    pub(super) async fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        let until_ms = now_ms.saturating_sub(self.settings.keep.as_millis() as u64);
        loop {
            let old = self
                .store
                .read(move |db| recordings::expired(db, until_ms, EXPIRE_BATCH))
                .await?;
            let last = old.len() < EXPIRE_BATCH;
            for row in old {
                let recording_id = row.id;
                match self.remove_expired(&row).await {
                    Ok(()) => {
                        count(&self.counters.expired);
                        tracing::info!(%recording_id, "a recording is removed: it is too old");
                    }
                    Err(RemoveError::Store(problem)) => return Err(problem),
                    Err(problem) => {
                        // The others would fail as well; in a minute again.
                        tracing::error!(%recording_id, %problem, "an old recording stays");
                        return Ok(());
                    }
                }
            }
            if last {
                return Ok(());
            }
        }
    }

    async fn remove_expired(&self, row: &Stored) -> Result<(), RemoveError> {
        let objects_too = self.bucket.as_ref().is_some_and(|b| b.delete_expired);
        if objects_too {
            self.remove_object(row).await?;
        }
        self.remove_local(row).await
    }

    /// The object goes before the row that names it.
    async fn remove_object(&self, row: &Stored) -> Result<(), RemoveError> {
        let (Upload::Done, Some(object), Some(bucket)) = (row.upload, &row.object, &self.bucket)
        else {
            return Ok(());
        };
        let removed = bucket.remove(object).await;
        removed.map_err(|problem| RemoveError::Bucket(problem.to_string()))
    }

    /// The file goes first: without its row nobody would ever find it again.
    async fn remove_local(&self, row: &Stored) -> Result<(), RemoveError> {
        let removed = self.disk.remove(&row.app_id, row.id, row.format);
        removed.map_err(RemoveError::File)?;
        let id: RecordingId = row.id;
        let change = move |db: &_| recordings::delete(db, id);
        self.store.write(change).await?;
        Ok(())
    }
}
