//! The values of Via.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::host::{Host, HostText, read_host_port};
use super::params::Params;
use super::text::{Malformed, is_token, split_before, split_once};

/// What every branch of RFC 3261 begins with (section 8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// The transport of a Via.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// SCTP (RFC 4168).
    Sctp,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket over TLS (RFC 7118).
    Wss,
    /// Any other token, as written.
    Other(String),
}

impl Transport {
    /// Reads a transport without regard to case.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let known = [
            Transport::Udp,
            Transport::Tcp,
            Transport::Tls,
            Transport::Sctp,
            Transport::Ws,
            Transport::Wss,
        ];
        match known
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
        {
            Some(known) => Ok(known),
            None if is_token(text) => Ok(Transport::Other(text.to_owned())),
            None => Err(Malformed("a transport is no token")),
        }
    }

    /// The transport as it stands in a Via.
    pub fn as_str(&self) -> &str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Sctp => "SCTP",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
            Transport::Other(token) => token,
        }
    }
}

/// One Via value (RFC 3261 section 20.42, RFC 3581).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Via {
    /// How the message was sent.
    pub transport: Transport,
    /// The `sent-by` host.
    pub host: Host,
    /// The `sent-by` port, where one is written.
    pub port: Option<u16>,
    /// The branch; an empty one counts as none.
    pub branch: Option<String>,
    /// Where the message came from, as its receiver saw it. A value that is
    /// no address stays in `params`.
    pub received: Option<IpAddr>,
    /// `Some(None)`: asked for without a value; `Some(Some(port))`: filled in
    /// by the receiver (RFC 3581 section 4).
    pub rport: Option<Option<u16>>,
    /// All other parameters.
    pub params: Params,
}

impl Via {
    /// A Via of our own over UDP: `sent-by`, this branch, and `rport` asked
    /// for (RFC 3581 section 3).
    pub fn udp(sent_by: SocketAddr, branch: String) -> Self {
        Via {
            transport: Transport::Udp,
            host: Host::from(sent_by.ip()),
            port: Some(sent_by.port()),
            branch: Some(branch),
            received: None,
            rport: Some(None),
            params: Params::new(),
        }
    }

    /// Reads one value.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (head, params) = split_before(text, b';');
        let mut via = Via::of_head(Head::read(head, false)?)?;
        via.take_params(Params::parse(params)?);
        Ok(via)
    }

    /// Whether [`Via::parse`] would take it, without the cost of a copy.
    pub fn check(text: &str) -> Result<(), Malformed> {
        let (head, params) = split_before(text, b';');
        Head::read(head, false)?;
        Params::check(params)
    }

    /// Reads what can be read of a value that [`Via::parse`] refused, so that
    /// an error can be answered: any SIP version, and parameters up to the
    /// first that is none.
    pub fn salvage(text: &str) -> Option<Self> {
        let mut pieces = text.split([';', ',']);
        let mut via = Head::read(pieces.next()?, true)
            .and_then(Via::of_head)
            .ok()?;
        let mut params = Params::new();
        for piece in pieces {
            match Params::parse(&format!(";{piece}")) {
                Ok(one) => one
                    .iter()
                    .for_each(|(name, value)| params.push(name, value)),
                Err(_) => break,
            }
        }
        via.take_params(params);
        Some(via)
    }

    fn of_head(head: Head<'_>) -> Result<Self, Malformed> {
        Ok(Via {
            transport: Transport::parse(head.transport)?,
            host: head.host.into(),
            port: head.port,
            branch: None,
            received: None,
            rport: None,
            params: Params::new(),
        })
    }

    fn take_params(&mut self, params: Params) {
        for (name, value) in params.iter() {
            if name.eq_ignore_ascii_case("branch") && self.branch.is_none() {
                self.branch = value.map(str::to_owned);
            } else if name.eq_ignore_ascii_case("rport") && self.rport.is_none() {
                self.rport = Some(value.and_then(|port| super::text::port(port).ok()));
            } else if name.eq_ignore_ascii_case("received")
                && self.received.is_none()
                && let Some(ip) = value.and_then(parse_received)
            {
                self.received = Some(ip);
            } else {
                self.params.push(name, value);
            }
        }
    }

    /// The branch, when it is one of RFC 3261: the magic cookie and something
    /// after it. Without one, transactions match as in RFC 2543
    /// (RFC 3261 section 17.2.3).
    pub fn rfc3261_branch(&self) -> Option<&str> {
        self.branch
            .as_deref()
            .filter(|branch| branch.len() > MAGIC_COOKIE.len())
            .filter(|branch| {
                branch
                    .get(..MAGIC_COOKIE.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
            })
    }

    /// Notes where the request came from: `received` where `sent-by` is not
    /// that address (RFC 3261 section 18.2.1), and both `received` and the
    /// port where `rport` was asked for (RFC 3581 section 4).
    pub fn stamp(&mut self, source: SocketAddr) {
        let asked = self.rport.is_some();
        if asked {
            self.rport = Some(Some(source.port()));
        }
        let sent_by_source = self.host.ip() == Some(source.ip());
        self.received = (asked || !sent_by_source).then(|| source.ip());
    }

    /// Where a response to a stamped request goes over UDP, as far as it is
    /// an address (RFC 3261 section 18.2.2, RFC 3581 section 4).
    pub fn response_address(&self) -> Option<SocketAddr> {
        if let Some(maddr) = self.params.get("maddr") {
            let ip = Host::parse(maddr).ok()?.ip()?;
            return Some(SocketAddr::new(ip, self.port.unwrap_or(5060)));
        }
        let ip = self.received.or_else(|| self.host.ip())?;
        let port = self.rport.flatten().or(self.port).unwrap_or(5060);
        Some(SocketAddr::new(ip, port))
    }
}

