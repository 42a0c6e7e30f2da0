//! What only a system call tells about the machine.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::sockets::checked;

/// Bytes that this user may still write to the file system of `path`.
///
/// # Errors
/// The path does not exist, or may not be reached.
pub fn free_disk(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: statvfs is plain data, for which all zeros is a value.
    let mut about: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends with a zero and `about` is live for the kernel to fill.
    checked(unsafe { libc::statvfs(path.as_ptr(), &mut about) })?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// Whether something (NTP, PTP) keeps the system's clock right.
pub fn clock_is_kept() -> bool {
    // SAFETY: timex is plain data, for which all zeros is a value: with no mode
    // set, nothing is changed.
    let mut about: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `about` is live for the kernel to fill.
    let state = unsafe { libc::adjtimex(&mut about) };
    (0..libc::TIME_ERROR).contains(&state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_a_directory_has_a_size_and_of_none_has_not() {
        assert!(free_disk(Path::new("/")).is_ok());
        let missing = free_disk(Path::new("/no/such/directory"));
        assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
