//! Plays a clip or a tone, 20 ms at a time and at whatever rate is wanted in
//! that moment, with soft edges: nothing that starts, stops or repeats clicks.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::clip::Clip;
use super::format::{FRAME_MS, MAX_FRAME_SAMPLES, SampleRate};
use super::tone::Tone;
use crate::ids::PlayId;

/// Samples of the full rate in a frame. All positions count in samples of the
/// full rate, so that a change of rate moves nothing.
const TICKS_PER_FRAME: u64 = SampleRate::Full.frame_samples() as u64;

/// Soft edges at start and end, and at the joint of two passes: 5 ms.
const EDGE: u64 = 240;

/// How long it takes to fall silent when stopped: 10 ms, within one frame.
const STOP: u64 = 480;

/// The quietest and loudest gain, in dB.
pub const GAIN_DB: std::ops::RangeInclusive<f32> = -60.0..=20.0;

/// How often a sound is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeat {
    /// Once.
    #[default]
    Once,
    /// So many times; 0 counts as once.
    Times(u32),
    /// Until it is stopped.
    Forever,
}

/// How a sound is played.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PlayOptions {
    /// How often.
    pub repeat: Repeat,
    /// Louder or quieter than the file, in dB; kept within [`GAIN_DB`].
    pub gain_db: f32,
    /// Whether a digit from the listener ends it. The player does not hear
    /// digits: whoever feeds it asks [`Player::barge_in`] and stops it.
    pub barge_in: bool,
}

/// Whether there is more to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Playing {
    /// Ask for the next frame in 20 ms.
    More,
    /// This frame was the last; later ones add nothing.
    Finished,
}

/// Where the samples come from.
#[derive(Debug, Clone)]
enum Sound {
    Clip(Arc<Clip>),
    Tone(Tone),
}

impl Sound {
    /// One pass, in samples of the full rate; never 0.
    fn length(&self) -> u64 {
        match self {
            Sound::Clip(clip) => clip.samples(SampleRate::Full).len() as u64,
            Sound::Tone(tone) => tone.period(),
        }
    }

    /// Samples from a position on, which lie within the pass.
    fn read(&self, rate: SampleRate, position: u64, out: &mut [f32]) {
        match self {
            Sound::Clip(clip) => {
                let from = (position / ticks_per_sample(rate)) as usize;
                let samples = clip.samples(rate).iter().skip(from);
                for (out, &sample) in out.iter_mut().zip(samples) {
                    *out = f32::from(sample);
                }
            }
            Sound::Tone(tone) => tone.make(rate, position, out),
        }
    }
}

/// Something that plays.
#[derive(Debug, Clone)]
pub struct Player {
    id: PlayId,
    sound: Sound,
    barge_in: bool,
    /// Passes still to begin after this one; `None` is for ever.
    passes_left: Option<u32>,
    /// Position in this pass.
    position: u64,
    /// What was played in all.
    played: u64,
    /// Gain of the last sample, and the one it shall have, as factors.
    gain: f32,
    wanted_gain: f32,
    /// The last sample of the pass before, and how far it was from the first
    /// of this one: the difference fades out over an edge, so that the joint
    /// is no step.
    last_sample: f32,
    joint: f32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Playing,
    Stopping,
    Finished,
}

impl Player {
    /// Plays a clip.
    pub fn new(id: PlayId, clip: Arc<Clip>, options: PlayOptions) -> Self {
        Player::of(id, Sound::Clip(clip), options)
    }

    /// Plays a tone; a repetition is one period of its cadence.
    pub fn tone(id: PlayId, tone: Tone, options: PlayOptions) -> Self {
        Player::of(id, Sound::Tone(tone), options)
    }

    fn of(id: PlayId, sound: Sound, options: PlayOptions) -> Self {
        let gain = factor(options.gain_db);
        Player {
            id,
            sound,
            barge_in: options.barge_in,
            passes_left: match options.repeat {
                Repeat::Once => Some(0),
                Repeat::Times(times) => Some(times.saturating_sub(1)),
                Repeat::Forever => None,
            },
            position: 0,
            played: 0,
            gain,
            wanted_gain: gain,
            last_sample: 0.0,
            joint: 0.0,
            state: State::Playing,
        }
    }

    /// Which play it is.
    pub fn id(&self) -> PlayId {
        self.id
    }

    /// The rate that loses nothing of it.
    pub fn native_rate(&self) -> SampleRate {
        match &self.sound {
            Sound::Clip(clip) => clip.native_rate(),
            Sound::Tone(_) => SampleRate::Narrow,
        }
    }

    /// Whether a digit from the listener shall stop it.
    pub fn barge_in(&self) -> bool {
        self.barge_in
    }

