//! Each leg's own reports (RFC 3550 section 6.4), and what the peer's say.
//!
//! Reports end at the gateway: towards its peer a leg is one participant with
//! one SSRC, one clock and one name, whoever feeds it, and tells of itself
//! whether or not the peer at the far end speaks RTCP. The report block is
//! about the whole way where the far end reports: its loss and jitter are of
//! the relayed stream, and the delay since the peer's sender report is told
//! shorter by the round trip to the far end, so that the round trip the peer
//! works out is the sum of both hops, just as if the far end had answered.
//! Else the block is about this hop.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::{Rng, RngExt};

use super::drop_reason::DropReason;
use super::feedback::{self, About, Translation};
use super::generated::Transmit;
use super::leg::{receive_state, send_state};
use super::packet::{Packet, SLOT_SIZE, Verdict};
use super::rtcp::{self, ReportBlock, SenderInfo};
use super::stats::Reported;
use super::table::{Table, Tick};
use crate::clock::WallClock;
use crate::ids::{LegId, MediaPort};

/// Mean time between two reports: the fixed minimum (RFC 3550 section 6.2),
/// which outweighs what the bandwidth of two participants would ask for.
const INTERVAL: Duration = Duration::from_secs(5);

/// Reports fall due together on multiples of this, so that thousands of legs
/// wake their shard ten times a second and not thousands of times.
const TICK: Duration = Duration::from_millis(100);

/// A report of the far end counts for this long: three mean intervals, so that
/// one may be lost on the way.
const FAR_REPORT_MICROS: u64 = 15_000_000;

/// Longest round trip that is believed, in 1/65536 s: a minute.
const MAX_ROUND_TRIP: u32 = 60 << 16;

/// Seconds from 1900, where NTP time starts, to 1970 (RFC 3550 section 4).
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// How a leg names its stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SynchronizationSource {
    /// The SSRC, which lasts as long as the leg (RFC 3550 section 5.1).
    pub ssrc: u32,
    /// The canonical name (RFC 3550 section 6.5.1), 96 random bits of the leg's
    /// own (RFC 7022 section 4.2).
    pub cname: String,
}

/// What a leg's reports are made of, beside the counters of the hot lines.
#[derive(Debug)]
pub(super) struct Reports {
    cname: String,
    /// Packets sent when the last two reports were made, the newer first.
    sent: [u64; 2],
    told: Told,
    sender_report: Option<PeerReport>,
    heard: Option<Heard>,
    /// As last measured, in 1/65536 s.
    round_trip: Option<u32>,
}

/// What the last report was reckoned from (RFC 3550 A.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Told {
    ssrc: u32,
    first: u32,
    expected: u32,
    received: u32,
}

/// The last sender report of the peer.
#[derive(Debug, Clone, Copy)]
struct PeerReport {
    ssrc: u32,
    /// Middle 32 bits of its NTP time.
    middle: u32,
    micros: u64,
}

/// The peer's last block about the stream that we send it.
#[derive(Debug, Clone, Copy)]
struct Heard {
    block: ReportBlock,
    micros: u64,
    /// Whose stream that is in truth, and its extended highest sequence number
    /// there; `None`: of nobody who is linked.
    original: Option<(u32, u32)>,
    /// What was lost of the streams before that one.
    lost_before: i32,
}

impl Reports {
    /// Of a leg that has neither sent nor received.
    pub(super) fn new(random: &mut impl Rng) -> Reports {
        let mut word = || random.next_u32();
        Reports {
            cname: format!("{:08x}{:08x}{:08x}", word(), word(), word()),
            sent: [0; 2],
            told: Told::default(),
            sender_report: None,
            heard: None,
            round_trip: None,
        }
    }

    /// As they go on in another table, whose clock is another: what was told
    /// and heard by this one's is left behind.
    pub(super) fn carried(self) -> Reports {
        Reports {
            told: Told::default(),
            sender_report: None,
            heard: None,
            ..self
        }
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        let micros = |units: u32| (u64::from(units) * 1_000_000) >> 16;
        self.round_trip
            .map(|units| Duration::from_micros(micros(units)))
    }
}

impl Table {
    /// From now on reports carry this wall clock's time; before, time since
    /// the first leg (RFC 3550 section 6.4.1).
    pub fn set_clock(&mut self, clock: WallClock) {
        self.clock = Some(clock);
    }

    /// How the leg's peer sees us; `None` when the leg is gone.
    pub fn source(&self, leg: LegId) -> Option<SynchronizationSource> {
        let i = self.live(leg)?;
        Some(SynchronizationSource {
            ssrc: self.send[i].ssrc,
            cname: self.cold[i].reports.cname.clone(),
        })
    }

