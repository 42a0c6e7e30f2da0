//! RFC 4733 telephone events in, one report per key out.
//!
//! A key arrives as many packets that say the same with a growing duration,
//! its end three times. Any of them may be lost, late or doubled; what comes
//! out is one begin and one end per key all the same.

use std::time::{Duration, Instant};

use thiserror::Error;

use super::{Digit, DtmfEvent, DtmfReport, Reports};

/// An event of which nothing came for this long has ended (RFC 4733 section
/// 2.5.2.2 leaves the time to the receiver). Six packets of 50 ms, the longest
/// interval that is usual.
pub const END_LOST_AFTER: Duration = Duration::from_millis(300);

/// How far back packets of events that are over are recognised as late ones. What
/// is older comes from a stream that started its timestamps anew.
const LATE_SECONDS: u32 = 10;

/// Longest duration of one segment, in timestamp units (section 2.5.1.3).
const LONGEST_SEGMENT: u32 = 0xffff;

/// Octets of an event (section 2.3).
const EVENT_LEN: usize = 4;

/// A packet with an event.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedEvent<'a> {
    /// RTP timestamp: when the event, or this segment of it, began.
    pub timestamp: u32,
    /// RTP marker: the first packet of an event.
    pub marker: bool,
    /// RTP payload.
    pub payload: &'a [u8],
    /// Of the payload type, in Hz.
    pub clock_rate: u32,
}

/// Why a packet says nothing about keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EventIgnored {
    /// Fewer than four octets.
    #[error("a telephone event of fewer than 4 octets")]
    TooShort,
    /// An event that is no key: a modem's or a line's tone.
    #[error("telephone event {0} is no key")]
    NotAKey(u8),
}

/// The keys of one incoming stream.
#[derive(Debug, Default)]
pub struct EventReceiver {
    held: Option<Held>,
    /// The last key that was reported to its end, to know its repetitions by.
    over: Option<Over>,
}

/// A key that is down.
#[derive(Debug)]
struct Held {
    digit: Digit,
    clock_rate: u32,
    /// When this segment began, in RTP time.
    timestamp: u32,
    /// The greatest duration that this segment stated.
    duration: u32,
    /// Timestamp units in earlier segments, or before the duration wrapped.
    earlier: u64,
    last_heard: Instant,
}

#[derive(Debug)]
struct Over {
    digit: Digit,
    timestamp: u32,
    /// How much after `timestamp` still belongs to it.
    duration: u32,
    last_heard: Instant,
}

/// The fields of the payload (section 2.3).
struct Event {
    code: u8,
    end: bool,
    duration: u32,
}

impl EventReceiver {
    /// Takes a packet. Packets of other streams (SSRCs) need a receiver each,
    /// or [`EventReceiver::reset`] in between.
    pub fn push(
        &mut self,
        now: Instant,
        packet: ReceivedEvent<'_>,
    ) -> Result<Reports, EventIgnored> {
        let event = Event::read(packet.payload)?;
        let digit = Digit::from_event_code(event.code).ok_or(EventIgnored::NotAKey(event.code))?;
        let mut reports = Reports::default();

        if let Some(held) = &mut self.held
            && held.take(now, digit, &event, &packet)
        {
            if event.end {
                self.finish(&mut reports);
            }
            return Ok(reports);
        }
        if self.is_late_or_repeated(now, digit, &event, &packet) {
            return Ok(reports);
        }
        // Section 2.5.2.2: a new event ends the one whose end was lost.
        self.finish(&mut reports);
        reports.add(DtmfReport::Begin(digit));
        self.held = Some(Held {
            digit,
            clock_rate: packet.clock_rate,
            timestamp: packet.timestamp,
            duration: event.duration,
            earlier: 0,
            last_heard: now,
        });
        // The end of an event all of whose other packets were lost.
        if event.end {
            self.finish(&mut reports);
        }
        Ok(reports)
    }

