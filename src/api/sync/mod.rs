//! Apps and numbers that another server keeps: fetched every so often, and the
//! last good answer counts until there is a better one, across restarts too.
//!
//! | file | what it does |
//! | --- | --- |
//! | `fetch` | one request |
//! | `answer` | reads what came back, record by record |

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};

use crate::config;
use crate::store::{Store, documents};

use super::Shared;
use super::auth::unix_ms;
use super::directory::Directory;
use super::hooks::without_secrets;
use super::http_client::HttpClientError;
use super::registry::lock;

mod answer;
mod fetch;

use answer::{Answer, BadRecord, Kind, Table};
use fetch::{Fetched, Validators};

/// Before the first retry; doubles with each.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Between retries at most, if the interval is not longer.
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// An interval is up to this much shorter or longer, so that many gateways do
/// not ask at the same moment.
const JITTER: f64 = 0.1;

/// The fetcher.
pub struct Sync {
    settings: RwLock<Arc<config::Sync>>,
    client: reqwest::Client,
    apps: Source,
    numbers: Source,
}

/// One list.
struct Source {
    kind: Kind,
    state: Mutex<State>,
    /// Held by whoever fetches.
    fetching: tokio::sync::Mutex<()>,
    settings_changed: Notify,
}

/// How a list's fetches went.
#[derive(Default)]
struct State {
    last_result: Option<Outcome>,
    /// What is wrong, while it fails.
    problem: Option<String>,
    last_try_ms: Option<u64>,
    last_good_ms: Option<u64>,
    next_try_ms: Option<u64>,
    failures: u32,
    /// How often each came, by [`Outcome::name`].
    counts: [u64; 3],
    have: Have,
    records: usize,
    bad: usize,
    duplicates: usize,
    named: Vec<BadRecord>,
    from_store: bool,
}

/// The answer that counts.
#[derive(Default)]
struct Have {
    validators: Validators,
    hash: Option<[u8; 32]>,
}

/// How a fetch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Updated,
    Unchanged,
    Failed,
}

impl Outcome {
    const ALL: [Outcome; 3] = [Outcome::Updated, Outcome::Unchanged, Outcome::Failed];

    fn name(self) -> &'static str {
        match self {
            Outcome::Updated => "updated",
            Outcome::Unchanged => "unchanged",
            Outcome::Failed => "failed",
        }
    }
}

/// What is kept beside the last good answer.
#[derive(Serialize, Deserialize)]
struct About {
    /// Hash of the address it came from: the address may hold a secret.
    url: String,
    fetched_ms: u64,
    #[serde(flatten)]
    validators: Validators,
}

/// A list as the metrics have it.
pub struct SyncMetrics {
    /// `apps` or `numbers`.
    pub kind: &'static str,
    /// Whether the last fetch failed.
    pub failing: bool,
    /// Since the last good answer.
    pub age: Option<Duration>,
    /// Records that can be used.
    pub records: u64,
    /// Records that cannot.
    pub bad: u64,
    /// Fetches by how they went.
    pub fetches: Vec<(&'static str, u64)>,
}

impl Sync {
    /// As configured.
    pub fn new(settings: &config::Sync) -> Result<Self, HttpClientError> {
        Ok(Sync {
            settings: RwLock::new(Arc::new(settings.clone())),
            client: fetch::client()?,
            apps: Source::new(Kind::Apps),
            numbers: Source::new(Kind::Numbers),
        })
    }

    /// Takes the last good answers from the store, before anything is fetched.
    pub async fn restore(&self, store: &Store, directory: &Directory) {
        let settings = self.settings();
        for source in self.sources() {
            if let Some(url) = source.url(&settings) {
                let allow_empty = settings.allow_empty;
                source.restore(store, directory, url, allow_empty).await;
            } else {
                source.forget(store, directory).await;
            }
        }
    }

    /// Fetches both lists every so often, until the gateway ends.
    pub fn start(&self, shared: &Arc<Shared>) {
        for kind in [Kind::Apps, Kind::Numbers] {
            tokio::spawn(run(shared.clone(), kind));
        }
    }

    /// From now on these settings count.
    pub async fn use_config(&self, shared: &Shared, settings: &config::Sync) {
        let old = self.settings();
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(settings.clone());
        for source in self.sources() {
            if source.url(&old) != source.url(settings) {
                lock(&source.state).have = Have::default();
                if source.url(settings).is_none() {
                    source.forget(&shared.store, &shared.directory).await;
                }
            }
            source.settings_changed.notify_one();
        }
    }

