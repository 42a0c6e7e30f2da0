//! DTMF of strangers: whatever comes, a key begins and ends in turn.

mod exercise;
mod mutation;
