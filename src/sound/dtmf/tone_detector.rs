//! Keys found in sound (ITU-T Q.23, Q.24).
//!
//! Q.24 has no values of its own: table A-1 lists those of some administrations,
//! which differ. The bounds here are those of AT&T, which most receivers are
//! tested by. Keys are taken softer than it asks for, as lines behind gateways
//! are.
//!
//! Sound is taken in blocks of 5 ms. Of each block the correlation with the
//! eight tones (and with twice the high ones) is kept, its phase counted from
//! the start of the stream, so that the sum of four neighbouring blocks is the
//! DFT of a window of 20 ms that moves by 5 ms: what Goertzel's recursion gives,
//! with each sample touched once. The blocks' phases also give the tone's exact
//! frequency, by turning them against each other.

use std::f32::consts::TAU;

use super::tones::{FULL_SCALE_DBM0, HIGH_HZ, LOW_HZ, key_at};
use super::{Digit, DtmfEvent, DtmfReport, Reports};
use crate::sound::format::SampleRate;

/// Length of a block, and how far the window moves.
const BLOCK_MS: u32 = 5;

/// Blocks of a window: 20 ms tell neighbouring tones (73 Hz) apart, and two
/// fit in the shortest tone.
const WINDOW: usize = 4;

/// The rate that is analysed at most. Above it nothing helps to hear a tone.
const ANALYSED_HZ: u32 = 16_000;

/// The tones, and second harmonics of the high group. Those of the low group
/// fall between the high tones, where they count as sound that is no tone.
const BINS: usize = 12;

/// Windows in a row that must agree: a tone of 40 ms has four at every
/// alignment, one of 24 ms three at most (Q.24 table A-1: 40 ms are accepted,
/// 23 refused).
const WINDOWS_TO_BEGIN: u32 = 4;

/// Windows without the tone that end it: an interruption of 10 ms does not,
/// a pause of 40 ms does (Q.24 table A-1).
const WINDOWS_TO_END: u32 = 6;

/// Of a window's energy what must be in the two tones. Speech has its energy
/// in more places.
const TONE_SHARE: f32 = 0.72;

/// The share of a window that holds tones from end to end, in noise 15 dB
/// below. Voices pass [`TONE_SHARE`] now and then, but this hardly ever.
const CLEAR_SHARE: f32 = 0.88;

/// So many of the windows that begin a key must be that clear.
const CLEAR_WINDOWS: u32 = 2;

/// Each tone's weakest level, in dBm0: between the −25 that Q.24 accepts and the
/// −55 that it refuses.
const WEAKEST_DBM0: f32 = -36.0;

/// Low tone over high tone at most: 8 dB; Q.24's forward twist and a margin.
const FORWARD_TWIST: f32 = 7.9;

/// High tone over low tone at most: 4 dB; Q.24's reverse twist and a margin.
const REVERSE_TWIST: f32 = 3.2;

/// A tone over the others of its group at least: 6 dB.
const OVER_NEIGHBOURS: f32 = 4.0;

/// A second harmonic's energy to its tone's at most. Voices have harmonics.
const SECOND_HARMONIC: f32 = 0.06;

/// Frequencies off by less than this are accepted, by more refused: between
/// the 1.5 % that Q.24 accepts and the 3.5 % that it refuses.
const FREQUENCY_TOLERANCE: f32 = 0.025;

/// Step of the search for the exact frequency.
const FREQUENCY_STEP: f32 = 0.005;

/// Windows that hold the tone in part count too: this much at each end.
const PARTLY_MS: u32 = 5;

/// Finds the keys in one stream of sound.
#[derive(Debug)]
pub struct ToneDetector {
    rate: SampleRate,
    table: Vec<Correlation>,
    /// The phase of each bin at the start of the next block, and its step.
    phase: [f32; BINS],
    step: [f32; BINS],
    /// The last blocks, the newest last.
    blocks: [Block; WINDOW],
    /// Samples that did not fill a block.
    rest: Vec<f32>,
    state: State,
}