    /// When [`EventReceiver::expire`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let held = self.held.as_ref()?;
        Some(held.last_heard + END_LOST_AFTER)
    }

    /// Ends the key that was not heard of for [`END_LOST_AFTER`].
    pub fn expire(&mut self, now: Instant) -> Option<DtmfReport> {
        if self.next_timeout()? > now {
            return None;
        }
        let mut reports = Reports::default();
        self.finish(&mut reports);
        reports.into_iter().next()
    }

    /// Ends the key that is down, and forgets what came before: the stream is
    /// over, or another one takes its place.
    pub fn reset(&mut self) -> Option<DtmfReport> {
        let mut reports = Reports::default();
        self.finish(&mut reports);
        self.over = None;
        reports.into_iter().next()
    }

    fn finish(&mut self, reports: &mut Reports) {
        let Some(held) = self.held.take() else { return };
        reports.add(DtmfReport::End(DtmfEvent {
            digit: held.digit,
            duration_ms: held.duration_ms(),
        }));
        self.over = Some(Over {
            digit: held.digit,
            timestamp: held.timestamp,
            duration: held.duration,
            last_heard: held.last_heard,
        });
    }

    /// Whether the packet belongs to a key that was reported, or to one that
    /// should have been before what was: keys are never told out of order.
    fn is_late_or_repeated(
        &mut self,
        now: Instant,
        digit: Digit,
        event: &Event,
        packet: &ReceivedEvent<'_>,
    ) -> bool {
        let late = LATE_SECONDS.saturating_mul(packet.clock_rate);
        let is_late = |timestamp: u32| {
            let before = timestamp.wrapping_sub(packet.timestamp);
            before != 0 && before <= late
        };
        if self
            .held
            .as_ref()
            .is_some_and(|held| is_late(held.timestamp))
        {
            return true;
        }
        let Some(over) = &mut self.over else {
            return false;
        };
        let forgotten = over.last_heard + Duration::from_secs(u64::from(LATE_SECONDS));
        if now >= forgotten {
            self.over = None;
            return false;
        }
        if is_late(over.timestamp) {
            return true;
        }
        let since = packet.timestamp.wrapping_sub(over.timestamp);
        let repeated = digit == over.digit
            && since <= over.duration
            // The next press of the same key, right after.
            && !(packet.marker && since != 0 && since == over.duration);
        if repeated {
            // It may go on after its end was thought lost.
            over.duration = over.duration.max(since.saturating_add(event.duration));
            over.last_heard = now;
        }
        repeated
    }
}

impl Held {
    /// Takes the packet if it belongs to this key, or says that it does not.
    fn take(
        &mut self,
        now: Instant,
        digit: Digit,
        event: &Event,
        packet: &ReceivedEvent<'_>,
    ) -> bool {
        if digit != self.digit {
            return false;
        }
        let since = packet.timestamp.wrapping_sub(self.timestamp);
        if since == 0 {
            self.grow(event.duration);
        } else if since.is_multiple_of(LONGEST_SEGMENT)
            && since / LONGEST_SEGMENT <= 8
            && !packet.marker
        {
            // Section 2.5.1.3: the next segment of a long event begins where
            // the last one ended, without the marker. Some may have been lost.
            self.earlier = self.earlier.saturating_add(u64::from(since));
            self.timestamp = packet.timestamp;
            self.duration = event.duration;
        } else if since <= self.duration.saturating_add(packet.clock_rate / 50) && !packet.marker {
            // Against section 2.5.1.2 some move the timestamp with every
            // packet. A second press cannot begin before the first one ended.
            self.duration = self.duration.max(event.duration);
        } else {
            return false;
        }
        self.last_heard = now;
        true
    }

    /// The same segment with its duration; smaller when packets overtook each other.
    fn grow(&mut self, duration: u32) {
        const HIGH: u32 = 0xc000;
        const LOW: u32 = 0x4000;
        if self.duration >= HIGH && duration < LOW {
            // No segments, but a duration that started anew at 0.
            self.earlier = self.earlier.saturating_add(0x1_0000);
            self.duration = duration;
        } else if !(self.earlier > 0 && self.duration < LOW && duration >= HIGH) {
            self.duration = self.duration.max(duration);
        }
    }

    fn duration_ms(&self) -> u32 {
        let units = self.earlier.saturating_add(u64::from(self.duration));
        let ms = units.saturating_mul(1000) / u64::from(self.clock_rate.max(1));
        u32::try_from(ms).unwrap_or(u32::MAX)
    }
}

