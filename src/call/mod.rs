//! Calls and rooms: the only room of the house that knows SIP *and* media.
//! Pure: time, seeds, ports and datagrams are handed in.

pub mod event;
pub mod request;
