//! The calls that clients may ask for: those that live, and for a while those
//! that have ended. Each keeps the events that a late client has missed.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::call::request::{CallSnapshot, Direction, Stream};
use crate::ids::{AppId, CallId};
use crate::store::Quiet;
use crate::store::records::Draft;

use super::hooks::CallHooks;
use super::messages::CallMessage;
use super::sound::waiting::NumberSounds;

/// How long an ended call can still be asked for.
pub const ENDED_KEPT: Duration = Duration::from_secs(60);
/// Ended calls kept at most; the oldest goes first.
const MAX_ENDED: usize = 20_000;
/// Events kept per call; the oldest goes first. A client that is further
/// behind is dropped.
const MAX_EVENTS: usize = 64;
/// WebSockets per call at most.
pub const MAX_SOCKETS: usize = 16;

/// All calls of the api, by id.
#[derive(Default)]
pub struct Registry {
    calls: Mutex<HashMap<CallId, Arc<Call>>>,
    ended: Mutex<VecDeque<(Instant, CallId)>>,
    /// Wakes those who wait for a call to become known.
    made: Notify,
}

/// One call.
pub struct Call {
    pub id: CallId,
    pub app: AppId,
    pub direction: Direction,
    /// What is known for its record.
    pub record: Arc<Draft>,
    inner: Mutex<Inner>,
    /// Made when somebody wants to hear of changes: of most calls nobody does.
    version: OnceLock<watch::Sender<u64>>,
}

struct Inner {
    events: VecDeque<KeptEvent>,
    /// How many events were forgotten before the first of `events`.
    forgotten: u64,
    hooks: Route,
    caller: Option<Caller>,
    /// What its peer hears while nobody else hears it, if anything.
    sounds: Option<Box<NumberSounds>>,
    /// Of an outgoing call; with its sounds, its peer may hear them.
    answered: bool,
    place: Option<Stream>,
    ended: Option<Box<CallSnapshot>>,
    sockets: usize,
    /// Counts openings and closings, so that a grace period knows whether
    /// anything happened meanwhile.
    socket_changes: u64,
}

/// An event as it is kept: encoded, which takes a tenth of what it takes to be
/// looked at, and hardly any is looked at again.
struct KeptEvent {
    timestamp_ms: u64,
    message: Box<[u8]>,
}

/// Where a call's events go beside its WebSockets.
enum Route {
    /// Outgoing, and the request that dialled has not told yet: events wait.
    Unknown,
    /// Nowhere.
    Nowhere,
    /// To this hook.
    Hook(Arc<CallHooks>),
}

/// What the notifications of an incoming call say.
#[derive(Debug, Clone)]
pub struct Caller {
    pub from: Arc<str>,
    pub to: Arc<str>,
    /// Who hears of it on notify_ws.
    pub client_id: Option<String>,
}

/// What a client at some place in a call's events has to be sent.
pub enum Missed {
    /// These, and then nothing more if the call has ended.
    Events(Vec<CallMessage>, bool),
    /// It is so far behind that events were forgotten.
    TooMany,
}

impl Registry {
    /// The call, made if it is not there yet.
    pub fn entry(&self, id: CallId, app: &AppId, direction: Direction) -> Arc<Call> {
        self.prepared_entry(id, app, direction, |_| {})
    }

    /// The same. One that is made goes through `prepare` before anybody can
    /// come upon it.
    pub fn prepared_entry(
        &self,
        id: CallId,
        app: &AppId,
        direction: Direction,
        prepare: impl FnOnce(&Call),
    ) -> Arc<Call> {
        let call = match lock(&self.calls).entry(id) {
            Entry::Occupied(known) => return known.get().clone(),
            Entry::Vacant(place) => {
                let call = Call::new(id, app.clone(), direction);
                prepare(&call);
                place.insert(Arc::new(call)).clone()
            }
        };
        self.made.notify_waiters();
        call
    }

