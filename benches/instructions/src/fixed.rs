//! The clock and the random numbers of the system, fixed: the same run counts
//! the same instructions.
//!
//! The standard library calls these functions of libc by name, and the linker
//! takes the definitions of the binary first. Without them the seed of every
//! `HashMap` and the nanoseconds of the first instant would differ from run to
//! run. The rooms themselves are handed time and seeds.

use std::ffi::{c_int, c_long, c_uint, c_void};

/// `struct timespec` of 64-bit Linux.
#[repr(C)]
struct TimeSpec {
    seconds: c_long,
    nanoseconds: c_long,
}

/// It is always the same moment.
///
/// # Safety
/// As in libc: `time` points to a `struct timespec`.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(_clock: c_int, time: *mut TimeSpec) -> c_int {
    let moment = TimeSpec {
        seconds: 1_000_000,
        nanoseconds: 250_000_000,
    };
    // SAFETY: the caller keeps the contract.
    unsafe { time.write(moment) };
    0
}

/// Octets that count up.
///
/// # Safety
/// As in libc: `buffer` has room for `length` octets.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _flags: c_uint) -> isize {
    for at in 0..length {
        // SAFETY: `at` is below `length`, and the caller keeps the contract.
        unsafe { buffer.cast::<u8>().add(at).write(at as u8) };
    }
    length as isize
}
