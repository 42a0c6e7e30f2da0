//! Decoded sound with its place in the sender's time, before what is played
//! changes its delay: for recordings, which lie by when something was said.

use std::time::Instant;

use super::Receiver;

/// A piece of sound that was decoded for the last frame.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'s> {
    /// How long before the instant that was asked for its first sample was
    /// captured, in µs, as far as the fastest packet of the last seconds tells:
    /// what the network takes at least is not to be known.
    pub age: i64,
    /// Where it begins in the stream's own time, in µs.
    pub media: i64,
    /// It stands in for what did not come, or not in time.
    pub made_up: bool,
    /// At the receiver's rate.
    pub samples: &'s [i16],
}

/// What was decoded since the last frame.
#[derive(Debug, Default)]
pub(super) struct Capture {
    on: bool,
    samples: Vec<i16>,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    media: i64,
    made_up: bool,
    start: usize,
}

impl Capture {
    pub fn clear(&mut self) {
        self.samples.clear();
        self.pieces.clear();
    }

    /// Keeps a copy, if anybody wants it.
    pub fn add(&mut self, media: i64, made_up: bool, samples: &[i16]) {
        if !self.on || samples.is_empty() {
            return;
        }
        self.pieces.push(Piece {
            media,
            made_up,
            start: self.samples.len(),
        });
        self.samples.extend_from_slice(samples);
    }
}

impl Receiver {
    /// Whether [`Self::captured`] is wanted from the next frame on.
    pub fn set_capturing(&mut self, on: bool) {
        self.capture = Capture {
            on,
            ..Capture::default()
        };
    }

    /// What was decoded for the last frame, in this order; a piece may be
    /// longer than a frame. Ages count up to `at`.
    pub fn captured(&mut self, at: Instant) -> impl Iterator<Item = Captured<'_>> {
        let at = self.micros(at);
        // A packet is sent once its last sample has been captured, and a codec
        // looks ahead of what it gives.
        let codec = self.decoder.as_ref().map_or(0, |d| d.delay_micros());
        let before = self.playout.packet_micros() + i64::from(codec);
        let Capture {
            pieces, samples, ..
        } = &self.capture;
        let delay = &self.delay;
        pieces.iter().enumerate().map(move |(n, piece)| {
            let end = pieces.get(n + 1).map(|next| next.start);
            let end = end.unwrap_or(samples.len());
            let behind = delay.behind(at, piece.media).unwrap_or(0);
            Captured {
                age: behind + before,
                media: piece.media,
                made_up: piece.made_up,
                samples: &samples[piece.start..end],
            }
        })
    }
}