    /// The call, as soon as it is known.
    pub async fn known(&self, id: CallId) -> Arc<Call> {
        loop {
            // Before the look at the calls: it then misses none that is made
            // after it.
            let made = self.made.notified();
            if let Some(call) = self.get(id) {
                return call;
            }
            made.await;
        }
    }

    /// The call, if it lives or has ended a short while ago.
    pub fn get(&self, id: CallId) -> Option<Arc<Call>> {
        lock(&self.calls).get(&id).cloned()
    }

    /// How many calls of each app live.
    pub fn live_by_app(&self) -> HashMap<AppId, usize> {
        let mut live = HashMap::new();
        for call in lock(&self.calls).values() {
            if lock(&call.inner).ended.is_none() {
                *live.entry(call.app.clone()).or_default() += 1;
            }
        }
        live
    }

    /// How many calls are known, the ended ones too.
    pub fn len(&self) -> usize {
        lock(&self.calls).len()
    }

    /// From now on the call can be asked for only for a while.
    pub fn call_ended(&self, id: CallId) {
        let mut ended = lock(&self.ended);
        ended.push_back((Instant::now(), id));
        if ended.len() > MAX_ENDED
            && let Some((_, oldest)) = ended.pop_front()
        {
            lock(&self.calls).remove(&oldest);
        }
    }

    /// Forgets the calls that ended long enough ago.
    pub fn forget_old(&self, now: Instant) {
        let mut ended = lock(&self.ended);
        while let Some((since, id)) = ended.front().copied() {
            if now.duration_since(since) < ENDED_KEPT {
                break;
            }
            ended.pop_front();
            lock(&self.calls).remove(&id);
        }
    }
}

impl Call {
    fn new(id: CallId, app: AppId, direction: Direction) -> Self {
        Call {
            id,
            app,
            direction,
            record: Arc::default(),
            inner: Mutex::new(Inner {
                events: VecDeque::new(),
                forgotten: 0,
                hooks: Route::Unknown,
                caller: None,
                sounds: None,
                answered: false,
                place: None,
                ended: None,
                sockets: 0,
                socket_changes: 0,
            }),
            version: OnceLock::new(),
        }
    }

    /// Tells where events go; those that came before are posted now.
    pub fn set_hooks(&self, hooks: Option<Arc<CallHooks>>) {
        let mut inner = lock(&self.inner);
        if let Some(hooks) = &hooks {
            for event in &inner.events {
                if let Some(message) = self.read(event) {
                    hooks.post(event.timestamp_ms, message.hook_event());
                }
            }
        }
        inner.hooks = match hooks {
            Some(hooks) => Route::Hook(hooks),
            None => Route::Nowhere,
        };
    }

    /// The hook, if there is one.
    pub fn hooks(&self) -> Option<Arc<CallHooks>> {
        match &lock(&self.inner).hooks {
            Route::Hook(hooks) => Some(hooks.clone()),
            Route::Unknown | Route::Nowhere => None,
        }
    }

    /// Who calls, of an incoming call.
    pub fn set_caller(&self, caller: Caller) {
        lock(&self.inner).caller = Some(caller);
    }

    /// Who calls, of an incoming call.
    pub fn caller(&self) -> Option<Caller> {
        lock(&self.inner).caller.clone()
    }

    /// What its peer hears while nobody else hears it. True when it was answered
    /// already.
    pub fn set_sounds(&self, sounds: NumberSounds) -> bool {
        let mut inner = lock(&self.inner);
        inner.sounds = (!sounds.is_empty()).then(|| Box::new(sounds));
        inner.answered
    }

    /// What its peer hears while nobody else hears it.
    pub fn sounds(&self) -> NumberSounds {
        let sounds = lock(&self.inner).sounds.clone();
        sounds.map_or_else(NumberSounds::default, |sounds| *sounds)
    }

    /// The peer of an outgoing call has answered.
    pub fn set_answered(&self) {
        lock(&self.inner).answered = true;
    }

