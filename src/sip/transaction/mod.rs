//! Transactions (RFC 3261 section 17): the four state machines, each in a file
//! that reads like its figure, and the layer that runs them over UDP.

use std::time::Duration;

mod client;
pub mod client_invite;
pub mod client_non_invite;
mod derive;
mod key;
mod layer;
mod machine;
mod server;
pub mod server_invite;
pub mod server_non_invite;

pub use derive::{ack_of_failure, cancel_of};
pub use layer::{Failure, Full, Layer, RequestFor, ResponseFor, TransactionId};

/// What a state machine asks its surroundings to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send the message at hand: the request, or the response of the user.
    Send,
    /// Send the last message once more.
    SendAgain,
    /// Send an ACK for the 3xx to 6xx at hand (RFC 3261 section 17.1.1.3).
    Acknowledge,
    /// Hand the message at hand to the transaction's user.
    Deliver,
    /// Tell the user that no answer came.
    ReportTimeout,
    /// Tell the user that the transport failed.
    ReportTransportError,
    /// Start a timer with its first interval.
    Start(Timer),
    /// Start a retransmission timer with its interval doubled.
    Backoff(Timer),
    /// Start a retransmission timer with the interval T2.
    Slow(Timer),
    /// Stop a timer if it runs.
    Stop(Timer),
}

/// The timers of RFC 3261 table 4 and of RFC 6026.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// INVITE retransmission.
    A,
    /// INVITE without an answer.
    B,
    /// Wait for repeated failures of an INVITE.
    D,
    /// Request retransmission.
    E,
    /// Request without an answer.
    F,
    /// Failure retransmission.
    G,
    /// Failure without ACK.
    H,
    /// Wait for repeated ACKs.
    I,
    /// Wait for repeated requests.
    J,
    /// Wait for repeated responses.
    K,
    /// Wait for repeated INVITEs after a 2xx (RFC 6026).
    L,
    /// Wait for further 2xx (RFC 6026).
    M,
}

/// The intervals everything else is derived from (RFC 3261 section 17.1.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerSettings {
    /// Round-trip time estimate.
    pub t1: Duration,
    /// Longest interval between retransmissions of all but INVITE.
    pub t2: Duration,
    /// How long a message stays in the network.
    pub t4: Duration,
}

impl Default for TimerSettings {
    /// The RFC's values.
    fn default() -> Self {
        TimerSettings {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

/// Timer D is "at least 32 seconds for unreliable transports" (RFC 3261
/// section 17.1.1.2), whatever T1 is.
const TIMER_D_FLOOR: Duration = Duration::from_secs(32);

impl TimerSettings {
    /// How long one side waits for the other before it gives up: 64*T1.
    pub fn give_up(&self) -> Duration {
        self.t1 * 64
    }

    /// First interval of a timer over an unreliable transport (table 4).
    pub fn first(&self, timer: Timer) -> Duration {
        match timer {
            Timer::A | Timer::E | Timer::G => self.t1,
            Timer::B | Timer::F | Timer::H | Timer::J | Timer::L | Timer::M => self.give_up(),
            Timer::D => self.give_up().max(TIMER_D_FLOOR),
            Timer::I | Timer::K => self.t4,
        }
    }

    /// Interval of a retransmission timer after one of `last`: doubled, and
    /// but for INVITE no longer than T2 (sections 17.1.1.2, 17.1.2.2, 17.2.1).
    pub fn backoff(&self, timer: Timer, last: Duration) -> Duration {
        match timer {
            Timer::A => last * 2,
            _ => (last * 2).min(self.t2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_intervals_are_those_of_table_4() {
        let settings = TimerSettings::default();
        let seconds = |timer| settings.first(timer).as_secs_f32();
        for timer in [Timer::A, Timer::E, Timer::G] {
            assert_eq!(seconds(timer), 0.5, "{timer:?}");
        }
        for timer in [Timer::B, Timer::D, Timer::F, Timer::H, Timer::J] {
            assert_eq!(seconds(timer), 32.0, "{timer:?}");
        }
        for timer in [Timer::L, Timer::M] {
            assert_eq!(seconds(timer), 32.0, "{timer:?}");
        }
        for timer in [Timer::I, Timer::K] {
            assert_eq!(seconds(timer), 5.0, "{timer:?}");
        }
    }

    #[test]
    fn timer_d_does_not_shrink_with_t1() {
        let settings = TimerSettings {
            t1: Duration::from_millis(100),
            ..TimerSettings::default()
        };
        assert_eq!(settings.first(Timer::D), TIMER_D_FLOOR);
    }

    #[test]
    fn only_timer_a_doubles_past_t2() {
        let settings = TimerSettings::default();
        let last = Duration::from_secs(3);
        assert_eq!(settings.backoff(Timer::A, last), Duration::from_secs(6));
        assert_eq!(settings.backoff(Timer::E, last), Duration::from_secs(4));
        assert_eq!(settings.backoff(Timer::G, last), Duration::from_secs(4));
    }
}
