//! Text to [`Session`]: takes what phones really send, refuses what cannot be
//! meant as SDP, and never does more work than its bounds allow.
//!
//! Taken beside RFC 8866: LF or CR line ends, empty lines, missing or short
//! `o=`, `s=` and `t=` lines, several blanks between words, text that is not
//! UTF-8, unknown line types (skipped).

use std::net::IpAddr;

use super::session::{Address, Attribute, Media, MediaKind, Origin, Profile, Session};

/// Longest description read, in bytes.
pub const MAX_SIZE: usize = 16 * 1024;
/// Most lines read.
pub const MAX_LINES: usize = 1000;
/// Most media descriptions read.
pub const MAX_MEDIA: usize = 32;
/// Most formats read in one media description.
pub const MAX_FORMATS: usize = 256;

/// A text is not a session description. Lines count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than [`MAX_SIZE`].
    #[error("a session description of {size} bytes (at most {MAX_SIZE} are read)")]
    TooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// More than [`MAX_LINES`] lines.
    #[error("more than {MAX_LINES} lines in a session description")]
    TooManyLines,
    /// More than [`MAX_MEDIA`] `m=` lines.
    #[error("more than {MAX_MEDIA} media descriptions")]
    TooManyMedia,
    /// More than [`MAX_FORMATS`] formats in an `m=` line.
    #[error("line {line}: more than {MAX_FORMATS} formats")]
    TooManyFormats {
        /// Where.
        line: usize,
    },
    /// It does not begin with `v=0`.
    #[error("a session description begins with v=0")]
    Version,
    /// A line that is not `letter=value`.
    #[error("line {line}: not of the form letter=value")]
    Line {
        /// Where.
        line: usize,
    },
    /// A `c=` line without a network type, address type and address.
    #[error("line {line}: a c= line is IN IP4|IP6 address")]
    Connection {
        /// Where.
        line: usize,
    },
    /// An `m=` line without a kind, port and transport.
    #[error("line {line}: an m= line is kind port transport formats")]
    Media {
        /// Where.
        line: usize,
    },
}

impl Session {
    /// Reads a session description.
    ///
    /// # Errors
    /// [`SdpError`] when it is past a bound, does not begin with `v=0`, or has
    /// a line whose meaning for the media cannot be read.
    pub fn parse(text: &[u8]) -> Result<Session, SdpError> {
        if text.len() > MAX_SIZE {
            return Err(SdpError::TooLong { size: text.len() });
        }
        let text = String::from_utf8_lossy(text);
        let mut session = Session::default();
        let mut begun = false;
        let mut count = 0;
        for (index, line) in lines(&text) {
            count += 1;
            if count > MAX_LINES {
                return Err(SdpError::TooManyLines);
            }
            let (letter, value) = split_line(line).ok_or(SdpError::Line { line: index })?;
            if !begun {
                if letter != 'v' || value.trim() != "0" {
                    return Err(SdpError::Version);
                }
                begun = true;
                continue;
            }
            session.take_line(index, letter, value)?;
        }
        if !begun {
            return Err(SdpError::Version);
        }
        Ok(session)
    }

    fn take_line(&mut self, line: usize, letter: char, value: &str) -> Result<(), SdpError> {
        match letter {
            'm' => {
                if self.media.len() == MAX_MEDIA {
                    return Err(SdpError::TooManyMedia);
                }
                self.media.push(parse_media(line, value)?);
            }
            'o' => self.origin = parse_origin(value),
            's' => self.name = value.trim().to_owned(),
            'c' => {
                let address = parse_connection(value).ok_or(SdpError::Connection { line })?;
                let slot = match self.media.last_mut() {
                    Some(media) => &mut media.connection,
                    None => &mut self.connection,
                };
                // Several c= lines are layers of a multicast session
                // (RFC 8866 section 5.7); the first is the base.
                slot.get_or_insert(address);
            }
            'b' => match self.media.last_mut() {
                Some(media) => media.bandwidth.push(value.trim().to_owned()),
                None => self.bandwidth.push(value.trim().to_owned()),
            },
            'a' => match self.media.last_mut() {
                Some(media) => media.attributes.push(parse_attribute(value)),
                None => self.attributes.push(parse_attribute(value)),
            },
            _ => {}
        }
        Ok(())
    }
}

