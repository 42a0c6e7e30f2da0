//! Tones that are made, not read from a file: what a caller hears while it
//! rings or when it is busy, and the beep that announces a recording.

use std::f64::consts::TAU;

use super::format::SampleRate;

/// Positions in sound count in samples of the full rate, so that a change of
/// rate moves nothing.
const TICKS_PER_MS: u32 = SampleRate::Full.hertz() / 1000;

/// Rise and fall of each tone, in ticks: 5 ms, which clicks nowhere.
const EDGE: u32 = 5 * TICKS_PER_MS;

/// A tone with its cadence. One pass is one period of the cadence, with the
/// silence at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tone {
    /// Ring-back as in most of Europe (ITU-T E.180, Supplement 2): 425 Hz, 1 s on,
    /// 4 s off.
    RingBackEurope,
    /// Ring-back as in North America: 440 and 480 Hz, 2 s on, 4 s off.
    RingBackNorthAmerica,
    /// Busy as in most of Europe: 425 Hz, 0.5 s on, 0.5 s off.
    BusyEurope,
    /// Busy as in North America: 480 and 620 Hz, 0.5 s on, 0.5 s off.
    BusyNorthAmerica,
    /// A call is being recorded, as North American recorders say it: 1400 Hz,
    /// 0.2 s, once in 15 s.
    RecordingBeep,
}

/// What a tone is made of.
struct Cadence {
    /// In Hz; the second is 0 where there is only one.
    frequencies: [u32; 2],
    on_ms: u32,
    off_ms: u32,
}

impl Tone {
    const fn cadence(self) -> Cadence {
        let (frequencies, on_ms, off_ms) = match self {
            Tone::RingBackEurope => ([425, 0], 1000, 4000),
            Tone::RingBackNorthAmerica => ([440, 480], 2000, 4000),
            Tone::BusyEurope => ([425, 0], 500, 500),
            Tone::BusyNorthAmerica => ([480, 620], 500, 500),
            Tone::RecordingBeep => ([1400, 0], 200, 14_800),
        };
        Cadence {
            frequencies,
            on_ms,
            off_ms,
        }
    }

    /// Peak of each frequency: -15 dBm0 in all, where 0 dBm0 is a sine of
    /// 3.14 dB below full scale (ITU-T G.711). One of a pair has 3 dB less.
    const fn amplitude(self) -> f64 {
        match self.cadence().frequencies {
            [_, 0] => 32_768.0 * 0.1238,
            _ => 32_768.0 * 0.0875,
        }
    }

    /// One period of the cadence, in samples of the full rate.
    pub const fn period(self) -> u64 {
        let Cadence { on_ms, off_ms, .. } = self.cadence();
        ((on_ms + off_ms) * TICKS_PER_MS) as u64
    }

    /// Makes samples of one rate from a position within the period, which is
    /// in samples of the full rate. The caller does not ask beyond its end.
    pub fn make(self, rate: SampleRate, position: u64, out: &mut [f32]) {
        let Cadence {
            frequencies, on_ms, ..
        } = self.cadence();
        let on = u64::from(on_ms * TICKS_PER_MS);
        out.fill(0.0);
        let step = u64::from(SampleRate::Full.hertz() / rate.hertz());
        let sounding = on.saturating_sub(position).div_ceil(step) as usize;
        let sounding = sounding.min(out.len());
        for frequency in frequencies.into_iter().filter(|&frequency| frequency != 0) {
            let turn = TAU * f64::from(frequency);
            let start = turn * position as f64 / f64::from(SampleRate::Full.hertz());
            let step = turn / f64::from(rate.hertz());
            // A sine from the two before it: sin(a + s) = 2 cos(s) sin(a) - sin(a - s).
            let factor = 2.0 * step.cos();
            let mut before = (start - step).sin();
            let mut now = start.sin();
            for sample in &mut out[..sounding] {
                *sample += (self.amplitude() * now) as f32;
                (before, now) = (now, factor * now - before);
            }
        }
        for (index, sample) in out[..sounding].iter_mut().enumerate() {
            let at = position + index as u64 * step;
            let from_edge = at.min(on - at);
            if from_edge < u64::from(EDGE) {
                *sample *= from_edge as f32 / EDGE as f32;
            }
        }
    }
}