    /// Reports begin once the peer is described, the first after half the
    /// time (RFC 3550 section 6.2).
    pub(super) fn start_reports(&mut self, now: Instant, i: usize) {
        if self.transport.reports.get(&(i as u32)).is_none() {
            self.schedule_report(now, i, INTERVAL / 2);
        }
    }

    /// Sends the reports that are due.
    pub(super) fn send_reports(&mut self, now: Instant) {
        let tick = self.tick(now);
        while let Some(leg) = self.transport.reports.pop(now) {
            let i = leg as usize;
            self.schedule_report(now, i, INTERVAL);
            if self.may_report(i) {
                let compound = self.report(tick, i);
                self.send_rtcp_counted(i, &compound);
            }
        }
    }

    /// RFC 3550 section 6.3.1: half to one and a half of the mean. The division
    /// by 1.21828 makes up for timer reconsideration, which two participants,
    /// who never become more, have no need of.
    fn schedule_report(&mut self, now: Instant, i: usize, mean: Duration) {
        let permille = self.random.random_range(500..1500);
        let since = self.tick(now).micros + (mean * permille / 1000).as_micros() as u64;
        let micros = since.next_multiple_of(TICK.as_micros() as u64);
        let epoch = self.epoch.unwrap_or(now);
        let at = epoch + Duration::from_micros(micros);
        self.transport.reports.set(i as u32, at);
    }

    /// Whether the leg has anything to report, and may send. One on hold does:
    /// RTCP goes on (RFC 3264 section 8.4).
    fn may_report(&self, i: usize) -> bool {
        let (Some(receive), Some(send)) = (self.receive.get(i), self.send.get(i)) else {
            return false;
        };
        (send.is(send_state::STARTED) || receive.is(receive_state::HAS_SSRC))
            && self.release_rtcp(i).is_ok()
            && self.rtcp_destination(i).is_ok()
    }

    /// The report of now; it counts as told.
    fn report(&mut self, tick: Tick, i: usize) -> Vec<u8> {
        let told = self.told(i);
        let block = self.report_block(tick, i, told);
        let packets = self.send[i].packets;
        let reports = &self.cold[i].reports;
        // RFC 3550 section 6.4: a sender is who has sent since the report
        // before the last.
        let info = (packets != reports.sent[1]).then(|| self.sender_info(tick, i));
        let mut out = Vec::with_capacity(128);
        let ssrc = self.send[i].ssrc;
        rtcp::write_report(
            &mut out,
            ssrc,
            info.as_ref(),
            block.as_ref(),
            &reports.cname,
        );
        let reports = &mut self.cold[i].reports;
        reports.sent = [packets, reports.sent[0]];
        reports.told = told.unwrap_or(reports.told);
        out
    }

    fn sender_info(&self, tick: Tick, i: usize) -> SenderInfo {
        let send = &self.send[i];
        let passed = tick.ms.wrapping_sub(send.last_ms);
        let units = u64::from(passed) * u64::from(self.sent_clock_rate(i)) / 1000;
        SenderInfo {
            ntp: self.ntp(tick),
            rtp_time: send.timestamp.wrapping_add(units as u32),
            packets: send.packets as u32,
            octets: send.bytes as u32,
        }
    }

    /// Clock of the stream that the leg sends, in Hz.
    fn sent_clock_rate(&self, i: usize) -> u32 {
        let source = self.receive.get(self.receive[i].sink as usize);
        let source = source.filter(|s| s.ssrc == self.send[i].source_ssrc && s.clock_rate != 0);
        let described = || self.cold[i].remote.as_ref()?.payloads.first();
        source
            .map(|s| s.clock_rate)
            .or_else(|| described().map(|payload| payload.clock_rate))
            .unwrap_or(0)
    }

    /// Where the leg's receiving stands; `None` before the first packet.
    fn told(&self, i: usize) -> Option<Told> {
        let receive = &self.receive[i];
        let first = self.cold[i].first_sequence;
        let highest = receive.sequence.highest;
        receive.is(receive_state::HAS_SSRC).then_some(Told {
            ssrc: receive.ssrc,
            first,
            expected: highest.wrapping_sub(first).wrapping_add(1),
            received: receive.sequence.packets,
        })
    }

