//! Rooms: who is in, who hears whom. Lives on the shard that the room's name
//! hashes to and owns that shard's media legs; calls, which may live on
//! another shard, talk to it in [`RoomRequest`]s and hear of it in
//! [`RoomNotice`]s.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::event::CallEvent;
pub use crate::call::ports::{LegAddress, OpenPorts, Ports, PortsError};
use crate::call::request::{
    CallError, MediaSnapshot, PeerKind, RoomPeerSnapshot, RoomSnapshot, Stream,
};
use crate::call::web_peer::{Web, WebEvent, WebPeer, WebSettings};
use crate::clock::WallClock;
use crate::ids::{AppId, CallId, LegId, RoomKey, ShardId};
use crate::media::{LegOptions, LegStats, Remote, Table};
use crate::sdp::Codec;

/// How many peers a room takes: two are relayed, more would need mixing.
pub const ROOM_CAPACITY: usize = 2;

/// What a call asks of the shard where its media lives.
#[derive(Debug, Clone)]
pub enum RoomRequest {
    /// Open a media leg for the call. Answered with [`RoomNotice::Joined`] or
    /// [`RoomNotice::Refused`].
    Join {
        /// Whose leg.
        call: CallId,
        /// Where to.
        place: Place,
        /// The leg's address family.
        ipv6: bool,
    },
    /// The peer's side of the leg is known, or has changed.
    Connect {
        /// Whose leg.
        call: CallId,
        /// Where its media comes from and goes to.
        remote: Box<Remote>,
        /// All codecs agreed on, best first.
        codecs: Vec<Codec>,
    },
    /// Close the leg. Always answered with [`RoomNotice::Left`].
    Leave {
        /// Whose leg.
        call: CallId,
    },
    /// Statistics of these calls' legs for a query of the asking shard.
    Statistics {
        /// The asker's name for it.
        query: u64,
        /// Who asks.
        asker: ShardId,
        /// Which legs.
        calls: Vec<CallId>,
    },
}

/// Where a call's media goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Back to where it came from.
    Echo,
    /// Into a room.
    Room(Stream),
}

/// What the room's shard tells the call's shard.
#[derive(Debug, Clone)]
pub enum RoomNotice {
    /// The leg is open.
    Joined {
        /// Whose leg.
        call: CallId,
        /// Our address for the SDP.
        local: LegAddress,
        /// What the room's other peer can take; `None`: anything.
        allowed: Option<Vec<Codec>>,
    },
    /// No leg, and why.
    Refused {
        /// Whose.
        call: CallId,
        /// Why.
        error: CallError,
    },
    /// What the room's other peer can take has changed.
    Allowed {
        /// Whose leg.
        call: CallId,
        /// What it can take; `None`: anything, nobody is there.
        codecs: Option<Vec<Codec>>,
        /// This call's peer is likely to send what the other cannot take:
        /// negotiate anew.
        renegotiate: bool,
    },
    /// A WebRTC peer of the room is connected.
    OtherJoined {
        /// Who hears of it.
        call: CallId,
        /// The other's name.
        peer: Arc<str>,
    },
    /// A WebRTC peer of the room is gone.
    OtherLeft {
        /// Who hears of it.
        call: CallId,
        /// The other's name.
        peer: Arc<str>,
        /// Why.
        reason: &'static str,
    },
    /// The DTLS handshake of the leg has failed.
    SecurityFailed {
        /// Whose leg.
        call: CallId,
        /// Why, in words.
        reason: &'static str,
    },
    /// No media came for the configured time.
    Silent {
        /// Whose leg.
        call: CallId,
    },
    /// The leg is closed.
    Left {
        /// Whose.
        call: CallId,
        /// Its statistics; `None` if there was no leg.
        media: Option<MediaSnapshot>,
    },
    /// Answer to [`RoomRequest::Statistics`].
    Statistics {
        /// Where to.
        asker: ShardId,
        /// Which query.
        query: u64,
        /// What there is.
        media: Vec<(CallId, MediaSnapshot)>,
    },
}

impl RoomNotice {
    /// The shard it is for.
    pub fn addressee(&self) -> ShardId {
        match self {
            RoomNotice::Joined { call, .. }
            | RoomNotice::Refused { call, .. }
            | RoomNotice::Allowed { call, .. }
            | RoomNotice::OtherJoined { call, .. }
            | RoomNotice::OtherLeft { call, .. }
            | RoomNotice::SecurityFailed { call, .. }
            | RoomNotice::Silent { call }
            | RoomNotice::Left { call, .. } => call.shard,
            RoomNotice::Statistics { asker, .. } => *asker,
        }
    }
}

