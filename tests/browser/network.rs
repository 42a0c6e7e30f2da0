//! A network of the test's own, in a namespace that only this test's thread
//! and what it starts afterwards see: browsers and phones gather no loopback
//! addresses for media, so there is an interface with addresses, and a default
//! route to nowhere, which the discovery of one's own address asks for.
//!
//! Each test is a process of its own under nextest, so nothing else is moved.

use std::net::IpAddr;
use std::process::{Command, Stdio};

use crate::support::require_program;

/// Where the gateway's SIP and media are. Its API stays on 127.0.0.1, which
/// browsers trust like https.
pub const GATEWAY: &str = "10.99.0.1";
/// Where phones are: at the same address, as baresip does not bind its media to
/// one, and what the kernel sends from here to itself bears the address that
/// it is sent to.
pub const PHONE: &str = GATEWAY;
/// The same over IPv6.
pub const GATEWAY_V6: &str = "fd00:99::1";
pub const PHONE_V6: &str = GATEWAY_V6;

/// Which addresses there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    /// No IPv4 outside of loopback at all.
    V6,
}

/// A parsed address of this module.
pub fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

/// Moves this thread into a fresh namespace with these addresses.
#[track_caller]
pub fn enter(family: Family) {
    require_program("ip");
    // SAFETY: no memory is involved; it changes what this thread sees only.
    let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(
        moved,
        0,
        "a network namespace needs root; without it, run the tests by `unshare -rn`: {}",
        std::io::Error::last_os_error()
    );
    run("link set lo up");
    run("link add v0 type veth peer name v1");
    for end in ["v0", "v1"] {
        // No address of its own making, that turns up a second later: Chromium
        // then breaks off what it is loading, as the network has changed.
        run(&format!("link set {end} addrgenmode none"));
        run(&format!("link set {end} up"));
    }
    match family {
        Family::V4 => {
            for address in [GATEWAY, "10.99.0.2", "10.99.0.3"] {
                run(&format!("addr add {address}/24 dev v0"));
            }
            run("route add default via 10.99.0.254 dev v0");
        }
        Family::V6 => {
            for address in [GATEWAY_V6, "fd00:99::2", "fd00:99::3"] {
                // Without asking the neighbours first whether it is free.
                run(&format!("-6 addr add {address}/64 dev v0 nodad"));
            }
            run("-6 route add default via fd00:99::fe dev v0");
        }
    }
}

#[track_caller]
fn run(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .output()
        .expect("`ip` runs");
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