    /// What to say of the peer's stream; nothing where no packet came since
    /// the last report (RFC 3550 section 6.4).
    fn report_block(&self, tick: Tick, i: usize, told: Option<Told>) -> Option<ReportBlock> {
        let told = told?;
        let reports = &self.cold[i].reports;
        let before = Some(reports.told)
            .filter(|before| (before.ssrc, before.first) == (told.ssrc, told.first))
            .unwrap_or_default();
        if told.received == before.received {
            return None;
        }
        let far = self.far_end(tick, i);
        let mut block = match far.and_then(|(heard, _)| heard.as_original()) {
            Some(block) => block,
            None => ReportBlock {
                ssrc: told.ssrc,
                fraction_lost: told.fraction_lost_since(&before),
                cumulative_lost: told.cumulative_lost(),
                highest: self.receive[i].sequence.highest,
                jitter: self.receive[i].jitter.units(),
                ..ReportBlock::default()
            },
        };
        if let Some(report) = reports.sender_report.filter(|r| r.ssrc == told.ssrc) {
            let delay = units(tick.micros.saturating_sub(report.micros));
            let onward = far.and_then(|(_, round_trip)| round_trip).unwrap_or(0);
            // A report that came less than that ago is not named at all: the
            // far end could not have answered it yet.
            if let Some(delay) = delay.checked_sub(onward) {
                block.last_sender_report = report.middle;
                block.delay = delay;
            }
        }
        Some(block)
    }

    /// What the far end last said of the stream that this leg receives, and
    /// the round trip to it. Nothing in an echo: its far end is the peer itself.
    fn far_end(&self, tick: Tick, i: usize) -> Option<(Heard, Option<u32>)> {
        let receive = &self.receive[i];
        let sink = receive.sink as usize;
        let reports = &self.cold.get(sink).filter(|_| sink != i)?.reports;
        let heard = reports.heard?;
        let (ssrc, _) = heard.original?;
        let age = tick.micros.saturating_sub(heard.micros);
        (ssrc == receive.ssrc && age < FAR_REPORT_MICROS).then_some((heard, reports.round_trip))
    }

    /// Takes in what a valid compound of the peer reports.
    pub(super) fn hear_reports(&mut self, tick: Tick, i: usize, compound: &[u8]) {
        let about = self.about(i);
        let now = (self.ntp(tick) >> 16) as u32;
        let clock_rate = u64::from(self.sent_clock_rate(i));
        let (receive, send) = (&self.receive[i], &self.send[i]);
        let theirs = receive.is(receive_state::HAS_SSRC).then_some(receive.ssrc);
        let observed = rtcp::observe(compound, send.ssrc, theirs);
        let cold = &mut self.cold[i];
        let reports = &mut cold.reports;
        if let Some((ssrc, middle)) = observed.sender_report {
            reports.sender_report = Some(PeerReport {
                ssrc,
                middle,
                micros: tick.micros,
            });
        }
        let Some(block) = observed.block else {
            return;
        };
        let jitter = (u64::from(block.jitter) * 1_000_000).checked_div(clock_rate);
        cold.reported = Some(Reported {
            fraction_lost: block.fraction_lost,
            cumulative_lost: block.cumulative_lost,
            jitter: Duration::from_micros(jitter.unwrap_or(0)),
        });
        // RFC 3550 section 6.4.1: A - LSR - DLSR. What is negative wraps to
        // far more than a minute.
        let round_trip = now
            .wrapping_sub(block.last_sender_report)
            .wrapping_sub(block.delay);
        if block.last_sender_report != 0 && round_trip <= MAX_ROUND_TRIP {
            reports.round_trip = Some(round_trip);
        }
        let original = about.map(|about| (about.to, about.original_highest(block.highest)));
        let before = reports.heard;
        let same = |before: &Heard| before.original.map(|o| o.0) == original.map(|o| o.0);
        let lost_before = match before {
            Some(before) if same(&before) => before.lost_before,
            Some(before) => before.block.cumulative_lost,
            None => 0,
        };
        reports.heard = Some(Heard {
            block,
            micros: tick.micros,
            original,
            lost_before,
        });
    }

    /// The stream that the leg's peer hears, as who sends it numbers it.
    fn about(&self, i: usize) -> Option<About> {
        let send = &self.send[i];
        let source = self.receive.get(self.receive[i].sink as usize)?;
        (send.is(send_state::STARTED) && send.source_ssrc == source.ssrc).then_some(About {
            from: send.ssrc,
            to: send.source_ssrc,
            sequence_offset: send.sequence_offset,
            highest: source.sequence.highest,
        })
    }

