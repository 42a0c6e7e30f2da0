//! What is handed into the agent and out of it, apart from its events.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::ids::ShardId;
use crate::sip::transaction::TimerSettings;

/// What an agent is made of.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The shard the agent works for: written into its tags and branches, so
    /// that a datagram the kernel gave to another shard finds its way.
    pub shard: ShardId,
    /// The SIP sockets; the place in the list is the [`ListenerId`](crate::ids::ListenerId).
    pub listeners: Vec<Listener>,
    /// Text of the User-Agent and Server header fields.
    pub user_agent: String,
    /// T1, T2 and T4.
    pub timers: TimerSettings,
    /// When so many sessions exist, a new INVITE gets 503 with Retry-After.
    pub max_sessions: usize,
    /// When so many transactions exist, a new INVITE gets 503 with Retry-After
    /// and other requests are answered without keeping state. Finished
    /// transactions linger for 64*T1, so a shard taking `c` calls a second
    /// holds at least `64 * T1 * 2 * c` of them.
    pub max_transactions: usize,
    /// Where tags, branches, Call-IDs and nonces come from.
    pub seed: [u8; 32],
}

/// One SIP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// The address the socket is bound to.
    pub bound: SocketAddr,
    /// The address that peers can reach: goes into Via and Contact.
    pub advertised: SocketAddr,
}

/// A message body, opaque to this room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Value of Content-Type, parameters and all.
    pub content_type: String,
    /// The octets.
    pub content: Bytes,
}

impl Body {
    /// A session description.
    pub fn sdp(content: impl Into<Bytes>) -> Self {
        Body {
            content_type: "application/sdp".to_owned(),
            content: content.into(),
        }
    }
}

/// What digest authentication (RFC 3261 section 22) is proved with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name in the realm.
    pub username: String,
    /// The user's password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A password never reaches a log.
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// How an incoming call is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rejection {
    /// Status code, 300 to 699; anything else is sent as 500.
    pub code: u16,
    /// Reason phrase; the code's usual one where none is given.
    pub reason: Option<String>,
    /// Value of Retry-After, in seconds.
    pub retry_after: Option<u32>,
    /// Value of Warning (RFC 3261 section 20.43), such as
    /// `304 gateway "no common codec"`.
    pub warning: Option<String>,
}

impl Rejection {
    /// A refusal with just a code.
    pub fn code(code: u16) -> Self {
        Rejection {
            code,
            ..Rejection::default()
        }
    }
}

/// Names one offer of the peer (a re-INVITE or an UPDATE) inside a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OfferId(pub u32);

/// Why a session was lost rather than ended by either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LostReason {
    /// A 2xx of ours stayed without ACK for 64*T1 (RFC 3261 section 13.3.1.4).
    NoAck,
    /// The peer does not know the dialog any more: 481 (section 12.2.1.2).
    UnknownToPeer,
    /// The peer did not answer a request in the dialog: 408, its own or the
    /// transaction's (section 12.2.1.2).
    NoAnswer,
}

/// What became of [`Agent::authorize`](super::Agent::authorize).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// The caller proved to have the credentials.
    Valid,
    /// 401 with a fresh challenge was sent and the session is gone; the caller
    /// comes back with a new INVITE.
    Challenged,
    /// The same, because what the caller proved was wrong.
    Failed,
}

/// Why the agent did not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// There is no such session (any more): it may have ended an instant ago.
    #[error("no such session")]
    NoSession,
    /// The session is not in a state where this can be done.
    #[error("not possible in the session's state")]
    WrongState,
    /// There is no such offer (any more): the peer may have cancelled it.
    #[error("no such offer")]
    NoOffer,
    /// The status code does not fit what it is used for.
    #[error("a status code that cannot be used here")]
    BadCode,
    /// There is no listener with that number.
    #[error("no such listener")]
    NoListener,
    /// The agent holds as many sessions or transactions as it may.
    #[error("no room for another session or transaction")]
    Full,
}