    /// Fetches both lists now.
    pub async fn fetch_now(&self, shared: &Shared) {
        let settings = self.settings();
        tokio::join!(
            self.apps.fetch(shared, &settings),
            self.numbers.fetch(shared, &settings)
        );
        for source in self.sources() {
            source.settings_changed.notify_one();
        }
    }

    /// Whether anything is fetched.
    pub fn is_on(&self) -> bool {
        let settings = self.settings();
        settings.apps_url.is_some() || settings.numbers_url.is_some()
    }

    /// How it goes, for the admin API.
    pub fn json(&self) -> Value {
        let settings = self.settings();
        json!({
            "enabled": self.is_on(),
            "interval_s": settings.interval.as_secs(),
            "apps": self.apps.json(&settings),
            "numbers": self.numbers.json(&settings),
        })
    }

    /// What an administrator should know.
    pub fn warnings(&self) -> Vec<String> {
        let settings = self.settings();
        let mut warnings = Vec::new();
        for source in self.sources() {
            if source.url(&settings).is_none() {
                continue;
            }
            let (name, state) = (source.kind.name(), lock(&source.state));
            if let Some(problem) = &state.problem {
                warnings.push(format!("{name} cannot be fetched: {problem}"));
            }
            if state.bad > 0 {
                let bad = state.bad;
                warnings.push(format!("{bad} of the fetched {name} cannot be used"));
            }
        }
        warnings
    }

    /// How it goes, for the metrics; lists that are not fetched are left out.
    pub fn metrics(&self) -> Vec<SyncMetrics> {
        let settings = self.settings();
        let on = self.sources().into_iter();
        on.filter(|source| source.url(&settings).is_some())
            .map(Source::metrics)
            .collect()
    }

    fn settings(&self) -> Arc<config::Sync> {
        self.settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn sources(&self) -> [&Source; 2] {
        [&self.apps, &self.numbers]
    }

    fn source(&self, kind: Kind) -> &Source {
        match kind {
            Kind::Apps => &self.apps,
            Kind::Numbers => &self.numbers,
        }
    }
}

async fn run(shared: Arc<Shared>, kind: Kind) {
    let sync = &shared.sync;
    let source = sync.source(kind);
    let mut ending = shared.ending.subscribe();
    let mut due = true;
    loop {
        let settings = sync.settings();
        if source.url(&settings).is_some() {
            let passed = async {
                if due {
                    source.fetch(&shared, &settings).await;
                }
            };
            tokio::select! {
                () = passed => {}
                () = ended(&mut ending) => return,
            }
        }
        let delay = source.delay(&settings, rand::random());
        due = tokio::select! {
            () = tokio::time::sleep(delay) => true,
            // A fetch asked for by hand has just been made; new settings that
            // have to be tried reset what we have.
            () = source.settings_changed.notified() => source.is_untried(),
            () = ended(&mut ending) => return,
        };
    }
}

async fn ended(ending: &mut watch::Receiver<bool>) {
    let _ = ending.wait_for(|ending| *ending).await;
}

impl Source {
    fn new(kind: Kind) -> Self {
        Source {
            kind,
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
            settings_changed: Notify::new(),
        }
    }

    fn url<'s>(&self, settings: &'s config::Sync) -> Option<&'s str> {
        match self.kind {
            Kind::Apps => settings.apps_url.as_deref(),
            Kind::Numbers => settings.numbers_url.as_deref(),
        }
    }

    /// Names of what is kept: the answer, and what is known of it.
    fn documents(&self) -> (String, String) {
        let name = self.kind.name();
        (format!("sync_{name}"), format!("sync_{name}_about"))
    }

