//! The API: REST, WebSockets and hooks, on tokio threads of their own. It
//! talks to the shards through their mailboxes only: requests one way, call
//! events the other.
//!
//! | file | what it does |
//! | --- | --- |
//! | `server`, `routes` | connections, paths, CORS, the envelope around everything |
//! | `auth`, `tokens` | secrets and tokens |
//! | `dial`, `actions`, `calls` | REST |
//! | `directory` | the number book as it is now, merged from its origins |
//! | `events` | takes what the shards tell and passes it on |
//! | `records` | what is kept of calls, and searched |
//! | `registrations` | registrations of numbers at their registrars |
//! | `registry` | the calls that can be asked for, with their events |
//! | `ws`, `ws_requests`, `notify` | WebSockets |
//! | `sound` | plays, keys, voices and recordings of calls and rooms |
//! | `assets`, `clips` | sounds that apps keep here, and sounds made ready to be played |
//! | `hooks`, `hook_answer` | hooks: the outbox, delivery, what became of each event |
//! | `media_server`, `media_session` | the media server that rooms are on |
//! | `messages`, `proto` | the messages, binary and JSON |
//! | `recordings` | recordings: told, listed, fetched, removed |
//! | `metrics` | metrics and health |
//! | `openapi` | the description of the routes |
//! | `pages` | the SDK, the softphone, the browsable description |
//! | `call_trace` | the SIP messages of a call |
//! | `admin` | what administrators may ask and do |
//! | `sync` | apps and numbers fetched from another server |
//! | `reload` | the configuration read again |

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::book::Book;
use crate::call::event::CallEvent;
use crate::call::request::{CallReply, CallRequest};
use crate::config::{Config, KeptSecret, MediaServer, Rooms};
use crate::ids::ShardId;
use crate::keying::{Srtp, SrtpPolicy};
use crate::recording::Recordings;
use crate::shard::mailbox::Shards;
use crate::store::{Store, StoreError};

mod actions;
mod admin;
mod assets;
mod auth;
mod body;
mod call_trace;
mod calls;
pub mod clips;
mod dial;
pub mod directory;
mod error;
mod events;
mod hook_answer;
mod hooks;
mod http_client;
mod media_server;
mod media_session;
mod messages;
mod metric_help;
mod metrics;
mod notify;
mod openapi;
mod pages;
mod peer_events;
mod peers;
mod policed_clients;
pub mod proto;
mod recordings;
mod records;
mod registrations;
mod registry;
mod reload;
mod routes;
mod server;
mod sound;
mod sync;
mod tokens;
mod ws;
mod ws_requests;

#[cfg(test)]
mod tests;

pub use hooks::{HookSettings, HooksError};
pub use http_client::HttpClientError;
pub use records::RecordSettings;
pub use reload::{Facts, LogLevel, ReloadError, Reloaded, Surroundings};

use admin::{Admin, PasswordError};
use assets::Assets;
use auth::{FormerSecret, Gate};
use clips::Clips;
use directory::{Directory, View};
use error::ApiError;
use hooks::Hooks;
use media_session::MediaSessions;
use metrics::Counters;
use notify::Clients;
use peer_events::WebPeers;
use records::Records;
use registrations::Registrations;
use registry::Registry;
use reload::Reload;
use sync::Sync as BookSync;

/// A shard that does not answer within this is overloaded.
const SHARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Name look-ups at a time.
const MAX_LOOKUPS: usize = 64;
/// WebSockets at a time, of all kinds.
const MAX_SOCKETS: usize = 65_536;
/// At the end: how long open requests and WebSockets may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// At the end: how long hooks that wait may take to be posted.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// What the api is told at start.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// How hooks are posted.
    pub hooks: HookSettings,
    /// The media server that rooms are on; without one they are here.
    pub media_server: Option<MediaServer>,
    /// Which call records are kept.
    pub records: RecordSettings,
    /// Sounds that apps keep here and fetch from elsewhere.
    pub assets: crate::config::Assets,
    /// SIP code for a caller where nobody said what to do.
    pub failure_code: u16,
    /// How long tokens hold by default.
    pub token_ttl: Duration,
    /// How long a call may be without a WebSocket after it had one.
    pub ws_grace: Duration,
    /// How long an outgoing call may ring.
    pub answer_timeout: Duration,
    /// How media is protected where neither request nor number says.
    pub srtp: Srtp,
    /// A WebSocket's client is pinged this often.
    pub ws_ping: Duration,
    /// A WebSocket's client that said nothing for this long, not even a pong,
    /// is gone. A frame that cannot be sent for this long means the same.
    pub ws_silence: Duration,
    /// There is a SIP socket for IPv4.
    pub ipv4: bool,
    /// There is a SIP socket for IPv6.
    pub ipv6: bool,
}

