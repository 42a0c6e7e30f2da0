use super::galois::Galois;
use super::*;
use crate::ids::MediaPort;
use crate::keying::Suite;
use crate::media::packet::SLOT_SIZE;

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

fn key(suite: Suite) -> MasterKey {
    MasterKey {
        suite,
        key: (0..suite.key_len() as u8).collect(),
        salt: (100..100 + suite.salt_len() as u8).collect(),
    }
}

/// The key of RFC 3711 appendix B.3.
fn rfc_key(suite: Suite) -> MasterKey {
    MasterKey {
        suite,
        key: bytes("E1F97A0D3E018BE0D64FA32C06DE4139"),
        salt: bytes("0EC675AD498AFEEBB6960B3AABE6"),
    }
}

struct Datagram {
    slot: Vec<u8>,
    len: usize,
}

impl Datagram {
    fn new(bytes: &[u8]) -> Self {
        let mut slot = vec![0x5a; SLOT_SIZE];
        slot[..bytes.len()].copy_from_slice(bytes);
        let len = bytes.len();
        Datagram { slot, len }
    }

    fn packet(&mut self) -> Packet<'_> {
        Packet::new(MediaPort(0), None, &mut self.slot, self.len)
    }

    fn with(
        &mut self,
        act: impl FnOnce(&mut Packet<'_>) -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        let mut packet = self.packet();
        let done = act(&mut packet);
        self.len = packet.len();
        done
    }

    fn bytes(&self) -> &[u8] {
        &self.slot[..self.len]
    }
}

fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend(1234u32.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..160).map(|n| n as u8));
    packet
}

fn protected(protector: &mut Protector, plain: &[u8]) -> Datagram {
    let mut datagram = Datagram::new(plain);
    datagram
        .with(|packet| protector.rtp(Sealable::new(packet)?))
        .unwrap();
    datagram
}

#[test]
fn session_keys_are_those_of_rfc_3711_appendix_b_3() {
    let master = rfc_key(Suite::Aes128CmSha1_80);
    let derived = |label, len| {
        let mut out = vec![0; len];
        derive::derive(&master, label, &mut out).unwrap();
        hex::encode_upper(out)
    };
    assert_eq!(derived(0, 16), "C61E7A93744F39EE10734AFE3FF7A087");
    assert_eq!(derived(2, 14), "30CBBC08863D8C85D49DB34A9AE1");
    assert_eq!(derived(1, 20), "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4");
}

#[test]
fn counter_mode_gives_the_reference_packets_of_libsrtp() {
    let master = rfc_key(Suite::Aes128CmSha1_80);
    let mut protector = Protector::new(&master).unwrap();
    let plain = bytes("800f1234 decafbad cafebabe abababababababababababababababab");
    let datagram = protected(&mut protector, &plain);
    assert_eq!(
        hex::encode(datagram.bytes()),
        "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"
    );
    let mut rtcp = Datagram::new(&bytes("81c8000b cafebabe abababababababababababababababab"));
    rtcp.with(|packet| protector.rtcp(Sealable::new(packet)?))
        .unwrap();
    assert_eq!(
        hex::encode(rtcp.bytes()),
        "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798"
    );
}

/// Session keys and salt of RFC 7714 section 16.
fn rfc_7714_cipher(key_len: u8) -> Cipher {
    let key: Vec<u8> = (0..key_len).collect();
    let galois = Galois::new(&key, &bytes("517569642070726f2071756f")).unwrap();
    Cipher::Galois(Box::new(galois))
}

#[test]
fn galois_gives_the_rtp_packets_of_rfc_7714_section_16() {
    let plain = bytes(
        "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 \
         20646976 69736120 696e2070 61727465 73207472 6573",
    );
    let protected = [
        // 16.1.1
        "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b\
         36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        // 16.2.1
        "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f\
         1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
    ];
    for (key_len, protected) in [16, 32].into_iter().zip(protected) {
        let cipher = rfc_7714_cipher(key_len);
        let mut datagram = Datagram::new(&plain);
        let (ssrc, index) = (0x5501_a0b2, 0xf17b);
        let more = cipher
            .encrypt_rtp(&mut datagram.slot, 12, plain.len(), ssrc, index)
            .unwrap();
        let len = plain.len() + more;
        assert_eq!(hex::encode(&datagram.slot[..len]), protected);
        let less = cipher.open_rtp(&mut datagram.slot, 12, len, (ssrc, index), None);
        assert_eq!(less, Ok(16));
        assert_eq!(datagram.slot[..plain.len()], plain);
    }
}

