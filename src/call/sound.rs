//! What is done to the sound of calls and rooms: keys, plays, voices,
//! recordings; and the way of packets to the room's conference and back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::call::request::{CallError, CallReply, SoundRequest, VoiceChange};
use crate::call::room::{KeyDelivery, Keys, Member, MemberKind, RoomNotice, Rooms};
use crate::call::studio::ConferenceId;
use crate::ids::{AppId, CallId, LegId, MediaPort, PlayId, RecordingId, RoomKey};
use crate::media::packet::SLOT_SIZE;
use crate::media::{OwnPayload, Table};
use crate::sdp::Codec;
use crate::sound::codec::{AudioCodec, OpusParameters};
use crate::sound::conference::{Description, Outlet, Payload, Recorded, Voice};
use crate::sound::dtmf::event_receiver::{EventReceiver, ReceivedEvent};
use crate::sound::dtmf::{DtmfEvent, DtmfReport};
use crate::sound::format::SampleRate;
use crate::sound::level::Alarm;
use crate::sound::player::{PlayOptions, Player, Repeat};
use crate::sound::receiver::Incoming;
use crate::sound::tone::Tone;

/// Said where nothing can be recorded.
const NO_DESK: &str = "this gateway has no place for recordings; see [recording]";

/// How a key came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyWay {
    /// As a telephone event, which a relay has passed on already.
    Event,
    /// In SIP INFO.
    Info,
    /// As a tone, which whoever hears the peer hears too.
    Tone,
}

/// How a play ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayEnd {
    /// It was played to its end.
    Finished,
    /// Somebody stopped it.
    Stopped,
    /// A key of the listener did.
    BargeIn,
}

impl PlayEnd {
    /// The word the API uses.
    pub fn label(self) -> &'static str {
        match self {
            PlayEnd::Finished => "finished",
            PlayEnd::Stopped => "stopped",
            PlayEnd::BargeIn => "barge_in",
        }
    }
}

/// The sound of one member.
#[derive(Default)]
pub(super) struct MemberSound {
    /// How it is coded; `None` until connected.
    pub(super) description: Option<Description>,
    /// How keys go to it and come from it; `None` until connected.
    pub(super) keys: Option<Keys>,
    /// Where it is listened to.
    pub(super) conference: Option<ConferenceId>,
    /// How it was turned, by names.
    turned: Turned,
    /// The recording that was asked for with the call has begun once.
    recorded: bool,
    events: EventReceiver,
}

/// How a member is heard and hears, as the application has asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turned {
    /// Nobody hears it.
    pub muted: bool,
    /// It hears nobody.
    pub deafened: bool,
    /// How much louder it is heard, in dB.
    pub gain_db: f32,
    /// Names of the peers who alone hear it.
    pub heard_by: Option<Vec<Arc<str>>>,
}

impl MemberSound {
    /// Whether it is heard otherwise than it speaks.
    pub(super) fn is_turned(&self) -> bool {
        self.turned != Turned::default()
    }
}

/// The sound of one room.
#[derive(Default)]
pub(super) struct RoomSound {
    pub(super) conference: Option<ConferenceId>,
    /// What its peers hear is made here; else they are relayed.
    pub(super) mixed: bool,
    pub(super) recordings: Vec<RecordingId>,
    /// A peer of a relayed room has sent what the other cannot take.
    pub(super) unfit_heard: bool,
}

/// A recording under way.
pub(super) struct RoomRecording {
    room: RoomKey,
    /// Whose call; `None`: the whole room.
    call: Option<CallId>,
    /// The conference's tick that its first frame was of; `None` before it.
    first_tick: Option<u64>,
    /// Frames handed over, the pauses included.
    frames: u64,
    paused: bool,
    /// What tells those who are recorded.
    beep: Option<PlayId>,
}

/// What is played, and by whom.
#[derive(Default)]
pub(super) struct Plays {
    under_way: HashMap<PlayId, Play>,
}

struct Play {
    room: RoomKey,
    /// To whom alone.
    call: Option<CallId>,
    /// How it will have ended.
    end: PlayEnd,
}

