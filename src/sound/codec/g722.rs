//! G.722 at 64 kbit/s (ITU-T G.722, mode 1): two bands of 4 kHz, each ADPCM.
//!
//! Block names are those of the recommendation's section 6. Both directions
//! can leave the filter bank out and work at 8 kHz on the lower band alone.

/// Samples at 16 kHz that are filtered at once: 20 ms.
const CHUNK: usize = 320;

/// Taps of the quadrature mirror filter.
const TAPS: usize = 24;

/// Every second coefficient of the quadrature mirror filter (table 11); the
/// others are the same backwards.
const QMF: [i32; TAPS / 2] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Logarithmic to linear scale factor (table 15, ILB).
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// Decision levels of the lower band's quantizer (table 14, Q6).
const Q6: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940,
    1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// Lower band's code of a negative difference in each decision interval, from 1 (table 16).
const ILN: [u8; 31] = [
    0, 63, 62, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11,
    10, 9, 8, 7, 6, 5, 4,
];

/// The same of a positive difference.
const ILP: [u8; 31] = [
    0, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39,
    38, 37, 36, 35, 34, 33, 32,
];

/// Output of the 4 bit inverse quantizer, by code (tables 17 and 18).
const QM4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];

/// Output of the 6 bit inverse quantizer, by code.
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];

/// Output of the upper band's inverse quantizer, by code.
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];

/// What each 4 bit code adds to the lower band's logarithmic scale (WL of RL42).
const LOWER_STEP: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];

/// What each code adds to the upper band's logarithmic scale (WH of RH2).
const UPPER_STEP: [i32; 4] = [798, -214, 798, -214];

/// The upper band's code of silence: its predictor stays where it starts
/// under it, so that an 8 kHz talker's upper band is exactly nothing.
const UPPER_SILENCE: u8 = 3 << 6;

/// One direction's decoder. Bounded and without allocation.
#[derive(Debug, Clone)]
pub struct Decoder {
    lower: Band,
    upper: Band,
    /// What the receive filter still sees, then the chunk.
    filter: [i16; TAPS - 2 + CHUNK],
}

/// One direction's encoder.
#[derive(Debug, Clone)]
pub struct Encoder {
    lower: Band,
    upper: Band,
    filter: [i16; TAPS - 2 + CHUNK],
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder {
            lower: Band::LOWER,
            upper: Band::UPPER,
            filter: [0; TAPS - 2 + CHUNK],
        }
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder {
            lower: Band::LOWER,
            upper: Band::UPPER,
            filter: [0; TAPS - 2 + CHUNK],
        }
    }
}

impl Decoder {
    /// Appends two samples at 16 kHz for each octet.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        for octets in payload.chunks(CHUNK / 2) {
            let fresh = &mut self.filter[TAPS - 2..];
            for (pair, &octet) in fresh.as_chunks_mut::<2>().0.iter_mut().zip(octets) {
                let lower = self.lower.decode_lower(octet);
                let upper = self.upper.decode_upper(octet);
                // RECA and RECB; both fit, for each band has 15 bits.
                *pair = [(lower + upper) as i16, (lower - upper) as i16];
            }
            let length = octets.len() * 2;
            out.extend(
                self.filter[..TAPS - 2 + length]
                    .windows(TAPS)
                    .step_by(2)
                    .flat_map(|window| {
                        // ACCUMC and ACCUMD.
                        let (even, odd) = branches(window);
                        [saturate(odd >> 11) as i16, saturate(even >> 11) as i16]
                    }),
            );
            self.filter.copy_within(length..length + TAPS - 2, 0);
        }
    }

    /// Appends one sample at 8 kHz for each octet: the lower band alone.
    pub fn decode_narrow(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        out.extend(
            payload
                .iter()
                .map(|&octet| (self.lower.decode_lower(octet) << 1) as i16),
        );
    }
}

impl Encoder {
    /// Writes one octet for each two samples at 16 kHz, as far as `out` goes.
    pub fn encode(&mut self, frame: &[i16], out: &mut [u8]) {
        for (samples, octets) in frame.chunks(CHUNK).zip(out.chunks_mut(CHUNK / 2)) {
            let length = samples.len();
            self.filter[TAPS - 2..][..length].copy_from_slice(samples);
            let windows = self.filter[..TAPS - 2 + length].windows(TAPS).step_by(2);
            for (octet, window) in octets.iter_mut().zip(windows) {
                let (even, odd) = branches(window);
                // LOWT and HIGHT.
                let lower = (odd + even) >> 14;
                let upper = (odd - even) >> 14;
                *octet = self.upper.encode_upper(upper) | self.lower.encode_lower(lower);
            }
            self.filter.copy_within(length..length + TAPS - 2, 0);
        }
    }

