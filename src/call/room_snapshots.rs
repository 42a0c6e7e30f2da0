//! How rooms, and the legs in them, are at one moment.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::call::request::{
    AudioSnapshot, MediaSnapshot, PeerKind, PlaySnapshot, RecordingSnapshot, RoomPeerSnapshot,
    RoomSnapshot,
};
use crate::call::room::{Member, MemberKind, Place, Room, Rooms};
use crate::call::web_peer::Web;
use crate::ids::{AppId, CallId, PlayId, RecordingId, RoomKey};
use crate::keying::Suite;
use crate::media::LegStats;

impl Rooms {
    /// Statistics of a call's leg.
    pub fn media(&self, now: Instant, call: CallId) -> Option<MediaSnapshot> {
        let member = self.members.get(&call)?;
        let stats = self.table.stats(member.leg)?;
        let suite = self.table.suite(member.leg);
        Some(self.snapshot(member, &stats, suite, now))
    }

    /// The rooms of an app, or all.
    pub fn of_app(&self, now: Instant, app: Option<&AppId>) -> Vec<RoomSnapshot> {
        self.rooms
            .iter()
            .filter(|(key, room)| !room.private && app.is_none_or(|app| key.app == *app))
            .map(|(key, room)| self.room_snapshot(now, key, room))
            .collect()
    }

    /// One room.
    pub fn room(&self, now: Instant, key: &RoomKey) -> Option<RoomSnapshot> {
        let room = self.rooms.get(key).filter(|room| !room.private)?;
        Some(self.room_snapshot(now, key, room))
    }

    fn room_snapshot(&self, now: Instant, key: &RoomKey, room: &Room) -> RoomSnapshot {
        let peer = |call: &CallId| {
            let member = self.members.get(call)?;
            Some(RoomPeerSnapshot {
                peer: member.place.stream()?.peer.clone(),
                call: *call,
                kind: match &member.kind {
                    MemberKind::Sip(_) => PeerKind::Sip,
                    MemberKind::Web(_) => PeerKind::WebRtc,
                },
                joined_ms: self.clock.unix_ms(member.joined),
                media: self.media(now, *call),
            })
        };
        let play = |id: &PlayId| {
            let play = self.plays.under_way.get(id)?;
            Some(PlaySnapshot {
                play: *id,
                call: play.call,
            })
        };
        let recording = |id: &RecordingId| {
            let recording = self.recordings.get(id)?;
            Some(RecordingSnapshot {
                recording: *id,
                call: recording.call,
                paused: recording.paused,
            })
        };
        RoomSnapshot {
            room: key.clone(),
            created_ms: self.clock.unix_ms(room.created),
            mixed: room.sound.mixed,
            plays: room.sound.plays.iter().filter_map(play).collect(),
            recordings: room.sound.recordings.iter().filter_map(recording).collect(),
            peers: room.peers.iter().filter_map(peer).collect(),
        }
    }

    pub(super) fn snapshot(
        &self,
        member: &Member,
        stats: &LegStats,
        suite: Option<Suite>,
        now: Instant,
    ) -> MediaSnapshot {
        let codec = member.codecs.iter().find(|codec| codec.is_audio());
        let local = match &member.kind {
            MemberKind::Sip(open) => Some(SocketAddr::new(open.local.address, open.local.rtp_port)),
            MemberKind::Web(_) => self.web.as_ref().and_then(Web::candidate),
        };
        let [quality, remote_quality] = member.watch.ratings(&member.codecs, stats);
        MediaSnapshot {
            quality,
            remote_quality,
            codec: codec.map_or("", |codec| codec.encoding_name()).to_string(),
            srtp_suite: suite.map(Suite::name),
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
            audio: self.audio(member),
        }
    }

    fn audio(&self, member: &Member) -> Option<Box<AudioSnapshot>> {
        let Place::Room(_) = member.place else {
            return None;
        };
        let conference = member.sound.conference.and_then(|id| self.studio.get(id));
        Some(Box::new(AudioSnapshot {
            turned: member.sound.turned.clone(),
            sound: conference.and_then(|conference| conference.sound(member.leg)),
        }))
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
