//! One offer/answer exchange (RFC 3264): no memory of earlier ones, which is
//! what [`super::Exchange`] adds.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::codec::{Codec, OfferedCodec, keep_matching_clocks};
use super::direction::Direction;
use super::ice::IceError;
use super::negotiated::{Negotiated, NegotiatedCodec};
use super::numbers::PayloadNumbers;
use super::parse::parse_rtcp;
use super::security::{self, LocalSecurity};
use super::session::{Address, Attribute, Media, MediaKind, Origin, Profile, Session};

/// The gateway's side of one leg's session: what its descriptions say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Where the peer shall send media; decides the address family.
    pub address: IpAddr,
    /// The leg's RTP port.
    pub rtp_port: u16,
    /// The leg's RTCP port, used unless both sides agree on rtcp-mux.
    pub rtcp_port: u16,
    /// Unique for the leg, constant over its dialog.
    pub session_id: u64,
    /// The version of the next description.
    pub version: u64,
    /// What the leg can relay, best first.
    pub codecs: Cow<'static, [OfferedCodec]>,
    /// What the gateway is willing to do.
    pub direction: Direction,
    /// How its media may be protected.
    pub security: LocalSecurity,
}

impl Local {
    /// A leg that relays every codec both ways, in the clear.
    pub fn new(address: IpAddr, rtp_port: u16, rtcp_port: u16, session_id: u64) -> Self {
        Local {
            address,
            rtp_port,
            rtcp_port,
            session_id,
            version: 1,
            codecs: Cow::Borrowed(OfferedCodec::all_usual()),
            direction: Direction::SendRecv,
            security: LocalSecurity::off(),
        }
    }

    /// The same leg with only these codecs, in the order of `allowed`: what to
    /// offer to a peer that shall talk to a leg which takes just these.
    pub fn narrowed(&self, allowed: &[Codec]) -> Local {
        let entry_of = |codec: &Codec| self.codecs.iter().find(|entry| entry.codec == *codec);
        Local {
            codecs: allowed.iter().filter_map(entry_of).cloned().collect(),
            ..self.clone()
        }
    }

    /// From now on the peer knows the codec by this number.
    pub(super) fn set_number(&mut self, codec: Codec, number: u8) {
        let differs = |own: &OfferedCodec| own.codec == codec && own.payload_type != number;
        if !self.codecs.iter().any(differs) {
            // Most peers use the usual numbers, of which no leg needs a copy.
            return;
        }
        for own in self.codecs.to_mut() {
            if own.codec == codec {
                own.payload_type = number;
            }
        }
    }
}

/// Why an offer or an answer cannot be used. An offer is then refused with
/// 488; an answer ends the call. Where several audio lines fail, the error is
/// that of the one which came furthest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NegotiationError {
    /// An answer came to no offer of ours.
    #[error("an answer without an offer")]
    NoOffer,
    /// There is no audio stream, or only refused ones.
    #[error("no audio stream")]
    NoAudio,
    /// The answer does not describe the stream that was offered.
    #[error("the answer's media lines do not match the offer's")]
    Mismatch,
    /// The transport is no RTP.
    #[error("the audio transport is not one of RTP that is spoken here")]
    Profile,
    /// The peer's stream is SRTP where that is off.
    #[error("the audio stream is SRTP, and SRTP is off here")]
    SrtpOff,
    /// SRTP is offered without keys that can be used.
    #[error("no a=crypto of a suite that is spoken here, and no a=fingerprint with a=setup")]
    NoKeys,
    /// SRTP is required, and the peer has none.
    #[error("SRTP is required, and the audio stream has none")]
    NotProtected,
    /// The answer took SRTP keys that were not offered, or none that is usable.
    #[error("the answer's a=crypto or a=setup does not fit what was offered")]
    Crypto,
    /// A WebRTC peer's transport is not DTLS-SRTP.
    #[error("the audio transport of a WebRTC offer is UDP/TLS/RTP/SAVPF")]
    NotWebRtc,
    /// A WebRTC peer would send RTCP on a port of its own.
    #[error("a=rtcp-mux is needed")]
    NoRtcpMux,
    /// A WebRTC peer's ICE credentials are missing or malformed.
    #[error("{0}")]
    Ice(IceError),
    /// A WebRTC peer's certificate is not named.
    #[error("a=fingerprint with sha-1, sha-256, sha-384 or sha-512 is needed")]
    NoFingerprint,
    /// No address, a host name, or a multicast address.
    #[error("the audio stream has no unicast address")]
    Address,
    /// The peer is on IPv6 and this leg on IPv4, or the other way round.
    #[error("the audio stream's address is of another family than ours")]
    AddressFamily,
    /// Not one audio codec in common.
    #[error("no common audio codec")]
    NoCommonCodec,
}

