//! (room to be furnished)

pub mod agent;
pub mod transaction;
