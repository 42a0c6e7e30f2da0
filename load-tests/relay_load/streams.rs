//! The streams: what each leg sends, ready to go out, and which leg a packet
//! came in for.
//!
//! The streams' file has a line for each leg, `OURS DEVICE'S [SUITE SEND
//! RECEIVE | dtls]`: two IPv4 addresses with ports, and under SDES the suite's
//! name and both master keys with their salts, in hexadecimal. Lines 2n and
//! 2n+1 are the two legs of call n.

use std::fs;
use std::io;
use std::net::SocketAddrV4;

use ringwire::ids::MediaPort;
use ringwire::keying::{MasterKey, Suite};
use ringwire::media::packet::Packet;
use ringwire::media::srtp::{Protector, Sealable, Unprotector};

use crate::packet_socket::FRAME;

/// Ethernet, IPv4 and UDP before the RTP.
pub const HEADERS: usize = 14 + 20 + 8;
/// RTP with 20 ms of G.711.
pub const RTP: usize = 172;
const RTP_HEADER: usize = 12;
/// Marks our payloads.
const MAGIC: [u8; 4] = *b"rwrl";

/// The addresses of a leg, and its keys.
pub struct LegLine {
    pub ours: SocketAddrV4,
    pub device: SocketAddrV4,
    pub keying: Keying,
}

/// Where the keys of a leg come from; the first is what we send with.
pub enum Keying {
    None,
    Known(MasterKey, MasterKey),
    /// A handshake, in which we are the client.
    Dtls,
}

/// What a packet of ours says of itself.
pub struct Mark {
    pub leg: usize,
    pub number: u32,
    /// When it left, in nanoseconds of [`crate::accounts::clock`].
    pub at: u64,
}

/// Reads the streams' file.
pub fn read(file: &str) -> io::Result<Vec<LegLine>> {
    let wrong = |line: &str| io::Error::other(format!("{file}: not understood: {line}"));
    let text = fs::read_to_string(file).map_err(|e| io::Error::other(format!("{file}: {e}")))?;
    let legs: io::Result<Vec<_>> = text
        .lines()
        .map(|line| leg(line).ok_or_else(|| wrong(line)))
        .collect();
    let legs = legs?;
    match legs.len() {
        0 => Err(wrong("there are no legs")),
        count if count % 2 == 1 => Err(wrong("a call has two legs")),
        _ => Ok(legs),
    }
}

fn leg(line: &str) -> Option<LegLine> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let keying = match words.get(2..)? {
        [] => Keying::None,
        ["dtls"] => Keying::Dtls,
        [suite, send, receive] => {
            let suite = Suite::from_name(suite)?;
            Keying::Known(key(suite, send)?, key(suite, receive)?)
        }
        _ => return None,
    };
    Some(LegLine {
        ours: words.first()?.parse().ok()?,
        device: words.get(1)?.parse().ok()?,
        keying,
    })
}

fn key(suite: Suite, text: &str) -> Option<MasterKey> {
    let mut key = hex::decode(text).ok()?;
    if key.len() != suite.key_len() + suite.salt_len() {
        return None;
    }
    let salt = key.split_off(suite.key_len());
    Some(MasterKey { suite, key, salt })
}

/// One leg, ready to send and receive.
struct Leg {
    /// Everything up to the payload; addresses, lengths and checksums stay.
    head: [u8; HEADERS + RTP_HEADER],
    number: u32,
    keys: Option<(Protector, Unprotector)>,
}

/// All legs.
pub struct Streams {
    legs: Vec<Leg>,
    /// The address of either side of the calls.
    sides: [[u8; 4]; 2],
    /// Leg by side and port; [`NO_LEG`] where there is none.
    by_port: [Vec<u32>; 2],
}

const NO_LEG: u32 = u32::MAX;

impl Streams {
    /// From the lines, all of whose keys are known by now.
    pub fn new(lines: &[LegLine], link: Link) -> io::Result<Streams> {
        let sides = [lines[0].ours.ip().octets(), lines[1].ours.ip().octets()];
        let mut by_port = [vec![NO_LEG; 1 << 16], vec![NO_LEG; 1 << 16]];
        for (at, line) in lines.iter().enumerate() {
            by_port[at % 2][usize::from(line.ours.port())] = at as u32;
        }
        let refused = |reason| io::Error::other(format!("a key is refused: {reason:?}"));
        let mut legs = Vec::with_capacity(lines.len());
        for (at, line) in lines.iter().enumerate() {
            let keys = match &line.keying {
                Keying::None => None,
                Keying::Known(send, receive) => Some((
                    Protector::new(send).map_err(refused)?,
                    Unprotector::new(receive).map_err(refused)?,
                )),
                Keying::Dtls => return Err(io::Error::other("a leg has no keys yet")),
            };
            let length = RTP + protected_by(line);
            legs.push(Leg {
                head: head(line, at as u32, link, length),
                number: 0,
                keys,
            });
        }
        Ok(Streams {
            legs,
            sides,
            by_port,
        })
    }

