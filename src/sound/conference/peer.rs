//! One participant of a conference: what comes from it, how it is heard, and
//! what goes to it.

use std::time::Instant;

use super::mix::Hears;
use super::output::{MAX_PAYLOAD, tick_units};
use super::placement::{Placed, Placement};
use super::{ConferenceSettings, Outlet, Payload, TICK};
use crate::ids::LegId;
use crate::sound::codec::{AudioCodec, Encoder};
use crate::sound::dtmf::event_sender::{EventClocks, EventSender};
use crate::sound::dtmf::tone_detector::ToneDetector;
use crate::sound::dtmf::tones::ToneGenerator;
use crate::sound::dtmf::{DialStep, DtmfReport};
use crate::sound::format::{MAX_FRAME_SAMPLES, SampleRate};
use crate::sound::level::{DeadAir, FrameLevel, Level, SILENCE};
use crate::sound::limiter::Limiter;
use crate::sound::receiver::{Frame, Receiver, ReceiverStatistics};

/// What is no louder is nothing, in -dBov: an idle A-law line, whose codes know
/// no zero, is at 72.
const NOTHING_HEARD: u8 = 70;

/// How a peer is heard, and by whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Voice {
    /// Nobody hears it.
    pub muted: bool,
    /// It hears nobody.
    pub deafened: bool,
    /// How much louder (or, negative, softer) it is heard, in dB.
    pub gain_db: f32,
    /// Who alone hears it (a coach's whisper); `None`: everybody.
    pub heard_by: Option<Vec<LegId>>,
}

impl Default for Voice {
    fn default() -> Self {
        Voice {
            muted: false,
            deafened: false,
            gain_db: 0.0,
            heard_by: None,
        }
    }
}

/// How a peer takes telephone events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    /// The number it takes them by.
    pub payload_type: u8,
    /// Their RTP clock in Hz, which need not be that of the sound.
    pub clock_rate: u32,
}

/// What was agreed with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// What it sends and takes.
    pub codec: AudioCodec,
    /// The number it takes it by.
    pub payload_type: u8,
    /// Whether it takes anything now.
    pub takes: bool,
    /// How it takes keys; `None`: as tones.
    pub events: Option<Events>,
}

/// What is known of a peer's sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeerSound {
    /// Loudness in dBov (RFC 6464): 0 is full scale, -127 is silence.
    pub level_dbov: i8,
    /// It speaks, as far as its energy tells.
    pub speaking: bool,
    /// Whether it is among those who are heard.
    pub heard: bool,
    /// Of its jitter buffer.
    pub receiver: ReceiverStatistics,
}

/// One participant.
pub(super) struct Peer {
    pub(super) leg: LegId,
    pub(super) receiver: Receiver,
    rate: SampleRate,
    /// Of this tick.
    pub(super) voice: Voice,
    /// From the next tick on.
    pub(super) next_voice: Option<Voice>,
    /// This tick's sound of it.
    pub(super) frame: Vec<i16>,
    pub(super) selected: bool,
    pub(super) hears: Hears,
    /// Room for a sum of its own, where it has ever heard one.
    pub(super) sum: Vec<i32>,
    level: Level,
    /// What its latest frame measured.
    measured: Option<FrameLevel>,
    has_sound: bool,
    description: Option<Description>,
    served: bool,
    encoder: Option<Encoder>,
    /// What its peer reports as lost of what it is sent, in percent.
    pub(super) expected_loss: Option<u8>,
    limiter: Limiter,
    /// The tick whose payload it got last.
    sent: Option<u64>,
    events: EventSender,
    tones: ToneGenerator,
    detector: Option<ToneDetector>,
    dead_air: Option<DeadAir>,
    placement: Placement,
}

impl Peer {
    pub(super) fn new(leg: LegId, rate: SampleRate, settings: &ConferenceSettings) -> Peer {
        let after = settings.dead_air;
        Peer {
            leg,
            rate,
            receiver: Receiver::new(rate, settings.receiver),
            voice: Voice::default(),
            next_voice: None,
            frame: Vec::with_capacity(rate.frame_samples()),
            selected: false,
            hears: Hears::Own,
            sum: Vec::new(),
            level: Level::default(),
            measured: None,
            has_sound: false,
            description: None,
            served: false,
            encoder: None,
            expected_loss: None,
            limiter: Limiter::default(),
            sent: None,
            events: EventSender::default(),
            tones: ToneGenerator::new(rate),
            detector: None,
            dead_air: after.map(|after| DeadAir::new(NOTHING_HEARD, after)),
            placement: Placement::default(),
        }
    }

