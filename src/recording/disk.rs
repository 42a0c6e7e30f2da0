//! Where recordings are: `{data_dir}/recordings/{app}/{id}.{ogg,wav}`, readable
//! by the gateway's user alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::ids::RecordingId;
use crate::io::host;
use crate::sound::file::FileFormat;

const DIRECTORY: &str = "recordings";

#[derive(Debug, Clone)]
pub(super) struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Makes the directory if it is not there.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let root = data_dir.join(DIRECTORY);
        make_directory(&root)?;
        Ok(Disk { root })
    }

    /// Bytes that may still be written.
    pub fn free(&self) -> io::Result<u64> {
        host::free_disk(&self.root)
    }

    /// Makes a recording's file, which must not be there yet.
    pub fn create(&self, app: &str, id: RecordingId, format: FileFormat) -> io::Result<File> {
        make_directory(&self.directory(app))?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path(app, id, format))
    }

    /// Opens a file that its writer did not live to end.
    pub fn open_again(&self, app: &str, id: RecordingId, format: FileFormat) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(app, id, format))
    }

    /// Removes a recording's file; one that is gone already is no error.
    pub fn remove(&self, app: &str, id: RecordingId, format: FileFormat) -> io::Result<()> {
        match fs::remove_file(self.path(app, id, format)) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(problem),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub fn path(&self, app: &str, id: RecordingId, format: FileFormat) -> PathBuf {
        self.directory(app)
            .join(format!("{id}.{}", format.extension()))
    }

    /// An app's id is letters, digits, `-`, `_` and `.`; what only dots make
    /// would be another directory.
    fn directory(&self, app: &str) -> PathBuf {
        self.root.join(app.replace('.', "%2E").replace('/', "%2F"))
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
