//! Which payload number means which codec, for the life of a dialog: a number
//! once mapped must not change its meaning (RFC 3264 section 8.3.2).

use super::codec::{Codec, OfferedCodec};

/// What a payload number that is not free has meant so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Relayed(Codec),
    /// A codec of the peer's that the gateway does not know.
    Foreign,
}

/// Payload numbers are seven bits (RFC 3550 section 5.1).
const NUMBERS: u8 = 128;

/// The meanings of the payload numbers of one stream. A list, because a call
/// keeps it for life and uses a handful of the 128.
#[derive(Debug, Clone, Default)]
pub(super) struct PayloadNumbers(Vec<(u8, Meaning)>);

impl PayloadNumbers {
    pub(super) fn new() -> Self {
        PayloadNumbers::default()
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
                .filter(|number| self.meaning(*number) == Some(Meaning::Relayed(wanted.codec)))
                .or_else(|| self.number_of(wanted.codec))
                .or(Some(wanted.payload_type).filter(|number| self.is_free(*number)))
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

    fn meaning(&self, number: u8) -> Option<Meaning> {
        let mut known = self.0.iter();
        let found = known.find(|(known, _)| *known == number);
        found.map(|(_, meaning)| *meaning)
    }

    fn is_free(&self, number: u8) -> bool {
        number < NUMBERS && self.meaning(number).is_none()
    }

    fn number_of(&self, codec: Codec) -> Option<u8> {
        let relayed = |meaning| meaning == Meaning::Relayed(codec);
        let numbers = self.0.iter().filter(|(_, meaning)| relayed(*meaning));
        numbers.map(|(number, _)| *number).min()
    }

    /// The dynamic numbers, then the unassigned ones that RTCP packet types do
    /// not shadow (RFC 3551 section 3, RFC 5761 section 4).
    fn free_number(&self) -> Option<u8> {
        (96..128).chain(35..64).find(|number| self.is_free(*number))
    }

    fn set(&mut self, number: u8, meaning: Meaning) {
        match self.0.iter_mut().find(|(known, _)| *known == number) {
            Some((_, known)) => *known = meaning,
            None if number < NUMBERS => self.0.push((number, meaning)),
            None => {}
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
