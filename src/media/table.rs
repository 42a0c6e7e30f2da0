//! The leg table of one shard: opening, describing, linking and closing legs.
//! What happens per packet is in [`super::batch`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::drop_reason::DropCounters;
use super::latch::{Latch, Source};
use super::leg::{
    Cold, Described, LegOptions, NOBODY, Receive, Remote, SHARED, Send, receive_state, send_state,
};
use super::payload::{MAX_PAYLOADS, PayloadMap};
use super::reports::Reports;
use super::security::LegSecurity;
use super::shared::Transport;
use super::srtp::SideBySide;
use super::stats::{LegStats, ReceivedStats, SentStats};
use super::tap::HeardPackets;
use crate::clock::WallClock;
use crate::ids::{LegId, MediaPort};

/// Notices that packets may leave waiting; one that finds no room is left out
/// and tried again with a later packet of its leg. Notices of the control
/// calls always find room.
const MAX_NOTICES: usize = 4096;

/// What the table is set up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSettings {
    /// Silence from a peer that should be sending, after which
    /// [`Table::inactive`] names its leg.
    pub inactivity: Duration,
    /// Time without an authenticated ICE check after which
    /// [`Notice::ConsentLost`] names a leg (RFC 7675 section 5.1).
    pub consent: Duration,
    /// DTLS handshakes that peers may open per second, all together.
    pub handshakes_per_second: u32,
    /// The same per host.
    pub handshakes_per_second_per_address: u32,
}

impl Default for TableSettings {
    fn default() -> Self {
        TableSettings {
            inactivity: Duration::from_secs(30),
            consent: Duration::from_secs(30),
            handshakes_per_second: 200,
            handshakes_per_second_per_address: 20,
        }
    }
}

/// Something to do outside, or to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The port's peer is known: connect the socket to it before the next
    /// batch. From the moment this was polled, what goes out of the port to
    /// that peer says `to: None`.
    Locked {
        /// The leg's RTP socket.
        port: MediaPort,
        /// The peer.
        address: std::net::SocketAddr,
    },
    /// The port's peer is open again: disconnect the socket.
    Unlocked {
        /// The leg's RTP socket.
        port: MediaPort,
    },
    /// The leg's first packet came.
    Started {
        /// The leg.
        leg: LegId,
    },
    /// ICE has found where the leg's media goes to, or it goes elsewhere now.
    Nominated {
        /// The leg.
        leg: LegId,
        /// Its peer.
        address: std::net::SocketAddr,
    },
    /// No authenticated check came for too long: nothing is sent any more.
    /// Told once; a later check sets the leg going again.
    ConsentLost {
        /// The leg.
        leg: LegId,
    },
    /// The handshake is done, and its certificate was the one described.
    Secured {
        /// The leg.
        leg: LegId,
    },
    /// The handshake has failed. Nothing passes until the peer is described
    /// anew.
    SecurityFailed {
        /// The leg.
        leg: LegId,
        /// Why, in words for a person.
        reason: &'static str,
    },
}

/// Totals of the table since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams handed back to be sent, RTP and RTCP.
    pub forwarded_packets: u64,
    /// Their bytes, without UDP and IP headers.
    pub forwarded_bytes: u64,
    /// Datagrams that were for the gateway itself.
    pub consumed_packets: u64,
    /// Datagrams dropped, by reason.
    pub drops: DropCounters,
}

/// Which leg a port belongs to, and as what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) leg: u32,
    pub(super) rtcp: bool,
}

const NO_ROUTE: Route = Route {
    leg: NOBODY,
    rtcp: false,
};

#[derive(Debug, Clone, Copy)]
struct Slot {
    generation: u32,
    live: bool,
}

/// A moment on the table's own clock, which starts with its first leg.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tick {
    pub(super) micros: u64,
    /// Wraps after 49 days; only differences are looked at.
    pub(super) ms: u32,
}

/// The legs of one shard.
#[derive(Debug)]
pub struct Table {
    pub(super) settings: TableSettings,
    pub(super) random: StdRng,
    pub(super) epoch: Option<Instant>,
    pub(super) clock: Option<WallClock>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    // Three arrays with the same index, so that a batch walks hot lines only.
    pub(super) receive: Vec<Receive>,
    pub(super) send: Vec<Send>,
    pub(super) cold: Vec<Cold>,
    /// Apart from the hot lines, with their index.
    pub(super) security: Vec<LegSecurity>,
    /// What the batch in hand has authenticated together.
    pub(super) side_by_side: SideBySide,
    pub(super) ports: Vec<Route>,
    pub(super) notices: VecDeque<Notice>,
    pub(super) counters: Counters,
    /// What tapped legs said, until [`Table::take_heard`].
    pub(super) heard: HeardPackets,
    pub(super) transport: Transport,
}

