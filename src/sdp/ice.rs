//! ICE in session descriptions (RFC 8839) and in fragments (RFC 8840).

use std::fmt;
use std::net::SocketAddr;

use super::session::{Attribute, Media, Session};
use crate::keying::IceCredentials;

/// Longest user name fragment and password (RFC 8839 section 5.4).
const MAX_CREDENTIAL: usize = 256;
/// Shortest of each.
const MIN_UFRAG: usize = 4;
const MIN_PASSWORD: usize = 22;

/// Type preference of host candidates (RFC 8445 section 5.1.2.2).
const HOST_PREFERENCE: u32 = 126;
/// Component id of RTP, which with rtcp-mux is the only one.
const COMPONENT: u32 = 1;

/// One host candidate of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its place among ours; the first is preferred.
    pub place: usize,
    /// Where to reach us.
    pub address: SocketAddr,
}

impl Candidate {
    /// A host candidate.
    pub fn host(place: usize, address: SocketAddr) -> Self {
        Candidate { place, address }
    }

    /// RFC 8445 section 5.1.2.1.
    fn priority(&self) -> u32 {
        let local = 65_535 - u32::try_from(self.place).unwrap_or(0).min(65_535);
        (HOST_PREFERENCE << 24) + (local << 8) + (256 - COMPONENT)
    }

    /// As an attribute.
    pub fn attribute(&self) -> Attribute {
        Attribute::new("candidate", self.to_string())
    }
}

impl fmt::Display for Candidate {
    /// The value of `a=candidate` (RFC 8839 section 5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {COMPONENT} udp {} {} {} typ host",
            self.place + 1,
            self.priority(),
            self.address.ip(),
            self.address.port(),
        )
    }
}

/// Why ICE credentials cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum IceError {
    /// None, or only one of the two.
    #[error("a=ice-ufrag and a=ice-pwd are needed")]
    Missing,
    /// Too short, too long, or of other characters.
    #[error(
        "a=ice-ufrag has 4 to 256 and a=ice-pwd 22 to 256 letters, digits, + or / (RFC 8839 section 5.4)"
    )]
    Malformed,
}

/// The credentials of a stream: its own or the session's.
pub(super) fn credentials(session: &Session, media: &Media) -> Result<IceCredentials, IceError> {
    let find = |name: &str| {
        let value = media.attribute(name).map(str::to_owned);
        value.or_else(|| attribute(&session.attributes, name))
    };
    match (find("ice-ufrag"), find("ice-pwd")) {
        (Some(ufrag), Some(password)) => check(ufrag, password),
        _ => Err(IceError::Missing),
    }
}

pub(super) fn attribute(attributes: &[Attribute], name: &str) -> Option<String> {
    attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
        .map(|attribute| attribute.value.clone().unwrap_or_default())
}

fn check(ufrag: String, password: String) -> Result<IceCredentials, IceError> {
    let good = |text: &str, shortest: usize| {
        (shortest..=MAX_CREDENTIAL).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
    };
    if good(&ufrag, MIN_UFRAG) && good(&password, MIN_PASSWORD) {
        Ok(IceCredentials { ufrag, password })
    } else {
        Err(IceError::Malformed)
    }
}

/// An `application/trickle-ice-sdpfrag` body (RFC 8840 section 9). Candidates
/// of a peer are not kept: a lite agent answers checks from wherever they come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrickleFragment {
    /// Of the ICE session it is about; others than before are a restart.
    pub credentials: Option<IceCredentials>,
    /// The stream.
    pub mid: Option<String>,
    /// Ours, when we print one.
    pub candidates: Vec<Candidate>,
    /// No more follow.
    pub end_of_candidates: bool,
}

impl TrickleFragment {
    /// Reads a fragment; lines it does not know are passed over.
    ///
    /// # Errors
    /// [`IceError`] when it has credentials that cannot be any.
    pub fn parse(text: &str) -> Result<Self, IceError> {
        let mut fragment = TrickleFragment::default();
        let (mut ufrag, mut password) = (None, None);
        for line in text.lines() {
            let Some(attribute) = line.trim_end().strip_prefix("a=") else {
                continue;
            };
            let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
            match name {
                "ice-ufrag" => ufrag = Some(value.to_owned()),
                "ice-pwd" => password = Some(value.to_owned()),
                "mid" if fragment.mid.is_none() => fragment.mid = Some(value.to_owned()),
                "end-of-candidates" => fragment.end_of_candidates = true,
                _ => {}
            }
        }
        fragment.credentials = match (ufrag, password) {
            (Some(ufrag), Some(password)) => Some(check(ufrag, password)?),
            (None, None) => None,
            _ => return Err(IceError::Missing),
        };
        Ok(fragment)
    }
}

impl fmt::Display for TrickleFragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(credentials) = &self.credentials {
            write!(f, "a=ice-ufrag:{}\r\n", credentials.ufrag)?;
            write!(f, "a=ice-pwd:{}\r\n", credentials.password)?;
        }
        // RFC 8840 section 9: candidates stand below a pseudo m-line.
        if let Some(mid) = &self.mid {
            write!(f, "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\n")?;
        }
        for candidate in &self.candidates {
            write!(f, "a=candidate:{candidate}\r\n")?;
        }
        if self.end_of_candidates {
            write!(f, "a=end-of-candidates\r\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "asd88fgpdd777uzjYhagZg";

    #[test]
    fn a_fragment_of_candidates_alone_restarts_nothing() {
        let text = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
                    a=candidate:1 1 udp 1 x.local 5 typ host\r\na=end-of-candidates\r\n";
        let fragment = TrickleFragment::parse(text).unwrap();
        assert_eq!(fragment.credentials, None);
        assert_eq!(fragment.mid.as_deref(), Some("0"));
        assert!(fragment.end_of_candidates);
    }

    #[test]
    fn a_printed_fragment_reads_back() {
        let fragment = TrickleFragment {
            credentials: Some(IceCredentials {
                ufrag: "EsAw".to_owned(),
                password: PASSWORD.to_owned(),
            }),
            mid: Some("audio".to_owned()),
            candidates: vec![Candidate::host(0, "[2001:db8::1]:7882".parse().unwrap())],
            end_of_candidates: true,
        };
        let text = fragment.to_string();
        assert!(
            text.contains("a=candidate:1 1 udp 2130706431 2001:db8::1 7882 typ host\r\n"),
            "{text}"
        );
        let read = TrickleFragment::parse(&text).unwrap();
        assert_eq!(read.credentials, fragment.credentials);
        assert_eq!(read.mid, fragment.mid);
    }

    #[test]
    fn half_or_malformed_credentials_are_an_error() {
        let half = TrickleFragment::parse("a=ice-ufrag:EsAw\r\n");
        assert_eq!(half, Err(IceError::Missing));
        let short = format!("a=ice-ufrag:E\r\na=ice-pwd:{PASSWORD}\r\n");
        assert_eq!(TrickleFragment::parse(&short), Err(IceError::Malformed));
    }
}
