//! G.711: µ-law and A-law by tables (ITU-T G.711, tables 1 and 2).
//!
//! The tables are made by the compiler. µ-law knows 14 bits of a sample and
//! A-law 13 (sign and 12), so the encoders' tables are no larger than that and
//! stay in the cache.

/// Which of the two laws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// PCMU.
    Mu,
    /// PCMA.
    A,
}

static MU_SAMPLES: [i16; 256] = expansion(Law::Mu);
static A_SAMPLES: [i16; 256] = expansion(Law::A);
static MU_CODES: [u8; 1 << 14] = mu_codes();
static A_CODES: [u8; 1 << 12] = a_codes();

/// Appends one sample for each octet of `payload`.
pub fn decode(law: Law, payload: &[u8], out: &mut Vec<i16>) {
    let samples = match law {
        Law::Mu => &MU_SAMPLES,
        Law::A => &A_SAMPLES,
    };
    out.extend(payload.iter().map(|&code| samples[usize::from(code)]));
}

/// Writes one octet for each sample of `frame`, as far as `out` goes.
pub fn encode(law: Law, frame: &[i16], out: &mut [u8]) {
    match law {
        Law::Mu => {
            for (code, &sample) in out.iter_mut().zip(frame) {
                *code = MU_CODES[usize::from((sample as u16) >> 2)];
            }
        }
        Law::A => {
            for (code, &sample) in out.iter_mut().zip(frame) {
                *code = A_CODES[usize::from((sample as u16) >> 4)];
            }
        }
    }
}

const fn expansion(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = match law {
            Law::Mu => mu_sample(code as u8),
            Law::A => a_sample(code as u8),
        };
        code += 1;
    }
    table
}

/// Table 2: all bits are inverted on the line; a segment's step doubles, and
/// everything lies 33 steps further out so that the segments meet.
const fn mu_sample(code: u8) -> i16 {
    let code = !code;
    let segment = (code >> 4) & 7;
    let step = (code & 15) as i16;
    let magnitude = (((step << 1) + 33) << segment) - 33;
    let sample = magnitude << 2;
    if code & 0x80 == 0 { sample } else { -sample }
}

/// Table 1: the even bits are inverted on the line; the first two segments
/// have the same step.
const fn a_sample(code: u8) -> i16 {
    let code = code ^ 0x55;
    let segment = (code >> 4) & 7;
    let step = ((code & 15) as i16) << 4;
    let magnitude = match segment {
        0 => step + 8,
        _ => (step + 0x108) << (segment - 1),
    };
    if code & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}

const fn mu_codes() -> [u8; 1 << 14] {
    let mut table = [0; 1 << 14];
    let mut index = 0;
    while index < table.len() {
        let sample = (((index << 2) as u16) as i16) >> 2;
        let (sign, magnitude) = if sample < 0 {
            (0x80, !sample)
        } else {
            (0, sample)
        };
        // 8158 is the last decision value (table 2a).
        let magnitude = if magnitude > 8158 { 8158 } else { magnitude } + 33;
        let segment = 10 - (magnitude as u16).leading_zeros() as u16;
        let step = ((magnitude as u16) >> (segment + 1)) & 15;
        table[index] = !(sign | (segment << 4) as u8 | step as u8);
        index += 1;
    }
    table
}

const fn a_codes() -> [u8; 1 << 12] {
    let mut table = [0; 1 << 12];
    let mut index = 0;
    while index < table.len() {
        let sample = (((index << 4) as u16) as i16) >> 4;
        let (sign, magnitude) = if sample < 0 {
            (0, !sample as u16)
        } else {
            (0x80, sample as u16)
        };
        let code = if magnitude < 32 {
            magnitude
        } else {
            let segment = 12 - magnitude.leading_zeros() as u16;
            (segment << 4) | ((magnitude >> (segment - 1)) & 15)
        };
        table[index] = (sign | code as u8) ^ 0x55;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ulaw_compress` of ITU-T G.191, sample by sample.
    fn mu_reference(sample: i16) -> u8 {
        let absolute = if sample < 0 {
            ((!sample) >> 2) + 33
        } else {
            (sample >> 2) + 33
        };
        let absolute = absolute.min(0x1fff);
        let mut rest = absolute >> 6;
        let mut segment = 1;
        while rest != 0 {
            segment += 1;
            rest >>= 1;
        }
        let high = 0x0008 - segment;
        let low = 0x000f - ((absolute >> segment) & 0x000f);
        let code = (high << 4) | low;
        (if sample >= 0 { code | 0x80 } else { code }) as u8
    }

    /// `alaw_compress` of ITU-T G.191, sample by sample.
    fn a_reference(sample: i16) -> u8 {
        let mut value = if sample < 0 { !sample } else { sample } >> 4;
        if value > 15 {
            let mut exponent = 1;
            while value > 16 + 15 {
                value >>= 1;
                exponent += 1;
            }
            value -= 16;
            value += exponent << 4;
        }
        if sample >= 0 {
            value |= 0x80;
        }
        (value ^ 0x55) as u8
    }

    #[test]
    fn every_sample_has_the_code_of_the_reference_software() {
        for sample in i16::MIN..=i16::MAX {
            let mut code = [0; 1];
            encode(Law::Mu, &[sample], &mut code);
            assert_eq!(code[0], mu_reference(sample), "µ-law of {sample}");
            encode(Law::A, &[sample], &mut code);
            assert_eq!(code[0], a_reference(sample), "A-law of {sample}");
        }
    }

    #[test]
    fn every_code_survives_being_decoded_and_encoded() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=255 {
                let mut samples = Vec::new();
                decode(law, &[code], &mut samples);
                let mut back = [0; 1];
                encode(law, &samples, &mut back);
                // µ-law has two zeros; the positive one is sent.
                let expected = if (law, code) == (Law::Mu, 0x7f) {
                    0xff
                } else {
                    code
                };
                assert_eq!(back[0], expected, "{law:?} {code:#04x}");
            }
        }
    }

    #[test]
    fn the_ends_of_the_tables_are_those_of_the_recommendation() {
        let mut samples = Vec::new();
        // Table 2: ±8031 of 14 bits and zero; table 1: ±4032 of 13 bits and ±1.
        decode(Law::Mu, &[0x80, 0x00, 0xff, 0x7f], &mut samples);
        assert_eq!(samples, [32124, -32124, 0, 0]);
        samples.clear();
        decode(Law::A, &[0xaa, 0x2a, 0xd5, 0x55], &mut samples);
        assert_eq!(samples, [32256, -32256, 8, -8]);
    }
}
