//! The configuration read again: what can change while calls go on does, and
//! what cannot is named.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use crate::book::App;
use crate::call::request::CallRequest;
use crate::config::{Config, ConfigError};
use crate::shard::guards::guards;

use super::auth::unix_ms;
use super::http_client::HttpClientError;
use super::registry::lock;
use super::{ApiSettings, Shared};

/// Sets the level of the log.
pub type LogLevel = Box<dyn Fn(tracing::Level) + Send + Sync>;

/// The gateway around the api.
pub struct Surroundings {
    /// What it was started with.
    pub config: Config,
    /// What the start found out.
    pub facts: Facts,
    /// The root app, which no file lists.
    pub root: App,
    /// Sets the level of the log.
    pub log_level: LogLevel,
}

/// What the start found out.
#[derive(Debug, Clone)]
pub struct Facts {
    /// When that was.
    pub started: Instant,
    /// The API's socket as bound.
    pub http: SocketAddr,
    /// The admin API's, where it has its own.
    pub admin: Option<SocketAddr>,
    /// SIP sockets as bound.
    pub sip: Vec<SocketAddr>,
    /// The media backend in use.
    pub backend: &'static str,
}

/// What a reload came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What has changed.
    pub changed: Vec<&'static str>,
    /// What would change with a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Why nothing was reloaded. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// TLS for hooks.
    #[error(transparent)]
    Client(#[from] HttpClientError),
    /// A file in the data directory.
    #[error(transparent)]
    Secret(#[from] crate::config::RootSecretError),
    /// The gateway is ending.
    #[error("the gateway is ending")]
    Ending,
}

/// The configuration that counts.
pub struct Reload {
    facts: Facts,
    root: App,
    log_level: LogLevel,
    /// As it counts now: settings that wait for a restart are the old ones.
    config: tokio::sync::Mutex<Config>,
    last: Mutex<Option<(u64, Reloaded)>>,
}

impl Reload {
    /// As started.
    pub fn new(surroundings: Surroundings) -> Self {
        Reload {
            facts: surroundings.facts,
            root: surroundings.root,
            log_level: surroundings.log_level,
            config: tokio::sync::Mutex::new(surroundings.config),
            last: Mutex::default(),
        }
    }

    /// What the start found out.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The configuration that counts.
    pub async fn config(&self) -> Config {
        self.config.lock().await.clone()
    }

    /// Settings that have changed and wait for a restart.
    pub fn needs_restart(&self) -> Vec<&'static str> {
        let last = lock(&self.last);
        last.as_ref()
            .map(|(_, reloaded)| reloaded.needs_restart.clone())
            .unwrap_or_default()
    }

    /// The last reload, for the admin API.
    pub fn json(&self) -> Value {
        json!({
            "last_ms": lock(&self.last).as_ref().map(|(at_ms, _)| *at_ms),
            "needs_restart": self.needs_restart(),
        })
    }
}

impl Shared {
    /// Reads file and environment again, and lets what can change.
    pub async fn reload(self: &Arc<Self>) -> Result<Reloaded, ReloadError> {
        let mut running = self.reload.config.lock().await;
        let file = running.file.clone();
        let env = |name: &str| std::env::var(name).ok();
        let read = tokio::task::spawn_blocking(move || Config::load(file.as_deref(), env));
        let fresh = read.await.map_err(|_| ReloadError::Ending)?;
        let mut fresh = fresh.inspect_err(|problem| {
            tracing::error!("the configuration is read again, and nothing changes: {problem}");
        })?;
        let book = std::mem::take(&mut fresh.book).with_app(self.reload.root.clone());
        let mut reloaded = Reloaded {
            changed: Vec::new(),
            needs_restart: needs_restart(&running, &fresh),
        };
        let mut changed = |name, differs: bool| {
            if differs {
                reloaded.changed.push(name);
            }
            differs
        };
        // What can fail first, so that a failure changes nothing.
        self.use_settings(ApiSettings::of(&after(&running, &fresh)))?;
        if changed("admin", admin_differs(&running, &fresh)) {
            let mut admin = fresh.admin.clone();
            admin.listen = running.admin.listen;
            self.admin.use_config(&admin)?;
            running.admin = admin;
        }
        if changed("log_level", running.log.level != fresh.log.level) {
            (self.reload.log_level)(fresh.log.level);
            running.log.level = fresh.log.level;
        }
        let (hooks, calls) = (running.hooks != fresh.hooks, calls_differ(&running, &fresh));
        changed("hooks", hooks);
        changed("calls", calls);
        changed(
            "http.token_ttl_s",
            running.http.token_ttl != fresh.http.token_ttl,
        );
        changed("records", running.records != fresh.records);
        let limits = changed("limits", running.limits != fresh.limits);
        let scanners = changed("scanners", running.scanners != fresh.scanners);
        *running = after(&running, &fresh);
        if calls {
            let timeout = running.calls.answer_timeout;
            let request = CallRequest::UseAnswerTimeout(timeout);
            self.tell_shards("calls.answer_timeout_s", &request).await;
        }
        if limits || scanners {
            let request = CallRequest::UseGuards(Box::new(guards(&running)));
            self.tell_shards("[limits] and [scanners]", &request).await;
        }
        let (apps, numbers) = self.directory.use_config(&book).await;
        changed("apps", apps);
        changed("numbers", numbers);
        if changed("sync", running.sync != fresh.sync) {
            self.sync.use_config(self, &fresh.sync).await;
            running.sync = fresh.sync;
        }
        let list = |names: &[&str]| match names {
            [] => "nothing".to_string(),
            names => names.join(", "),
        };
        tracing::info!(
            changed = list(&reloaded.changed),
            "the configuration was read again"
        );
        if !reloaded.needs_restart.is_empty() {
            let settings = list(&reloaded.needs_restart);
            tracing::warn!("changed settings need a restart: {settings}");
        }
        *lock(&self.reload.last) = Some((unix_ms(), reloaded.clone()));
        Ok(reloaded)
    }

