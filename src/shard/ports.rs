//! Opens and closes the relay's sockets for the rooms: ports from the shard's
//! slice of the range, sockets into the backend, dense indexes over both.

use std::net::IpAddr;
use std::time::Instant;

use crate::call::room::{LegAddress, OpenPorts, Ports, PortsError};
use crate::ids::MediaPort;
use crate::io::{Backend, PortError, PortPool};

/// What the shard's ports need to know.
#[derive(Debug, Clone, Copy)]
pub struct PortSettings {
    /// Address to bind IPv4 media sockets to.
    pub bind_v4: IpAddr,
    /// Address to bind IPv6 media sockets to.
    pub bind_v6: IpAddr,
    /// IPv4 address for the SDP.
    pub advertised_v4: IpAddr,
    /// IPv6 address for the SDP.
    pub advertised_v6: IpAddr,
}

/// The indexes of the shard's media sockets.
#[derive(Debug, Default)]
pub struct PortIndexes {
    free: Vec<u32>,
    next: u32,
}

impl PortIndexes {
    /// An index that no socket has.
    pub(super) fn take(&mut self) -> MediaPort {
        MediaPort(self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        }))
    }

    fn give_back(&mut self, port: MediaPort) {
        self.free.push(port.0);
    }
}

/// The shard's ports for the length of one call into the rooms.
pub struct ShardPorts<'s> {
    /// The relay.
    pub backend: &'s mut Backend,
    /// The shard's slice of the range.
    pub pool: &'s mut PortPool,
    /// Indexes over the backend's media sockets.
    pub indexes: &'s mut PortIndexes,
    /// Addresses.
    pub settings: PortSettings,
}

impl Ports for ShardPorts<'_> {
    fn open(&mut self, now: Instant, ipv6: bool) -> Result<OpenPorts, PortsError> {
        let (bind, address) = if ipv6 {
            (self.settings.bind_v6, self.settings.advertised_v6)
        } else {
            (self.settings.bind_v4, self.settings.advertised_v4)
        };
        let pair = self
            .pool
            .open_pair(now, bind)
            .map_err(|error| match error {
                PortError::Exhausted => PortsError::Exhausted,
            })?;
        let rtp_port = pair.rtp_port;
        let (rtp, rtcp) = (self.indexes.take(), self.indexes.take());
        let added = self
            .backend
            .add_media(rtp, pair.rtp_socket)
            .and_then(|()| self.backend.add_media(rtcp, pair.rtcp_socket));
        let open = OpenPorts {
            rtp,
            rtcp,
            local: LegAddress {
                address,
                rtp_port,
                rtcp_port: rtp_port + 1,
            },
        };
        match added {
            Ok(()) => Ok(open),
            Err(error) => {
                self.close(now, open);
                Err(PortsError::Unavailable(error.to_string()))
            }
        }
    }

    fn close(&mut self, now: Instant, ports: OpenPorts) {
        for port in [ports.rtp, ports.rtcp] {
            self.backend.remove_media(port);
            self.indexes.give_back(port);
        }
        self.pool.release(now, ports.local.rtp_port);
    }
}
