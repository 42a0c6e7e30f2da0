//! Sounds that apps keep on the gateway: a file each in the data directory,
//! and a row that says what it is. The row counts: a file without one is
//! nothing, and is overwritten by the next asset of its name.

use std::io;
use std::path::{Path, PathBuf};

use axum::http::StatusCode;
use sha2::{Digest, Sha256};
use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

use crate::config;
use crate::ids::AppId;
use crate::sound::clip::Clip;
use crate::store::assets::{self, Asset};
use crate::store::{Store, StoreError};

use super::auth::unix_ms;
use super::error::ApiError;

pub mod rest;

/// Below the data directory.
const DIRECTORY: &str = "assets";
/// A file on its way in. No app's directory begins with a dot.
const INCOMING: &str = ".incoming";

/// The assets of all apps.
pub struct Assets {
    directory: PathBuf,
    store: Store,
    limits: config::Assets,
    /// Held by whoever changes files and rows, one at a time: the limits of an
    /// app could else be passed by two uploads at once, and a row could tell
    /// of another's file.
    changing: Mutex<()>,
}

/// Why an asset was not kept or not read.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// The app has no asset of this name.
    #[error("there is no asset {0:?}; POST /assets/{0} uploads it")]
    NotFound(String),
    /// The app has as many files as it may.
    #[error("the app has {0} assets, and may have no more; delete some")]
    TooMany(u64),
    /// The app would have more bytes than it may.
    #[error("the app's assets would be longer than {0} bytes together; delete some")]
    TooMuch(u64),
    /// The file system.
    #[error("the asset's file cannot be used: {0}")]
    File(#[from] io::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AssetError> for ApiError {
    fn from(error: AssetError) -> Self {
        let (status, code) = match &error {
            AssetError::NotFound(_) => (StatusCode::NOT_FOUND, "ASSET_NOT_FOUND"),
            AssetError::TooMany(_) | AssetError::TooMuch(_) => {
                (StatusCode::CONFLICT, "ASSETS_FULL")
            }
            // The operator learns which; the path is nobody else's business.
            AssetError::File(problem) => {
                tracing::error!(%problem, "an asset's file cannot be used");
                return ApiError::overloaded("the asset's file cannot be used just now");
            }
            AssetError::Store(problem) => return problem.clone().into(),
        };
        ApiError::new(status, code, error.to_string())
    }
}

impl Assets {
    /// In this data directory.
    pub fn new(data_dir: &Path, store: Store, limits: config::Assets) -> Assets {
        Assets {
            directory: data_dir.join(DIRECTORY),
            store,
            limits,
            changing: Mutex::default(),
        }
    }

    /// All of an app, by name.
    pub async fn all(&self, app: &AppId) -> Result<Vec<Asset>, AssetError> {
        let app = app.clone();
        let all = self.store.read(move |db| assets::all(db, app.as_str()));
        Ok(all.await?)
    }

    /// What is known of one.
    pub async fn one(&self, app: &AppId, name: &str) -> Result<Asset, AssetError> {
        let key = (app.clone(), name.to_string());
        let found = self
            .store
            .read(move |db| assets::one(db, key.0.as_str(), &key.1));
        let found = found.await?;
        found.ok_or_else(|| AssetError::NotFound(name.to_string()))
    }

    /// Keeps a file that was decoded, in place of the one of its name if there
    /// is one; true if there was none.
    pub async fn put(
        &self,
        app: &AppId,
        name: &str,
        bytes: &[u8],
        clip: &Clip,
    ) -> Result<(Asset, bool), AssetError> {
        let source = clip.source();
        let asset = Asset {
            name: name.to_string(),
            size: bytes.len() as u64,
            sha256: hex::encode(Sha256::digest(bytes)),
            format: source.format.as_str().to_string(),
            sample_rate: source.sample_rate,
            channels: source.channels,
            duration_ms: u64::try_from(clip.duration().as_millis()).unwrap_or(u64::MAX),
            changed_ms: unix_ms(),
        };
        let _changing = self.changing.lock().await;
        let key = (app.clone(), name.to_string());
        let held = self
            .store
            .read(move |db| assets::held_beside(db, key.0.as_str(), &key.1));
        let held = held.await?;
        if held.count >= self.limits.max_files_per_app {
            return Err(AssetError::TooMany(held.count));
        }
        if held.bytes + asset.size > self.limits.max_bytes_per_app {
            return Err(AssetError::TooMuch(self.limits.max_bytes_per_app));
        }
        self.write(app, name, bytes).await?;
        let row = (app.clone(), asset.clone());
        let written = self
            .store
            .write(move |db| assets::put(db, row.0.as_str(), &row.1));
        Ok((asset, written.await?))
    }

    /// Written whole beside the others, and then put in its place: who reads
    /// meanwhile reads the old file to its end.
    async fn write(&self, app: &AppId, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(app, name);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).await?;
        }
        let incoming = self.directory.join(INCOMING);
        let mut file = fs::File::create(&incoming).await?;
        file.write_all(bytes).await?;
        file.sync_all().await?;
        fs::rename(&incoming, &path).await
    }

    /// The file of an asset, open.
    pub async fn open(&self, app: &AppId, name: &str) -> Result<fs::File, AssetError> {
        match fs::File::open(self.path(app, name)).await {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(AssetError::NotFound(name.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// All of an asset's file.
    pub async fn read(&self, app: &AppId, name: &str) -> Result<Vec<u8>, AssetError> {
        match fs::read(self.path(app, name)).await {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(AssetError::NotFound(name.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes one.
    pub async fn delete(&self, app: &AppId, name: &str) -> Result<(), AssetError> {
        let _changing = self.changing.lock().await;
        let key = (app.clone(), name.to_string());
        let deleted = self
            .store
            .write(move |db| assets::delete(db, key.0.as_str(), &key.1));
        if !deleted.await? {
            return Err(AssetError::NotFound(name.to_string()));
        }
        gone(fs::remove_file(self.path(app, name)).await)?;
        Ok(())
    }

    /// Removes all of an app that is removed itself: another that is given its
    /// name later must not find them.
    pub async fn delete_all(&self, app: &AppId) -> Result<(), AssetError> {
        let _changing = self.changing.lock().await;
        let key = app.clone();
        let deleted = self
            .store
            .write(move |db| assets::delete_all(db, key.as_str()));
        deleted.await?;
        gone(fs::remove_dir_all(self.directory_of(app)).await)?;
        Ok(())
    }

    fn path(&self, app: &AppId, name: &str) -> PathBuf {
        self.directory_of(app).join(name)
    }

    /// An app's id is made of what file names are made of. `.` and `..` are
    /// such ids too, so a dot at the start is written otherwise.
    fn directory_of(&self, app: &AppId) -> PathBuf {
        let id = app.as_str();
        match id.strip_prefix('.') {
            Some(rest) => self.directory.join(format!("%2E{rest}")),
            None => self.directory.join(id),
        }
    }
}

/// What is not there is removed.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
