//! A mixed room in simulated time: the gateway's own jitter buffers, codecs
//! and mixer, and packets that come when they are due. How busy this machine
//! is cannot be heard.

use std::time::{Duration, Instant};

use ringwire::ids::{LegId, PlayId};
use ringwire::sound::codec::{AudioCodec, Decoder};
use ringwire::sound::conference::{
    Conference, ConferenceSettings, Description, Outlet, Payload, Recorded,
};
use ringwire::sound::dtmf::DtmfEvent;
use ringwire::sound::level::Alarm;
use ringwire::sound::receiver::{Content, Incoming, ReceiverSettings};

use crate::codecs::payloads;

const PACKET: Duration = Duration::from_millis(20);
/// How long the room goes on when all is said: what waits comes out.
const AFTERWARDS: usize = 15;
/// The peer who talks, and the one whose sound is looked at.
const TALKER: LegId = leg(0);
const LISTENER: LegId = leg(1);

const fn leg(index: u32) -> LegId {
    LegId {
        index,
        generation: 0,
    }
}

/// What a listener of `to` hears of a talker of `from`, whose samples these
/// are: samples at the rate of `to`. `quiet` others are in the room, who send
/// nothing. These packets of the talker are lost.
pub fn through_a_room(
    samples: &[i16],
    from: AudioCodec,
    to: AudioCodec,
    quiet: &[AudioCodec],
    lost: &[usize],
) -> Vec<i16> {
    let mut now = Instant::now();
    let settings = ConferenceSettings {
        loudest: 6,
        receiver: ReceiverSettings::default(),
        dead_air: None,
    };
    let mut room = Conference::new(now, settings);
    for (index, codec) in (0..).zip([from, to].iter().chain(quiet)) {
        room.add(leg(index));
        room.describe(leg(index), description(*codec));
        room.serve(leg(index), true);
    }
    let payloads = payloads(from, from.native_rate(), samples);
    let mut ear = Ear {
        decoder: Decoder::new(to, to.native_rate()).expect("a decoder"),
        heard: Vec::new(),
    };
    for n in 0..payloads.len() + AFTERWARDS {
        let payload = payloads.get(n).filter(|_| !lost.contains(&n));
        if let Some(payload) = payload {
            let units = from.clock_rate() / 50;
            let incoming = Incoming {
                arrival: now,
                ssrc: 0x5300_0000,
                sequence: 65_500_u16.wrapping_add(n as u16),
                timestamp: (n as u32).wrapping_mul(units),
                marker: n == 0,
                content: Content::Sound(from),
                payload,
            };
            room.push(TALKER, incoming);
        }
        now += PACKET;
        while room.work(now, &mut ear) {}
    }
    assert_eq!(room.skipped(), 0, "simulated time is never late");
    ear.heard
}

fn description(codec: AudioCodec) -> Description {
    Description {
        codec,
        payload_type: 96,
        takes: true,
        events: None,
    }
}

/// The listener's.
struct Ear {
    decoder: Decoder,
    heard: Vec<i16>,
}

impl Outlet for Ear {
    fn payload(&mut self, leg: LegId, payload: Payload<'_>) {
        if leg == LISTENER {
            self.decoder
                .decode(payload.payload, &mut self.heard)
                .expect("sound");
        }
    }

    fn recorded(&mut self, _: Recorded<'_>) {}

    fn finished(&mut self, _: PlayId) {}

    fn key(&mut self, _: LegId, _: DtmfEvent) {}

    fn dead_air(&mut self, _: LegId, _: Alarm<()>) {}
}
