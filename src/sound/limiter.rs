//! From a sum of voices to 16 bits: loud sums are turned down, not clipped.

/// Above this the limiter acts. A little below full scale, so that what is
/// still above it while the gain comes down bends instead of clipping.
const CEILING: f32 = 30_000.0;
/// Full scale of 16 bits.
const FULL_SCALE: f32 = 32_767.0;
/// Samples over which the gain comes down, as a share of the frame: 2.5 ms.
const ATTACK_SHARE: usize = 8;
/// By how much the gain may rise again in a frame: half a second from half the
/// volume to all of it.
const RELEASE_PER_FRAME: f32 = 0.02;

/// The gain of one mix, carried from frame to frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limiter {
    gain: f32,
}

impl Default for Limiter {
    fn default() -> Self {
        Limiter { gain: 1.0 }
    }
}

impl Limiter {
    /// Writes the sum as 16 bit samples into `out`, which is as long.
    pub fn frame(&mut self, sum: &[i32], out: &mut [i16]) {
        let peak = sum.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        if self.gain >= 1.0 && peak <= CEILING as u32 {
            for (sample, out) in sum.iter().zip(out) {
                *out = *sample as i16;
            }
            return;
        }
        let wanted = match peak {
            0 => 1.0,
            peak => (CEILING / peak as f32).min(1.0),
        };
        let target = match wanted < self.gain {
            true => wanted,
            false => wanted.min(self.gain + RELEASE_PER_FRAME),
        };
        let ramp = match target < self.gain {
            true => (sum.len() / ATTACK_SHARE).max(1),
            false => sum.len().max(1),
        };
        let step = (target - self.gain) / ramp as f32;
        let mut gain = self.gain;
        for (n, (sample, out)) in sum.iter().zip(out).enumerate() {
            if n < ramp {
                gain += step;
            }
            *out = bend(*sample as f32 * gain);
        }
        self.gain = target;
    }
}

/// Above the ceiling the curve flattens towards full scale.
fn bend(sample: f32) -> i16 {
    let size = sample.abs();
    if size <= CEILING {
        return sample as i16;
    }
    let room = FULL_SCALE - CEILING;
    let over = (size - CEILING) / room;
    let bent = CEILING + room * over / (1.0 + over);
    bent.copysign(sample) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(amplitude: f32, from: usize) -> Vec<i32> {
        let wave = |n: usize| ((n as f32 * 0.3).sin() * amplitude) as i32;
        (from..from + 160).map(wave).collect()
    }

    #[test]
    fn what_fits_passes_bit_for_bit() {
        let sum = sine(29_000.0, 0);
        let mut out = [0; 160];
        Limiter::default().frame(&sum, &mut out);
        assert!(sum.iter().zip(out).all(|(a, b)| *a == i32::from(b)));
    }

    #[test]
    fn a_sum_of_many_is_turned_down_and_keeps_its_shape() {
        let mut limiter = Limiter::default();
        let mut out = [0; 160];
        for frame in 0..10 {
            limiter.frame(&sine(90_000.0, frame * 160), &mut out);
        }
        let sum = sine(90_000.0, 9 * 160);
        for (sample, out) in sum.iter().zip(out) {
            let expected = *sample as f32 * limiter.gain;
            assert!((expected - f32::from(out)).abs() < 40.0, "{sample} {out}");
        }
    }

    #[test]
    fn no_sum_wraps_around() {
        let mut limiter = Limiter::default();
        let mut out = [0; 160];
        for (sum, positive) in [(i32::MAX / 2, true), (i32::MIN / 2, false)] {
            limiter.frame(&[sum; 160], &mut out);
            assert!(out.iter().all(|s| (*s > 0) == positive), "{out:?}");
        }
    }

    #[test]
    fn the_volume_comes_back_within_seconds() {
        let mut limiter = Limiter::default();
        let mut out = [0; 160];
        limiter.frame(&[120_000; 160], &mut out);
        for _ in 0..50 {
            limiter.frame(&[1000; 160], &mut out);
        }
        assert_eq!(out[159], 1000);
    }
}
