//! Phones that protect their media, with keys in the description or from a
//! DTLS handshake: they are heard, and hear, on either side of a call.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use base64::Engine;
use ringwire::ids::MediaPort;
use ringwire::keying::{MasterKey, Suite};
use ringwire::media::Packet;
use ringwire::media::packet::SLOT_SIZE;
use ringwire::media::srtp::{Protector, Sealable, Unprotector};
use serde_json::json;

use crate::support::baresip::Codec;
use crate::support::gateway::Gateway;
use crate::support::rtp::packet;
use crate::support::sip::{OurCall, SipMessage, SipPeer, audio_at, pcmu_at};
use crate::support::{Baresip, WebSocket, eventually};

const ALICE_HERTZ: u32 = 440;
const BOB_HERTZ: u32 = 1000;

/// What is recorded; the analysis skips the beginning.
const SECONDS: f64 = 4.0;

/// `theirs` goes into the accounts of caller and callee; what the gateway asks
/// the callee for is `srtp` and `keying`, and `security` is what both get.
#[track_caller]
fn both_hear_the_other(theirs: [&str; 2], srtp: &str, keying: &str, security: [&str; 2]) {
    let mut gateway = Gateway::with()
        .number("7001", r#"answer = { room = "talk", peer = "{from}" }"#)
        .start();
    let ip = Ipv4Addr::LOCALHOST.into();
    let mut phone = |user, mediaenc, hertz| {
        let ports = &mut gateway.ports;
        Baresip::start_with(ports, user, mediaenc, ip, Codec::Pcma, hertz)
    };
    let mut alice = phone("1000", theirs[0], ALICE_HERTZ);
    let bob = phone("2000", theirs[1], BOB_HERTZ);

    alice.dial("7001", gateway.sip());
    alice.wait_for("CALL_ESTABLISHED");
    let call = gateway.dial_with(json!({
        "sip_server": bob.address().to_string(),
        "from_number": "1000",
        "to_number": "2000",
        "srtp": srtp,
        "srtp_keying": keying,
        "streaming": { "room": "talk", "peer": "bob", "record": false },
    }));
    bob.wait_for("CALL_ESTABLISHED");
    for live in gateway.live_calls() {
        let expected = security[usize::from(live["call_id"] == call.id.as_str())];
        assert_eq!(live["security"], expected, "{live}");
    }
    alice.wait_until_heard(SECONDS);
    bob.wait_until_heard(SECONDS);
    for live in gateway.live_calls() {
        let suite = live["srtp_suite"].as_str();
        let known = suite.and_then(Suite::from_name).is_some();
        assert_eq!(known, live["security"] != "none", "{live}");
    }
    if keying == "dtls" {
        // Their configuration has no rtcp-mux: RTCP shakes hands by itself.
        alice.wait_for("CALL_RTCP");
        bob.wait_for("CALL_RTCP");
        assert_eq!(gateway.dropped("dtls"), 0);
    }

    let deleted = gateway.api().delete(&format!("/call/{}", call.id));
    assert_eq!(deleted.status, 200);
    bob.wait_for("CALL_CLOSED");
    alice.hang_up();
    alice.wait_for("CALL_CLOSED");
    gateway.wait_until_idle();

    alice.listen().assert_tone(BOB_HERTZ);
    bob.listen().assert_tone(ALICE_HERTZ);
}

#[test]
fn phones_with_best_effort_keys_hear_each_other() {
    let best_effort = ";mediaenc=srtp";
    both_hear_the_other([best_effort; 2], "optional", "sdes", ["sdes"; 2]);
}

#[test]
fn phones_that_insist_on_keys_hear_each_other() {
    let mandatory = ";mediaenc=srtp-mand";
    both_hear_the_other([mandatory; 2], "required", "sdes", ["sdes"; 2]);
}

#[test]
fn a_protected_caller_hears_a_plain_callee() {
    let theirs = [";mediaenc=srtp-mandf", ""];
    both_hear_the_other(theirs, "optional", "sdes", ["sdes", "none"]);
}

#[test]
fn phones_that_shake_hands_hear_each_other() {
    let handshake = ";mediaenc=dtls_srtp";
    both_hear_the_other([handshake; 2], "required", "dtls", ["dtls"; 2]);
}

#[test]
fn a_phone_without_srtp_is_refused_where_it_is_required() {
    let mut gateway = Gateway::with()
        .number("7001", "answer = \"echo\"\nsrtp = \"required\"")
        .start();
    let ip = Ipv4Addr::LOCALHOST.into();
    let ports = &mut gateway.ports;
    let mut alice = Baresip::start(ports, "1000", ip, Codec::Pcma, ALICE_HERTZ);
    alice.dial("7001", gateway.sip());
    let closed = alice.wait_for("CALL_CLOSED");
    assert!(closed.to_string().contains("488"), "{closed}");
    gateway.wait_until_idle();
}

/// Sends and reads SRTP by hand, as a caller of an echo.
struct Caller {
    gateway: Gateway,
    sip: SipPeer,
    call: OurCall,
    socket: UdpSocket,
    to: SocketAddr,
    protector: Protector,
    unprotector: Unprotector,
    sequence: u16,
}

const SUITE: Suite = Suite::Aes128CmSha1_80;

fn crypto(fill: u8) -> String {
    let key = base64::engine::general_purpose::STANDARD.encode([fill; 30]);
    format!("1 {} inline:{key}", SUITE.name())
}

pub fn master(key: &[u8]) -> MasterKey {
    let (key, salt) = key.split_at(SUITE.key_len());
    MasterKey {
        suite: SUITE,
        key: key.to_vec(),
        salt: salt.to_vec(),
    }
}

pub fn savp(media: SocketAddr, fill: u8) -> String {
    let lines = format!("a=rtpmap:0 PCMU/8000\r\na=crypto:{}\r\n", crypto(fill));
    audio_at(media, "0", &lines).replace("RTP/AVP", "RTP/SAVP")
}

/// The key in the gateway's own description.
pub fn their_key(answer: &SipMessage) -> Vec<u8> {
    let inline = answer.body.split("inline:").nth(1).expect("a key");
    let text = inline.split(['\r', '|', ' ']).next().expect("a key");
    let key = base64::engine::general_purpose::STANDARD.decode(text);
    key.expect("base64")
}

impl Caller {
    fn start() -> Self {
        let mut gateway = Gateway::with()
            .number("7002", "answer = \"echo\"\nsrtp = \"required\"")
            .start();
        let ip = Ipv4Addr::LOCALHOST.into();
        let mut sip = SipPeer::open(&mut gateway.ports, ip);
        let socket = UdpSocket::bind((ip, gateway.ports.one())).expect("a media port");
        let patience = Some(Duration::from_secs(5));
        socket.set_read_timeout(patience).expect("a timeout");
        let media = socket.local_addr().expect("an address");
        let mut call = sip.invite(gateway.sip(), "7002", &savp(media, 1));
        let answer = sip.expect_answer(&mut call);
        assert!(answer.body.contains("RTP/SAVP"), "{}", answer.body);
        Caller {
            to: answer.media_address(),
            protector: Protector::new(&master(&[1; 30])).expect("a key"),
            unprotector: Unprotector::new(&master(&their_key(&answer))).expect("a key"),
            gateway,
            sip,
            call,
            socket,
            sequence: 0,
        }
    }

    fn next(&mut self) -> Vec<u8> {
        self.sequence += 1;
        let plain = packet(0, self.sequence, u32::from(self.sequence) * 160, 9, 0x44);
        protect(&mut self.protector, &plain)
    }

    fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.to).expect("sent");
    }

    /// Sends a good packet, which has to come back.
    #[track_caller]
    fn assert_heard(&mut self) {
        let bytes = self.next();
        self.send(&bytes);
        let mut buffer = [0; 2048];
        let (len, _) = self.socket.recv_from(&mut buffer).expect("an echo");
        let unprotector = &mut self.unprotector;
        let plain = in_slot(&buffer[..len], |packet| {
            unprotector.rtp(packet).expect("authentic");
        });
        assert_eq!(plain[12..], [0x44; 160]);
    }

    #[track_caller]
    fn assert_dropped(&self, bytes: &[u8], reason: &str) {
        let before = self.gateway.dropped(reason);
        self.send(bytes);
        eventually(reason, || {
            (self.gateway.dropped(reason) == before + 1).then_some(())
        });
    }
}

