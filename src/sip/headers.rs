//! The header fields of a message: ordered, raw until asked.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::header::HeaderName;
use super::method::Method;
use super::name_addr::NameAddr;
use super::text::{Malformed, number, split_values};
use super::via::Via;

/// The header fields of a message in their order. Those of a parsed message
/// share one copy of its text; those set here own theirs.
#[derive(Clone, Default)]
pub struct Headers {
    source: Option<Arc<str>>,
    fields: Vec<Field>,
}

#[derive(Clone)]
struct Field {
    name: HeaderName,
    value: Value,
}

#[derive(Clone)]
enum Value {
    /// A range of the message's text.
    Source {
        start: u32,
        end: u32,
    },
    Own(Box<str>),
}

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
    /// No header fields.
    pub const fn new() -> Self {
        Headers {
            source: None,
            fields: Vec::new(),
        }
    }

    /// No header fields yet; those pushed by range are parts of this text.
    pub(super) fn of_source(source: Arc<str>) -> Self {
        Headers {
            source: Some(source),
            fields: Vec::with_capacity(20),
        }
    }

    /// Appends a field whose value is this range of the source text.
    pub(super) fn push_range(&mut self, name: HeaderName, start: usize, end: usize) {
        let value = match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) => Value::Source { start, end },
            _ => Value::Own(Box::default()),
        };
        self.fields.push(Field { name, value });
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    fn text<'a>(&'a self, value: &'a Value) -> &'a str {
        match value {
            Value::Own(text) => text,
            Value::Source { start, end } => self
                .source
                .as_deref()
                .and_then(|source| source.get(*start as usize..*end as usize))
                .unwrap_or_default(),
        }
    }

    /// All fields in order: name, and value unfolded and trimmed.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &str)> {
        self.fields
            .iter()
            .map(|field| (&field.name, self.text(&field.value)))
    }

    /// The value of the first field of this name, unfolded and trimmed.
    pub fn get(&self, name: &HeaderName) -> Option<&str> {
        self.fields
            .iter()
            .find(|field| field.name == *name)
            .map(|field| self.text(&field.value))
    }

    /// Whether a field of this name is there.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.fields.iter().any(|field| field.name == *name)
    }

    /// The values of all fields of this name, one per field.
    pub fn all(&self, name: &HeaderName) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |field| field.name == *name)
            .map(|field| self.text(&field.value))
    }

    /// The values of all fields of this name, those on one line taken apart
    /// at their commas (RFC 3261 section 7.3.1). Not for the authentication
    /// headers, whose commas separate parameters.
    pub fn values(&self, name: &HeaderName) -> impl Iterator<Item = &str> {
        self.all(name).flat_map(split_values)
    }

    /// Whether one of the comma-separated values is this, without case: for
    /// option tags in Supported and Require, methods in Allow.
    pub fn lists(&self, name: &HeaderName, value: &str) -> bool {
        self.values(name).any(|v| v.eq_ignore_ascii_case(value))
    }

    /// Appends a field. Line ends and NUL in the value become spaces: no
    /// value can start a header of its own.
    pub fn push(&mut self, name: HeaderName, value: impl Into<String>) {
        let value = own(value.into());
        self.fields.push(Field { name, value });
    }

    /// Puts a field before all others.
    pub fn insert_first(&mut self, name: HeaderName, value: impl Into<String>) {
        let value = own(value.into());
        self.fields.insert(0, Field { name, value });
    }

    /// Makes this the only field of its name: in the place of the first one,
    /// or at the end.
    pub fn set(&mut self, name: HeaderName, value: impl Into<String>) {
        match self.fields.iter().position(|field| field.name == name) {
            None => self.push(name, value),
            Some(at) => {
                self.fields[at].value = own(value.into());
                let mut index = 0;
                self.fields.retain(|field| {
                    index += 1;
                    index - 1 <= at || field.name != name
                });
            }
        }
    }

    /// Removes all fields of this name.
    pub fn remove(&mut self, name: &HeaderName) {
        self.fields.retain(|field| field.name != *name);
    }

    /// Appends copies of all fields of this name that `other` has.
    pub fn copy_all(&mut self, other: &Headers, name: &HeaderName) {
        self.copy(other, name, usize::MAX);
    }

    /// Appends a copy of the first field of this name that `other` has.
    pub fn copy_first(&mut self, other: &Headers, name: &HeaderName) {
        self.copy(other, name, 1);
    }

    fn copy(&mut self, other: &Headers, name: &HeaderName, most: usize) {
        if self.source.is_none() {
            self.source.clone_from(&other.source);
        }
        let shared = match (&self.source, &other.source) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            _ => false,
        };
        for field in other.fields.iter().filter(|f| f.name == *name).take(most) {
            let value = if shared {
                field.value.clone()
            } else {
                Value::Own(other.text(&field.value).into())
            };
            self.fields.push(Field {
                name: field.name.clone(),
                value,
            });
        }
    }

    /// The topmost Via.
    pub fn via(&self) -> Result<Via, HeaderError> {
        let value = self.values(&HeaderName::Via).next();
        read(HeaderName::Via, value, Via::parse)
    }

    /// All Vias, topmost first.
    pub fn vias(&self) -> Result<Vec<Via>, HeaderError> {
        self.read_all(HeaderName::Via, Via::parse)
    }

    /// Puts this in the place of the topmost Via, whose line may hold others.
    pub fn set_top_via(&mut self, via: &Via) {
        let Some(at) = self
            .fields
            .iter()
            .position(|field| field.name == HeaderName::Via)
        else {
            return self.insert_first(HeaderName::Via, via.to_string());
        };
        let mut line = via.to_string();
        for value in split_values(self.text(&self.fields[at].value)).skip(1) {
            line.push_str(", ");
            line.push_str(value);
        }
        self.fields[at].value = own(line);
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

fn own(text: String) -> Value {
    let line_end = |c: char| matches!(c, '\r' | '\n' | '\0');
    if text.contains(line_end) {
        return Value::Own(text.replace(line_end, " ").into());
    }
    Value::Own(text.into())
}

fn tag(value: &str) -> Option<&str> {
    std::str::from_utf8(super::text::tag(value.as_bytes())?).ok()
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}
