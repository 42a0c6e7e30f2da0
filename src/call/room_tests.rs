use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ids::{AppId, MediaPort, ShardId};
use crate::media::{Latch, PayloadMapping, Remote, TableSettings};
use crate::sound::conference::{Description, Events};

/// Hands out as many pairs as it was told to.
pub(super) struct FakePorts {
    left: u32,
    pub(super) closed: Vec<OpenPorts>,
    /// Between two shards.
    pub(super) handed_over: Vec<OpenPorts>,
}

impl Ports for FakePorts {
    fn open(&mut self, _now: Instant, _ipv6: bool) -> Result<OpenPorts, PortsError> {
        self.left = self.left.checked_sub(1).ok_or(PortsError::Exhausted)?;
        let number = self.left * 2;
        Ok(OpenPorts {
            rtp: MediaPort(number),
            rtcp: MediaPort(number + 1),
            local: LegAddress {
                address: Ipv4Addr::LOCALHOST.into(),
                rtp_port: 30_000 + number as u16,
                rtcp_port: 30_001 + number as u16,
            },
        })
    }

    fn close(&mut self, _now: Instant, ports: OpenPorts) {
        self.closed.push(ports);
    }

    fn hand_over(&mut self, ports: OpenPorts) {
        self.handed_over.push(ports);
    }

    fn take_over(&mut self, _now: Instant, local: LegAddress) -> Result<OpenPorts, PortsError> {
        let known = self.handed_over.iter().position(|open| open.local == local);
        let known = known.ok_or(PortsError::Exhausted)?;
        Ok(self.handed_over.remove(known))
    }
}

pub(super) struct House {
    pub(super) now: Instant,
    pub(super) rooms: Rooms,
    pub(super) ports: FakePorts,
}

impl House {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let settings = TableSettings {
            inactivity: Duration::from_secs(30),
            ..TableSettings::default()
        };
        House {
            now,
            rooms: Rooms::new(
                Table::new(settings, [7; 32]),
                WallClock::new(now, 1_000),
                RoomSettings {
                    capacity: 2,
                    ..RoomSettings::default()
                },
            ),
            ports: FakePorts {
                left: 8,
                closed: Vec::new(),
                handed_over: Vec::new(),
            },
        }
    }

    /// Pairs that may still be opened; the last opened has this number.
    pub(super) fn ports_left(&self) -> u32 {
        self.ports.left
    }

    pub(super) fn ask(&mut self, request: RoomRequest) -> Vec<RoomNotice> {
        self.rooms.handle(self.now, request, &mut self.ports);
        std::iter::from_fn(|| self.rooms.poll_notice()).collect()
    }

    pub(super) fn join(&mut self, number: u128, room: &str, peer: &str) -> RoomNotice {
        let request = RoomRequest::Join {
            call: call(number),
            place: Place::Room(stream(room, peer)),
            ipv6: false,
        };
        self.ask(request).remove(0)
    }

    pub(super) fn connect(&mut self, number: u128, codecs: &[Codec]) -> Vec<RoomNotice> {
        self.ask(RoomRequest::Connect {
            call: call(number),
            remote: Box::new(remote(codecs)),
            codecs: codecs.to_vec(),
            sound: sound(codecs),
            keys: keys(codecs),
        })
    }
}

pub(super) fn call(number: u128) -> CallId {
    CallId {
        shard: ShardId(0),
        random: number,
    }
}

pub(super) fn stream(room: &str, peer: &str) -> Stream {
    Stream {
        room: RoomKey {
            app: AppId::new("app"),
            name: Arc::from(room),
        },
        peer: Arc::from(peer),
        record: false,
    }
}

/// As telephone events where there are any, else as tones.
pub(super) fn keys(codecs: &[Codec]) -> Keys {
    let has_events = codecs.iter().any(|codec| codec.is_event());
    Keys {
        delivery: match has_events {
            true => KeyDelivery::Events,
            false => KeyDelivery::Tones,
        },
        come_as_tones: !has_events,
    }
}

/// As the first codec of the list, with telephone events where it has any.
pub(super) fn sound(codecs: &[Codec]) -> Option<Description> {
    let first = codecs.iter().find(|codec| codec.is_audio())?;
    let events = codecs.iter().find(|codec| codec.is_event());
    Some(Description {
        codec: crate::call::sound::audio_codec(*first)?,
        payload_type: first.usual_payload_type(),
        takes: true,
        events: events.map(|codec| Events {
            payload_type: codec.usual_payload_type(),
            clock_rate: codec.clock_rate(),
        }),
    })
}

pub(super) fn remote(codecs: &[Codec]) -> Remote {
    let mapping = |codec: &Codec| PayloadMapping {
        codec: codec.id(),
        receive: codec.usual_payload_type(),
        send: Some(codec.usual_payload_type()),
        clock_rate: codec.clock_rate(),
    };
    Remote {
        rtp: SocketAddr::from(([127, 0, 0, 1], 4000)),
        rtcp: SocketAddr::from(([127, 0, 0, 1], 4001)),
        rtcp_mux: false,
        send: true,
        receive: true,
        held: false,
        latch: Latch::Strict,
        security: crate::keying::Security::Plain,
        payloads: codecs.iter().map(mapping).collect(),
    }
}

