//! Sources that send bad requests at a rate that no peer does: scanners. They
//! are banned for a time; their datagrams are dropped before anything reads
//! them. One [`Scanners`] is shared by all shards.
//!
//! The source of a datagram can be forged, so a ban may hit somebody whom the
//! scanner names. Hence whoever is expected is never banned: a source inside
//! a number's subnets (unless these name everybody), one inside `never_ban`,
//! and the peer of a call that is alive.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tracing::{info, warn};

use crate::book::Book;

/// Sources that are counted, and as many that are banned; more push out those
/// that have been quiet for longest.
const MAX_SOURCES: usize = 10_000;

/// Who counts as a scanner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannerSettings {
    /// Whether anybody is banned at all.
    pub enabled: bool,
    /// So many bad requests
    pub threshold: u32,
    /// within this time
    pub window: Duration,
    /// lead to a ban for this time.
    pub ban: Duration,
    /// Never these.
    pub never_ban: Vec<IpNet>,
}

impl Default for ScannerSettings {
    fn default() -> Self {
        ScannerSettings {
            enabled: true,
            threshold: 20,
            window: Duration::from_secs(60),
            ban: Duration::from_secs(600),
            never_ban: Vec::new(),
        }
    }
}

/// What is counted and who is banned.
#[derive(Debug)]
pub struct Scanners {
    /// So that a datagram costs nothing while nobody is banned.
    banned: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: ScannerSettings,
    suspects: Recent<Suspect>,
    bans: Recent<Instant>,
    /// Peers of calls that are alive, with how many.
    in_calls: HashMap<IpAddr, usize>,
    total: u64,
}

#[derive(Debug, Clone, Copy)]
struct Suspect {
    since: Instant,
    bad: u32,
}

/// The peer of a call: not banned for as long as this lives.
#[derive(Debug)]
pub struct InCall {
    scanners: Arc<Scanners>,
    peer: IpAddr,
}

impl Scanners {
    /// Nobody is banned yet.
    pub fn new(settings: ScannerSettings) -> Arc<Self> {
        Arc::new(Scanners {
            banned: AtomicUsize::new(0),
            inner: Mutex::new(Inner {
                settings,
                suspects: Recent::new(MAX_SOURCES),
                bans: Recent::new(MAX_SOURCES),
                in_calls: HashMap::new(),
                total: 0,
            }),
        })
    }

    /// From now on these count. Bans that are there last as long as they were
    /// given for, unless nobody is to be banned any more.
    pub fn use_settings(&self, settings: ScannerSettings) {
        let mut inner = self.lock();
        if !settings.enabled {
            inner.suspects = Recent::new(MAX_SOURCES);
            inner.bans = Recent::new(MAX_SOURCES);
            self.banned.store(0, Ordering::Relaxed);
        }
        inner.settings = settings;
    }

    /// Whether a datagram from here is to be dropped unread.
    pub fn is_banned(&self, now: Instant, source: IpAddr, book: &Book) -> bool {
        if self.banned.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let source = source.to_canonical();
        let inner = self.lock();
        let is_banned = inner
            .bans
            .get(&host(source))
            .is_some_and(|until| now < *until);
        // A host's whole network is banned; a neighbour may be expected.
        is_banned && !inner.is_expected(source, book)
    }

    /// A bad request has come from here.
    pub fn bad_request(&self, now: Instant, source: IpAddr, book: &Book) {
        let source = source.to_canonical();
        let mut inner = self.lock();
        if !inner.settings.enabled || inner.is_expected(source, book) {
            return;
        }
        let host = host(source);
        let suspect = match inner.suspects.get(&host) {
            Some(suspect) if now.duration_since(suspect.since) < inner.settings.window => Suspect {
                bad: suspect.bad + 1,
                ..*suspect
            },
            Some(_) | None => Suspect { since: now, bad: 1 },
        };
        if suspect.bad < inner.settings.threshold {
            inner.suspects.put(host, suspect);
            return;
        }
        inner.suspects.remove(&host);
        let ban = inner.settings.ban;
        inner.bans.put(host, now + ban);
        inner.total += 1;
        self.banned.store(inner.bans.len(), Ordering::Relaxed);
        drop(inner);
        warn!(
            source = %source,
            bad_requests = suspect.bad,
            seconds = ban.as_secs(),
            "source banned: its SIP is dropped unread"
        );
    }

