//! Many calls on bad networks, floods, and rubbish: nothing is left behind,
//! nothing grows without bound, nothing panics.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ringwire::ids::{ListenerId, SessionId};
use ringwire::sip::agent::{Agent, AgentError, Event, Rejection};

use crate::fake_network::{Conditions, World, settings};
use crate::support::*;

/// Users that do whatever their dice say, and keep books on it.
struct Users {
    random: StdRng,
    /// What each session has come to; gone when its last event was seen.
    open: HashMap<(usize, SessionId), u32>,
    ended: u32,
}

impl Users {
    fn new(seed: u64) -> Self {
        Users {
            random: StdRng::seed_from_u64(seed),
            open: HashMap::new(),
            ended: 0,
        }
    }

    fn dice(&mut self) -> u32 {
        self.random.random_range(0..100)
    }

    fn on_event(&mut self, agent: &mut Agent, n: usize, now: Instant, event: Event) {
        match event {
            Event::Invite { session, .. } => {
                assert!(self.open.insert((n, session), 0).is_none());
                match self.dice() {
                    0..10 => {
                        let busy = Rejection::code(486);
                        agent.reject(now, session, busy).unwrap();
                        self.open.remove(&(n, session));
                        self.ended += 1;
                    }
                    10..15 => agent.progress(now, session, 180, None).unwrap(),
                    15..20 => {
                        agent.accept(now, session, sdp("a")).unwrap();
                        agent.bye(now, session).unwrap();
                    }
                    _ => agent.accept(now, session, sdp("a")).unwrap(),
                }
            }
            Event::Provisional { session, .. } => {
                if self.dice() < 60 {
                    let _ = agent.cancel(now, session);
                }
            }
            Event::Answered { session, .. } | Event::Acknowledged { session, .. } => {
                let _ = match self.dice() {
                    0..40 => agent.bye(now, session),
                    40..70 => agent.offer(now, session, sdp("o")),
                    _ => Ok(()),
                };
            }
            // The session may be over already, its last event in the queue.
            Event::OfferAnswered { session, .. } | Event::OfferRefused { session, .. } => {
                let _ = agent.bye(now, session);
            }
            Event::Offer { session, offer, .. } => {
                let _ = match self.dice() {
                    0..20 => agent.refuse(now, session, offer, Rejection::code(488)),
                    _ => agent.answer(now, session, offer, Some(sdp("x"))),
                };
            }
            Event::InfoAnswered { .. } | Event::Info { .. } => {}
            Event::Cancelled { session }
            | Event::Failed { session, .. }
            | Event::Bye { session }
            | Event::Lost { session, .. }
            | Event::Ended { session } => {
                let known = self.open.remove(&(n, session));
                assert!(known.is_some(), "{session:?} ended twice or never began");
                self.ended += 1;
            }
        }
    }
}

/// Calls at random between three agents; in the end those still open are hung
/// up, and nothing may be left.
fn storm(seed: u64, conditions: Conditions, calls: u32, pause: u64) {
    let mut world = World::new(seed, conditions, 3);
    let mut users = Users::new(seed);
    for _ in 0..calls {
        let from = users.random.random_range(0..3_usize);
        let to = (from + 1) % 3;
        let call = call_to(World::address(to as u8));
        let now = world.now;
        let session = world.agent(from).invite(now, call).unwrap();
        users.open.insert((from, session), 0);
        let wait = millis(users.random.random_range(0..=2 * pause));
        world.run_with(wait, |agent, n, now, event| {
            users.on_event(agent, n, now, event);
            None
        });
    }
    // The ring timeout has ended what rang; the rest hangs up.
    world.run_with(seconds(300), |agent, n, now, event| {
        users.on_event(agent, n, now, event);
        None
    });
    for (n, session) in users.open.keys().copied().collect::<Vec<_>>() {
        let now = world.now;
        let agent = world.agent(n);
        if agent.bye(now, session) == Err(AgentError::WrongState) {
            // It rings, and none of its caller's CANCELs has arrived.
            let unavailable = Rejection::code(480);
            agent.reject(now, session, unavailable).unwrap();
            users.open.remove(&(n, session));
        }
    }
    world.run_with(seconds(300), |agent, n, now, event| {
        users.on_event(agent, n, now, event);
        None
    });
    assert!(users.open.is_empty(), "seed {seed}: {:?}", users.open);
    for (_, agent) in &mut world.agents {
        assert_eq!(agent.sessions(), 0, "seed {seed}");
        assert_eq!(agent.transactions(), 0, "seed {seed}");
        assert_eq!(agent.timers(), 0, "seed {seed}");
    }
    assert!(users.ended >= calls, "seed {seed}");
}