    async fn restore(&self, store: &Store, directory: &Directory, url: &str, allow_empty: bool) {
        let (body, about) = self.documents();
        let kept = store
            .read(move |connection| {
                let body = documents::get(connection, &body)?;
                let about = documents::get(connection, &about)?;
                Ok(body.zip(about))
            })
            .await;
        let name = self.kind.name();
        let ((body, _), (about, _)) = match kept {
            Ok(Some(kept)) => kept,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(list = name, %error, "the last fetched list cannot be read");
                return;
            }
        };
        let (kind, bytes) = (self.kind, body.into_bytes());
        let hash = Sha256::digest(&bytes).into();
        let (answer, about) = match (
            answer::read(kind, &bytes, allow_empty),
            serde_json::from_str::<About>(&about),
        ) {
            (Ok(answer), Ok(about)) => (answer, about),
            (Err(problem), _) => {
                tracing::error!(list = name, problem, "the last fetched list cannot be used");
                return;
            }
            (_, Err(error)) => {
                tracing::error!(list = name, %error, "the last fetched list cannot be used");
                return;
            }
        };
        tracing::info!(
            list = name,
            records = answer.table.len(),
            fetched_ms = about.fetched_ms,
            "the list fetched last time counts until it is fetched again"
        );
        {
            let mut state = lock(&self.state);
            state.last_good_ms = Some(about.fetched_ms);
            state.from_store = true;
            state.have.hash = Some(hash);
            // Another server knows nothing of this one's answers.
            if about.url == hashed(url) {
                state.have.validators = about.validators;
            }
            state.count(&answer);
        }
        apply(directory, answer.table).await;
    }

    /// Nothing is fetched any more: what was fetched counts no longer.
    async fn forget(&self, store: &Store, directory: &Directory) {
        let _fetching = self.fetching.lock().await;
        let had = {
            let mut state = lock(&self.state);
            let had = state.records > 0;
            *state = State::default();
            had
        };
        if had {
            apply(
                directory,
                match self.kind {
                    Kind::Apps => Table::Apps(Vec::new()),
                    Kind::Numbers => Table::Numbers(Vec::new()),
                },
            )
            .await;
        }
        let (body, about) = self.documents();
        // A failure is logged by the store.
        drop(store.write(move |connection| {
            documents::delete(connection, &body)?;
            documents::delete(connection, &about)
        }));
    }

    async fn fetch(&self, shared: &Shared, settings: &config::Sync) {
        let Some(url) = self.url(settings) else {
            return;
        };
        let _fetching = self.fetching.lock().await;
        let have = lock(&self.state).have.validators.clone();
        let client = &shared.sync.client;
        let fetched = fetch::fetch(client, settings, url, &have).await;
        let result = match fetched {
            Ok(Fetched::NotModified) => Ok(Outcome::Unchanged),
            Ok(Fetched::Body(body, validators)) => {
                self.take(shared, settings, url, body, validators).await
            }
            Err(problem) => Err(problem),
        };
        self.went(result, settings);
    }

    async fn take(
        &self,
        shared: &Shared,
        settings: &config::Sync,
        url: &str,
        body: Vec<u8>,
        validators: Validators,
    ) -> Result<Outcome, String> {
        let hash: [u8; 32] = Sha256::digest(&body).into();
        if lock(&self.state).have.hash == Some(hash) {
            lock(&self.state).have.validators = validators;
            return Ok(Outcome::Unchanged);
        }
        let text = String::from_utf8(body).map_err(|_| "the answer is no UTF-8".to_string())?;
        let (kind, allow_empty) = (self.kind, settings.allow_empty);
        let read = tokio::task::spawn_blocking(move || {
            let answer = answer::read(kind, text.as_bytes(), allow_empty);
            (text, answer)
        });
        let (text, answer) = read.await.map_err(|error| error.to_string())?;
        let answer = answer?;
        let about = About {
            url: hashed(url),
            fetched_ms: unix_ms(),
            validators: validators.clone(),
        };
        let about = serde_json::to_string(&about).map_err(|error| error.to_string())?;
        self.log_new(&answer);
        {
            let mut state = lock(&self.state);
            state.have = Have {
                validators,
                hash: Some(hash),
            };
            state.count(&answer);
        }
        apply(&shared.directory, answer.table).await;
        let (body_name, about_name) = self.documents();
        let kept = shared.store.write(move |connection| {
            documents::put(connection, &body_name, &text, unix_ms())?;
            documents::put(connection, &about_name, &about, unix_ms())
        });
        if let Err(error) = kept.await {
            let list = self.kind.name();
            tracing::error!(list, %error, "a fetched list counts, but is not kept for a restart");
        }
        Ok(Outcome::Updated)
    }

    /// Notes how a fetch went; the log hears of changes only.
    fn went(&self, result: Result<Outcome, String>, settings: &config::Sync) {
        let mut state = lock(&self.state);
        let list = self.kind.name();
        state.last_try_ms = Some(unix_ms());
        let outcome = match result {
            Ok(outcome) => {
                if state.problem.take().is_some() {
                    tracing::info!(list, failures = state.failures, "fetched again");
                }
                state.failures = 0;
                state.last_good_ms = state.last_try_ms;
                state.from_store = false;
                outcome
            }
            Err(problem) => {
                if state.problem.is_none() {
                    let records = state.records;
                    tracing::warn!(
                        list,
                        problem,
                        records,
                        "a list cannot be fetched; the last good one counts"
                    );
                } else {
                    tracing::debug!(list, problem, "a list still cannot be fetched");
                }
                state.failures = state.failures.saturating_add(1);
                state.problem = Some(problem);
                Outcome::Failed
            }
        };
        state.last_result = Some(outcome);
        state.counts[outcome as usize] += 1;
        state.next_try_ms =
            Some(unix_ms() + plain_delay(state.failures, settings).as_millis() as u64);
    }

    fn log_new(&self, answer: &Answer) {
        let (list, records, bad) = (self.kind.name(), answer.table.len(), answer.bad);
        tracing::info!(list, records, bad, "a new list was fetched");
        if let Some(first) = answer.named.first() {
            tracing::warn!(list, bad, first = %first, "records of a fetched list cannot be used");
        }
    }

    /// Until the next fetch.
    fn delay(&self, settings: &config::Sync, random: f64) -> Duration {
        let plain = plain_delay(lock(&self.state).failures, settings);
        plain.mul_f64(1.0 + JITTER * (2.0 * random - 1.0))
    }

    fn is_untried(&self) -> bool {
        lock(&self.state).have.hash.is_none()
    }

    fn json(&self, settings: &config::Sync) -> Value {
        let Some(url) = self.url(settings) else {
            return Value::Null;
        };
        let state = lock(&self.state);
        let named = state
            .named
            .iter()
            .map(|bad| json!({ "record": bad.record, "field": bad.field, "problem": bad.problem }));
        json!({
            "url": without_secrets(url),
            "state": match (&state.problem, state.last_result) {
                (Some(_), _) => "failing",
                (None, None) => "waiting",
                (None, Some(_)) => "good",
            },
            "last_try_ms": state.last_try_ms,
            "last_good_ms": state.last_good_ms,
            "last_result": state.last_result.map(Outcome::name),
            "problem": state.problem,
            "records": state.records,
            "bad_records": state.bad,
            "bad": named.collect::<Vec<Value>>(),
            "duplicates": state.duplicates,
            "failures": state.failures,
            "next_try_ms": state.next_try_ms,
            "from_store": state.from_store,
        })
    }

    fn metrics(&self) -> SyncMetrics {
        let state = lock(&self.state);
        let age = state
            .last_good_ms
            .map(|good| unix_ms().saturating_sub(good));
        let fetches = Outcome::ALL.iter().zip(state.counts);
        SyncMetrics {
            kind: self.kind.name(),
            failing: state.problem.is_some(),
            age: age.map(Duration::from_millis),
            records: state.records as u64,
            bad: state.bad as u64,
            fetches: fetches
                .map(|(outcome, count)| (outcome.name(), count))
                .collect(),
        }
    }
}

impl State {
    fn count(&mut self, answer: &Answer) {
        self.records = answer.table.len();
        self.bad = answer.bad;
        self.duplicates = answer.duplicates;
        self.named.clone_from(&answer.named);
    }
}

async fn apply(directory: &Directory, table: Table) {
    match table {
        Table::Apps(apps) => directory.use_sync(Some(apps), None).await,
        Table::Numbers(numbers) => directory.use_sync(None, Some(numbers)).await,
    }
}

/// The interval; after failures soon, then ever more seldom.
fn plain_delay(failures: u32, settings: &config::Sync) -> Duration {
    if failures == 0 {
        return settings.interval;
    }
    let doubled = FIRST_RETRY.saturating_mul(1 << (failures - 1).min(20));
    doubled.min(LONGEST_RETRY.max(settings.interval))
}

fn hashed(url: &str) -> String {
    hex::encode(Sha256::digest(url))
}
