//! What somebody hears who is alone in a room, packet by packet.

use std::sync::Arc;
use std::time::Duration;

use super::tests::{House, call, stream};
use crate::call::request::{CallReply, PlayOptions, PlaySource, SoundRequest, Tone, WaitingSounds};
use crate::call::room::RoomRequest;
use crate::ids::PlayId;
use crate::sdp::Codec;
use crate::sound::clip::{Clip, ClipLimits};
use crate::sound::codec::{AudioCodec, Encoder};
use crate::sound::format::SampleRate;

pub(super) const HOLD: i16 = 8_000;
pub(super) const RINGBACK: i16 = -8_000;
/// With keys beside the sound, which then need not be listened to.
pub(super) const CODECS: [Codec; 2] = [Codec::Pcmu, Codec::TelephoneEvent(8000)];
const TICK: Duration = Duration::from_millis(20);

/// A second of this sample.
pub(super) fn clip(value: i16) -> Arc<Clip> {
    let data = 16_000u32;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(8_000u32.to_le_bytes());
    file.extend(16_000u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(data.to_le_bytes());
    file.extend(value.to_le_bytes().repeat(8_000));
    Arc::new(Clip::decode(&file, ClipLimits::default()).unwrap())
}

pub(super) fn coded(value: i16) -> u8 {
    let mut encoder = Encoder::new(AudioCodec::Pcmu, SampleRate::Narrow).unwrap();
    let mut payload = [0; 160];
    encoder.encode(&[value; 160], &mut payload).unwrap();
    payload[80]
}

impl House {
    pub(super) fn is_done(&mut self, request: SoundRequest) {
        let reply = self.rooms.handle_sound(self.now, request);
        assert!(matches!(reply, CallReply::Done), "{reply:?}");
    }

    /// Lets 100 ms pass; what the peers hear in the middle of the last packet.
    pub(super) fn hears(&mut self) -> Option<u8> {
        let mut last = None;
        for _ in 0..5 {
            self.now += TICK;
            last = None;
            let mut send = |_, _, packet: &[u8]| last = packet.get(12 + 80).copied();
            while self.rooms.sound_step(self.now, &mut send) {}
        }
        last
    }
}

/// A caller in a room with the sounds of its number.
fn waiting_caller() -> House {
    let mut house = House::new();
    house.join(1, "r", "a");
    house.connect(1, &CODECS);
    house.is_done(SoundRequest::Wait {
        room: stream("r", "a").room,
        call: call(1),
        sounds: WaitingSounds {
            hold_music: Some((PlayId(1), clip(HOLD))),
            ringback: Some((PlayId(2), clip(RINGBACK))),
        },
    });
    house
}

#[test]
fn a_caller_alone_hears_hold_music_ringback_while_another_is_called_and_then_him() {
    let mut house = waiting_caller();
    assert_eq!(house.hears(), Some(coded(HOLD)));
    house.join(2, "r", "b");
    assert_eq!(house.hears(), Some(coded(RINGBACK)));
    house.connect(2, &CODECS);
    // Now they are relayed: nothing is made here.
    assert_eq!(house.hears(), None);
    assert_eq!(house.rooms.conferences(), 0);
    house.ask(RoomRequest::Leave { call: call(2) });
    assert_eq!(house.hears(), Some(coded(HOLD)));
}

#[test]
fn hold_music_is_silent_while_the_application_plays_something() {
    let mut house = waiting_caller();
    assert_eq!(house.hears(), Some(coded(HOLD)));
    let room = stream("r", "a").room;
    house.is_done(SoundRequest::Play {
        room: room.clone(),
        call: Some(call(1)),
        play: PlayId(3),
        source: PlaySource::Clip(clip(RINGBACK)),
        options: PlayOptions::default(),
    });
    assert_eq!(house.hears(), Some(coded(RINGBACK)));
    house.is_done(SoundRequest::StopPlay {
        room,
        call: Some(call(1)),
        play: PlayId(3),
    });
    assert_eq!(house.hears(), Some(coded(HOLD)));
}

#[test]
fn a_play_is_told_of_with_the_room_until_it_is_over() {
    let mut house = waiting_caller();
    let room = stream("r", "a").room;
    house.is_done(SoundRequest::Play {
        room: room.clone(),
        call: None,
        play: PlayId(3),
        source: PlaySource::Tone(Tone::BusyEurope),
        options: PlayOptions::default(),
    });
    let told = house.rooms.room(house.now, &room).unwrap();
    assert_eq!((told.mixed, told.plays.len()), (true, 1));
    let sound = told.peers[0].media.as_ref().unwrap().audio.as_ref();
    assert!(sound.unwrap().sound.is_some());
    // One period of the cadence is a second.
    for _ in 0..11 {
        house.hears();
    }
    let told = house.rooms.room(house.now, &room).unwrap();
    assert_eq!(told.plays, []);
}
