//! What a caller hears while it rings, and the way of its leg into a room, of
//! this shard or of another.

use std::time::Duration;

use super::tests::{House, call, stream};
use super::waiting_tests::{CODECS, HOLD, RINGBACK, clip, coded};
use crate::call::request::{CallError, SoundRequest, WaitingSounds};
use crate::call::room::{Early, Place, RoomNotice, RoomRequest};
use crate::ids::{AppId, PlayId, ShardId};

const OTHER: ShardId = ShardId(1);

impl House {
    /// Call 1 rings, and its caller is described.
    fn ringing() -> House {
        let mut house = House::new();
        let told = house.ask(RoomRequest::Ring {
            call: call(1),
            early: Box::new(Early::new(AppId::new("app"), (PlayId(9), clip(RINGBACK)))),
            ipv6: false,
        });
        assert!(matches!(told[..], [RoomNotice::Ringing { .. }]), "{told:?}");
        house.connect(1, &CODECS);
        house
    }

    fn accept(&mut self, to: Option<ShardId>) -> Vec<RoomNotice> {
        self.ask(RoomRequest::Move {
            call: call(1),
            place: Place::Room(stream("r", "a")),
            to,
        })
    }

    /// What goes on to the other shard is asked of it, with the sockets.
    fn pass_on(&mut self, other: &mut House) -> Vec<RoomNotice> {
        let (_, request) = self.rooms.poll_onward().expect("something for another");
        assert!(self.rooms.poll_onward().is_none());
        other.ports.handed_over.append(&mut self.ports.handed_over);
        other.now = self.now;
        other.ask(request)
    }

    fn hold_music(&mut self) {
        self.is_done(SoundRequest::Wait {
            room: stream("r", "a").room,
            call: call(1),
            sounds: WaitingSounds {
                hold_music: Some((PlayId(1), clip(HOLD))),
                ringback: None,
            },
        });
    }

    fn name(&self) -> u32 {
        let leg = self.rooms.members[&call(1)].leg;
        self.rooms.table.source(leg).expect("a leg").ssrc
    }
}

fn is_in(told: &[RoomNotice]) {
    assert!(matches!(told, [RoomNotice::Joined { .. }]), "{told:?}");
}

#[test]
fn a_caller_hears_the_ringback_while_it_rings_and_is_in_no_room() {
    let mut house = House::ringing();
    assert_eq!(house.hears(), Some(coded(RINGBACK)));
    assert!(house.rooms.is_empty());
    assert!(house.rooms.of_app(house.now, None).is_empty());
}

#[test]
fn an_accepted_caller_goes_on_in_the_room_with_the_same_stream() {
    let mut house = House::ringing();
    assert_eq!(house.hears(), Some(coded(RINGBACK)));
    let ssrc = house.name();
    is_in(&house.accept(None));
    assert_eq!(house.hears(), None);
    assert_eq!((house.rooms.len(), house.rooms.conferences()), (1, 0));
    house.hold_music();
    assert_eq!(house.hears(), Some(coded(HOLD)));
    assert_eq!(house.name(), ssrc);
}

#[test]
fn a_caller_whose_room_is_full_rings_on() {
    let mut house = House::ringing();
    house.join(2, "r", "b");
    house.join(3, "r", "c");
    let told = house.accept(None);
    assert!(
        matches!(
            told[..],
            [RoomNotice::Refused {
                error: CallError::RoomFull,
                ..
            }]
        ),
        "{told:?}"
    );
    assert_eq!(house.hears(), Some(coded(RINGBACK)));
}

#[test]
fn a_caller_that_gives_up_leaves_nothing_behind() {
    let mut house = House::ringing();
    assert_eq!(house.hears(), Some(coded(RINGBACK)));
    let told = house.ask(RoomRequest::Leave { call: call(1) });
    assert!(
        matches!(told[..], [RoomNotice::Left { media: Some(_), .. }]),
        "{told:?}"
    );
    assert_eq!((house.rooms.legs(), house.rooms.conferences()), (0, 0));
    assert_eq!(house.ports.closed.len(), 1);
}

#[test]
fn the_leg_goes_to_the_shard_of_its_room_with_sockets_and_stream() {
    let (mut here, mut there) = (House::ringing(), House::new());
    assert_eq!(here.hears(), Some(coded(RINGBACK)));
    let before = here
        .rooms
        .media(here.now, call(1))
        .expect("a leg")
        .packets_sent;
    let ssrc = here.name();
    assert!(here.accept(Some(OTHER)).is_empty());
    assert_eq!((here.rooms.legs(), here.rooms.conferences()), (0, 0));
    assert!(here.ports.closed.is_empty());
    is_in(&here.pass_on(&mut there));
    there.hold_music();
    assert_eq!(there.hears(), Some(coded(HOLD)));
    assert_eq!(there.name(), ssrc);
    let media = there.rooms.media(there.now, call(1)).expect("a leg");
    assert_eq!(media.codec, "PCMU");
    // As much was heard there as here.
    assert_eq!(media.packets_sent, 2 * before);
}

#[test]
fn a_leg_that_is_refused_by_the_other_shard_rings_on_here() {
    let (mut here, mut there) = (House::ringing(), House::new());
    there.join(2, "r", "b");
    there.join(3, "r", "c");
    here.now += Duration::from_millis(100);
    here.accept(Some(OTHER));
    let told = here.pass_on(&mut there);
    assert!(
        matches!(
            told[..],
            [RoomNotice::Refused {
                error: CallError::RoomFull,
                ..
            }]
        ),
        "{told:?}"
    );
    assert_eq!(there.rooms.legs(), 2);
    assert!(there.pass_on(&mut here).is_empty());
    assert_eq!(here.hears(), Some(coded(RINGBACK)));
}
