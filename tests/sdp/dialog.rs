//! The descriptions of one leg over its dialog.

use ringwire::sdp::{Codec, Direction, Exchange, Fit, NegotiationError, Session};

use super::{ALL, codecs, local, media_lines, parse, peer};

fn m_lines(session: &Session) -> Vec<String> {
    media_lines(session)
        .into_iter()
        .filter(|line| line.starts_with("m="))
        .collect()
}

#[test]
fn the_version_counts_changes_and_not_descriptions() {
    let mut leg = Exchange::new(local());
    let versions = [
        leg.offer(ALL).unwrap(),
        leg.offer(ALL).unwrap(),
        leg.offer(&[Codec::Pcma]).unwrap(),
        leg.offer(&[Codec::Pcma]).unwrap(),
        {
            leg.set_direction(Direction::Inactive);
            leg.offer(&[Codec::Pcma]).unwrap()
        },
    ]
    .map(|session| session.origin.version);
    assert_eq!(versions, [1, 1, 2, 2, 3]);
    assert_eq!(leg.sent().unwrap().origin.session_id, 7);
    assert_eq!(leg.local().version, 3);
}

#[test]
fn an_answer_to_a_hold_is_a_new_version_and_so_is_the_resume() {
    let mut leg = Exchange::new(local());
    let audio = "m=audio 4000 RTP/AVP 8";
    let mut version_of = |lines: &str| {
        let (answer, _) = leg.answer(&peer(lines), ALL).unwrap();
        answer.origin.version
    };
    assert_eq!(version_of(audio), 1);
    assert_eq!(version_of(audio), 1);
    assert_eq!(version_of(&format!("{audio}\na=sendonly")), 2);
    assert_eq!(version_of(audio), 3);
}

#[test]
fn a_re_offer_uses_the_numbers_the_peer_introduced() {
    let mut leg = Exchange::new(local());
    let offer = peer(
        "m=audio 4000 RTP/AVP 96 8 97 111\na=rtpmap:96 opus/48000/2\na=rtpmap:97 telephone-event/48000\na=rtpmap:111 SILK/16000",
    );
    leg.answer(&offer, ALL).unwrap();
    let again = leg.offer(ALL).unwrap();
    assert_eq!(
        m_lines(&again),
        ["m=audio 30000 RTP/AVP 96 9 8 0 13 101 97"]
    );
}

#[test]
fn a_codec_of_ours_leaves_a_number_that_meant_something_else_before() {
    let mut leg = Exchange::new(local());
    let offer =
        peer("m=audio 4000 RTP/AVP 8 111 101\na=rtpmap:111 SILK/16000\na=rtpmap:101 iLBC/8000");
    leg.answer(&offer, ALL).unwrap();
    let first = leg.offer(&[Codec::Opus, Codec::Pcma, Codec::TelephoneEvent(8000)]);
    assert_eq!(m_lines(&first.unwrap()), ["m=audio 30000 RTP/AVP 96 8 97"]);
    let later = leg.offer(&[Codec::Pcma, Codec::TelephoneEvent(8000), Codec::Opus]);
    assert_eq!(m_lines(&later.unwrap()), ["m=audio 30000 RTP/AVP 8 97 96"]);
}

#[test]
fn narrowing_and_widening_keeps_every_number() {
    let mut leg = Exchange::new(local());
    leg.answer(
        &peer("m=audio 4000 RTP/AVP 98 0 8\na=rtpmap:98 opus/48000/2"),
        ALL,
    )
    .unwrap();
    let narrow = leg.offer(&[Codec::Pcmu]).unwrap();
    assert_eq!(m_lines(&narrow), ["m=audio 30000 RTP/AVP 0"]);
    let wide = leg.offer(&[Codec::Pcmu, Codec::Opus]).unwrap();
    assert_eq!(m_lines(&wide), ["m=audio 30000 RTP/AVP 0 98"]);
}

