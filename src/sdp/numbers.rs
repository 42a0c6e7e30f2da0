//! Which payload number means which codec, for the life of a dialog: a number
//! once mapped must not change its meaning (RFC 3264 section 8.3.2).

use super::codec::{Codec, OfferedCodec};

/// What a payload number has meant so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Free,
    Relayed(Codec),
    /// A codec of the peer's that the gateway does not know.
    Foreign,
}

/// The meanings of the 128 payload numbers of one stream.
#[derive(Debug, Clone)]
pub(super) struct PayloadNumbers([Meaning; 128]);

impl PayloadNumbers {
    pub(super) fn new() -> Self {
        PayloadNumbers([Meaning::Free; 128])
    }

    /// Takes over what a peer's description says its numbers mean. The newest
    /// word counts, should the peer break the rule.
    pub(super) fn learn(&mut self, numbers: impl Iterator<Item = u8>, codecs: &[OfferedCodec]) {
        for number in numbers {
            let known = codecs.iter().find(|entry| entry.payload_type == number);
            let meaning = known.map_or(Meaning::Foreign, |entry| Meaning::Relayed(entry.codec));
            self.set(number, meaning);
        }
    }

    /// Gives each codec of a new offer a number: the wanted one or another that
    /// already means this codec, else the wanted one if it is free, else any
    /// free one. A codec for which no number is left, or that is listed twice,
    /// is dropped.
    pub(super) fn assign(&mut self, codecs: &[OfferedCodec]) -> Vec<OfferedCodec> {
        let mut assigned: Vec<OfferedCodec> = Vec::with_capacity(codecs.len());
        for wanted in codecs {
            if assigned.iter().any(|entry| entry.codec == wanted.codec) {
                continue;
            }
            let number = Some(wanted.payload_type)
                .filter(|number| self.means(*number, Meaning::Relayed(wanted.codec)))
                .or_else(|| self.number_of(wanted.codec))
                .or(Some(wanted.payload_type).filter(|number| self.means(*number, Meaning::Free)))
                .or_else(|| self.free_number());
            if let Some(number) = number {
                self.set(number, Meaning::Relayed(wanted.codec));
                assigned.push(OfferedCodec {
                    payload_type: number,
                    ..wanted.clone()
                });
            }
        }
        assigned
    }

    fn means(&self, number: u8, meaning: Meaning) -> bool {
        self.0.get(usize::from(number)) == Some(&meaning)
    }

    fn number_of(&self, codec: Codec) -> Option<u8> {
        (0..128).find(|number| self.means(*number, Meaning::Relayed(codec)))
    }

    /// The dynamic numbers, then the unassigned ones that RTCP packet types do
    /// not shadow (RFC 3551 section 3, RFC 5761 section 4).
    fn free_number(&self) -> Option<u8> {
        (96..128)
            .chain(35..64)
            .find(|number| self.means(*number, Meaning::Free))
    }

    fn set(&mut self, number: u8, meaning: Meaning) {
        if let Some(slot) = self.0.get_mut(usize::from(number)) {
            *slot = meaning;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(codec: Codec, payload_type: u8) -> OfferedCodec {
        OfferedCodec {
            codec,
            payload_type,
            fmtp: None,
        }
    }

    fn numbers_of(codecs: &[OfferedCodec]) -> Vec<u8> {
        codecs.iter().map(|entry| entry.payload_type).collect()
    }

    #[test]
    fn two_codecs_that_want_one_number_get_two() {
        let mut numbers = PayloadNumbers::new();
        let wanted = [
            entry(Codec::Opus, 101),
            entry(Codec::TelephoneEvent(8000), 101),
        ];
        assert_eq!(numbers_of(&numbers.assign(&wanted)), [101, 96]);
    }

    #[test]
    fn a_number_the_peer_gave_to_an_unknown_codec_is_left_alone() {
        let mut numbers = PayloadNumbers::new();
        numbers.learn([0, 111, 96].into_iter(), &[entry(Codec::Opus, 96)]);
        let wanted = [entry(Codec::Opus, 111), entry(Codec::Pcmu, 0)];
        assert_eq!(numbers_of(&numbers.assign(&wanted)), [96, 97]);
    }

    #[test]
    fn a_codec_keeps_its_number_over_offers() {
        let mut numbers = PayloadNumbers::new();
        numbers.assign(&[entry(Codec::Opus, 111)]);
        numbers.assign(&[entry(Codec::Pcmu, 0)]);
        assert_eq!(
            numbers_of(&numbers.assign(&[entry(Codec::Opus, 120)])),
            [111]
        );
    }

    #[test]
    fn with_every_number_taken_a_codec_is_dropped() {
        let mut numbers = PayloadNumbers::new();
        numbers.learn(0..128, &[]);
        assert_eq!(numbers.assign(&[entry(Codec::Opus, 111)]), []);
    }

    #[test]
    fn a_number_past_127_is_replaced() {
        let mut numbers = PayloadNumbers::new();
        assert_eq!(
            numbers_of(&numbers.assign(&[entry(Codec::Opus, 200)])),
            [96]
        );
    }
}
