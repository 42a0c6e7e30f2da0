//! How good a leg sounds each way, by the E-model: rated every few seconds from
//! what was lost, late and delayed since the last time.

use std::time::Duration;

use crate::media::LegStats;
use crate::sdp::Codec;
use crate::sound::e_model::{CodecQuality, Quality, Transmission};
use crate::sound::receiver::ReceiverStatistics;

/// A jitter buffer that is not ours holds about this many times the jitter.
const BUFFER_FACTOR: u32 = 2;
/// Length of a packet, and what its codec looks ahead: not known, as usual.
const PACKET: Duration = Duration::from_millis(20);

/// Below this nearly all users are dissatisfied (G.107 annex B, table B.1: R
/// 60).
const POOR_MOS: f32 = 3.1;
/// From this on, some are (the same table: R 70).
const GOOD_MOS: f32 = 3.6;
/// Poor is what was rated so this often without a break: two report intervals.
const POOR_RATINGS: u8 = 2;

/// Which way sound goes, seen from the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the peer.
    Received,
    /// To the peer.
    Sent,
}

impl Way {
    /// The word of API and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Way::Received => "received",
            Way::Sent => "sent",
        }
    }
}

/// How good one way of a leg sounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rating {
    /// Transmission rating factor of the last seconds, 0 to 93.2.
    pub r: f32,
    /// Mean opinion score of the last seconds, 1 to 4.41.
    pub mos: f32,
    /// Mean of all scores so far.
    pub mos_average: f32,
    /// The worst score so far.
    pub mos_min: f32,
}

/// A score or a factor as it is told: to two decimals.
pub fn two_decimals(value: f32) -> f64 {
    (f64::from(value) * 100.0).round() / 100.0
}

/// Poor from now on, or good again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Turn {
    pub(super) way: Way,
    pub(super) poor: bool,
    pub(super) quality: Quality,
}

/// Both ways of a leg.
#[derive(Debug, Clone, Default)]
pub(super) struct LegQuality {
    received: Scores,
    sent: Scores,
    packets_received: u64,
    packets_sent: u64,
    lost: u64,
    late: u64,
    recovered: u64,
}

#[derive(Debug, Clone, Default)]
struct Scores {
    latest: Option<Quality>,
    sum: f64,
    count: u32,
    min: f32,
    poor_for: u8,
    poor: bool,
}

impl LegQuality {
    /// Rates what has happened since the last time. `buffer` is what our own
    /// jitter buffer says, where the leg is decoded.
    pub(super) fn rate(
        &mut self,
        codec: Codec,
        stats: &LegStats,
        buffer: Option<&ReceiverStatistics>,
    ) -> [Option<Turn>; 2] {
        let late = buffer.map_or(0, |buffer| buffer.late);
        let recovered = buffer.map_or(0, |buffer| buffer.recovered);
        let packets = stats.received.packets.saturating_sub(self.packets_received);
        let lost = stats.received.lost.saturating_sub(self.lost);
        // A buffer that was made anew counts from nothing.
        let late_now = late.checked_sub(self.late).unwrap_or(late);
        let recovered_now = recovered.checked_sub(self.recovered).unwrap_or(recovered);
        let sent = stats.sent.packets.saturating_sub(self.packets_sent);
        *self = LegQuality {
            packets_received: stats.received.packets,
            packets_sent: stats.sent.packets,
            lost: stats.received.lost,
            late,
            recovered,
            ..std::mem::take(self)
        };
        // Who says nothing is not rated.
        let received = (packets > 0).then(|| {
            let missing = (lost + late_now).saturating_sub(recovered_now);
            let loss = part(missing, packets + lost);
            let delay = delay(stats, stats.received.jitter, buffer);
            quality(codec, loss, delay)
        });
        let heard = received.and_then(|quality| self.received.take(Way::Received, quality));
        let told = (sent > 0).then(|| rate_sent(codec, stats)).flatten();
        let hears = told.and_then(|quality| self.sent.take(Way::Sent, quality));
        [heard, hears]
    }

