//! Messages of a call made small, once nobody waits for them any more.
//!
//! The messages of one call repeat each other, and all calls repeat the words
//! of SIP and SDP: LZ4 finds both, the latter in a dictionary. A chunk holds
//! some messages that came one after the other:
//!
//! | part | what it holds |
//! | --- | --- |
//! | four numbers | how many messages, octets of heads, octets of payloads, octets of the block |
//! | heads | of each message its flags, time, length and, where they differ from those of the one before, addresses |
//! | block | the payloads, one behind the other, as an LZ4 block |
//!
//! Numbers have seven bits an octet, the lowest first.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lz4_flex::block::{compress_with_dict, decompress_with_dict};

use super::ladder::{TracedMessage, Way};

/// Flags of a head.
const SENT: u8 = 1;
const SAME_LOCAL: u8 = 1 << 1;
const SAME_REMOTE: u8 = 1 << 2;

/// Families of addresses.
const IPV4: u8 = 4;
const IPV6: u8 = 6;

/// What the messages of many calls have in common, as phones, trunks and the
/// gateway itself write it. LZ4 refers to it; nothing else depends on it.
const COMMON: &[u8] = b"UPDATE sip:INFO sip:Contact: <sip:;transport=udp>\r\nRecord-Route: <sip:;lr>\r\n\
Authorization: Digest username=\"\", realm=\"\", nonce=\"\", uri=\"sip:\", response=\"\", algorithm=MD5, \
cnonce=\"\", qop=auth, nc=00000001\r\nSIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"\
SIP/2.0 407 Proxy Authentication Required\r\nSession-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\nP-Asserted-Identity: <sip:\r\n\
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY, SUBSCRIBE, MESSAGE\r\n\
Supported: replaces, timer, 100rel, norefersub\r\nUser-Agent: \r\nServer: \r\nAccept: application/sdp\r\n\
a=crypto:1 AEAD_AES_128_GCM inline:\r\na=crypto:2 AEAD_AES_256_GCM inline:\r\n\
a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:\r\na=crypto:4 AES_CM_128_HMAC_SHA1_32 inline:\r\n\
a=fingerprint:sha-256 \r\na=setup:actpass\r\na=setup:passive\r\na=setup:active\r\nRTP/SAVP \
UDP/TLS/RTP/SAVP \r\na=rtpmap:9 G722/8000\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n\
a=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\na=fmtp:110 0-16\r\na=rtpmap:96 opus/48000/2\r\n\
a=maxptime:150\r\na=rtcp:\r\na=sendonly\r\na=recvonly\r\na=inactive\r\nBYE sip:ACK sip:\
SIP/2.0 180 Ringing\r\nSIP/2.0 183 Session Progress\r\nSIP/2.0 100 Trying\r\nSIP/2.0 200 OK\r\n\
INVITE sip:@ SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.:5060;branch=z9hG4bK;rport;received=127.0.0.1\r\n\
Max-Forwards: 70\r\nFrom: \"\" <sip:@>;tag=\r\nTo: <sip:>\r\nTo: <sip:>;tag=\r\nCall-ID: \r\n\
CSeq: 1 ACK\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\nCSeq: 1 INVITE\r\nContact: <sip:@>\r\n\
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE\r\nServer: ringwire\r\n\
Content-Type: application/sdp\r\nContent-Length: 2\r\n\r\nv=0\r\no=- 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\n\
t=0 0\r\nm=audio  RTP/AVP 0 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=rtcp-mux\r\n\
a=sendrecv\r\n";

/// Appends a chunk of these messages. Times are kept as distances from `epoch`.
pub(super) fn pack<'a>(
    epoch: Instant,
    messages: impl Iterator<Item = &'a TracedMessage>,
    into: &mut Vec<u8>,
) {
    let (mut heads, mut payloads) = (Vec::new(), Vec::new());
    let mut count = 0;
    let mut before: Option<&TracedMessage> = None;
    for message in messages {
        write_head(&mut heads, epoch, before, message);
        payloads.extend_from_slice(&message.payload);
        before = Some(message);
        count += 1;
    }
    let block = compress_with_dict(&payloads, COMMON);
    let mut numbers = Vec::with_capacity(8);
    for number in [count, heads.len(), payloads.len(), block.len()] {
        write_number(&mut numbers, number as u64);
    }
    into.reserve_exact(numbers.len() + heads.len() + block.len());
    into.extend_from_slice(&numbers);
    into.extend_from_slice(&heads);
    into.extend_from_slice(&block);
}

fn write_head(
    heads: &mut Vec<u8>,
    epoch: Instant,
    before: Option<&TracedMessage>,
    message: &TracedMessage,
) {
    let same_local = before.is_some_and(|before| before.local == message.local);
    let same_remote = before.is_some_and(|before| before.remote == message.remote);
    let mut flags = 0;
    for (flag, set) in [
        (SENT, message.way == Way::Sent),
        (SAME_LOCAL, same_local),
        (SAME_REMOTE, same_remote),
    ] {
        flags |= if set { flag } else { 0 };
    }
    heads.push(flags);
    let since = before.map_or(epoch, |before| before.at);
    write_number(heads, distance(since, message.at));
    write_number(heads, message.payload.len() as u64);
    if !same_local {
        write_address(heads, message.local);
    }
    if !same_remote {
        write_address(heads, message.remote);
    }
}

