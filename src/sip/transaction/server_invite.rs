//! INVITE server transaction: RFC 3261 section 17.2.1, figure 7, with the
//! Accepted state of RFC 6026 section 7.1.

use super::{Action, Timer};

/// Where the transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// INVITE received, no final response yet.
    Proceeding,
    /// A 3xx to 6xx was sent, the ACK is awaited.
    Completed,
    /// The ACK came; repeated ones are absorbed.
    Confirmed,
    /// A 2xx was sent; repeated INVITEs are absorbed, the user repeats the
    /// 2xx and sees the ACK.
    Accepted,
    /// Over.
    Terminated,
}

/// What may happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// The INVITE once more.
    Invite,
    /// An ACK.
    Ack,
    /// The user sends a 1xx.
    SendProvisional,
    /// The user sends a 2xx.
    SendSuccess,
    /// The user sends a 3xx to 6xx.
    SendFailure,
    /// Time to send the failure again.
    TimerG,
    /// No ACK.
    TimerH,
    /// No more repeated ACKs are expected.
    TimerI,
    /// No more repeated INVITEs are expected.
    TimerL,
    /// The response could not be sent.
    TransportError,
}

/// The first step: "INVITE" of figure 7. The user sends the 100 itself.
pub const START: (State, &[Action]) = (State::Proceeding, &[Action::Deliver]);

