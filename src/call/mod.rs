//! Calls and rooms: the only room of the house that knows SIP *and* media.
//! Pure: time, seeds, ports and datagrams are handed in.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `calls` | the calls of a shard, and which input goes to which part |
//! | `incoming` | from an INVITE to our answer |
//! | `outgoing` | from a request to the peer's answer |
//! | `ringing`, `early` | what a caller hears before the answer, and the leg for it |
//! | `in_dialog` | offers in a dialog: hold, codec and address changes |
//! | `key_info` | keys that come and go in SIP INFO |
//! | `ending` | how calls end |
//! | `room`, `room_message` | rooms and their media legs |
//! | `media_server`, `server_leg` | calls whose room is on a media server |
//! | `arrange`, `studio`, `sound` | which rooms are relayed, which are mixed, and their sound |
//! | `sound_requests`, `waiting`, `recordings` | plays, voices, what somebody alone hears, recordings |
//! | `watch`, `quality` | how good legs sound, and whether they sound at all |
//! | `sweep` | what is looked at in every leg once a second, in steps |
//! | `limits`, `scanners` | who may call how often |
//! | `traced` | what is kept of the signalling |
//! | `query` | snapshots with statistics from several shards |
//! | `description` | between SDP and the leg table |
//! | `request`, `snapshot`, `event` | the words spoken with the api |

mod admission;
mod arrange;
mod calls;
mod description;
mod early;
mod ending;
pub mod event;
mod histogram;
mod in_dialog;
mod incoming;
mod key_info;
mod limits;
mod media_server;
mod outgoing;
mod output;
mod ports;
mod quality;
mod query;
mod recordings;
mod registering;
pub mod request;
mod ringing;
pub mod room;
mod room_message;
mod room_snapshots;
mod scanners;
mod server_leg;
pub mod settings;
mod snapshot;
mod sound;
mod sound_requests;
mod state;
mod studio;
mod sweep;
mod tally;
mod traced;
mod waiting;
mod watch;
pub mod web_peer;

pub use calls::{CallSettings, Calls, RoomBackend};
pub use output::Output;

#[cfg(test)]
mod tests;