    /// Where a call is being put.
    pub fn set_place(&self, stream: Stream) {
        lock(&self.inner).place = Some(stream);
    }

    /// Where a call was put last.
    pub fn place(&self) -> Option<Stream> {
        lock(&self.inner).place.clone()
    }

    /// One more event: for the WebSockets that are there, those to come, and
    /// the hook. After the last one there are no more.
    pub fn push(&self, timestamp_ms: u64, message: CallMessage) {
        let inner = lock(&self.inner);
        if inner.ended.is_some() {
            return;
        }
        if let Route::Hook(hooks) = &inner.hooks {
            hooks.post(timestamp_ms, message.hook_event());
        }
        self.remember(inner, timestamp_ms, &message);
    }

    /// The last event, and how the call went. The change that closes its record
    /// is made together with the event for the hook.
    ///
    /// # Errors
    /// The change, where no event goes to a hook.
    pub fn end(
        &self,
        timestamp_ms: u64,
        message: CallMessage,
        snapshot: Box<CallSnapshot>,
        close: Quiet,
    ) -> Result<(), Quiet> {
        let mut inner = lock(&self.inner);
        if inner.ended.is_some() {
            return Err(close);
        }
        inner.ended = Some(snapshot);
        let closed = match &inner.hooks {
            Route::Hook(hooks) => hooks.post_with(timestamp_ms, message.hook_event(), close),
            Route::Unknown | Route::Nowhere => Err(close),
        };
        self.remember(inner, timestamp_ms, &message);
        closed
    }

    fn read(&self, event: &KeptEvent) -> Option<CallMessage> {
        CallMessage::decode(&event.message, self.direction)
    }

    fn remember(&self, mut inner: MutexGuard<'_, Inner>, timestamp_ms: u64, message: &CallMessage) {
        let message = message.encode().into();
        inner.events.push_back(KeptEvent {
            timestamp_ms,
            message,
        });
        if inner.events.len() > MAX_EVENTS {
            inner.events.pop_front();
            inner.forgotten += 1;
        }
        drop(inner);
        // Whoever makes it from here on looks at the events after that.
        if let Some(version) = self.version.get() {
            version.send_modify(|version| *version += 1);
        }
    }

    /// How it went, once it is over.
    pub fn ended(&self) -> Option<Box<CallSnapshot>> {
        lock(&self.inner).ended.clone()
    }

    /// Changes with every event from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        let version = self.version.get_or_init(|| watch::Sender::new(0));
        version.subscribe()
    }

    /// The events from this place on, and the place after them. No place
    /// means all that are kept.
    pub fn events_from(&self, place: Option<u64>) -> (Missed, u64) {
        let inner = lock(&self.inner);
        let end = inner.forgotten + inner.events.len() as u64;
        let place = place.unwrap_or(inner.forgotten);
        let Some(skip) = place.checked_sub(inner.forgotten) else {
            return (Missed::TooMany, end);
        };
        let events = inner.events.iter().skip(skip as usize);
        let events = events.filter_map(|event| self.read(event)).collect();
        (Missed::Events(events, inner.ended.is_some()), end)
    }

    /// One more WebSocket; false if there are too many.
    pub fn socket_opened(&self) -> bool {
        let mut inner = lock(&self.inner);
        if inner.sockets >= MAX_SOCKETS {
            return false;
        }
        inner.sockets += 1;
        inner.socket_changes += 1;
        true
    }

    /// One WebSocket less. If it was the last of a living call: what
    /// [`Call::still_alone`] needs to know after the grace period.
    pub fn socket_closed(&self) -> Option<u64> {
        let mut inner = lock(&self.inner);
        inner.sockets = inner.sockets.saturating_sub(1);
        inner.socket_changes += 1;
        (inner.sockets == 0 && inner.ended.is_none()).then_some(inner.socket_changes)
    }

    /// No WebSocket has come since, and the call lives.
    pub fn still_alone(&self, since: u64) -> bool {
        let inner = lock(&self.inner);
        inner.socket_changes == since && inner.ended.is_none()
    }
}

