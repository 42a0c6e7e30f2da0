//! How many calls there may be at a time and how many may begin in a second:
//! in all, per app and per number. One [`Limits`] is shared by all shards, so
//! that the counts hold wherever a call is placed; it is asked once a call.
//!
//! A rate is a token bucket: after a quiet second as many calls as the limit
//! says may begin at once, and on average no more do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::book::{CallLimits, Number, comparable};
use crate::ids::AppId;

/// Idle entries are looked for when the table has grown to this.
const FIRST_SWEEP: usize = 1_024;

/// The limits that the configuration sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitSettings {
    /// Of all calls together.
    pub all: CallLimits,
    /// Of each app that has none of its own.
    pub per_app: CallLimits,
    /// Of each number that has none of its own.
    pub per_number: CallLimits,
}

/// Whose limit it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitScope {
    /// The gateway's.
    All,
    /// An app's.
    App(AppId),
    /// A number's.
    Number(String),
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// Calls at a time.
    Calls,
    /// Calls that begin in a second.
    CallRate,
}

/// One call more than a limit allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitExceeded {
    /// Whose limit.
    pub scope: LimitScope,
    /// What is limited.
    pub kind: LimitKind,
    /// Its value.
    pub limit: u32,
}

impl LimitExceeded {
    /// What a caller is told. A number that has its calls is busy (486, RFC
    /// 3261 section 21.4.24), which leaves the caller's other numbers alone; an
    /// app or a gateway that has them is unavailable for a while (503).
    pub fn sip_code(&self) -> u16 {
        match (&self.scope, self.kind) {
            (LimitScope::Number(_), LimitKind::Calls) => 486,
            _ => 503,
        }
    }

    /// The metric's label.
    pub fn label(&self) -> &'static str {
        match (&self.scope, self.kind) {
            (LimitScope::All, LimitKind::Calls) => "too_many_calls",
            (LimitScope::All, LimitKind::CallRate) => "call_rate",
            (LimitScope::App(_), LimitKind::Calls) => "app_too_many_calls",
            (LimitScope::App(_), LimitKind::CallRate) => "app_call_rate",
            (LimitScope::Number(_), LimitKind::Calls) => "number_too_many_calls",
            (LimitScope::Number(_), LimitKind::CallRate) => "number_call_rate",
        }
    }
}

impl std::fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.scope {
            LimitScope::All => f.write_str("the gateway")?,
            LimitScope::App(app) => write!(f, "app {app}")?,
            LimitScope::Number(number) => write!(f, "number {number}")?,
        }
        match self.kind {
            LimitKind::Calls => write!(f, " has {} calls at a time (max_calls)", self.limit),
            LimitKind::CallRate => write!(
                f,
                " begins {} calls per second (max_calls_per_second)",
                self.limit
            ),
        }
    }
}

/// The counts.
#[derive(Debug)]
pub struct Limits {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    settings: LimitSettings,
    counts: HashMap<LimitScope, Count>,
    sweep_at: usize,
}

#[derive(Debug)]
struct Count {
    alive: u32,
    /// Calls that may begin now; `None` until the first is limited.
    tokens: Option<(f64, Instant)>,
}

/// A call that counts, for as long as this lives.
#[derive(Debug)]
pub struct Permit {
    limits: Arc<Limits>,
    scopes: Vec<LimitScope>,
}

impl Limits {
    /// Nothing counted yet.
    pub fn new(settings: LimitSettings) -> Arc<Self> {
        Arc::new(Limits {
            table: Mutex::new(Table {
                settings,
                ..Table::default()
            }),
        })
    }

    /// From now on these count. Calls that are there go on counting, also past
    /// a lower limit: it refuses new ones until enough have ended.
    pub fn use_settings(&self, settings: LimitSettings) {
        self.lock().settings = settings;
    }

    /// One more call of this app, and of this number where it is one of the
    /// book. `app_limits` are the app's own.
    pub fn take(
        self: &Arc<Self>,
        now: Instant,
        app: &AppId,
        app_limits: CallLimits,
        number: Option<&Number>,
    ) -> Result<Permit, LimitExceeded> {
        let mut table = self.lock();
        table.sweep(now);
        let wanted = table.wanted(app, app_limits, number);
        // Nothing is taken before all allow it.
        table.check_all(now, &wanted)?;
        let mut scopes = Vec::with_capacity(wanted.len());
        for (scope, limits) in wanted {
            table.count(now, &scope, limits);
            scopes.push(scope);
        }
        drop(table);
        Ok(Permit {
            limits: self.clone(),
            scopes,
        })
    }

