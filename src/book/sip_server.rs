//! Where calls are sent: what `sip_server` and `sip_proxy` may be written as.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Port of SIP over UDP where none is written (RFC 3261 section 19.1.2).
pub const DEFAULT_SIP_PORT: u16 = 5060;

/// Host and port of a SIP server, read from a host, `host:port`, or a `sip:`
/// URI. `Display` writes `host` or `host:port`, IPv6 in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipServer {
    /// What to look up or send to.
    pub host: SipHost,
    /// The port, if one is written.
    pub port: Option<u16>,
}

/// A name or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SipHost {
    /// An IP address: nothing to look up.
    Address(IpAddr),
    /// A DNS name.
    Name(String),
}

/// A text is no SIP server. `Display` says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SipServerError {
    /// `sips:` or `transport=tls`.
    #[error(
        "{0:?} asks for SIP over TLS, which is not supported yet; write a sip: URI, host or host:port, which is SIP over UDP"
    )]
    Tls(String),
    /// `transport=tcp` and the like.
    #[error(
        "{0:?} asks for a transport that is not supported yet; leave ;transport= out for SIP over UDP"
    )]
    Transport(String),
    /// A URI of another kind.
    #[error("{0:?} is not a sip: URI; write host, host:port (IPv6 in brackets) or sip:host:port")]
    Scheme(String),
    /// A user part.
    #[error("{0:?} has a user part; write the server only, the numbers name the users")]
    User(String),
    /// URI headers.
    #[error("{0:?} has URI headers ('?'); leave them out")]
    Headers(String),
    /// The host is none.
    #[error(
        "{0:?} names no usable host; write host, host:port (IPv6 in brackets) or sip:host:port"
    )]
    Host(String),
    /// The port is none.
    #[error("{0:?} has no usable port; a port is a number from 1 to 65535")]
    Port(String),
}

impl SipServer {
    /// The port to send to.
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_SIP_PORT)
    }
}

impl fmt::Display for SipServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            SipHost::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            SipHost::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            SipHost::Name(name) => f.write_str(name)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl FromStr for SipServer {
    type Err = SipServerError;

    fn from_str(written: &str) -> Result<Self, SipServerError> {
        let text = written.trim();
        let owned = || written.to_string();
        if starts_with_ignoring_case(text, "sips:") {
            return Err(SipServerError::Tls(owned()));
        }
        // A proxy is often copied from a Route header with its brackets.
        let text = text
            .strip_prefix('<')
            .and_then(|inner| inner.strip_suffix('>'))
            .unwrap_or(text);
        let text = if starts_with_ignoring_case(text, "sip:") {
            &text[4..]
        } else if text.contains("://") {
            return Err(SipServerError::Scheme(owned()));
        } else {
            text
        };
        if text.contains('?') {
            return Err(SipServerError::Headers(owned()));
        }
        let (host_port, parameters) = text.split_once(';').unwrap_or((text, ""));
        for parameter in parameters.split(';') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if name.eq_ignore_ascii_case("transport") && !value.eq_ignore_ascii_case("udp") {
                return Err(if value.eq_ignore_ascii_case("tls") {
                    SipServerError::Tls(owned())
                } else {
                    SipServerError::Transport(owned())
                });
            }
        }
        if host_port.contains('@') {
            return Err(SipServerError::User(owned()));
        }
        let (host, port) = split_port(host_port).ok_or_else(|| SipServerError::Host(owned()))?;
        let port = match port {
            None => None,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(SipServerError::Port(owned())),
                Ok(port) => Some(port),
            },
        };
        Ok(SipServer {
            host: read_host(host).ok_or_else(|| SipServerError::Host(owned()))?,
            port,
        })
    }
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Host and port text. A bare IPv6 address has no port.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match after {
            "" => Some((host, None)),
            _ => Some((host, Some(after.strip_prefix(':')?))),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some((text, None));
    }
    match text.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

/// An address, or a name of letters, digits, '-', '_' and '.' (RFC 3261
/// section 25.1 with the underscore that private DNS zones use).
fn read_host(host: &str) -> Option<SipHost> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(SipHost::Address(address));
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let labels_hold = name.len() <= 253 && name.split('.').all(label);
    // "1.2.3.400" is a mistyped address, not a name: no top-level domain is
    // all digits.
    let digits_last = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    (labels_hold && !digits_last).then(|| SipHost::Name(name.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_and_uris_are_read() {
        for (text, printed) in [
            ("sip.example.com", "sip.example.com"),
            ("sip.example.com:5070", "sip.example.com:5070"),
            ("localhost", "localhost"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:5060", "192.0.2.1:5060"),
            ("[2001:db8::1]:5070", "[2001:db8::1]:5070"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("2001:db8::1", "[2001:db8::1]"),
            ("sip:pbx.local", "pbx.local"),
            ("SIP:pbx_1.local:5062;transport=UDP;lr", "pbx_1.local:5062"),
            ("<sip:proxy.example.com;lr>", "proxy.example.com"),
            (" pbx.local ", "pbx.local"),
        ] {
            assert_eq!(text.parse::<SipServer>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_server_is_refused_with_the_reason() {
        use SipServerError::*;
        type Refusal = fn(String) -> SipServerError;
        let cases: [(&str, Refusal); 16] = [
            ("sips:secure.example.com", Tls),
            ("sip:secure.example.com;transport=tls", Tls),
            ("sip:a.example.com;transport=tcp", Transport),
            ("https://example.com", Scheme),
            ("sip:alice@example.com", User),
            ("sip:example.com?subject=x", Headers),
            ("", Host),
            ("sip:", Host),
            ("exa mple", Host),
            ("1.2.3.400", Host),
            ("[2001:db8::1", Host),
            ("[nonsense]:5060", Host),
            ("a..b", Host),
            ("example.com:", Port),
            ("example.com:0", Port),
            ("example.com:99999", Port),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<SipServer>(), Err(error(text.to_string())));
        }
    }
}
