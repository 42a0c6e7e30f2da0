//! What administrators and integrators see of the outbox, and may do with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prost::Message;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::auth::unix_ms;
use crate::api::proto::sip_gateway::CallEvent;
use crate::api::registry::lock;
use crate::ids::AppId;
use crate::store::StoreError;
use crate::store::outbox::{self, Filter, OutboxRow, State};

use super::backlog::{Dropped, Hurried};
use super::delivery::Worker;
use super::keeper::{call_of, item, read_on};
use super::target::without_secrets;
use super::{AppHooks, Hooks, Shared};

/// One event and what became of it, as the API tells it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = HookDelivery)]
pub struct Delivery {
    /// `X-Hook-Id`.
    pub id: String,
    /// `pending`, `delivered` or `dead`.
    pub state: &'static str,
    pub app_id: String,
    pub call_id: String,
    /// The event in short: the fields of the body that lead to it.
    pub event: String,
    /// Where it is posted, without what may hold a secret.
    pub url: String,
    /// The body in its JSON form.
    pub body: Value,
    /// `Json` or `Protobuf`: in which form it is posted.
    pub content_type: String,
    /// When it happened, milliseconds since the Unix epoch.
    pub created_ms: u64,
    pub attempts: u32,
    /// Of a pending one: not tried before, milliseconds since the Unix epoch.
    pub next_attempt_ms: Option<u64>,
    /// It is tried until then, milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// When it was last tried or given up, milliseconds since the Unix epoch.
    pub changed_ms: u64,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// HTTP status of the last answer.
    pub last_status: Option<u16>,
    /// The beginning of the last answer's body, 2 KiB at most.
    pub last_response: Option<String>,
}

/// Some of them, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = HookDeliveries)]
pub struct Deliveries {
    pub deliveries: Vec<Delivery>,
    /// The `before` of those that come after, if there may be any.
    pub next: Option<i64>,
}

/// Why nothing can be done with a delivery.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// There is none of this id.
    #[error("there is no delivery of this id, or not any more")]
    NotFound,
    /// It is over by now, or waits again.
    #[error("this delivery has changed meanwhile; look at it again")]
    Changed,
    /// Memory is full of others.
    #[error("too many hook events are being posted to try this one now")]
    Busy,
    /// Nobody to sign for.
    #[error("the app of this delivery is gone; it could not be signed")]
    AppGone,
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hooks {
    /// Those that the filter lets through, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list(&self, filter: Filter, limit: usize) -> Result<Deliveries, StoreError> {
        let rows = self
            .shared
            .store
            .read(move |db| outbox::list(db, &filter, limit));
        let rows = rows.await?;
        let full = rows.len() == limit;
        let last = rows.last().map(|row| row.seq);
        Ok(Deliveries {
            deliveries: rows.into_iter().map(Delivery::from).collect(),
            next: last.filter(|_| full),
        })
    }

    /// The event of this id.
    ///
    /// # Errors
    /// When there is none, or the database cannot be read.
    pub async fn one(&self, id: &str) -> Result<Delivery, DeliveryError> {
        self.find(id, None).await.map(Delivery::from)
    }

    /// Posts an event that is over once more, and if need be for as long as a
    /// new one, behind what waits for its target. Of the call of one that
    /// waits, the oldest event is tried at once, also where its target rests.
    /// `app`: only if it is this app's.
    ///
    /// # Errors
    /// When there is none, or it cannot be signed or tried.
    pub async fn retry(&self, id: &str, app: Option<&AppId>) -> Result<(), DeliveryError> {
        let row = self.find(id, app).await?;
        let app = lock(&self.shared.apps)
            .get(&AppId::new(&row.app_id))
            .cloned();
        let Some(app) = app.filter(|app| !app.gone.load(Ordering::SeqCst)) else {
            return Err(DeliveryError::AppGone);
        };
        if row.state == State::Pending {
            return self.try_now(&app, row).await;
        }
        let target: Arc<str> = Arc::from(row.target.as_str());
        let shared = &self.shared;
        let give_up_ms = shared.settings().give_up.as_millis() as u64;
        let expires_ms = unix_ms().saturating_add(give_up_ms);
        // It comes back by way of the disk, like what does not fit in memory.
        let revived = {
            let mut targets = lock(&app.targets);
            let seq = shared.next_seq.fetch_add(1, Ordering::SeqCst);
            let backlog = targets.entry(target.clone()).or_default();
            backlog.goes_to_disk(seq);
            let id = row.id.clone();
            let change = move |db: &_| outbox::revive(db, &id, seq, expires_ms);
            shared.store.write(change)
        };
        app.waiting.fetch_add(1, Ordering::SeqCst);
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        // What follows does not depend on a client that waits.
        let shared = shared.clone();
        let done = tokio::spawn(async move {
            let revived = revived.await;
            if !matches!(revived, Ok(true)) {
                shared.settled(&app);
            } else if row.state == State::Dead {
                let less = |count: u64| Some(count.saturating_sub(1));
                let order = Ordering::SeqCst;
                let _ = shared.dead.fetch_update(order, order, less);
            }
            let reads = {
                let mut targets = lock(&app.targets);
                let backlog = targets.entry(target.clone()).or_default();
                backlog.went_to_disk();
                shared.reads_on(backlog)
            };
            if reads {
                tokio::spawn(read_on(shared, app, target));
            }
            revived
        });
        match done.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(DeliveryError::Changed),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(StoreError::Closed.into()),
        }
    }

    /// The call's oldest event for this target is tried at once.
    async fn try_now(&self, app: &Arc<AppHooks>, row: OutboxRow) -> Result<(), DeliveryError> {
        let (call, target) = (call_of(&row), Arc::<str>::from(row.target.as_str()));
        let head = {
            let target = target.clone();
            let head = move |db: &_| outbox::head_of_call(db, &row.call_id, &target);
            self.shared.store.read(head).await?.map(item)
        };
        let hurried = {
            let mut targets = lock(&app.targets);
            match targets.get_mut(&target) {
                Some(backlog) => backlog.hurry(call, head),
                None => return Err(DeliveryError::Changed),
            }
        };
        match hurried {
            Hurried::Told => Ok(()),
            Hurried::NoRoom => Err(DeliveryError::Busy),
            Hurried::Starts => {
                self.shared.enters_memory();
                Worker::start(&self.shared, app, &target, call);
                Ok(())
            }
        }
    }

    /// Forgets an event that is over; makes one that waits a dead letter, and
    /// what follows of its call goes on. `app`: only if it is this app's.
    ///
    /// # Errors
    /// When there is none.
    pub async fn discard(&self, id: &str, app: Option<&AppId>) -> Result<(), DeliveryError> {
        let row = self.find(id, app).await?;
        if row.state == State::Pending {
            let reason = match app {
                Some(_) => "dropped by its app",
                None => "dropped by operator",
            };
            let dropping = drop_waiting(self.shared.clone(), row, reason);
            // What follows does not depend on a client that waits.
            return match tokio::spawn(dropping).await {
                Ok(dropped) => dropped,
                Err(_) => Err(StoreError::Closed.into()),
            };
        }
        let id = row.id;
        let change = move |db: &_| outbox::delete(db, &id);
        match self.shared.store.write(change).await? {
            true => Ok(()),
            false => Err(DeliveryError::Changed),
        }
    }

    async fn find(&self, id: &str, app: Option<&AppId>) -> Result<OutboxRow, DeliveryError> {
        let wanted = id.to_string();
        let row = self.shared.store.read(move |db| outbox::get(db, &wanted));
        match row.await? {
            None => Err(DeliveryError::NotFound),
            // Another app's is none.
            Some(row) if app.is_some_and(|app| app.as_str() != row.app_id) => {
                Err(DeliveryError::NotFound)
            }
            Some(row) => Ok(row),
        }
    }
}

