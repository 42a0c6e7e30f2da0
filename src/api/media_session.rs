//! What calls have on the media server that their rooms are on: one task a
//! call, which asks for a description, completes it, and deletes it when the
//! call has ended, however that went.
//!
//! What is there is noted in the store as long as it is, so that a gateway that
//! was killed deletes it at its next start.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::call::event::ServerRequest;
use crate::call::request::{CallRequest, MediaServerFailure, ServerDescription, Stream};
use crate::config::MediaServer;
use crate::ids::CallId;
use crate::shard::mailbox::{MailboxError, Shards};
use crate::store::{Store, StoreError, documents};

use super::auth::unix_ms;
use super::hooks::{HookSettings, backoff, pause};
use super::http_client::{self, HttpClientError};
use super::media_server::{Made, Server, Step, Trouble};
use super::registry::lock;

/// Requests for calls at a time; the next wait, and their time runs.
const MAX_REQUESTS: usize = 256;
/// Deletions at a time. They have room of their own, so that retries do not
/// keep a call waiting.
const MAX_DELETES: usize = 64;
/// Deletions that wait at most; one more is given up.
const MAX_PENDING: usize = 20_000;
/// An answer that comes too late for its call is waited for so much longer: it
/// says what is to be deleted.
const LATE: Duration = Duration::from_secs(30);
/// What may be on its way to one task: an answer of ours, and the end.
const WISHES: usize = 4;
/// The documents of what is there: the call's id, and the URL as the value.
const DOCUMENTS: &str = "media_server/";
/// How soon, and how often, a shard whose mailbox is full is told again.
const TELL_AGAIN: Duration = Duration::from_millis(100);
const TELL_AGAIN_AT_MOST: usize = 50;

/// All sessions on the media server.
pub struct MediaSessions {
    shared: Arc<Shared>,
}

struct Shared {
    server: Server,
    store: Store,
    /// Delays between attempts to delete.
    delays: HookSettings,
    shards: Shards,
    tasks: Mutex<HashMap<CallId, mpsc::Sender<Wish>>>,
    requests: Semaphore,
    deletes: Semaphore,
    alive: AtomicUsize,
    deleting: AtomicUsize,
    emptied: Notify,
    ending: watch::Sender<bool>,
    requests_made: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    given_up: Mutex<BTreeMap<&'static str, u64>>,
}

/// What a call's task is told.
enum Wish {
    /// Take this SDP answer.
    Complete(String),
    /// The call has ended.
    End,
}

impl MediaSessions {
    pub fn new(
        settings: MediaServer,
        delays: &HookSettings,
        shards: Shards,
        store: Store,
    ) -> Result<Self, HttpClientError> {
        // Each step has its own time; what comes late is still of use.
        let client = http_client::new(None)?;
        Ok(MediaSessions {
            shared: Arc::new(Shared {
                server: Server { client, settings },
                store,
                delays: delays.clone(),
                shards,
                tasks: Mutex::default(),
                requests: Semaphore::new(MAX_REQUESTS),
                deletes: Semaphore::new(MAX_DELETES),
                alive: AtomicUsize::new(0),
                deleting: AtomicUsize::new(0),
                emptied: Notify::new(),
                ending: watch::Sender::new(false),
                requests_made: Mutex::default(),
                given_up: Mutex::new(BTreeMap::from([("expired", 0), ("queue_full", 0)])),
            }),
        })
    }

    /// Deletes what an earlier life of the gateway has left on the media server.
    /// Before any call of this life.
    pub async fn resume(&self) {
        let found = self
            .shared
            .store
            .read(|db| documents::below(db, DOCUMENTS, MAX_PENDING));
        let found = match found.await {
            Ok(found) => found,
            Err(problem) => {
                tracing::error!(%problem, "what an earlier start left on the media server stays there");
                return;
            }
        };
        if !found.is_empty() {
            let sessions = found.len();
            tracing::warn!(
                sessions,
                "sessions of an earlier start are deleted on the media server"
            );
        }
        for (name, url) in found {
            let call = name.strip_prefix(DOCUMENTS).and_then(|id| id.parse().ok());
            let (Some(call), Ok(url)) = (call, Url::parse(&url)) else {
                // Not written by us: nothing to delete.
                continue;
            };
            self.shared.alive.fetch_add(1, Ordering::SeqCst);
            let session = Session {
                shared: self.shared.clone(),
                call,
            };
            tokio::spawn(async move { session.delete(&url).await });
        }
    }