/// RTP as it goes out under this key.
pub fn protect(protector: &mut Protector, plain: &[u8]) -> Vec<u8> {
    in_slot(plain, |packet| {
        let sealable = Sealable::new(packet).expect("room");
        protector.rtp(sealable).expect("protected");
    })
}

pub fn in_slot(bytes: &[u8], act: impl FnOnce(&mut Packet<'_>)) -> Vec<u8> {
    let mut slot = vec![0; SLOT_SIZE];
    slot[..bytes.len()].copy_from_slice(bytes);
    let mut packet = Packet::new(MediaPort(0), None, &mut slot, bytes.len());
    act(&mut packet);
    packet.bytes().to_vec()
}

#[test]
fn what_is_not_authentic_is_dropped_and_counted_and_the_call_lives() {
    let mut caller = Caller::start();
    caller.assert_heard();
    let mut broken = caller.next();
    *broken.last_mut().expect("a tag") ^= 1;
    caller.assert_dropped(&broken, "srtp_auth_failed");
    let good = caller.next();
    caller.send(&good);
    caller.assert_dropped(&good, "srtp_replayed");
    let cut = caller.next();
    caller.assert_dropped(&cut[..20], "srtp_too_short");
    let plain = packet(0, 900, 900, 9, 0x44);
    caller.assert_dropped(&plain, "srtp_auth_failed");
    let mut buffer = [0; 2048];
    caller.socket.recv_from(&mut buffer).expect("the good one");
    let call = &caller.gateway.live_calls()[0];
    assert_eq!(call["security"], "sdes", "{call}");
    caller.assert_heard();
    assert_eq!(caller.gateway.calls(), 1);
}

#[test]
fn a_new_offer_with_the_same_keys_goes_on_and_one_with_another_is_followed() {
    let mut caller = Caller::start();
    caller.assert_heard();
    let media = caller.socket.local_addr().expect("an address");
    for fill in [1, 2] {
        let offer = savp(media, fill).replace("tester 1 1", &format!("tester 1 {}", fill + 1));
        caller.sip.request(&mut caller.call, "INVITE", &offer);
        let answer = caller.sip.expect_answer(&mut caller.call);
        assert!(answer.body.contains("RTP/SAVP"), "{}", answer.body);
        if fill == 2 {
            caller.protector = Protector::new(&master(&[2; 30])).expect("a key");
        }
        caller.assert_heard();
    }
}

#[test]
fn a_number_that_requires_protection_refuses_a_plain_offer() {
    let mut gateway = Gateway::with()
        .number("7002", "answer = \"echo\"\nsrtp = \"required\"")
        .number("7003", "answer = \"echo\"\nsrtp = \"off\"")
        .start();
    let mut sip = SipPeer::open(&mut gateway.ports, Ipv4Addr::LOCALHOST.into());
    let media = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.ports.one()));
    for (number, offer) in [("7002", pcmu_at(media)), ("7003", savp(media, 1))] {
        let mut call = sip.invite(gateway.sip(), number, &offer);
        let refusal = sip.expect_final("INVITE");
        assert_eq!(refusal.status(), Some(488), "{number}");
        assert!(refusal.header("warning").contains("SRTP"), "{refusal:?}");
        sip.acknowledge_refusal(&mut call, &refusal);
    }
    assert_eq!(gateway.calls(), 0);
}