    /// Passes on to the other peer what of the compound is for it, behind the
    /// smallest report there is (RFC 4585 section 3.1).
    pub(super) fn pass_on(&mut self, i: usize, compound: &[u8]) -> Result<Verdict, DropReason> {
        let sink = self.receive[i].sink as usize;
        let Some(out) = self.send.get(sink) else {
            // What a tapped leg hears is of our own making: nobody else is meant.
            if self.receive[i].is(receive_state::TAPPED) {
                return Ok(Verdict::Consumed);
            }
            return Err(DropReason::NotLinked);
        };
        let receive = &self.receive[i];
        let relayed = out.is(send_state::STARTED) && out.source_ssrc == receive.ssrc;
        let translation = Translation {
            sender: out.ssrc,
            stream: relayed.then_some(out.source_ssrc),
            about: self.about(i),
        };
        let rest = feedback::translate(compound, &translation);
        if rest.is_empty() {
            return Ok(Verdict::Consumed);
        }
        let mut datagram = Vec::with_capacity(64 + rest.len());
        let cname = &self.cold[sink].reports.cname;
        rtcp::write_report(&mut datagram, translation.sender, None, None, cname);
        datagram.extend(rest);
        self.send_rtcp(sink, &datagram)?;
        Ok(Verdict::Consumed)
    }

    fn send_rtcp_counted(&mut self, i: usize, compound: &[u8]) {
        if let Err(reason) = self.send_rtcp(i, compound) {
            self.counters.drops.add(reason);
        }
    }

    /// Protects and queues a compound of our own.
    fn send_rtcp(&mut self, i: usize, compound: &[u8]) -> Result<(), DropReason> {
        self.release_rtcp(i)?;
        let (port, to) = self.rtcp_destination(i)?;
        let mut slot = vec![0; SLOT_SIZE];
        let place = slot.get_mut(..compound.len());
        place
            .ok_or(DropReason::Truncated)?
            .copy_from_slice(compound);
        let mut packet = Packet::new(port, None, &mut slot, compound.len());
        self.seal(i, &mut packet, true)?;
        let payload = Bytes::copy_from_slice(packet.bytes());
        self.transmit(Transmit { port, to, payload });
        Ok(())
    }

    /// Where the leg's RTCP leaves and goes to.
    fn rtcp_destination(&self, i: usize) -> Result<(MediaPort, Option<SocketAddr>), DropReason> {
        let (Some(receive), Some(send), Some(cold)) =
            (self.receive.get(i), self.send.get(i), self.cold.get(i))
        else {
            return Err(DropReason::NotLinked);
        };
        let remote = cold.remote.as_ref().ok_or(DropReason::SinkNotReady)?;
        if !send.is(send_state::READY) {
            return Err(DropReason::SinkNotReady);
        }
        let muxed = receive.is(receive_state::MUX);
        let (port, to) = match muxed {
            true => (send.port, remote.source.destination()),
            false => (cold.options.rtcp, remote.rtcp),
        };
        if to.ip().is_unspecified() || to.port() == 0 {
            return Err(DropReason::SinkNotReady);
        }
        let connected = muxed && send.is(send_state::CONNECTED);
        Ok((port, (!connected).then_some(to)))
    }

    /// Wall-clock time as a 64-bit NTP timestamp (RFC 3550 section 4).
    fn ntp(&self, tick: Tick) -> u64 {
        let origin = match (self.clock, self.epoch) {
            (Some(clock), Some(epoch)) => clock.unix_micros(epoch),
            _ => 0,
        };
        let micros = origin + tick.micros;
        let seconds = micros / 1_000_000 + NTP_TO_UNIX;
        let fraction = ((micros % 1_000_000) << 32) / 1_000_000;
        (seconds << 32) | fraction
    }
}

impl Told {
    fn cumulative_lost(&self) -> i32 {
        let lost = i64::from(self.expected) - i64::from(self.received);
        lost.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }

    /// RFC 3550 A.3.
    fn fraction_lost_since(&self, before: &Told) -> u8 {
        let expected = i64::from(self.expected) - i64::from(before.expected);
        let received = i64::from(self.received) - i64::from(before.received);
        let lost = expected - received;
        if expected <= 0 || lost <= 0 {
            return 0;
        }
        u8::try_from((lost << 8) / expected).unwrap_or(u8::MAX)
    }
}

impl Heard {
    /// The block in the words of who sends the stream.
    fn as_original(&self) -> Option<ReportBlock> {
        let (ssrc, highest) = self.original?;
        Some(ReportBlock {
            ssrc,
            highest,
            cumulative_lost: self.block.cumulative_lost.saturating_sub(self.lost_before),
            last_sender_report: 0,
            delay: 0,
            ..self.block
        })
    }
}

/// Microseconds in units of 1/65536 s.
fn units(micros: u64) -> u32 {
    u32::try_from((micros << 16) / 1_000_000).unwrap_or(u32::MAX)
}
