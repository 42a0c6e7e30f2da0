//! Rooms that are relayed, mixed, played to, keyed and recorded.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::tests::{House, call, stream};
use super::*;
use crate::call::request::{CallReply, SoundRequest, VoiceChange};
use crate::sound::dtmf::{DialStep, Digit, DtmfEvent};
use crate::sound::format::SampleRate;

const EVENTS: Codec = Codec::TelephoneEvent(8000);

/// What a desk was told, in a word each.
#[derive(Clone, Default)]
struct Book {
    notes: Arc<Mutex<VecDeque<String>>>,
    over: Arc<AtomicBool>,
}

impl Book {
    fn note(&self, what: String) {
        let mut notes = self.notes.lock().unwrap();
        if notes.back() != Some(&what) {
            notes.push_back(what);
        }
    }

    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().drain(..).collect()
    }
}

impl RecordingDesk for Book {
    fn start(&mut self, about: RecordingAbout) -> Result<RecordingId, String> {
        self.note(format!("start {} {}", about.room, about.peer));
        Ok(RecordingId(1))
    }

    fn frame(
        &mut self,
        _id: RecordingId,
        _index: u64,
        _rate: SampleRate,
        _left: &[i16],
        _right: Option<&[i16]>,
    ) {
        self.note("frames".to_owned());
    }

    fn is_over(&self, _id: RecordingId) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn pause(&mut self, _id: RecordingId, index: u64) {
        self.note(format!("pause at {index}"));
    }

    fn resume(&mut self, _id: RecordingId, index: u64) {
        self.note(format!("resume at {index}"));
    }

    fn stop(&mut self, _id: RecordingId, frames: u64) {
        self.note(format!("stop after {frames}"));
    }
}

impl House {
    fn come(&mut self, number: u128, room: &str, codecs: &[Codec]) {
        let name = format!("peer{number}");
        let joined = self.join(number, room, &name);
        assert!(matches!(joined, RoomNotice::Joined { .. }), "{joined:?}");
        self.connect(number, codecs);
    }

    fn mixed(&self, room: &str) -> bool {
        self.rooms.rooms[&stream(room, "").room].sound.mixed
    }

    /// Lets time pass and the sound be made.
    fn sound(&mut self, ms: u64) -> usize {
        let mut sent = 0;
        for _ in 0..ms / 20 {
            self.now += Duration::from_millis(20);
            let mut send = |_: crate::ids::MediaPort, _: Option<SocketAddr>, _: &[u8]| sent += 1;
            while self.rooms.sound_step(self.now, &mut send) {}
        }
        sent
    }

    fn ask_sound(&mut self, request: SoundRequest) -> CallReply {
        self.rooms.handle_sound(self.now, request)
    }

    fn told(&mut self) -> Vec<RoomNotice> {
        std::iter::from_fn(|| self.rooms.poll_notice()).collect()
    }
}

fn key(digit: Digit) -> DtmfEvent {
    DtmfEvent {
        digit,
        duration_ms: 100,
    }
}

#[test]
fn two_are_relayed_a_third_makes_a_mixture_and_its_leaving_a_relay_again() {
    let mut house = House::new();
    house.rooms.settings.capacity = 3;
    house.come(1, "r", &[Codec::Pcma, EVENTS]);
    house.come(2, "r", &[Codec::Pcma, EVENTS]);
    assert!(!house.mixed("r"));
    assert_eq!(house.rooms.conferences(), 0);
    assert_eq!(house.sound(100), 0);
    house.come(3, "r", &[Codec::Pcma, EVENTS]);
    assert!(house.mixed("r"));
    assert_eq!(house.sound(100), 3 * 6);
    house.ask(RoomRequest::Leave { call: call(3) });
    assert!(!house.mixed("r"));
    assert_eq!(house.rooms.conferences(), 0);
    assert_eq!(house.sound(100), 0);
}

