//! Nanoseconds to protect and unprotect a 172-byte RTP packet in each suite,
//! alone and in batches through the leg table, beside the bare ciphers on the
//! same bytes. Of many short rounds the best is told: the one that nothing
//! else on the machine took time from.
//!
//! `cargo bench --bench srtp`

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use ring::aead;
use ringwire::ids::{CodecId, MediaPort};
use ringwire::keying::{MasterKey, Security, Suite};
use ringwire::media::packet::{BATCH, SLOT_SIZE};
use ringwire::media::srtp::{Protector, Sealable, Unprotector};
use ringwire::media::{Latch, LegOptions, Packet, PayloadMapping, Remote, Table, TableSettings};

/// Bytes of an RTP packet with 20 ms of G.711.
const RTP: usize = 172;
const HEADER: usize = 12;
/// Packets of one round: about a millisecond's.
const ROUND: usize = 1 << 12;
/// Rounds; the best is told.
const ROUNDS: usize = 401;

fn main() {
    println!("ns per {RTP}-byte packet, best of {ROUNDS} rounds of {ROUND}");
    let copy = best(|| {
        let mut slot = [0; SLOT_SIZE];
        each(|n| {
            slot[..RTP].copy_from_slice(&rtp(n));
            black_box(&slot);
        })
    });
    println!(
        "{:28} {copy:8.1}  taken off the others",
        "making the packet"
    );
    let counter = best(bare_counter_mode) - copy;
    println!("{:28} {counter:8.1}", "bare AES-128 and SHA-1");
    let galois = |algorithm| best(|| bare_galois(algorithm)) - copy;
    let galois128 = galois(&aead::AES_128_GCM);
    println!("{:28} {galois128:8.1}", "bare AES-128-GCM");
    let galois256 = galois(&aead::AES_256_GCM);
    println!("{:28} {galois256:8.1}", "bare AES-256-GCM");
    for suite in Suite::ALL {
        let bare = match suite {
            Suite::Aes128CmSha1_80 | Suite::Aes128CmSha1_32 => counter,
            Suite::AeadAes128Gcm => galois128,
            Suite::AeadAes256Gcm => galois256,
        };
        let protect = best(|| protect(suite)) - copy;
        let unprotect = best(|| unprotect(suite));
        println!(
            "{:28} {protect:8.1} protect ({:.2} of bare)  {unprotect:8.1} unprotect",
            suite.name(),
            protect / bare
        );
    }
    println!(
        "\nns per packet through the leg table in batches of {BATCH}, and packets/s on one core"
    );
    let plain = relay(Security::Plain, Security::Plain);
    println!(
        "{:28} {plain:8.1} {:10.2} M/s",
        "plain to plain",
        1e3 / plain
    );
    for suite in Suite::ALL {
        let out = relay(Security::Plain, security(suite));
        let into = relay(security(suite), Security::Plain);
        for (way, ns) in [("plain to", out), ("plain from", into)] {
            let name = format!("{way} {}", suite.name().trim_start_matches("AEAD_"));
            println!(
                "{name:34} {ns:8.1} {:10.2} M/s  {:8.1} ns more than plain",
                1e3 / ns,
                ns - plain
            );
        }
    }
}

fn best(mut round: impl FnMut() -> Duration) -> f64 {
    let times = (0..ROUNDS).map(|_| round().as_nanos() as f64 / ROUND as f64);
    times.fold(f64::INFINITY, f64::min)
}

fn each(mut act: impl FnMut(u16)) -> Duration {
    let start = Instant::now();
    (0..ROUND).for_each(|n| act(n as u16));
    start.elapsed()
}

fn rtp(sequence: u16) -> [u8; RTP] {
    let mut packet = [0x55; RTP];
    packet[..2].copy_from_slice(&[0x80, 8]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&7u32.to_be_bytes());
    packet
}

fn key(suite: Suite) -> MasterKey {
    MasterKey {
        suite,
        key: vec![1; suite.key_len()],
        salt: vec![2; suite.salt_len()],
    }
}

/// Ten blocks of AES, and the four of SHA-1 that an HMAC has.
fn bare_counter_mode() -> Duration {
    let key = Aes128Enc::new(&[1; 16].into());
    let mut slot = [0; SLOT_SIZE];
    each(|n| {
        slot[..RTP].copy_from_slice(&rtp(n));
        let mut stream = [[n as u8; 16].into(); 10];
        key.encrypt_blocks(&mut stream);
        black_box(&stream);
        let (blocks, _) = slot.as_chunks::<64>();
        let mut state = [7; 5];
        sha1::block_api::compress(&mut state, &blocks[..4]);
        black_box(&state);
    })
}

