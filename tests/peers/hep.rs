//! The export to a capture server: every message as a HEP version 3 packet.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::sip::{SipPeer, audio_at};
use crate::support::{Gateway, PATIENCE, eventually};

/// One packet, chunk by chunk.
struct Packet(BTreeMap<u16, Vec<u8>>);

impl Packet {
    /// Panics at anything that is not exactly as the specification wants it.
    #[track_caller]
    fn decode(datagram: &[u8]) -> Self {
        assert_eq!(&datagram[..4], b"HEP3");
        let total = u16::from_be_bytes([datagram[4], datagram[5]]);
        assert_eq!(usize::from(total), datagram.len(), "the packet's length");
        let mut rest = &datagram[6..];
        let mut chunks = BTreeMap::new();
        while !rest.is_empty() {
            let word = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
            let (vendor, kind, length) = (word(0), word(2), usize::from(word(4)));
            assert_eq!(vendor, 0);
            assert!((6..=rest.len()).contains(&length), "chunk {kind}: {length}");
            let twice = chunks.insert(kind, rest[6..length].to_vec());
            assert!(twice.is_none(), "chunk {kind} twice");
            rest = &rest[length..];
        }
        let sizes = [
            (1, 1),
            (2, 1),
            (3, 4),
            (4, 4),
            (7, 2),
            (8, 2),
            (9, 4),
            (10, 4),
            (11, 1),
            (12, 4),
        ];
        for (kind, size) in sizes {
            assert_eq!(chunks[&kind].len(), size, "chunk {kind}");
        }
        let known = [1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 14, 15, 17];
        assert!(chunks.keys().all(|kind| known.contains(kind)));
        Self(chunks)
    }

    fn number(&self, kind: u16) -> u64 {
        let octets = self.0[&kind].iter();
        octets.fold(0, |number, octet| number << 8 | u64::from(*octet))
    }

    fn address(&self, ip: u16, port: u16) -> (IpAddr, u16) {
        let octets: [u8; 4] = self.0[&ip].as_slice().try_into().expect("an address");
        (Ipv4Addr::from(octets).into(), self.number(port) as u16)
    }

    fn text(&self, kind: u16) -> &str {
        std::str::from_utf8(&self.0[&kind]).expect("a text")
    }
}

fn receive(collector: &UdpSocket) -> Packet {
    let mut buffer = vec![0; 65_536];
    let length = collector.recv(&mut buffer).expect("a packet");
    Packet::decode(&buffer[..length])
}

#[test]
fn both_sides_of_a_call_reach_the_capture_server_without_secrets_and_options_do_not() {
    let collector = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    collector
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    let address = collector.local_addr().expect("an address");
    let mut gateway = Gateway::with()
        .table(&format!(
            "[hep]\ncollector = \"{address}\"\ncapture_id = 77\nauth_key = \"its-key\""
        ))
        .number("7000", r#"answer = "echo""#)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let media = ([127, 0, 0, 1], gateway.ports.pair()).into();
    let key = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    let crypto = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n");
    let media = audio_at(media, "0", &crypto);
    let mut ping = caller.invite(gateway.sip(), "7999", "");
    caller.expect_final("INVITE");
    caller.request(&mut ping, "OPTIONS", "");
    caller.expect_final("OPTIONS");
    let mut call = caller.invite(gateway.sip(), "7000", &media);
    caller.expect_answer(&mut call);
    caller.request(&mut call, "BYE", "");
    caller.expect_final("BYE");

    let (ours, theirs) = (gateway.sip(), caller.address());
    let (ours, theirs) = ((ours.ip(), ours.port()), (theirs.ip(), theirs.port()));
    let mut first_lines = Vec::new();
    while first_lines.last().map(String::as_str) != Some("SIP/2.0 200 OK BYE") {
        let packet = receive(&collector);
        // IPv4, UDP, SIP.
        let kinds = [packet.number(1), packet.number(2), packet.number(11)];
        assert_eq!(kinds, [2, 17, 1]);
        assert_eq!((packet.number(12), packet.text(14)), (77, "its-key"));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time");
        assert!(now.as_secs().abs_diff(packet.number(9)) < 60);
        assert!(packet.number(10) < 1_000_000);
        let message = packet.text(15);
        assert!(!message.contains(key), "{message}");
        let is_response = message.starts_with("SIP/2.0");
        let (source, destination) = (packet.address(3, 7), packet.address(4, 8));
        match is_response {
            true => assert_eq!((source, destination), (ours, theirs)),
            false => assert_eq!((source, destination), (theirs, ours)),
        }
        let first = message.lines().next().unwrap_or_default();
        let first = match is_response {
            true => first,
            false => first.split(' ').next().unwrap_or_default(),
        };
        let cseq = message.lines().find_map(|line| line.strip_prefix("CSeq: "));
        let method = cseq
            .and_then(|cseq| cseq.split(' ').nth(1))
            .unwrap_or_default();
        if packet.text(17) == call.call_id {
            first_lines.push(match is_response {
                true => format!("{first} {method}"),
                false => first.to_owned(),
            });
        }
        assert_ne!(method, "OPTIONS");
    }
    assert_eq!(
        first_lines,
        [
            "INVITE",
            "SIP/2.0 100 Trying INVITE",
            "SIP/2.0 200 OK INVITE",
            "ACK",
            "BYE",
            "SIP/2.0 200 OK BYE",
        ]
    );
    assert!(gateway.counted("hep_messages_total", "sent") >= 6);
}

#[test]
fn a_dead_capture_server_delays_no_call_and_is_counted() {
    // Nobody listens there: the lease is the test's.
    let mut ports = crate::support::Ports::lease();
    let dead = ports.one();
    let mut gateway = Gateway::with()
        .table(&format!("[hep]\ncollector = \"127.0.0.1:{dead}\""))
        .number("7000", r#"answer = "echo""#)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let media = audio_at(([127, 0, 0, 1], gateway.ports.pair()).into(), "0", "");
    let mut call = caller.invite(gateway.sip(), "7000", &media);
    caller.expect_answer(&mut call);
    caller.request(&mut call, "BYE", "");
    caller.expect_final("BYE");
    eventually("a failure", || {
        (gateway.counted("hep_messages_total", "failed") >= 1).then_some(())
    });
}