#[test]
fn an_accept_that_cannot_be_protected_has_an_error_of_its_own() {
    let mut gateway = Gateway::with()
        .calls("srtp = \"required\"")
        .number("7004", "client_id = \"desk\"")
        .number("7005", "client_id = \"desk\"\nsrtp = \"off\"")
        .start();
    let body = json!({ "client_id": "desk", "ttl": 600 });
    let data = gateway.api().post("/token/notify", &body).data();
    let path = data["notify_ws"].as_str().expect("notify_ws");
    let _desk = WebSocket::open(&gateway, path);
    let mut sip = SipPeer::open(&mut gateway.ports, Ipv4Addr::LOCALHOST.into());
    let media = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.ports.one()));
    for (number, offer) in [("7004", pcmu_at(media)), ("7005", savp(media, 1))] {
        let mut call = sip.invite(gateway.sip(), number, &offer);
        let id = eventually("the call", || {
            let calls = gateway.live_calls();
            Some(calls.first()?["call_id"].as_str()?.to_owned())
        });
        let accept = json!({"action": "Accept", "stream": {"room": "r", "peer": "p"}});
        let refused = gateway
            .api()
            .post(&format!("/call/incoming/{id}/action"), &accept);
        assert_eq!(refused.status, 409, "{:?}", refused.body);
        assert_eq!(refused.body["error"], "NO_COMMON_SECURITY");
        let refusal = sip.expect_final("INVITE");
        assert_eq!(refusal.status(), Some(488), "{number}");
        sip.acknowledge_refusal(&mut call, &refusal);
        gateway.wait_until_idle();
        let ended = gateway.api().get(&format!("/call/{id}")).data();
        assert_eq!(ended["end_reason"], "no_common_security", "{ended}");
    }
}

#[test]
fn a_required_call_never_falls_back_to_plain_by_a_new_offer() {
    let mut caller = Caller::start();
    caller.assert_heard();
    let media = caller.socket.local_addr().expect("an address");
    let plain = pcmu_at(media).replace("tester 1 1", "tester 1 2");
    caller.sip.request(&mut caller.call, "INVITE", &plain);
    let refusal = caller.sip.expect_final("INVITE");
    assert_eq!(refusal.status(), Some(488));
    assert!(refusal.header("warning").contains("SRTP"), "{refusal:?}");
    caller.sip.acknowledge_refusal(&mut caller.call, &refusal);
    caller.assert_heard();
}
