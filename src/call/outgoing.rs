//! Outgoing calls, from the request to the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::call::calls::Calls;
use crate::call::description;
use crate::call::event::CallEventKind;
use crate::call::limits::{LimitKind, LimitScope};
use crate::call::request::{CallError, CallReply, CallState, Dial, Direction};
use crate::call::room::{LegAddress, RoomRequest};
use crate::call::state::{Call, Phase};
use crate::ids::{CallId, ListenerId, RequestId, SessionId};
use crate::sdp::Codec;
use crate::sip::agent::{Body, Credentials, OutgoingInvite};
use crate::sip::name_addr::NameAddr;
use crate::sip::text::Malformed;
use crate::sip::uri::{Host, Uri, parse_host_port};

impl Calls {
    /// Starts an outgoing call by opening its leg.
    pub(super) fn dial(&mut self, now: Instant, request: RequestId, dial: Box<Dial>) {
        let refusal = match self.closed() {
            Some("draining") => Some(CallError::Draining),
            Some(_) => Some(CallError::Overloaded),
            None => None,
        };
        if let Some(error) = refusal {
            self.reply(request, CallReply::Refused(error));
            return;
        }
        let number = self.book.number(&dial.from_number).cloned();
        let number = number.filter(|number| number.app == dial.app);
        let places = match self.take_place(now, &dial.app, number.as_deref(), dial.destination) {
            Ok(places) => places,
            Err(exceeded) => {
                // As many as the gateway takes at all is no fault of the app.
                let error = match (&exceeded.scope, exceeded.kind) {
                    (LimitScope::All, LimitKind::Calls) => CallError::TooManyCalls,
                    _ => CallError::Limit(exceeded),
                };
                self.reply(request, CallReply::Refused(error));
                return;
            }
        };
        let id = self.new_call_id();
        let ipv6 = dial.destination.is_ipv6();
        let (app, callee) = (dial.app.clone(), dial.destination);
        let (from, to) = (dial.from_number.as_str(), dial.to_number.as_str());
        let (from, to) = (Arc::from(from), Arc::from(to));
        let stream = dial.stream.clone();
        let srtp = dial.srtp;
        let dtmf = dial.dtmf.unwrap_or(self.settings.dtmf);
        let phase = Phase::Opening { dial, request };
        let call = Call {
            from,
            to,
            stream: Some(stream.clone()),
            has_leg: true,
            srtp,
            dtmf,
            held_places: Some(places),
            ..Call::new(id, app, Direction::Outgoing, callee, now, phase)
        };
        self.calls.insert(id, Box::new(call));
        let place = self.place(stream);
        self.ask_room(
            id,
            RoomRequest::Join {
                call: id,
                place,
                ipv6,
            },
        );
    }

