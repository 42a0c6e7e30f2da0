//! The answer to a browser's offer (RFC 8829, RFC 9725): one audio stream on
//! one transport, everything else refused in its place.

use std::net::{IpAddr, SocketAddr};

use super::codec::{Codec, OfferedCodec, keep_matching_clocks};
use super::direction::Direction;
use super::dtls::{self, Setup};
use super::ice::{self, Candidate};
use super::negotiated::{Negotiated, NegotiatedCodec};
use super::offer_answer::NegotiationError;
use super::session::{Address, Attribute, Media, Origin, Session};
use crate::keying::{DtlsRole, Fingerprint, IceCredentials, Security};

/// Header extensions that are agreed to: the peer may send them. They are
/// taken off on the way to another peer.
const EXTENSIONS: [&str; 2] = [
    // RFC 9143 section 16.2
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    // RFC 6464
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
];

/// Parameters of our opus (RFC 7587 section 7).
const OPUS_FMTP: &str = "minptime=10;useinbandfec=1";

/// The gateway's side of a WebRTC leg.
#[derive(Debug, Clone)]
pub struct WebRtcLocal {
    /// Where the peer reaches us, the preferred address first.
    pub candidates: Vec<SocketAddr>,
    /// Our ICE credentials.
    pub ice: IceCredentials,
    /// Of our certificate.
    pub fingerprint: Fingerprint,
    /// The SSRC that the peer will see.
    pub ssrc: u32,
    /// RTCP's canonical name of it (RFC 3550 section 6.5.1).
    pub cname: String,
    /// Constant over the leg's life.
    pub session_id: u64,
    /// Of this answer.
    pub version: u64,
}

/// What the answer agrees on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebRtcNegotiated {
    /// Direction, codecs and keying; the addresses are ICE's to find.
    pub negotiated: Negotiated,
    /// The peer's ICE credentials.
    pub ice: IceCredentials,
}

/// Answers a browser's offer. The order of `allowed` decides about the codec,
/// not the offer's.
///
/// # Errors
/// [`NegotiationError`] that names what is missing.
pub fn answer(
    offer: &Session,
    local: &WebRtcLocal,
    allowed: &[Codec],
) -> Result<(Session, WebRtcNegotiated), NegotiationError> {
    let (place, theirs) = offer
        .media
        .iter()
        .enumerate()
        .find(|(_, media)| media.is_live_audio())
        .ok_or(NegotiationError::NoAudio)?;
    if !theirs.profile.is_dtls() {
        return Err(NegotiationError::NotWebRtc);
    }
    if theirs.attribute("rtcp-mux").is_none() {
        return Err(NegotiationError::NoRtcpMux);
    }
    let ice = ice::credentials(offer, theirs).map_err(NegotiationError::Ice)?;
    let fingerprints = dtls::fingerprints(offer, theirs);
    if fingerprints.is_empty() {
        return Err(NegotiationError::NoFingerprint);
    }
    // RFC 9725 section 4.4.3: a WHIP endpoint is passive where it may choose.
    let setup = dtls::setup(offer, theirs).unwrap_or(Setup::ActPass);
    let role = dtls::role(setup, DtlsRole::Server);
    let (listed, codecs) = common_codecs(theirs, allowed)?;
    let direction = offer.direction_of(theirs).mirrored();
    let our_setup = match role {
        DtlsRole::Client => Setup::Active,
        DtlsRole::Server => Setup::Passive,
    };
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 9));
    let negotiated = Negotiated {
        remote_rtp: nowhere,
        remote_rtcp: nowhere,
        rtcp_mux: true,
        send: direction.sends(),
        receive: direction.receives(),
        held: !direction.sends(),
        codecs,
        ptime: None,
        security: Security::Dtls { role, fingerprints },
    };
    let audio = describe(theirs, local, &listed, direction, our_setup);
    let mut media: Vec<Media> = offer.media.iter().map(refused).collect();
    media[place] = audio;
    let mut attributes = vec![Attribute::flag("ice-lite")];
    if let Some(mid) = theirs.attribute("mid")
        && ice::attribute(&offer.attributes, "group").is_some()
    {
        attributes.push(Attribute::new("group", format!("BUNDLE {mid}")));
    }
    attributes.push(Attribute::new("msid-semantic", "WMS *"));
    let address = local.candidates.first().map(SocketAddr::ip);
    let session = Session {
        origin: Origin {
            username: "-".to_owned(),
            session_id: local.session_id,
            version: local.version,
            address,
        },
        name: "-".to_owned(),
        connection: None,
        bandwidth: Vec::new(),
        attributes,
        media,
    };
    Ok((session, WebRtcNegotiated { negotiated, ice }))
}