    pub(super) fn describe(&mut self, description: Description) {
        let codec = self.description.map(|before| before.codec);
        if codec != Some(description.codec) {
            self.encoder = None;
        }
        self.description = Some(description);
    }

    pub(super) fn serve(&mut self, served: bool) {
        self.served = served;
        if !served {
            // What is left of the encoder's memory belongs to another time.
            self.encoder = None;
            self.sent = None;
        }
    }

    pub(super) fn set_rate(&mut self, rate: SampleRate) {
        self.placement.set_rate(self.rate, rate);
        self.rate = rate;
        self.receiver.set_rate(rate);
        self.encoder = None;
        if self.detector.is_some() {
            self.detector = Some(ToneDetector::new(rate));
        }
        self.tones.set_rate(rate);
    }

    pub(super) fn detect_keys(&mut self, on: bool) {
        match (on, &self.detector) {
            (true, None) => self.detector = Some(ToneDetector::new(self.rate)),
            (true, Some(_)) => {}
            (false, _) => self.detector = None,
        }
    }

    /// Whether recordings want to know when what it says was captured.
    pub(super) fn place_sound(&mut self, on: bool) {
        self.placement.set(on, &mut self.receiver);
    }

    /// This tick's sound of it, by when it was captured.
    pub(super) fn placed(&self) -> impl Iterator<Item = Placed<'_>> {
        self.placement.placed()
    }

    /// How old its sound is when it is decoded, or would be, in µs.
    pub(super) fn capture_age(&self) -> i64 {
        let target = self.receiver.statistics().target_delay + TICK;
        self.placement.oldest().max(target.as_micros() as i64)
    }

    /// Another peer has left.
    pub(super) fn forget(&mut self, leg: LegId) {
        let next = self.next_voice.as_mut();
        for voice in next.into_iter().chain([&mut self.voice]) {
            if let Some(heard_by) = &mut voice.heard_by {
                heard_by.retain(|other| *other != leg);
            }
        }
    }

    /// What was asked since the last tick counts from now on.
    pub(super) fn begin_tick(&mut self) {
        if let Some(voice) = self.next_voice.take() {
            self.voice = voice;
        }
    }

    pub(super) fn native_rate(&self) -> Option<SampleRate> {
        self.description.map(|known| known.codec.native_rate())
    }

    /// The codec of what it is sent; `None`: nothing is made for it.
    pub(super) fn sends_with(&self) -> Option<AudioCodec> {
        let known = self.description.filter(|known| known.takes);
        known.filter(|_| self.served).map(|known| known.codec)
    }

    /// Whether its stream of packets runs.
    pub(super) fn has_sound(&self) -> bool {
        self.has_sound
    }

    /// How soft it is, smoothed, in -dBov (RFC 6464): 0 is the loudest.
    pub(super) fn softness(&self) -> u8 {
        self.measured.map_or(SILENCE, |level| level.smoothed)
    }

    pub(super) fn has_tones(&self) -> bool {
        !self.tones.is_idle()
    }

    pub(super) fn is_sending_keys(&self) -> bool {
        !self.events.is_idle() || !self.tones.is_idle()
    }

    pub(super) fn send_keys(&mut self, keys: &[DialStep]) -> bool {
        match self.description.is_some_and(|known| known.events.is_some()) {
            true => self.events.queue_all(keys).is_ok(),
            false => self.tones.queue_all(keys).is_ok(),
        }
    }

    /// Forgets its keys; whether there were any.
    pub(super) fn drop_keys(&mut self) -> bool {
        let any = self.is_sending_keys();
        if any {
            self.events = EventSender::default();
            self.tones = ToneGenerator::new(self.rate);
        }
        any
    }

    /// How much redundancy its stream needs.
    pub(super) fn expect_loss(&mut self, percent: u8) {
        if self.expected_loss != Some(percent) {
            self.expected_loss = Some(percent);
            self.tell_encoder();
        }
    }

    fn tell_encoder(&mut self) {
        if let (Some(encoder), Some(percent)) = (&mut self.encoder, self.expected_loss) {
            encoder.set_expected_loss(percent);
        }
    }

    pub(super) fn sound(&self) -> PeerSound {
        PeerSound {
            level_dbov: -(self.softness() as i8),
            speaking: self.measured.is_some_and(|level| level.voice) && !self.voice.muted,
            heard: self.selected,
            receiver: self.receiver.statistics(),
        }
    }

    /// Takes this tick's frame out of the jitter buffer. `tick`: when it was
    /// due, and the conference's sample that it begins with.
    pub(super) fn decode(&mut self, now: Instant, tick: (Instant, i64), outlet: &mut impl Outlet) {
        self.frame.clear();
        let kind = self.receiver.frame(now, &mut self.frame);
        self.has_sound = kind != Frame::Silence;
        if self.has_sound
            && let Some(detector) = &mut self.detector
        {
            for report in detector.frame(&self.frame) {
                if let DtmfReport::End(key) = report {
                    outlet.key(self.leg, key);
                }
            }
        }
        let factor = match self.voice.gain_db {
            0.0 => 1.0,
            gain_db => 10f32.powf(gain_db / 20.0),
        };
        if factor != 1.0 {
            amplify(&mut self.frame, factor);
        }
        let (receiver, rate) = (&mut self.receiver, self.rate);
        self.placement.take(receiver, tick, rate, factor);
        // Who pauses, and says so, is not speaking however loud its background.
        let pauses = kind == Frame::ComfortNoise;
        self.measured = self.has_sound.then(|| {
            let measured = self.level.frame(&self.frame);
            let voice = measured.voice && !pauses;
            FrameLevel { voice, ..measured }
        });
        // Nor is its line dead.
        let level = self.measured.filter(|_| !pauses);
        let level = level.map(|measured| measured.level);
        if let Some(dead_air) = &mut self.dead_air
            && let Some(alarm) = dead_air.frame(level)
        {
            outlet.dead_air(self.leg, alarm);
        }
    }

    /// Codes the sum that only this listener hears, and sends it: keys in
    /// place of it while there are any.
    pub(super) fn encode(
        &mut self,
        tick: u64,
        rate: SampleRate,
        codec: AudioCodec,
        outlet: &mut impl Outlet,
    ) {
        if self.send_event(tick, outlet) {
            return;
        }
        let samples = rate.frame_samples();
        let mut frame = [0i16; MAX_FRAME_SAMPLES];
        let frame = &mut frame[..samples];
        self.limiter.frame(&self.sum, frame);
        // A tone takes the place of what else there is: a mixture of both
        // would be misread at the far end.
        self.tones.frame(frame);
        if self.encoder.is_none() {
            self.encoder = Encoder::new(codec, rate).ok();
            self.tell_encoder();
        }
        let Some(encoder) = &mut self.encoder else {
            return;
        };
        let mut payload = [0u8; MAX_PAYLOAD];
        if let Ok(len) = encoder.encode(frame, &mut payload) {
            self.send(tick, &payload[..len], outlet);
        }
    }

    /// Sends a payload of sound; an empty one is a pause of its encoder.
    pub(super) fn send(&mut self, tick: u64, payload: &[u8], outlet: &mut impl Outlet) {
        let Some(known) = self.description else {
            return;
        };
        if payload.is_empty() {
            return;
        }
        let clock_rate = known.codec.clock_rate();
        // RFC 3551 section 4.1: the first packet after a pause.
        let marker = tick.checked_sub(1) != self.sent || self.sent.is_none();
        self.sent = Some(tick);
        outlet.payload(
            self.leg,
            Payload {
                payload_type: known.payload_type,
                clock_rate,
                marker,
                timestamp: (tick as u32).wrapping_mul(tick_units(clock_rate)),
                payload,
            },
        );
    }

    /// Sends the tick's part of a telephone event; false when there is none.
    fn send_event(&mut self, tick: u64, outlet: &mut impl Outlet) -> bool {
        let Some(known) = self.description else {
            return false;
        };
        let Some(events) = known.events else {
            return false;
        };
        let clocks = EventClocks {
            events: events.clock_rate,
            stream: known.codec.clock_rate(),
        };
        let timestamp = (tick as u32).wrapping_mul(tick_units(clocks.stream));
        let Some(packet) = self.events.frame(clocks, timestamp) else {
            return false;
        };
        outlet.payload(
            self.leg,
            Payload {
                payload_type: events.payload_type,
                clock_rate: clocks.stream,
                marker: packet.marker,
                timestamp: packet.timestamp,
                payload: &packet.payload,
            },
        );
        true
    }
}

/// Makes it so many times as loud.
pub(super) fn amplify(frame: &mut [i16], factor: f32) {
    for sample in frame {
        *sample = (f32::from(*sample) * factor) as i16; // saturates
    }
}