#[test]
fn codecs_or_keys_that_do_not_fit_make_a_mixture() {
    for (one, other, mixed) in [
        (vec![Codec::Pcma, EVENTS], vec![Codec::Pcma, EVENTS], false),
        (vec![Codec::Pcma, EVENTS], vec![Codec::Pcmu, EVENTS], true),
        (vec![Codec::Pcma, EVENTS], vec![Codec::Pcma], true),
        (vec![Codec::Pcma], vec![Codec::Pcma], false),
        (
            vec![Codec::Opus, Codec::Pcma, EVENTS],
            vec![Codec::Pcma, EVENTS],
            true,
        ),
    ] {
        let mut house = House::new();
        house.come(1, "r", &one);
        house.come(2, "r", &other);
        assert_eq!(house.mixed("r"), mixed, "{one:?} {other:?}");
    }
}

#[test]
fn a_voice_that_is_turned_makes_a_mixture_until_it_is_turned_back() {
    let mut house = House::new();
    house.come(1, "r", &[Codec::Pcma, EVENTS]);
    house.come(2, "r", &[Codec::Pcma, EVENTS]);
    for (muted, mixed) in [(true, true), (false, false)] {
        let reply = house.ask_sound(SoundRequest::Turn {
            room: stream("r", "").room,
            peer: "peer1".into(),
            change: VoiceChange {
                muted: Some(muted),
                ..VoiceChange::default()
            },
        });
        assert!(matches!(reply, CallReply::Turned(turned) if turned.muted == muted));
        assert_eq!(house.mixed("r"), mixed);
    }
    let nobody = house.ask_sound(SoundRequest::Turn {
        room: stream("r", "").room,
        peer: "nobody".into(),
        change: VoiceChange::default(),
    });
    assert!(matches!(nobody, CallReply::Refused(CallError::UnknownPeer)));
}

#[test]
fn keys_for_a_relayed_peer_go_out_and_the_room_is_relayed_again() {
    let mut house = House::new();
    house.come(1, "r", &[Codec::Pcma, EVENTS]);
    house.come(2, "r", &[Codec::Pcma, EVENTS]);
    let reply = house.ask_sound(SoundRequest::Keys {
        room: stream("r", "").room,
        call: call(1),
        steps: vec![DialStep::again(key(Digit::Star))],
    });
    assert!(matches!(reply, CallReply::Done), "{reply:?}");
    assert!(house.mixed("r"));
    assert!(house.sound(1000) > 5);
    assert!(!house.mixed("r"));
}

#[test]
fn a_key_in_info_is_told_and_passed_on_to_the_other_of_two() {
    let mut house = House::new();
    house.come(1, "r", &[Codec::Pcma, EVENTS]);
    house.come(2, "r", &[Codec::Pcma, EVENTS]);
    let told = house.ask(RoomRequest::Key {
        call: call(1),
        key: key(Digit::Pound),
    });
    assert!(
        matches!(&told[..], [RoomNotice::Key { call: its, key: told }]
            if *its == call(1) && told.digit == Digit::Pound),
        "{told:?}"
    );
    assert!(house.mixed("r"), "the event to the other is under way");
}

#[test]
fn a_call_is_recorded_from_its_connection_on_paused_resumed_and_stopped() {
    let mut house = House::new();
    let book = Book::default();
    house.rooms.set_recording_desk(Box::new(book.clone()));
    let mut wanted = stream("r", "peer1");
    wanted.record = true;
    house.ask(RoomRequest::Join {
        call: call(1),
        place: Place::Room(wanted),
        ipv6: false,
    });
    assert!(book.notes().is_empty());
    house.connect(1, &[Codec::Pcma, EVENTS]);
    house.come(2, "r", &[Codec::Pcma, EVENTS]);
    assert!(!house.mixed("r"), "a recording listens beside the relay");
    assert_eq!(house.sound(100), 0);
    assert_eq!(book.notes(), ["start r peer1", "frames"]);
    let room = stream("r", "").room;
    for paused in [true, false] {
        house.ask_sound(SoundRequest::PauseRecording {
            room: room.clone(),
            call: Some(call(1)),
            paused,
        });
        house.sound(40);
    }
    // Frames come some time after they were captured, and pauses with them.
    house.sound(200);
    let turned = ["frames", "pause at 6", "resume at 8", "frames"];
    assert_eq!(book.notes(), turned);
    let again = house.ask_sound(SoundRequest::Record {
        room: room.clone(),
        call: Some(call(1)),
    });
    assert!(matches!(
        again,
        CallReply::Refused(CallError::AlreadyRecording)
    ));
    house.ask(RoomRequest::Leave { call: call(1) });
    assert_eq!(book.notes(), ["frames", "stop after 20"]);
    let stopped = house.ask_sound(SoundRequest::StopRecording {
        room,
        call: Some(call(1)),
    });
    assert!(matches!(
        stopped,
        CallReply::Refused(CallError::NotRecording)
    ));
    assert_eq!(house.rooms.conferences(), 0);
}