    /// The peer of a call that begins, whatever it sent before.
    pub fn in_call(self: &Arc<Self>, peer: IpAddr) -> InCall {
        let peer = peer.to_canonical();
        *self.lock().in_calls.entry(peer).or_insert(0) += 1;
        InCall {
            scanners: self.clone(),
            peer,
        }
    }

    /// Now and then: lifts the bans that are over.
    pub fn sweep(&self, now: Instant) {
        if self.banned.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut inner = self.lock();
        let over = inner.bans.take_where(|until| *until <= now);
        self.banned.store(inner.bans.len(), Ordering::Relaxed);
        drop(inner);
        for source in over {
            info!(%source, "source no longer banned");
        }
    }

    /// How many sources are banned now.
    pub fn banned(&self) -> usize {
        self.banned.load(Ordering::Relaxed)
    }

    /// How many bans there were.
    pub fn total(&self) -> u64 {
        self.lock().total
    }

    /// A lock whose holder panicked still guards whole data: every change
    /// under it is a single step.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_expected(&self, source: IpAddr, book: &Book) -> bool {
        let never = &self.settings.never_ban;
        self.in_calls.contains_key(&source)
            || never.iter().any(|net| net.contains(&source))
            || book.expects(source)
    }
}

impl Drop for InCall {
    fn drop(&mut self) {
        let mut inner = self.scanners.lock();
        if let Some(calls) = inner.in_calls.get_mut(&self.peer) {
            *calls -= 1;
            if *calls == 0 {
                inner.in_calls.remove(&self.peer);
            }
        }
    }
}

/// An IPv6 host has a network of /64 to itself (RFC 4291 section 2.5.4) and
/// can send from any address in it.
fn host(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(network).into()
        }
    }
}

/// A table of sources in which the longest quiet makes room.
#[derive(Debug)]
struct Recent<V> {
    entries: HashMap<IpAddr, (u64, V)>,
    order: BTreeMap<u64, IpAddr>,
    next: u64,
    limit: usize,
}

impl<V> Recent<V> {
    fn new(limit: usize) -> Self {
        Recent {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            limit,
        }
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, source: &IpAddr) -> Option<&V> {
        self.entries.get(source).map(|(_, value)| value)
    }

    fn put(&mut self, source: IpAddr, value: V) {
        self.remove(&source);
        if self.entries.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.entries.insert(source, (self.next, value));
        self.order.insert(self.next, source);
        self.next += 1;
    }

    fn remove(&mut self, source: &IpAddr) {
        if let Some((place, _)) = self.entries.remove(source) {
            self.order.remove(&place);
        }
    }

