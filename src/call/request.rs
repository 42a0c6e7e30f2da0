//! What the api asks of a shard, and what it gets back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::book::{Book, DtmfPolicy, Hook, SipAuth};
pub use crate::call::admission::Admission;
pub use crate::call::histogram::Histogram;
pub use crate::call::limits::{LimitExceeded, LimitKind, LimitScope};
pub use crate::call::quality::{Rating, Way, two_decimals};
pub use crate::call::registering::{Registrars, RegistrationPlan, RegistrationSnapshot};
pub use crate::call::settings::Guards;
pub use crate::call::snapshot::*;
pub use crate::call::sound_requests::{PlayEnd, Turned};
pub use crate::call::waiting::WaitingSounds;
use crate::ids::{AppId, CallId, PlayId, RecordingId, RoomKey};
use crate::keying::Srtp;
use crate::sdp::NegotiationError;
pub use crate::sound::clip::Clip;
pub use crate::sound::dtmf::{DialStep, Digit, DtmfEvent, KeyTiming, MAX_QUEUED_KEYS};
pub use crate::sound::player::{GAIN_DB, PlayOptions, Repeat};
pub use crate::sound::tone::Tone;

/// One request from the api to the shard that owns the call or room.
#[derive(Debug, Clone)]
pub enum CallRequest {
    /// Start an outgoing call. Answered with [`CallReply::Dialed`].
    Dial(Box<Dial>),
    /// Do something to a call. Answered with [`CallReply::Done`].
    Act {
        /// Which call.
        call: CallId,
        /// What to do.
        action: Action,
    },
    /// [`Action::Ring`], and the caller hears this before the answer, where its
    /// offer can be answered early. Answered with [`CallReply::Done`].
    RingBack {
        /// Which call.
        call: CallId,
        /// What it hears.
        ringback: (PlayId, Arc<Clip>),
    },
    /// One call. Answered with [`CallReply::Call`].
    Call(CallId),
    /// All calls on this shard, of this app only if it is named. Answered with
    /// [`CallReply::Calls`].
    Calls(Option<AppId>),
    /// The SIP messages of a call, for a while after its end too. Answered
    /// with [`CallReply::Trace`].
    Trace(CallId),
    /// All rooms on this shard, of this app only if it is named. Answered with
    /// [`CallReply::Rooms`].
    Rooms(Option<AppId>),
    /// One room. Answered with [`CallReply::Rooms`] of one.
    Room(RoomKey),
    /// About a WebRTC peer. Answered with [`CallReply::WebJoined`],
    /// [`CallReply::WebAnswered`] or [`CallReply::Done`].
    Web(WebRequest),
    /// About the sound of a room or of one of its peers; for the shard that the
    /// room is on. Answered with [`CallReply::Done`], [`CallReply::Turned`] or
    /// [`CallReply::Recording`].
    Sound(SoundRequest),
    /// What came of a [`ServerRequest`](crate::call::event::ServerRequest).
    /// Answered with [`CallReply::Done`].
    MediaServer {
        /// Whose room is on the media server.
        call: CallId,
        /// Its description, or why there is none.
        outcome: Result<ServerDescription, MediaServerFailure>,
    },
    /// From now on this number book counts. Answered with [`CallReply::Done`].
    UseBook(Arc<Book>),
    /// From now on incoming calls that nobody acts upon within this are
    /// refused. Answered with [`CallReply::Done`].
    UseAnswerTimeout(Duration),
    /// From now on these limits and guards count. Answered with
    /// [`CallReply::Done`].
    UseGuards(Box<Guards>),
    /// Whether the shard would let a call in just now, as far as that is not
    /// the number book's affair. Nothing is counted. Answered with
    /// [`CallReply::Admission`].
    Admission {
        /// Where it would come from.
        source: IpAddr,
        /// What it would call.
        number: String,
    },
    /// Keep a registration of a number, in place of its former one. Answered
    /// with [`CallReply::Done`].
    Register(Box<RegistrationPlan>),
    /// Give the registration of this number up. Answered with
    /// [`CallReply::Done`].
    Unregister(Arc<str>),
    /// How this shard's registrations stand. Answered with
    /// [`CallReply::Registrations`].
    Registrations,
    /// From now on calls from these addresses are allowed to the numbers that
    /// are registered there. Answered with [`CallReply::Done`].
    UseRegistrars(Arc<Registrars>),
    /// Counters for the metrics. Answered with [`CallReply::Counters`].
    Counters,
    /// Refuse new calls from now on (503 with Retry-After). Answered with
    /// [`CallReply::Done`].
    Drain,
    /// End every call and every WebRTC peer that is left. Answered with [`CallReply::Done`].
    EndAll,
}

