//! Sloppy input is read, senseless input refused, and nothing panics.

use ringwire::sdp::{
    Codec, Exchange, MAX_FORMATS, MAX_LINES, MAX_MEDIA, MAX_SIZE, SdpError, Session, answer,
    apply_answer, offer,
};

use super::exercise;
use super::{ALL, local, local_at, parse};

#[test]
fn sloppy_descriptions_are_read() {
    for text in [
        "v=0\nc=IN IP4 192.0.2.9\nm=audio 4000 RTP/AVP 0",
        "v=0\r\no=user\r\ns= \r\nc=IN IP4 192.0.2.9\r\nm=audio 4000 RTP/AVP 0\r\n",
        "v=0\ro=- x y\rs=-\rc=IN IP4 192.0.2.9\rm=audio 4000 RTP/AVP 0\r",
        "\r\n v=0\n\no=- 99999999999999999999999 1 IN IP4 host.example\ns=x\nc=in ip4 192.0.2.9/64\nt=now\nm=audio  4000  RTP/AVP  0 \n\n",
        "v=0\nc=IN  IP4 ::ffff:192.0.2.9\nm=audio 4000 rtp/avp 0\0garbage without end",
        "v=0\no=\ns=\nx=unknown\nc=IN IP4 192.0.2.9\nm=AUDIO 4000 RTP/AVP 0\na=\na=:\nb=",
    ] {
        let session = Session::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text:?}: {e}"));
        let (_, negotiated) = answer(&session, &local(), ALL).unwrap();
        assert_eq!(
            negotiated.remote_rtp,
            "192.0.2.9:4000".parse().unwrap(),
            "{text:?}"
        );
    }
}

#[test]
fn text_that_is_not_utf_8_is_replaced_and_not_refused() {
    let session = Session::parse(b"v=0\ns=Gespr\xe4ch\nc=IN IP4 192.0.2.9\n").unwrap();
    assert_eq!(session.name, "Gespr\u{fffd}ch");
}

#[test]
fn an_origin_number_past_64_bits_saturates() {
    let session = parse("v=0\no=- 99999999999999999999999 12abc IN IP6 ::1\n");
    assert_eq!(session.origin.session_id, u64::MAX);
    assert_eq!(session.origin.version, 12);
    assert_eq!(session.origin.address, Some("::1".parse().unwrap()));
}

#[test]
fn senseless_descriptions_are_refused_with_the_line() {
    for (text, error) in [
        ("", SdpError::Version),
        ("\r\n\r\n", SdpError::Version),
        ("v=1\n", SdpError::Version),
        ("o=- 0 0 IN IP4 1.2.3.4\nv=0\n", SdpError::Version),
        ("hello", SdpError::Line { line: 1 }),
        ("v=0\nab=c\n", SdpError::Line { line: 2 }),
        ("v=0\n\n=x\n", SdpError::Line { line: 3 }),
        ("v=0\nc=IN IP4\n", SdpError::Connection { line: 2 }),
        ("v=0\nc=ATM IP4 1.2.3.4\n", SdpError::Connection { line: 2 }),
        ("v=0\nc=IN E164 1234\n", SdpError::Connection { line: 2 }),
        ("v=0\nc=IN IP4 /3\n", SdpError::Connection { line: 2 }),
        ("v=0\nm=audio\n", SdpError::Media { line: 2 }),
        ("v=0\nm=audio 4000\n", SdpError::Media { line: 2 }),
        (
            "v=0\nm=audio 65536 RTP/AVP 0\n",
            SdpError::Media { line: 2 },
        ),
        ("v=0\nm=audio -1 RTP/AVP 0\n", SdpError::Media { line: 2 }),
        ("v=0\nm=audio 1/x RTP/AVP 0\n", SdpError::Media { line: 2 }),
    ] {
        assert_eq!(Session::parse(text.as_bytes()), Err(error), "{text:?}");
    }
}