impl Table {
    /// An empty table. The seed decides the SSRCs and where sequence numbers
    /// and timestamps start.
    pub fn new(settings: TableSettings, seed: [u8; 32]) -> Table {
        Table {
            settings,
            random: StdRng::from_seed(seed),
            epoch: None,
            clock: None,
            slots: Vec::new(),
            free: Vec::new(),
            receive: Vec::new(),
            send: Vec::new(),
            cold: Vec::new(),
            security: Vec::new(),
            side_by_side: SideBySide::new(),
            ports: Vec::new(),
            notices: VecDeque::with_capacity(MAX_NOTICES),
            counters: Counters::default(),
            heard: HeardPackets::default(),
            transport: Transport::default(),
        }
    }

    /// A new leg on these two sockets, its peer not described yet. A port that
    /// another leg still has changes hands.
    pub fn open(&mut self, now: Instant, options: LegOptions) -> LegId {
        let leg = self.place(now, options);
        if options.echo {
            self.receive[leg.index as usize].sink = leg.index;
        }
        self.route(options.rtp, leg.index, false);
        self.route(options.rtcp, leg.index, true);
        leg
    }

    /// Finds a place for a leg.
    pub(super) fn place(&mut self, now: Instant, options: LegOptions) -> LegId {
        self.epoch.get_or_insert(now);
        let receive = Receive::new();
        let send = self.fresh_send(options.rtp);
        let cold = Cold {
            options,
            remote: None,
            restart_at: None,
            first_sequence: 0,
            left_ssrc: None,
            packets_before: 0,
            lost_before: 0,
            quiet_since_ms: self.tick(now).ms,
            reported: None,
            reports: Reports::new(&mut self.random),
        };
        let index = match self.free.pop() {
            Some(index) => {
                let i = index as usize;
                self.receive[i] = receive;
                self.send[i] = send;
                self.cold[i] = cold;
                self.slots[i].live = true;
                index
            }
            None => {
                self.receive.push(receive);
                self.send.push(send);
                self.cold.push(cold);
                self.slots.push(Slot {
                    generation: 0,
                    live: true,
                });
                (self.slots.len() - 1) as u32
            }
        };
        self.forget_security(index as usize);
        LegId {
            index,
            generation: self.slots[index as usize].generation,
        }
    }

    /// Describes the leg's peer, or describes it anew. This alone unlocks a
    /// locked source, and only when the description asks for it: a strict
    /// address that did not change stays locked. False when the leg is gone.
    pub fn set_remote(&mut self, now: Instant, leg: LegId, remote: Remote) -> bool {
        let Some(i) = self.live(leg) else {
            return false;
        };
        let before = self.cold[i].remote.take();
        let (source, rtcp) = redescribed(before.as_ref(), &remote);
        let usable = !remote.rtp.ip().is_unspecified() && remote.rtp.port() != 0;
        let was_locked = self.receive[i].is(receive_state::LOCKED);
        if was_locked && !source.is_locked() {
            self.unlock(i);
        }
        let receive = &mut self.receive[i];
        receive.set(receive_state::DESCRIBED, true);
        receive.set(receive_state::OPEN, remote.receive);
        receive.set(receive_state::MUX, remote.rtcp_mux);
        receive.clock_rate = 0;
        let send = &mut self.send[i];
        send.set(send_state::READY, usable);
        send.set(send_state::OPEN, remote.send);
        if send.source_ssrc == send.ssrc {
            // Our own stream may have another codec's clock from now on.
            send.set(send_state::HAS_SOURCE, false);
            send.source_ssrc = !send.ssrc;
        }
        let tick_ms = self.tick(now).ms;
        let cold = &mut self.cold[i];
        cold.quiet_since_ms = tick_ms;
        let mut payloads = remote.payloads;
        payloads.truncate(MAX_PAYLOADS);
        cold.remote = Some(Described {
            source,
            rtcp,
            latch: remote.latch,
            held: remote.held,
            payloads,
        });
        self.describe_security(i, &remote.security);
        self.describe_shared(i);
        self.describe_dtls(now, i, &remote.security);
        self.start_reports(now, i);
        self.remap(i);
        let sink = self.receive[i].sink;
        if sink != NOBODY && sink as usize != i {
            self.remap(sink as usize);
        }
        true
    }

    /// Makes the two hear each other, in place of whomever each heard before.
    /// A leg linked to itself is an echo. False when one of them is gone.
    pub fn link(&mut self, one: LegId, other: LegId) -> bool {
        let (Some(a), Some(b)) = (self.live(one), self.live(other)) else {
            return false;
        };
        if self.receive[a].sink == b as u32 && self.receive[b].sink == a as u32 {
            return true;
        }
        self.detach(a);
        self.detach(b);
        self.receive[a].sink = b as u32;
        self.receive[b].sink = a as u32;
        for i in [a, b] {
            // Another source: the stream goes on from where it stopped.
            self.send[i].set(send_state::HAS_SOURCE, false);
            self.remap(i);
        }
        true
    }

