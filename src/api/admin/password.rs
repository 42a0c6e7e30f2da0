//! The administrator's password: configured, or set in the panel and kept as
//! an Argon2id hash; and the code that lets the first one be set.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::{Mutex, Semaphore};

use crate::api::auth::unix_ms;
use crate::api::error::ApiError;
use crate::config::{self, AdminPassword, KeptSecret, RootSecretError, kept_secret};
use crate::store::{Store, StoreError, documents};

use super::sessions::same;

/// The hash's name in the store.
const DOCUMENT: &str = "admin_password";
/// The code's file in the data directory.
const CODE_FILE: &str = "admin-setup-code";
/// Hashes that are computed at a time: each takes tens of milliseconds of a
/// core and 19 MiB.
const MAX_HASHING: usize = 2;
/// Those that wait for it; one more is told to come back.
const MAX_WAITING: usize = 16;

/// What guards the admin panel.
pub struct Password {
    known: RwLock<Known>,
    /// Held while the password changes.
    changing: Mutex<()>,
    hashing: Arc<Semaphore>,
    waiting: Semaphore,
    store: Store,
    data_dir: PathBuf,
}

#[derive(Default)]
struct Known {
    configured: Option<AdminPassword>,
    stored: Option<String>,
    setup: Option<KeptSecret>,
}

/// Where the password that counts comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the first one has to be set.
    NotSet,
    /// The configuration.
    Configured,
    /// The panel.
    Stored,
}

/// Why the password cannot be looked after.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file of the setup code.
    #[error(transparent)]
    Code(#[from] RootSecretError),
}

impl Password {
    /// What the configuration and the store say. Where neither has one, a
    /// setup code is made, or the one made before is read.
    pub fn open(config: &config::Config, store: Store) -> Result<Self, PasswordError> {
        let stored = store.read_blocking(|connection| documents::get(connection, DOCUMENT))?;
        let password = Password {
            known: RwLock::new(Known {
                stored: stored.map(|(hash, _)| hash),
                ..Known::default()
            }),
            changing: Mutex::default(),
            hashing: Arc::new(Semaphore::new(MAX_HASHING)),
            waiting: Semaphore::new(MAX_WAITING),
            store,
            data_dir: config.data_dir.clone(),
        };
        password.use_config(&config.admin)?;
        Ok(password)
    }

    /// From now on this configuration counts.
    pub fn use_config(&self, admin: &config::Admin) -> Result<(), RootSecretError> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.configured.clone_from(&admin.password);
        let set = known.configured.is_some() || known.stored.is_some();
        known.setup = match admin.enabled && !set {
            true => Some(kept_secret(&self.data_dir, CODE_FILE)?),
            false => None,
        };
        if set {
            self.forget_code_file();
        }
        Ok(())
    }

    /// Where the password comes from.
    pub fn origin(&self) -> Origin {
        let known = self.known();
        match (&known.configured, &known.stored) {
            (Some(_), _) => Origin::Configured,
            (None, Some(_)) => Origin::Stored,
            (None, None) => Origin::NotSet,
        }
    }

    /// The setup code, as long as no password is set.
    pub fn setup_code(&self) -> Option<KeptSecret> {
        self.known().setup.clone()
    }

    /// Whether this is the password.
    pub async fn is(&self, password: &str) -> Result<bool, ApiError> {
        let hash = {
            let known = self.known();
            match (&known.configured, &known.stored) {
                (Some(AdminPassword::Plain(plain)), _) => return Ok(same(plain, password)),
                (Some(AdminPassword::Hash(hash)), _) | (None, Some(hash)) => hash.clone(),
                (None, None) => return Ok(false),
            }
        };
        let password = password.to_string();
        self.hashing(move || {
            let hash = PasswordHash::new(&hash);
            hash.is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            })
        })
        .await
    }

    /// Sets the first password; false where the code is wrong.
    pub async fn set_first(&self, code: &str, password: &str) -> Result<bool, ApiError> {
        let _changing = self.changing.lock().await;
        match self.setup_code() {
            None => return Err(already_set()),
            Some(setup) if !same(&setup.value, code) => return Ok(false),
            Some(_) => {}
        }
        self.keep(password).await?;
        Ok(true)
    }

    /// Sets another password in place of the one that was set in the panel.
    pub async fn change(&self, password: &str) -> Result<(), ApiError> {
        let _changing = self.changing.lock().await;
        self.keep(password).await
    }

    async fn keep(&self, password: &str) -> Result<(), ApiError> {
        let password = password.to_string();
        let hash = self
            .hashing(move || {
                Argon2::default()
                    .hash_password(password.as_bytes())
                    .map(|hash| hash.to_string())
            })
            .await?
            .map_err(|error| {
                tracing::error!(%error, "a password could not be hashed");
                ApiError::of_status(axum::http::StatusCode::INTERNAL_SERVER_ERROR)
            })?;
        let document = hash.clone();
        self.store
            .write(move |connection| documents::put(connection, DOCUMENT, &document, unix_ms()))
            .await?;
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.stored = Some(hash);
            known.setup = None;
        }
        self.forget_code_file();
        Ok(())
    }

    /// Runs on a thread that may block, a few at a time.
    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let busy = || ApiError::overloaded("too many log in at once; try again in a second");
        let _waiting = self.waiting.try_acquire().map_err(|_| busy())?;
        let room = self.hashing.clone().acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            // Given back when the work is done, even if nobody waits any more.
            let _room = room;
            work()
        });
        done.await.map_err(|_| busy())
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_code_file(&self) {
        let file = self.data_dir.join(CODE_FILE);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(file = %file.display(), %error, "the used setup code cannot be removed; it opens nothing");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

fn already_set() -> ApiError {
    ApiError::new(
        axum::http::StatusCode::CONFLICT,
        "PASSWORD_SET",
        "a password is set already; log in with it",
    )
}