fn bare_galois(algorithm: &'static aead::Algorithm) -> Duration {
    let key = vec![1; algorithm.key_len()];
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, &key).expect("a key"));
    let mut slot = [0; SLOT_SIZE];
    each(|n| {
        slot[..RTP].copy_from_slice(&rtp(n));
        let mut iv = [0; 12];
        iv[..2].copy_from_slice(&n.to_be_bytes());
        let (head, body) = slot[..RTP].split_at_mut(HEADER);
        let nonce = aead::Nonce::assume_unique_for_key(iv);
        let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::from(head), body);
        let _ = black_box(tag.expect("sealed"));
    })
}

fn protect(suite: Suite) -> Duration {
    let mut protector = Protector::new(&key(suite)).expect("a key");
    let mut slot = [0; SLOT_SIZE];
    each(|n| {
        slot[..RTP].copy_from_slice(&rtp(n));
        let mut packet = Packet::new(MediaPort(0), None, &mut slot, RTP);
        let sealable = Sealable::new(&mut packet).expect("room");
        protector.rtp(sealable).expect("protected");
        black_box(&packet);
    })
}

fn unprotect(suite: Suite) -> Duration {
    let mut protector = Protector::new(&key(suite)).expect("a key");
    let mut unprotector = Unprotector::new(&key(suite)).expect("a key");
    let mut slots: Vec<(Vec<u8>, usize)> = (0..ROUND)
        .map(|n| {
            let mut slot = vec![0; RTP + 256];
            slot[..RTP].copy_from_slice(&rtp(n as u16));
            let mut packet = Packet::new(MediaPort(0), None, &mut slot, RTP);
            let sealable = Sealable::new(&mut packet).expect("room");
            protector.rtp(sealable).expect("protected");
            let len = packet.len();
            (slot, len)
        })
        .collect();
    let start = Instant::now();
    for (slot, len) in &mut slots {
        let mut packet = Packet::new(MediaPort(0), None, slot, *len);
        unprotector.rtp(&mut packet).expect("authentic");
    }
    start.elapsed()
}

fn security(suite: Suite) -> Security {
    Security::Sdes {
        send: key(suite),
        receive: key(suite),
    }
}

fn remote(leg: u8, security: Security) -> Remote {
    let at = |port| SocketAddr::from(([10, 0, 0, leg], port));
    Remote {
        rtp: at(4000),
        rtcp: at(4001),
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
    }
}

/// From one leg to another, in full batches.
fn relay(from: Security, to: Security) -> f64 {
    let now = Instant::now();
    let mut table = Table::new(TableSettings::default(), [1; 32]);
    let mut peer = match &from {
        Security::Sdes { receive, .. } => Some(Protector::new(receive).expect("a key")),
        _ => None,
    };
    let open = |table: &mut Table, leg: u8, security| {
        let options = LegOptions {
            rtp: MediaPort(2 * u32::from(leg)),
            rtcp: MediaPort(2 * u32::from(leg) + 1),
            echo: false,
        };
        let id = table.open(now, options);
        table.set_remote(now, id, remote(leg, security));
        id
    };
    let from = open(&mut table, 1, from);
    let to = open(&mut table, 2, to);
    table.link(from, to);
    let mut slots = vec![[0u8; SLOT_SIZE]; BATCH];
    let source = Some(SocketAddr::from(([10, 0, 0, 1], 4000)));
    let mut sequence = 0u16;
    let ns = best(|| {
        let mut spent = Duration::ZERO;
        for _ in 0..ROUND / BATCH {
            let mut packets: Vec<Packet<'_>> = slots
                .iter_mut()
                .map(|slot| {
                    sequence = sequence.wrapping_add(1);
                    slot[..RTP].copy_from_slice(&rtp(sequence));
                    let mut packet = Packet::new(MediaPort(2), source, slot, RTP);
                    if let Some(peer) = &mut peer {
                        let sealable = Sealable::new(&mut packet).expect("room");
                        peer.rtp(sealable).expect("protected");
                    }
                    packet
                })
                .collect();
            let start = Instant::now();
            table.process_batch(now, &mut packets);
            spent += start.elapsed();
            black_box(&packets);
        }
        spent
    });
    let forwarded = table.counters().forwarded_packets;
    let all = (ROUND / BATCH * BATCH * ROUNDS) as u64;
    assert!(
        forwarded * 100 > all * 99,
        "{forwarded} of {all} were forwarded"
    );
    ns
}
