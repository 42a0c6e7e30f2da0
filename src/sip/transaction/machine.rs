//! The four machines behind one face: what happens to a transaction in, what
//! it asks for out.

use bytes::Bytes;

use super::Action;
use super::{client_invite, client_non_invite, server_invite, server_non_invite};
use crate::sip::message::Request;
use crate::sip::outbox::Path;

/// A state machine with what only its kind of transaction needs.
#[derive(Debug)]
pub(super) enum Machine<O> {
    ClientInvite(Box<ClientInvite<O>>),
    ClientOther {
        state: client_non_invite::State,
        owner: O,
    },
    ServerInvite {
        state: server_invite::State,
        owner: O,
    },
    ServerOther {
        state: server_non_invite::State,
    },
}

#[derive(Debug)]
pub(super) struct ClientInvite<O> {
    pub state: client_invite::State,
    pub owner: O,
    /// Kept until a final response: for its ACK, a CANCEL, another try.
    pub request: Option<Box<Request>>,
    /// A failure was acknowledged: what is sent again is that ACK.
    pub acknowledged: bool,
    /// CANCEL was sent for it.
    pub cancelled: bool,
    /// ACKs of 2xx by remote tag, for when a 2xx is repeated.
    pub acks: Vec<(Box<str>, Path, Bytes)>,
}

/// What a state asks of the layer that is not an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// The request may still be sent: an error of the transport concerns it.
    pub sends: bool,
    /// What was sent last may have to be sent again.
    pub payload: bool,
    /// A final response may yet come or go.
    pub unfinished: bool,
    /// The transaction is over.
    pub over: bool,
}

impl<O: Copy> Machine<O> {
    /// The owner, of client transactions only.
    pub fn client_owner(&self) -> Option<O> {
        match self {
            Machine::ClientInvite(client) => Some(client.owner),
            Machine::ClientOther { owner, .. } => Some(*owner),
            Machine::ServerInvite { .. } | Machine::ServerOther { .. } => None,
        }
    }

    /// The owner, of INVITE server transactions only: no other has anything
    /// to hear.
    pub fn server_owner(&self) -> Option<O> {
        match self {
            Machine::ServerInvite { owner, .. } => Some(*owner),
            Machine::ServerOther { .. }
            | Machine::ClientInvite(_)
            | Machine::ClientOther { .. } => None,
        }
    }

    /// Whether a response of the user that was sent before may be again.
    pub fn passes_responses(&self) -> bool {
        use server_invite::State::{Accepted, Proceeding};
        match self {
            Machine::ServerInvite { state, .. } => matches!(state, Proceeding | Accepted),
            Machine::ServerOther { .. }
            | Machine::ClientInvite(_)
            | Machine::ClientOther { .. } => false,
        }
    }

    pub fn client_invite(&self) -> Option<&ClientInvite<O>> {
        match self {
            Machine::ClientInvite(client) => Some(client),
            Machine::ClientOther { .. }
            | Machine::ServerInvite { .. }
            | Machine::ServerOther { .. } => None,
        }
    }

    pub fn client_invite_mut(&mut self) -> Option<&mut ClientInvite<O>> {
        match self {
            Machine::ClientInvite(client) => Some(client),
            Machine::ClientOther { .. }
            | Machine::ServerInvite { .. }
            | Machine::ServerOther { .. } => None,
        }
    }