/// What a recording is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingAbout {
    /// Whose.
    pub app: AppId,
    /// Which call; `None`: the whole room.
    pub call: Option<CallId>,
    /// The room.
    pub room: Arc<str>,
    /// The call's name in it.
    pub peer: Arc<str>,
    /// Its first frame, in ms since the epoch.
    pub started_ms: u64,
}

/// Takes recordings' frames without ever waiting; implemented by the shard.
pub trait RecordingDesk: Send {
    /// Begins one.
    ///
    /// # Errors
    /// Why there is none.
    fn start(&mut self, about: RecordingAbout) -> Result<RecordingId, String>;
    /// One frame; `index` counts them from the start.
    fn frame(
        &mut self,
        id: RecordingId,
        index: u64,
        rate: SampleRate,
        left: &[i16],
        right: Option<&[i16]>,
    );
    /// What follows is not to be recorded.
    fn pause(&mut self, id: RecordingId, index: u64);
    /// What follows is to be recorded again.
    fn resume(&mut self, id: RecordingId, index: u64);
    /// It ends, after so many frames.
    fn stop(&mut self, id: RecordingId, frames: u64);
}

/// What a conference had to say in a step.
enum Said {
    Finished(PlayId),
    Key(LegId, DtmfEvent),
    DeadAir(LegId, Alarm<()>),
}

/// Where a conference's sound goes: through the leg table to the sockets.
struct RoomOutlet<'a, S> {
    now: Instant,
    table: &'a mut Table,
    send: &'a mut S,
    recordings: &'a mut HashMap<RecordingId, RoomRecording>,
    desk: Option<&'a mut Box<dyn RecordingDesk>>,
    said: Vec<Said>,
}

impl<S: FnMut(MediaPort, Option<SocketAddr>, &[u8])> Outlet for RoomOutlet<'_, S> {
    fn payload(&mut self, leg: LegId, payload: Payload<'_>) {
        let mut slot = [0u8; SLOT_SIZE];
        let own = OwnPayload {
            payload_type: payload.payload_type,
            clock_rate: payload.clock_rate,
            marker: payload.marker,
            timestamp: payload.timestamp,
            payload: payload.payload,
        };
        // A peer on hold, or whose keys are not there yet, hears nothing.
        if let Ok(packet) = self.table.write_own(self.now, leg, own, &mut slot) {
            (self.send)(packet.port, packet.to, &slot[..packet.len]);
        }
    }

    fn recorded(&mut self, recorded: Recorded<'_>) {
        let found = self.recordings.get_mut(&recorded.recording);
        let (Some(recording), Some(desk)) = (found, self.desk.as_mut()) else {
            return;
        };
        let first = *recording.first_tick.get_or_insert(recorded.tick);
        let index = recorded.tick.saturating_sub(first);
        recording.frames = index + 1;
        if !recording.paused {
            desk.frame(
                recorded.recording,
                index,
                recorded.rate,
                recorded.left,
                recorded.right,
            );
        }
    }

    fn finished(&mut self, play: PlayId) {
        self.said.push(Said::Finished(play));
    }

    fn key(&mut self, leg: LegId, key: DtmfEvent) {
        self.said.push(Said::Key(leg, key));
    }

    fn dead_air(&mut self, leg: LegId, alarm: Alarm<()>) {
        self.said.push(Said::DeadAir(leg, alarm));
    }
}

impl Rooms {
    /// From now on calls can be recorded.
    pub fn set_recording_desk(&mut self, desk: Box<dyn RecordingDesk>) {
        self.desk = Some(desk);
    }