    /// A call asks for something; the secret is its app's, while that is known.
    /// Never waits.
    pub fn take(&self, call: CallId, secret: Option<&str>, request: ServerRequest) {
        let stream = match &request {
            ServerRequest::Offer(stream) | ServerRequest::Answer { stream, .. } => stream.clone(),
            ServerRequest::Complete(answer) => {
                if let Some(task) = lock(&self.shared.tasks).get(&call) {
                    // A task that is gone has told why.
                    let _ = task.try_send(Wish::Complete(answer.clone()));
                }
                return;
            }
        };
        let (task, wishes) = mpsc::channel(WISHES);
        lock(&self.shared.tasks).insert(call, task);
        self.shared.alive.fetch_add(1, Ordering::SeqCst);
        let session = Session {
            shared: self.shared.clone(),
            call,
        };
        let secret = secret.map(str::to_owned);
        tokio::spawn(async move {
            let secret = secret.as_deref();
            session.run(secret, &stream, &request, wishes).await;
        });
    }

    /// Nothing of this call may be left on the media server.
    pub fn call_ended(&self, call: CallId) {
        if let Some(task) = lock(&self.shared.tasks).remove(&call) {
            // A task that is gone has nothing there.
            let _ = task.try_send(Wish::End);
        }
    }

    /// From now on retries do not wait long: there is not much time left.
    pub fn hurry(&self) {
        self.shared.ending.send_replace(true);
    }

    /// Waits until nothing is left on the media server.
    pub async fn drained(&self) {
        loop {
            let emptied = self.shared.emptied.notified();
            if self.alive() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// How many calls have, or may have, something on the media server.
    pub fn alive(&self) -> usize {
        self.shared.alive.load(Ordering::SeqCst)
    }

    /// How many sessions wait to be deleted.
    pub fn deletes_pending(&self) -> usize {
        self.shared.deleting.load(Ordering::SeqCst)
    }

    /// Requests by step and result.
    pub fn requests(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        lock(&self.shared.requests_made).clone()
    }

    /// Deletions that were given up, by reason.
    pub fn given_up(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.shared.given_up).clone()
    }
}

/// One call's task.
struct Session {
    shared: Arc<Shared>,
    call: CallId,
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.shared.alive.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.emptied.notify_waiters();
        }
    }
}

impl Session {
    async fn run(
        &self,
        secret: Option<&str>,
        stream: &Stream,
        request: &ServerRequest,
        mut wishes: mpsc::Receiver<Wish>,
    ) {
        let token = tokio::select! {
            token = self.token(secret, stream) => token,
            // The call has ended, and has nothing there yet.
            _ = wishes.recv() => return,
        };
        let token = match token {
            Ok(token) => token,
            Err(failure) => return self.tell(Err(failure)).await,
        };
        let Some(made) = self.make(&token, request).await else {
            return;
        };
        let Made { url, source, sdp } = made;
        self.note(&url);
        let step = step_of(request);
        let outcome = sdp
            .map(|sdp| ServerDescription { sdp, source })
            .map_err(|trouble| trouble.failure(step));
        self.tell(outcome).await;
        // Only the end is left once the answer is taken.
        while let Some(Wish::Complete(answer)) = wishes.recv().await {
            if let Err(failure) = self.complete(&url, answer).await {
                self.tell(Err(failure)).await;
            }
        }
        self.delete(&url).await;
    }

    async fn token(
        &self,
        secret: Option<&str>,
        stream: &Stream,
    ) -> Result<String, MediaServerFailure> {
        let Some(secret) = secret else {
            let words = "the call's app is gone, and with it the secret".to_string();
            return Err(MediaServerFailure::Unusable(words));
        };
        let token = self.shared.server.token(secret, stream);
        let token = self.in_turn(&self.shared.requests, token).await;
        self.told(Step::Token, token)
    }

    /// The call's session on the media server. Where there is none, the call
    /// has been told, and one that was made too late is deleted.
    async fn make(&self, token: &str, request: &ServerRequest) -> Option<Made> {
        let step = step_of(request);
        let limit = self.shared.server.settings.timeout;
        let end = Instant::now() + limit;
        // A request that may not be sent yet makes nothing that is too late.
        let room = timeout_at(end, self.shared.requests.acquire()).await.ok();
        let was_sent = room.is_some();
        let mut asked = pin!(self.shared.server.make(token, request));
        let answered = match &room {
            Some(_) => timeout_at(end, &mut asked).await.ok(),
            None => None,
        };
        drop(room);
        let is_late = answered.is_none();
        let made = answered.unwrap_or_else(|| Err(Trouble::late(limit)));
        match self.told(step, made) {
            Ok(made) => return Some(made),
            Err(failure) => self.tell(Err(failure)).await,
        }
        if was_sent
            && is_late
            && let Ok(Ok(made)) = timeout(LATE, asked).await
        {
            self.note(&made.url);
            self.delete(&made.url).await;
        }
        None
    }

    async fn complete(&self, url: &Url, answer: String) -> Result<(), MediaServerFailure> {
        let complete = self.shared.server.complete(url, answer);
        let result = self.in_turn(&self.shared.requests, complete).await;
        self.told(Step::Complete, result)
    }

