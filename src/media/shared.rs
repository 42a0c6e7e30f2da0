//! Legs that share one port (WebRTC): STUN finds its leg by user name, all
//! else by the source address, once an authenticated check came from there.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::drop_reason::DropReason;
use super::dtls::{Component, Dtls};
use super::generated::Transmit;
use super::ice::{Agent, Change};
use super::latch::Source;
use super::leg::{LegOptions, receive_state, send_state};
use super::packet::{Packet, Verdict};
use super::stun::{Class, Message};
use super::table::{Notice, Route, Table, Tick};
use crate::ids::{LegId, MediaPort};
use crate::keying::IceCredentials;
use crate::timers::Timers;

/// Hashes addresses. Only authenticated peers bring addresses in, at most
/// [`super::ice::MAX_ADDRESSES`] each, so it may be quick rather than guarded.
#[derive(Debug, Default)]
pub(super) struct AddressHasher(u64);

/// 2^64 divided by the golden ratio, odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(GOLDEN);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// Everything beside RTP: shared ports, ICE, DTLS, datagrams of our own.
#[derive(Debug, Default)]
pub(super) struct Transport {
    /// The shared port of each family, IPv4 first.
    ports: [Option<MediaPort>; 2],
    by_address: HashMap<SocketAddr, u32, BuildHasherDefault<AddressHasher>>,
    by_ufrag: HashMap<String, u32>,
    agents: HashMap<u32, Agent>,
    /// When a leg's consent runs out unless checks have come meanwhile.
    pub(super) consent: Timers<u32>,
    pub(super) dtls: Dtls,
    /// When a leg's handshake repeats itself.
    pub(super) retransmission: Timers<(u32, Component)>,
    /// When a leg makes its next report.
    pub(super) reports: Timers<u32>,
    pub(super) transmits: VecDeque<Transmit>,
}

impl Transport {
    /// Whether media of the leg goes over a shared port.
    pub(super) fn is_shared(&self, i: usize) -> bool {
        self.agents.contains_key(&(i as u32))
    }

    /// The leg's chosen address; `None` for one with a port of its own too.
    pub(super) fn selected(&self, i: usize) -> Option<SocketAddr> {
        self.agents.get(&(i as u32))?.selected()
    }

    pub(super) fn is_nominated(&self, i: usize) -> bool {
        self.agents
            .get(&(i as u32))
            .is_some_and(Agent::is_nominated)
    }

    /// Whether the address is one of the leg's, by an authenticated check.
    pub(super) fn is_address_of(&self, address: SocketAddr, leg: u32) -> bool {
        self.by_address.get(&address) == Some(&leg)
    }

    /// The shared port of this family.
    pub(super) fn shared_port(&self, ipv6: bool) -> Option<MediaPort> {
        self.ports[usize::from(ipv6)]
    }
}

impl Table {
    /// Tells of a socket that all legs of [`Table::open_shared`] use for peers
    /// of this address family.
    pub fn share_port(&mut self, port: MediaPort, ipv6: bool) {
        self.transport.ports[usize::from(ipv6)] = Some(port);
        self.route_shared(port);
    }

    /// A new leg on the shared ports, found by the user name in `local`. Its
    /// peer's addresses are those that authenticated checks come from; of its
    /// description only the rest counts. Without any check for
    /// [`TableSettings::consent`](super::table::TableSettings::consent) from
    /// now on, [`Notice::ConsentLost`] names it.
    pub fn open_shared(&mut self, now: Instant, local: IceCredentials) -> LegId {
        // Until a check tells the family; nothing is sent before.
        let port = self
            .transport
            .shared_port(false)
            .or(self.transport.shared_port(true));
        let port = port.unwrap_or(MediaPort(u32::MAX));
        let options = LegOptions {
            rtp: port,
            rtcp: port,
            echo: false,
        };
        let leg = self.place(now, options);
        let now_ms = self.tick(now).ms;
        self.transport
            .by_ufrag
            .insert(local.ufrag.clone(), leg.index);
        self.transport
            .agents
            .insert(leg.index, Agent::new(local, now_ms));
        let deadline = now + self.settings.consent;
        self.transport.consent.set(leg.index, deadline);
        leg
    }

    /// Restarts ICE (RFC 8445 section 9): the new credentials hold at once,
    /// the old ones until the first check with the new ones; media goes on
    /// meanwhile. False when the leg is gone or has a port of its own.
    pub fn restart_ice(&mut self, leg: LegId, local: IceCredentials) -> bool {
        let Some(i) = self.live(leg) else {
            return false;
        };
        let Some(agent) = self.transport.agents.get_mut(&(i as u32)) else {
            return false;
        };
        let name = local.ufrag.clone();
        let void = agent.restart(local);
        if let Some(void) = void {
            self.transport.by_ufrag.remove(&void);
        }
        self.transport.by_ufrag.insert(name, leg.index);
        true
    }

    /// The leg that a packet of a shared port is of, by its source.
    #[inline]
    pub(super) fn shared_route(&self, packet: &Packet<'_>) -> Result<Route, DropReason> {
        let known = packet
            .source
            .and_then(|source| self.transport.by_address.get(&source));
        match known {
            Some(leg) => Ok(Route {
                leg: *leg,
                rtcp: false,
            }),
            None => Err(DropReason::WrongSource),
        }
    }