/// The codecs that both have, in the order of `allowed`, under the offer's
/// numbers (RFC 3264 section 6.1).
fn common_codecs(
    theirs: &Media,
    allowed: &[Codec],
) -> Result<(Vec<OfferedCodec>, Vec<NegotiatedCodec>), NegotiationError> {
    let offered = theirs.codecs(&[]);
    let mut common: Vec<OfferedCodec> = allowed
        .iter()
        .filter_map(|codec| offered.iter().find(|entry| entry.codec == *codec))
        .cloned()
        .collect();
    keep_matching_clocks(&mut common, |entry| entry.codec);
    if !common.iter().any(|entry| entry.codec.is_audio()) {
        return Err(NegotiationError::NoCommonCodec);
    }
    let agreed = common
        .iter()
        .map(|entry| NegotiatedCodec {
            codec: entry.codec,
            receive: entry.payload_type,
            send: entry.payload_type,
            fmtp: entry.fmtp.clone(),
        })
        .collect();
    let listed = common
        .into_iter()
        .map(|entry| OfferedCodec {
            fmtp: match entry.codec {
                Codec::Opus => Some(OPUS_FMTP.to_owned()),
                Codec::TelephoneEvent(_) => Some("0-15".to_owned()),
                Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::ComfortNoise => None,
            },
            ..entry
        })
        .collect();
    Ok((listed, agreed))
}

fn describe(
    theirs: &Media,
    local: &WebRtcLocal,
    codecs: &[OfferedCodec],
    direction: Direction,
    setup: Setup,
) -> Media {
    let mut attributes = Vec::new();
    if let Some(mid) = theirs.attribute("mid") {
        attributes.push(Attribute::new("mid", mid));
    }
    attributes.push(Attribute::new("ice-ufrag", local.ice.ufrag.as_str()));
    attributes.push(Attribute::new("ice-pwd", local.ice.password.as_str()));
    attributes.push(dtls::fingerprint_attribute(&local.fingerprint));
    attributes.push(Attribute::new("setup", setup.name()));
    attributes.extend(
        theirs
            .attributes
            .iter()
            .filter(is_agreed_extension)
            .cloned(),
    );
    attributes.push(Attribute::flag(direction.name()));
    attributes.push(Attribute::flag("rtcp-mux"));
    if theirs.attribute("rtcp-rsize").is_some() {
        attributes.push(Attribute::flag("rtcp-rsize"));
    }
    for entry in codecs {
        let number = entry.payload_type;
        let rtpmap = format!("{number} {}", entry.codec.rtpmap());
        attributes.push(Attribute::new("rtpmap", rtpmap));
        if let Some(fmtp) = &entry.fmtp {
            attributes.push(Attribute::new("fmtp", format!("{number} {fmtp}")));
        }
    }
    if direction.sends() {
        // RFC 8830: one stream with one track.
        attributes.push(Attribute::new("msid", "ringwire audio"));
        let source = format!("{} cname:{}", local.ssrc, local.cname);
        attributes.push(Attribute::new("ssrc", source));
    }
    for (place, address) in local.candidates.iter().enumerate() {
        attributes.push(Candidate::host(place, *address).attribute());
    }
    attributes.push(Attribute::flag("end-of-candidates"));
    let first = local.candidates.first().copied();
    let first = first.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 9)));
    Media {
        kind: theirs.kind.clone(),
        port: first.port(),
        port_count: 1,
        profile: theirs.profile.clone(),
        formats: codecs
            .iter()
            .map(|entry| entry.payload_type.to_string())
            .collect(),
        connection: Some(Address::Ip(first.ip())),
        bandwidth: Vec::new(),
        attributes,
    }
}

/// `a=extmap:<id>[/direction] <uri> …` (RFC 8285 section 8).
fn is_agreed_extension(attribute: &&Attribute) -> bool {
    attribute.name.eq_ignore_ascii_case("extmap")
        && attribute
            .value
            .as_deref()
            .and_then(|value| value.split_ascii_whitespace().nth(1))
            .is_some_and(|uri| EXTENSIONS.contains(&uri))
}

