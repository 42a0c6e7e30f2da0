//! Posts a call's events, one after the other, each until the hook has taken
//! it or it is given up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::api::auth::unix_ms;
use crate::api::hook_answer;
use crate::api::registry::lock;
use crate::ids::CallId;
use crate::store::outbox::{self, Outcome, State};
use crate::store::{Quiet, StoreError};

use super::backlog::{Asker, Backlog, Item, Orders};
use super::breaker::{Admission, Change};
use super::keeper::read_on;
use super::post::{Attempt, Failure, FailureKind};
use super::target::without_secrets;
use super::{AppHooks, LAST_DELAY, OTHER_TARGETS, Shared, backoff, pause};

/// An event that fails as often once the gateway ends is left for the next
/// start.
const LAST_ATTEMPTS: u32 = 3;
/// An arrival is announced once it and the call's record are on the disk, or
/// after this time: a caller waits, and a slow disk must not keep calls out.
const ARRIVAL_PATIENCE: Duration = Duration::from_millis(250);

/// Whoever posts the events of one call.
pub struct Worker {
    shared: Arc<Shared>,
    app: Arc<AppHooks>,
    target: Arc<str>,
    call: CallId,
}

/// How posting an event has ended.
enum End {
    /// It is delivered or given up.
    Settled,
    /// The gateway ends; the next start goes on with it.
    Left,
}

impl Worker {
    /// Starts on a call's events.
    pub fn start(shared: &Arc<Shared>, app: &Arc<AppHooks>, target: &Arc<str>, call: CallId) {
        let worker = Worker {
            shared: shared.clone(),
            app: app.clone(),
            target: target.clone(),
            call,
        };
        tokio::spawn(worker.work());
    }

    fn with_backlog<T>(&self, change: impl FnOnce(&mut Backlog) -> T) -> T {
        let mut targets = lock(&self.app.targets);
        change(targets.entry(self.target.clone()).or_default())
    }

    async fn work(self) {
        while let Some((item, orders)) = self.with_backlog(|backlog| backlog.next(self.call)) {
            let end = tokio::select! {
                biased;
                // Whoever drops it has noted so.
                () = orders.drop.notified() => End::Settled,
                end = self.deliver(item, &orders) => end,
            };
            let reads = self.with_backlog(|backlog| {
                backlog.finished();
                self.shared.reads_on(backlog)
            });
            if reads {
                let (shared, app) = (self.shared.clone(), self.app.clone());
                tokio::spawn(read_on(shared, app, self.target.clone()));
            }
            match end {
                End::Settled => self.shared.settled(&self.app),
                End::Left => {
                    let left = self.with_backlog(|backlog| backlog.leave(self.call));
                    self.shared.leaves_memory(left + 1);
                    return;
                }
            }
            self.shared.leaves_memory(1);
        }
    }

    async fn deliver(&self, mut item: Item, orders: &Orders) -> End {
        if let Some(asker) = item.answer.take()
            && self.ask(&mut item, asker).await
        {
            return End::Settled;
        }
        self.make_sure_it_is_kept(&mut item).await;
        let mut last_attempts = 0;
        loop {
            let waited = async {
                self.pause_until(item.next_attempt_ms).await;
                self.pass_breaker(&item).await
            };
            let end = tokio::select! {
                biased;
                () = orders.try_now.notified() => self.force_breaker(),
                end = waited => end,
            };
            if let Some(end) = end {
                return end;
            }
            last_attempts += u32::from(self.shared.ending());
            let Ok(room) = self.app.posts.acquire().await else {
                return End::Left;
            };
            let attempt = self.attempt(&mut item).await;
            drop(room);
            if self.settles(&mut item, &attempt) {
                return End::Settled;
            }
            if item.kept && last_attempts >= LAST_ATTEMPTS {
                return End::Left;
            }
        }
    }

