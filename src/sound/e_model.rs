//! What listeners would think of a call: the E-model (ITU-T G.107) with
//! everything but delay, codec and loss at its default.
//!
//! The scale is the narrowband one, on which 93.2 is a perfect telephone call.
//! It has no place for what wideband codecs are better in, so that calls of
//! all codecs compare: G.722 and Opus without loss are rated as G.711 is.

/// R of a call without delay, loss or coding: what R0 − Is comes to with all of
/// table 3 at its default (G.107 section 7.7).
const BEST_R: f32 = 93.2;

/// What a figure of quality is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transmission {
    /// The codec.
    pub codec: CodecQuality,
    /// Part of the packets that were lost or too late, 0 to 1.
    pub loss: f32,
    /// Burst ratio (G.107 section 7.5): mean length of the gaps over that of
    /// random loss. 1 is random; less counts as 1, as the model has no value
    /// for it.
    pub burst_ratio: f32,
    /// From mouth to ear, in ms: half the round trip, the jitter buffer, the codec.
    pub one_way_delay_ms: f32,
}

/// How a codec takes loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CodecQuality {
    /// Equipment impairment factor without loss, Ie.
    pub impairment: f32,
    /// Packet-loss robustness factor, Bpl.
    pub robustness: f32,
}

/// The model's verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Transmission rating factor, 0 to 93.2.
    pub r: f32,
    /// Mean opinion score, conversational (MOS-CQE), 1 to 4.41.
    pub mos: f32,
}

impl CodecQuality {
    /// G.711 with concealment (G.113 appendix I: Ie 0, Bpl 25.1). The table has
    /// it for packets of 10 ms and the concealment of G.711 appendix I, and
    /// nothing for those of 20 ms.
    pub const G711: CodecQuality = CodecQuality {
        impairment: 0.0,
        robustness: 25.1,
    };

    /// G.711 without concealment (same table: Ie 0, Bpl 4.3; also the default of
    /// G.107 table 3).
    pub const G711_WITHOUT_CONCEALMENT: CodecQuality = CodecQuality {
        impairment: 0.0,
        robustness: 4.3,
    };

    /// Opus. The ITU names no values. Bpl is what Al-Ahmadi, Počta and Melvin
    /// ("An Adaptive Bitrate Switching Algorithm for Speech Applications in
    /// Context of WebRTC", ACM TOMM 17(4), 2021) fitted for random loss at 40
    /// kbit/s without in-band FEC; their Ie is one of the fullband scale.
    pub const OPUS: CodecQuality = CodecQuality {
        impairment: 0.0,
        robustness: 9.8,
    };

    /// G.722 at 64 kbit/s. G.113 rates it on the wideband scale only, so Bpl is
    /// an assumption: that of Opus, whose values without FEC lie as far between
    /// G.711's with and without concealment as a simple concealment would.
    pub const G722: CodecQuality = CodecQuality {
        impairment: 0.0,
        robustness: 9.8,
    };
}

impl Transmission {
    /// Rates it. Values that are no number or out of range count as the
    /// nearest one in it.
    pub fn quality(&self) -> Quality {
        let r = BEST_R - delay_impairment(self.one_way_delay_ms) - self.equipment_impairment();
        let r = r.clamp(0.0, BEST_R);
        Quality {
            r,
            mos: mean_opinion_score(r),
        }
    }

    /// Ie,eff (G.107 section 7.5, equation 7-29).
    fn equipment_impairment(&self) -> f32 {
        let CodecQuality {
            impairment,
            robustness,
        } = self.codec;
        // Packet loss in percent, as the equation has it.
        let loss = 100.0 * in_range(self.loss, 0.0, 1.0);
        let burst_ratio = in_range(self.burst_ratio, 1.0, f32::MAX);
        impairment + (95.0 - impairment) * loss / (loss / burst_ratio + robustness)
    }
}

/// Idd (G.107 section 7.4, equations 7-27 and 7-28, with the default class of
/// table 1: sT is 1, mT is 100 ms). Echo is not known here, so Idte and Idle are
/// 0; with the echo of table 3 every delay would cost some more.
fn delay_impairment(ms: f32) -> f32 {
    let ms = in_range(ms, 0.0, 60_000.0);
    if ms <= 100.0 {
        return 0.0;
    }
    let x = (ms / 100.0).log2();
    let term = |x: f32| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (term(x) - 3.0 * term(x / 3.0) + 2.0)
}

