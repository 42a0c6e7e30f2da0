//! What each metric that the shards count means: its HELP line.

/// What is said of a metric that this table lacks; a test against a running
/// gateway finds it.
pub const UNKNOWN: &str = "Counted by the shard.";

/// By name, without prefix.
const HELP: &[(&str, &str)] = &[
    (
        "call_mos",
        "Mean opinion score of calls at their end (E-model), of what came from the peer and what went to it.",
    ),
    (
        "call_results_total",
        "Calls whose INVITE got its final answer, by SIP status.",
    ),
    ("call_setup_seconds", "From INVITE to final answer."),
    ("calls_in_state", "Calls alive by state."),
    (
        "dtls_datagrams_waiting",
        "Datagrams of DTLS that wait for their handshake's next step.",
    ),
    (
        "dtls_postponed_total",
        "Times that handshakes had to wait so that packets would not.",
    ),
    (
        "dtmf_info_sent_total",
        "Keys that were to go to peers by SIP INFO, by what became of them.",
    ),
    (
        "events_lost_total",
        "Events of calls that were dropped because the api did not keep up.",
    ),
    ("events_waiting", "Events of calls that wait for the api."),
    (
        "hep_messages_total",
        "Copies of SIP messages for the capture server.",
    ),
    (
        "incoming_calls_refused_total",
        "Incoming calls refused before anybody was told of them.",
    ),
    ("mailbox_messages", "Messages that wait for the shard."),
    (
        "media_connect_failures_total",
        "Media sockets that the kernel refused to connect to their peer.",
    ),
    ("media_drops_total", "Media datagrams dropped, by reason."),
    (
        "media_forwarded_bytes_total",
        "Bytes of the RTP and RTCP packets that were passed on.",
    ),
    (
        "media_generated_total",
        "Media datagrams of the gateway's own that were sent.",
    ),
    (
        "media_icmp_errors_total",
        "ICMP errors on media sockets: the peer's port is closed.",
    ),
    (
        "media_packets_total",
        "Media datagrams that were not dropped, by what became of them.",
    ),
    ("media_received_total", "Media datagrams received."),
    (
        "media_slots_exhausted_total",
        "Times that a receive found no free packet slot.",
    ),
    ("rtp_port_pairs", "RTP port pairs that the shard has."),
    (
        "rtp_port_pairs_in_use",
        "RTP port pairs in use; each is two sockets.",
    ),
    (
        "shard_overloaded",
        "Whether new calls are refused because the shard is late.",
    ),
    (
        "shard_turn_seconds",
        "How long a turn of the shard worked; the sum is the time it was busy.",
    ),
    ("shard_turns_total", "Times that the shard woke up."),
    (
        "sip_banned_datagrams_total",
        "SIP datagrams of banned sources, dropped unread.",
    ),
    (
        "sip_banned_sources",
        "Sources that are banned as scanners now.",
    ),
    (
        "sip_bans_total",
        "Times that a source was banned as a scanner.",
    ),
    ("sip_datagrams_total", "SIP datagrams received and sent."),
    (
        "sip_drops_total",
        "SIP messages that went no further, by reason.",
    ),
    (
        "sip_forwards_total",
        "SIP datagrams for another shard than the one that received them.",
    ),
    (
        "sip_icmp_errors_total",
        "ICMP errors on SIP sockets: a peer's port is closed.",
    ),
    (
        "sip_refused_full_total",
        "INVITEs refused because there were too many sessions or transactions.",
    ),
    (
        "sip_registrations",
        "Registrations of numbers that the shard keeps, by how they stand.",
    ),
    (
        "sip_requests_received_total",
        "SIP requests received, by method; retransmissions are not counted.",
    ),
    (
        "sip_requests_sent_total",
        "SIP requests sent, by method; retransmissions are not counted.",
    ),
    (
        "sip_responses_received_total",
        "SIP responses received, by class.",
    ),
    ("sip_responses_sent_total", "SIP responses sent, by class."),
    (
        "sip_retransmissions_total",
        "SIP messages sent once more, and received once more and absorbed.",
    ),
    (
        "sip_send_queue_full_total",
        "SIP datagrams not sent because the socket's queue was full.",
    ),
    ("sip_sockets", "SIP sockets of the shard."),
    (
        "sip_transaction_failures_total",
        "SIP client transactions that got no answer.",
    ),
    (
        "sip_transactions",
        "SIP transactions, finished ones that linger included.",
    ),
    (
        "sip_truncated_total",
        "SIP datagrams that were longer than UDP can carry.",
    ),
    (
        "sound_alarms_total",
        "Times that calls were told that something is wrong with their sound.",
    ),
    (
        "sound_postponed_total",
        "Times that rooms' sound had to wait so that packets would not.",
    ),
    (
        "sound_rooms",
        "Rooms whose sound is decoded here: mixed, recorded, or listened to for keys.",
    ),
    (
        "sound_ticks_skipped_total",
        "Frames of 20 ms that rooms left out because the shard was late.",
    ),
    (
        "trace_bytes",
        "Memory taken by the SIP messages that are kept of calls.",
    ),
];

/// The HELP line of a metric.
pub fn help(name: &str) -> &'static str {
    let found = HELP.binary_search_by_key(&name, |(known, _)| known);
    found.map_or(UNKNOWN, |at| HELP[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_so_that_everything_in_it_is_found() {
        for (name, text) in HELP {
            assert_eq!(help(name), *text);
        }
        assert_eq!(help("no_such_metric"), UNKNOWN);
    }
}
