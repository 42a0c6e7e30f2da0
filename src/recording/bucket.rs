//! The S3-compatible store that recordings are brought to: one object each, in
//! one piece or several, and what the store has to say of it afterwards.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::{
    Attribute, AttributeValue, Attributes, BackoffConfig, ClientOptions, MultipartUpload,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, RetryConfig,
};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::config::S3;
use crate::store::recordings::Recording as Stored;

/// Sent in one piece; a longer file goes in pieces of this size.
const PIECE: usize = 8 * 1024 * 1024;
/// A request that fails for a moment is tried again so often at once. Longer
/// waits are the queue's, and stand in the database.
const RETRIES: usize = 2;
/// Under this name an object's metadata holds the hash of its file.
const HASH: &str = "sha256";

/// The store, and where in it recordings go.
pub(super) struct Bucket {
    store: Arc<AmazonS3>,
    prefix: String,
    pub delete_local: bool,
    pub delete_expired: bool,
}

/// Why something did not get to the store, or out of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    #[error(
        "the object store does not let us: {0}; correct the keys of recording.s3, or what they may do in the bucket"
    )]
    Denied(object_store::Error),
    #[error("the object store refused, or did not answer: {0}")]
    Store(object_store::Error),
    #[error("the file cannot be read: {0}")]
    File(#[from] std::io::Error),
    #[error("the file has {size} bytes and the hash {found}, and is not what was recorded")]
    Changed { size: u64, found: String },
    #[error("the object store has {found} of {size} bytes")]
    Incomplete { found: u64, size: u64 },
}

impl From<object_store::Error> for UploadError {
    fn from(problem: object_store::Error) -> Self {
        match problem {
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => UploadError::Denied(problem),
            other => UploadError::Store(other),
        }
    }
}

impl Bucket {
    pub fn new(settings: &S3) -> Result<Self, object_store::Error> {
        // As for all other HTTP clients: TLS by ring. Refused only when a
        // provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryConfig {
            backoff: BackoffConfig {
                max_backoff: Duration::from_secs(2),
                ..BackoffConfig::default()
            },
            max_retries: RETRIES,
            retry_timeout: settings.timeout,
        };
        let client = ClientOptions::new()
            .with_allow_http(settings.allow_http)
            .with_timeout(settings.timeout);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_access_key_id(&settings.access_key)
            .with_secret_access_key(settings.secret_key())
            .with_client_options(client)
            .with_retry(retry);
        if settings.checksums {
            builder = builder.with_checksum_algorithm(Checksum::SHA256);
        }
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(Bucket {
            store: Arc::new(builder.build()?),
            prefix: settings.prefix.clone(),
            delete_local: settings.delete_local_after_upload,
            delete_expired: settings.delete_expired,
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

    /// Brings a file there. It is there when this succeeds: what was sent is
    /// what was recorded, by its hash, and the store has all of it. The store
    /// has compared each request's body with the hash that is signed with it
    /// (`x-amz-content-sha256`), and with the checksum if there is one.
    pub async fn put(
        &self,
        path: &std::path::Path,
        row: &Stored,
        object: &str,
    ) -> Result<(), UploadError> {
        let object = Path::from(object);
        let mut source = Source::open(path).await?;
        let first = source.piece().await?;
        let attributes: Attributes = row
            .sha256
            .iter()
            .map(|hash| {
                (
                    Attribute::Metadata(HASH.into()),
                    AttributeValue::from(hash.clone()),
                )
            })
            .collect();
        if first.len() < PIECE {
            source.check(row)?;
            let options = PutOptions::from(attributes);
            let payload = PutPayload::from(first);
            self.store.put_opts(&object, payload, options).await?;
        } else {
            let options = PutMultipartOptions::from(attributes);
            let mut upload = self.store.put_multipart_opts(&object, options).await?;
            if let Err(problem) = in_pieces(upload.as_mut(), first, &mut source, row).await {
                // What was sent of it would stay there unseen, and be paid for.
                if let Err(left) = upload.abort().await {
                    tracing::debug!(%left, "parts of an upload are left in the object store");
                }
                return Err(problem);
            }
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

async fn in_pieces(
    upload: &mut dyn MultipartUpload,
    first: Vec<u8>,
    source: &mut Source,
    row: &Stored,
) -> Result<(), UploadError> {
    let mut piece = first;
    while !piece.is_empty() {
        upload.put_part(PutPayload::from(piece)).await?;
        piece = source.piece().await?;
    }
    // Before the object is put together.
    source.check(row)?;
    upload.complete().await?;
    Ok(())
}

/// A file on its way, and the hash of what has been read of it.
struct Source {
    file: File,
    hash: Sha256,
    size: u64,
}

impl Source {
    async fn open(path: &std::path::Path) -> Result<Self, UploadError> {
        Ok(Source {
            file: File::open(path).await?,
            hash: Sha256::new(),
            size: 0,
        })
    }

    /// The next piece; shorter than [`PIECE`] only at the end.
    async fn piece(&mut self) -> Result<Vec<u8>, UploadError> {
        let mut piece = Vec::new();
        let mut rest = (&mut self.file).take(PIECE as u64);
        rest.read_to_end(&mut piece).await?;
        self.hash.update(&piece);
        self.size += piece.len() as u64;
        Ok(piece)
    }

    /// Whether what was read is what was recorded.
    fn check(&self, row: &Stored) -> Result<(), UploadError> {
        let found = hex::encode(self.hash.clone().finalize());
        let known = row.sha256.as_ref().is_none_or(|hash| *hash == found);
        if known && self.size == row.size {
            return Ok(());
        }
        Err(UploadError::Changed {
            size: self.size,
            found,
        })
    }
}
