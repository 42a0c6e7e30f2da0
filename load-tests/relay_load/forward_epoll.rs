//! Bare forwarding with epoll: one receive and one send for each packet.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::forwarder::LOOK;

pub fn forward(sockets: &[UdpSocket], over: &AtomicBool) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let epoll = unsafe { libc::epoll_create1(0) };
    if epoll < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, nobody else has it.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    for (leg, socket) in sockets.iter().enumerate() {
        socket.set_nonblocking(true)?;
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: leg as u64,
        };
        // SAFETY: the event is live.
        let added = unsafe {
            libc::epoll_ctl(
                epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                socket.as_raw_fd(),
                &mut event,
            )
        };
        if added < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
    let mut buffer = [0; 2048];
    let wait = LOOK.as_millis() as i32;
    while !over.load(Ordering::Relaxed) {
        // SAFETY: the events are live and as many as said.
        let ready = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), 256, wait) };
        for event in events.iter().take(ready.max(0) as usize) {
            let leg = event.u64 as usize;
            if let Ok(length) = sockets[leg].recv(&mut buffer) {
                // A send that is refused is a packet lost, as anywhere.
                let _ = sockets[leg ^ 1].send(&buffer[..length]);
            }
        }
    }
    Ok(())
}