    pub fn len(&self) -> usize {
        self.legs.len()
    }

    /// The next packet of a leg, as it leaves at `at`; its length.
    #[inline]
    pub fn write(&mut self, leg: usize, at: u64, frame: &mut [u8; FRAME]) -> usize {
        let from = leg as u32;
        let leg = &mut self.legs[leg];
        let number = leg.number;
        leg.number += 1;
        let rtp = HEADERS;
        let payload = rtp + RTP_HEADER;
        frame[..payload].copy_from_slice(&leg.head);
        frame[rtp + 2..rtp + 4].copy_from_slice(&(number as u16).to_be_bytes());
        frame[rtp + 4..rtp + 8].copy_from_slice(&number.wrapping_mul(160).to_be_bytes());
        frame[payload..payload + 4].copy_from_slice(&MAGIC);
        frame[payload + 4..payload + 8].copy_from_slice(&from.to_be_bytes());
        frame[payload + 8..payload + 12].copy_from_slice(&number.to_be_bytes());
        frame[payload + 12..payload + 20].copy_from_slice(&at.to_be_bytes());
        frame[payload + 20..rtp + RTP].fill(0xff);
        let Some((protector, _)) = &mut leg.keys else {
            return rtp + RTP;
        };
        let mut packet = Packet::new(MediaPort(0), None, &mut frame[rtp..], RTP);
        if let Ok(sealable) = Sealable::new(&mut packet) {
            // A fresh packet of ascending number is never refused.
            let _ = protector.rtp(sealable);
        }
        rtp + packet.len()
    }

    /// The leg that this frame came in for, and the frame's RTP; `None` for
    /// what is no RTP to a leg of ours.
    #[inline]
    pub fn addressed<'f>(&self, frame: &'f [u8]) -> Option<(usize, &'f [u8])> {
        // IPv4 without options, UDP: the devices send nothing else on the legs.
        if frame.len() < HEADERS + RTP_HEADER || frame[14] != 0x45 || frame[23] != 17 {
            return None;
        }
        let side = self
            .sides
            .iter()
            .position(|side| frame[30..34] == side[..])?;
        let port = usize::from(u16::from_be_bytes([frame[36], frame[37]]));
        let leg = self.by_port[side][port];
        let rtp = &frame[HEADERS..];
        // RFC 5761 section 4: RTCP has 64 to 95 there, marker taken off.
        let rtcp = (64..96).contains(&(rtp[1] & 0x7f));
        (leg != NO_LEG && !rtcp).then_some((leg as usize, rtp))
    }

    /// What the packet says of itself, unprotected if its leg has keys.
    #[inline]
    pub fn mark(&mut self, leg: usize, rtp: &[u8], slot: &mut [u8; FRAME]) -> Option<Mark> {
        let Some((_, unprotector)) = &mut self.legs[leg].keys else {
            return marked(rtp);
        };
        slot.get_mut(..rtp.len())?.copy_from_slice(rtp);
        let mut packet = Packet::new(MediaPort(0), None, slot, rtp.len());
        unprotector.rtp(&mut packet).ok()?;
        marked(packet.bytes())
    }
}

fn marked(rtp: &[u8]) -> Option<Mark> {
    let payload = rtp.get(RTP_HEADER..RTP_HEADER + 20)?;
    let word = |at: usize| Some(u32::from_be_bytes(payload[at..at + 4].try_into().ok()?));
    (payload[..4] == MAGIC).then_some(())?;
    Some(Mark {
        leg: word(4)? as usize,
        number: word(8)?,
        at: u64::from_be_bytes(payload[12..].try_into().ok()?),
    })
}

/// Bytes that protection adds.
fn protected_by(line: &LegLine) -> usize {
    let Keying::Known(send, _) = &line.keying else {
        return 0;
    };
    match send.suite {
        Suite::Aes128CmSha1_80 => 10,
        Suite::Aes128CmSha1_32 => 4,
        Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
    }
}

/// The headers of a leg's packets, with `length` bytes of RTP behind UDP.
fn head(line: &LegLine, ssrc: u32, link: Link, length: usize) -> [u8; HEADERS + RTP_HEADER] {
    let mut head = [0; HEADERS + RTP_HEADER];
    head[..HEADERS].copy_from_slice(&headers(line, link, length));
    head[42] = 0x80; // RTP version 2; payload type 0 is PCMU
    head[50..54].copy_from_slice(&(ssrc ^ 0x5ca1_ab1e).to_be_bytes());
    head
}

/// Hardware addresses: ours, and where it goes.
#[derive(Clone, Copy)]
pub struct Link {
    pub from: [u8; 6],
    pub to: [u8; 6],
}

