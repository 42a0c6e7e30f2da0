//! HTTP clients for URLs that come from others, hooks and sounds: they refuse
//! addresses inside the operator's network. The look-up is made for the very
//! connection, so that a name that changes its address between two look-ups
//! gains nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::book::{Forbidden, HookPolicy};

use super::http_client::{self, HttpClientError};

/// A client for what may be anywhere, and one for what the policy has to allow.
pub struct PolicedClients {
    free: reqwest::Client,
    checked: reqwest::Client,
    policy: Arc<HookPolicy>,
}

impl PolicedClients {
    /// With connections of their own.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(policy: Arc<HookPolicy>) -> Result<PolicedClients, HttpClientError> {
        let resolver = Arc::new(CheckedResolver {
            policy: policy.clone(),
        });
        let free = http_client::new(None)?;
        Ok(PolicedClients {
            checked: match policy.allows_everything() {
                true => free.clone(),
                // A proxy would look names up itself, past the check.
                false => http_client::with(None, |builder| {
                    builder.no_proxy().dns_resolver(resolver.clone())
                })?,
            },
            free,
            policy,
        })
    }

    /// What is not the operator's own has to keep to this.
    pub fn policy(&self) -> &Arc<HookPolicy> {
        &self.policy
    }

    /// The client that may ask for this URL.
    ///
    /// # Errors
    /// Why none may.
    pub fn client(&self, url: &str, trusted: bool) -> Result<&reqwest::Client, Forbidden> {
        if trusted {
            return Ok(&self.free);
        }
        // A URL with an address in it needs no look-up.
        if let Ok(url) = url::Url::parse(url) {
            self.policy.check_url(&url)?;
        }
        Ok(&self.checked)
    }
}

/// Looks names up and lets through what the policy allows.
struct CheckedResolver {
    policy: Arc<HookPolicy>,
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
}
