//! The user agent: sessions, and everything of SIP that a call need not know.

mod types;

pub use types::{
    AgentError, AgentSettings, Authorization, Body, Credentials, Listener, LostReason, OfferId,
    Rejection, Transmit,
};