    /// What was rated so far; of a leg too young for that, what its whole life
    /// was like.
    pub(super) fn ratings(&self, codec: Option<Codec>, stats: &LegStats) -> [Option<Rating>; 2] {
        let whole = |stats: &LegStats| {
            let codec = codec?;
            let received = &stats.received;
            let loss = part(received.lost, received.packets + received.lost);
            let delay = delay(stats, received.jitter, None);
            (received.packets > 0).then(|| quality(codec, loss, delay))
        };
        let sent = |stats: &LegStats| rate_sent(codec?, stats);
        [
            self.received.rating().or_else(|| whole(stats).map(alone)),
            self.sent.rating().or_else(|| sent(stats).map(alone)),
        ]
    }
}

impl Scores {
    fn take(&mut self, way: Way, quality: Quality) -> Option<Turn> {
        self.min = match self.count {
            0 => quality.mos,
            _ => self.min.min(quality.mos),
        };
        self.latest = Some(quality);
        self.sum += f64::from(quality.mos);
        self.count = self.count.saturating_add(1);
        self.poor_for = match quality.mos < POOR_MOS {
            true => self.poor_for.saturating_add(1),
            false => 0,
        };
        let poor = match self.poor {
            true => quality.mos < GOOD_MOS,
            false => self.poor_for >= POOR_RATINGS,
        };
        let turned = std::mem::replace(&mut self.poor, poor) != poor;
        turned.then_some(Turn { way, poor, quality })
    }

    fn rating(&self) -> Option<Rating> {
        let latest = self.latest?;
        Some(Rating {
            r: latest.r,
            mos: latest.mos,
            mos_average: (self.sum / f64::from(self.count.max(1))) as f32,
            mos_min: self.min,
        })
    }
}

/// The only rating there is.
fn alone(quality: Quality) -> Rating {
    Rating {
        r: quality.r,
        mos: quality.mos,
        mos_average: quality.mos,
        mos_min: quality.mos,
    }
}

/// What the peer hears, as its reports tell; `None` where it sends none.
fn rate_sent(codec: Codec, stats: &LegStats) -> Option<Quality> {
    let told = stats.sent.reported?;
    let loss = f32::from(told.fraction_lost) / 256.0;
    Some(quality(codec, loss, delay(stats, told.jitter, None)))
}

fn quality(codec: Codec, loss: f32, delay: Duration) -> Quality {
    let transmission = Transmission {
        codec: match codec {
            Codec::Pcmu | Codec::Pcma | Codec::ComfortNoise | Codec::TelephoneEvent(_) => {
                CodecQuality::G711
            }
            Codec::G722 => CodecQuality::G722,
            Codec::Opus => CodecQuality::OPUS,
        },
        loss,
        // Neither RTCP nor the leg tells how loss is spread.
        burst_ratio: 1.0,
        one_way_delay_ms: delay.as_secs_f32() * 1000.0,
    };
    transmission.quality()
}

/// From mouth to ear over this leg: half the round trip, the jitter buffer, a
/// packet.
fn delay(stats: &LegStats, jitter: Duration, buffer: Option<&ReceiverStatistics>) -> Duration {
    let buffered = buffer.map_or(jitter * BUFFER_FACTOR, |buffer| buffer.current_delay);
    stats.sent.round_trip.unwrap_or_default() / 2 + buffered + PACKET
}

