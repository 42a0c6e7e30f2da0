//! Recordings on their way to an S3-compatible store. The file stays on the
//! disk until the store itself says that it has all of it.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

use crate::config::S3;
use crate::store::StoreError;
use crate::store::recordings::{self, Recording as Stored};

use super::Shared;
use super::counters::count;
use super::ending::unix_ms;

/// Uploads looked for at a time.
const BATCH: usize = 16;
/// Sent in one piece; a longer file goes in pieces of this size.
const PIECE: usize = 8 * 1024 * 1024;
/// The first delay after a failure; it doubles.
const FIRST_DELAY: Duration = Duration::from_secs(2);
/// The longest delay between two tries.
const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// Of one request to the store.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The store, and where in it recordings go.
pub(super) struct Bucket {
    store: Arc<AmazonS3>,
    prefix: String,
    delete_local: bool,
}

/// Why something did not get to the store, or out of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    #[error("the object store refused: {0}")]
    Store(#[from] object_store::Error),
    #[error("the file cannot be read: {0}")]
    File(#[from] std::io::Error),
    #[error("the object store has {found} of {size} bytes")]
    Incomplete { found: u64, size: u64 },
}

impl Bucket {
    pub fn new(settings: &S3) -> Result<Self, object_store::Error> {
        // As for all other HTTP clients: TLS by ring. Refused only when a
        // provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Longer waits are ours, and stand in the database.
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 2,
            retry_timeout: REQUEST_TIMEOUT,
        };
        let client = ClientOptions::new()
            .with_allow_http(settings.allow_http)
            .with_timeout(REQUEST_TIMEOUT);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_access_key_id(&settings.access_key)
            .with_secret_access_key(settings.secret_key())
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(Bucket {
            store: Arc::new(builder.build()?),
            prefix: settings.prefix.clone(),
            delete_local: settings.delete_local_after_upload,
        })
    }

    /// The name of a recording's object.
    pub fn object(&self, row: &Stored) -> String {
        let file = format!("{}.{}", row.id, row.format.extension());
        match self.prefix.as_str() {
            "" => format!("{}/{file}", row.app_id),
            prefix => format!("{prefix}/{}/{file}", row.app_id),
        }
    }

    /// Removes an object; one that is gone already is no error.
    pub async fn remove(&self, object: &str) -> Result<(), UploadError> {
        match self.store.delete(&Path::from(object)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(problem) => Err(problem.into()),
        }
    }

    async fn put(&self, shared: &Shared, row: &Stored, object: &str) -> Result<(), UploadError> {
        let object = Path::from(object);
        let path = shared.disk.path(&row.app_id, row.id, row.format);
        let mut file = tokio::fs::File::open(path).await?;
        let store: Arc<dyn ObjectStore> = self.store.clone();
        let mut writer = BufWriter::with_capacity(store, object.clone(), PIECE);
        let copied = tokio::io::copy_buf(
            &mut tokio::io::BufReader::with_capacity(256 * 1024, &mut file),
            &mut writer,
        )
        .await;
        let sent = match copied {
            Ok(_) => writer.shutdown().await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = sent {
            // What was sent of it would stay there unseen, and be paid for.
            if let Err(left) = writer.abort().await {
                tracing::debug!(%left, "parts of an upload are left in the object store");
            }
            return Err(problem.into());
        }
        // Not what we sent counts, but what is there.
        let found = self.store.head(&object).await?.size;
        if found != row.size {
            return Err(UploadError::Incomplete {
                found,
                size: row.size,
            });
        }
        Ok(())
    }
}

impl Shared {
    /// Uploads what is due.
    pub(super) async fn upload_due(&self) -> Result<(), StoreError> {
        let Some(bucket) = &self.bucket else {
            return Ok(());
        };
        let now_ms = unix_ms();
        let due = self
            .store
            .read(move |db| recordings::uploads_due(db, now_ms, BATCH))
            .await?;
        for row in due {
            self.upload(bucket, &row).await?;
        }
        Ok(())
    }

    async fn upload(&self, bucket: &Bucket, row: &Stored) -> Result<(), StoreError> {
        let id = row.id;
        let object = row.object.clone().unwrap_or_else(|| bucket.object(row));
        if let Err(problem) = bucket.put(self, row, &object).await {
            count(&self.counters.upload_failures);
            let delay = backoff(row.upload_attempts, rand::random());
            let problem = problem.to_string();
            tracing::warn!(
                recording_id = %id, attempts = row.upload_attempts + 1, %problem,
                again_in_s = delay.as_secs(), "a recording was not uploaded"
            );
            let next_ms = unix_ms() + delay.as_millis() as u64;
            let change = move |db: &_| recordings::upload_failed(db, id, &problem, next_ms);
            return self.store.write(change).await;
        }
        count(&self.counters.uploaded);
        tracing::info!(recording_id = %id, %object, size = row.size, "a recording is uploaded");
        let change = move |db: &_| recordings::confirmed(db, id);
        self.store.write(change).await?;
        if bucket.delete_local {
            self.forget_file(row).await?;
        }
        Ok(())
    }

    async fn forget_file(&self, row: &Stored) -> Result<(), StoreError> {
        if let Err(problem) = self.disk.remove(&row.app_id, row.id, row.format) {
            tracing::error!(recording_id = %row.id, %problem, "an uploaded recording's file stays");
            return Ok(());
        }
        let id = row.id;
        let change = move |db: &_| recordings::local_gone(db, id);
        self.store.write(change).await
    }
}

/// Exponential, half of it random so that what failed together does not come
/// back together.
fn backoff(attempts: u32, random: f64) -> Duration {
    let whole = FIRST_DELAY
        .saturating_mul(2_u32.saturating_pow(attempts))
        .min(LONGEST_DELAY);
    whole.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_the_longest_and_half_of_it_is_random() {
        let delay = |attempts, random| backoff(attempts, random).as_millis();
        assert_eq!(delay(0, 0.0), 1_000);
        assert_eq!(delay(0, 1.0), 2_000);
        assert_eq!(delay(3, 1.0), 16_000);
        assert_eq!(delay(u32::MAX, 1.0), 600_000);
    }
}
