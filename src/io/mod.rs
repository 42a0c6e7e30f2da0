//! Every socket, ring and clock of a shard, and nearly all unsafe code.
//!
//! A [`Backend`] waits for anything (media, SIP, a wake, a deadline), hands
//! what came to the shard's [`Core`] in batches, and sends what the core's
//! verdicts say. Two backends do the same job: io_uring ([`uring`]) and, where
//! that is refused, epoll with recvmmsg and sendmmsg ([`poll`]). Neither knows
//! a thing about RTP.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`backend`] | the choice between the two, the [`Core`] they call |
//! | [`uring`], [`poll`] | the two |
//! | [`sockets`] | binding, connecting, addresses as the kernel has them |
//! | [`ports`] | the shard's slice of the RTP port range |
//! | [`dtls`] | DTLS handshakes over buffers, with OpenSSL |
//! | [`hep`] | exporting SIP messages to a capture server |
//! | [`waker`] | waking a backend from another thread |
//! | [`affinity`] | pinning a thread to a core |
//! | [`service_manager`] | telling systemd how the service is |
//! | [`host`] | free disk, whether the clock is kept |

pub mod affinity;
pub mod backend;
mod batch;
pub mod dtls;
pub mod hep;
pub mod host;
mod lanes;
pub mod poll;
pub mod ports;
pub mod service_manager;
mod signalling;
pub mod sockets;
#[cfg(test)]
mod tests;
pub mod uring;
pub mod waker;

pub use backend::{Backend, BackendChoice, BackendSettings, Core, IoCounters};
pub use ports::{PortError, PortPair, PortPool};
pub use service_manager::{ServiceManager, ServiceState};
pub use waker::Waker;