/// What is to be done to the sound of a room.
#[derive(Debug, Clone)]
pub enum SoundRequest {
    /// Play to all of a room, or to one call in it.
    Play {
        /// The room.
        room: RoomKey,
        /// To whom alone.
        call: Option<CallId>,
        /// Its name from now on.
        play: PlayId,
        /// What.
        source: PlaySource,
        /// How.
        options: PlayOptions,
    },
    /// Stop what is played.
    StopPlay {
        /// The room.
        room: RoomKey,
        /// To whom alone it is played.
        call: Option<CallId>,
        /// Its name.
        play: PlayId,
    },
    /// Send keys to a peer.
    Keys {
        /// The room.
        room: RoomKey,
        /// Whose peer.
        call: CallId,
        /// The keys and waits, one after the other.
        steps: Vec<DialStep>,
    },
    /// Let a call hear something while it is alone in its room.
    Wait {
        /// The room.
        room: RoomKey,
        /// Which call.
        call: CallId,
        /// What.
        sounds: WaitingSounds,
    },
    /// Change how a peer is heard and hears.
    Turn {
        /// The room.
        room: RoomKey,
        /// The peer's name.
        peer: Arc<str>,
        /// What is to be different.
        change: VoiceChange,
    },
    /// Begin to record a call, or the whole room.
    Record {
        /// The room.
        room: RoomKey,
        /// The call.
        call: Option<CallId>,
    },
    /// Leave something out of the recording, or go on.
    PauseRecording {
        /// The room.
        room: RoomKey,
        /// The call.
        call: Option<CallId>,
        /// Whether nothing is recorded from now on.
        paused: bool,
    },
    /// End the recording.
    StopRecording {
        /// The room.
        room: RoomKey,
        /// The call.
        call: Option<CallId>,
    },
}

/// What is played.
#[derive(Debug, Clone)]
pub enum PlaySource {
    /// A sound file.
    Clip(Arc<Clip>),
    /// A tone; one pass is one period of its cadence.
    Tone(Tone),
}

/// What is to be different in how a peer is heard and hears; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VoiceChange {
    /// Nobody hears it.
    pub muted: Option<bool>,
    /// It hears nobody.
    pub deafened: Option<bool>,
    /// How much louder it is heard, in dB.
    pub gain_db: Option<f32>,
    /// Names of the peers who alone hear it; `Some(None)`: everybody.
    pub heard_by: Option<Option<Vec<Arc<str>>>>,
}

/// What an HTTP client asks for a WebRTC peer. Every later request names the
/// place too, so that a token for one place reaches no other.
#[derive(Debug, Clone)]
pub enum WebRequest {
    /// Come in with this SDP offer; a WebRTC peer of the same name is replaced.
    Join {
        /// Where to.
        stream: Stream,
        /// The SDP.
        offer: Vec<u8>,
    },
    /// A new SDP offer.
    Offer {
        /// Who.
        peer: CallId,
        /// Its place.
        stream: Stream,
        /// The SDP.
        offer: Vec<u8>,
        /// Of which ICE session.
        session: IceSession,
    },
    /// Trickled candidates or an ICE restart (RFC 8840).
    Fragment {
        /// Who.
        peer: CallId,
        /// Its place.
        stream: Stream,
        /// The SDP fragment.
        fragment: Vec<u8>,
        /// Of which ICE session.
        session: IceSession,
    },
    /// Go.
    Leave {
        /// Who.
        peer: CallId,
        /// Its place.
        stream: Stream,
    },
}

/// The ICE session that a request means: the `If-Match` of a PATCH (RFC 9725
/// section 4.3.1). Our user name fragment is the session's entity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IceSession {
    /// Whichever there is: `*`, or no such header.
    Any,
    /// One that bears one of these names.
    Named(Vec<String>),
}

