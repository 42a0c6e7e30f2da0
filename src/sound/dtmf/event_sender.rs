//! Keys in, RFC 4733 telephone events out, one packet a frame at most.
//!
//! The sender of a stream asks in every frame of 20 ms. While it gets a packet
//! it sends that in place of sound; its own timestamps move on all the same,
//! so that sound goes on in the right place afterwards.

use std::collections::VecDeque;

use super::{DialStep, Digit, KeyTiming, MAX_QUEUED_KEYS, QueueFull};
use crate::sound::format::FRAME_MS;

/// The volume that is stated: -10 dBm0 (RFC 4733 section 2.3.4).
const VOLUME: u8 = 10;

/// How many times the end is sent (section 2.5.1.4: retransmitted twice).
const END_PACKETS: u32 = 3;

/// Longest duration of one segment, in timestamp units (section 2.5.1.3).
const LONGEST_SEGMENT: u32 = 0xffff;

/// A packet to send in place of this frame's sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPacket {
    /// RTP marker: set on the first packet of a key.
    pub marker: bool,
    /// RTP timestamp: when the key, or this segment, began.
    pub timestamp: u32,
    /// RTP payload.
    pub payload: [u8; 4],
    /// The last packet of this key: sound may follow in the next frame, with
    /// that frame's own timestamp.
    pub last: bool,
}

/// The clocks of events and of the stream that they are part of, in Hz.
///
/// They are one where the peer keeps to RFC 4733 section 2.1. Some phones agree
/// on opus (48000 Hz) with `telephone-event/8000` only: then durations are in
/// units of the event's payload type (section 2.3.5), and RTP timestamps go on
/// in those of the sound beside it, because one stream has one timeline. That
/// is what libwebrtc sends and expects, and no receiver sees time jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventClocks {
    /// Of the event's payload type.
    pub events: u32,
    /// Of the sound beside it.
    pub stream: u32,
}

impl EventClocks {
    /// Both are the same.
    pub fn same(hertz: u32) -> EventClocks {
        EventClocks {
            events: hertz,
            stream: hertz,
        }
    }
}

/// The keys that wait for one outgoing stream, and the one that is down.
#[derive(Debug, Default)]
pub struct EventSender {
    waiting: VecDeque<DialStep>,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Down(Down),
    /// The end goes out again.
    Ending {
        packet: EventPacket,
        left: u32,
        pause_frames: u32,
    },
    /// No packets: the next key must be told from the last one.
    Pause {
        frames: u32,
    },
}

#[derive(Debug)]
struct Down {
    digit: Digit,
    timing: KeyTiming,
    clocks: EventClocks,
    frames: u32,
    /// When this segment began, in RTP time.
    segment: u32,
    /// Units of the event's clock in the segments before.
    earlier: u32,
}

impl EventSender {
    /// Puts a key at the end of the queue.
    pub fn queue(&mut self, digit: Digit, timing: KeyTiming) -> Result<(), QueueFull> {
        self.queue_all(&[DialStep::Key(digit, timing)])
    }

    /// Puts steps at the end of the queue: all, or none of them.
    pub fn queue_all(&mut self, steps: &[DialStep]) -> Result<(), QueueFull> {
        if self.waiting.len() + steps.len() > MAX_QUEUED_KEYS {
            return Err(QueueFull);
        }
        self.waiting.extend(steps);
        Ok(())
    }

    /// Forgets the keys that wait. The one that is down is sent to its end.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Whether nothing waits, is down or pauses.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && matches!(self.state, State::Idle)
    }

    /// The packet of this frame of 20 ms, if a key is down or ending.
    /// `timestamp` is the one that sound would have (section 2.5.1.1).
    pub fn frame(&mut self, clocks: EventClocks, timestamp: u32) -> Option<EventPacket> {
        match &mut self.state {
            State::Idle => self.begin(clocks, timestamp),
            State::Down(down) => {
                let packet = down.next();
                if packet.payload[1] & 0x80 != 0 {
                    self.state = ending(packet, down.timing);
                }
                Some(packet)
            }
            State::Ending {
                packet,
                left,
                pause_frames,
            } => {
                *left -= 1;
                let packet = EventPacket {
                    last: *left == 0,
                    ..*packet
                };
                if *left == 0 {
                    self.state = pause(*pause_frames);
                }
                Some(packet)
            }
            State::Pause { frames } => {
                *frames -= 1;
                if *frames == 0 {
                    self.state = State::Idle;
                }
                None
            }
        }
    }

    fn begin(&mut self, clocks: EventClocks, timestamp: u32) -> Option<EventPacket> {
        let (digit, timing) = match self.waiting.pop_front()? {
            DialStep::Key(digit, timing) => (digit, timing),
            DialStep::Wait(ms) => {
                // This frame is the first of it.
                self.state = pause(ms.div_ceil(FRAME_MS).saturating_sub(1));
                return None;
            }
        };
        let mut down = Down {
            digit,
            timing,
            clocks,
            frames: 0,
            segment: timestamp,
            earlier: 0,
        };
        let packet = down.next();
        // The shortest key takes two frames, so this is never its end.
        self.state = State::Down(down);
        Some(EventPacket {
            marker: true,
            ..packet
        })
    }
}

