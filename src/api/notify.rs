//! Who hears of incoming calls on notify_ws: every connection of the client
//! that the called number names.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::ids::{AppId, CallId};

use super::proto::sip_gateway::IncomingCallNotify;
use super::registry::lock;

/// Connections of one client at most.
const MAX_SOCKETS_PER_CLIENT: usize = 64;
/// Messages that wait for one connection; a slower one is dropped.
const MAX_WAITING_MESSAGES: usize = 256;

type ClientKey = (AppId, String);

/// All clients that are connected or have calls waiting for them.
#[derive(Default)]
pub struct Clients {
    clients: Mutex<HashMap<ClientKey, Client>>,
    next: AtomicU64,
}

#[derive(Default)]
struct Client {
    sockets: HashMap<u64, mpsc::Sender<IncomingCallNotify>>,
    /// Calls that nobody has taken yet, for connections that come late.
    calls: Vec<(CallId, IncomingCallNotify)>,
}

/// One connection.
pub struct Subscription {
    key: ClientKey,
    number: u64,
    /// Calls that waited when it came.
    pub waiting: Vec<IncomingCallNotify>,
    /// What comes then. Ends when the connection was too slow.
    pub messages: mpsc::Receiver<IncomingCallNotify>,
}

impl Clients {
    /// One more connection; none if the client has too many.
    pub fn subscribe(&self, app: &AppId, client_id: &str) -> Option<Subscription> {
        let key = (app.clone(), client_id.to_string());
        let mut clients = lock(&self.clients);
        let client = clients.entry(key.clone()).or_default();
        if client.sockets.len() >= MAX_SOCKETS_PER_CLIENT {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, messages) = mpsc::channel(MAX_WAITING_MESSAGES);
        client.sockets.insert(number, sender);
        let waiting = client.calls.iter().map(|(_, message)| message.clone());
        Some(Subscription {
            waiting: waiting.collect(),
            key,
            number,
            messages,
        })
    }

    /// The connection is gone.
    pub fn unsubscribe(&self, subscription: &Subscription) {
        self.change(&subscription.key, |client| {
            client.sockets.remove(&subscription.number);
        });
    }

    /// Somebody calls. How many connections were told; with `waits`, later
    /// ones are told too until [`Clients::settled`].
    pub fn arrived(
        &self,
        app: &AppId,
        client_id: &str,
        call: CallId,
        message: &IncomingCallNotify,
        waits: bool,
    ) -> usize {
        let key = (app.clone(), client_id.to_string());
        self.change(&key, |client| {
            if waits {
                client.calls.push((call, message.clone()));
            }
            client.tell(message)
        })
    }

    /// The call was taken, refused or given up: later connections are not told
    /// of it, and those that are there get this message.
    pub fn settled(
        &self,
        app: &AppId,
        client_id: &str,
        call: CallId,
        message: Option<&IncomingCallNotify>,
    ) {
        let key = (app.clone(), client_id.to_string());
        self.change(&key, |client| {
            client.calls.retain(|(waiting, _)| *waiting != call);
            if let Some(message) = message {
                client.tell(message);
            }
        });
    }

    fn change<T>(&self, key: &ClientKey, change: impl FnOnce(&mut Client) -> T) -> T {
        let mut clients = lock(&self.clients);
        let client = clients.entry(key.clone()).or_default();
        let result = change(client);
        if client.sockets.is_empty() && client.calls.is_empty() {
            clients.remove(key);
        }
        result
    }
}

impl Client {
    fn tell(&mut self, message: &IncomingCallNotify) -> usize {
        // A connection whose queue is full loses its sender: it sends what it
        // has and is closed.
        self.sockets
            .retain(|_, socket| socket.try_send(message.clone()).is_ok());
        self.sockets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::messages::notify_arrived;
    use crate::ids::ShardId;

    fn app() -> AppId {
        AppId::new("a")
    }

    fn call() -> CallId {
        CallId {
            shard: ShardId(0),
            random: 1,
        }
    }

    #[test]
    fn every_connection_of_the_client_is_told_and_no_other() {
        let clients = Clients::default();
        let mut first = clients.subscribe(&app(), "desk").unwrap();
        let mut second = clients.subscribe(&app(), "desk").unwrap();
        let mut other = clients.subscribe(&app(), "door").unwrap();
        let mut foreign = clients.subscribe(&AppId::new("b"), "desk").unwrap();
        let message = notify_arrived("t", "/w", "1", "2");
        assert_eq!(clients.arrived(&app(), "desk", call(), &message, true), 2);
        assert_eq!(first.messages.try_recv(), Ok(message.clone()));
        assert_eq!(second.messages.try_recv(), Ok(message));
        assert!(other.messages.try_recv().is_err());
        assert!(foreign.messages.try_recv().is_err());
    }

    #[test]
    fn a_late_connection_hears_of_calls_that_wait_and_of_no_others() {
        let clients = Clients::default();
        let message = notify_arrived("t", "/w", "1", "2");
        clients.arrived(&app(), "desk", call(), &message, true);
        let late = clients.subscribe(&app(), "desk").unwrap();
        assert_eq!(late.waiting, [message]);
        clients.settled(&app(), "desk", call(), None);
        assert!(
            clients
                .subscribe(&app(), "desk")
                .unwrap()
                .waiting
                .is_empty()
        );
    }

    #[test]
    fn a_slow_connection_is_dropped_after_what_it_has() {
        let clients = Clients::default();
        let mut slow = clients.subscribe(&app(), "desk").unwrap();
        let message = notify_arrived("t", "/w", "1", "2");
        for _ in 0..MAX_WAITING_MESSAGES {
            assert_eq!(clients.arrived(&app(), "desk", call(), &message, false), 1);
        }
        assert_eq!(clients.arrived(&app(), "desk", call(), &message, false), 0);
        for _ in 0..MAX_WAITING_MESSAGES {
            assert!(slow.messages.try_recv().is_ok());
        }
        assert_eq!(
            slow.messages.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        );
    }

    #[test]
    fn nothing_is_kept_of_a_client_that_left() {
        let clients = Clients::default();
        let subscription = clients.subscribe(&app(), "desk").unwrap();
        clients.unsubscribe(&subscription);
        assert!(lock(&clients.clients).is_empty());
    }

    #[test]
    fn connections_per_client_are_bounded() {
        let clients = Clients::default();
        let all: Vec<_> = (0..MAX_SOCKETS_PER_CLIENT)
            .map(|_| clients.subscribe(&app(), "desk").unwrap())
            .collect();
        assert!(clients.subscribe(&app(), "desk").is_none());
        clients.unsubscribe(&all[0]);
        assert!(clients.subscribe(&app(), "desk").is_some());
    }
}
