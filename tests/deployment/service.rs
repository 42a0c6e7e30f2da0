//! The gateway as a service of systemd (`Type=notify`, `WatchdogSec`).

use std::os::unix::net::UnixDatagram;

use crate::support::{Gateway, PATIENCE};

struct Manager {
    socket: UnixDatagram,
    path: String,
    _directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        Self {
            socket,
            path: path.to_str().expect("a path").to_owned(),
            _directory: directory,
        }
    }

    /// The next thing that the service says.
    #[track_caller]
    fn hears(&self) -> String {
        let mut buffer = [0; 256];
        let length = self.socket.recv(&mut buffer).expect("a word in time");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }
}

#[test]
fn the_service_manager_hears_of_the_start_of_life_and_of_the_end() {
    let manager = Manager::new();
    let mut gateway = Gateway::with()
        .env("NOTIFY_SOCKET", &manager.path)
        .env("WATCHDOG_USEC", "400000")
        .start();
    assert_eq!(manager.hears(), "READY=1\n");
    for _ in 0..3 {
        assert_eq!(manager.hears(), "WATCHDOG=1\n");
    }
    gateway.terminate();
    let mut said = manager.hears();
    while said == "WATCHDOG=1\n" {
        said = manager.hears();
    }
    assert_eq!(said, "STOPPING=1\n");
    assert!(gateway.wait_for_exit().success());
}

#[test]
fn a_gateway_without_a_watchdog_says_only_what_it_is_asked_for() {
    let manager = Manager::new();
    let mut gateway = Gateway::with().env("NOTIFY_SOCKET", &manager.path).start();
    assert_eq!(manager.hears(), "READY=1\n");
    gateway.terminate();
    assert_eq!(manager.hears(), "STOPPING=1\n");
    assert!(gateway.wait_for_exit().success());
}