    /// Takes in what the last batch of packets said.
    pub fn hear(&mut self, now: Instant) {
        let mut heard = std::mem::take(&mut self.heard);
        self.table.take_heard(&mut heard);
        for (packet, payload) in heard.iter() {
            let Some(&call) = self.by_leg.get(&packet.leg) else {
                continue;
            };
            let Some(member) = self.members.get_mut(&call) else {
                continue;
            };
            if packet.codec.is_event() {
                let event = ReceivedEvent {
                    timestamp: packet.timestamp,
                    marker: packet.marker,
                    payload,
                    clock_rate: packet.clock_rate,
                };
                // What is no key concerns the two peers only.
                let reports = member.sound.events.push(now, event).unwrap_or_default();
                for report in reports {
                    self.reported(now, call, report);
                }
                continue;
            }
            let Some(codec) = Codec::from_id(packet.codec).and_then(audio_codec) else {
                continue;
            };
            match member.sound.conference {
                Some(id) => {
                    if let Some(conference) = self.studio.get_mut(id) {
                        conference.push(
                            packet.leg,
                            Incoming {
                                arrival: packet.arrival,
                                ssrc: packet.ssrc,
                                sequence: packet.sequence,
                                timestamp: packet.timestamp,
                                marker: packet.marker,
                                codec,
                                payload,
                            },
                        );
                    }
                }
                None => self.unfit_heard(now, call),
            }
        }
        heard.clear();
        self.heard = heard;
    }

    /// A relayed peer has sent what the other cannot take: from now on the
    /// room is mixed.
    fn unfit_heard(&mut self, now: Instant, call: CallId) {
        if let Some(key) = self.room_of(call)
            && let Some(room) = self.rooms.get_mut(&key)
            && !std::mem::replace(&mut room.sound.unfit_heard, true)
        {
            self.arrange(now, &key);
        }
    }

    fn reported(&mut self, now: Instant, call: CallId, report: DtmfReport) {
        match report {
            DtmfReport::Begin(_) => self.key_begins(call),
            DtmfReport::End(key) => self.key_pressed(now, call, key, KeyWay::Event),
        }
    }

    /// Looks for keys whose end was lost. To be called about once a second.
    pub(super) fn expire_keys(&mut self, now: Instant) {
        let expired: Vec<(CallId, DtmfReport)> = self
            .members
            .iter_mut()
            .filter_map(|(call, member)| Some((*call, member.sound.events.expire(now)?)))
            .collect();
        for (call, report) in expired {
            self.reported(now, call, report);
        }
    }

    /// When [`Self::sound_step`] has something to do.
    pub fn next_sound(&mut self) -> Option<Instant> {
        self.studio.next_due()
    }

    /// Does one step of the rooms' sound that is due at `now`: one frame
    /// decoded or one coded. What goes to peers is handed to `send`. True when
    /// more is due at once.
    pub fn sound_step(
        &mut self,
        now: Instant,
        send: &mut impl FnMut(MediaPort, Option<SocketAddr>, &[u8]),
    ) -> bool {
        let Some((room, conference)) = self.studio.next(now) else {
            return false;
        };
        let mut outlet = RoomOutlet {
            now,
            table: &mut self.table,
            send,
            recordings: &mut self.recordings,
            desk: self.desk.as_mut(),
            said: Vec::new(),
        };
        let more = conference.work(now, &mut outlet);
        let said = outlet.said;
        let ticked = conference.is_between_ticks();
        let quiet = ticked && conference.take_quiet();
        let room = (quiet || !said.is_empty()).then(|| room.clone());
        if ticked {
            self.studio.ticked();
        }
        for said in said {
            match said {
                Said::Finished(play) => self.play_ended(play),
                Said::Key(leg, key) => {
                    if let Some(&call) = self.by_leg.get(&leg) {
                        self.key_begins(call);
                        self.key_pressed(now, call, key, KeyWay::Tone);
                    }
                }
                Said::DeadAir(leg, alarm) => {
                    if let Some(&call) = self.by_leg.get(&leg) {
                        self.dead_air(now, call, alarm);
                    }
                }
            }
        }
        if let Some(room) = room {
            self.arrange(now, &room);
        }
        more || self.studio.next_due().is_some_and(|due| due <= now)
    }

