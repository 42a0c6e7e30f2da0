//! What the tests against a running gateway share: the gateway itself as a
//! process, the clients that drive it, and the peers that call it and are
//! called by it. Nothing here looks inside the gateway, but for `placement`,
//! and `talker`, which has its codecs; phones and browsers have their own.
//!
//! There are no sleeps to wait for something: everything polls with a
//! deadline and says what it waited for. Deadlines are far past what the step
//! takes; none of them measures.

pub mod admin;
pub mod baresip;
pub mod digest;
pub mod gateway;
pub mod hooks;
pub mod http;
pub mod kamailio;
pub mod media_server;
#[allow(dead_code)] // `tests/quality` asks for some of it.
pub mod mixed_room;
pub mod placement;
pub mod ports;
pub mod relay;
pub mod rtp;
pub mod sip;
pub mod sipp;
#[allow(dead_code)] // The same.
pub mod talker;
pub mod tone;
pub mod websocket;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

pub use baresip::Baresip;
pub use gateway::Gateway;
pub use hooks::{HookReceiver, HookReply};
pub use media_server::MediaServer;
pub use ports::Ports;
pub use sipp::Sipp;
pub use websocket::WebSocket;

/// How long anything that must happen is waited for. Far more than it needs,
/// for a machine that is doing other things too.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(20);

/// The runtime of the HTTP, WebSocket and hook ends of a test.
pub static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a tokio runtime")
});

/// Polls until `look` finds something; panics with `what` past [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    match within(PATIENCE, look) {
        Some(found) => found,
        None => panic!("{what}: not within {} s", PATIENCE.as_secs()),
    }
}

/// Polls until `look` finds something or the time is over.
pub fn within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Panics with a clear word when a peer's program is missing: such a test
/// fails, it is never skipped.
#[track_caller]
pub fn require_program(program: &str) {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    assert!(
        found,
        "this test needs `{program}`, which is not installed: run scripts/install-dependencies test"
    );
}
