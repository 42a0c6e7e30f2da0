//! Where hooks may be posted to. A hook must not be a way into the operator's
//! network: whoever may name a URL could else make the gateway post to what
//! only the gateway can reach.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use url::{Host, Url};

use super::values;

/// A host that hooks may be posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This name.
    Name(String),
    /// Every name below this one.
    Below(String),
    /// Every address of this network, a private one too.
    Network(IpNet),
}

impl FromStr for HostPattern {
    type Err = values::Problem;

    fn from_str(text: &str) -> Result<Self, values::Problem> {
        if text.parse::<IpAddr>().is_ok() || text.contains('/') {
            return values::subnet(text).map(HostPattern::Network);
        }
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(fine) {
            return Err(format!(
                "{text:?} is no host; write a name, \"*.\" and a domain, an address or a network, e.g. \"*.example.com\" or \"10.0.0.0/8\""
            ));
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        Ok(match below {
            true => HostPattern::Below(name),
            false => HostPattern::Name(name),
        })
    }
}

/// What hooks that are not the operator's own may be posted to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookPolicy {
    /// Only these; empty: every public host.
    pub allow: Vec<HostPattern>,
    /// Private addresses too.
    pub allow_private: bool,
}

/// A target is not allowed; says why and what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden(String);

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Forbidden {}

impl HookPolicy {
    /// Whether everything is allowed, so that nothing needs to be looked at.
    pub fn allows_everything(&self) -> bool {
        self.allow_private && self.allow.is_empty()
    }

    /// What can be told of a URL without looking its name up. A name is
    /// checked again, with its addresses, whenever it is connected to.
    ///
    /// # Errors
    /// Why it is not allowed.
    pub fn check_url(&self, url: &Url) -> Result<(), Forbidden> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_address(None, address.into()),
            Some(Host::Ipv6(address)) => self.check_address(None, address.into()),
            Some(Host::Domain(name)) => self.check_name(name),
            None => Err(Forbidden("the URL has no host".to_string())),
        }
    }

    fn check_name(&self, name: &str) -> Result<(), Forbidden> {
        let networks = |pattern: &HostPattern| matches!(pattern, HostPattern::Network(_));
        let only_names = !self.allow.iter().any(networks);
        if only_names && !self.allow.is_empty() && !self.names(name) {
            return Err(not_listed(name));
        }
        // RFC 6761 section 6.3: these names are the gateway itself.
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let here = name == "localhost" || name.ends_with(".localhost");
        match here && only_names && !self.allow_private {
            true => Err(private(&name, Ipv4Addr::LOCALHOST.into())),
            false => Ok(()),
        }
    }

    /// Whether this address may be connected to, of a host of this name (none:
    /// the URL has the address itself).
    ///
    /// # Errors
    /// Why not.
    pub fn check_address(&self, name: Option<&str>, address: IpAddr) -> Result<(), Forbidden> {
        let address = innermost(address);
        let in_network = self
            .allow
            .iter()
            .any(|pattern| matches!(pattern, HostPattern::Network(net) if net.contains(&address)));
        if in_network {
            return Ok(());
        }
        let told = name.map_or_else(|| address.to_string(), str::to_string);
        if !self.allow.is_empty() && !name.is_some_and(|name| self.names(name)) {
            return Err(not_listed(&told));
        }
        match self.allow_private || is_public(address) {
            true => Ok(()),
            false => Err(private(&told, address)),
        }
    }

    fn names(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.allow.iter().any(|pattern| match pattern {
            HostPattern::Name(allowed) => name == *allowed,
            HostPattern::Below(domain) => name
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.ends_with('.')),
            HostPattern::Network(_) => false,
        })
    }
}

fn not_listed(host: &str) -> Forbidden {
    Forbidden(format!(
        "{host} is not among the hosts that hooks.allow lists"
    ))
}

fn private(host: &str, address: IpAddr) -> Forbidden {
    let what = match host == address.to_string() {
        true => format!("{host} is not a public address"),
        false => format!("{host} has the address {address}, which is not public"),
    };
    Forbidden(format!(
        "{what}; the operator can allow it by hooks.allow or hooks.allow_private"
    ))
}

