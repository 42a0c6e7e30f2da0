//! One call: what it is, and how far.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::book::DtmfPolicy;
use crate::call::description::Beside;
use crate::call::limits::Permit;
use crate::call::ports::LegAddress;
use crate::call::request::{CallSnapshot, CallState, Dial, Direction, MediaSnapshot, Stream};
use crate::call::scanners::InCall;
use crate::clock::WallClock;
use crate::ids::{AppId, CallId, RequestId, SessionId};
use crate::keying::{Security, Srtp};
use crate::sdp::{Codec, Exchange, Negotiated, Session};

/// One SIP leg and the state around it.
pub(super) struct Call {
    pub id: CallId,
    pub app: AppId,
    pub direction: Direction,
    pub from: Arc<str>,
    pub to: Arc<str>,
    pub sip_call_id: Arc<str>,
    pub peer_address: SocketAddr,
    pub stream: Option<Stream>,
    pub created: Instant,
    pub ringing: Option<Instant>,
    pub early: Option<Instant>,
    pub answered: Option<Instant>,
    pub ended: Option<Instant>,
    pub sip_code: Option<u16>,
    pub end_reason: Option<&'static str>,
    pub held: bool,
    /// The media leg is on an IPv6 address.
    pub ipv6: bool,
    /// The SIP session, while there is one.
    pub session: Option<SessionId>,
    /// A leg is open for it, or asked for.
    pub has_leg: bool,
    /// Our side of the offer/answer exchange, once the leg is open.
    pub exchange: Option<Exchange>,
    /// What the caller hears of us before the answer.
    pub early_media: EarlyMedia,
    /// What the room's other peer takes; `None`: anything.
    pub allowed: Option<Vec<Codec>>,
    /// An offer of ours is on its way to the peer.
    pub offering: bool,
    /// How its media is to be protected.
    pub srtp: Srtp,
    /// How keys go to its peer.
    pub dtmf: DtmfPolicy,
    /// Its peer has refused a key by INFO: none goes that way any more.
    pub info_refused: bool,
    /// What was agreed on, where keys go by INFO: the room is told of it anew
    /// once they no longer do.
    pub by_info: Option<Box<Negotiated>>,
    /// The other side of the relay, where the call's room is on a media
    /// server.
    pub server: Option<ServerSide>,
    /// It counts against limits, and its peer is no scanner, while it lives.
    pub held_places: Option<(Permit, InCall)>,
    pub phase: Phase,
}

/// How far a call is, with what is needed there only.
pub(super) enum Phase {
    /// Incoming: waits for an action.
    Announced {
        /// The caller's offer; `None` when the INVITE had none.
        offer: Option<Box<Session>>,
        /// 180 was sent.
        ringing: bool,
    },
    /// Incoming: accepted, its leg is being opened, or the media server that
    /// its room is on is asked for an answer.
    Joining {
        /// The caller's offer.
        offer: Option<Box<Session>>,
        /// 180 was sent.
        ringing: bool,
        /// The request that waits for the outcome; `None` when the number is
        /// answered without asking.
        request: Option<RequestId>,
    },
    /// Outgoing: its leg is being opened.
    Opening {
        /// What is to be dialled.
        dial: Box<Dial>,
        /// The request that waits for the outcome.
        request: RequestId,
    },
    /// Outgoing: its leg is open, and the media server that its room is on is
    /// asked for an offer.
    AskingServer {
        /// What is to be dialled.
        dial: Box<Dial>,
    },
    /// Outgoing: INVITE sent.
    Calling {
        /// The furthest a provisional response has got it.
        progress: CallState,
    },
    /// Answered.
    Active,
    /// CANCEL is sent, its INVITE not finished.
    Cancelling,
    /// The SIP side is done; waits for the leg to be closed.
    Leaving,
}

/// How far the media of an incoming call is that is not answered yet.
#[derive(Default)]
pub(super) enum EarlyMedia {
    /// There is none.
    #[default]
    None,
    /// The leg for it is being opened.
    Opening {
        /// The request that waits for it.
        request: RequestId,
    },
    /// The caller hears a ring-back, as was agreed on in the 183.
    Open(Box<Negotiated>),
}

