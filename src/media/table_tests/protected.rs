//! Legs whose media is protected, packet in, packet out.

use super::*;
use crate::keying::{MasterKey, Security, Suite};
use crate::media::packet::SLOT_SIZE;
use crate::media::srtp::{Protector, Sealable, Unprotector};

fn key(suite: Suite, fill: u8) -> MasterKey {
    MasterKey {
        suite,
        key: vec![fill; suite.key_len()],
        salt: vec![fill ^ 0xff; suite.salt_len()],
    }
}

/// The peer of leg 0, who speaks SRTP.
struct SecurePeer {
    out: Protector,
    into: Unprotector,
}

fn secure(suite: Suite) -> (Remote, SecurePeer) {
    let (ours, theirs) = (key(suite, 1), key(suite, 2));
    let peer = SecurePeer {
        out: Protector::new(&theirs).unwrap(),
        into: Unprotector::new(&ours).unwrap(),
    };
    let remote = Remote {
        security: Security::Sdes {
            send: ours,
            receive: theirs,
        },
        ..remote(0)
    };
    (remote, peer)
}

fn in_slot<T>(bytes: &[u8], act: impl FnOnce(&mut Packet<'_>) -> T) -> (T, Vec<u8>) {
    let mut slot = vec![0; SLOT_SIZE];
    slot[..bytes.len()].copy_from_slice(bytes);
    let mut packet = Packet::new(MediaPort(0), None, &mut slot, bytes.len());
    let result = act(&mut packet);
    (result, packet.bytes().to_vec())
}

impl SecurePeer {
    fn protect(&mut self, rtp: Rtp) -> Vec<u8> {
        let (result, bytes) = in_slot(&rtp.bytes(), |packet| {
            self.out.rtp(Sealable::new(packet).unwrap())
        });
        result.unwrap();
        bytes
    }

    fn read(&mut self, bytes: &[u8]) -> Rtp {
        let (result, bytes) = in_slot(bytes, |packet| self.into.rtp(packet));
        result.unwrap();
        Rtp::read(&bytes)
    }
}

impl Bench {
    fn deliver(&mut self, port: u32, from: SocketAddr, bytes: &[u8]) -> (Verdict, Vec<u8>) {
        let mut slot = vec![0; SLOT_SIZE];
        slot[..bytes.len()].copy_from_slice(bytes);
        let packet = Packet::new(MediaPort(port), Some(from), &mut slot, bytes.len());
        let mut batch = [packet];
        self.table.process_batch(self.now, &mut batch);
        (batch[0].verdict, batch[0].bytes().to_vec())
    }
}

fn forwarded(result: (Verdict, Vec<u8>)) -> Vec<u8> {
    assert!(
        matches!(result.0, Verdict::Forward { .. }),
        "{:?}",
        result.0
    );
    result.1
}

#[test]
fn a_protected_leg_and_a_plain_one_hear_each_other_in_every_suite() {
    for suite in Suite::ALL {
        let (mut bench, a, _) = Bench::pair();
        let (description, mut phone) = secure(suite);
        assert!(bench.table.set_remote(bench.now, a, description));
        for n in 0..300u16 {
            let sent = Rtp::new(65_400u16.wrapping_add(n), 160 * u32::from(n), 7);
            let out = forwarded(bench.deliver(0, peer(0), &phone.protect(sent)));
            assert_eq!(out.len(), 172);
            assert_eq!(Rtp::read(&out).payload_type, 8);
            let back = Rtp::new(65_400u16.wrapping_add(n), 160 * u32::from(n), 8);
            let out = forwarded(bench.deliver(2, peer(1), &back.bytes()));
            assert!(out.len() > 172);
            assert_eq!(phone.read(&out).payload_type, 8);
            bench.pass(20);
        }
    }
}

#[test]
fn what_is_not_authentic_is_dropped_and_the_call_goes_on() {
    let (mut bench, a, _) = Bench::pair();
    let (description, mut phone) = secure(Suite::Aes128CmSha1_80);
    assert!(bench.table.set_remote(bench.now, a, description.clone()));
    let first = phone.protect(Rtp::new(1, 160, 7));
    forwarded(bench.deliver(0, peer(0), &first));
    let mut broken = phone.protect(Rtp::new(2, 320, 7));
    broken[20] ^= 1;
    let drop = |result: (Verdict, Vec<u8>)| result.0;
    assert_eq!(
        drop(bench.deliver(0, peer(0), &broken)),
        Verdict::Drop(DropReason::SrtpAuthFailed)
    );
    assert_eq!(
        drop(bench.deliver(0, peer(0), &first)),
        Verdict::Drop(DropReason::SrtpReplayed)
    );
    assert_eq!(
        drop(bench.deliver(0, peer(0), &Rtp::new(3, 480, 7).bytes())),
        Verdict::Drop(DropReason::SrtpAuthFailed)
    );
    assert_eq!(
        drop(bench.deliver(0, peer(0), &phone.protect(Rtp::new(5, 800, 7))[..13])),
        Verdict::Drop(DropReason::SrtpTooShort)
    );
    forwarded(bench.deliver(0, peer(0), &phone.protect(Rtp::new(4, 640, 7))));
    // A description with the same keys keeps the counters: a replay stays one.
    assert!(bench.table.set_remote(bench.now, a, description));
    assert_eq!(
        drop(bench.deliver(0, peer(0), &first)),
        Verdict::Drop(DropReason::SrtpReplayed)
    );
}

#[test]
fn a_new_key_of_the_peer_leaves_our_own_rollover_counter_alone() {
    let (mut bench, a, _) = Bench::pair();
    let suite = Suite::Aes128CmSha1_80;
    let (mut description, mut phone) = secure(suite);
    assert!(bench.table.set_remote(bench.now, a, description.clone()));
    let mut hear = |bench: &mut Bench, n: u32| {
        bench.pass(20);
        let sent = Rtp::new(n as u16, 160 * n, 8);
        let out = forwarded(bench.deliver(2, peer(1), &sent.bytes()));
        phone.read(&out);
    };
    // Past a wrap of the sequence.
    (0..70_000).for_each(|n| hear(&mut bench, n));
    let theirs = key(suite, 3);
    description.security = Security::Sdes {
        send: key(suite, 1),
        receive: theirs.clone(),
    };
    assert!(bench.table.set_remote(bench.now, a, description));
    hear(&mut bench, 70_000);
    phone.out = Protector::new(&theirs).unwrap();
    forwarded(bench.deliver(0, peer(0), &phone.protect(Rtp::new(1, 160, 7))));
}

#[test]
fn a_plain_source_that_starts_anew_does_not_confuse_the_rollover_counter() {
    let (mut bench, a, _) = Bench::pair();
    let (description, mut phone) = secure(Suite::AeadAes128Gcm);
    assert!(bench.table.set_remote(bench.now, a, description));
    let mut hear = |bench: &mut Bench, sequence: u16| {
        bench.pass(20);
        let sent = Rtp::new(sequence, u32::from(sequence) * 160, 8);
        let (verdict, out) = bench.deliver(2, peer(1), &sent.bytes());
        match verdict {
            Verdict::Forward { .. } => Ok(phone.read(&out).sequence),
            Verdict::Drop(reason) => Err(reason),
            Verdict::Consumed => panic!("consumed"),
        }
    };
    let first = hear(&mut bench, 100).unwrap();
    assert_eq!(hear(&mut bench, 101), Ok(first + 1));
    assert_eq!(hear(&mut bench, 40_000), Err(DropReason::SequenceJump));
    assert_eq!(hear(&mut bench, 102), Ok(first + 2));
    // Two in a row are believed.
    assert_eq!(hear(&mut bench, 9_000), Err(DropReason::SequenceJump));
    assert_eq!(hear(&mut bench, 9_001), Ok(first + 3));
    assert_eq!(hear(&mut bench, 9_002), Ok(first + 4));
    // The same packet twice is not sealed twice, nor counted as sent.
    assert_eq!(hear(&mut bench, 9_002), Err(DropReason::SrtpReplayed));
    let sent = bench.table.stats(a).unwrap().sent;
    assert_eq!((sent.packets, sent.bytes), (5, 5 * 160));
}

#[test]
fn a_header_extension_stays_on_its_own_side() {
    let (mut bench, _, _) = Bench::pair();
    let mut extended = Rtp::new(1, 160, 7).bytes();
    extended[0] |= 0x10;
    extended.splice(12..12, [0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
    let out = forwarded(bench.deliver(0, peer(0), &extended));
    assert_eq!(out.len(), 172);
    assert_eq!(out[0], 0x80);
    assert!(out[12..].iter().all(|byte| *byte == 0x55));
}

#[test]
fn reports_to_a_protected_peer_are_sealed_and_its_own_are_read() {
    for suite in Suite::ALL {
        let (mut bench, a, _) = Bench::pair();
        let (description, mut phone) = secure(suite);
        assert!(bench.table.set_remote(bench.now, a, description));
        forwarded(bench.deliver(0, peer(0), &phone.protect(Rtp::new(1, 160, 7))));
        let ours = bench.table.source(a).expect("open").ssrc;
        bench.pass(4_000);
        bench.table.handle_timeout(bench.now);
        let mut made = std::iter::from_fn(|| bench.table.poll_transmit());
        let sealed = made.find(|t| t.port == MediaPort(1)).expect("a report");
        assert_eq!(sealed.to, Some(rtcp_peer(0)));
        let (result, plain) = in_slot(&sealed.payload, |packet| phone.into.rtcp(packet));
        result.unwrap();
        // A receiver report with one block: nothing was sent to this peer.
        assert_eq!(plain[..4], [0x81, 201, 0, 7]);
        assert_eq!(plain[4..8], ours.to_be_bytes());
        assert_eq!(plain[8..12], 7u32.to_be_bytes());
        let mut broken = sealed.payload.to_vec();
        broken[12] ^= 1;
        let (result, _) = in_slot(&broken, |packet| phone.into.rtcp(packet));
        assert!(result.is_err());

        let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 7];
        report.extend(ours.to_be_bytes());
        report.extend([0, 0, 0, 5]);
        report.extend([0; 16]);
        assert_eq!(
            bench.deliver(1, rtcp_peer(0), &report).0,
            Verdict::Drop(DropReason::SrtpAuthFailed)
        );
        let (result, sealed) = in_slot(&report, |packet| {
            phone.out.rtcp(Sealable::new(packet).unwrap())
        });
        result.unwrap();
        assert_eq!(bench.deliver(1, rtcp_peer(0), &sealed).0, Verdict::Consumed);
        let reported = bench.table.stats(a).expect("open").sent.reported;
        assert_eq!(reported.expect("heard").cumulative_lost, 5);
    }
}