fn part(of: u64, all: u64) -> f32 {
    match all {
        0 => 0.0,
        all => of as f32 / all as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Reported;

    fn stats(packets: u64, lost: u64) -> LegStats {
        let mut stats = LegStats::default();
        stats.received.packets = packets;
        stats.received.lost = lost;
        stats
    }

    fn mos(rating: Option<Rating>) -> String {
        let two = |value: f32| format!("{value:.2}");
        rating.map_or("none".to_owned(), |rating| {
            let Rating {
                mos,
                mos_average,
                mos_min,
                ..
            } = rating;
            [mos, mos_average, mos_min].map(two).join(" ")
        })
    }

    #[test]
    fn each_interval_is_rated_by_what_was_lost_in_it() {
        let mut leg = LegQuality::default();
        leg.rate(Codec::Pcma, &stats(250, 0), None);
        // 5 of 250 packets: R 86.2, MOS 4.23.
        leg.rate(Codec::Pcma, &stats(495, 5), None);
        let [received, sent] = leg.ratings(Some(Codec::Pcma), &stats(495, 5));
        assert_eq!(mos(received), "4.23 4.32 4.23");
        assert_eq!(mos(sent), "none");
        leg.rate(Codec::Pcma, &stats(745, 5), None);
        let [received, _] = leg.ratings(Some(Codec::Pcma), &stats(745, 5));
        assert_eq!(mos(received), "4.41 4.35 4.23");
    }

    #[test]
    fn what_came_too_late_for_our_buffer_is_lost_and_what_was_recovered_is_not() {
        let buffer = |late, recovered| ReceiverStatistics {
            late,
            recovered,
            ..ReceiverStatistics::default()
        };
        let rated = |buffer: &ReceiverStatistics, lost| {
            let mut leg = LegQuality::default();
            let stats = stats(250 - lost, lost);
            leg.rate(Codec::Pcma, &stats, Some(buffer));
            mos(leg.ratings(Some(Codec::Pcma), &stats)[0])
        };
        assert_eq!(rated(&buffer(5, 0), 0), "4.23 4.23 4.23");
        assert_eq!(rated(&buffer(0, 5), 5), "4.41 4.41 4.41");
    }

    #[test]
    fn what_the_peer_hears_is_rated_by_its_reports() {
        let mut leg = LegQuality::default();
        let mut told = stats(0, 0);
        told.sent.packets = 250;
        told.sent.round_trip = Some(Duration::from_millis(40));
        told.sent.reported = Some(Reported {
            fraction_lost: 5,
            cumulative_lost: 5,
            jitter: Duration::ZERO,
        });
        leg.rate(Codec::Pcma, &told, None);
        let [received, sent] = leg.ratings(Some(Codec::Pcma), &told);
        assert_eq!(mos(received), "none");
        assert_eq!(mos(sent), "4.24 4.24 4.24");
    }

    #[test]
    fn a_leg_too_young_to_be_rated_is_rated_by_its_whole_life() {
        let leg = LegQuality::default();
        let [received, _] = leg.ratings(Some(Codec::Pcma), &stats(98, 2));
        assert_eq!(mos(received), "4.23 4.23 4.23");
        assert_eq!(leg.ratings(Some(Codec::Pcma), &stats(0, 0)), [None, None]);
        assert_eq!(leg.ratings(None, &stats(98, 2)), [None, None]);
    }

    #[test]
    fn poor_is_what_stays_poor_and_good_again_what_is_clearly_better() {
        let mut leg = LegQuality::default();
        let (mut packets, mut lost) = (0, 0);
        let mut second = |now_lost: u64| {
            packets += 250 - now_lost;
            lost += now_lost;
            let turns = leg.rate(Codec::Pcma, &stats(packets, lost), None);
            turns[0].map(|turn| turn.poor)
        };
        // 20 % of loss: R 51, MOS 2.6. 8 %: R 70.2, MOS 3.6.
        assert_eq!(second(50), None);
        assert_eq!(second(0), None);
        assert_eq!(second(50), None);
        assert_eq!(second(50), Some(true));
        assert_eq!(second(50), None);
        assert_eq!(second(25), None, "better, but not good");
        assert_eq!(second(0), Some(false));
        assert_eq!(second(0), None);
    }
}
