//! DTMF in SIP INFO (RFC 2976, and RFC 6086 section 2 on its use without an
//! info package): bodies of `application/dtmf-relay` and `application/dtmf`.
//! No RFC defines either, so what is read is what equipment sends:
//!
//! ```text
//! Signal=5
//! Duration=160
//! ```
//!
//! with spaces around the values, in any case, lines ended in any way, and the
//! keys `*` and `#` also as the numbers of their events, 10 and 11.

use thiserror::Error;

use super::{Digit, DtmfEvent};

/// What a body without a duration is taken for, in ms: what most senders state.
pub const DEFAULT_DURATION_MS: u32 = 250;

/// The longest duration that is believed, in ms. A longer one is cut to this.
pub const MAX_DURATION_MS: u32 = 60_000;

/// The longest body that is looked at, in octets.
pub const MAX_BODY: usize = 256;

/// Which of the two bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InfoFormat {
    /// `application/dtmf-relay`: `Signal=` and `Duration=` lines.
    DtmfRelay,
    /// `application/dtmf`: the key alone.
    Dtmf,
}

/// Why a body is no key. The message is meant for a 400's reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InfoError {
    /// Longer than [`MAX_BODY`].
    #[error("the DTMF body is longer than {MAX_BODY} octets")]
    TooLong,
    /// Not text.
    #[error("the DTMF body is no text")]
    NotText,
    /// No `Signal=` line, or no character at all.
    #[error("the DTMF body has no signal: write Signal=5")]
    NoSignal,
    /// A signal that is no key.
    #[error("the DTMF body's signal is no key: use 0-9, *, #, A-D or flash")]
    InvalidSignal,
    /// A duration that is no number.
    #[error("the DTMF body's duration is no number of milliseconds: write Duration=160")]
    InvalidDuration,
}

impl InfoFormat {
    /// The format that a `Content-Type` names, its parameters left aside.
    pub fn from_content_type(content_type: &str) -> Option<InfoFormat> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        [InfoFormat::DtmfRelay, InfoFormat::Dtmf]
            .into_iter()
            .find(|format| media_type.eq_ignore_ascii_case(format.content_type()))
    }

    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            InfoFormat::DtmfRelay => "application/dtmf-relay",
            InfoFormat::Dtmf => "application/dtmf",
        }
    }

    /// Reads a body.
    pub fn parse(self, body: &[u8]) -> Result<DtmfEvent, InfoError> {
        if body.len() > MAX_BODY {
            return Err(InfoError::TooLong);
        }
        let text = std::str::from_utf8(body).map_err(|_| InfoError::NotText)?;
        // Some end the body with a zero octet.
        let text = text.trim_end_matches('\0');
        match self {
            InfoFormat::DtmfRelay => parse_relay(text),
            InfoFormat::Dtmf => parse_plain(text),
        }
    }

    /// Writes a body.
    pub fn write(self, event: DtmfEvent) -> String {
        let signal = match (self, event.digit) {
            // As Cisco's gateways, which made both formats, write them.
            (InfoFormat::DtmfRelay | InfoFormat::Dtmf, Digit::Flash) => "16".to_owned(),
            (InfoFormat::DtmfRelay | InfoFormat::Dtmf, digit) => digit.to_string(),
        };
        match self {
            InfoFormat::DtmfRelay => {
                format!("Signal={signal}\r\nDuration={}\r\n", event.duration_ms)
            }
            InfoFormat::Dtmf => signal,
        }
    }
}

fn parse_relay(text: &str) -> Result<DtmfEvent, InfoError> {
    let mut digit = None;
    let mut duration_ms = None;
    for line in text.split(['\r', '\n']) {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("signal") && digit.is_none() {
            digit = Some(parse_signal(value)?);
        } else if name.eq_ignore_ascii_case("duration") && duration_ms.is_none() {
            duration_ms = Some(parse_duration(value)?);
        }
    }
    Ok(DtmfEvent {
        digit: digit.ok_or(InfoError::NoSignal)?,
        duration_ms: duration_ms.unwrap_or(DEFAULT_DURATION_MS),
    })
}

fn parse_plain(text: &str) -> Result<DtmfEvent, InfoError> {
    let text = text.trim();
    // A few send the lines of the other format under this type.
    if text.contains('=') {
        return parse_relay(text);
    }
    Ok(DtmfEvent {
        digit: parse_signal(text)?,
        duration_ms: DEFAULT_DURATION_MS,
    })
}

/// A key by its character, by its event's number, or by the words for the flash.
fn parse_signal(value: &str) -> Result<Digit, InfoError> {
    if value.is_empty() {
        return Err(InfoError::NoSignal);
    }
    if let Ok(digit) = value.parse() {
        return Ok(digit);
    }
    if value == "!" || value.eq_ignore_ascii_case("hf") {
        return Ok(Digit::Flash);
    }
    if !value.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(InfoError::InvalidSignal);
    }
    value
        .parse()
        .ok()
        .and_then(Digit::from_event_code)
        .ok_or(InfoError::InvalidSignal)
}

