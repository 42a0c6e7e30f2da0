//! The layer's server side: requests in, responses out.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::layer::{Full, Given, Layer, RequestFor, TransactionId};
use super::machine::Machine;
use super::{Action, server_invite, server_non_invite};
use crate::sip::counters::DropReason;
use crate::sip::headers::CSeq;
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;
use crate::sip::outbox::{Outbox, Path};
use crate::sip::via::Via;

impl<O: Copy> Layer<O> {
    /// Takes in a request (RFC 3261 section 17.2.3).
    pub fn receive(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        request: &Request,
        via: &Via,
        cseq: &CSeq,
    ) -> RequestFor<O> {
        let key = self.keys.server(request, via, cseq);
        let Some(&index) = self.by_key.get(key) else {
            return RequestFor::User;
        };
        let is_ack = request.method == Method::Ack;
        let Some(machine) = self.machine_mut(index) else {
            return RequestFor::User;
        };
        let owner = machine.server_owner();
        let actions = machine.received_request(is_ack);
        if !is_ack {
            out.counters.retransmissions_absorbed += 1;
            if actions.is_empty() {
                out.counters.drop(DropReason::AnswerPending);
            }
        }
        match (self.run(now, out, index, actions, Given::Nothing), owner) {
            (true, Some(owner)) => RequestFor::Owner(owner),
            _ => RequestFor::Layer,
        }
    }

    /// Whether a transaction exists for another copy of this request that
    /// reached us on another way (RFC 3261 section 8.2.2.2).
    pub fn is_merged(&mut self, request: &Request, cseq: &CSeq) -> bool {
        let key = self.keys.merged(request, cseq);
        self.by_key.contains_key(key)
    }

    /// The INVITE that this CANCEL means (RFC 3261 section 9.2).
    pub fn cancelled(
        &mut self,
        cancel: &Request,
        via: &Via,
        cseq: &CSeq,
    ) -> Option<(TransactionId, O)> {
        let key = self.keys.cancelled(cancel, via, cseq);
        let index = *self.by_key.get(key)?;
        let owner = self.machine_mut(index)?.server_owner()?;
        Some((self.id(index), owner))
    }

    /// Starts a server transaction for a request that
    /// [`receive`](Self::receive) called new. The owner is told of the ACK
    /// and CANCEL of an INVITE.
    pub fn serve(
        &mut self,
        path: Path,
        owner: O,
        request: &Request,
        via: &Via,
        cseq: &CSeq,
    ) -> Result<TransactionId, Full> {
        if self.is_full() {
            return Err(Full);
        }
        let key = Arc::from(self.keys.server(request, via, cseq));
        let machine = match request.method {
            Method::Invite => Machine::ServerInvite {
                state: server_invite::START.0,
                owner,
            },
            _ => Machine::ServerOther {
                state: server_non_invite::START.0,
            },
        };
        // Only requests outside of dialogs can be merged (section 8.2.2.2).
        let merged = match request.headers.to_tag() {
            None => Some(Arc::from(self.keys.merged(request, cseq))),
            Some(_) => None,
        };
        Ok(self.insert(key, merged, path, machine))
    }

    /// Sends a response; its octets.
    pub fn respond(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        id: TransactionId,
        response: &Response,
    ) -> Bytes {
        let Some(entry) = self.entry_mut(id) else {
            return Bytes::new();
        };
        let path = entry.path;
        let actions = entry.machine.sent_response(response.status.class());
        if !actions.contains(&Action::Send) {
            return Bytes::new();
        }
        let payload = out.response(path, response);
        self.run(now, out, id.index, actions, Given::Sent(payload.clone()));
        payload
    }

    /// Sends a response of an INVITE again for its user: a 2xx until its ACK
    /// (RFC 3261 section 13.3.1.4), a 1xx now and then (section 13.3.1.1).
    pub fn respond_again(&mut self, out: &mut Outbox, id: TransactionId, payload: Bytes) {
        let Some(entry) = self.entry_mut(id) else {
            return;
        };
        // Figure 7 with RFC 6026: in both states the user's response passes
        // through and the state remains.
        if entry.machine.passes_responses() {
            out.again(entry.path, payload);
        }
    }
}
