//! Call records: written as calls go, closed at start where the gateway did
//! not live to see a call's end, pruned, and told over REST.
//!
//! Nothing here waits for the database on a call's path: changes are queued,
//! in order, and the store's writer counts whether they were written.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::call::event::{Arrival, CallEventKind};
use crate::call::request::{CallSnapshot, Dial, Direction, Stream, two_decimals};
use crate::ids::{AppId, CallId};
use crate::store::records::{self, CallResult, Extent, Key, Lost, Media, Record, RowId};
use crate::store::{Quiet, Store, StoreError, outbox};
use prost::Message;

use super::Shared;
use super::auth::unix_ms;
use super::hooks::Prepared;
use super::messages::CallMessage;
use super::proto::sip_gateway as proto;
use super::registry::{Call, lock};

mod csv;
mod rest;

pub(super) use rest::{__path_one_record, __path_search};
pub use rest::{instant, one_record, read_query, record_view, search, whole};

/// How often it is written down that the gateway lives, while there are calls:
/// the end of a lost call is known this exactly.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
/// So long the answer to a request that began a call waits for its record.
const DISK_PATIENCE: Duration = Duration::from_millis(500);
/// How often old records are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Records removed by one change at most, so that it does not hold up others.
const PRUNE_BATCH: u64 = 500;

/// Which records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSettings {
    /// Of calls that began no longer ago than this.
    pub keep: Duration,
    /// At most so many; the oldest go first.
    pub max: u64,
}

/// The writer of all call records.
pub struct Records {
    store: Store,
    settings: Mutex<RecordSettings>,
    /// Tells calls that begin in one millisecond apart.
    next: AtomicU32,
    outcomes: Arc<Outcomes>,
    lost: AtomicU64,
    pruned: AtomicU64,
    rows: AtomicU64,
    /// `u64::MAX`: there is none.
    oldest_ms: AtomicU64,
}

/// What became of the changes of records.
#[derive(Default)]
struct Outcomes {
    written: AtomicU64,
    failed: AtomicU64,
    failing: AtomicBool,
}

impl Outcomes {
    fn count(&self, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) => {
                self.written.fetch_add(1, Ordering::Relaxed);
                self.failing.store(false, Ordering::Relaxed);
            }
            Err(problem) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                // Once is enough for the operator; the metrics count.
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%problem, "call records are not written");
                }
            }
        }
    }
}

/// What the metrics tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordCounts {
    /// Changes of records that are on the disk.
    pub written: u64,
    /// Changes that the store refused.
    pub failed: u64,
    /// Calls that were in progress when the gateway last ended.
    pub lost: u64,
    /// Records removed because of their age or number.
    pub pruned: u64,
    /// Records there are, as of the last look.
    pub rows: u64,
    /// When the oldest of them began, milliseconds since the Unix epoch.
    pub oldest_ms: Option<u64>,
}

impl Records {
    pub fn new(store: Store, settings: RecordSettings) -> Self {
        Records {
            store,
            settings: Mutex::new(settings),
            next: AtomicU32::new(0),
            outcomes: Arc::default(),
            lost: AtomicU64::new(0),
            pruned: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            oldest_ms: AtomicU64::new(u64::MAX),
        }
    }

    /// From the next look for old records on, within a minute, these count.
    pub fn use_settings(&self, settings: RecordSettings) {
        *lock(&self.settings) = settings;
    }

    /// An incoming call has begun.
    pub fn arrived(&self, call: &Call, at_ms: u64, arrival: &Arrival) {
        let record = Record {
            from: arrival.from.to_string(),
            to: arrival.to.to_string(),
            number: Some(arrival.number.number.clone()),
            sip_call_id: Some(arrival.sip_call_id.to_string()),
            peer_address: Some(arrival.source.to_string()),
            place: arrival.stream.as_ref().map(names),
            ..Record::open(key_of(call), at_ms)
        };
        let (row, hook) = (self.row(at_ms), arrival.number.hook.clone());
        let draft = &call.record;
        draft.begin(&self.store, row, record, hook, self.told());
    }

