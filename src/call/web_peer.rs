//! WebRTC peers: members of a room that came by an SDP offer over HTTP
//! (RFC 9725) and not by a call. They live on their room's shard, so a request
//! is served in one step.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::book::DtmfPolicy;
use crate::call::description;
use crate::call::early::Connection;
use crate::call::event::{CallEvent, CallEventKind};
use crate::call::request::{CallError, CallReply, IceSession, Stream, WebRequest};
use crate::call::room::{Member, MemberKind, Place, Ports, RoomNotice, Rooms};
use crate::ids::{CallId, LegId, RoomKey, ShardId};
use crate::keying::{Fingerprint, IceCredentials};
use crate::media::SynchronizationSource;
use crate::sdp::webrtc::{self, WebRtcLocal, WebRtcNegotiated};
use crate::sdp::{Codec, NegotiationError, Session, ice};

/// WebRTC peers of one shard at most; one more is refused.
const MAX_PEERS: usize = 16_384;

/// Characters of a user name fragment and a password. RFC 8445 section 5.3
/// wants 24 and 128 bits of randomness; a character has 6.
const UFRAG_LEN: usize = 8;
const PASSWORD_LEN: usize = 24;
/// The ice-char of RFC 8839 section 5.4.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What the shard has for WebRTC peers.
#[derive(Debug, Clone)]
pub struct WebSettings {
    /// The shard, which is part of the peers' ids.
    pub shard: ShardId,
    /// Addresses of the shard's shared ports, as peers reach them: the host
    /// candidates of every answer.
    pub candidates: Vec<SocketAddr>,
    /// Of the gateway's DTLS certificate.
    pub fingerprint: Fingerprint,
    /// Where ids and ICE credentials come from.
    pub seed: [u8; 32],
}

/// What happened to a WebRTC peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebEvent {
    /// Its offer was answered.
    Joined {
        /// The room.
        room: RoomKey,
        /// Its name in it.
        peer: Arc<str>,
    },
    /// Its media is keyed and flows.
    Connected,
    /// The other peer's codecs changed: it should make a new offer.
    Renegotiate,
    /// It is out of the room, and why: `deleted`, `replaced`, `consent_lost`,
    /// `security_failed` or `shutdown`.
    Left(&'static str),
}

/// The web side of a shard's rooms.
pub(super) struct Web {
    settings: WebSettings,
    random: StdRng,
    peers: usize,
}

/// What is known of a WebRTC peer beside its leg.
pub(super) struct WebPeer {
    /// Our ICE credentials.
    local: IceCredentials,
    /// Its ICE user name fragment; another one is an ICE restart.
    remote_ufrag: String,
    /// The one before the latest restart: what comes with it is late.
    former_ufrag: Option<String>,
    /// Constant in all our answers (RFC 8866 section 5.2).
    session_id: u64,
    /// Version of our last answer.
    version: u64,
}

impl WebPeer {
    /// RFC 9725 section 4.3.1: a request about another ICE session changes
    /// nothing.
    fn check_session(&self, meant: &IceSession) -> Result<(), CallError> {
        if meant.is(&self.local.ufrag) {
            Ok(())
        } else {
            Err(CallError::FormerIceSession)
        }
    }

    fn restart(&mut self, theirs: String, ours: IceCredentials) {
        self.former_ufrag = Some(std::mem::replace(&mut self.remote_ufrag, theirs));
        self.local = ours;
    }
}

impl Web {
    pub(super) fn new(settings: WebSettings) -> Self {
        Web {
            random: StdRng::from_seed(settings.seed),
            settings,
            peers: 0,
        }
    }

    pub(super) fn candidate(&self) -> Option<SocketAddr> {
        self.settings.candidates.first().copied()
    }

    fn credentials(&mut self) -> IceCredentials {
        let mut text = |len: usize| -> String {
            let mut character = || char::from(ICE_CHARS[self.random.random_range(0..64)]);
            (0..len).map(|_| character()).collect()
        };
        IceCredentials {
            ufrag: text(UFRAG_LEN),
            password: text(PASSWORD_LEN),
        }
    }

