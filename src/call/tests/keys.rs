//! Keys between two peers of a room who send and take them in different ways.

use std::time::{Duration, Instant};

use super::house::*;
use crate::book::DtmfPolicy;
use crate::call::request::{CallError, CallReply, CallRequest, SoundRequest};
use crate::ids::{CallId, MediaPort};
use crate::media::Verdict;
use crate::media::packet::{Packet, SLOT_SIZE};
use crate::sip::header::HeaderName;
use crate::sip::message::{Message, Request, Response};
use crate::sound::codec::{AudioCodec, Decoder, Encoder};
use crate::sound::dtmf::tone_detector::ToneDetector;
use crate::sound::dtmf::tones::ToneGenerator;
use crate::sound::dtmf::{DialStep, Digit, DtmfReport, KeyTiming};
use crate::sound::format::SampleRate;

/// The ports of the first and of the second call.
const PORTS: [MediaPort; 2] = [MediaPort(2), MediaPort(4)];

/// The first call and the second, in one room.
pub(super) struct Two {
    pub(super) house: House,
    pub(super) calls: [CallId; 2],
    /// Our ACKs, which name the dialogs.
    acks: [Request; 2],
    /// Of the next packet of sound.
    sequences: [u16; 2],
    began: Instant,
    cseq: u32,
}

/// What one peer is.
pub(super) struct Peer {
    policy: DtmfPolicy,
    formats: &'static str,
    allow: &'static str,
}

const WITH_INFO: &str = "INVITE, ACK, BYE, INFO";

impl Two {
    pub(super) fn new(peers: [Peer; 2]) -> Two {
        let mut house = House::new();
        let mut met = Vec::new();
        for (name, peer) in ["one", "other"].into_iter().zip(peers) {
            house.allow = peer.allow;
            let mut dial = dial("keys", name);
            dial.dtmf = Some(peer.policy);
            let reply = house.ask(CallRequest::Dial(Box::new(dial)));
            let Some(CallReply::Dialed { call, .. }) = reply else {
                panic!("{reply:?}");
            };
            let invite = house.sent_request("INVITE");
            house.respond(&invite, 200, Some(peer.formats));
            met.push((call, house.sent_request("ACK")));
        }
        let [(one, first), (other, second)] = <[_; 2]>::try_from(met).unwrap();
        house.told();
        Two {
            began: house.now,
            house,
            calls: [one, other],
            acks: [first, second],
            sequences: [100; 2],
            cseq: 1,
        }
    }

    /// RTP of a peer; whether it was relayed.
    pub(super) fn rtp(
        &mut self,
        peer: usize,
        head: [u8; 2],
        sequence: u16,
        timestamp: u32,
        payload: &[u8],
    ) -> bool {
        let mut datagram = vec![0x80, head[0] << 7 | head[1]];
        datagram.extend(sequence.to_be_bytes());
        datagram.extend(timestamp.to_be_bytes());
        datagram.extend((77 + peer as u32).to_be_bytes());
        datagram.extend(payload);
        let mut slot = [0; SLOT_SIZE];
        slot[..datagram.len()].copy_from_slice(&datagram);
        let source = "127.0.0.1:40000".parse().unwrap();
        let len = datagram.len();
        let mut batch = [Packet::new(PORTS[peer], Some(source), &mut slot, len)];
        self.house
            .rooms
            .table
            .process_batch(self.house.now, &mut batch);
        let relayed = matches!(batch[0].verdict, Verdict::Forward { .. });
        self.house.rooms.hear(self.house.now);
        self.house.settle();
        relayed
    }

    /// A packet of sound of the peer.
    pub(super) fn send(&mut self, peer: usize) {
        let sequence = self.sequences[peer];
        self.lose(peer);
        let age = self.house.now.saturating_duration_since(self.began);
        let timestamp = age.as_millis() as u32 * 8;
        self.rtp(peer, [0, 8], sequence, timestamp, &[0x55; 160]);
    }

    /// One that never comes.
    pub(super) fn lose(&mut self, peer: usize) {
        self.sequences[peer] += 1;
    }

    /// The peer hangs up.
    pub(super) fn hang_up(&mut self, peer: usize) {
        self.request(peer, "BYE", "", "");
        self.house.sent_response(200);
    }

