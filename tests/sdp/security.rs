//! What becomes of SRTP in offers and answers, by policy.

use ringwire::keying::{DtlsRole, Fingerprint, FingerprintHash, Security};
use ringwire::keying::{SrtpKeying, SrtpPolicy, Suite};
use ringwire::sdp::{Exchange, Local, LocalSecurity, NegotiationError};

use super::{ALL, local, media_lines, peer};

const KEY: &str = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
const OTHER_KEY: &str = "inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const PRINT: &str =
    "a=fingerprint:sha-1 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13";

fn leg(policy: SrtpPolicy, keying: SrtpKeying) -> Exchange {
    let fingerprint = Fingerprint {
        hash: FingerprintHash::Sha256,
        digest: vec![0xAB; 32],
    };
    let mut byte = 0u8;
    let fill = |bytes: &mut [u8]| {
        for place in bytes {
            byte = byte.wrapping_add(7);
            *place = byte;
        }
    };
    Exchange::new(Local {
        security: LocalSecurity::new(policy, keying, Some(fingerprint.into()), fill),
        ..local()
    })
}

fn sdes(policy: SrtpPolicy) -> Exchange {
    leg(policy, SrtpKeying::Sdes)
}

/// An audio stream of this transport with a line of the 80-bit suite.
fn with_crypto(transport: &str, key: &str) -> ringwire::sdp::Session {
    peer(&format!(
        "m=audio 4000 {transport} 8\na=crypto:3 F8_128_HMAC_SHA1_80 {key}\na=crypto:7 AES_CM_128_HMAC_SHA1_80 {key}|2^20"
    ))
}

fn crypto_lines(session: &ringwire::sdp::Session) -> Vec<String> {
    media_lines(session)
        .into_iter()
        .filter(|line| line.starts_with("a=crypto:"))
        .collect()
}

#[test]
fn of_offers_each_policy_takes_what_it_may() {
    use NegotiationError::{NoKeys, NotProtected, SrtpOff};
    use SrtpPolicy::{Off, Optional, Required};
    let plain = || peer("m=audio 4000 RTP/AVP 8");
    let best_effort = || with_crypto("RTP/AVP", KEY);
    let srtp = || with_crypto("RTP/SAVP", KEY);
    let keyless = || peer("m=audio 4000 RTP/SAVP 8");
    for (policy, offer, protected) in [
        (Off, plain(), Ok(false)),
        (Off, best_effort(), Ok(false)),
        (Off, srtp(), Err(SrtpOff)),
        (Optional, plain(), Ok(false)),
        (Optional, best_effort(), Ok(true)),
        (Optional, srtp(), Ok(true)),
        (Optional, keyless(), Err(NoKeys)),
        (Required, plain(), Err(NotProtected)),
        (Required, best_effort(), Ok(true)),
        (Required, srtp(), Ok(true)),
        (Required, keyless(), Err(NoKeys)),
    ] {
        let got = sdes(policy).answer(&offer, ALL).map(|(answer, agreed)| {
            let lines = crypto_lines(&answer);
            assert_eq!(lines.len(), usize::from(agreed.security != Security::Plain));
            assert_eq!(answer.media[0].profile, offer.media[0].profile);
            agreed.security != Security::Plain
        });
        assert_eq!(got, protected, "{policy:?}\n{offer}");
    }
}

#[test]
fn an_answer_has_the_tag_of_the_line_it_takes_and_a_key_of_its_own() {
    let mut leg = sdes(SrtpPolicy::Optional);
    let (answer, agreed) = leg.answer(&with_crypto("RTP/SAVP", KEY), ALL).unwrap();
    let lines = crypto_lines(&answer);
    assert!(lines[0].starts_with("a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:"));
    let Security::Sdes { send, receive } = agreed.security else {
        panic!("not SDES");
    };
    assert_eq!(receive.key, b"wDfvg&T+)xG7@fb5");
    assert_eq!(send.suite, Suite::Aes128CmSha1_80);
    assert_ne!(send.key, receive.key);
}

