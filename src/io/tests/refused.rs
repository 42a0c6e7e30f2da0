//! A system that refuses io_uring, as containers do.

use std::io;

use super::*;

/// Makes the kernel answer EPERM to io_uring_setup, for the calling thread and
/// for good.
fn refuse_io_uring() {
    let statement = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut filter = [
        // Load the system call's number; the first field of seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_io_uring_setup as u32,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: plain numbers, and a program that is live during the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        let set = libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program);
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
    }
}

#[test]
fn where_the_kernel_refuses_io_uring_auto_is_poll_and_uring_is_an_error() {
    std::thread::spawn(|| {
        let settings = BackendSettings::default();
        let before = Backend::new(BackendChoice::Auto, settings).expect("made");
        assert_eq!(before.name(), "uring");
        refuse_io_uring();
        let error = Backend::new(BackendChoice::Uring, settings).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        let mut rig = Rig::new(BackendChoice::Auto);
        assert_eq!(rig.backend.name(), "poll");
        let caller = peer(V4);
        let entry = rig.media(0, V4);
        caller.send_to(b"works", entry).expect("sent");
        rig.heard(1);
    })
    .join()
    .expect("joined");
}

#[test]
fn a_backend_made_on_one_thread_runs_and_ends_on_another() {
    for choice in [BackendChoice::Poll, BackendChoice::Uring] {
        let mut rig = Rig::new(choice);
        let caller = peer(V4);
        let entry = rig.media(0, V4);
        std::thread::spawn(move || {
            caller.send_to(b"works", entry).expect("sent");
            rig.heard(1);
        })
        .join()
        .expect("joined");
    }
}
