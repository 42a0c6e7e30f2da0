//! Goes on with what waits on the disk, and forgets what is old.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prost::Message;
use tokio::time::Instant;

use crate::api::auth::unix_ms;
use crate::api::proto::sip_gateway::CallEvent;
use crate::api::registry::lock;
use crate::book::{Hook, HookContentType};
use crate::ids::{AppId, CallId, ShardId};
use crate::store::StoreError;
use crate::store::outbox::{self, OutboxRow, State};

use super::backlog::{Item, Next};
use super::delivery::Worker;
use super::{AppHooks, Hooks, Shared};

/// How often old events are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(10);
/// Delivered events kept at most; the oldest go first.
const MAX_DELIVERED: usize = 100_000;
/// Events that were given up kept at most; the oldest go first.
const MAX_DEAD: usize = 100_000;
/// Rows forgotten by one change, so that no other has to wait long.
const FORGET_AT_ONCE: usize = 1_000;
/// An app that is not there by then has not come back with the gateway: a
/// sync answer brings it, or nobody does.
const APPS_COME_WITHIN: Duration = Duration::from_secs(60);
/// Between looks at the disk that found less than there will be.
const READ_AGAIN: Duration = Duration::from_millis(10);
/// After a look at the disk that failed.
const READ_FAILED: Duration = Duration::from_secs(1);

impl Hooks {
    /// Goes on with what an earlier start has left, and forgets what is old,
    /// for as long as it is polled.
    pub async fn keep(&self) {
        let shared = &self.shared;
        let mut forget = tokio::time::interval(FORGET_EVERY);
        let started = Instant::now();
        loop {
            tokio::select! {
                () = shared.apps_changed.notified() => read_left_over(shared),
                _ = forget.tick() => {
                    if started.elapsed() >= APPS_COME_WITHIN {
                        give_up_orphans(shared).await;
                    }
                    shared.forget_idle();
                    if let Err(problem) = forget_old(shared).await {
                        tracing::error!(%problem, "old hook events are not forgotten");
                    }
                }
            }
        }
    }
}

impl Shared {
    fn forget_idle(&self) {
        lock(&self.apps).retain(|_, app| {
            let mut targets = lock(&app.targets);
            targets.retain(|_, backlog| !backlog.is_idle());
            !app.gone.load(Ordering::SeqCst) || !targets.is_empty()
        });
    }
}

/// Starts reading wherever nobody does yet.
fn read_left_over(shared: &Arc<Shared>) {
    for app in lock(&shared.apps).values() {
        for (target, backlog) in lock(&app.targets).iter_mut() {
            if shared.reads_on(backlog) {
                tokio::spawn(read_on(shared.clone(), app.clone(), target.clone()));
            }
        }
    }
}

/// Reads what waits for a target from the disk, as far as there is room.
pub async fn read_on(shared: Arc<Shared>, app: Arc<AppHooks>, target: Arc<str>) {
    while !shared.ending() {
        let reading = {
            let mut targets = lock(&app.targets);
            targets.entry(target.clone()).or_default().reading()
        };
        let (app_id, key) = (app.id.clone(), target.clone());
        let (after, limit) = (reading.after, reading.limit);
        let found = shared
            .store
            .read(move |db| outbox::pending_after(db, app_id.as_str(), &key, after, limit))
            .await;
        let rows = match found {
            Ok(rows) => rows,
            Err(StoreError::Closed) => return,
            Err(problem) => {
                let app = &app.id;
                tracing::error!(%app, %target, %problem, "hook events cannot be read");
                tokio::time::sleep(READ_FAILED).await;
                continue;
            }
        };
        let items: Vec<Item> = rows.into_iter().map(item).collect();
        let next = {
            let mut targets = lock(&app.targets);
            let backlog = targets.entry(target.clone()).or_default();
            let before = backlog.in_memory();
            let (started, next) = backlog.read(&reading, items);
            let more = backlog.in_memory() - before;
            shared.in_memory.fetch_add(more, Ordering::SeqCst);
            drop(targets);
            for call in started {
                Worker::start(&shared, &app, &target, call);
            }
            next
        };
        match next {
            Next::Stop => return,
            Next::Again => {}
            Next::Soon => tokio::time::sleep(READ_AGAIN).await,
        }
    }
}

/// Whose event it is. Ids are written by us; a row that somebody else has
/// changed is posted as it stands.
pub fn call_of(row: &OutboxRow) -> CallId {
    row.call_id.parse().unwrap_or(CallId {
        shard: ShardId(0),
        random: row.seq as u128,
    })
}

/// The row, as it waits in memory.
pub fn item(row: OutboxRow) -> Item {
    Item {
        call: call_of(&row),
        seq: row.seq,
        id: row.id,
        hook: Hook {
            url: Arc::from(row.url),
            content_type: HookContentType::from_name(&row.content_type).unwrap_or_default(),
            trusted: row.trusted,
        },
        body: CallEvent::decode(row.body.as_slice()).unwrap_or_default(),
        created_ms: row.created_ms,
        expires_ms: row.expires_ms,
        attempts: row.attempts,
        next_attempt_ms: row.next_attempt_ms,
        written: None,
        kept: true,
        answer: None,
    }
}

/// Gives up what waits for apps that have not come back.
async fn give_up_orphans(shared: &Arc<Shared>) {
    let orphans: Vec<(AppId, u64)> = {
        let mut left_over = lock(&shared.left_over);
        let count = |targets: Vec<(String, u64)>| targets.iter().map(|(_, count)| count).sum();
        left_over
            .drain()
            .map(|(app, targets)| (app, count(targets)))
            .collect()
    };
    for (app, events) in orphans {
        let id = app.clone();
        let change =
            move |db: &_| outbox::give_up_app(db, id.as_str(), "its app is gone", unix_ms());
        if let Err(problem) = shared.store.write(change).await {
            tracing::error!(%app, %problem, "hook events of an app that is gone stay");
            continue;
        }
        let less = |count: usize| Some(count.saturating_sub(events as usize));
        let _ = shared
            .waiting
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        for _ in 0..events {
            shared.counters.hook_given_up("app_gone");
        }
        tracing::error!(%app, events, "hook events are given up: their app is gone");
    }
}

async fn forget_old(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let settings = shared.settings();
    for (state, kept, most) in [
        (State::Delivered, settings.delivered_kept, MAX_DELIVERED),
        (State::Dead, settings.dead_letters_kept, MAX_DEAD),
    ] {
        let until_ms = unix_ms().saturating_sub(kept.as_millis() as u64);
        let change = move |db: &_| outbox::forget(db, state, until_ms, most, FORGET_AT_ONCE);
        while shared.store.write(change).await? >= FORGET_AT_ONCE {}
    }
    let dead = shared.store.read(outbox::dead).await?;
    shared.dead.store(dead, Ordering::SeqCst);
    Ok(())
}
