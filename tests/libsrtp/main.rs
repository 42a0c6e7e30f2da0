//! SRTP beside libsrtp (by pylibsrtp, in the environment that
//! `scripts/install-dependencies` makes), packet by packet: both protect to
//! the same bytes, and each undoes what the other did.

mod relay;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use ringwire::ids::MediaPort;
use ringwire::keying::{MasterKey, Suite};
use ringwire::media::Packet;
use ringwire::media::packet::SLOT_SIZE;
use ringwire::media::srtp::{Protector, Sealable, Unprotector};

/// What libsrtp answers to these commands, line by line.
fn libsrtp(commands: &[String]) -> Vec<Result<Vec<u8>, String>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = tests.join("browser/venv/bin/python");
    let mut child = Command::new(&python)
        .arg(tests.join("libsrtp/libsrtp.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; scripts/install-dependencies makes it",
                python.display()
            )
        });
    let mut stdin = child.stdin.take().unwrap();
    let text = commands.join("\n") + "\n";
    let writing = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing
        .join()
        .unwrap()
        .expect("libsrtp.py reads everything");
    assert!(output.status.success(), "libsrtp.py: {}", output.status);
    let answers: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| match line.strip_prefix("! ") {
            Some(reason) => Err(reason.to_string()),
            None => Ok(hex::decode(line).unwrap()),
        })
        .collect();
    assert_eq!(answers.len(), commands.len(), "a line for each command");
    answers
}

fn key(suite: Suite, fill: u8) -> MasterKey {
    let bytes = |len: usize, by: u8| {
        (0..len)
            .map(|n| fill ^ (n as u8).wrapping_mul(by))
            .collect()
    };
    MasterKey {
        suite,
        key: bytes(suite.key_len(), 29),
        salt: bytes(suite.salt_len(), 43),
    }
}

fn session(key: &MasterKey) -> String {
    let material = [&key.key[..], &key.salt[..]].concat();
    format!("session {} {}", key.suite.name(), hex::encode(material))
}

fn command(name: &str, packet: &[u8]) -> String {
    format!("{name} {}", hex::encode(packet))
}

fn rtp(
    sequence: u16,
    ssrc: u32,
    csrcs: u8,
    extension_words: Option<u16>,
    payload: usize,
) -> Vec<u8> {
    let extended = if extension_words.is_some() { 0x10 } else { 0 };
    let mut packet = vec![0x80 | extended | csrcs, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..4 * csrcs).map(|n| n ^ 0x33));
    if let Some(words) = extension_words {
        packet.extend([0xbe, 0xde]);
        packet.extend(words.to_be_bytes());
        packet.extend((0..4 * words).map(|n| n as u8 ^ 0x66));
    }
    packet.extend((0..payload).map(|n| (n * 7) as u8 ^ sequence as u8));
    packet
}

/// Over the rollover from 65535 to 0, in many sizes, with and without CSRCs
/// and header extension, from two sources.
fn rtp_packets() -> Vec<Vec<u8>> {
    (0..400u16)
        .map(|n| {
            let csrcs = [0, 0, 1, 15][usize::from(n) % 4];
            let extension = [None, Some(0), None, Some(1), Some(9)][usize::from(n) % 5];
            let payload = match n % 3 {
                0 => 160,
                1 => usize::from(n),
                _ => usize::from(n) * 29 % 1200,
            };
            let ssrc = if n % 7 == 6 { 0xcafe_babe } else { 0x0102_0304 };
            rtp(65_336u16.wrapping_add(n), ssrc, csrcs, extension, payload)
        })
        .collect()
}

/// Sender reports with as many further words as their number says.
fn rtcp_packets() -> Vec<Vec<u8>> {
    (0..100u16)
        .map(|n| {
            let words = 6 + n % 40;
            let mut packet = vec![0x80, 200];
            packet.extend(words.to_be_bytes());
            packet.extend(0x0102_0304u32.to_be_bytes());
            packet.extend((0..4 * (words - 1)).map(|byte| (byte ^ n) as u8));
            packet
        })
        .collect()
}

