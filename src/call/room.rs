//! Rooms: who is in, who hears whom. Lives on the shard that the room's name
//! hashes to and owns that shard's media legs; calls, which may live on
//! another shard, talk to it in [`RoomRequest`]s and hear of it in
//! [`RoomNotice`]s.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::call::early::Connection;
use crate::call::event::CallEvent;
pub use crate::call::ports::{LegAddress, OpenPorts, Ports, PortsError};
use crate::call::recordings::RoomRecording;
pub use crate::call::recordings::{RecordingAbout, RecordingDesk};
use crate::call::request::{CallError, MediaSnapshot, Stream};
pub use crate::call::room_message::{
    Early, KeyDelivery, Keys, MovingLeg, Place, RoomNotice, RoomRequest,
};
use crate::call::server_leg::ServerLeg;
use crate::call::sound::{KeyWay, MemberSound, RoomSound};
use crate::call::sound_requests::Plays;
pub use crate::call::sound_requests::{PlayEnd, Turned};
use crate::call::studio::Studio;
use crate::call::watch::LegWatch;
pub use crate::call::watch::WatchSettings;
use crate::call::web_peer::{Web, WebEvent, WebPeer, WebSettings};
use crate::clock::WallClock;
use crate::ids::{CallId, LegId, RecordingId, RoomKey, ShardId};
use crate::media::{HeardPackets, LegOptions, Table};
use crate::sdp::Codec;
pub use crate::sound::conference::ConferenceSettings;
pub use crate::sound::receiver::ReceiverSettings;

/// Peers of a room, unless configured otherwise.
const USUAL_CAPACITY: usize = 200;
/// How long nothing is to be heard until that is told of, unless configured
/// otherwise.
const USUAL_DEAD_AIR: Duration = Duration::from_secs(30);
/// Voices heard at once, unless configured otherwise.
const USUAL_LOUDEST: usize = 6;

/// How the rooms of a gateway are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomSettings {
    /// How many peers a room takes.
    pub capacity: usize,
    /// How rooms that are mixed are mixed.
    pub conference: ConferenceSettings,
    /// Whether keys of peers without telephone events are looked for in their
    /// sound, which then has to be decoded.
    pub detect_keys: bool,
    /// Whether those who are recorded hear a beep every 15 s.
    pub announce_recordings: bool,
    /// When calls are told that something is wrong with their sound.
    pub watch: WatchSettings,
}

impl Default for RoomSettings {
    fn default() -> Self {
        RoomSettings {
            capacity: USUAL_CAPACITY,
            conference: ConferenceSettings {
                loudest: USUAL_LOUDEST,
                receiver: ReceiverSettings::default(),
                dead_air: Some(USUAL_DEAD_AIR),
            },
            detect_keys: true,
            announce_recordings: false,
            watch: WatchSettings::default(),
        }
    }
}

/// The rooms and legs of a shard.
pub struct Rooms {
    /// The leg table, which the shard's packet batches go through.
    pub table: Table,
    pub(super) members: HashMap<CallId, Box<Member>>,
    pub(super) by_leg: HashMap<LegId, CallId>,
    pub(super) rooms: HashMap<RoomKey, Room>,
    pub(super) notices: VecDeque<RoomNotice>,
    /// For rooms of other shards.
    pub(super) onward: VecDeque<(ShardId, RoomRequest)>,
    pub(super) watched_seconds: u32,
    /// The next place of the leg table to be looked at, while a round goes on.
    pub(super) next_swept: Option<u32>,
    pub(super) events: VecDeque<CallEvent>,
    pub(super) clock: WallClock,
    pub(super) web: Option<Web>,
    pub(super) settings: RoomSettings,
    pub(super) studio: Studio,
    /// Filled by the leg table, and emptied after every batch.
    pub(super) heard: HeardPackets,
    pub(super) plays: Plays,
    pub(super) recordings: HashMap<RecordingId, RoomRecording>,
    /// Where recordings go to.
    pub(super) desk: Option<Box<dyn RecordingDesk>>,
}

/// One peer of a room, or an echo.
pub(super) struct Member {
    pub(super) leg: LegId,
    pub(super) kind: MemberKind,
    pub(super) place: Place,
    /// Its leg towards the media server that its room is on.
    pub(super) server: Option<ServerLeg>,
    /// Its call rings, and is in no room yet.
    pub(super) early: Option<Box<Early>>,
    pub(super) joined: Instant,
    /// Agreed codecs, best first; empty until connected.
    pub(super) codecs: Vec<Codec>,
    pub(super) sound: MemberSound,
    pub(super) watch: LegWatch,
    pub(super) remote: Option<SocketAddr>,
}

/// How a peer came.
pub(super) enum MemberKind {
    /// By a call, with a port pair of its own.
    Sip(OpenPorts),
    /// By an offer over HTTP, on the shared ports.
    Web(Box<WebPeer>),
}

