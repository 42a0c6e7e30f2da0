//! The table as a whole, packet in, packet out, in simulated time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::ids::{CodecId, LegId, MediaPort};

const PCMA: CodecId = CodecId(8);
const DTMF: CodecId = CodecId(101);
const OPUS: CodecId = CodecId(111);

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A table with a clock; leg n has ports 2n and 2n+1, and its peer is at
/// 192.0.2.(n+1), RTP on 4000 and RTCP on 4001.
struct Bench {
    table: Table,
    now: Instant,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            table: Table::new(TableSettings::default(), [7; 32]),
            now: Instant::now(),
        }
    }

    fn open(&mut self, n: u32, echo: bool) -> LegId {
        let options = LegOptions {
            rtp: MediaPort(2 * n),
            rtcp: MediaPort(2 * n + 1),
            echo,
        };
        self.table.open(self.now, options)
    }

    fn leg(&mut self, n: u32) -> LegId {
        let leg = self.open(n, false);
        assert!(self.table.set_remote(self.now, leg, remote(n)));
        leg
    }

    fn pair() -> (Bench, LegId, LegId) {
        let mut bench = Bench::new();
        let (a, b) = (bench.leg(0), bench.leg(1));
        assert!(bench.table.link(a, b));
        (bench, a, b)
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// Sends a datagram in; what came of it, and the datagram then.
    fn send(&mut self, port: u32, from: Option<SocketAddr>, bytes: &[u8]) -> (Verdict, Vec<u8>) {
        let mut slot = vec![0; bytes.len() + 16];
        slot[..bytes.len()].copy_from_slice(bytes);
        let packet = Packet::new(MediaPort(port), from, &mut slot, bytes.len());
        let mut batch = [packet];
        self.table.process_batch(self.now, &mut batch);
        (batch[0].verdict, batch[0].bytes().to_vec())
    }

    /// RTP from the peer of leg n; what came of it.
    fn rtp(&mut self, n: u32, rtp: Rtp) -> (Verdict, Rtp) {
        let (verdict, bytes) = self.send(2 * n, Some(peer(n)), &rtp.bytes());
        (verdict, Rtp::read(&bytes))
    }

    /// The same, where it must be forwarded.
    fn relayed(&mut self, n: u32, rtp: Rtp) -> Rtp {
        let (verdict, out) = self.rtp(n, rtp);
        assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
        out
    }

    fn dropped(&mut self, n: u32, rtp: Rtp) -> DropReason {
        match self.rtp(n, rtp).0 {
            Verdict::Drop(reason) => reason,
            other => panic!("not dropped: {other:?}"),
        }
    }

    fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.table.poll_notice()).collect()
    }
}

fn peer(n: u32) -> SocketAddr {
    at(&format!("192.0.2.{}:4000", n + 1))
}

fn rtcp_peer(n: u32) -> SocketAddr {
    at(&format!("192.0.2.{}:4001", n + 1))
}

fn mapping(codec: CodecId, receive: u8, send: u8, clock_rate: u32) -> PayloadMapping {
    PayloadMapping {
        codec,
        receive,
        send: Some(send),
        clock_rate,
    }
}

fn remote(n: u32) -> Remote {
    Remote {
        rtp: peer(n),
        rtcp: rtcp_peer(n),
        rtcp_mux: false,
        send: true,
        receive: true,
        held: false,
        latch: Latch::Strict,
        security: crate::keying::Security::Plain,
        payloads: vec![
            mapping(PCMA, 8, 8, 8000),
            // The two peers number DTMF differently.
            mapping(DTMF, 100 + n as u8, 100 + n as u8, 8000),
        ],
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Rtp {
    marker: bool,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
}

impl Rtp {
    fn new(sequence: u16, timestamp: u32, ssrc: u32) -> Rtp {
        Rtp {
            marker: false,
            payload_type: 8,
            sequence,
            timestamp,
            ssrc,
        }
    }

    fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0x80, u8::from(self.marker) << 7 | self.payload_type];
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.timestamp.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        bytes.extend([0x55; 160]);
        bytes
    }

    fn read(bytes: &[u8]) -> Rtp {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4"));
        Rtp {
            marker: bytes[1] & 0x80 != 0,
            payload_type: bytes[1] & 0x7f,
            sequence: word(0) as u16,
            timestamp: word(4),
            ssrc: word(8),
        }
    }
}

mod handshakes;
mod protected;
mod relay;
mod rtcp;
mod security;
mod sound;
mod sources;
