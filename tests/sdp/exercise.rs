//! What a fuzzer does with a peer's description; the mutation test replays a
//! short run of it.

use ringwire::keying::{Fingerprint, FingerprintHash, IceCredentials, SrtpKeying, SrtpPolicy};
use ringwire::sdp::webrtc::{self, WebRtcLocal};
use ringwire::sdp::{Codec, Exchange, Local, LocalSecurity, Session, apply_answer, offer};

/// Read, printed, read again, answered by legs of every kind, taken as an
/// answer, and followed by a re-offer.
pub fn exercise(text: &[u8]) {
    let Ok(session) = Session::parse(text) else {
        return;
    };
    let printed = session.to_string();
    if let Ok(again) = Session::parse(printed.as_bytes()) {
        assert_eq!(again.to_string(), printed);
    }
    for address in ["203.0.113.1", "2001:db8::1"] {
        let address = address.parse().expect("an address");
        for (policy, keying) in [
            (SrtpPolicy::Off, SrtpKeying::Sdes),
            (SrtpPolicy::Optional, SrtpKeying::Dtls),
            (SrtpPolicy::Required, SrtpKeying::Sdes),
        ] {
            let security =
                LocalSecurity::new(policy, keying, Some(fingerprint().into()), |bytes| {
                    bytes.fill(7)
                });
            let local = Local {
                security,
                ..Local::new(address, 30000, 30001, 7)
            };
            let _ = offer(&local).and_then(|ours| apply_answer(&ours, &session));
            talk(Exchange::new(local), &session);
        }
    }
    let _ = webrtc::answer(&session, &browser_leg(), &Codec::ALL);
}

fn talk(mut leg: Exchange, session: &Session) {
    if let Ok((answer, negotiated)) = leg.answer(session, &Codec::ALL) {
        assert_eq!(answer.media.len(), session.media.len());
        assert!(negotiated.audio().next().is_some());
        assert_eq!(leg.sent().as_ref(), Some(&answer));
        let re_offer = leg
            .offer(&negotiated.codec_list())
            .expect("codecs in common");
        assert_eq!(re_offer.media.len(), session.media.len());
        assert_eq!(leg.sent().as_ref(), Some(&re_offer));
        let _ = leg.apply_answer(session);
    }
}

fn fingerprint() -> Fingerprint {
    Fingerprint {
        hash: FingerprintHash::Sha256,
        digest: vec![0xAB; 32],
    }
}

fn browser_leg() -> WebRtcLocal {
    WebRtcLocal {
        candidates: vec![([203, 0, 113, 1], 7882).into()],
        ice: IceCredentials {
            ufrag: "ours".to_owned(),
            password: "a password of ours".to_owned(),
        },
        fingerprint: fingerprint(),
        ssrc: 7,
        cname: "c".to_owned(),
        session_id: 7,
        version: 1,
    }
}
