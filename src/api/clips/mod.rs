//! Sounds made ready to be played: an asset or a URL becomes a [`Clip`],
//! fetched and decoded here, on threads that may take their time. Decoded
//! clips are kept, up to a number of bytes, for the next use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::book::{HookPolicy, SoundSource};
use crate::config;
use crate::ids::AppId;
use crate::sound::clip::{Clip, ClipError, ClipLimits};

use super::assets::{AssetError, Assets};
use super::error::ApiError;
use super::http_client::HttpClientError;

mod cache;
mod fetch;

use cache::{Cache, Key, Loaded, Origin};
use fetch::{Fetched, Fetcher};

/// Sounds decoded at a time. It is work without a pause, on a machine whose
/// cores belong to the shards.
const MAX_DECODING: usize = 2;
/// Files read or fetched at a time, each in memory.
const MAX_LOADING: usize = 16;
/// Files that are uploaded at a time, each in memory. They are counted apart: a
/// client that uploads slowly must not keep a call from its sound.
const MAX_UPLOADING: usize = 16;
/// How long somebody waits for room before he is told that there is none.
const PATIENCE: Duration = Duration::from_secs(20);
/// A URL that failed is not asked again for this long: a busy number must not
/// become a storm of requests.
const FAILURE_KEPT: Duration = Duration::from_secs(5);

/// Why a sound cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClipLoadError {
    /// The app has no asset of this name.
    #[error("there is no asset {0:?}; POST /assets/{0} uploads it")]
    AssetNotFound(String),
    /// It is no sound that can be played.
    #[error("{0}")]
    Invalid(ClipError),
    /// The URL leads where the policy does not allow.
    #[error("{0}")]
    UrlNotAllowed(String),
    /// The URL could not be fetched.
    #[error("the sound could not be fetched: {0}")]
    FetchFailed(String),
    /// Too much is being loaded, or the disk does not answer.
    #[error("{0}")]
    Overloaded(String),
}

impl ClipLoadError {
    /// `SNAKE_CODE`, stable.
    pub fn code(&self) -> &'static str {
        match self {
            ClipLoadError::AssetNotFound(_) => "ASSET_NOT_FOUND",
            ClipLoadError::Invalid(ClipError::TooLong(_)) => "CLIP_TOO_LONG",
            ClipLoadError::Invalid(_) => "CLIP_INVALID",
            ClipLoadError::UrlNotAllowed(_) => "URL_NOT_ALLOWED",
            ClipLoadError::FetchFailed(_) => "FETCH_FAILED",
            ClipLoadError::Overloaded(_) => "OVERLOADED",
        }
    }
}

impl From<ClipLoadError> for ApiError {
    fn from(error: ClipLoadError) -> Self {
        let status = match &error {
            ClipLoadError::AssetNotFound(_) => StatusCode::NOT_FOUND,
            ClipLoadError::Invalid(_) | ClipLoadError::UrlNotAllowed(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ClipLoadError::FetchFailed(_) => StatusCode::BAD_GATEWAY,
            ClipLoadError::Overloaded(message) => return ApiError::overloaded(message.clone()),
        };
        ApiError::new(status, error.code(), error.to_string())
    }
}

impl From<AssetError> for ClipLoadError {
    fn from(error: AssetError) -> Self {
        match error {
            AssetError::NotFound(name) => ClipLoadError::AssetNotFound(name),
            AssetError::File(problem) => {
                tracing::error!(%problem, "an asset's file cannot be read");
                ClipLoadError::Overloaded("the asset's file cannot be read just now".to_string())
            }
            other => ClipLoadError::Overloaded(other.to_string()),
        }
    }
}

/// What was done so far, for the metrics.
#[derive(Debug, Default)]
pub struct ClipCounters {
    /// Sounds that were ready.
    pub hits: AtomicU64,
    /// Sounds that were read or fetched, and decoded.
    pub loaded: AtomicU64,
    /// URLs that were asked and had nothing new.
    pub not_modified: AtomicU64,
    /// Sounds that could not be had.
    pub failed: AtomicU64,
}

/// Loads sounds.
pub struct Clips {
    assets: Arc<Assets>,
    settings: config::Assets,
    fetcher: Fetcher,
    cache: Cache,
    decoding: Arc<Semaphore>,
    loading: Arc<Semaphore>,
    uploading: Arc<Semaphore>,
    counters: ClipCounters,
}

impl Clips {
    /// Of these assets, and of URLs that the policy of hooks allows.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        assets: Arc<Assets>,
        settings: config::Assets,
        policy: HookPolicy,
    ) -> Result<Clips, HttpClientError> {
        Ok(Clips {
            assets,
            settings,
            fetcher: Fetcher::new(policy, settings.url_timeout, settings.max_file)?,
            cache: Cache::new(settings.cache),
            decoding: Arc::new(Semaphore::new(MAX_DECODING)),
            loading: Arc::new(Semaphore::new(MAX_LOADING)),
            uploading: Arc::new(Semaphore::new(MAX_UPLOADING)),
            counters: ClipCounters::default(),
        })
    }

    /// From now on URLs have to keep to this policy. Sounds that are ready stay.
    ///
    /// # Errors
    /// When TLS cannot be set up; nothing has changed then.
    pub fn use_policy(&self, policy: &HookPolicy) -> Result<(), HttpClientError> {
        self.fetcher.use_policy(policy)
    }

