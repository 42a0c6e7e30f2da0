//! The vectors of RFC 5769, and what a message must not get away with.

use super::*;

/// RFC 5769 section 2.1.
const REQUEST: &[u8] =
    b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x10STUN test client\
\x00\x24\x00\x04\x6e\x00\x01\xff\
\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
\x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\
\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
\x80\x28\x00\x04\xe5\x7a\x3b\xcf";

/// RFC 5769 section 2.2.
const RESPONSE_V4: &[u8] =
    b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
\x80\x28\x00\x04\xc0\x7d\x4c\x96";

/// RFC 5769 section 2.3.
const RESPONSE_V6: &[u8] =
    b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
\x80\x28\x00\x04\xc8\xfb\x0b\x4c";

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

#[test]
fn the_request_of_rfc_5769_is_read_and_authentic() {
    let message = Message::parse(REQUEST).expect("a message");
    assert_eq!(message.class, Class::Request);
    assert!(message.is_binding);
    assert_eq!(message.username, Some("evtj:h6vY"));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert_eq!(message.role, Some(IceRole::Controlled));
    assert!(message.unknown().is_empty());
    assert!(message.is_authentic(PASSWORD));
    assert!(!message.is_authentic("VOkJxbRl1RmTxUk/WvJxBT"));
}

#[test]
fn the_responses_of_rfc_5769_are_read_and_authentic() {
    for (bytes, address) in [
        (RESPONSE_V4, "192.0.2.1:32853"),
        (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let message = Message::parse(bytes).expect("a message");
        assert_eq!(message.class, Class::Success);
        assert_eq!(message.mapped, address.parse().ok());
        assert!(message.is_authentic(PASSWORD));
    }
}

#[test]
fn what_is_built_reads_back() {
    for address in ["192.0.2.9:40000", "[2001:db8::9]:5"] {
        let address: SocketAddr = address.parse().expect("an address");
        let bytes = Builder::binding(Class::Success, [7; 12])
            .mapped(address)
            .signed("secret");
        let message = Message::parse(&bytes).expect("a message");
        assert_eq!(message.mapped, Some(address));
        assert!(message.is_authentic("secret"));
    }
    let bytes = Builder::binding(Class::Error, [7; 12])
        .error(420, "Unknown Attribute")
        .unknown(&[0x7777])
        .signed("secret");
    assert_eq!(Message::parse(&bytes).expect("a message").error, Some(420));
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    for at in 0..REQUEST.len() * 8 {
        let mut bytes = REQUEST.to_vec();
        bytes[at / 8] ^= 1 << (at % 8);
        assert!(Message::parse(&bytes).is_err(), "bit {at}");
    }
}

#[test]
fn a_truncated_message_is_none_at_any_length() {
    for len in 0..REQUEST.len() {
        assert!(Message::parse(&REQUEST[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn what_stands_behind_the_integrity_does_not_count() {
    let signed = Builder::binding(Class::Request, [1; 12])
        .username("a:b")
        .signed("secret");
    // Without its FINGERPRINT, then with more behind the signature.
    let mut bytes = signed[..signed.len() - FINGERPRINT].to_vec();
    let more = Builder {
        bytes: std::mem::take(&mut bytes),
    };
    let bytes = more.use_candidate().unsigned();
    let message = Message::parse(&bytes).expect("a message");
    assert!(message.is_authentic("secret"));
    assert!(!message.use_candidate);
}

#[test]
fn a_message_without_integrity_is_never_authentic() {
    let bytes = Builder::binding(Class::Request, [1; 12])
        .username("a:b")
        .unsigned();
    assert!(!Message::parse(&bytes).expect("a message").is_authentic(""));
}

#[test]
fn attributes_that_must_be_understood_are_named() {
    let bytes = Builder::binding(Class::Request, [1; 12])
        .attribute(0x7001, b"x")
        .attribute(0xc001, b"y")
        .unsigned();
    let message = Message::parse(&bytes).expect("a message");
    assert_eq!(message.unknown(), [0x7001]);
}
