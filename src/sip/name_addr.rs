//! The values of From, To, Contact, Route and Record-Route.

use std::fmt;
use std::str::FromStr;

use super::params::Params;
use super::text::{
    Malformed, find, is_token, push_quoted, quoted_length, split_before, split_once, unquote,
};
use super::uri::Uri;

/// `"display" <uri>;params`, or `uri;params` (RFC 3261 section 20.10).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NameAddr {
    /// The display name, without quotes and escapes.
    pub display: Option<String>,
    /// The URI.
    pub uri: Uri,
    /// The header's parameters (not the URI's).
    pub params: Params,
}

impl NameAddr {
    /// A URI and nothing else.
    pub fn new(uri: Uri) -> Self {
        NameAddr {
            display: None,
            uri,
            params: Params::new(),
        }
    }

    /// Reads one value. Without `<>`, parameters belong to the header
    /// (RFC 3261 section 20.10).
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let parts = Parts::read(text)?;
        Ok(NameAddr {
            display: parts.display.map(unquote),
            uri: Uri::parse(parts.uri)?,
            params: Params::parse(parts.params)?,
        })
    }

    /// Whether [`NameAddr::parse`] would take it, without the cost of a copy.
    pub fn check(text: &str) -> Result<(), Malformed> {
        let parts = Parts::read(text)?;
        Uri::check(parts.uri)?;
        Params::check(parts.params)
    }

    /// The tag, when there is one.
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag")
    }

    /// Gives it this tag, and only this.
    pub fn set_tag(&mut self, tag: &str) {
        self.params.set("tag", Some(tag));
    }

    /// The same without a tag.
    pub fn without_tag(mut self) -> Self {
        self.params.remove("tag");
        self
    }
}

/// A value taken apart; its parts are not yet checked.
struct Parts<'a> {
    /// With its quotes, if it has any.
    display: Option<&'a str>,
    uri: &'a str,
    params: &'a str,
}

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Result<Self, Malformed> {
        let text = text.trim_ascii();
        let (display, rest) = if text.starts_with('"') {
            let end = quoted_length(text.as_bytes())
                .ok_or(Malformed("a display name's quote has no end"))?;
            (Some(&text[..end]), text[end..].trim_ascii_start())
        } else if let Some(open) = find(text, b'<') {
            let name = text[..open].trim_ascii();
            // A token list by the grammar; more is taken (RFC 4475 section
            // 3.1.2.15), but nothing that could be parameters.
            if name.bytes().any(|b| matches!(b, b'"' | b';')) {
                return Err(Malformed("a display name needs quotes"));
            }
            ((!name.is_empty()).then_some(name), &text[open..])
        } else {
            let (uri, params) = split_before(text, b';');
            return Ok(Parts {
                display: None,
                uri: uri.trim_ascii(),
                params,
            });
        };
        let rest = rest
            .strip_prefix('<')
            .ok_or(Malformed("a display name is not followed by <"))?;
        let (uri, params) = split_once(rest, b'>').ok_or(Malformed("< without >"))?;
        Ok(Parts {
            display,
            uri: uri.trim_ascii(),
            params,
        })
    }
}

impl fmt::Display for NameAddr {
    /// Always in `<>`, so that no parameter can change sides.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            if !display.is_empty() && display.split(' ').all(is_token) {
                write!(f, "{display} ")?;
            } else {
                let mut quoted = String::with_capacity(display.len() + 3);
                push_quoted(&mut quoted, display);
                write!(f, "{quoted} ")?;
            }
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

impl FromStr for NameAddr {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        NameAddr::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NameAddr {
        text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
    }

    #[test]
    fn the_display_name_loses_its_quotes_and_gets_them_back() {
        let value = read(r#""Bell, \"A\"" < sip:a@b > ; tag = x"#);
        assert_eq!(value.display.as_deref(), Some("Bell, \"A\""));
        assert_eq!(value.tag(), Some("x"));
        assert_eq!(value.to_string(), r#""Bell, \"A\"" <sip:a@b>;tag=x"#);
        assert_eq!(
            read("A. G. Bell<sip:a@b>").to_string(),
            "A. G. Bell <sip:a@b>"
        );
        assert_eq!(
            read("Bell, Alexander <sip:a@b>;tag=43").to_string(),
            r#""Bell, Alexander" <sip:a@b>;tag=43"#
        );
    }

    #[test]
    fn parameters_outside_of_brackets_are_the_headers() {
        let value = read("sip:a@b:5061;tag=1");
        assert_eq!(value.tag(), Some("1"));
        assert_eq!(value.uri.to_string(), "sip:a@b:5061");
        let value = read("<sip:a@b;lr>;tag=1");
        assert!(value.uri.has_param("lr"));
        assert_eq!(value.to_string(), "<sip:a@b;lr>;tag=1");
    }

    #[test]
    fn broken_values_are_refused() {
        for text in [
            "",
            "\"Mr. J. User <sip:j@b>",
            "\"J\" sip:j@b",
            "a \"J\" <sip:j@b>",
            "a;tag=1 <sip:j@b>",
            "<sip:j@b",
            "\"Joe\" <sip:joe@example.org>;;;;",
            "joe",
        ] {
            assert!(text.parse::<NameAddr>().is_err(), "{text:?}");
        }
    }
}
