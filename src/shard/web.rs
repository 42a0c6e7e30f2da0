//! The ports that a shard's WebRTC peers share.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::config::Config;
use crate::io::sockets;
use crate::shard::ports::PortSettings;
use crate::shard::start::StartError;

/// One shard's shared sockets, at most one per family.
#[derive(Debug, Default)]
pub(super) struct SharedSockets {
    /// The sockets.
    pub(super) sockets: Vec<UdpSocket>,
    /// How peers reach them: ICE host candidates.
    pub(super) candidates: Vec<SocketAddr>,
}

/// Binds the shared ports of all shards, before anything is started.
///
/// # Errors
/// When a port is taken.
pub(super) fn bind(
    config: &Config,
    ports: &PortSettings,
    bound: &[SocketAddr],
    shards: u8,
) -> Result<Vec<SharedSockets>, StartError> {
    let web = &config.webrtc;
    let mut all = Vec::new();
    for shard in 0..shards {
        let mut shared = SharedSockets::default();
        let families = [
            (ports.bind_v4, ports.advertised_v4),
            (ports.bind_v6, ports.advertised_v6),
        ];
        for (bind, usual) in families {
            let advertised: Vec<IpAddr> = match web.advertise.is_empty() {
                // An address that is nowhere known leads nowhere.
                true => [usual]
                    .into_iter()
                    .filter(|ip| !ip.is_loopback() || listens(bound, bind))
                    .collect(),
                false => web.advertise.to_vec(),
            };
            let advertised: Vec<IpAddr> = advertised
                .into_iter()
                .filter(|ip| ip.is_ipv6() == bind.is_ipv6())
                .collect();
            if !web.enabled || advertised.is_empty() {
                continue;
            }
            let port = match web.port {
                0 => 0,
                first => first + u16::from(shard),
            };
            let address = SocketAddr::new(bind, port);
            let refused = |error| StartError::Shared { address, error };
            let socket = sockets::bind_media(address).map_err(refused)?;
            let port = socket.local_addr().map_err(refused)?.port();
            let reached = advertised.iter().map(|ip| SocketAddr::new(*ip, port));
            shared.candidates.extend(reached);
            shared.sockets.push(socket);
        }
        all.push(shared);
    }
    Ok(all)
}

/// Whether SIP is spoken in this family.
fn listens(bound: &[SocketAddr], bind: IpAddr) -> bool {
    bound
        .iter()
        .any(|socket| socket.is_ipv6() == bind.is_ipv6())
}
