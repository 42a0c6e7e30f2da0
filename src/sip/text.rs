//! The lexical bits of RFC 3261 section 25 that every other parser here uses.

use memchr::memchr;

/// A text does not follow the grammar; says what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Which octets may be in a `token` (RFC 3261 section 25.1).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        let b = octet as u8;
        table[octet] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
            );
        octet += 1;
    }
    table
};

/// Whether the text is a `token`: not empty, and of the token's characters.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| TOKEN[usize::from(b)])
}

/// Reads `1*DIGIT` into a number; a value too large for `u64` saturates.
pub fn number(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u64, |sum, b| {
        b.is_ascii_digit()
            .then(|| sum.saturating_mul(10).saturating_add(u64::from(b - b'0')))
    })
}

/// Reads a port, 1 to 65535.
pub fn port(text: &str) -> Result<u16, Malformed> {
    match number(text) {
        Some(port @ 1..=0xffff) => Ok(port as u16),
        _ => Err(Malformed("port is not a number from 1 to 65535")),
    }
}

/// Where an ASCII character first is. (`str::find` takes three times as long
/// on texts as short as these.)
pub fn find(text: &str, character: u8) -> Option<usize> {
    memchr(character, text.as_bytes())
}

/// What is before and what is after an ASCII character.
pub fn split_once(text: &str, character: u8) -> Option<(&str, &str)> {
    let at = find(text, character)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// What is before an ASCII character, and the rest from it on.
pub fn split_before(text: &str, character: u8) -> (&str, &str) {
    text.split_at(find(text, character).unwrap_or(text.len()))
}

/// The first place outside of a quoted string and outside of `<>` where `wanted` says yes.
pub fn find_outside(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        if wanted(b) {
            return Some(at);
        }
        at += match b {
            b'"' => quoted_length(&bytes[at..])?,
            b'<' => bytes[at..].iter().position(|&b| b == b'>')? + 1,
            _ => 1,
        };
    }
    None
}

/// How long the quoted string at the start of `bytes` is, with its quotes;
/// none when it does not end.
pub fn quoted_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// What a quoted string says: its quotes and its escapes taken away. A text
/// without quotes says itself.
pub fn unquote(text: &str) -> String {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    else {
        return text.to_owned();
    };
    let mut said = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => said.extend(characters.next()),
            other => said.push(other),
        }
    }
    said
}

/// Appends a quoted string that says `text`. Line ends, which no quoted
/// string can hold (RFC 3261 section 25.1), become spaces.
pub fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '\r' | '\n' => out.push(' '),
            '"' | '\\' | '\0'..='\x08' | '\x0b'..='\x1f' | '\x7f' => {
                out.push('\\');
                out.push(character);
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The values of a comma-separated header value, trimmed; commas in quotes
/// and in `<>` do not separate, and empty values are passed over.
pub fn split_values(text: &str) -> impl Iterator<Item = &str> {
    split_outside(text, b',').filter(|value| !value.is_empty())
}

/// The trimmed pieces between `separator`s that are outside of quotes and `<>`.
pub fn split_outside(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let piece = match find_outside(text.as_bytes(), |b| b == separator) {
            Some(at) => {
                rest = Some(&text[at + 1..]);
                &text[..at]
            }
            None => {
                rest = None;
                text
            }
        };
        Some(piece.trim_ascii())
    })
}

/// The tag parameter of a From or To value.
pub fn tag(value: &[u8]) -> Option<&[u8]> {
    let semicolon = |bytes: &[u8]| find_outside(bytes, |b| b == b';');
    let mut rest = value;
    // What is before the first semicolon is the URI.
    while let Some(at) = semicolon(rest) {
        rest = &rest[at + 1..];
        let param = &rest[..semicolon(rest).unwrap_or(rest.len())];
        if let Some(equals) = param.iter().position(|b| *b == b'=')
            && param[..equals].trim_ascii().eq_ignore_ascii_case(b"tag")
        {
            return Some(param[equals + 1..].trim_ascii());
        }
    }
    None
}

/// Appends `text` with every octet outside of `plain` as `%HH`.
pub fn push_escaped(out: &mut String, text: &str, plain: impl Fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for b in text.bytes() {
        if b.is_ascii() && plain(b) {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(b >> 4)]));
            out.push(char::from(HEX[usize::from(b & 15)]));
        }
    }
}

/// The octets that a text with `%HH` escapes stands for: unescaped once,
/// never again; a `%` that starts no escape stands for itself.
pub fn unescape(text: &str) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|&b| char::from(b).to_digit(16));
    let bytes = text.as_bytes();
    let mut octets = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        match (b, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                octets.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                octets.push(b);
                at += 1;
            }
        }
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_separate() {
        let values: Vec<_> =
            split_values(r#""a, \", b" <sip:a,b@c> ,, <sip:d@e>;x="1,2" , f"#).collect();
        assert_eq!(
            values,
            [r#""a, \", b" <sip:a,b@c>"#, r#"<sip:d@e>;x="1,2""#, "f"]
        );
    }

    #[test]
    fn an_unterminated_quote_takes_the_rest() {
        let values: Vec<_> = split_values(r#"a, "b, c"#).collect();
        assert_eq!(values, ["a", r#""b, c"#]);
    }

    #[test]
    fn quoting_and_unquoting_are_inverse() {
        let mut quoted = String::new();
        push_quoted(&mut quoted, "say \"\\\0\x07\" é");
        assert_eq!(quoted, "\"say \\\"\\\\\\\0\\\x07\\\" é\"");
        assert_eq!(unquote(&quoted), "say \"\\\0\x07\" é");
        assert_eq!(unquote("\"\\"), "\"\\");
    }

    #[test]
    fn unescaping_is_done_once_and_keeps_a_nul() {
        assert_eq!(unescape("%25%34%31"), b"%41");
        assert_eq!(unescape("null-%00-null"), b"null-\0-null");
        assert_eq!(unescape("%Z%45%4%"), b"%ZE%4%");
    }

    #[test]
    fn numbers_saturate_and_ports_are_checked() {
        assert_eq!(number("0068"), Some(68));
        assert_eq!(number("36893488147419103232"), Some(u64::MAX));
        assert_eq!(number("-1"), None);
        assert_eq!(number(""), None);
        assert_eq!(port("05060"), Ok(5060));
        assert!(port("0").is_err());
        assert!(port("65536").is_err());
    }
}