/// The IPv4 address that an IPv6 one stands for, if it does.
fn innermost(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let parts = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match parts {
        // Mapped (RFC 4291 section 2.5.5.2), and its deprecated forerunner,
        // of which :: and ::1 are no part.
        [0, 0, 0, 0, 0, 0xffff, high, low] => v4(high, low).into(),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low).into(),
        // NAT64 (RFC 6052 section 2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low).into(),
        // 6to4 (RFC 3056 section 2).
        [0x2002, high, low, ..] => v4(high, low).into(),
        _ => address,
    }
}

/// Whether the address is one of the public Internet: none that the special
/// purpose registries of IANA (RFC 6890) set aside. The metadata services of
/// clouds are link-local (169.254.169.254) or ULA (fd00:ec2::254).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        // This network.
        || a == 0
        // Shared address space of carriers (RFC 6598).
        || (a == 100 && (64..128).contains(&b))
        // IETF protocol assignments; the AS112 and 6to4 anycasts.
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        // Benchmarks (RFC 2544).
        || (a == 198 && (18..20).contains(&b))
        // Reserved, and broadcast.
        || a >= 240;
    // Alibaba's metadata service is at 100.100.100.200, in the shared space.
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    // Global unicast is 2000::/3 (RFC 4291 section 2.4); everything else is
    // loopback, link-local, ULA, multicast, or not assigned.
    let unicast = parts[0] & 0xe000 == 0x2000;
    // IETF protocol assignments (Teredo, benchmarks, ORCHID) and documentation.
    let special = match parts[0] {
        0x2001 => parts[1] < 0x0200 || parts[1] == 0x0db8,
        0x3fff => parts[1] < 0x1000,
        _ => false,
    };
    unicast && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str], allow_private: bool) -> HookPolicy {
        HookPolicy {
            allow: allow.iter().map(|text| text.parse().unwrap()).collect(),
            allow_private,
        }
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn an_address_that_is_not_public_is_refused_however_it_is_written() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "[::ffff:7f00:1]",
            "[::7f00:1]",
            "[64:ff9b::a00:1]",
            "[64:ff9b:1::a00:1]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
            "[2001::1]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[ff02::1]",
            "localhost",
            "a.LOCALHOST.",
        ] {
            let target = url(&format!("http://{host}/x"));
            assert!(policy(&[], false).check_url(&target).is_err(), "{host}");
            assert!(policy(&[], true).check_url(&target).is_ok(), "{host}");
        }
        for host in [
            "198.51.99.1",
            "[2600::1]",
            "[64:ff9b::808:808]",
            "example.com",
        ] {
            let target = url(&format!("http://{host}/x"));
            assert!(policy(&[], false).check_url(&target).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_name_is_as_good_as_the_address_behind_it() {
        let public = "93.184.216.34".parse().unwrap();
        let inside = "10.0.0.1".parse().unwrap();
        let open = policy(&[], false);
        assert!(open.check_address(Some("example.com"), public).is_ok());
        let words = open
            .check_address(Some("example.com"), inside)
            .unwrap_err()
            .to_string();
        assert!(
            words.contains("example.com has the address 10.0.0.1"),
            "{words}"
        );
        // A name that is listed is still not a way inside; a network is.
        let named = policy(&["example.com"], false);
        assert!(named.check_address(Some("example.com"), inside).is_err());
        let network = policy(&["10.0.0.0/8"], false);
        assert!(network.check_address(Some("example.com"), inside).is_ok());
        assert!(network.check_address(Some("example.com"), public).is_err());
    }

    #[test]
    fn a_list_lets_its_hosts_through_and_no_other() {
        let listed = policy(
            &["hooks.example.com", "*.example.org", "203.0.114.0/24"],
            false,
        );
        let check = |host: &str| {
            let name = host.parse::<IpAddr>().is_err().then_some(host);
            let address = host.parse().unwrap_or("93.184.216.34".parse().unwrap());
            listed.check_address(name, address).is_ok()
        };
        for host in [
            "hooks.example.com",
            "HOOKS.example.com.",
            "a.b.example.org",
            "203.0.114.9",
        ] {
            assert!(check(host), "{host}");
        }
        for host in [
            "example.com",
            "example.org",
            "evilexample.org",
            "203.0.115.9",
        ] {
            assert!(!check(host), "{host}");
        }
        let names = policy(&["hooks.example.com"], false);
        assert!(names.check_url(&url("https://other.example.com/")).is_err());
    }

    #[test]
    fn a_pattern_that_is_none_is_told() {
        for text in ["", "*", "*.", "http://x", "a b", "10.0.0.1/8"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text:?}");
        }
    }
}
