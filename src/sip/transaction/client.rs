//! The layer's client side: requests out, responses in.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::layer::{Full, Given, Layer, ResponseFor, Slot, TransactionId};
use super::machine::{ClientInvite, Machine};
use super::{client_invite, client_non_invite};
use crate::sip::headers::CSeq;
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;
use crate::sip::outbox::{Outbox, Path};
use crate::sip::via::Via;

impl<O: Copy> Layer<O> {
    /// Starts a client transaction by sending the request, whose topmost Via
    /// has this branch.
    pub fn request(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        path: Path,
        owner: O,
        request: Request,
        branch: &str,
    ) -> Result<TransactionId, Full> {
        if self.is_full() {
            return Err(Full);
        }
        let payload = out.request(path, &request);
        let key = Arc::from(self.keys.client(branch, &request.method));
        let (machine, actions) = match request.method {
            Method::Invite => {
                let (state, actions) = client_invite::START;
                let client = ClientInvite {
                    state,
                    owner,
                    request: Some(Box::new(request)),
                    acknowledged: false,
                    cancelled: false,
                    acks: Vec::new(),
                };
                (Machine::ClientInvite(Box::new(client)), actions)
            }
            _ => {
                let (state, actions) = client_non_invite::START;
                (Machine::ClientOther { state, owner }, actions)
            }
        };
        let id = self.insert(key, None, path, machine);
        self.sending.insert((path, id.index));
        self.run(now, out, id.index, actions, Given::Sent(payload));
        Ok(id)
    }

    /// Takes in a response (RFC 3261 section 17.1.3).
    pub fn response(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        response: &Response,
        via: &Via,
        cseq: &CSeq,
    ) -> ResponseFor<O> {
        let branch = via.branch.as_deref().unwrap_or_default();
        let key = self.keys.client(branch, &cseq.method);
        let Some(&index) = self.by_key.get(key) else {
            return ResponseFor::Nobody;
        };
        let id = self.id(index);
        let Some(machine) = self.machine_mut(index) else {
            return ResponseFor::Nobody;
        };
        let Some(owner) = machine.client_owner() else {
            return ResponseFor::Nobody;
        };
        let actions = machine.received_response(response.status.class());
        if self.run(now, out, index, actions, Given::Received(response)) {
            return ResponseFor::Owner(id, owner);
        }
        out.counters.retransmissions_absorbed += 1;
        ResponseFor::Layer
    }

    /// The INVITE of a client transaction, as long as it is kept.
    pub fn invite(&self, id: TransactionId) -> Option<(Path, &Request)> {
        let entry = self.entry(id)?;
        let request = entry.machine.client_invite()?.request.as_deref()?;
        Some((entry.path, request))
    }

    /// Takes the INVITE of a client transaction that got its final response.
    pub fn take_invite(&mut self, id: TransactionId) -> Option<Box<Request>> {
        let entry = self.entry_mut(id)?;
        entry.machine.client_invite_mut()?.request.take()
    }

    /// Keeps the ACK of a 2xx for as long as the 2xx may be repeated.
    pub fn keep_ack(&mut self, id: TransactionId, tag: &str, path: Path, ack: Bytes) {
        let machine = self.entry_mut(id).map(|entry| &mut entry.machine);
        if let Some(client) = machine.and_then(Machine::client_invite_mut) {
            client.acks.push((tag.into(), path, ack));
        }
    }

    /// Sends the ACK of a repeated 2xx again (RFC 3261 section 13.2.2.4);
    /// false when no 2xx with that tag was acknowledged.
    pub fn repeat_ack(&self, out: &mut Outbox, id: TransactionId, tag: &str) -> bool {
        let machine = self.entry(id).map(|entry| &entry.machine);
        let Some(client) = machine.and_then(Machine::client_invite) else {
            return false;
        };
        let Some((_, path, ack)) = client.acks.iter().find(|(known, ..)| **known == *tag) else {
            return false;
        };
        out.counters.retransmissions_absorbed += 1;
        out.again(*path, ack.clone());
        true
    }

    /// How many 2xx of different forks were acknowledged.
    pub fn acks(&self, id: TransactionId) -> usize {
        let machine = self.entry(id).map(|entry| &entry.machine);
        machine
            .and_then(Machine::client_invite)
            .map_or(0, |client| client.acks.len())
    }

    /// Lets an INVITE end at `at` at the latest if no final response has come
    /// by then (RFC 3261 section 9.1).
    pub fn abandon(&mut self, id: TransactionId, at: Instant) {
        let unfinished = self
            .entry(id)
            .is_some_and(|entry| entry.machine.needs().unfinished);
        let key = (id.index, Slot::Abandon);
        if unfinished && self.timers.get(&key).is_none_or(|set| at < set) {
            self.timers.set(key, at);
        }
    }

    /// The INVITE to be cancelled and where it went; none when it has its
    /// final response, or was asked for before.
    pub fn cancel(&mut self, id: TransactionId) -> Option<(Path, &Request)> {
        let entry = self.entry_mut(id)?;
        let path = entry.path;
        let unfinished = entry.machine.needs().unfinished;
        let client = entry.machine.client_invite_mut()?;
        if !unfinished || client.cancelled {
            return None;
        }
        client.cancelled = true;
        Some((path, client.request.as_deref()?))
    }

    /// Ends a transaction without further ado.
    pub fn destroy(&mut self, id: TransactionId) {
        if self.entry(id).is_some() {
            self.remove(id.index);
        }
    }
}
