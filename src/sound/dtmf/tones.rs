//! The tones of the keys (ITU-T Q.23) and their generator.

use std::collections::VecDeque;
use std::f32::consts::{PI, TAU};

use thiserror::Error;

use super::{DialStep, Digit, KeyTiming, MAX_QUEUED_KEYS, QueueFull};
use crate::sound::format::SampleRate;

/// The low group in Hz: the rows of the keypad (ITU-T Q.23 section 6).
pub const LOW_HZ: [f32; 4] = [697.0, 770.0, 852.0, 941.0];

/// The high group in Hz: its columns.
pub const HIGH_HZ: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

/// Level of the low tone in dBm0; below the other one, as lines dampen high
/// tones more (ETSI ES 201 235-2 section 4.2.4).
const LOW_DBM0: f32 = -8.0;

/// Level of the high tone in dBm0.
const HIGH_DBM0: f32 = -6.0;

/// Level of a sine at full scale, in dBm0 (ITU-T G.711: 3.17 for µ-law, and
/// hardly less, 3.14, for A-law).
pub const FULL_SCALE_DBM0: f32 = 3.17;

/// Length of the rise and the fall of a tone. Without them each is a click.
const EDGE_MS: u32 = 5;

/// The keypad by rows.
const KEYPAD: [[Digit; 4]; 4] = {
    const fn number(number: u8) -> Digit {
        match Digit::number(number) {
            Some(digit) => digit,
            None => Digit::Star,
        }
    }
    [
        [number(1), number(2), number(3), Digit::A],
        [number(4), number(5), number(6), Digit::B],
        [number(7), number(8), number(9), Digit::C],
        [Digit::Star, number(0), Digit::Pound, Digit::D],
    ]
};

/// Why a key cannot be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ToneError {
    /// The flash is a break of the line, no tone.
    #[error("a flash has no tone: send it as a telephone event or in SIP INFO")]
    NoTone,
    /// The queue is full.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
}

/// The row and the column of a key; none for the flash.
pub fn row_and_column(digit: Digit) -> Option<(usize, usize)> {
    KEYPAD.iter().enumerate().find_map(|(row, keys)| {
        let column = keys.iter().position(|key| *key == digit)?;
        Some((row, column))
    })
}

/// The key in a row and a column.
pub fn key_at(row: usize, column: usize) -> Option<Digit> {
    KEYPAD.get(row)?.get(column).copied()
}

/// Plays keys as tones, a frame at a time.
#[derive(Debug)]
pub struct ToneGenerator {
    rate: SampleRate,
    waiting: VecDeque<DialStep>,
    playing: Option<Playing>,
}

#[derive(Debug)]
struct Playing {
    low: Oscillator,
    high: Oscillator,
    tone_samples: usize,
    /// Of the tone and the pause after it.
    all_samples: usize,
    done: usize,
}

#[derive(Debug)]
struct Oscillator {
    amplitude: f32,
    phase: f32,
    step: f32,
}

impl ToneGenerator {
    /// One that makes frames of this rate.
    pub fn new(rate: SampleRate) -> ToneGenerator {
        ToneGenerator {
            rate,
            waiting: VecDeque::new(),
            playing: None,
        }
    }

    /// From now on frames of this rate. A key that is down is cut short; those
    /// that wait are kept.
    pub fn set_rate(&mut self, rate: SampleRate) {
        if rate != self.rate {
            self.rate = rate;
            self.playing = None;
        }
    }

    /// Puts a key at the end of the queue.
    pub fn queue(&mut self, digit: Digit, timing: KeyTiming) -> Result<(), ToneError> {
        self.queue_all(&[DialStep::Key(digit, timing)])
    }

