//! Between SDP and the relay: what a body says, and what the leg table needs
//! of it.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::book::DtmfPolicy;
use crate::call::room::{KeyDelivery, Keys, LegAddress};
use crate::keying::{Fingerprint, Srtp};
use crate::media::{Latch, PayloadMapping, Remote};
use crate::sdp::{
    Codec, Exchange, Local, LocalSecurity, Negotiated, NegotiatedCodec, NegotiationError, SdpError,
    Session,
};
use crate::sip::agent::Body;
use crate::sound::codec::{AudioCodec, OpusParameters};
use crate::sound::conference::{Description, Events};

/// Reads a session description.
///
/// # Errors
/// [`SdpError`] when it is none.
pub(super) fn parse(body: &Body) -> Result<Session, SdpError> {
    Session::parse(&body.content)
}

/// What the leg has just said of itself, as a message body.
pub(super) fn body(exchange: &Exchange) -> Body {
    Body::sdp(Bytes::copy_from_slice(exchange.sent_text().as_bytes()))
}

/// A leg that has said nothing yet.
pub(super) fn exchange(
    local: &LegAddress,
    srtp: Srtp,
    fingerprint: Option<&Arc<Fingerprint>>,
    random: &mut StdRng,
) -> Exchange {
    // RFC 8866 section 5.2 wants numbers that fit a signed 64 bit integer;
    // peers are known to keep them in 32.
    let session_id = u64::from(random.random::<u32>() >> 1);
    let fill = |bytes: &mut [u8]| random.fill(bytes);
    let security = LocalSecurity::new(srtp.policy, srtp.keying, fingerprint.cloned(), fill);
    Exchange::new(Local {
        security,
        ..Local::new(local.address, local.rtp_port, local.rtcp_port, session_id)
    })
}

/// What may be agreed on with a peer beside what its room's other takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Anything: the room is mixed then.
    Anything,
    /// Nothing: the two are only ever relayed.
    Nothing,
}

/// What to offer to a peer whose room's other takes `others`: those first, so
/// that the two are relayed where they can be; then everything else, for which
/// the gateway stands between them. Comfort noise is not among that: a relay
/// would have nothing to pass on while its sender pauses, where without it the
/// other hears the background as it is.
pub(super) fn offered_codecs(others: Option<&[Codec]>, beside: Beside) -> Vec<Codec> {
    let others = match (others, beside) {
        (Some(others), Beside::Nothing) => return others.to_vec(),
        (others, _) => others.unwrap_or_default(),
    };
    let alone = others.is_empty();
    let rest = Codec::ALL.iter().filter(|codec| {
        let relayed = alone || **codec != Codec::ComfortNoise;
        relayed && !others.contains(codec)
    });
    others.iter().chain(rest).copied().collect()
}

/// Answers an offer with what the room's other takes too, where there is any
/// such codec; else with whatever the gateway can code.
pub(super) fn answer(
    exchange: &mut Exchange,
    offer: &Session,
    others: Option<&[Codec]>,
    beside: Beside,
) -> Result<(Session, Negotiated), NegotiationError> {
    if let Some(others) = others {
        match exchange.answer(offer, others) {
            Err(NegotiationError::NoCommonCodec) if beside == Beside::Anything => {}
            answered => return answered,
        }
    }
    exchange.answer(offer, &Codec::ALL)
}

/// The peer's side of a leg for the leg table. `signalling` is where its SIP
/// messages come from. A peer that is not to get keys as telephone events is
/// not relayed any.
pub(super) fn remote(negotiated: &Negotiated, signalling: IpAddr, delivery: KeyDelivery) -> Remote {
    Remote {
        rtp: negotiated.remote_rtp,
        rtcp: negotiated.remote_rtcp,
        rtcp_mux: negotiated.rtcp_mux,
        send: negotiated.send,
        receive: negotiated.receive,
        held: negotiated.held,
        latch: latch(negotiated.remote_rtp.ip(), signalling),
        security: negotiated.security.clone(),
        payloads: negotiated
            .codecs
            .iter()
            .map(|entry| PayloadMapping {
                codec: entry.codec.id(),
                receive: entry.receive,
                send: (!entry.codec.is_event() || delivery == KeyDelivery::Events)
                    .then_some(entry.send),
                clock_rate: entry.codec.clock_rate(),
            })
            .collect(),
    }
}

/// How the sound of a leg is coded, for rooms where it has to be made: by the
/// first codec that was agreed on (RFC 3264 section 6.1).
pub(super) fn sound(negotiated: &Negotiated, delivery: KeyDelivery) -> Option<Description> {
    let entry = negotiated.codecs.iter().find(|e| e.codec.is_audio())?;
    let codec = match entry.codec {
        Codec::Pcmu => AudioCodec::Pcmu,
        Codec::Pcma => AudioCodec::Pcma,
        Codec::G722 => AudioCodec::G722,
        Codec::Opus => AudioCodec::Opus(opus(entry.fmtp.as_deref().unwrap_or_default())),
        Codec::ComfortNoise | Codec::TelephoneEvent(_) => return None,
    };
    // RFC 4733 section 2.1: events share the clock of the sound beside them;
    // where none does, any will do (`EventClocks` says how).
    let is_event = |e: &&NegotiatedCodec| e.codec.is_event();
    let mut events = negotiated.codecs.iter().filter(is_event);
    let fits = |e: &&NegotiatedCodec| e.codec.clock_rate() == codec.clock_rate();
    let events = match delivery {
        KeyDelivery::Events => events.clone().find(fits).or_else(|| events.next()),
        KeyDelivery::Info | KeyDelivery::Tones => None,
    };
    Some(Description {
        codec,
        payload_type: entry.send,
        takes: negotiated.send,
        events: events.map(|entry| Events {
            payload_type: entry.send,
            clock_rate: entry.codec.clock_rate(),
        }),
    })
}

