//! SIP messages as they were on the wire, for whoever has to find out what
//! went wrong: kept per call, exported to a capture server, and in both cases
//! without what would let a reader in or listen to the call.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `ladder` | the messages of each call, bounded |
//! | `run`, `packed` | messages in their order, and how they are made small |
//! | `mask` | takes secrets out of a message |
//! | `hep` | packets for a capture server |
//! | `text` | the header fields by which messages are told apart |

mod hep;
mod ladder;
mod mask;
mod packed;
mod run;
mod text;

pub use hep::{HepMessage, HepSender, encode as encode_hep};
pub use ladder::{CallTrace, KeptTrace, TraceSettings, TracedMessage, Traces, Way};
pub use mask::masked;
pub use text::{is_of_call, sip_call_id};
