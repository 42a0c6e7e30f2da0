//! What a receiver counts.

use std::time::Duration;

/// Counters since the receiver was made, and the delay it has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiverStatistics {
    /// Packets that were put in.
    pub received: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came when their turn was over, or so long after the
    /// fastest that playing them would exceed the maximum delay.
    pub late: u64,
    /// Packets whose sound came from the redundancy of the next one.
    pub recovered: u64,
    /// Packets that came a second time.
    pub duplicates: u64,
    /// Packets that came after one that was sent later.
    pub reordered: u64,
    /// Packets that were no packets of their codec, or longer than 1500 bytes.
    pub invalid: u64,
    /// Packets that a full buffer or a new stream pushed out before their turn.
    pub discarded: u64,
    /// Times the stream started anew: another SSRC, clock or timestamp.
    pub restarts: u64,
    /// Sound that stood in for what was not there in time.
    pub concealed: Duration,
    /// Sound that was handed out, silence included.
    pub total: Duration,
    /// How long packets shall wait, measured from the fastest one's time.
    pub target_delay: Duration,
    /// How long what plays now was behind the fastest packet's time: the
    /// receiver's and the jitter's part of the delay from mouth to ear.
    pub current_delay: Duration,
    /// Times a piece was left out, to shorten the delay.
    pub accelerations: u64,
    /// Times a piece was repeated, to lengthen the delay.
    pub expansions: u64,
}