    /// The peer describes itself anew; our answer.
    pub(super) fn reinvite(&mut self, peer: usize, formats: &str) -> Response {
        let body = sdp(formats);
        self.request(peer, "INVITE", "application/sdp", &body);
        let answer = self.house.sent_response(200);
        self.request(peer, "ACK", "", "");
        answer
    }

    fn request(&mut self, peer: usize, method: &str, content_type: &str, body: &str) {
        if method != "ACK" {
            self.cseq += 1;
        }
        let get = |name: &HeaderName| self.acks[peer].headers.get(name).unwrap().to_string();
        let content = match content_type {
            "" => String::new(),
            kind => format!("Content-Type: {kind}\r\n"),
        };
        let text = format!(
            "{method} sip:100@{GATEWAY} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {PEER};branch=z9hG4bK{method}{peer}{}\r\n\
             Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\n\
             Contact: <sip:callee@{PEER}>\r\n{content}Content-Length: {}\r\n\r\n{body}",
            self.cseq,
            get(&HeaderName::To),
            get(&HeaderName::From),
            get(&HeaderName::CallId),
            self.cseq,
            body.len()
        );
        self.house.receive(&text);
    }

    /// The peer presses 5 as a telephone event; whether it was relayed.
    fn event(&mut self, peer: usize, payload_type: u8, duration: u16) -> bool {
        let [high, low] = duration.to_be_bytes();
        let begin = self.rtp(peer, [1, payload_type], 1, 1600, &[5, 10, 0, 160]);
        let end = self.rtp(peer, [0, payload_type], 2, 1600, &[5, 0x8a, high, low]);
        assert_eq!(begin, end);
        end
    }

    /// Half a second of the room's sound, as it goes to a peer: payload types
    /// and payloads.
    fn sound_to(&mut self, peer: usize) -> Vec<(u8, Vec<u8>)> {
        self.sound_with(peer, |_| {})
    }

    fn sound_with(&mut self, peer: usize, each_tick: impl FnMut(&mut Two)) -> Vec<(u8, Vec<u8>)> {
        let datagrams = self.datagrams_with(peer, each_tick);
        let parts = |datagram: Vec<u8>| (datagram[1] & 0x7f, datagram[12..].to_vec());
        datagrams.into_iter().map(parts).collect()
    }

    /// The same as it is on the wire.
    fn datagrams_with(&mut self, peer: usize, mut each_tick: impl FnMut(&mut Two)) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for _ in 0..25 {
            each_tick(self);
            let House { rooms, now, .. } = &mut self.house;
            while rooms.next_sound().is_some_and(|due| due <= *now) {
                rooms.sound_step(*now, &mut |port, _, datagram| {
                    if port == PORTS[peer] {
                        out.push(datagram.to_vec());
                    }
                });
            }
            self.house.settle();
            self.house.now += Duration::from_millis(20);
        }
        out
    }

    /// The bodies of the INFOs in this call's dialog.
    fn infos(&mut self, peer: usize) -> Vec<String> {
        let call_id = self.acks[peer].headers.call_id().unwrap();
        let sent = std::mem::take(&mut self.house.sent);
        let of_call = sent.iter().filter_map(|message| match message {
            Message::Request(request) => (request.method.as_str() == "INFO"
                && request.headers.call_id() == Ok(call_id))
            .then(|| String::from_utf8(request.body.to_vec()).unwrap()),
            Message::Response(_) => None,
        });
        of_call.collect()
    }

    /// The peer sends an INFO in its dialog.
    fn inform(&mut self, peer: usize, body: &str) {
        self.request(peer, "INFO", "application/dtmf-relay", body);
        self.house.sent_response(200);
    }
}

fn digit(name: char) -> Digit {
    name.to_string().parse().unwrap()
}

pub(super) fn peer(policy: DtmfPolicy, formats: &'static str, allow: &'static str) -> Peer {
    Peer {
        policy,
        formats,
        allow,
    }
}

/// The events in what was sent, by the number they were sent with: the key and
/// its greatest duration.
fn events(sent: &[(u8, Vec<u8>)], payload_type: u8) -> Option<(u8, u16)> {
    let of_type = sent.iter().filter(|(number, _)| *number == payload_type);
    of_type
        .map(|(_, payload)| (payload[0], u16::from_be_bytes([payload[2], payload[3]])))
        .max_by_key(|(_, duration)| *duration)
}

