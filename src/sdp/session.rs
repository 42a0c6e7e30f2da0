//! A session description: the parts offer/answer needs, and its printed form.
//!
//! Lines that say nothing about the media (`i= u= e= p= r= z= k=`, and `t=`,
//! which SIP does not use, RFC 3264 section 5) are not kept; `t=0 0` is always
//! printed.

use std::fmt;
use std::net::IpAddr;

use super::codec::{Codec, OfferedCodec};
use super::direction::Direction;

/// A session description (RFC 8866).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    /// The `o=` line.
    pub origin: Origin,
    /// The `s=` line; `-` or a single letter in practice.
    pub name: String,
    /// The session's `c=` line, for all media that have none of their own.
    pub connection: Option<Address>,
    /// The texts of the session's `b=` lines.
    pub bandwidth: Vec<String>,
    /// The session's `a=` lines.
    pub attributes: Vec<Attribute>,
    /// The media descriptions in order. In an answer each stands at the place
    /// of the one it answers (RFC 3264 section 6).
    pub media: Vec<Media>,
}

/// The `o=` line (RFC 8866 section 5.2). What cannot be read in a received
/// one is 0 or absent: nothing depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// A login name, or `-`.
    pub username: String,
    /// Constant for the whole dialog.
    pub session_id: u64,
    /// Counts up by one with every changed description (RFC 3264 section 8).
    pub version: u64,
    /// Where the description was made; not where media goes.
    pub address: Option<IpAddr>,
}

/// What a `c=` line names (RFC 8866 section 5.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An address; of a multicast one the TTL and count are dropped.
    Ip(IpAddr),
    /// A host name, which nobody here looks up.
    Host(String),
}

/// One `a=` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The text before the colon.
    pub name: String,
    /// The text after it, if there is a colon.
    pub value: Option<String>,
}

/// One `m=` line and the lines below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// What kind of media.
    pub kind: MediaKind,
    /// The port; 0 is a stream that is refused or no longer wanted.
    pub port: u16,
    /// How many port pairs (`port/number`); 1 unless stated.
    pub port_count: u16,
    /// The transport.
    pub profile: Profile,
    /// The formats: payload numbers for RTP, free text otherwise.
    pub formats: Vec<String>,
    /// The stream's own `c=` line.
    pub connection: Option<Address>,
    /// The texts of its `b=` lines.
    pub bandwidth: Vec<String>,
    /// Its `a=` lines.
    pub attributes: Vec<Attribute>,
}

/// The first word of an `m=` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaKind {
    /// `audio`
    Audio,
    /// `video`
    Video,
    /// `image`: T.38 fax
    Image,
    /// `application`: data channels, BFCP
    Application,
    /// Anything else, as written.
    Other(String),
}

/// The transport of an `m=` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// `RTP/AVP` (RFC 3551)
    RtpAvp,
    /// `RTP/AVPF` (RFC 4585)
    RtpAvpf,
    /// `RTP/SAVP` (RFC 3711)
    RtpSavp,
    /// `RTP/SAVPF` (RFC 5124)
    RtpSavpf,
    /// `UDP/TLS/RTP/SAVP` (RFC 5764)
    UdpTlsRtpSavp,
    /// `UDP/TLS/RTP/SAVPF` (RFC 5764)
    UdpTlsRtpSavpf,
    /// Anything else, as written: `udptl`, `TCP/RTP/AVP`, ...
    Other(String),
}

impl Session {
    /// The address the first live audio stream names: what the other side's
    /// media address family is decided by. `None` without such a stream, or
    /// when it names a host.
    pub fn audio_address(&self) -> Option<IpAddr> {
        let audio = self.media.iter().find(|media| media.is_live_audio())?;
        match self.address_of(audio)? {
            Address::Ip(address) => Some(*address),
            Address::Host(_) => None,
        }
    }

    /// The codecs of the first live audio stream that the gateway can relay,
    /// in the description's order.
    pub fn audio_codecs(&self) -> Vec<Codec> {
        let audio = self.media.iter().find(|media| media.is_live_audio());
        audio
            .map(|media| media.codecs(&[]).iter().map(|entry| entry.codec).collect())
            .unwrap_or_default()
    }