#[test]
fn galois_gives_the_rtcp_packets_of_rfc_7714_section_17() {
    let plain = bytes(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 \
         deadbeef deadbeef deadbeef deadbeef deadbeef",
    );
    let protected = [
        // 17.1
        "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda\
         4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
        // 17.3
        "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be\
         8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
    ];
    for (key_len, protected) in [16, 32].into_iter().zip(protected) {
        let cipher = rfc_7714_cipher(key_len);
        let mut datagram = Datagram::new(&plain);
        let (ssrc, index) = (0x4d61_7273, 0x05d4);
        let more = cipher
            .seal_rtcp(&mut datagram.slot, plain.len(), ssrc, index)
            .unwrap();
        let len = plain.len() + more;
        assert_eq!(hex::encode(&datagram.slot[..len]), protected);
        let less = cipher.open_rtcp(&mut datagram.slot, len, ssrc, index | ENCRYPTED);
        assert_eq!(less, Ok(20));
        assert_eq!(datagram.slot[..plain.len()], plain);
    }
}

/// A batch of these packets.
fn in_batch(datagrams: &mut [Datagram]) -> Vec<Packet<'_>> {
    datagrams.iter_mut().map(Datagram::packet).collect()
}

#[test]
fn a_batch_is_protected_as_each_of_its_packets_is_alone() {
    for suite in Suite::ALL {
        let mut alone = Protector::new(&key(suite)).unwrap();
        let mut together = Protector::new(&key(suite)).unwrap();
        let mut side_by_side = SideBySide::new();
        for (first, packets) in [(65_500u16, 1), (65_505, 9), (65_520, 40)] {
            let plain: Vec<_> = (0..packets)
                .map(|n| {
                    let mut plain = rtp(first.wrapping_add(n), 7);
                    plain.truncate(if n % 8 == 5 { 40 + n as usize } else { 172 });
                    plain
                })
                .collect();
            let mut datagrams: Vec<_> = plain.iter().map(|plain| Datagram::new(plain)).collect();
            let mut batch = in_batch(&mut datagrams);
            for (place, packet) in batch.iter_mut().enumerate() {
                side_by_side.turn(place);
                let sealable = Sealable::new(packet).unwrap();
                together.rtp_in_batch(sealable, &mut side_by_side).unwrap();
            }
            side_by_side.end(&mut batch);
            for (packet, plain) in batch.iter().zip(&plain) {
                let expected = protected(&mut alone, plain);
                assert_eq!(packet.bytes(), expected.bytes(), "{} bytes", plain.len());
            }
        }
    }
}

#[test]
fn what_was_foreseen_holds_for_its_keys_and_rollover_only() {
    let other = MasterKey {
        key: vec![9; 16],
        ..key(Suite::Aes128CmSha1_80)
    };
    let mut protector = Protector::new(&key(other.suite)).unwrap();
    let mut datagrams: Vec<_> = (65_530..=65_535)
        .chain(0..14)
        .map(|sequence| protected(&mut protector, &rtp(sequence, 7)))
        .collect();
    let mut batch = in_batch(&mut datagrams);
    let before = Unprotector::new(&other).unwrap();
    let mut unprotector = Unprotector::new(&key(other.suite)).unwrap();
    let mut places: Vec<usize> = (0..batch.len()).collect();
    let mut side_by_side = SideBySide::new();
    // The first ten by other keys, and all of them by the first rollover.
    side_by_side.foresee(&batch, &mut places[..10], |packet| before.foresee(packet));
    side_by_side.foresee(&batch, &mut places[10..], |packet| {
        unprotector.foresee(packet)
    });
    for (n, packet) in batch.iter_mut().enumerate() {
        side_by_side.turn(n);
        let taken = unprotector.rtp_in_batch(packet, &mut side_by_side);
        assert_eq!(taken, Ok(()), "packet {n}");
        assert_eq!(packet.bytes()[12..], rtp(0, 7)[12..]);
    }
    // And right ones for other keys let nobody in.
    let mut datagrams: Vec<_> = (20..40)
        .map(|sequence| protected(&mut protector, &rtp(sequence, 7)))
        .collect();
    let mut batch = in_batch(&mut datagrams);
    side_by_side.foresee(&batch, &mut places, |packet| unprotector.foresee(packet));
    let mut stranger = Unprotector::new(&other).unwrap();
    for (n, packet) in batch.iter_mut().enumerate() {
        side_by_side.turn(n);
        let taken = stranger.rtp_in_batch(packet, &mut side_by_side);
        assert_eq!(taken, Err(DropReason::SrtpAuthFailed), "packet {n}");
    }
}