    /// A key goes down: what may be barged into falls silent.
    fn key_begins(&mut self, call: CallId) {
        let Some(member) = self.members.get(&call) else {
            return;
        };
        let leg = member.leg;
        let conference = member.sound.conference;
        let Some(conference) = conference.and_then(|id| self.studio.get_mut(id)) else {
            return;
        };
        for play in conference.barge_in(leg) {
            self.plays.end_by(play, PlayEnd::BargeIn);
        }
    }

    /// A key was pressed: its call is told, and the other of two gets it in
    /// his way where it has not passed already.
    pub(super) fn key_pressed(&mut self, now: Instant, call: CallId, key: DtmfEvent, way: KeyWay) {
        if way == KeyWay::Info {
            self.key_begins(call);
        }
        self.tell_key(call, key);
        let [other] = self.others(call)[..] else {
            return;
        };
        let (Some(member), Some(room)) = (self.members.get(&other), self.room_of(call)) else {
            return;
        };
        let relayed = self.rooms.get(&room).is_some_and(|room| !room.sound.mixed);
        let keys = member.sound.keys;
        let delivery = keys.map_or(KeyDelivery::Tones, |keys| keys.delivery);
        match (way, delivery) {
            (KeyWay::Event, KeyDelivery::Events) if relayed => {}
            (KeyWay::Tone, KeyDelivery::Tones) => {}
            (
                KeyWay::Event | KeyWay::Tone | KeyWay::Info,
                KeyDelivery::Events | KeyDelivery::Info | KeyDelivery::Tones,
            ) => {
                // There is no room for a key where hundreds wait.
                let _ = self.send_keys(now, &room, other, &[key]);
            }
        }
    }

    fn tell_key(&mut self, call: CallId, key: DtmfEvent) {
        let Some(member) = self.members.get(&call) else {
            return;
        };
        match member.kind {
            MemberKind::Sip(_) => self.notices.push_back(RoomNotice::Key { call, key }),
            // Whoever made its page knows what is pressed there.
            MemberKind::Web(_) => {}
        }
    }

    /// Sends keys to a peer, in the way that it gets them.
    fn send_keys(
        &mut self,
        now: Instant,
        room: &RoomKey,
        call: CallId,
        keys: &[DtmfEvent],
    ) -> Result<(), CallError> {
        let member = self.members.get(&call).ok_or(CallError::UnknownPeer)?;
        let leg = member.leg;
        if let (MemberKind::Sip(_), Some(KeyDelivery::Info)) =
            (&member.kind, member.sound.keys.map(|keys| keys.delivery))
        {
            let notice = |key: &DtmfEvent| RoomNotice::SendKey { call, key: *key };
            self.notices.extend(keys.iter().map(notice));
            return Ok(());
        }
        let conference = self.open_conference(now, room)?;
        let conference = self.studio.get_mut(conference);
        let conference = conference.ok_or(CallError::UnknownRoom)?;
        let queued = conference.send_keys(leg, keys);
        self.arrange(now, room);
        match queued {
            true => Ok(()),
            false => Err(CallError::TooManyKeys),
        }
    }

    /// The room's conference, made if there is none, with everybody in it.
    fn open_conference(&mut self, now: Instant, key: &RoomKey) -> Result<ConferenceId, CallError> {
        let room = self.rooms.get_mut(key).ok_or(CallError::UnknownRoom)?;
        if let Some(conference) = room.sound.conference {
            return Ok(conference);
        }
        let id = self.studio.open(now, key.clone());
        room.sound.conference = Some(id);
        let legs: Vec<(LegId, Option<Description>)> = room
            .peers
            .iter()
            .filter_map(|call| self.members.get(call))
            .map(|member| (member.leg, member.sound.description))
            .collect();
        if let Some(conference) = self.studio.get_mut(id) {
            for (leg, description) in legs {
                conference.add(leg);
                if let Some(description) = description {
                    conference.describe(leg, description);
                }
            }
        }
        Ok(id)
    }

    fn conference_of_room(&self, room: &RoomKey) -> Option<ConferenceId> {
        self.rooms.get(room)?.sound.conference
    }

