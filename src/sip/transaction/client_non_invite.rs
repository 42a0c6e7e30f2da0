//! Client transaction of all but INVITE: RFC 3261 section 17.1.2, figure 6.

use super::{Action, Timer};

/// Where the transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Request sent, nothing heard.
    Trying,
    /// A 1xx came.
    Proceeding,
    /// A final response came; repeated ones are absorbed.
    Completed,
    /// Over.
    Terminated,
}

/// What may happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// A 1xx.
    Provisional,
    /// A 2xx to 6xx.
    Final,
    /// Time to send the request again.
    TimerE,
    /// No final answer.
    TimerF,
    /// No more repeated responses are expected.
    TimerK,
    /// The request could not be sent.
    TransportError,
}

/// The first step: "Request from TU" of figure 6.
pub const START: (State, &[Action]) = (
    State::Trying,
    &[
        Action::Send,
        Action::Start(Timer::E),
        Action::Start(Timer::F),
    ],
);

/// One transition of figure 6.
pub fn step(state: State, input: Input) -> (State, &'static [Action]) {
    use Action::{
        Backoff, Deliver, ReportTimeout, ReportTransportError, SendAgain, Slow, Start, Stop,
    };
    use Input::{Final, Provisional, TimerE, TimerF, TimerK, TransportError};
    use State::{Completed, Proceeding, Terminated, Trying};
    match (state, input) {
        // RFC 3261 section 17.1.2.2.
        (Trying, TimerE) => (Trying, &[SendAgain, Backoff(Timer::E)]),
        (Proceeding, TimerE) => (Proceeding, &[SendAgain, Slow(Timer::E)]),
        (Trying | Proceeding, TimerF) => (Terminated, &[Stop(Timer::E), ReportTimeout]),
        (Trying | Proceeding, TransportError) => (
            Terminated,
            &[Stop(Timer::E), Stop(Timer::F), ReportTransportError],
        ),
        (Trying | Proceeding, Provisional) => (Proceeding, &[Deliver]),
        (Trying | Proceeding, Final) => (
            Completed,
            &[Stop(Timer::E), Stop(Timer::F), Start(Timer::K), Deliver],
        ),
        (Completed, TimerK) => (Terminated, &[]),
        // What the figure has no arrow for changes nothing.
        (Trying | Proceeding, TimerK)
        | (Completed, Provisional | Final | TimerE | TimerF | TransportError)
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
    fn a_request_is_sent_and_timers_e_and_f_start_17_1_2_2() {
        assert_eq!(START.0, State::Trying);
        assert_eq!(
            START.1,
            [
                Action::Send,
                Action::Start(Timer::E),
                Action::Start(Timer::F)
            ]
        );
    }

    #[test]
    fn trying_sends_again_with_doubled_timer_e_17_1_2_2() {
        row(
            State::Trying,
            Input::TimerE,
            State::Trying,
            &[Action::SendAgain, Action::Backoff(Timer::E)],
        );
    }

    #[test]
    fn proceeding_sends_again_every_t2_17_1_2_2() {
        row(
            State::Proceeding,
            Input::TimerE,
            State::Proceeding,
            &[Action::SendAgain, Action::Slow(Timer::E)],
        );
    }

    #[test]
    fn trying_and_proceeding_time_out_with_timer_f_17_1_2_2() {
        for state in [State::Trying, State::Proceeding] {
            row(
                state,
                Input::TimerF,
                State::Terminated,
                &[Action::Stop(Timer::E), Action::ReportTimeout],
            );
        }
    }

    #[test]
    fn trying_and_proceeding_end_with_a_transport_error_17_1_4() {
        for state in [State::Trying, State::Proceeding] {
            row(
                state,
                Input::TransportError,
                State::Terminated,
                &[
                    Action::Stop(Timer::E),
                    Action::Stop(Timer::F),
                    Action::ReportTransportError,
                ],
            );
        }
    }

    #[test]
    fn every_1xx_is_handed_up_and_timer_e_runs_on_17_1_2_2() {
        for state in [State::Trying, State::Proceeding] {
            row(
                state,
                Input::Provisional,
                State::Proceeding,
                &[Action::Deliver],
            );
        }
    }

    #[test]
    fn a_final_response_completes_and_starts_timer_k_17_1_2_2() {
        for state in [State::Trying, State::Proceeding] {
            row(
                state,
                Input::Final,
                State::Completed,
                &[
                    Action::Stop(Timer::E),
                    Action::Stop(Timer::F),
                    Action::Start(Timer::K),
                    Action::Deliver,
                ],
            );
        }
    }

    #[test]
    fn completed_absorbs_repeated_responses_17_1_2_2() {
        row(State::Completed, Input::Final, State::Completed, &[]);
        row(State::Completed, Input::Provisional, State::Completed, &[]);
    }

    #[test]
    fn completed_ends_with_timer_k_17_1_2_2() {
        row(State::Completed, Input::TimerK, State::Terminated, &[]);
    }

    #[test]
    fn nothing_happens_after_the_end() {
        for input in [
            Input::Provisional,
            Input::Final,
            Input::TimerE,
            Input::TimerF,
            Input::TimerK,
            Input::TransportError,
        ] {
            row(State::Terminated, input, State::Terminated, &[]);
        }
    }
}