    /// Posts an arrival once, for its answer; whether that settles it.
    async fn ask(&self, item: &mut Item, mut asker: Asker) -> bool {
        if let Some(mut written) = item.written.take() {
            match tokio::time::timeout(ARRIVAL_PATIENCE, &mut written).await {
                Ok(outcome) => self.note_whether_kept(item, outcome),
                Err(_) => item.written = Some(written),
            }
        }
        let attempt = {
            let asking = async {
                match self.app.asks.acquire().await {
                    Ok(_room) => self.attempt(item).await,
                    Err(_) => Attempt::failed(FailureKind::Refused, "the gateway is ending"),
                }
            };
            tokio::select! {
                attempt = asking => Some(attempt),
                // The asker is gone once the time for an answer has passed.
                () = asker.closed() => None,
            }
        };
        let attempt = match attempt {
            Some(attempt) => attempt,
            None => {
                let late = Attempt::failed(FailureKind::Down, "no answer in time");
                item.attempts += 1;
                self.report(&late);
                late
            }
        };
        let answer = match &attempt.failure {
            None => {
                let asked_in = item.hook.content_type;
                hook_answer::read(&attempt.content_type, asked_in, &attempt.body)
            }
            Some(failure) => Err(failure.problem.clone()),
        };
        let _ = asker.send(answer);
        self.settles(item, &attempt)
    }

    /// Posts once, and tells counters and breaker.
    async fn attempt(&self, item: &mut Item) -> Attempt {
        let secret = lock(&self.app.secret).clone();
        let timeout = self.shared.settings().timeout;
        let attempt = self.shared.poster().post(item, &secret, timeout).await;
        item.attempts += 1;
        self.report(&attempt);
        attempt
    }

    fn report(&self, attempt: &Attempt) {
        self.shared.counters.hook_attempt(attempt.failure.is_none());
        let well = match &attempt.failure {
            None => true,
            Some(failure) => match failure.kind {
                FailureKind::Down => false,
                FailureKind::Refused => true,
                FailureKind::Forbidden => return,
            },
        };
        if &*self.target == OTHER_TARGETS {
            return;
        }
        let settings = self.shared.settings();
        let rest = |openings| backoff(&settings, openings, rand::random());
        let change = self.with_backlog(|backlog| {
            let change = backlog.breaker.report(well, Instant::now(), rest);
            if change.is_some() {
                backlog.changed.notify_waiters();
            }
            change
        });
        let (app, target) = (&self.app.id, &self.target);
        match change {
            Some(Change::Opened) => {
                self.shared.counters.hook_breaker_opened();
                let problem = attempt.failure.as_ref().map(|failure| &*failure.problem);
                tracing::warn!(%app, %target, problem, "a hook server is down: its events wait");
            }
            Some(Change::Closed) => tracing::info!(%app, %target, "a hook server is back"),
            Some(Change::Reopened) | None => {}
        }
    }

    /// Somebody wants an attempt now, also at a target that rests.
    fn force_breaker(&self) -> Option<End> {
        let patience = self.shared.settings().timeout * 2;
        self.with_backlog(|backlog| backlog.breaker.force(Instant::now(), patience));
        None
    }