/// What becomes of these bytes in a slot.
fn in_slot<E: std::fmt::Debug>(
    bytes: &[u8],
    act: impl FnOnce(&mut Packet<'_>) -> Result<(), E>,
) -> Vec<u8> {
    let mut slot = vec![0x5a; SLOT_SIZE];
    slot[..bytes.len()].copy_from_slice(bytes);
    let mut packet = Packet::new(MediaPort(0), None, &mut slot, bytes.len());
    act(&mut packet).unwrap();
    packet.bytes().to_vec()
}

/// Both directions of one kind of packet in one suite.
fn agree(
    suite: Suite,
    (protect, unprotect): (&str, &str),
    packets: &[Vec<u8>],
    mut ours: impl FnMut(&[u8]) -> Vec<u8>,
    mut undone: impl FnMut(&[u8]) -> Vec<u8>,
) {
    let protected: Vec<_> = packets.iter().map(|packet| ours(packet)).collect();
    let mut commands = vec![session(&key(suite, 1))];
    commands.extend(packets.iter().map(|packet| command(protect, packet)));
    commands.extend(protected.iter().map(|packet| command(unprotect, packet)));
    let answers = libsrtp(&commands);
    let (theirs, opened) = answers[1..].split_at(packets.len());
    for (n, plain) in packets.iter().enumerate() {
        let theirs = theirs[n].as_ref().unwrap();
        let name = suite.name();
        assert_eq!(
            hex::encode(&protected[n]),
            hex::encode(theirs),
            "{name}, packet {n} of {} bytes",
            plain.len()
        );
        assert_eq!(
            opened[n].as_ref(),
            Ok(plain),
            "{name}, packet {n} by libsrtp"
        );
        assert_eq!(undone(theirs), *plain, "{name}, packet {n} of libsrtp");
    }
}

#[test]
fn rtp_of_every_shape_and_over_the_rollover_is_what_libsrtp_makes_of_it() {
    for suite in Suite::ALL {
        let mut protector = Protector::new(&key(suite, 1)).unwrap();
        // One of ours counts for one source; libsrtp keeps both apart.
        let mut second = Protector::new(&key(suite, 1)).unwrap();
        let mut unprotector = Unprotector::new(&key(suite, 1)).unwrap();
        agree(
            suite,
            ("protect", "unprotect"),
            &rtp_packets(),
            |plain| {
                let own = match plain[8] {
                    0xca => &mut second,
                    _ => &mut protector,
                };
                in_slot(plain, |packet| own.rtp(Sealable::new(packet)?))
            },
            |theirs| in_slot(theirs, |packet| unprotector.rtp(packet)),
        );
    }
}

#[test]
fn rtcp_of_every_length_is_what_libsrtp_makes_of_it() {
    for suite in Suite::ALL {
        let mut protector = Protector::new(&key(suite, 1)).unwrap();
        let mut unprotector = Unprotector::new(&key(suite, 1)).unwrap();
        agree(
            suite,
            ("protect_rtcp", "unprotect_rtcp"),
            &rtcp_packets(),
            |plain| in_slot(plain, |packet| protector.rtcp(Sealable::new(packet)?)),
            |theirs| in_slot(theirs, |packet| unprotector.rtcp(packet)),
        );
    }
}

#[test]
fn what_is_lost_late_or_broken_is_taken_and_refused_alike() {
    for suite in Suite::ALL {
        let mut protector = Protector::new(&key(suite, 1)).unwrap();
        let mut protected: Vec<_> = (0..300u16)
            .map(|n| rtp(65_400u16.wrapping_add(n), 9, 0, None, 160))
            .map(|plain| in_slot(&plain, |packet| protector.rtp(Sealable::new(packet)?)))
            .collect();
        // Late by 40, lost for 3 packets, twice, a flipped bit, a cut tag.
        for n in (10..250).step_by(50) {
            let late = protected.remove(n);
            protected.insert(n + 40, late);
        }
        protected.drain(60..63);
        for n in [30, 120, 200] {
            let again = protected[n].clone();
            protected.insert(n + 5, again);
        }
        for n in [41, 142] {
            protected[n][20] ^= 4;
        }
        protected[150].pop();
        let mut commands = vec![session(&key(suite, 1))];
        commands.extend(protected.iter().map(|packet| command("unprotect", packet)));
        let mut unprotector = Unprotector::new(&key(suite, 1)).unwrap();
        let mut refused = 0;
        for (n, theirs) in libsrtp(&commands)[1..].iter().enumerate() {
            let mut slot = protected[n].clone();
            slot.resize(SLOT_SIZE, 0);
            let mut packet = Packet::new(MediaPort(0), None, &mut slot, protected[n].len());
            let ours = unprotector
                .rtp(&mut packet)
                .map(|()| packet.bytes().to_vec());
            assert_eq!(
                ours.ok(),
                theirs.clone().ok(),
                "{}, packet {n}",
                suite.name()
            );
            refused += usize::from(theirs.is_err());
        }
        assert_eq!(refused, 6, "{}", suite.name());
    }
}