#[test]
fn calls_on_a_bad_network_all_end_and_leave_nothing_behind() {
    for seed in 0..10 {
        storm(seed, Conditions::BAD, 100, 100);
    }
}

#[test]
fn calls_on_a_terrible_network_all_end_too() {
    let terrible = Conditions {
        lost: 500,
        doubled: 300,
        fastest: 1,
        slowest: 3_000,
    };
    for seed in 100..105 {
        storm(seed, terrible, 60, 500);
    }
}

#[test]
fn a_day_of_calls_leaves_no_timer_and_no_entry_behind() {
    // One call in 40 seconds on average, for a day.
    storm(7, Conditions::BAD, 2_160, 40_000);
}

#[test]
fn a_flood_of_invites_is_bounded() {
    let mut world = World::new(1, Conditions::PERFECT, 0);
    let mut limited = settings(World::address(0), 0);
    limited.max_sessions = 100;
    limited.max_transactions = 300;
    world.add(limited);
    let raw = Raw::new();
    let invite = raw.request("INVITE", 1, "BRANCH", "");
    for n in 0..5_000 {
        let text = invite
            .replace("BRANCH", &n.to_string())
            .replace("raw-call", &n.to_string());
        raw.send(&mut world, &text);
        let events = world.take(0);
        // Every other call is refused: its transaction lingers.
        if let [Event::Invite { session, .. }] = events[..]
            && n % 2 == 0
        {
            let now = world.now;
            let agent = world.agent(0);
            agent.reject(now, session, Rejection::code(404)).unwrap();
        }
        let agent = world.agent(0);
        assert!(agent.sessions() <= 100);
        assert!(agent.transactions() <= 300);
        assert!(agent.timers() <= 1_000);
        world.mail();
    }
    assert!(world.agent(0).counters().refused_full > 4_000);
}

#[test]
fn a_flood_of_everything_else_keeps_no_state() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let raw = Raw::new();
    for n in 0..500 {
        for method in ["OPTIONS", "REGISTER", "BYE", "CANCEL", "ACK", "FLY", "INFO"] {
            let text = raw.request_with(method, n + 1, &format!("{method}{n}"), "", "");
            raw.send(&mut world, &text);
        }
        world.mail();
    }
    let agent = world.agent(0);
    assert_eq!((agent.sessions(), agent.transactions()), (0, 0));
    assert_eq!(agent.timers(), 0);
}

/// All datagrams of a few calls that use everything the agent knows.
fn recorded() -> Vec<(SocketAddr, Vec<u8>)> {
    let mut world = World::new(3, Conditions::PERFECT, 3);
    world.wire = Some(Vec::new());
    let mut users = Users::new(3);
    for n in 0..60_usize {
        let (from, to) = (n % 3, (n + 1) % 3);
        let call = call_to(World::address(to as u8));
        let now = world.now;
        let session = world.agent(from).invite(now, call).unwrap();
        users.open.insert((from, session), 0);
        world.run_with(millis(50), |agent, n, now, event| {
            users.on_event(agent, n, now, event);
            None
        });
    }
    let wire = world.wire.take().unwrap();
    wire.into_iter()
        .map(|datagram| (datagram.from, datagram.payload.to_vec()))
        .collect()
}

