//! What comes in, sorted: to a transaction, to a session, or answered here.

use std::net::SocketAddr;
use std::time::Instant;

use super::Agent;
use super::stack::{ACCEPT, ALLOW, Owner, Received, Role};
use crate::ids::ListenerId;
use crate::sip::counters::{DropReason, MethodLabel};
use crate::sip::header::HeaderName;
use crate::sip::message::{Message, Request, Response};
use crate::sip::method::Method;
use crate::sip::outbox::Path;
use crate::sip::parse::{ParseError, ParseErrorReason, parse};
use crate::sip::status::StatusCode;
use crate::sip::transaction::{Failure, RequestFor, ResponseFor};
use crate::sip::uri::Uri;
use crate::sip::via::Via;

/// Port of a Via that names none, over UDP (RFC 3261 section 18.2.2).
const DEFAULT_PORT: u16 = 5060;

/// Seconds that a peer is asked to wait when we are full.
const RETRY_AFTER_FULL: u32 = 10;

impl Agent {
    /// Takes in a datagram that came to this listener from `source`.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        listener: ListenerId,
        source: SocketAddr,
        datagram: &[u8],
    ) {
        if self.stack.advertised(listener).is_none() {
            return self.stack.out.counters.drop(DropReason::NoListener);
        }
        match parse(datagram) {
            Ok(Message::Request(request)) => self.request(now, listener, source, request),
            Ok(Message::Response(response)) => self.response(now, listener, source, &response),
            Err(error) => self.unparseable(listener, source, error),
        }
    }

    // ---- what is no message ----

    fn unparseable(&mut self, listener: ListenerId, source: SocketAddr, error: ParseError) {
        self.suspicious = error.reason != ParseErrorReason::KeepAlive;
        let counters = &mut self.stack.out.counters;
        let Some(mut answer) = error.answer else {
            return counters.drop(match error.reason {
                ParseErrorReason::KeepAlive => DropReason::KeepAlive,
                _ => DropReason::Unparseable,
            });
        };
        let Ok(via) = answer.headers.stamp_top_via(source) else {
            return counters.drop(DropReason::Unparseable);
        };
        let tag = self.stack.stateless_tag(&answer.headers);
        answer.headers.add_to_tag(&self.stack.tag(tag));
        self.stack.sign_response(&mut answer);
        let path = response_path(listener, source, &via);
        self.stack.out.response(path, &answer);
    }

    // ---- responses ----

    fn response(
        &mut self,
        now: Instant,
        listener: ListenerId,
        source: SocketAddr,
        response: &Response,
    ) {
        let counters = &mut self.stack.out.counters;
        let (Ok(vias), Ok(cseq)) = (response.headers.vias(), response.headers.cseq()) else {
            return counters.drop(DropReason::BrokenResponse);
        };
        // One that has passed more than one hop of ours is not for us (RFC
        // 3261 section 8.1.3.3).
        let [via] = vias.as_slice() else {
            return counters.drop(DropReason::BrokenResponse);
        };
        let layer = &mut self.stack.layer;
        match layer.response(now, &mut self.stack.out, response, via, &cseq) {
            ResponseFor::Nobody => self.stack.out.counters.drop(DropReason::StrayResponse),
            ResponseFor::Layer => {}
            ResponseFor::Owner(transaction, owner) => {
                let code = response.status.code();
                self.stack.out.counters.response_received(code);
                let path = Path {
                    peer: source,
                    listener,
                };
                match owner.role {
                    Role::Invite => {
                        self.invite_response(now, owner.session, transaction, response, path);
                    }
                    Role::Reinvite => {
                        self.reinvite_response(now, owner.session, transaction, response, path);
                    }
                    Role::Bye => self.bye_response(now, owner.session, response),
                    Role::Register => {
                        self.register_response(now, owner.session, transaction, response);
                    }
                    Role::Info => self.info_response(now, owner.session, response),
                    Role::Nobody => {}
                }
            }
        }
    }

    /// Tells the sessions of requests that got no response.
    pub(super) fn take_failures(&mut self, now: Instant) {
        while let Some((transaction, owner, failure)) = self.stack.layer.pop_failure() {
            let status = match failure {
                Failure::Timeout => StatusCode::REQUEST_TIMEOUT,
                Failure::Transport => StatusCode::SERVICE_UNAVAILABLE,
            };
            let Owner { session, role } = owner;
            match role {
                Role::Invite => self.invite_failed(session, status),
                Role::Reinvite => self.reinvite_failed(now, session, transaction, status),
                Role::Bye => self.bye_failed(session),
                Role::Register => self.register_failed(now, session, transaction, status),
                Role::Info => self.info_failed(now, session, status),
                Role::Nobody => {}
            }
        }
    }

    // ---- requests ----

    fn request(
        &mut self,
        now: Instant,
        listener: ListenerId,
        source: SocketAddr,
        mut request: Request,
    ) {
        let counters = &mut self.stack.out.counters;
        let (Ok(via), Ok(cseq)) = (
            request.headers.stamp_top_via(source),
            request.headers.cseq(),
        ) else {
            return counters.drop(DropReason::Unparseable);
        };
        let layer = &mut self.stack.layer;
        let found = layer.receive(now, &mut self.stack.out, &request, &via, &cseq);
        if found == RequestFor::Layer {
            return;
        }
        let label = MethodLabel::from(&request.method);
        self.stack.out.counters.request_received(label);
        let received = Received {
            path: response_path(listener, source, &via),
            request,
            via,
            cseq,
            source,
        };
        match (&received.request.method, found) {
            (_, RequestFor::Owner(owner)) => {
                self.acknowledged(now, Some(owner.session), &received);
            }
            (Method::Ack, _) => self.acknowledged(now, None, &received),
            (Method::Cancel, _) => self.cancel_received(now, &received),
            _ if received.request.headers.to_tag().is_some() => {
                self.request_in_dialog(now, received);
            }
            _ => self.request_outside(now, received),
        }
    }

    /// A request that belongs to no dialog (RFC 3261 section 8.2).
    fn request_outside(&mut self, now: Instant, received: Received) {
        match received.request.method {
            Method::Invite | Method::Options => {}
            // They mean a dialog, and name none.
            Method::Bye | Method::Update | Method::Info | Method::Prack | Method::Notify => {
                return self.refuse_request(&received, StatusCode::CALL_DOES_NOT_EXIST);
            }
            _ => return self.refuse_method(&received),
        }
        // RFC 3261 section 8.2.2.1.
        if matches!(received.request.uri, Uri::Other { .. }) {
            return self.refuse_request(&received, StatusCode::UNSUPPORTED_URI_SCHEME);
        }
        if self.refuse_extensions(&received) {
            return;
        }
        if received.request.method == Method::Options {
            let response = self.capabilities(&received);
            return self.stack.answer(&received, &response);
        }
        // RFC 3261 section 8.2.2.2.
        let Received { request, cseq, .. } = &received;
        if self.stack.layer.is_merged(request, cseq) {
            return self.refuse_request(&received, StatusCode::LOOP_DETECTED);
        }
        if !self.has_room() {
            self.stack.out.counters.refused_full += 1;
            let mut response = self
                .stack
                .response(&received, StatusCode::SERVICE_UNAVAILABLE);
            let seconds = RETRY_AFTER_FULL.to_string();
            response.headers.push(HeaderName::RetryAfter, seconds);
            return self.stack.answer(&received, &response);
        }
        self.invite_received(now, received);
    }

    /// Answers with a bare code, keeping no state.
    pub(super) fn refuse_request(&mut self, received: &Received, status: StatusCode) {
        let response = self.stack.response(received, status);
        self.stack.answer(received, &response);
    }

    /// RFC 3261 section 8.2.1: 405 for what is known, 501 for what is not.
    pub(super) fn refuse_method(&mut self, received: &Received) {
        self.suspicious = true;
        let status = match received.request.method {
            Method::Other(_) => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::METHOD_NOT_ALLOWED,
        };
        let mut response = self.stack.response(received, status);
        response.headers.push(HeaderName::Allow, ALLOW);
        self.stack.answer(received, &response);
    }

    /// RFC 3261 section 8.2.2.3: no extension is supported. True when the
    /// request required one and is answered.
    pub(super) fn refuse_extensions(&mut self, received: &Received) -> bool {
        let required: Vec<&str> = received
            .request
            .headers
            .values(&HeaderName::Require)
            .filter(|tag| !tag.is_empty())
            .collect();
        if required.is_empty() {
            return false;
        }
        let mut response = self.stack.response(received, StatusCode::BAD_EXTENSION);
        let unsupported = required.join(", ");
        response.headers.push(HeaderName::Unsupported, unsupported);
        self.stack.answer(received, &response);
        true
    }

    /// RFC 3261 section 8.2.3.
    pub(super) fn refuse_body(&mut self, received: &Received) {
        let mut response = self
            .stack
            .response(received, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        response.headers.push(HeaderName::Accept, ACCEPT);
        response
            .headers
            .push(HeaderName::AcceptEncoding, "identity");
        self.stack.answer(received, &response);
    }

    /// The answer to OPTIONS (RFC 3261 section 11.2).
    pub(super) fn capabilities(&self, received: &Received) -> Response {
        let mut response = self.stack.response(received, StatusCode::OK);
        let user = received.request.uri.user();
        let contact = self.stack.contact(received.path.listener, user.as_deref());
        let headers = &mut response.headers;
        headers.push(HeaderName::Contact, contact);
        headers.push(HeaderName::Allow, ALLOW);
        headers.push(HeaderName::Accept, ACCEPT);
        headers.push(HeaderName::AcceptEncoding, "identity");
        headers.push(HeaderName::Supported, "");
        response
    }
}

/// Where responses go: from the socket that the request came to, to the
/// address it came from, and to its port when `rport` asks for that (RFC
/// 3581), else to that of `sent-by` (RFC 3261 section 18.2.2). `maddr` is not
/// followed: it would let anybody aim our responses.
fn response_path(listener: ListenerId, source: SocketAddr, via: &Via) -> Path {
    let mut peer = source;
    peer.set_port(via.rport.flatten().or(via.port).unwrap_or(DEFAULT_PORT));
    Path { peer, listener }
}