/// The keys that are to be heard in PCMA.
fn tones(sent: &[(u8, Vec<u8>)]) -> Vec<Digit> {
    let mut detector = ToneDetector::new(SampleRate::Narrow);
    let mut decoder = Decoder::new(AudioCodec::Pcma, SampleRate::Narrow).unwrap();
    let mut keys = Vec::new();
    for (_, payload) in sent.iter().filter(|(number, _)| *number == 8) {
        let mut frame = Vec::new();
        decoder.decode(payload, &mut frame).unwrap();
        for report in detector.frame(&frame) {
            if let DtmfReport::End(key) = report {
                keys.push(key.digit);
            }
        }
    }
    keys
}

#[test]
fn an_event_becomes_info_where_the_peer_has_no_events_and_allows_info() {
    let mut two = Two::new([
        peer(DtmfPolicy::Auto, "8 101", ""),
        peer(DtmfPolicy::Auto, "8", WITH_INFO),
    ]);
    assert!(two.rtp(0, [0, 8], 0, 0, &[0x55; 160]), "sound is relayed");
    assert!(!two.event(0, 101, 1600));
    assert_eq!(two.infos(1), ["Signal=5\r\nDuration=200\r\n"]);
    assert_eq!(two.house.told(), ["key 5"]);
    assert!(two.rtp(0, [0, 8], 3, 1760, &[0x55; 160]), "and still is");
}

#[test]
fn info_is_sent_where_it_is_asked_for_and_events_do_not_pass_as_well() {
    let mut two = Two::new([
        peer(DtmfPolicy::Auto, "8 101", ""),
        peer(DtmfPolicy::Info, "8 101", ""),
    ]);
    assert!(!two.event(0, 101, 800));
    assert_eq!(two.infos(1), ["Signal=5\r\nDuration=100\r\n"]);
    // The other way they do.
    assert!(two.event(1, 101, 800));
    assert_eq!(two.infos(0), [""; 0]);
}

#[test]
fn info_becomes_an_event() {
    let mut two = Two::new([
        peer(DtmfPolicy::Auto, "8", WITH_INFO),
        peer(DtmfPolicy::Auto, "8 101", ""),
    ]);
    two.inform(0, "Signal=5\r\nDuration=160\r\n");
    assert_eq!(two.house.told(), ["key 5"]);
    let sent = two.sound_to(1);
    assert_eq!(events(&sent, 101), Some((5, 1280)));
}

#[test]
fn an_event_of_another_clock_and_number_is_sent_by_that_of_the_other() {
    let mut two = Two::new([
        peer(DtmfPolicy::Auto, "111 110", ""),
        peer(DtmfPolicy::Auto, "8 101", ""),
    ]);
    // 200 ms of a clock of 48 kHz are 200 ms of one of 8 kHz.
    assert!(!two.event(0, 110, 9600));
    let sent = two.sound_to(1);
    assert_eq!(events(&sent, 101), Some((5, 1600)));
    assert_eq!(two.house.told(), ["key 5"]);
}

#[test]
fn an_event_of_a_clock_that_the_other_lacks_does_not_end_at_the_relay() {
    let mut two = Two::new([
        peer(DtmfPolicy::Auto, "111 8 110 101", ""),
        peer(DtmfPolicy::Auto, "111 101", ""),
    ]);
    // Those that both have pass.
    assert!(two.event(0, 101, 1600));
    assert_eq!(events(&two.sound_to(1), 101), None);
    two.house.now += Duration::from_secs(10);
    assert!(!two.event(0, 110, 9600));
    assert_eq!(events(&two.sound_to(1), 101), Some((5, 1600)));
    assert_eq!(two.house.told(), ["key 5", "key 5"]);
}