    /// Serves a request about the sound of a room or of one of its peers.
    pub fn handle_sound(&mut self, now: Instant, request: SoundRequest) -> CallReply {
        match self.serve_sound(now, request) {
            Ok(reply) => reply,
            Err(error) => CallReply::Refused(error),
        }
    }

    fn serve_sound(&mut self, now: Instant, request: SoundRequest) -> Result<CallReply, CallError> {
        match request {
            SoundRequest::Play {
                room,
                call,
                play,
                clip,
                options,
            } => {
                let leg = self.target(&room, call)?;
                let player = Player::new(play, clip, options);
                self.play(now, room, call, leg, player)?;
            }
            SoundRequest::StopPlay { room, call, play } => {
                self.stop_play(&room, call, play)?;
            }
            SoundRequest::Keys { room, call, keys } => {
                self.target(&room, Some(call))?;
                self.send_keys(now, &room, call, &keys)?;
            }
            SoundRequest::Turn { room, peer, change } => {
                return self.turn(now, &room, &peer, change);
            }
            SoundRequest::Record { room, call } => {
                let id = self.start_recording(now, &room, call)?;
                return Ok(CallReply::Recording(id));
            }
            SoundRequest::PauseRecording { room, call, paused } => {
                let id = self.recording_of(&room, call)?;
                self.pause_recording(id, paused);
                return Ok(CallReply::Recording(id));
            }
            SoundRequest::StopRecording { room, call } => {
                let id = self.recording_of(&room, call)?;
                self.stop_recording(now, id);
                return Ok(CallReply::Recording(id));
            }
        }
        Ok(CallReply::Done)
    }

    /// The leg of a call that is in this room; `None` for the whole room.
    fn target(&self, room: &RoomKey, call: Option<CallId>) -> Result<Option<LegId>, CallError> {
        if !self.rooms.contains_key(room) {
            return Err(CallError::UnknownRoom);
        }
        let Some(call) = call else {
            return Ok(None);
        };
        match self.room_of(call) {
            Some(its) if its == *room => Ok(self.members.get(&call).map(|member| member.leg)),
            Some(_) | None => Err(CallError::UnknownPeer),
        }
    }

    fn play(
        &mut self,
        now: Instant,
        room: RoomKey,
        call: Option<CallId>,
        leg: Option<LegId>,
        player: Player,
    ) -> Result<(), CallError> {
        let id = player.id();
        let conference = self.open_conference(now, &room)?;
        let conference = self.studio.get_mut(conference);
        let conference = conference.ok_or(CallError::UnknownRoom)?;
        if !conference.play(leg, player) {
            return Err(CallError::TooManyPlays);
        }
        self.plays.under_way.insert(
            id,
            Play {
                room: room.clone(),
                call,
                end: PlayEnd::Finished,
            },
        );
        self.arrange(now, &room);
        Ok(())
    }

    fn stop_play(
        &mut self,
        room: &RoomKey,
        call: Option<CallId>,
        play: PlayId,
    ) -> Result<(), CallError> {
        let known = self.plays.under_way.get_mut(&play);
        let known = known.filter(|known| known.room == *room && known.call == call);
        let known = known.ok_or(CallError::UnknownPlay)?;
        known.end = PlayEnd::Stopped;
        if let Some(id) = self.conference_of_room(room)
            && let Some(conference) = self.studio.get_mut(id)
        {
            conference.stop(play);
        }
        Ok(())
    }

    /// Tells everybody whom it concerns.
    fn play_ended(&mut self, play: PlayId) {
        let Some(Play { room, call, end }) = self.plays.under_way.remove(&play) else {
            return;
        };
        let concerned = match call {
            Some(call) => vec![call],
            None => self
                .rooms
                .get(&room)
                .map_or(Vec::new(), |room| room.peers.clone()),
        };
        for call in concerned {
            if let Some(MemberKind::Sip(_)) = self.members.get(&call).map(|m| &m.kind) {
                self.notices
                    .push_back(RoomNotice::Played { call, play, end });
            }
        }
    }

