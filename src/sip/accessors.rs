//! The header fields that have a type: read when asked.

use std::fmt;
use std::net::SocketAddr;

use super::header::HeaderName;
use super::headers::Headers;
use super::method::Method;
use super::name_addr::NameAddr;
use super::text::{Malformed, number};
use super::via::Via;

/// A header that was asked for cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It is not there.
    #[error("{0} is missing")]
    Missing(HeaderName),
    /// It does not follow the grammar.
    #[error("malformed {0}: {1}")]
    Malformed(HeaderName, Malformed),
}

/// The value of CSeq (RFC 3261 section 20.16).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// The sequence number, below 2^31 (RFC 3261 section 8.1.1.5).
    pub number: u32,
    /// The method.
    pub method: Method,
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

impl Headers {
    /// The topmost Via.
    pub fn via(&self) -> Result<Via, HeaderError> {
        let value = self.values(&HeaderName::Via).next();
        read(HeaderName::Via, value, Via::parse)
    }

    /// All Vias, topmost first.
    pub fn vias(&self) -> Result<Vec<Via>, HeaderError> {
        self.read_all(HeaderName::Via, Via::parse)
    }

    /// [`Via::stamp`]s the topmost Via with where the request came from, and
    /// returns it as it is then.
    pub fn stamp_top_via(&mut self, source: SocketAddr) -> Result<Via, HeaderError> {
        let mut via = self.via()?;
        via.stamp(source);
        self.set_top_via(&via);
        Ok(via)
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr, HeaderError> {
        self.name_addr(HeaderName::From)
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr, HeaderError> {
        self.name_addr(HeaderName::To)
    }

    fn name_addr(&self, name: HeaderName) -> Result<NameAddr, HeaderError> {
        let value = self.get(&name);
        read(name, value, NameAddr::parse)
    }

    /// The tag of From, without the cost of reading all of it.
    pub fn from_tag(&self) -> Option<&str> {
        self.get(&HeaderName::From).and_then(tag)
    }

    /// The tag of To, without the cost of reading all of it.
    pub fn to_tag(&self) -> Option<&str> {
        self.get(&HeaderName::To).and_then(tag)
    }

    /// Gives To this tag when it has none yet (RFC 3261 section 8.2.6.2). A
    /// To that cannot be read stays as it is.
    pub fn add_to_tag(&mut self, tag: &str) {
        if let Ok(mut to) = self.to()
            && to.tag().is_none()
        {
            to.set_tag(tag);
            self.set(HeaderName::To, to.to_string());
        }
    }

    /// Call-ID.
    pub fn call_id(&self) -> Result<&str, HeaderError> {
        read(HeaderName::CallId, self.get(&HeaderName::CallId), |text| {
            // Any text will do that is one word (RFC 4475 section 3.1.1.2).
            if text.is_empty() || text.contains([' ', '\t']) {
                return Err(Malformed("it is not one word"));
            }
            Ok(text)
        })
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        read(HeaderName::CSeq, self.get(&HeaderName::CSeq), |text| {
            let (digits, method) = text
                .split_once([' ', '\t'])
                .ok_or(Malformed("it is not a number and a method"))?;
            let number = number(digits)
                .filter(|number| *number < 1 << 31)
                .ok_or(Malformed("the number is not below 2^31"))?;
            Ok(CSeq {
                number: number as u32,
                method: Method::parse(method.trim_ascii())
                    .ok_or(Malformed("the method is no token"))?,
            })
        })
    }

    /// Max-Forwards, 0 to 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        let Some(text) = self.get(&HeaderName::MaxForwards) else {
            return Ok(None);
        };
        let hops = number(text).and_then(|number| u8::try_from(number).ok());
        hops.map(Some).ok_or(HeaderError::Malformed(
            HeaderName::MaxForwards,
            Malformed("it is not from 0 to 255"),
        ))
    }

    /// Content-Length. Of several, all must be the same
    /// (RFC 4475 section 3.3.9).
    pub fn content_length(&self) -> Result<Option<usize>, HeaderError> {
        let mut length = None;
        for text in self.all(&HeaderName::ContentLength) {
            let one = number(text).and_then(|number| usize::try_from(number).ok());
            if one.is_none() || length.is_some() && length != one {
                return Err(HeaderError::Malformed(
                    HeaderName::ContentLength,
                    Malformed("it is not one number"),
                ));
            }
            length = one;
        }
        Ok(length)
    }

    /// The URIs of Contact, in order; `*` is passed over.
    pub fn contacts(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.values(&HeaderName::Contact)
            .filter(|value| *value != "*")
            .map(|value| read(HeaderName::Contact, Some(value), NameAddr::parse))
            .collect()
    }