#[test]
fn events_of_8_khz_beside_opus_are_on_the_timeline_of_the_sound() {
    let mut two = Two::new([
        peer(DtmfPolicy::Auto, "111 101", ""),
        peer(DtmfPolicy::Auto, "8", ""),
    ]);
    send_keys(&mut two, vec![key('5')]);
    let sent = two.datagrams_with(0, |_| {});
    let word = |datagram: &[u8], at| u32::from_be_bytes(datagram[at..at + 4].try_into().unwrap());
    let parts = |datagram: &Vec<u8>| (datagram[1] & 0x7f, word(datagram, 4));
    let sent: Vec<(u8, u32)> = sent.iter().map(parts).collect();
    let (number, began) = sent[0];
    assert_eq!(number, 101);
    for (tick, (number, timestamp)) in (0u32..).zip(&sent) {
        // Of a key all packets have the time of its beginning; 100 ms of it,
        // the last twice again, are followed by sound.
        let units = if tick < 7 { 0 } else { tick * 960 };
        let expected = if tick < 7 { 101 } else { 111 };
        assert_eq!(
            (*number, timestamp.wrapping_sub(began)),
            (expected, units),
            "{tick}"
        );
    }
    assert_eq!(sent.len(), 25);
}

#[test]
fn an_event_becomes_a_tone_where_tones_are_asked_for() {
    let mut two = Two::new([
        peer(DtmfPolicy::Auto, "8 101", ""),
        peer(DtmfPolicy::Tones, "8 101", WITH_INFO),
    ]);
    assert!(!two.event(0, 101, 1600));
    let sent = two.sound_to(1);
    assert_eq!(events(&sent, 101), None);
    assert_eq!(tones(&sent), [digit('5')]);
    assert_eq!(two.infos(1), [""; 0]);
}

#[test]
fn a_tone_becomes_an_event() {
    let mut two = Two::new([
        peer(DtmfPolicy::Auto, "8", ""),
        peer(DtmfPolicy::Auto, "8 101", ""),
    ]);
    let mut generator = ToneGenerator::new(SampleRate::Narrow);
    let timing = KeyTiming::new(120, 100).unwrap();
    generator.queue(digit('5'), timing).unwrap();
    let mut encoder = Encoder::new(AudioCodec::Pcma, SampleRate::Narrow).unwrap();
    let mut sequence = 0u16;
    let mut sent = two.sound_with(1, |two| {
        let mut frame = [0i16; 160];
        generator.frame(&mut frame);
        let mut payload = [0; 160];
        let len = encoder.encode(&frame, &mut payload).unwrap();
        let timestamp = u32::from(sequence) * 160;
        two.rtp(0, [0, 8], sequence, timestamp, &payload[..len]);
        sequence += 1;
    });
    sent.extend(two.sound_to(1));
    assert_eq!(two.house.told(), ["key 5"]);
    assert_eq!(events(&sent, 101).map(|(key, _)| key), Some(5));
}

/// Has the application send these keys to the first peer.
fn send_keys(two: &mut Two, steps: Vec<DialStep>) -> CallReply {
    let keys = SoundRequest::Keys {
        room: stream("keys", "one").room,
        call: two.calls[0],
        steps,
    };
    let now = two.house.now;
    let reply = two.house.rooms.handle_sound(now, keys);
    two.house.settle();
    reply
}

fn key(name: char) -> DialStep {
    DialStep::Key(digit(name), KeyTiming::default())
}

/// The first peer is to get its keys by INFO.
fn by_info(formats: &'static str) -> Two {
    Two::new([
        peer(DtmfPolicy::Info, formats, ""),
        peer(DtmfPolicy::Auto, "8 101", ""),
    ])
}

#[test]
fn keys_of_the_application_go_by_info_and_what_became_of_them_is_counted() {
    let mut two = by_info("8");
    let reply = send_keys(&mut two, vec![key('1'), DialStep::Wait(500), key('2')]);
    assert!(matches!(reply, CallReply::Done), "{reply:?}");
    let first = two.house.sent_request("INFO");
    two.house.respond(&first, 200, None);
    let second = two.house.sent_request("INFO");
    assert!(second.body.starts_with(b"Signal=2"));
    two.house.respond(&second, 415, None);
    let counts: Vec<u64> = two.house.calls.tally().infos().map(|(_, n)| n).collect();
    assert_eq!(counts, [1, 1, 0]);
}