    fn take_where(&mut self, over: impl Fn(&V) -> bool) -> Vec<IpAddr> {
        let sources: Vec<IpAddr> = self
            .entries
            .iter()
            .filter(|(_, (_, value))| over(value))
            .map(|(source, _)| *source)
            .collect();
        for source in &sources {
            self.remove(source);
        }
        sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Number;
    use crate::ids::AppId;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn book(subnets: &[&str]) -> Book {
        let number = Number {
            subnets: subnets.iter().map(|net| net.parse().unwrap()).collect(),
            ..Number::named("100", AppId::new("a"))
        };
        Book::new([], [number]).unwrap()
    }

    fn scanners(never_ban: &[&str]) -> Arc<Scanners> {
        Scanners::new(ScannerSettings {
            threshold: 3,
            never_ban: never_ban.iter().map(|net| net.parse().unwrap()).collect(),
            ..ScannerSettings::default()
        })
    }

    /// Whether it is banned after so many bad requests in one moment.
    fn banned_after(scanners: &Scanners, book: &Book, source: &str, bad: usize) -> bool {
        let now = Instant::now();
        for _ in 0..bad {
            scanners.bad_request(now, ip(source), book);
        }
        scanners.is_banned(now, ip(source), book)
    }

    #[test]
    fn so_many_bad_requests_in_a_window_ban_a_source_and_no_other() {
        let (scanners, book) = (scanners(&[]), Book::default());
        assert!(!banned_after(&scanners, &book, "192.0.2.1", 2));
        assert!(banned_after(&scanners, &book, "192.0.2.1", 1));
        assert!(!scanners.is_banned(Instant::now(), ip("192.0.2.2"), &book));
        assert_eq!((scanners.banned(), scanners.total()), (1, 1));
    }

    #[test]
    fn bad_requests_that_are_far_apart_do_not_add_up() {
        let (scanners, book, start) = (scanners(&[]), Book::default(), Instant::now());
        for second in [0, 30, 60, 90, 120] {
            let now = start + Duration::from_secs(second);
            scanners.bad_request(now, ip("192.0.2.1"), &book);
        }
        assert_eq!(scanners.banned(), 0);
    }

    #[test]
    fn a_ban_ends_by_itself() {
        let (scanners, book, now) = (scanners(&[]), Book::default(), Instant::now());
        assert!(banned_after(&scanners, &book, "192.0.2.1", 3));
        let later = now + Duration::from_secs(601);
        assert!(!scanners.is_banned(later, ip("192.0.2.1"), &book));
        scanners.sweep(later);
        assert_eq!((scanners.banned(), scanners.total()), (0, 1));
    }

    #[test]
    fn whoever_is_expected_is_never_banned() {
        let scanners = scanners(&["198.51.100.0/24"]);
        let book = book(&["192.0.2.0/24", "0.0.0.0/0"]);
        assert!(!banned_after(&scanners, &book, "192.0.2.1", 9));
        assert!(!banned_after(&scanners, &book, "198.51.100.1", 9));
        // Everybody may call the number, which names nobody.
        assert!(banned_after(&scanners, &book, "203.0.113.1", 9));
        // Nor when it is expected only later on.
        let call = scanners.in_call(ip("203.0.113.1"));
        assert!(!scanners.is_banned(Instant::now(), ip("203.0.113.1"), &book));
        assert!(!banned_after(&scanners, &book, "203.0.113.1", 9));
        drop(call);
        assert!(scanners.is_banned(Instant::now(), ip("203.0.113.1"), &book));
    }

    #[test]
    fn an_ipv6_host_is_banned_with_its_network_and_mapped_ipv4_is_ipv4() {
        let (scanners, book) = (scanners(&[]), book(&["2001:db8::7/128"]));
        for source in ["2001:db8::1", "2001:db8::2", "2001:db8::3"] {
            scanners.bad_request(Instant::now(), ip(source), &book);
        }
        let banned = |source| scanners.is_banned(Instant::now(), ip(source), &book);
        assert!(banned("2001:db8::4"));
        assert!(!banned("2001:db8::7"));
        assert!(!banned("2001:db8:0:1::4"));
        assert!(banned_after(&scanners, &book, "::ffff:192.0.2.1", 3));
        assert!(banned("192.0.2.1"));
    }

    #[test]
    fn the_table_is_bounded_and_the_longest_quiet_goes_first() {
        let mut recent = Recent::new(2);
        recent.put(ip("192.0.2.1"), 1);
        recent.put(ip("192.0.2.2"), 2);
        recent.put(ip("192.0.2.1"), 3);
        recent.put(ip("192.0.2.3"), 4);
        assert_eq!(recent.get(&ip("192.0.2.1")), Some(&3));
        assert_eq!(recent.get(&ip("192.0.2.2")), None);
        assert_eq!((recent.len(), recent.order.len()), (2, 2));
    }

    #[test]
    fn settings_that_change_count_for_the_next_bad_request_and_off_lifts_all_bans() {
        let (scanners, book) = (scanners(&[]), Book::default());
        assert!(banned_after(&scanners, &book, "192.0.2.1", 3));
        scanners.use_settings(ScannerSettings {
            threshold: 5,
            ..ScannerSettings::default()
        });
        assert!(scanners.is_banned(Instant::now(), ip("192.0.2.1"), &book));
        assert!(!banned_after(&scanners, &book, "192.0.2.2", 4));
        assert!(banned_after(&scanners, &book, "192.0.2.2", 1));
        scanners.use_settings(ScannerSettings {
            enabled: false,
            ..ScannerSettings::default()
        });
        assert!(!banned_after(&scanners, &book, "192.0.2.2", 9));
        assert_eq!((scanners.banned(), scanners.total()), (0, 2));
    }

    #[test]
    fn nobody_is_banned_where_that_is_off() {
        let scanners = Scanners::new(ScannerSettings {
            enabled: false,
            threshold: 1,
            ..ScannerSettings::default()
        });
        assert!(!banned_after(&scanners, &Book::default(), "192.0.2.1", 9));
    }
}
