//! Calls whose room is on a media server. The gateway stays between the two: a
//! second leg towards the server, described over HTTP, which the api does for
//! us. An outgoing call takes the server's offer before its INVITE goes out, so
//! that only what the server takes is offered, and answers it once the callee
//! has described itself. An incoming call offers what its caller has, and is
//! answered with what the server took of it.

use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::call::calls::{Calls, RoomBackend};
use crate::call::description;
use crate::call::event::{CallEventKind, ServerRequest};
use crate::call::incoming::{not_acceptable, unavailable};
use crate::call::outgoing::outgoing_invite;
use crate::call::request::{CallError, CallReply, MediaServerFailure, ServerDescription, Stream};
use crate::call::room::{KeyDelivery, LegAddress, Place, RoomRequest};
use crate::call::state::{Phase, ServerSide};
use crate::ids::CallId;
use crate::keying::Srtp;
use crate::sdp::{Codec, Negotiated, NegotiationError, Session};
use crate::sip::agent::{Body, Rejection};

/// Why such a call ended, in a word.
const FAILED: &str = "media_server_failed";

impl Calls {
    /// Where a stream leads.
    pub(super) fn place(&self, stream: Stream) -> Place {
        match self.settings.rooms {
            RoomBackend::Local => Place::Room(stream),
            RoomBackend::External { ipv6, .. } => Place::Server { stream, ipv6 },
        }
    }

