use super::*;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const INVITE: &[u8] = b"INVITE sip:echo@192.0.2.1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bKi1x5070;rport\r\n\
    From: <sip:c1@192.0.2.7:5070>;tag=t1\r\nCall-ID: 1-5070@load\r\nMax-Forwards: 70\r\n\
    To: <sip:echo@192.0.2.1>\r\nCSeq: 1 INVITE\r\nContact: <sip:c1@192.0.2.7:5070>\r\n\
    Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\r\n";

fn message(at: Instant, payload: &[u8]) -> TracedMessage {
    TracedMessage {
        at,
        way: Way::Received,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "192.0.2.7:5070".parse().unwrap(),
        payload: Bytes::copy_from_slice(payload),
    }
}

fn packed(epoch: Instant, messages: &[TracedMessage]) -> Vec<u8> {
    let mut chunk = Vec::new();
    pack(epoch, messages.iter(), &mut chunk);
    chunk
}

fn round_trip(epoch: Instant, messages: &[TracedMessage]) {
    let octets = packed(epoch, messages);
    let chunk = Chunk::first(&octets).expect("a chunk");
    assert_eq!(chunk.len(), messages.len());
    assert_eq!(chunk.rest, b"");
    for (place, message) in messages.iter().enumerate() {
        assert_eq!(chunk.payload_len(place), Some(message.payload.len()));
    }
    assert_eq!(chunk.payload_len(messages.len()), None);
    assert_eq!(chunk.unpack(epoch).as_deref(), Some(messages));
}

#[test]
fn what_is_read_is_what_came_to_the_octet_and_the_nanosecond() {
    let epoch = Instant::now();
    let later = epoch + Duration::new(86_400 * 365, 123_456_789);
    let mut answer = message(later, b"SIP/2.0 200 OK\r\n\r\n");
    answer.way = Way::Sent;
    answer.local = "[fe80::1%3]:5060".parse().unwrap();
    let mut other = message(later - Duration::from_nanos(1), INVITE);
    other.remote = SocketAddrV6::new([7; 8].into(), 1, 0xabcde, 9).into();
    round_trip(epoch, &[message(epoch, INVITE), answer, other]);
    round_trip(later, &[message(epoch, INVITE)]);
}

#[test]
fn hostile_octets_come_back_as_they_were() {
    let epoch = Instant::now();
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let mut random = StdRng::from_seed([5; 32]);
    let noise: Vec<u8> = (0..65_535).map(|_| random.random()).collect();
    let cases: [&[u8]; 8] = [
        b"",
        b"\0",
        &all,
        &noise,
        &vec![b'a'; 65_535],
        &COMMON[COMMON.len() - 7..],
        COMMON,
        &[0xff; 300],
    ];
    for payload in cases {
        round_trip(epoch, &[message(epoch, payload)]);
        round_trip(epoch, &[message(epoch, INVITE), message(epoch, payload)]);
    }
    let together: Vec<_> = cases.map(|payload| message(epoch, payload)).into();
    round_trip(epoch, &together);
}

#[test]
fn pieces_of_messages_in_any_order_come_back_as_they_were() {
    let epoch = Instant::now();
    let mut random = StdRng::from_seed([6; 32]);
    for _ in 0..2_000 {
        let count = random.random_range(1..6);
        let messages: Vec<_> = (0..count)
            .map(|_| {
                let mut payload = Vec::new();
                for _ in 0..random.random_range(0..6) {
                    let of = if random.random() { INVITE } else { COMMON };
                    let from = random.random_range(0..of.len());
                    let to = random.random_range(from..of.len());
                    payload.extend_from_slice(&of[from..to]);
                }
                let micros = random.random_range(0..5_000_000);
                message(epoch + Duration::from_micros(micros), &payload)
            })
            .collect();
        round_trip(epoch, &messages);
    }
}

#[test]
fn chunks_follow_each_other() {
    let epoch = Instant::now();
    let mut octets = packed(epoch, &[message(epoch, INVITE)]);
    octets.extend(packed(epoch, &[message(epoch, b"BYE")]));
    let first = Chunk::first(&octets).expect("a chunk");
    let second = Chunk::first(first.rest).expect("a chunk");
    assert_eq!(second.unpack(epoch), Some(vec![message(epoch, b"BYE")]));
    assert!(Chunk::first(second.rest).is_none());
}

#[test]
fn a_damaged_chunk_is_never_read_past_its_end() {
    let epoch = Instant::now();
    let whole = packed(epoch, &[message(epoch, INVITE), message(epoch, b"ACK")]);
    for end in 0..whole.len() {
        assert!(Chunk::first(&whole[..end]).is_none());
    }
    let mut random = StdRng::from_seed([7; 32]);
    for _ in 0..20_000 {
        let mut octets = whole.clone();
        // Not the numbers, of which one says how much is to be allocated.
        let place = random.random_range(5..octets.len());
        octets[place] = random.random();
        if let Some(chunk) = Chunk::first(&octets) {
            // Whatever comes of it, it ends.
            let _ = chunk.unpack(epoch);
        }
    }
}

#[test]
fn the_messages_of_a_call_get_small() {
    let epoch = Instant::now();
    let messages: Vec<_> = [INVITE, INVITE, INVITE]
        .map(|payload| message(epoch, payload))
        .into();
    let octets = packed(epoch, &messages);
    assert!(octets.len() < INVITE.len() * 2 / 3, "{}", octets.len());
}
