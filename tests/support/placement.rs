//! Where the gateway places things: the one matter in which a test has to know
//! what is inside, so that it can have them in different places.

use ringwire::ids::{AppId, ShardId};
use ringwire::shard::mailbox::room_shard;

/// The name of a room of the root app that lives on this of so many shards.
pub fn room_on(shard: u8, shards: u8) -> String {
    let root = AppId::new(AppId::ROOT);
    (0..)
        .map(|n| format!("room-{n}"))
        .find(|name| room_shard(&root, name, shards) == ShardId(shard))
        .expect("some name hashes there")
}
