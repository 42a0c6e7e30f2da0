//! The events of one call on their way in: numbered, written to the outbox,
//! and queued for whoever posts them.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use prost::Message;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::api::auth::unix_ms;
use crate::api::hook_answer::HookAnswer;
use crate::api::messages::hook_body;
use crate::api::proto::sip_gateway::call_event;
use crate::api::registry::lock;
use crate::book::Hook;
use crate::ids::CallId;
use crate::store::outbox::{self, OutboxRow, State};
use crate::store::{Quiet, Store, Written};

use super::backlog::{Admitted, Asker, Backlog, Item};
use super::delivery::Worker;
use super::keeper::read_on;
use super::target;
use super::{AppHooks, MAX_WAITING_PER_APP, Shared, target_key};

/// The hook of one call.
pub struct CallHooks {
    shared: Arc<Shared>,
    app: Arc<AppHooks>,
    hook: Hook,
    call: CallId,
    target: Arc<str>,
    /// Under which name its events wait: the same for all of them.
    key: OnceLock<Arc<str>>,
}

impl CallHooks {
    pub(super) fn new(shared: Arc<Shared>, app: Arc<AppHooks>, call: CallId, hook: Hook) -> Self {
        CallHooks {
            target: Arc::from(target::of_url(&hook.url)),
            key: OnceLock::new(),
            shared,
            app,
            hook,
            call,
        }
    }

    /// Where its events go.
    pub fn hook(&self) -> &Hook {
        &self.hook
    }

    /// Queues an event.
    pub fn post(&self, timestamp_ms: u64, event: call_event::Event) {
        self.enqueue(timestamp_ms, event, None, |store, row| {
            store.write_one(move |db| outbox::insert(db, &row))
        });
    }

    /// Queues an event that is written together with this change, or not at
    /// all. An event that is given up at once gives the change back.
    ///
    /// # Errors
    /// The change, which nobody has made.
    pub fn post_with(
        &self,
        timestamp_ms: u64,
        event: call_event::Event,
        change: Quiet,
    ) -> Result<(), Quiet> {
        let mut change = Some(change);
        self.enqueue(timestamp_ms, event, None, |store, row| {
            let insert = move |db: &Connection| outbox::insert(db, &row);
            match change.take() {
                Some(change) => store.write_both(insert, change),
                None => store.write_one(insert),
            }
        });
        change.map_or(Ok(()), Err)
    }

    /// Queues an arrival; the future waits for what to do. An error says why
    /// there is no usable answer. An arrival that could not be posted is tried
    /// again like every other event, but then its answer does not count.
    pub fn ask(
        self: &Arc<Self>,
        timestamp_ms: u64,
        event: call_event::Event,
    ) -> impl Future<Output = Result<HookAnswer, String>> + use<> {
        let (sender, answer) = oneshot::channel();
        // Queued here and now: what happens to the call next comes after it.
        self.enqueue(timestamp_ms, event, Some(sender), |store, row| {
            store.write_one(move |db| outbox::insert(db, &row))
        });
        let patience = self.shared.settings().timeout;
        async move {
            match tokio::time::timeout(patience, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => {
                    Err("it was dropped, or too many events of this app wait".to_string())
                }
                Err(_) => Err(format!("no answer within {} s", patience.as_secs_f32())),
            }
        }
    }

    /// Whether one more event may wait; if so, it does.
    fn has_room(&self) -> bool {
        let (shared, app) = (&self.shared, &self.app);
        if app.waiting.load(Ordering::SeqCst) >= MAX_WAITING_PER_APP {
            shared.counters.hook_given_up("queue_full");
            let (call_id, hook) = (self.call, target::without_secrets(&self.hook.url));
            tracing::error!(%call_id, %hook, "a hook event is given up: too many wait already");
            return false;
        }
        app.waiting.fetch_add(1, Ordering::SeqCst);
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Under which name this call's events wait.
    fn key(&self, targets: &mut HashMap<Arc<str>, Backlog>) -> Arc<str> {
        let key = || target_key(targets, &self.target);
        self.key.get_or_init(key).clone()
    }

    /// The event, with the next number.
    fn item(&self, timestamp_ms: u64, event: call_event::Event, answer: Option<Asker>) -> Item {
        let now_ms = unix_ms();
        let give_up_ms = self.shared.settings().give_up.as_millis() as u64;
        Item {
            seq: self.shared.next_seq.fetch_add(1, Ordering::SeqCst),
            id: new_id(now_ms),
            call: self.call,
            hook: self.hook.clone(),
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(give_up_ms),
            attempts: 0,
            next_attempt_ms: 0,
            written: None,
            kept: true,
            body: hook_body(timestamp_ms, &self.call.to_string(), event),
            answer,
        }
    }

    fn enqueue(
        &self,
        timestamp_ms: u64,
        event: call_event::Event,
        answer: Option<Asker>,
        write: impl FnOnce(&Store, OutboxRow) -> Written<()>,
    ) {
        let (shared, app) = (&self.shared, &self.app);
        if !self.has_room() {
            return;
        }
        shared.enters_memory();
        // Numbered and handed to the writer under one lock: the outbox has a
        // target's events in the order in which they are numbered.
        let mut targets = lock(&app.targets);
        let target = self.key(&mut targets);
        let item = self.item(timestamp_ms, event, answer);
        let row = row(&item, app, &target);
        let item = Item {
            written: Some(write(&shared.store, row)),
            ..item
        };
        let backlog = targets.entry(target.clone()).or_default();
        let admitted = backlog.admit(item);
        drop(targets);
        match admitted {
            Admitted::Queued => {}
            Admitted::First => Worker::start(shared, app, &target, self.call),
            Admitted::Later(item) => {
                tokio::spawn(keep_on_disk(shared.clone(), app.clone(), target, *item));
            }
        }
    }
}

/// Events that are written to the outbox together with something else, and are
/// read from there once that has happened.
pub struct Prepared {
    shared: Arc<Shared>,
    rows: Vec<OutboxRow>,
    places: Vec<(Arc<AppHooks>, Arc<str>)>,
}

impl Prepared {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Prepared {
            shared,
            rows: Vec::new(),
            places: Vec::new(),
        }
    }

