//! URIs: `sip:` and `sips:` in all their parts, `tel:` as far as a number is
//! wanted, any other scheme as text.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::params::Params;
use super::text::{Malformed, port, push_escaped, unescape};

/// A URI. `==` compares the text's parts as they stand; whether two URIs mean
/// the same is [`Uri::equivalent`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Uri {
    /// `sip:` or `sips:` (RFC 3261 section 19.1).
    Sip(SipUri),
    /// `tel:` (RFC 3966).
    Tel {
        /// The number as written, visual separators included.
        number: String,
        /// Its parameters.
        params: Params,
    },
    /// Any other scheme (RFC 3986).
    Other {
        /// The scheme, as written.
        scheme: String,
        /// All after the first colon.
        rest: String,
    },
}

/// A `sip:` or `sips:` URI (RFC 3261 section 19.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SipUri {
    /// `sips:`.
    pub secure: bool,
    /// The user part as written, with its `%` escapes.
    pub user: Option<String>,
    /// The password as written.
    pub password: Option<String>,
    /// The host.
    pub host: Host,
    /// The port, where one is written.
    pub port: Option<u16>,
    /// URI parameters.
    pub params: Params,
    /// What follows the `?`, as written.
    pub headers: Option<String>,
}

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

impl Host {
    /// Reads a host; an IPv6 literal must be in brackets.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if let Some(inner) = text.strip_prefix('[') {
            let literal = inner.strip_suffix(']').and_then(|v6| v6.parse().ok());
            return literal
                .map(Host::V6)
                .ok_or(Malformed("brackets without an IPv6 address"));
        }
        if text.as_bytes().first().is_some_and(u8::is_ascii_digit)
            && let Ok(v4) = text.parse()
        {
            return Ok(Host::V4(v4));
        }
        // RFC 3261 section 25.1 `hostname`, and the underscore that some peers use.
        let in_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if text.is_empty() || !text.bytes().all(in_name) {
            return Err(Malformed("a host is neither a name nor an address"));
        }
        Ok(Host::Name(text.to_owned()))
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
    let after_literal = text.find(']').map_or(0, |at| at + 1);
    let (host, port_text) = match text[after_literal..].find(':') {
        Some(colon) => {
            let colon = after_literal + colon;
            (&text[..colon], Some(&text[colon + 1..]))
        }
        None => (text, None),
    };
    let host = Host::parse(host.trim_ascii())?;
    let port = port_text.map(|text| port(text.trim_ascii())).transpose()?;
    Ok((host, port))
}

impl SipUri {
    /// Reads what follows `sip:` or `sips:`.
    fn parse(secure: bool, rest: &str) -> Result<Self, Malformed> {
        // The user part may hold `;` and `?` (RFC 3261 section 25.1
        // `user-unreserved`), so it is taken off first.
        let (userinfo, rest) = match rest.split_once('@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, rest),
        };
        let (user, password) = match userinfo.map(|info| info.split_once(':').ok_or(info)) {
            Some(Ok((user, password))) => (Some(user), Some(password)),
            Some(Err(user)) => (Some(user), None),
            None => (None, None),
        };
        if user == Some("") {
            return Err(Malformed("a URI has an empty user"));
        }
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        let (host_port, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let (host, port) = parse_host_port(host_port)?;
        Ok(SipUri {
            secure,
            user: user.map(str::to_owned),
            password: password.map(str::to_owned),
            host,
            port,
            params: Params::parse_uri(params)?,
            headers: headers.map(str::to_owned),
        })
    }

    /// RFC 3261 section 19.1.4, all rules.
    fn equivalent(&self, other: &SipUri) -> bool {
        self.secure == other.secure
            && same_escaped(self.user.as_deref(), other.user.as_deref(), false)
            && same_escaped(self.password.as_deref(), other.password.as_deref(), false)
            && self.host.equivalent(&other.host)
            && self.port == other.port
            && same_params(&self.params, &other.params)
            && same_headers(self.headers.as_deref(), other.headers.as_deref())
    }
}

impl Uri {
    /// Reads a URI without anything around it.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let stray = |b: u8| b <= b' ' || b == 0x7f || matches!(b, b'<' | b'>' | b'"');
        if text.bytes().any(stray) {
            return Err(Malformed("a URI holds white space, quotes or brackets"));
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(Malformed("a URI has no scheme"));
        };
        if scheme.eq_ignore_ascii_case("sip") {
            return SipUri::parse(false, rest).map(Uri::Sip);
        }
        if scheme.eq_ignore_ascii_case("sips") {
            return SipUri::parse(true, rest).map(Uri::Sip);
        }
        if scheme.eq_ignore_ascii_case("tel") {
            let (number, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
            return Ok(Uri::Tel {
                number: number.to_owned(),
                params: Params::parse_uri(params)?,
            });
        }
        // RFC 3986 section 3.1.
        let in_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(in_scheme)
        {
            return Err(Malformed("a URI has no scheme"));
        }
        Ok(Uri::Other {
            scheme: scheme.to_owned(),
            rest: rest.to_owned(),
        })
    }

