//! What a shard tells the api: one stream of events, in order per call.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::book::Number;
use crate::call::request::{CallSnapshot, Stream};
pub use crate::call::sound_requests::PlayEnd;
pub use crate::call::watch::SoundAlarm;
pub use crate::call::web_peer::WebEvent;
use crate::ids::{AppId, CallId, PlayId};
pub use crate::sound::dtmf::DtmfEvent;
pub use crate::sound::level::Missing;

/// One thing that happened to a call.
#[derive(Debug, Clone)]
pub struct CallEvent {
    /// Which call.
    pub call: CallId,
    /// Whose.
    pub app: AppId,
    /// When, milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// What.
    pub kind: CallEventKind,
}

/// What happened. The order per call: incoming calls start with `Arrived`,
/// outgoing ones with whatever comes first; `Ended` is the last, once.
#[derive(Debug, Clone)]
pub enum CallEventKind {
    /// An incoming call that the book lets in.
    Arrived(Box<Arrival>),
    /// Incoming: it was accepted (200 sent), by an action or by its number's
    /// `answer`.
    Accepted,
    /// Incoming: refused by the application or for want of an answer, with
    /// this SIP code.
    Rejected(u16),
    /// Incoming: the caller gave up before an answer.
    CallerCancelled,
    /// Either: the peer hung up.
    PeerHungUp,
    /// Outgoing: a 1xx without SDP.
    Provisional(u16),
    /// Outgoing: a 1xx with SDP.
    Early(u16),
    /// Outgoing: answered.
    Answered(u16),
    /// Outgoing: a final 3xx-6xx, 408 where nobody answered, 503 where the
    /// peer could not be reached.
    Failed(u16),
    /// Outgoing: we sent CANCEL.
    Cancelled,
    /// Outgoing: we sent BYE.
    Terminated,
    /// Either: something went wrong that the integrator should know of: no
    /// media for too long, nothing in common, the room is full.
    Error(String),
    /// A WebRTC peer of the call's room is connected.
    OtherJoined(Arc<str>),
    /// A WebRTC peer of the call's room is gone.
    OtherLeft {
        /// Its name in the room.
        peer: Arc<str>,
        /// As in [`WebEvent::Left`].
        reason: &'static str,
    },
    /// The peer has pressed a key.
    Key(DtmfEvent),
    /// What was played to the call, or to its room, has come to its end.
    Played {
        /// What.
        play: PlayId,
        /// How it ended.
        end: PlayEnd,
    },
    /// Something is wrong with the call's sound, or is right again.
    Alarm(SoundAlarm),
    /// No call's event, but a WebRTC peer's, which the id then names.
    Web(WebEvent),
    /// No event for an application: the call's room is on a media server, which
    /// is to be asked this. After `Ended` nothing may be left there.
    MediaServer(ServerRequest),
    /// The last event of every call, with how it went.
    Ended(Box<CallSnapshot>),
}

/// What is asked of the media server that a call's room is on. What comes of it
/// goes back by
/// [`CallRequest::MediaServer`](crate::call::request::CallRequest::MediaServer).
#[derive(Debug, Clone)]
pub enum ServerRequest {
    /// Outgoing: its offer for this place.
    Offer(Stream),
    /// Incoming: its answer.
    Answer {
        /// The place.
        stream: Stream,
        /// Our SDP offer.
        offer: String,
    },
    /// Outgoing: take our SDP answer. Only a failure is of interest.
    Complete(String),
}

/// An incoming call as it is announced.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Calling number (user part of From).
    pub from: Arc<str>,
    /// Called number as it stands in the book.
    pub to: Arc<str>,
    /// Where it comes from.
    pub source: SocketAddr,
    /// Its SIP Call-ID.
    pub sip_call_id: Arc<str>,
    /// The number's record.
    pub number: Arc<Number>,
    /// Set when the number is answered without asking anyone: an echo has no
    /// room.
    pub answered_without_asking: bool,
    /// Where it was put, when it was answered without asking into a room.
    pub stream: Option<Stream>,
}