#[test]
fn every_bound_holds() {
    let long = format!("v=0\ns={}", "x".repeat(MAX_SIZE));
    assert_eq!(
        Session::parse(long.as_bytes()),
        Err(SdpError::TooLong { size: long.len() })
    );
    let lines = format!("v=0\n{}", "a=\n".repeat(MAX_LINES));
    assert_eq!(
        Session::parse(lines.as_bytes()),
        Err(SdpError::TooManyLines)
    );
    let media = format!("v=0\n{}", "m=audio 1 RTP/AVP 0\n".repeat(MAX_MEDIA + 1));
    assert_eq!(
        Session::parse(media.as_bytes()),
        Err(SdpError::TooManyMedia)
    );
    let formats = format!("v=0\nm=audio 1 RTP/AVP{}", " 0".repeat(MAX_FORMATS + 1));
    assert_eq!(
        Session::parse(formats.as_bytes()),
        Err(SdpError::TooManyFormats { line: 2 })
    );
}

#[test]
fn a_line_end_inside_a_value_cannot_be_smuggled_through() {
    let session = parse("v=0\ns=a\rm=audio 5 RTP/AVP 0\na=x:1\r\ra=y\n");
    let printed = session.to_string();
    assert!(
        printed
            .split("\r\n")
            .all(|line| !line.contains(['\r', '\n']))
    );
    assert_eq!(session.media.len(), 1);
}

/// A small generator (xorshift64*), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

const SEEDS: [&[u8]; 8] = [
    include_bytes!("real/baresip.sdp"),
    include_bytes!("real/freeswitch.sdp"),
    include_bytes!("real/linphone.sdp"),
    include_bytes!("real/cisco-cucm-phone.sdp"),
    include_bytes!("real/chromium.sdp"),
    include_bytes!("real/ipv6.sdp"),
    include_bytes!("real/media-server.sdp"),
    include_bytes!("real/snom-srtp-then-plain.sdp"),
];

const TOKENS: [&str; 16] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    "=",
    ":",
    "/",
    " ",
    "65535",
    "0",
    "127",
    "128",
    "4294967296",
    "m=audio 9 RTP/AVP 0 8 96 96\r\n",
    "a=rtpmap:96 opus/48000/2\r\n",
    "c=IN IP4 0.0.0.0\r\n",
];

fn mutated(random: &mut Random) -> Vec<u8> {
    let mut text = SEEDS[random.below(SEEDS.len())].to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(text.len());
        match random.below(5) {
            0 if !text.is_empty() => text[at] = random.next() as u8,
            1 => text.truncate(at),
            2 => {
                let token = TOKENS[random.below(TOKENS.len())];
                text.splice(at..at, token.bytes());
            }
            3 => {
                let other = SEEDS[random.below(SEEDS.len())];
                let from = random.below(other.len());
                let to = from + random.below(other.len() - from);
                text.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let to = at + random.below(text.len() - at);
                text.drain(at..to);
            }
        }
    }
    text
}

#[test]
fn twenty_thousand_broken_descriptions_break_nothing() {
    let mut random = Random(0x0073_6470_2026);
    let mut leg = Exchange::new(local());
    let ours = offer(&local()).unwrap();
    let six = local_at("2001:db8::1".parse().unwrap());
    let (mut read, mut agreed) = (0, 0);
    for round in 0..20_000 {
        let text = mutated(&mut random);
        // The fuzz target's own, for a part of them.
        if round % 4 == 0 {
            exercise::exercise(&text);
        }
        let Ok(session) = Session::parse(&text) else {
            continue;
        };
        read += 1;
        let printed = session.to_string();
        let again = parse(&printed);
        assert_eq!(again.to_string(), printed);
        for side in [&local(), &six] {
            if let Ok((answered, negotiated)) = answer(&session, side, ALL) {
                agreed += 1;
                assert_eq!(answered.media.len(), session.media.len());
                assert!(negotiated.audio().next().is_some());
                assert_eq!(parse(&answered.to_string()), answered);
            }
        }
        let _ = apply_answer(&ours, &session);
        if leg.answer(&session, ALL).is_ok() {
            let again = leg.offer(&[Codec::Opus, Codec::Pcma]).unwrap();
            assert_eq!(again.media.len(), session.media.len());
            let _ = leg.apply_answer(&session);
        }
    }
    assert!(
        read > 5_000 && agreed > 1_000,
        "{read} read, {agreed} agreed"
    );
}
