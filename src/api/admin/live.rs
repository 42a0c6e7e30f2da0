//! `events`: what goes on, once a second. However many look, it is gathered
//! once.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::api::Shared;
use crate::api::auth::unix_ms;
use crate::api::error::ApiError;
use crate::api::registry::lock;
use crate::call::request::{CallReply, CallRequest, ShardCounters};

use super::SessionId;

/// Listeners at a time; one more is told to come back.
const MAX_LISTENERS: usize = 64;
/// How often things are gathered.
const EVERY: Duration = Duration::from_secs(1);
/// A comment this often keeps proxies from closing the stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The gatherer, which works only while somebody listens.
pub struct Live {
    room: Arc<Semaphore>,
    gathered: watch::Sender<Option<Arc<str>>>,
    gathering: Mutex<bool>,
}

impl Default for Live {
    fn default() -> Self {
        Live {
            room: Arc::new(Semaphore::new(MAX_LISTENERS)),
            gathered: watch::Sender::new(None),
            gathering: Mutex::new(false),
        }
    }
}

/// `GET /admin/api/events`
pub async fn events(
    State(shared): State<Arc<Shared>>,
    session: Extension<SessionId>,
) -> Result<Response, ApiError> {
    let live = &shared.admin.live;
    let room = live.room.clone().try_acquire_owned();
    let room = room.map_err(|_| {
        ApiError::overloaded("too many listen already; close other windows and try again")
    })?;
    let listener = Listener {
        gathered: listen(&shared),
        ending: shared.ending.subscribe(),
        session: session.0.0,
        told_end: false,
        shared: shared.clone(),
        _room: room,
    };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok::<Event, Infallible>(event), listener))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

/// One more listener; the first one sets the gatherer to work.
fn listen(shared: &Arc<Shared>) -> watch::Receiver<Option<Arc<str>>> {
    let live = &shared.admin.live;
    let mut gathering = lock(&live.gathering);
    let mut listener = live.gathered.subscribe();
    // The newcomer is told what is known.
    listener.mark_changed();
    if !*gathering {
        *gathering = true;
        live.gathered.send_replace(None);
        tokio::spawn(gather(shared.clone()));
    }
    listener
}

/// Gathers until nobody listens.
async fn gather(shared: Arc<Shared>) {
    let live = &shared.admin.live;
    let mut ticks = tokio::time::interval(EVERY);
    let mut last: Option<Counted> = None;
    let mut told = Value::Null;
    loop {
        ticks.tick().await;
        {
            let mut gathering = lock(&live.gathering);
            if live.gathered.receiver_count() == 0 || *shared.ending.borrow() {
                *gathering = false;
                return;
            }
        }
        let now = Counted::now(&shared).await;
        let mut snapshot = now.json(&shared, last.as_ref());
        last = Some(now);
        if snapshot != told {
            told = snapshot.clone();
            snapshot["now_ms"] = json!(unix_ms());
            live.gathered
                .send_replace(Some(Arc::from(snapshot.to_string())));
        }
    }
}

/// What was counted at a moment.
struct Counted {
    at: Instant,
    calls: u64,
    rooms: u64,
    legs: u64,
    call_events: u64,
    /// Names of rates with ever growing counts.
    totals: [(&'static str, u64); 5],
}

impl Counted {
    async fn now(shared: &Shared) -> Self {
        let mut shards = ShardCounters::default();
        for shard in shared.shards.all() {
            // A shard that does not answer is missed in the system's view.
            if let Ok(CallReply::Counters(counters)) =
                shared.ask(shard, CallRequest::Counters).await
            {
                shards.calls += counters.calls;
                shards.rooms += counters.rooms;
                shards.legs += counters.legs;
                shards.totals.extend(counters.totals);
            }
        }
        let total = |name: &str| {
            let counts = shards.totals.iter().filter(|(known, ..)| *known == name);
            counts.map(|(.., count)| *count).sum()
        };
        let call_events = shared.counters.call_events();
        Counted {
            at: Instant::now(),
            calls: shards.calls,
            rooms: shards.rooms,
            legs: shards.legs,
            call_events,
            totals: [
                ("call_events", call_events),
                ("http_requests", shared.counters.requests()),
                ("packets", total("media_received_total")),
                ("hook_posts", shared.counters.hook_posts()),
                ("refused", total("incoming_calls_refused_total")),
            ],
        }
    }

    fn json(&self, shared: &Shared, before: Option<&Counted>) -> Value {
        let mut rates = serde_json::Map::new();
        for (at, (name, count)) in self.totals.iter().enumerate() {
            let rate = before.map_or(0.0, |before| {
                let seconds = self.at.duration_since(before.at).as_secs_f64().max(0.001);
                let more = count.saturating_sub(before.totals[at].1);
                // A tenth is as exact as anybody reads it.
                (more as f64 / seconds * 10.0).round() / 10.0
            });
            rates.insert((*name).to_string(), json!(rate));
        }
        let by_app: serde_json::Map<String, Value> = shared
            .registry
            .live_by_app()
            .into_iter()
            .map(|(app, calls)| (app.to_string(), json!(calls)))
            .collect();
        json!({
            "calls": self.calls,
            "rooms": self.rooms,
            "legs": self.legs,
            "calls_by_app": by_app,
            "rates": rates,
            "calls_version": self.call_events,
        })
    }
}

struct Listener {
    gathered: watch::Receiver<Option<Arc<str>>>,
    ending: watch::Receiver<bool>,
    session: String,
    told_end: bool,
    shared: Arc<Shared>,
    _room: OwnedSemaphorePermit,
}

impl Listener {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        let mut check = tokio::time::interval(EVERY);
        loop {
            if self.told_end || *self.ending.borrow() {
                return None;
            }
            let admin = &self.shared.admin;
            if !admin
                .sessions
                .holds(&self.session, Instant::now(), admin.patience())
            {
                self.told_end = true;
                return Some(Event::default().event("logged_out").data("{}"));
            }
            tokio::select! {
                changed = self.gathered.changed() => {
                    changed.ok()?;
                    let snapshot = self.gathered.borrow_and_update().clone();
                    if let Some(snapshot) = snapshot {
                        return Some(Event::default().event("snapshot").data(&*snapshot));
                    }
                }
                changed = self.ending.changed() => changed.ok()?,
                _ = check.tick() => {}
            }
        }
    }
}