/// A lock whose holder panicked still guards data that is whole: every change
/// under these locks is a single step.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    fn id(random: u128) -> CallId {
        CallId {
            shard: ShardId(0),
            random,
        }
    }

    fn error(text: &str) -> CallMessage {
        CallMessage::error(text, Direction::Outgoing)
    }

    fn call() -> Arc<Call> {
        Registry::default().entry(id(1), &AppId::new("a"), Direction::Outgoing)
    }

    #[test]
    fn a_late_client_gets_what_it_missed_and_goes_on_from_there() {
        let call = call();
        call.push(1, error("one"));
        call.push(2, error("two"));
        let (Missed::Events(events, false), place) = call.events_from(None) else {
            panic!("behind");
        };
        assert_eq!(events, [error("one"), error("two")]);
        call.push(3, error("three"));
        let (Missed::Events(events, false), _) = call.events_from(Some(place)) else {
            panic!("behind");
        };
        assert_eq!(events, [error("three")]);
    }

    #[test]
    fn a_client_that_is_too_far_behind_is_told_so_but_a_new_one_is_not() {
        let call = call();
        for n in 0..=MAX_EVENTS {
            call.push(0, error(&n.to_string()));
        }
        assert!(matches!(call.events_from(Some(0)).0, Missed::TooMany));
        let (Missed::Events(events, _), _) = call.events_from(None) else {
            panic!("behind");
        };
        assert_eq!(events.len(), MAX_EVENTS);
        assert_eq!(events[0], error("1"));
    }

    #[tokio::test]
    async fn whoever_waits_for_a_call_gets_it_whole() {
        let registry = Registry::default();
        let caller = Caller {
            from: Arc::from("100"),
            to: Arc::from("200"),
            client_id: None,
        };
        let arrives = async {
            let app = AppId::new("a");
            // Another one wakes those who wait, and is not theirs.
            registry.entry(id(2), &app, Direction::Incoming);
            tokio::task::yield_now().await;
            registry.prepared_entry(id(1), &app, Direction::Incoming, |call| {
                call.set_caller(caller);
            });
        };
        let (call, ()) = tokio::join!(registry.known(id(1)), arrives);
        assert_eq!(call.id, id(1));
        assert!(call.caller().is_some());
    }

    #[test]
    fn an_ended_call_is_kept_for_a_minute() {
        let registry = Registry::default();
        registry.entry(id(1), &AppId::new("a"), Direction::Incoming);
        registry.call_ended(id(1));
        let since = Instant::now();
        registry.forget_old(since + Duration::from_secs(59));
        assert!(registry.get(id(1)).is_some());
        registry.forget_old(since + Duration::from_secs(60));
        assert!(registry.get(id(1)).is_none());
        assert_eq!(registry.len(), 0);
    }

    #[test]
    fn the_oldest_of_too_many_ended_calls_goes_first() {
        let registry = Registry::default();
        for n in 0..=MAX_ENDED as u128 {
            registry.entry(id(n), &AppId::new("a"), Direction::Incoming);
            registry.call_ended(id(n));
        }
        assert!(registry.get(id(0)).is_none());
        assert!(registry.get(id(1)).is_some());
    }

    #[test]
    fn only_a_last_socket_that_stays_away_leaves_the_call_alone() {
        let call = call();
        assert!(call.socket_opened());
        assert!(call.socket_opened());
        assert_eq!(call.socket_closed(), None);
        let since = call.socket_closed().unwrap();
        assert!(call.still_alone(since));
        assert!(call.socket_opened());
        assert!(!call.still_alone(since));
    }

    #[test]
    fn sockets_per_call_are_bounded() {
        let call = call();
        for _ in 0..MAX_SOCKETS {
            assert!(call.socket_opened());
        }
        assert!(!call.socket_opened());
    }
}
