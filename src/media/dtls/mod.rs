//! DTLS-SRTP (RFC 5763, 5764) as the table sees it: an engine that shakes
//! hands over buffers is handed in; here it is decided whose datagrams reach
//! it, whose certificate is believed, and what its keys are for.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::drop_reason::DropReason;
use super::generated::Transmit;
use super::latch::Source;
use super::packet::{Packet, Verdict};
use super::table::{Notice, Table};
use crate::keying::{DtlsRole, Fingerprint, FingerprintHash, MasterKey, Security};

/// Content type of a handshake record (RFC 6347 section 4.1).
const HANDSHAKE: u8 = 22;
/// Handshake type of a ClientHello, behind a record header of 13 bytes.
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER: usize = 13;
/// Over this long handshakes are counted for the limits.
const LIMIT_WINDOW: Duration = Duration::from_secs(1);

/// Makes DTLS sessions; has the gateway's certificate.
pub trait DtlsEngine: Debug + std::marker::Send {
    /// SHA-256 of the gateway's certificate.
    fn fingerprint(&self) -> Fingerprint;

    /// A new session. As server with `prove_address`, the peer has to show
    /// first that it receives at its address (RFC 6347 section 4.2.1).
    ///
    /// # Errors
    /// What the library said, in a few words.
    fn start(
        &mut self,
        role: DtlsRole,
        prove_address: bool,
    ) -> Result<Box<dyn DtlsSession>, &'static str>;
}

/// One DTLS association. Sends nothing by itself: what is to go out is handed
/// to `out`, one call per datagram.
pub trait DtlsSession: Debug + std::marker::Send {
    /// Takes a datagram in; an empty one sets a client going.
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
    legs: HashMap<u32, Association>,
    window: Option<Instant>,
    started: u32,
    started_by: HashMap<IpAddr, u32>,
}

/// One leg's DTLS.
#[derive(Debug)]
struct Association {
    role: DtlsRole,
    fingerprints: Vec<Fingerprint>,
    session: Option<Box<dyn DtlsSession>>,
    /// Where its datagrams go: where the last one came from.
    peer: Option<SocketAddr>,
    /// Its end was told, or its keys are in use.
    settled: bool,
    /// Nothing of this peer is believed until it is described anew.
    refused: bool,
}

impl Association {
    fn new(role: DtlsRole, fingerprints: Vec<Fingerprint>) -> Association {
        Association {
            role,
            fingerprints,
            session: None,
            peer: None,
            settled: false,
            refused: false,
        }
    }
}

impl Dtls {
    pub(super) fn forget(&mut self, leg: u32) {
        self.legs.remove(&leg);
    }

    /// Whether one more handshake with this host may start now.
    fn admit(&mut self, now: Instant, host: IpAddr, all: u32, each: u32) -> bool {
        let is_over = |start: Instant| now.saturating_duration_since(start) >= LIMIT_WINDOW;
        if self.window.is_none_or(is_over) {
            self.window = Some(now);
            self.started = 0;
            self.started_by.clear();
        }
        // No more than `all` hosts are ever remembered.
        if self.started >= all {
            return false;
        }
        let by_host = self.started_by.entry(host).or_insert(0);
        if *by_host >= each {
            return false;
        }
        *by_host += 1;
        self.started += 1;
        true
    }
}

impl Table {
    /// From now on legs may be secured by DTLS.
    pub fn set_dtls(&mut self, engine: Box<dyn DtlsEngine>) {
        self.transport.dtls.engine = Some(engine);
    }

    /// Takes a description's security in: another role or fingerprint starts
    /// a new association, the same ones keep what there is.
    pub(super) fn describe_dtls(&mut self, now: Instant, i: usize, security: &Security) {
        let leg = i as u32;
        let Security::Dtls { role, fingerprints } = security else {
            self.transport.dtls.forget(leg);
            self.transport.retransmission.stop(&leg);
            return;
        };
        let known = self.transport.dtls.legs.get(&leg);
        let same =
            known.is_some_and(|known| known.role == *role && known.fingerprints == *fingerprints);
        if !same {
            let fresh = Association::new(*role, fingerprints.clone());
            self.transport.dtls.legs.insert(leg, fresh);
            self.transport.retransmission.stop(&leg);
        }
        self.start_handshake(now, i);
    }

    /// Opens the handshake where that is ours to do and the peer's address is
    /// known.
    pub(super) fn start_handshake(&mut self, now: Instant, i: usize) {
        let leg = i as u32;
        let due = self.transport.dtls.legs.get(&leg).is_some_and(|known| {
            known.role == DtlsRole::Client && known.session.is_none() && !known.refused
        });
        if !due {
            return;
        }
        let peer = match self.transport.is_shared(i) {
            true if !self.transport.is_nominated(i) => return,
            true => self.transport.selected(i),
            false => {
                let described = self.cold[i].remote.as_ref();
                described.map(|remote| remote.source.destination())
            }
        };
        let Some(peer) = peer.filter(|peer| !peer.ip().is_unspecified() && peer.port() != 0) else {
            return;
        };
        if self.open_session(leg, DtlsRole::Client, false) {
            self.feed(now, i, peer, &[]);
        }
    }