    /// Which limit would refuse one more such call, as [`Limits::take`] would;
    /// nothing is counted.
    pub fn would_exceed(
        &self,
        now: Instant,
        app: &AppId,
        app_limits: CallLimits,
        number: Option<&Number>,
    ) -> Option<LimitExceeded> {
        let table = self.lock();
        let wanted = table.wanted(app, app_limits, number);
        table.check_all(now, &wanted).err()
    }

    /// A lock whose holder panicked still guards whole data: every change
    /// under it is a single step.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut table = self.limits.lock();
        for scope in &self.scopes {
            if let Some(count) = table.counts.get_mut(scope) {
                count.alive = count.alive.saturating_sub(1);
            }
        }
    }
}

impl Table {
    /// What a call counts for, and what is allowed there.
    fn wanted(
        &self,
        app: &AppId,
        app_limits: CallLimits,
        number: Option<&Number>,
    ) -> Vec<(LimitScope, CallLimits)> {
        let of_app = app_limits.or(self.settings.per_app);
        let mut wanted = vec![
            (LimitScope::All, self.settings.all),
            (LimitScope::App(app.clone()), of_app),
        ];
        if let Some(number) = number {
            let scope = LimitScope::Number(comparable(&number.number));
            wanted.push((scope, number.limits.or(self.settings.per_number)));
        }
        wanted
    }

    /// The number first: what is said is the nearest limit.
    fn check_all(
        &self,
        now: Instant,
        wanted: &[(LimitScope, CallLimits)],
    ) -> Result<(), LimitExceeded> {
        let mut wanted = wanted.iter().rev();
        wanted.try_for_each(|(scope, limits)| self.check(now, scope, *limits))
    }