    fn turn(
        &mut self,
        now: Instant,
        room: &RoomKey,
        peer: &str,
        change: VoiceChange,
    ) -> Result<CallReply, CallError> {
        let call = self.peer_named(room, peer)?;
        let member = self.members.get_mut(&call).ok_or(CallError::UnknownPeer)?;
        let turned = &mut member.sound.turned;
        let VoiceChange {
            muted,
            deafened,
            gain_db,
            heard_by,
        } = change;
        turned.muted = muted.unwrap_or(turned.muted);
        turned.deafened = deafened.unwrap_or(turned.deafened);
        turned.gain_db = gain_db.unwrap_or(turned.gain_db);
        if let Some(heard_by) = heard_by {
            turned.heard_by = heard_by;
        }
        let turned = turned.clone();
        self.arrange(now, room);
        Ok(CallReply::Turned(turned))
    }

    fn peer_named(&self, room: &RoomKey, peer: &str) -> Result<CallId, CallError> {
        let peers = &self.rooms.get(room).ok_or(CallError::UnknownRoom)?.peers;
        let named = |call: &&CallId| {
            let stream = self.members.get(call).and_then(|m| m.place.stream());
            stream.is_some_and(|stream| *stream.peer == *peer)
        };
        peers
            .iter()
            .find(named)
            .copied()
            .ok_or(CallError::UnknownPeer)
    }

    /// How a member is heard, by legs: names of peers who are not there yet
    /// are looked up again when somebody comes.
    pub(super) fn voice(&self, member: &Member) -> Voice {
        let turned = &member.sound.turned;
        let leg_of = |name: &Arc<str>| {
            let room = &member.place.stream()?.room;
            let call = self.peer_named(room, name).ok()?;
            self.members.get(&call).map(|member| member.leg)
        };
        let legs = |names: &Vec<Arc<str>>| names.iter().filter_map(leg_of).collect();
        Voice {
            muted: turned.muted,
            deafened: turned.deafened,
            gain_db: turned.gain_db,
            heard_by: turned.heard_by.as_ref().map(legs),
        }
    }

    /// Whether there is a place for recordings.
    pub(super) fn can_record(&self) -> Result<(), CallError> {
        match self.desk {
            Some(_) => Ok(()),
            None => Err(CallError::RecordingUnavailable(NO_DESK.to_owned())),
        }
    }

    /// A peer that was to be recorded is connected.
    pub(super) fn record_if_wanted(&mut self, now: Instant, room: &RoomKey, call: CallId) {
        let Some(member) = self.members.get_mut(&call) else {
            return;
        };
        let wanted = member.place.stream().is_some_and(|stream| stream.record);
        if !wanted || std::mem::replace(&mut member.sound.recorded, true) {
            return;
        }
        if let Err(error) = self.start_recording(now, room, Some(call)) {
            self.notices.push_back(RoomNotice::NotRecorded {
                call,
                why: error.to_string(),
            });
        }
    }

    /// Begins to record a call, or a whole room.
    pub(super) fn start_recording(
        &mut self,
        now: Instant,
        room: &RoomKey,
        call: Option<CallId>,
    ) -> Result<RecordingId, CallError> {
        let leg = self.target(room, call)?;
        if self.recording_of(room, call).is_ok() {
            return Err(CallError::AlreadyRecording);
        }
        let stream = call.and_then(|call| self.members.get(&call)?.place.stream());
        let about = RecordingAbout {
            app: room.app.clone(),
            call,
            room: room.name.clone(),
            peer: stream.map_or_else(|| Arc::from(""), |stream| stream.peer.clone()),
            started_ms: self.clock.unix_ms(now),
        };
        let desk = self.desk.as_mut();
        let started = desk.map_or_else(|| Err(NO_DESK.to_owned()), |desk| desk.start(about));
        let id = started.map_err(CallError::RecordingUnavailable)?;
        let recording = RoomRecording {
            room: room.clone(),
            call,
            first_tick: None,
            frames: 0,
            paused: false,
            // 64 random bits of 128 are as good a name.
            beep: self
                .settings
                .announce_recordings
                .then_some(PlayId(id.0 as u64)),
        };
        let beep = recording.beep;
        self.recordings.insert(id, recording);
        if let Some(room) = self.rooms.get_mut(room) {
            room.sound.recordings.push(id);
        }
        let conference = self.open_conference(now, room)?;
        if let Some(conference) = self.studio.get_mut(conference) {
            conference.record(id, leg);
            if let Some(beep) = beep {
                let for_ever = PlayOptions {
                    repeat: Repeat::Forever,
                    ..PlayOptions::default()
                };
                conference.play(leg, Player::tone(beep, Tone::RecordingBeep, for_ever));
            }
        }
        self.arrange(now, room);
        Ok(id)
    }