    /// Writes one octet for each sample at 8 kHz: the upper band is silent.
    pub fn encode_narrow(&mut self, frame: &[i16], out: &mut [u8]) {
        for (octet, &sample) in out.iter_mut().zip(frame) {
            *octet = UPPER_SILENCE | self.lower.encode_lower(i32::from(sample) >> 1);
        }
    }
}

/// The two polyphase branches of the filter over `window`: its even samples
/// under the coefficients as they stand, its odd ones under them backwards.
fn branches(window: &[i16]) -> (i32, i32) {
    let mut even = 0;
    let mut odd = 0;
    for (i, pair) in window.as_chunks::<2>().0.iter().enumerate().take(TAPS / 2) {
        even += i32::from(pair[0]) * QMF[i];
        odd += i32::from(pair[1]) * QMF[TAPS / 2 - 1 - i];
    }
    (even, odd)
}

/// The adaptive predictor and quantizer of one band.
#[derive(Debug, Clone)]
struct Band {
    /// S: the predicted signal.
    predicted: i32,
    /// SZ: what the zeros give of it.
    zeros: i32,
    /// RLT of the last two samples.
    reconstructed: [i32; 2],
    /// Signs of PLT of the last two samples, 0 or -1.
    partial_signs: [i32; 2],
    /// A1 and A2.
    poles: [i32; 2],
    /// DLT of the last six samples.
    differences: [i32; 6],
    /// B1 to B6.
    coefficients: [i32; 6],
    /// NB: logarithm of the scale.
    logarithm: i32,
    /// DET: the scale.
    scale: i32,
}

impl Band {
    /// As after a reset (section 6.2.1.4: DETL is 32).
    const LOWER: Band = Band::reset(32);
    /// DETH is 8.
    const UPPER: Band = Band::reset(8);

    const fn reset(scale: i32) -> Band {
        Band {
            predicted: 0,
            zeros: 0,
            reconstructed: [0; 2],
            partial_signs: [0; 2],
            poles: [0; 2],
            differences: [0; 6],
            coefficients: [0; 6],
            logarithm: 0,
            scale,
        }
    }

    fn decode_lower(&mut self, octet: u8) -> i32 {
        let code = usize::from(octet & 0x3f);
        // INVQBL, RECONS and LIMIT of block 5L and 6L.
        let difference = (self.scale * QM6[code]) >> 15;
        let output = (self.predicted + difference).clamp(-16384, 16383);
        self.adapt_lower(code >> 2);
        output
    }

    fn decode_upper(&mut self, octet: u8) -> i32 {
        let code = usize::from(octet >> 6);
        let difference = (self.scale * QM2[code]) >> 15;
        let output = (self.predicted + difference).clamp(-16384, 16383);
        self.adapt_upper(code, difference);
        output
    }

    fn encode_lower(&mut self, input: i32) -> u8 {
        // SUBTRA and QUANTL. The levels rise: a search of halves finds the interval.
        let difference = saturate(input - self.predicted);
        let magnitude = if difference >= 0 {
            difference
        } else {
            -(difference + 1)
        };
        let scale = self.scale;
        let interval = 1 + Q6[1..].partition_point(|&level| magnitude >= (level * scale) >> 12);
        let code = if difference < 0 {
            ILN[interval]
        } else {
            ILP[interval]
        };
        self.adapt_lower(usize::from(code >> 2));
        code
    }

    fn encode_upper(&mut self, input: i32) -> u8 {
        let difference = saturate(input - self.predicted);
        let magnitude = if difference >= 0 {
            difference
        } else {
            -(difference + 1)
        };
        // QUANTH; 564 is its one decision level.
        let outer = magnitude >= (564 * self.scale) >> 12;
        let code: u8 = match (difference < 0, outer) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        let quantized = (self.scale * QM2[usize::from(code)]) >> 15;
        self.adapt_upper(usize::from(code), quantized);
        code << 6
    }

    /// INVQAL, LOGSCL and SCALEL; both ends adapt by the upper four bits.
    fn adapt_lower(&mut self, code: usize) {
        let difference = (self.scale * QM4[code]) >> 15;
        self.logarithm = (((self.logarithm * 127) >> 7) + LOWER_STEP[code]).clamp(0, 18432);
        self.scale = linear(self.logarithm, 8);
        self.predict(difference);
    }

    /// LOGSCH and SCALEH.
    fn adapt_upper(&mut self, code: usize, difference: i32) {
        self.logarithm = (((self.logarithm * 127) >> 7) + UPPER_STEP[code]).clamp(0, 22528);
        self.scale = linear(self.logarithm, 10);
        self.predict(difference);
    }

