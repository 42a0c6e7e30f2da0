//! The gateway's life: start the shards and the api, wait for the word to end,
//! end gracefully.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::api::{Api, ApiSettings, Facts, FirstBook, Listeners, LogLevel, Surroundings};
use crate::banner;
use crate::book::{App, CallLimits};
use crate::config::Config;
use crate::ids::AppId;
use crate::io::{ServiceManager, ServiceState, sockets};
use crate::recording::Recordings;
use crate::shard;
use crate::store::Store;

/// Events between the shards and the api; more wait on the shards.
const EVENTS: usize = 65_536;
/// How often a shard that ended unasked is looked for.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from starting or going on, in words for the operator.
pub fn run(mut config: Config, log_level: LogLevel) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let secret = config.root_secret()?;
    let root = App {
        id: AppId::new(AppId::ROOT),
        secret: secret.value.clone(),
        limits: CallLimits::default(),
    };
    let book = std::mem::take(&mut config.book).with_app(root.clone());
    let manager = ServiceManager::of_environment(|name| std::env::var(name).ok())
        .map_err(|problem| format!("NOTIFY_SOCKET: cannot reach the service manager: {problem}"))?;
    let manager = Arc::new(manager);
    if let Err(problem) = sockets::raise_file_limit() {
        warn!("the limit on open files stays as it is: {problem}");
    }
    let store = Store::open(&config.data_dir)?;
    let recordings = Recordings::open(config.recording.clone(), &config.data_dir, store.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("api")
        .build()?;
    let first = runtime.block_on(FirstBook::open(&config, &book, &store))?;
    let book = first.book();
    let (events, event_ends) = mpsc::channel(EVENTS);
    let running = shard::start(&config, &book, &recordings, &events)?;
    drop(events);
    runtime.block_on(async {
        let listeners = listen(&config).await?;
        let facts = Facts {
            started,
            http: listeners.api.local_addr()?,
            admin: match &listeners.admin {
                Some(admin) => Some(admin.local_addr()?),
                None => None,
            },
            sip: running.listeners.clone(),
            backend: running.backend,
        };
        let started = banner::Started {
            http: facts.http,
            sip: &running.listeners,
            backend: running.backend,
            secret: &secret.origin,
            numbers: book.len(),
            apps: book.apps().count(),
        };
        for line in banner::started(&config, &started) {
            info!("{line}");
        }
        let shards = running.shards.clone();
        let api = Api::new(
            ApiSettings::of(&config),
            shards,
            store,
            recordings.clone(),
            first,
            &secret.value,
            Surroundings {
                config: config.clone(),
                facts: facts.clone(),
                root,
                log_level,
            },
        )?;
        if config.admin.enabled {
            let code = api.setup_code();
            for line in banner::admin(facts.admin.unwrap_or(facts.http), code.as_ref()) {
                info!("{line}");
            }
        }
        let mut end = Ok(());
        // First, so that a word to end that comes right after is heard.
        let signals = EndSignals::listen()?;
        tell(&manager, ServiceState::Ready);
        if let Some(interval) = manager.watchdog_interval() {
            tokio::spawn(feed_watchdog(manager.clone(), api.clone(), interval));
        }
        api.run(listeners, event_ends, async {
            end = wait_for_the_end(&running, &api, &manager, signals).await;
            tell(&manager, ServiceState::Stopping);
            api.drain();
            let patience = api.config().await.calls.drain_timeout;
            running.drain(patience).await;
        })
        .await?;
        end
    })?;
    running.stop();
    recordings.stop();
    info!("ended");
    Ok(())
}

/// Binds what the API is served on.
async fn listen(config: &Config) -> Result<Listeners, Box<dyn Error>> {
    let bind = async |name: &str, address| {
        let refused = |problem| format!("{name}: cannot bind {address}: {problem}");
        TcpListener::bind(address).await.map_err(refused)
    };
    Ok(Listeners {
        api: bind("http.listen", config.http.listen).await?,
        admin: match config.admin.listen {
            Some(address) if config.admin.enabled => Some(bind("admin.listen", address).await?),
            Some(_) | None => None,
        },
    })
}

/// The signals that ask the gateway to end, or to read its configuration.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl EndSignals {
    /// From here on they no longer end the process by themselves.
    fn listen() -> std::io::Result<Self> {
        Ok(EndSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Returns at the first SIGTERM or SIGINT, or when a shard is lost. SIGHUP
/// has the configuration read again.
async fn wait_for_the_end(
    running: &shard::RunningShards,
    api: &Api,
    manager: &ServiceManager,
    mut signals: EndSignals,
) -> Result<(), Box<dyn Error>> {
    let mut watch = tokio::time::interval(WATCH_INTERVAL);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => {
                tell(manager, ServiceState::Reloading);
                // What came of it is logged.
                drop(api.reload().await);
                tell(manager, ServiceState::Ready);
            }
            _ = watch.tick() => {
                if running.has_lost_a_shard() {
                    return Err("a shard has ended; the gateway cannot go on without it".into());
                }
            }
        }
    }
    info!("asked to end: no new calls from now on");
    Ok(())
}

/// Says that the service is alive as long as every shard answers; a gateway
/// that stands still is started anew.
async fn feed_watchdog(manager: Arc<ServiceManager>, api: Api, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        match api.shards_answer().await {
            Ok(()) => tell(&manager, ServiceState::Alive),
            Err(problem) => warn!("not all shards answer the watchdog: {problem}"),
        }
    }
}

fn tell(manager: &ServiceManager, state: ServiceState) {
    if let Err(problem) = manager.tell(state) {
        warn!("the service manager was not told {state:?}: {problem}");
    }
}
