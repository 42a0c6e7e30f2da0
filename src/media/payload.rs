//! Payload type numbers: two legs agree on codecs, each by its own numbers.

use crate::ids::CodecId;

/// Payload types one leg can have at once: the codecs relayed and
/// telephone-event at each of their clock rates, with some to spare. What goes
/// beyond is ignored.
pub const MAX_PAYLOADS: usize = 8;

/// One codec as agreed with one leg's peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadMapping {
    /// Which codec.
    pub codec: CodecId,
    /// The payload type the peer sends it with, 0 to 127.
    pub receive: u8,
    /// The payload type to send it to the peer with, 0 to 127; `None`: it is
    /// only taken from the peer.
    pub send: Option<u8>,
    /// RTP timestamp clock in Hz.
    pub clock_rate: u32,
}

/// No payload type: beyond the seven bits of the header's field.
const NONE: u8 = 0xff;

/// Payload types of a source, and what each becomes on the way to the sink.
/// Sixteen bytes, part of the leg's hot line.
#[derive(Debug, Clone, Copy)]
pub(super) struct PayloadMap {
    from: [u8; MAX_PAYLOADS],
    to: [u8; MAX_PAYLOADS],
}

/// What a payload type becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mapped {
    /// The source may not send it.
    Unknown,
    /// The sink cannot take it (or there is no sink).
    NotShared,
    /// The sink's number for it.
    To(u8),
}

impl PayloadMap {
    pub(super) const EMPTY: PayloadMap = PayloadMap {
        from: [NONE; MAX_PAYLOADS],
        to: [NONE; MAX_PAYLOADS],
    };

    /// From the numbers `source` sends to the numbers `sink` takes, by codec.
    pub(super) fn between(source: &[PayloadMapping], sink: &[PayloadMapping]) -> PayloadMap {
        let mut map = PayloadMap::EMPTY;
        for (i, payload) in source.iter().take(MAX_PAYLOADS).enumerate() {
            map.from[i] = payload.receive & 0x7f;
            let out = sink.iter().find(|p| p.codec == payload.codec);
            if let Some(send) = out.and_then(|out| out.send) {
                map.to[i] = send & 0x7f;
            }
        }
        map
    }

    #[inline]
    pub(super) fn map(&self, payload_type: u8) -> Mapped {
        for (from, to) in self.from.iter().zip(self.to) {
            if *from == payload_type {
                return match to {
                    NONE => Mapped::NotShared,
                    to => Mapped::To(to),
                };
            }
        }
        Mapped::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(codec: u8, receive: u8, send: u8) -> PayloadMapping {
        PayloadMapping {
            codec: CodecId(codec),
            receive,
            send: Some(send),
            clock_rate: 8000,
        }
    }

    #[test]
    fn numbers_are_mapped_by_codec() {
        let source = [mapping(1, 0, 0), mapping(2, 101, 96), mapping(3, 9, 9)];
        let sink = [mapping(2, 97, 110), mapping(1, 0, 0)];
        let map = PayloadMap::between(&source, &sink);
        assert_eq!(map.map(0), Mapped::To(0));
        assert_eq!(map.map(101), Mapped::To(110));
        assert_eq!(map.map(9), Mapped::NotShared);
        assert_eq!(map.map(96), Mapped::Unknown);
    }

    #[test]
    fn what_a_sink_is_not_sent_is_known_of_its_source_and_not_shared() {
        let source = [mapping(1, 0, 0), mapping(2, 101, 96)];
        let unsent = PayloadMapping {
            send: None,
            ..mapping(2, 97, 110)
        };
        let sink = [mapping(1, 0, 0), unsent];
        let map = PayloadMap::between(&source, &sink);
        assert_eq!(map.map(101), Mapped::NotShared);
        let back = PayloadMap::between(&sink, &source);
        assert_eq!(back.map(97), Mapped::To(96));
    }

    #[test]
    fn more_payloads_than_fit_are_ignored() {
        let many: Vec<_> = (0..20).map(|n| mapping(n, n, n)).collect();
        let map = PayloadMap::between(&many, &many);
        assert_eq!(map.map(7), Mapped::To(7));
        assert_eq!(map.map(8), Mapped::Unknown);
    }
}
