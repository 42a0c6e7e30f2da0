//! Server transaction of all but INVITE: RFC 3261 section 17.2.2, figure 8.

use super::{Action, Timer};

/// Where the transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Request received, no response yet.
    Trying,
    /// A 1xx was sent.
    Proceeding,
    /// A final response was sent and is repeated when asked for.
    Completed,
    /// Over.
    Terminated,
}

/// What may happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// The request once more.
    Request,
    /// The user sends a 1xx.
    SendProvisional,
    /// The user sends a 2xx to 6xx.
    SendFinal,
    /// No more repeated requests are expected.
    TimerJ,
    /// The response could not be sent.
    TransportError,
}

/// The first step: "Request received" of figure 8.
pub const START: (State, &[Action]) = (State::Trying, &[Action::Deliver]);

/// One transition of figure 8.
pub fn step(state: State, input: Input) -> (State, &'static [Action]) {
    use Action::{ReportTransportError, Send, SendAgain, Start, Stop};
    use Input::{Request, SendFinal, SendProvisional, TimerJ, TransportError};
    use State::{Completed, Proceeding, Terminated, Trying};
    match (state, input) {
        // RFC 3261 section 17.2.2.
        (Trying | Proceeding, SendProvisional) => (Proceeding, &[Send]),
        (Trying | Proceeding, SendFinal) => (Completed, &[Send, Start(Timer::J)]),
        (Proceeding | Completed, Request) => (state, &[SendAgain]),
        (Proceeding | Completed, TransportError) => {
            (Terminated, &[Stop(Timer::J), ReportTransportError])
        }
        (Completed, TimerJ) => (Terminated, &[]),
        // What the figure has no arrow for changes nothing.
        (Trying, Request | TimerJ | TransportError)
        | (Proceeding, TimerJ)
        | (Completed, SendProvisional | SendFinal)
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
    fn a_request_is_handed_up_17_2_2() {
        assert_eq!(START, (State::Trying, &[Action::Deliver] as &[Action]));
    }

    #[test]
    fn trying_discards_a_repeated_request_17_2_2() {
        row(State::Trying, Input::Request, State::Trying, &[]);
    }

    #[test]
    fn a_1xx_is_sent_and_proceeds_17_2_2() {
        for state in [State::Trying, State::Proceeding] {
            row(
                state,
                Input::SendProvisional,
                State::Proceeding,
                &[Action::Send],
            );
        }
    }

    #[test]
    fn a_final_response_is_sent_and_starts_timer_j_17_2_2() {
        for state in [State::Trying, State::Proceeding] {
            row(
                state,
                Input::SendFinal,
                State::Completed,
                &[Action::Send, Action::Start(Timer::J)],
            );
        }
    }

    #[test]
    fn proceeding_and_completed_repeat_their_response_17_2_2() {
        for state in [State::Proceeding, State::Completed] {
            row(state, Input::Request, state, &[Action::SendAgain]);
        }
    }

    #[test]
    fn completed_discards_further_responses_17_2_2() {
        row(State::Completed, Input::SendFinal, State::Completed, &[]);
        row(
            State::Completed,
            Input::SendProvisional,
            State::Completed,
            &[],
        );
    }

    #[test]
    fn proceeding_and_completed_end_with_a_transport_error_17_2_4() {
        for state in [State::Proceeding, State::Completed] {
            row(
                state,
                Input::TransportError,
                State::Terminated,
                &[Action::Stop(Timer::J), Action::ReportTransportError],
            );
        }
    }

    #[test]
    fn completed_ends_with_timer_j_17_2_2() {
        row(State::Completed, Input::TimerJ, State::Terminated, &[]);
    }

    #[test]
    fn nothing_happens_after_the_end() {
        for input in [
            Input::Request,
            Input::SendProvisional,
            Input::SendFinal,
            Input::TimerJ,
            Input::TransportError,
        ] {
            row(State::Terminated, input, State::Terminated, &[]);
        }
    }
}