    /// Parts the leg from the one it was linked to. False when it is gone.
    pub fn unlink(&mut self, leg: LegId) -> bool {
        let Some(i) = self.live(leg) else {
            return false;
        };
        self.detach(i);
        true
    }

    /// Ends the leg; its ports lead nowhere from now on. The numbers of a leg
    /// that was gone already are all zero.
    pub fn close(&mut self, leg: LegId) -> LegStats {
        let Some(i) = self.live(leg) else {
            return LegStats::default();
        };
        let stats = self.stats_at(i);
        self.detach(i);
        let LegOptions { rtp, rtcp, .. } = self.cold[i].options;
        for port in [rtp, rtcp] {
            if let Some(route) = self.ports.get_mut(port.0 as usize)
                && route.leg == leg.index
            {
                *route = NO_ROUTE;
            }
        }
        self.notices.retain(|notice| match notice {
            Notice::Locked { port, .. } | Notice::Unlocked { port } => *port != rtp,
            Notice::Started { leg: told }
            | Notice::Nominated { leg: told, .. }
            | Notice::ConsentLost { leg: told }
            | Notice::Secured { leg: told }
            | Notice::SecurityFailed { leg: told, .. } => *told != leg,
        });
        self.close_transport(i);
        self.forget_security(i);
        self.receive[i] = Receive::new();
        self.cold[i].remote = None;
        self.slots[i].live = false;
        self.slots[i].generation = self.slots[i].generation.wrapping_add(1);
        self.free.push(leg.index);
        stats
    }

    /// The leg's numbers as of now; `None` when it is gone.
    pub fn stats(&self, leg: LegId) -> Option<LegStats> {
        self.live(leg).map(|i| self.stats_at(i))
    }

    /// Whether the peer's last packet was comfort noise (RFC 3389): it says
    /// nothing on purpose, and may send nothing until it speaks again.
    pub fn is_pausing(&self, leg: LegId) -> bool {
        let receive = self.live(leg).and_then(|i| self.receive.get(i));
        receive.is_some_and(|receive| receive.is(receive_state::PAUSING))
    }

