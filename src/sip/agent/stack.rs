//! All of the agent but its sessions: what sending a message takes.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::auth::Auth;
use super::event::Event;
use super::session::SessionTimer;
use super::types::{AgentSettings, Body};
use crate::ids::{ListenerId, SessionId};
use crate::sip::dialog::Dialog;
use crate::sip::header::HeaderName;
use crate::sip::headers::{CSeq, Headers};
use crate::sip::message::{Request, Response, response_to};
use crate::sip::method::Method;
use crate::sip::outbox::{Outbox, Path};
use crate::sip::routing;
use crate::sip::status::StatusCode;
use crate::sip::transaction::{Full, Layer, TransactionId, cancel_of};
use crate::sip::uri::Uri;
use crate::sip::via::Via;

/// The methods that the agent understands.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";

/// The body type that it takes.
pub(super) const ACCEPT: &str = "application/sdp";

/// Whose transaction it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub session: SessionId,
    pub role: Role,
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The INVITE that made the session.
    Invite,
    /// An INVITE inside the dialog.
    Reinvite,
    /// The BYE that the session waits for.
    Bye,
    /// A REGISTER; the index names the registration.
    Register,
    /// An INFO inside the dialog.
    Info,
    /// A request whose response nobody waits for: CANCEL, the BYE of a fork
    /// or of a lost dialog, and all that was answered by the agent itself.
    Nobody,
}

pub(super) struct Stack {
    pub settings: AgentSettings,
    pub layer: Layer<Owner>,
    pub out: Outbox,
    pub timers: crate::timers::Timers<(SessionId, SessionTimer)>,
    pub events: VecDeque<Event>,
    pub random: StdRng,
    /// Makes the tags of answers without state.
    pub tag_secret: u64,
}

/// A received request with what was read of it.
pub(super) struct Received {
    pub request: Request,
    pub via: Via,
    pub cseq: CSeq,
    /// Where the answer goes.
    pub path: Path,
    /// Where the request came from.
    pub source: SocketAddr,
}

impl Stack {
    pub fn advertised(&self, listener: ListenerId) -> Option<SocketAddr> {
        let listener = self.settings.listeners.get(usize::from(listener.0))?;
        Some(listener.advertised)
    }

    pub fn tag(&self, random: u64) -> String {
        routing::local_tag(self.settings.shard, random)
    }

    /// `<sip:user@address>` of ours.
    pub fn contact(&self, listener: ListenerId, user: Option<&str>) -> String {
        match self.advertised(listener) {
            Some(address) => format!("<{}>", Uri::of_address(user, address)),
            None => String::new(),
        }
    }

    /// Contact and what else goes with a target refresh request or its
    /// response (RFC 3261 section 13.2.1).
    pub fn add_contact(&self, headers: &mut Headers, listener: ListenerId, user: Option<&str>) {
        headers.push(HeaderName::Contact, self.contact(listener, user));
        headers.push(HeaderName::Allow, ALLOW);
    }

    // ---- requests ----

    /// Puts a Via with a new branch on top; the branch.
    fn mark(&mut self, listener: ListenerId, request: &mut Request) -> String {
        let branch = routing::branch(self.settings.shard, self.random.next_u64());
        if let Some(sent_by) = self.advertised(listener) {
            let via = Via::udp(sent_by, branch.clone()).to_string();
            request.headers.insert_first(HeaderName::Via, via);
        }
        branch
    }

    /// Starts a client transaction.
    pub fn start(
        &mut self,
        now: Instant,
        path: Path,
        owner: Owner,
        mut request: Request,
    ) -> Result<TransactionId, Full> {
        let branch = self.mark(path.listener, &mut request);
        request
            .headers
            .set(HeaderName::UserAgent, self.settings.user_agent.as_str());
        self.layer
            .request(now, &mut self.out, path, owner, request, &branch)
    }

    /// Sends an ACK of a 2xx, which is no transaction; its octets.
    pub fn send_ack(&mut self, path: Path, mut ack: Request) -> Bytes {
        self.mark(path.listener, &mut ack);
        self.out.request(path, &ack)
    }

