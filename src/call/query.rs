//! Questions about calls whose media statistics may live on other shards: the
//! answer waits until the last of them has told.

use std::collections::HashMap;

use crate::call::calls::Calls;
use crate::call::output::Output;
use crate::call::request::{CallError, CallReply, CallSnapshot, MediaSnapshot};
use crate::call::room::RoomRequest;
use crate::ids::{AppId, CallId, RequestId, ShardId};

/// More open questions than this and the next is answered without statistics.
const MAX_OPEN_QUERIES: usize = 1024;

/// The questions that wait for statistics.
#[derive(Debug, Default)]
pub(super) struct Queries {
    next: u64,
    open: HashMap<u64, Query>,
}

#[derive(Debug)]
struct Query {
    request: RequestId,
    shape: Shape,
    calls: Vec<CallSnapshot>,
    outstanding: usize,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    One,
    Many,
}

impl Query {
    fn into_reply(mut self) -> (RequestId, CallReply) {
        let reply = match self.shape {
            Shape::Many => CallReply::Calls(self.calls),
            Shape::One => match self.calls.pop() {
                Some(call) => CallReply::Call(Box::new(call)),
                None => CallReply::Refused(CallError::UnknownCall),
            },
        };
        (self.request, reply)
    }
}

impl Queries {
    /// A shard has told its statistics; the reply, if it was the last.
    pub fn answered(
        &mut self,
        query: u64,
        media: Vec<(CallId, MediaSnapshot)>,
    ) -> Option<(RequestId, CallReply)> {
        let open = self.open.get_mut(&query)?;
        let mut media: HashMap<CallId, MediaSnapshot> = media.into_iter().collect();
        for call in &mut open.calls {
            if let Some(told) = media.remove(&call.call) {
                call.srtp_suite = call.srtp_suite.or(told.srtp_suite);
                call.media = Some(told);
            }
        }
        open.outstanding -= 1;
        if open.outstanding > 0 {
            return None;
        }
        self.open.remove(&query).map(Query::into_reply)
    }
}

impl Calls {
    /// `GET /call/{call_id}`.
    pub(super) fn query_call(&mut self, request: RequestId, call: CallId) {
        let calls = if self.calls.contains_key(&call) {
            vec![call]
        } else {
            Vec::new()
        };
        self.query(request, Shape::One, &calls);
    }

    /// `GET /calls`, this shard's part.
    pub(super) fn query_app(&mut self, request: RequestId, app: Option<&AppId>) {
        let calls: Vec<CallId> = self
            .calls
            .values()
            .filter(|call| app.is_none_or(|app| call.app == *app))
            .map(|call| call.id)
            .collect();
        self.query(request, Shape::Many, &calls);
    }

    fn query(&mut self, request: RequestId, shape: Shape, calls: &[CallId]) {
        let mut by_shard: HashMap<ShardId, Vec<CallId>> = HashMap::new();
        let mut snapshots = Vec::with_capacity(calls.len());
        for id in calls {
            let Some(call) = self.calls.get(id) else {
                continue;
            };
            snapshots.push(call.snapshot(&self.settings.clock, None));
            if call.exchange.is_some() {
                by_shard.entry(self.media_shard(*id)).or_default().push(*id);
            }
        }
        let query = Query {
            request,
            shape,
            calls: snapshots,
            outstanding: by_shard.len(),
        };
        if by_shard.is_empty() || self.queries.open.len() >= MAX_OPEN_QUERIES {
            let (request, reply) = query.into_reply();
            self.reply(request, reply);
            return;
        }
        self.queries.next += 1;
        let name = self.queries.next;
        self.queries.open.insert(name, query);
        for (shard, calls) in by_shard {
            self.outputs.push_back(Output::Room(
                shard,
                RoomRequest::Statistics {
                    query: name,
                    asker: self.settings.shard,
                    calls,
                },
            ));
        }
    }
}
