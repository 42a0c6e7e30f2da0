//! The user agent: sessions, and everything of SIP that a call need not know.
//!
//! One [`Agent`] per shard, sans IO. What comes in: [`Agent::handle_datagram`],
//! [`Agent::handle_timeout`], [`Agent::transport_error`] and the methods that
//! act on a session. What goes out: [`Agent::poll_transmit`] and
//! [`Agent::poll_event`], both to be emptied after each of the former, and
//! [`Agent::next_timeout`].
//!
//! By itself the agent sends 100, ACK and retransmissions; answers OPTIONS,
//! methods and extensions it does not know, requests outside of any dialog or
//! out of order, merged requests and crossing offers; gives up on peers that
//! fall silent; answers digest challenges; ends the forks that lost.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `receive` | what comes in, sorted |
//! | `caller` | calls that we make |
//! | `callee` | calls that are made to us |
//! | `requests` | the peer's requests in a dialog |
//! | `offers` | re-INVITE and UPDATE, both ways |
//! | `registering` | registrations that we keep |
//! | `info` | INFO, both ways |
//! | `ending` | BYE both ways, and dialogs that break |
//! | `session`, `stack` | the sessions; everything but the sessions |

mod auth;
mod body;
mod callee;
mod caller;
mod ending;
mod event;
mod info;
mod offers;
mod receive;
mod registering;
mod requests;
mod session;
mod stack;
mod types;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub use super::counters::{Counters, DropReason, MethodLabel};
use super::digest::server::Nonces;
pub use super::outbox::Transmit;
use super::outbox::{Outbox, Path};
use super::transaction::Layer;
use crate::ids::{ListenerId, SessionId};
use crate::timers::Timers;
pub use event::{Event, IncomingInvite, OutgoingInvite};
use registering::Registrations;
pub use registering::{OutgoingRegistration, RegistrationReport};
use session::{SessionTimer, Sessions};
use stack::Stack;
pub use types::{
    AgentError, AgentSettings, Authorization, Body, Credentials, Listener, LostReason, OfferId,
    Rejection,
};

/// A SIP user agent. See the [module](self).
pub struct Agent {
    stack: Stack,
    sessions: Sessions,
    registrations: Registrations,
    /// The last datagram was no SIP, or a request that no peer of ours makes.
    suspicious: bool,
    nonces: Option<Nonces>,
    nonce_secret: [u8; 32],
    offers: u32,
}

impl Agent {
    /// An agent without sessions.
    pub fn new(settings: AgentSettings) -> Self {
        let mut random = StdRng::from_seed(settings.seed);
        let mut nonce_secret = [0; 32];
        random.fill_bytes(&mut nonce_secret);
        Agent {
            stack: Stack {
                layer: Layer::new(settings.timers, settings.max_transactions),
                out: Outbox::default(),
                timers: Timers::new(),
                events: VecDeque::new(),
                tag_secret: random.next_u64(),
                random,
                settings,
            },
            sessions: Sessions::default(),
            registrations: Registrations::default(),
            suspicious: false,
            nonces: None,
            nonce_secret,
            offers: 0,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn next_timeout(&mut self) -> Option<Instant> {
        let sessions = self.stack.timers.next_deadline();
        let transactions = self.stack.layer.next_timeout();
        let registrations = self.registrations.timers.next_deadline();
        let all = [sessions, transactions, registrations];
        all.into_iter().flatten().min()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.stack.layer.handle_timeout(now, &mut self.stack.out);
        self.take_failures(now);
        self.refresh_registrations(now);
        while let Some((id, timer)) = self.stack.timers.pop(now) {
            match timer {
                SessionTimer::Ring => self.ring_timeout(now, id),
                SessionTimer::Cancel => self.cancel_timeout(id),
                SessionTimer::Refresh => self.refresh_progress(now, id),
                SessionTimer::Answer => self.repeat_answer(now, id),
                SessionTimer::Glare => self.send_waiting_offer(now, id),
                SessionTimer::Offer => self.offer_timeout(now, id),
            }
        }
    }

    /// A datagram sent from this listener did not reach its destination
    /// (ICMP): client transactions that send there fail as if 503 had come
    /// (RFC 3261 section 8.1.3.1).
    pub fn transport_error(&mut self, now: Instant, listener: ListenerId, peer: SocketAddr) {
        let path = Path { peer, listener };
        self.stack
            .layer
            .transport_error(now, &mut self.stack.out, path);
        self.take_failures(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.stack.out.pop()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.stack.events.pop_front()
    }

    /// Whether the last datagram was malformed, or a request of a method that
    /// is not served: scanners send such. Asked once for each datagram.
    pub fn take_suspicion(&mut self) -> bool {
        std::mem::take(&mut self.suspicious)
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.stack.out.counters
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many transactions there are, finished ones that linger included.
    pub fn transactions(&self) -> usize {
        self.stack.layer.len()
    }

    /// How many timers run.
    pub fn timers(&self) -> usize {
        self.stack.timers.len() + self.stack.layer.timers() + self.registrations.timers.len()
    }

    fn has_room(&self) -> bool {
        self.sessions.len() < self.stack.settings.max_sessions && !self.stack.layer.is_full()
    }

    fn event(&mut self, event: Event) {
        self.stack.events.push_back(event);
    }

    /// Takes a session out, with its timers.
    fn remove(&mut self, id: SessionId) -> Option<session::Session> {
        for timer in SessionTimer::ALL {
            self.stack.timers.stop(&(id, timer));
        }
        self.sessions.remove(id)
    }
}
