//! How handshakes begin: ours where we are the client, a peer's with its
//! ClientHello.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::association::{Association, Attempt, Component};
use super::progress::Cause;
use super::{DtlsSession, Key, records};
use crate::keying::{DtlsRole, Security};
use crate::media::drop_reason::DropReason;
use crate::media::leg::{Described, receive_state};
use crate::media::table::Table;

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
                self.transport.dtls.remove(key);
                self.transport.retransmission.stop(&key);
                continue;
            };
            let known = self.transport.dtls.legs.get(&key);
            let same = known
                .is_some_and(|known| known.role == *role && known.fingerprints == *fingerprints);
            if !same {
                let fresh = Association::new(*role, fingerprints.clone());
                self.transport.dtls.remove(key);
                self.transport.dtls.legs.insert(key, fresh);
                self.transport.retransmission.stop(&key);
            }
        }
        self.start_handshake(now, i);
    }

    /// Has the handshakes that are ours to open, where the peer's address is
    /// known, opened by the next steps.
    pub(in crate::media) fn start_handshake(&mut self, now: Instant, i: usize) {
        for component in Component::ALL {
            let key = (i as u32, component);
            if self.opens_to(key).is_none() {
                continue;
            }
            if let Some(known) = self.transport.dtls.legs.get_mut(&key) {
                known.again = Some(now);
                self.transport.retransmission.set(key, now);
            }
        }
    }

    /// Where a handshake of ours is to be opened to now, if it is.
    fn opens_to(&self, key: Key) -> Option<SocketAddr> {
        let i = key.0 as usize;
        let known = self.transport.dtls.legs.get(&key)?;
        if known.role != DtlsRole::Client || known.settled || known.refused {
            return None;
        }
        let shared = self.transport.is_shared(i);
        if shared && !self.transport.is_nominated(i) {
            return None;
        }
        let peer = match shared {
            true => self.transport.selected(i)?,
            false => address_of(self.cold[i].remote.as_ref()?, key.1),
        };
        let under_way = match shared {
            true => !known.attempts.is_empty(),
            false => known.place_of(peer).is_some(),
        };
        let usable = !peer.ip().is_unspecified() && peer.port() != 0;
        (usable && !under_way).then_some(peer)
    }

    pub(super) fn open_handshake(&mut self, now: Instant, key: Key) {
        let Some(peer) = self.opens_to(key) else {
            return;
        };
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

    /// A ClientHello that no handshake knows. Where nothing has proved the
    /// address, it has to show a cookie first.
    pub(super) fn begin(
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
}

/// Where a port's records go until something else is known.
fn address_of(described: &Described, component: Component) -> SocketAddr {
    match component {
        Component::Rtp => described.source.destination(),
        Component::Rtcp => described.rtcp,
    }
}
