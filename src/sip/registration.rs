//! One registration as its client sees it (RFC 3261 section 10.2): when to send
//! a REGISTER, asking for how long, and what each answer means. Messages and
//! digests are the agent's; this is handed the time and a random number.

use std::time::{Duration, Instant};

use super::status::StatusCode;

/// How long we ask for at first.
const EXPIRES: Duration = Duration::from_secs(3_600);
/// More than this is not asked for, whatever a 423 wants.
const LONGEST_EXPIRES: Duration = Duration::from_secs(7 * 86_400);
/// A refresh is due when this much of the granted time is over; up to this
/// much earlier, so that what was registered together is not refreshed
/// together. The rest is for refreshes that fail.
const REFRESH_AT: f64 = 0.85;
const REFRESH_JITTER: f64 = 0.1;
/// Before the first retry; doubles with each (RFC 5626 section 4.5).
const FIRST_RETRY: Duration = Duration::from_secs(4);
/// The same where the registrar does not want us: many ban who is wrong often.
const FIRST_RETRY_REFUSED: Duration = Duration::from_secs(60);
/// Between retries at most, unless a Retry-After wants more.
const LONGEST_RETRY: Duration = Duration::from_secs(1_800);
/// A longer Retry-After is not believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// A final answer to a REGISTER, or what stands for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Its code; 408 where none came, 503 where it could not be sent (RFC 3261
    /// section 8.1.3.1).
    pub code: u16,
    /// Seconds granted to our Contact: its `expires`, else Expires (section
    /// 10.2.4); as asked where neither is there.
    pub expires: Option<u32>,
    /// Min-Expires, in seconds (section 20.23).
    pub min_expires: Option<u32>,
    /// Retry-After, in seconds (section 20.33).
    pub retry_after: Option<u32>,
}

/// How a registration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nothing has come back yet.
    Trying,
    /// The registrar knows us.
    Registered,
    /// The registrar does not know us, or not any more.
    Failed,
    /// It is being given up.
    Leaving,
}

impl Standing {
    /// All of them.
    pub const ALL: [Standing; 4] = [
        Standing::Trying,
        Standing::Registered,
        Standing::Failed,
        Standing::Leaving,
    ];

    /// The word of API and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Standing::Trying => "trying",
            Standing::Registered => "registered",
            Standing::Failed => "failed",
            Standing::Leaving => "leaving",
        }
    }
}

/// The client of one registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// What the next REGISTER asks for.
    expires: Duration,
    /// Until when the registrar knows us, as far as it has said.
    until: Option<Instant>,
    /// When a REGISTER is due; none while one is under way.
    due: Option<Instant>,
    /// Tries in a row that failed.
    failures: u32,
    last_code: Option<u16>,
    leaving: bool,
}

impl Registration {
    /// The first REGISTER is due at `first`.
    pub fn new(first: Instant) -> Self {
        Registration {
            expires: EXPIRES,
            until: None,
            due: Some(first),
            failures: 0,
            last_code: None,
            leaving: false,
        }
    }

    /// When a REGISTER is due; none while one is under way, and none any more
    /// once it is given up.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Until when the registrar knows us.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The code of the last answer.
    pub fn last_code(&self) -> Option<u16> {
        self.last_code
    }

    /// How it stands.
    pub fn standing(&self, now: Instant) -> Standing {
        match (self.leaving, self.until, self.last_code) {
            (true, _, _) => Standing::Leaving,
            (false, Some(until), _) if until > now => Standing::Registered,
            (false, None, None) => Standing::Trying,
            (false, _, _) => Standing::Failed,
        }
    }

    /// A REGISTER is sent; for how many seconds it asks. Zero gives the
    /// registration up (RFC 3261 section 10.2.2).
    pub fn sent(&mut self) -> u32 {
        self.due = None;
        match self.leaving {
            true => 0,
            false => self.expires.as_secs() as u32,
        }
    }

    /// From now on it is not wanted. True where the registrar has to be told:
    /// at once, or once the answer that is under way has come.
    pub fn leave(&mut self, now: Instant) -> bool {
        let under_way = self.due.is_none();
        let known = self.until.is_some_and(|until| until > now);
        if self.leaving {
            return true;
        }
        self.leaving = true;
        if !under_way {
            self.due = known.then_some(now);
        }
        known || under_way
    }

