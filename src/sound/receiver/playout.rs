//! Whose turn it is, and what to do when nobody is there.

use std::time::Duration;

use super::jitter_buffer::Header;
use super::statistics::ReceiverStatistics;
use super::time_scaling::{self, Likeness};
use super::{Content, Frame, Receiver, media_micros};
use crate::sound::codec::{AudioCodec, Decoder};
use crate::sound::comfort_noise::{ComfortNoise, NoiseDescription};

/// Concealment goes on for this long at most and fades at its end, in µs.
const CONCEAL: i64 = 120_000;
/// A decoder's own background goes on for this long without a packet, in µs.
/// Opus sends one every 400 ms of a pause.
const COMFORT: i64 = 2_000_000;
/// A frame's length, in µs.
const FRAME: i64 = 20_000;
/// The delay is shortened only if it then exceeds the target by this, in µs.
const SLACK: i64 = 2_000;
/// Beyond this much too long or too short, a seam may be heard, in µs.
const HURRY: i64 = 60_000;
/// A gap shorter than this is none, in µs.
const LEAST_GAP: i64 = 1_000;
/// Frames with a new packet between two attempts that are not in a hurry.
const RECENT: usize = 3;

/// What is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Nothing: the next packet waits until its time has come.
    #[default]
    Waiting,
    /// One packet after the other.
    Playing,
}

/// What stands in while the sender pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Background {
    /// It has said nothing of a pause.
    #[default]
    Unknown,
    /// The decoder goes on with it (Opus DTX).
    Decoder,
    /// It was described (RFC 3389), and goes on until sound comes: section 4
    /// leaves open how often it is described anew.
    Described,
}

/// Where the stream stands.
#[derive(Debug, Default)]
pub struct Playout {
    state: State,
    /// Sequence number of the packet that is next. None before the first.
    next_sequence: Option<i64>,
    /// Its timestamp, if there is no gap.
    next_timestamp: i64,
    /// What stood in for packets from `next_timestamp` on, in µs.
    ahead: i64,
    /// Silence since then, in µs.
    silent: i64,
    /// How long there was no packet, in µs.
    without: i64,
    /// What the last packet said of a pause.
    background: Background,
    /// The next packet is the first after a pause.
    paused: bool,
    /// What comes next does not follow from what went before.
    seam: bool,
    /// Duration of the last packet, in µs.
    packet: i64,
    /// Of the last packet that was decoded for a frame: by how much its turn
    /// came later than the fastest packet's time, and what waited before it.
    slack: i64,
    waited: i64,
    /// The same of the last frames since the delay was changed. Packets that
    /// are not a whole number of frames have their turn now early, now late.
    recent: [(i64, i64); RECENT],
    known: usize,
    /// Delay of what plays, in µs.
    delay: i64,
}

impl Playout {
    pub fn delay(&self) -> i64 {
        self.delay
    }

    pub fn packet_micros(&self) -> i64 {
        if self.packet > 0 { self.packet } else { FRAME }
    }

    /// True if this packet's turn is over.
    pub fn has_passed(&self, sequence: i64) -> bool {
        self.next_sequence.is_some_and(|next| sequence < next)
    }

    /// The stream begins anew. How long it was silent before is nobody's loss.
    pub fn start_anew(&mut self, statistics: &mut ReceiverStatistics) {
        self.silent = 0;
        self.settle(statistics, true);
        *self = Playout {
            packet: self.packet,
            delay: self.delay,
            seam: true,
            ..Playout::default()
        };
    }

    /// What stood in for packets was concealment, or the begin of a pause.
    fn settle(&mut self, statistics: &mut ReceiverStatistics, concealment: bool) {
        if concealment && self.background == Background::Unknown {
            let concealed = (self.ahead + self.silent).max(0);
            statistics.concealed += Duration::from_micros(concealed as u64);
        }
        self.ahead = 0;
        self.silent = 0;
    }
}

/// What the samples of one frame are made of.
#[derive(Debug, Default)]
struct Made {
    speech: bool,
    concealed: bool,
    comfort: bool,
    decoded: bool,
}

impl Receiver {
    /// Fills the queue with at least a frame.
    pub(super) fn play(&mut self, now: i64) -> Frame {
        let mut made = Made {
            speech: self.queue.len() > 0 && self.playout.state == State::Playing,
            ..Made::default()
        };
        while self.queue.missing() > 0 {
            self.play_next(now, &mut made);
        }
        if made.decoded && !made.concealed && self.playout.state == State::Playing {
            self.follow_target(now, &mut made);
        }
        if made.concealed {
            Frame::Concealed
        } else if made.speech {
            Frame::Speech
        } else if made.comfort {
            Frame::ComfortNoise
        } else {
            Frame::Silence
        }
    }

