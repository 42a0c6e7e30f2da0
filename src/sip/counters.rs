//! What the agent counts; the enums are the labels of the metrics.

use super::method::Method;

/// Why a datagram, or a message in it, went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Not a SIP message, and nothing in it to build an answer from.
    Unparseable,
    /// Line ends only: a keep-alive (RFC 5626 section 4.4.1), no answer is due.
    KeepAlive,
    /// It came in on a listener that does not exist.
    NoListener,
    /// A response that no client transaction waits for (RFC 6026 section 7.2).
    StrayResponse,
    /// A 1xx, 2xx or other response that lacks what the dialog needs.
    BrokenResponse,
    /// An ACK for nothing that waits for one.
    StrayAck,
    /// A 1xx of one fork more than a call may have.
    TooManyForks,
    /// A retransmission while its answer is not there yet.
    AnswerPending,
}

impl DropReason {
    /// All of them, in the order of their counters.
    pub const ALL: [DropReason; 8] = [
        DropReason::Unparseable,
        DropReason::KeepAlive,
        DropReason::NoListener,
        DropReason::StrayResponse,
        DropReason::BrokenResponse,
        DropReason::StrayAck,
        DropReason::TooManyForks,
        DropReason::AnswerPending,
    ];

    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            DropReason::Unparseable => "unparseable",
            DropReason::KeepAlive => "keep_alive",
            DropReason::NoListener => "no_listener",
            DropReason::StrayResponse => "stray_response",
            DropReason::BrokenResponse => "broken_response",
            DropReason::StrayAck => "stray_ack",
            DropReason::TooManyForks => "too_many_forks",
            DropReason::AnswerPending => "answer_pending",
        }
    }
}

/// A request's method as far as counting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MethodLabel {
    /// INVITE.
    Invite,
    /// ACK.
    Ack,
    /// CANCEL.
    Cancel,
    /// BYE.
    Bye,
    /// OPTIONS.
    Options,
    /// UPDATE.
    Update,
    /// INFO.
    Info,
    /// REGISTER.
    Register,
    /// Any other.
    Other,
}

impl From<&Method> for MethodLabel {
    fn from(method: &Method) -> Self {
        match method {
            Method::Invite => MethodLabel::Invite,
            Method::Ack => MethodLabel::Ack,
            Method::Cancel => MethodLabel::Cancel,
            Method::Bye => MethodLabel::Bye,
            Method::Options => MethodLabel::Options,
            Method::Update => MethodLabel::Update,
            Method::Info => MethodLabel::Info,
            Method::Register => MethodLabel::Register,
            _ => MethodLabel::Other,
        }
    }
}

impl MethodLabel {
    /// All of them, in the order of their counters.
    pub const ALL: [MethodLabel; 9] = [
        MethodLabel::Invite,
        MethodLabel::Ack,
        MethodLabel::Cancel,
        MethodLabel::Bye,
        MethodLabel::Options,
        MethodLabel::Update,
        MethodLabel::Info,
        MethodLabel::Register,
        MethodLabel::Other,
    ];

    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            MethodLabel::Invite => "INVITE",
            MethodLabel::Ack => "ACK",
            MethodLabel::Cancel => "CANCEL",
            MethodLabel::Bye => "BYE",
            MethodLabel::Options => "OPTIONS",
            MethodLabel::Update => "UPDATE",
            MethodLabel::Info => "INFO",
            MethodLabel::Register => "REGISTER",
            MethodLabel::Other => "other",
        }
    }
}

/// Sums since the agent was made. Messages are counted once; what is sent or
/// received again is in the two retransmission counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests sent, by [`MethodLabel`] in the order of its `ALL`.
    pub requests_sent: [u64; MethodLabel::ALL.len()],
    /// Requests received, by [`MethodLabel`] in the order of its `ALL`.
    pub requests_received: [u64; MethodLabel::ALL.len()],
    /// Responses sent, by class: 1xx first, 6xx last.
    pub responses_sent: [u64; 6],
    /// Responses received, by class: 1xx first, 6xx last.
    pub responses_received: [u64; 6],
    /// Messages sent once more: by a timer, or because the peer repeated
    /// what they answer.
    pub retransmissions_sent: u64,
    /// Messages received once more and recognised as such.
    pub retransmissions_absorbed: u64,
    /// Client transactions that ended without an answer.
    pub timeouts: u64,
    /// Client transactions that ended with an error of the transport.
    pub transport_errors: u64,
    /// INVITEs refused with 503 because the agent was full.
    pub refused_full: u64,
    drops: [u64; DropReason::ALL.len()],
}

impl Counters {
    /// How often something was dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    pub(in crate::sip) fn drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    pub(in crate::sip) fn request_sent(&mut self, method: MethodLabel) {
        self.requests_sent[method as usize] += 1;
    }

    pub(in crate::sip) fn request_received(&mut self, method: MethodLabel) {
        self.requests_received[method as usize] += 1;
    }

    pub(in crate::sip) fn response_sent(&mut self, code: u16) {
        self.responses_sent[class(code)] += 1;
    }

    pub(in crate::sip) fn response_received(&mut self, code: u16) {
        self.responses_received[class(code)] += 1;
    }
}

fn class(code: u16) -> usize {
    usize::from((code / 100).clamp(1, 6) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_stands_at_the_place_of_its_counter() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
        for (place, method) in MethodLabel::ALL.into_iter().enumerate() {
            assert_eq!(method as usize, place);
        }
    }

    #[test]
    fn codes_out_of_range_count_with_the_nearest_class() {
        let mut counters = Counters::default();
        counters.response_received(0);
        counters.response_received(999);
        assert_eq!(counters.responses_received, [1, 0, 0, 0, 0, 1]);
    }
}
