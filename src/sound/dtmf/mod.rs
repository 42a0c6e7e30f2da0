//! DTMF: the keys of a telephone, in the three ways they travel: as telephone
//! events beside the sound (RFC 4733), in SIP INFO, and as tones in the sound.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`event_receiver`] | RFC 4733 payloads in, one report per key out |
//! | [`event_sender`] | keys in, RFC 4733 payloads out, a frame at a time |
//! | [`info`] | bodies of SIP INFO: `application/dtmf-relay`, `application/dtmf` |
//! | [`tones`] | the pairs of tones and their generator |
//! | [`tone_detector`] | the tones found in sound again |

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub mod event_receiver;
pub mod event_sender;
pub mod info;
pub mod tone_detector;
pub mod tones;

#[cfg(test)]
mod tone_detector_tests;

/// A key, or the hook flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Digit {
    /// `0` to `9`; [`Digit::number`] is the only way to one, so no other value occurs.
    Number(Number),
    /// `*`
    Star,
    /// `#`
    Pound,
    /// `A`
    A,
    /// `B`
    B,
    /// `C`
    C,
    /// `D`
    D,
    /// The hook pressed for a moment; it has an event code but no tones.
    Flash,
}

/// What stands on a key with a number: 0 to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number(u8);

/// A key as somebody heard it, with how long it was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DtmfEvent {
    /// The key.
    pub digit: Digit,
    /// How long it was held, in ms.
    pub duration_ms: u32,
}

/// What is told of a key: its beginning, for whoever stops a prompt at once,
/// and its end, once, with how long it was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtmfReport {
    /// The key went down.
    Begin(Digit),
    /// The key is up again.
    End(DtmfEvent),
}

/// The few reports that one packet or frame can give, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reports {
    reports: [Option<DtmfReport>; Reports::MOST],
}

/// How long a key is held and how long the pause after it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTiming {
    tone_ms: u32,
    pause_ms: u32,
}

/// One step of a dial string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialStep {
    /// A key.
    Key(Digit, KeyTiming),
    /// Nothing for so long, in ms.
    Wait(u32),
}

/// A timing that receivers need not understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyTimingError {
    /// The tone is shorter or longer than allowed.
    #[error("a DTMF tone of {0} ms is not possible: use 40 to 5000")]
    Tone(u32),
    /// The pause is shorter or longer than allowed.
    #[error("a DTMF pause of {0} ms is not possible: use 50 to 5000")]
    Pause(u32),
}

/// A queue of keys that takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{MAX_QUEUED_KEYS} DTMF keys are waiting already: send the rest when these are out")]
pub struct QueueFull;

/// How many keys wait to be sent at most.
pub const MAX_QUEUED_KEYS: usize = 64;

/// A text that names no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a DTMF digit: use one of 0-9, *, #, A-D or \"flash\"")]
pub struct NotADigit;

impl Digit {
    /// Every key, in the order of the event codes.
    pub const ALL: [Digit; 17] = [
        Digit::Number(Number(0)),
        Digit::Number(Number(1)),
        Digit::Number(Number(2)),
        Digit::Number(Number(3)),
        Digit::Number(Number(4)),
        Digit::Number(Number(5)),
        Digit::Number(Number(6)),
        Digit::Number(Number(7)),
        Digit::Number(Number(8)),
        Digit::Number(Number(9)),
        Digit::Star,
        Digit::Pound,
        Digit::A,
        Digit::B,
        Digit::C,
        Digit::D,
        Digit::Flash,
    ];

    /// The key with this number, 0 to 9.
    pub const fn number(number: u8) -> Option<Digit> {
        match number {
            0..=9 => Some(Digit::Number(Number(number))),
            _ => None,
        }
    }

    /// The event code: RFC 4733 section 3.2, table 3 for the keys and
    /// RFC 2833 section 3.10 for the flash, which gateways still send.
    pub const fn event_code(self) -> u8 {
        match self {
            Digit::Number(Number(number)) => number,
            Digit::Star => 10,
            Digit::Pound => 11,
            Digit::A => 12,
            Digit::B => 13,
            Digit::C => 14,
            Digit::D => 15,
            Digit::Flash => 16,
        }
    }

    /// The key with this event code; none for the many events that are no key.
    pub fn from_event_code(code: u8) -> Option<Digit> {
        Digit::ALL.get(usize::from(code)).copied()
    }

