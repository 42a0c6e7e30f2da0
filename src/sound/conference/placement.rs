//! Where in a conference's time the sound of a peer was captured, whatever its
//! jitter buffer does with it: for recordings.

use std::time::Instant;

use super::peer::amplify;
use crate::sound::format::SampleRate;
use crate::sound::receiver::Receiver;
use crate::sound::receiver::captured::Captured;

/// Stretches whose times lie no further apart follow each other, in µs.
const CONTIGUOUS: i64 = 1_000;
/// What a place may be off without being put right, in µs: the estimate of the
/// fastest packet's time moves by as much.
const TOLERANCE: i64 = 1_000;
/// What is off by more is put right at once, or as fast as can be borne, in µs.
const HURRY: i64 = 3_000;
const JUMP: i64 = 100_000;
/// Shares of a stretch that it is made longer or shorter by.
const GENTLE: i64 = 160;
const HASTY: i64 = 8;

/// A stretch of a peer's sound in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'s> {
    /// Where it begins, in samples since tick 0 of the conference.
    pub(super) at: i64,
    /// It stands in for what may come yet.
    pub(super) made_up: bool,
    /// It does not go on with what was before it.
    pub(super) begins: bool,
    pub(super) samples: &'s [i16],
}

#[derive(Debug)]
struct Stretch {
    at: i64,
    made_up: bool,
    begins: bool,
    start: usize,
}

/// The sound of one peer in this tick, in its places.
#[derive(Debug, Default)]
pub(super) struct Placement {
    on: bool,
    /// Where what comes next goes on, and that moment in the stream's own time.
    next: Option<(i64, i64)>,
    stretches: Vec<Stretch>,
    samples: Vec<i16>,
    /// Age of the oldest sound of this tick, in µs.
    oldest: i64,
}

impl Placement {
    /// Whether anybody wants to know.
    pub(super) fn set(&mut self, on: bool, receiver: &mut Receiver) {
        if self.on != on {
            *self = Placement {
                on,
                ..Placement::default()
            };
            receiver.set_capturing(on);
        }
    }

    /// The conference's rate changes between two ticks.
    pub(super) fn set_rate(&mut self, from: SampleRate, to: SampleRate) {
        if let Some((at, _)) = &mut self.next {
            *at = *at * i64::from(to.hertz()) / i64::from(from.hertz());
        }
    }

    /// Places what was decoded for the tick that was `due` then, and begins at
    /// this sample; the voice is `factor` times as loud.
    pub(super) fn take(
        &mut self,
        receiver: &mut Receiver,
        (due, begin): (Instant, i64),
        rate: SampleRate,
        factor: f32,
    ) {
        if !self.on {
            return;
        }
        self.stretches.clear();
        self.samples.clear();
        self.oldest = 0;
        for captured in receiver.captured(due) {
            self.place(&captured, begin, rate);
        }
        if factor != 1.0 {
            amplify(&mut self.samples, factor);
        }
    }

    pub(super) fn oldest(&self) -> i64 {
        self.oldest
    }

    pub(super) fn placed(&self) -> impl Iterator<Item = Placed<'_>> {
        self.stretches.iter().enumerate().map(|(n, stretch)| {
            let end = self.stretches.get(n + 1).map(|next| next.start);
            Placed {
                at: stretch.at,
                made_up: stretch.made_up,
                begins: stretch.begins,
                samples: &self.samples[stretch.start..end.unwrap_or(self.samples.len())],
            }
        })
    }

    fn place(&mut self, captured: &Captured<'_>, begin: i64, rate: SampleRate) {
        let hertz = i64::from(rate.hertz());
        let of_micros = |micros: i64| micros * hertz / 1_000_000;
        let length = captured.samples.len() as i64;
        let target = begin - of_micros(captured.age);
        let goes_on = self.next.filter(|(at, media)| {
            (captured.media - media).abs() <= CONTIGUOUS && (target - at).abs() <= of_micros(JUMP)
        });
        let (at, correction) = match goes_on {
            None => (target, 0),
            Some((at, _)) => (at, correction(target - at, length, of_micros)),
        };
        let start = self.samples.len();
        stretch(captured.samples, length + correction, &mut self.samples);
        self.stretches.push(Stretch {
            at,
            made_up: captured.made_up,
            begins: goes_on.is_none(),
            start,
        });
        self.oldest = self.oldest.max(captured.age);
        let end = captured.media + length * 1_000_000 / hertz;
        self.next = Some((at + length + correction, end));
    }
}

