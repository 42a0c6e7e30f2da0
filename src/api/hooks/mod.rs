//! Hooks: each call's events are posted in order, at least once, also across
//! a restart, and no app's slow server delays another's.
//!
//! An event is written to the outbox of the store and then posted; once the
//! hook has taken it, its row is marked. A gateway that is killed in between
//! posts it again, under the same id.
//!
//! | file | what it does |
//! | --- | --- |
//! | `call` | takes the events of one call in |
//! | `backlog` | what waits for one target, in memory and on the disk |
//! | `delivery` | posts a call's events one after the other |
//! | `post`, `target` | one attempt, and where it may go |
//! | `breaker` | leaves a target alone that is down |
//! | `keeper` | goes on with what an earlier start left, forgets what is old |
//! | `deliveries` | what administrators and integrators see of it |

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};

use crate::book::{Book, Hook, HookPolicy};
use crate::ids::{AppId, CallId};
use crate::store::{Store, StoreError, outbox};

use super::http_client::HttpClientError;
use super::metrics::Counters;
use super::registry::lock;

mod backlog;
mod breaker;
mod call;
mod deliveries;
mod delivery;
mod keeper;
mod post;
pub mod rest;
mod target;

pub use call::{CallHooks, Prepared};
pub use deliveries::{Deliveries, DeliveryError};
pub use target::without_secrets;

use backlog::Backlog;
use breaker::Standing;
use post::Poster;

/// Events of one app that wait at most, on the disk or in memory; one more is
/// given up.
const MAX_WAITING_PER_APP: usize = 2_000_000;
/// Targets of one app that are told apart; what is beyond is treated as one.
const MAX_TARGETS: usize = 64;
/// The name of all targets beyond.
const OTHER_TARGETS: &str = "*";
/// Events of one app that are being posted at a time.
const MAX_POSTS_PER_APP: usize = 64;
/// Arrivals of one app that are being asked about at a time. They have room of
/// their own, so that retries do not keep a caller waiting.
const MAX_ASKS_PER_APP: usize = 512;

/// Between retries at most, once the gateway ends.
const LAST_DELAY: Duration = Duration::from_millis(500);

/// How hooks are posted.
#[derive(Debug, Clone)]
pub struct HookSettings {
    /// Of one attempt, connecting and reading included.
    pub timeout: Duration,
    /// Of an event, from when it happened.
    pub give_up: Duration,
    /// Before the first retry; doubles with each.
    pub first_delay: Duration,
    /// Between retries at most.
    pub longest_delay: Duration,
    /// A delivered event stays in the outbox for this long.
    pub delivered_kept: Duration,
    /// An event that was given up stays in the outbox for this long.
    pub dead_letters_kept: Duration,
    /// Where hooks may be that the configuration does not name.
    pub policy: HookPolicy,
}

/// The sender of all hooks.
pub struct Hooks {
    shared: Arc<Shared>,
}

struct Shared {
    poster: RwLock<Arc<Poster>>,
    settings: RwLock<Arc<HookSettings>>,
    store: Store,
    counters: Arc<Counters>,
    apps: Mutex<HashMap<AppId, Arc<AppHooks>>>,
    apps_changed: Notify,
    /// By app, the targets for which an earlier start has left something.
    left_over: Mutex<HashMap<AppId, Vec<(String, u64)>>>,
    next_seq: AtomicI64,
    /// Events that are neither delivered nor given up.
    waiting: AtomicUsize,
    /// Those of them that somebody is working on.
    in_memory: AtomicUsize,
    emptied: Notify,
    dead: AtomicU64,
    ending: watch::Sender<bool>,
}