/// How keys go to the peer, and where its own are. `takes_info` is what it has
/// said of INFO.
pub(super) fn keys(policy: DtmfPolicy, negotiated: &Negotiated, takes_info: bool) -> Keys {
    let has_events = negotiated.codecs.iter().any(|e| e.codec.is_event());
    let else_tones = delivery_without_info(negotiated);
    match policy {
        DtmfPolicy::Auto => Keys {
            delivery: match else_tones {
                KeyDelivery::Tones if takes_info => KeyDelivery::Info,
                delivery => delivery,
            },
            come_as_tones: !has_events,
        },
        DtmfPolicy::Events => Keys {
            delivery: else_tones,
            come_as_tones: !has_events,
        },
        // Who writes this knows that the peer speaks INFO; looking for tones as
        // well would find keys twice with peers that send both.
        DtmfPolicy::Info => Keys {
            delivery: KeyDelivery::Info,
            come_as_tones: false,
        },
        DtmfPolicy::Tones => Keys {
            delivery: KeyDelivery::Tones,
            come_as_tones: true,
        },
    }
}

/// How keys go to a peer that takes no INFO.
pub(super) fn delivery_without_info(negotiated: &Negotiated) -> KeyDelivery {
    match negotiated.codecs.iter().any(|e| e.codec.is_event()) {
        true => KeyDelivery::Events,
        false => KeyDelivery::Tones,
    }
}

/// What a peer states as a receiver of Opus (RFC 7587 section 6.1). Nonsense
/// counts as not said.
fn opus(fmtp: &str) -> OpusParameters {
    let mut parameters = OpusParameters::default();
    for parameter in fmtp.split(';') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        match name.as_str() {
            "useinbandfec" => parameters.in_band_fec = value == "1",
            "usedtx" => parameters.dtx = value == "1",
            "cbr" => parameters.constant_bitrate = value == "1",
            "maxaveragebitrate" => parameters.max_average_bitrate = value.parse().ok(),
            "maxplaybackrate" => parameters.max_playback_rate = value.parse().ok(),
            _ => {}
        }
    }
    parameters
}

/// Packets count from the SDP's address only, unless it is one that cannot be
/// reached from here: then the first packets tell. An address that the
/// signalling itself comes from is reachable, private or not.
fn latch(described: IpAddr, signalling: IpAddr) -> Latch {
    let described = described.to_canonical();
    if described != signalling.to_canonical() && is_private(described) {
        Latch::Learn
    } else {
        Latch::Strict
    }
}

/// Not routed in the Internet: RFC 1918, 3927, 4193, 4291, 6598, loopback,
/// unspecified.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let shared = first == 100 && (64..128).contains(&second);
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || shared
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latch_of(described: &str, signalling: &str) -> Latch {
        latch(described.parse().unwrap(), signalling.parse().unwrap())
    }

    #[test]
    fn who_is_relayed_is_offered_comfort_noise_where_the_other_takes_it() {
        let (pcma, noise) = (Codec::Pcma, Codec::ComfortNoise);
        assert_eq!(offered_codecs(None, Beside::Anything), Codec::ALL);
        let beside = |others: &[Codec]| offered_codecs(Some(others), Beside::Anything);
        assert!(!beside(&[pcma]).contains(&noise));
        assert_eq!(beside(&[pcma, noise])[..2], [pcma, noise]);
        let only = offered_codecs(Some(&[pcma, noise]), Beside::Nothing);
        assert_eq!(only, [pcma, noise]);
    }

    #[test]
    fn what_a_receiver_of_opus_states_is_read_and_nonsense_is_not() {
        assert_eq!(
            opus("minptime=10;useinbandfec=1; maxaveragebitrate=20000;MaxPlaybackRate=x;usedtx=1"),
            OpusParameters {
                in_band_fec: true,
                dtx: true,
                max_average_bitrate: Some(20_000),
                ..OpusParameters::default()
            }
        );
        assert_eq!(opus(""), OpusParameters::default());
    }

    #[test]
    fn a_private_address_behind_a_public_one_is_learned() {
        assert_eq!(latch_of("192.168.1.5", "198.51.100.7"), Latch::Learn);
        assert_eq!(latch_of("100.64.0.9", "198.51.100.7"), Latch::Learn);
        assert_eq!(latch_of("fd00::5", "2001:db8::1"), Latch::Learn);
    }

    #[test]
    fn a_public_address_is_taken_at_its_word() {
        assert_eq!(latch_of("198.51.100.9", "198.51.100.7"), Latch::Strict);
    }

    #[test]
    fn a_private_address_that_signalling_comes_from_is_taken_at_its_word() {
        assert_eq!(latch_of("10.0.0.5", "10.0.0.5"), Latch::Strict);
        assert_eq!(latch_of("127.0.0.1", "::ffff:127.0.0.1"), Latch::Strict);
    }
}