    /// A STUN message on a shared port: answered in its own slot, or dropped.
    #[cold]
    pub(super) fn judge_stun(
        &mut self,
        now: Instant,
        tick: Tick,
        packet: &mut Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        let from = packet.source.ok_or(DropReason::WrongSource)?;
        let message = Message::parse(packet.bytes()).map_err(|_| DropReason::StunInvalid)?;
        match message.class {
            Class::Request if message.is_binding => {}
            // An indication only keeps a NAT open; answers are to nothing of
            // ours, since a lite agent asks nothing.
            Class::Indication => return Ok(Verdict::Consumed),
            Class::Request | Class::Success | Class::Error => {
                return Err(DropReason::StunInvalid);
            }
        }
        let ours = message.username.and_then(|name| name.split(':').next());
        let leg = ours.and_then(|ours| self.transport.by_ufrag.get(ours));
        let leg = *leg.ok_or(DropReason::StunUnknownUser)?;
        let agent = self.transport.agents.get_mut(&leg);
        let agent = agent.ok_or(DropReason::StunUnknownUser)?;
        let answer = agent
            .check(tick.ms, from, &message)
            .ok_or(DropReason::StunUnauthenticated)?;
        self.follow(now, leg, from, answer.change);
        let slot = packet.slot_mut();
        let place = slot
            .get_mut(..answer.response.len())
            .ok_or(DropReason::Truncated)?;
        place.copy_from_slice(&answer.response);
        packet.set_len(answer.response.len());
        Ok(Verdict::Forward {
            port: packet.port,
            to: Some(from),
        })
    }

    /// Does what a check has changed.
    fn follow(&mut self, now: Instant, leg: u32, from: SocketAddr, change: Change) {
        let i = leg as usize;
        if change.restarted
            && let Some(agent) = self.transport.agents.get_mut(&leg)
            && let Some(void) = agent.forget_previous()
        {
            self.transport.by_ufrag.remove(&void);
        }
        if let Some(gone) = change.removed {
            self.forget_address(gone, leg);
        }
        // The same host and port may have been another leg's: a page that was
        // loaded anew. The newer check is the truer one, and a peer that was
        // displaced comes back with its next.
        self.transport.by_address.insert(from, leg);
        if change.selected {
            self.select(i, from);
        }
        self.start_handshake(now, i);
    }

    /// Media goes to this address from now on.
    fn select(&mut self, i: usize, address: SocketAddr) {
        if let Some(port) = self.transport.shared_port(address.is_ipv6()) {
            self.send[i].port = port;
            self.cold[i].options.rtp = port;
            self.cold[i].options.rtcp = port;
        }
        if let Some(described) = self.cold[i].remote.as_mut() {
            described.source = Source::Ice { selected: address };
            described.rtcp = address;
            self.send[i].set(send_state::READY, true);
        }
        let leg = self.leg_id(i);
        self.notice(Notice::Nominated { leg, address });
    }

    /// What the description of a leg with a shared port cannot say.
    pub(super) fn describe_shared(&mut self, i: usize) {
        if !self.transport.is_shared(i) {
            return;
        }
        self.receive[i].set(receive_state::MUX, true);
        let selected = self.transport.selected(i);
        self.send[i].set(send_state::READY, selected.is_some());
        if let Some(described) = self.cold[i].remote.as_mut() {
            let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
            let address = selected.unwrap_or(unknown);
            described.source = Source::Ice { selected: address };
            described.rtcp = address;
        }
    }

    /// Forgets everything of a leg that closes.
    pub(super) fn close_transport(&mut self, i: usize) {
        let leg = i as u32;
        if let Some(agent) = self.transport.agents.remove(&leg) {
            for ufrag in agent.ufrags() {
                self.transport.by_ufrag.remove(ufrag);
            }
            for address in agent.addresses() {
                self.forget_address(address, leg);
            }
        }
        self.transport.consent.stop(&leg);
        self.transport.reports.stop(&leg);
        for component in Component::ALL {
            self.transport.retransmission.stop(&(leg, component));
        }
        self.transport.dtls.forget(leg);
    }

    fn forget_address(&mut self, address: SocketAddr, leg: u32) {
        if self.transport.by_address.get(&address) == Some(&leg) {
            self.transport.by_address.remove(&address);
        }
    }

    /// Names legs whose peers no longer check (RFC 7675 section 5.1), once.
    pub(super) fn expire_consent(&mut self, now: Instant) {
        let now_ms = self.tick(now).ms;
        while let Some(leg) = self.transport.consent.pop(now) {
            let limit = self.settings.consent;
            let Some(agent) = self.transport.agents.get_mut(&leg) else {
                continue;
            };
            let quiet = now_ms.wrapping_sub(agent.consent_ms);
            let left = limit.saturating_sub(Duration::from_millis(u64::from(quiet)));
            // Deadlines are not moved with every check, only when they come.
            let lost = left.is_zero();
            let next = if lost { limit } else { left };
            let tell = lost && !std::mem::replace(&mut agent.consent_lost, lost);
            self.transport.consent.set(leg, now + next);
            if tell {
                self.stop_sending(leg as usize);
                let leg = self.leg_id(leg as usize);
                self.notices.push_back(Notice::ConsentLost { leg });
            }
        }
    }

    /// Without consent nothing may be sent (RFC 7675 section 5.1).
    fn stop_sending(&mut self, i: usize) {
        self.send[i].set(send_state::READY, false);
        if let Some(agent) = self.transport.agents.get_mut(&(i as u32)) {
            agent.deselect();
        }
        self.describe_shared(i);
    }
}