    /// The `c=` line that counts for this stream.
    pub(super) fn address_of<'a>(&'a self, media: &'a Media) -> Option<&'a Address> {
        media.connection.as_ref().or(self.connection.as_ref())
    }

    /// The direction that counts for this stream: its own, else the session's,
    /// else sendrecv (RFC 8866 section 6.7).
    pub(super) fn direction_of(&self, media: &Media) -> Direction {
        let stated = |attributes: &[Attribute]| {
            attributes
                .iter()
                .find_map(|attribute| Direction::from_name(&attribute.name))
        };
        stated(&media.attributes)
            .or_else(|| stated(&self.attributes))
            .unwrap_or_default()
    }
}

impl Media {
    /// Whether this is audio and not refused.
    pub fn is_live_audio(&self) -> bool {
        self.kind == MediaKind::Audio && self.port != 0
    }

    /// The value of the first attribute of this name; `Some("")` for one
    /// without a value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
            .map(|attribute| attribute.value.as_deref().unwrap_or(""))
    }

    /// The listed formats the gateway can relay, in the line's order, each
    /// number once. `a=rtpmap` decides; without one a static number has its
    /// meaning of RFC 3551, and another that of `fallback`.
    pub(super) fn codecs(&self, fallback: &[OfferedCodec]) -> Vec<OfferedCodec> {
        let mut rtpmaps = [None; 128];
        let mut fmtps = [None; 128];
        for attribute in &self.attributes {
            let table = match attribute.name.as_str() {
                name if name.eq_ignore_ascii_case("rtpmap") => &mut rtpmaps,
                name if name.eq_ignore_ascii_case("fmtp") => &mut fmtps,
                _ => continue,
            };
            let value = attribute.value.as_deref().unwrap_or("").trim_start();
            let (number, text) = value
                .split_once(|c: char| c.is_ascii_whitespace())
                .unwrap_or((value, ""));
            if let Some(number) = payload_number(number)
                && let Some(entry) = table.get_mut(usize::from(number))
            {
                entry.get_or_insert(text.trim());
            }
        }
        let mut seen = [false; 128];
        let mut codecs = Vec::new();
        for number in self.payload_numbers() {
            let index = usize::from(number);
            if std::mem::replace(&mut seen[index], true) {
                continue;
            }
            let codec = match rtpmaps[index] {
                Some(text) => Codec::from_rtpmap(text),
                None => Codec::from_static(number).or_else(|| {
                    fallback
                        .iter()
                        .find(|entry| entry.payload_type == number)
                        .map(|entry| entry.codec)
                }),
            };
            if let Some(codec) = codec {
                codecs.push(OfferedCodec {
                    codec,
                    payload_type: number,
                    fmtp: fmtps[index].map(str::to_owned),
                });
            }
        }
        codecs
    }

    /// The formats that are RTP payload numbers.
    pub(super) fn payload_numbers(&self) -> impl Iterator<Item = u8> + '_ {
        self.formats.iter().filter_map(|text| payload_number(text))
    }

    /// The same line refused: port 0, one format (RFC 3264 section 6 asks for
    /// at least one and gives it no meaning).
    pub(super) fn refused(&self) -> Media {
        Media {
            kind: self.kind.clone(),
            port: 0,
            port_count: 1,
            profile: self.profile.clone(),
            formats: vec![self.formats.first().map_or("0", String::as_str).to_owned()],
            connection: None,
            bandwidth: Vec::new(),
            attributes: Vec::new(),
        }
    }
}

/// An RTP payload number: 0 to 127.
fn payload_number(text: &str) -> Option<u8> {
    text.parse().ok().filter(|number| *number < 128)
}

impl Attribute {
    /// `a=name`
    pub fn flag(name: &str) -> Self {
        Attribute {
            name: name.to_owned(),
            value: None,
        }
    }

    /// `a=name:value`
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Attribute {
            name: name.to_owned(),
            value: Some(value.into()),
        }
    }
}

impl MediaKind {
    pub(super) fn from_name(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "audio" => MediaKind::Audio,
            "video" => MediaKind::Video,
            "image" => MediaKind::Image,
            "application" => MediaKind::Application,
            _ => MediaKind::Other(name.to_owned()),
        }
    }

    /// The word as it stands in the `m=` line.
    pub fn name(&self) -> &str {
        match self {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
            MediaKind::Image => "image",
            MediaKind::Application => "application",
            MediaKind::Other(name) => name,
        }
    }
}

