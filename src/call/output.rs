//! What the calls of a shard want done.

use crate::call::event::CallEvent;
use crate::call::request::CallReply;
use crate::call::room::RoomRequest;
use crate::ids::{RequestId, ShardId};

/// One thing for the shard to do on behalf of its calls.
#[derive(Debug)]
pub enum Output {
    /// Tell the api.
    Event(CallEvent),
    /// Answer a request of the api.
    Reply(RequestId, CallReply),
    /// Ask the shard where the room lives.
    Room(ShardId, RoomRequest),
}