    /// The leg of an outgoing call is open, and what its room takes is known:
    /// send the INVITE.
    pub(super) fn leg_for_outgoing(
        &mut self,
        now: Instant,
        id: CallId,
        local: &LegAddress,
        allowed: Option<Vec<Codec>>,
    ) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let fingerprint = self.settings.fingerprint.as_ref();
        let mut exchange = description::exchange(local, call.srtp, fingerprint, &mut self.random);
        let beside = call.beside();
        let (dial, request) = match &call.phase {
            Phase::Opening { dial, request } => (dial, Some(*request)),
            Phase::AskingServer { dial } => (dial, None),
            _ => return,
        };
        let listeners = &self.settings.listeners;
        let invite = exchange
            .offer(&description::offered_codecs(allowed.as_deref(), beside))
            .map_err(CallError::from)
            .and_then(|_| outgoing_invite(dial, listeners, description::body(&exchange)));
        let started: Result<SessionId, CallError> = invite.and_then(|invite| {
            let started = self.agent.invite(now, invite);
            started.map_err(|_| CallError::TooManyCalls)
        });
        match started {
            Ok(session) => {
                call.exchange = Some(exchange);
                call.allowed = allowed;
                call.phase = Phase::Calling {
                    progress: CallState::Trying,
                };
                if let Some(sip_call_id) = self.agent.call_id(session) {
                    call.sip_call_id = Arc::from(sip_call_id);
                    self.traces.claim(sip_call_id, id, &call.app);
                }
                let known = call.sip_call_id.clone();
                self.bind_session(id, session);
                if let Some(request) = request {
                    let sip_call_id = Some(known);
                    self.reply(
                        request,
                        CallReply::Dialed {
                            call: id,
                            sip_call_id,
                        },
                    );
                }
            }
            Err(error) if request.is_some() => self.never_started(now, id, error),
            Err(error) => {
                self.tell(now, id, CallEventKind::Error(error.to_string()));
                self.finish(now, id, "failed");
            }
        }
    }

    /// No leg for an outgoing call: the request is refused, and the call was
    /// never one.
    pub(super) fn never_started(&mut self, _now: Instant, id: CallId, error: CallError) {
        let Some(call) = self.calls.remove(&id) else {
            return;
        };
        if let Phase::Opening { request, .. } = call.phase {
            self.reply(request, CallReply::Refused(error));
        }
        if call.has_leg
            && let Some(stream) = &call.stream
        {
            let shard = (self.settings.room_shard)(&stream.room, self.settings.shards);
            let leave = RoomRequest::Leave { call: id };
            self.outputs
                .push_back(crate::call::output::Output::Room(shard, leave));
        }
    }

    /// A 1xx has come.
    pub(super) fn provisional(&mut self, now: Instant, id: CallId, code: u16, body: Option<Body>) {
        let early = body.is_some() && self.apply_answer(now, id, body.as_ref()).is_ok();
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.sip_code = Some(code);
        let Phase::Calling { progress } = &mut call.phase else {
            // A 1xx that crossed our CANCEL is no news.
            return;
        };
        if early {
            *progress = CallState::Early;
            call.early.get_or_insert(now);
        } else if code == 180 && *progress == CallState::Trying {
            *progress = CallState::Ringing;
        }
        if code == 180 {
            call.ringing.get_or_insert(now);
        }
        let kind = if early {
            CallEventKind::Early(code)
        } else {
            CallEventKind::Provisional(code)
        };
        self.tell(now, id, kind);
    }

    /// The first 2xx has come; its ACK is sent.
    pub(super) fn answered(&mut self, now: Instant, id: CallId, code: u16, body: Option<Body>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Phase::Calling { progress } = call.phase else {
            return;
        };
        call.phase = Phase::Active;
        call.sip_code = Some(code);
        call.answered = Some(now);
        self.tally
            .answered(Direction::Outgoing, code, now - call.created);
        self.tell(now, id, CallEventKind::Answered(code));
        // A peer that gave its answer in a 183 may leave it out of the 200.
        let described_early = body.is_none() && progress == CallState::Early;
        if described_early {
            return;
        }
        if let Err(bad) = self.apply_answer(now, id, body.as_ref()) {
            self.tell(now, id, CallEventKind::Error(bad.text));
            self.end(now, id, bad.reason);
        }
    }

    /// The INVITE has failed for good.
    pub(super) fn failed(&mut self, now: Instant, id: CallId, code: u16, reason: &str) {
        self.unbind_session(id);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.sip_code = Some(code);
        self.tally
            .answered(Direction::Outgoing, code, now - call.created);
        if matches!(call.phase, Phase::Cancelling) {
            self.finish(now, id, "local");
            return;
        }
        tracing::debug!(call_id = %id, code, reason, "outgoing call failed");
        self.tell(now, id, CallEventKind::Failed(code));
        self.finish(now, id, "failed");
    }
}

/// The INVITE that dials.
pub(super) fn outgoing_invite(
    dial: &Dial,
    listeners: &[SocketAddr],
    body: Body,
) -> Result<OutgoingInvite, CallError> {
    let (host, port) = parse_server(&dial.sip_server)?;
    let address = |user: &str, port| NameAddr::new(Uri::sip(Some(user), host.clone(), port));
    Ok(OutgoingInvite {
        listener: listener_for(listeners, dial.destination)?,
        destination: dial.destination,
        request_uri: Uri::sip(Some(&dial.to_number), host.clone(), port),
        proxy: parse_proxy(dial.sip_proxy.as_deref())?,
        from: address(&dial.from_number, None),
        to: address(&dial.to_number, None),
        auth: dial.sip_auth.as_ref().map(|auth| Credentials {
            username: auth.username.clone(),
            password: auth.password.clone(),
        }),
        body,
        ring_timeout: dial.answer_timeout,
    })
}

/// The first of our sockets that can send there.
pub(super) fn listener_for(
    listeners: &[SocketAddr],
    destination: SocketAddr,
) -> Result<ListenerId, CallError> {
    let ipv6 = destination.is_ipv6();
    let mut listeners = listeners.iter();
    let found = listeners.position(|listener| listener.is_ipv6() == ipv6);
    let found = found.ok_or_else(|| CallError::Invalid {
        field: "sip_server",
        reason: format!(
            "{} is an {} address, and the gateway has no SIP listener of that family; add one to sip.listen",
            destination.ip(),
            if ipv6 { "IPv6" } else { "IPv4" },
        ),
    })?;
    Ok(ListenerId(found as u8))
}

/// Host and port of `sip_server`.
pub(super) fn parse_server(text: &str) -> Result<(Host, Option<u16>), CallError> {
    parse_host_port(text).map_err(|error| invalid("sip_server", &error))
}

/// `sip_proxy`.
pub(super) fn parse_proxy(text: Option<&str>) -> Result<Option<Uri>, CallError> {
    let parse = |text| Uri::parse(text).map_err(|error| invalid("sip_proxy", &error));
    text.map(parse).transpose()
}

fn invalid(field: &'static str, error: &Malformed) -> CallError {
    CallError::Invalid {
        field,
        reason: format!("{error}; host, host:port or a sip: URI is expected"),
    }
}