#[test]
fn refused_streams_keep_their_places_in_our_re_offers() {
    let mut leg = Exchange::new(local());
    let offer = peer("m=video 5000 RTP/AVP 31\nm=audio 4000 RTP/AVPF 8\nm=image 6000 udptl t38");
    leg.answer(&offer, ALL).unwrap();
    let again = leg.offer(&[Codec::Pcma]).unwrap();
    let lines = [
        "m=video 0 RTP/AVP 31",
        "m=audio 30000 RTP/AVPF 8",
        "m=image 0 udptl t38",
    ];
    assert_eq!(m_lines(&again), lines);
    let answer = peer("m=video 0 RTP/AVP 31\nm=audio 4002 RTP/AVPF 8\nm=image 0 udptl t38");
    let negotiated = leg.apply_answer(&answer).unwrap();
    assert_eq!(negotiated.remote_rtp, "192.0.2.9:4002".parse().unwrap());
}

#[test]
fn early_media_and_the_final_answer_and_forks_answer_the_same_offer() {
    let mut leg = Exchange::new(local());
    leg.offer(ALL).unwrap();
    let early = leg.apply_answer(&peer("m=audio 4000 RTP/AVP 0")).unwrap();
    let last = leg.apply_answer(&peer("m=audio 4010 RTP/AVP 8")).unwrap();
    assert_eq!(codecs(&early), ["PCMU/8000 0/0"]);
    assert_eq!(codecs(&last), ["PCMA/8000 8/8"]);
    assert_eq!(last.remote_rtp.port(), 4010);
}

#[test]
fn a_refused_re_offer_leaves_the_leg_able_to_go_on() {
    let mut leg = Exchange::new(local());
    leg.answer(&peer("m=audio 4000 RTP/AVP 8 0"), ALL).unwrap();
    let refused = leg.offer(&[Codec::Pcma]).unwrap();
    let (answer, negotiated) = leg.answer(&peer("m=audio 4000 RTP/AVP 8 0"), ALL).unwrap();
    assert_eq!(answer.origin.version, refused.origin.version + 1);
    assert_eq!(codecs(&negotiated), ["PCMA/8000 8/8", "PCMU/8000 0/0"]);
}

#[test]
fn an_offer_that_cannot_be_taken_changes_nothing() {
    let mut leg = Exchange::new(local());
    let (before, _) = leg.answer(&peer("m=audio 4000 RTP/AVP 8"), ALL).unwrap();
    let fax = peer("m=audio 0 RTP/AVP 8\nm=image 4004 udptl t38");
    assert_eq!(leg.answer(&fax, ALL), Err(NegotiationError::NoAudio));
    let (after, _) = leg.answer(&peer("m=audio 4000 RTP/AVP 8"), ALL).unwrap();
    assert_eq!(before, after);
}

#[test]
fn an_offer_needs_a_codec_and_an_answer_needs_an_offer() {
    let mut leg = Exchange::new(local());
    assert_eq!(
        leg.offer(&[Codec::TelephoneEvent(8000)]),
        Err(NegotiationError::NoCommonCodec)
    );
    assert_eq!(
        leg.apply_answer(&peer("m=audio 4000 RTP/AVP 8")),
        Err(NegotiationError::NoOffer)
    );
}

#[test]
fn a_second_peer_with_fewer_codecs_narrows_the_first() {
    let mut first = Exchange::new(local());
    let offer = peer(
        "m=audio 4000 RTP/AVP 96 8 0 101\na=rtpmap:96 opus/48000/2\na=rtpmap:101 telephone-event/8000",
    );
    let (_, agreed) = first.answer(&offer, ALL).unwrap();

    let mut second = Exchange::new(local());
    let to_second = second.offer(&agreed.codec_list()).unwrap();
    assert_eq!(m_lines(&to_second), ["m=audio 30000 RTP/AVP 111 8 0 101"]);
    let other = second
        .apply_answer(&peer("m=audio 4100 RTP/AVP 0 101"))
        .unwrap();

    let Fit::Narrow(codecs) = agreed.fit(&other.codec_list()) else {
        panic!("the first leg may send what the second cannot take");
    };
    let re_offer = first.offer(&codecs).unwrap();
    assert_eq!(m_lines(&re_offer), ["m=audio 30000 RTP/AVP 0 101"]);
    assert_eq!(re_offer.origin.version, 2);
    assert_eq!(parse(&re_offer.to_string()), re_offer);
}