/// MOS of R (G.107 annex B, equation B-4). The cubic dips below 1 for R under
/// 6.5, where it has no meaning.
fn mean_opinion_score(r: f32) -> f32 {
    let mos = 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6;
    mos.max(1.0)
}

fn in_range(value: f32, least: f32, most: f32) -> f32 {
    if value.is_nan() {
        return least;
    }
    value.clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERFECT: Transmission = Transmission {
        codec: CodecQuality::G711,
        loss: 0.0,
        burst_ratio: 1.0,
        one_way_delay_ms: 0.0,
    };

    fn close(value: f32, expected: f32, tolerance: f32) {
        assert!((value - expected).abs() <= tolerance, "{value}: {expected}");
    }

    #[test]
    fn a_perfect_call_has_r_93_2_and_mos_4_41() {
        for codec in [CodecQuality::G711, CodecQuality::G722, CodecQuality::OPUS] {
            let quality = Transmission { codec, ..PERFECT }.quality();
            close(quality.r, 93.2, 0.001);
            close(quality.mos, 4.41, 0.005);
        }
    }

    #[test]
    fn mos_of_r_is_that_of_table_b_1() {
        // G.107 annex B, table B.1: the lower limits of the classes of users.
        // The equation gives 4.024 where the table has 4.03.
        for (r, mos) in [
            (90.0, 4.34),
            (80.0, 4.03),
            (70.0, 3.60),
            (60.0, 3.10),
            (50.0, 2.58),
        ] {
            close(mean_opinion_score(r), mos, 0.007);
        }
        close(mean_opinion_score(0.0), 1.0, 0.0);
        close(mean_opinion_score(3.0), 1.0, 0.0);
    }

    #[test]
    fn delay_hurts_beyond_100_ms() {
        // Equations 7-27 and 7-28, worked out in double precision.
        for (ms, impairment) in [
            (0.0, 0.0),
            (100.0, 0.0),
            (150.0, 0.1635),
            (200.0, 3.0444),
            (300.0, 14.7607),
            (400.0, 24.0701),
        ] {
            close(delay_impairment(ms), impairment, 0.001);
        }
        let far = Transmission {
            one_way_delay_ms: 400.0,
            ..PERFECT
        };
        assert!(far.quality().mos < 3.7);
    }

    #[test]
    fn loss_hurts_by_the_codecs_robustness_and_in_bursts_more() {
        let lossy = |codec, loss, burst_ratio| Transmission {
            codec,
            loss,
            burst_ratio,
            ..PERFECT
        };
        // 95 / (1 + 25.1), and with 2 %: 95 × 2 / (2 + 25.1),
        // 95 × 2 / (2 + 4.3), 95 × 2 / (2 / 2 + 25.1).
        close(
            lossy(CodecQuality::G711, 0.01, 1.0).equipment_impairment(),
            3.64,
            0.01,
        );
        close(
            lossy(CodecQuality::G711, 0.02, 1.0).equipment_impairment(),
            7.01,
            0.01,
        );
        let bare = CodecQuality::G711_WITHOUT_CONCEALMENT;
        close(lossy(bare, 0.02, 1.0).equipment_impairment(), 30.16, 0.01);
        close(
            lossy(CodecQuality::G711, 0.02, 2.0).equipment_impairment(),
            7.28,
            0.01,
        );
        close(lossy(CodecQuality::OPUS, 0.02, 1.0).quality().r, 77.1, 0.05);
        close(lossy(CodecQuality::G711, 1.0, 1.0).quality().r, 17.26, 0.05);
    }

    #[test]
    fn values_out_of_range_count_as_the_nearest_one() {
        for wrong in [f32::NAN, -1.0, f32::NEG_INFINITY] {
            let transmission = Transmission {
                loss: wrong,
                burst_ratio: wrong,
                one_way_delay_ms: wrong,
                ..PERFECT
            };
            assert_eq!(transmission.quality(), PERFECT.quality());
        }
        let worst = Transmission {
            loss: f32::INFINITY,
            burst_ratio: f32::INFINITY,
            one_way_delay_ms: f32::INFINITY,
            ..PERFECT
        };
        assert_eq!(worst.quality(), Quality { r: 0.0, mos: 1.0 });
    }
}