impl ApiSettings {
    /// As the configuration says.
    pub fn of(config: &Config) -> Self {
        ApiSettings {
            hooks: HookSettings {
                timeout: config.hooks.timeout,
                give_up: config.hooks.give_up,
                first_delay: Duration::from_millis(500),
                longest_delay: Duration::from_secs(60),
                delivered_kept: config.hooks.delivered_kept,
                dead_letters_kept: config.hooks.dead_letters_kept,
                policy: config.hooks.policy.clone(),
            },
            media_server: match &config.rooms {
                Rooms::Local => None,
                Rooms::External(server) => Some(server.clone()),
            },
            records: RecordSettings {
                keep: config.records.keep,
                max: config.records.max,
            },
            assets: config.assets,
            failure_code: config.hooks.failure_code,
            token_ttl: config.http.token_ttl,
            ws_grace: config.calls.ws_grace,
            ws_ping: Duration::from_secs(5),
            ws_silence: Duration::from_secs(15),
            answer_timeout: config.calls.answer_timeout,
            srtp: Srtp {
                policy: config.calls.srtp.unwrap_or(SrtpPolicy::Off),
                keying: config.calls.srtp_keying,
            },
            ipv4: config.sip.listen.iter().any(|socket| socket.is_ipv4()),
            ipv6: config.sip.listen.iter().any(|socket| socket.is_ipv6()),
        }
    }
}

