//! INVITE client transaction: RFC 3261 section 17.1.1, figure 5, with the
//! Accepted state of RFC 6026 section 7.2.

use super::{Action, Timer};

/// Where the transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// INVITE sent, nothing heard.
    Calling,
    /// A 1xx came.
    Proceeding,
    /// A 3xx to 6xx came and was acknowledged; repeated ones are again.
    Completed,
    /// A 2xx came; further ones, of forks too, go to the user.
    Accepted,
    /// Over.
    Terminated,
}

/// What may happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// A 1xx.
    Provisional,
    /// A 2xx.
    Success,
    /// A 3xx to 6xx.
    Failure,
    /// Time to send the INVITE again.
    TimerA,
    /// No answer at all.
    TimerB,
    /// No more repeated 3xx to 6xx are expected.
    TimerD,
    /// No more 2xx are expected.
    TimerM,
    /// The request could not be sent.
    TransportError,
}

/// The first step: "INVITE from TU" of figure 5.
pub const START: (State, &[Action]) = (
    State::Calling,
    &[
        Action::Send,
        Action::Start(Timer::A),
        Action::Start(Timer::B),
    ],
);

/// One transition of figure 5.
pub fn step(state: State, input: Input) -> (State, &'static [Action]) {
    use Action::{
        Acknowledge, Backoff, Deliver, ReportTimeout, ReportTransportError, SendAgain, Start, Stop,
    };
    use Input::{Failure, Provisional, Success, TimerA, TimerB, TimerD, TimerM, TransportError};
    use State::{Accepted, Calling, Completed, Proceeding, Terminated};
    match (state, input) {
        // RFC 3261 section 17.1.1.2.
        (Calling, TimerA) => (Calling, &[SendAgain, Backoff(Timer::A)]),
        (Calling, TimerB) => (Terminated, &[ReportTimeout]),
        (Calling, TransportError) => (Terminated, &[ReportTransportError]),
        (Calling, Provisional) => (Proceeding, &[Stop(Timer::A), Stop(Timer::B), Deliver]),
        (Calling | Proceeding, Failure) => (
            Completed,
            &[
                Stop(Timer::A),
                Stop(Timer::B),
                Acknowledge,
                Start(Timer::D),
                Deliver,
            ],
        ),
        // RFC 6026 section 7.2, replacing the way from 2xx to Terminated.
        (Calling | Proceeding, Success) => (
            Accepted,
            &[Stop(Timer::A), Stop(Timer::B), Start(Timer::M), Deliver],
        ),
        (Proceeding, Provisional) => (Proceeding, &[Deliver]),
        (Completed, Failure) => (Completed, &[Acknowledge]),
        (Completed, TimerD) => (Terminated, &[]),
        (Completed, TransportError) => (Terminated, &[ReportTransportError]),
        // RFC 6026 section 7.2.
        (Accepted, Success) => (Accepted, &[Deliver]),
        (Accepted, TimerM) => (Terminated, &[]),
        // What the figure has no arrow for changes nothing.
        (Calling, TimerD | TimerM)
        | (Proceeding, TimerA | TimerB | TimerD | TimerM | TransportError)
        | (Completed, Provisional | Success | TimerA | TimerB | TimerM)
        | (Accepted, Provisional | Failure | TimerA | TimerB | TimerD | TransportError)
        | (Terminated, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: State, input: Input, next: State, actions: &[Action]) {
        assert_eq!(step(state, input), (next, actions), "{state:?} {input:?}");
    }

    #[test]
    fn an_invite_is_sent_and_timers_a_and_b_start_17_1_1_2() {
        assert_eq!(START.0, State::Calling);
        assert_eq!(
            START.1,
            [
                Action::Send,
                Action::Start(Timer::A),
                Action::Start(Timer::B)
            ]
        );
    }

    #[test]
    fn calling_sends_again_with_doubled_timer_a_17_1_1_2() {
        row(
            State::Calling,
            Input::TimerA,
            State::Calling,
            &[Action::SendAgain, Action::Backoff(Timer::A)],
        );
    }

    #[test]
    fn calling_times_out_with_timer_b_17_1_1_2() {
        row(
            State::Calling,
            Input::TimerB,
            State::Terminated,
            &[Action::ReportTimeout],
        );
    }

    #[test]
    fn calling_ends_with_a_transport_error_17_1_4() {
        row(
            State::Calling,
            Input::TransportError,
            State::Terminated,
            &[Action::ReportTransportError],
        );
    }

    #[test]
    fn calling_proceeds_with_a_1xx_and_stops_retransmitting_17_1_1_2() {
        row(
            State::Calling,
            Input::Provisional,
            State::Proceeding,
            &[
                Action::Stop(Timer::A),
                Action::Stop(Timer::B),
                Action::Deliver,
            ],
        );
    }

    #[test]
    fn proceeding_hands_every_1xx_up_17_1_1_2() {
        row(
            State::Proceeding,
            Input::Provisional,
            State::Proceeding,
            &[Action::Deliver],
        );
    }

    #[test]
    fn a_2xx_moves_calling_and_proceeding_to_accepted_rfc_6026_7_2() {
        for state in [State::Calling, State::Proceeding] {
            row(
                state,
                Input::Success,
                State::Accepted,
                &[
                    Action::Stop(Timer::A),
                    Action::Stop(Timer::B),
                    Action::Start(Timer::M),
                    Action::Deliver,
                ],
            );
        }
    }

    #[test]
    fn a_failure_is_acknowledged_and_handed_up_17_1_1_2() {
        for state in [State::Calling, State::Proceeding] {
            row(
                state,
                Input::Failure,
                State::Completed,
                &[
                    Action::Stop(Timer::A),
                    Action::Stop(Timer::B),
                    Action::Acknowledge,
                    Action::Start(Timer::D),
                    Action::Deliver,
                ],
            );
        }
    }

    #[test]
    fn completed_acknowledges_a_repeated_failure_and_hands_nothing_up_17_1_1_2() {
        row(
            State::Completed,
            Input::Failure,
            State::Completed,
            &[Action::Acknowledge],
        );
    }

    #[test]
    fn completed_ends_with_timer_d_17_1_1_2() {
        row(State::Completed, Input::TimerD, State::Terminated, &[]);
    }

    #[test]
    fn completed_ends_when_the_ack_cannot_be_sent_17_1_1_2() {
        row(
            State::Completed,
            Input::TransportError,
            State::Terminated,
            &[Action::ReportTransportError],
        );
    }

    #[test]
    fn accepted_hands_every_further_2xx_up_rfc_6026_7_2() {
        row(
            State::Accepted,
            Input::Success,
            State::Accepted,
            &[Action::Deliver],
        );
    }

    #[test]
    fn accepted_ends_with_timer_m_rfc_6026_7_2() {
        row(State::Accepted, Input::TimerM, State::Terminated, &[]);
    }

    #[test]
    fn a_failure_after_a_2xx_and_a_2xx_after_a_failure_change_nothing() {
        row(State::Accepted, Input::Failure, State::Accepted, &[]);
        row(State::Completed, Input::Success, State::Completed, &[]);
        row(State::Accepted, Input::Provisional, State::Accepted, &[]);
        row(State::Completed, Input::Provisional, State::Completed, &[]);
    }

    #[test]
    fn nothing_happens_after_the_end() {
        for input in [
            Input::Provisional,
            Input::Success,
            Input::Failure,
            Input::TimerA,
            Input::TimerB,
            Input::TimerD,
            Input::TimerM,
            Input::TransportError,
        ] {
            row(State::Terminated, input, State::Terminated, &[]);
        }
    }
}
