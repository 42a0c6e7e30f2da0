//! How often something took how long, in Prometheus' words.

use std::time::Duration;

/// Counts per bucket, and the sum.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper bounds in seconds, ascending; what is longer than the last is in
    /// a bucket of its own.
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// An empty histogram with these upper bounds in seconds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        Histogram {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    /// One more.
    pub fn record(&mut self, took: Duration) {
        self.record_value(took.as_secs_f64());
    }

    /// One more, of a histogram of other things than time.
    pub fn record_value(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    /// Upper bound and how many took no longer, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut sum = 0;
        self.bounds
            .iter()
            .zip(&self.counts)
            .map(move |(bound, count)| {
                sum += count;
                (*bound, sum)
            })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long all took together, seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_took_no_longer_than_its_bound() {
        let mut histogram = Histogram::new(&[0.1, 1.0]);
        for ms in [50, 100, 101, 1_000, 5_000] {
            histogram.record(Duration::from_millis(ms));
        }
        let buckets: Vec<(f64, u64)> = histogram.buckets().collect();
        assert_eq!(buckets, [(0.1, 2), (1.0, 4)]);
        assert_eq!(histogram.count(), 5);
        assert!((histogram.sum() - 6.251).abs() < 1e-9);
    }
}
