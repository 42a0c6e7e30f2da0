//! Recordings that wait for the object store. The file stays on the disk until
//! the store itself says that it has all of it.

use std::time::Duration;

use crate::store::StoreError;
use crate::store::recordings::{self, Recording as Stored};

use super::Shared;
use super::bucket::Bucket;
use super::counters::count;
use super::ending::unix_ms;

/// Uploads looked for at a time.
const BATCH: usize = 16;
/// The first delay after a failure; it doubles.
const FIRST_DELAY: Duration = Duration::from_secs(2);
/// The longest delay between two tries.
const LONGEST_DELAY: Duration = Duration::from_secs(600);

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
        let path = self.disk.path(&row.app_id, row.id, row.format);
        if let Err(problem) = bucket.put(&path, row, &object).await {
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

    /// The store has it; the disk need not.
    pub(super) async fn forget_file(&self, row: &Stored) -> Result<(), StoreError> {
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
