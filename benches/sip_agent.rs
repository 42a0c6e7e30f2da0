//! What a complete call costs the SIP user agent: INVITE, 100, 180, 200, ACK,
//! BYE and 200, at 3000 calls a second of simulated time, with all the
//! finished transactions of the last 32 s still lingering.
//!
//! `cargo bench --bench sip_agent`. Both ends are agents: a gateway pays
//! half of the time shown.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use ringwire::ids::{ListenerId, ShardId};
use ringwire::sip::agent::{Agent, AgentSettings, Body, Event, Listener, OutgoingInvite};
use ringwire::sip::name_addr::NameAddr;
use ringwire::sip::uri::Uri;

const CALLS_PER_SECOND: u32 = 3_000;

const SDP: &str = "v=0\r\no=- 3860123456 3860123456 IN IP4 192.0.2.7\r\ns=call\r\n\
    c=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 96 8 0 101\r\n\
    a=rtpmap:96 opus/48000/2\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

struct Pair {
    now: Instant,
    agents: [Agent; 2],
    ended: u64,
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
        max_sessions: 100_000,
        max_transactions: 1_000_000,
        seed: [n as u8; 32],
    })
}

impl Pair {
    fn call(&mut self) {
        self.now += Duration::from_secs(1) / CALLS_PER_SECOND;
        let callee = Uri::of_address(Some("4930123456"), address(1));
        let call = OutgoingInvite {
            listener: ListenerId(0),
            destination: address(1),
            request_uri: callee.clone(),
            proxy: None,
            from: NameAddr::new(Uri::of_address(Some("4989654321"), address(0))),
            to: NameAddr::new(callee),
            auth: None,
            body: Body::sdp(SDP),
            ring_timeout: Duration::from_secs(180),
        };
        if self.agents[0].invite(self.now, call).is_err() {
            return;
        }
        let ended = self.ended;
        while self.exchange() {}
        assert_eq!(self.ended, ended + 1);
        for agent in &mut self.agents {
            agent.handle_timeout(self.now);
        }
        while self.exchange() {}
    }

    /// Carries everything once from each to the other; false when there was
    /// nothing.
    fn exchange(&mut self) -> bool {
        let mut busy = false;
        for from in 0..2 {
            let to = 1 - from;
            while let Some(transmit) = self.agents[from].poll_transmit() {
                let payload = &transmit.payload;
                self.agents[to].handle_datagram(self.now, ListenerId(0), address(from), payload);
                busy = true;
            }
            while let Some(event) = self.agents[to].poll_event() {
                self.react(to, event);
                busy = true;
            }
            while let Some(event) = self.agents[from].poll_event() {
                self.react(from, event);
            }
        }
        busy
    }

    fn react(&mut self, n: usize, event: Event) {
        let agent = &mut self.agents[n];
        let done = match event {
            Event::Invite { session, .. } => agent
                .progress(self.now, session, 180, None)
                .and_then(|()| agent.accept(self.now, session, Body::sdp(SDP))),
            Event::Acknowledged { session, .. } => agent.bye(self.now, session),
            Event::Ended { .. } => {
                self.ended += 1;
                Ok(())
            }
            _ => Ok(()),
        };
        assert_eq!(done, Ok(()));
    }
}

fn calls(criterion: &mut Criterion) {
    let mut pair = Pair {
        now: Instant::now(),
        agents: [agent(0), agent(1)],
        ended: 0,
    };
    // Until as many transactions end as begin.
    for _ in 0..CALLS_PER_SECOND * 33 {
        pair.call();
    }
    for (n, agent) in pair.agents.iter().enumerate() {
        println!("agent {n}: {} transactions linger", agent.transactions());
    }
    criterion.bench_function("sip_agent/call_both_ends", |bencher| {
        bencher.iter(|| pair.call());
    });
}

criterion_group!(benches, calls);
criterion_main!(benches);
