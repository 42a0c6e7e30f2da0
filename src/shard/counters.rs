//! What a shard has counted, in the metrics' words.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::call::Calls;
use crate::call::request::{Histogram, Sample, SampleValue, ShardCounters, Way};
use crate::call::room::Rooms;
use crate::io::hep::HepCounters;
use crate::io::{Backend, PortPool};
use crate::shard::outbox::Outbox;
use crate::sip::agent::{DropReason, MethodLabel};

/// Classes of SIP responses (RFC 3261 section 7.2).
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];

/// What the turn itself counts.
#[derive(Debug, Clone)]
pub struct TurnCounters {
    /// Times the shard woke up.
    pub turns: u64,
    /// SIP datagrams passed on to the shard that owns them.
    pub forwards: u64,
    /// SIP datagrams dropped because their owner's mailbox was full.
    pub forwards_dropped: u64,
    /// ICMP errors on SIP sockets.
    pub signalling_errors: u64,
    /// SIP datagrams of banned sources.
    pub banned: u64,
    /// Turns that left sound work for the next, so that packets did not wait.
    pub sound_postponed: u64,
    /// Turns that left handshakes for the next, so that packets did not wait.
    pub handshakes_postponed: u64,
    /// How long each turn worked, without the wait.
    pub worked: Histogram,
}

/// Upper bounds of the buckets of turns in seconds: up to where a caller
/// would send his INVITE again (T1).
const TURN_SECONDS: [f64; 10] = [
    0.000_01, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5,
];

impl Default for TurnCounters {
    fn default() -> Self {
        TurnCounters {
            turns: 0,
            sound_postponed: 0,
            handshakes_postponed: 0,
            forwards: 0,
            forwards_dropped: 0,
            signalling_errors: 0,
            banned: 0,
            worked: Histogram::new(&TURN_SECONDS),
        }
    }
}

/// Whom to ask.
pub struct Sources<'a> {
    pub calls: &'a Calls,
    pub rooms: &'a Rooms,
    pub turn: &'a TurnCounters,
    pub backend: &'a Backend,
    pub pool: &'a PortPool,
    pub outbox: &'a Outbox,
    /// Messages that wait: of the api, of other shards.
    pub waiting: [usize; 2],
    pub overloaded: bool,
    pub hep: Option<&'a HepCounters>,
    /// What time it is.
    pub now: Instant,
    /// Tells what all shards share; one of them does.
    pub shared: bool,
}

/// Everything at once.
pub fn collect(sources: &Sources<'_>) -> ShardCounters {
    let Sources {
        calls,
        rooms,
        turn,
        backend,
        pool,
        outbox,
        ..
    } = *sources;
    let mut totals: Vec<(&'static str, &'static str, String, u64)> = Vec::new();
    let mut count = |name, label, value: &str, total| {
        totals.push((name, label, value.to_string(), total));
    };
    for (reason, total) in calls.refusals() {
        count("incoming_calls_refused_total", "reason", reason, total);
    }
    count("shard_turns_total", "", "", turn.turns);
    count("sip_forwards_total", "result", "passed_on", turn.forwards);
    count(
        "sip_forwards_total",
        "result",
        "dropped",
        turn.forwards_dropped,
    );
    count("sip_icmp_errors_total", "", "", turn.signalling_errors);
    count("sip_banned_datagrams_total", "", "", turn.banned);
    if sources.shared {
        let bans = calls.scanners().total();
        count("sip_bans_total", "", "", bans);
    }
    if let (true, Some(hep)) = (sources.shared, sources.hep) {
        for (result, counter) in [
            ("sent", &hep.sent),
            ("failed", &hep.failed),
            ("lost", &hep.lost),
        ] {
            let total = counter.load(Ordering::Relaxed);
            count("hep_messages_total", "result", result, total);
        }
    }
    count("events_lost_total", "", "", outbox.lost());
    let media = rooms.table.counters();
    count(
        "media_packets_total",
        "verdict",
        "forwarded",
        media.forwarded_packets,
    );
    count(
        "media_packets_total",
        "verdict",
        "consumed",
        media.consumed_packets,
    );
    count("media_forwarded_bytes_total", "", "", media.forwarded_bytes);
    let io = backend.counters();
    for ((reason, in_media), (_, in_io)) in media.drops.iter().zip(io.drops.iter()) {
        let total = in_media + in_io;
        count("media_drops_total", "reason", reason.label(), total);
    }
    count("sound_ticks_skipped_total", "", "", rooms.ticks_skipped());
    count("sound_postponed_total", "", "", turn.sound_postponed);
    count("dtls_postponed_total", "", "", turn.handshakes_postponed);
    count("media_received_total", "", "", io.media_received);
    count("media_generated_total", "", "", io.media_generated);
    count("media_icmp_errors_total", "", "", io.media_icmp_errors);
    count("media_slots_exhausted_total", "", "", io.slots_exhausted);
    count("media_connect_failures_total", "", "", io.connect_failures);
    count(
        "sip_datagrams_total",
        "direction",
        "received",
        io.signalling_received,
    );
    count(
        "sip_datagrams_total",
        "direction",
        "sent",
        io.signalling_sent,
    );
    count(
        "sip_send_queue_full_total",
        "",
        "",
        io.signalling_queue_full,
    );
    count("sip_truncated_total", "", "", io.signalling_truncated);
    let sip = calls.agent().counters();
    let methods = |counts: &[u64]| -> Vec<(&'static str, u64)> {
        let labels = MethodLabel::ALL.iter().map(|method| method.label());
        labels.zip(counts.iter().copied()).collect()
    };
    for (method, total) in methods(&sip.requests_received) {
        count("sip_requests_received_total", "method", method, total);
    }
    for (method, total) in methods(&sip.requests_sent) {
        count("sip_requests_sent_total", "method", method, total);
    }
    for (class, total) in CLASSES.iter().zip(sip.responses_received) {
        count("sip_responses_received_total", "class", class, total);
    }
    for (class, total) in CLASSES.iter().zip(sip.responses_sent) {
        count("sip_responses_sent_total", "class", class, total);
    }
    count(
        "sip_retransmissions_total",
        "kind",
        "sent",
        sip.retransmissions_sent,
    );
    count(
        "sip_retransmissions_total",
        "kind",
        "absorbed",
        sip.retransmissions_absorbed,
    );
    count(
        "sip_transaction_failures_total",
        "kind",
        "timeout",
        sip.timeouts,
    );
    count(
        "sip_transaction_failures_total",
        "kind",
        "transport",
        sip.transport_errors,
    );
    count("sip_refused_full_total", "", "", sip.refused_full);
    for reason in DropReason::ALL {
        let total = sip.dropped(reason);
        count("sip_drops_total", "reason", reason.label(), total);
    }
    ShardCounters {
        calls: calls.len() as u64,
        rooms: rooms.len() as u64,
        sip_sessions: calls.agent().sessions() as u64,
        registrations_leaving: calls.registrations_leaving(sources.now),
        legs: rooms.legs() as u64,
        free_port_pairs: (pool.capacity() - pool.in_use()) as u64,
        totals,
        samples: samples(sources),
    }
}

