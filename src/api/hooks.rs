//! Hooks: each call's events are posted in order, at least once, and no app's
//! slow server delays another's.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::Instant;

use crate::book::{Book, Hook, HookContentType};
use crate::ids::{AppId, CallId};

use super::auth::{keyed_hash, unix_time};
use super::hook_answer::{self, HookAnswer};
use super::http_client::{self, HttpClientError, in_words};
use super::messages::hook_body;
use super::metrics::Counters;
use super::proto::sip_gateway::{CallEvent, call_event};
use super::registry::lock;

/// Events of one call that wait at most; one more is given up.
const MAX_QUEUED_PER_CALL: usize = 128;
/// Events of one app that wait at most; one more is given up.
const MAX_QUEUED_PER_APP: usize = 20_000;
/// Events of one app that are being posted at a time.
const MAX_POSTS_PER_APP: usize = 64;
/// Arrivals of one app that are being asked about at a time. They have room of
/// their own, so that retries do not keep a caller waiting.
const MAX_ASKS_PER_APP: usize = 512;
/// A hook's answer is at most this long (bytes); the rest is not read.
const MAX_ANSWER: usize = 64 * 1024;
/// Between retries at most, once the gateway ends.
const LAST_DELAY: Duration = Duration::from_millis(500);

/// How hooks are posted.
#[derive(Debug, Clone, Copy)]
pub struct HookSettings {
    /// Of one attempt, connecting and reading included.
    pub timeout: Duration,
    /// Of an event, from when it happened.
    pub give_up: Duration,
    /// Before the first retry; doubles with each.
    pub first_delay: Duration,
    /// Between retries at most.
    pub longest_delay: Duration,
}

/// The sender of all hooks.
pub struct Hooks {
    shared: Arc<Shared>,
    apps: Mutex<HashMap<AppId, Arc<AppHooks>>>,
}

struct Shared {
    client: reqwest::Client,
    settings: HookSettings,
    counters: Arc<Counters>,
    queued: AtomicUsize,
    emptied: Notify,
    ending: watch::Sender<bool>,
}

/// What an app's calls share.
struct AppHooks {
    secret: Mutex<String>,
    posts: Semaphore,
    asks: Semaphore,
    queued: AtomicUsize,
}

/// The hook of one call.
pub struct CallHooks {
    shared: Arc<Shared>,
    app: Arc<AppHooks>,
    hook: Hook,
    call: CallId,
    /// What it is posted as in the log: no query, for that may hold a secret.
    name: String,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    working: bool,
}

struct Item {
    id: String,
    since: Instant,
    body: CallEvent,
    /// Of an arrival that is asked about: where the answer goes.
    answer: Option<oneshot::Sender<Result<HookAnswer, String>>>,
}

impl Hooks {
    pub fn new(
        settings: HookSettings,
        book: &Book,
        counters: Arc<Counters>,
    ) -> Result<Self, HttpClientError> {
        let client = http_client::new(Some(settings.timeout))?;
        let hooks = Hooks {
            apps: Mutex::default(),
            shared: Arc::new(Shared {
                client,
                settings,
                counters,
                queued: AtomicUsize::new(0),
                emptied: Notify::new(),
                ending: watch::Sender::new(false),
            }),
        };
        hooks.use_apps(book);
        Ok(hooks)
    }

    /// From now on these apps count. Events that wait are signed with their
    /// app's new secret; those of an app that is gone, with its last one.
    pub fn use_apps(&self, book: &Book) {
        let mut apps = lock(&self.apps);
        apps.retain(|id, _| book.app(id).is_some());
        for app in book.apps() {
            match apps.get(&app.id) {
                Some(hooks) => lock(&hooks.secret).clone_from(&app.secret),
                None => {
                    let hooks = AppHooks {
                        secret: Mutex::new(app.secret.clone()),
                        posts: Semaphore::new(MAX_POSTS_PER_APP),
                        asks: Semaphore::new(MAX_ASKS_PER_APP),
                        queued: AtomicUsize::new(0),
                    };
                    apps.insert(app.id.clone(), Arc::new(hooks));
                }
            }
        }
    }