/// After the first packet of an end: its repetitions count as pause.
fn ending(packet: EventPacket, timing: KeyTiming) -> State {
    let pause_frames = timing.pause_ms().div_ceil(FRAME_MS);
    State::Ending {
        packet,
        left: END_PACKETS - 1,
        pause_frames: pause_frames.saturating_sub(END_PACKETS - 1),
    }
}

fn pause(frames: u32) -> State {
    match frames {
        0 => State::Idle,
        frames => State::Pause { frames },
    }
}

impl Down {
    /// The packet at the end of the next frame.
    fn next(&mut self) -> EventPacket {
        self.frames = self.frames.saturating_add(1);
        let held_ms = self
            .frames
            .saturating_mul(FRAME_MS)
            .min(self.timing.tone_ms());
        let units = u64::from(held_ms) * u64::from(self.clocks.events) / 1000;
        let held = u32::try_from(units)
            .unwrap_or(u32::MAX)
            .saturating_sub(self.earlier);
        let timestamp = self.segment;
        let (duration, end) = if held > LONGEST_SEGMENT {
            // Section 2.5.1.3: the full duration without the end bit, and the
            // rest in a segment that begins there.
            let EventClocks { events, stream } = self.clocks;
            let length = u64::from(LONGEST_SEGMENT) * u64::from(stream) / u64::from(events);
            self.segment = self.segment.wrapping_add(length as u32);
            self.earlier = self.earlier.saturating_add(LONGEST_SEGMENT);
            (LONGEST_SEGMENT, false)
        } else {
            (held, held_ms == self.timing.tone_ms())
        };
        let [_, _, high, low] = duration.to_be_bytes();
        let end_bit = if end { 0x80 } else { 0 };
        EventPacket {
            marker: false,
            timestamp,
            payload: [self.digit.event_code(), end_bit | VOLUME, high, low],
            last: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sound::dtmf::DtmfReport;
    use crate::sound::dtmf::event_receiver::{EventReceiver, ReceivedEvent};

    fn key(digit: &str) -> Digit {
        digit.parse().expect("a key")
    }

    /// The frames until the sender is idle: `-` for sound, otherwise the
    /// timestamp, the duration and the flags marker, end and last.
    fn frames(sender: &mut EventSender, clock_rate: u32) -> Vec<String> {
        frames_of(sender, EventClocks::same(clock_rate))
    }

    fn frames_of(sender: &mut EventSender, clocks: EventClocks) -> Vec<String> {
        let mut told = Vec::new();
        let mut timestamp = 1000;
        while !sender.is_idle() {
            told.push(match sender.frame(clocks, timestamp) {
                Some(packet) => {
                    let [code, flags, high, low] = packet.payload;
                    let duration = u16::from_be_bytes([high, low]);
                    let marker = if packet.marker { " M" } else { "" };
                    let end = if flags & 0x80 != 0 { " E" } else { "" };
                    let last = if packet.last { " last" } else { "" };
                    format!("{}:{code}+{duration}{marker}{end}{last}", packet.timestamp)
                }
                None => "-".to_owned(),
            });
            timestamp += clocks.stream / 50;
        }
        told
    }

    #[test]
    fn a_key_is_a_growing_event_with_its_end_three_times_and_a_pause() {
        let mut sender = EventSender::default();
        let timing = KeyTiming::new(70, 100).expect("a timing");
        sender.queue(key("5"), timing).expect("room");
        sender.queue(key("#"), timing).expect("room");
        assert_eq!(
            frames(&mut sender, 8000),
            [
                "1000:5+160 M",
                "1000:5+320",
                "1000:5+480",
                "1000:5+560 E",
                "1000:5+560 E",
                "1000:5+560 E last",
                "-",
                "-",
                "-",
                "2440:11+160 M",
                "2440:11+320",
                "2440:11+480",
                "2440:11+560 E",
                "2440:11+560 E",
                "2440:11+560 E last",
                "-",
                "-",
                "-",
            ]
        );
    }

    #[test]
    fn a_wait_is_frames_without_events_and_steps_are_queued_all_or_none() {
        let mut sender = EventSender::default();
        let timing = KeyTiming::new(40, 60).expect("a timing");
        let steps = [DialStep::Wait(50), DialStep::Key(key("9"), timing)];
        sender.queue_all(&steps).expect("room");
        assert_eq!(
            frames(&mut sender, 8000),
            [
                "-",
                "-",
                "-",
                "1480:9+160 M",
                "1480:9+320 E",
                "1480:9+320 E",
                "1480:9+320 E last",
                "-",
            ]
        );
        // All of them, or none.
        let many = [DialStep::Wait(500); MAX_QUEUED_KEYS];
        sender.queue_all(&steps).expect("room");
        assert_eq!(sender.queue_all(&many), Err(QueueFull));
        assert_eq!(frames(&mut sender, 8000).len(), 8);
    }

    #[test]
    fn a_key_too_long_for_the_duration_is_sent_in_segments() {
        let mut sender = EventSender::default();
        let timing = KeyTiming::new(1400, 50).expect("a timing");
        sender.queue(key("1"), timing).expect("room");
        let told = frames(&mut sender, 48000);
        // 1360 ms are 65280 units, 1380 ms 66240; all of it 67200.
        assert_eq!(
            told[67..],
            [
                "1000:1+65280",
                "1000:1+65535",
                "66535:1+1665 E",
                "66535:1+1665 E",
                "66535:1+1665 E last",
                "-",
            ]
        );
    }

    #[test]
    fn events_of_another_clock_are_on_the_timeline_of_their_stream() {
        let mut sender = EventSender::default();
        let timing = KeyTiming::new(40, 60).expect("a timing");
        sender.queue(key("1"), timing).expect("room");
        sender.queue(key("2"), timing).expect("room");
        let clocks = EventClocks {
            events: 8000,
            stream: 48000,
        };
        // 100 ms from key to key are 4800 units of the stream, each key 320 of
        // its own.
        assert_eq!(
            frames_of(&mut sender, clocks),
            [
                "1000:1+160 M",
                "1000:1+320 E",
                "1000:1+320 E",
                "1000:1+320 E last",
                "-",
                "5800:2+160 M",
                "5800:2+320 E",
                "5800:2+320 E",
                "5800:2+320 E last",
                "-",
            ]
        );
        // A segment of 65535 units at 48 kHz is 1365.3 ms, 10922 at 8 kHz.
        let timing = KeyTiming::new(1400, 50).expect("a timing");
        sender.queue(key("3"), timing).expect("room");
        let clocks = EventClocks {
            events: 48000,
            stream: 8000,
        };
        assert_eq!(
            frames_of(&mut sender, clocks)[68..70],
            ["1000:3+65535", "11922:3+1665 E"]
        );
    }

    #[test]
    fn our_receiver_hears_each_key_once_with_its_duration() {
        for clock_rate in [8000, 16000, 48000] {
            let mut sender = EventSender::default();
            let mut receiver = EventReceiver::default();
            let timing = KeyTiming::new(5000, 50).expect("a timing");
            for digit in Digit::ALL {
                sender.queue(digit, timing).expect("room");
            }
            let mut heard = Vec::new();
            let mut now = Instant::now();
            let mut timestamp = u32::MAX - 100_000;
            while !sender.is_idle() {
                if let Some(packet) = sender.frame(EventClocks::same(clock_rate), timestamp) {
                    let received = ReceivedEvent {
                        timestamp: packet.timestamp,
                        marker: packet.marker,
                        payload: &packet.payload,
                        clock_rate,
                    };
                    heard.extend(receiver.push(now, received).expect("a key"));
                }
                timestamp = timestamp.wrapping_add(clock_rate / 50);
                now += Duration::from_millis(20);
            }
            let expected: Vec<DtmfReport> = Digit::ALL
                .into_iter()
                .flat_map(|digit| {
                    let duration_ms = 5000;
                    [
                        DtmfReport::Begin(digit),
                        DtmfReport::End(crate::sound::dtmf::DtmfEvent { digit, duration_ms }),
                    ]
                })
                .collect();
            assert_eq!(heard, expected, "{clock_rate}");
        }
    }

    #[test]
    fn a_full_queue_takes_no_more_and_a_cleared_one_sends_only_what_is_down() {
        let mut sender = EventSender::default();
        for _ in 0..MAX_QUEUED_KEYS {
            assert_eq!(sender.queue(key("1"), KeyTiming::default()), Ok(()));
        }
        assert_eq!(sender.queue(key("1"), KeyTiming::default()), Err(QueueFull));
        assert!(sender.frame(EventClocks::same(8000), 0).is_some());
        sender.clear();
        let told = frames(&mut sender, 8000);
        assert_eq!(told.iter().filter(|frame| *frame != "-").count(), 6);
    }

    #[test]
    fn timings_that_receivers_miss_are_refused() {
        use crate::sound::dtmf::KeyTimingError::{Pause, Tone};
        assert_eq!(KeyTiming::new(39, 100), Err(Tone(39)));
        assert_eq!(KeyTiming::new(5001, 100), Err(Tone(5001)));
        assert_eq!(KeyTiming::new(100, 49), Err(Pause(49)));
        assert_eq!(
            Tone(39).to_string(),
            "a DTMF tone of 39 ms is not possible: use 40 to 5000"
        );
    }
}
