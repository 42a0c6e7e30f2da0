//! The leg towards a media server that a call's room is on: a second one beside
//! the call's own, and linked with it, so that the relay stands between the two.

use std::time::Instant;

use crate::call::ports::{LegAddress, OpenPorts, Ports};
use crate::call::request::CallError;
use crate::call::room::{Place, Rooms, open_ports};
use crate::ids::{CallId, LegId};
use crate::media::{LegOptions, Remote};

/// A leg towards a media server. Nobody watches it for silence: such a server
/// sends nothing while nobody else is in the room.
#[derive(Debug)]
pub(super) struct ServerLeg {
    leg: LegId,
    ports: OpenPorts,
}

impl ServerLeg {
    /// Our address for the SDP.
    pub fn address(&self) -> LegAddress {
        self.ports.local
    }
}

impl Rooms {
    /// The leg towards the media server, where the place needs one.
    pub(super) fn open_server_leg(
        &mut self,
        now: Instant,
        place: &Place,
        ports: &mut dyn Ports,
    ) -> Result<Option<ServerLeg>, CallError> {
        let Place::Server { ipv6, .. } = place else {
            return Ok(None);
        };
        let ports = open_ports(now, *ipv6, ports)?;
        let leg = self.table.open(
            now,
            LegOptions {
                rtp: ports.rtp,
                rtcp: ports.rtcp,
                echo: false,
            },
        );
        Ok(Some(ServerLeg { leg, ports }))
    }

    /// Lets the call and the media server hear each other.
    pub(super) fn attach_server_leg(&mut self, call: CallId, server: ServerLeg) {
        if let Some(member) = self.members.get_mut(&call) {
            self.table.link(member.leg, server.leg);
            member.server = Some(server);
        }
    }

    /// The media server has described itself.
    pub(super) fn connect_server(&mut self, now: Instant, call: CallId, remote: Remote) {
        let member = self.members.get(&call);
        if let Some(server) = member.and_then(|member| member.server.as_ref()) {
            self.table.set_remote(now, server.leg, remote);
        }
    }

    pub(super) fn close_server_leg(
        &mut self,
        now: Instant,
        server: &ServerLeg,
        ports: &mut dyn Ports,
    ) {
        self.table.close(server.leg);
        ports.close(now, server.ports);
    }
}