    /// With what the room's other takes too, where there is any such codec; else
    /// with whatever the gateway can code.
    fn answer(
        &self,
        offer: &Session,
        peer: &WebPeer,
        source: &SynchronizationSource,
        others: Option<&[Codec]>,
    ) -> Result<(Session, WebRtcNegotiated), CallError> {
        let local = WebRtcLocal {
            candidates: self.settings.candidates.clone(),
            ice: peer.local.clone(),
            fingerprint: self.settings.fingerprint.clone(),
            ssrc: source.ssrc,
            cname: source.cname.clone(),
            session_id: peer.session_id,
            version: peer.version,
        };
        let answered = match others.map(|others| webrtc::answer(offer, &local, others)) {
            None | Some(Err(NegotiationError::NoCommonCodec)) => {
                webrtc::answer(offer, &local, &Codec::ALL)
            }
            Some(answered) => answered,
        };
        answered.map_err(|error| match error {
            NegotiationError::NoCommonCodec => CallError::NoCommonCodec,
            error => CallError::Invalid {
                field: "offer",
                reason: error.to_string(),
            },
        })
    }
}

impl Rooms {
    /// Serves a request about a WebRTC peer.
    pub fn handle_web(
        &mut self,
        now: Instant,
        request: WebRequest,
        ports: &mut dyn Ports,
    ) -> CallReply {
        let reply = match request {
            WebRequest::Join { stream, offer } => self.web_join(now, stream, &offer, ports),
            WebRequest::Offer {
                peer,
                stream,
                offer,
                session,
            } => self
                .web_peer_at(peer, &stream)
                .and_then(|()| self.web_offer(now, peer, &offer, &session)),
            WebRequest::Fragment {
                peer,
                stream,
                fragment,
                session,
            } => self
                .web_peer_at(peer, &stream)
                .and_then(|()| self.web_fragment(peer, &fragment, &session)),
            WebRequest::Leave { peer, stream } => self.web_peer_at(peer, &stream).map(|()| {
                self.web_leave(now, peer, "deleted", ports);
                CallReply::Done
            }),
        };
        reply.unwrap_or_else(CallReply::Refused)
    }

    /// A leg's keys are there.
    pub fn secured(&mut self, now: Instant, leg: LegId) {
        if let Some((call, _)) = self.web_peer_of(leg) {
            self.tell_web(now, call, WebEvent::Connected);
            if let Some(peer) = self.name_of(call) {
                for other in self.sip_others(call) {
                    let peer = peer.clone();
                    self.notices
                        .push_back(RoomNotice::OtherJoined { call: other, peer });
                }
            }
        }
    }

    /// A WebRTC peer's checks have stopped coming (RFC 7675 section 5.1).
    pub fn consent_lost(&mut self, now: Instant, leg: LegId, ports: &mut dyn Ports) {
        if let Some((call, _)) = self.web_peer_of(leg) {
            self.web_leave(now, call, "consent_lost", ports);
        }
    }

    /// A peer is not who its description said, or its handshake failed: no
    /// media can ever pass.
    pub fn security_failed(
        &mut self,
        now: Instant,
        leg: LegId,
        reason: &'static str,
        ports: &mut dyn Ports,
    ) {
        if let Some((call, _)) = self.web_peer_of(leg) {
            tracing::info!(call_id = %call, reason, "DTLS handshake failed");
            self.web_leave(now, call, "security_failed", ports);
        } else if let Some(&call) = self.by_leg.get(&leg) {
            self.notices
                .push_back(RoomNotice::SecurityFailed { call, reason });
        }
    }

    /// Ends every WebRTC peer: the gateway shuts down.
    pub fn end_web(&mut self, now: Instant, ports: &mut dyn Ports) {
        let is_web = |member: &Member| matches!(member.kind, MemberKind::Web(_));
        let all: Vec<CallId> = self
            .members
            .iter()
            .filter(|(_, member)| is_web(member))
            .map(|(call, _)| *call)
            .collect();
        for call in all {
            self.web_leave(now, call, "shutdown", ports);
        }
    }

    /// The next event of a WebRTC peer, for the api.
    pub fn poll_event(&mut self) -> Option<CallEvent> {
        self.events.pop_front()
    }

