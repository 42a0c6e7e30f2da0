//! Whether a room is a relay or mixed: decided anew whenever somebody comes,
//! goes or negotiates, and whenever something is played or turned.

use std::time::Instant;

use crate::call::room::{KeyDelivery, Member, RoomNotice, Rooms};
use crate::call::studio::ConferenceId;
use crate::ids::{CallId, LegId, RoomKey};
use crate::sdp::Codec;

/// What a room needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Need {
    /// The sound that goes to its peers is made here.
    mixed: bool,
    /// The sound that comes from its peers is listened to.
    heard: bool,
}

impl Rooms {
    /// Makes the room what it has to be now.
    pub(super) fn arrange(&mut self, now: Instant, key: &RoomKey) {
        let Some(room) = self.rooms.get(key) else {
            return;
        };
        let here = |call: &&CallId| {
            let member = self.members.get(call);
            member.is_some_and(|member| member.place.room_here().is_some())
        };
        let peers: Vec<CallId> = room.peers.iter().filter(here).copied().collect();
        self.keep_company(now, key, &peers);
        let need = self.need(key, &peers);
        let conference = self.conference_for(now, key, need);
        if let Some(room) = self.rooms.get_mut(key) {
            room.sound.mixed = need.mixed;
        }
        let legs: Vec<LegId> = peers
            .iter()
            .filter_map(|call| self.members.get(call).map(|member| member.leg))
            .collect();
        match (need.mixed, &legs[..]) {
            (false, [one, other]) => {
                self.table.link(*one, *other);
            }
            _ => {
                for leg in &legs {
                    self.table.unlink(*leg);
                }
            }
        }
        for call in &peers {
            self.attend(*call, conference, need);
        }
    }

    fn need(&self, key: &RoomKey, peers: &[CallId]) -> Need {
        let members: Vec<&Member> = peers
            .iter()
            .filter_map(|call| self.members.get(call).map(Box::as_ref))
            .collect();
        let room = self.rooms.get(key).map(|room| &room.sound);
        let conference = room.and_then(|sound| self.studio.get(sound.conference?));
        let playing = conference.is_some_and(|conference| conference.is_playing());
        let recording = room.is_some_and(|sound| !sound.recordings.is_empty());
        let odd = room.is_some_and(|sound| sound.unfit_heard);
        let keyed = conference.is_some_and(|conference| {
            let mut legs = members.iter().map(|member| member.leg);
            legs.any(|leg| conference.is_sending_keys(leg))
        });
        let turned = members.iter().any(|member| member.sound.is_turned());
        let unfit = match members[..] {
            [one, other] => odd || !fit(one, other),
            [_] | [] => false,
            _ => true,
        };
        let listened = members.iter().any(|member| self.needs_detection(member));
        let mixed = !members.is_empty() && (playing || keyed || turned || unfit);
        Need {
            mixed,
            heard: mixed || recording || listened,
        }
    }

    /// Whether keys can be seen in the member's sound only.
    fn needs_detection(&self, member: &Member) -> bool {
        let keys = member.sound.keys;
        let heard = member.early.is_none();
        heard && self.settings.detect_keys && keys.is_some_and(|keys| keys.come_as_tones)
    }

    /// The room's conference where it needs one; one that it no longer needs
    /// is given up.
    fn conference_for(&mut self, now: Instant, key: &RoomKey, need: Need) -> Option<ConferenceId> {
        let room = self.rooms.get_mut(key)?;
        match (need.heard, room.sound.conference) {
            (true, Some(conference)) => Some(conference),
            (true, None) => {
                let conference = self.studio.open(now, key.clone());
                room.sound.conference = Some(conference);
                Some(conference)
            }
            (false, open) => {
                room.sound.conference = None;
                if let Some(conference) = open {
                    self.studio.close(conference);
                }
                None
            }
        }
    }

    /// Gives one peer its place in the conference, or takes it out of one.
    fn attend(&mut self, call: CallId, conference: Option<ConferenceId>, need: Need) {
        let Some(member) = self.members.get(&call) else {
            return;
        };
        let detect = self.needs_detection(member);
        let (leg, description, voice) = (member.leg, member.sound.description, self.voice(member));
        // Whoever is not answered yet is not heard.
        self.table.tap(leg, need.heard && member.early.is_none());
        if let Some(member) = self.members.get_mut(&call) {
            member.sound.conference = conference;
        }
        let Some(conference) = conference.and_then(|id| self.studio.get_mut(id)) else {
            return;
        };
        if conference.voice(leg).is_none() {
            conference.add(leg);
        }
        let mut keys_dropped = false;
        if let Some(description) = description {
            keys_dropped = !description.takes && conference.drop_keys(leg);
            conference.describe(leg, description);
        }
        conference.set_voice(leg, voice);
        conference.detect_keys(leg, detect);
        conference.serve(leg, need.mixed);
        if keys_dropped {
            self.notices.push_back(RoomNotice::KeysDropped { call });
        }
    }
}

/// Whether a relay between the two carries what each sends, keys too. A peer
/// sends the first codec of its list (RFC 3264 section 6.1); who is not
/// connected yet fits everybody.
fn fit(one: &Member, other: &Member) -> bool {
    let takes = |from: &Member, to: &Member| {
        let first = from.codecs.iter().find(|codec| codec.is_audio());
        let keys = |codec: &&Codec| codec.is_event();
        let has_keys = from.codecs.iter().any(|codec| keys(&codec));
        let keys_pass = match to.sound.keys.map(|keys| keys.delivery) {
            // They go beside the relay.
            Some(KeyDelivery::Info) => true,
            Some(KeyDelivery::Tones) => !has_keys,
            Some(KeyDelivery::Events) | None => {
                let mut keys = from.codecs.iter().filter(keys);
                !has_keys || keys.any(|codec| to.codecs.contains(codec))
            }
        };
        first.is_none_or(|codec| to.codecs.contains(codec)) && keys_pass
    };
    let both_known = !one.codecs.is_empty() && !other.codecs.is_empty();
    !both_known || (takes(one, other) && takes(other, one))
}