    /// A `sip:` URI; what a user part may not hold is escaped.
    pub fn sip(user: Option<&str>, host: Host, port: Option<u16>) -> Self {
        Uri::Sip(SipUri {
            secure: false,
            user: user.filter(|user| !user.is_empty()).map(|user| {
                let mut escaped = String::with_capacity(user.len());
                push_escaped(&mut escaped, user, is_user_octet);
                escaped
            }),
            password: None,
            host,
            port,
            params: Params::new(),
            headers: None,
        })
    }

    /// A `sip:` URI of an address and its port.
    pub fn of_address(user: Option<&str>, address: SocketAddr) -> Self {
        Self::sip(user, Host::from(address.ip()), Some(address.port()))
    }

    /// The parts, when this is a `sip:` or `sips:` URI.
    pub fn as_sip(&self) -> Option<&SipUri> {
        match self {
            Uri::Sip(sip) => Some(sip),
            Uri::Tel { .. } | Uri::Other { .. } => None,
        }
    }

    /// The parts, when this is a `sip:` or `sips:` URI.
    pub fn as_sip_mut(&mut self) -> Option<&mut SipUri> {
        match self {
            Uri::Sip(sip) => Some(sip),
            Uri::Tel { .. } | Uri::Other { .. } => None,
        }
    }

    /// The scheme in lower case as far as it is known, else as written.
    pub fn scheme(&self) -> &str {
        match self {
            Uri::Sip(sip) if sip.secure => "sips",
            Uri::Sip(_) => "sip",
            Uri::Tel { .. } => "tel",
            Uri::Other { scheme, .. } => scheme,
        }
    }

    /// The user part, or the number of a `tel:`, unescaped once. Octets that
    /// are no UTF-8 become U+FFFD.
    pub fn user(&self) -> Option<Cow<'_, str>> {
        let raw = match self {
            Uri::Sip(sip) => sip.user.as_deref()?,
            Uri::Tel { number, .. } => number,
            Uri::Other { .. } => return None,
        };
        Some(if raw.contains('%') {
            Cow::Owned(String::from_utf8_lossy(&unescape(raw)).into_owned())
        } else {
            Cow::Borrowed(raw)
        })
    }

    /// The host of a `sip:` or `sips:` URI.
    pub fn host(&self) -> Option<&Host> {
        self.as_sip().map(|sip| &sip.host)
    }

    /// The URI parameters; none for a scheme that is not known.
    pub fn params(&self) -> Option<&Params> {
        match self {
            Uri::Sip(sip) => Some(&sip.params),
            Uri::Tel { params, .. } => Some(params),
            Uri::Other { .. } => None,
        }
    }

