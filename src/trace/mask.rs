//! Takes secrets out of a SIP message, and nothing else: whoever reads it may
//! see who called whom and how, but neither replay a credential nor decrypt
//! the media. Lengths are not kept, so Content-Length may not fit any more.

use std::ops::Range;

/// What stands in the place of a secret.
const MASK: &[u8] = b"***";

/// Header fields whose value is a credential (RFC 3261 sections 20.7, 20.28;
/// RFC 7615 for the last two, where the server proves itself).
const CREDENTIALS: [&[u8]; 4] = [
    b"authorization",
    b"proxy-authorization",
    b"authentication-info",
    b"proxy-authentication-info",
];

/// Parameters of a digest that are made with the password (RFC 7616).
const PROOFS: [&[u8]; 2] = [b"response", b"rspauth"];

/// URI parameters that let their bearer in.
const TOKENS: [&[u8]; 8] = [
    b"token",
    b"access_token",
    b"call_token",
    b"api_key",
    b"apikey",
    b"password",
    b"secret",
    b"sig",
];

/// SDP lines of which everything after the colon is a secret: the ICE
/// password (RFC 8839 section 5.4), MIKEY (RFC 4567), and the key of RFC 4566
/// section 5.12.
const SECRET_LINES: [&[u8]; 3] = [b"a=ice-pwd:", b"a=key-mgmt:", b"k="];

/// The message with `***` in the place of every secret.
pub fn masked(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    let mut in_credentials = false;
    for line in message.split_inclusive(|b| *b == b'\n') {
        let (text, end) = line.split_at(line.trim_ascii_end().len());
        // A continuation line belongs to the header before it (RFC 3261
        // section 7.3.1).
        if !text.first().is_some_and(|b| matches!(b, b' ' | b'\t')) {
            in_credentials = is_credentials(text);
        }
        write_masked(text, in_credentials, &mut out);
        out.extend_from_slice(end);
    }
    out
}

fn is_credentials(line: &[u8]) -> bool {
    let name = line.split(|b| *b == b':').next().unwrap_or_default();
    let name = name.trim_ascii_end();
    CREDENTIALS
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

fn write_masked(line: &[u8], in_credentials: bool, out: &mut Vec<u8>) {
    let mut secrets: Vec<Range<usize>> = Vec::new();
    if in_credentials {
        credentials(line, &mut secrets);
    }
    for start in SECRET_LINES {
        if starts_with(line, start) {
            secrets.push(start.len()..line.len());
        }
    }
    if starts_with(line, b"a=crypto:") {
        inline_keys(line, &mut secrets);
    }
    parameters(line, &TOKENS, b";?&", &mut secrets);
    user_passwords(line, &mut secrets);
    secrets.sort_by_key(|secret| (secret.start, std::cmp::Reverse(secret.end)));
    let mut written = 0;
    for secret in secrets {
        if secret.start < written || secret.is_empty() {
            continue;
        }
        out.extend_from_slice(&line[written..secret.start]);
        out.extend_from_slice(MASK);
        written = secret.end;
    }
    out.extend_from_slice(&line[written..]);
}

/// Of a digest the proof; of any other scheme all that follows its name.
fn credentials(line: &[u8], secrets: &mut Vec<Range<usize>>) {
    let value = match line.iter().position(|b| *b == b':') {
        Some(colon) if is_credentials(line) => colon + 1,
        _ => 0,
    };
    let text = &line[value..];
    let start = value + (text.len() - text.trim_ascii_start().len());
    let scheme_end = line[start..]
        .iter()
        .position(|b| matches!(b, b' ' | b'\t'))
        .map_or(line.len(), |at| start + at);
    let scheme = &line[start..scheme_end];
    let is_scheme = value > 0 && !scheme.contains(&b'=') && !scheme.is_empty();
    if is_scheme && !scheme.eq_ignore_ascii_case(b"digest") {
        secrets.push((scheme_end + 1).min(line.len())..line.len());
        return;
    }
    parameters(line, &PROOFS, b", \t:", secrets);
}

/// The keys of SDES (RFC 4568 section 6.1): `inline:` up to its lifetime, the
/// next key, or the end.
fn inline_keys(line: &[u8], secrets: &mut Vec<Range<usize>>) {
    let name = b"inline:";
    let mut from = 0;
    while let Some(at) = find(&line[from..], name) {
        let start = from + at + name.len();
        let end = end_of(line, start, b"|; \t");
        secrets.push(start..end);
        from = end;
    }
}

/// Values of `name=value`, where the name follows one of `before`.
fn parameters(line: &[u8], names: &[&[u8]], before: &[u8], secrets: &mut Vec<Range<usize>>) {
    for (at, _) in line.iter().enumerate().filter(|(_, b)| **b == b'=') {
        let head = line[..at].trim_ascii_end();
        let Some(name) = names.iter().find(|name| ends_with(head, name)) else {
            continue;
        };
        let start = head.len() - name.len();
        if start > 0 && !before.contains(&line[start - 1]) {
            continue;
        }
        let blank = line[at + 1..].len() - line[at + 1..].trim_ascii_start().len();
        let value = at + 1 + blank;
        if line.get(value) == Some(&b'"') {
            let end = end_of(line, value + 1, b"\"");
            secrets.push(value + 1..end);
        } else {
            secrets.push(value..end_of(line, value, b";?&>, \t\"'"));
        }
    }
}

/// The password of `sip:user:password@host` (RFC 3261 section 19.1.1) and of
/// `https://user:password@host`.
fn user_passwords(line: &[u8], secrets: &mut Vec<Range<usize>>) {
    for scheme in [&b"sip:"[..], b"sips:", b"://"] {
        let mut from = 0;
        while let Some(at) = find(&line[from..], scheme) {
            let start = from + at + scheme.len();
            let end = end_of(line, start, b"<> \t\",@");
            if line.get(end) == Some(&b'@')
                && let Some(colon) = line[start..end].iter().position(|b| *b == b':')
            {
                secrets.push(start + colon + 1..end);
            }
            from = start;
        }
    }
}

fn end_of(line: &[u8], start: usize, ends: &[u8]) -> usize {
    line[start..]
        .iter()
        .position(|b| ends.contains(b))
        .map_or(line.len(), |at| start + at)
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len())
        .is_some_and(|found| found.eq_ignore_ascii_case(start))
}