#[test]
fn a_third_peer_and_a_second_one_of_the_same_name_are_refused() {
    let mut house = House::new();
    assert!(matches!(
        house.join(1, "r", "a"),
        RoomNotice::Joined { allowed: None, .. }
    ));
    assert!(matches!(
        house.join(2, "r", "a"),
        RoomNotice::Refused {
            error: CallError::PeerExists,
            ..
        }
    ));
    assert!(matches!(house.join(3, "r", "b"), RoomNotice::Joined { .. }));
    assert!(matches!(
        house.join(4, "r", "c"),
        RoomNotice::Refused {
            error: CallError::RoomFull,
            ..
        }
    ));
    assert_eq!(house.rooms.legs(), 2);
}

#[test]
fn recording_is_refused_and_opens_no_port() {
    let mut house = House::new();
    let mut wanted = stream("r", "a");
    wanted.record = true;
    let notices = house.ask(RoomRequest::Join {
        call: call(1),
        place: Place::Room(wanted),
        ipv6: false,
    });
    assert!(matches!(
        notices[..],
        [RoomNotice::Refused {
            error: CallError::RecordingOff,
            ..
        }]
    ));
    assert_eq!(house.ports.left, 8);
}

#[test]
fn exhausted_ports_refuse_the_leg_and_leave_no_room_behind() {
    let mut house = House::new();
    house.ports.left = 0;
    assert!(matches!(
        house.join(1, "r", "a"),
        RoomNotice::Refused {
            error: CallError::PortsExhausted,
            ..
        }
    ));
    assert!(house.rooms.is_empty());
}

#[test]
fn a_newcomer_is_allowed_what_the_other_agreed_on() {
    let mut house = House::new();
    house.join(1, "r", "a");
    house.connect(1, &[Codec::Pcma, Codec::Opus]);
    let RoomNotice::Joined { allowed, .. } = house.join(2, "r", "b") else {
        panic!("refused");
    };
    assert_eq!(allowed, Some(vec![Codec::Pcma, Codec::Opus]));
}

#[test]
fn the_other_renegotiates_only_when_its_first_codec_is_not_taken() {
    let mut house = House::new();
    house.join(1, "r", "a");
    house.connect(1, &[Codec::Pcmu, Codec::Pcma]);
    house.join(2, "r", "b");
    let told = house.connect(2, &[Codec::Pcmu]);
    assert!(matches!(
        &told[..],
        [RoomNotice::Allowed {
            renegotiate: false,
            ..
        }]
    ));
    let told = house.connect(2, &[Codec::Pcma]);
    let [
        RoomNotice::Allowed {
            call: other,
            codecs,
            renegotiate: true,
        },
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!(*other, call(1));
    assert_eq!(codecs.as_deref(), Some(&[Codec::Pcma][..]));
}

#[test]
fn the_last_to_leave_closes_the_room_and_every_port_comes_back() {
    let mut house = House::new();
    house.join(1, "r", "a");
    house.connect(1, &[Codec::Pcmu]);
    house.join(2, "r", "b");
    let told = house.ask(RoomRequest::Leave { call: call(1) });
    assert!(matches!(
        &told[..],
        [
            RoomNotice::Allowed { codecs: None, .. },
            RoomNotice::Left { media: Some(_), .. }
        ]
    ));
    assert_eq!(house.rooms.len(), 1);
    house.ask(RoomRequest::Leave { call: call(2) });
    assert!(house.rooms.is_empty());
    assert_eq!(house.ports.closed.len(), 2);
    let told = house.ask(RoomRequest::Leave { call: call(2) });
    assert!(matches!(&told[..], [RoomNotice::Left { media: None, .. }]));
}

#[test]
fn the_same_name_in_two_apps_is_two_rooms() {
    let mut house = House::new();
    house.join(1, "r", "a");
    let mut elsewhere = stream("r", "a");
    elsewhere.room.app = AppId::new("other");
    let told = house.ask(RoomRequest::Join {
        call: call(2),
        place: Place::Room(elsewhere),
        ipv6: false,
    });
    assert!(matches!(&told[..], [RoomNotice::Joined { .. }]));
    assert_eq!(
        house
            .rooms
            .of_app(house.now, Some(&AppId::new("app")))
            .len(),
        1
    );
}

#[test]
fn a_leg_without_media_is_told_of_after_the_configured_time() {
    let mut house = House::new();
    house.join(1, "r", "a");
    house.connect(1, &[Codec::Pcmu]);
    house.rooms.sweep(house.now + Duration::from_secs(29));
    assert!(house.rooms.poll_notice().is_none());
    house.rooms.sweep(house.now + Duration::from_secs(31));
    assert!(matches!(
        house.rooms.poll_notice(),
        Some(RoomNotice::Silent { .. })
    ));
}

#[test]
fn a_round_in_steps_comes_to_every_leg_once() {
    let mut house = House::new();
    for n in 1..=5 {
        house.join(n, &format!("r{n}"), "a");
        house.connect(n, &[Codec::Pcmu]);
    }
    let later = house.now + Duration::from_secs(31);
    assert!(!house.rooms.sweep_step(later, 2), "nothing was begun");
    house.rooms.begin_sweep();
    assert!(house.rooms.sweep_step(later, 2));
    assert!(house.rooms.sweep_step(later, 2));
    house.rooms.begin_sweep();
    assert!(!house.rooms.sweep_step(later, 2), "the round goes on");
    let told: Vec<CallId> = std::iter::from_fn(|| house.rooms.poll_notice())
        .map(|notice| match notice {
            RoomNotice::Silent { call } => call,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [1, 2, 3, 4, 5].map(call));
}