fn parse_duration(value: &str) -> Result<u32, InfoError> {
    if value.is_empty() || !value.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(InfoError::InvalidDuration);
    }
    // Digits only: what does not fit is too long, not wrong.
    Ok(value
        .parse()
        .unwrap_or(MAX_DURATION_MS)
        .min(MAX_DURATION_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(body: &str) -> Result<(String, u32), InfoError> {
        InfoFormat::DtmfRelay
            .parse(body.as_bytes())
            .map(|event| (event.digit.to_string(), event.duration_ms))
    }

    fn plain(body: &str) -> Result<(String, u32), InfoError> {
        InfoFormat::Dtmf
            .parse(body.as_bytes())
            .map(|event| (event.digit.to_string(), event.duration_ms))
    }

    #[test]
    fn a_relay_body_is_read_in_every_way_it_is_sent() {
        for (body, digit, duration_ms) in [
            ("Signal=5\r\nDuration=160", "5", 160),
            ("Signal=5\r\nDuration=160\r\n", "5", 160),
            ("Signal= 5\r\nDuration= 160\r\n\r\n", "5", 160),
            ("signal = 5\nduration = 160\n", "5", 160),
            ("Duration=80\r\nSignal=#", "#", 80),
            ("Signal=*\r\n", "*", 250),
            ("Signal=10\r\nDuration=100\r\n", "*", 100),
            ("Signal= 11\r\nDuration=100\r\n", "#", 100),
            ("Signal=d\r\nDuration=100\r\n", "D", 100),
            ("Signal=15\r\nDuration=100\r\n", "D", 100),
            ("Signal=16\r\n", "flash", 250),
            ("Signal=hf\r\n", "flash", 250),
            ("Signal=5\r\nDuration=99999999999\r\n", "5", MAX_DURATION_MS),
            ("Signal=5\r\nVolume=10\r\nDuration=160\r\n\0", "5", 160),
        ] {
            assert_eq!(relay(body), Ok((digit.to_owned(), duration_ms)), "{body}");
        }
    }

    #[test]
    fn a_plain_body_is_one_key_by_character_or_number() {
        for (body, digit) in [("5", "5"), (" # \r\n", "#"), ("11", "#"), ("a", "A")] {
            assert_eq!(plain(body), Ok((digit.to_owned(), 250)), "{body}");
        }
        assert_eq!(
            plain("Signal=7\r\nDuration=90\r\n"),
            Ok(("7".to_owned(), 90))
        );
    }

    #[test]
    fn a_bad_body_has_its_own_error() {
        assert_eq!(relay(""), Err(InfoError::NoSignal));
        assert_eq!(relay("Duration=100"), Err(InfoError::NoSignal));
        assert_eq!(relay("Signal=\r\nDuration=100"), Err(InfoError::NoSignal));
        assert_eq!(relay("Signal=17"), Err(InfoError::InvalidSignal));
        assert_eq!(relay("Signal=x"), Err(InfoError::InvalidSignal));
        assert_eq!(relay("Signal=+5"), Err(InfoError::InvalidSignal));
        assert_eq!(
            relay("Signal=5\r\nDuration=-1"),
            Err(InfoError::InvalidDuration)
        );
        assert_eq!(plain("12345"), Err(InfoError::InvalidSignal));
        assert_eq!(plain(" "), Err(InfoError::NoSignal));
        assert_eq!(
            InfoFormat::Dtmf.parse(&[0xff, 0xfe]),
            Err(InfoError::NotText)
        );
        assert_eq!(
            InfoFormat::Dtmf.parse(&[b' '; MAX_BODY + 1]),
            Err(InfoError::TooLong)
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        for digit in Digit::ALL {
            let event = DtmfEvent {
                digit,
                duration_ms: DEFAULT_DURATION_MS,
            };
            for format in [InfoFormat::DtmfRelay, InfoFormat::Dtmf] {
                assert_eq!(format.parse(format.write(event).as_bytes()), Ok(event));
            }
        }
        let event = DtmfEvent {
            digit: Digit::Pound,
            duration_ms: 160,
        };
        assert_eq!(
            InfoFormat::DtmfRelay.write(event),
            "Signal=#\r\nDuration=160\r\n"
        );
    }

    #[test]
    fn the_content_type_names_the_format() {
        use InfoFormat::{Dtmf, DtmfRelay};
        let of = InfoFormat::from_content_type;
        assert_eq!(of("application/dtmf-relay"), Some(DtmfRelay));
        assert_eq!(of("Application/DTMF; charset=utf-8"), Some(Dtmf));
        assert_eq!(of("application/sdp"), None);
    }
}