impl IceSession {
    /// Whether the session of this name is meant.
    pub fn is(&self, ufrag: &str) -> bool {
        match self {
            IceSession::Any => true,
            IceSession::Named(names) => names.iter().any(|name| name == ufrag),
        }
    }
}

/// An outgoing call, checked and with its addresses looked up.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Whose call it is.
    pub app: AppId,
    /// Where the INVITE is sent: the address of `sip_proxy`, else of
    /// `sip_server`.
    pub destination: SocketAddr,
    /// Host and port as they go into Request-URI, From and To.
    pub sip_server: String,
    /// The outbound proxy as a SIP URI: it becomes a loose Route
    /// (RFC 3261 section 8.1.2).
    pub sip_proxy: Option<String>,
    /// Answers a 401 or 407.
    pub sip_auth: Option<SipAuth>,
    /// User part of From.
    pub from_number: String,
    /// User part of To and the Request-URI.
    pub to_number: String,
    /// Where events go.
    pub hook: Option<Hook>,
    /// The room and the call's name in it.
    pub stream: Stream,
    /// No final answer within this ends the call with 408.
    pub answer_timeout: Duration,
    /// How its media is protected.
    pub srtp: Srtp,
    /// How keys go to the callee; `None`: as configured.
    pub dtmf: Option<DtmfPolicy>,
}

/// How a media server describes its leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerDescription {
    /// The SDP, as it came.
    pub sdp: Vec<u8>,
    /// Where the HTTP response came from, where that is known: what is to be
    /// thought of a private address in the SDP depends on it.
    pub source: Option<IpAddr>,
}

/// Why a call cannot be in its room on the media server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaServerFailure {
    /// It cannot be reached, is late, or says 5xx: 503 with Retry-After to a
    /// caller.
    #[error("the media server is not available: {0}")]
    Unavailable(String),
    /// It refuses us, or answers with what cannot be used: 500 to a caller.
    #[error("the media server cannot be used: {0}")]
    Unusable(String),
    /// It takes nothing of what the caller has: 488.
    #[error("the media server and the caller have no codec in common")]
    NoCommonCodec,
}

/// Where a call's media goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The room.
    pub room: RoomKey,
    /// The call's name in the room.
    pub peer: Arc<str>,
    /// Record the room.
    pub record: bool,
}

/// What an application may do to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Incoming: let the caller hear ringing (180).
    Ring,
    /// Incoming: answer into a room.
    Accept(Stream),
    /// Incoming, not accepted yet: refuse with this SIP code (486 where the
    /// application just says End, `hook_failure_code` where no answer came).
    Reject(u16),
    /// End it by CANCEL, 4xx/6xx or BYE, whichever the state needs.
    End,
}