impl Shared {
    fn settings(&self) -> Arc<HookSettings> {
        let settings = self.settings.read();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn poster(&self) -> Arc<Poster> {
        let poster = self.poster.read();
        poster.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What an app's calls share.
struct AppHooks {
    id: AppId,
    secret: Mutex<String>,
    /// There is no such app any more; what waits is still posted.
    gone: AtomicBool,
    posts: Semaphore,
    asks: Semaphore,
    waiting: AtomicUsize,
    targets: Mutex<HashMap<Arc<str>, Backlog>>,
}

/// Hooks cannot be posted.
#[derive(Debug, thiserror::Error)]
pub enum HooksError {
    /// No HTTP client.
    #[error(transparent)]
    Client(#[from] HttpClientError),
    /// The outbox cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hooks {
    /// Over this store's outbox. What an earlier start has left there is
    /// posted once [`Hooks::keep`] runs.
    ///
    /// # Errors
    /// When TLS cannot be set up or the outbox cannot be read.
    pub fn new(
        settings: HookSettings,
        store: Store,
        book: &Book,
        counters: Arc<Counters>,
    ) -> Result<Self, HooksError> {
        let poster = Poster::new(Arc::new(settings.policy.clone()))?;
        let mut left_over: HashMap<AppId, Vec<(String, u64)>> = HashMap::new();
        let mut waiting = 0;
        for (app, target, count) in store.read_blocking(outbox::waiting)? {
            waiting += count;
            let targets = left_over.entry(AppId::new(&app)).or_default();
            targets.push((target, count));
        }
        let newest = store.read_blocking(outbox::newest)?;
        let dead = store.read_blocking(outbox::dead)?;
        if waiting > 0 {
            tracing::info!(waiting, "hook events of an earlier start wait to be posted");
        }
        let hooks = Hooks {
            shared: Arc::new(Shared {
                poster: RwLock::new(Arc::new(poster)),
                settings: RwLock::new(Arc::new(settings)),
                store,
                counters,
                apps: Mutex::default(),
                apps_changed: Notify::new(),
                left_over: Mutex::new(left_over),
                next_seq: AtomicI64::new(newest + 1),
                waiting: AtomicUsize::new(waiting as usize),
                in_memory: AtomicUsize::new(0),
                emptied: Notify::new(),
                dead: AtomicU64::new(dead),
                ending: watch::Sender::new(false),
            }),
        };
        hooks.use_apps(book);
        Ok(hooks)
    }

    /// From now on these settings count. A new policy begins with new
    /// connections, and holds for events that wait too.
    ///
    /// # Errors
    /// When TLS cannot be set up; nothing has changed then.
    pub fn use_settings(&self, settings: HookSettings) -> Result<(), HttpClientError> {
        let poster = &self.shared.poster;
        if **self.shared.poster().policy() != settings.policy {
            let fresh = Arc::new(Poster::new(Arc::new(settings.policy.clone()))?);
            *poster.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        let current = &self.shared.settings;
        *current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(())
    }

    /// From now on these apps count. Events that wait are signed with their
    /// app's new secret; those of an app that is gone, with its last one.
    pub fn use_apps(&self, book: &Book) {
        let mut apps = lock(&self.shared.apps);
        for (id, app) in apps.iter() {
            app.gone.store(book.app(id).is_none(), Ordering::SeqCst);
        }
        for app in book.apps() {
            match apps.get(&app.id) {
                Some(hooks) => lock(&hooks.secret).clone_from(&app.secret),
                None => {
                    let left = lock(&self.shared.left_over).remove(&app.id);
                    let hooks = AppHooks::new(&app.id, &app.secret, left.unwrap_or_default());
                    apps.insert(app.id.clone(), Arc::new(hooks));
                }
            }
        }
        self.shared.apps_changed.notify_one();
    }

    /// The hook of a call; none if there is no such app.
    pub fn of_call(&self, app: &AppId, call: CallId, hook: Hook) -> Option<Arc<CallHooks>> {
        let app = lock(&self.shared.apps).get(app)?.clone();
        let known = !app.gone.load(Ordering::SeqCst);
        known.then(|| Arc::new(CallHooks::new(self.shared.clone(), app, call, hook)))
    }

    /// Events that are written to the outbox together with something else.
    pub fn prepare(&self) -> Prepared {
        Prepared::new(self.shared.clone())
    }

    /// Where hooks may be that the configuration does not name.
    pub fn policy(&self) -> Arc<HookPolicy> {
        self.shared.poster().policy().clone()
    }

    /// From now on retries do not wait long: there is not much time left.
    pub fn hurry(&self) {
        self.shared.ending.send_replace(true);
    }

    /// Waits until nobody works on any event.
    pub async fn drained(&self) {
        loop {
            let emptied = self.shared.emptied.notified();
            if self.shared.in_memory.load(Ordering::SeqCst) == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// How many events are neither delivered nor given up.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::SeqCst)
    }

    /// How many events were given up and can still be retried.
    pub fn dead_letters(&self) -> u64 {
        self.shared.dead.load(Ordering::SeqCst)
    }

    /// How many targets' breakers are open, and how many half open.
    pub fn breakers(&self) -> (u64, u64) {
        let (mut open, mut half_open) = (0, 0);
        for app in lock(&self.shared.apps).values() {
            for backlog in lock(&app.targets).values() {
                match backlog.breaker.standing() {
                    Standing::Closed => {}
                    Standing::Open => open += 1,
                    Standing::HalfOpen => half_open += 1,
                }
            }
        }
        (open, half_open)
    }
}

impl Shared {
    fn enters_memory(&self) {
        self.in_memory.fetch_add(1, Ordering::SeqCst);
    }

    fn leaves_memory(&self, events: usize) {
        if self.in_memory.fetch_sub(events, Ordering::SeqCst) == events {
            self.emptied.notify_waiters();
        }
    }

    fn ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// Whether somebody has to read on from the disk. At the end nobody does:
    /// what is left there is for the next start.
    fn reads_on(&self, backlog: &mut Backlog) -> bool {
        !self.ending() && backlog.starts_reading()
    }

    /// An event of an app that has not come back is given up.
    fn orphan_dropped(&self, app: &AppId, target: &str) {
        let mut left_over = lock(&self.left_over);
        let targets = left_over.get_mut(app).into_iter().flatten();
        for (_, count) in targets.filter(|(left, _)| left == target) {
            *count = count.saturating_sub(1);
        }
        let less = |count: usize| Some(count.saturating_sub(1));
        let _ = self
            .waiting
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }

    /// An event is delivered or given up.
    fn settled(&self, app: &AppHooks) {
        for counter in [&self.waiting, &app.waiting] {
            let less = |count: usize| Some(count.saturating_sub(1));
            let _ = counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        }
    }
}

impl AppHooks {
    fn new(id: &AppId, secret: &str, left_over: Vec<(String, u64)>) -> Self {
        let waiting: u64 = left_over.iter().map(|(_, count)| count).sum();
        let targets = left_over.into_iter();
        AppHooks {
            id: id.clone(),
            secret: Mutex::new(secret.to_string()),
            gone: AtomicBool::new(false),
            posts: Semaphore::new(MAX_POSTS_PER_APP),
            asks: Semaphore::new(MAX_ASKS_PER_APP),
            waiting: AtomicUsize::new(waiting as usize),
            targets: Mutex::new(
                targets
                    .map(|(target, _)| (Arc::from(target), Backlog::left_over()))
                    .collect(),
            ),
        }
    }
}

/// Under which name a target's events wait.
fn target_key(targets: &mut HashMap<Arc<str>, Backlog>, target: &Arc<str>) -> Arc<str> {
    if !targets.contains_key(target) && targets.len() >= MAX_TARGETS {
        targets.retain(|_, backlog| !backlog.is_idle());
        if targets.len() >= MAX_TARGETS {
            return Arc::from(OTHER_TARGETS);
        }
    }
    target.clone()
}

/// Waits before a retry; once the gateway ends, not long.
pub(super) async fn pause(delay: Duration, ending: &watch::Sender<bool>) {
    let mut ending = ending.subscribe();
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = async { let _ = ending.wait_for(|ending| *ending).await; } => {
            tokio::time::sleep(delay.min(LAST_DELAY)).await;
        }
    }
}

/// Exponential, half of it random so that what failed together does not come
/// back together.
pub(super) fn backoff(settings: &HookSettings, attempt: u32, random: f64) -> Duration {
    let whole = settings
        .first_delay
        .saturating_mul(2_u32.saturating_pow(attempt))
        .min(settings.longest_delay);
    whole.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_the_longest_and_half_of_it_is_random() {
        let settings = HookSettings {
            timeout: Duration::from_secs(5),
            give_up: Duration::from_secs(3600),
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(60),
            delivered_kept: Duration::ZERO,
            dead_letters_kept: Duration::ZERO,
            policy: HookPolicy::default(),
        };
        let delay = |attempt, random| backoff(&settings, attempt, random).as_millis();
        assert_eq!(delay(0, 0.0), 250);
        assert_eq!(delay(0, 1.0), 500);
        assert_eq!(delay(3, 1.0), 4000);
        assert_eq!(delay(7, 1.0), 60_000);
        assert_eq!(delay(u32::MAX, 0.5), 45_000);
    }
}
