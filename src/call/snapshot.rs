//! How calls, rooms and shards are at one moment, as the api asks for it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::call::histogram::Histogram;
use crate::call::quality::Rating;
use crate::call::request::Stream;
use crate::call::sound_requests::Turned;
use crate::clock::WallClock;
use crate::ids::{AppId, CallId, PlayId, RecordingId, RoomKey};
pub use crate::sound::conference::PeerSound;
pub use crate::sound::receiver::ReceiverStatistics;
use crate::trace::KeptTrace;

/// Incoming or outgoing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer called us.
    Incoming,
    /// We called the peer.
    Outgoing,
}

impl Direction {
    /// The word the API uses.
    pub fn label(self) -> &'static str {
        match self {
            Direction::Incoming => "incoming",
            Direction::Outgoing => "outgoing",
        }
    }
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// Incoming: announced, nobody has acted; outgoing: INVITE sent.
    Trying,
    /// 180 sent or received.
    Ringing,
    /// Outgoing: a 1xx with SDP came; early media flows.
    Early,
    /// Answered.
    Active,
    /// CANCEL or BYE is under way.
    Ending,
    /// Over.
    Ended,
}

impl CallState {
    /// All of them.
    pub const ALL: [CallState; 6] = [
        CallState::Trying,
        CallState::Ringing,
        CallState::Early,
        CallState::Active,
        CallState::Ending,
        CallState::Ended,
    ];

    /// The word the API uses.
    pub fn label(self) -> &'static str {
        match self {
            CallState::Trying => "trying",
            CallState::Ringing => "ringing",
            CallState::Early => "early",
            CallState::Active => "active",
            CallState::Ending => "ending",
            CallState::Ended => "ended",
        }
    }
}

/// Everything `GET /call/{call_id}` tells. Times are milliseconds since the
/// Unix epoch.
#[derive(Debug, Clone)]
pub struct CallSnapshot {
    /// Which call.
    pub call: CallId,
    /// Whose.
    pub app: AppId,
    /// Direction.
    pub direction: Direction,
    /// State.
    pub state: CallState,
    /// Calling number.
    pub from: Arc<str>,
    /// Called number.
    pub to: Arc<str>,
    /// The SIP Call-ID, for comparison with the peer's logs.
    pub sip_call_id: Arc<str>,
    /// The peer's signalling address.
    pub peer_address: SocketAddr,
    /// Room and peer, once it has them.
    pub stream: Option<Stream>,
    /// When it began.
    pub created_ms: u64,
    /// When it first rang: 180 sent or received.
    pub ringing_ms: Option<u64>,
    /// Outgoing: when the first 1xx with SDP came.
    pub early_ms: Option<u64>,
    /// When it was answered.
    pub answered_ms: Option<u64>,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// Last SIP status of the INVITE, sent or received.
    pub sip_code: Option<u16>,
    /// Who or what ended it, in a word: `local`, `remote`, `cancelled`,
    /// `rejected`, `failed`, `media_timeout`, `lost`...
    pub end_reason: Option<&'static str>,
    /// The peer has put us on hold.
    pub held: bool,
    /// What the last description agreed on: `none`, `sdes` or `dtls`.
    pub security: &'static str,
    /// The SRTP suite, once it is known: of `dtls` the handshake chooses it.
    pub srtp_suite: Option<&'static str>,
    /// Media statistics.
    pub media: Option<MediaSnapshot>,
}

/// The SIP messages of a call, as [`CallRequest::Trace`] is answered.
#[derive(Debug, Clone)]
pub struct TraceSnapshot {
    /// The messages.
    pub trace: KeptTrace,
    /// Turns their instants into wall-clock time.
    pub clock: WallClock,
}

