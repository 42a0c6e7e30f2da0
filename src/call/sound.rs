//! The sound of rooms: the way of packets to a room's conference and back, and
//! the keys that are pressed meanwhile.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use crate::call::recordings::{RecordingDesk, RoomRecording, hand_over};
use crate::call::request::CallError;
use crate::call::room::{KeyDelivery, Keys, MemberKind, RoomNotice, Rooms};
use crate::call::sound_requests::{PlayEnd, Turned};
use crate::call::studio::ConferenceId;
use crate::call::waiting::Waiting;
use crate::ids::{CallId, LegId, MediaPort, PlayId, RecordingId, RoomKey};
use crate::media::packet::SLOT_SIZE;
use crate::media::{OwnPayload, Table};
use crate::sdp::Codec;
use crate::sound::codec::{AudioCodec, OpusParameters};
use crate::sound::conference::{Description, Outlet, Payload, Recorded};
use crate::sound::dtmf::event_receiver::{EventReceiver, ReceivedEvent};
use crate::sound::dtmf::{DialStep, DtmfEvent, DtmfReport};
use crate::sound::level::Alarm;
use crate::sound::receiver::{Content, Incoming};

/// How a key came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum KeyWay {
    /// As a telephone event, which a relay has passed on already.
    #[default]
    Event,
    /// As a telephone event of a clock rate that the other has none of: no
    /// relay has passed it on.
    EventUnshared,
    /// In SIP INFO.
    Info,
    /// As a tone, which whoever hears the peer hears too.
    Tone,
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
    pub(super) turned: Turned,
    /// The recording that was asked for with the call has begun once.
    pub(super) recorded: bool,
    /// What it hears while it is alone.
    pub(super) waiting: Waiting,
    events: EventReceiver,
    /// How its latest telephone event came.
    last_event: KeyWay,
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
    pub(super) plays: Vec<PlayId>,
    pub(super) recordings: Vec<RecordingId>,
    /// A peer of a relayed room has sent what the other cannot take.
    pub(super) unfit_heard: bool,
}

