//! SIP messages as they were on the wire, for whoever has to find out what
//! went wrong: kept per call, exported to a capture server, and in both cases
//! without what would let a reader in or listen to the call.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `ladder` | the messages of each call, bounded |
//! | `mask` | takes secrets out of a message |

mod ladder;
mod mask;

pub use ladder::{CallTrace, TraceSettings, TracedMessage, Traces, Way};
pub use mask::masked;