pub(super) struct Room {
    pub(super) created: Instant,
    pub(super) peers: Vec<CallId>,
    pub(super) sound: RoomSound,
    /// One call's alone, for what it hears while it rings; nobody is told of it.
    pub(super) private: bool,
}

impl Rooms {
    /// No rooms yet; legs go into `table`, which has the same clock from now on.
    pub fn new(mut table: Table, clock: WallClock, settings: RoomSettings) -> Self {
        table.set_clock(clock);
        Rooms {
            table,
            members: HashMap::new(),
            by_leg: HashMap::new(),
            rooms: HashMap::new(),
            notices: VecDeque::new(),
            onward: VecDeque::new(),
            watched_seconds: 0,
            next_swept: None,
            events: VecDeque::new(),
            clock,
            web: None,
            settings,
            studio: Studio::new(settings.conference),
            heard: HeardPackets::default(),
            plays: Plays::default(),
            recordings: HashMap::new(),
            desk: None,
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
            RoomRequest::Ring { call, early, ipv6 } => {
                let notice = match self.ring(now, call, *early, ipv6, ports) {
                    Ok(notice) => notice,
                    Err(error) => RoomNotice::Refused { call, error },
                };
                self.notices.push_back(notice);
            }
            RoomRequest::Move { call, place, to } => {
                if let Err(error) = self.move_on(now, call, place, to, ports) {
                    self.notices.push_back(RoomNotice::Refused { call, error });
                }
            }
            RoomRequest::Arrive {
                call,
                place,
                leg,
                from,
            } => {
                if let Err(error) = self.arrive(now, call, place, leg, from, ports) {
                    self.notices.push_back(RoomNotice::Refused { call, error });
                }
            }
            RoomRequest::RingAgain { call, leg } => self.ring_again(now, call, *leg, ports),
            RoomRequest::Connect {
                call,
                remote,
                codecs,
                sound,
                keys,
            } => {
                let connection = Connection {
                    remote: *remote,
                    codecs,
                    sound,
                    keys,
                };
                self.note_early(call, &connection);
                self.connect(now, call, connection);
            }
            RoomRequest::Key { call, key } => self.key_pressed(now, call, key, KeyWay::Info),
            RoomRequest::SendKeys { call, keys } => self.send_keys_again(now, call, &keys),
            RoomRequest::ConnectServer { call, remote } => self.connect_server(now, call, *remote),
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

    /// The next thing to ask of another shard's rooms. To be passed on before
    /// anything else is: what a call asks of that shard comes after it.
    pub fn poll_onward(&mut self) -> Option<(ShardId, RoomRequest)> {
        self.onward.pop_front()
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.rooms.values().filter(|room| !room.private).count()
    }

    /// Whether there is no room.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rooms' sound is decoded here.
    pub fn conferences(&self) -> usize {
        self.studio.len()
    }

    /// Ticks of 20 ms that were left out because the shard was late.
    pub fn ticks_skipped(&self) -> u64 {
        self.studio.skipped()
    }

    /// How many legs there are, those towards a media server too.
    pub fn legs(&self) -> usize {
        self.table.len()
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
            Place::Echo | Place::Early(_) => None,
            Place::Room(stream) => self.admit(stream, None)?,
            Place::Server { stream, .. } => {
                self.name_is_free(stream, None)?;
                None
            }
        };
        let open = open_ports(now, ipv6, ports)?;
        let server = match self.open_server_leg(now, &place, ports) {
            Ok(server) => server,
            Err(error) => {
                ports.close(now, open);
                return Err(error);
            }
        };
        let leg = self.table.open(
            now,
            LegOptions {
                rtp: open.rtp,
                rtcp: open.rtcp,
                echo: place == Place::Echo,
            },
        );
        self.enter(now, call, leg, place, MemberKind::Sip(open));
        let server_address = server.as_ref().map(ServerLeg::address);
        if let Some(server) = server {
            self.attach_server_leg(call, server);
        }
        Ok(RoomNotice::Joined {
            call,
            local: open.local,
            allowed,
            server: server_address,
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
        if let Some(key) = place.room() {
            let room = self.rooms.entry(key.clone()).or_insert_with(|| Room {
                created: now,
                peers: Vec::with_capacity(2),
                sound: RoomSound::default(),
                private: matches!(place, Place::Early(_)),
            });
            room.peers.push(call);
        }
        let room = place.room_here().cloned();
        self.by_leg.insert(leg, call);
        self.members.insert(
            call,
            Box::new(Member {
                leg,
                kind,
                place,
                server: None,
                early: None,
                joined: now,
                codecs: Vec::new(),
                sound: MemberSound::default(),
                watch: LegWatch::default(),
                remote: None,
            }),
        );
        if let Some(room) = room {
            self.arrange(now, &room);
        }
    }

    /// May this peer come in, in place of `replaced` if that is there, and with
    /// which codecs?
    pub(super) fn admit(
        &self,
        stream: &Stream,
        replaced: Option<CallId>,
    ) -> Result<Option<Vec<Codec>>, CallError> {
        if stream.record {
            self.can_record()?;
        }
        let Some(room) = self.rooms.get(&stream.room) else {
            return Ok(None);
        };
        self.name_is_free(stream, replaced)?;
        let staying = |call: &&CallId| Some(**call) != replaced;
        let staying = || room.peers.iter().filter(staying);
        match staying().count() {
            here if here >= self.settings.capacity => Err(CallError::RoomFull),
            1 => Ok(staying()
                .filter_map(|call| self.members.get(call))
                .map(|member| member.codecs.clone())
                .find(|codecs| !codecs.is_empty())),
            // With more the room is mixed, whatever the newcomer takes.
            _ => Ok(None),
        }
    }

    /// Refuses a second peer of one name, other than `replaced`.
    fn name_is_free(&self, stream: &Stream, replaced: Option<CallId>) -> Result<(), CallError> {
        let peers = self.rooms.get(&stream.room).map(|room| &room.peers);
        let staying = peers.into_iter().flatten();
        let staying = staying.filter(|call| Some(**call) != replaced);
        let mut places = staying.filter_map(|call| self.members.get(call)?.place.stream());
        match places.any(|theirs| theirs.peer == stream.peer) {
            true => Err(CallError::PeerExists),
            false => Ok(()),
        }
    }

    pub(super) fn connect(&mut self, now: Instant, call: CallId, connection: Connection) {
        let Connection {
            remote,
            codecs,
            sound,
            keys,
        } = connection;
        let Some(member) = self.members.get_mut(&call) else {
            return;
        };
        member.remote = Some(remote.rtp);
        member.codecs = codecs;
        member.sound.description = sound;
        member.sound.keys = Some(keys);
        let leg = member.leg;
        self.watch_described(now, call, &remote);
        self.table.set_remote(now, leg, remote);
        self.tell_others(now, call);
        if let Some(room) = self.room_of(call) {
            if let Some(room) = self.rooms.get_mut(&room) {
                // What somebody sent against the last description.
                room.sound.unfit_heard = false;
            }
            self.arrange(now, &room);
            self.record_if_wanted(now, &room, call);
        }
    }

    /// The room of this gateway that the call is in.
    pub(super) fn room_of(&self, call: CallId) -> Option<RoomKey> {
        self.members.get(&call)?.place.room_here().cloned()
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
        let others = self.others(call);
        if others.len() != 1 {
            // A mixed room takes everybody as he is.
            return;
        }
        for other in others {
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
        let [other] = self.others(call)[..] else {
            return None;
        };
        let codecs = &self.members.get(&other)?.codecs;
        (!codecs.is_empty()).then(|| codecs.clone())
    }

    /// Who else is in the call's room.
    pub(super) fn others(&self, call: CallId) -> Vec<CallId> {
        let key = self.members.get(&call).map(|member| &member.place);
        let key = key.and_then(Place::room_here);
        let Some(room) = key.and_then(|key| self.rooms.get(key)) else {
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
        let room = self.room_of(call);
        let member = self.withdraw(now, call)?;
        let suite = self.table.suite(member.leg);
        let stats = self.table.close(member.leg);
        if let MemberKind::Sip(open) = member.kind {
            ports.close(now, open);
        }
        if let Some(server) = &member.server {
            self.close_server_leg(now, server, ports);
        }
        if let Some(room) = room {
            self.arrange(now, &room);
        }
        Some(self.snapshot(&member, &stats, suite, now))
    }

    /// Takes a member out of its place; its leg stays open.
    pub(super) fn withdraw(&mut self, now: Instant, call: CallId) -> Option<Member> {
        self.end_sound_of(now, call);
        let member = *self.members.remove(&call)?;
        self.by_leg.remove(&member.leg);
        if let Some(key) = member.place.room()
            && let Some(room) = self.rooms.get_mut(key)
        {
            room.peers.retain(|peer| *peer != call);
            if room.peers.is_empty()
                && let Some(room) = self.rooms.remove(key)
            {
                self.end_sound_of_room(&room.sound);
            }
        }
        Some(member)
    }
}

/// A port pair for a leg.
pub(super) fn open_ports(
    now: Instant,
    ipv6: bool,
    ports: &mut dyn Ports,
) -> Result<OpenPorts, CallError> {
    Ok(ports.open(now, ipv6)?)
}

impl From<PortsError> for CallError {
    fn from(error: PortsError) -> Self {
        match error {
            PortsError::Exhausted => CallError::PortsExhausted,
            PortsError::Unavailable(reason) => CallError::Media(reason),
        }
    }
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "web_peer_tests.rs"]
mod web_peer_tests;

#[cfg(test)]
#[path = "sound_tests.rs"]
mod sound_tests;

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod waiting_tests;

#[cfg(test)]
#[path = "early_tests.rs"]
mod early_tests;
