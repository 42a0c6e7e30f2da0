//! The administrators' sessions: random ids in a cookie, kept in memory only,
//! so that a restart ends them all.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::api::registry::lock;

/// Sessions at a time; one more ends the one unused for longest.
const MAX_SESSIONS: usize = 64;

/// How long a session holds.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Unused.
    pub idle: Duration,
    /// In any case.
    pub longest: Duration,
}

/// All sessions, by the hash of their id: looking one up takes the same path
/// whatever was sent, and its time says nothing about any id.
#[derive(Default)]
pub struct Sessions {
    by_id: Mutex<HashMap<[u8; 32], Session>>,
}

struct Session {
    csrf: String,
    since: Instant,
    used: Instant,
}

/// What a session's holder is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Goes into the cookie.
    pub id: String,
    /// Goes into `X-CSRF-Token` with every change.
    pub csrf: String,
    /// The session holds for this long, if it is not used again.
    pub left: Duration,
}

impl Sessions {
    /// A new session.
    pub fn open(&self, now: Instant, patience: Patience) -> Ticket {
        let ticket = Ticket {
            id: random_text(),
            csrf: random_text(),
            left: patience.idle.min(patience.longest),
        };
        let mut sessions = lock(&self.by_id);
        sessions.retain(|_, session| session.left(now, patience).is_some());
        if sessions.len() >= MAX_SESSIONS {
            let unused = sessions.iter().min_by_key(|(_, session)| session.used);
            if let Some(unused) = unused.map(|(key, _)| *key) {
                sessions.remove(&unused);
            }
        }
        let session = Session {
            csrf: ticket.csrf.clone(),
            since: now,
            used: now,
        };
        sessions.insert(key(&ticket.id), session);
        ticket
    }

    /// The session of this id, which is used by that; none if it has ended.
    pub fn find(&self, id: &str, now: Instant, patience: Patience) -> Option<Ticket> {
        let mut sessions = lock(&self.by_id);
        let session = sessions.get_mut(&key(id))?;
        session.left(now, patience)?;
        session.used = now;
        Some(Ticket {
            id: id.to_string(),
            csrf: session.csrf.clone(),
            left: session.left(now, patience)?,
        })
    }

    /// Whether the session of this id goes on; it is not used by that.
    pub fn holds(&self, id: &str, now: Instant, patience: Patience) -> bool {
        lock(&self.by_id)
            .get(&key(id))
            .is_some_and(|session| session.left(now, patience).is_some())
    }

    /// Ends the session of this id.
    pub fn close(&self, id: &str) {
        lock(&self.by_id).remove(&key(id));
    }

    /// Ends all of them.
    pub fn close_all(&self) {
        lock(&self.by_id).clear();
    }

    /// How many there are.
    pub fn len(&self, now: Instant, patience: Patience) -> usize {
        let mut sessions = lock(&self.by_id);
        sessions.retain(|_, session| session.left(now, patience).is_some());
        sessions.len()
    }
}

impl Session {
    fn left(&self, now: Instant, patience: Patience) -> Option<Duration> {
        let ends = (self.used + patience.idle).min(self.since + patience.longest);
        let left = ends.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

/// Whether the two are the same, found out in a time that says nothing.
pub fn same(a: &str, b: &str) -> bool {
    key(a).ct_eq(&key(b)).into()
}

/// 256 random bits.
pub fn random_text() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

fn key(id: &str) -> [u8; 32] {
    Sha256::digest(id).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(60),
        longest: Duration::from_secs(100),
    };

    #[test]
    fn a_session_ends_when_unused_and_after_its_longest_time_in_any_case() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let id = sessions.open(start, PATIENCE).id;
        let left = |seconds| {
            let found = sessions.find(&id, at(seconds), PATIENCE);
            found.map(|ticket| ticket.left.as_secs())
        };
        assert_eq!(left(59), Some(41));
        assert_eq!(left(99), Some(1));
        assert_eq!(left(100), None);

        let unused = sessions.open(start, PATIENCE).id;
        assert!(sessions.holds(&unused, at(59), PATIENCE));
        assert!(
            !sessions.holds(&unused, at(60), PATIENCE),
            "looking is no use"
        );
    }

    #[test]
    fn a_closed_session_and_a_made_up_one_are_none() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let (first, second) = (sessions.open(now, PATIENCE), sessions.open(now, PATIENCE));
        assert_ne!(first.csrf, second.csrf);
        sessions.close(&first.id);
        assert!(sessions.find(&first.id, now, PATIENCE).is_none());
        assert!(sessions.find("made up", now, PATIENCE).is_none());
        assert!(sessions.find(&second.id, now, PATIENCE).is_some());
        sessions.close_all();
        assert!(sessions.find(&second.id, now, PATIENCE).is_none());
    }

    #[test]
    fn one_session_too_many_ends_the_one_unused_for_longest() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let ids: Vec<String> = (0..MAX_SESSIONS as u64)
            .map(|n| sessions.open(start + Duration::from_millis(n), PATIENCE).id)
            .collect();
        let now = start + Duration::from_secs(1);
        assert!(sessions.find(&ids[0], now, PATIENCE).is_some());
        sessions.open(now, PATIENCE);
        assert_eq!(sessions.len(now, PATIENCE), MAX_SESSIONS);
        assert!(sessions.holds(&ids[0], now, PATIENCE));
        assert!(!sessions.holds(&ids[1], now, PATIENCE));
    }
}