    /// Block 4: the predictor moves on by one quantized difference.
    fn predict(&mut self, difference: i32) {
        // RECONS and PARREC.
        let reconstructed = saturate(self.predicted + difference);
        let sign = saturate(self.zeros + difference) >> 15;

        // UPPOL2.
        let [first, second] = self.poles;
        let quadruple = saturate(first << 2);
        let toward = if sign == self.partial_signs[0] {
            -quadruple
        } else {
            quadruple
        };
        let second = (toward.min(32767) >> 7)
            + if sign == self.partial_signs[1] {
                128
            } else {
                -128
            }
            + ((second * 32512) >> 15);
        let second = second.clamp(-12288, 12288);

        // UPPOL1.
        let first = saturate(
            ((first * 32640) >> 15)
                + if sign == self.partial_signs[0] {
                    192
                } else {
                    -192
                },
        );
        let limit = saturate(15360 - second);
        let first = first.clamp(-limit, limit);
        self.poles = [first, second];

        // UPZERO.
        let step = if difference == 0 { 0 } else { 128 };
        for (coefficient, &past) in self.coefficients.iter_mut().zip(&self.differences) {
            // `difference` and `past` of the same sign: towards each other.
            let toward = if (past ^ difference) >= 0 {
                step
            } else {
                -step
            };
            *coefficient = saturate(((*coefficient * 32640) >> 15) + toward);
        }

        // DELAYA.
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.partial_signs = [sign, self.partial_signs[0]];

        // FILTEP, FILTEZ and PREDIC.
        let poles = saturate(
            ((first * saturate(2 * self.reconstructed[0])) >> 15)
                + ((second * saturate(2 * self.reconstructed[1])) >> 15),
        );
        self.zeros = saturate(
            self.coefficients
                .iter()
                .zip(&self.differences)
                .map(|(&coefficient, &past)| (coefficient * saturate(2 * past)) >> 15)
                .sum(),
        );
        self.predicted = saturate(poles + self.zeros);
    }
}

/// SCALEL and SCALEH: the scale of its logarithm, which has 11 bits after the point.
fn linear(logarithm: i32, bits: i32) -> i32 {
    let mantissa = ILB[((logarithm >> 6) & 31) as usize];
    let shift = bits - (logarithm >> 11);
    let scale = if shift < 0 {
        mantissa << -shift
    } else {
        mantissa >> shift
    };
    scale << 2
}

/// To the range of 16 bits, as every sum of the recommendation is.
fn saturate(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four seconds at 16 kHz, all in integers: noise of full scale, a square
    /// wave, faint noise, and noise through a low pass.
    fn sound() -> Vec<i16> {
        let mut state: u32 = 1;
        let mut low = 0;
        (0..64_000)
            .map(|i| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let noise = i32::from((state >> 16) as u16 as i16);
                low += (noise - low) / 8;
                let sample = match i / 16_000 {
                    0 => noise,
                    1 if i / 9 % 2 == 0 => 30_000,
                    1 => -30_000,
                    2 => noise / 400,
                    _ => low,
                };
                sample as i16
            })
            .collect()
    }

    /// FNV-1a.
    fn checksum(octets: impl Iterator<Item = u8>) -> u64 {
        octets.fold(0xcbf2_9ce4_8422_2325, |sum, octet| {
            (sum ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    fn encoded(sound: &[i16]) -> Vec<u8> {
        let mut encoder = Encoder::default();
        let mut payloads = vec![0; sound.len() / 2];
        for (frame, payload) in sound.chunks(320).zip(payloads.chunks_mut(160)) {
            encoder.encode(frame, payload);
        }
        payloads
    }

    // The sums are of what ffmpeg 5.1 makes of the same sound: written as
    // little-endian 16 bit samples, `-c:a g722`, and back to `-f s16le`.

    #[test]
    fn the_encoder_gives_ffmpegs_octets() {
        let payloads = encoded(&sound());
        assert_eq!(checksum(payloads.into_iter()), 0x03f9_f4d3_e13b_ed46);
    }

    #[test]
    fn the_decoder_gives_ffmpegs_samples() {
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        for payload in encoded(&sound()).chunks(160) {
            decoder.decode(payload, &mut out);
        }
        let octets = out.iter().flat_map(|sample| sample.to_le_bytes());
        assert_eq!(checksum(octets), 0xdc40_ac1a_6010_f2af);
    }

    #[test]
    fn packets_of_any_length_are_one_stream() {
        let payloads = encoded(&sound()[..3200]);
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        Decoder::default().decode(&payloads, &mut whole);
        let mut decoder = Decoder::default();
        for part in payloads.chunks(37) {
            decoder.decode(part, &mut parts);
        }
        assert_eq!(whole, parts);
    }

    #[test]
    fn a_narrow_talkers_upper_band_is_what_the_encoder_makes_of_silence() {
        let mut encoder = Encoder::default();
        for _ in 0..1000 {
            assert_eq!(encoder.upper.encode_upper(0), UPPER_SILENCE);
        }
    }
}