    /// Puts steps at the end of the queue: all, or none of them.
    pub fn queue_all(&mut self, steps: &[DialStep]) -> Result<(), ToneError> {
        let has_tone = |step: &DialStep| match step {
            DialStep::Key(digit, _) => row_and_column(*digit).is_some(),
            DialStep::Wait(_) => true,
        };
        if !steps.iter().all(has_tone) {
            return Err(ToneError::NoTone);
        }
        if self.waiting.len() + steps.len() > MAX_QUEUED_KEYS {
            return Err(QueueFull.into());
        }
        self.waiting.extend(steps);
        Ok(())
    }

    /// Forgets the keys that wait. The one that is down is played to its end.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Whether nothing waits, plays or pauses.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.playing.is_none()
    }

    /// Overwrites the frame with tones and pauses. False, and the frame left
    /// alone, if there is nothing to play.
    pub fn frame(&mut self, frame: &mut [i16]) -> bool {
        if self.is_idle() {
            return false;
        }
        let edge = (self.rate.hertz() * EDGE_MS / 1000) as usize;
        for sample in frame {
            if self.playing.is_none() {
                self.playing = self.next_key();
            }
            let Some(playing) = &mut self.playing else {
                *sample = 0;
                continue;
            };
            *sample = playing.next(edge);
            if playing.done == playing.all_samples {
                self.playing = None;
            }
        }
        true
    }

    fn next_key(&mut self) -> Option<Playing> {
        let hertz = self.rate.hertz();
        let samples = |ms: u32| (hertz / 1000 * ms) as usize;
        let (digit, timing) = match self.waiting.pop_front()? {
            DialStep::Key(digit, timing) => (digit, timing),
            DialStep::Wait(ms) => return Some(Playing::silence(samples(ms.max(1)))),
        };
        let (row, column) = row_and_column(digit)?;
        Some(Playing {
            low: Oscillator::new(LOW_HZ[row], LOW_DBM0, hertz),
            high: Oscillator::new(HIGH_HZ[column], HIGH_DBM0, hertz),
            tone_samples: samples(timing.tone_ms()),
            all_samples: samples(timing.tone_ms() + timing.pause_ms()),
            done: 0,
        })
    }
}

impl Playing {
    fn silence(samples: usize) -> Playing {
        Playing {
            low: Oscillator::SILENT,
            high: Oscillator::SILENT,
            tone_samples: 0,
            all_samples: samples,
            done: 0,
        }
    }

    fn next(&mut self, edge: usize) -> i16 {
        let at = self.done;
        self.done += 1;
        if at >= self.tone_samples {
            return 0;
        }
        let from_edge = at.min(self.tone_samples - 1 - at);
        let gain = if from_edge < edge {
            0.5 - 0.5 * (PI * from_edge as f32 / edge as f32).cos()
        } else {
            1.0
        };
        // Both amplitudes together are below full scale.
        (gain * (self.low.next() + self.high.next())) as i16
    }
}

impl Oscillator {
    const SILENT: Oscillator = Oscillator {
        amplitude: 0.0,
        phase: 0.0,
        step: 0.0,
    };

    fn new(hz: f32, dbm0: f32, sample_rate: u32) -> Oscillator {
        Oscillator {
            amplitude: amplitude(dbm0),
            phase: 0.0,
            step: TAU * hz / sample_rate as f32,
        }
    }

    fn next(&mut self) -> f32 {
        let value = self.amplitude * self.phase.sin();
        self.phase = (self.phase + self.step) % TAU;
        value
    }
}