    /// How long it has played, in ms, with all repetitions.
    pub fn played_ms(&self) -> u64 {
        self.played * u64::from(FRAME_MS) / TICKS_PER_FRAME
    }

    /// Changes the gain over the next frame.
    pub fn set_gain_db(&mut self, gain_db: f32) {
        self.wanted_gain = factor(gain_db);
    }

    /// Fades out: the next frame is the last.
    pub fn stop(&mut self) {
        if self.state == State::Playing {
            self.state = State::Stopping;
        }
    }

    /// Adds the next frame to what is in `out`, which holds
    /// [`SampleRate::frame_samples`] of this rate; where the sum is more than
    /// 16 bit, it stays at the greatest. What is beyond the end stays as it is.
    pub fn frame(&mut self, rate: SampleRate, out: &mut [i16]) -> Playing {
        if self.state == State::Finished {
            return Playing::Finished;
        }
        let count = rate.frame_samples().min(out.len());
        let mut frame = [0.0; MAX_FRAME_SAMPLES];
        let frame = &mut frame[..count];
        let made = self.fill(rate, frame);
        self.soften(rate, &mut frame[..made]);
        let gain_step = (self.wanted_gain - self.gain) / count.max(1) as f32;
        for (out, sample) in out.iter_mut().zip(&frame[..made]) {
            self.gain += gain_step;
            *out = out.saturating_add((sample * self.gain).round() as i16);
        }
        self.gain = self.wanted_gain;
        self.played += made as u64 * ticks_per_sample(rate);
        if self.state == State::Stopping || self.remaining() == Some(0) {
            self.state = State::Finished;
            return Playing::Finished;
        }
        Playing::More
    }

    /// Reads as many samples as there are, pass after pass.
    fn fill(&mut self, rate: SampleRate, frame: &mut [f32]) -> usize {
        let ticks = ticks_per_sample(rate);
        let length = self.sound.length();
        let mut made = 0;
        while made < frame.len() {
            if self.position >= length {
                match &mut self.passes_left {
                    Some(0) => break,
                    Some(left) => *left -= 1,
                    None => {}
                }
                self.position %= length;
                let mut first = [0.0];
                self.sound.read(rate, self.position, &mut first);
                self.joint = self.last_sample - first[0];
            }
            let in_pass = (length - self.position).div_ceil(ticks) as usize;
            let count = in_pass.min(frame.len() - made);
            let part = &mut frame[made..made + count];
            self.sound.read(rate, self.position, part);
            self.bridge(ticks, part);
            self.last_sample = part.last().copied().unwrap_or(self.last_sample);
            self.position += count as u64 * ticks;
            made += count;
        }
        made
    }

    /// Lets the difference at the joint of two passes fade.
    fn bridge(&self, ticks: u64, part: &mut [f32]) {
        if self.joint == 0.0 {
            return;
        }
        for (index, sample) in part.iter_mut().enumerate() {
            let position = self.position + index as u64 * ticks;
            if position >= EDGE {
                break;
            }
            *sample += self.joint * (EDGE - position) as f32 / EDGE as f32;
        }
    }

    /// Softens the start, the end, and a stop.
    fn soften(&self, rate: SampleRate, frame: &mut [f32]) {
        let ticks = ticks_per_sample(rate);
        if self.played < EDGE {
            for (index, sample) in frame.iter_mut().enumerate() {
                let played = (self.played + index as u64 * ticks).min(EDGE);
                *sample *= played as f32 / EDGE as f32;
            }
        }
        // What is left after this frame, which is read already.
        if let Some(after) = self.remaining().filter(|&after| after < EDGE) {
            for (index, sample) in frame.iter_mut().rev().enumerate() {
                let left = (after + index as u64 * ticks).min(EDGE);
                *sample *= left as f32 / EDGE as f32;
            }
        }
        if self.state == State::Stopping {
            for (index, sample) in frame.iter_mut().enumerate() {
                let left = STOP.saturating_sub(index as u64 * ticks);
                *sample *= left as f32 / STOP as f32;
            }
        }
    }

    /// What is still to be read; `None` when it goes on for ever, or when
    /// another pass is to come.
    fn remaining(&self) -> Option<u64> {
        (self.passes_left == Some(0)).then(|| self.sound.length().saturating_sub(self.position))
    }
}

/// Samples of the full rate for one of this.
fn ticks_per_sample(rate: SampleRate) -> u64 {
    u64::from(SampleRate::Full.hertz() / rate.hertz())
}

/// dB to a factor of the amplitude. What is no number counts as 0 dB.
fn factor(gain_db: f32) -> f32 {
    if gain_db.is_nan() {
        return 1.0;
    }
    let gain_db = gain_db.clamp(*GAIN_DB.start(), *GAIN_DB.end());
    10.0_f32.powf(gain_db / 20.0)
}