    fn check(
        &self,
        now: Instant,
        scope: &LimitScope,
        limits: CallLimits,
    ) -> Result<(), LimitExceeded> {
        let Some(count) = self.counts.get(scope) else {
            return Ok(());
        };
        let exceeded = |kind, limit| LimitExceeded {
            scope: scope.clone(),
            kind,
            limit,
        };
        match limits.max_calls {
            Some(limit) if count.alive >= limit => return Err(exceeded(LimitKind::Calls, limit)),
            Some(_) | None => {}
        }
        match limits.max_calls_per_second {
            Some(limit) if count.tokens(now, limit) < 1.0 => {
                Err(exceeded(LimitKind::CallRate, limit))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn count(&mut self, now: Instant, scope: &LimitScope, limits: CallLimits) {
        let count = self.counts.entry(scope.clone()).or_insert(Count {
            alive: 0,
            tokens: None,
        });
        count.alive += 1;
        count.tokens = limits
            .max_calls_per_second
            .map(|limit| (count.tokens(now, limit) - 1.0, now));
    }

    /// Forgets who has no call and begins none, now and then.
    fn sweep(&mut self, now: Instant) {
        if self.counts.len() < self.sweep_at.max(FIRST_SWEEP) {
            return;
        }
        self.counts.retain(|_, count| {
            let is_refilled = count
                .tokens
                .is_none_or(|(_, at)| now.saturating_duration_since(at).as_secs() >= 1);
            count.alive > 0 || !is_refilled
        });
        self.sweep_at = self.counts.len() * 2;
    }
}

impl Count {
    /// How many may begin at `now` under this limit per second.
    fn tokens(&self, now: Instant, limit: u32) -> f64 {
        let limit = f64::from(limit);
        match self.tokens {
            None => limit,
            Some((left, at)) => {
                let elapsed = now.saturating_duration_since(at).as_secs_f64();
                (left + elapsed * limit).min(limit)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits(calls: Option<u32>, rate: Option<u32>) -> CallLimits {
        CallLimits {
            max_calls: calls,
            max_calls_per_second: rate,
        }
    }

    fn number(text: &str, own: CallLimits) -> Number {
        Number {
            limits: own,
            ..Number::named(text, AppId::new("a"))
        }
    }

    #[test]
    fn calls_at_a_time_count_until_they_end() {
        let all = LimitSettings {
            all: limits(Some(2), None),
            ..LimitSettings::default()
        };
        let limits = Limits::new(all);
        let now = Instant::now();
        let take = |app: &str| limits.take(now, &AppId::new(app), CallLimits::default(), None);
        let first = take("a").unwrap();
        let _second = take("b").unwrap();
        let exceeded = take("a").unwrap_err();
        assert_eq!(exceeded.label(), "too_many_calls");
        assert_eq!(
            exceeded.to_string(),
            "the gateway has 2 calls at a time (max_calls)"
        );
        drop(first);
        assert!(take("a").is_ok());
    }

    #[test]
    fn a_rate_lets_a_burst_through_and_then_keeps_its_pace() {
        let settings = LimitSettings {
            per_app: limits(None, Some(4)),
            ..LimitSettings::default()
        };
        let limits = Limits::new(settings);
        let start = Instant::now();
        let begins = |ms: u64| {
            let now = start + Duration::from_millis(ms);
            limits
                .take(now, &AppId::new("a"), CallLimits::default(), None)
                .is_ok()
        };
        let begun: Vec<bool> = [0, 0, 0, 0, 0, 200, 250, 260, 500, 500]
            .into_iter()
            .map(begins)
            .collect();
        assert_eq!(
            begun,
            [
                true, true, true, true, false, false, true, false, true, false
            ]
        );
    }

    #[test]
    fn what_a_number_and_an_app_have_of_their_own_wins() {
        let settings = LimitSettings {
            per_app: limits(Some(1), None),
            per_number: limits(Some(1), None),
            ..LimitSettings::default()
        };
        let book = Limits::new(settings);
        let now = Instant::now();
        let wide = limits(Some(3), None);
        let app = AppId::new("a");
        let own = number("+49 30", limits(Some(2), None));
        let default = number("50", CallLimits::default());
        let _one = book.take(now, &app, wide, Some(&own)).unwrap();
        let _two = book.take(now, &app, wide, Some(&own)).unwrap();
        let third = book.take(now, &app, wide, Some(&own)).unwrap_err();
        assert_eq!(third.scope, LimitScope::Number("4930".to_string()));
        assert_eq!(third.limit, 2);
        let _three = book.take(now, &app, wide, Some(&default)).unwrap();
        let fourth = book
            .take(now, &app, wide, Some(&number("60", CallLimits::default())))
            .unwrap_err();
        assert_eq!(fourth.label(), "app_too_many_calls");
    }

    #[test]
    fn a_call_that_one_limit_refuses_counts_nowhere() {
        let settings = LimitSettings {
            all: limits(Some(1), None),
            per_app: limits(Some(1), None),
            ..LimitSettings::default()
        };
        let book = Limits::new(settings);
        let now = Instant::now();
        let take = |app: &str| book.take(now, &AppId::new(app), CallLimits::default(), None);
        let first = take("a").unwrap();
        assert!(take("b").is_err());
        drop(first);
        assert!(take("b").is_ok());
    }

    #[test]
    fn a_limit_that_changes_finds_the_calls_that_are_there() {
        let of_calls = |calls| LimitSettings {
            per_app: limits(calls, None),
            ..LimitSettings::default()
        };
        let book = Limits::new(of_calls(None));
        let now = Instant::now();
        let app = AppId::new("a");
        let take = || book.take(now, &app, CallLimits::default(), None);
        let would = || book.would_exceed(now, &app, CallLimits::default(), None);
        let (first, second, third) = (take().unwrap(), take().unwrap(), take().unwrap());
        book.use_settings(of_calls(Some(2)));
        assert_eq!(would().map(|exceeded| exceeded.limit), Some(2));
        drop(first);
        assert!(take().is_err());
        drop(second);
        assert_eq!(would(), None);
        let _fourth = take().unwrap();
        assert!(take().is_err());
        book.use_settings(of_calls(Some(3)));
        let _fifth = take().unwrap();
        assert!(take().is_err());
        drop(third);
        assert!(take().is_ok());
    }

    #[test]
    fn a_rate_that_changes_begins_with_what_is_left_of_the_old_one() {
        let of_rate = |rate| LimitSettings {
            all: limits(None, rate),
            ..LimitSettings::default()
        };
        let book = Limits::new(of_rate(Some(10)));
        let now = Instant::now();
        let app = AppId::new("a");
        let begins = |at| book.take(at, &app, CallLimits::default(), None).is_ok();
        assert!((0..10).all(|_| begins(now)) && !begins(now));
        book.use_settings(of_rate(Some(100)));
        assert!(!begins(now));
        let soon = now + Duration::from_millis(50);
        assert_eq!((0..10).filter(|_| begins(soon)).count(), 5);
        book.use_settings(of_rate(None));
        assert!((0..1_000).all(|_| begins(soon)));
    }

    #[test]
    fn who_has_no_calls_is_forgotten() {
        let book = Limits::new(LimitSettings::default());
        let start = Instant::now();
        for n in 0..5_000u64 {
            let app = AppId::new(&n.to_string());
            let now = start + Duration::from_secs(n);
            drop(book.take(now, &app, limits(None, Some(1)), None).unwrap());
        }
        assert!(book.lock().counts.len() <= FIRST_SWEEP + 1);
    }
}