/// What a conference had to say in a step.
enum Said {
    Finished(PlayId),
    Key(LegId, DtmfEvent),
    DeadAir(LegId, Alarm<()>),
    RecordingOver(RecordingId),
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
        let Some(desk) = self.desk.as_mut() else {
            return;
        };
        if !hand_over(self.recordings, desk.as_mut(), &recorded) {
            self.said.push(Said::RecordingOver(recorded.recording));
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
            if member.early.is_some() {
                // RFC 3960 section 3.1: whoever is not answered yet is not heard.
                continue;
            }
            if packet.codec.is_event() {
                let event = ReceivedEvent {
                    timestamp: packet.timestamp,
                    marker: packet.marker,
                    payload,
                    clock_rate: packet.clock_rate,
                };
                // What is no key concerns the two peers only.
                let reports = member.sound.events.push(now, event).unwrap_or_default();
                let way = match packet.unfit {
                    true => KeyWay::EventUnshared,
                    false => KeyWay::Event,
                };
                member.sound.last_event = way;
                for report in reports {
                    self.reported(now, call, report, way);
                }
                continue;
            }
            let Some(sent) = Codec::from_id(packet.codec) else {
                continue;
            };
            let content = match sent {
                Codec::ComfortNoise => Content::ComfortNoise,
                _ => match audio_codec(sent) {
                    Some(codec) => Content::Sound(codec),
                    None => continue,
                },
            };
            let conference = member.sound.conference;
            if let Some(conference) = conference.and_then(|id| self.studio.get_mut(id)) {
                conference.push(
                    packet.leg,
                    Incoming {
                        arrival: packet.arrival,
                        ssrc: packet.ssrc,
                        sequence: packet.sequence,
                        timestamp: packet.timestamp,
                        marker: packet.marker,
                        content,
                        payload,
                    },
                );
            }
            // Comfort noise that the other does not take ends here: it is
            // silent then (RFC 3551 section 4.1), and the room stays a relay.
            if packet.unfit && sent.is_audio() {
                self.unfit_heard(now, call, sent);
            }
        }
        heard.clear();
        self.heard = heard;
    }

    /// A relayed peer has sent what the other cannot take, which it may at any
    /// time (RFC 3264 section 8.3.2): until one of them is described anew the
    /// room is mixed.
    fn unfit_heard(&mut self, now: Instant, call: CallId, sent: Codec) {
        // Who is not connected yet takes nothing, and nothing is amiss.
        let takes = self.codecs_of_others(call);
        if takes.is_none_or(|takes| takes.contains(&sent)) {
            return;
        }
        if let Some(key) = self.room_of(call)
            && let Some(room) = self.rooms.get_mut(&key)
            && !std::mem::replace(&mut room.sound.unfit_heard, true)
        {
            self.arrange(now, &key);
        }
    }

    fn reported(&mut self, now: Instant, call: CallId, report: DtmfReport, way: KeyWay) {
        match report {
            DtmfReport::Begin(_) => self.key_begins(call),
            DtmfReport::End(key) => self.key_pressed(now, call, key, way),
        }
    }

    /// Looks for keys whose end was lost. To be called about once a second.
    pub(super) fn expire_key(&mut self, now: Instant, call: CallId) {
        let Some(member) = self.members.get_mut(&call) else {
            return;
        };
        if let Some(report) = member.sound.events.expire(now) {
            let way = member.sound.last_event;
            self.reported(now, call, report, way);
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
                // Whoever is recorded no more is not told that he is.
                Said::RecordingOver(id) => self.stop_recording(now, id),
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
                KeyWay::Event | KeyWay::EventUnshared | KeyWay::Tone | KeyWay::Info,
                KeyDelivery::Events | KeyDelivery::Info | KeyDelivery::Tones,
            ) => {
                // There is no room for a key where hundreds wait, and no ear
                // for it on hold.
                let _ = self.send_keys(now, &room, other, &[DialStep::again(key)]);
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
    pub(super) fn send_keys(
        &mut self,
        now: Instant,
        room: &RoomKey,
        call: CallId,
        keys: &[DialStep],
    ) -> Result<(), CallError> {
        let member = self.members.get(&call).ok_or(CallError::UnknownPeer)?;
        let leg = member.leg;
        if let (MemberKind::Sip(_), Some(KeyDelivery::Info)) =
            (&member.kind, member.sound.keys.map(|keys| keys.delivery))
        {
            // INFO has no timing: one follows when the one before is answered.
            let notice = |step: &DialStep| match step {
                DialStep::Key(digit, timing) => Some(RoomNotice::SendKey {
                    call,
                    key: DtmfEvent {
                        digit: *digit,
                        duration_ms: timing.tone_ms(),
                    },
                }),
                DialStep::Wait(_) => None,
            };
            self.notices.extend(keys.iter().filter_map(notice));
            return Ok(());
        }
        if member.sound.description.is_some_and(|known| !known.takes) {
            // Keys that came minutes later would do harm: nobody expects them.
            return Err(CallError::PeerOnHold);
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

    /// Sends keys that did not reach the peer by INFO. One that cannot be sent,
    /// a flash as a tone or one too many, is left out.
    pub(super) fn send_keys_again(&mut self, now: Instant, call: CallId, keys: &[DtmfEvent]) {
        let Some(room) = self.room_of(call) else {
            return;
        };
        for key in keys {
            let _ = self.send_keys(now, &room, call, &[DialStep::again(*key)]);
        }
    }

    /// The room's conference, made if there is none, with everybody in it.
    pub(super) fn open_conference(
        &mut self,
        now: Instant,
        key: &RoomKey,
    ) -> Result<ConferenceId, CallError> {
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

    pub(super) fn conference_of_room(&self, room: &RoomKey) -> Option<ConferenceId> {
        self.rooms.get(room)?.sound.conference
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
        self.forget_plays_to(call);
        if let Some(member) = self.members.get(&call)
            && let Some(id) = member.sound.conference
            && let Some(conference) = self.studio.get_mut(id)
        {
            conference.remove(member.leg);
        }
    }

    /// The last has left a room.
    pub(super) fn end_sound_of_room(&mut self, sound: &RoomSound) {
        for id in &sound.recordings {
            self.end_recording(*id, sound.conference);
        }
        for play in &sound.plays {
            self.plays.under_way.remove(play);
        }
        if let Some(conference) = sound.conference {
            self.studio.close(conference);
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
        Codec::ComfortNoise | Codec::TelephoneEvent(_) => None,
    }
}
