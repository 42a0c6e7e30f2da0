//! How rooms come by port pairs: the sockets are the shard's.

use std::net::IpAddr;
use std::time::Instant;

use crate::ids::MediaPort;

/// Our transport addresses of a leg, as they go into the SDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegAddress {
    /// Advertised address.
    pub address: IpAddr,
    /// RTP port, even (RFC 3550 section 11).
    pub rtp_port: u16,
    /// RTCP port.
    pub rtcp_port: u16,
}

/// A pair of bound sockets, as the io room handed it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPorts {
    /// Index of the RTP socket.
    pub rtp: MediaPort,
    /// Index of the RTCP socket.
    pub rtcp: MediaPort,
    /// Address for the SDP.
    pub local: LegAddress,
}

/// Why no ports were to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortsError {
    /// The shard's slice of the range is used up.
    Exhausted,
    /// The gateway has no address of this family, or the system refused.
    Unavailable(String),
}

/// Opens and closes port pairs; implemented by the shard over its sockets.
pub trait Ports {
    /// A fresh pair of the family.
    fn open(&mut self, now: Instant, ipv6: bool) -> Result<OpenPorts, PortsError>;
    /// Gives a pair back.
    fn close(&mut self, now: Instant, ports: OpenPorts);
    /// Gives a pair away to another shard, which takes it over by its address.
    fn hand_over(&mut self, ports: OpenPorts);
    /// Takes over the pair of this address that another shard has given away.
    fn take_over(&mut self, now: Instant, local: LegAddress) -> Result<OpenPorts, PortsError>;
}
