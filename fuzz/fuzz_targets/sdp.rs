//! A peer's description: read, printed, read again, answered, taken as an
//! answer, and followed by a re-offer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwire::sdp::{Codec, Exchange, Local, Session, apply_answer, offer};

fuzz_target!(|text: &[u8]| {
    let Ok(session) = Session::parse(text) else {
        return;
    };
    let printed = session.to_string();
    if let Ok(again) = Session::parse(printed.as_bytes()) {
        assert_eq!(again.to_string(), printed);
    }
    for address in ["203.0.113.1", "2001:db8::1"] {
        let address = address.parse().expect("an address");
        let local = Local::new(address, 30000, 30001, 7);
        let _ = offer(&local).and_then(|ours| apply_answer(&ours, &session));
        let mut leg = Exchange::new(local);
        if let Ok((answer, negotiated)) = leg.answer(&session, &Codec::ALL) {
            assert_eq!(answer.media.len(), session.media.len());
            assert!(negotiated.audio().next().is_some());
            let re_offer = leg.offer(&negotiated.codec_list()).expect("codecs in common");
            assert_eq!(re_offer.media.len(), session.media.len());
            let _ = leg.apply_answer(&session);
        }
    }
});
