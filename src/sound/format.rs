//! The shape of sound inside the gateway: frames of 20 ms, mono, 16 bit.

/// Length of every frame, in ms.
pub const FRAME_MS: u32 = 20;

/// Samples of the longest frame: 20 ms at 48 kHz.
pub const MAX_FRAME_SAMPLES: usize = 960;

/// A sampling rate that the gateway works in. Ordered from low to high.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SampleRate {
    /// 8 kHz: the telephone band of G.711.
    Narrow,
    /// 16 kHz: G.722.
    Wide,
    /// 48 kHz: Opus.
    Full,
}

impl SampleRate {
    /// In Hz.
    pub const fn hertz(self) -> u32 {
        match self {
            SampleRate::Narrow => 8000,
            SampleRate::Wide => 16000,
            SampleRate::Full => 48000,
        }
    }

    /// Samples of a 20 ms frame.
    pub const fn frame_samples(self) -> usize {
        (self.hertz() / 1000 * FRAME_MS) as usize
    }
}

const _: () = assert!(SampleRate::Full.frame_samples() == MAX_FRAME_SAMPLES);
