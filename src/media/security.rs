//! A leg's keys: which legs are protected, and what happens to those whose
//! keys are not there. Such a leg never sends or takes anything in the clear.

use super::drop_reason::DropReason;
use super::dtls::Component;
use super::leg::{SHARED, Send, receive_state, send_state};
use super::packet::{BATCH, Packet};
use super::rtcp;
use super::srtp::{Protector, Sealable, Unprotector};
use super::table::Table;
use crate::ids::LegId;
use crate::keying::{MasterKey, Security, Suite};

/// The keys of one leg. Without them everything of a protected leg is dropped.
#[derive(Debug)]
pub(super) struct SrtpSession {
    /// Master key of what we send, and of what we receive.
    keys: (MasterKey, MasterKey),
    protector: Protector,
    unprotector: Unprotector,
}

/// What one leg was described with, and the keys it has so far.
#[derive(Debug, Default)]
pub(super) struct LegSecurity {
    /// `None`: in the clear, which takes no room beside the keys.
    described: Option<Box<Security>>,
    session: Option<Box<SrtpSession>>,
    /// RTCP has a handshake of its own, on its own port.
    rtcp_apart: bool,
    /// The keys of that.
    rtcp_session: Option<Box<SrtpSession>>,
}

impl LegSecurity {
    /// The keys of RTP or of RTCP.
    #[inline]
    fn keys(&mut self, rtcp: bool) -> Option<&mut SrtpSession> {
        match rtcp && self.rtcp_apart {
            true => self.rtcp_session.as_deref_mut(),
            false => self.session.as_deref_mut(),
        }
    }
}

impl SrtpSession {
    /// With these keys. A direction whose key is the one of before keeps its
    /// rollover counter and replay list: a keystream is never used twice.
    fn renewed(
        before: Option<Box<SrtpSession>>,
        send: &MasterKey,
        receive: &MasterKey,
    ) -> Result<Box<SrtpSession>, DropReason> {
        let (known_send, known_receive) = match before {
            Some(session) => {
                let (kept_send, kept_receive) = session.keys;
                (
                    (kept_send == *send).then_some(session.protector),
                    (kept_receive == *receive).then_some(session.unprotector),
                )
            }
            None => (None, None),
        };
        Ok(Box::new(SrtpSession {
            keys: (send.clone(), receive.clone()),
            protector: known_send.map_or_else(|| Protector::new(send), Ok)?,
            unprotector: known_receive.map_or_else(|| Unprotector::new(receive), Ok)?,
        }))
    }
}

impl Table {
    /// The suite that the leg's keys are for; `None` while it has none.
    pub fn suite(&self, leg: LegId) -> Option<Suite> {
        let security = self.security.get(self.live(leg)?)?;
        security
            .session
            .as_ref()
            .map(|session| session.keys.0.suite)
    }

    /// From now on the media of this port is protected with these keys. Keys
    /// that are none leave it closed.
    pub(super) fn secure(
        &mut self,
        i: usize,
        component: Component,
        send: &MasterKey,
        receive: &MasterKey,
    ) {
        let Some(security) = self.security.get_mut(i) else {
            return;
        };
        let place = match component {
            Component::Rtp => &mut security.session,
            Component::Rtcp => &mut security.rtcp_session,
        };
        *place = SrtpSession::renewed(place.take(), send, receive).ok();
        self.mark_secure(i, true);
    }

    /// Takes over how the peer's description protects the leg. Keys from a
    /// handshake stay while fingerprints and role stay.
    pub(super) fn describe_security(&mut self, i: usize, described: &Security) {
        let muxed = self.receive[i].is(receive_state::MUX);
        let Some(security) = self.security.get_mut(i) else {
            return;
        };
        let before = security.described.as_deref().unwrap_or(&Security::Plain);
        let changed = before != described;
        if changed {
            let protected = *described != Security::Plain;
            security.described = protected.then(|| Box::new(described.clone()));
        }
        // RFC 5764 section 4.1: without rtcp-mux one handshake for each port.
        security.rtcp_apart = matches!(described, Security::Dtls { .. }) && !muxed;
        if changed || !security.rtcp_apart {
            security.rtcp_session = None;
        }
        match described {
            Security::Plain => {
                security.session = None;
                self.mark_secure(i, false);
            }
            Security::Sdes { send, receive } => self.secure(i, Component::Rtp, send, receive),
            Security::Dtls { .. } => {
                if changed {
                    security.session = None;
                }
                self.mark_secure(i, true);
            }
        }
    }

    /// Forgets the keys of a leg that is opened or closed.
    pub(super) fn forget_security(&mut self, i: usize) {
        if self.security.len() <= i {
            self.security.resize_with(i + 1, LegSecurity::default);
        }
        self.security[i] = LegSecurity::default();
    }

