//! How long packets are to wait: long enough for nearly all that come late.
//!
//! A packet's relative delay is how much later it came than the fastest of
//! the last seconds, given its timestamp. The target is a quantile of these.
//! It rises with the first packets that need it and falls slowly.

use std::time::Duration;

/// Width of a class of the histogram, in µs.
const CLASS: i64 = 2_500;
/// Number of classes: 1 s of delay.
const CLASSES: usize = 400;
/// Share of the packets that are to come in time.
const QUANTILE: f32 = 0.97;
/// Time after which a packet's weight has fallen to 1/e, in µs.
const MEMORY: f32 = 6_000_000.0;
/// Weights are scaled down at this: 28 s of 20 ms packets.
const MOST_SCALE: f32 = 100.0;
/// Before anything is measured, packets count as if they came up to this late.
const ASSUMED: i64 = 20_000;
/// Weight of that assumption, in packets' first weights.
const ASSUMED_WEIGHT: f32 = 0.05;
/// The target falls by one µs in so many: 20 ms in a second.
const FALL: i64 = 50;
/// Length of one block of the window in which the fastest packet is sought.
const BLOCK: i64 = 500_000;
/// Blocks of that window: 4 s, in which a clock that is 200 ppm off loses 0.8 ms.
const BLOCKS: usize = 8;

/// The fastest packet of the last seconds, and the histogram of the others'
/// delays against it. All times are in µs.
#[derive(Debug)]
pub struct DelayEstimate {
    minimum: i64,
    maximum: i64,
    blocks: [i64; BLOCKS],
    block: usize,
    block_since: i64,
    /// Lowest of the blocks.
    base: Option<i64>,
    /// What came with which delay, times [`Self::scale`]. Instead of all older
    /// weights falling, each new one weighs more.
    weights: Box<[f32; CLASSES]>,
    total: f32,
    scale: f32,
    /// The class in which the quantile lies, and the weight of those above it.
    quantile: usize,
    above: f32,
    target: i64,
    target_since: i64,
}

impl DelayEstimate {
    pub fn new(minimum: Duration, maximum: Duration) -> DelayEstimate {
        let minimum = i64::try_from(minimum.as_micros()).unwrap_or(i64::MAX);
        let maximum = i64::try_from(maximum.as_micros()).unwrap_or(i64::MAX);
        let maximum = maximum.min(CLASS * (CLASSES as i64 - 1));
        let minimum = minimum.min(maximum);
        let mut weights = Box::new([0.0; CLASSES]);
        let assumed = class(ASSUMED - 1);
        weights[assumed] = ASSUMED_WEIGHT;
        DelayEstimate {
            minimum,
            maximum,
            blocks: [i64::MAX; BLOCKS],
            block: 0,
            block_since: 0,
            base: None,
            weights,
            total: ASSUMED_WEIGHT,
            scale: 1.0,
            quantile: assumed,
            above: 0.0,
            target: ASSUMED.clamp(minimum, maximum),
            target_since: 0,
        }
    }

    /// Notes a packet that came at `arrival` and starts at `media` of the
    /// stream's clock. `duration`: how much of the stream it stands for.
    pub fn update(&mut self, arrival: i64, media: i64, duration: i64) {
        let offset = arrival - media;
        self.update_base(arrival, offset);
        let delay = offset - self.base.unwrap_or(offset);
        let weight = (duration.clamp(2_500, 120_000) as f32 / MEMORY).min(0.5);
        self.weigh(class(delay), weight);
        let wanted = self.quantile().clamp(self.minimum, self.maximum);
        if wanted >= self.target {
            self.target = wanted;
        } else {
            let fall = (arrival - self.target_since).max(0) / FALL;
            self.target = wanted.max(self.target - fall);
        }
        self.target_since = arrival;
    }

    fn update_base(&mut self, arrival: i64, offset: i64) {
        if self.base.is_none() {
            self.blocks = [i64::MAX; BLOCKS];
            self.block_since = arrival;
        } else if arrival - self.block_since >= BLOCK {
            self.block = (self.block + 1) % BLOCKS;
            self.blocks[self.block] = i64::MAX;
            self.block_since = arrival;
        }
        self.blocks[self.block] = self.blocks[self.block].min(offset);
        self.base = self.blocks.iter().copied().min();
    }

    /// Counts a delay of this class, and lets all others count less.
    fn weigh(&mut self, class: usize, weight: f32) {
        self.scale /= 1.0 - weight;
        let scaled = weight * self.scale;
        self.weights[class] += scaled;
        self.total += scaled;
        if class > self.quantile {
            self.above += scaled;
        }
        if self.scale > MOST_SCALE {
            self.scale_down();
        }
        let beyond = self.total * (1.0 - QUANTILE);
        while self.above > beyond && self.quantile + 1 < CLASSES {
            self.quantile += 1;
            self.above -= self.weights[self.quantile];
        }
        while self.quantile > 0 && self.above + self.weights[self.quantile] <= beyond {
            self.above += self.weights[self.quantile];
            self.quantile -= 1;
        }
    }

    /// Brings the weights back to where a float has digits for them. Sums are
    /// made anew, so that what was rounded off does not add up.
    fn scale_down(&mut self) {
        for weight in self.weights.iter_mut() {
            *weight /= self.scale;
        }
        self.scale = 1.0;
        self.total = self.weights.iter().sum();
        self.above = self.weights.iter().skip(self.quantile + 1).sum();
    }

    /// Upper bound of the class below which the quantile of the weight lies.
    fn quantile(&self) -> i64 {
        (self.quantile as i64 + 1) * CLASS
    }

    /// A new stream has a new clock, on the same network.
    pub fn forget_clock(&mut self) {
        self.base = None;
    }

    /// How long after the fastest packet's time one is to be played, in µs.
    pub fn target(&self) -> i64 {
        self.target
    }

    pub fn maximum(&self) -> i64 {
        self.maximum
    }

    /// How much later than the fastest packet it is at `now` for a packet that
    /// starts at `media`. None before the first packet.
    pub fn behind(&self, now: i64, media: i64) -> Option<i64> {
        self.base.map(|base| now - media - base)
    }
}

fn class(delay: i64) -> usize {
    (delay.max(0) / CLASS).min(CLASSES as i64 - 1) as usize
}