/// One transition of figure 7.
pub fn step(state: State, input: Input) -> (State, &'static [Action]) {
    use Action::{
        Backoff, Deliver, ReportTimeout, ReportTransportError, Send, SendAgain, Start, Stop,
    };
    use Input::{
        Ack, Invite, SendFailure, SendProvisional, SendSuccess, TimerG, TimerH, TimerI, TimerL,
        TransportError,
    };
    use State::{Accepted, Completed, Confirmed, Proceeding, Terminated};
    match (state, input) {
        // RFC 3261 section 17.2.1.
        (Proceeding, Invite) => (Proceeding, &[SendAgain]),
        (Proceeding, SendProvisional) => (Proceeding, &[Send]),
        (Proceeding, SendFailure) => (Completed, &[Send, Start(Timer::G), Start(Timer::H)]),
        // RFC 6026 section 7.1, replacing the way from 2xx to Terminated.
        (Proceeding, SendSuccess) => (Accepted, &[Send, Start(Timer::L)]),
        (Completed, Invite) => (Completed, &[SendAgain]),
        (Completed, TimerG) => (Completed, &[SendAgain, Backoff(Timer::G)]),
        (Completed, TimerH) => (Terminated, &[Stop(Timer::G), ReportTimeout]),
        (Completed, Ack) => (
            Confirmed,
            &[Stop(Timer::G), Stop(Timer::H), Start(Timer::I)],
        ),
        (Confirmed, TimerI) => (Terminated, &[]),
        // RFC 6026 section 7.1: INVITE absorbed, ACK and 2xx passed through.
        (Accepted, Ack) => (Accepted, &[Deliver]),
        (Accepted, SendSuccess) => (Accepted, &[SendAgain]),
        (Accepted, TimerL) => (Terminated, &[]),
        // RFC 6026 section 8.8: the user is told, the state remains.
        (Proceeding | Completed | Accepted, TransportError) => (state, &[ReportTransportError]),
        // What the figure has no arrow for changes nothing.
        (Proceeding, Ack | TimerG | TimerH | TimerI | TimerL)
        | (Completed, SendProvisional | SendSuccess | SendFailure | TimerI | TimerL)
        | (
            Confirmed,
            Invite | Ack | SendProvisional | SendSuccess | SendFailure | TimerG | TimerH | TimerL
            | TransportError,
        )
        | (Accepted, Invite | SendProvisional | SendFailure | TimerG | TimerH | TimerI)
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
    fn an_invite_is_handed_up_and_proceeds_17_2_1() {
        assert_eq!(START, (State::Proceeding, &[Action::Deliver] as &[Action]));
    }

    #[test]
    fn proceeding_repeats_its_last_1xx_for_a_repeated_invite_17_2_1() {
        row(
            State::Proceeding,
            Input::Invite,
            State::Proceeding,
            &[Action::SendAgain],
        );
    }

    #[test]
    fn proceeding_sends_the_1xx_of_its_user_17_2_1() {
        row(
            State::Proceeding,
            Input::SendProvisional,
            State::Proceeding,
            &[Action::Send],
        );
    }

    #[test]
    fn a_failure_is_sent_and_timers_g_and_h_start_17_2_1() {
        row(
            State::Proceeding,
            Input::SendFailure,
            State::Completed,
            &[
                Action::Send,
                Action::Start(Timer::G),
                Action::Start(Timer::H),
            ],
        );
    }

    #[test]
    fn a_2xx_is_sent_and_timer_l_starts_rfc_6026_7_1() {
        row(
            State::Proceeding,
            Input::SendSuccess,
            State::Accepted,
            &[Action::Send, Action::Start(Timer::L)],
        );
    }

    #[test]
    fn completed_repeats_the_failure_for_a_repeated_invite_17_2_1() {
        row(
            State::Completed,
            Input::Invite,
            State::Completed,
            &[Action::SendAgain],
        );
    }

    #[test]
    fn completed_repeats_the_failure_with_doubled_timer_g_17_2_1() {
        row(
            State::Completed,
            Input::TimerG,
            State::Completed,
            &[Action::SendAgain, Action::Backoff(Timer::G)],
        );
    }

    #[test]
    fn completed_gives_up_on_the_ack_with_timer_h_17_2_1() {
        row(
            State::Completed,
            Input::TimerH,
            State::Terminated,
            &[Action::Stop(Timer::G), Action::ReportTimeout],
        );
    }

    #[test]
    fn an_ack_confirms_and_starts_timer_i_17_2_1() {
        row(
            State::Completed,
            Input::Ack,
            State::Confirmed,
            &[
                Action::Stop(Timer::G),
                Action::Stop(Timer::H),
                Action::Start(Timer::I),
            ],
        );
    }

    #[test]
    fn confirmed_absorbs_repeated_acks_and_invites_17_2_1() {
        row(State::Confirmed, Input::Ack, State::Confirmed, &[]);
        row(State::Confirmed, Input::Invite, State::Confirmed, &[]);
    }

    #[test]
    fn confirmed_ends_with_timer_i_17_2_1() {
        row(State::Confirmed, Input::TimerI, State::Terminated, &[]);
    }

    #[test]
    fn accepted_absorbs_repeated_invites_rfc_6026_7_1() {
        row(State::Accepted, Input::Invite, State::Accepted, &[]);
    }

    #[test]
    fn accepted_hands_the_ack_up_rfc_6026_7_1() {
        row(
            State::Accepted,
            Input::Ack,
            State::Accepted,
            &[Action::Deliver],
        );
    }

    #[test]
    fn accepted_sends_the_repeated_2xx_of_its_user_rfc_6026_7_1() {
        row(
            State::Accepted,
            Input::SendSuccess,
            State::Accepted,
            &[Action::SendAgain],
        );
    }

    #[test]
    fn accepted_ends_with_timer_l_rfc_6026_7_1() {
        row(State::Accepted, Input::TimerL, State::Terminated, &[]);
    }

    #[test]
    fn a_transport_error_is_told_and_changes_no_state_rfc_6026_8_8() {
        for state in [State::Proceeding, State::Completed, State::Accepted] {
            row(
                state,
                Input::TransportError,
                state,
                &[Action::ReportTransportError],
            );
        }
    }

    #[test]
    fn a_second_final_response_changes_nothing() {
        for input in [Input::SendSuccess, Input::SendFailure] {
            row(State::Completed, input, State::Completed, &[]);
            row(State::Confirmed, input, State::Confirmed, &[]);
        }
        row(State::Accepted, Input::SendFailure, State::Accepted, &[]);
    }

    #[test]
    fn nothing_happens_after_the_end() {
        for input in [
            Input::Invite,
            Input::Ack,
            Input::SendProvisional,
            Input::SendSuccess,
            Input::SendFailure,
            Input::TimerG,
            Input::TimerH,
            Input::TimerI,
            Input::TimerL,
            Input::TransportError,
        ] {
            row(State::Terminated, input, State::Terminated, &[]);
        }
    }
}
