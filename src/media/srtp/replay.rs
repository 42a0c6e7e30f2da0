//! Packet indexes, and which of them have been seen (RFC 3711 sections 3.3.1
//! and 3.3.2).

use super::HALF;
use crate::media::drop_reason::DropReason;

/// Indexes behind the highest that are still told apart. RFC 3711 section
/// 3.3.2 wants at least 64.
const WINDOW: u64 = 128;
/// The index has 48 bits; then the key is used up (section 9.2).
const MAX_INDEX: u64 = (1 << 48) - 1;

/// Which of the last indexes were seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Replay {
    /// Highest index seen plus one; 0 before the first.
    next: u64,
    /// Bit n: highest minus n was seen.
    seen: u128,
}

impl Replay {
    pub(super) fn check(&self, index: u64) -> Result<(), DropReason> {
        let Some(behind) = self.next.checked_sub(index + 1) else {
            return Ok(());
        };
        if behind >= WINDOW || self.seen >> behind & 1 == 1 {
            return Err(DropReason::SrtpReplayed);
        }
        Ok(())
    }

    pub(super) fn accept(&mut self, index: u64) {
        match self.next.checked_sub(index + 1) {
            Some(behind) if behind < WINDOW => self.seen |= 1 << behind,
            Some(_) => {}
            None => {
                let ahead = index + 1 - self.next;
                self.seen = match ahead {
                    0..WINDOW => self.seen << ahead | 1,
                    _ => 1,
                };
                self.next = index + 1;
            }
        }
    }
}

/// The same with the rollover counter, which is not in the packet.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    replay: Replay,
}

impl Window {
    /// The index of a packet with this sequence number: the one nearest to the
    /// highest seen (RFC 3711 appendix A).
    fn guess(&self, sequence: u16) -> Result<u64, DropReason> {
        let Some(highest) = self.replay.next.checked_sub(1) else {
            return Ok(u64::from(sequence));
        };
        let (rollover, last) = (highest >> 16, highest as u16);
        let rollover = if last < HALF {
            match sequence.checked_sub(last) {
                Some(ahead) if ahead > HALF => rollover.saturating_sub(1),
                _ => rollover,
            }
        } else if last - HALF > sequence {
            rollover + 1
        } else {
            rollover
        };
        let index = rollover << 16 | u64::from(sequence);
        if index > MAX_INDEX {
            return Err(DropReason::SrtpKeyExhausted);
        }
        Ok(index)
    }

    /// The same, if that packet was not seen yet.
    pub(super) fn guess_unseen(&self, sequence: u16) -> Result<u64, DropReason> {
        let index = self.guess(sequence)?;
        self.replay.check(index)?;
        Ok(index)
    }

    pub(super) fn accept(&mut self, index: u64) {
        self.replay.accept(index);
    }
}
