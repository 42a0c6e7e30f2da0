//! HEP version 3, the packets in which a capture server such as Homer takes
//! SIP messages ("The Homer Encapsulation Protocol", revision 12): a magic, a
//! length, and chunks of vendor, type, length and value, all big endian.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

/// The SIP messages that go into HEP packets are no longer than this, so that
/// the packet fits into a UDP datagram beside its other chunks.
const MAX_PAYLOAD: usize = 64_000;
/// A Call-ID or key longer than this is cut.
const MAX_TEXT: usize = 256;

/// Chunk types of vendor 0.
const IP_FAMILY: u16 = 1;
const IP_PROTOCOL: u16 = 2;
const IPV4_SOURCE: u16 = 3;
const IPV4_DESTINATION: u16 = 4;
const IPV6_SOURCE: u16 = 5;
const IPV6_DESTINATION: u16 = 6;
const SOURCE_PORT: u16 = 7;
const DESTINATION_PORT: u16 = 8;
const SECONDS: u16 = 9;
const MICROSECONDS: u16 = 10;
const PROTOCOL: u16 = 11;
const CAPTURE_ID: u16 = 12;
const AUTH_KEY: u16 = 14;
const PAYLOAD: u16 = 15;
const CORRELATION_ID: u16 = 17;

/// Values of the chunks: AF_INET and AF_INET6 as Linux numbers them, UDP as
/// IANA does, SIP as HEP does.
const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 10;
const UDP: u8 = 17;
const SIP: u8 = 1;

/// A SIP message on its way to the capture server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HepMessage {
    /// When it was on the wire, microseconds since the Unix epoch.
    pub unix_us: u64,
    /// Who sent it.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// The octets, secrets and all.
    pub payload: Bytes,
}

/// Who sends the packets.
#[derive(Clone, PartialEq, Eq)]
pub struct HepSender {
    /// Tells the gateways of one capture server apart.
    pub capture_id: u32,
    /// What the capture server knows us by, if it asks.
    pub auth_key: Option<String>,
}

impl std::fmt::Debug for HepSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A key never reaches a log.
        f.debug_struct("HepSender")
            .field("capture_id", &self.capture_id)
            .finish_non_exhaustive()
    }
}

/// Writes the packet for a message whose octets are `payload` (masked or not)
/// and whose Call-ID is `call_id`. False, and nothing written, when it is too
/// long for a datagram.
pub fn encode(
    sender: &HepSender,
    message: &HepMessage,
    payload: &[u8],
    call_id: Option<&[u8]>,
    packet: &mut Vec<u8>,
) -> bool {
    packet.clear();
    if payload.len() > MAX_PAYLOAD {
        return false;
    }
    packet.extend_from_slice(b"HEP3\0\0");
    // A socket for both families names IPv4 peers as IPv6.
    let source = message.source.ip().to_canonical();
    let destination = message.destination.ip().to_canonical();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            chunk(packet, IP_FAMILY, &[FAMILY_IPV4]);
            chunk(packet, IPV4_SOURCE, &source.octets());
            chunk(packet, IPV4_DESTINATION, &destination.octets());
        }
        (source, destination) => {
            chunk(packet, IP_FAMILY, &[FAMILY_IPV6]);
            chunk(packet, IPV6_SOURCE, &as_ipv6(source));
            chunk(packet, IPV6_DESTINATION, &as_ipv6(destination));
        }
    }
    chunk(packet, IP_PROTOCOL, &[UDP]);
    let port = |address: SocketAddr| address.port().to_be_bytes();
    chunk(packet, SOURCE_PORT, &port(message.source));
    chunk(packet, DESTINATION_PORT, &port(message.destination));
    let seconds = (message.unix_us / 1_000_000) as u32;
    let microseconds = (message.unix_us % 1_000_000) as u32;
    chunk(packet, SECONDS, &seconds.to_be_bytes());
    chunk(packet, MICROSECONDS, &microseconds.to_be_bytes());
    chunk(packet, PROTOCOL, &[SIP]);
    chunk(packet, CAPTURE_ID, &sender.capture_id.to_be_bytes());
    if let Some(key) = &sender.auth_key {
        chunk(packet, AUTH_KEY, cut(key.as_bytes()));
    }
    if let Some(call_id) = call_id {
        chunk(packet, CORRELATION_ID, cut(call_id));
    }
    chunk(packet, PAYLOAD, payload);
    let length = (packet.len() as u16).to_be_bytes();
    packet[4..6].copy_from_slice(&length);
    true
}

/// Vendor 0, type, length with this head, value.
fn chunk(packet: &mut Vec<u8>, kind: u16, value: &[u8]) {
    packet.extend_from_slice(&0u16.to_be_bytes());
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&(value.len() as u16 + 6).to_be_bytes());
    packet.extend_from_slice(value);
}

fn as_ipv6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(MAX_TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(source: &str, destination: &str) -> HepMessage {
        HepMessage {
            unix_us: 1_700_000_000_123_456,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            payload: Bytes::from_static(b"hi"),
        }
    }

    fn packet(sender: &HepSender, message: &HepMessage) -> Vec<u8> {
        let mut packet = vec![7; 3];
        assert!(encode(sender, message, b"hi", Some(b"x@y"), &mut packet));
        packet
    }

    #[test]
    fn a_message_over_ipv4_is_encoded_octet_for_octet() {
        let sender = HepSender {
            capture_id: 2001,
            auth_key: Some("key".to_string()),
        };
        let packet = packet(&sender, &message("192.0.2.1:5060", "192.0.2.2:5070"));
        let expected = [
            "48455033 0077",
            "0000 0001 0007 02",
            "0000 0003 000a c0000201",
            "0000 0004 000a c0000202",
            "0000 0002 0007 11",
            "0000 0007 0008 13c4",
            "0000 0008 0008 13ce",
            "0000 0009 000a 6553f100",
            "0000 000a 000a 0001e240",
            "0000 000b 0007 01",
            "0000 000c 000a 000007d1",
            "0000 000e 0009 6b6579",
            "0000 0011 0009 784079",
            "0000 000f 0008 6869",
        ];
        assert_eq!(hex::encode(&packet), expected.concat().replace(' ', ""));
        assert_eq!(packet.len(), 0x77);
    }

    #[test]
    fn ipv6_has_its_own_chunks_and_mapped_ipv4_is_ipv4() {
        let sender = HepSender {
            capture_id: 1,
            auth_key: None,
        };
        let six = packet(&sender, &message("[2001:db8::1]:1", "[2001:db8::2]:2"));
        let start = "000000010007 0a 000000050016 20010db8000000000000000000000001";
        assert!(hex::encode(&six[6..]).starts_with(&start.replace(' ', "")));
        let four = packet(&sender, &message("[::ffff:192.0.2.1]:1", "192.0.2.2:2"));
        assert!(hex::encode(&four[6..]).starts_with("00000001000702"));
    }

    #[test]
    fn what_fits_in_no_datagram_is_not_sent() {
        let sender = HepSender {
            capture_id: 1,
            auth_key: None,
        };
        let message = message("192.0.2.1:1", "192.0.2.2:2");
        let mut packet = Vec::new();
        let long = vec![b'x'; MAX_PAYLOAD + 1];
        assert!(!encode(&sender, &message, &long, None, &mut packet));
        assert!(encode(&sender, &message, &long[1..], None, &mut packet));
        assert!(packet.len() < 65_507);
    }

    #[test]
    fn the_key_is_never_printed() {
        let sender = HepSender {
            capture_id: 1,
            auth_key: Some("hush".to_string()),
        };
        assert!(!format!("{sender:?}").contains("hush"));
    }
}
