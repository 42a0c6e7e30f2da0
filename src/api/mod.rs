//! (room to be furnished)
pub mod proto;