/// A shard's reply.
#[derive(Debug, Clone)]
pub enum CallReply {
    /// The outgoing call exists.
    Dialed {
        /// Its id.
        call: CallId,
        /// Its SIP Call-ID, unless the INVITE waits for a media server.
        sip_call_id: Option<Arc<str>>,
    },
    /// Done.
    Done,
    /// One call.
    Call(Box<CallSnapshot>),
    /// Several calls.
    Calls(Vec<CallSnapshot>),
    /// The SIP messages of a call.
    Trace(Box<TraceSnapshot>),
    /// Rooms.
    Rooms(Vec<RoomSnapshot>),
    /// The WebRTC peer is in.
    WebJoined {
        /// Its id.
        peer: CallId,
        /// The SDP answer.
        answer: String,
        /// Our ICE user name fragment, which names the ICE session.
        ufrag: String,
    },
    /// A WebRTC peer's offer or fragment is answered.
    WebAnswered {
        /// SDP or SDP fragment, as was asked.
        answer: String,
        /// Our ICE user name fragment.
        ufrag: String,
    },
    /// How a peer is heard and hears now.
    Turned(Turned),
    /// The recording that was meant.
    Recording(RecordingId),
    /// Whether it would let a call in.
    Admission(Admission),
    /// Registrations.
    Registrations(Vec<RegistrationSnapshot>),
    /// Counters.
    Counters(Box<ShardCounters>),
    /// Refused, and why.
    Refused(CallError),
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// 404 `CALL_NOT_FOUND`.
    #[error("there is no such call; it may have ended")]
    UnknownCall,
    /// 404 `TRACE_NOT_FOUND`.
    #[error(
        "no SIP messages are kept of this call: sip.trace is off, they had to make room for newer ones, or its Call-ID is another app's too"
    )]
    NoTrace,
    /// 404 `PEER_NOT_FOUND`.
    #[error("there is no such peer in the room; it may have left or been replaced")]
    UnknownPeer,
    /// 412 `PRECONDITION_FAILED`.
    #[error(
        "this is about an ICE session that is over: send the ETag of the latest answer as If-Match, or * to restart ICE"
    )]
    FormerIceSession,
    /// 422 `WEBRTC_DISABLED`.
    #[error("WebRTC is off; set webrtc.enabled to true")]
    WebRtcDisabled,
    /// 404 `ROOM_NOT_FOUND`.
    #[error("there is no such room; a room exists while somebody is in it")]
    UnknownRoom,
    /// 409 `WRONG_STATE`.
    #[error("the call is {state}; {action} is not possible then")]
    WrongState {
        /// What was asked.
        action: &'static str,
        /// State of the call.
        state: &'static str,
    },
    /// 409 `ROOM_FULL`.
    #[error("the room has as many peers as it takes; widen sound.room_capacity")]
    RoomFull,
    /// 409 `PEER_EXISTS`.
    #[error("the room already has a peer of this name; use another `peer`")]
    PeerExists,
    /// 422 `RECORDING_UNAVAILABLE`.
    #[error("this gateway has no place for recordings; see [recording]")]
    RecordingOff,
    /// 503 `RECORDING_UNAVAILABLE`, with Retry-After.
    #[error("{0}")]
    RecordingUnavailable(String),
    /// 409 `ALREADY_RECORDING`.
    #[error("this is recorded already; stop that recording first")]
    AlreadyRecording,
    /// 404 `RECORDING_NOT_FOUND`.
    #[error("nothing is recorded here; start a recording first")]
    NotRecording,
    /// 404 `PLAY_NOT_FOUND`.
    #[error("nothing of this id is played here; it may have ended")]
    UnknownPlay,
    /// 429 `TOO_MANY_PLAYS`, with Retry-After.
    #[error("as much is played in this room as it takes; stop something first")]
    TooManyPlays,
    /// 429 `TOO_MANY_KEYS`, with Retry-After.
    #[error("as many keys wait to be sent as the call takes; try again when they are out")]
    TooManyKeys,
    /// 409 `PEER_ON_HOLD`.
    #[error(
        "the peer takes no sound now (it is on hold), so no keys either; send them when it is back"
    )]
    PeerOnHold,
    /// 503 `PORTS_EXHAUSTED`, with Retry-After.
    #[error("all RTP ports are in use; try again later or widen rtp.ports")]
    PortsExhausted,
    /// 503 `OVERLOADED`, with Retry-After.
    #[error("the gateway has as many calls as it takes; try again later")]
    TooManyCalls,
    /// 503 `OVERLOADED`, with Retry-After.
    #[error("the gateway is overloaded; try again in a second")]
    Overloaded,
    /// 429 `LIMIT_CALLS` or `LIMIT_CALL_RATE`, with Retry-After.
    #[error("{0}; try again later")]
    Limit(LimitExceeded),
    /// 503 `DRAINING`, with Retry-After.
    #[error("the gateway is shutting down and takes no new calls")]
    Draining,
    /// 400 `BAD_REQUEST`.
    #[error("{field}: {reason}")]
    Invalid {
        /// Name of the field.
        field: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// 409 `NO_COMMON_CODEC`.
    #[error("the room's other peer and this one have no codec in common")]
    NoCommonCodec,
    /// 502 `MEDIA_SERVER_FAILED`.
    #[error("{0}")]
    MediaServer(MediaServerFailure),
    /// 409 `NO_COMMON_SECURITY`.
    #[error("{0}; see `srtp` and `srtp_keying` of the call, its number and [calls]")]
    NoCommonSecurity(NegotiationError),
    /// 503 `MEDIA_UNAVAILABLE`.
    #[error("the media leg could not be opened: {0}")]
    Media(String),
}

impl From<NegotiationError> for CallError {
    fn from(error: NegotiationError) -> Self {
        match error.is_about_security() {
            true => CallError::NoCommonSecurity(error),
            false => CallError::NoCommonCodec,
        }
    }
}
