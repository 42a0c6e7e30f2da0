//! Between SDP and the relay: what a body says, and what the leg table needs
//! of it.

use std::net::IpAddr;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::call::room::LegAddress;
use crate::keying::{Fingerprint, Srtp};
use crate::media::{Latch, PayloadMapping, Remote};
use crate::sdp::{Codec, Exchange, Local, LocalSecurity, Negotiated, SdpError, Session};
use crate::sip::agent::Body;

/// Reads a session description.
///
/// # Errors
/// [`SdpError`] when it is none.
pub(super) fn parse(body: &Body) -> Result<Session, SdpError> {
    Session::parse(&body.content)
}

/// A description as a message body.
pub(super) fn body(session: &Session) -> Body {
    Body::sdp(Bytes::from(session.to_string()))
}

/// A leg that has said nothing yet.
pub(super) fn exchange(
    local: &LegAddress,
    srtp: Srtp,
    fingerprint: Option<&Fingerprint>,
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

/// All codecs, or those the room's other peer takes.
pub(super) fn allowed_codecs(allowed: Option<&[Codec]>) -> &[Codec] {
    allowed.unwrap_or(&Codec::ALL)
}

/// The peer's side of a leg for the leg table. `signalling` is where its SIP
/// messages come from.
pub(super) fn remote(negotiated: &Negotiated, signalling: IpAddr) -> Remote {
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
                send: entry.send,
                clock_rate: entry.codec.clock_rate(),
            })
            .collect(),
    }
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
