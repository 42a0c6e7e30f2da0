//! The root app's secret where none is configured: made at the first start
//! and kept in the data directory, for nobody else to read.

use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The root app's secret and where it comes from. Never printed.
#[derive(Clone)]
pub struct RootSecret {
    /// The secret itself.
    pub value: String,
    /// Where it comes from.
    pub origin: SecretOrigin,
}

impl fmt::Debug for RootSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootSecret(hidden, {:?})", self.origin)
    }
}

/// Where the root app's secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretOrigin {
    /// The configuration file or `RINGWIRE_SECRET`.
    Configured,
    /// This file of the data directory; made just now if `new`.
    Stored {
        /// The file. Name it at start, so that the operator finds the secret.
        file: PathBuf,
        /// Made at this start.
        new: bool,
    },
}

/// A secret can be neither read nor made.
#[derive(Debug, thiserror::Error)]
#[error(
    "the secret's file {}: {problem}; make the data directory writable, or configure the secret (RINGWIRE_SECRET is the root app's)",
    .file.display()
)]
pub struct RootSecretError {
    /// The file.
    pub file: PathBuf,
    /// What went wrong.
    pub problem: String,
}

/// The secret's file in the data directory.
const FILE_NAME: &str = "secret";

impl RootSecret {
    pub(super) fn given(secret: &str) -> Self {
        RootSecret {
            value: secret.to_string(),
            origin: SecretOrigin::Configured,
        }
    }

    pub(super) fn in_data_dir(data_dir: &Path) -> Result<Self, RootSecretError> {
        let KeptSecret { value, file, new } = kept_secret(data_dir, FILE_NAME)?;
        Ok(RootSecret {
            value,
            origin: SecretOrigin::Stored { file, new },
        })
    }
}

/// A secret in a file that only we may read. Never printed.
#[derive(Clone)]
pub struct KeptSecret {
    /// The secret itself.
    pub value: String,
    /// The file it is in.
    pub file: PathBuf,
    /// Whether it was made just now.
    pub new: bool,
}

impl fmt::Debug for KeptSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptSecret(hidden, {:?})", self.file)
    }
}

/// The secret in this file of the data directory, which is made where it is
/// not there: 256 random bits.
///
/// # Errors
/// The file can be neither read nor made, or is empty.
pub fn kept_secret(data_dir: &Path, name: &str) -> Result<KeptSecret, RootSecretError> {
    let file = data_dir.join(name);
    let fail = |error: io::Error| RootSecretError {
        file: file.clone(),
        problem: error.to_string(),
    };
    fs::create_dir_all(data_dir).map_err(fail)?;
    let new = if file.exists() {
        false
    } else {
        make(&file).map_err(fail)?
    };
    // Restored from a backup or mounted, it may have become readable.
    let mode = fs::metadata(&file).map_err(fail)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(&file, Permissions::from_mode(0o600)).map_err(fail)?;
    }
    let value = fs::read_to_string(&file).map_err(fail)?.trim().to_string();
    if value.is_empty() {
        return Err(RootSecretError {
            file,
            problem: "is empty; delete it to have a new one made".to_string(),
        });
    }
    Ok(KeptSecret { value, file, new })
}

/// Writes a new secret so that nobody ever sees half of it; false if another
/// process was quicker.
fn make(file: &Path) -> io::Result<bool> {
    let random: [u8; 32] = rand::random();
    let draft = file.with_extension(format!("{}.draft", std::process::id()));
    let _ = fs::remove_file(&draft);
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let written = out
        .write_all(format!("{}\n", hex::encode(random)).as_bytes())
        .and_then(|()| out.sync_all())
        .and_then(|()| fs::hard_link(&draft, file));
    fs::remove_file(&draft)?;
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_made_once_and_only_we_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let first = RootSecret::in_data_dir(&data_dir).unwrap();
        let file = data_dir.join("secret");
        assert_eq!(
            first.origin,
            SecretOrigin::Stored {
                file: file.clone(),
                new: true
            }
        );
        assert_eq!(first.value.len(), 64);
        let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        assert!(!format!("{first:?}").contains(&first.value));

        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let second = RootSecret::in_data_dir(&data_dir).unwrap();
        assert_eq!(second.value, first.value);
        assert_eq!(
            second.origin,
            SecretOrigin::Stored {
                file: file.clone(),
                new: false
            }
        );
        assert_eq!(mode(), 0o600);
        assert_eq!(fs::read_dir(&data_dir).unwrap().count(), 1);
    }

    #[test]
    fn an_empty_file_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "\n").unwrap();
        let error = RootSecret::in_data_dir(dir.path()).unwrap_err();
        assert!(error.to_string().contains("is empty"), "{error}");
    }
}
