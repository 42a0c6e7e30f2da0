//! From packets to frames: one incoming stream of a leg, whatever the network
//! did to it, becomes exactly one frame of 20 ms each time it is asked.
//!
//! The delay is kept as short as the measured jitter allows. How it changes:
//! a pitch period is left out or repeated, so that speech keeps its pitch. A
//! sender whose clock runs faster or slower is followed by the same means.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`jitter_buffer`] | packets in order until their turn |
//! | [`delay`] | how long they are to wait |
//! | [`playout`] | whose turn it is, and what to do when nobody is there |
//! | [`sound_queue`] | decoded sound that is not yet handed out |
//! | [`time_scaling`] | leaving out and repeating pitch periods |
//! | [`captured`] | decoded sound with its place in the sender's time |
//! | [`statistics`] | what is counted |

pub mod captured;
pub mod delay;
pub mod jitter_buffer;
mod playout;
mod sound_queue;
pub mod statistics;
#[cfg(test)]
mod tests;
pub mod time_scaling;

use std::time::{Duration, Instant};

use self::captured::Capture;
use self::delay::DelayEstimate;
use self::jitter_buffer::{Header, Inserted, JitterBuffer};
use self::playout::Playout;
use self::sound_queue::SoundQueue;
pub use self::statistics::ReceiverStatistics;
use super::codec::{AudioCodec, Decoder};
use super::comfort_noise::{self, ComfortNoise};
use super::format::{FRAME_MS, SampleRate};

/// Beyond the maximum delay by this, a timestamp is not late but of another
/// clock, in µs.
const CLOCK_JUMP: i64 = 500_000;
/// Sequence numbers may go forward and back by this much (RFC 3550 appendix
/// A.1); beyond it two in a row make a new beginning.
const MAX_DROPOUT: i64 = 3000;
const MAX_MISORDER: i64 = 100;
/// A lost packet that comes back out of the next one's FEC weighs as much as so
/// many that are late. To wait for the next one costs 20 ms, which nobody hears;
/// a gap is heard. So it is waited for from 0.8 % of loss on.
const FEC_WEIGHT: i64 = 4;

/// A packet as it came, with what its payload type stands for.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'p> {
    /// When it came.
    pub arrival: Instant,
    /// From the RTP header.
    pub ssrc: u32,
    /// From the RTP header.
    pub sequence: u16,
    /// From the RTP header, in units of the content's RTP clock.
    pub timestamp: u32,
    /// From the RTP header: the first packet after a pause (RFC 3551 section 4.1).
    pub marker: bool,
    /// What the payload is.
    pub content: Content,
    /// The payload without padding.
    pub payload: &'p [u8],
}

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Sound, coded with this.
    Sound(AudioCodec),
    /// What the background sounds like until sound comes again (RFC 3389).
    ComfortNoise,
}

impl Content {
    /// RTP clock rate in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            Content::Sound(codec) => codec.clock_rate(),
            Content::ComfortNoise => comfort_noise::CLOCK_RATE,
        }
    }
}

/// Bounds of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverSettings {
    /// Packets wait at least this long, however even they come.
    pub minimum_delay: Duration,
    /// Packets wait at most this long. What comes later is not played, unless
    /// there is nothing else. At most 997 ms.
    pub maximum_delay: Duration,
    /// Packets that may wait, from 16 to 1024; made a power of two. One that
    /// comes to a full buffer pushes out the oldest.
    pub capacity: usize,
}

