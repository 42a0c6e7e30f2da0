//! Hosts and ports, as URIs and Vias have them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::text::{Malformed, find, port};

/// The host of a URI or of a Via.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A domain name, as written.
    Name(String),
    /// An IPv4 literal.
    V4(Ipv4Addr),
    /// An IPv6 literal; printed in brackets.
    V6(Ipv6Addr),
}

/// A host that was read but not copied.
pub(super) enum HostText<'a> {
    Name(&'a str),
    Ip(IpAddr),
}

impl<'a> HostText<'a> {
    fn read(text: &'a str) -> Result<Self, Malformed> {
        if let Some(inner) = text.strip_prefix('[') {
            let literal = inner.strip_suffix(']').and_then(|v6| v6.parse().ok());
            return literal
                .map(|v6| HostText::Ip(IpAddr::V6(v6)))
                .ok_or(Malformed("brackets without an IPv6 address"));
        }
        if text.as_bytes().first().is_some_and(u8::is_ascii_digit)
            && let Ok(v4) = text.parse()
        {
            return Ok(HostText::Ip(IpAddr::V4(v4)));
        }
        // RFC 3261 section 25.1 `hostname`, and the underscore that some peers use.
        let in_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if text.is_empty() || !text.bytes().all(in_name) {
            return Err(Malformed("a host is neither a name nor an address"));
        }
        Ok(HostText::Name(text))
    }
}

impl From<HostText<'_>> for Host {
    fn from(host: HostText<'_>) -> Self {
        match host {
            HostText::Name(name) => Host::Name(name.to_owned()),
            HostText::Ip(ip) => Host::from(ip),
        }
    }
}

impl Host {
    /// Reads a host; an IPv6 literal must be in brackets.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        HostText::read(text).map(Host::from)
    }

    /// The address, when the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::V4(v4) => Some(IpAddr::V4(*v4)),
            Host::V6(v6) => Some(IpAddr::V6(*v6)),
        }
    }

    /// Whether both name the same host; names compare without case.
    pub fn equivalent(&self, other: &Host) -> bool {
        match (self, other) {
            (Host::Name(one), Host::Name(two)) => one.eq_ignore_ascii_case(two),
            (one, two) => one == two,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Host::V4(v4),
            IpAddr::V6(v6) => Host::V6(v6),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::V4(v4) => v4.fmt(f),
            Host::V6(v6) => write!(f, "[{v6}]"),
        }
    }
}

/// Reads `host` or `host:port`, white space around the colon allowed
/// (RFC 3261 section 25.1 `hostport` and `sent-by`).
pub fn parse_host_port(text: &str) -> Result<(Host, Option<u16>), Malformed> {
    read_host_port(text).map(|(host, port)| (host.into(), port))
}

/// [`parse_host_port`] without a copy.
pub(super) fn read_host_port(text: &str) -> Result<(HostText<'_>, Option<u16>), Malformed> {
    let after_literal = find(text, b']').map_or(0, |at| at + 1);
    let (host, port_text) = match find(&text[after_literal..], b':') {
        Some(colon) => {
            let colon = after_literal + colon;
            (&text[..colon], Some(&text[colon + 1..]))
        }
        None => (text, None),
    };
    let host = HostText::read(host.trim_ascii())?;
    let port = port_text.map(|text| port(text.trim_ascii())).transpose()?;
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for (text, printed, port) in [
            ("example.com", "example.com", None),
            ("192.0.2.1:5060", "192.0.2.1", Some(5060)),
            ("[2001:DB8::1] : 5061", "[2001:db8::1]", Some(5061)),
            ("[::1]", "[::1]", None),
            ("1and1.example", "1and1.example", None),
            ("my_pbx:1", "my_pbx", Some(1)),
        ] {
            let (host, read) = parse_host_port(text).unwrap();
            assert_eq!((host.to_string().as_str(), read), (printed, port), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ":5060",
            "::1",
            "[::1",
            "[1.2.3.4]",
            "a b",
            "a:",
            "a:0",
            "a:65536",
            "a:-1",
            "é",
        ] {
            assert!(parse_host_port(text).is_err(), "{text:?}");
        }
    }
}