/// By how many samples a stretch of this length is to be longer, where what
/// follows lies so many too early.
fn correction(error: i64, length: i64, of_micros: impl Fn(i64) -> i64) -> i64 {
    if error.abs() <= of_micros(TOLERANCE) {
        return 0;
    }
    let share = match error.abs() > of_micros(HURRY) {
        true => HASTY,
        false => GENTLE,
    };
    let most = (length / share).max(1).min(length - 1);
    error.clamp(-most, most)
}

/// Appends the samples as so many, by interpolation.
fn stretch(samples: &[i16], length: i64, out: &mut Vec<i16>) {
    let from = samples.len() as i64;
    if from == length {
        return out.extend_from_slice(samples);
    }
    let sample = |index: i64| {
        let last = samples.last().copied().unwrap_or(0);
        i64::from(samples.get(index as usize).copied().unwrap_or(last))
    };
    out.extend((0..length).map(|n| {
        let (index, part) = (n * from / length, n * from % length);
        let (here, next) = (sample(index), sample(index + 1));
        (here + (next - here) * part / length) as i16
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(age: i64, media: i64, samples: &[i16]) -> Captured<'_> {
        Captured {
            age,
            media,
            made_up: false,
            samples,
        }
    }

    /// Places frames of 20 ms of a stream whose age is this at each; the places,
    /// in samples after where the first would be if nothing took time.
    fn places(ages: &[i64]) -> Vec<i64> {
        let mut placement = Placement::default();
        for (n, age) in ages.iter().enumerate() {
            let n = n as i64;
            placement.place(
                &piece(*age, n * 20_000, &[7; 160]),
                n * 160,
                SampleRate::Narrow,
            );
        }
        let end = |stretch: &Placed<'_>| stretch.at + stretch.samples.len() as i64;
        let placed: Vec<Placed<'_>> = placement.placed().collect();
        assert!(placed.iter().all(|p| p.samples.iter().all(|s| *s == 7)));
        assert!(placed.windows(2).all(|two| end(&two[0]) == two[1].at));
        let frames = placed.iter().enumerate();
        frames.map(|(n, p)| p.at - n as i64 * 160).collect()
    }

    #[test]
    fn what_is_off_a_little_is_put_right_gently_and_what_is_off_more_in_haste() {
        assert_eq!(places(&[50_000, 50_900, 49_100]), [-400; 3]);
        // 2 ms: a sample in each frame, until it is 1 ms.
        let gently = places(&[[50_000].as_slice(), &[52_000; 20]].concat());
        assert_eq!(gently[..4], [-400, -400, -401, -402]);
        assert_eq!(gently[20], -408);
        // 30 ms: an eighth of each.
        let hastily = places(&[[50_000].as_slice(), &[80_000; 20]].concat());
        assert_eq!(hastily[..4], [-400, -400, -420, -440]);
        // The last 3 ms gently again.
        assert_eq!(hastily[20], -628);
    }

    #[test]
    fn behind_a_pause_it_lies_where_it_was_captured() {
        let mut placement = Placement::default();
        for (age, media) in [(50_000, 0), (51_000, 500_000), (52_000, 480_000)] {
            placement.place(&piece(age, media, &[7; 160]), 0, SampleRate::Narrow);
        }
        let placed: Vec<(i64, bool)> = placement.placed().map(|p| (p.at, p.begins)).collect();
        assert_eq!(placed, [(-400, true), (-408, true), (-416, true)]);
    }
}