#[test]
fn every_suite_undoes_what_it_did_through_loss_reordering_and_rollover() {
    for suite in Suite::ALL {
        let mut protector = Protector::new(&key(suite)).unwrap();
        let mut unprotector = Unprotector::new(&key(suite)).unwrap();
        let numbers = (0..70_000u32).map(|n| 65_000u16.wrapping_add(n as u16));
        let mut held: Option<(Datagram, Vec<u8>)> = None;
        for (n, sequence) in numbers.enumerate() {
            let plain = rtp(sequence, 7);
            let mut datagram = protected(&mut protector, &plain);
            assert_ne!(datagram.bytes()[12..40], plain[12..40]);
            if n % 100 == 3 {
                continue;
            }
            if n % 100 == 50 {
                held = Some((datagram, plain));
                continue;
            }
            datagram.with(|packet| unprotector.rtp(packet)).unwrap();
            assert_eq!(datagram.bytes(), plain);
            if n % 100 == 90
                && let Some((mut late, plain)) = held.take()
            {
                late.with(|packet| unprotector.rtp(packet)).unwrap();
                assert_eq!(late.bytes(), plain);
            }
        }
    }
}

#[test]
fn rtcp_is_undone_and_its_replay_is_refused() {
    let report = bytes("81c90007 00000007 00000008 00000000 00000001 00000002 00000003 00000004");
    for suite in Suite::ALL {
        let mut protector = Protector::new(&key(suite)).unwrap();
        let mut unprotector = Unprotector::new(&key(suite)).unwrap();
        for _ in 0..3 {
            let mut datagram = Datagram::new(&report);
            datagram
                .with(|packet| protector.rtcp(Sealable::new(packet)?))
                .unwrap();
            let mut again = Datagram::new(datagram.bytes());
            datagram.with(|packet| unprotector.rtcp(packet)).unwrap();
            assert_eq!(datagram.bytes(), report);
            let replay = again.with(|packet| unprotector.rtcp(packet));
            assert_eq!(replay, Err(DropReason::SrtpReplayed));
        }
    }
}

#[test]
fn a_replayed_broken_or_cut_packet_is_refused_and_changes_nothing() {
    for suite in Suite::ALL {
        let mut protector = Protector::new(&key(suite)).unwrap();
        let mut unprotector = Unprotector::new(&key(suite)).unwrap();
        let good = protected(&mut protector, &rtp(1, 7));
        let take = |unprotector: &mut Unprotector, bytes: &[u8]| {
            Datagram::new(bytes).with(|packet| unprotector.rtp(packet))
        };
        let mut broken = good.bytes().to_vec();
        *broken.last_mut().unwrap() ^= 1;
        assert_eq!(
            take(&mut unprotector, &broken),
            Err(DropReason::SrtpAuthFailed)
        );
        let cut = &good.bytes()[..good.len - 1];
        assert_eq!(take(&mut unprotector, cut), Err(DropReason::SrtpAuthFailed));
        for len in 0..14 {
            let short = take(&mut unprotector, &good.bytes()[..len]);
            assert_eq!(short, Err(DropReason::SrtpTooShort), "{len} bytes");
        }
        assert_eq!(take(&mut unprotector, good.bytes()), Ok(()));
        assert_eq!(
            take(&mut unprotector, good.bytes()),
            Err(DropReason::SrtpReplayed)
        );
        let plain = rtp(2, 7);
        assert_eq!(
            take(&mut unprotector, &plain),
            Err(DropReason::SrtpAuthFailed)
        );
    }
}

#[test]
fn a_new_ssrc_counts_its_own_rollovers() {
    let suite = Suite::Aes128CmSha1_80;
    let mut unprotector = Unprotector::new(&key(suite)).unwrap();
    for ssrc in 0..20 {
        let mut protector = Protector::new(&key(suite)).unwrap();
        for sequence in [65_534, 65_535, 0, 1] {
            let mut datagram = protected(&mut protector, &rtp(sequence, ssrc));
            datagram.with(|packet| unprotector.rtp(packet)).unwrap();
        }
    }
    assert_eq!(unprotector.streams.len(), MAX_SSRCS);
}

#[test]
fn nothing_is_sealed_twice_under_one_index() {
    let mut protector = Protector::new(&key(Suite::AeadAes128Gcm)).unwrap();
    protected(&mut protector, &rtp(9, 7));
    let again = Datagram::new(&rtp(9, 7)).with(|packet| protector.rtp(Sealable::new(packet)?));
    assert_eq!(again, Err(DropReason::SrtpReplayed));
}

#[test]
fn a_slot_without_room_for_the_trailer_cannot_be_sealed() {
    let mut slot = vec![0; 172 + TRAILER_ROOM - 1];
    let mut packet = Packet::new(MediaPort(0), None, &mut slot, 172);
    assert!(matches!(
        Sealable::new(&mut packet),
        Err(DropReason::NoTrailerRoom)
    ));
    packet.set_len(171);
    assert!(Sealable::new(&mut packet).is_ok());
}

#[test]
fn a_key_of_the_wrong_length_is_refused() {
    let mut wrong = key(Suite::AeadAes256Gcm);
    wrong.key.pop();
    assert!(Protector::new(&wrong).is_err());
    assert!(Unprotector::new(&wrong).is_err());
}