/// A refused stream keeps its mid, which is then in no bundle (RFC 9143
/// section 7.3.3).
fn refused(theirs: &Media) -> Media {
    let mut media = theirs.refused();
    let unspecified = IpAddr::from([0, 0, 0, 0]);
    media.connection = Some(Address::Ip(unspecified));
    if let Some(mid) = theirs.attribute("mid") {
        media.attributes.push(Attribute::new("mid", mid));
    }
    media
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keying::FingerprintHash;

    /// What Chromium offers, shortened.
    const OFFER: &str = "v=0\r\no=- 4611 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 0.0.0.0\r\n\
        a=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\n\
        a=ice-options:trickle\r\n\
        a=fingerprint:sha-256 49:66:12:17:0D:1C:91:AE:57:4C:C6:36:DD:D5:97:D2:7D:62:C9:9A:7F:B9:A3:F4:70:03:E7:43:91:73:23:5E\r\n\
        a=setup:actpass\r\na=mid:0\r\n\
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
        a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=sendrecv\r\na=rtcp-mux\r\n\
        a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
        a=rtpmap:63 red/48000/2\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\n\
        a=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\n\
        a=rtpmap:126 telephone-event/8000\r\na=ssrc:5 cname:x\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n";

    fn local() -> WebRtcLocal {
        WebRtcLocal {
            candidates: vec![
                "192.0.2.1:7882".parse().unwrap(),
                "[2001:db8::1]:7882".parse().unwrap(),
            ],
            ice: IceCredentials {
                ufrag: "ours".to_owned(),
                password: "oursoursoursoursoursours".to_owned(),
            },
            fingerprint: Fingerprint {
                hash: FingerprintHash::Sha256,
                digest: vec![0xAB; 32],
            },
            ssrc: 77,
            cname: "c".to_owned(),
            session_id: 1,
            version: 1,
        }
    }

    fn offer(text: &str) -> Session {
        Session::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_browser_gets_its_audio_on_one_transport_and_its_video_refused() {
        let allowed = [
            Codec::Pcma,
            Codec::Opus,
            Codec::TelephoneEvent(8000),
            Codec::TelephoneEvent(48000),
        ];
        let (answer, agreed) = answer(&offer(OFFER), &local(), &allowed).unwrap();
        let text = answer.to_string();
        for line in [
            "a=ice-lite\r\n",
            "a=group:BUNDLE 0\r\n",
            "m=audio 7882 UDP/TLS/RTP/SAVPF 8 111 126 110\r\n",
            "a=setup:passive\r\n",
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n",
            "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
            "a=candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host\r\n",
            "a=candidate:2 1 udp 2130706175 2001:db8::1 7882 typ host\r\n",
            "a=end-of-candidates\r\n",
            "a=ssrc:77 cname:c\r\n",
            "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("abs-send-time"));
        assert_eq!(agreed.ice.ufrag, "EsAw");
        let negotiated = agreed.negotiated;
        assert!(negotiated.send && negotiated.receive && !negotiated.held);
        assert_eq!(negotiated.codecs[0].codec, Codec::Pcma);
        let Security::Dtls { role, fingerprints } = negotiated.security else {
            panic!("not DTLS");
        };
        assert_eq!(role, DtlsRole::Server);
        assert_eq!(fingerprints[0].digest[0], 0x49);
        // What was printed can be read by a peer.
        assert!(Session::parse(text.as_bytes()).is_ok());
    }

    #[test]
    fn one_way_clients_get_the_mirrored_direction() {
        for (theirs, ours, send, receive) in [
            ("a=sendonly", "a=recvonly\r\n", false, true),
            ("a=recvonly", "a=sendonly\r\n", true, false),
        ] {
            let text = OFFER.replace("a=sendrecv", theirs);
            let (answer, agreed) = answer(&offer(&text), &local(), &Codec::ALL).unwrap();
            assert!(answer.to_string().contains(ours));
            assert_eq!(agreed.negotiated.send, send);
            assert_eq!(agreed.negotiated.receive, receive);
        }
    }

    #[test]
    fn an_active_peer_is_awaited_and_a_passive_one_called() {
        for (theirs, ours) in [("active", "passive"), ("passive", "active")] {
            let text = OFFER.replace("setup:actpass", &format!("setup:{theirs}"));
            let (answer, _) = answer(&offer(&text), &local(), &Codec::ALL).unwrap();
            assert!(answer.to_string().contains(&format!("a=setup:{ours}\r\n")));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let without = |line: &str| {
            let text: String = OFFER
                .split_inclusive("\r\n")
                .filter(|l| !l.starts_with(line))
                .collect();
            answer(&offer(&text), &local(), &Codec::ALL)
                .unwrap_err()
                .to_string()
        };
        assert!(without("a=fingerprint").contains("fingerprint"));
        assert!(without("a=ice-ufrag").contains("ice-ufrag"));
        assert!(without("a=rtcp-mux").contains("rtcp-mux"));
        assert!(without("m=audio").contains("audio"));
        let none = answer(&offer(OFFER), &local(), &[Codec::TelephoneEvent(8000)]);
        assert_eq!(none.unwrap_err(), NegotiationError::NoCommonCodec);
        let plain = OFFER.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP");
        let refused = answer(&offer(&plain), &local(), &Codec::ALL);
        assert_eq!(refused.unwrap_err(), NegotiationError::NotWebRtc);
    }
}