/// The rooms and legs of a shard.
pub struct Rooms {
    /// The leg table, which the shard's packet batches go through.
    pub table: Table,
    pub(super) members: HashMap<CallId, Member>,
    pub(super) by_leg: HashMap<LegId, CallId>,
    pub(super) rooms: HashMap<RoomKey, Room>,
    pub(super) notices: VecDeque<RoomNotice>,
    pub(super) events: VecDeque<CallEvent>,
    pub(super) clock: WallClock,
    pub(super) web: Option<Web>,
}

/// One peer of a room, or an echo.
pub(super) struct Member {
    pub(super) leg: LegId,
    pub(super) kind: MemberKind,
    pub(super) place: Place,
    joined: Instant,
    /// Agreed codecs, best first; empty until connected.
    codecs: Vec<Codec>,
    remote: Option<SocketAddr>,
}

/// How a peer came.
pub(super) enum MemberKind {
    /// By a call, with a port pair of its own.
    Sip(OpenPorts),
    /// By an offer over HTTP, on the shared ports.
    Web(Box<WebPeer>),
}

pub(super) struct Room {
    created: Instant,
    pub(super) peers: Vec<CallId>,
}

impl Rooms {
    /// No rooms yet; legs go into `table`, which has the same clock from now on.
    pub fn new(mut table: Table, clock: WallClock) -> Self {
        table.set_clock(clock);
        Rooms {
            table,
            members: HashMap::new(),
            by_leg: HashMap::new(),
            rooms: HashMap::new(),
            notices: VecDeque::new(),
            events: VecDeque::new(),
            clock,
            web: None,
        }
    }

    /// From now on WebRTC peers are taken.
    pub fn set_web(&mut self, settings: WebSettings) {
        self.web = Some(Web::new(settings));
    }

    /// Serves one request; what there is to say comes from [`Self::poll_notice`].
    pub fn handle(&mut self, now: Instant, request: RoomRequest, ports: &mut dyn Ports) {
        match request {
            RoomRequest::Join { call, place, ipv6 } => {
                let notice = match self.join(now, call, place, ipv6, ports) {
                    Ok(notice) => notice,
                    Err(error) => RoomNotice::Refused { call, error },
                };
                self.notices.push_back(notice);
            }
            RoomRequest::Connect {
                call,
                remote,
                codecs,
            } => self.connect(now, call, *remote, codecs),
            RoomRequest::Leave { call } => {
                let media = self.leave(now, call, ports);
                self.notices.push_back(RoomNotice::Left { call, media });
            }
            RoomRequest::Statistics {
                query,
                asker,
                calls,
            } => {
                let media = calls
                    .into_iter()
                    .filter_map(|call| Some((call, self.media(now, call)?)))
                    .collect();
                self.notices.push_back(RoomNotice::Statistics {
                    asker,
                    query,
                    media,
                });
            }
        }
    }

    /// The next thing to tell a call's shard.
    pub fn poll_notice(&mut self) -> Option<RoomNotice> {
        self.notices.pop_front()
    }

    /// Tells the calls whose media has stopped. To be called about once a
    /// second.
    pub fn sweep(&mut self, now: Instant) {
        for leg in self.table.inactive(now) {
            if let Some(&call) = self.by_leg.get(&leg)
                && let Some(MemberKind::Sip(_)) = self.members.get(&call).map(|m| &m.kind)
            {
                self.notices.push_back(RoomNotice::Silent { call });
            }
        }
    }

    /// Statistics of a call's leg.
    pub fn media(&self, now: Instant, call: CallId) -> Option<MediaSnapshot> {
        let member = self.members.get(&call)?;
        let stats = self.table.stats(member.leg)?;
        Some(self.snapshot(member, &stats, now))
    }

    /// The rooms of an app.
    pub fn of_app(&self, now: Instant, app: &AppId) -> Vec<RoomSnapshot> {
        self.rooms
            .iter()
            .filter(|(key, _)| key.app == *app)
            .map(|(key, room)| self.room_snapshot(now, key, room))
            .collect()
    }

