//! One SIP packet in ten is lost, either way: calls still come about and end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::relay::LossyRelay;
use crate::support::sip::{SipMessage, SipPeer, pcmu_at};
use crate::support::{Gateway, Sipp, WebSocket};

const LOSS_PERCENT: u32 = 10;

#[test]
fn calls_come_in_and_end_though_sip_is_lost() {
    let mut gateway = Gateway::with().number("7000", r#"answer = "echo""#).start();
    let relay = LossyRelay::start(gateway.ports.one(), gateway.sip(), LOSS_PERCENT, 7);
    Sipp::scenario("caller_talks")
        .set("talk_ms", "200")
        .calls(20)
        .call_at(relay.address(), "7000", &mut gateway.ports)
        .succeeds();
    gateway.wait_until_idle();
    assert!(relay.lost() > 0, "the relay lost nothing");
}

#[test]
fn calls_go_out_and_end_though_sip_is_lost() {
    let mut gateway = Gateway::with().start();
    let media = ([127, 0, 0, 1], gateway.ports.pair()).into();
    let front = ([127, 0, 0, 1], gateway.ports.one()).into();
    let phone = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into()).behind(front);
    let relay = LossyRelay::start(front.port(), phone.address(), LOSS_PERCENT, 11);
    let _callee = Callee::start(phone, media);
    for n in 0..10 {
        let call = gateway.dial(relay.address(), &format!("room {n}"), "callee");
        let mut ws = WebSocket::open(&gateway, &call.ws);
        ws.wait_for("sip.accepted 200");
        gateway.api().delete(&format!("/call/{}", call.id)).data();
        let events = ws.events_to_the_end();
        assert_eq!(
            events[events.len() - 2..],
            ["terminated", "ended"],
            "call {n}: {events:?}"
        );
    }
    gateway.wait_until_idle();
    assert!(relay.lost() > 0, "the relay lost nothing");
}

/// A phone that rings, answers every call and takes every BYE, as often as it
/// is told. (sipp forgets a call with its scenario, and a request repeated
/// after that stays without an answer.)
struct Callee {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Callee {
    fn start(mut phone: SipPeer, media: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            // 200s are repeated until their ACK comes (RFC 3261 section 13.3.1.4).
            let mut unacknowledged: Vec<SipMessage> = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let Some(message) = phone.within(Duration::from_millis(250), &mut |_| true) else {
                    for invite in &unacknowledged {
                        phone.reply(invite, 200, "OK", "callee", &pcmu_at(media));
                    }
                    continue;
                };
                let same =
                    |other: &SipMessage| other.header("call-id") == message.header("call-id");
                match message.method() {
                    Some("INVITE") => {
                        phone.reply(&message, 180, "Ringing", "callee", "");
                        phone.reply(&message, 200, "OK", "callee", &pcmu_at(media));
                        if !unacknowledged.iter().any(same) {
                            unacknowledged.push(message);
                        }
                    }
                    Some("ACK") => unacknowledged.retain(|invite| !same(invite)),
                    Some("BYE") => phone.reply(&message, 200, "OK", "callee", ""),
                    Some(_) | None => {}
                }
            }
        });
        Self {
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
