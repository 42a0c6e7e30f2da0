//! DTLS-SRTP (RFC 5763, 5764) as the table sees it: an engine that shakes
//! hands over buffers is handed in; here it is decided whose datagrams reach
//! it, whose certificate is believed, and what its keys are for.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `association` | one port's handshakes: who may begin one, which one counts |
//! | `intake` | from a datagram to the handshake it is for |
//! | `records` | what of a datagram may reach a session at all |
//! | `queue` | where datagrams wait for a step, and how many may |
//! | `steps` | one datagram or one deadline at a time |
//! | `opening` | how a handshake begins |
//! | `progress` | what comes of a step |
//! | `limits` | handshakes per second |

mod association;
mod intake;
mod limits;
mod opening;
mod progress;
mod queue;
mod records;
mod steps;

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Instant;

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::table::Table;
use crate::keying::{DtlsRole, Fingerprint, FingerprintHash, MasterKey};
use association::Association;
pub(super) use association::Component;
use limits::Limits;
use queue::Queue;

/// One port of one leg, by the leg's place in the table.
type Key = (u32, Component);

/// Makes DTLS sessions; has the gateway's certificate.
pub trait DtlsEngine: Debug + std::marker::Send {
    /// SHA-256 of the gateway's certificate.
    fn fingerprint(&self) -> Fingerprint;

    /// A new session. A server of this kind believes the first ClientHello:
    /// for peers whose address is proved.
    ///
    /// # Errors
    /// What the library said, in a few words.
    fn start(&mut self, role: DtlsRole) -> Result<Box<dyn DtlsSession>, &'static str>;

    /// As server, to a peer whose address nothing has proved: a ClientHello
    /// without the cookie of `address` is answered by asking for it, and
    /// nothing of it is kept (RFC 6347 section 4.2.1). One with it makes a
    /// session, which an empty datagram sets going. The hello has to come in
    /// one record, as for all that answer without keeping anything.
    ///
    /// # Errors
    /// What the library said, in a few words.
    fn greet(
        &mut self,
        address: &[u8],
        hello: &[u8],
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Box<dyn DtlsSession>>, &'static str>;
}

/// One DTLS association. Sends nothing by itself: what is to go out is handed
/// to `out`, one call per datagram.
pub trait DtlsSession: Debug + std::marker::Send {
    /// Takes a datagram in; an empty one sets a client going, or a server that
    /// was greeted.
    fn handle(&mut self, now: Instant, datagram: &[u8], out: &mut dyn FnMut(&[u8]));

    /// The time of [`Self::next_timeout`] has come.
    fn timeout(&mut self, now: Instant, out: &mut dyn FnMut(&[u8]));

    /// When the last flight is to be repeated; `None`: not at all.
    fn next_timeout(&self) -> Option<Instant>;

    /// How far it has come.
    fn state(&self) -> &DtlsState;
}

/// How far a DTLS association has come.
#[derive(Debug)]
pub enum DtlsState {
    /// Not done yet.
    Handshaking,
    /// The keys are there.
    Done(Box<DtlsKeys>),
    /// It is done and of no use, and why: another one would end alike.
    Useless(&'static str),
    /// It came to nothing, and why.
    Failed(&'static str),
    /// The peer has ended it.
    Closed,
}

/// What a handshake gives (RFC 5764 section 4.2).
#[derive(Debug)]
pub struct DtlsKeys {
    /// For what the client sends.
    pub client: MasterKey,
    /// For what the server sends.
    pub server: MasterKey,
    /// The peer's certificate, DER.
    pub peer_certificate: Vec<u8>,
}

/// The associations of a table and their limits.
#[derive(Debug, Default)]
pub(super) struct Dtls {
    pub(super) engine: Option<Box<dyn DtlsEngine>>,
    legs: HashMap<(u32, Component), Association>,
    limits: Limits,
    queue: Queue,
}

impl Dtls {
    /// Forgets everything of a leg.
    pub(super) fn forget(&mut self, leg: u32) {
        for component in Component::ALL {
            self.remove((leg, component));
        }
    }

    /// Forgets a port's handshakes, and what waits for them.
    fn remove(&mut self, key: Key) {
        if let Some(gone) = self.legs.remove(&key)
            && !gone.waiting.is_empty()
        {
            self.queue.forget(key);
        }
    }
}

impl Table {
    /// From now on legs may be secured by DTLS.
    pub fn set_dtls(&mut self, engine: Box<dyn DtlsEngine>) {
        self.transport.dtls.engine = Some(engine);
    }
}

/// Whether the fingerprint is the certificate's (RFC 8122 section 5).
fn is_of(fingerprint: &Fingerprint, certificate: &[u8]) -> bool {
    let digest = match fingerprint.hash {
        FingerprintHash::Sha1 => Sha1::digest(certificate).to_vec(),
        FingerprintHash::Sha256 => Sha256::digest(certificate).to_vec(),
        FingerprintHash::Sha384 => Sha384::digest(certificate).to_vec(),
        FingerprintHash::Sha512 => Sha512::digest(certificate).to_vec(),
    };
    digest == fingerprint.digest
}
