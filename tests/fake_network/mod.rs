//! A network in one process, in simulated time: datagrams between addresses,
//! lost, doubled and delayed (hence reordered) as a seed decides.
//!
//! Unit tests of the library take it in by `#[path]`.
#![allow(dead_code)] // Each test binary uses its own part of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ringwire::ids::{ListenerId, ShardId};
use ringwire::sip::agent::{Agent, AgentSettings, Event, Listener};

/// What the network does to datagrams.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// Of 1000 datagrams, so many are lost.
    pub lost: u32,
    /// Of 1000 datagrams, so many arrive twice.
    pub doubled: u32,
    /// Shortest way, in milliseconds.
    pub fastest: u64,
    /// Longest way, in milliseconds.
    pub slowest: u64,
}

impl Conditions {
    pub const PERFECT: Conditions = Conditions {
        lost: 0,
        doubled: 0,
        fastest: 1,
        slowest: 1,
    };
    pub const BAD: Conditions = Conditions {
        lost: 100,
        doubled: 50,
        fastest: 1,
        slowest: 300,
    };
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub payload: Bytes,
}

/// The datagrams on their way.
pub struct FakeNetwork {
    pub conditions: Conditions,
    on_the_way: BinaryHeap<Reverse<(Instant, u64)>>,
    datagrams: BTreeMap<u64, Datagram>,
    sequence: u64,
    random: StdRng,
}

impl FakeNetwork {
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        FakeNetwork {
            conditions,
            on_the_way: BinaryHeap::new(),
            datagrams: BTreeMap::new(),
            sequence: 0,
            random: StdRng::seed_from_u64(seed),
        }
    }

    pub fn send(&mut self, now: Instant, datagram: Datagram) {
        let Conditions {
            lost,
            doubled,
            fastest,
            slowest,
        } = self.conditions;
        if self.random.random_range(0..1000) < lost {
            return;
        }
        let copies = 1 + u32::from(self.random.random_range(0..1000) < doubled);
        for _ in 0..copies {
            let delay = Duration::from_millis(self.random.random_range(fastest..=slowest));
            self.sequence += 1;
            self.on_the_way.push(Reverse((now + delay, self.sequence)));
            self.datagrams.insert(self.sequence, datagram.clone());
        }
    }

    pub fn next(&self) -> Option<Instant> {
        self.on_the_way.peek().map(|Reverse((at, _))| *at)
    }

    pub fn pop(&mut self, now: Instant) -> Option<Datagram> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, sequence)) = self.on_the_way.pop()?;
        self.datagrams.remove(&sequence)
    }
}

/// Agents on a network, and a clock. What reaches an address that no agent
/// has is kept for the test.
pub struct World {
    pub now: Instant,
    pub network: FakeNetwork,
    pub agents: Vec<(SocketAddr, Agent)>,
    /// Events of each agent that nobody has taken.
    pub events: Vec<Vec<Event>>,
    mail: Vec<Datagram>,
    /// Every datagram sent, for tests that look at the wire.
    pub wire: Option<Vec<Datagram>>,
}

pub fn settings(address: SocketAddr, seed: u8) -> AgentSettings {
    AgentSettings {
        shard: ShardId(seed),
        listeners: vec![Listener {
            bound: address,
            advertised: address,
        }],
        user_agent: "test".to_owned(),
        timers: Default::default(),
        max_sessions: 10_000,
        max_transactions: 100_000,
        seed: [seed; 32],
    }
}

impl World {
    /// A world with so many agents at [`World::address`].
    pub fn new(seed: u64, conditions: Conditions, agents: u8) -> Self {
        let mut world = World {
            now: Instant::now(),
            network: FakeNetwork::new(seed, conditions),
            agents: Vec::new(),
            events: Vec::new(),
            mail: Vec::new(),
            wire: None,
        };
        for n in 0..agents {
            world.add(settings(Self::address(n), n));
        }
        world
    }

    /// 192.0.2.`n + 1`:5060.
    pub fn address(n: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, n + 1], 5060))
    }

    pub fn add(&mut self, settings: AgentSettings) {
        let address = settings.listeners[0].advertised;
        self.agents.push((address, Agent::new(settings)));
        self.events.push(Vec::new());
    }

    pub fn agent(&mut self, n: usize) -> &mut Agent {
        &mut self.agents[n].1
    }

    /// Takes the events that an agent had since the last time.
    pub fn take(&mut self, n: usize) -> Vec<Event> {
        self.collect();
        std::mem::take(&mut self.events[n])
    }

    /// A datagram from an address of the test's own, without delay or loss.
    pub fn inject(&mut self, from: SocketAddr, n: usize, payload: &[u8]) {
        let now = self.now;
        self.agent(n)
            .handle_datagram(now, ListenerId(0), from, payload);
        self.collect();
    }

    /// Takes what reached addresses that no agent has.
    pub fn mail(&mut self) -> Vec<Datagram> {
        self.collect();
        std::mem::take(&mut self.mail)
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        self.run_with(duration, |_, _, _, event| Some(event));
    }

    /// Lets time pass; each event goes through `user` first, and is kept when
    /// that returns it.
    pub fn run_with(
        &mut self,
        duration: Duration,
        mut user: impl FnMut(&mut Agent, usize, Instant, Event) -> Option<Event>,
    ) {
        let end = self.now + duration;
        loop {
            self.collect_with(&mut user);
            let timeouts = self
                .agents
                .iter_mut()
                .map(|(_, agent)| agent.next_timeout());
            let next = timeouts.chain([self.network.next()]).flatten().min();
            match next {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => break,
            }
            let now = self.now;
            while let Some(datagram) = self.network.pop(now) {
                match self.agents.iter_mut().find(|(at, _)| *at == datagram.to) {
                    None => self.mail.push(datagram),
                    Some((_, agent)) => {
                        agent.handle_datagram(now, ListenerId(0), datagram.from, &datagram.payload);
                    }
                }
            }
            for (_, agent) in &mut self.agents {
                agent.handle_timeout(now);
            }
        }
        self.now = end;
    }

    fn collect(&mut self) {
        self.collect_with(&mut |_, _, _, event| Some(event));
    }

    fn collect_with(
        &mut self,
        user: &mut impl FnMut(&mut Agent, usize, Instant, Event) -> Option<Event>,
    ) {
        for (n, (address, agent)) in self.agents.iter_mut().enumerate() {
            while let Some(event) = agent.poll_event() {
                self.events[n].extend(user(agent, n, self.now, event));
            }
            while let Some(transmit) = agent.poll_transmit() {
                let datagram = Datagram {
                    from: *address,
                    to: transmit.destination,
                    payload: transmit.payload,
                };
                if let Some(wire) = &mut self.wire {
                    wire.push(datagram.clone());
                }
                self.network.send(self.now, datagram);
            }
        }
    }
}
