//! What a shard has counted, in the metrics' words.

use crate::call::Calls;
use crate::call::request::ShardCounters;
use crate::call::room::Rooms;
use crate::io::{Backend, PortPool};
use crate::shard::outbox::Outbox;
use crate::sip::agent::{DropReason, MethodLabel};

/// Classes of SIP responses (RFC 3261 section 7.2).
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];

/// What the turn itself counts.
#[derive(Debug, Default, Clone, Copy)]
pub struct TurnCounters {
    /// Times the shard woke up.
    pub turns: u64,
    /// SIP datagrams passed on to the shard that owns them.
    pub forwards: u64,
    /// SIP datagrams dropped because their owner's mailbox was full.
    pub forwards_dropped: u64,
    /// ICMP errors on SIP sockets.
    pub signalling_errors: u64,
}

/// Everything at once.
pub fn collect(
    calls: &Calls,
    rooms: &Rooms,
    turn: &TurnCounters,
    backend: &Backend,
    pool: &PortPool,
    outbox: &Outbox,
) -> ShardCounters {
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
    for (reason, total) in media.drops.iter().chain(io.drops.iter()) {
        if total > 0 {
            count("media_drops_total", "reason", reason.label(), total);
        }
    }
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
        if total > 0 {
            count("sip_drops_total", "reason", reason.label(), total);
        }
    }
    ShardCounters {
        calls: calls.len() as u64,
        rooms: rooms.len() as u64,
        sip_sessions: calls.agent().sessions() as u64,
        legs: rooms.legs() as u64,
        free_port_pairs: (pool.capacity() - pool.in_use()) as u64,
        totals,
    }
}