#[test]
fn our_key_stays_over_the_dialog_while_the_peer_changes_its_own() {
    let mut leg = sdes(SrtpPolicy::Required);
    let keys = [KEY, OTHER_KEY].map(|key| {
        let (_, agreed) = leg.answer(&with_crypto("RTP/SAVP", key), ALL).unwrap();
        let Security::Sdes { send, receive } = agreed.security else {
            panic!("not SDES");
        };
        (send, receive)
    });
    assert_eq!(keys[0].0, keys[1].0);
    assert_ne!(keys[0].1, keys[1].1);
    // A re-offer of ours repeats transport and key.
    let (answered, offered) = (leg.sent().unwrap(), leg.offer(ALL).unwrap());
    assert_eq!(offered.media[0].profile.name(), "RTP/SAVP");
    let key = |session| {
        let line: String = crypto_lines(session).concat();
        line.rsplit_once("inline:").unwrap().1.to_owned()
    };
    assert_eq!(key(&offered), key(&answered));
}

#[test]
fn a_suite_that_was_left_is_not_taken_again() {
    let mut leg = sdes(SrtpPolicy::Required);
    let offer = |suite| {
        peer(&format!(
            "m=audio 4000 RTP/SAVP 8\na=crypto:1 {suite} {KEY}"
        ))
    };
    let (long, short) = (
        offer("AES_CM_128_HMAC_SHA1_80"),
        offer("AES_CM_128_HMAC_SHA1_32"),
    );
    assert!(leg.answer(&long, ALL).is_ok());
    assert!(leg.answer(&short, ALL).is_ok());
    assert_eq!(
        leg.answer(&long, ALL).unwrap_err(),
        NegotiationError::NoKeys
    );
}

#[test]
fn offers_follow_the_policy() {
    use SrtpPolicy::{Off, Optional, Required};
    for (policy, keying, transport, crypto, setup) in [
        (Off, SrtpKeying::Sdes, "RTP/AVP", 0, false),
        (Off, SrtpKeying::Dtls, "RTP/AVP", 0, false),
        (Optional, SrtpKeying::Sdes, "RTP/AVP", 4, false),
        (Optional, SrtpKeying::Dtls, "RTP/AVP", 0, true),
        (Required, SrtpKeying::Sdes, "RTP/SAVP", 4, false),
        (Required, SrtpKeying::Dtls, "UDP/TLS/RTP/SAVP", 0, true),
    ] {
        let offer = leg(policy, keying).offer(ALL).unwrap();
        assert_eq!(offer.media[0].profile.name(), transport);
        assert_eq!(crypto_lines(&offer).len(), crypto);
        let actpass = offer.media[0].attribute("setup") == Some("actpass");
        assert_eq!(actpass, setup);
        assert_eq!(offer.media[0].attribute("fingerprint").is_some(), setup);
    }
}

#[test]
fn required_dtls_without_a_certificate_offers_nothing_at_all() {
    let security = LocalSecurity::new(SrtpPolicy::Required, SrtpKeying::Dtls, None, |_| {});
    let mut leg = Exchange::new(Local {
        security,
        ..local()
    });
    assert_eq!(leg.offer(ALL), Err(NegotiationError::NoKeys));
}

#[test]
fn an_answer_takes_one_offered_line_or_none_where_that_may_be() {
    use NegotiationError::{Crypto, NotProtected};
    use SrtpPolicy::{Optional, Required};
    let line = |tag: u32, suite: &str| format!("a=crypto:{tag} {suite} {KEY}");
    let good = line(3, "AES_CM_128_HMAC_SHA1_80");
    for (policy, transport, lines, protected) in [
        (Required, "RTP/SAVP", good.clone(), Ok(true)),
        (Optional, "RTP/AVP", good.clone(), Ok(true)),
        (Optional, "RTP/AVP", String::new(), Ok(false)),
        (Required, "RTP/SAVP", String::new(), Err(NotProtected)),
        (Required, "RTP/AVP", String::new(), Err(NotProtected)),
        // Another tag, another suite under the tag, two lines, a broken key.
        (
            Optional,
            "RTP/AVP",
            line(9, "AES_CM_128_HMAC_SHA1_80"),
            Err(Crypto),
        ),
        (
            Required,
            "RTP/SAVP",
            line(3, "AES_CM_128_HMAC_SHA1_32"),
            Err(Crypto),
        ),
        (Required, "RTP/SAVP", format!("{good}\n{good}"), Err(Crypto)),
        (
            Optional,
            "RTP/AVP",
            "a=crypto:3 x y".to_owned(),
            Err(Crypto),
        ),
    ] {
        let mut leg = sdes(policy);
        leg.offer(ALL).unwrap();
        let answer = peer(&format!("m=audio 4000 {transport} 8\n{lines}"));
        let got = leg.apply_answer(&answer).map(|agreed| agreed.security);
        let got = got.map(|security| security != Security::Plain);
        assert_eq!(got, protected, "{policy:?}\n{answer}");
    }
}