impl NegotiationError {
    /// Whether it is the protection of the media that was not agreed on.
    pub fn is_about_security(self) -> bool {
        matches!(
            self,
            NegotiationError::SrtpOff
                | NegotiationError::NoKeys
                | NegotiationError::NotProtected
                | NegotiationError::Crypto
        )
    }
}

/// The description to offer (RFC 3264 section 5): one audio stream with all of
/// `local`'s codecs and rtcp-mux. A payload number that is listed twice or is
/// past 127 is replaced.
///
/// # Errors
/// [`NegotiationError::NoKeys`] when SRTP is required and has no keys.
pub fn offer(local: &Local) -> Result<Session, NegotiationError> {
    let profile = local.security.profile();
    offer_with(local, &mut PayloadNumbers::new(), profile)
}

pub(super) fn offer_with(
    local: &Local,
    numbers: &mut PayloadNumbers,
    profile: Profile,
) -> Result<Session, NegotiationError> {
    let keys = local.security.offer()?;
    let mut codecs = local.codecs.to_vec();
    keep_matching_clocks(&mut codecs, |entry| entry.codec);
    let codecs = numbers.assign(&codecs);
    let mut audio = describe_audio(local, profile, &codecs, true, local.direction, None);
    audio.attributes.extend(keys);
    Ok(describe(local, vec![audio]))
}

/// Answers an offer (RFC 3264 section 6): the first audio stream that can be
/// relayed is taken with its payload numbers and order, every other stream is
/// refused in its place. `allowed` narrows the codecs further: what the leg on
/// the other side can take.
///
/// # Errors
/// [`NegotiationError`] when no audio stream can be taken.
pub fn answer(
    offer: &Session,
    local: &Local,
    allowed: &[Codec],
) -> Result<(Session, Negotiated), NegotiationError> {
    let mut error = NegotiationError::NoAudio;
    for (index, media) in offer.media.iter().enumerate() {
        if !media.is_live_audio() {
            continue;
        }
        match answer_audio(offer, media, local, allowed) {
            Ok((audio, negotiated)) => {
                let mut lines: Vec<Media> = offer.media.iter().map(Media::refused).collect();
                lines[index] = audio;
                return Ok((describe(local, lines), negotiated));
            }
            Err(reason) => error = error.max(reason),
        }
    }
    Err(error)
}

fn answer_audio(
    offer: &Session,
    media: &Media,
    local: &Local,
    allowed: &[Codec],
) -> Result<(Media, Negotiated), NegotiationError> {
    let remote = Remote::read(offer, media, local.address)?;
    let (keys, protection) = local.security.answer(offer, media)?;
    let mut common: Vec<(OfferedCodec, NegotiatedCodec)> = Vec::new();
    for theirs in media.codecs(&[]) {
        let Some(ours) = local
            .codecs
            .iter()
            .find(|entry| entry.codec == theirs.codec)
        else {
            continue;
        };
        // The same codec under a second number would have two meanings for
        // the relay: the first, which the peer prefers, is taken.
        let listed = common.iter().any(|(entry, _)| entry.codec == theirs.codec);
        if listed || !allowed.contains(&theirs.codec) {
            continue;
        }
        common.push((
            OfferedCodec {
                // RFC 3264 section 6.1: the answer uses the offer's numbers.
                payload_type: theirs.payload_type,
                ..ours.clone()
            },
            NegotiatedCodec {
                codec: theirs.codec,
                receive: theirs.payload_type,
                send: theirs.payload_type,
                fmtp: theirs.fmtp,
            },
        ));
    }
    keep_matching_clocks(&mut common, |(entry, _)| entry.codec);
    let (listed, codecs): (Vec<OfferedCodec>, Vec<NegotiatedCodec>) = common.into_iter().unzip();
    require_audio(&codecs)?;

    // RFC 5761 section 4: these numbers cannot be told from RTCP on one port.
    let ambiguous = listed
        .iter()
        .any(|entry| (64..96).contains(&entry.payload_type));
    let rtcp_mux = media.attribute("rtcp-mux").is_some() && !ambiguous;
    let stated = offer.direction_of(media);
    // RFC 3264 section 8.4: the older form of hold, which is a sendonly.
    let asked = if remote.rtp.ip().is_unspecified() {
        stated.and(Direction::SendOnly)
    } else {
        stated
    };
    let direction = asked.mirrored().and(local.direction);
    let ptime = packet_time(media);
    let mut audio = describe_audio(
        local,
        media.profile.clone(),
        &listed,
        rtcp_mux,
        direction,
        ptime,
    );
    audio.attributes.extend(keys);
    let negotiated = Negotiated {
        remote_rtp: remote.rtp,
        remote_rtcp: if rtcp_mux { remote.rtp } else { remote.rtcp },
        rtcp_mux,
        send: direction.sends(),
        receive: direction.receives(),
        held: !asked.receives(),
        codecs,
        ptime,
        security: protection,
    };
    Ok((audio, negotiated))
}

