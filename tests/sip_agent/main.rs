//! The SIP user agent from outside: two agents, or one and a peer that speaks
//! in raw messages, on a fake network in simulated time.

#[path = "../fake_network/mod.rs"]
mod fake_network;
mod support;

mod calls;
mod digest;
mod forks;
mod info;
mod offers;
mod peers;
mod races;
mod retransmissions;
mod storms;
mod torture;