impl EarlyMedia {
    /// Whether there is a leg for it, or is about to be.
    pub fn has_leg(&self) -> bool {
        !matches!(self, EarlyMedia::None)
    }
}

/// How far a call and the media server that its room is on are.
pub(super) enum ServerSide {
    /// Its description is awaited.
    Asked {
        /// Our address of the leg towards the SIP peer.
        local: LegAddress,
        /// Of the leg towards the media server.
        exchange: Box<Exchange>,
    },
    /// It has offered, and is answered once the callee has described itself.
    Offered {
        /// Its offer.
        offer: Box<Session>,
        /// Where the offer came from.
        source: Option<IpAddr>,
        /// Of the leg towards the media server.
        exchange: Box<Exchange>,
    },
    /// Both have described themselves.
    Agreed,
}

impl Call {
    /// A room on a media server only ever relays.
    pub fn beside(&self) -> Beside {
        match self.server {
            Some(_) => Beside::Nothing,
            None => Beside::Anything,
        }
    }

    /// A call that begins now: no leg, no session, nothing agreed on yet.
    pub fn new(
        id: CallId,
        app: AppId,
        direction: Direction,
        peer_address: SocketAddr,
        now: Instant,
        phase: Phase,
    ) -> Self {
        Call {
            id,
            app,
            direction,
            from: Arc::from(""),
            to: Arc::from(""),
            sip_call_id: Arc::from(""),
            peer_address,
            stream: None,
            created: now,
            ringing: None,
            early: None,
            answered: None,
            ended: None,
            sip_code: None,
            end_reason: None,
            held: false,
            ipv6: peer_address.is_ipv6(),
            session: None,
            has_leg: false,
            exchange: None,
            early_media: EarlyMedia::None,
            allowed: None,
            offering: false,
            srtp: Srtp::OFF,
            dtmf: DtmfPolicy::Auto,
            info_refused: false,
            by_info: None,
            server: None,
            held_places: None,
            phase,
        }
    }

    /// The state in the API's words.
    pub fn state(&self) -> CallState {
        match &self.phase {
            Phase::Announced { ringing: true, .. } | Phase::Joining { ringing: true, .. } => {
                CallState::Ringing
            }
            Phase::Announced { ringing: false, .. }
            | Phase::Joining { ringing: false, .. }
            | Phase::Opening { .. }
            | Phase::AskingServer { .. } => CallState::Trying,
            Phase::Calling { progress } => *progress,
            Phase::Active => CallState::Active,
            Phase::Cancelling => CallState::Ending,
            Phase::Leaving => match self.ended {
                Some(_) => CallState::Ended,
                None => CallState::Ending,
            },
        }
    }

    /// Everything there is to tell about it.
    pub fn snapshot(&self, clock: &WallClock, media: Option<MediaSnapshot>) -> CallSnapshot {
        let agreed = self.exchange.as_ref().and_then(Exchange::security);
        let (security, described_suite) = match agreed {
            None | Some(Security::Plain) => ("none", None),
            Some(Security::Sdes { send, .. }) => ("sdes", Some(send.suite.name())),
            // Its suite is the handshake's choice.
            Some(Security::Dtls { .. }) => ("dtls", None),
        };
        CallSnapshot {
            call: self.id,
            app: self.app.clone(),
            direction: self.direction,
            state: self.state(),
            from: self.from.clone(),
            to: self.to.clone(),
            sip_call_id: self.sip_call_id.clone(),
            peer_address: self.peer_address,
            stream: self.stream.clone(),
            created_ms: clock.unix_ms(self.created),
            ringing_ms: self.ringing.map(|at| clock.unix_ms(at)),
            early_ms: self.early.map(|at| clock.unix_ms(at)),
            answered_ms: self.answered.map(|at| clock.unix_ms(at)),
            ended_ms: self.ended.map(|at| clock.unix_ms(at)),
            sip_code: self.sip_code,
            end_reason: self.end_reason,
            held: self.held,
            security,
            srtp_suite: described_suite.or(media.as_ref().and_then(|media| media.srtp_suite)),
            media,
        }
    }
}