#[test]
fn mutated_messages_in_the_middle_of_calls_never_panic() {
    let corpus = recorded();
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new(seed, Conditions::PERFECT, 3);
        let mut live = Vec::new();
        world.wire = Some(Vec::new());
        for _ in 0..300 {
            let from = random.random_range(0..3_usize);
            let now = world.now;
            let call = call_to(World::address(((from + 1) % 3) as u8));
            let _ = world.agent(from).invite(now, call);
            // Messages of these very calls, mutated, and some from elsewhere.
            live.extend(world.wire.replace(Vec::new()).unwrap());
            for _ in 0..5 {
                let (source, mut octets) = match live.len() {
                    0 => corpus[random.random_range(0..corpus.len())].clone(),
                    some => {
                        let datagram = &live[random.random_range(some.saturating_sub(20)..some)];
                        (datagram.from, datagram.payload.to_vec())
                    }
                };
                mutate(&mut random, &mut octets);
                let to = random.random_range(0..3);
                world.inject(source, to, &octets);
                let now = world.now;
                for event in world.take(to) {
                    act(world.agent(to), now, &event);
                }
            }
            world.run_with(millis(30), |agent, _, now, event| {
                act(agent, now, &event);
                None
            });
        }
        world.run_with(seconds(600), |agent, _, now, event| {
            act(agent, now, &event);
            None
        });
        for (_, agent) in &mut world.agents {
            // Calls may have lost their other end; transactions must not stay.
            assert_eq!(agent.transactions(), 0);
        }
    }
}

/// Tries everything, whether it fits or not.
fn act(agent: &mut Agent, now: Instant, event: &Event) {
    match event {
        Event::Invite { session, .. } => {
            let _ = agent.progress(now, *session, 183, Some(sdp("p")));
            let _ = agent.accept(now, *session, sdp("a"));
        }
        Event::Offer { session, offer, .. } => {
            let _ = agent.answer(now, *session, *offer, Some(sdp("x")));
        }
        Event::Answered { session, .. } => {
            let _ = agent.offer(now, *session, sdp("o"));
        }
        Event::OfferAnswered { session, .. } => {
            let _ = agent.bye(now, *session);
        }
        Event::Provisional { session, code, .. } if *code > 183 => {
            let _ = agent.cancel(now, *session);
        }
        _ => {}
    }
}

fn mutate(random: &mut StdRng, octets: &mut Vec<u8>) {
    for _ in 0..random.random_range(0..4) {
        if octets.is_empty() {
            return;
        }
        let at = random.random_range(0..octets.len());
        let end = random.random_range(at..octets.len().min(at + 40) + 1);
        match random.random_range(0..6) {
            0 => octets[at] = random.random(),
            1 => drop(octets.drain(at..end)),
            2 => {
                let piece = octets[at..end].to_vec();
                octets.splice(at..at, piece);
            }
            3 => octets.truncate(at),
            4 => {
                // A digit more or less: CSeq, code, length, port.
                for octet in octets[at..end].iter_mut().filter(|o| o.is_ascii_digit()) {
                    *octet = b'0' + random.random_range(0..10_u8);
                }
            }
            _ => {
                let words: [&[u8]; 6] = [b"BYE", b"ACK", b"CANCEL", b"INVITE", b"200", b"491"];
                let word = words[random.random_range(0..words.len())];
                octets.splice(at..at, word.iter().copied());
            }
        }
    }
}

#[test]
fn rubbish_of_all_lengths_is_dropped() {
    let mut world = World::new(1, Conditions::PERFECT, 1);
    let mut random = StdRng::seed_from_u64(1);
    let now = world.now;
    for length in (0..3_000).step_by(7) {
        let rubbish: Vec<u8> = (0..length).map(|_| random.random()).collect();
        let source = SocketAddr::from(([203, 0, 113, 1], 9));
        let agent = world.agent(0);
        agent.handle_datagram(now, ListenerId(0), source, &rubbish);
        agent.handle_datagram(now, ListenerId(9), source, &rubbish);
        assert!(agent.poll_transmit().is_none());
    }
    assert_eq!(world.agent(0).sessions(), 0);
}
