//! The call room as a whole, on simulated time: SIP text in and out, requests
//! of an application, rooms with pretended sockets.

mod ends;
mod house;
mod incoming;
mod keys;
mod media_server;
mod outgoing;
mod registering;
mod ringing;
mod security;
mod watch;
