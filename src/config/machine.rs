//! What the defaults depend on: the cores and addresses of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::values;

/// The machine, as far as the configuration asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Cores this process may run on, ascending. Never empty.
    pub cores: Vec<usize>,
    /// Our address on the IPv4 default route.
    pub route_v4: Option<Ipv4Addr>,
    /// Our address on the IPv6 default route.
    pub route_v6: Option<Ipv6Addr>,
}

impl Machine {
    /// Looks at this machine. Sends nothing.
    pub fn detect() -> Machine {
        let mut machine = Machine {
            cores: allowed_cores(),
            route_v4: None,
            route_v6: None,
        };
        // RFC 5737 and RFC 3849 documentation addresses: never local, so the
        // kernel picks the default route for them.
        if let Some(IpAddr::V4(address)) = source_address("0.0.0.0:0", "192.0.2.1:9") {
            machine.route_v4 = Some(address);
        }
        if let Some(IpAddr::V6(address)) = source_address("[::]:0", "[2001:db8::1]:9") {
            machine.route_v6 = Some(address);
        }
        machine
    }
}

/// The address a datagram to `towards` would leave with. Connecting a UDP
/// socket only asks the routing table.
fn source_address(bind: &str, towards: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(bind).ok()?;
    socket.connect(towards).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

/// The affinity mask as the kernel prints it; it counts cgroup cpusets too.
fn allowed_cores() -> Vec<usize> {
    let listed = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
            values::cores(line.trim()).ok()
        })
        .filter(|cores| !cores.is_empty());
    listed.unwrap_or_else(|| {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        (0..count).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_core() {
        assert!(!Machine::detect().cores.is_empty());
    }
}
