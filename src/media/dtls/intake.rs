//! From a datagram to the handshake it is for, and what comes of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::association::{Association, Attempt, Component};
use super::records::{self, admissible};
use super::{DtlsSession, DtlsState, is_of};
use crate::ids::MediaPort;
use crate::keying::{DtlsRole, MasterKey, Security};
use crate::media::drop_reason::DropReason;
use crate::media::generated::Transmit;
use crate::media::latch::{Latch, Source};
use crate::media::leg::{Described, receive_state};
use crate::media::packet::{Packet, Verdict};
use crate::media::table::{Notice, Route, Table};

/// One port of one leg, by the leg's place in the table.
type Key = (u32, Component);

/// What a session was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
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
    /// Takes a description's security in: another role or fingerprint starts
    /// new associations, the same ones keep what there is.
    pub(in crate::media) fn describe_dtls(&mut self, now: Instant, i: usize, security: &Security) {
        let leg = i as u32;
        let muxed = self.receive[i].is(receive_state::MUX);
        for component in Component::ALL {
            let key = (leg, component);
            let wanted = match security {
                Security::Dtls { role, fingerprints } => Some((role, fingerprints)),
                Security::Plain | Security::Sdes { .. } => None,
            };
            let wanted = wanted.filter(|_| component == Component::Rtp || !muxed);
            let Some((role, fingerprints)) = wanted else {
                self.transport.dtls.legs.remove(&key);
                self.transport.retransmission.stop(&key);
                continue;
            };
            let known = self.transport.dtls.legs.get(&key);
            let same = known
                .is_some_and(|known| known.role == *role && known.fingerprints == *fingerprints);
            if !same {
                let fresh = Association::new(*role, fingerprints.clone());
                self.transport.dtls.legs.insert(key, fresh);
                self.transport.retransmission.stop(&key);
            }
        }
        self.start_handshake(now, i);
    }

    /// Opens the handshakes that are ours to open, where the peer's address is
    /// known.
    pub(in crate::media) fn start_handshake(&mut self, now: Instant, i: usize) {
        for component in Component::ALL {
            self.open_handshake(now, (i as u32, component));
        }
    }

    fn open_handshake(&mut self, now: Instant, key: Key) {
        let i = key.0 as usize;
        let Some(known) = self.transport.dtls.legs.get(&key) else {
            return;
        };
        if known.role != DtlsRole::Client || known.settled || known.refused {
            return;
        }
        let shared = self.transport.is_shared(i);
        if shared && !self.transport.is_nominated(i) {
            return;
        }
        let peer = match (shared, self.cold[i].remote.as_ref()) {
            (true, _) => self.transport.selected(i),
            (false, None) => None,
            (false, Some(described)) => Some(address_of(described, key.1)),
        };
        let Some(peer) = peer.filter(|peer| !peer.ip().is_unspecified() && peer.port() != 0) else {
            return;
        };
        let under_way = match shared {
            true => !known.attempts.is_empty(),
            false => known.place_of(peer).is_some(),
        };
        if under_way {
            return;
        }
        let Some(session) = self.session(DtlsRole::Client) else {
            return;
        };
        if let Some(known) = self.transport.dtls.legs.get_mut(&key) {
            // The peer is described elsewhere now.
            known.attempts.clear();
            known.again = None;
            known.attempts.push(Attempt {
                session,
                peer,
                hello: None,
                taken: 0,
            });
        }
        self.drive(now, key, 0, Cause::Begin, |session, out| {
            session.handle(now, &[], out);
        });
    }

    /// A DTLS record: for one of the port's handshakes, if it has any and this
    /// can be its peer.
    #[cold]
    pub(in crate::media) fn judge_dtls(
        &mut self,
        now: Instant,
        route: Route,
        packet: &Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        let i = route.leg as usize;
        let key = (route.leg, Component::of(route.rtcp));
        let shared = self.transport.is_shared(i);
        let described = self.cold.get(i).and_then(|cold| cold.remote.as_ref());
        let described = described.ok_or(DropReason::NoRemote)?;
        let known = self.transport.dtls.legs.get_mut(&key);
        let known = known.ok_or(DropReason::Dtls)?;
        let from = match shared {
            true => packet.source.ok_or(DropReason::WrongSource)?,
            false => sender(described, key.1, packet.source)?,
        };
        if known.refused {
            return Err(DropReason::DtlsRefused);
        }
        let admitted = admissible(packet.bytes(), known.peers_role());
        let place = match shared {
            // ICE knows each of its addresses.
            true => (!known.attempts.is_empty()).then_some(0),
            false => known.place_of(from),
        };
        if admitted.has_alert && place.is_some() && !known.settled {
            known.doubt(now, "the peer has ended the handshake with an alert");
            self.arm(now, key);
        }
        if admitted.records.is_empty() {
            return Err(DropReason::DtlsUnauthenticated);
        }
        let known = self.transport.dtls.legs.get_mut(&key);
        let known = known.ok_or(DropReason::Dtls)?;
        let hello = records::hello_random(&admitted.records);
        let begins = known.role == DtlsRole::Server && !known.settled && hello.is_some();
        match place {
            Some(place) if !begins || shared || known.attempts[place].hello == hello => {
                // Another of its own addresses, where there are several.
                let attempt = &mut known.attempts[place];
                attempt.peer = from;
                let mut records = admitted.records.into_owned();
                records::renumber(&mut records, &mut attempt.taken);
                self.drive(now, key, place, Cause::Datagram, |session, out| {
                    session.handle(now, &records, out);
                });
            }
            Some(_) | None if begins => self.begin(now, key, from, &admitted.records)?,
            Some(_) | None => {
                return Err(match known.attempts.is_empty() {
                    true => DropReason::Dtls,
                    false => DropReason::WrongSource,
                });
            }
        }
        Ok(Verdict::Consumed)
    }

    /// A ClientHello that no handshake knows. Where nothing has proved the
    /// address, it has to show a cookie first.
    fn begin(
        &mut self,
        now: Instant,
        key: Key,
        from: SocketAddr,
        hello: &[u8],
    ) -> Result<(), DropReason> {
        let i = key.0 as usize;
        let session = match self.transport.is_shared(i) {
            // An ICE check has.
            true => None,
            false => match self.greet(key, from, hello)? {
                Some(session) => Some(session),
                None => return Ok(()),
            },
        };
        let (all, each) = (
            self.settings.handshakes_per_second,
            self.settings.handshakes_per_second_per_address,
        );
        let limits = &mut self.transport.dtls.limits;
        if !limits.admit(now, from.ip(), all, each) {
            return Err(DropReason::DtlsRateLimited);
        }
        let (session, first, cause) = match session {
            Some(session) => (session, &[][..], Cause::Begin),
            None => {
                let session = self.session(DtlsRole::Server);
                let session = session.ok_or(DropReason::DtlsRefused)?;
                (session, hello, Cause::Datagram)
            }
        };
        let described = self.cold[i].remote.as_ref();
        let sdp = described.map_or(from, |described| address_of(described, key.1));
        let known = self.transport.dtls.legs.get_mut(&key);
        let known = known.ok_or(DropReason::Dtls)?;
        if !known.make_room(from, sdp) {
            return Err(DropReason::DtlsRateLimited);
        }
        known.attempts.push(Attempt {
            session,
            peer: from,
            hello: records::hello_random(hello),
            taken: 0,
        });
        let place = known.attempts.len() - 1;
        self.drive(now, key, place, cause, |session, out| {
            session.handle(now, first, out);
        });
        Ok(())
    }

    fn greet(
        &mut self,
        key: Key,
        from: SocketAddr,
        hello: &[u8],
    ) -> Result<Option<Box<dyn DtlsSession>>, DropReason> {
        let id = self.leg_id(key.0 as usize);
        let address = format!("{}/{}/{:?}/{from}", id.index, id.generation, key.1);
        let engine = self.transport.dtls.engine.as_mut();
        let engine = engine.ok_or(DropReason::DtlsRefused)?;
        let mut question: Vec<Bytes> = Vec::new();
        let greeted = engine.greet(address.as_bytes(), hello, &mut |datagram| {
            question.push(Bytes::copy_from_slice(datagram));
        });
        self.send_all(key, from, question);
        greeted.map_err(|reason| {
            tracing::debug!(leg = key.0, "no DTLS session for a ClientHello: {reason}");
            DropReason::DtlsUnauthenticated
        })
    }

    fn session(&mut self, role: DtlsRole) -> Option<Box<dyn DtlsSession>> {
        let engine = self.transport.dtls.engine.as_mut()?;
        engine
            .start(role)
            .map_err(|reason| tracing::warn!("cannot start DTLS: {reason}"))
            .ok()
    }

    /// Does what is due: repeats flights, begins anew, gives up.
    pub(in crate::media) fn repeat_handshakes(&mut self, now: Instant) {
        while let Some(key) = self.transport.retransmission.pop(now) {
            // The peer may have moved to another address meanwhile.
            let moved = self.transport.selected(key.0 as usize);
            let Some(known) = self.transport.dtls.legs.get_mut(&key) else {
                continue;
            };
            if let Some(doubt) = known.doubt
                && doubt.until <= now
            {
                self.fail_handshake(key, doubt.reason);
                continue;
            }
            let begins_anew = known.again.is_some_and(|at| at <= now);
            for attempt in &mut known.attempts {
                attempt.peer = moved.unwrap_or(attempt.peer);
            }
            for place in (0..known.attempts.len()).rev() {
                let known = self.transport.dtls.legs.get(&key);
                let attempt = known.and_then(|known| known.attempts.get(place));
                let due = attempt.and_then(|attempt| attempt.session.next_timeout());
                if due.is_some_and(|at| at <= now) {
                    self.drive(now, key, place, Cause::Timeout, |session, out| {
                        session.timeout(now, out);
                    });
                }
            }
            if begins_anew {
                self.open_handshake(now, key);
            }
            self.arm(now, key);
        }
    }

    /// Has a session do something, sends what it has to send, and sees how far
    /// it has come.
    fn drive(
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
    fn fail_handshake(&mut self, key: Key, reason: &'static str) {
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

    fn arm(&mut self, now: Instant, key: Key) {
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

    fn send_all(&mut self, key: Key, to: SocketAddr, datagrams: Vec<Bytes>) {
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

/// Where a port's records go until something else is known.
fn address_of(described: &Described, component: Component) -> SocketAddr {
    match component {
        Component::Rtp => described.source.destination(),
        Component::Rtcp => described.rtcp,
    }
}

/// Whether a leg with ports of its own takes a record from there: from the
/// SDP's address, or from anywhere where that has to be learned. Nothing is
/// learned of the record itself.
fn sender(
    described: &Described,
    component: Component,
    source: Option<SocketAddr>,
) -> Result<SocketAddr, DropReason> {
    match (source, described.source, component) {
        (Some(from), Source::Learning { .. }, _) => Ok(from),
        (Some(from), _, Component::Rtp) if from == described.source.destination() => Ok(from),
        (Some(from), _, Component::Rtcp) if described.source.is_host(from) => Ok(from),
        (None, Source::Locked { address, .. }, Component::Rtp) => Ok(address),
        (Some(_) | None, _, _) => Err(DropReason::WrongSource),
    }
}