    /// Route, topmost first.
    pub fn routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.read_all(HeaderName::Route, NameAddr::parse)
    }

    /// Record-Route, topmost first.
    pub fn record_routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
        self.read_all(HeaderName::RecordRoute, NameAddr::parse)
    }

    /// Expires in seconds; a number too large becomes the largest
    /// (RFC 4475 section 3.1.2.4); none when it is no number.
    pub fn expires(&self) -> Option<u32> {
        self.seconds(&HeaderName::Expires)
    }

    /// Min-Expires in seconds.
    pub fn min_expires(&self) -> Option<u32> {
        self.seconds(&HeaderName::MinExpires)
    }

    /// Retry-After in seconds, without its comment and parameters.
    pub fn retry_after(&self) -> Option<u32> {
        self.seconds(&HeaderName::RetryAfter)
    }

    fn seconds(&self, name: &HeaderName) -> Option<u32> {
        let text = self.get(name)?;
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        number(&text[..end]).map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// `type/subtype` of Content-Type, without its parameters.
    pub fn media_type(&self) -> Option<&str> {
        self.get(&HeaderName::ContentType)
            .and_then(|text| text.split(';').next())
            .map(str::trim_ascii)
    }

    fn read_all<T>(
        &self,
        name: HeaderName,
        parse: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, HeaderError> {
        self.values(&name)
            .map(|value| read(name.clone(), Some(value), &parse))
            .collect()
    }

    /// Whether the first value of this name is there and well formed.
    pub(super) fn check_first(
        &self,
        name: HeaderName,
        check: impl Fn(&str) -> Result<(), Malformed>,
    ) -> Result<(), HeaderError> {
        // From and To have one value, whose display name may hold a comma
        // (RFC 4475 section 3.1.2.15).
        let value = match name {
            HeaderName::Via => self.values(&name).next(),
            _ => self.get(&name),
        };
        read(name, value, check)
    }

    /// Whether all values of this name are well formed.
    pub(super) fn check_all(
        &self,
        name: HeaderName,
        check: impl Fn(&str) -> Result<(), Malformed>,
    ) -> Result<(), HeaderError> {
        let wrong = self.values(&name).find_map(|value| check(value).err());
        match wrong {
            Some(why) => Err(HeaderError::Malformed(name, why)),
            None => Ok(()),
        }
    }
}

fn read<'a, T>(
    name: HeaderName,
    value: Option<&'a str>,
    parse: impl FnOnce(&'a str) -> Result<T, Malformed>,
) -> Result<T, HeaderError> {
    match value {
        None => Err(HeaderError::Missing(name)),
        Some(text) => parse(text).map_err(|why| HeaderError::Malformed(name, why)),
    }
}

fn tag(value: &str) -> Option<&str> {
    std::str::from_utf8(super::text::tag(value.as_bytes())?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: HeaderName, value: &str) -> Headers {
        let mut headers = Headers::new();
        headers.push(name, value);
        headers
    }

    #[test]
    fn cseq_is_below_two_to_the_31_and_keeps_its_method() {
        let cseq = |value| one(HeaderName::CSeq, value).cseq();
        assert_eq!(cseq("0009   INVITE").unwrap().to_string(), "9 INVITE");
        assert_eq!(cseq("2147483647 X").unwrap().number, 0x7fff_ffff);
        for value in [
            "2147483648 X",
            "36893488147419103232 X",
            "1",
            "X 1",
            "-1 X",
            "1 X Y",
            "",
        ] {
            assert!(cseq(value).is_err(), "{value}");
        }
        assert_eq!(
            Headers::new().cseq(),
            Err(HeaderError::Missing(HeaderName::CSeq))
        );
    }

    #[test]
    fn numbers_out_of_range_are_refused_or_become_the_largest() {
        let hops = |value| one(HeaderName::MaxForwards, value).max_forwards();
        assert_eq!(hops("0068"), Ok(Some(68)));
        assert!(hops("256").is_err());
        assert_eq!(Headers::new().max_forwards(), Ok(None));
        let expires = |value| one(HeaderName::Expires, value).expires();
        assert_eq!(expires("10000000000000000000000"), Some(u32::MAX));
        assert_eq!(expires("Thu, 01 Dec 1994"), None);
        let retry = one(HeaderName::RetryAfter, "18000 (in a meeting);duration=3600");
        assert_eq!(retry.retry_after(), Some(18000));
        let length = |value| one(HeaderName::ContentLength, value).content_length();
        assert_eq!(length("5"), Ok(Some(5)));
        assert!(length("-999").is_err());
    }

    #[test]
    fn a_tag_is_found_past_quotes_and_brackets() {
        for (value, tag) in [
            ("<sip:a@b;tag=no>;tag=yes", Some("yes")),
            ("\";tag=no\" <sip:a@b>;x=\";tag=no\";TAG = yes", Some("yes")),
            ("sip:a@b;tag=yes", Some("yes")),
            ("<sip:a@b;tag=no>", None),
            ("\"unended;tag=no", None),
        ] {
            assert_eq!(one(HeaderName::To, value).to_tag(), tag, "{value}");
            if let Ok(to) = one(HeaderName::To, value).to() {
                assert_eq!(to.tag(), tag, "{value}");
            }
        }
    }

    #[test]
    fn a_to_gets_a_tag_only_when_it_has_none() {
        let mut headers = one(HeaderName::To, "Bob <sip:b@c>");
        headers.add_to_tag("1");
        headers.add_to_tag("2");
        assert_eq!(headers.get(&HeaderName::To), Some("Bob <sip:b@c>;tag=1"));
        let mut broken = one(HeaderName::To, "\"Bob <sip:b@c>");
        broken.add_to_tag("1");
        assert_eq!(broken.get(&HeaderName::To), Some("\"Bob <sip:b@c>"));
    }

    #[test]
    fn the_asterisk_is_no_contact_address() {
        let contacts = one(HeaderName::Contact, "*, <sip:a@b>").contacts();
        assert_eq!(contacts.map(|c| c.len()), Ok(1));
    }
}
