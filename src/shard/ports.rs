//! Opens and closes the relay's sockets for the rooms: ports from the shard's
//! slice of the range, sockets into the backend, dense indexes over both.

use std::net::{IpAddr, UdpSocket};
use std::time::Instant;

use crate::call::room::{LegAddress, OpenPorts, Ports, PortsError};
use crate::ids::MediaPort;
use crate::ids::ShardId;
use crate::io::{Backend, PortError, PortPool};
use crate::shard::depot::Depot;

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
    /// Where pairs are on their way to another shard.
    pub depot: &'s Depot,
    /// Pairs of other shards' slices that are closed, for these to hear of.
    pub returned: &'s mut Vec<(ShardId, u16)>,
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
        let local = LegAddress {
            address,
            rtp_port: pair.rtp_port,
            rtcp_port: pair.rtp_port + 1,
        };
        self.take_in(now, local, [pair.rtp_socket, pair.rtcp_socket])
    }

    fn close(&mut self, now: Instant, ports: OpenPorts) {
        for port in [ports.rtp, ports.rtcp] {
            self.backend.remove_media(port);
            self.indexes.give_back(port);
        }
        self.give_back(now, ports.local.rtp_port);
    }

    fn hand_over(&mut self, ports: OpenPorts) {
        let sockets = [ports.rtp, ports.rtcp].map(|port| {
            // Whom it hears is for the other to say.
            self.backend.disconnect_media(port);
            self.indexes.give_back(port);
            self.backend.release_media(port)
        });
        if let [Some(rtp), Some(rtcp)] = sockets {
            self.depot.put(ports.local.rtp_port, [rtp, rtcp]);
        }
    }

    fn take_over(&mut self, now: Instant, local: LegAddress) -> Result<OpenPorts, PortsError> {
        match self.depot.take(local.rtp_port) {
            Some(sockets) => self.take_in(now, local, sockets),
            None => {
                self.give_back(now, local.rtp_port);
                let reason = "its sockets were lost between two shards";
                Err(PortsError::Unavailable(reason.to_owned()))
            }
        }
    }
}

impl ShardPorts<'_> {
    /// Gives the backend a pair of bound sockets.
    fn take_in(
        &mut self,
        now: Instant,
        local: LegAddress,
        [rtp_socket, rtcp_socket]: [UdpSocket; 2],
    ) -> Result<OpenPorts, PortsError> {
        let (rtp, rtcp) = (self.indexes.take(), self.indexes.take());
        let added = self
            .backend
            .add_media(rtp, rtp_socket)
            .and_then(|()| self.backend.add_media(rtcp, rtcp_socket));
        let open = OpenPorts { rtp, rtcp, local };
        match added {
            Ok(()) => Ok(open),
            Err(error) => {
                self.close(now, open);
                Err(PortsError::Unavailable(error.to_string()))
            }
        }
    }

    /// To the slice that the pair is of.
    fn give_back(&mut self, now: Instant, rtp_port: u16) {
        match self.pool.foreign(rtp_port) {
            Some(shard) => self.returned.push((ShardId(shard), rtp_port)),
            None => self.pool.release(now, rtp_port),
        }
    }
}
