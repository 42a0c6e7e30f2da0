//! What a hook's URL leads to: the name under which its failures are counted,
//! and the look-up that refuses addresses inside the operator's network. It is
//! made for the very connection, so that a name that changes its address
//! between two look-ups gains nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::book::{Forbidden, HookPolicy};

/// Scheme, host and port: what fails and recovers together.
pub fn of_url(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(url) => url.origin().ascii_serialization(),
        Err(_) => String::new(),
    }
}

/// The URL without what may hold a secret: query, user and password.
pub fn without_secrets(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.to_string()
        }
        Err(_) => String::new(),
    }
}

/// Looks names up and lets through what the policy allows.
pub struct CheckedResolver {
    pub policy: Arc<HookPolicy>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses = allowed(&policy, name.as_str(), found)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Those that may be connected to; if none may, why.
fn allowed(
    policy: &HookPolicy,
    name: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, Forbidden> {
    let mut refused = None;
    let mut addresses = Vec::new();
    for address in found {
        match policy.check_address(Some(name), address.ip()) {
            Ok(()) => addresses.push(address),
            Err(reason) => refused = Some(reason),
        }
    }
    match refused {
        Some(reason) if addresses.is_empty() => Err(reason),
        _ => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_only_to_its_public_addresses() {
        let policy = HookPolicy::default();
        let public: SocketAddr = "93.184.216.34:0".parse().unwrap();
        let inside: SocketAddr = "[::ffff:10.0.0.1]:0".parse().unwrap();
        let lead = |found: Vec<SocketAddr>| allowed(&policy, "x.example", found.into_iter());
        assert_eq!(lead(vec![inside, public]), Ok(vec![public]));
        let words = lead(vec![inside]).unwrap_err().to_string();
        assert!(
            words.contains("x.example has the address 10.0.0.1"),
            "{words}"
        );
    }

    #[test]
    fn a_target_is_scheme_host_and_port() {
        assert_eq!(of_url("https://u:p@Example.com/a?b"), "https://example.com");
        assert_eq!(of_url("http://10.0.0.1:80/a"), "http://10.0.0.1");
        assert_eq!(of_url("http://[::1]:9000/"), "http://[::1]:9000");
    }

    #[test]
    fn the_log_names_a_hook_without_its_secrets() {
        assert_eq!(
            without_secrets("https://u:p@example.com:8443/hook?key=hush#x"),
            "https://example.com:8443/hook"
        );
    }
}