impl Profile {
    pub(super) fn from_name(name: &str) -> Self {
        match name.to_ascii_uppercase().as_str() {
            "RTP/AVP" => Profile::RtpAvp,
            "RTP/AVPF" => Profile::RtpAvpf,
            "RTP/SAVP" => Profile::RtpSavp,
            "RTP/SAVPF" => Profile::RtpSavpf,
            "UDP/TLS/RTP/SAVP" => Profile::UdpTlsRtpSavp,
            "UDP/TLS/RTP/SAVPF" => Profile::UdpTlsRtpSavpf,
            _ => Profile::Other(name.to_owned()),
        }
    }

    /// The words as they stand in the `m=` line.
    pub fn name(&self) -> &str {
        match self {
            Profile::RtpAvp => "RTP/AVP",
            Profile::RtpAvpf => "RTP/AVPF",
            Profile::RtpSavp => "RTP/SAVP",
            Profile::RtpSavpf => "RTP/SAVPF",
            Profile::UdpTlsRtpSavp => "UDP/TLS/RTP/SAVP",
            Profile::UdpTlsRtpSavpf => "UDP/TLS/RTP/SAVPF",
            Profile::Other(name) => name,
        }
    }

    /// Whether its keys come from a DTLS handshake (RFC 5764), as those of
    /// browsers do.
    pub fn is_dtls(&self) -> bool {
        matches!(self, Profile::UdpTlsRtpSavp | Profile::UdpTlsRtpSavpf)
    }

    /// Whether its packets are SRTP.
    pub fn is_protected(&self) -> bool {
        self.is_dtls() || matches!(self, Profile::RtpSavp | Profile::RtpSavpf)
    }

    /// Whether the relay speaks it in the clear.
    pub fn is_plain_rtp(&self) -> bool {
        matches!(self, Profile::RtpAvp | Profile::RtpAvpf)
    }
}

impl fmt::Display for Session {
    /// In the order of RFC 8866 section 9, with CRLF line ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v=0\r\n{}s={}\r\n", self.origin, or_dash(&self.name))?;
        write_connection(f, self.connection.as_ref())?;
        write_bandwidth(f, &self.bandwidth)?;
        write!(f, "t=0 0\r\n")?;
        write_attributes(f, &self.attributes)?;
        self.media.iter().try_for_each(|media| write!(f, "{media}"))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = IpAddr::from([0, 0, 0, 0]);
        let address = self.address.unwrap_or(unknown);
        write!(
            f,
            "o={} {} {} IN {} {address}\r\n",
            or_dash(&self.username),
            self.session_id,
            self.version,
            family(address),
        )
    }
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={} {}", self.kind.name(), self.port)?;
        if self.port_count > 1 {
            write!(f, "/{}", self.port_count)?;
        }
        write!(f, " {}", self.profile.name())?;
        for format in &self.formats {
            write!(f, " {format}")?;
        }
        write!(f, "\r\n")?;
        write_connection(f, self.connection.as_ref())?;
        write_bandwidth(f, &self.bandwidth)?;
        write_attributes(f, &self.attributes)
    }
}

fn write_connection(f: &mut fmt::Formatter<'_>, address: Option<&Address>) -> fmt::Result {
    match address {
        Some(Address::Ip(address)) => write!(f, "c=IN {} {address}\r\n", family(*address)),
        Some(Address::Host(host)) => write!(f, "c=IN IP4 {host}\r\n"),
        None => Ok(()),
    }
}

fn write_bandwidth(f: &mut fmt::Formatter<'_>, lines: &[String]) -> fmt::Result {
    lines.iter().try_for_each(|line| write!(f, "b={line}\r\n"))
}

fn write_attributes(f: &mut fmt::Formatter<'_>, attributes: &[Attribute]) -> fmt::Result {
    attributes
        .iter()
        .try_for_each(|Attribute { name, value }| match value {
            Some(value) => write!(f, "a={name}:{value}\r\n"),
            None => write!(f, "a={name}\r\n"),
        })
}

/// The addrtype of RFC 8866 section 5.7.
pub(super) fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IP4",
        IpAddr::V6(_) => "IP6",
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