    /// Waits until the target's breaker lets this event through; something, if
    /// that settles it.
    async fn pass_breaker(&self, item: &Item) -> Option<End> {
        if &*self.target == OTHER_TARGETS {
            return None;
        }
        // An attempt and the wait for room before it.
        let patience = self.shared.settings().timeout * 2;
        loop {
            let (admission, changed) = self.with_backlog(|backlog| {
                let admission = backlog.breaker.admit(Instant::now(), patience);
                (admission, backlog.changed.clone().notified_owned())
            });
            let Admission::Wait(until) = admission else {
                return None;
            };
            if item.kept && self.shared.ending() {
                return Some(End::Left);
            }
            let left_ms = item.expires_ms.saturating_sub(unix_ms());
            if left_ms == 0 {
                self.give_up(item, "expired", "its hook's server is down");
                return Some(End::Settled);
            }
            let expiry = tokio::time::sleep(Duration::from_millis(left_ms));
            let mut ending = self.shared.ending.subscribe();
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {}
                () = changed => {}
                () = expiry => {}
                () = async {
                    let _ = ending.wait_for(|ending| *ending).await;
                    tokio::time::sleep(LAST_DELAY).await;
                } => {}
            }
        }
    }

    /// Notes how an attempt went, and when to try again; whether the event is
    /// delivered or given up.
    fn settles(&self, item: &mut Item, attempt: &Attempt) -> bool {
        let now_ms = unix_ms();
        let outcome = Outcome {
            attempts: item.attempts,
            error: attempt.failure.as_ref().map(|f| f.problem.clone()),
            status: attempt.status,
            response: attempt.excerpt(),
            at_ms: now_ms,
        };
        let Some(Failure { problem, kind }) = &attempt.failure else {
            let taken_ms = now_ms.saturating_sub(item.created_ms);
            self.shared.counters.hook_latency(taken_ms);
            self.note(item, State::Delivered, outcome);
            return true;
        };
        if *kind == FailureKind::Forbidden {
            self.note(item, State::Dead, outcome);
            self.gave_up(item, "forbidden", problem);
            return true;
        }
        let (settings, attempts) = (self.shared.settings(), item.attempts);
        let delay = backoff(&settings, attempts.saturating_sub(1), rand::random());
        item.next_attempt_ms = now_ms + delay.as_millis() as u64;
        if item.next_attempt_ms > item.expires_ms {
            self.note(item, State::Dead, outcome);
            self.gave_up(item, "expired", problem);
            return true;
        }
        self.note(item, State::Pending, outcome);
        let retry_in_ms = delay.as_millis() as u64;
        let (call_id, hook) = (self.call, without_secrets(&item.hook.url));
        // Once per event is enough for the operator; giving up is told too.
        if attempts == 1 {
            tracing::warn!(%call_id, %hook, retry_in_ms, %problem, "a hook was not delivered");
        } else {
            tracing::debug!(%call_id, %hook, attempts, retry_in_ms, %problem, "nor was its retry");
        }
        false
    }

    /// Into the outbox. A note that is lost costs a repetition at most, under
    /// the same id.
    fn note(&self, item: &Item, state: State, outcome: Outcome) {
        let (seq, next_attempt_ms) = (item.seq, item.next_attempt_ms);
        self.write(move |db| outbox::attempted(db, seq, state, next_attempt_ms, &outcome));
    }

    /// Nobody waits for it: it is repeated by the next attempt, or at the next
    /// start.
    fn write(&self, change: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static) {
        let told = |outcome: Result<(), StoreError>| {
            if let Err(problem) = outcome {
                tracing::error!(%problem, "what became of a hook event is not written");
            }
        };
        self.shared.store.write_quietly(Quiet::new(change, told));
    }

    fn give_up(&self, item: &Item, reason: &'static str, problem: &'static str) {
        let (seq, now_ms) = (item.seq, unix_ms());
        self.write(move |db| outbox::give_up(db, seq, problem, now_ms).map(drop));
        self.gave_up(item, reason, problem);
    }

    fn gave_up(&self, item: &Item, reason: &'static str, problem: &str) {
        self.shared.counters.hook_given_up(reason);
        self.shared.dead.fetch_add(1, Ordering::SeqCst);
        let (call_id, hook) = (self.call, without_secrets(&item.hook.url));
        tracing::error!(%call_id, %hook, id = %item.id, %problem, "a hook event is given up");
    }

    /// Waits until the event is in the outbox. One that could not be written
    /// is posted all the same.
    async fn make_sure_it_is_kept(&self, item: &mut Item) {
        if let Some(written) = item.written.take() {
            let outcome = written.await;
            self.note_whether_kept(item, outcome);
        }
    }

    fn note_whether_kept(&self, item: &mut Item, outcome: Result<(), StoreError>) {
        if let Err(problem) = outcome {
            item.kept = false;
            self.shared.counters.hook_unkept();
            let call_id = self.call;
            tracing::error!(%call_id, %problem, "a hook event is in memory only");
        }
    }

    /// Waits until it is time for an attempt; once the gateway ends, not long.
    async fn pause_until(&self, next_attempt_ms: u64) {
        let delay = Duration::from_millis(next_attempt_ms.saturating_sub(unix_ms()));
        if delay.is_zero() {
            return;
        }
        pause(delay, &self.shared.ending).await;
    }
}
