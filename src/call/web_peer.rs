//! WebRTC peers of a shard's rooms.

use std::net::SocketAddr;

use crate::keying::Fingerprint;

/// What the shard has for WebRTC peers.
#[derive(Debug, Clone)]
pub struct WebSettings {
    /// Addresses of the shard's shared ports, as peers reach them: the host
    /// candidates of every answer.
    pub candidates: Vec<SocketAddr>,
    /// Of the gateway's DTLS certificate.
    pub fingerprint: Fingerprint,
    /// Where ICE credentials come from.
    pub seed: [u8; 32],
}