impl Event {
    /// Section 2.3. The reserved bit is not looked at (section 2.3.3), nor is
    /// the volume: a key counts however softly it is played. What follows the
    /// first event is padding, as keys are not packed together (section 2.5.1.5).
    fn read(payload: &[u8]) -> Result<Event, EventIgnored> {
        match payload.first_chunk::<EVENT_LEN>() {
            Some(&[code, flags, high, low]) => Ok(Event {
                code,
                end: flags & 0x80 != 0,
                duration: u32::from(u16::from_be_bytes([high, low])),
            }),
            None => Err(EventIgnored::TooShort),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A receiver that gets a packet every 20 ms, at 8000 Hz.
    struct Stream {
        receiver: EventReceiver,
        now: Instant,
    }

    impl Stream {
        fn new() -> Stream {
            Stream {
                receiver: EventReceiver::default(),
                now: Instant::now(),
            }
        }

        fn packet(&mut self, timestamp: u32, marker: bool, payload: [u8; 4]) -> String {
            self.now += Duration::from_millis(20);
            let packet = ReceivedEvent {
                timestamp,
                marker,
                payload: &payload,
                clock_rate: 8000,
            };
            tell(self.receiver.push(self.now, packet).expect("an event"))
        }

        fn first(&mut self, timestamp: u32, code: u8) -> String {
            self.packet(timestamp, true, [code, 10, 0, 160])
        }

        fn more(&mut self, timestamp: u32, code: u8, duration: u16) -> String {
            let [high, low] = duration.to_be_bytes();
            self.packet(timestamp, false, [code, 10, high, low])
        }

        fn end(&mut self, timestamp: u32, code: u8, duration: u16) -> String {
            let [high, low] = duration.to_be_bytes();
            self.packet(timestamp, false, [code, 0x80 | 10, high, low])
        }

        fn wait(&mut self, ms: u64) -> String {
            self.now += Duration::from_millis(ms);
            let report = self.receiver.expire(self.now);
            report.map(tell_one).unwrap_or_default()
        }
    }

    fn tell(reports: Reports) -> String {
        let texts: Vec<String> = reports.into_iter().map(tell_one).collect();
        texts.join(" ")
    }

    fn tell_one(report: DtmfReport) -> String {
        match report {
            DtmfReport::Begin(digit) => format!("{digit}v"),
            DtmfReport::End(event) => format!("{}^{}", event.digit, event.duration_ms),
        }
    }

    #[test]
    fn a_key_with_its_repeated_end_is_reported_once() {
        let mut stream = Stream::new();
        assert_eq!(stream.first(1000, 5), "5v");
        assert_eq!(stream.more(1000, 5, 320), "");
        assert_eq!(stream.end(1000, 5, 480), "5^60");
        assert_eq!(stream.end(1000, 5, 480), "");
        assert_eq!(stream.end(1000, 5, 480), "");
        assert_eq!(stream.first(2600, 5), "5v");
        assert_eq!(stream.end(2600, 5, 800), "5^100");
    }

    #[test]
    fn an_event_of_which_only_an_end_arrived_is_a_whole_one() {
        let mut stream = Stream::new();
        assert_eq!(stream.end(1000, 11, 800), "#v #^100");
        assert_eq!(stream.end(1000, 11, 800), "");
    }

    #[test]
    fn the_next_key_ends_one_whose_end_was_lost() {
        let mut stream = Stream::new();
        assert_eq!(stream.first(1000, 1), "1v");
        assert_eq!(stream.more(1000, 1, 640), "");
        assert_eq!(stream.first(2600, 2), "1^80 2v");
        // What comes late of the first is no third key.
        assert_eq!(stream.end(1000, 1, 800), "");
        assert_eq!(stream.end(2600, 2, 800), "2^100");
        assert_eq!(stream.end(1000, 1, 800), "");
    }

    #[test]
    fn the_same_key_again_is_another_press_although_the_end_and_the_start_were_lost() {
        let mut stream = Stream::new();
        assert_eq!(stream.first(1000, 1), "1v");
        assert_eq!(stream.more(2600, 1, 320), "1^20 1v");
        assert_eq!(stream.end(2600, 1, 800), "1^100");
    }

    #[test]
    fn a_key_of_which_nothing_more_is_heard_ends_by_time() {
        let mut stream = Stream::new();
        assert_eq!(stream.first(1000, 9), "9v");
        assert_eq!(stream.more(1000, 9, 400), "");
        assert_eq!(stream.wait(299), "");
        assert_eq!(stream.wait(1), "9^50");
        assert_eq!(stream.wait(1000), "");
        // Its end after all, and then another press.
        assert_eq!(stream.end(1000, 9, 800), "");
        assert_eq!(stream.first(12000, 9), "9v");
    }

    #[test]
    fn a_long_event_in_segments_is_one_key() {
        let mut stream = Stream::new();
        assert_eq!(stream.first(0xffff_f000, 3), "3v");
        assert_eq!(stream.more(0xffff_f000, 3, 0xffff), "");
        let second = 0xffff_f000_u32.wrapping_add(0xffff);
        assert_eq!(stream.more(second, 3, 160), "");
        // A late packet of the first segment, and a third one after losses.
        assert_eq!(stream.more(0xffff_f000, 3, 0xff00), "");
        let third = second.wrapping_add(0xffff);
        assert_eq!(stream.more(third, 3, 320), "");
        // 2 × 65535 + 8000 units of 1/8 ms.
        assert_eq!(stream.end(third, 3, 8000), "3^17383");
        assert_eq!(stream.end(third, 3, 8000), "");
    }

    #[test]
    fn a_duration_that_starts_anew_at_zero_goes_on_counting() {
        let mut stream = Stream::new();
        assert_eq!(stream.first(1000, 3), "3v");
        assert_eq!(stream.more(1000, 3, 0xffa0), "");
        assert_eq!(stream.more(1000, 3, 0x40), "");
        // Overtaken by the one before.
        assert_eq!(stream.more(1000, 3, 0xff00), "");
        assert_eq!(stream.end(1000, 3, 0x40), "3^8200");
    }

    #[test]
    fn a_sender_that_moves_the_timestamp_with_every_packet_presses_one_key() {
        let mut stream = Stream::new();
        assert_eq!(stream.first(1000, 7), "7v");
        assert_eq!(stream.more(1160, 7, 320), "");
        assert_eq!(stream.more(1320, 7, 480), "");
        assert_eq!(stream.end(1480, 7, 640), "7^80");
        assert_eq!(stream.end(1640, 7, 640), "");
        assert_eq!(stream.end(1640, 7, 640), "");
    }

    #[test]
    fn packets_in_the_wrong_order_keep_the_longest_duration() {
        let mut stream = Stream::new();
        assert_eq!(stream.more(1000, 0, 480), "0v");
        assert_eq!(stream.first(1000, 0), "");
        assert_eq!(stream.end(1000, 0, 640), "0^80");
        assert_eq!(stream.more(1000, 0, 320), "");
    }

    #[test]
    fn a_stream_with_new_timestamps_is_heard_at_once_after_a_reset_or_a_while() {
        let mut stream = Stream::new();
        assert_eq!(stream.first(100_000, 1), "1v");
        assert_eq!(stream.receiver.reset().map(tell_one), Some("1^20".into()));
        assert_eq!(stream.first(90_000, 1), "1v");
        assert_eq!(stream.end(90_000, 1, 800), "1^100");
        stream.wait(10_000);
        assert_eq!(stream.first(50_000, 1), "1v");
    }

    #[test]
    fn the_reserved_bit_and_octets_behind_the_event_change_nothing() {
        let mut receiver = EventReceiver::default();
        let packet = ReceivedEvent {
            timestamp: 0,
            marker: true,
            payload: &[16, 0xc0 | 0x3f, 0, 160, 1, 2],
            clock_rate: 8000,
        };
        let reports = receiver.push(Instant::now(), packet).expect("an event");
        assert_eq!(tell(reports), "flashv flash^20");
    }

    #[test]
    fn short_payloads_and_other_events_have_their_reason() {
        let mut receiver = EventReceiver::default();
        let mut push = |payload: &[u8]| {
            let packet = ReceivedEvent {
                timestamp: 0,
                marker: true,
                payload,
                clock_rate: 8000,
            };
            receiver.push(Instant::now(), packet)
        };
        assert_eq!(push(&[5, 0, 0]), Err(EventIgnored::TooShort));
        assert_eq!(push(&[36, 0, 0, 160]), Err(EventIgnored::NotAKey(36)));
    }
}
