//! Nanoseconds to protect and unprotect a 172-byte RTP packet in each suite,
//! beside the bare ciphers on the same bytes, and what protection costs a
//! relayed packet. All of one run; the machine's noise is in each alike.
//!
//! `cargo bench --bench srtp`

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aes::Aes128Enc;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use ring::aead;
use ringwire::ids::{CodecId, MediaPort};
use ringwire::keying::{MasterKey, Security, Suite};
use ringwire::media::packet::{BATCH, SLOT_SIZE};
use ringwire::media::srtp::{Protector, Sealable, Unprotector};
use ringwire::media::{Latch, LegOptions, Packet, PayloadMapping, Remote, Table, TableSettings};
use sha1::{Digest, Sha1};

/// Bytes of an RTP packet with 20 ms of G.711.
const RTP: usize = 172;
const HEADER: usize = 12;
/// Packets of one round.
const ROUND: usize = 1 << 14;
/// Rounds; the median is told.
const ROUNDS: usize = 21;

fn main() {
    println!("ns per {RTP}-byte packet, median of {ROUNDS} rounds of {ROUND}");
    let copy = median(|| {
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
    let counter = median(bare_counter_mode) - copy;
    println!("{:28} {counter:8.1}", "bare AES-128-CTR and SHA-1");
    let galois = |algorithm| median(|| bare_galois(algorithm)) - copy;
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
        let protect = median(|| protect(suite)) - copy;
        let unprotect = median(|| unprotect(suite));
        println!(
            "{:28} {protect:8.1} protect ({:.2} of bare)  {unprotect:8.1} unprotect",
            suite.name(),
            protect / bare
        );
    }
    println!("\npackets per second through the leg table, one core");
    let plain = relay(Security::Plain);
    println!("{:28} {plain:12.0}", "plain to plain");
    for suite in Suite::ALL {
        let security = Security::Sdes {
            send: key(suite),
            receive: key(suite),
        };
        let rate = relay(security);
        println!(
            "plain to {:19} {rate:12.0}  {:.2} of plain",
            suite.name(),
            rate / plain
        );
    }
}

fn median(mut round: impl FnMut() -> Duration) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| round().as_nanos() as f64 / ROUND as f64)
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
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

fn bare_counter_mode() -> Duration {
    type Counter<'k> = StreamCipherCoreWrapper<ctr::CtrCore<&'k Aes128Enc, ctr::flavors::Ctr128BE>>;
    let key = Aes128Enc::new(&[1; 16].into());
    let mut slot = [0; SLOT_SIZE];
    each(|n| {
        slot[..RTP].copy_from_slice(&rtp(n));
        let core = ctr::CtrCore::inner_iv_init(&key, &[n as u8; 16].into());
        Counter::from_core(core).apply_keystream(&mut slot[HEADER..RTP]);
        black_box(Sha1::digest(&slot[..RTP + 4]));
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

/// From a plain leg to one with this security, in full batches.
fn relay(security: Security) -> f64 {
    let now = Instant::now();
    let mut table = Table::new(TableSettings::default(), [1; 32]);
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
    let from = open(&mut table, 1, Security::Plain);
    let to = open(&mut table, 2, security);
    table.link(from, to);
    let mut slots = vec![[0u8; SLOT_SIZE]; BATCH];
    let source = Some(SocketAddr::from(([10, 0, 0, 1], 4000)));
    let mut sequence = 0u16;
    let ns = median(|| {
        let mut spent = Duration::ZERO;
        for _ in 0..ROUND / BATCH {
            let mut packets: Vec<Packet<'_>> = slots
                .iter_mut()
                .map(|slot| {
                    sequence = sequence.wrapping_add(1);
                    slot[..RTP].copy_from_slice(&rtp(sequence));
                    Packet::new(MediaPort(2), source, slot, RTP)
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
    let all = (ROUND * ROUNDS) as u64;
    assert!(
        forwarded * 100 > all * 99,
        "{forwarded} of {all} were forwarded"
    );
    1e9 / ns
}