fn samples(sources: &Sources<'_>) -> Vec<Sample> {
    let calls = sources.calls;
    let mut samples = Vec::new();
    let mut sample = |name, labels: &[(&'static str, &str)], value| {
        let labels = labels
            .iter()
            .map(|(name, value)| (*name, value.to_string()));
        samples.push(Sample {
            name,
            labels: labels.collect(),
            value,
        });
    };
    for (state, count) in calls.by_state() {
        let labels = [("state", state.label())];
        sample("calls_in_state", &labels, SampleValue::Gauge(count));
    }
    for (standing, count) in calls.registrations(sources.now) {
        let labels = [("state", standing.label())];
        sample("sip_registrations", &labels, SampleValue::Gauge(count));
    }
    let tally = calls.tally();
    for (direction, code, count) in tally.results() {
        let labels = [("direction", direction), ("code", &code.to_string())];
        sample("call_results_total", &labels, SampleValue::Total(count));
    }
    for (direction, setup) in [
        ("incoming", &tally.incoming_setup),
        ("outgoing", &tally.outgoing_setup),
    ] {
        let value = SampleValue::Histogram(setup.clone());
        sample("call_setup_seconds", &[("direction", direction)], value);
    }
    for (outcome, count) in tally.infos() {
        let labels = [("outcome", outcome.label())];
        sample("dtmf_info_sent_total", &labels, SampleValue::Total(count));
    }
    for (kind, count) in tally.alarms() {
        let total = SampleValue::Total(count);
        sample("sound_alarms_total", &[("kind", kind)], total);
    }
    for (way, scores) in [
        (Way::Received, &tally.mos_received),
        (Way::Sent, &tally.mos_sent),
    ] {
        let value = SampleValue::Histogram(scores.clone());
        sample("call_mos", &[("way", way.label())], value);
    }
    let worked = SampleValue::Histogram(sources.turn.worked.clone());
    sample("shard_turn_seconds", &[], worked);
    let overloaded = SampleValue::Gauge(sources.overloaded.into());
    sample("shard_overloaded", &[], overloaded);
    for (mailbox, waiting) in ["api", "shards"].into_iter().zip(sources.waiting) {
        let value = SampleValue::Gauge(waiting as u64);
        sample("mailbox_messages", &[("mailbox", mailbox)], value);
    }
    let mut gauge = |name, value: usize| sample(name, &[], SampleValue::Gauge(value as u64));
    gauge("events_waiting", sources.outbox.waiting());
    gauge("rtp_port_pairs_in_use", sources.pool.in_use());
    gauge("rtp_port_pairs", sources.pool.capacity());
    gauge("sip_transactions", calls.agent().transactions());
    gauge("sip_sockets", calls.listeners());
    gauge("trace_bytes", calls.trace_bytes());
    gauge("sound_rooms", sources.rooms.conferences());
    gauge(
        "dtls_datagrams_waiting",
        sources.rooms.table.handshakes_waiting(),
    );
    if sources.shared {
        gauge("sip_banned_sources", calls.scanners().banned());
    }
    samples
}