    fn web_join(
        &mut self,
        now: Instant,
        stream: Stream,
        offer: &[u8],
        ports: &mut dyn Ports,
    ) -> Result<CallReply, CallError> {
        let offer = parse_offer(offer)?;
        let former = self.web_member_named(&stream);
        // Everything that may refuse comes first: a reload whose offer is no
        // good leaves the former peer in.
        let allowed = self.admit(&stream, former)?;
        let allowed = allowed.as_deref();
        let web = self.web.as_mut().ok_or(CallError::WebRtcDisabled)?;
        if web.peers >= MAX_PEERS {
            return Err(CallError::TooManyCalls);
        }
        let mut peer = WebPeer {
            local: web.credentials(),
            remote_ufrag: String::new(),
            former_ufrag: None,
            session_id: u64::from(web.random.random::<u32>() >> 1),
            version: 1,
        };
        let call = CallId {
            shard: web.settings.shard,
            random: web.random.random(),
        };
        web.answer(&offer, &peer, &SynchronizationSource::default(), allowed)?;
        web.peers += 1;
        if let Some(former) = former {
            self.web_leave(now, former, "replaced", ports);
        }
        let leg = self.table.open_shared(now, peer.local.clone());
        let source = self.table.source(leg).unwrap_or_default();
        let answered = match &self.web {
            Some(web) => web.answer(&offer, &peer, &source, allowed),
            None => Err(CallError::WebRtcDisabled),
        };
        let (answer, agreed) = match answered {
            Ok(answered) => answered,
            Err(error) => {
                self.table.close(leg);
                self.count_web_out();
                return Err(error);
            }
        };
        peer.remote_ufrag = agreed.ice.ufrag.clone();
        let ufrag = peer.local.ufrag.clone();
        let (room, name) = (stream.room.clone(), stream.peer.clone());
        self.enter(
            now,
            call,
            leg,
            Place::Room(stream),
            MemberKind::Web(Box::new(peer)),
        );
        self.tell_web(now, call, WebEvent::Joined { room, peer: name });
        self.web_connect(now, call, agreed);
        Ok(CallReply::WebJoined {
            peer: call,
            answer: answer.to_string(),
            ufrag,
        })
    }

    /// A new offer: other codecs, another direction, or an ICE restart, which
    /// is known by a new user name fragment (RFC 8839 section 4.4.1.1.1).
    fn web_offer(
        &mut self,
        now: Instant,
        call: CallId,
        offer: &[u8],
        session: &IceSession,
    ) -> Result<CallReply, CallError> {
        let offer = parse_offer(offer)?;
        let allowed = self.codecs_of_others(call);
        let allowed = allowed.as_deref();
        let (Some(web), Some(member)) = (&mut self.web, self.members.get_mut(&call)) else {
            return Err(CallError::UnknownPeer);
        };
        let MemberKind::Web(peer) = &mut member.kind else {
            return Err(CallError::UnknownPeer);
        };
        peer.check_session(session)?;
        let leg = member.leg;
        let source = self.table.source(leg).unwrap_or_default();
        let (_, agreed) = web.answer(&offer, peer, &source, allowed)?;
        if agreed.ice.ufrag != peer.remote_ufrag {
            peer.restart(agreed.ice.ufrag.clone(), web.credentials());
            self.table.restart_ice(leg, peer.local.clone());
        }
        peer.version += 1;
        let (answer, agreed) = web.answer(&offer, peer, &source, allowed)?;
        let ufrag = peer.local.ufrag.clone();
        self.web_connect(now, call, agreed);
        Ok(CallReply::WebAnswered {
            answer: answer.to_string(),
            ufrag,
        })
    }

    /// Trickled candidates (RFC 8840), which a lite agent has no use for, or
    /// an ICE restart (RFC 9725 section 4.3.3).
    fn web_fragment(
        &mut self,
        call: CallId,
        fragment: &[u8],
        session: &IceSession,
    ) -> Result<CallReply, CallError> {
        let text = std::str::from_utf8(fragment).map_err(|_| CallError::Invalid {
            field: "fragment",
            reason: "is not UTF-8 text; send an application/trickle-ice-sdpfrag body".to_owned(),
        })?;
        let fragment = ice::TrickleFragment::parse(text).map_err(|error| CallError::Invalid {
            field: "fragment",
            reason: error.to_string(),
        })?;
        let (Some(web), Some(member)) = (&mut self.web, self.members.get_mut(&call)) else {
            return Err(CallError::UnknownPeer);
        };
        let MemberKind::Web(peer) = &mut member.kind else {
            return Err(CallError::UnknownPeer);
        };
        peer.check_session(session)?;
        let theirs = match fragment.credentials {
            Some(theirs) if theirs.ufrag != peer.remote_ufrag => theirs.ufrag,
            _ => return Ok(CallReply::Done),
        };
        // A candidate that was overtaken by a restart does not undo it.
        if peer.former_ufrag.as_ref() == Some(&theirs) {
            return Err(CallError::FormerIceSession);
        }
        peer.restart(theirs, web.credentials());
        self.table.restart_ice(member.leg, peer.local.clone());
        let ours = ice::TrickleFragment {
            credentials: Some(peer.local.clone()),
            mid: fragment.mid,
            candidates: web
                .settings
                .candidates
                .iter()
                .enumerate()
                .map(|(place, address)| ice::Candidate::host(place, *address))
                .collect(),
            end_of_candidates: true,
        };
        Ok(CallReply::WebAnswered {
            answer: ours.to_string(),
            ufrag: peer.local.ufrag.clone(),
        })
    }