    /// Appends something to the queue, or takes a packet out of the buffer.
    fn play_next(&mut self, now: i64, made: &mut Made) {
        let Some(packet) = self.buffer.front() else {
            return self.run_dry(made);
        };
        let behind = self.behind(now, &packet);
        if behind > self.delay.maximum() && self.buffer.len() > 1 {
            return self.skip(&packet);
        }
        let next = *self.playout.next_sequence.get_or_insert(packet.sequence);
        match self.playout.state {
            State::Waiting if behind < self.delay.target() => self.pause(made),
            State::Waiting => {
                let missing = packet.sequence - next;
                self.statistics.lost += missing.max(0) as u64;
                let gap = self.media_between(self.playout.next_timestamp, &packet);
                let pause = missing == 0 && gap >= self.playout.ahead;
                self.playout.settle(&mut self.statistics, !pause);
                self.playout.paused |= pause && gap >= LEAST_GAP;
                self.playout.state = State::Playing;
                self.decode(now, &packet, made);
            }
            State::Playing => self.take_turn(now, &packet, next, made),
        }
    }

    /// The packet is the first that is there; is there a gap before it?
    fn take_turn(&mut self, now: i64, packet: &Header, next: i64, made: &mut Made) {
        let missing = (packet.sequence - next).max(0) as u64;
        let gap = self.media_between(self.playout.next_timestamp, packet) - self.playout.ahead;
        if gap < LEAST_GAP {
            self.statistics.lost += missing;
            self.playout.settle(&mut self.statistics, true);
            return self.decode(now, packet, made);
        }
        if missing == 0 {
            // Timestamps jump and sequence numbers do not: the sender paused
            // (RFC 3551 section 4.1).
            self.playout.settle(&mut self.statistics, false);
            self.playout.paused = true;
            self.playout.next_timestamp = packet.timestamp;
            self.playout.state = State::Waiting;
            return;
        }
        if self.playout.without >= CONCEAL {
            self.playout.state = State::Waiting;
            return;
        }
        let last = self.playout.packet_micros();
        if gap <= last && self.recover(packet, gap, made) {
            self.statistics.lost += missing - 1;
            self.statistics.recovered += 1;
            self.playout.settle(&mut self.statistics, true);
            self.playout.next_sequence = Some(packet.sequence);
            self.playout.next_timestamp = packet.timestamp;
            return;
        }
        let before_last = if gap > last { gap - last } else { gap };
        self.conceal(before_last.min(FRAME), made);
    }

    /// Sound of the lost packet before this one, from this one.
    fn recover(&mut self, packet: &Header, gap: i64, made: &mut Made) -> bool {
        let samples = self.samples_of(gap);
        let start = self.queue.len();
        let Some(decoder) = &mut self.decoder else {
            return false;
        };
        if packet.content != Content::Sound(decoder.codec()) {
            return false;
        }
        let payload = self.buffer.payload(packet.sequence);
        let queue = self.queue.samples();
        match decoder.decode_fec(payload, samples, queue) {
            Ok(appended) if appended > 0 => {
                self.playout.without = 0;
                made.speech = true;
                if std::mem::take(&mut self.playout.seam) {
                    self.queue.join(start);
                }
                let media = self.media_of(packet.timestamp) - gap;
                let sound = &self.queue.samples()[start..];
                self.capture.add(media, false, sound);
                true
            }
            _ => {
                self.queue.samples().truncate(start);
                false
            }
        }
    }

    /// It is this packet's turn.
    fn decode(&mut self, now: i64, packet: &Header, made: &mut Made) {
        let after_pause = std::mem::take(&mut self.playout.paused);
        self.playout.slack = self.behind(now, packet);
        self.playout.waited = self.micros_of(self.queue.len());
        self.playout.delay = self.playout.slack + self.playout.waited;
        self.playout.next_sequence = Some(packet.sequence + 1);
        self.playout.next_timestamp = packet.timestamp;
        let payload = self.buffer.take(packet.sequence);
        match packet.content {
            Content::Sound(codec) => {
                self.decode_payload(packet, codec, &payload, after_pause, made);
            }
            Content::ComfortNoise => self.describe_background(&payload, made),
        }
        self.buffer.recycle(payload);
    }