/// The lines that are not empty, with their number from 1. CR and LF each end
/// a line, so no value can smuggle one into what we print. A NUL is what some
/// senders copy from behind their buffer: it ends the text.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.split('\0').next().unwrap_or("");
    text.split('\n')
        .enumerate()
        .flat_map(|(index, line)| line.split('\r').map(move |part| (index + 1, part)))
        .filter(|(_, line)| !line.trim().is_empty())
}

fn split_line(line: &str) -> Option<(char, &str)> {
    let (letter, value) = line.trim_start().split_once('=')?;
    let mut letters = letter.trim_end().chars();
    let letter = letters.next()?;
    letters.next().is_none().then_some((letter, value))
}

/// Never fails: nothing depends on the line, and it is the one that devices
/// get wrong most.
fn parse_origin(value: &str) -> Origin {
    let mut words = value.split_whitespace();
    let username = words.next().unwrap_or("-").to_owned();
    let session_id = leading_number(words.next().unwrap_or(""));
    let version = leading_number(words.next().unwrap_or(""));
    Origin {
        username,
        session_id,
        version,
        address: words.nth(2).and_then(|text| text.parse().ok()),
    }
}

/// The digits at the front, saturating; 0 without any.
fn leading_number(text: &str) -> u64 {
    text.bytes()
        .map_while(|byte| byte.is_ascii_digit().then(|| u64::from(byte - b'0')))
        .fold(0, |number: u64, digit| {
            number.saturating_mul(10).saturating_add(digit)
        })
}

fn parse_connection(value: &str) -> Option<Address> {
    let mut words = value.split_whitespace();
    if !words.next()?.eq_ignore_ascii_case("IN") {
        return None;
    }
    let family = words.next()?;
    if !family.eq_ignore_ascii_case("IP4") && !family.eq_ignore_ascii_case("IP6") {
        return None;
    }
    parse_address(words.next()?)
}

/// An address with or without `/ttl/count`, with or without the brackets that
/// some wrongly put around an IPv6 one.
fn parse_address(word: &str) -> Option<Address> {
    let text = word.split('/').next().filter(|text| !text.is_empty())?;
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    Some(match bare.parse::<IpAddr>() {
        Ok(address) => Address::Ip(address.to_canonical()),
        Err(_) => Address::Host(text.to_owned()),
    })
}

fn parse_attribute(value: &str) -> Attribute {
    match value.trim().split_once(':') {
        Some((name, value)) => Attribute::new(name.trim_end(), value.trim_start()),
        None => Attribute::flag(value.trim()),
    }
}

fn parse_media(line: usize, value: &str) -> Result<Media, SdpError> {
    let malformed = SdpError::Media { line };
    let mut words = value.split_whitespace();
    let kind = MediaKind::from_name(words.next().ok_or(malformed)?);
    let ports = words.next().ok_or(malformed)?;
    let (port, count) = ports.split_once('/').unwrap_or((ports, "1"));
    let port = port.parse().map_err(|_| malformed)?;
    let port_count = count.parse().map_err(|_| malformed)?;
    let profile = Profile::from_name(words.next().ok_or(malformed)?);
    let mut formats = Vec::new();
    for format in words {
        if formats.len() == MAX_FORMATS {
            return Err(SdpError::TooManyFormats { line });
        }
        formats.push(format.to_owned());
    }
    Ok(Media {
        kind,
        port,
        port_count,
        profile,
        formats,
        connection: None,
        bandwidth: Vec::new(),
        attributes: Vec::new(),
    })
}

/// `port [IN IP4|IP6 address]`: the value of `a=rtcp` (RFC 3605 section 2.1).
pub(super) fn parse_rtcp(value: &str) -> Option<(u16, Option<IpAddr>)> {
    let mut words = value.split_whitespace();
    let port = words.next()?.parse().ok().filter(|port| *port != 0)?;
    let address = match words.nth(2).and_then(parse_address) {
        Some(Address::Ip(address)) => Some(address),
        Some(Address::Host(_)) | None => None,
    };
    Some((port, address))
}