    /// The value of a URI parameter, when it is there and has one.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params()?.get(name)
    }

    /// Whether a URI parameter is there, with or without a value.
    pub fn has_param(&self, name: &str) -> bool {
        self.params().is_some_and(|params| params.contains(name))
    }

    /// Where the URI points, when its host is an address; `default_port`
    /// where it names no port. A `maddr` that is an address wins
    /// (RFC 3261 section 19.1.1).
    pub fn socket_addr(&self, default_port: u16) -> Option<SocketAddr> {
        let sip = self.as_sip()?;
        let maddr = match sip.params.get("maddr") {
            Some(text) => Host::parse(text).ok()?.ip(),
            None => sip.host.ip(),
        };
        Some(SocketAddr::new(maddr?, sip.port.unwrap_or(default_port)))
    }

    /// Whether both URIs mean the same (RFC 3261 section 19.1.4; other
    /// schemes: the same text). This is no equivalence relation: `a;x` and
    /// `a;y` are both equivalent to `a`, but not to each other.
    pub fn equivalent(&self, other: &Uri) -> bool {
        match (self, other) {
            (Uri::Sip(one), Uri::Sip(two)) => one.equivalent(two),
            (
                Uri::Other { scheme, rest },
                Uri::Other {
                    scheme: other_scheme,
                    rest: other_rest,
                },
            ) => scheme.eq_ignore_ascii_case(other_scheme) && rest == other_rest,
            (one, two) => one == two,
        }
    }
}

/// RFC 3261 section 25.1: `unreserved` and `user-unreserved`.
fn is_user_octet(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'-' | b'_'
                | b'.'
                | b'!'
                | b'~'
                | b'*'
                | b'\''
                | b'('
                | b')'
                | b'&'
                | b'='
                | b'+'
                | b'$'
                | b','
                | b';'
                | b'?'
                | b'/'
        )
}

/// Whether two optional texts say the same once unescaped.
fn same_escaped(one: Option<&str>, two: Option<&str>, ignore_case: bool) -> bool {
    match (one, two) {
        (None, None) => true,
        (Some(one), Some(two)) if ignore_case => unescape(one).eq_ignore_ascii_case(&unescape(two)),
        (Some(one), Some(two)) => unescape(one) == unescape(two),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// A parameter of both must be the same; `user`, `ttl`, `method`, `maddr` and
/// `transport` never match their absence; others of one URI only are ignored.
fn same_params(one: &Params, two: &Params) -> bool {
    let agrees = |one: &Params, two: &Params| {
        one.iter().all(|(name, value)| {
            let name = String::from_utf8_lossy(&unescape(name)).into_owned();
            let must_be_there = ["user", "ttl", "method", "maddr", "transport"]
                .iter()
                .any(|fixed| name.eq_ignore_ascii_case(fixed));
            let other = two
                .iter()
                .find(|(other, _)| unescape(other).eq_ignore_ascii_case(name.as_bytes()));
            match other {
                Some((_, other)) => same_escaped(value, other, true),
                None => !must_be_there,
            }
        })
    };
    agrees(one, two) && agrees(two, one)
}

/// Headers match in any order, none ever ignored.
fn same_headers(one: Option<&str>, two: Option<&str>) -> bool {
    let sorted = |headers: Option<&str>| {
        let mut pairs: Vec<_> = headers
            .unwrap_or_default()
            .split('&')
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (unescape(name).to_ascii_lowercase(), unescape(value))
            })
            .collect();
        pairs.sort();
        pairs
    };
    sorted(one) == sorted(two)
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Uri::Sip(sip) => {
                f.write_str(if sip.secure { "sips:" } else { "sip:" })?;
                if let Some(user) = &sip.user {
                    f.write_str(user)?;
                    if let Some(password) = &sip.password {
                        write!(f, ":{password}")?;
                    }
                    f.write_str("@")?;
                }
                sip.host.fmt(f)?;
                if let Some(port) = sip.port {
                    write!(f, ":{port}")?;
                }
                sip.params.fmt(f)?;
                if let Some(headers) = &sip.headers {
                    write!(f, "?{headers}")?;
                }
                Ok(())
            }
            Uri::Tel { number, params } => write!(f, "tel:{number}{params}"),
            Uri::Other { scheme, rest } => write!(f, "{scheme}:{rest}"),
        }
    }
}

impl FromStr for Uri {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Uri::parse(text)
    }
}