/// One chunk, read no further than to its borders.
pub(super) struct Chunk<'a> {
    count: usize,
    heads: &'a [u8],
    length: usize,
    block: &'a [u8],
    /// What stands behind it.
    pub(super) rest: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The first chunk of these; `None` where there is none.
    pub(super) fn first(of: &'a [u8]) -> Option<Chunk<'a>> {
        let mut rest = of;
        let mut number = || read_number(&mut rest).and_then(|n| usize::try_from(n).ok());
        let (count, heads, length, block) = (number()?, number()?, number()?, number()?);
        let (heads, rest) = rest.split_at_checked(heads)?;
        let (block, rest) = rest.split_at_checked(block)?;
        Some(Chunk {
            count,
            heads,
            length,
            block,
            rest,
        })
    }

    /// How many messages it holds.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// How long the payload of the message at this place is.
    pub(super) fn payload_len(&self, place: usize) -> Option<usize> {
        let mut heads = self.heads;
        let mut length = None;
        // Whose addresses are left out does not matter here.
        for _ in 0..=place {
            length = Some(Head::read(&mut heads)?.length);
        }
        length
    }

    /// Its messages.
    pub(super) fn unpack(&self, epoch: Instant) -> Option<Vec<TracedMessage>> {
        let payloads = decompress_with_dict(self.block, self.length, COMMON).ok()?;
        let mut payloads = Bytes::from(payloads);
        let mut heads = self.heads;
        let mut messages: Vec<TracedMessage> = Vec::new();
        for _ in 0..self.count {
            let head = Head::read(&mut heads)?;
            if head.length > payloads.len() {
                return None;
            }
            let before = messages.last();
            let message = TracedMessage {
                at: at_distance(before.map_or(epoch, |before| before.at), head.distance)?,
                way: head.way,
                local: head.local.or(before.map(|before| before.local))?,
                remote: head.remote.or(before.map(|before| before.remote))?,
                payload: payloads.split_to(head.length),
            };
            messages.push(message);
        }
        Some(messages)
    }
}

struct Head {
    way: Way,
    distance: u64,
    length: usize,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
}

impl Head {
    fn read(heads: &mut &[u8]) -> Option<Head> {
        let flags = read_octet(heads)?;
        let distance = read_number(heads)?;
        let length = usize::try_from(read_number(heads)?).ok()?;
        let mut address = |same: u8| match flags & same {
            0 => read_address(heads).map(Some),
            _ => Some(None),
        };
        Some(Head {
            way: match flags & SENT {
                0 => Way::Received,
                _ => Way::Sent,
            },
            distance,
            length,
            local: address(SAME_LOCAL)?,
            remote: address(SAME_REMOTE)?,
        })
    }
}

/// Nanoseconds from one moment to another, doubled, and one more where the
/// other is the earlier.
fn distance(from: Instant, to: Instant) -> u64 {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) << 1;
    match to.checked_duration_since(from) {
        Some(time) => nanos(time),
        None => nanos(from - to) | 1,
    }
}

fn at_distance(from: Instant, distance: u64) -> Option<Instant> {
    let time = Duration::from_nanos(distance >> 1);
    match distance & 1 {
        0 => from.checked_add(time),
        _ => from.checked_sub(time),
    }
}

fn write_number(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn read_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let octet = read_octet(from)?;
        number |= u64::from(octet & 0x7f) << shift;
        if octet < 0x80 {
            return Some(number);
        }
    }
    None
}

fn read_octet(from: &mut &[u8]) -> Option<u8> {
    let (first, rest) = from.split_first()?;
    *from = rest;
    Some(*first)
}

fn write_address(into: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            into.push(IPV4);
            into.extend_from_slice(&v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            into.push(IPV6);
            into.extend_from_slice(&v6.ip().octets());
            into.extend_from_slice(&v6.flowinfo().to_be_bytes());
            into.extend_from_slice(&v6.scope_id().to_be_bytes());
        }
    }
    into.extend_from_slice(&address.port().to_be_bytes());
}

fn read_address(from: &mut &[u8]) -> Option<SocketAddr> {
    fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
        let (octets, rest) = from.split_first_chunk()?;
        *from = rest;
        Some(*octets)
    }
    match read_octet(from)? {
        IPV4 => {
            let ip = IpAddr::from(take::<4>(from)?);
            Some(SocketAddr::new(ip, u16::from_be_bytes(take(from)?)))
        }
        IPV6 => {
            let ip = take::<16>(from)?.into();
            let flowinfo = u32::from_be_bytes(take(from)?);
            let scope = u32::from_be_bytes(take(from)?);
            let port = u16::from_be_bytes(take(from)?);
            Some(SocketAddrV6::new(ip, port, flowinfo, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "packed_tests.rs"]
mod tests;
