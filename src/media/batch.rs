//! The per-packet path: no allocation, no lock, no clock.

use std::net::SocketAddr;
use std::time::Instant;

use super::drop_reason::DropReason;
use super::latch::{Decision, Latch};
use super::leg::{NOBODY, SHARED, Send, receive_state, send_state};
use super::packet::{Packet, Verdict};
use super::payload::Mapped;
use super::rtcp;
use super::rtp::{self, Header};
use super::stats::{MAX_DROPOUT, MAX_MISORDER, Sequence, Step};
use super::table::{Notice, Route, Table, Tick};

/// After an SSRC was left, its stragglers are dropped for this long, in ms;
/// later it may come back as a new source.
const STRAGGLERS_MS: u32 = 500;

/// Least time that a stream moves on at a change of source, in ms: one packet
/// of the usual length.
const USUAL_PACKET_MS: u32 = 20;

impl Table {
    /// Decides what becomes of each packet, and rewrites those that go on.
    /// `now` is when the batch was received.
    pub fn process_batch(&mut self, now: Instant, batch: &mut [Packet<'_>]) {
        let tick = self.tick(now);
        self.foresee(batch);
        for (place, packet) in batch.iter_mut().enumerate() {
            self.side_by_side.turn(place);
            let verdict = match self.judge(now, tick, packet) {
                Ok(verdict) => verdict,
                Err(reason) => Verdict::Drop(reason),
            };
            match verdict {
                Verdict::Forward { .. } => {
                    self.counters.forwarded_packets += 1;
                    self.counters.forwarded_bytes += packet.len() as u64;
                }
                Verdict::Drop(reason) => self.counters.drops.add(reason),
                Verdict::Consumed => self.counters.consumed_packets += 1,
            }
            packet.verdict = verdict;
        }
        self.side_by_side.end(batch);
    }

    #[inline]
    fn judge(
        &mut self,
        now: Instant,
        tick: Tick,
        packet: &mut Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        let mut route = match self.ports.get(packet.port.0 as usize) {
            Some(route) if route.leg != NOBODY => *route,
            Some(_) | None => return Err(DropReason::UnknownPort),
        };
        if route.leg == SHARED {
            if let Some(0..=3) = packet.bytes().first() {
                return self.judge_stun(now, tick, packet);
            }
            route = self.shared_route(packet)?;
        }
        // RFC 7983 section 7.
        match packet.bytes().first() {
            Some(128..=191) => {}
            Some(0..=3) => return Err(DropReason::Stun),
            Some(20..=63) => return self.judge_dtls(now, route, packet),
            Some(_) | None => return Err(DropReason::UnknownProtocol),
        }
        if route.rtcp || rtcp::looks_like_rtcp(packet.bytes()) {
            self.judge_rtcp(route, tick, packet)
        } else {
            self.judge_rtp(now, route.leg as usize, tick, packet)
        }
    }

    #[inline]
    fn judge_rtp(
        &mut self,
        now: Instant,
        i: usize,
        tick: Tick,
        packet: &mut Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        let receive = self.receive.get(i).ok_or(DropReason::UnknownPort)?;
        if !receive.is(receive_state::DESCRIBED) {
            return Err(DropReason::NoRemote);
        }
        // Before anything is believed of a protected packet: its source is
        // learned, and its padding read, only once it is authentic.
        self.admit(i, packet, false)?;
        let header = Header::read(packet.bytes()).ok_or(DropReason::RtpInvalid)?;
        let receive = &self.receive[i];
        let mapped = receive.payloads.map(header.payload_type);
        if mapped == Mapped::Unknown {
            return Err(DropReason::UnknownPayload);
        }
        match packet.source {
            // A connected socket: the kernel has checked.
            None if receive.is(receive_state::LOCKED) => {}
            None => return Err(DropReason::WrongSource),
            Some(from) => self.check_source(i, from)?,
        }
        let restarted = self.account(i, tick, &header)?;
        let receive = &self.receive[i];
        let linked = receive.sink != NOBODY;
        let unfit = linked && mapped == Mapped::NotShared;
        if unfit || receive.is_any(receive_state::TAPPED | receive_state::EVENT) {
            self.hear(now, i, packet, &header, unfit);
            if !linked {
                return Ok(Verdict::Consumed);
            }
        }
        self.forward_rtp(i, tick, packet, &header, mapped, restarted)
    }

    /// Checks, learns and locks the source of RTP.
    fn check_source(&mut self, i: usize, from: SocketAddr) -> Result<(), DropReason> {
        let cold = self.cold.get_mut(i).ok_or(DropReason::UnknownPort)?;
        let described = cold.remote.as_mut().ok_or(DropReason::NoRemote)?;
        match described.source.judge(from) {
            Decision::Refuse => return Err(DropReason::WrongSource),
            Decision::Accept => {}
            Decision::Lock => self.lock(i, from),
        }
        if self.receive[i].is(receive_state::LOCK_UNTOLD) {
            self.tell_lock(i, from);
        }
        Ok(())
    }

    /// From now on only this source counts.
    pub(super) fn lock(&mut self, i: usize, from: SocketAddr) {
        let receive = &mut self.receive[i];
        receive.set(receive_state::LOCKED, true);
        receive.set(receive_state::LOCK_UNTOLD, true);
        // What could not be sent to before now has an address.
        self.send[i].set(send_state::READY, true);
        self.tell_lock(i, from);
    }

    fn tell_lock(&mut self, i: usize, address: SocketAddr) {
        let port = self.cold[i].options.rtp;
        if self.notice(Notice::Locked { port, address }) {
            self.receive[i].set(receive_state::LOCK_UNTOLD, false);
        }
    }

    /// Takes the packet into the leg's numbers. True when the source started
    /// its sequence anew.
    #[inline]
    fn account(&mut self, i: usize, tick: Tick, header: &Header) -> Result<bool, DropReason> {
        let receive = &mut self.receive[i];
        if !receive.is(receive_state::OPEN) {
            return Err(DropReason::NotReceiving);
        }
        let known = receive.is(receive_state::HAS_SSRC | receive_state::STARTED)
            && receive.ssrc == header.ssrc
            && receive.clock_payload == header.payload_type
            && receive.clock_rate != 0;
        if !known {
            return self.account_change(i, tick, header);
        }
        let step = receive.sequence.update(header.sequence);
        let arrival = arrival(tick, receive.clock_rate);
        receive.jitter.update(arrival, header.timestamp);
        receive.last_ms = tick.ms;
        receive.bytes += header.payload_len as u64;
        match step {
            Step::Forward | Step::Late => Ok(false),
            Step::Jump => Ok(self.account_jump(i, header.sequence)),
        }
    }

    /// The same where something is new: the first packet, another SSRC,
    /// another payload type.
    #[cold]
    fn account_change(
        &mut self,
        i: usize,
        tick: Tick,
        header: &Header,
    ) -> Result<bool, DropReason> {
        let leg = self.leg_id(i);
        let receive = &mut self.receive[i];
        let cold = &mut self.cold[i];
        let payload = cold.remote.as_ref().and_then(|remote| {
            let mut payloads = remote.payloads.iter();
            payloads.find(|known| known.receive & 0x7f == header.payload_type)
        });
        let clock_rate = payload.map_or(0, |payload| payload.clock_rate);
        let event = payload.is_some_and(|payload| payload.codec.is_event());
        let pausing = payload.is_some_and(|payload| payload.codec.is_comfort_noise());
        let arrival = arrival(tick, clock_rate);
        let same_ssrc = receive.is(receive_state::HAS_SSRC) && receive.ssrc == header.ssrc;
        let mut step = Step::Forward;
        if same_ssrc {
            step = receive.sequence.update(header.sequence);
            if receive.clock_rate == clock_rate {
                receive.jitter.update(arrival, header.timestamp);
            } else {
                receive.jitter.restart(arrival, header.timestamp);
            }
        } else {
            if let Some((left, at)) = cold.left_ssrc
                && left == header.ssrc
                && tick.ms.wrapping_sub(at) < STRAGGLERS_MS
            {
                return Err(DropReason::StaleSsrc);
            }
            if receive.is(receive_state::HAS_SSRC) {
                cold.left_ssrc = Some((receive.ssrc, tick.ms));
                cold.packets_before += u64::from(receive.sequence.packets);
                cold.lost_before += receive.sequence.lost_since(cold.first_sequence);
            }
            receive.ssrc = header.ssrc;
            receive.set(receive_state::HAS_SSRC, true);
            receive.sequence = Sequence::start(header.sequence);
            receive.jitter = Default::default();
            receive.jitter.restart(arrival, header.timestamp);
            cold.first_sequence = u32::from(header.sequence);
            cold.restart_at = None;
        }
        receive.clock_payload = header.payload_type;
        receive.clock_rate = clock_rate;
        receive.set(receive_state::EVENT, event);
        receive.set(receive_state::PAUSING, pausing);
        receive.last_ms = tick.ms;
        receive.bytes += header.payload_len as u64;
        if !self.receive[i].is(receive_state::STARTED) && self.notice(Notice::Started { leg }) {
            self.receive[i].set(receive_state::STARTED, true);
        }
        match step {
            Step::Forward | Step::Late => Ok(false),
            Step::Jump => Ok(self.account_jump(i, header.sequence)),
        }
    }

    /// RFC 3550 A.1: a jump is believed when a second packet follows it.
    #[cold]
    fn account_jump(&mut self, i: usize, sequence: u16) -> bool {
        let receive = &mut self.receive[i];
        let cold = &mut self.cold[i];
        let restarted = cold.restart_at == Some(sequence);
        if restarted {
            cold.packets_before += u64::from(receive.sequence.packets) + 1;
            cold.lost_before += receive.sequence.lost_since(cold.first_sequence);
            receive.sequence = Sequence::start(sequence);
            cold.first_sequence = u32::from(sequence);
            cold.restart_at = None;
        } else {
            cold.restart_at = Some(sequence.wrapping_add(1));
        }
        restarted
    }

    #[inline]
    fn forward_rtp(
        &mut self,
        i: usize,
        tick: Tick,
        packet: &mut Packet<'_>,
        header: &Header,
        mapped: Mapped,
        restarted: bool,
    ) -> Result<Verdict, DropReason> {
        let receive = self.receive.get(i).ok_or(DropReason::UnknownPort)?;
        let sink = receive.sink as usize;
        let clock_rate = receive.clock_rate;
        let released = self.release(sink);
        let send = self.send.get_mut(sink).ok_or(DropReason::NotLinked)?;
        let refused = match mapped {
            _ if !send.is(send_state::READY) => Err(DropReason::SinkNotReady),
            _ if !send.is(send_state::OPEN) => Err(DropReason::Held),
            _ if released.is_err() => Err(DropReason::NotYetSecured),
            Mapped::Unknown => Err(DropReason::UnknownPayload),
            Mapped::NotShared => Err(DropReason::CodecNotShared),
            Mapped::To(payload_type) => Ok(payload_type),
        };
        let payload_type = match refused {
            Ok(payload_type) => payload_type,
            Err(reason) => {
                // What is held back is no loss: the sequence closes over it.
                send.set(send_state::HAS_SOURCE, false);
                return Err(reason);
            }
        };
        let secure = send.is(send_state::SECURE);
        if secure && restarted {
            // The peer counts rollovers: the sequence goes on without a jump.
            send.set(send_state::HAS_SOURCE, false);
        }
        if !send.is(send_state::HAS_SOURCE) || send.source_ssrc != header.ssrc {
            rebase(send, tick, header, clock_rate);
        }
        let sequence = header.sequence.wrapping_add(send.sequence_offset);
        if secure && is_jump(sequence.wrapping_sub(send.sequence)) {
            return Err(DropReason::SequenceJump);
        }
        let timestamp = header.timestamp.wrapping_add(send.timestamp_offset);
        if restarted || sequence.wrapping_sub(send.sequence) < 0x8000 {
            send.sequence = sequence;
            send.timestamp = timestamp;
        }
        send.last_ms = tick.ms;
        let (port, ssrc, connected) = (send.port, send.ssrc, send.is(send_state::CONNECTED));
        // The sink agreed to none (RFC 8285 section 5 lets a relay take it off).
        rtp::strip_extension(packet);
        rtp::rewrite(packet.bytes_mut(), payload_type, sequence, timestamp, ssrc);
        if secure {
            self.seal_in_batch(sink, packet)?;
        }
        let to = match connected {
            true => None,
            false => Some(self.rtp_destination(sink)?),
        };
        // Only now is nothing left that could drop it.
        if let Some(send) = self.send.get_mut(sink) {
            send.packets += 1;
            send.bytes += header.payload_len as u64;
        }
        Ok(Verdict::Forward { port, to })
    }

    pub(super) fn rtp_destination(&self, sink: usize) -> Result<SocketAddr, DropReason> {
        let described = self.cold.get(sink).and_then(|cold| cold.remote.as_ref());
        described
            .map(|remote| remote.source.destination())
            .ok_or(DropReason::SinkNotReady)
    }

    /// RTCP comes seldom: it may touch whatever it needs.
    #[cold]
    fn judge_rtcp(
        &mut self,
        route: Route,
        tick: Tick,
        packet: &mut Packet<'_>,
    ) -> Result<Verdict, DropReason> {
        let i = route.leg as usize;
        self.admit(i, packet, true)?;
        let receive = self.receive.get(i).ok_or(DropReason::UnknownPort)?;
        let cold = self.cold.get_mut(i).ok_or(DropReason::UnknownPort)?;
        let described = cold.remote.as_mut().ok_or(DropReason::NoRemote)?;
        if !route.rtcp && !receive.is(receive_state::MUX) {
            return Err(DropReason::RtcpNotMuxed);
        }
        if !rtcp::is_valid(packet.bytes()) {
            return Err(DropReason::RtcpInvalid);
        }
        match packet.source {
            None if receive.is(receive_state::LOCKED) => {}
            None => return Err(DropReason::WrongSource),
            // RTCP has its own port, so the host alone must be the same.
            Some(from) if !described.source.is_host(from) => {
                return Err(DropReason::WrongSource);
            }
            Some(from) => {
                if route.rtcp && described.latch == Latch::Learn {
                    described.rtcp = from;
                }
            }
        }
        if self.receive[i].is(receive_state::PAUSING) {
            // RFC 3389 section 4 leaves open how often comfort noise is sent,
            // and some send it once: their reports tell that they are there.
            self.cold[i].quiet_since_ms = tick.ms;
        }
        self.hear_reports(tick, i, packet.bytes());
        self.pass_on(i, packet.bytes())
    }
}

/// Whether a sequence number this far ahead (or, wrapped, behind) is neither
/// the next few nor a straggler (RFC 3550 A.1).
#[inline]
fn is_jump(ahead: u16) -> bool {
    (MAX_DROPOUT..u16::MAX - MAX_MISORDER).contains(&ahead)
}

/// Time of arrival in units of the payload's clock (RFC 3550 A.8).
#[inline]
fn arrival(tick: Tick, clock_rate: u32) -> u32 {
    (tick.micros.wrapping_mul(u64::from(clock_rate)) / 1_000_000) as u32
}

/// Makes the stream go on from its last packet with the one in hand.
#[cold]
pub(super) fn rebase(send: &mut Send, tick: Tick, header: &Header, clock_rate: u32) {
    let started = send.is(send_state::STARTED);
    let next = match started {
        true => send.sequence.wrapping_add(1),
        false => send.sequence,
    };
    send.sequence_offset = next.wrapping_sub(header.sequence);
    // The same source after a pause keeps its own timestamps.
    if !started || send.source_ssrc != header.ssrc {
        let next = match started {
            true => {
                let passed = tick.ms.wrapping_sub(send.last_ms).max(USUAL_PACKET_MS);
                let units = u64::from(passed) * u64::from(clock_rate) / 1000;
                send.timestamp.wrapping_add(units as u32)
            }
            false => send.timestamp,
        };
        send.timestamp_offset = next.wrapping_sub(header.timestamp);
    }
    send.source_ssrc = header.ssrc;
    send.set(send_state::HAS_SOURCE | send_state::STARTED, true);
}