    /// An outgoing call has begun; `number` is the one of the number book that
    /// counted for it.
    pub fn dialled(
        &self,
        call: &Call,
        dial: &Dial,
        number: Option<&str>,
        sip_call_id: Option<&str>,
    ) {
        let now_ms = unix_ms();
        let record = Record {
            from: dial.from_number.clone(),
            to: dial.to_number.clone(),
            number: number.map(str::to_owned),
            sip_call_id: sip_call_id.map(str::to_owned),
            peer_address: Some(dial.destination.to_string()),
            place: Some(names(&dial.stream)),
            ..Record::open(key_of(call), now_ms)
        };
        let (row, hook) = (self.row(now_ms), dial.hook.clone());
        let draft = &call.record;
        draft.begin(&self.store, row, record, hook, self.told());
    }

    /// What closes the record of a call that has ended, for whoever writes it
    /// together with something else, or for [`Records::write`].
    pub fn closing(&self, call: &Call, snapshot: &CallSnapshot) -> Quiet {
        let row = self.row(snapshot.created_ms);
        call.record.end(row, of_ended(snapshot), self.told())
    }

    /// Queues a change.
    pub fn write(&self, change: Quiet) {
        self.store.write_quietly(change);
    }

    /// Waits until what was queued by now is on the disk, or could not be
    /// written, but not long: a bad disk must not keep anybody from calling.
    pub async fn settled(&self) {
        let reached = self.store.write_one(|_| Ok(()));
        let _ = tokio::time::timeout(DISK_PATIENCE, reached).await;
    }

    /// Something that happened to a call after it began, but its end.
    pub fn happened(&self, call: &Call, at_ms: u64, kind: &CallEventKind) {
        match kind {
            CallEventKind::Accepted | CallEventKind::Answered(_) => {
                let place = call.place().as_ref().map(names);
                let (draft, row) = (&call.record, self.row(at_ms));
                draft.answer(&self.store, row, key_of(call), at_ms, place, self.told());
            }
            CallEventKind::Error(problem) => self.went_wrong(call, at_ms, problem),
            _ => {}
        }
    }

    /// Something went wrong with a call.
    pub fn went_wrong(&self, call: &Call, at_ms: u64, problem: &str) {
        let (draft, row) = (&call.record, self.row(at_ms));
        let problem = problem.to_owned();
        draft.fail(&self.store, row, key_of(call), at_ms, problem, self.told());
    }