/// Why the API cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Hooks cannot be posted.
    #[error(transparent)]
    Hooks(#[from] HooksError),
    /// No HTTP client for a media server.
    #[error(transparent)]
    Client(#[from] HttpClientError),
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The administrator's password cannot be looked after.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

/// What the API is served on.
pub struct Listeners {
    /// REST and WebSockets.
    pub api: TcpListener,
    /// The admin API, where it has a socket of its own.
    pub admin: Option<TcpListener>,
}

/// The API. Cheap to clone; all clones are the same API.
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
}

/// The number book before anybody goes by it, complete: what the configuration
/// says, what administrators added, and what was fetched before the start.
/// Made before the shards are, which so know every number from their first
/// datagram on.
pub struct FirstBook {
    directory: Directory,
    sync: BookSync,
}

impl FirstBook {
    /// Reads the store. The configuration's book holds the root app too.
    ///
    /// # Errors
    /// When the store cannot be read or TLS cannot be set up.
    pub async fn open(config: &Config, book: &Book, store: &Store) -> Result<Self, StartError> {
        let directory = Directory::open(book, store.clone())?;
        let sync = BookSync::new(&config.sync)?;
        sync.restore(store, &directory).await;
        Ok(FirstBook { directory, sync })
    }

    /// What the shards start with.
    pub fn book(&self) -> Arc<Book> {
        self.directory.book()
    }
}

/// What all requests share.
struct Shared {
    settings: RwLock<Arc<ApiSettings>>,
    shards: Shards,
    store: Store,
    directory: Directory,
    gate: Arc<Gate>,
    registrations: Arc<Registrations>,
    registry: Registry,
    clients: Clients,
    web_peers: WebPeers,
    hooks: Arc<Hooks>,
    media_sessions: Option<MediaSessions>,
    records: Records,
    assets: Arc<Assets>,
    clips: Clips,
    recordings: Recordings,
    counters: Arc<Counters>,
    admin: Admin,
    sync: BookSync,
    reload: Reload,
    lookups: Semaphore,
    sockets: Arc<Semaphore>,
    draining: AtomicBool,
    /// True once WebSockets have to close.
    ending: watch::Sender<bool>,
}

impl Api {
    /// An API over these shards, which have started with `first`'s book, and
    /// this store; tokens are signed with a key derived from `root_secret`.
    ///
    /// # Errors
    /// Why it cannot start, in words for the operator.
    pub fn new(
        settings: ApiSettings,
        shards: Shards,
        store: Store,
        recordings: Recordings,
        first: FirstBook,
        root_secret: &str,
        surroundings: Surroundings,
    ) -> Result<Self, StartError> {
        let FirstBook { directory, sync } = first;
        let book = directory.book();
        let counters = Arc::new(Counters::default());
        let gate = Arc::new(Gate::new(&book, root_secret));
        let hooks = Hooks::new(
            settings.hooks.clone(),
            store.clone(),
            &book,
            counters.clone(),
        );
        let hooks = Arc::new(hooks?);
        let media_sessions = match &settings.media_server {
            None => None,
            Some(server) => Some(MediaSessions::new(
                server.clone(),
                &settings.hooks,
                shards.clone(),
                store.clone(),
            )?),
        };
        let registrations = Arc::new(Registrations::default());
        let told = {
            let (gate, hooks) = (gate.clone(), hooks.clone());
            move |view: &View, former: &[FormerSecret]| {
                gate.use_apps(&view.book, former);
                hooks.use_apps(&view.book);
            }
        };
        let registered = registrations.clone();
        directory.follow(shards.clone(), told, move || registered.book_changed());
        let data_dir = &surroundings.config.data_dir;
        let assets = Arc::new(Assets::new(data_dir, store.clone(), settings.assets));
        let policy = settings.hooks.policy.clone();
        let clips = Clips::new(assets.clone(), settings.assets, policy)?;
        Ok(Api {
            shared: Arc::new(Shared {
                media_sessions,
                assets,
                clips,
                records: Records::new(store.clone(), settings.records),
                recordings,
                settings: RwLock::new(Arc::new(settings)),
                admin: Admin::open(&surroundings.config, store.clone())?,
                sync,
                reload: Reload::new(surroundings),
                shards,
                store,
                directory,
                gate,
                hooks,
                registrations,
                registry: Registry::default(),
                clients: Clients::default(),
                web_peers: WebPeers::default(),
                counters,
                lookups: Semaphore::new(MAX_LOOKUPS),
                sockets: Arc::new(Semaphore::new(MAX_SOCKETS)),
                draining: AtomicBool::new(false),
                ending: watch::Sender::new(false),
            }),
        })
    }

    /// From now on new calls are refused with 503, and `/readyz` says so. The
    /// calls that are there can still be acted on.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
    }

    /// Whether every shard answers.
    ///
    /// # Errors
    /// The first one that does not, in words for people.
    pub async fn shards_answer(&self) -> Result<(), String> {
        let answered = self.shared.shards_answer().await;
        answered.map_err(|error| error.message)
    }

    /// The code that the administrator's first password is set with, as long
    /// as none is.
    pub fn setup_code(&self) -> Option<KeptSecret> {
        self.shared.admin.setup_code()
    }

    /// Reads the configuration again, and lets what can change. The log says
    /// what came of it.
    ///
    /// # Errors
    /// Why nothing changed.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        self.shared.reload().await
    }

    /// The configuration that counts now.
    pub async fn config(&self) -> Config {
        self.shared.reload.config().await
    }

    /// Serves until `stop`. Then passes on the events that have come by then,
    /// closes the WebSockets, and gives hooks that wait a few seconds; what is
    /// not delivered by then is at the next start.
    pub async fn run(
        &self,
        listeners: Listeners,
        events: mpsc::Receiver<CallEvent>,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let shared = &self.shared;
        // Before anybody can ask for anything.
        records::close_lost(shared).await;
        if let Some(sessions) = &shared.media_sessions {
            sessions.resume().await;
        }
        let keeper = tokio::spawn(records::keep(shared.clone()));
        let (stop_recordings, recordings_stopped) = oneshot::channel();
        let recordings = recordings::run(shared.clone(), recordings_stopped);
        let recordings = tokio::spawn(recordings);
        shared.sync.start(shared);
        tokio::spawn(registrations::run(shared.clone()));
        let (stop_events, stopped) = oneshot::channel();
        let events = tokio::spawn(events::run(shared.clone(), events, stopped));
        let keeping = tokio::spawn({
            let hooks = shared.hooks.clone();
            async move { hooks.keep().await }
        });
        let admin = admin::site(shared.clone());
        let api = routes::router(shared.clone());
        let router = match listeners.admin {
            Some(_) => api,
            None => api.merge(admin.clone()),
        };
        let (stop_admin, admin_stopped) = oneshot::channel();
        let admin = listeners.admin.map(|listener| {
            tokio::spawn(server::serve(listener, admin, async {
                let _ = admin_stopped.await;
            }))
        });
        let open = server::serve(listeners.api, router, stop).await;
        let _ = stop_admin.send(());
        let open_admin = match admin {
            Some(admin) => Some(admin.await.map_err(io::Error::other)?),
            None => None,
        };
        let _ = stop_events.send(());
        events.await.map_err(io::Error::other)?;
        let settled = shared.recordings.settled();
        if tokio::time::timeout(CLOSE_TIMEOUT, settled).await.is_err() {
            tracing::warn!("some recordings are told of at the next start");
        }
        let _ = stop_recordings.send(());
        recordings.await.map_err(io::Error::other)?;
        shared.ending.send_replace(true);
        shared.hooks.hurry();
        if let Some(sessions) = &shared.media_sessions {
            sessions.hurry();
        }
        let closed = async {
            open.shutdown().await;
            if let Some(open) = open_admin {
                open.shutdown().await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::warn!("some HTTP requests did not end in time");
        }
        let all_sockets = MAX_SOCKETS as u32;
        let closed = shared.sockets.acquire_many(all_sockets);
        if tokio::time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::warn!("some WebSockets did not close in time");
        }
        let flush_end = tokio::time::Instant::now() + FLUSH_TIMEOUT;
        if tokio::time::timeout_at(flush_end, shared.hooks.drained())
            .await
            .is_err()
        {
            tracing::warn!("some hooks did not answer in time");
        }
        keeping.abort();
        let waiting = shared.hooks.waiting();
        if waiting > 0 {
            tracing::warn!(waiting, "hook events are left for the next start");
        }
        if let Some(sessions) = &shared.media_sessions
            && tokio::time::timeout_at(flush_end, sessions.drained())
                .await
                .is_err()
        {
            let left = sessions.alive();
            tracing::warn!(
                left,
                "sessions on the media server are left for the next start to delete"
            );
        }
        keeper.abort();
        Ok(())
    }
}