    fn decode_payload(
        &mut self,
        packet: &Header,
        codec: AudioCodec,
        payload: &[u8],
        after_pause: bool,
        made: &mut Made,
    ) {
        let start = self.queue.len();
        if !self.prepare_decoder(codec) {
            self.statistics.invalid += 1;
            return;
        }
        let Some(decoder) = &mut self.decoder else {
            return;
        };
        let queue = self.queue.samples();
        let samples = match decoder.decode(payload, queue) {
            Ok(samples) => samples,
            Err(_) => {
                queue.truncate(start);
                self.statistics.invalid += 1;
                return;
            }
        };
        let clock = i64::from(codec.clock_rate());
        let units = match decoder.duration(payload) {
            Some(units) => i64::from(units),
            None => samples as i64 * clock / i64::from(self.rate.hertz()),
        };
        self.playout.next_timestamp = packet.timestamp + units;
        self.playout.packet = units * 1_000_000 / clock;
        self.playout.without = 0;
        // Sound does not follow from noise.
        self.playout.seam |= self.playout.background == Background::Described;
        // An empty packet, or one in the midst of a pause, which says what the
        // background sounds like now (RFC 7587 section 3.1.3).
        let pauses = matches!(codec, AudioCodec::Opus(_))
            && (payload.len() <= 2 || (after_pause && !packet.marker));
        self.playout.background = match pauses {
            true => Background::Decoder,
            false => Background::Unknown,
        };
        made.speech |= !pauses;
        made.comfort |= pauses;
        made.decoded = true;
        if std::mem::take(&mut self.playout.seam) {
            self.queue.join(start);
        }
        let media = media_micros(packet.timestamp, packet.content.clock_rate());
        let sound = &self.queue.samples()[start..];
        self.capture.add(media, false, sound);
    }

    /// The sender pauses, and says what its background sounds like. The packet
    /// has no length of its own: the next has its turn when its time comes.
    fn describe_background(&mut self, payload: &[u8], made: &mut Made) {
        let Some(description) = NoiseDescription::read(payload) else {
            self.statistics.invalid += 1;
            return;
        };
        let rate = self.rate;
        // Another seed for another stream.
        let seed = self.stream.map_or(0, |stream| u64::from(stream.ssrc));
        let noise = self.noise.get_or_insert_with(|| {
            let noise = ComfortNoise::new(rate, seed);
            Box::new(noise)
        });
        noise.describe(&description);
        self.playout.seam |= self.playout.background != Background::Described;
        self.playout.background = Background::Described;
        self.playout.without = 0;
        self.playout.state = State::Waiting;
        made.comfort = true;
    }

    /// Nothing waits.
    fn run_dry(&mut self, made: &mut Made) {
        let missing = self.micros_of(self.queue.missing());
        let limit = match self.playout.background {
            Background::Unknown => CONCEAL,
            Background::Decoder => COMFORT,
            // Nothing is to be concealed.
            Background::Described => 0,
        };
        if self.decoder.is_some()
            && self.playout.next_sequence.is_some()
            && self.playout.without < limit
        {
            return self.conceal(missing, made);
        }
        self.playout.state = State::Waiting;
        self.pause(made);
    }

    /// Something like what was before stands in for `duration` of it.
    fn conceal(&mut self, duration: i64, made: &mut Made) {
        let samples = self.samples_of(duration).max(1);
        if self.playout.background == Background::Described {
            return self.go_on_with_noise(samples, made);
        }
        let start = self.queue.len();
        let Some(decoder) = &mut self.decoder else {
            self.playout.state = State::Waiting;
            self.playout.background = Background::Unknown;
            return self.pause(made);
        };
        decoder.conceal(samples, self.queue.samples());
        let appended = self.queue.len().saturating_sub(start);
        if appended < samples {
            self.queue.silence(samples - appended);
        }
        let duration = self.micros_of(samples);
        let stood_in = self.playout.ahead + self.playout.silent;
        self.playout.without += duration;
        self.playout.ahead += duration;
        if std::mem::take(&mut self.playout.seam) {
            self.queue.join(start);
        }
        if self.playout.background == Background::Decoder {
            made.comfort = true;
        } else {
            made.concealed = true;
            if self.playout.without >= CONCEAL {
                self.queue.fade_from(start);
                self.playout.seam = true;
            }
        }
        let media = self.media_of(self.playout.next_timestamp) + stood_in;
        let sound = &self.queue.samples()[start..];
        self.capture.add(media, true, sound);
    }

    /// So many samples of the background as it was described.
    fn go_on_with_noise(&mut self, samples: usize, made: &mut Made) {
        let start = self.queue.len();
        match &mut self.noise {
            Some(noise) => noise.fill(samples, self.queue.samples()),
            None => self.queue.silence(samples),
        }
        let duration = self.micros_of(samples);
        let stood_in = self.playout.ahead + self.playout.silent;
        self.playout.without += duration;
        self.playout.ahead += duration;
        if std::mem::take(&mut self.playout.seam) {
            self.queue.join(start);
        }
        made.comfort = true;
        let media = self.media_of(self.playout.next_timestamp) + stood_in;
        let sound = &self.queue.samples()[start..];
        self.capture.add(media, true, sound);
    }

