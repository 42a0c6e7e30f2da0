//! `system`, `sync` and `reload`: what the gateway is and does, and what an
//! administrator should be told of.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::api::Shared;
use crate::api::auth::unix_ms;
use crate::api::error::{ApiError, success};
use crate::call::request::{CallReply, CallRequest};

use super::password::Origin;

/// `GET /admin/api/system`
pub async fn system(State(shared): State<Arc<Shared>>) -> Response {
    let facts = shared.reload.facts();
    let config = shared.reload.config().await;
    let shards = shards(&shared, &config.cores).await;
    let view = shared.directory.view();
    let ignored = view.numbers.iter().filter(|n| n.ignored.is_some()).count()
        + view.apps.iter().filter(|app| app.ignored.is_some()).count();
    let store = shared.store.counters();
    let sip: Vec<String> = facts.sip.iter().map(|at| format!("udp {at}")).collect();
    let uptime_s = facts.started.elapsed().as_secs();
    success(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started_ms": unix_ms() - facts.started.elapsed().as_millis() as u64,
        "uptime_s": uptime_s,
        "now_ms": unix_ms(),
        "draining": shared.draining(),
        "config_file": config.file.as_ref().map(|file| file.display().to_string()),
        "data_dir": config.data_dir.display().to_string(),
        "log_level": config.log.level.to_string().to_lowercase(),
        "listeners": {
            "api": facts.http.to_string(),
            "admin": facts.admin.map(|at| at.to_string()),
            "sip": sip,
        },
        "media": {
            "backend": facts.backend,
            "rtp_ports": format!("{}-{}", config.rtp.ports.start(), config.rtp.ports.end()),
        },
        "limits": { "max_calls": config.calls.max_calls },
        "book": {
            "apps": view.book.apps().count(),
            "numbers": view.book.len(),
            "ignored": ignored,
        },
        "store": {
            "changes_queued": store.queued,
            "changes_written": store.written,
            "changes_failed": store.failed,
            "transactions": store.transactions,
        },
        "hooks": { "queued": shared.hooks.waiting(), "dead": shared.hooks.dead_letters() },
        "websockets": shared.counters.sockets(),
        "sync": shared.sync.json(),
        "reload": shared.reload.json(),
        "warnings": warnings(&shared, &shards, ignored),
        "shards": shards,
    }))
}

async fn shards(shared: &Shared, cores: &[usize]) -> Vec<Value> {
    let mut shards = Vec::new();
    for shard in shared.shards.all() {
        let core = cores.get(usize::from(shard.0));
        let answer = shared.ask(shard, CallRequest::Counters).await;
        shards.push(match answer {
            Ok(CallReply::Counters(counters)) => json!({
                "shard": shard.0,
                "core": core,
                "answers": true,
                "calls": counters.calls,
                "rooms": counters.rooms,
                "legs": counters.legs,
                "sip_sessions": counters.sip_sessions,
                "free_port_pairs": counters.free_port_pairs,
            }),
            _ => json!({ "shard": shard.0, "core": core, "answers": false }),
        });
    }
    shards
}

/// What an administrator should look after, in sentences.
fn warnings(shared: &Shared, shards: &[Value], ignored: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    if shared.admin.password.origin() == Origin::NotSet {
        warnings.push("no admin password is set".to_string());
    }
    for shard in shards.iter().filter(|shard| shard["answers"] == false) {
        warnings.push(format!("shard {} does not answer", shard["shard"]));
    }
    for shard in shards.iter().filter(|shard| shard["free_port_pairs"] == 0) {
        let shard = &shard["shard"];
        warnings.push(format!(
            "shard {shard} has no RTP port left: widen rtp.ports"
        ));
    }
    if shared.draining() {
        warnings.push("the gateway is ending and takes no new calls".to_string());
    }
    if ignored > 0 {
        warnings.push(format!(
            "{ignored} records of the number book do not count; the lists say why"
        ));
    }
    warnings.extend(shared.sync.warnings());
    let store = shared.store.counters();
    if store.failed > 0 {
        let failed = store.failed;
        warnings.push(format!(
            "{failed} changes could not be written to the database since the start; see the log"
        ));
    }
    let restart = shared.reload.needs_restart();
    if !restart.is_empty() {
        let settings = restart.join(", ");
        warnings.push(format!("changed settings wait for a restart: {settings}"));
    }
    warnings
}

/// Longer than this nobody waits for a fetch; it goes on.
const FETCH_PATIENCE: Duration = Duration::from_secs(25);

/// `POST /admin/api/sync`
pub async fn sync_now(State(shared): State<Arc<Shared>>) -> Result<Response, ApiError> {
    if !shared.sync.is_on() {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "SYNC_OFF",
            "nothing is fetched: set sync.numbers_url or sync.apps_url",
        ));
    }
    let fetching = tokio::spawn({
        let shared = shared.clone();
        async move { shared.sync.fetch_now(&shared).await }
    });
    let _ = tokio::time::timeout(FETCH_PATIENCE, fetching).await;
    Ok(success(shared.sync.json()))
}

/// `POST /admin/api/reload`
pub async fn reload(State(shared): State<Arc<Shared>>) -> Result<Response, ApiError> {
    let reloaded = shared.reload().await.map_err(|error| {
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "CONFIG_INVALID",
            format!("nothing was changed: {error}"),
        )
    })?;
    Ok(success(json!({
        "changed": reloaded.changed,
        "needs_restart": reloaded.needs_restart,
    })))
}