/// What an answer to our offer agrees on (RFC 3264 section 7). May be asked
/// again with another answer to the same offer: a 183 and a 200 may differ,
/// and each fork answers for itself.
///
/// # Errors
/// [`NegotiationError`] when the peer refused the stream or answered with
/// something that was not offered.
pub fn apply_answer(our_offer: &Session, answer: &Session) -> Result<Negotiated, NegotiationError> {
    let (index, ours) = our_offer
        .media
        .iter()
        .enumerate()
        .find(|(_, media)| media.is_live_audio())
        .ok_or(NegotiationError::NoOffer)?;
    let theirs = answer.media.get(index).ok_or(NegotiationError::Mismatch)?;
    if theirs.kind != MediaKind::Audio {
        return Err(NegotiationError::Mismatch);
    }
    if theirs.port == 0 {
        return Err(NegotiationError::NoAudio);
    }
    let our_address = match our_offer.address_of(ours) {
        Some(Address::Ip(address)) => *address,
        Some(Address::Host(_)) | None => return Err(NegotiationError::Address),
    };
    let remote = Remote::read(answer, theirs, our_address)?;

    let offered = ours.codecs(&[]);
    let mut codecs: Vec<NegotiatedCodec> = Vec::new();
    // A dynamic number that the answer does not explain means what it means
    // in the offer: some leave the a=rtpmap out.
    for entry in theirs.codecs(&offered) {
        let listed = codecs.iter().any(|known| known.codec == entry.codec);
        if let Some(own) = offered.iter().find(|own| own.codec == entry.codec)
            && !listed
        {
            codecs.push(NegotiatedCodec {
                codec: entry.codec,
                // RFC 3264 section 5.1: each side receives the numbers that
                // its own description lists.
                receive: own.payload_type,
                send: entry.payload_type,
                fmtp: entry.fmtp,
            });
        }
    }
    keep_matching_clocks(&mut codecs, |entry| entry.codec);
    require_audio(&codecs)?;

    let rtcp_mux = ours.attribute("rtcp-mux").is_some() && theirs.attribute("rtcp-mux").is_some();
    let own = our_offer.direction_of(ours);
    let stated = answer.direction_of(theirs);
    let unspecified = remote.rtp.ip().is_unspecified();
    let send = own.sends() && stated.receives() && !unspecified;
    Ok(Negotiated {
        remote_rtp: remote.rtp,
        remote_rtcp: if rtcp_mux { remote.rtp } else { remote.rtcp },
        rtcp_mux,
        send,
        receive: own.receives() && stated.sends(),
        held: own.sends() && !send,
        codecs,
        ptime: packet_time(theirs),
        security: security::settle(ours, answer, theirs)?,
    })
}

/// Where a peer's description asks for media.
struct Remote {
    rtp: SocketAddr,
    rtcp: SocketAddr,
}