    /// One more event of this call, unless too many wait.
    pub fn add(&mut self, hooks: &CallHooks, timestamp_ms: u64, event: call_event::Event) {
        if !hooks.has_room() {
            return;
        }
        let mut targets = lock(&hooks.app.targets);
        let target = hooks.key(&mut targets);
        let item = hooks.item(timestamp_ms, event, None);
        let backlog = targets.entry(target.clone()).or_default();
        backlog.goes_to_disk(item.seq);
        self.rows.push(row(&item, &hooks.app, &target));
        self.places.push((hooks.app.clone(), target));
    }

    /// What has to be written, by the caller; then [`Prepared::settle`].
    pub fn rows(&mut self) -> Vec<OutboxRow> {
        std::mem::take(&mut self.rows)
    }

    /// They have been written, or could not be.
    pub fn settle(self, written: bool) {
        for (app, target) in self.places {
            let reads = {
                let mut targets = lock(&app.targets);
                let backlog = targets.entry(target.clone()).or_default();
                backlog.went_to_disk();
                self.shared.reads_on(backlog)
            };
            if !written {
                self.shared.settled(&app);
            }
            if reads {
                tokio::spawn(read_on(self.shared.clone(), app, target));
            }
        }
    }
}

/// Waits until an event is on the disk, from where it is read when its turn
/// has come. One that could not be written stays in memory.
async fn keep_on_disk(shared: Arc<Shared>, app: Arc<AppHooks>, target: Arc<str>, mut item: Item) {
    let kept = match item.written.take() {
        Some(written) => written.await.is_ok(),
        None => true,
    };
    let call = item.call;
    let (starts, reads) = {
        let mut targets = lock(&app.targets);
        let backlog = targets.entry(target.clone()).or_default();
        backlog.went_to_disk();
        let starts = if kept {
            false
        } else {
            shared.counters.hook_unkept();
            shared.enters_memory();
            item.kept = false;
            matches!(backlog.queue(item), Admitted::First)
        };
        (starts, shared.reads_on(backlog))
    };
    if starts {
        Worker::start(&shared, &app, &target, call);
    }
    if reads {
        tokio::spawn(read_on(shared.clone(), app, target));
    }
    shared.leaves_memory(1);
}

/// An id that nobody has: 48 bits of milliseconds since the Unix epoch, then 80
/// random ones. So ids ascend, and the index over them grows at its end, where
/// random ones would change a page anywhere in it for each event.
fn new_id(now_ms: u64) -> String {
    let random = rand::random::<u128>() & ((1 << 80) - 1);
    format!("{:032x}", u128::from(now_ms) << 80 | random)
}

fn row(item: &Item, app: &AppHooks, target: &str) -> OutboxRow {
    OutboxRow {
        seq: item.seq,
        id: item.id.clone(),
        call_id: item.call.to_string(),
        app_id: app.id.to_string(),
        target: target.to_string(),
        url: item.hook.url.to_string(),
        content_type: item.hook.content_type.name().to_string(),
        trusted: item.hook.trusted,
        body: item.body.encode_to_vec(),
        created_ms: item.created_ms,
        expires_ms: item.expires_ms,
        attempts: 0,
        next_attempt_ms: 0,
        state: State::Pending,
        changed_ms: item.created_ms,
        last_error: None,
        last_status: None,
        last_response: None,
    }
}