    /// Both legs of a call are open: the media server is asked for its side.
    pub(super) fn ask_server(
        &mut self,
        now: Instant,
        id: CallId,
        local: LegAddress,
        server: LegAddress,
    ) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(stream) = call.stream.clone() else {
            return;
        };
        let mut exchange = description::exchange(&server, Srtp::OFF, None, &mut self.random);
        let (asked, dialed) = match &call.phase {
            Phase::Joining { offer, .. } => {
                let offered = exchange.offer(&codecs_of(offer.as_deref()));
                let asked = offered.map(|_| ServerRequest::Answer {
                    stream,
                    offer: exchange.sent_text().to_owned(),
                });
                (asked, None)
            }
            Phase::Opening { dial, request } => {
                // What is wrong with the request is told to whoever asked, and
                // not after the media server has been.
                let nothing = Body::sdp(Bytes::new());
                if let Err(error) = outgoing_invite(dial, &self.settings.listeners, nothing) {
                    self.never_started(now, id, error);
                    return;
                }
                let (dial, request) = (dial.clone(), *request);
                call.phase = Phase::AskingServer { dial };
                (Ok(ServerRequest::Offer(stream)), Some(request))
            }
            // It ended meanwhile; its Leave is on the way.
            _ => return,
        };
        let exchange = Box::new(exchange);
        call.server = Some(ServerSide::Asked { local, exchange });
        if let Some(request) = dialed {
            self.reply(
                request,
                CallReply::Dialed {
                    call: id,
                    sip_call_id: None,
                },
            );
        }
        match asked {
            Ok(asked) => {
                if let RoomBackend::External { patience, .. } = self.settings.rooms {
                    self.timers.set(id, now + patience);
                }
                self.tell(now, id, CallEventKind::MediaServer(asked));
            }
            Err(error) => self.server_failed(now, id, unusable("our offer to it", error)),
        }
    }

    /// The media server has described itself, or something went wrong with it.
    pub(super) fn server_told(
        &mut self,
        now: Instant,
        id: CallId,
        outcome: Result<ServerDescription, MediaServerFailure>,
    ) {
        let taken = outcome.and_then(|description| self.take_description(now, id, &description));
        if let Err(failure) = taken {
            self.server_failed(now, id, failure);
        }
    }

    /// The deadline of a media server that has not answered.
    pub(super) fn server_silent(&mut self, now: Instant, id: CallId) {
        let call = self.calls.get(&id);
        if let Some(ServerSide::Asked { .. }) = call.and_then(|call| call.server.as_ref()) {
            let late = "it has not answered in time".to_string();
            self.server_failed(now, id, MediaServerFailure::Unavailable(late));
        }
    }

    /// The callee has described itself, and takes these: the media server gets
    /// its answer, once. Later descriptions of the callee stay between it and
    /// us.
    pub(super) fn answer_server(&mut self, now: Instant, id: CallId, codecs: &[Codec]) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(ServerSide::Offered {
            offer,
            source,
            exchange,
        }) = &mut call.server
        else {
            return;
        };
        match exchange.answer(offer, codecs) {
            Ok((_, negotiated)) => {
                let source = *source;
                let answer = ServerRequest::Complete(exchange.sent_text().to_owned());
                call.server = Some(ServerSide::Agreed);
                self.connect_server(id, &negotiated, source);
                self.tell(now, id, CallEventKind::MediaServer(answer));
            }
            Err(error) => self.server_failed(now, id, unusable("our answer to it", error)),
        }
    }

    fn take_description(
        &mut self,
        now: Instant,
        id: CallId,
        description: &ServerDescription,
    ) -> Result<(), MediaServerFailure> {
        let Some(call) = self.calls.get_mut(&id) else {
            return Ok(());
        };
        // A call that has ended meanwhile has no use for it.
        let awaited = matches!(
            call.phase,
            Phase::Joining { .. } | Phase::AskingServer { .. }
        );
        let Some(ServerSide::Asked { local, exchange }) = &mut call.server else {
            return Ok(());
        };
        if !awaited {
            return Ok(());
        }
        let theirs = Session::parse(&description.sdp)
            .map_err(|error| unusable("its session description", error))?;
        let described = |error| unusable("its session description", error);
        let local = *local;
        if let Phase::Joining { .. } = call.phase {
            let negotiated = exchange
                .apply_answer(&theirs)
                .map_err(|error| match error {
                    NegotiationError::NoCommonCodec => MediaServerFailure::NoCommonCodec,
                    error => described(error),
                })?;
            call.server = Some(ServerSide::Agreed);
            self.connect_server(id, &negotiated, description.source);
            self.leg_for_incoming(now, id, &local, Some(negotiated.codec_list()));
            return Ok(());
        }
        // Answered for good when the callee has chosen; until then this tells
        // what there is to choose from.
        let (_, negotiated) = exchange
            .clone()
            .answer(&theirs, &Codec::ALL)
            .map_err(described)?;
        call.server = Some(ServerSide::Offered {
            offer: Box::new(theirs),
            source: description.source,
            exchange: exchange.clone(),
        });
        self.timers.stop(&id);
        self.leg_for_outgoing(now, id, &local, Some(negotiated.codec_list()));
        Ok(())
    }

    /// The room is out of reach: the call ends by whatever its state needs.
    fn server_failed(&mut self, now: Instant, id: CallId, failure: MediaServerFailure) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let request = match &mut call.phase {
            Phase::Joining { request, .. } => request.take(),
            Phase::AskingServer { .. } | Phase::Calling { .. } | Phase::Active => None,
            // It has ended, or is about to.
            Phase::Announced { .. }
            | Phase::Opening { .. }
            | Phase::Cancelling
            | Phase::Leaving => return,
        };
        self.tell(now, id, CallEventKind::Error(failure.to_string()));
        if let Some(request) = request {
            let error = CallError::MediaServer(failure.clone());
            self.reply(request, CallReply::Refused(error));
        }
        match self.phase(id) {
            Some(Phase::Joining { .. }) => {
                let rejection = match failure {
                    MediaServerFailure::Unavailable(_) => unavailable(),
                    MediaServerFailure::Unusable(_) => Rejection::code(500),
                    MediaServerFailure::NoCommonCodec => not_acceptable(&failure.to_string()),
                };
                self.turn_away(now, id, rejection, FAILED);
            }
            _ => self.end(now, id, FAILED),
        }
    }

    fn connect_server(&mut self, id: CallId, negotiated: &Negotiated, source: Option<IpAddr>) {
        let described = negotiated.remote_rtp.ip();
        let remote =
            description::remote(negotiated, source.unwrap_or(described), KeyDelivery::Events);
        self.ask_room(
            id,
            RoomRequest::ConnectServer {
                call: id,
                remote: Box::new(remote),
            },
        );
    }
}

/// What to offer the media server: what the caller has, in his order, each
/// once; everything where the caller leaves the offer to us.
fn codecs_of(offer: Option<&Session>) -> Vec<Codec> {
    let Some(offer) = offer else {
        return Codec::ALL.to_vec();
    };
    let mut codecs: Vec<Codec> = Vec::new();
    for codec in offer.audio_codecs() {
        if !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    codecs
}

fn unusable(what: &str, error: impl std::fmt::Display) -> MediaServerFailure {
    MediaServerFailure::Unusable(format!("{what}: {error}"))
}