/// A sample's place in a block, against each bin.
#[derive(Debug, Clone, Copy)]
struct Correlation {
    cos: [f32; BINS],
    sin: [f32; BINS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Block {
    re: [f32; BINS],
    im: [f32; BINS],
    energy: f32,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Silent,
    /// A tone in too few windows yet.
    Heard(Heard),
    Down {
        digit: Digit,
        /// Windows from its first on.
        windows: u32,
        /// Of these the last ones without it.
        missed: u32,
        /// Another key in the last windows.
        other: Option<Heard>,
    },
}

/// Windows in a row with the same key.
#[derive(Debug, Clone, Copy)]
struct Heard {
    digit: Digit,
    windows: u32,
    /// Of these the clear ones.
    clear: u32,
}

/// What one window holds.
#[derive(Debug, Clone, Copy)]
struct Window {
    digit: Digit,
    clear: bool,
}

impl Heard {
    /// With one more window: `before` goes on if that had the same key.
    fn with(before: Option<Heard>, window: Window) -> Heard {
        let (windows, clear) = match before {
            Some(before) if before.digit == window.digit => (before.windows, before.clear),
            _ => (0, 0),
        };
        Heard {
            digit: window.digit,
            windows: windows.saturating_add(1),
            clear: clear.saturating_add(u32::from(window.clear)),
        }
    }

    fn is_key(self) -> bool {
        self.windows >= WINDOWS_TO_BEGIN && self.clear >= CLEAR_WINDOWS
    }
}

impl ToneDetector {
    /// One that is given sound of this rate.
    pub fn new(rate: SampleRate) -> ToneDetector {
        let hertz = rate.hertz().min(ANALYSED_HZ);
        let length = (hertz * BLOCK_MS / 1000) as usize;
        let frequencies = frequencies();
        let turn = |samples: usize| frequencies.map(|hz| TAU * hz * samples as f32 / hertz as f32);
        let table = (0..length)
            .map(|at| Correlation {
                cos: turn(at).map(f32::cos),
                sin: turn(at).map(|angle| -angle.sin()),
            })
            .collect();
        ToneDetector {
            rate,
            table,
            phase: [0.0; BINS],
            step: turn(length),
            blocks: [Block::default(); WINDOW],
            rest: Vec::with_capacity(length),
            state: State::Silent,
        }
    }

    /// Takes a frame, of any length.
    pub fn frame(&mut self, samples: &[i16]) -> Reports {
        let mut reports = Reports::default();
        match self.rate {
            SampleRate::Narrow | SampleRate::Wide => {
                for sample in samples {
                    self.sample(f32::from(*sample), &mut reports);
                }
            }
            // The mean of three samples dampens what would fold onto the
            // tones (16 kHz ± 1.7 kHz) by 20 dB, which is enough to count them.
            SampleRate::Full => {
                for three in samples.chunks(3) {
                    let sum: i32 = three.iter().map(|sample| i32::from(*sample)).sum();
                    self.sample(sum as f32 / 3.0, &mut reports);
                }
            }
        }
        reports
    }

    /// Ends the key that is down: the stream is over.
    pub fn reset(&mut self) -> Option<DtmfReport> {
        let ended = end_of(self.state);
        self.state = State::Silent;
        self.blocks = [Block::default(); WINDOW];
        self.rest.clear();
        ended
    }

    fn sample(&mut self, sample: f32, reports: &mut Reports) {
        self.rest.push(sample);
        if self.rest.len() < self.table.len() {
            return;
        }
        let block = self.correlate();
        self.rest.clear();
        self.blocks.rotate_left(1);
        self.blocks[WINDOW - 1] = block;
        let heard = self.key();
        self.advance(heard, reports);
    }

    fn correlate(&mut self) -> Block {
        let mut re = [0.0; BINS];
        let mut im = [0.0; BINS];
        let mut energy = 0.0;
        for (sample, correlation) in self.rest.iter().zip(&self.table) {
            energy += sample * sample;
            for bin in 0..BINS {
                re[bin] += sample * correlation.cos[bin];
                im[bin] += sample * correlation.sin[bin];
            }
        }
        let mut block = Block {
            energy,
            ..Block::default()
        };
        for bin in 0..BINS {
            // Counted from the start of the stream, not of the block.
            let (sin, cos) = self.phase[bin].sin_cos();
            block.re[bin] = re[bin] * cos + im[bin] * sin;
            block.im[bin] = im[bin] * cos - re[bin] * sin;
            self.phase[bin] = (self.phase[bin] + self.step[bin]) % TAU;
        }
        block
    }

    /// The key in the window, if it holds one and nothing else.
    fn key(&self) -> Option<Window> {
        let energy: f32 = self.blocks.iter().map(|block| block.energy).sum();
        let samples = (WINDOW * self.table.len()) as f32;
        // The mean square of a sine of the weakest level, twice.
        let weakest = weakest_mean_square();
        if energy < 2.0 * weakest * samples {
            return None;
        }
        // |X|² of a sine is its energy times half the window's samples.
        let share = |power: f32| power * 2.0 / (samples * energy);
        let mut power = [0.0; BINS];
        for (bin, power) in power.iter_mut().enumerate() {
            *power = self.power(bin, 0.0);
        }
        let low = strongest(&power[..4]);
        let high = 4 + strongest(&power[4..8]);
        // A tone at the edge of its tolerance has lost most of its power here.
        if share(power[low] + power[high]) < TONE_SHARE / 2.0 {
            return None;
        }
        let low_power = self.exact_power(low)?;
        let high_power = self.exact_power(high)?;
        let alone = |group: std::ops::Range<usize>, tone: usize| {
            group
                .filter(|bin| *bin != tone)
                .all(|bin| power[bin] * OVER_NEIGHBOURS < power[tone])
        };
        let tones = share(low_power + high_power);
        let is_key = tones >= TONE_SHARE
            && low_power * 2.0 / samples >= weakest * samples
            && high_power * 2.0 / samples >= weakest * samples
            && low_power <= high_power * FORWARD_TWIST
            && high_power <= low_power * REVERSE_TWIST
            && alone(0..4, low)
            && alone(4..8, high)
            && power[high + 4] <= high_power * SECOND_HARMONIC;
        let digit = key_at(low, high - 4).filter(|_| is_key)?;
        let clear = tones >= CLEAR_SHARE;
        Some(Window { digit, clear })
    }

    /// The power at a tone's exact frequency, or none if that is not in tolerance.
    fn exact_power(&self, bin: usize) -> Option<f32> {
        let steps = (2.0 * FREQUENCY_TOLERANCE / FREQUENCY_STEP) as i32;
        let (off, power) = (-steps..=steps)
            .map(|step| step as f32 * FREQUENCY_STEP)
            .map(|off| (off, self.power(bin, off)))
            .max_by(|one, other| one.1.total_cmp(&other.1))?;
        (off.abs() < FREQUENCY_TOLERANCE).then_some(power)
    }

    /// The power of the window near a bin, off its frequency by this part.
    fn power(&self, bin: usize, off: f32) -> f32 {
        let turn = self.step[bin] * off;
        let (step_sin, step_cos) = turn.sin_cos();
        let (mut sin, mut cos) = (0.0, 1.0);
        let mut re = 0.0;
        let mut im = 0.0;
        for block in &self.blocks {
            re += block.re[bin] * cos + block.im[bin] * sin;
            im += block.im[bin] * cos - block.re[bin] * sin;
            (cos, sin) = (
                cos * step_cos - sin * step_sin,
                sin * step_cos + cos * step_sin,
            );
        }
        re * re + im * im
    }

    fn advance(&mut self, window: Option<Window>, reports: &mut Reports) {
        let before = self.state;
        self.state = match (before, window) {
            (State::Silent | State::Heard(_), None) => State::Silent,
            (State::Silent, Some(window)) => State::Heard(Heard::with(None, window)),
            (State::Heard(heard), Some(window)) => {
                let heard = Heard::with(Some(heard), window);
                match heard.is_key() {
                    true => begin(heard, reports),
                    false => State::Heard(heard),
                }
            }
            (State::Down { digit, windows, .. }, Some(window)) if window.digit == digit => {
                State::Down {
                    digit,
                    windows: windows.saturating_add(1),
                    missed: 0,
                    other: None,
                }
            }
            (
                State::Down {
                    digit,
                    windows,
                    missed,
                    other,
                },
                window,
            ) => {
                let other = window.map(|window| Heard::with(other, window));
                let is_another = other.is_some_and(Heard::is_key);
                if missed + 1 < WINDOWS_TO_END && !is_another {
                    State::Down {
                        digit,
                        windows: windows.saturating_add(1),
                        missed: missed + 1,
                        other,
                    }
                } else {
                    if let Some(end) = end_of(before) {
                        reports.add(end);
                    }
                    match other {
                        // Another key without a pause between them.
                        Some(heard) if is_another => begin(heard, reports),
                        Some(heard) => State::Heard(heard),
                        None => State::Silent,
                    }
                }
            }
        };
    }
}

fn begin(heard: Heard, reports: &mut Reports) -> State {
    reports.add(DtmfReport::Begin(heard.digit));
    State::Down {
        digit: heard.digit,
        windows: heard.windows,
        missed: 0,
        other: None,
    }
}

/// The end of the key that is down. Its length is from the start of its first
/// window to the end of its last one, less what these hold only in part.
fn end_of(state: State) -> Option<DtmfReport> {
    let State::Down {
        digit,
        windows,
        missed,
        ..
    } = state
    else {
        return None;
    };
    let moves = windows.saturating_sub(missed).saturating_sub(1);
    let whole = moves.saturating_add(WINDOW as u32).saturating_mul(BLOCK_MS);
    Some(DtmfReport::End(DtmfEvent {
        digit,
        duration_ms: whole.saturating_sub(2 * PARTLY_MS),
    }))
}

/// The low group, the high group, and twice the high group.
fn frequencies() -> [f32; BINS] {
    let [l0, l1, l2, l3] = LOW_HZ;
    let [h0, h1, h2, h3] = HIGH_HZ;
    [
        l0,
        l1,
        l2,
        l3,
        h0,
        h1,
        h2,
        h3,
        2.0 * h0,
        2.0 * h1,
        2.0 * h2,
        2.0 * h3,
    ]
}

fn strongest(power: &[f32]) -> usize {
    (0..power.len())
        .max_by(|one, other| power[*one].total_cmp(&power[*other]))
        .unwrap_or(0)
}

/// The mean square of a sine of the weakest level, in units of a sample.
fn weakest_mean_square() -> f32 {
    let full_scale = f32::from(i16::MAX) * f32::from(i16::MAX) / 2.0;
    full_scale * 10f32.powf((WEAKEST_DBM0 - FULL_SCALE_DBM0) / 10.0)
}
