//! Checks of ports, addresses and network cards.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use crate::config::Config;

use super::facts::Facts;
use super::report::Finding;

/// A gateway with fewer free RTP ports than this part of them has a neighbour
/// in its range.
const TAKEN_PORTS: usize = 20;

/// Whether the kernel may hand out RTP ports to others.
pub(super) fn reserved_ports(facts: &Facts, config: &Config) -> Finding {
    let check = "net.ipv4.ip_local_reserved_ports";
    let range = facts
        .sysctls
        .get("net.ipv4.ip_local_port_range")
        .and_then(|text| {
            let mut ends = text.split_whitespace();
            let first: u16 = ends.next()?.parse().ok()?;
            Some(first..=ends.next()?.parse().ok()?)
        });
    let Some(range) = range else {
        return Finding::ok(check, "cannot be read here");
    };
    let ports = &config.rtp.ports;
    let overlap = *range.start().max(ports.start())..=*range.end().min(ports.end());
    if overlap.is_empty() {
        return Finding::ok(
            check,
            "not needed: rtp.ports are outside ip_local_port_range",
        );
    }
    let reserved = facts.sysctls.get(check).map(String::as_str);
    if covers(reserved.unwrap_or_default(), &overlap) {
        return Finding::ok(check, "rtp.ports are reserved");
    }
    Finding::advice(
        check,
        format!(
            "the kernel gives ports {}-{} to whoever asks for any",
            overlap.start(),
            overlap.end()
        ),
        "a DNS query or another program can then have a port that a call needs; the gateway takes the next one, until none is left",
        format!(
            "sysctl -w net.ipv4.ip_local_reserved_ports={}-{}",
            ports.start(),
            ports.end()
        ),
    )
}

/// Whether a list like `8080,9000-9100` holds all of a range.
fn covers(list: &str, range: &RangeInclusive<u16>) -> bool {
    let mut parts: Vec<(u32, u32)> = list
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
        })
        .collect();
    parts.sort_unstable();
    let mut next = u32::from(*range.start());
    for (first, last) in parts {
        if first <= next && last >= next {
            next = last + 1;
        }
    }
    next > u32::from(*range.end())
}

/// Whether the table of connections holds the calls.
pub(super) fn connection_tracking(facts: &Facts, config: &Config) -> Finding {
    let check = "connection tracking";
    let Some(most) = facts.number("net.netfilter.nf_conntrack_max") else {
        return Finding::ok(check, "not in use");
    };
    let known = facts
        .number("net.netfilter.nf_conntrack_count")
        .unwrap_or(0);
    // RTP and RTCP of each call.
    let wanted = 2 * config.calls.max_calls as u64;
    let finding = format!("{known} of {most} entries in use, and calls may need {wanted}");
    if most >= known + wanted {
        return Finding::ok(check, finding);
    }
    Finding::advice(
        check,
        finding,
        "each RTP stream is an entry; when the table is full the kernel drops packets of new calls (\"table full\" in dmesg)",
        format!(
            "nft add rule ip raw PREROUTING udp dport {}-{} notrack (and in OUTPUT by sport), or sysctl -w net.netfilter.nf_conntrack_max={}",
            config.rtp.ports.start(),
            config.rtp.ports.end(),
            known + 2 * wanted
        ),
    )
}

/// Whether the kernel drops what comes in by another card than it would answer.
pub(super) fn reverse_path(facts: &Facts) -> Finding {
    let check = "net.ipv4.conf.all.rp_filter";
    match facts.number(check) {
        Some(1) if facts.interfaces.len() > 1 => Finding::advice(
            check,
            format!("1, with {} network cards", facts.interfaces.len()),
            "media that comes in on one card and is routed back over another is dropped without a word",
            "sysctl -w net.ipv4.conf.all.rp_filter=2, if signalling and media use different cards",
        ),
        Some(value) => Finding::ok(check, value.to_string()),
        None => Finding::ok(check, "cannot be read here"),
    }
}

/// Whether the cards spread what comes in over cores.
pub(super) fn queues(facts: &Facts, config: &Config) -> Finding {
    let check = "receive queues";
    let shards = config.cores.len();
    let narrow = facts
        .interfaces
        .iter()
        .find(|one| one.queues < shards && !one.steered_to);
    match narrow {
        Some(one) => Finding::advice(
            check,
            format!("{} has {} for {shards} shards", one.name, one.queues),
            "one core then takes in the packets of all shards, and is the limit of the machine",
            format!(
                "ethtool -L {0} combined {shards}; where the card has no more, steer by software: echo MASK > /sys/class/net/{0}/queues/rx-0/rps_cpus",
                one.name
            ),
        ),
        None if facts.interfaces.is_empty() => Finding::ok(check, "no network card is seen here"),
        None => Finding::ok(check, "enough for the shards"),
    }
}

/// Whether peers on the Internet can reach the address in our SDP.
pub(super) fn public_address(config: &Config) -> Finding {
    let check = "public_ip";
    let told: Vec<IpAddr> = config
        .sip
        .listen
        .iter()
        .map(|&bound| config.public.advertised(bound).ip())
        .collect();
    let private = told.iter().find(|address| match address {
        IpAddr::V4(v4) => is_private(v4),
        // Unique local (RFC 4193) and link-local addresses.
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    });
    match (private, told.first()) {
        (Some(address), _) => Finding::advice(
            check,
            format!("peers are told {address}, which is private"),
            "the address stands in Contact and SDP: a peer outside of this network sends its media nowhere",
            "set public_ip (RINGWIRE_PUBLIC_IP) to the address peers reach; nothing if all peers are in this network",
        ),
        (None, Some(address)) => Finding::ok(check, format!("peers are told {address}")),
        (None, None) => Finding::ok(check, "no SIP socket is configured"),
    }
}

/// RFC 1918, RFC 6598 (carrier-grade NAT), loopback and link-local.
fn is_private(address: &Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || (first == 100 && (64..128).contains(&second))
}

/// Whether others have ports of the range.
pub(super) fn rtp_ports(facts: &Facts, config: &Config) -> Finding {
    let check = "rtp.ports";
    let range = &config.rtp.ports;
    let taken = facts.udp_ports.range(range.clone()).count();
    let all = range.clone().count();
    let finding = format!("{taken} of {all} ports are in use");
    if taken * TAKEN_PORTS <= all {
        return Finding::ok(check, finding);
    }
    Finding::advice(
        check,
        finding,
        "another program, or a gateway that runs already, has ports that calls need",
        format!(
            "ss -ulpn 'sport >= {} and sport <= {}' shows whose they are",
            range.start(),
            range.end()
        ),
    )
}

/// Whether the configured sockets can be bound.
pub(super) fn listeners(facts: &Facts) -> Vec<Finding> {
    let judge = |listener: &super::facts::Listener| {
        let (kind, tool) = match listener.setting {
            "http.listen" => ("tcp", "ss -tlpn"),
            _ => ("udp", "ss -ulpn"),
        };
        let address = listener.address;
        match &listener.refused {
            None => Finding::ok(listener.setting, format!("{kind} {address} is free")),
            Some(refused) => Finding::problem(
                listener.setting,
                format!("{kind} {address} cannot be bound: {refused}"),
                "the gateway does not start without it (if it is running already, it is the one that has it)",
                format!(
                    "{tool} 'sport = {}' shows who has it; below 1024 the gateway needs CAP_NET_BIND_SERVICE",
                    address.port()
                ),
            ),
        }
    };
    facts.listeners.iter().map(judge).collect()
}
