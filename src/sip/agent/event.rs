//! What the agent tells its user, and what INVITEs are made of.

use std::net::SocketAddr;
use std::time::Duration;

use super::types::{Body, Credentials, LostReason, OfferId};
use crate::ids::{ListenerId, SessionId};
use crate::sip::method::Method;
use crate::sip::name_addr::NameAddr;
use crate::sip::uri::Uri;

/// A call to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingInvite {
    /// The socket to make it from.
    pub listener: ListenerId,
    /// The next hop, resolved: the proxy if there is one, else the callee.
    pub destination: SocketAddr,
    /// Whom to call.
    pub request_uri: Uri,
    /// The proxy, which becomes a preloaded Route with `lr` (RFC 3261
    /// section 8.1.2).
    pub proxy: Option<Uri>,
    /// From; a tag in it is replaced by one of the agent.
    pub from: NameAddr,
    /// To; a tag in it is left out.
    pub to: NameAddr,
    /// What a 401 or 407 is answered with.
    pub auth: Option<Credentials>,
    /// The offer.
    pub body: Body,
    /// Without a final answer until then, the call is cancelled and fails
    /// with 408.
    pub ring_timeout: Duration,
}

/// A call that somebody makes to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingInvite {
    /// The socket it came in on.
    pub listener: ListenerId,
    /// Where the datagram came from.
    pub source: SocketAddr,
    /// Who is called.
    pub request_uri: Uri,
    /// From, with the caller's tag.
    pub from: NameAddr,
    /// To.
    pub to: NameAddr,
    /// The Call-ID.
    pub sip_call_id: String,
    /// The offer; without one, the 2xx carries our offer and its ACK the
    /// answer.
    pub body: Option<Body>,
}

/// What happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody calls. 100 was sent; the session waits for
    /// [`progress`](super::Agent::progress), [`accept`](super::Agent::accept),
    /// [`reject`](super::Agent::reject) or
    /// [`authorize`](super::Agent::authorize).
    Invite {
        /// The new session.
        session: SessionId,
        /// The call.
        invite: Box<IncomingInvite>,
    },
    /// The caller gave up before an answer. 487 was sent; the session is gone.
    Cancelled {
        /// The session.
        session: SessionId,
    },
    /// A 101 to 199 came for a call of ours.
    Provisional {
        /// The session.
        session: SessionId,
        /// Numbers the early dialogs of a forked call: 0, 1, ...
        fork: u32,
        /// The status code.
        code: u16,
        /// Early media's description.
        body: Option<Body>,
    },
    /// The first 2xx came for a call of ours; its ACK was sent. Other forks
    /// that answer later get ACK and BYE without a word.
    Answered {
        /// The session.
        session: SessionId,
        /// The fork that answered, numbered as in `Provisional`.
        fork: u32,
        /// The status code.
        code: u16,
        /// The answer to our offer.
        body: Option<Body>,
    },
    /// A call of ours failed; the session is gone.
    Failed {
        /// The session.
        session: SessionId,
        /// The peer's 3xx to 6xx, or 408 (no answer), 503 (transport) or 487
        /// (cancelled by us) from the agent itself.
        code: u16,
        /// The peer's reason phrase, or the usual one.
        reason: String,
        /// The peer's Retry-After, in seconds.
        retry_after: Option<u32>,
    },
    /// The ACK of a 2xx of ours came: to the call, or to a re-INVITE.
    Acknowledged {
        /// The session.
        session: SessionId,
        /// The answer, where our 2xx carried the offer.
        body: Option<Body>,
    },
    /// The peer wants to change the session; waits for
    /// [`answer`](super::Agent::answer) or [`refuse`](super::Agent::refuse).
    Offer {
        /// The session.
        session: SessionId,
        /// Names the offer.
        offer: OfferId,
        /// INVITE or UPDATE.
        method: Method,
        /// The offer; none in an INVITE that wants ours.
        body: Option<Body>,
    },
    /// Our offer was answered.
    OfferAnswered {
        /// The session.
        session: SessionId,
        /// The answer.
        body: Option<Body>,
    },
    /// Our offer was refused; the session goes on as it was.
    OfferRefused {
        /// The session.
        session: SessionId,
        /// The status code.
        code: u16,
    },
    /// An INFO came; 200 was sent.
    Info {
        /// The session.
        session: SessionId,
        /// Whatever it carried.
        body: Option<Body>,
    },
    /// An INFO of ours is over.
    InfoAnswered {
        /// The session.
        session: SessionId,
        /// The final status: 408 where no answer came, 503 where the peer
        /// could not be reached or there was no room for a transaction.
        code: u16,
        /// None after a 2xx. Else what was not taken, and after it those that
        /// waited behind it, which are not sent: they would fare no better.
        given_back: Vec<Body>,
    },
    /// The peer hung up. 200 was sent; the session is gone.
    Bye {
        /// The session.
        session: SessionId,
    },
    /// The dialog broke; BYE was sent where due; the session is gone.
    Lost {
        /// The session.
        session: SessionId,
        /// Why.
        reason: LostReason,
    },
    /// Our BYE was answered, or nobody answers any more; the session is gone.
    Ended {
        /// The session.
        session: SessionId,
    },
}

impl Event {
    /// The session it happened in.
    pub fn session(&self) -> SessionId {
        match self {
            Event::Invite { session, .. }
            | Event::Cancelled { session }
            | Event::Provisional { session, .. }
            | Event::Answered { session, .. }
            | Event::Failed { session, .. }
            | Event::Acknowledged { session, .. }
            | Event::Offer { session, .. }
            | Event::OfferAnswered { session, .. }
            | Event::OfferRefused { session, .. }
            | Event::Info { session, .. }
            | Event::InfoAnswered { session, .. }
            | Event::Bye { session }
            | Event::Lost { session, .. }
            | Event::Ended { session } => *session,
        }
    }
}
