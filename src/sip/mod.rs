//! SIP (RFC 3261), as functions from what came in and what time it is to what
//! goes out: no socket, no clock, no thread.
//!
//! Messages: [`parse`] turns a datagram into a [`message::Message`] whose
//! header values stay raw text until a typed accessor of [`headers::Headers`]
//! is asked ([`via`], [`name_addr`], [`uri`]); [`print`](mod@print) writes one
//! back. [`routing`] finds the shard that owns a datagram before anything is
//! parsed, [`digest`] is authentication both ways. Behaviour: [`transaction`]
//! holds the state machines of one request each, [`registration`] that of a
//! registration at a registrar, [`agent`] all that a call needs of SIP.

mod accessors;
pub mod agent;
pub mod counters;
pub mod dialog;
pub mod digest;
pub mod header;
pub mod headers;
pub mod host;
pub mod message;
pub mod method;
pub mod name_addr;
pub mod outbox;
pub mod params;
pub mod parse;
pub mod print;
pub mod registration;
pub mod routing;
pub mod status;
pub mod text;
pub mod transaction;
pub mod uri;
pub mod via;
