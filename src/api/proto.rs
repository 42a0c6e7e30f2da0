//! The messages of `proto/sip_gateway.proto` and how a frame carries them.

/// Types made by prost and their proto3 JSON by pbjson.
#[allow(clippy::all, missing_docs)]
pub mod sip_gateway {
    include!(concat!(env!("OUT_DIR"), "/sip_gateway.rs"));
    include!(concat!(env!("OUT_DIR"), "/sip_gateway.serde.rs"));
}