impl Shared {
    /// As they count now.
    fn settings(&self) -> Arc<ApiSettings> {
        self.settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// From now on these count.
    ///
    /// # Errors
    /// When TLS cannot be set up; nothing has changed then.
    fn use_settings(&self, settings: ApiSettings) -> Result<(), HttpClientError> {
        self.hooks.use_settings(settings.hooks.clone())?;
        self.clips.use_policy(&settings.hooks.policy)?;
        self.records.use_settings(settings.records);
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(())
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    async fn shards_answer(&self) -> Result<(), ApiError> {
        for shard in self.shards.all() {
            self.ask(shard, CallRequest::Counters).await?;
        }
        Ok(())
    }

    /// Asks a shard; one that does not answer in time is overloaded.
    async fn ask(&self, shard: ShardId, request: CallRequest) -> Result<CallReply, ApiError> {
        self.ask_patiently(shard, request, SHARD_TIMEOUT).await
    }

    async fn ask_patiently(
        &self,
        shard: ShardId,
        request: CallRequest,
        patience: Duration,
    ) -> Result<CallReply, ApiError> {
        match tokio::time::timeout(patience, self.shards.request(shard, request)).await {
            Ok(reply) => Ok(reply?),
            Err(_) => Err(shard_silent()),
        }
    }
}

fn shard_silent() -> ApiError {
    ApiError::overloaded("the gateway is overloaded; try again in a second")
}