impl Default for ReceiverSettings {
    fn default() -> ReceiverSettings {
        ReceiverSettings {
            minimum_delay: Duration::ZERO,
            maximum_delay: Duration::from_millis(400),
            capacity: 128,
        }
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// At least some of it was received, and nothing of it is made up.
    Speech,
    /// Some of it stands in for what is missing.
    Concealed,
    /// The sender pauses and said what the background sounds like.
    ComfortNoise,
    /// Nothing is sent: all samples are zero, but for the end of a fade.
    Silence,
}

/// What makes the packets one stream.
#[derive(Debug, Clone, Copy)]
struct Stream {
    ssrc: u32,
    clock_rate: u32,
    /// Highest sequence number that came, without wrap.
    highest: i64,
    /// Timestamp of the last packet in order, without wrap.
    timestamp: i64,
    /// A sequence number that would prove that a strange one before it was
    /// meant (RFC 3550 appendix A.1).
    strange: Option<u16>,
}

/// Receives one stream. Bounded: `capacity` packets of at most 1500 bytes and
/// 240 ms of sound.
pub struct Receiver {
    rate: SampleRate,
    decoder: Option<Decoder>,
    /// Makes comfort noise, once there was any.
    noise: Option<Box<ComfortNoise>>,
    epoch: Option<Instant>,
    stream: Option<Stream>,
    buffer: JitterBuffer,
    delay: DelayEstimate,
    playout: Playout,
    queue: SoundQueue,
    capture: Capture,
    statistics: ReceiverStatistics,
}

impl Receiver {
    /// A receiver whose frames have this rate.
    pub fn new(rate: SampleRate, settings: ReceiverSettings) -> Receiver {
        Receiver {
            rate,
            decoder: None,
            noise: None,
            epoch: None,
            stream: None,
            buffer: JitterBuffer::new(settings.capacity),
            delay: DelayEstimate::new(settings.minimum_delay, settings.maximum_delay),
            playout: Playout::default(),
            queue: SoundQueue::new(rate),
            capture: Capture::default(),
            statistics: ReceiverStatistics::default(),
        }
    }

    /// Takes a packet. One that cannot be used is counted and forgotten.
    pub fn push(&mut self, packet: Incoming<'_>) {
        self.statistics.received += 1;
        let arrival = self.micros(packet.arrival);
        let clock_rate = packet.content.clock_rate();
        let mut stream = match self.stream {
            Some(stream) if stream.ssrc == packet.ssrc => stream,
            _ => self.start(&packet, 0),
        };
        let step = i64::from(packet.sequence.wrapping_sub(stream.highest as u16) as i16);
        if !(-MAX_MISORDER..=MAX_DROPOUT).contains(&step) {
            if stream.strange != Some(packet.sequence) {
                stream.strange = Some(packet.sequence.wrapping_add(1));
                self.stream = Some(stream);
                self.statistics.discarded += 1;
                return;
            }
            stream = self.start(&packet, stream.highest);
        } else if stream.clock_rate != clock_rate {
            // Timestamps of two clocks cannot be compared (RFC 7160 section
            // 4.1), so what is left of the first clock is given up.
            if step <= 0 {
                self.statistics.late += 1;
                return;
            }
            stream = self.start(&packet, stream.highest + step - 1);
        }
        stream.strange = None;
        self.stream = Some(stream);

        let step = i64::from(packet.sequence.wrapping_sub(stream.highest as u16) as i16);
        let sequence = stream.highest + step;
        if sequence <= stream.highest - self.buffer.capacity() {
            self.statistics.late += 1;
            return;
        }
        if self.buffer.has_seen(sequence) {
            self.statistics.duplicates += 1;
            return;
        }
        let since = packet.timestamp.wrapping_sub(stream.timestamp as u32) as i32;
        let timestamp = stream.timestamp + i64::from(since);
        let media = media_micros(timestamp, clock_rate);
        if step > 0
            && let Some(delay) = self.delay.behind(arrival, media)
            && delay.abs() > self.delay.maximum() + CLOCK_JUMP
        {
            stream = self.start(&packet, stream.highest + step - 1);
            self.stream = Some(stream);
            self.insert(&packet, stream.highest + 1, stream.timestamp, arrival);
            return;
        }
        self.insert(&packet, sequence, timestamp, arrival);
    }

