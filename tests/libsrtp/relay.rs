//! The same through the leg table, in full batches, where packets of many
//! legs and lengths are authenticated side by side.

use std::net::SocketAddr;
use std::time::Instant;

use ringwire::ids::{CodecId, LegId, MediaPort};
use ringwire::keying::{Security, Suite};
use ringwire::media::packet::{BATCH, SLOT_SIZE, Verdict};
use ringwire::media::{Latch, LegOptions, Packet, PayloadMapping, Remote, Table, TableSettings};

use super::{command, key, libsrtp, rtp, session};

/// Pairs of legs: the first of each in the clear, the second protected.
const PAIRS: u8 = 5;
/// Batches, so that each pair's sequence numbers pass their rollover.
const BATCHES: usize = 12;

struct Relay {
    table: Table,
    now: Instant,
}

fn at(leg: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, leg], 4000))
}

/// Keys of the protected leg of a pair: what we send, and what we receive.
fn security(suite: Suite, pair: u8) -> Security {
    Security::Sdes {
        send: key(suite, 2 * pair),
        receive: key(suite, 2 * pair + 1),
    }
}

impl Relay {
    fn new(suite: Suite) -> Relay {
        let mut relay = Relay {
            table: Table::new(TableSettings::default(), [3; 32]),
            now: Instant::now(),
        };
        for pair in 0..PAIRS {
            let plain = relay.leg(2 * pair, Security::Plain);
            let secure = relay.leg(2 * pair + 1, security(suite, pair));
            relay.table.link(plain, secure);
        }
        relay
    }

    fn leg(&mut self, leg: u8, security: Security) -> LegId {
        let options = LegOptions {
            rtp: MediaPort(2 * u32::from(leg)),
            rtcp: MediaPort(2 * u32::from(leg) + 1),
            echo: false,
        };
        let id = self.table.open(self.now, options);
        let remote = Remote {
            rtp: at(leg),
            rtcp: at(leg),
            rtcp_mux: false,
            send: true,
            receive: true,
            held: false,
            latch: Latch::Strict,
            security,
            payloads: vec![PayloadMapping {
                codec: CodecId(1),
                receive: 8,
                send: Some(8),
                clock_rate: 8000,
            }],
        };
        self.table.set_remote(self.now, id, remote);
        id
    }

    /// What leaves for each datagram, which came in on this leg; none for one
    /// that is dropped.
    fn pass(&mut self, datagrams: &[(u8, Vec<u8>)]) -> Vec<Option<Vec<u8>>> {
        let mut slots = vec![[0x5a; SLOT_SIZE]; datagrams.len()];
        let mut batch: Vec<_> = slots
            .iter_mut()
            .zip(datagrams)
            .map(|(slot, (leg, bytes))| {
                slot[..bytes.len()].copy_from_slice(bytes);
                let port = MediaPort(2 * u32::from(*leg));
                Packet::new(port, Some(at(*leg)), slot, bytes.len())
            })
            .collect();
        self.table.process_batch(self.now, &mut batch);
        let left = |packet: &Packet<'_>| match packet.verdict {
            Verdict::Forward { .. } => Some(packet.bytes().to_vec()),
            Verdict::Drop(_) | Verdict::Consumed => None,
        };
        batch.iter().map(left).collect()
    }
}

/// Batches of a pair each in turn: its number, and the packet. Mostly audio,
/// with longer packets between.
fn batches() -> Vec<Vec<(u8, Vec<u8>)>> {
    let packet = |n: usize| {
        let pairs = usize::from(PAIRS);
        let pair = (n % pairs) as u8;
        let sequence = 65_480u16.wrapping_add((n / pairs) as u16);
        let payload = if n % 6 == 5 { n * 13 % 1100 } else { 160 };
        (pair, rtp(sequence, 100 + u32::from(pair), 0, None, payload))
    };
    let all: Vec<_> = (0..BATCHES * BATCH).map(packet).collect();
    all.chunks(BATCH).map(<[_]>::to_vec).collect()
}

#[test]
fn libsrtp_reads_every_packet_of_a_relayed_batch() {
    for suite in Suite::ALL {
        let mut relay = Relay::new(suite);
        let mut left: Vec<Vec<(Vec<u8>, Vec<u8>)>> = vec![Vec::new(); usize::from(PAIRS)];
        for batch in batches() {
            let from: Vec<_> = batch
                .iter()
                .map(|(pair, plain)| (2 * pair, plain.clone()))
                .collect();
            for ((pair, plain), sent) in batch.into_iter().zip(relay.pass(&from)) {
                let sent = sent.expect("it is relayed");
                left[usize::from(pair)].push((plain, sent));
            }
        }
        for (pair, packets) in left.iter().enumerate() {
            let Security::Sdes { send, .. } = security(suite, pair as u8) else {
                unreachable!("the leg has keys");
            };
            let mut commands = vec![session(&send)];
            let sent = packets.iter();
            commands.extend(sent.map(|(_, sent)| command("unprotect", sent)));
            for (n, opened) in libsrtp(&commands)[1..].iter().enumerate() {
                let opened = opened.as_ref().expect("libsrtp takes it");
                let (plain, _) = &packets[n];
                assert_eq!(opened[12..], plain[12..], "{}, packet {n}", suite.name());
            }
        }
    }
}

#[test]
fn a_relayed_batch_of_libsrtp_is_read_and_what_is_broken_in_it_dropped() {
    for suite in Suite::ALL {
        let mut relay = Relay::new(suite);
        let batches = batches();
        // Each pair's packets by a session of its own, in their order.
        let mut protected = Vec::new();
        for pair in 0..PAIRS {
            let Security::Sdes { receive, .. } = security(suite, pair) else {
                unreachable!("the leg has keys");
            };
            let mut commands = vec![session(&receive)];
            let own = batches.iter().flatten().filter(|(of, _)| *of == pair);
            commands.extend(own.map(|(_, plain)| command("protect", plain)));
            protected.push(libsrtp(&commands).into_iter().skip(1));
        }
        let mut broken = 0;
        for batch in batches {
            let from: Vec<_> = batch
                .iter()
                .enumerate()
                .map(|(place, (pair, _))| {
                    let next = protected[usize::from(*pair)].next();
                    let mut bytes = next.expect("one for each").expect("libsrtp protects it");
                    if place % 20 == 7 {
                        bytes[14] ^= 1;
                    }
                    (2 * pair + 1, bytes)
                })
                .collect();
            for (place, left) in relay.pass(&from).into_iter().enumerate() {
                let (_, plain) = &batch[place];
                let name = suite.name();
                match left {
                    Some(left) => assert_eq!(left[12..], plain[12..], "{name}, place {place}"),
                    None => broken += 1,
                }
            }
        }
        let drops = &relay.table.counters().drops;
        assert_eq!(broken, 3 * BATCHES, "{}: {drops:?}", suite.name());
    }
}