/// What is before the parameters, checked but not copied.
struct Head<'a> {
    transport: &'a str,
    host: HostText<'a>,
    port: Option<u16>,
}

impl<'a> Head<'a> {
    /// `SIP / 2.0 / UDP host:port`, with white space where RFC 3261 section
    /// 25.1 allows it (`SLASH`, `COLON`).
    fn read(head: &'a str, any_version: bool) -> Result<Self, Malformed> {
        let wrong = Malformed("a Via is not of SIP/2.0");
        let (name, rest) = split_once(head, b'/').ok_or(wrong)?;
        let (version, rest) = split_once(rest, b'/').ok_or(wrong)?;
        let (name, version, rest) = (name.trim_ascii(), version.trim_ascii(), rest.trim_ascii());
        if !name.eq_ignore_ascii_case("SIP") || version != "2.0" && !any_version {
            return Err(wrong);
        }
        let (transport, sent_by) = rest.split_at(
            rest.bytes()
                .position(|b| matches!(b, b' ' | b'\t'))
                .unwrap_or(rest.len()),
        );
        if !is_token(transport) {
            return Err(Malformed("a transport is no token"));
        }
        let (host, port) = read_host_port(sent_by.trim_ascii())?;
        Ok(Head {
            transport,
            host,
            port,
        })
    }
}

/// RFC 3261 section 25.1 writes an IPv6 `received` without brackets; some
/// peers put them.
fn parse_received(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse().ok()
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport.as_str(), self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.rport {
            Some(Some(port)) => write!(f, ";rport={port}")?,
            Some(None) => f.write_str(";rport")?,
            None => {}
        }
        if let Some(received) = self.received {
            write!(f, ";received={received}")?;
        }
        if let Some(branch) = &self.branch {
            write!(f, ";branch={branch}")?;
        }
        self.params.fmt(f)
    }
}

impl FromStr for Via {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Via::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Via {
        text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
    }

    #[test]
    fn white_space_may_be_where_the_grammar_has_it() {
        let via =
            read("SIP  / 2.0  / TCP     spindle.example.com : 5061  ;  branch  =   z9hG4bK9ikj8");
        assert_eq!(
            via.to_string(),
            "SIP/2.0/TCP spindle.example.com:5061;branch=z9hG4bK9ikj8"
        );
        assert_eq!(
            read("SIP/2.0/udp [2001:db8::1]").host.to_string(),
            "[2001:db8::1]"
        );
    }

    #[test]
    fn a_stamp_follows_rfc_3261_and_rfc_3581() {
        let source: SocketAddr = "192.0.2.9:4000".parse().unwrap();
        let stamped = |text: &str| {
            let mut via = read(text);
            via.stamp(source);
            (via.to_string(), via.response_address())
        };
        assert_eq!(
            stamped("SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa"),
            (
                "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa".to_owned(),
                Some("192.0.2.9:5060".parse().unwrap())
            )
        );
        assert_eq!(
            stamped("SIP/2.0/UDP h.example.com:5070;received=10.0.0.1"),
            (
                "SIP/2.0/UDP h.example.com:5070;received=192.0.2.9".to_owned(),
                Some("192.0.2.9:5070".parse().unwrap())
            )
        );
        assert_eq!(
            stamped("SIP/2.0/UDP 192.0.2.9:5070;rport;branch=z9hG4bKa;x=y"),
            (
                "SIP/2.0/UDP 192.0.2.9:5070;rport=4000;received=192.0.2.9;branch=z9hG4bKa;x=y"
                    .to_owned(),
                Some(source)
            )
        );
    }

    #[test]
    fn the_bare_cookie_is_no_branch_of_rfc_3261() {
        assert_eq!(read("SIP/2.0/UDP a;branch=z9hG4bK").rfc3261_branch(), None);
        assert_eq!(read("SIP/2.0/UDP a;branch=1").rfc3261_branch(), None);
        assert_eq!(
            read("SIP/2.0/UDP a;branch=Z9hg4Bk1").rfc3261_branch(),
            Some("Z9hg4Bk1")
        );
    }

    #[test]
    fn a_broken_via_is_refused_but_its_sender_can_be_read() {
        let broken = "SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKx;;,;,,";
        assert!(broken.parse::<Via>().is_err());
        assert_eq!(
            Via::salvage(broken).unwrap().to_string(),
            "SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKx"
        );
        assert!("SIP/7.0/UDP a;branch=x".parse::<Via>().is_err());
        assert!(Via::salvage("SIP/7.0/UDP a;branch=x").is_some());
        assert_eq!(Via::salvage("nothing"), None);
    }
}