    async fn tell_shards(&self, what: &str, request: &CallRequest) {
        for shard in self.shards.all() {
            if self.ask(shard, request.clone()).await.is_err() {
                tracing::error!(shard = shard.0, "a shard did not take {what}");
            }
        }
    }
}

/// What counts once the settings that can change while it runs have done so,
/// but for those that are looked after one by one.
fn after(running: &Config, fresh: &Config) -> Config {
    let mut config = running.clone();
    config.hooks = fresh.hooks.clone();
    config.http.token_ttl = fresh.http.token_ttl;
    config.calls.answer_timeout = fresh.calls.answer_timeout;
    config.calls.ws_grace = fresh.calls.ws_grace;
    config.calls.drain_timeout = fresh.calls.drain_timeout;
    config.limits = fresh.limits;
    config.scanners = fresh.scanners.clone();
    config.records = fresh.records;
    config
}

fn admin_differs(running: &Config, fresh: &Config) -> bool {
    let mut admin = fresh.admin.clone();
    admin.listen = running.admin.listen;
    admin != running.admin
}

fn calls_differ(running: &Config, fresh: &Config) -> bool {
    let mut calls = fresh.calls;
    calls.max_calls = running.calls.max_calls;
    calls.srtp = running.calls.srtp;
    calls.srtp_keying = running.calls.srtp_keying;
    calls.dtmf = running.calls.dtmf;
    calls != running.calls
}

/// What sockets, threads and tables were made of.
fn needs_restart(running: &Config, fresh: &Config) -> Vec<&'static str> {
    let differs = [
        ("data_dir", running.data_dir != fresh.data_dir),
        ("cores", running.cores != fresh.cores),
        ("secret", !running.has_same_secret(fresh)),
        ("public_ip", running.public != fresh.public),
        ("log_format", running.log.format != fresh.log.format),
        ("http.listen", running.http.listen != fresh.http.listen),
        ("sip", running.sip != fresh.sip),
        ("rtp.ports", running.rtp.ports != fresh.rtp.ports),
        ("rtp.backend", running.rtp.backend != fresh.rtp.backend),
        (
            "rtp.inactivity_timeout_s",
            running.rtp.inactivity_timeout != fresh.rtp.inactivity_timeout,
        ),
        (
            "rtp.port_reuse_delay_s",
            running.rtp.port_reuse_delay != fresh.rtp.port_reuse_delay,
        ),
        ("rooms", running.rooms != fresh.rooms),
        ("sound", running.sound != fresh.sound),
        ("webrtc", running.webrtc != fresh.webrtc),
        (
            "calls.max_calls",
            running.calls.max_calls != fresh.calls.max_calls,
        ),
        ("calls.srtp", running.calls.srtp != fresh.calls.srtp),
        (
            "calls.srtp_keying",
            running.calls.srtp_keying != fresh.calls.srtp_keying,
        ),
        ("calls.dtmf", running.calls.dtmf != fresh.calls.dtmf),
        ("hep", running.hep != fresh.hep),
        ("assets", running.assets != fresh.assets),
        ("recording", running.recording != fresh.recording),
        ("admin.listen", running.admin.listen != fresh.admin.listen),
    ];
    let differing = differs.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Machine;

    fn config(variables: &'static [(&'static str, &'static str)]) -> Config {
        let machine = Machine {
            cores: vec![0, 1],
            route_v4: None,
            route_v6: None,
        };
        let env = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_string())
        };
        Config::load_on(&machine, None, env).unwrap()
    }

    #[test]
    fn what_cannot_change_while_it_runs_is_named() {
        let running = config(&[]);
        assert_eq!(needs_restart(&running, &config(&[])), [""; 0]);
        let fresh = config(&[
            ("RINGWIRE_RTP_PORTS", "20000-20100"),
            ("RINGWIRE_HTTP_LISTEN", "127.0.0.1:1"),
            ("RINGWIRE_SECRET", "another"),
            ("RINGWIRE_CORES", "0"),
        ]);
        assert_eq!(
            needs_restart(&running, &fresh),
            ["cores", "secret", "http.listen", "rtp.ports"]
        );
        let fresh = config(&[("RINGWIRE_ADMIN_LISTEN", "127.0.0.1:1")]);
        assert_eq!(needs_restart(&running, &fresh), ["admin.listen"]);
        assert!(!admin_differs(&running, &fresh));
    }
}
