//! Shortening and lengthening of sound by whole pitch periods (WSOLA): the
//! piece that is left out or repeated is as long as the signal's own period,
//! so that pitch stays and the seam lies between two pieces that look alike.

use crate::sound::format::SampleRate;

/// Shortest and longest piece, in µs: pitches from 400 Hz down to 66 Hz.
const SHORTEST: usize = 2_500;
const LONGEST: usize = 15_000;
/// Longest stretch that is compared, in µs.
const WINDOW: usize = 8_000;
/// The rate of the first, coarse search.
const COARSE_HERTZ: u32 = 8000;
/// Samples of the coarse search: 24 ms, the longest piece and the window.
const COARSE_SAMPLES: usize = 192;
/// A signal whose mean square is below this is heard by nobody: any piece will do.
const INAUDIBLE: i64 = 40 * 40;

/// How alike the pieces at both sides of a seam must be, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likeness(pub f32);

impl Likeness {
    /// For a change that may wait for a better moment.
    pub const GENTLE: Likeness = Likeness(0.9);
    /// For one that is needed now.
    pub const URGENT: Likeness = Likeness(0.5);
}

/// Leaves out one period of at most `most` samples near the start of
/// `samples`. Returns how many samples less there are; 0: nothing fits.
pub fn shorten(samples: &mut Vec<i16>, rate: SampleRate, most: usize, likeness: Likeness) -> usize {
    let Some(period) = find_period(samples, rate, most, likeness) else {
        return 0;
    };
    let overlap = period.min(samples.len() - period);
    for index in 0..overlap {
        samples[index] = blend(samples[index], samples[index + period], index, overlap);
    }
    samples.copy_within(period + overlap.., overlap);
    samples.truncate(samples.len() - period);
    period
}

/// Repeats one period of at most `most` samples near the start of `samples`.
/// Returns how many samples more there are; 0: nothing fits.
pub fn lengthen(
    samples: &mut Vec<i16>,
    rate: SampleRate,
    most: usize,
    likeness: Likeness,
) -> usize {
    let Some(period) = find_period(samples, rate, most, likeness) else {
        return 0;
    };
    let length = samples.len();
    let overlap = period.min(length - period);
    samples.resize(length + period, 0);
    samples.copy_within(..length, period);
    // Now the first period is there twice, and what followed it lies one
    // period later. The first pass goes on for `overlap` samples more, which
    // are those that lie at two periods.
    for index in 0..overlap {
        let goes_on = samples[index + 2 * period];
        let again = samples[index + period];
        // For overlap == period the place at two periods is not written before
        // it is read, since index + period < 2 * period.
        samples[index + period] = blend(goes_on, again, index, overlap);
    }
    period
}

/// From `from` to `to` in `length` steps.
fn blend(from: i16, to: i16, index: usize, length: usize) -> i16 {
    let (index, length) = (index as i32, length as i32);
    ((i32::from(from) * (length - index) + i32::from(to) * index) / length) as i16
}

/// The lag at which the start of the signal looks most like itself.
fn find_period(
    samples: &[i16],
    rate: SampleRate,
    most: usize,
    likeness: Likeness,
) -> Option<usize> {
    let micros = |micros: usize| rate.hertz() as usize * micros / 1_000_000;
    let shortest = micros(SHORTEST);
    let longest = micros(LONGEST)
        .min(most)
        .min(samples.len().saturating_sub(micros(SHORTEST)));
    if longest < shortest {
        return None;
    }
    let window = micros(WINDOW).min(samples.len() - longest);
    let energy = energy(&samples[..window]);
    if energy < INAUDIBLE * window as i64 {
        return Some(longest);
    }

    let factor = (rate.hertz() / COARSE_HERTZ) as usize;
    let mut coarse = [0i16; COARSE_SAMPLES];
    let length = ((longest + window) / factor).min(COARSE_SAMPLES);
    for (to, from) in coarse
        .iter_mut()
        .zip(samples.chunks_exact(factor))
        .take(length)
    {
        *to = (from.iter().map(|&sample| i32::from(sample)).sum::<i32>() / factor as i32) as i16;
    }
    let coarse_window = window / factor;
    let (around, _) = best_lag(
        &coarse[..length],
        shortest.div_ceil(factor),
        longest / factor,
        coarse_window,
    )?;
    let (period, found) = best_lag(
        samples,
        shortest.max((around - 1) * factor),
        longest.min((around + 1) * factor),
        window,
    )?;
    (found >= likeness.0).then_some(period)
}

/// The lag with the highest normalised correlation, and that.
fn best_lag(samples: &[i16], from: usize, to: usize, window: usize) -> Option<(usize, f32)> {
    let start = samples.get(..window)?;
    let own = energy(start) as f32;
    let mut best: Option<(usize, f32)> = None;
    let mut shifted_energy = energy(samples.get(from..from + window)?);
    for lag in from..=to {
        let Some(shifted) = samples.get(lag..lag + window) else {
            break;
        };
        if lag > from {
            let (left, came) = (samples[lag - 1], samples[lag + window - 1]);
            shifted_energy += i64::from(came) * i64::from(came) - i64::from(left) * i64::from(left);
        }
        let product = correlation(start, shifted) as f32;
        let likeness = product / (own * shifted_energy as f32).sqrt().max(1.0);
        if best.is_none_or(|(_, highest)| likeness > highest) {
            best = Some((lag, likeness));
        }
    }
    best
}

fn energy(samples: &[i16]) -> i64 {
    correlation(samples, samples)
}

fn correlation(a: &[i16], b: &[i16]) -> i64 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| i64::from(i32::from(a) * i32::from(b)))
        .sum()
}