    /// A DTLS record: for the leg's association, if it has one and this is its
    /// peer.
    #[cold]
    pub(super) fn judge_dtls(
        &mut self,
        now: Instant,
        i: usize,
        packet: &Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        let leg = i as u32;
        let shared = self.transport.is_shared(i);
        let described = self.cold.get(i).and_then(|cold| cold.remote.as_ref());
        let described = described.ok_or(DropReason::NoRemote)?;
        let known = self.transport.dtls.legs.get(&leg).ok_or(DropReason::Dtls)?;
        let from = match (packet.source, described.source) {
            (Some(from), _) if shared => from,
            (Some(from), Source::Learning { .. }) => from,
            (Some(from), _) if from == described.source.destination() => from,
            (None, Source::Locked { address, .. }) => address,
            (Some(_) | None, _) => return Err(DropReason::WrongSource),
        };
        if known.refused {
            return Err(DropReason::DtlsRefused);
        }
        if known.session.is_none() {
            if known.role != DtlsRole::Server || !is_client_hello(packet.bytes()) {
                return Err(DropReason::Dtls);
            }
            let (all, each) = (
                self.settings.handshakes_per_second,
                self.settings.handshakes_per_second_per_address,
            );
            if !self.transport.dtls.admit(now, from.ip(), all, each) {
                return Err(DropReason::DtlsRateLimited);
            }
            // An ICE check has proved the address already.
            if !self.open_session(leg, DtlsRole::Server, !shared) {
                return Err(DropReason::DtlsRefused);
            }
        }
        self.feed(now, i, from, packet.bytes());
        Ok(Verdict::Consumed)
    }

    fn open_session(&mut self, leg: u32, role: DtlsRole, prove_address: bool) -> bool {
        let Some(engine) = self.transport.dtls.engine.as_mut() else {
            return false;
        };
        let session = match engine.start(role, prove_address) {
            Ok(session) => session,
            Err(reason) => {
                tracing::warn!(leg, "cannot start DTLS: {reason}");
                return false;
            }
        };
        if let Some(known) = self.transport.dtls.legs.get_mut(&leg) {
            known.session = Some(session);
            known.settled = false;
        }
        true
    }

    /// Hands a datagram to the leg's session and does what comes of it.
    fn feed(&mut self, now: Instant, i: usize, from: SocketAddr, datagram: &[u8]) {
        self.with_session(now, i, Some(from), |session, out| {
            session.handle(now, datagram, out);
        });
    }

    /// Repeats the flights that are due.
    pub(super) fn repeat_handshakes(&mut self, now: Instant) {
        while let Some(leg) = self.transport.retransmission.pop(now) {
            let i = leg as usize;
            // The peer may have moved to another address meanwhile.
            let moved = self.transport.selected(i);
            self.with_session(now, i, moved, |session, out| session.timeout(now, out));
        }
    }

    fn with_session(
        &mut self,
        now: Instant,
        i: usize,
        peer: Option<SocketAddr>,
        act: impl FnOnce(&mut dyn DtlsSession, &mut dyn FnMut(&[u8])),
    ) {
        let leg = i as u32;
        let Some(known) = self.transport.dtls.legs.get_mut(&leg) else {
            return;
        };
        known.peer = peer.or(known.peer);
        let (Some(session), Some(to)) = (known.session.as_mut(), known.peer) else {
            return;
        };
        let mut datagrams: Vec<Bytes> = Vec::new();
        act(session.as_mut(), &mut |datagram| {
            datagrams.push(Bytes::copy_from_slice(datagram));
        });
        match session.next_timeout() {
            // Never at once again, whatever the session says.
            Some(at) => {
                let at = at.max(now + Duration::from_millis(1));
                self.transport.retransmission.set(leg, at);
            }
            None => {
                self.transport.retransmission.stop(&leg);
            }
        }
        let port = self.dtls_port(i, to);
        for payload in datagrams {
            self.transmit(Transmit {
                port,
                to: Some(to),
                payload,
            });
        }
        self.settle_dtls(i);
    }

    fn dtls_port(&self, i: usize, to: SocketAddr) -> crate::ids::MediaPort {
        let shared = self.transport.is_shared(i);
        let port = self.transport.shared_port(to.is_ipv6());
        port.filter(|_| shared).unwrap_or(self.cold[i].options.rtp)
    }

    /// Looks whether a handshake has come to its end: keys are used only once
    /// the certificate is the one that was described.
    fn settle_dtls(&mut self, i: usize) {
        let id = self.leg_id(i);
        let Some(known) = self.transport.dtls.legs.get_mut(&(i as u32)) else {
            return;
        };
        let Some(session) = known.session.as_ref() else {
            return;
        };
        if known.settled {
            return;
        }
        let failed = match session.state() {
            DtlsState::Handshaking => return,
            DtlsState::Done(keys) => {
                let is_described = known
                    .fingerprints
                    .iter()
                    .any(|described| is_of(described, &keys.peer_certificate));
                if is_described {
                    known.settled = true;
                    let (send, receive) = match known.role {
                        DtlsRole::Client => (keys.client.clone(), keys.server.clone()),
                        DtlsRole::Server => (keys.server.clone(), keys.client.clone()),
                    };
                    self.secure(i, &send, &receive);
                    self.notices.push_back(Notice::Secured { leg: id });
                    return;
                }
                self.counters.drops.add(DropReason::DtlsWrongFingerprint);
                "the peer's certificate is not the one of its SDP"
            }
            DtlsState::Failed(reason) => reason,
            DtlsState::Closed => "the peer has ended the handshake",
        };
        known.settled = true;
        known.refused = true;
        known.session = None;
        self.transport.retransmission.stop(&(i as u32));
        self.notices.push_back(Notice::SecurityFailed {
            leg: id,
            reason: failed,
        });
    }
}

/// Whether a datagram starts with a ClientHello.
fn is_client_hello(datagram: &[u8]) -> bool {
    datagram.first() == Some(&HANDSHAKE) && datagram.get(RECORD_HEADER) == Some(&CLIENT_HELLO)
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