    /// The next thing to do outside, oldest first. Polling a
    /// [`Notice::Locked`] promises to connect the socket before the next batch.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        let notice = self.notices.pop_front()?;
        match notice {
            Notice::Locked { port, .. } => {
                if let Some(route) = self.ports.get(port.0 as usize)
                    && let Some(send) = self.send.get_mut(route.leg as usize)
                {
                    send.set(send_state::CONNECTED, true);
                }
            }
            Notice::Unlocked { .. }
            | Notice::Started { .. }
            | Notice::Nominated { .. }
            | Notice::ConsentLost { .. }
            | Notice::Secured { .. }
            | Notice::SecurityFailed { .. } => {}
        }
        Some(notice)
    }

    /// How many places for legs there are, taken or free.
    pub fn places(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The leg at this place; `None` where it is free.
    pub fn leg_at(&self, place: u32) -> Option<LegId> {
        let slot = self.slots.get(place as usize)?;
        slot.live.then(|| self.leg_id(place as usize))
    }

    /// Whether the leg's peer should be sending and has been silent for the
    /// configured time; so until it speaks, is described anew or closed. Peers
    /// on hold, and such as may not send, are exempt; of one whose last packet
    /// was comfort noise RTCP counts too.
    pub fn is_inactive(&self, now: Instant, leg: LegId) -> bool {
        let i = leg.index as usize;
        let (Some(receive), Some(cold)) = (self.receive.get(i), self.cold.get(i)) else {
            return false;
        };
        let awaited = self.leg_at(leg.index) == Some(leg)
            && receive.is(receive_state::OPEN)
            && cold.remote.as_ref().is_some_and(|remote| !remote.held);
        let now_ms = self.tick(now).ms;
        let described = now_ms.wrapping_sub(cold.quiet_since_ms);
        let heard = now_ms.wrapping_sub(receive.last_ms);
        let quiet = match receive.is(receive_state::HAS_SSRC) {
            true => heard.min(described),
            false => described,
        };
        let limit = u32::try_from(self.settings.inactivity.as_millis()).unwrap_or(u32::MAX);
        awaited && quiet >= limit
    }

    /// Totals over all legs, past and present.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many legs are open.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether no leg is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells of something that a packet brought about; false when there is no
    /// room, and the packet's leg must try again with its next one.
    pub(super) fn notice(&mut self, notice: Notice) -> bool {
        let room = self.notices.len() < MAX_NOTICES;
        if room {
            self.notices.push_back(notice);
        }
        room
    }

    pub(super) fn leg_id(&self, i: usize) -> LegId {
        LegId {
            index: i as u32,
            generation: self.slots.get(i).map_or(0, |slot| slot.generation),
        }
    }

    pub(super) fn tick(&self, now: Instant) -> Tick {
        let since = now.saturating_duration_since(self.epoch.unwrap_or(now));
        let micros = since.as_micros() as u64;
        Tick {
            micros,
            ms: (micros / 1000) as u32,
        }
    }

    pub(super) fn live(&self, leg: LegId) -> Option<usize> {
        let slot = self.slots.get(leg.index as usize)?;
        (slot.live && slot.generation == leg.generation).then_some(leg.index as usize)
    }

    /// A stream with random SSRC, first sequence number and timestamp (RFC
    /// 3550 section 5.1). The sequence starts in the lower half, so that it
    /// does not wrap within seconds: SRTP receivers guess the rollover counter.
    fn fresh_send(&mut self, port: MediaPort) -> Send {
        let ssrc = self.random.next_u32();
        let sequence = (self.random.next_u32() as u16) & 0x7fff;
        let timestamp = self.random.next_u32();
        Send::new(port, ssrc, sequence, timestamp)
    }

    fn route(&mut self, port: MediaPort, leg: u32, rtcp: bool) {
        let at = port.0 as usize;
        if at >= self.ports.len() {
            self.ports.resize(at + 1, NO_ROUTE);
        }
        self.ports[at] = Route { leg, rtcp };
    }

    /// Packets of this port find their leg by other means.
    pub(super) fn route_shared(&mut self, port: MediaPort) {
        self.route(port, SHARED, false);
    }

    fn unlock(&mut self, i: usize) {
        let port = self.cold[i].options.rtp;
        self.receive[i].set(receive_state::LOCKED, false);
        self.receive[i].set(receive_state::LOCK_UNTOLD, false);
        self.send[i].set(send_state::CONNECTED, false);
        self.notices
            .retain(|notice| !matches!(notice, Notice::Locked { port: told, .. } if *told == port));
        self.notices.push_back(Notice::Unlocked { port });
    }

    fn detach(&mut self, i: usize) {
        let sink = std::mem::replace(&mut self.receive[i].sink, NOBODY) as usize;
        self.remap(i);
        if let Some(partner) = self.receive.get_mut(sink)
            && partner.sink == i as u32
        {
            partner.sink = NOBODY;
            self.remap(sink);
        }
    }

    /// Works out anew what the leg's payload types become at its sink.
    fn remap(&mut self, i: usize) {
        let payloads = |cold: &Cold| cold.remote.as_ref().map(|r| r.payloads.clone());
        let source = payloads(&self.cold[i]).unwrap_or_default();
        let sink = self.cold.get(self.receive[i].sink as usize);
        let sink = sink.and_then(payloads).unwrap_or_default();
        self.receive[i].payloads = PayloadMap::between(&source, &sink);
    }

    fn stats_at(&self, i: usize) -> LegStats {
        let (receive, send, cold) = (&self.receive[i], &self.send[i], &self.cold[i]);
        let at = |ms: u32| {
            let now_less = Duration::from_millis(u64::from(ms));
            self.epoch.and_then(|epoch| epoch.checked_add(now_less))
        };
        let heard = receive.is(receive_state::HAS_SSRC);
        let (packets, lost) = match heard {
            true => (
                u64::from(receive.sequence.packets),
                receive.sequence.lost_since(cold.first_sequence),
            ),
            false => (0, 0),
        };
        LegStats {
            received: ReceivedStats {
                packets: cold.packets_before + packets,
                bytes: receive.bytes,
                lost: cold.lost_before + lost,
                jitter: receive.jitter.duration(receive.clock_rate),
                last_packet: heard.then(|| at(receive.last_ms)).flatten(),
            },
            sent: SentStats {
                packets: send.packets,
                bytes: send.bytes,
                last_packet: (send.packets > 0).then(|| at(send.last_ms)).flatten(),
                reported: cold.reported,
                round_trip: cold.reports.round_trip(),
            },
        }
    }
}

/// Source and RTCP address after a description, given the one before.
fn redescribed(before: Option<&Described>, remote: &Remote) -> (Source, std::net::SocketAddr) {
    let fresh = (Source::new(remote.rtp, remote.latch), remote.rtcp);
    let Some(before) = before else {
        return fresh;
    };
    match remote.latch {
        Latch::Strict if before.source.is_locked_to(remote.rtp) => (before.source, remote.rtcp),
        Latch::Strict => fresh,
        // The peer may have moved, or not: go on with what was learned until
        // another source shows up, so that a mere refresh leaves no gap.
        Latch::Learn => match before.source.relearn(remote.rtp) {
            Some(source) => (source, before.rtcp),
            None => fresh,
        },
    }
}
