//! What a completion is about: the 64 bits that come back with it.

/// Bits of the generation in a token; it wraps. A port index would have to be
/// reused 16 million times while one completion waits for two to look alike.
pub(super) const GENERATION: u32 = 0xff_ffff;

/// The kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Multishot receive with source address, of anybody.
    ReceiveAny = 1,
    /// The same, only until the socket is empty.
    Drain = 2,
    /// Multishot receive of a connected socket.
    ReceivePeer = 3,
    /// A media datagram that could not be sent.
    Send = 4,
    /// Multishot receive of a SIP socket.
    SipReceive = 5,
    /// A SIP datagram sent.
    SipSend = 6,
    /// The waker was used.
    Wake = 7,
    /// A receive is being cancelled.
    Cancel = 8,
}

/// A request's name: its kind, what it is about, and which one of those that
/// had the same index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) generation: u32,
    pub(super) index: u32,
}

impl Token {
    pub(super) fn new(kind: Kind, generation: u32, index: u32) -> Token {
        Token {
            kind,
            generation: generation & GENERATION,
            index,
        }
    }

    #[inline]
    pub(super) fn encode(self) -> u64 {
        (self.kind as u64) << 56 | u64::from(self.generation) << 32 | u64::from(self.index)
    }

    #[inline]
    pub(super) fn decode(bits: u64) -> Option<Token> {
        let kind = match bits >> 56 {
            1 => Kind::ReceiveAny,
            2 => Kind::Drain,
            3 => Kind::ReceivePeer,
            4 => Kind::Send,
            5 => Kind::SipReceive,
            6 => Kind::SipSend,
            7 => Kind::Wake,
            8 => Kind::Cancel,
            _ => return None,
        };
        Some(Token::new(kind, (bits >> 32) as u32, bits as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_what_was_written() {
        for kind in [
            Kind::ReceiveAny,
            Kind::Drain,
            Kind::ReceivePeer,
            Kind::Send,
            Kind::SipReceive,
            Kind::SipSend,
            Kind::Wake,
            Kind::Cancel,
        ] {
            let token = Token::new(kind, GENERATION, u32::MAX);
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(0), None);
    }
}
