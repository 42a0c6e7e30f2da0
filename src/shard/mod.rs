//! One pinned thread that owns everything a call needs there, and the mailbox
//! through which the api talks to it.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `turn` | the thread's loop: packets, messages, requests, timers, outputs |
//! | `start` | binding, pinning, introducing the shards to each other |
//! | `draining` | the graceful end |
//! | `mailbox` | bounded ways in, and on which shard a room lives |
//! | `outbox` | the way of events to the api |
//! | `ports`, `depot` | the rooms' sockets, also on their way to another shard |
//! | `recordings` | what rooms record, on its way to the writers |
//! | `web` | the ports that WebRTC peers share |
//! | `overload`, `guards` | when new calls are refused |
//! | `capture` | copies of SIP messages for the capture server |
//! | `counters` | what the metrics are made of |

mod capture;
mod counters;
mod depot;
mod draining;
pub mod guards;
pub mod mailbox;
mod outbox;
mod overload;
mod ports;
mod recordings;
mod start;
mod turn;
mod web;

pub use start::{RunningShards, StartError, start};