    fn web_connect(&mut self, now: Instant, call: CallId, agreed: WebRtcNegotiated) {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let keys = description::keys(DtmfPolicy::Auto, &agreed.negotiated, false);
        let remote = description::remote(&agreed.negotiated, nowhere.ip(), keys.delivery);
        let codecs = agreed.negotiated.codec_list();
        let sound = description::sound(&agreed.negotiated, keys.delivery);
        let connection = Connection {
            remote,
            codecs,
            sound,
            keys,
        };
        self.connect(now, call, connection);
    }

    fn web_leave(
        &mut self,
        now: Instant,
        call: CallId,
        reason: &'static str,
        ports: &mut dyn Ports,
    ) {
        self.tell_web(now, call, WebEvent::Left(reason));
        if let Some(peer) = self.name_of(call) {
            for other in self.sip_others(call) {
                self.notices.push_back(RoomNotice::OtherLeft {
                    call: other,
                    peer: peer.clone(),
                    reason,
                });
            }
        }
        if self.leave(now, call, ports).is_some() {
            self.count_web_out();
        }
    }

    fn name_of(&self, call: CallId) -> Option<Arc<str>> {
        let place = &self.members.get(&call)?.place;
        place.stream().map(|stream| stream.peer.clone())
    }

    /// The calls in the peer's room.
    fn sip_others(&self, call: CallId) -> Vec<CallId> {
        let is_call = |other: &CallId| {
            let member = self.members.get(other);
            matches!(member.map(|m| &m.kind), Some(MemberKind::Sip(_)))
        };
        self.others(call).into_iter().filter(is_call).collect()
    }

    fn count_web_out(&mut self) {
        if let Some(web) = &mut self.web {
            web.peers = web.peers.saturating_sub(1);
        }
    }

    pub(super) fn tell_web(&mut self, now: Instant, call: CallId, event: WebEvent) {
        let Some(Place::Room(stream)) = self.members.get(&call).map(|member| &member.place) else {
            return;
        };
        self.events.push_back(CallEvent {
            call,
            app: stream.room.app.clone(),
            timestamp_ms: self.clock.unix_ms(now),
            kind: CallEventKind::Web(event),
        });
    }

    /// Whether this peer is a WebRTC one, at this place.
    fn web_peer_at(&self, call: CallId, stream: &Stream) -> Result<(), CallError> {
        match self.members.get(&call).map(Box::as_ref) {
            Some(Member {
                kind: MemberKind::Web(_),
                place: Place::Room(at),
                ..
            }) if at.room == stream.room && at.peer == stream.peer => Ok(()),
            _ => Err(CallError::UnknownPeer),
        }
    }

    fn web_peer_of(&self, leg: LegId) -> Option<(CallId, &WebPeer)> {
        let call = *self.by_leg.get(&leg)?;
        match &self.members.get(&call)?.kind {
            MemberKind::Web(peer) => Some((call, peer)),
            MemberKind::Sip(_) => None,
        }
    }

    /// The WebRTC peer that is in this place already.
    fn web_member_named(&self, stream: &Stream) -> Option<CallId> {
        let room = self.rooms.get(&stream.room)?;
        room.peers
            .iter()
            .copied()
            .find(|call| self.web_peer_at(*call, stream).is_ok())
    }
}

fn parse_offer(offer: &[u8]) -> Result<Session, CallError> {
    Session::parse(offer).map_err(|error| CallError::Invalid {
        field: "offer",
        reason: error.to_string(),
    })
}