    /// A final answer came, to a REGISTER that asked for `asked` seconds;
    /// `random` is from 0 up to 1. False when the registration is over: it was
    /// given up, and the registrar has answered.
    pub fn answered(&mut self, now: Instant, asked: u32, answer: Answer, random: f64) -> bool {
        self.last_code = Some(answer.code);
        if self.leaving {
            let accepted = (200..300).contains(&answer.code);
            // One that asked for time was under way when it was given up.
            if asked > 0 && accepted {
                self.due = Some(now);
                return true;
            }
            // Whatever it says to giving up: it runs out by itself.
            return false;
        }
        match answer.code {
            200..300 => self.granted(now, answer.expires.unwrap_or(asked), random),
            // RFC 3261 section 10.2.8: once more, for as long as it wants.
            423 => match answer.min_expires.map(u64::from).map(Duration::from_secs) {
                Some(least) if least > self.expires && least <= LONGEST_EXPIRES => {
                    self.expires = least;
                    self.due = Some(now);
                }
                Some(_) | None => self.retry(now, answer, random),
            },
            _ => self.retry(now, answer, random),
        }
        true
    }

    fn granted(&mut self, now: Instant, seconds: u32, random: f64) {
        if seconds == 0 {
            let refused = Answer {
                code: StatusCode::OK.code(),
                expires: None,
                min_expires: None,
                retry_after: None,
            };
            self.until = None;
            return self.retry(now, refused, random);
        }
        self.failures = 0;
        let granted = Duration::from_secs(seconds.into()).min(LONGEST_EXPIRES);
        self.until = Some(now + granted);
        self.due = Some(now + granted.mul_f64(REFRESH_AT - REFRESH_JITTER * random));
    }

    /// RFC 5626 section 4.5: twice as long each time, half of it random. What
    /// the registrar asks for is the least (RFC 3261 section 21.5.4).
    fn retry(&mut self, now: Instant, answer: Answer, random: f64) {
        if is_refusal(answer.code) {
            // It says so itself: it does not know us.
            self.until = None;
        }
        let first = match is_refusal(answer.code) {
            true => FIRST_RETRY_REFUSED,
            false => FIRST_RETRY,
        };
        let doubled = first.saturating_mul(2_u32.saturating_pow(self.failures));
        let wait = doubled.min(LONGEST_RETRY).mul_f64(0.5 + random / 2.0);
        let asked = Duration::from_secs(answer.retry_after.unwrap_or(0).into());
        self.failures = self.failures.saturating_add(1);
        self.due = Some(now + wait.max(asked.min(LONGEST_RETRY_AFTER)));
    }
}