    /// The place of a row for a call of this time.
    fn row(&self, at_ms: u64) -> RowId {
        RowId::new(at_ms, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Hears what becomes of a change.
    fn told(&self) -> impl FnOnce(Result<(), StoreError>) + Send + use<> {
        let outcomes = self.outcomes.clone();
        move |outcome| outcomes.count(outcome)
    }

    /// The record of a call; `live` is its row as long as it lives.
    ///
    /// # Errors
    /// What the store says.
    pub async fn one(&self, id: CallId, live: Option<RowId>) -> Result<Option<Record>, StoreError> {
        let id = id.to_string();
        self.store.read(move |db| records::one(db, &id, live)).await
    }

    pub fn counts(&self) -> RecordCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let oldest_ms = count(&self.oldest_ms);
        RecordCounts {
            written: count(&self.outcomes.written),
            failed: count(&self.outcomes.failed),
            lost: count(&self.lost),
            pruned: count(&self.pruned),
            rows: count(&self.rows),
            oldest_ms: (oldest_ms != u64::MAX).then_some(oldest_ms),
        }
    }

    async fn prune(&self) -> Result<(), StoreError> {
        let RecordSettings { keep, max } = *lock(&self.settings);
        let before_ms = unix_ms().saturating_sub(keep.as_millis() as u64);
        while self.prune_batch(before_ms, PRUNE_BATCH).await? == PRUNE_BATCH {}
        let mut extent = self.look().await?;
        let mut excess = extent.rows.saturating_sub(max);
        while excess > 0 {
            let removed = self
                .prune_batch(i64::MAX as u64, excess.min(PRUNE_BATCH))
                .await?;
            if removed == 0 {
                break;
            }
            excess -= removed;
            extent = self.look().await?;
        }
        self.rows.store(extent.rows, Ordering::Relaxed);
        Ok(())
    }

    async fn prune_batch(&self, before_ms: u64, batch: u64) -> Result<u64, StoreError> {
        let change = move |db: &_| records::prune(db, before_ms, batch as usize);
        let removed = self.store.write(change).await? as u64;
        self.pruned.fetch_add(removed, Ordering::Relaxed);
        Ok(removed)
    }

    async fn look(&self) -> Result<Extent, StoreError> {
        let extent = self.store.read(records::extent).await?;
        self.rows.store(extent.rows, Ordering::Relaxed);
        let oldest_ms = extent.oldest_ms.unwrap_or(u64::MAX);
        self.oldest_ms.store(oldest_ms, Ordering::Relaxed);
        Ok(extent)
    }
}

/// Closes the calls that an earlier life of the gateway left open, and tells
/// their hooks that they are over, in one transaction. Before any call of this
/// life is recorded.
pub async fn close_lost(shared: &Shared) {
    let unclosed = |problem: StoreError| {
        tracing::error!(%problem, "calls that were in progress when the gateway last ended stay open in the records");
    };
    let lost = match shared.store.read(records::lost).await {
        Ok(lost) => lost,
        Err(problem) => return unclosed(problem),
    };
    if lost.is_empty() {
        return;
    }
    let mut events = shared.hooks.prepare();
    for call in &lost {
        prepare_end(shared, call, &mut events).await;
    }
    let rows = events.rows();
    let written = shared.store.write(move |db| {
        rows.iter().try_for_each(|row| outbox::insert(db, row))?;
        records::close_lost(db)
    });
    let written = written.await;
    events.settle(written.is_ok());
    if let Err(problem) = written {
        return unclosed(problem);
    }
    shared
        .records
        .lost
        .store(lost.len() as u64, Ordering::Relaxed);
    tracing::warn!(
        calls = lost.len(),
        "calls were in progress when the gateway last ended; they are recorded as lost"
    );
}

/// What a lost call's hook is told.
async fn prepare_end(shared: &Shared, call: &Lost, events: &mut Prepared) {
    let direction = match call.key.incoming {
        true => Direction::Incoming,
        false => Direction::Outgoing,
    };
    let app = AppId::new(&call.key.app_id);
    if let Ok(id) = call.key.call_id.parse()
        && let Some(hook) = call.hook.clone()
        && let Some(hooks) = shared.hooks.of_call(&app, id, hook)
        && !knows_of_the_end(shared, &call.key.call_id).await
    {
        for message in [
            CallMessage::error(records::RESTARTED, direction),
            CallMessage::ended(direction),
        ] {
            events.add(&hooks, call.ended_ms, message.hook_event());
        }
    }
}

/// Whether the outbox already has the call's last event, with the record still
/// open: an earlier version of the gateway wrote them apart.
async fn knows_of_the_end(shared: &Shared, call_id: &str) -> bool {
    let call_id = call_id.to_owned();
    let last = shared
        .store
        .read(move |db| outbox::last_of_call(db, &call_id))
        .await;
    let last = last.ok().flatten().unwrap_or_default();
    proto::CallEvent::decode(&*last).is_ok_and(|event| is_end(&event))
}

fn is_end(event: &proto::CallEvent) -> bool {
    use proto::incoming_call_data::incoming_call_event::Event as Incoming;
    use proto::outgoing_call_data::outgoing_call_event::Event as Outgoing;
    match &event.event {
        Some(proto::call_event::Event::Incoming(event)) => {
            matches!(event.event, Some(Incoming::Ended(_)))
        }
        Some(proto::call_event::Event::Outgoing(event)) => {
            matches!(event.event, Some(Outgoing::Ended(_)))
        }
        Some(proto::call_event::Event::Notify(_)) | None => false,
    }
}

/// Says that the gateway lives, and removes what is too old; never ends.
pub async fn keep(shared: Arc<Shared>) {
    let records = &shared.records;
    let mut alive = tokio::time::interval(ALIVE_EVERY);
    let mut prune = tokio::time::interval(PRUNE_EVERY);
    let alive = async {
        loop {
            alive.tick().await;
            if shared.registry.len() > 0 {
                let now_ms = unix_ms();
                records
                    .store
                    .write(move |db| records::alive(db, now_ms))
                    .detach();
            }
        }
    };
    let prune = async {
        loop {
            prune.tick().await;
            if let Err(problem) = records.prune().await {
                tracing::warn!(%problem, "old call records are not removed");
            }
        }
    };
    tokio::join!(alive, prune);
}

/// Room and peer.
fn names(stream: &Stream) -> (String, String) {
    (stream.room.name.to_string(), stream.peer.to_string())
}

fn key_of(call: &Call) -> Key {
    key(call.id, &call.app, call.direction)
}

fn key(id: CallId, app: &AppId, direction: Direction) -> Key {
    Key {
        call_id: id.to_string(),
        app_id: app.to_string(),
        incoming: direction == Direction::Incoming,
    }
}

/// A call that has ended, as it is kept.
fn of_ended(call: &CallSnapshot) -> Record {
    Record {
        result: result(call),
        from: call.from.to_string(),
        to: call.to.to_string(),
        sip_call_id: Some(call.sip_call_id.to_string()),
        peer_address: Some(call.peer_address.to_string()),
        place: call.stream.as_ref().map(names),
        ringing_ms: call.ringing_ms,
        early_ms: call.early_ms,
        answered_ms: call.answered_ms,
        ended_ms: call.ended_ms,
        sip_code: call.sip_code,
        end_reason: call.end_reason.map(str::to_owned),
        hung_up_by: hung_up_by(call).map(str::to_owned),
        security: Some(call.security.to_owned()),
        srtp_suite: call.srtp_suite.map(str::to_owned),
        media: call.media.as_ref().map(|media| Media {
            codec: media.codec.clone(),
            packets_received: media.packets_received,
            bytes_received: media.bytes_received,
            packets_lost: media.packets_lost,
            jitter_ms: media.jitter_ms,
            packets_sent: media.packets_sent,
            bytes_sent: media.bytes_sent,
            remote_packets_lost: media.remote_packets_lost,
            remote_jitter_ms: media.remote_jitter_ms,
            round_trip_ms: media.round_trip_ms,
            mos_average: media.quality.map(|rating| two_decimals(rating.mos_average)),
            mos_min: media.quality.map(|rating| two_decimals(rating.mos_min)),
            remote_mos_average: media
                .remote_quality
                .map(|rating| two_decimals(rating.mos_average)),
            remote_mos_min: media
                .remote_quality
                .map(|rating| two_decimals(rating.mos_min)),
        }),
        ..Record::open(key(call.call, &call.app, call.direction), call.created_ms)
    }
}

fn result(call: &CallSnapshot) -> CallResult {
    if call.answered_ms.is_some() {
        return CallResult::Answered;
    }
    match (call.direction, call.end_reason, call.sip_code) {
        (Direction::Incoming, Some("cancelled"), _) => CallResult::Cancelled,
        (Direction::Incoming, Some("no_answer"), _) => CallResult::NoAnswer,
        (Direction::Incoming, Some("rejected" | "local"), _) => CallResult::Rejected,
        (Direction::Outgoing, Some("local" | "shutdown"), _) => CallResult::Cancelled,
        // RFC 3261 sections 21.4.9 and 21.4.18.
        (Direction::Outgoing, _, Some(408 | 480)) => CallResult::NoAnswer,
        // Sections 21.4.24 and 21.6.1.
        (Direction::Outgoing, _, Some(486 | 600)) => CallResult::Busy,
        // Sections 21.4.4 and 21.6.2, and RFC 8197 section 5.
        (Direction::Outgoing, _, Some(403 | 603 | 607)) => CallResult::Rejected,
        _ => CallResult::Failed,
    }
}

fn hung_up_by(call: &CallSnapshot) -> Option<&'static str> {
    Some(match (call.end_reason?, call.sip_code) {
        ("local" | "rejected", _) => "local",
        // Our own patience, far more often than a 408 of the peer.
        ("failed", Some(408)) => "gateway",
        ("remote" | "cancelled" | "failed", _) => "remote",
        _ => "gateway",
    })
}

#[cfg(test)]
mod tests;