    /// Ends a dialog whose BYE nobody waits for. Without room for another
    /// transaction the BYE is sent just once.
    pub fn forget(
        &mut self,
        now: Instant,
        session: SessionId,
        listener: ListenerId,
        auth: Option<&mut Auth>,
        dialog: &mut Dialog,
    ) {
        let mut bye = dialog.request(Method::Bye);
        if let Some(auth) = auth {
            auth.sign(&mut bye, self.random.next_u64());
        }
        self.send_bye(now, session, listener, dialog.next_hop(), bye);
    }

    /// Sends a BYE whose response nobody waits for.
    pub fn send_bye(
        &mut self,
        now: Instant,
        session: SessionId,
        listener: ListenerId,
        peer: SocketAddr,
        mut bye: Request,
    ) {
        let path = Path { peer, listener };
        let owner = Owner {
            session,
            role: Role::Nobody,
        };
        if self.layer.is_full() {
            self.mark(listener, &mut bye);
            self.out.request(path, &bye);
        } else {
            // Room was seen an instant ago.
            let _ = self.start(now, path, owner, bye);
        }
    }

    /// Sends CANCEL for an INVITE that was heard of, once, and lets the
    /// INVITE end 64*T1 later at the latest (RFC 3261 section 9.1).
    pub fn cancel(&mut self, now: Instant, session: SessionId, invite: TransactionId) {
        let Some((path, request)) = self.layer.cancel(invite) else {
            return;
        };
        let cancel = cancel_of(request);
        let branch = request.headers.via().ok().and_then(|via| via.branch);
        let give_up = now + self.settings.timers.give_up();
        self.layer.abandon(invite, give_up);
        let owner = Owner {
            session,
            role: Role::Nobody,
        };
        // Without room for it the INVITE still ends when its time is over.
        let _ = self.layer.request(
            now,
            &mut self.out,
            path,
            owner,
            cancel,
            branch.as_deref().unwrap_or_default(),
        );
    }

    // ---- responses ----

    /// A response of ours, with a To tag that is the same each time.
    pub fn response(&self, received: &Received, status: StatusCode) -> Response {
        let mut response = response_to(&received.request, status, None);
        if response.headers.to_tag().is_none() {
            response
                .headers
                .add_to_tag(&self.tag(self.stateless_tag(&received.request.headers)));
        }
        self.sign_response(&mut response);
        response
    }

    pub fn sign_response(&self, response: &mut Response) {
        response
            .headers
            .push(HeaderName::Server, self.settings.user_agent.as_str());
    }

    /// Answers without keeping state (RFC 3261 section 8.2.7).
    pub fn answer(&mut self, received: &Received, response: &Response) {
        self.out.response(received.path, response);
    }

    /// Answers a request by a server transaction; where there is no room for
    /// one, without.
    pub fn answer_once(&mut self, now: Instant, received: &Received, response: &Response) {
        let owner = Owner {
            session: SessionId {
                index: u32::MAX,
                generation: u32::MAX,
            },
            role: Role::Nobody,
        };
        let Received {
            request, via, cseq, ..
        } = received;
        match self.layer.serve(received.path, owner, request, via, cseq) {
            Ok(transaction) => {
                self.layer
                    .respond(now, &mut self.out, transaction, response);
            }
            Err(Full) => self.answer(received, response),
        }
    }

    pub fn stateless_tag(&self, headers: &Headers) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.tag_secret.hash(&mut hasher);
        headers.call_id().unwrap_or_default().hash(&mut hasher);
        headers.from_tag().hash(&mut hasher);
        headers.get(&HeaderName::CSeq).hash(&mut hasher);
        hasher.finish()
    }

    // ---- time ----

    pub fn set_timer(&mut self, session: SessionId, timer: SessionTimer, at: Instant) {
        self.timers.set((session, timer), at);
    }

    pub fn stop_timer(&mut self, session: SessionId, timer: SessionTimer) {
        self.timers.stop(&(session, timer));
    }

    /// A number from `range`, for the waits that RFC 3261 wants random.
    pub fn random_in(&mut self, range: std::ops::RangeInclusive<u32>) -> u32 {
        self.random.random_range(range)
    }
}

/// Puts a body and its type into a message.
pub(super) fn attach(headers: &mut Headers, content: &mut Bytes, body: Body) {
    headers.set(HeaderName::ContentType, body.content_type);
    *content = body.content;
}
