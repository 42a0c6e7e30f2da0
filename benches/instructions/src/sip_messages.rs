//! SIP: one message at a time, and the user agent over a whole call.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::ids::{ListenerId, ShardId};
use crate::invite::INVITE;
use crate::scenario::Scenario;
use crate::sip::agent::{Agent, AgentSettings, Body, Event, Listener, OutgoingInvite};
use crate::sip::message::{Message, Request, response_to};
use crate::sip::name_addr::NameAddr;
use crate::sip::parse::parse;
use crate::sip::routing::owner;
use crate::sip::status::StatusCode;
use crate::sip::uri::Uri;

const MESSAGES: (u64, u64) = (50, 550);
/// Calls, ten a second of simulated time: after 32 s as many transactions
/// are forgotten as begin.
const CALLS: (u64, u64) = (350, 550);
const BETWEEN_CALLS: Duration = Duration::from_millis(100);

const SDP: &str = "v=0\r\no=- 3860123456 3860123456 IN IP4 192.0.2.7\r\ns=call\r\n\
    c=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 96 8 0 101\r\n\
    a=rtpmap:96 opus/48000/2\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

/// Messages, and both ends of a call.
pub fn scenarios() -> Vec<Scenario> {
    let of = |name: &str, run: fn(u64)| Scenario::new(name, "message", MESSAGES, run);
    let end = |name: &str, n| Scenario::new(name, "call", CALLS, move |units| one_end(n, units));
    vec![
        of("sip/parse-invite", |units| {
            for _ in 0..units {
                black_box(parse(black_box(INVITE.as_bytes())).is_ok());
            }
        }),
        of("sip/print-invite", |units| {
            let request = invite();
            let mut out = Vec::with_capacity(2048);
            for _ in 0..units {
                out.clear();
                black_box(&request).write_to(&mut out);
                black_box(&out);
            }
        }),
        of("sip/answer-invite", |units| {
            let request = invite();
            let mut out = Vec::with_capacity(2048);
            for _ in 0..units {
                out.clear();
                response_to(black_box(&request), StatusCode::OK, None).write_to(&mut out);
                black_box(&out);
            }
        }),
        of("sip/owning-shard", |units| {
            for _ in 0..units {
                black_box(owner(black_box(INVITE.as_bytes()), 8));
            }
        }),
        end("sip/call-at-the-caller", 0),
        end("sip/call-at-the-callee", 1),
    ]
}

fn invite() -> Request {
    match parse(INVITE.as_bytes()) {
        Ok(Message::Request(request)) => request,
        other => panic!("the INVITE is good: {other:?}"),
    }
}

/// The user agent of one end, from INVITE to the 200 of the BYE, with what
/// the other end says taken from a record. All seeds are the same again, hence
/// so is every tag.
fn one_end(n: usize, units: u64) {
    let mut pair = Pair::new(Instant::now());
    let mut heard = Vec::new();
    for _ in 0..CALLS.1 {
        heard.push(pair.call(n));
    }
    assert_eq!(pair.ended, CALLS.1);
    let mut now = pair.begin;
    let mut end = agent(n);
    let mut ended = 0;
    for datagrams in heard.iter().take(units as usize) {
        now += BETWEEN_CALLS;
        if n == 0 {
            end.invite(now, call()).expect("room for a call");
        }
        drain(&mut end, now, &mut ended);
        for datagram in datagrams {
            end.handle_datagram(now, ListenerId(0), address(1 - n), datagram);
            drain(&mut end, now, &mut ended);
        }
        end.handle_timeout(now);
        drain(&mut end, now, &mut ended);
    }
    assert_eq!(ended, units);
}

fn drain(agent: &mut Agent, now: Instant, ended: &mut u64) {
    loop {
        let mut idle = true;
        while let Some(transmit) = agent.poll_transmit() {
            black_box(&transmit);
            idle = false;
        }
        while let Some(event) = agent.poll_event() {
            react(agent, now, event, ended);
            idle = false;
        }
        if idle {
            return;
        }
    }
}

fn react(agent: &mut Agent, now: Instant, event: Event, ended: &mut u64) {
    let done = match event {
        Event::Invite { session, .. } => agent
            .progress(now, session, 180, None)
            .and_then(|()| agent.accept(now, session, Body::sdp(SDP))),
        Event::Acknowledged { session, .. } => agent.bye(now, session),
        Event::Ended { .. } | Event::Bye { .. } => {
            *ended += 1;
            Ok(())
        }
        _ => Ok(()),
    };
    assert_eq!(done, Ok(()));
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n as u8 + 1], 5060))
}

fn agent(n: usize) -> Agent {
    Agent::new(AgentSettings {
        shard: ShardId(n as u8),
        listeners: vec![Listener {
            bound: address(n),
            advertised: address(n),
        }],
        user_agent: "ringwire".to_owned(),
        timers: Default::default(),
        max_sessions: 1_000,
        max_transactions: 10_000,
        seed: [n as u8; 32],
    })
}

fn call() -> OutgoingInvite {
    let callee = Uri::of_address(Some("4930123456"), address(1));
    OutgoingInvite {
        listener: ListenerId(0),
        destination: address(1),
        request_uri: callee.clone(),
        proxy: None,
        from: NameAddr::new(Uri::of_address(Some("4989654321"), address(0))),
        to: NameAddr::new(callee),
        auth: None,
        body: Body::sdp(SDP),
        ring_timeout: Duration::from_secs(180),
    }
}

/// Both ends, for the record.
struct Pair {
    begin: Instant,
    now: Instant,
    agents: [Agent; 2],
    ended: u64,
}

impl Pair {
    fn new(begin: Instant) -> Pair {
        Pair {
            begin,
            now: begin,
            agents: [agent(0), agent(1)],
            ended: 0,
        }
    }

    /// One call; what came to agent `end`. Each datagram is delivered when its
    /// sender has nothing more to say, as [`one_end`] does it.
    fn call(&mut self, end: usize) -> Vec<Bytes> {
        self.now += BETWEEN_CALLS;
        let mut heard = Vec::new();
        self.agents[0]
            .invite(self.now, call())
            .expect("room for a call");
        let mut ended = [0; 2];
        let mut wires: [VecDeque<Bytes>; 2] = Default::default();
        self.collect(0, &mut wires, &mut ended);
        while let Some(to) = (0..2).find(|n| !wires[*n].is_empty()) {
            let Some(datagram) = wires[to].pop_front() else {
                break;
            };
            self.agents[to].handle_datagram(self.now, ListenerId(0), address(1 - to), &datagram);
            if to == end {
                heard.push(datagram);
            }
            self.collect(to, &mut wires, &mut ended);
        }
        for n in 0..2 {
            self.agents[n].handle_timeout(self.now);
            self.collect(n, &mut wires, &mut ended);
        }
        assert!(wires.iter().all(|wire| wire.is_empty()), "a retransmission");
        self.ended += ended[end];
        heard
    }

    /// What agent `from` has to say goes onto the other's wire.
    fn collect(&mut self, from: usize, wires: &mut [VecDeque<Bytes>; 2], ended: &mut [u64; 2]) {
        loop {
            let mut idle = true;
            while let Some(transmit) = self.agents[from].poll_transmit() {
                wires[1 - from].push_back(transmit.payload);
                idle = false;
            }
            while let Some(event) = self.agents[from].poll_event() {
                react(&mut self.agents[from], self.now, event, &mut ended[from]);
                idle = false;
            }
            if idle {
                return;
            }
        }
    }
}