/// Gives up an event that waits: first on the disk, so that it cannot come
/// back, then wherever it is.
async fn drop_waiting(
    shared: Arc<Shared>,
    row: OutboxRow,
    reason: &'static str,
) -> Result<(), DeliveryError> {
    let seq = row.seq;
    let change = move |db: &_| outbox::give_up(db, seq, reason, unix_ms());
    if !shared.store.write(change).await? {
        return Err(DeliveryError::Changed);
    }
    shared.counters.hook_given_up("dropped");
    shared.dead.fetch_add(1, Ordering::SeqCst);
    let (call_id, id) = (&row.call_id, &row.id);
    tracing::warn!(%call_id, %id, problem = reason, "a hook event is given up");
    let app_id = AppId::new(&row.app_id);
    let app = lock(&shared.apps).get(&app_id).cloned();
    let Some(app) = app else {
        shared.orphan_dropped(&app_id, &row.target);
        return Ok(());
    };
    let target: Arc<str> = Arc::from(row.target.as_str());
    let (dropped, reads) = {
        let mut targets = lock(&app.targets);
        match targets.get_mut(&target) {
            Some(backlog) => {
                let dropped = backlog.drop_event(call_of(&row), row.seq);
                (dropped, shared.reads_on(backlog))
            }
            None => (Dropped::Over, false),
        }
    };
    match dropped {
        Dropped::Queued => {
            shared.settled(&app);
            shared.leaves_memory(1);
        }
        Dropped::OnDisk => shared.settled(&app),
        Dropped::Posting | Dropped::Over => {}
    }
    if reads {
        tokio::spawn(read_on(shared, app, target));
    }
    Ok(())
}

impl From<OutboxRow> for Delivery {
    fn from(row: OutboxRow) -> Self {
        let body = CallEvent::decode(row.body.as_slice()).unwrap_or_default();
        let body = serde_json::to_value(body).unwrap_or_default();
        Delivery {
            event: event_name(&body),
            url: without_secrets(&row.url),
            next_attempt_ms: (row.state == State::Pending).then_some(row.next_attempt_ms),
            id: row.id,
            state: row.state.name(),
            app_id: row.app_id,
            call_id: row.call_id,
            body,
            content_type: row.content_type,
            created_ms: row.created_ms,
            attempts: row.attempts,
            expires_ms: row.expires_ms,
            changed_ms: row.changed_ms,
            last_error: row.last_error,
            last_status: row.last_status,
            last_response: row.last_response,
        }
    }
}

/// `outgoing.sip.accepted` of `{"call_id":…,"outgoing":{"sip":{"accepted":{…}}}}`.
fn event_name(body: &Value) -> String {
    let mut path: Vec<&str> = Vec::new();
    let mut here = body;
    while let Some((name, inner)) = here
        .as_object()
        .and_then(|fields| fields.iter().find(|(_, value)| value.is_object()))
    {
        path.push(name);
        here = inner;
    }
    path.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_named_by_the_fields_that_lead_to_it() {
        let body = serde_json::json!({
            "timestamp": "1", "call_id": "x", "outgoing": { "sip": { "accepted": { "code": 200 } } },
        });
        assert_eq!(event_name(&body), "outgoing.sip.accepted");
        assert_eq!(event_name(&serde_json::json!({ "call_id": "x" })), "");
    }
}