    async fn delete(&self, url: &Url) {
        if self.shared.deleting.load(Ordering::SeqCst) >= MAX_PENDING {
            self.gave_up(
                "queue_full",
                "too many wait already; the next start deletes it",
            );
            return;
        }
        self.shared.deleting.fetch_add(1, Ordering::SeqCst);
        self.delete_persistently(url).await;
        let written = self.forget().await;
        self.shared.deleting.fetch_sub(1, Ordering::SeqCst);
        if let Err(problem) = written {
            // It is deleted once more at the next start, which does no harm.
            tracing::warn!(call_id = %self.call, %problem, "a deleted session stays noted");
        }
    }

    /// Notes what is there for the next start, without waiting: a call does
    /// not wait for the disk.
    fn note(&self, url: &Url) {
        let (name, url) = (self.document(), url.to_string());
        let put = move |db: &_| documents::put(db, &name, &url, unix_ms());
        self.shared.store.write(put).detach();
    }

    async fn forget(&self) -> Result<(), StoreError> {
        let name = self.document();
        let delete = move |db: &_| documents::delete(db, &name);
        self.shared.store.write(delete).await
    }

    fn document(&self) -> String {
        format!("{DOCUMENTS}{}", self.call)
    }

    async fn delete_persistently(&self, url: &Url) {
        let since = Instant::now();
        for attempt in 0.. {
            let result = self
                .in_turn(&self.shared.deletes, self.shared.server.delete(url))
                .await;
            let Err(trouble) = self.counted(Step::Delete, result) else {
                tracing::info!(call_id = %self.call, step = "delete", "media server");
                return;
            };
            let delay = backoff(&self.shared.delays, attempt, rand::random());
            let problem = &trouble.words;
            if since.elapsed() + delay > self.shared.server.settings.give_up {
                self.gave_up("expired", problem);
                return;
            }
            let (call_id, retry_in_ms) = (self.call, delay.as_millis() as u64);
            // Once per session is enough for the operator; giving up is told too.
            if attempt == 0 {
                tracing::warn!(%call_id, retry_in_ms, %problem, "a session on the media server was not deleted");
            } else {
                tracing::debug!(%call_id, attempt, retry_in_ms, %problem, "nor was it by another attempt");
            }
            pause(delay, &self.shared.ending).await;
        }
    }

    /// Sends a request when there is room for it, and gives it its time.
    async fn in_turn<T>(
        &self,
        room: &Semaphore,
        request: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let limit = self.shared.server.settings.timeout;
        let in_turn = async {
            // Never closed.
            let _room = room.acquire().await;
            request.await
        };
        timeout(limit, in_turn)
            .await
            .unwrap_or_else(|_| Err(Trouble::late(limit)))
    }

    fn counted<T>(&self, step: Step, result: Result<T, Trouble>) -> Result<T, Trouble> {
        let label = match &result {
            Ok(_) => "ok",
            Err(trouble) => trouble.kind.label(),
        };
        *lock(&self.shared.requests_made)
            .entry((step.label(), label))
            .or_default() += 1;
        result
    }

    /// Counts and logs a step of the call.
    fn told<T>(&self, step: Step, result: Result<T, Trouble>) -> Result<T, MediaServerFailure> {
        let (call_id, label) = (self.call, step.label());
        self.counted(step, result)
            .inspect(|_| tracing::info!(%call_id, step = label, "media server"))
            .map_err(|trouble| {
                tracing::warn!(%call_id, step = label, problem = %trouble.words, "media server");
                trouble.failure(step)
            })
    }

    fn gave_up(&self, reason: &'static str, problem: &str) {
        *lock(&self.shared.given_up).entry(reason).or_default() += 1;
        tracing::error!(call_id = %self.call, %problem, "a session is left on the media server");
    }

    /// Tells the call. A shard whose mailbox is full is told again; one that
    /// stays so has the call's own deadline.
    async fn tell(&self, outcome: Result<ServerDescription, MediaServerFailure>) {
        for _ in 0..TELL_AGAIN_AT_MOST {
            let request = CallRequest::MediaServer {
                call: self.call,
                outcome: outcome.clone(),
            };
            match self.shared.shards.request(self.call.shard, request).await {
                Err(MailboxError::Full) => tokio::time::sleep(TELL_AGAIN).await,
                Ok(_) | Err(MailboxError::Gone) => return,
            }
        }
        tracing::error!(call_id = %self.call, "the call's shard is overloaded; it was not told of the media server");
    }
}

fn step_of(request: &ServerRequest) -> Step {
    match request {
        ServerRequest::Offer(_) => Step::Offer,
        ServerRequest::Answer { .. } => Step::Answer,
        ServerRequest::Complete(_) => Step::Complete,
    }
}
