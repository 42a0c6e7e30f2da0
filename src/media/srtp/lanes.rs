//! SHA-1 (FIPS 180-4) of many messages side by side: each 32-bit word of the
//! function is a vector with one message's word in each place.
//!
//! Plain loops, which the compiler turns into vector instructions; compiled
//! for each width of them and chosen when it first runs.

use multiversion::multiversion;
use multiversion::target::{Target, selected_target};

/// Messages side by side: what 512 bits hold.
pub(super) const LANES: usize = 16;

/// One word of every message.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Lane(pub(super) [u32; LANES]);

/// From how many full lanes on [`compress`] takes less time than one message
/// after the other by the SHA instructions; [`usize::MAX`] where it never does.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw", "x86_64+avx2"))]
pub(super) fn worthwhile() -> usize {
    const TARGET: Target = selected_target!();
    const AVX512: bool = TARGET.supports_feature_str("avx512f");
    const AVX2: bool = TARGET.supports_feature_str("avx2");
    match (AVX512, AVX2) {
        (true, _) => 8,
        (false, true) => 13,
        (false, false) => usize::MAX,
    }
}

/// One more block of each message (section 6.1.2).
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw", "x86_64+avx2"))]
pub(super) fn compress(state: &mut [Lane; 5], blocks: &[&[u8; 64]; LANES]) {
    let mut w = [Lane([0; LANES]); 16];
    for (lane, block) in blocks.iter().enumerate() {
        for (word, bytes) in w.iter_mut().zip(block.as_chunks::<4>().0) {
            word.0[lane] = u32::from_be_bytes(*bytes);
        }
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    // The variables change places from round to round; all is unrolled, so
    // that each stays in its register.
    macro_rules! round {
        ($a:ident $b:ident $c:ident $d:ident $e:ident, $t:expr, $f:expr, $k:expr) => {
            for i in 0..LANES {
                if $t >= 16 {
                    let mixed = w[($t + 13) & 15].0[i] ^ w[($t + 8) & 15].0[i];
                    let mixed = mixed ^ w[($t + 2) & 15].0[i] ^ w[$t & 15].0[i];
                    w[$t & 15].0[i] = mixed.rotate_left(1);
                }
                $e.0[i] = $e.0[i]
                    .wrapping_add($a.0[i].rotate_left(5))
                    .wrapping_add($f($b.0[i], $c.0[i], $d.0[i]))
                    .wrapping_add(w[$t & 15].0[i].wrapping_add($k));
                $b.0[i] = $b.0[i].rotate_left(30);
            }
        };
    }
    macro_rules! five_rounds {
        ($t:expr, $f:expr, $k:expr) => {
            round!(a b c d e, $t, $f, $k);
            round!(e a b c d, $t + 1, $f, $k);
            round!(d e a b c, $t + 2, $f, $k);
            round!(c d e a b, $t + 3, $f, $k);
            round!(b c d e a, $t + 4, $f, $k);
        };
    }
    macro_rules! twenty_rounds {
        ($t:expr, $f:expr, $k:expr) => {
            five_rounds!($t, $f, $k);
            five_rounds!($t + 5, $f, $k);
            five_rounds!($t + 10, $f, $k);
            five_rounds!($t + 15, $f, $k);
        };
    }
    // Sections 4.1.1 and 4.2.1.
    twenty_rounds!(0, choose, 0x5a82_7999);
    twenty_rounds!(20, parity, 0x6ed9_eba1);
    twenty_rounds!(40, majority, 0x8f1b_bcdc);
    twenty_rounds!(60, parity, 0xca62_c1d6);
    for (word, worked) in state.iter_mut().zip([a, b, c, d, e]) {
        for (sum, more) in word.0.iter_mut().zip(worked.0) {
            *sum = sum.wrapping_add(more);
        }
    }
}

#[inline(always)]
fn choose(x: u32, y: u32, z: u32) -> u32 {
    z ^ (x & (y ^ z))
}

#[inline(always)]
fn parity(x: u32, y: u32, z: u32) -> u32 {
    x ^ y ^ z
}

#[inline(always)]
fn majority(x: u32, y: u32, z: u32) -> u32 {
    (x & y) | (z & (x | y))
}