    /// Looks ahead through a batch: what its packets on protected legs are
    /// authenticated by is worked out together. It believes nothing, and a
    /// packet that it is wrong about is none the worse for it.
    pub(super) fn foresee(&mut self, batch: &[Packet<'_>]) {
        if !self.side_by_side.begin() {
            return;
        }
        let mut places = [0; BATCH];
        let mut count = 0;
        for (place, packet) in batch.iter().enumerate().take(BATCH) {
            if self.unprotector_of(packet).is_some() {
                places[count] = place;
                count += 1;
            }
        }
        let mut side_by_side = std::mem::take(&mut self.side_by_side);
        side_by_side.foresee(batch, &mut places[..count], |packet| {
            self.unprotector_of(packet)?.foresee(packet)
        });
        self.side_by_side = side_by_side;
    }

    /// What will unprotect this packet, if nothing changes until its turn.
    fn unprotector_of(&self, packet: &Packet<'_>) -> Option<&Unprotector> {
        let mut route = *self.ports.get(packet.port.0 as usize)?;
        if route.leg == SHARED {
            route = self.shared_route(packet).ok()?;
        }
        let i = route.leg as usize;
        let is_secure = self.receive.get(i)?.is(receive_state::SECURE);
        let is_rtp = matches!(packet.bytes().first(), Some(128..=191));
        if !is_secure || !is_rtp || route.rtcp || rtcp::looks_like_rtcp(packet.bytes()) {
            return None;
        }
        let session = self.security.get(i)?.session.as_deref()?;
        Some(&session.unprotector).filter(|unprotector| unprotector.is_foreseeable())
    }

    /// Unprotects what came in on a protected leg in the batch in hand.
    #[inline]
    pub(super) fn admit(
        &mut self,
        i: usize,
        packet: &mut Packet<'_>,
        rtcp: bool,
    ) -> Result<(), DropReason> {
        match self.receive.get(i) {
            Some(receive) if !receive.is(receive_state::SECURE) => return Ok(()),
            Some(_) => {}
            None => return Err(DropReason::UnknownPort),
        }
        let session = self.security.get_mut(i).and_then(|s| s.keys(rtcp));
        let session = session.ok_or(DropReason::NotYetSecured)?;
        match rtcp {
            true => session.unprotector.rtcp(packet),
            false => session
                .unprotector
                .rtp_in_batch(packet, &mut self.side_by_side),
        }
    }

    /// Whether the leg could send: it is in the clear, or has its keys.
    #[inline]
    pub(super) fn release(&self, i: usize) -> Result<(), DropReason> {
        match self.send.get(i) {
            Some(send) if !send.is(send_state::SECURE) => Ok(()),
            Some(_) => match self.security.get(i).map(|s| s.session.is_some()) {
                Some(true) => Ok(()),
                Some(false) | None => Err(DropReason::NotYetSecured),
            },
            None => Err(DropReason::NotLinked),
        }
    }

    /// The same for RTCP, whose keys may be others.
    pub(super) fn release_rtcp(&self, i: usize) -> Result<(), DropReason> {
        match self.security.get(i) {
            Some(security) if security.rtcp_apart => match security.rtcp_session {
                Some(_) => Ok(()),
                None => Err(DropReason::NotYetSecured),
            },
            Some(_) | None => self.release(i),
        }
    }

    /// Protects what goes out on a protected leg.
    #[inline]
    pub(super) fn seal(
        &mut self,
        i: usize,
        packet: &mut Packet<'_>,
        rtcp: bool,
    ) -> Result<(), DropReason> {
        let Some(session) = sealing(&self.send, &mut self.security, i, rtcp)? else {
            return Ok(());
        };
        let packet = Sealable::new(packet)?;
        match rtcp {
            true => session.protector.rtcp(packet),
            false => session.protector.rtp(packet),
        }
    }

    /// The same for RTP in the batch in hand, at whose end it is complete.
    #[inline]
    pub(super) fn seal_in_batch(
        &mut self,
        i: usize,
        packet: &mut Packet<'_>,
    ) -> Result<(), DropReason> {
        let Some(session) = sealing(&self.send, &mut self.security, i, false)? else {
            return Ok(());
        };
        let packet = Sealable::new(packet)?;
        session
            .protector
            .rtp_in_batch(packet, &mut self.side_by_side)
    }

    fn mark_secure(&mut self, i: usize, on: bool) {
        self.receive[i].set(receive_state::SECURE, on);
        self.send[i].set(send_state::SECURE, on);
    }
}

/// The keys that protect what the leg sends; `None` when it goes in the clear.
#[inline]
fn sealing<'s>(
    send: &[Send],
    security: &'s mut [LegSecurity],
    i: usize,
    rtcp: bool,
) -> Result<Option<&'s mut SrtpSession>, DropReason> {
    match send.get(i) {
        Some(send) if !send.is(send_state::SECURE) => return Ok(None),
        Some(_) => {}
        None => return Err(DropReason::NotLinked),
    }
    let session = security.get_mut(i).and_then(|s| s.keys(rtcp));
    session.map(Some).ok_or(DropReason::NotYetSecured)
}