    /// A response of this class came.
    pub fn received_response(&mut self, class: u16) -> &'static [Action] {
        match self {
            Machine::ClientInvite(client) => {
                let input = match class {
                    1 => client_invite::Input::Provisional,
                    2 => client_invite::Input::Success,
                    _ => client_invite::Input::Failure,
                };
                client.take(input)
            }
            Machine::ClientOther { state, .. } => {
                let input = match class {
                    1 => client_non_invite::Input::Provisional,
                    _ => client_non_invite::Input::Final,
                };
                take(state, client_non_invite::step(*state, input))
            }
            Machine::ServerInvite { .. } | Machine::ServerOther { .. } => &[],
        }
    }

    /// The request came once more, or an ACK for it.
    pub fn received_request(&mut self, is_ack: bool) -> &'static [Action] {
        match self {
            Machine::ServerInvite { state, .. } => {
                let input = match is_ack {
                    true => server_invite::Input::Ack,
                    false => server_invite::Input::Invite,
                };
                take(state, server_invite::step(*state, input))
            }
            Machine::ServerOther { state } => {
                let input = server_non_invite::Input::Request;
                take(state, server_non_invite::step(*state, input))
            }
            Machine::ClientInvite(_) | Machine::ClientOther { .. } => &[],
        }
    }

    /// The user sends a response of this class.
    pub fn sent_response(&mut self, class: u16) -> &'static [Action] {
        match self {
            Machine::ServerInvite { state, .. } => {
                let input = match class {
                    1 => server_invite::Input::SendProvisional,
                    2 => server_invite::Input::SendSuccess,
                    _ => server_invite::Input::SendFailure,
                };
                take(state, server_invite::step(*state, input))
            }
            Machine::ServerOther { state } => {
                let input = match class {
                    1 => server_non_invite::Input::SendProvisional,
                    _ => server_non_invite::Input::SendFinal,
                };
                take(state, server_non_invite::step(*state, input))
            }
            Machine::ClientInvite(_) | Machine::ClientOther { .. } => &[],
        }
    }

    /// The retransmission timer fired: A, E or G.
    pub fn repeat_timer(&mut self) -> &'static [Action] {
        match self {
            Machine::ClientInvite(client) => {
                let input = client_invite::Input::TimerA;
                client.take(input)
            }
            Machine::ClientOther { state, .. } => {
                let input = client_non_invite::Input::TimerE;
                take(state, client_non_invite::step(*state, input))
            }
            Machine::ServerInvite { state, .. } => {
                let input = server_invite::Input::TimerG;
                take(state, server_invite::step(*state, input))
            }
            Machine::ServerOther { .. } => &[],
        }
    }

    /// The timer that ends the state fired.
    pub fn life_timer(&mut self) -> &'static [Action] {
        match self {
            Machine::ClientInvite(client) => {
                use client_invite::{Input, State};
                let input = match client.state {
                    State::Calling | State::Proceeding => Input::TimerB,
                    State::Completed => Input::TimerD,
                    State::Accepted | State::Terminated => Input::TimerM,
                };
                client.take(input)
            }
            Machine::ClientOther { state, .. } => {
                use client_non_invite::{Input, State};
                let input = match state {
                    State::Trying | State::Proceeding => Input::TimerF,
                    State::Completed | State::Terminated => Input::TimerK,
                };
                take(state, client_non_invite::step(*state, input))
            }
            Machine::ServerInvite { state, .. } => {
                use server_invite::{Input, State};
                let input = match state {
                    State::Proceeding | State::Completed => Input::TimerH,
                    State::Confirmed => Input::TimerI,
                    State::Accepted | State::Terminated => Input::TimerL,
                };
                take(state, server_invite::step(*state, input))
            }
            Machine::ServerOther { state } => {
                let input = server_non_invite::Input::TimerJ;
                take(state, server_non_invite::step(*state, input))
            }
        }
    }

    /// What was sent did not arrive.
    pub fn transport_error(&mut self) -> &'static [Action] {
        match self {
            Machine::ClientInvite(client) => {
                let input = client_invite::Input::TransportError;
                client.take(input)
            }
            Machine::ClientOther { state, .. } => {
                let input = client_non_invite::Input::TransportError;
                take(state, client_non_invite::step(*state, input))
            }
            Machine::ServerInvite { state, .. } => {
                let input = server_invite::Input::TransportError;
                take(state, server_invite::step(*state, input))
            }
            Machine::ServerOther { state } => {
                let input = server_non_invite::Input::TransportError;
                take(state, server_non_invite::step(*state, input))
            }
        }
    }

    /// What the state asks of the layer.
    pub fn needs(&self) -> Needs {
        match self {
            Machine::ClientInvite(client) => {
                use client_invite::State;
                Needs {
                    sends: client.state == State::Calling,
                    // The INVITE, or the ACK of a failure.
                    payload: matches!(client.state, State::Calling | State::Completed),
                    unfinished: matches!(client.state, State::Calling | State::Proceeding),
                    over: client.state == State::Terminated,
                }
            }
            Machine::ClientOther { state, .. } => {
                use client_non_invite::State;
                let waits = matches!(state, State::Trying | State::Proceeding);
                Needs {
                    sends: waits,
                    payload: waits,
                    unfinished: waits,
                    over: *state == State::Terminated,
                }
            }
            Machine::ServerInvite { state, .. } => {
                use server_invite::State;
                Needs {
                    sends: false,
                    // A 2xx is repeated by the user; nothing follows an ACK.
                    payload: matches!(state, State::Proceeding | State::Completed),
                    unfinished: *state == State::Proceeding,
                    over: *state == State::Terminated,
                }
            }
            Machine::ServerOther { state } => {
                use server_non_invite::State;
                Needs {
                    sends: false,
                    payload: true,
                    unfinished: matches!(state, State::Trying | State::Proceeding),
                    over: *state == State::Terminated,
                }
            }
        }
    }
}

impl<O> ClientInvite<O> {
    fn take(&mut self, input: client_invite::Input) -> &'static [Action] {
        let (next, actions) = client_invite::step(self.state, input);
        self.state = next;
        actions
    }
}

fn take<S>(state: &mut S, (next, actions): (S, &'static [Action])) -> &'static [Action] {
    *state = next;
    actions
}
