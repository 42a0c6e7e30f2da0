//! The words between a call and the shard where its media lives, which need not
//! be the call's own.

use std::sync::Arc;

pub use crate::call::early::{Early, MovingLeg};
use crate::call::ports::LegAddress;
use crate::call::request::{CallError, MediaSnapshot, Stream};
use crate::call::sound_requests::PlayEnd;
use crate::call::watch::SoundAlarm;
use crate::ids::{CallId, PlayId, RoomKey, ShardId};
use crate::media::Remote;
use crate::sdp::Codec;
use crate::sound::conference::Description;
use crate::sound::dtmf::DtmfEvent;

/// What a call asks of the shard where its media lives.
#[derive(Debug)]
pub enum RoomRequest {
    /// Open a media leg for the call. Answered with [`RoomNotice::Joined`] or
    /// [`RoomNotice::Refused`].
    Join {
        /// Whose leg.
        call: CallId,
        /// Where to.
        place: Place,
        /// The leg's address family.
        ipv6: bool,
    },
    /// Open a media leg on which a caller hears something while its call rings.
    /// Answered with [`RoomNotice::Ringing`] or [`RoomNotice::Refused`].
    Ring {
        /// Whose leg.
        call: CallId,
        /// What it hears.
        early: Box<Early>,
        /// The leg's address family.
        ipv6: bool,
    },
    /// Take the leg of a call that rings into the room that the call was
    /// accepted into. Answered as [`RoomRequest::Join`] is, by the shard that
    /// the room is on; a leg that is refused rings on.
    Move {
        /// Whose leg.
        call: CallId,
        /// Where to.
        place: Place,
        /// The shard that the place is on, where it is another.
        to: Option<ShardId>,
    },
    /// From another shard: take this leg in.
    Arrive {
        /// Whose leg.
        call: CallId,
        /// Where to.
        place: Place,
        /// The leg.
        leg: Box<MovingLeg>,
        /// Where it comes from.
        from: ShardId,
    },
    /// From another shard: this leg was not taken in there.
    RingAgain {
        /// Whose leg.
        call: CallId,
        /// The leg.
        leg: Box<MovingLeg>,
    },
    /// The peer's side of the leg is known, or has changed.
    Connect {
        /// Whose leg.
        call: CallId,
        /// Where its media comes from and goes to.
        remote: Box<Remote>,
        /// All codecs agreed on, best first.
        codecs: Vec<Codec>,
        /// How its sound is coded, for rooms where it has to be made.
        sound: Option<Description>,
        /// How keys go to it, and where its own are.
        keys: Keys,
    },
    /// The peer has pressed a key, as its signalling says.
    Key {
        /// Whose peer.
        call: CallId,
        /// Which key, and for how long.
        key: DtmfEvent,
    },
    /// Keys that were to go to the peer by INFO, and are to go as it gets them
    /// now.
    SendKeys {
        /// Whose peer.
        call: CallId,
        /// Which keys, in their order.
        keys: Vec<DtmfEvent>,
    },
    /// The media server's side of the leg towards it is known.
    ConnectServer {
        /// Whose leg.
        call: CallId,
        /// Where its media comes from and goes to.
        remote: Box<Remote>,
    },
    /// Close the leg. Always answered with [`RoomNotice::Left`].
    Leave {
        /// Whose leg.
        call: CallId,
    },
    /// Statistics of these calls' legs for a query of the asking shard.
    Statistics {
        /// The asker's name for it.
        query: u64,
        /// Who asks.
        asker: ShardId,
        /// Which legs.
        calls: Vec<CallId>,
    },
}

/// How keys go to a peer, and where its own are looked for beside telephone
/// events and INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// How keys go to it.
    pub delivery: KeyDelivery,
    /// Its keys can be seen in its sound only.
    pub come_as_tones: bool,
}

/// How keys go to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyDelivery {
    /// As telephone events (RFC 4733).
    Events,
    /// In SIP INFO, which the call's shard sends.
    Info,
    /// As tones in the sound.
    Tones,
}

/// Where a call's media goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Back to where it came from.
    Echo,
    /// Nowhere yet: it rings, and hears what is played to it in this room of
    /// its own.
    Early(RoomKey),
    /// Into a room.
    Room(Stream),
    /// Into a room that is on a media server: by a second leg towards that
    /// server, linked with the call's own.
    Server {
        /// Which room, and the call's name in it.
        stream: Stream,
        /// Address family of the second leg.
        ipv6: bool,
    },
}

impl Place {
    /// The room and the name in it, wherever the room is.
    pub fn stream(&self) -> Option<&Stream> {
        match self {
            Place::Echo | Place::Early(_) => None,
            Place::Room(stream) | Place::Server { stream, .. } => Some(stream),
        }
    }

