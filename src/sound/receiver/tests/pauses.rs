//! Senders that pause and say what their background sounds like (RFC 3389).

use super::*;
use crate::sound::codec::Encoder;
use crate::sound::comfort_noise::level_of;

/// Packets of speech before the pause, and of time in it.
const SPEECH: u32 = 100;
const PAUSE: u32 = 300;

/// A sender in simulated time, and what its listener heard.
struct Line {
    receiver: Receiver,
    begin: Instant,
    codec: AudioCodec,
    tone: Vec<u8>,
    /// Packets' time since the beginning, and packets sent.
    time: u32,
    sequence: u16,
    kinds: Vec<Frame>,
    heard: Vec<i16>,
}

impl Line {
    fn new(codec: AudioCodec, rate: SampleRate) -> Line {
        let native = codec.native_rate();
        // A whole number of turns in a packet: every packet is the same.
        let tone: Vec<i16> = (0..native.frame_samples())
            .map(|n| {
                let turn = n as f64 / native.frame_samples() as f64 * 10.0;
                ((turn * std::f64::consts::TAU).sin() * 8000.0) as i16
            })
            .collect();
        let mut payload = [0; 1500];
        let mut encoder = Encoder::new(codec, native).unwrap();
        let length = encoder.encode(&tone, &mut payload).unwrap();
        Line {
            receiver: Receiver::new(rate, ReceiverSettings::default()),
            begin: Instant::now(),
            codec,
            tone: payload[..length].to_vec(),
            time: 0,
            sequence: 65_500,
            kinds: Vec::new(),
            heard: Vec::new(),
        }
    }

    fn send(&mut self, content: Content, payload: &[u8]) {
        self.receiver.push(Incoming {
            arrival: self.begin + Duration::from_millis(u64::from(self.time) * 20),
            ssrc: 1,
            sequence: self.sequence,
            timestamp: self.time * 160,
            marker: false,
            content,
            payload,
        });
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Time goes on by so many frames; before each something is sent.
    fn pass(&mut self, frames: u32, mut send: impl FnMut(&mut Line)) {
        for _ in 0..frames {
            send(self);
            let at = u64::from(self.time) * 20 + 7;
            let now = self.begin + Duration::from_millis(at);
            let kind = self.receiver.frame(now, &mut self.heard);
            self.kinds.push(kind);
            self.time += 1;
        }
    }

    fn speak(&mut self, frames: u32) {
        let (codec, tone) = (self.codec, self.tone.clone());
        self.pass(frames, |line| line.send(Content::Sound(codec), &tone));
    }

    /// A pause that is described once, at its beginning.
    fn pause(&mut self, frames: u32, description: &[u8]) {
        self.send(Content::ComfortNoise, description);
        self.pass(frames, |_| {});
    }

    fn frame(&self, index: u32) -> &[i16] {
        let samples = self.receiver.rate.frame_samples();
        &self.heard[index as usize * samples..][..samples]
    }

    /// Level of the frames of this range, in -dBov.
    fn level(&self, frames: std::ops::Range<u32>) -> u8 {
        let samples = self.receiver.rate.frame_samples();
        level_of(&self.heard[frames.start as usize * samples..frames.end as usize * samples])
    }
}

#[test]
fn a_pause_that_was_described_once_is_noise_of_that_level_until_speech_returns() {
    for (codec, rate) in [
        (AudioCodec::Pcmu, SampleRate::Narrow),
        (AudioCodec::Pcma, SampleRate::Full),
        (AudioCodec::G722, SampleRate::Wide),
    ] {
        for description in [&[40][..], &[50, 60, 140, 120][..]] {
            let mut line = Line::new(codec, rate);
            line.speak(SPEECH);
            let delay = line.receiver.statistics().current_delay;
            line.pause(PAUSE, description);
            line.speak(SPEECH);
            // The seams are within the two frames at each end.
            let (begin, end) = (SPEECH + 2, SPEECH + PAUSE);
            let kinds = &line.kinds[begin as usize..end as usize];
            assert!(kinds.iter().all(|kind| *kind == Frame::ComfortNoise));
            let level = line.level(begin..end);
            assert!(
                level.abs_diff(description[0]) <= 1,
                "{codec:?} {description:?}: {level}"
            );
            let speech = line.kinds.iter().filter(|kind| **kind == Frame::Speech);
            assert!(speech.count() as u32 >= 2 * SPEECH - 4);
            assert!(line.level(end + 2..end + SPEECH) <= 16);
            let statistics = line.receiver.statistics();
            assert_eq!(statistics.concealed, Duration::ZERO, "{statistics:?}");
            let wrong = statistics.lost + statistics.late + statistics.restarts;
            assert_eq!(wrong, 0, "{statistics:?}");
            let more = statistics.current_delay.saturating_sub(delay);
            assert!(more <= Duration::from_millis(20), "{statistics:?}");
        }
    }
}

#[test]
fn a_pause_has_no_end_of_its_own_and_may_be_described_anew() {
    let mut line = Line::new(AudioCodec::Pcmu, SampleRate::Narrow);
    line.speak(50);
    line.pause(3000, &[40]);
    line.pause(500, &[60]);
    let noise = &line.kinds[53..];
    assert!(noise.iter().all(|kind| *kind == Frame::ComfortNoise));
    assert!(line.level(2950..3040).abs_diff(40) <= 1);
    assert!(line.level(3100..3500).abs_diff(60) <= 1);
    assert_eq!(line.receiver.statistics().lost, 0);
}

#[test]
fn a_stream_may_begin_with_a_pause() {
    let mut line = Line::new(AudioCodec::Pcma, SampleRate::Wide);
    line.pause(100, &[45]);
    assert!(line.level(5..100).abs_diff(45) <= 1);
    line.speak(50);
    assert!(line.level(105..150) <= 16);
}

#[test]
fn noise_goes_on_at_another_rate_and_ends_with_its_stream() {
    let mut line = Line::new(AudioCodec::Pcmu, SampleRate::Narrow);
    line.speak(50);
    line.pause(50, &[40]);
    line.receiver.set_rate(SampleRate::Full);
    line.heard.clear();
    line.pass(50, |_| {});
    assert!(line.level(1..50).abs_diff(40) <= 1);
    assert_eq!(line.kinds.last(), Some(&Frame::ComfortNoise));

    // Another source, which has said nothing of a pause.
    let tone = line.tone.clone();
    line.receiver.push(Incoming {
        arrival: line.begin + Duration::from_millis(u64::from(line.time) * 20),
        ssrc: 2,
        sequence: 9,
        timestamp: 77,
        marker: true,
        content: Content::Sound(AudioCodec::Pcmu),
        payload: &tone,
    });
    line.heard.clear();
    line.pass(20, |_| {});
    assert_eq!(line.kinds.last(), Some(&Frame::Silence));
    assert_eq!(line.frame(19), [0; 960]);
}

#[test]
fn a_description_that_is_lost_leaves_silence_and_an_empty_one_is_invalid() {
    let mut line = Line::new(AudioCodec::Pcmu, SampleRate::Narrow);
    line.speak(50);
    line.sequence = line.sequence.wrapping_add(1);
    line.pass(50, |_| {});
    assert_eq!(line.kinds.last(), Some(&Frame::Silence));
    line.speak(50);
    assert_eq!(line.receiver.statistics().lost, 1);

    line.pause(50, &[]);
    assert_eq!(line.kinds.last(), Some(&Frame::Silence));
    assert_eq!(line.receiver.statistics().invalid, 1);
}
