//! What a leg has received and sent: RFC 3550 A.3 (loss) and A.8 (jitter).

use std::time::{Duration, Instant};

/// A step forward of the sequence number below this is loss, from it on a
/// restarted source (RFC 3550 A.1, `MAX_DROPOUT`).
pub(super) const MAX_DROPOUT: u16 = 3000;
/// A step back up to this is reordering (RFC 3550 A.1, `MAX_MISORDER`).
pub(super) const MAX_MISORDER: u16 = 100;

/// Numbers of one leg, as of the moment they were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LegStats {
    /// What the peer sent to us.
    pub received: ReceivedStats,
    /// What we sent to the peer.
    pub sent: SentStats,
}

/// RTP from the peer to us. Packets from wrong sources are not in it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ReceivedStats {
    /// RTP packets.
    pub packets: u64,
    /// RTP payload bytes, without headers.
    pub bytes: u64,
    /// Packets that should have come and did not (RFC 3550 A.3), over all
    /// SSRCs the peer used; duplicates can hide losses, as in the RFC.
    pub lost: u64,
    /// Interarrival jitter of the current SSRC (RFC 3550 A.8).
    pub jitter: Duration,
    /// When the last packet came; `None`: none ever did.
    pub last_packet: Option<Instant>,
}

/// RTP from us to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SentStats {
    /// RTP packets handed to the backend.
    pub packets: u64,
    /// RTP payload bytes, without headers.
    pub bytes: u64,
    /// When the last packet went; `None`: none ever did.
    pub last_packet: Option<Instant>,
    /// What the peer last reported of our stream, if it ever did.
    pub reported: Option<Reported>,
    /// To the peer and back, as its last report tells (RFC 3550 section 6.4.1).
    pub round_trip: Option<Duration>,
}

/// A report block about the stream that we send (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reported {
    /// Lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the start; negative when duplicates outweigh losses.
    pub cumulative_lost: i32,
    /// Interarrival jitter.
    pub jitter: Duration,
}

/// Sequence accounting of one SSRC, part of the leg's hot line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sequence {
    /// Extended highest sequence number (cycles in the upper half).
    pub(super) highest: u32,
    /// Packets since the first.
    pub(super) packets: u32,
}

/// How a sequence number follows the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Next, or after a gap that counts as loss.
    Forward,
    /// A duplicate, or late.
    Late,
    /// Too far off to be either: a source that restarted, or noise.
    Jump,
}

impl Sequence {
    /// Starts with the first packet of an SSRC.
    pub(super) fn start(sequence: u16) -> Sequence {
        Sequence {
            highest: u32::from(sequence),
            packets: 1,
        }
    }

    /// Takes one more packet in (RFC 3550 A.1, `update_seq`); a jump is left
    /// to the caller.
    #[inline]
    pub(super) fn update(&mut self, sequence: u16) -> Step {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < MAX_DROPOUT && ahead > 0 {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
            self.packets = self.packets.wrapping_add(1);
            Step::Forward
        } else if ahead == 0 || ahead > u16::MAX - MAX_MISORDER {
            self.packets = self.packets.wrapping_add(1);
            Step::Late
        } else {
            Step::Jump
        }
    }

    /// Packets missing since extended sequence number `first` (RFC 3550 A.3).
    pub(super) fn lost_since(&self, first: u32) -> u64 {
        let expected = self.highest.wrapping_sub(first).wrapping_add(1);
        u64::from(expected.saturating_sub(self.packets))
    }
}

/// Interarrival jitter of one SSRC (RFC 3550 A.8), part of the hot line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Jitter {
    /// Sixteen times the jitter, in timestamp units.
    scaled: u32,
    /// Arrival minus timestamp of the packet before, in timestamp units.
    transit: u32,
    /// Timestamp of the packet before.
    timestamp: u32,
}

impl Jitter {
    /// Starts measuring against this packet; the jitter so far stays.
    pub(super) fn restart(&mut self, arrival: u32, timestamp: u32) {
        self.transit = arrival.wrapping_sub(timestamp);
        self.timestamp = timestamp;
    }

    /// Takes one more packet in. Packets that share a timestamp with the one
    /// before are skipped: those of a DTMF event do (RFC 4733 section 2.2),
    /// and their growing transit is no jitter.
    #[inline]
    pub(super) fn update(&mut self, arrival: u32, timestamp: u32) {
        if timestamp == self.timestamp {
            return;
        }
        self.timestamp = timestamp;
        let transit = arrival.wrapping_sub(timestamp);
        let difference = (transit.wrapping_sub(self.transit) as i32).unsigned_abs();
        self.transit = transit;
        // A.8: s->jitter += d - ((s->jitter + 8) >> 4);
        self.scaled = self
            .scaled
            .saturating_add(difference)
            .saturating_sub(self.scaled.saturating_add(8) >> 4);
    }

    /// In timestamp units.
    pub(super) fn units(&self) -> u32 {
        self.scaled >> 4
    }

    /// As time, for a payload of this clock.
    pub(super) fn duration(&self, clock_rate: u32) -> Duration {
        if clock_rate == 0 {
            return Duration::ZERO;
        }
        let nanos = u64::from(self.units()) * 1_000_000_000 / u64::from(clock_rate);
        Duration::from_nanos(nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_as_loss_and_a_late_packet_takes_it_back() {
        let mut sequence = Sequence::start(10);
        assert_eq!(sequence.update(11), Step::Forward);
        assert_eq!(sequence.update(14), Step::Forward);
        assert_eq!(sequence.lost_since(10), 2);
        assert_eq!(sequence.update(12), Step::Late);
        assert_eq!(sequence.lost_since(10), 1);
    }

    #[test]
    fn the_wrap_at_65535_is_no_loss() {
        let mut sequence = Sequence::start(65534);
        for next in [65535, 0, 1] {
            assert_eq!(sequence.update(next), Step::Forward);
        }
        assert_eq!(sequence.highest, 0x1_0001);
        assert_eq!(sequence.lost_since(65534), 0);
    }

    #[test]
    fn a_duplicate_is_late_and_a_restart_is_a_jump() {
        let mut sequence = Sequence::start(5000);
        assert_eq!(sequence.update(5000), Step::Late);
        assert_eq!(sequence.update(20000), Step::Jump);
        assert_eq!(sequence.update(4000), Step::Jump);
        assert_eq!(sequence.update(4950), Step::Late);
    }

    #[test]
    fn steady_arrival_has_no_jitter() {
        let mut jitter = Jitter::default();
        jitter.restart(0, 777);
        for n in 1..100 {
            jitter.update(n * 160, 777 + n * 160);
        }
        assert_eq!(jitter.duration(8000), Duration::ZERO);
    }

    #[test]
    fn arrival_alternating_by_ten_ms_converges_to_ten_ms_of_jitter() {
        let mut jitter = Jitter::default();
        jitter.restart(0, 0);
        for n in 1..500u32 {
            jitter.update(n * 160 + (n % 2) * 80, n * 160);
        }
        let measured = jitter.duration(8000).as_micros();
        assert!((9_000..=10_000).contains(&measured), "{measured} µs");
    }

    #[test]
    fn packets_of_one_dtmf_event_are_no_jitter() {
        let mut jitter = Jitter::default();
        jitter.restart(0, 0);
        jitter.update(160, 160);
        for n in 2..50 {
            jitter.update(n * 160, 160);
        }
        assert_eq!(jitter.duration(8000), Duration::ZERO);
    }
}
