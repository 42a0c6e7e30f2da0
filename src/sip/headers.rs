//! The header fields of a message: ordered, raw until asked.

use std::fmt;
use std::sync::Arc;

pub use super::accessors::{CSeq, HeaderError};
use super::header::HeaderName;
use super::text::split_values;
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

    /// Appends a field whose value was put together from folded lines.
    pub(super) fn push_unfolded(&mut self, name: HeaderName, value: String) {
        let value = Value::Own(value.into());
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

    /// Appends a field. Line ends and NUL in the value become spaces, so that
    /// no value can start a header of its own; white space at its ends goes.
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
}

fn own(text: String) -> Value {
    let line_end = |c: char| matches!(c, '\r' | '\n' | '\0');
    if text.contains(line_end) {
        return Value::Own(text.replace(line_end, " ").trim_ascii().into());
    }
    Value::Own(text.trim_ascii().into())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(headers: &Headers) -> String {
        let lines: Vec<_> = headers.iter().map(|(n, v)| format!("{n}={v}")).collect();
        lines.join("|")
    }

    fn three_vias() -> Headers {
        let mut headers = Headers::new();
        headers.push(
            HeaderName::Via,
            "SIP/2.0/UDP a;x=\",\" , SIP/2.0/UDP b;rport",
        );
        headers.push(HeaderName::Subject, "s");
        headers.push(HeaderName::Via, "SIP/2.0/UDP c");
        headers
    }

    #[test]
    fn set_takes_the_first_ones_place_and_removes_the_others() {
        let mut headers = three_vias();
        headers.set(HeaderName::Via, "z");
        headers.set(HeaderName::Expires, "1");
        assert_eq!(names(&headers), "Via=z|Subject=s|Expires=1");
        headers.remove(&HeaderName::Via);
        headers.insert_first(HeaderName::Server, "r");
        assert_eq!(names(&headers), "Server=r|Subject=s|Expires=1");
    }

    #[test]
    fn only_the_topmost_via_is_stamped_though_its_line_holds_two() {
        let mut headers = three_vias();
        let source = "192.0.2.1:9".parse().unwrap();
        assert!(headers.stamp_top_via(source).is_ok());
        assert_eq!(
            names(&headers),
            "Via=SIP/2.0/UDP a;received=192.0.2.1;x=\",\", SIP/2.0/UDP b;rport\
             |Subject=s|Via=SIP/2.0/UDP c"
        );
        assert_eq!(headers.vias().map(|vias| vias.len()), Ok(3));
    }

    #[test]
    fn no_value_can_start_a_header_of_its_own() {
        let mut headers = Headers::new();
        headers.push(HeaderName::Reason, "a\r\nVia: evil\0");
        assert_eq!(headers.get(&HeaderName::Reason), Some("a  Via: evil"));
    }
}
