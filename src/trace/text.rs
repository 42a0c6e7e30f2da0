//! The few header fields by which messages are told apart, found without
//! parsing the whole: what is captured need not be valid SIP.

/// Methods that have nothing to do with calls: keep-alives, registrations,
/// presence and messages.
const NOT_OF_CALLS: [&[u8]; 6] = [
    b"OPTIONS",
    b"REGISTER",
    b"SUBSCRIBE",
    b"PUBLISH",
    b"MESSAGE",
    b"NOTIFY",
];

/// The value of Call-ID.
pub fn sip_call_id(message: &[u8]) -> Option<&[u8]> {
    field(message, b"call-id", b"i")
}

/// Whether the method of CSeq is one of a call's. What has no CSeq counts as
/// a call's: it may be the broken message that is looked for.
pub fn is_of_call(message: &[u8]) -> bool {
    let method = field(message, b"cseq", b"cseq")
        .and_then(|value| value.rsplit(|b| matches!(b, b' ' | b'\t')).next());
    !method.is_some_and(|method| NOT_OF_CALLS.contains(&method))
}

fn field<'a>(message: &'a [u8], long: &[u8], short: &[u8]) -> Option<&'a [u8]> {
    message
        .split(|b| *b == b'\n')
        .skip_while(|line| line.trim_ascii().is_empty())
        .take_while(|line| !line.trim_ascii().is_empty())
        .find_map(|line| {
            let colon = line.iter().position(|b| *b == b':')?;
            let name = line[..colon].trim_ascii_end();
            let is_it = name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short);
            is_it.then(|| line[colon + 1..].trim_ascii())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alives_are_told_from_calls() {
        for (message, of_call) in [
            ("OPTIONS sip:a SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n", false),
            ("SIP/2.0 200 OK\r\ncseq :  1\tOPTIONS\r\n\r\n", false),
            ("INVITE sip:a SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n", true),
            ("INVITE sip:a SIP/2.0\r\n\r\nCSeq: 1 OPTIONS\r\n", true),
            ("nonsense", true),
        ] {
            assert_eq!(is_of_call(message.as_bytes()), of_call, "{message:?}");
        }
    }

    #[test]
    fn the_call_id_is_found_in_both_forms() {
        assert_eq!(sip_call_id(b"\r\nX\r\ni: a@b\r\n\r\n"), Some(&b"a@b"[..]));
        assert_eq!(sip_call_id(b"X\r\nCall-ID:a\r\n\r\n"), Some(&b"a"[..]));
        assert_eq!(sip_call_id(b"X\r\n\r\nCall-ID:a\r\n"), None);
    }
}