#[test]
fn keys_refused_by_info_go_as_events_from_then_on_and_that_is_told_once() {
    for code in [405, 415, 488, 489, 501] {
        let mut two = by_info("8 101");
        send_keys(&mut two, vec![key('5')]);
        let refused = two.house.sent_request("INFO");
        two.house.respond(&refused, code, None);
        assert_eq!(two.house.told(), ["error"]);
        let sent = two.sound_to(0);
        assert_eq!(events(&sent, 101), Some((5, 800)), "{code}");

        send_keys(&mut two, vec![key('6')]);
        let sent = two.sound_to(0);
        assert_eq!(events(&sent, 101), Some((6, 800)), "{code}");
        assert_eq!(two.infos(0), [""; 0]);
        assert_eq!(two.house.told(), [""; 0]);
    }
}

#[test]
fn keys_refused_by_info_go_as_tones_where_there_are_no_events() {
    let mut two = by_info("8");
    send_keys(&mut two, vec![key('5')]);
    let refused = two.house.sent_request("INFO");
    two.house.respond(&refused, 501, None);
    let sent = two.sound_to(0);
    assert_eq!(tones(&sent), [digit('5')]);
    assert_eq!(two.house.told(), ["error"]);
}

#[test]
fn keys_behind_a_refused_one_follow_it_in_their_order() {
    let mut two = by_info("8 101");
    send_keys(&mut two, vec![key('1'), key('2'), key('3')]);
    let refused = two.house.sent_request("INFO");
    two.house.respond(&refused, 415, None);
    assert_eq!(two.infos(0), [""; 0]);
    let mut sent = two.sound_to(0);
    sent.extend(two.sound_to(0));
    let mut keys: Vec<u8> = sent
        .iter()
        .filter(|(number, _)| *number == 101)
        .map(|(_, payload)| payload[0])
        .collect();
    keys.dedup();
    assert_eq!(keys, [1, 2, 3]);
    let counts: Vec<u64> = two.house.calls.tally().infos().map(|(_, n)| n).collect();
    assert_eq!(counts, [0, 1, 0]);
}

#[test]
fn a_key_that_nobody_answers_is_not_sent_again_but_the_next_goes_another_way() {
    let mut two = by_info("8 101");
    send_keys(&mut two, vec![key('1'), key('2')]);
    two.house.sent_request("INFO");
    for _ in 0..40 {
        two.send(0);
        two.send(1);
        two.house.pass(Duration::from_secs(1));
    }
    assert_eq!(two.house.told(), ["error"]);
    assert_eq!(events(&two.sound_to(0), 101), None);
    let counts: Vec<u64> = two.house.calls.tally().infos().map(|(_, n)| n).collect();
    assert_eq!(counts, [0, 1, 1]);
    two.house.sent.clear();
    send_keys(&mut two, vec![key('3')]);
    assert_eq!(events(&two.sound_to(0), 101), Some((3, 800)));
    assert_eq!(two.infos(0), [""; 0]);
}

#[test]
fn no_key_waits_for_a_peer_on_hold() {
    for (formats, held) in [("8 101", "8 101/sendonly"), ("8", "8/sendonly")] {
        let mut two = Two::new([
            peer(DtmfPolicy::Auto, formats, ""),
            peer(DtmfPolicy::Auto, "8 101", ""),
        ]);
        send_keys(&mut two, vec![key('1'), key('2')]);
        two.house.told();
        // One is out, more or less, when it holds.
        let mut ticks = 0;
        two.sound_with(0, |two| {
            if ticks == 5 {
                two.reinvite(0, held);
            }
            ticks += 1;
        });
        assert_eq!(two.house.told(), ["error"], "{formats}");
        let reply = send_keys(&mut two, vec![key('3')]);
        assert!(matches!(reply, CallReply::Refused(CallError::PeerOnHold)));
        // Nor does one of the other peer.
        two.event(1, 101, 1600);
        assert_eq!(two.house.told(), ["key 5"]);

        two.reinvite(0, formats);
        let sent = two.sound_to(0);
        assert_eq!((events(&sent, 101), tones(&sent)), (None, vec![]));
        assert_eq!(two.house.told(), [""; 0]);
    }
}

#[test]
fn info_needs_no_sound_and_goes_to_a_peer_on_hold_too() {
    let mut two = by_info("8");
    two.reinvite(0, "8/sendonly");
    two.house.sent.clear();
    let reply = send_keys(&mut two, vec![key('1')]);
    assert!(matches!(reply, CallReply::Done), "{reply:?}");
    assert_eq!(two.infos(0).len(), 1);
}