/// Ethernet, IPv4 and UDP of a datagram of a leg, `length` bytes long.
pub fn headers(line: &LegLine, link: Link, length: usize) -> [u8; HEADERS] {
    let mut head = [0; HEADERS];
    head[..6].copy_from_slice(&link.to);
    head[6..12].copy_from_slice(&link.from);
    head[12..14].copy_from_slice(&[8, 0]); // IPv4
    let udp = 8 + length;
    let ip = &mut head[14..34];
    ip[0] = 0x45; // version 4, five words
    ip[1] = 0xb8; // expedited forwarding, as telephones mark it
    ip[2..4].copy_from_slice(&((20 + udp) as u16).to_be_bytes());
    ip[6] = 0x40; // not to be fragmented
    ip[8] = 64;
    ip[9] = 17; // UDP
    ip[12..16].copy_from_slice(&line.ours.ip().octets());
    ip[16..20].copy_from_slice(&line.device.ip().octets());
    let checksum = internet_checksum(ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    head[34..36].copy_from_slice(&line.ours.port().to_be_bytes());
    head[36..38].copy_from_slice(&line.device.port().to_be_bytes());
    // No checksum of UDP (RFC 768): real hardware checks it for the kernel.
    head[38..40].copy_from_slice(&(udp as u16).to_be_bytes());
    head
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link {
        from: [2, 0, 0, 0, 0, 1],
        to: [2, 0, 0, 0, 0, 2],
    };

    /// The two legs of a call; the first with these keys.
    fn call(keys: &str) -> Vec<LegLine> {
        let one = format!("10.78.0.1:10000 10.77.0.2:20000{keys}");
        let other = "10.78.0.2:10000 10.77.0.2:20002";
        [one.as_str(), other]
            .map(|line| leg(line).expect("a leg"))
            .into()
    }

    fn streams(keys: &str) -> Streams {
        Streams::new(&call(keys), LINK).expect("streams")
    }

    /// The frame, as it comes back from the device to this leg.
    fn returned(frame: &mut [u8], to: [u8; 4]) {
        frame[30..34].copy_from_slice(&to);
        frame[36..38].copy_from_slice(&10_000u16.to_be_bytes());
    }

    #[test]
    fn a_packet_says_who_sent_it_its_number_and_when() {
        let mut streams = streams("");
        let (mut frame, mut slot) = ([0; FRAME], [0; FRAME]);
        streams.write(0, 7, &mut frame);
        let length = streams.write(0, 1234, &mut frame);
        assert_eq!(length, HEADERS + RTP);
        assert_eq!(internet_checksum(&frame[14..34]), 0);
        returned(&mut frame, [10, 78, 0, 2]);
        let (leg, rtp) = streams.addressed(&frame[..length]).expect("a leg");
        assert_eq!(leg, 1);
        let mark = streams.mark(leg, rtp, &mut slot).expect("a mark");
        assert_eq!((mark.leg, mark.number, mark.at), (0, 1, 1234));
    }

    #[test]
    fn a_protected_packet_is_read_with_the_device_s_key_and_no_other() {
        let (ours, theirs) = ("01".repeat(30), "02".repeat(30));
        let suite = "AES_CM_128_HMAC_SHA1_80";
        let mut device = streams(&format!(" {suite} {theirs} {ours}"));
        let mut streams = streams(&format!(" {suite} {ours} {theirs}"));
        let (mut frame, mut slot) = ([0; FRAME], [0; FRAME]);
        let length = streams.write(0, 5, &mut frame);
        assert_eq!(length, HEADERS + RTP + 10);
        let rtp = &frame[HEADERS..length];
        assert!(streams.mark(0, rtp, &mut slot).is_none());
        let mark = device.mark(0, rtp, &mut slot).expect("a mark");
        assert_eq!((mark.leg, mark.number, mark.at), (0, 0, 5));
    }

    #[test]
    fn rtcp_other_ports_and_other_addresses_are_nobody_s() {
        let mut streams = streams("");
        let mut frame = [0; FRAME];
        let length = streams.write(1, 0, &mut frame);
        returned(&mut frame, [10, 78, 0, 1]);
        assert!(streams.addressed(&frame[..length]).is_some());
        let changes: [fn(&mut [u8; FRAME]); 4] = [
            |frame| frame[HEADERS + 1] = 200, // a sender report
            |frame| frame[37] += 1,
            |frame| frame[33] = 3,
            |frame| frame[23] = 6, // TCP
        ];
        for change in changes {
            let mut frame = frame;
            change(&mut frame);
            assert!(streams.addressed(&frame[..length]).is_none());
        }
    }

    #[test]
    fn a_line_that_is_not_understood_is_no_leg() {
        for line in [
            "",
            "10.78.0.1:10000",
            "10.78.0.1 10.77.0.2:20000",
            "10.78.0.1:10000 10.77.0.2:20000 AES_CM_128_HMAC_SHA1_80 01 02",
            "10.78.0.1:10000 10.77.0.2:20000 sdes",
        ] {
            assert!(leg(line).is_none(), "{line}");
        }
    }
}