/// What a leg's media did so far.
#[derive(Debug, Clone, Default)]
pub struct MediaSnapshot {
    /// First audio codec in common, by name.
    pub codec: String,
    /// The SRTP suite of the keys in use, if any.
    pub srtp_suite: Option<&'static str>,
    /// Our RTP address as written into the SDP.
    pub local: Option<SocketAddr>,
    /// The peer's RTP address as latched or in its SDP.
    pub remote: Option<SocketAddr>,
    /// RTP packets received.
    pub packets_received: u64,
    /// Bytes of RTP payload received.
    pub bytes_received: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// Bytes of RTP payload sent.
    pub bytes_sent: u64,
    /// Lost on the way to us (RFC 3550 A.3).
    pub packets_lost: i64,
    /// Interarrival jitter in milliseconds (RFC 3550 A.8).
    pub jitter_ms: f64,
    /// Milliseconds to the peer and back (RFC 3550 section 6.4.1), once it has
    /// told when our last report reached it.
    pub round_trip_ms: Option<f64>,
    /// Of our stream lost until the peer, as it reports; negative when
    /// duplicates outweigh losses.
    pub remote_packets_lost: Option<i64>,
    /// Interarrival jitter of our stream at the peer in milliseconds, as it
    /// reports.
    pub remote_jitter_ms: Option<f64>,
    /// Milliseconds since the last packet came in.
    pub last_packet_ms_ago: Option<u64>,
    /// How good what comes from the peer sounds.
    pub quality: Option<Rating>,
    /// How good what goes to the peer sounds there, as its reports tell.
    pub remote_quality: Option<Rating>,
    /// How it is heard and hears; `None`: it is in no room of this gateway.
    pub audio: Option<Box<AudioSnapshot>>,
}

/// How a peer is heard and hears.
#[derive(Debug, Clone)]
pub struct AudioSnapshot {
    /// As the application has asked for.
    pub turned: Turned,
    /// As it sounds; `None` where nobody listens, as in a relayed room.
    pub sound: Option<PeerSound>,
}

/// One room.
#[derive(Debug, Clone)]
pub struct RoomSnapshot {
    /// Which.
    pub room: RoomKey,
    /// When it came to be, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// What its peers hear is made here; else they are relayed.
    pub mixed: bool,
    /// What is played.
    pub plays: Vec<PlaySnapshot>,
    /// What is recorded.
    pub recordings: Vec<RecordingSnapshot>,
    /// Who is in.
    pub peers: Vec<RoomPeerSnapshot>,
}

/// Something that is played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaySnapshot {
    /// Which play.
    pub play: PlayId,
    /// To whose call alone.
    pub call: Option<CallId>,
}

/// Something that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingSnapshot {
    /// Which recording.
    pub recording: RecordingId,
    /// Whose call; `None`: the whole room.
    pub call: Option<CallId>,
    /// Nothing is recorded just now.
    pub paused: bool,
}

/// How a peer came into a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerKind {
    /// By a SIP call.
    Sip,
    /// By an SDP offer over HTTP.
    WebRtc,
}

/// One peer of a room.
#[derive(Debug, Clone)]
pub struct RoomPeerSnapshot {
    /// Its name.
    pub peer: Arc<str>,
    /// Its call; of a WebRTC peer its own id.
    pub call: CallId,
    /// How it came.
    pub kind: PeerKind,
    /// Since when, milliseconds since the Unix epoch.
    pub joined_ms: u64,
    /// Audio statistics.
    pub media: Option<MediaSnapshot>,
}

/// What a shard has counted since it started, and what it holds now. Labels
/// are the metrics' labels.
#[derive(Debug, Clone, Default)]
pub struct ShardCounters {
    /// Calls alive now.
    pub calls: u64,
    /// Rooms alive now.
    pub rooms: u64,
    /// SIP sessions alive now: those of calls, and those whose BYE waits for
    /// its answer.
    pub sip_sessions: u64,
    /// Registrations that are being given up.
    pub registrations_leaving: u64,
    /// Media legs alive now.
    pub legs: u64,
    /// RTP port pairs that may still be opened.
    pub free_port_pairs: u64,
    /// Ever growing counts: (metric name without prefix, label name, label
    /// value, count).
    pub totals: Vec<(&'static str, &'static str, String, u64)>,
    /// Everything that takes more than a count or more than one label.
    pub samples: Vec<Sample>,
}

/// One line, or one histogram, of the metrics.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Name without prefix.
    pub name: &'static str,
    /// Labels beside the shard.
    pub labels: Vec<(&'static str, String)>,
    /// The figure.
    pub value: SampleValue,
}

/// The figure of a [`Sample`].
#[derive(Debug, Clone)]
pub enum SampleValue {
    /// Only grows.
    Total(u64),
    /// Goes up and down.
    Gauge(u64),
    /// How often something took how long.
    Histogram(Histogram),
}
