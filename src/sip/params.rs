//! `;name=value` parameters of URIs and of header values.

use std::fmt;

use super::text::{Malformed, is_token, quoted_length, split_once};

/// Parameters in their order, kept as one text without white space
/// (`;lr;tag="a b"`). Names compare without regard to case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Params {
    text: String,
}

impl Params {
    /// No parameters.
    pub const fn new() -> Self {
        Params {
            text: String::new(),
        }
    }

    /// Reads the parameters of a header value: empty text, or `;` and a
    /// parameter as often as wanted, with white space around `;` and `=`
    /// (RFC 3261 section 25.1, `generic-param`).
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Self::read(text, false)
    }

    /// Reads the parameters of a URI; an empty one (`;;`) is passed over.
    pub fn parse_uri(text: &str) -> Result<Self, Malformed> {
        Self::read(text, true)
    }

    /// Whether [`Params::parse`] would take it, without the cost of a copy.
    pub fn check(text: &str) -> Result<(), Malformed> {
        scan(text, false, |_, _| {})
    }

    /// Whether [`Params::parse_uri`] would take it, without the cost of a copy.
    pub fn check_uri(text: &str) -> Result<(), Malformed> {
        scan(text, true, |_, _| {})
    }

    fn read(text: &str, of_uri: bool) -> Result<Self, Malformed> {
        let mut params = Params::new();
        params.text.reserve(text.len());
        scan(text, of_uri, |name, value| {
            params.text.push(';');
            params.text.push_str(name);
            if let Some(value) = value {
                params.text.push('=');
                params.text.push_str(value);
            }
        })?;
        Ok(params)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The parameters as they print, each with its `;` in front.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parameters in order; quoted values keep their quotes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let mut rest = self.text.as_str();
        std::iter::from_fn(move || {
            let after = rest.strip_prefix(';')?;
            let (piece, remaining) = after.split_at(piece_length(after).unwrap_or(after.len()));
            rest = remaining;
            Some(match split_once(piece, b'=') {
                Some((name, value)) => (name, Some(value)),
                None => (piece, None),
            })
        })
    }

    /// Whether a parameter of this name is there, with or without a value.
    pub fn contains(&self, name: &str) -> bool {
        self.iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    }

    /// The value of the first parameter of this name that has one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .find_map(|(_, value)| value)
    }

    /// Appends a parameter. Name and value are written as they are: a value
    /// that needs quotes must have them. Octets that would end the parameter
    /// early (white space, control characters, `;`, `,`, `<` and `>` outside
    /// of quotes) are left out.
    pub fn push(&mut self, name: &str, value: Option<&str>) {
        let plain =
            |c: &char| !(c.is_ascii_whitespace() || c.is_ascii_control() || ";,<>\"".contains(*c));
        self.text.push(';');
        self.text.extend(name.chars().filter(plain));
        match value {
            Some(value) if quoted_length_of(value) == Some(value.len()) => {
                self.text.push('=');
                let no_line_end = |c: &char| !matches!(c, '\r' | '\n');
                self.text.extend(value.chars().filter(no_line_end));
            }
            Some(value) => {
                self.text.push('=');
                self.text.extend(value.chars().filter(plain));
            }
            None => {}
        }
    }

    /// Removes every parameter of this name.
    pub fn remove(&mut self, name: &str) {
        if self.contains(name) {
            let mut kept = Params::new();
            for (other, value) in self.iter() {
                if !other.eq_ignore_ascii_case(name) {
                    kept.push(other, value);
                }
            }
            *self = kept;
        }
    }

    /// Makes this the only parameter of its name.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.remove(name);
        self.push(name, value);
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Hands every parameter of a text to `each`, until one is none.
fn scan<'a>(
    text: &'a str,
    of_uri: bool,
    mut each: impl FnMut(&'a str, Option<&'a str>),
) -> Result<(), Malformed> {
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix(';') else {
            return Err(Malformed("parameters are separated by semicolons"));
        };
        let (piece, remaining) = after.split_at(piece_length(after)?);
        rest = remaining;
        let (name, value) = match split_once(piece, b'=') {
            Some((name, value)) => (name.trim_ascii(), Some(value.trim_ascii())),
            None => (piece.trim_ascii(), None),
        };
        if name.is_empty() && value.is_none() && of_uri {
            continue;
        }
        if !(is_token(name) || of_uri && is_uri_text(name)) {
            return Err(Malformed("a parameter has no name"));
        }
        let empty_allowed = |value: &str| of_uri && value.is_empty();
        if value.is_some_and(|value| !(is_value(value) || empty_allowed(value))) {
            return Err(Malformed("a parameter has a value that is none"));
        }
        each(name, value);
    }
    Ok(())
}

/// How far the parameter at the start of `text` reaches: to the next `;`
/// outside of quotes.
fn piece_length(text: &str) -> Result<usize, Malformed> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        match bytes.get(at) {
            None | Some(b';') => return Ok(at),
            Some(b'"') => {
                at += quoted_length(&bytes[at..]).ok_or(Malformed("a quoted string has no end"))?;
            }
            Some(_) => at += 1,
        }
    }
}

fn quoted_length_of(text: &str) -> Option<usize> {
    text.starts_with('"')
        .then(|| quoted_length(text.as_bytes()))
        .flatten()
}

/// Whether a parameter's value is a quoted string, or text without
/// separators: RFC 3261 says token or host, peers say more than that.
fn is_value(value: &str) -> bool {
    match quoted_length_of(value) {
        Some(length) => length == value.len(),
        None => is_uri_text(value),
    }
}

fn is_uri_text(text: &str) -> bool {
    text.bytes()
        .all(|b| b > b' ' && b != 0x7f && !matches!(b, b'"' | b',' | b'<' | b'>' | b';'))
        && !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_the_separators_goes_away() {
        let params = Params::parse(" ;  tag   = 98asjd8 ; lr; q =\t0.33;n=\"a ; \\\" b\"").unwrap();
        assert_eq!(params.as_str(), ";tag=98asjd8;lr;q=0.33;n=\"a ; \\\" b\"");
        assert_eq!(params.get("TAG"), Some("98asjd8"));
        assert_eq!(params.get("lr"), None);
        assert!(params.contains("LR"));
        assert_eq!(params.get("n"), Some("\"a ; \\\" b\""));
    }

    #[test]
    fn what_is_no_parameter_is_refused() {
        for text in [
            "x",
            ";;",
            ";",
            ";=1",
            ";a=\"b",
            ";a=b c",
            ";a b",
            ";a=\"b\"c",
            ";a=,",
        ] {
            assert!(Params::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Params::parse_uri(";;a;").unwrap().as_str(), ";a");
    }

    #[test]
    fn a_parameter_is_set_and_removed_by_name() {
        let mut params = Params::parse(";a=1;B;a=2").unwrap();
        params.set("b", Some("3"));
        assert_eq!(params.as_str(), ";a=1;a=2;b=3");
        params.remove("A");
        assert_eq!(params.as_str(), ";b=3");
    }

    #[test]
    fn a_pushed_value_cannot_start_another_parameter_or_line() {
        let mut params = Params::new();
        params.push("tag", Some("x;lr\r\nVia: y,<z>"));
        assert_eq!(params.as_str(), ";tag=xlrVia:yz");
    }
}