    /// The key that this character names, in either case. The flash has none.
    pub fn from_char(character: char) -> Option<Digit> {
        match character.to_ascii_uppercase() {
            '*' => Some(Digit::Star),
            '#' => Some(Digit::Pound),
            'A' => Some(Digit::A),
            'B' => Some(Digit::B),
            'C' => Some(Digit::C),
            'D' => Some(Digit::D),
            other => other
                .to_digit(10)
                .and_then(|number| Digit::number(number as u8)),
        }
    }
}

impl KeyTiming {
    /// A tone of 40 to 5000 ms (ITU-T Q.24 table A-1: 40 ms are understood
    /// everywhere) and a pause of 50 to 5000 ms after it.
    pub fn new(tone_ms: u32, pause_ms: u32) -> Result<KeyTiming, KeyTimingError> {
        if !(40..=5000).contains(&tone_ms) {
            return Err(KeyTimingError::Tone(tone_ms));
        }
        if !(50..=5000).contains(&pause_ms) {
            return Err(KeyTimingError::Pause(pause_ms));
        }
        Ok(KeyTiming { tone_ms, pause_ms })
    }

    /// Length of the tone, in ms.
    pub fn tone_ms(self) -> u32 {
        self.tone_ms
    }

    /// Length of the pause after it, in ms.
    pub fn pause_ms(self) -> u32 {
        self.pause_ms
    }
}

impl DialStep {
    /// A key that was heard, to be pressed again for somebody else: as long as
    /// it was held, as far as that can be sent.
    pub fn again(key: DtmfEvent) -> DialStep {
        let tone_ms = key.duration_ms.clamp(40, 5000);
        let timing = KeyTiming::new(tone_ms, 100).unwrap_or_default();
        DialStep::Key(key.digit, timing)
    }
}

impl Default for KeyTiming {
    /// 100 ms each, which every receiver understands.
    fn default() -> Self {
        KeyTiming {
            tone_ms: 100,
            pause_ms: 100,
        }
    }
}

impl Reports {
    /// The end of a key, and a further one from begin to end.
    const MOST: usize = 3;

    fn add(&mut self, report: DtmfReport) {
        if let Some(free) = self.reports.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(report);
        }
    }

    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.reports[0].is_none()
    }
}

impl IntoIterator for Reports {
    type Item = DtmfReport;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<DtmfReport>, 3>>;

    fn into_iter(self) -> Self::IntoIter {
        self.reports.into_iter().flatten()
    }
}

impl fmt::Display for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Digit::Number(Number(number)) => write!(f, "{number}"),
            Digit::Star => f.write_str("*"),
            Digit::Pound => f.write_str("#"),
            Digit::A => f.write_str("A"),
            Digit::B => f.write_str("B"),
            Digit::C => f.write_str("C"),
            Digit::D => f.write_str("D"),
            Digit::Flash => f.write_str("flash"),
        }
    }
}

impl FromStr for Digit {
    type Err = NotADigit;

    fn from_str(text: &str) -> Result<Digit, NotADigit> {
        if text.eq_ignore_ascii_case("flash") {
            return Ok(Digit::Flash);
        }
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Digit::from_char(character).ok_or(NotADigit),
            _ => Err(NotADigit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_is_read_back_from_its_text_and_its_event_code() {
        let text: Vec<String> = Digit::ALL.iter().map(Digit::to_string).collect();
        assert_eq!(text.concat(), "0123456789*#ABCDflash");
        for (code, digit) in Digit::ALL.into_iter().enumerate() {
            assert_eq!(digit.to_string().parse(), Ok(digit));
            assert_eq!(usize::from(digit.event_code()), code);
            assert_eq!(Digit::from_event_code(code as u8), Some(digit));
        }
        assert_eq!("d".parse(), Ok(Digit::D));
        assert_eq!("FLASH".parse(), Ok(Digit::Flash));
    }

    #[test]
    fn what_names_no_key_is_refused() {
        for text in ["", "E", "10", " 1", "٣", "f"] {
            assert_eq!(text.parse::<Digit>(), Err(NotADigit), "{text}");
        }
        // 17 to 31 are unassigned, 32 and on are tones of modems and lines.
        assert!((17..=255).all(|code| Digit::from_event_code(code).is_none()));
        assert_eq!(Digit::number(10), None);
    }
}