#[test]
fn dtls_roles_are_agreed_on_and_stay() {
    let offer = |setup: &str, more: &str| {
        peer(&format!(
            "m=audio 4000 UDP/TLS/RTP/SAVP 8\n{PRINT}\na=setup:{setup}\n{more}"
        ))
    };
    let role = |leg: &mut Exchange, setup: &str| {
        let (answer, agreed) = leg.answer(&offer(setup, "a=rtcp-mux"), ALL).unwrap();
        let Security::Dtls { role, fingerprints } = agreed.security else {
            panic!("not DTLS");
        };
        assert_eq!(fingerprints[0].hash, FingerprintHash::Sha1);
        (role, answer.media[0].attribute("setup").unwrap().to_owned())
    };
    let mut leg = sdes(SrtpPolicy::Optional);
    let active = (DtlsRole::Client, "active".to_owned());
    let passive = (DtlsRole::Server, "passive".to_owned());
    assert_eq!(role(&mut leg, "actpass"), passive);
    assert_eq!(role(&mut leg, "passive"), active);
    assert_eq!(role(&mut leg, "actpass"), active);
    assert_eq!(role(&mut leg, "active"), passive);
    // baresip does without rtcp-mux.
    let without_mux = sdes(SrtpPolicy::Optional).answer(&offer("actpass", ""), ALL);
    assert!(!without_mux.unwrap().1.rtcp_mux);
    // Keys in the description are none for this transport.
    let unusable = with_crypto("UDP/TLS/RTP/SAVP", KEY);
    let refused = sdes(SrtpPolicy::Optional).answer(&unusable, ALL);
    assert_eq!(refused.unwrap_err(), NegotiationError::NoKeys);
}

#[test]
fn an_answer_to_dtls_has_to_choose_a_role() {
    for (setup, expected) in [
        ("active", Ok(DtlsRole::Server)),
        ("passive", Ok(DtlsRole::Client)),
        ("actpass", Err(NegotiationError::Crypto)),
    ] {
        let mut leg = leg(SrtpPolicy::Required, SrtpKeying::Dtls);
        leg.offer(ALL).unwrap();
        let answer = peer(&format!(
            "m=audio 4000 UDP/TLS/RTP/SAVP 8\n{PRINT}\na=setup:{setup}\na=rtcp-mux"
        ));
        let got = leg
            .apply_answer(&answer)
            .map(|agreed| match agreed.security {
                Security::Dtls { role, .. } => role,
                other => panic!("{other:?}"),
            });
        assert_eq!(got, expected, "{setup}");
    }
}

#[test]
fn a_required_leg_that_was_offered_plain_transport_with_keys_never_falls_back() {
    let mut leg = sdes(SrtpPolicy::Required);
    let (_, agreed) = leg.answer(&with_crypto("RTP/AVP", KEY), ALL).unwrap();
    assert!(matches!(agreed.security, Security::Sdes { .. }));
    let offer = leg.offer(ALL).unwrap();
    assert!(offer.to_string().contains("RTP/AVP"));
    let plain = peer("m=audio 4000 RTP/AVP 8\n");
    let refused = leg.apply_answer(&plain).unwrap_err();
    assert_eq!(refused, NegotiationError::NotProtected);
    assert!(matches!(leg.security(), Some(Security::Sdes { .. })));
}
