//! How often somebody may try a password: each address on its own, and all
//! together.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::api::registry::lock;

/// Tries of one address at once, and how long it takes until one more is due.
const PER_ADDRESS: Rate = Rate {
    burst: 5.0,
    every: Duration::from_secs(10),
};
/// The same of all addresses together.
const OVERALL: Rate = Rate {
    burst: 50.0,
    every: Duration::from_secs(2),
};
/// Addresses that are counted on their own; those past it only together.
const MAX_ADDRESSES: usize = 4_096;

struct Rate {
    burst: f64,
    every: Duration,
}

/// The limiter.
pub struct Limiter {
    buckets: Mutex<Buckets>,
}

struct Buckets {
    overall: Bucket,
    addresses: HashMap<IpAddr, Bucket>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tries: f64,
    at: Instant,
    /// Somebody there knew the password: a flood of others does not lock this
    /// address out.
    trusted: bool,
}

impl Limiter {
    /// Nobody has tried anything.
    pub fn new(now: Instant) -> Self {
        Limiter {
            buckets: Mutex::new(Buckets {
                overall: Bucket::full(&OVERALL, now),
                addresses: HashMap::new(),
            }),
        }
    }

    /// Takes a try of this address.
    ///
    /// # Errors
    /// None is left: how long until the next one.
    pub fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut buckets = lock(&self.buckets);
        let Buckets { overall, addresses } = &mut *buckets;
        let address = network(address);
        if addresses.len() >= MAX_ADDRESSES && !addresses.contains_key(&address) {
            addresses.retain(|_, bucket| bucket.trusted || !bucket.is_full(&PER_ADDRESS, now));
        }
        let room = addresses.len() < MAX_ADDRESSES || addresses.contains_key(&address);
        let mut trusted = false;
        if room {
            let bucket = addresses
                .entry(address)
                .or_insert_with(|| Bucket::full(&PER_ADDRESS, now));
            bucket.take(&PER_ADDRESS, now)?;
            trusted = bucket.trusted;
        }
        match trusted {
            true => Ok(()),
            false => overall.take(&OVERALL, now),
        }
    }

    /// The password was right: the address has all its tries again.
    pub fn succeeded(&self, address: IpAddr, now: Instant) {
        let mut buckets = lock(&self.buckets);
        if let Some(bucket) = buckets.addresses.get_mut(&network(address)) {
            *bucket = Bucket {
                trusted: true,
                ..Bucket::full(&PER_ADDRESS, now)
            };
        }
    }
}

impl Bucket {
    fn full(rate: &Rate, now: Instant) -> Self {
        Bucket {
            tries: rate.burst,
            at: now,
            trusted: false,
        }
    }

    fn tries(&self, rate: &Rate, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at);
        (self.tries + since.div_duration_f64(rate.every)).min(rate.burst)
    }

    fn is_full(&self, rate: &Rate, now: Instant) -> bool {
        self.tries(rate, now) >= rate.burst
    }

    fn take(&mut self, rate: &Rate, now: Instant) -> Result<(), Duration> {
        let tries = self.tries(rate, now);
        if tries < 1.0 {
            return Err(rate.every.mul_f64(1.0 - tries));
        }
        self.tries = tries - 1.0;
        self.at = now;
        Ok(())
    }
}

/// A network of IPv6 has as many addresses as it likes (RFC 4291 section
/// 2.5.4): they count as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_sixth_try_of_an_address_waits_and_another_address_does_not() {
        let now = Instant::now();
        let limiter = Limiter::new(now);
        let here = address("192.0.2.1");
        for _ in 0..5 {
            assert_eq!(limiter.take(here, now), Ok(()));
        }
        assert_eq!(limiter.take(here, now), Err(Duration::from_secs(10)));
        assert_eq!(limiter.take(address("192.0.2.2"), now), Ok(()));
        let later = now + Duration::from_secs(10);
        assert_eq!(limiter.take(here, later), Ok(()));
        assert!(limiter.take(here, later).is_err());
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_count_as_one() {
        let now = Instant::now();
        let limiter = Limiter::new(now);
        for host in 1..=5 {
            let there = address(&format!("2001:db8::{host}"));
            assert_eq!(limiter.take(there, now), Ok(()));
        }
        assert!(limiter.take(address("2001:db8::99"), now).is_err());
        assert!(limiter.take(address("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn a_flood_from_everywhere_does_not_lock_out_who_knew_the_password() {
        let now = Instant::now();
        let limiter = Limiter::new(now);
        let known = address("192.0.2.1");
        limiter.take(known, now).unwrap();
        limiter.succeeded(known, now);
        for host in 0..100 {
            let _ = limiter.take(address(&format!("198.51.100.{host}")), now);
        }
        assert!(limiter.take(address("203.0.113.1"), now).is_err());
        assert_eq!(limiter.take(known, now), Ok(()));
    }
}