    /// One room.
    pub fn room(&self, now: Instant, key: &RoomKey) -> Option<RoomSnapshot> {
        let room = self.rooms.get(key)?;
        Some(self.room_snapshot(now, key, room))
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there is no room.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// How many legs there are.
    pub fn legs(&self) -> usize {
        self.members.len()
    }

    fn join(
        &mut self,
        now: Instant,
        call: CallId,
        place: Place,
        ipv6: bool,
        ports: &mut dyn Ports,
    ) -> Result<RoomNotice, CallError> {
        let allowed = match &place {
            Place::Echo => None,
            Place::Room(stream) => self.admit(stream, None)?,
        };
        let open = ports.open(now, ipv6).map_err(|error| match error {
            PortsError::Exhausted => CallError::PortsExhausted,
            PortsError::Unavailable(reason) => CallError::Media(reason),
        })?;
        let leg = self.table.open(
            now,
            LegOptions {
                rtp: open.rtp,
                rtcp: open.rtcp,
                echo: place == Place::Echo,
            },
        );
        self.enter(now, call, leg, place, MemberKind::Sip(open));
        Ok(RoomNotice::Joined {
            call,
            local: open.local,
            allowed,
        })
    }

    /// Puts a leg into its place, and links it with whoever is there.
    pub(super) fn enter(
        &mut self,
        now: Instant,
        call: CallId,
        leg: LegId,
        place: Place,
        kind: MemberKind,
    ) {
        if let Place::Room(stream) = &place {
            let room = self
                .rooms
                .entry(stream.room.clone())
                .or_insert_with(|| Room {
                    created: now,
                    peers: Vec::with_capacity(ROOM_CAPACITY),
                });
            for other in &room.peers {
                if let Some(other) = self.members.get(other) {
                    self.table.link(leg, other.leg);
                }
            }
            room.peers.push(call);
        }
        self.by_leg.insert(leg, call);
        self.members.insert(
            call,
            Member {
                leg,
                kind,
                place,
                joined: now,
                codecs: Vec::new(),
                remote: None,
            },
        );
    }

    /// May this peer come in, in place of `replaced` if that is there, and with
    /// which codecs?
    pub(super) fn admit(
        &self,
        stream: &Stream,
        replaced: Option<CallId>,
    ) -> Result<Option<Vec<Codec>>, CallError> {
        if stream.record {
            return Err(CallError::RecordingUnavailable);
        }
        let Some(room) = self.rooms.get(&stream.room) else {
            return Ok(None);
        };
        let staying = |call: &&CallId| Some(**call) != replaced;
        let staying = || room.peers.iter().filter(staying);
        let members = || staying().filter_map(|call| self.members.get(call));
        let same_name = |member: &Member| match &member.place {
            Place::Echo => false,
            Place::Room(theirs) => theirs.peer == stream.peer,
        };
        if members().any(same_name) {
            return Err(CallError::PeerExists);
        }
        if staying().count() >= ROOM_CAPACITY {
            return Err(CallError::RoomFull);
        }
        Ok(members()
            .map(|member| member.codecs.clone())
            .find(|codecs| !codecs.is_empty()))
    }

    pub(super) fn connect(
        &mut self,
        now: Instant,
        call: CallId,
        remote: Remote,
        codecs: Vec<Codec>,
    ) {
        let Some(member) = self.members.get_mut(&call) else {
            return;
        };
        member.remote = Some(remote.rtp);
        member.codecs = codecs;
        self.table.set_remote(now, member.leg, remote);
        self.tell_others(now, call);
    }

    /// Tells the others of the room what this peer takes. A relay needs what
    /// one side sends to be what the other takes. A peer sends the first codec
    /// of its list (RFC 3264 section 6.1), so one whose first codec the
    /// newcomer lacks has to negotiate anew.
    fn tell_others(&mut self, now: Instant, call: CallId) {
        let Some(member) = self.members.get(&call) else {
            return;
        };
        let mut to_renegotiate = Vec::new();
        for other in self.others(call) {
            let Some(theirs) = self.members.get(&other) else {
                continue;
            };
            let shared = theirs
                .codecs
                .iter()
                .any(|codec| codec.is_audio() && member.codecs.contains(codec));
            let first = theirs.codecs.iter().find(|codec| codec.is_audio());
            let first_is_taken = first.is_none_or(|codec| member.codecs.contains(codec));
            let renegotiate = shared && !first_is_taken;
            match theirs.kind {
                MemberKind::Sip(_) => self.notices.push_back(RoomNotice::Allowed {
                    call: other,
                    codecs: Some(member.codecs.clone()),
                    renegotiate,
                }),
                MemberKind::Web(_) if renegotiate => to_renegotiate.push(other),
                MemberKind::Web(_) => {}
            }
        }
        for other in to_renegotiate {
            self.tell_web(now, other, WebEvent::Renegotiate);
        }
    }

    /// What the others of the call's room take; `None`: anything.
    pub(super) fn codecs_of_others(&self, call: CallId) -> Option<Vec<Codec>> {
        self.others(call)
            .iter()
            .filter_map(|other| self.members.get(other))
            .map(|member| member.codecs.clone())
            .find(|codecs| !codecs.is_empty())
    }

    /// Who else is in the call's room.
    pub(super) fn others(&self, call: CallId) -> Vec<CallId> {
        let Some(Place::Room(stream)) = self.members.get(&call).map(|member| &member.place) else {
            return Vec::new();
        };
        let Some(room) = self.rooms.get(&stream.room) else {
            return Vec::new();
        };
        let other = |peer: &&CallId| **peer != call;
        room.peers.iter().filter(other).copied().collect()
    }

    pub(super) fn leave(
        &mut self,
        now: Instant,
        call: CallId,
        ports: &mut dyn Ports,
    ) -> Option<MediaSnapshot> {
        for other in self.others(call) {
            if let Some(MemberKind::Sip(_)) = self.members.get(&other).map(|m| &m.kind) {
                self.notices.push_back(RoomNotice::Allowed {
                    call: other,
                    codecs: None,
                    renegotiate: false,
                });
            }
        }
        let member = self.members.remove(&call)?;
        self.by_leg.remove(&member.leg);
        let stats = self.table.close(member.leg);
        if let MemberKind::Sip(open) = member.kind {
            ports.close(now, open);
        }
        if let Place::Room(stream) = &member.place
            && let Some(room) = self.rooms.get_mut(&stream.room)
        {
            room.peers.retain(|peer| *peer != call);
            if room.peers.is_empty() {
                self.rooms.remove(&stream.room);
            }
        }
        Some(self.snapshot(&member, &stats, now))
    }

    fn room_snapshot(&self, now: Instant, key: &RoomKey, room: &Room) -> RoomSnapshot {
        let peer = |call: &CallId| {
            let member = self.members.get(call)?;
            let name: Arc<str> = match &member.place {
                Place::Echo => return None,
                Place::Room(stream) => stream.peer.clone(),
            };
            Some(RoomPeerSnapshot {
                peer: name,
                call: *call,
                kind: match &member.kind {
                    MemberKind::Sip(_) => PeerKind::Sip,
                    MemberKind::Web(_) => PeerKind::WebRtc,
                },
                joined_ms: self.clock.unix_ms(member.joined),
                media: self.media(now, *call),
            })
        };
        RoomSnapshot {
            room: key.clone(),
            created_ms: self.clock.unix_ms(room.created),
            peers: room.peers.iter().filter_map(peer).collect(),
        }
    }

    fn snapshot(&self, member: &Member, stats: &LegStats, now: Instant) -> MediaSnapshot {
        let codec = member.codecs.iter().find(|codec| codec.is_audio());
        let local = match &member.kind {
            MemberKind::Sip(open) => Some(SocketAddr::new(open.local.address, open.local.rtp_port)),
            MemberKind::Web(_) => self.web.as_ref().and_then(Web::candidate),
        };
        MediaSnapshot {
            codec: codec.map_or("", |codec| codec.encoding_name()).to_string(),
            local,
            remote: member.remote,
            packets_received: stats.received.packets,
            bytes_received: stats.received.bytes,
            packets_sent: stats.sent.packets,
            bytes_sent: stats.sent.bytes,
            packets_lost: i64::try_from(stats.received.lost).unwrap_or(i64::MAX),
            jitter_ms: milliseconds(stats.received.jitter),
            round_trip_ms: stats.sent.round_trip.map(milliseconds),
            remote_packets_lost: stats.sent.reported.map(|told| told.cumulative_lost.into()),
            remote_jitter_ms: stats.sent.reported.map(|told| milliseconds(told.jitter)),
            last_packet_ms_ago: stats
                .received
                .last_packet
                .map(|at| now.saturating_duration_since(at).as_millis() as u64),
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "web_peer_tests.rs"]
mod web_peer_tests;
