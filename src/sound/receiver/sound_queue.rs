//! Decoded sound that is not yet handed out. Whatever of it does not follow
//! from what went before is joined on without a step.

use crate::sound::format::SampleRate;

/// A step at a seam is spread over this long, in µs.
const SEAM: usize = 2_500;
/// What is left of a stream that ends at once fades over this long, in µs.
const FADE: usize = 5_000;

/// There is room for this from the start, so that nothing is allocated while
/// a stream of packets of up to 60 ms runs.
const USUAL_FRAMES: usize = 5;

/// Bounded by what it is asked to hold: two frames and the longest packet, which
/// is 1500 octets of G.711, 187.5 ms.
#[derive(Debug)]
pub struct SoundQueue {
    rate: SampleRate,
    samples: Vec<i16>,
    /// The sample that was handed out last.
    last: i16,
}

impl SoundQueue {
    pub fn new(rate: SampleRate) -> SoundQueue {
        SoundQueue {
            rate,
            samples: Vec::with_capacity(USUAL_FRAMES * rate.frame_samples()),
            last: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// How many are missing until a frame is full.
    pub fn missing(&self) -> usize {
        self.rate.frame_samples().saturating_sub(self.samples.len())
    }

    /// Where decoders append. Only what was there may be changed by time scaling.
    pub fn samples(&mut self) -> &mut Vec<i16> {
        &mut self.samples
    }

    /// Appends zeros.
    pub fn silence(&mut self, samples: usize) {
        let length = self.samples.len();
        self.samples.resize(length + samples, 0);
    }

    /// What begins at `start` does not follow from what is before it: spreads
    /// the step between them.
    pub fn join(&mut self, start: usize) {
        let before = match start.checked_sub(1) {
            Some(index) => self.samples.get(index).copied().unwrap_or(self.last),
            None => self.last,
        };
        let length = self.samples_of(SEAM);
        let Some(first) = self.samples.get(start).copied() else {
            return;
        };
        let step = i32::from(before) - i32::from(first);
        for (index, sample) in self.samples[start..].iter_mut().take(length).enumerate() {
            let part = step * (length - index) as i32 / length as i32;
            *sample = (i32::from(*sample) + part).clamp(-32768, 32767) as i16;
        }
    }

    /// What begins at `start` fades to zero until its end.
    pub fn fade_from(&mut self, start: usize) {
        let Some(fading) = self.samples.get_mut(start..) else {
            return;
        };
        let length = fading.len() as i32;
        for (index, sample) in fading.iter_mut().enumerate() {
            *sample = (i32::from(*sample) * (length - index as i32) / length) as i16;
        }
    }

    /// Gives up what waits, but for a short fade.
    pub fn fade_out(&mut self) {
        self.samples.truncate(self.samples_of(FADE));
        self.fade_from(0);
    }

    /// What waits is carried over to another rate by interpolation: it is less
    /// than a packet.
    pub fn set_rate(&mut self, rate: SampleRate) {
        let (from, to) = (self.rate.hertz() as usize, rate.hertz() as usize);
        let length = self.samples.len() * to / from;
        let at = |position: usize| {
            let index = position * from / to;
            let here = i64::from(self.samples[index]);
            let next = self
                .samples
                .get(index + 1)
                .map_or(here, |&next| next.into());
            let part = (position * from % to) as i64;
            (here + (next - here) * part / to as i64) as i16
        };
        let mut carried = Vec::with_capacity(USUAL_FRAMES * rate.frame_samples());
        carried.extend((0..length).map(at));
        self.samples = carried;
        self.rate = rate;
    }

    /// Moves one frame to `out`; zeros stand for what is missing.
    pub fn take_frame(&mut self, out: &mut Vec<i16>) {
        let missing = self.missing();
        self.silence(missing);
        let frame = self.rate.frame_samples();
        out.extend(self.samples.drain(..frame));
        self.last = out.last().copied().unwrap_or(0);
    }

    fn samples_of(&self, micros: usize) -> usize {
        self.rate.hertz() as usize * micros / 1_000_000
    }
}