impl Remote {
    fn read(
        session: &Session,
        media: &Media,
        our_address: IpAddr,
    ) -> Result<Self, NegotiationError> {
        if !media.profile.is_plain_rtp() && !media.profile.is_protected() {
            return Err(NegotiationError::Profile);
        }
        let address = match session.address_of(media) {
            Some(Address::Ip(address)) if is_unicast(*address) => *address,
            Some(_) | None => return Err(NegotiationError::Address),
        };
        // 0.0.0.0 is hold in either family (RFC 3264 section 8.4, RFC 6157).
        if !address.is_unspecified() && address.is_ipv4() != our_address.is_ipv4() {
            return Err(NegotiationError::AddressFamily);
        }
        let rtp = SocketAddr::new(address, media.port);
        Ok(Remote {
            rtp,
            rtcp: rtcp_address(media, rtp),
        })
    }
}

/// RFC 3605: as `a=rtcp` says, else the next port (RFC 3550 section 11).
fn rtcp_address(media: &Media, rtp: SocketAddr) -> SocketAddr {
    let next = || SocketAddr::new(rtp.ip(), rtp.port().checked_add(1).unwrap_or(rtp.port()));
    let Some((port, address)) = media.attribute("rtcp").and_then(parse_rtcp) else {
        return next();
    };
    let usable = |address: &IpAddr| {
        is_unicast(*address) && !address.is_unspecified() && address.is_ipv4() == rtp.ip().is_ipv4()
    };
    let address = address.filter(usable).unwrap_or(rtp.ip());
    SocketAddr::new(address, port)
}

/// Unspecified counts as unicast: it is a form of hold, not of address.
fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_multicast(),
    }
}

fn require_audio(codecs: &[NegotiatedCodec]) -> Result<(), NegotiationError> {
    if codecs.iter().any(|entry| entry.codec.is_audio()) {
        Ok(())
    } else {
        Err(NegotiationError::NoCommonCodec)
    }
}

/// The peer's `a=ptime` in ms, no longer than its `a=maxptime`; absent when
/// neither makes sense. Sloppy fractions (`20.0`) are cut.
fn packet_time(media: &Media) -> Option<u32> {
    let read = |name: &str| {
        let digits = media
            .attribute(name)?
            .split(|c: char| !c.is_ascii_digit())
            .next()?;
        let milliseconds: u32 = digits.parse().ok()?;
        (1..=1000).contains(&milliseconds).then_some(milliseconds)
    };
    match (read("ptime"), read("maxptime")) {
        (Some(ptime), Some(most)) => Some(ptime.min(most)),
        (ptime, _) => ptime,
    }
}

fn describe(local: &Local, media: Vec<Media>) -> Session {
    Session {
        origin: Origin {
            username: "-".to_owned(),
            session_id: local.session_id,
            version: local.version,
            address: Some(local.address),
        },
        name: "-".to_owned(),
        connection: Some(Address::Ip(local.address)),
        bandwidth: Vec::new(),
        attributes: Vec::new(),
        media,
    }
}

fn describe_audio(
    local: &Local,
    profile: Profile,
    codecs: &[OfferedCodec],
    rtcp_mux: bool,
    direction: Direction,
    ptime: Option<u32>,
) -> Media {
    let mut attributes = Vec::with_capacity(2 * codecs.len() + 4);
    for entry in codecs {
        let number = entry.payload_type;
        attributes.push(Attribute::new(
            "rtpmap",
            format!("{number} {}", entry.codec.rtpmap()),
        ));
        if let Some(fmtp) = &entry.fmtp {
            attributes.push(Attribute::new("fmtp", format!("{number} {fmtp}")));
        }
    }
    if let Some(ptime) = ptime {
        attributes.push(Attribute::new("ptime", ptime.to_string()));
    }
    // RFC 3605 section 2.1: only where it is not the next port.
    if local.rtp_port.checked_add(1) != Some(local.rtcp_port) {
        attributes.push(Attribute::new("rtcp", local.rtcp_port.to_string()));
    }
    if rtcp_mux {
        attributes.push(Attribute::flag("rtcp-mux"));
    }
    attributes.push(Attribute::flag(direction.name()));
    Media {
        kind: MediaKind::Audio,
        port: local.rtp_port,
        port_count: 1,
        profile,
        formats: codecs
            .iter()
            .map(|entry| entry.payload_type.to_string())
            .collect(),
        connection: None,
        bandwidth: Vec::new(),
        attributes,
    }
}