/// Whether the registrar does not want us, rather than not just now.
fn is_refusal(code: u16) -> bool {
    matches!(code, 400 | 401..=407 | 410 | 416 | 420 | 485 | 600..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(code: u16) -> Answer {
        Answer {
            code,
            expires: None,
            min_expires: None,
            retry_after: None,
        }
    }

    /// Sends what is due, has it answered, and tells after how many seconds
    /// the next one is due.
    fn step(registration: &mut Registration, answer: Answer, random: f64) -> f64 {
        let now = registration.due().expect("a REGISTER is due");
        let asked = registration.sent();
        assert!(registration.answered(now, asked, answer, random));
        let next = registration.due().expect("another is due");
        (next - now).as_secs_f64()
    }

    fn granted(expires: u32) -> Answer {
        Answer {
            expires: Some(expires),
            ..code(200)
        }
    }

    #[test]
    fn it_is_refreshed_before_what_was_granted_is_over() {
        let start = Instant::now();
        let mut registration = Registration::new(start);
        assert_eq!(registration.standing(start), Standing::Trying);
        assert_eq!(registration.sent(), 3_600);
        assert_eq!(registration.due(), None);
        assert!(registration.answered(start, 3_600, granted(600), 0.0));
        assert_eq!(registration.standing(start), Standing::Registered);
        assert_eq!(registration.until(), Some(start + Duration::from_secs(600)));
        assert_eq!(registration.due(), Some(start + Duration::from_secs(510)));
        assert_eq!(step(&mut registration, granted(600), 0.5), 480.0);
        // A registrar that says nothing grants what was asked for.
        assert_eq!(step(&mut registration, code(200), 0.0), 3_060.0);
    }

    #[test]
    fn a_registrar_that_wants_longer_gets_it_at_once_and_from_then_on() {
        let mut registration = Registration::new(Instant::now());
        let brief = |seconds| Answer {
            min_expires: Some(seconds),
            ..code(423)
        };
        assert_eq!(step(&mut registration, brief(7_200), 0.0), 0.0);
        assert_eq!(registration.sent(), 7_200);
        // The same wish again is no reason to ask again at once.
        let now = Instant::now();
        assert!(registration.answered(now, 7_200, brief(7_200), 0.0));
        assert_eq!(registration.due(), Some(now + Duration::from_secs(2)));
        assert_eq!(step(&mut registration, code(423), 0.0), 4.0);
    }

    #[test]
    fn failures_wait_ever_longer_and_a_success_forgets_them() {
        let mut registration = Registration::new(Instant::now());
        let waits: Vec<f64> = (0..12)
            .map(|_| step(&mut registration, code(408), 1.0))
            .collect();
        assert_eq!(waits[..5], [4.0, 8.0, 16.0, 32.0, 64.0]);
        assert_eq!(waits[11], 1_800.0);
        assert_eq!(step(&mut registration, code(408), 0.0), 900.0);
        assert_eq!(step(&mut registration, granted(100), 0.0), 85.0);
        assert_eq!(step(&mut registration, code(500), 0.0), 2.0);
    }

    #[test]
    fn a_retry_after_is_the_least_and_has_an_end() {
        let mut registration = Registration::new(Instant::now());
        let later = |seconds| Answer {
            retry_after: Some(seconds),
            ..code(503)
        };
        assert_eq!(step(&mut registration, later(300), 0.0), 300.0);
        assert_eq!(step(&mut registration, later(1), 0.0), 4.0);
        assert_eq!(step(&mut registration, later(u32::MAX), 0.0), 86_400.0);
    }

    #[test]
    fn a_refresh_that_fails_leaves_it_registered_until_its_time_is_over() {
        let start = Instant::now();
        let mut registration = Registration::new(start);
        step(&mut registration, granted(60), 0.0);
        step(&mut registration, code(408), 0.0);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(registration.standing(at(55)), Standing::Registered);
        assert_eq!(registration.standing(at(60)), Standing::Failed);
        assert_eq!(registration.last_code(), Some(408));
    }

    #[test]
    fn a_refusal_ends_it_at_once_and_is_not_repeated_soon() {
        for refusal in [401, 403, 404, 407] {
            let mut registration = Registration::new(Instant::now());
            step(&mut registration, granted(3_600), 0.0);
            assert_eq!(step(&mut registration, code(refusal), 0.0), 30.0);
            assert_eq!(registration.standing(Instant::now()), Standing::Failed);
        }
    }

    #[test]
    fn no_time_granted_is_no_registration() {
        let start = Instant::now();
        let mut registration = Registration::new(start);
        assert_eq!(step(&mut registration, granted(0), 0.0), 2.0);
        assert_eq!(registration.standing(start), Standing::Failed);
    }

    #[test]
    fn given_up_it_asks_for_zero_seconds_once() {
        let start = Instant::now();
        let mut registration = Registration::new(start);
        step(&mut registration, granted(600), 0.0);
        assert!(registration.leave(start));
        assert_eq!(registration.standing(start), Standing::Leaving);
        assert_eq!(registration.due(), Some(start));
        assert_eq!(registration.sent(), 0);
        assert!(!registration.answered(start, 0, code(200), 0.0));
    }

    #[test]
    fn given_up_while_a_register_is_under_way_it_waits_for_its_answer() {
        let start = Instant::now();
        let mut registration = Registration::new(start);
        registration.sent();
        assert!(registration.leave(start));
        assert_eq!(registration.due(), None);
        assert!(registration.answered(start, 3_600, granted(600), 0.0));
        assert_eq!(registration.due(), Some(start));
        assert_eq!(registration.sent(), 0);
        assert!(!registration.answered(start, 0, code(408), 0.0));
    }

    #[test]
    fn who_is_not_registered_has_nothing_to_give_up() {
        let start = Instant::now();
        let mut registration = Registration::new(start);
        step(&mut registration, code(403), 0.0);
        assert!(!registration.leave(start));
        assert_eq!(registration.due(), None);
    }
}