    /// The recording of a call, or of a whole room.
    fn recording_of(&self, room: &RoomKey, call: Option<CallId>) -> Result<RecordingId, CallError> {
        let its = self.rooms.get(room).ok_or(CallError::UnknownRoom)?;
        let is = |id: &&RecordingId| self.recordings.get(id).is_some_and(|r| r.call == call);
        let found = its.sound.recordings.iter().find(is);
        found.copied().ok_or(CallError::NotRecording)
    }

    fn pause_recording(&mut self, id: RecordingId, paused: bool) {
        let Some(recording) = self.recordings.get_mut(&id) else {
            return;
        };
        if recording.paused == paused {
            return;
        }
        recording.paused = paused;
        let index = recording.frames;
        if let Some(desk) = &mut self.desk {
            match paused {
                true => desk.pause(id, index),
                false => desk.resume(id, index),
            }
        }
    }

    pub(super) fn stop_recording(&mut self, now: Instant, id: RecordingId) {
        let Some(recording) = self.recordings.remove(&id) else {
            return;
        };
        if let Some(desk) = &mut self.desk {
            desk.stop(id, recording.frames);
        }
        let key = recording.room;
        let Some(room) = self.rooms.get_mut(&key) else {
            return;
        };
        room.sound.recordings.retain(|other| *other != id);
        if let Some(conference) = room.sound.conference.and_then(|c| self.studio.get_mut(c)) {
            conference.stop_recording(id);
            if let Some(beep) = recording.beep {
                conference.stop(beep);
            }
        }
        self.arrange(now, &key);
    }

    /// A member is about to leave: what concerns it alone ends.
    pub(super) fn end_sound_of(&mut self, now: Instant, call: CallId) {
        let mine = |(id, recording): (&RecordingId, &RoomRecording)| {
            (recording.call == Some(call)).then_some(*id)
        };
        let recordings: Vec<RecordingId> = self.recordings.iter().filter_map(mine).collect();
        for id in recordings {
            self.stop_recording(now, id);
        }
        self.plays
            .under_way
            .retain(|_, play| play.call != Some(call));
        if let Some(member) = self.members.get(&call)
            && let Some(id) = member.sound.conference
            && let Some(conference) = self.studio.get_mut(id)
        {
            conference.remove(member.leg);
        }
    }

    /// The last has left a room.
    pub(super) fn end_sound_of_room(&mut self, now: Instant, key: &RoomKey, sound: &RoomSound) {
        for id in &sound.recordings {
            self.stop_recording(now, *id);
        }
        self.plays.under_way.retain(|_, play| play.room != *key);
        if let Some(conference) = sound.conference {
            self.studio.close(conference);
        }
    }
}

impl Plays {
    fn end_by(&mut self, play: PlayId, end: PlayEnd) {
        if let Some(play) = self.under_way.get_mut(&play) {
            play.end = end;
        }
    }
}

/// The codec as the sound room knows it.
pub(super) fn audio_codec(codec: Codec) -> Option<AudioCodec> {
    match codec {
        Codec::Pcmu => Some(AudioCodec::Pcmu),
        Codec::Pcma => Some(AudioCodec::Pcma),
        Codec::G722 => Some(AudioCodec::G722),
        Codec::Opus => Some(AudioCodec::Opus(OpusParameters::default())),
        Codec::TelephoneEvent(_) => None,
    }
}
