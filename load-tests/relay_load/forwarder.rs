//! What the bare forwarders share: a socket for each leg, connected to its
//! peer. They parse nothing and know nothing: the practical limit of sockets.

use std::io::{self, Read};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::arguments::Arguments;
use crate::streams;

/// How often a forwarder without packets looks whether it is to end.
pub const LOOK: Duration = Duration::from_millis(100);
/// Room in a socket for what the forwarder is too slow for, as the gateway's.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Forwards until standard input ends.
pub fn serve(
    arguments: &Arguments,
    forward: fn(&[UdpSocket], &AtomicBool) -> io::Result<()>,
) -> io::Result<()> {
    let mut sockets = Vec::new();
    for leg in streams::read(&arguments.streams)? {
        let socket = UdpSocket::bind(leg.device)?;
        socket.connect(leg.ours)?;
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        sockets.push(socket);
    }
    let over = Arc::new(AtomicBool::new(false));
    let ended = over.clone();
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        ended.store(true, Ordering::Relaxed);
    });
    println!("ready");
    forward(&sockets, &over)
}