#[test]
fn a_recording_that_ends_by_itself_is_forgotten_and_may_begin_anew() {
    let mut house = House::new();
    let book = Book::default();
    house.rooms.set_recording_desk(Box::new(book.clone()));
    house.come(1, "r", &[Codec::Pcma, EVENTS]);
    let room = stream("r", "").room;
    let record = || SoundRequest::Record {
        room: room.clone(),
        call: Some(call(1)),
    };
    house.ask_sound(record());
    house.sound(100);
    book.over.store(true, Ordering::Relaxed);
    house.sound(20);
    assert_eq!(book.notes(), ["start r peer1", "frames", "stop after 7"]);
    assert_eq!(house.rooms.conferences(), 0, "nobody is listened to");
    assert!(house.rooms.recordings.is_empty());
    book.over.store(false, Ordering::Relaxed);
    let again = house.ask_sound(record());
    assert!(matches!(again, CallReply::Recording(_)), "{again:?}");
}

#[test]
fn a_room_that_ends_while_it_is_recorded_ends_its_recording() {
    let mut house = House::new();
    let book = Book::default();
    house.rooms.set_recording_desk(Box::new(book.clone()));
    house.come(1, "r", &[Codec::Pcma, EVENTS]);
    let room = stream("r", "").room;
    let reply = house.ask_sound(SoundRequest::Record { room, call: None });
    assert!(matches!(reply, CallReply::Recording(_)));
    house.sound(100);
    house.ask(RoomRequest::Leave { call: call(1) });
    assert_eq!(book.notes(), ["start r ", "frames", "stop after 6"]);
    assert!(house.told().is_empty());
    assert_eq!((house.rooms.len(), house.rooms.conferences()), (0, 0));
}

/// RTP of the first to come into the house, as its peer sends it.
fn packet(house: &mut House, port: u32, codec: Codec, sequence: u16) {
    let mut slot = [0x55u8; 256];
    slot[0] = 0x80;
    slot[1] = codec.usual_payload_type();
    slot[2..4].copy_from_slice(&sequence.to_be_bytes());
    slot[4..12].fill(0);
    let from = SocketAddr::from(([127, 0, 0, 1], 4000));
    let port = crate::ids::MediaPort(port);
    let packet = crate::media::Packet::new(port, Some(from), &mut slot, 172);
    house.rooms.table.process_batch(house.now, &mut [packet]);
    house.rooms.hear(house.now);
}

#[test]
fn a_peer_that_begins_to_send_what_the_other_lacks_makes_a_mixture_until_described_anew() {
    let mut house = House::new();
    let both = [Codec::Pcma, Codec::Pcmu, EVENTS];
    house.come(1, "r", &both);
    let first = 2 * house.ports_left();
    packet(&mut house, first, Codec::Pcmu, 1);
    house.come(2, "r", &[Codec::Pcma, EVENTS]);
    packet(&mut house, first, Codec::Pcma, 2);
    assert!(!house.mixed("r"), "what is sent fits");
    packet(&mut house, first, Codec::Pcmu, 3);
    assert!(house.mixed("r"));
    house.connect(1, &[Codec::Pcma, EVENTS]);
    assert!(!house.mixed("r"));
}

#[test]
fn what_is_sent_before_the_other_is_connected_mixes_nothing() {
    let mut house = House::new();
    house.come(1, "r", &[Codec::Pcma, EVENTS]);
    let first = 2 * house.ports_left();
    house.join(2, "r", "peer2");
    packet(&mut house, first, Codec::Pcma, 1);
    assert!(!house.mixed("r"));
    assert_eq!(house.rooms.conferences(), 0);
}