    /// The hook of a call; none if there is no such app.
    pub fn of_call(&self, app: &AppId, call: CallId, hook: Hook) -> Option<Arc<CallHooks>> {
        Some(Arc::new(CallHooks {
            shared: self.shared.clone(),
            app: lock(&self.apps).get(app)?.clone(),
            name: without_query(&hook.url),
            hook,
            call,
            queue: Mutex::default(),
        }))
    }

    /// From now on retries do not wait long: there is not much time left.
    pub fn hurry(&self) {
        self.shared.ending.send_replace(true);
    }

    /// Waits until nothing is left to post.
    pub async fn drained(&self) {
        loop {
            let emptied = self.shared.emptied.notified();
            if self.queued() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// How many events wait to be posted.
    pub fn queued(&self) -> usize {
        self.shared.queued.load(Ordering::SeqCst)
    }
}

impl CallHooks {
    /// Queues an event.
    pub fn post(self: &Arc<Self>, timestamp_ms: u64, event: call_event::Event) {
        self.enqueue(timestamp_ms, event, None);
    }

    /// Queues an arrival, which is posted once; the future waits for what to
    /// do. An error says why there is no usable answer.
    pub fn ask(
        self: &Arc<Self>,
        timestamp_ms: u64,
        event: call_event::Event,
    ) -> impl Future<Output = Result<HookAnswer, String>> + use<> {
        let (sender, answer) = oneshot::channel();
        // Queued here and now: what happens to the call next comes after it.
        self.enqueue(timestamp_ms, event, Some(sender));
        let patience = self.shared.settings.timeout;
        async move {
            match tokio::time::timeout(patience, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err("too many events of this app wait to be posted".to_string()),
                Err(_) => Err(format!("no answer within {} s", patience.as_secs_f32())),
            }
        }
    }

    fn enqueue(
        self: &Arc<Self>,
        timestamp_ms: u64,
        event: call_event::Event,
        answer: Option<oneshot::Sender<Result<HookAnswer, String>>>,
    ) {
        let mut queue = lock(&self.queue);
        if queue.items.len() >= MAX_QUEUED_PER_CALL
            || self.app.queued.load(Ordering::SeqCst) >= MAX_QUEUED_PER_APP
        {
            self.gave_up("queue_full", "too many events wait already");
            return;
        }
        self.app.queued.fetch_add(1, Ordering::SeqCst);
        self.shared.queued.fetch_add(1, Ordering::SeqCst);
        queue.items.push_back(Item {
            id: hex::encode(rand::random::<[u8; 16]>()),
            since: Instant::now(),
            body: hook_body(timestamp_ms, &self.call.to_string(), event),
            answer,
        });
        if !queue.working {
            queue.working = true;
            tokio::spawn(self.clone().work());
        }
    }

    /// Posts one after the other until none is left.
    async fn work(self: Arc<Self>) {
        loop {
            let item = {
                let mut queue = lock(&self.queue);
                match queue.items.pop_front() {
                    Some(item) => item,
                    None => {
                        queue.working = false;
                        return;
                    }
                }
            };
            match item.answer {
                Some(_) => self.deliver_question(item).await,
                None => self.deliver(item).await,
            }
            self.app.queued.fetch_sub(1, Ordering::SeqCst);
            if self.shared.queued.fetch_sub(1, Ordering::SeqCst) == 1 {
                self.shared.emptied.notify_waiters();
            }
        }
    }

    async fn deliver_question(&self, mut item: Item) {
        let Some(mut answer) = item.answer.take() else {
            return;
        };
        // The asker is gone once the time for an answer has passed.
        let result = tokio::select! {
            result = self.question(&item) => result,
            () = answer.closed() => return self.shared.counters.hook_attempt(false),
        };
        self.shared.counters.hook_attempt(result.is_ok());
        let _ = answer.send(result);
    }

    async fn question(&self, item: &Item) -> Result<HookAnswer, String> {
        let Ok(_room) = self.app.asks.acquire().await else {
            return Err("the gateway is ending".to_string());
        };
        let reply = self.attempt(item).await?;
        hook_answer::read(&reply.content_type, self.hook.content_type, &reply.body)
    }

    async fn deliver(&self, item: Item) {
        let settings = self.shared.settings;
        for attempt in 0.. {
            let Ok(room) = self.app.posts.acquire().await else {
                return;
            };
            let result = self.attempt(&item).await;
            drop(room);
            self.shared.counters.hook_attempt(result.is_ok());
            let Err(problem) = result else {
                return;
            };
            let delay = backoff(&settings, attempt, rand::random());
            if item.since.elapsed() + delay > settings.give_up {
                self.gave_up("expired", &problem);
                return;
            }
            let retry_in_ms = delay.as_millis() as u64;
            let (call_id, hook) = (self.call, &self.name);
            // Once per event is enough for the operator; giving up is told too.
            if attempt == 0 {
                tracing::warn!(%call_id, %hook, retry_in_ms, %problem, "a hook was not delivered");
            } else {
                tracing::debug!(%call_id, %hook, attempt, retry_in_ms, %problem, "nor was its retry");
            }
            pause(delay, &self.shared.ending).await;
        }
    }

    fn gave_up(&self, reason: &'static str, problem: &str) {
        self.shared.counters.hook_given_up(reason);
        tracing::error!(call_id = %self.call, hook = %self.name, %problem, "a hook event is given up");
    }

    /// Posts once.
    async fn attempt(&self, item: &Item) -> Result<Reply, String> {
        let (content_type, body) = match self.hook.content_type {
            HookContentType::Json => (
                "application/json",
                serde_json::to_vec(&item.body).map_err(|error| error.to_string())?,
            ),
            HookContentType::Protobuf => ("application/protobuf", item.body.encode_to_vec()),
        };
        let timestamp = unix_time().as_secs();
        let secret = lock(&self.app.secret).clone();
        let request = self
            .shared
            .client
            .post(&*self.hook.url)
            .header("Content-Type", content_type)
            .header("X-Hook-Id", &item.id)
            .header("X-Hook-Timestamp", timestamp)
            .header("X-Hook-Signature", signature(&secret, timestamp, &body))
            .body(body);
        let mut response = request.send().await.map_err(in_words)?;
        if response.status().is_redirection() {
            return Err(format!(
                "answered {}; redirects are not followed",
                response.status()
            ));
        }
        if !response.status().is_success() {
            return Err(format!("answered {}", response.status()));
        }
        let content_type = response
            .headers()
            .get(reqwest::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_string();
        let mut body = Vec::new();
        while body.len() <= MAX_ANSWER
            && let Some(chunk) = response.chunk().await.map_err(in_words)?
        {
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { content_type, body })
    }
}

struct Reply {
    content_type: String,
    body: Vec<u8>,
}

/// `v1=` and the HMAC-SHA256 of `{timestamp}.{body}` with the app's secret.
fn signature(secret: &str, timestamp: u64, body: &[u8]) -> String {
    let mut signed = format!("{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    format!("v1={}", hex::encode(keyed_hash(secret.as_bytes(), &signed)))
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

/// Exponential, half of it random so that calls that failed together do not
/// come back together.
pub(super) fn backoff(settings: &HookSettings, attempt: u32, random: f64) -> Duration {
    let whole = settings
        .first_delay
        .saturating_mul(2_u32.saturating_pow(attempt))
        .min(settings.longest_delay);
    whole.mul_f64(0.5 + random / 2.0)
}

fn without_query(url: &str) -> String {
    match reqwest::Url::parse(url) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: HookSettings = HookSettings {
        timeout: Duration::from_secs(5),
        give_up: Duration::from_secs(3600),
        first_delay: Duration::from_millis(500),
        longest_delay: Duration::from_secs(60),
    };

    #[test]
    fn the_delay_doubles_up_to_the_longest_and_half_of_it_is_random() {
        let delay = |attempt, random| backoff(&SETTINGS, attempt, random).as_millis();
        assert_eq!(delay(0, 0.0), 250);
        assert_eq!(delay(0, 1.0), 500);
        assert_eq!(delay(3, 1.0), 4000);
        assert_eq!(delay(7, 1.0), 60_000);
        assert_eq!(delay(u32::MAX, 0.5), 45_000);
    }

    #[test]
    fn the_signature_is_what_openssl_makes_of_it() {
        // printf '%s' '1700000000.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature("secret", 1_700_000_000, b"{}"),
            "v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
        );
    }

    #[test]
    fn the_log_names_a_hook_without_its_secrets() {
        assert_eq!(
            without_query("https://u:p@example.com:8443/hook?key=hush#x"),
            "https://example.com:8443/hook"
        );
    }
}