    fn insert(&mut self, packet: &Incoming<'_>, sequence: i64, timestamp: i64, arrival: i64) {
        let media = media_micros(timestamp, packet.content.clock_rate());
        let duration = self.playout.packet_micros();
        self.delay.update(arrival, media, duration);
        let follows_a_gap = self.stream.is_some_and(|s| sequence == s.highest + 2);
        if follows_a_gap
            && let Content::Sound(codec) = packet.content
            && codec.has_fec(packet.payload)
        {
            // The lost one comes with this one: that late.
            let media = media - duration;
            self.delay.update(arrival, media, duration * FEC_WEIGHT);
        }
        if let Some(stream) = &mut self.stream {
            if sequence > stream.highest {
                stream.highest = sequence;
                stream.timestamp = timestamp;
            } else {
                self.statistics.reordered += 1;
            }
        }
        let header = Header {
            sequence,
            timestamp,
            content: packet.content,
            marker: packet.marker,
        };
        if self.playout.has_passed(sequence) {
            // It was taken for lost when its turn came.
            self.statistics.lost = self.statistics.lost.saturating_sub(1);
            self.statistics.late += 1;
            return self.buffer.remember(header);
        }
        match self.buffer.insert(header, packet.payload) {
            Inserted::Stored => {}
            Inserted::Replaced => self.statistics.discarded += 1,
            Inserted::TooLong => self.statistics.invalid += 1,
        }
    }

    /// Begins with this packet: what waits is given up, what plays fades. The
    /// packet itself comes after `highest`.
    fn start(&mut self, packet: &Incoming<'_>, highest: i64) -> Stream {
        if let Some(stream) = self.stream {
            self.statistics.restarts += 1;
            self.statistics.discarded += self.buffer.len() as u64;
            if stream.ssrc != packet.ssrc {
                self.decoder = None;
                self.noise = None;
            }
            self.queue.fade_out();
        }
        self.buffer.clear();
        self.delay.forget_clock();
        self.playout.start_anew(&mut self.statistics);
        // The low bits are the packet's own, so that the next step is 1.
        let before = i64::from(packet.sequence.wrapping_sub(1));
        let cycles = (highest >> 16) + 1;
        let stream = Stream {
            ssrc: packet.ssrc,
            clock_rate: packet.content.clock_rate(),
            highest: (cycles << 16) + before,
            timestamp: i64::from(packet.timestamp),
            strange: None,
        };
        self.stream = Some(stream);
        stream
    }

    /// Appends exactly one frame of 20 ms to `out` and says what it is.
    pub fn frame(&mut self, now: Instant, out: &mut Vec<i16>) -> Frame {
        let now = self.micros(now);
        self.capture.clear();
        let frame = self.play(now);
        self.queue.take_frame(out);
        self.statistics.total += Duration::from_millis(u64::from(FRAME_MS));
        frame
    }

    /// From the next frame on, samples are at this rate. Packets that wait
    /// stay; the decoder is made anew.
    pub fn set_rate(&mut self, rate: SampleRate) {
        if rate == self.rate {
            return;
        }
        self.rate = rate;
        self.decoder = None;
        if let Some(noise) = &mut self.noise {
            noise.set_rate(rate);
        }
        self.queue.set_rate(rate);
    }

    /// Counters so far and the delay now.
    pub fn statistics(&self) -> ReceiverStatistics {
        ReceiverStatistics {
            target_delay: micros(self.delay.target()),
            current_delay: micros(self.playout.delay()),
            ..self.statistics
        }
    }

    /// Time since the first packet or frame, in µs; negative for what an
    /// earlier reading of the clock has.
    fn micros(&mut self, at: Instant) -> i64 {
        let epoch = *self.epoch.get_or_insert(at);
        let signed = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        match at.checked_duration_since(epoch) {
            Some(after) => signed(after),
            None => -signed(epoch.duration_since(at)),
        }
    }
}

/// Where a timestamp lies in the stream's own time, in µs.
fn media_micros(timestamp: i64, clock_rate: u32) -> i64 {
    timestamp * 1000 / i64::from(clock_rate / 1000)
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