fn ends_with(text: &[u8], end: &[u8]) -> bool {
    text.len()
        .checked_sub(end.len())
        .is_some_and(|at| text[at..].eq_ignore_ascii_case(end))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len())
        .position(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(text: &str) -> String {
        String::from_utf8(masked(text.as_bytes())).unwrap()
    }

    #[test]
    fn secrets_are_taken_out_and_everything_else_is_left() {
        for (message, expected) in [
            (
                "Authorization: Digest username=\"bob\", nonce=\"n\", uri=\"sip:a\", response=\"6629fae4\", algorithm=MD5\r\n",
                "Authorization: Digest username=\"bob\", nonce=\"n\", uri=\"sip:a\", response=\"***\", algorithm=MD5\r\n",
            ),
            (
                "proxy-authorization : Digest username=\"bob\",\r\n response=6629fae4, qop=auth\r\n",
                "proxy-authorization : Digest username=\"bob\",\r\n response=***, qop=auth\r\n",
            ),
            (
                "Proxy-Authorization: Digest\r\n\tresponse = \"6629\"\r\nTo: <sip:b@h>\r\n",
                "Proxy-Authorization: Digest\r\n\tresponse = \"***\"\r\nTo: <sip:b@h>\r\n",
            ),
            (
                "Authorization: Basic Ym9iOnB3\r\n",
                "Authorization: Basic ***\r\n",
            ),
            (
                "Authentication-Info: qop=auth, rspauth=\"6629\", nc=00000001\r\n",
                "Authentication-Info: qop=auth, rspauth=\"***\", nc=00000001\r\n",
            ),
            (
                "INVITE sip:bob:secret@example.com;token=abc SIP/2.0\r\n",
                "INVITE sip:bob:***@example.com;token=*** SIP/2.0\r\n",
            ),
            (
                "Contact: <sip:a@h:5060;Token=abc>;expires=60\r\n",
                "Contact: <sip:a@h:5060;Token=***>;expires=60\r\n",
            ),
            (
                "Call-Info: <https://u:p@host/x?token=abc&y=1>;purpose=info\r\n",
                "Call-Info: <https://u:***@host/x?token=***&y=1>;purpose=info\r\n",
            ),
            (
                "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:32;inline:AAAA\n",
                "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***|2^20|1:32;inline:***\n",
            ),
            (
                "a=ice-ufrag:abcd\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\nk=clear:geheim\r\n",
                "a=ice-ufrag:abcd\r\na=ice-pwd:***\r\nk=***\r\n",
            ),
        ] {
            assert_eq!(mask(message), expected);
        }
    }

    #[test]
    fn what_only_looks_like_a_secret_stays() {
        for message in [
            "To: <sip:bob@example.com:5060>;tag=token\r\n",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", opaque=\"response=1\"\r\n",
            "Via: SIP/2.0/UDP h:5060;branch=z9hG4bKtoken;rport\r\n",
            "Subject: my-token=1\r\n",
            "a=fingerprint:sha-256 AA:BB\r\na=candidate:1 1 UDP 1 192.0.2.1 5 typ host\r\n",
            "\r\n",
            "",
        ] {
            assert_eq!(mask(message), message);
        }
    }

    #[test]
    fn no_octets_make_it_fail() {
        for length in 0..64usize {
            let hostile: Vec<u8> = (0..length)
                .map(|n| b"=;:\"inline:response token@sip:\xff\r\n"[n * 7 % 33])
                .collect();
            assert!(!masked(&hostile).is_empty() || hostile.is_empty());
        }
    }
}