    /// Silence, or the background the sender described, until a frame is full.
    fn pause(&mut self, made: &mut Made) {
        let missing = self.queue.missing();
        let start = self.queue.len();
        let goes_on = match self.playout.background {
            Background::Unknown => false,
            Background::Decoder => self.playout.without < COMFORT && self.decoder.is_some(),
            Background::Described => return self.go_on_with_noise(missing, made),
        };
        if goes_on {
            return self.conceal(self.micros_of(missing), made);
        }
        self.queue.silence(missing);
        self.playout.silent += self.micros_of(missing);
        if !self.playout.seam {
            self.queue.join(start);
        }
        self.playout.seam = true;
    }

    /// The packet comes too late to be played within the maximum delay.
    fn skip(&mut self, packet: &Header) {
        self.buffer.remove(packet.sequence);
        self.statistics.late += 1;
        if let Some(next) = self.playout.next_sequence {
            self.statistics.lost += (packet.sequence - next).max(0) as u64;
        }
        self.playout.next_sequence = Some(packet.sequence + 1);
        self.playout.state = State::Waiting;
        self.playout.next_timestamp = packet.timestamp;
    }

    /// Leaves out or repeats a pitch period if the delay is not what it should be.
    fn follow_target(&mut self, now: i64, made: &mut Made) {
        let target = self.delay.target();
        let playout = &mut self.playout;
        playout.recent[playout.known % RECENT] = (playout.slack, playout.waited);
        playout.known += 1;
        // A whole packet, or a whole frame of a longer one, earlier or later.
        let step = playout.packet_micros().min(FRAME);
        let excess = playout.slack - step - target - SLACK;
        let hurry = excess > HURRY || target - playout.slack > HURRY;
        if playout.known < RECENT && !hurry {
            return;
        }
        let (mut slack, mut waited) = (playout.slack, playout.waited);
        for &(its_slack, it_waited) in playout.recent.iter().take(playout.known) {
            slack = slack.min(its_slack);
            waited = waited.min(it_waited);
        }
        let (likeness, excess) = if hurry {
            (Likeness::URGENT, excess)
        } else {
            (Likeness::GENTLE, slack - step - target - SLACK)
        };
        if slack < target && excess < 0 {
            self.lengthen(likeness);
        } else if excess >= 0 {
            // Packets are early enough for one of them to have its turn now.
            self.play_ahead(now, made);
            self.shorten(waited + step, likeness);
        } else if waited >= FRAME / 2 {
            // What waits may go at no risk.
            self.shorten(waited, likeness);
        }
    }

    fn lengthen(&mut self, likeness: Likeness) {
        let most = self.samples_of(FRAME);
        let rate = self.rate;
        let added = time_scaling::lengthen(self.queue.samples(), rate, most, likeness);
        self.statistics.expansions += u64::from(added > 0);
        self.playout.known = 0;
    }

    /// Leaves out at most `most` µs, of what is more than a frame.
    fn shorten(&mut self, most: i64, likeness: Likeness) {
        let spare = self.queue.len().saturating_sub(self.rate.frame_samples());
        let most = self.samples_of(most).min(spare);
        let rate = self.rate;
        let removed = time_scaling::shorten(self.queue.samples(), rate, most, likeness);
        self.statistics.accelerations += u64::from(removed > 0);
        self.playout.known = 0;
    }

    /// Decodes the next packet before its turn if it is there.
    fn play_ahead(&mut self, now: i64, made: &mut Made) {
        let Some(packet) = self.buffer.front() else {
            return;
        };
        if self.playout.next_sequence == Some(packet.sequence)
            && packet.timestamp == self.playout.next_timestamp
            && self.queue.len() < 2 * self.rate.frame_samples()
        {
            self.decode(now, &packet, made);
        }
    }

    fn prepare_decoder(&mut self, codec: AudioCodec) -> bool {
        if self.decoder.as_ref().is_some_and(|d| d.codec() == codec) {
            return true;
        }
        self.playout.seam = true;
        self.decoder = Decoder::new(codec, self.rate).ok();
        self.decoder.is_some()
    }

    fn behind(&self, now: i64, packet: &Header) -> i64 {
        let media = media_micros(packet.timestamp, packet.content.clock_rate());
        self.delay.behind(now, media).unwrap_or(0)
    }

    fn media_of(&self, timestamp: i64) -> i64 {
        let clock = self.stream.map_or(8000, |stream| stream.clock_rate);
        media_micros(timestamp, clock)
    }

    fn media_between(&self, timestamp: i64, packet: &Header) -> i64 {
        media_micros(packet.timestamp - timestamp, packet.content.clock_rate())
    }

    fn samples_of(&self, micros: i64) -> usize {
        (micros.max(0) * i64::from(self.rate.hertz()) / 1_000_000) as usize
    }

    fn micros_of(&self, samples: usize) -> i64 {
        samples as i64 * 1_000_000 / i64::from(self.rate.hertz())
    }
}