    /// The room, wherever it is.
    pub(super) fn room(&self) -> Option<&RoomKey> {
        match self {
            Place::Echo => None,
            Place::Early(key) => Some(key),
            Place::Room(stream) | Place::Server { stream, .. } => Some(&stream.room),
        }
    }

    /// The room, where its sound is made here.
    pub(super) fn room_here(&self) -> Option<&RoomKey> {
        match self {
            Place::Echo | Place::Server { .. } => None,
            Place::Early(key) => Some(key),
            Place::Room(stream) => Some(&stream.room),
        }
    }
}

/// What the room's shard tells the call's shard.
#[derive(Debug, Clone)]
pub enum RoomNotice {
    /// The leg is open.
    Joined {
        /// Whose leg.
        call: CallId,
        /// Our address for the SDP.
        local: LegAddress,
        /// What the room's other peer can take; `None`: anything.
        allowed: Option<Vec<Codec>>,
        /// Our address of the leg towards the media server, where there is
        /// one.
        server: Option<LegAddress>,
    },
    /// The leg of a call that rings is open.
    Ringing {
        /// Whose leg.
        call: CallId,
        /// Our address for the SDP.
        local: LegAddress,
    },
    /// No leg, and why.
    Refused {
        /// Whose.
        call: CallId,
        /// Why.
        error: CallError,
    },
    /// What the room's other peer can take has changed.
    Allowed {
        /// Whose leg.
        call: CallId,
        /// What it can take; `None`: anything, nobody is there.
        codecs: Option<Vec<Codec>>,
        /// This call's peer is likely to send what the other cannot take:
        /// negotiate anew.
        renegotiate: bool,
    },
    /// A WebRTC peer of the room is connected.
    OtherJoined {
        /// Who hears of it.
        call: CallId,
        /// The other's name.
        peer: Arc<str>,
    },
    /// A WebRTC peer of the room is gone.
    OtherLeft {
        /// Who hears of it.
        call: CallId,
        /// The other's name.
        peer: Arc<str>,
        /// Why.
        reason: &'static str,
    },
    /// The DTLS handshake of the leg has failed.
    SecurityFailed {
        /// Whose leg.
        call: CallId,
        /// Why, in words.
        reason: &'static str,
    },
    /// A key was pressed by the call's own peer.
    Key {
        /// Whose peer.
        call: CallId,
        /// Which key, and for how long.
        key: DtmfEvent,
    },
    /// A key is to be sent to the call's peer by INFO.
    SendKey {
        /// Whose peer.
        call: CallId,
        /// Which key, and for how long.
        key: DtmfEvent,
    },
    /// Keys that were to be sent to the call's peer are not, for it holds.
    KeysDropped {
        /// Whose peer.
        call: CallId,
    },
    /// The recording that was asked for with the call could not begin.
    NotRecorded {
        /// Which call.
        call: CallId,
        /// Why, in words.
        why: String,
    },
    /// What was played to the call, or to its room, has come to its end.
    Played {
        /// Who hears of it.
        call: CallId,
        /// What was played.
        play: PlayId,
        /// How it ended.
        end: PlayEnd,
    },
    /// Something is wrong with the sound of the call, or is right again.
    Alarm {
        /// Which call.
        call: CallId,
        /// What.
        alarm: SoundAlarm,
    },
    /// No media came for the configured time.
    Silent {
        /// Whose leg.
        call: CallId,
    },
    /// The leg is closed.
    Left {
        /// Whose.
        call: CallId,
        /// Its statistics; `None` if there was no leg.
        media: Option<MediaSnapshot>,
    },
    /// Answer to [`RoomRequest::Statistics`].
    Statistics {
        /// Where to.
        asker: ShardId,
        /// Which query.
        query: u64,
        /// What there is.
        media: Vec<(CallId, MediaSnapshot)>,
    },
}

impl RoomNotice {
    /// The shard it is for.
    pub fn addressee(&self) -> ShardId {
        match self {
            RoomNotice::Joined { call, .. }
            | RoomNotice::Ringing { call, .. }
            | RoomNotice::Refused { call, .. }
            | RoomNotice::Allowed { call, .. }
            | RoomNotice::OtherJoined { call, .. }
            | RoomNotice::OtherLeft { call, .. }
            | RoomNotice::SecurityFailed { call, .. }
            | RoomNotice::Silent { call }
            | RoomNotice::Alarm { call, .. }
            | RoomNotice::Key { call, .. }
            | RoomNotice::SendKey { call, .. }
            | RoomNotice::KeysDropped { call }
            | RoomNotice::Played { call, .. }
            | RoomNotice::NotRecorded { call, .. }
            | RoomNotice::Left { call, .. } => call.shard,
            RoomNotice::Statistics { asker, .. } => *asker,
        }
    }
}
