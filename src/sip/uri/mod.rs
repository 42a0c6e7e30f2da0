//! URIs: `sip:` and `sips:` in all their parts, `tel:` as far as a number is
//! wanted, any other scheme as text.

mod equivalence;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

pub use super::host::{Host, parse_host_port};
use super::host::{HostText, read_host_port};
use super::params::Params;
use super::text::{Malformed, push_escaped, split_before, split_once, unescape};

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

/// A URI that was checked but not copied.
enum Parts<'a> {
    Sip(SipParts<'a>),
    Tel { number: &'a str, params: &'a str },
    Other { scheme: &'a str, rest: &'a str },
}

struct SipParts<'a> {
    secure: bool,
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: HostText<'a>,
    port: Option<u16>,
    params: &'a str,
    headers: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Result<Self, Malformed> {
        let stray = |b: u8| (b <= b' ') | (b == 0x7f) | (b == b'<') | (b == b'>') | (b == b'"');
        if text.bytes().fold(false, |found, b| found | stray(b)) {
            return Err(Malformed("a URI holds white space, quotes or brackets"));
        }
        let Some((scheme, rest)) = split_once(text, b':') else {
            return Err(Malformed("a URI has no scheme"));
        };
        if scheme.eq_ignore_ascii_case("sip") {
            return SipParts::read(false, rest).map(Parts::Sip);
        }
        if scheme.eq_ignore_ascii_case("sips") {
            return SipParts::read(true, rest).map(Parts::Sip);
        }
        if scheme.eq_ignore_ascii_case("tel") {
            let (number, params) = split_before(rest, b';');
            Params::check_uri(params)?;
            return Ok(Parts::Tel { number, params });
        }
        // RFC 3986 section 3.1.
        let in_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(in_scheme)
        {
            return Err(Malformed("a URI has no scheme"));
        }
        Ok(Parts::Other { scheme, rest })
    }
}

impl<'a> SipParts<'a> {
    /// Reads what follows `sip:` or `sips:`.
    fn read(secure: bool, rest: &'a str) -> Result<Self, Malformed> {
        // The user part may hold `;` and `?` (RFC 3261 section 25.1
        // `user-unreserved`), so it is taken off first.
        let (userinfo, rest) = match split_once(rest, b'@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, rest),
        };
        let (user, password) = match userinfo.map(|info| split_once(info, b':').ok_or(info)) {
            Some(Ok((user, password))) => (Some(user), Some(password)),
            Some(Err(user)) => (Some(user), None),
            None => (None, None),
        };
        if user == Some("") {
            return Err(Malformed("a URI has an empty user"));
        }
        let (rest, headers) = match split_once(rest, b'?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        let (host_port, params) = split_before(rest, b';');
        let (host, port) = read_host_port(host_port)?;
        Params::check_uri(params)?;
        Ok(SipParts {
            secure,
            user,
            password,
            host,
            port,
            params,
            headers,
        })
    }
}

impl Uri {
    /// Reads a URI without anything around it.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Ok(match Parts::read(text)? {
            Parts::Sip(parts) => Uri::Sip(SipUri {
                secure: parts.secure,
                user: parts.user.map(str::to_owned),
                password: parts.password.map(str::to_owned),
                host: parts.host.into(),
                port: parts.port,
                params: Params::parse_uri(parts.params)?,
                headers: parts.headers.map(str::to_owned),
            }),
            Parts::Tel { number, params } => Uri::Tel {
                number: number.to_owned(),
                params: Params::parse_uri(params)?,
            },
            Parts::Other { scheme, rest } => Uri::Other {
                scheme: scheme.to_owned(),
                rest: rest.to_owned(),
            },
        })
    }

    /// Whether [`Uri::parse`] would take it, without the cost of a copy.
    pub fn check(text: &str) -> Result<(), Malformed> {
        Parts::read(text).map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Uri {
        text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
    }

    #[test]
    fn every_part_is_read_and_printed_as_it_was() {
        for text in [
            "sip:alice@example.com",
            "sips:a;b=c?d:pw@[2001:db8::1]:5061;transport=tcp;lr?Subject=x&To=y",
            "sip:192.0.2.4",
            "sip:null-%00-null@example.com",
            "tel:+1-201-555-0123;phone-context=x",
            "soap.beep://192.0.2.103:3002",
            "isbn:2983792873",
        ] {
            assert_eq!(read(text).to_string(), text);
        }
        let Uri::Sip(sip) = read("sips:a;b=c?d:pw@[2001:db8::1]:5061;transport=tcp;lr?S=x") else {
            panic!("a sips URI");
        };
        assert_eq!(sip.user.as_deref(), Some("a;b=c?d"));
        assert_eq!(sip.password.as_deref(), Some("pw"));
        assert_eq!(sip.port, Some(5061));
        assert_eq!(sip.params.as_str(), ";transport=tcp;lr");
        assert_eq!(sip.headers.as_deref(), Some("S=x"));
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for text in [
            "",
            "sip",
            "sip:",
            "sip:@b",
            "sip:a@",
            "sip:a@b@c",
            "sip:a b@c",
            "<sip:a@b>",
            "sip:a@b:0",
            "sip:a@b;x y",
            "sip:a@[::1",
            "sip:a@b:5060x",
            "1x:y",
            ":a",
        ] {
            assert!(text.parse::<Uri>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_user_part_is_escaped_once_and_unescaped_once() {
        let user = |text: &str| read(text).user().map(Cow::into_owned);
        assert_eq!(
            user("sip:sips%3Auser%40example.com@example.net").as_deref(),
            Some("sips:user@example.com")
        );
        assert_eq!(user("sip:%2541@b").as_deref(), Some("%41"));
        assert_eq!(user("sip:n%00n@b").as_deref(), Some("n\0n"));
        assert_eq!(user("sip:%ff@b").as_deref(), Some("\u{fffd}"));
        assert_eq!(user("tel:+49").as_deref(), Some("+49"));
        let host = Host::Name("b".to_owned());
        let uri = Uri::sip(Some("é a@b:%\r\n;x"), host, Some(5060));
        assert_eq!(uri.to_string(), "sip:%C3%A9%20a%40b%3A%25%0D%0A;x@b:5060");
        assert_eq!(uri.user().as_deref(), Some("é a@b:%\r\n;x"));
    }

    #[test]
    fn an_address_is_given_when_the_host_or_maddr_is_one() {
        let address = |text: &str| read(text).socket_addr(5060).map(|a| a.to_string());
        assert_eq!(
            address("sip:a@192.0.2.1").as_deref(),
            Some("192.0.2.1:5060")
        );
        assert_eq!(address("sip:[::1]:5070;lr").as_deref(), Some("[::1]:5070"));
        assert_eq!(
            address("sip:a@b.example:1;maddr=192.0.2.9").as_deref(),
            Some("192.0.2.9:1")
        );
        assert_eq!(address("sip:a@b.example"), None);
        assert_eq!(address("tel:+1"), None);
    }
}