    /// The sound of this app. Those who ask for the same one wait for the same
    /// load.
    ///
    /// # Errors
    /// Why it cannot be played, and what to do.
    pub async fn clip(
        &self,
        app: &AppId,
        source: &SoundSource,
    ) -> Result<Arc<Clip>, ClipLoadError> {
        let result = match source {
            SoundSource::Asset(name) => self.asset(app, name).await,
            SoundSource::Url { url, trusted } => self.url(url, *trusted).await,
        };
        result.inspect_err(|_| count(&self.counters.failed))
    }

    /// Decodes a file, on a thread that may block.
    ///
    /// # Errors
    /// Why it is no sound.
    pub async fn decode(&self, bytes: Bytes) -> Result<Arc<Clip>, ClipLoadError> {
        let room = room(&self.decoding).await?;
        let limits = ClipLimits {
            max_duration: self.settings.max_duration,
        };
        let work = move || {
            // Held until it is done, also when nobody waits for it any more.
            let _room = room;
            Clip::decode(&bytes, limits)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(decoded) => decoded.map(Arc::new).map_err(ClipLoadError::Invalid),
            Err(_) => Err(ClipLoadError::Overloaded(
                "the gateway is ending".to_string(),
            )),
        }
    }

    /// Leave to take an upload into memory, for as long as it is held.
    ///
    /// # Errors
    /// When there is no room for long.
    pub async fn uploading(&self) -> Result<OwnedSemaphorePermit, ClipLoadError> {
        room(&self.uploading).await
    }

    /// What was done so far.
    pub fn counters(&self) -> &ClipCounters {
        &self.counters
    }

    /// Clips that are kept, and their bytes.
    pub fn kept(&self) -> (usize, u64) {
        self.cache.kept()
    }

    async fn asset(&self, app: &AppId, name: &Arc<str>) -> Result<Arc<Clip>, ClipLoadError> {
        let asset = self.assets.one(app, name).await?;
        // Another file of the same name is another sound.
        let slot = self.cache.slot(Key::Asset {
            app: app.clone(),
            name: name.clone(),
        });
        let mut held = slot.lock().await;
        if let Some(loaded) = &*held
            && let Origin::Asset { sha256 } = &loaded.origin
            && *sha256 == asset.sha256
        {
            count(&self.counters.hits);
            return loaded.result.clone();
        }
        let _room = room(&self.loading).await?;
        let bytes = self.assets.read(app, name).await?;
        let clip = self.decode(bytes.into()).await?;
        count(&self.counters.loaded);
        let origin = Origin::Asset {
            sha256: asset.sha256,
        };
        *held = Some(Loaded {
            result: Ok(clip.clone()),
            origin,
        });
        drop(held);
        self.cache.keep(&slot, clip.size() as u64);
        Ok(clip)
    }

    async fn url(&self, url: &Arc<str>, trusted: bool) -> Result<Arc<Clip>, ClipLoadError> {
        let slot = self.cache.slot(Key::Url {
            url: url.clone(),
            trusted,
        });
        let mut held = slot.lock().await;
        let now = Instant::now();
        if let Some(loaded) = &*held
            && let Origin::Url { fresh_until, .. } = &loaded.origin
            && now < *fresh_until
        {
            count(&self.counters.hits);
            return loaded.result.clone();
        }
        let _room = room(&self.loading).await?;
        let known = held.as_ref().and_then(Loaded::validators);
        let fetched = self.fetcher.fetch(url, trusted, known).await;
        let fresh = |kept| Instant::now() + kept;
        let (result, validators) = match fetched {
            Ok(Fetched::Unchanged) => {
                count(&self.counters.not_modified);
                if let Some(loaded) = &mut *held {
                    loaded.stays_fresh_until(fresh(self.settings.url_fresh));
                    return loaded.result.clone();
                }
                // A server that says so unasked.
                let problem = "answered 304 to a request without conditions".to_string();
                (Err(ClipLoadError::FetchFailed(problem)), None)
            }
            Ok(Fetched::File { bytes, validators }) => (self.decode(bytes).await, Some(validators)),
            Err(error) => (Err(error), None),
        };
        // What was fetched before is better than silence; only where the URL
        // may not be asked at all any more, it is not played either.
        if let Err(error @ ClipLoadError::FetchFailed(_)) = &result
            && let Some(loaded) = &mut *held
            && let Ok(clip) = loaded.result.clone()
        {
            tracing::warn!(url = super::hooks::without_secrets(url), problem = %error, "an older copy of a sound is played");
            loaded.stays_fresh_until(fresh(FAILURE_KEPT));
            return Ok(clip);
        }
        let kept = match &result {
            Ok(_) => self.settings.url_fresh,
            Err(_) => FAILURE_KEPT,
        };
        let size = result.as_ref().map_or(0, |clip| clip.size() as u64);
        if result.is_ok() {
            count(&self.counters.loaded);
        }
        *held = Some(Loaded {
            result: result.clone(),
            origin: Origin::Url {
                fresh_until: fresh(kept),
                validators: validators.unwrap_or_default(),
            },
        });
        drop(held);
        self.cache.keep(&slot, size);
        result
    }
}

async fn room(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ClipLoadError> {
    match tokio::time::timeout(PATIENCE, semaphore.clone().acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(ClipLoadError::Overloaded(
            "too many sounds are being loaded; try again in a second".to_string(),
        )),
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
