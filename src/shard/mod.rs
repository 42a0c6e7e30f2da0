//! One pinned thread that owns everything a call needs there, and the mailbox
//! through which the api talks to it.

pub mod mailbox;
