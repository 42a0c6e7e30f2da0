//! What comes of a handshake's step: flights to send, keys to use, or its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::association::{Association, Component};
use super::{DtlsSession, DtlsState, Key, is_of};
use crate::ids::MediaPort;
use crate::keying::{DtlsRole, MasterKey};
use crate::media::drop_reason::DropReason;
use crate::media::generated::Transmit;
use crate::media::latch::Latch;
use crate::media::table::{Notice, Table};

/// What a session was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its first step, for a peer whose address is proved.
    Begin,
    /// A datagram, which anybody may have written the peer's address on.
    Datagram,
    /// Time.
    Timeout,
}

/// What came of it.
enum Outcome {
    Going,
    Keys {
        send: MasterKey,
        receive: MasterKey,
    },
    /// It is done, with somebody else.
    WrongCertificate,
    /// It came to nothing; `proved`: by the peer's own doing.
    Over {
        reason: &'static str,
        proved: bool,
    },
}

impl Table {
    /// Has a session do something, sends what it has to send, and sees how far
    /// it has come.
    pub(super) fn drive(
        &mut self,
        now: Instant,
        key: Key,
        place: usize,
        cause: Cause,
        act: impl FnOnce(&mut dyn DtlsSession, &mut dyn FnMut(&[u8])),
    ) {
        let known = self.transport.dtls.legs.get_mut(&key);
        let Some(known) = known else { return };
        let settled = known.settled;
        let Some(attempt) = known.attempts.get_mut(place) else {
            return;
        };
        let peer = attempt.peer;
        let mut flight: Vec<Bytes> = Vec::new();
        act(attempt.session.as_mut(), &mut |datagram| {
            flight.push(Bytes::copy_from_slice(datagram));
        });
        let outcome = match settled {
            true => Outcome::Going,
            false => outcome(known, place, cause),
        };
        match outcome {
            Outcome::Going => self.send_all(key, peer, flight),
            Outcome::Keys { send, receive } => {
                known.settle(place);
                self.send_all(key, peer, flight);
                self.use_keys(key, peer, &send, &receive);
            }
            Outcome::WrongCertificate => {
                known.attempts.remove(place);
                self.counters.drops.add(DropReason::DtlsWrongFingerprint);
                let reason = "the peer's certificate is not the one of its SDP";
                self.come_to_nothing(now, key, reason, true);
                self.send_all(key, peer, flight);
            }
            Outcome::Over { reason, proved } => {
                known.attempts.remove(place);
                self.come_to_nothing(now, key, reason, proved);
                // An alert for what a stranger may have sent would end the
                // handshake at the peer as well.
                if proved {
                    self.send_all(key, peer, flight);
                }
            }
        }
        self.arm(now, key);
    }

    /// A handshake has failed: the end where it is the peer's for sure, else
    /// another may still succeed.
    fn come_to_nothing(&mut self, now: Instant, key: Key, reason: &'static str, proved: bool) {
        let described = self.cold.get(key.0 as usize);
        let described = described.and_then(|cold| cold.remote.as_ref());
        let is_open = described.is_some_and(|described| described.latch == Latch::Learn);
        let shared = self.transport.is_shared(key.0 as usize);
        let known = self.transport.dtls.legs.get_mut(&key);
        let Some(known) = known else { return };
        match (proved, is_open && !shared) {
            (true, false) => self.fail_handshake(key, reason),
            (false, false) => known.doubt(now, reason),
            // Whoever it was, the peer itself may still come.
            (_, true) if known.role == DtlsRole::Server => {}
            (_, true) => known.doubt(now, reason),
        }
    }

    /// The handshake has failed for good. Without RTCP a call can live.
    pub(super) fn fail_handshake(&mut self, key: Key, reason: &'static str) {
        if let Some(known) = self.transport.dtls.legs.get_mut(&key) {
            known.refuse();
        }
        self.transport.retransmission.stop(&key);
        let leg = self.leg_id(key.0 as usize);
        match key.1 {
            Component::Rtp => {
                let failed = Notice::SecurityFailed { leg, reason };
                self.notices.push_back(failed);
            }
            Component::Rtcp => tracing::debug!(leg = key.0, "no keys for RTCP: {reason}"),
        }
    }

    /// The certificate was the one described: the keys are the port's, and the
    /// address is the peer's.
    fn use_keys(&mut self, key: Key, peer: SocketAddr, send: &MasterKey, receive: &MasterKey) {
        let i = key.0 as usize;
        self.secure(i, key.1, send, receive);
        if !self.transport.is_shared(i) {
            self.believe(i, key.1, peer);
        }
        if key.1 == Component::Rtp {
            let leg = self.leg_id(i);
            self.notices.push_back(Notice::Secured { leg });
        }
    }

    /// An address that was to be learned is known now.
    fn believe(&mut self, i: usize, component: Component, peer: SocketAddr) {
        let described = self.cold[i].remote.as_mut();
        let Some(described) = described.filter(|described| described.latch == Latch::Learn) else {
            return;
        };
        match component {
            Component::Rtcp => described.rtcp = peer,
            Component::Rtp => {
                if described.source.prove(peer) {
                    self.lock(i, peer);
                }
            }
        }
    }

    pub(super) fn arm(&mut self, now: Instant, key: Key) {
        let known = self.transport.dtls.legs.get(&key);
        match known.and_then(Association::next_timeout) {
            // Never at once again, whatever the session says.
            Some(at) => {
                let at = at.max(now + Duration::from_millis(1));
                self.transport.retransmission.set(key, at);
            }
            None => {
                self.transport.retransmission.stop(&key);
            }
        }
    }

    pub(super) fn send_all(&mut self, key: Key, to: SocketAddr, datagrams: Vec<Bytes>) {
        let port = self.dtls_port(key, to);
        for payload in datagrams {
            self.transmit(Transmit {
                port,
                to: Some(to),
                payload,
            });
        }
    }

    fn dtls_port(&self, (leg, component): Key, to: SocketAddr) -> MediaPort {
        let i = leg as usize;
        let shared = self.transport.is_shared(i);
        let port = self.transport.shared_port(to.is_ipv6());
        let options = self.cold[i].options;
        port.filter(|_| shared).unwrap_or(match component {
            Component::Rtp => options.rtp,
            Component::Rtcp => options.rtcp,
        })
    }
}

/// How far an attempt has come. Keys count only once the certificate is the
/// one that was described.
fn outcome(known: &Association, place: usize, cause: Cause) -> Outcome {
    let proved = cause != Cause::Datagram;
    let keys = match known.attempts[place].session.state() {
        DtlsState::Handshaking => return Outcome::Going,
        DtlsState::Done(keys) => keys,
        // Its end is under keys: nobody off the path brings it about.
        DtlsState::Useless(reason) => {
            let proved = true;
            return Outcome::Over { reason, proved };
        }
        DtlsState::Failed(reason) => return Outcome::Over { reason, proved },
        DtlsState::Closed => {
            let reason = "the peer has ended the handshake";
            return Outcome::Over { reason, proved };
        }
    };
    let is_described = |described| is_of(described, &keys.peer_certificate);
    if !known.fingerprints.iter().any(is_described) {
        return Outcome::WrongCertificate;
    }
    let (send, receive) = match known.role {
        DtlsRole::Client => (&keys.client, &keys.server),
        DtlsRole::Server => (&keys.server, &keys.client),
    };
    Outcome::Keys {
        send: send.clone(),
        receive: receive.clone(),
    }
}