/// The peak of a sine of this level, in units of a sample.
pub fn amplitude(dbm0: f32) -> f32 {
    f32::from(i16::MAX) * 10f32.powf((dbm0 - FULL_SCALE_DBM0) / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_but_the_flash_has_its_place_on_the_keypad() {
        for digit in Digit::ALL {
            let found = row_and_column(digit).and_then(|(row, column)| key_at(row, column));
            let expected = (digit != Digit::Flash).then_some(digit);
            assert_eq!(found, expected);
        }
        let place = |text: &str| row_and_column(text.parse().expect("a key"));
        assert_eq!(place("1"), Some((0, 0)));
        assert_eq!(place("0"), Some((3, 1)));
        assert_eq!(place("D"), Some((3, 3)));
        assert_eq!(key_at(4, 0), None);
    }

    #[test]
    fn keys_that_wait_outlive_a_change_of_rate() {
        let mut generator = ToneGenerator::new(SampleRate::Narrow);
        let one = Digit::number(1).expect("a digit");
        generator
            .queue_all(&[DialStep::Key(one, KeyTiming::default()); 2])
            .expect("room");
        assert!(generator.frame(&mut [0; 160]));
        generator.set_rate(SampleRate::Full);
        let mut frames = 0;
        while generator.frame(&mut [0; 960]) {
            frames += 1;
        }
        // The second key alone: 100 ms and a pause of 100 ms.
        assert_eq!(frames, 10);
    }

    #[test]
    fn a_key_is_as_long_as_its_timing_with_soft_edges_and_a_silent_pause() {
        for rate in [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full] {
            let mut generator = ToneGenerator::new(rate);
            let timing = KeyTiming::new(50, 70).expect("a timing");
            generator.queue(Digit::Pound, timing).expect("room");
            let mut sound = Vec::new();
            let mut frame = vec![0; rate.frame_samples()];
            while generator.frame(&mut frame) {
                sound.extend_from_slice(&frame);
            }
            assert_eq!(sound.len(), 6 * rate.frame_samples());
            let ms = rate.hertz() as usize / 1000;
            assert!(sound[50 * ms..].iter().all(|sample| *sample == 0));
            let peak = |sound: &[i16]| sound.iter().map(|s| s.unsigned_abs()).max();
            assert!(peak(&sound[..ms]) < Some(3000), "a soft start");
            assert!(peak(&sound[49 * ms..50 * ms]) < Some(3000), "a soft end");
            assert!(peak(&sound[10 * ms..40 * ms]) > Some(19_000), "{rate:?}");
        }
    }

    #[test]
    fn a_wait_is_silence_before_the_key() {
        let mut generator = ToneGenerator::new(SampleRate::Narrow);
        let timing = KeyTiming::new(50, 50).expect("a timing");
        let steps = [DialStep::Wait(40), DialStep::Key(Digit::Pound, timing)];
        generator.queue_all(&steps).expect("room");
        let mut sound = Vec::new();
        let mut frame = [7; 160];
        while generator.frame(&mut frame) {
            sound.extend_from_slice(&frame);
        }
        assert_eq!(sound.len(), 7 * 160);
        assert!(sound[..320].iter().all(|sample| *sample == 0));
        assert!(sound[400..640].iter().any(|sample| *sample > 19_000));
    }

    #[test]
    fn the_level_of_a_tone_is_the_power_of_its_two_sines() {
        let mut generator = ToneGenerator::new(SampleRate::Narrow);
        let timing = KeyTiming::new(1000, 50).expect("a timing");
        generator.queue(Digit::A, timing).expect("room");
        let mut frame = [0; 160];
        let mut energy = 0.0;
        for _ in 0..45 {
            generator.frame(&mut frame);
            energy += frame.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
        }
        let rms = (energy / (45.0 * 160.0)).sqrt();
        let dbm0 = 20.0 * (rms * 2f64.sqrt() / 32767.0).log10() + f64::from(FULL_SCALE_DBM0);
        // -8 and -6 dBm0 together.
        assert!((dbm0 - -3.87).abs() < 0.1, "{dbm0}");
    }

    #[test]
    fn a_flash_is_refused_and_an_idle_generator_leaves_the_frame_alone() {
        let mut generator = ToneGenerator::new(SampleRate::Narrow);
        let refused = generator.queue(Digit::Flash, KeyTiming::default());
        assert_eq!(refused, Err(ToneError::NoTone));
        let mut frame = [7; 160];
        assert!(!generator.frame(&mut frame));
        assert_eq!(frame, [7; 160]);
    }
}
