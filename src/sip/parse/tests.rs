use super::*;

const OPTIONS: &str = "OPTIONS sip:b@x SIP/2.0\r\n\
    Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
    From: <sip:a@x>;tag=1\r\n\
    To: <sip:b@x>\r\n\
    Call-ID: c\r\n\
    CSeq: 1 OPTIONS\r\n\
    \r\n";

fn request(text: &str) -> Request {
    match parse(text.as_bytes()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// Why it is refused, and the code it is answered with.
fn refused(text: &str) -> (ParseErrorReason, Option<u16>) {
    let error = parse(text.as_bytes()).expect_err("refused");
    let code = error.answer.map(|answer| answer.status.code());
    (error.reason, code)
}

#[test]
fn line_ends_before_a_message_are_passed_over_and_alone_are_a_keep_alive() {
    assert_eq!(request(&format!("\r\n\n{OPTIONS}")), request(OPTIONS));
    for nothing in ["", "\r\n\r\n", "\n", "\0\0\0\0"] {
        assert_eq!(refused(nothing), (ParseErrorReason::KeepAlive, None));
    }
}

#[test]
fn bare_line_feeds_compact_names_and_folds_read_like_the_long_form() {
    let short = "OPTIONS sip:b@x SIP/2.0\n\
        v:SIP/2.0/UDP\n  h;branch=z9hG4bK1\n\
        f\t: <sip:a@x>\r\n\t;tag=1\n\
        TO:<sip:b@x>\n\
        i:\n c\n\
        cSEQ: 1\n \n OPTIONS\n\
        \n";
    let short = request(short);
    assert_eq!(short.headers.from_tag(), Some("1"));
    assert_eq!(short.headers.call_id(), Ok("c"));
    assert_eq!(short.headers.cseq(), request(OPTIONS).headers.cseq());
    assert_eq!(short.headers.via(), request(OPTIONS).headers.via());
}

#[test]
fn lines_that_are_no_header_are_passed_over_and_unknown_ones_kept_in_order() {
    let text = OPTIONS.replace(
        "To:",
        "X-A: 1\r\nno colon\r\nsp ace: 1\r\n: empty\r\nX-A: 2\r\nTo:",
    );
    let headers = request(&text).headers;
    let unknown: Vec<_> = headers.all(&HeaderName::Other("X-A".into())).collect();
    assert_eq!(unknown, ["1", "2"]);
    assert_eq!(headers.len(), 7);
}

#[test]
fn the_body_ends_with_content_length_or_with_the_datagram() {
    let with =
        |length: &str, body: &str| OPTIONS.replace("\r\n\r\n", &format!("\r\n{length}\r\n{body}"));
    assert_eq!(request(&with("l: 2\r\n", "abcd")).body, "ab");
    assert_eq!(request(&with("", "abcd")).body, "abcd");
    assert_eq!(
        refused(&with("l: 5\r\n", "abcd")),
        (ParseErrorReason::BodyTooShort, Some(400))
    );
    assert_eq!(request(&with("l: 2\r\nl: 2\r\n", "abcd")).body, "ab");
    let (reason, code) = refused(&with("l: 2\r\nl: 3\r\n", "abcd"));
    assert!(matches!(
        reason,
        ParseErrorReason::Malformed(HeaderName::ContentLength, _)
    ));
    assert_eq!(code, Some(400));
}

#[test]
fn a_body_may_be_any_octets() {
    let mut datagram = OPTIONS.as_bytes().to_vec();
    datagram.extend([0xff, 0, 0xfe, b'\n', b'\n']);
    let message = parse(&datagram).expect("a request");
    assert_eq!(message.body().as_ref(), [0xff, 0, 0xfe, b'\n', b'\n']);
}

#[test]
fn octets_that_are_not_utf_8_are_read_as_latin_1() {
    let text = OPTIONS.replace("To: ", "To: \"M?ller \u{20ac}\" ");
    let mut datagram = text.into_bytes();
    if let Some(at) = datagram.iter().position(|b| *b == b'?') {
        datagram[at] = 0xfc;
    }
    datagram.extend([0xfc; 3]);
    let message = parse(&datagram).expect("a request");
    let to = message.headers().to().expect("To");
    assert_eq!(to.display.as_deref(), Some("Müller \u{20ac}"));
    assert_eq!(message.body().as_ref(), [0xfc; 3]);
}

#[test]
fn a_lone_carriage_return_cannot_start_a_line() {
    let text = OPTIONS.replace("Call-ID:", "Subject: a\rVia: b\r\nCall-ID:");
    let headers = request(&text).headers;
    assert_eq!(headers.get(&HeaderName::Subject), Some("a Via: b"));
}

#[test]
fn a_refused_request_is_answered_with_what_could_be_read() {
    let text = OPTIONS
        .replace("OPTIONS\r\n", "BYE\r\n")
        .replace("z9hG4bK1", "z9hG4bK1, SIP/2.0/UDP i, ;;");
    let error = parse(text.as_bytes()).expect_err("refused");
    let mut printed = Vec::new();
    error.answer.expect("an answer").write_to(&mut printed);
    assert_eq!(
        String::from_utf8_lossy(&printed),
        "SIP/2.0 400 CSeq Method Mismatch\r\n\
         Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
         Via: SIP/2.0/UDP i\r\n\
         From: <sip:a@x>;tag=1\r\n\
         To: <sip:b@x>\r\n\
         Call-ID: c\r\n\
         CSeq: 1 BYE\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn each_fault_has_its_reason_and_its_code() {
    let missing = |name: &str| {
        let kept: Vec<_> = OPTIONS
            .split_inclusive("\r\n")
            .filter(|line| !line.starts_with(name))
            .collect();
        kept.concat()
    };
    let many = OPTIONS.replace("To:", &format!("{}To:", "a:\r\n".repeat(MAX_HEADERS)));
    for (text, reason, code) in [
        (
            missing("Via"),
            ParseErrorReason::Missing(HeaderName::Via),
            None,
        ),
        (
            missing("From"),
            ParseErrorReason::Missing(HeaderName::From),
            Some(400),
        ),
        (
            missing("To"),
            ParseErrorReason::Missing(HeaderName::To),
            Some(400),
        ),
        (
            missing("Call-ID"),
            ParseErrorReason::Missing(HeaderName::CallId),
            Some(400),
        ),
        (
            missing("CSeq"),
            ParseErrorReason::Missing(HeaderName::CSeq),
            Some(400),
        ),
        (
            OPTIONS.replace("To:", "i: d\r\nTo:"),
            ParseErrorReason::Repeated(HeaderName::CallId),
            Some(400),
        ),
        (
            OPTIONS.replace("SIP/2.0\r", "SIP/3.0\r"),
            ParseErrorReason::Version,
            Some(505),
        ),
        (
            OPTIONS.replace("x SIP/2.0\r", "x\r"),
            ParseErrorReason::StartLine,
            None,
        ),
        (
            OPTIONS.replace("OPTIONS s", "OP,TIONS s"),
            ParseErrorReason::StartLine,
            Some(400),
        ),
        (
            OPTIONS.replace("OPTIONS", "ACK").replace("1 ACK", "1 BYE"),
            ParseErrorReason::CSeqMethod,
            None,
        ),
        (
            OPTIONS.replace("\r\n\r\n", "\r\n"),
            ParseErrorReason::Unended,
            Some(400),
        ),
        (many, ParseErrorReason::TooManyHeaders, Some(400)),
        (
            "x".repeat(MAX_MESSAGE + 1),
            ParseErrorReason::TooLarge,
            None,
        ),
        (
            OPTIONS.replace("OPTIONS sip:b@x SIP/2.0", "SIP/2.0 1000 x"),
            ParseErrorReason::StatusCode,
            None,
        ),
        (
            "hello\r\n\r\n".to_owned(),
            ParseErrorReason::StartLine,
            None,
        ),
    ] {
        assert_eq!(refused(&text), (reason, code), "{text}");
    }
}

#[test]
fn a_response_keeps_its_reason_phrase() {
    let response = |line: &str| {
        let text = OPTIONS.replace("OPTIONS sip:b@x SIP/2.0", line);
        match parse(text.as_bytes()) {
            Ok(Message::Response(response)) => (response.status.code(), response.reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(response("SIP/2.0 200 OK"), (200, "OK".into()));
    assert_eq!(
        response("sip/2.0 486 Nicht jetzt"),
        (486, "Nicht jetzt".into())
    );
    assert_eq!(response("SIP/2.0 100 "), (100, "".into()));
    assert_eq!(response("SIP/2.0 100"), (100, "".into()));
    // Found by the fuzz target `sip_message`.
    assert_eq!(response("SIP/2.0 200 O\0K\0 \0"), (200, "O\0K".into()));
}

#[test]
fn headers_in_a_request_uri_are_dropped() {
    let text = OPTIONS.replace("sip:b@x SIP", "sip:b@x?Route=%3Csip:e%3E SIP");
    assert_eq!(request(&text).uri.to_string(), "sip:b@x");
}
