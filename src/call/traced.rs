//! What is kept of the signalling of calls, and told of it.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::call::calls::Calls;
use crate::call::request::{CallError, CallReply, TraceSnapshot};
use crate::ids::{CallId, ListenerId, RequestId};
use crate::sip::routing;
use crate::trace::{TracedMessage, Way};

impl Calls {
    /// Keeps the datagram if it belongs to a call or may begin one.
    pub(super) fn trace(
        &mut self,
        at: Instant,
        way: Way,
        listener: ListenerId,
        remote: SocketAddr,
        datagram: &[u8],
        payload: impl FnOnce() -> Bytes,
    ) {
        if !self.settings.trace.enabled {
            return;
        }
        let Some((sip_call_id, may_begin)) = routing::call_id(datagram) else {
            return;
        };
        // What we send begins nothing: an INVITE of ours is its call's before.
        let begins = may_begin && way == Way::Received;
        let Some(&local) = self.settings.listeners.get(usize::from(listener.0)) else {
            return;
        };
        if self.traces.wants(sip_call_id, begins) {
            let message = TracedMessage {
                at,
                way,
                local,
                remote,
                payload: payload(),
            };
            self.traces.record(sip_call_id, message);
        }
    }

    /// `GET /call/{call_id}/trace`.
    pub(super) fn tell_trace(&mut self, id: RequestId, call: CallId) {
        let reply = match self.traces.of_call(call) {
            Some(trace) => CallReply::Trace(Box::new(TraceSnapshot {
                trace,
                clock: self.settings.clock,
            })),
            None => CallReply::Refused(CallError::NoTrace),
        };
        self.reply(id, reply);
    }
}
