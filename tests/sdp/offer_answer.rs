//! One exchange: codecs and numbers, directions and hold, m-lines, addresses.

use ringwire::sdp::{
    Codec, Direction, Local, MediaKind, NegotiationError, OfferedCodec, Session, answer,
    apply_answer, offer,
};

use super::{ALL, codecs, local, media_lines, parse, peer};

const PCMU: &str = "m=audio 4000 RTP/AVP 0";

fn refusal(offer: &Session) -> NegotiationError {
    answer(offer, &local(), ALL).unwrap_err()
}

#[test]
fn our_offer_lists_everything_and_rtcp_mux() {
    assert_eq!(
        offer(&local()).unwrap().to_string(),
        "v=0\r\n\
         o=- 7 1 IN IP4 203.0.113.1\r\n\
         s=-\r\n\
         c=IN IP4 203.0.113.1\r\n\
         t=0 0\r\n\
         m=audio 30000 RTP/AVP 111 9 8 0 13 101 110\r\n\
         a=rtpmap:111 opus/48000/2\r\n\
         a=fmtp:111 useinbandfec=1\r\n\
         a=rtpmap:9 G722/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:13 CN/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\n\
         a=rtpmap:110 telephone-event/48000\r\n\
         a=fmtp:110 0-16\r\n\
         a=rtcp-mux\r\n\
         a=sendrecv\r\n"
    );
}

#[test]
fn a_narrowed_offer_has_the_other_legs_order_and_matching_events() {
    let takes = [
        Codec::Pcmu,
        Codec::Pcma,
        Codec::TelephoneEvent(48000),
        Codec::TelephoneEvent(8000),
    ];
    let offer = offer(&local().narrowed(&takes)).unwrap();
    assert_eq!(media_lines(&offer)[0], "m=audio 30000 RTP/AVP 0 8 101");
}

#[test]
fn comfort_noise_is_offered_beside_codecs_of_its_clock_only() {
    let line = |takes: &[Codec]| {
        let offer = offer(&local().narrowed(takes)).unwrap();
        media_lines(&offer).remove(0)
    };
    let noise = Codec::ComfortNoise;
    assert_eq!(line(&[Codec::Pcma, noise]), "m=audio 30000 RTP/AVP 8 13");
    assert_eq!(line(&[Codec::G722, noise]), "m=audio 30000 RTP/AVP 9 13");
    assert_eq!(line(&[Codec::Opus, noise]), "m=audio 30000 RTP/AVP 111");
}

#[test]
fn comfort_noise_is_answered_where_it_is_offered_and_by_its_number_there() {
    let static_number = peer("m=audio 4000 RTP/AVP 0 13");
    let (ours, negotiated) = answer(&static_number, &local(), ALL).unwrap();
    assert_eq!(codecs(&negotiated), ["PCMU/8000 0/0", "CN/8000 13/13"]);
    assert_eq!(
        media_lines(&ours)[..3],
        [
            "m=audio 30000 RTP/AVP 0 13",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:13 CN/8000"
        ]
    );

    let moved = peer("m=audio 4000 RTP/AVP 97 8 13\na=rtpmap:97 cn/8000\na=rtpmap:13 GSM/8000");
    let (ours, negotiated) = answer(&moved, &local(), ALL).unwrap();
    assert_eq!(codecs(&negotiated), ["CN/8000 97/97", "PCMA/8000 8/8"]);
    assert_eq!(media_lines(&ours)[0], "m=audio 30000 RTP/AVP 97 8");

    // Not to who has not asked for it, nor at rates that are not known here.
    let without = peer("m=audio 4000 RTP/AVP 8 98\na=rtpmap:98 CN/16000");
    let (_, negotiated) = answer(&without, &local(), ALL).unwrap();
    assert_eq!(codecs(&negotiated), ["PCMA/8000 8/8"]);
    let opus = peer("m=audio 4000 RTP/AVP 96 13\na=rtpmap:96 opus/48000/2");
    let (_, negotiated) = answer(&opus, &local(), ALL).unwrap();
    assert_eq!(codecs(&negotiated), ["opus/48000/2 96/96"]);
}

#[test]
fn comfort_noise_alone_is_nothing_to_talk_by() {
    let noise = peer("m=audio 4000 RTP/AVP 13");
    assert_eq!(refusal(&noise), NegotiationError::NoCommonCodec);
    let ours = offer(&local()).unwrap();
    assert_eq!(
        apply_answer(&ours, &noise),
        Err(NegotiationError::NoCommonCodec)
    );
}

#[test]
fn an_answer_may_move_comfort_noise_to_another_number() {
    let ours = offer(&local()).unwrap();
    let theirs = peer("m=audio 4000 RTP/AVP 0 99\na=rtpmap:99 CN/8000");
    let negotiated = apply_answer(&ours, &theirs).unwrap();
    // Each side receives by its own numbers (RFC 3264 section 5.1).
    assert_eq!(codecs(&negotiated), ["PCMU/8000 0/0", "CN/8000 13/99"]);
}

#[test]
fn an_rtcp_port_that_is_not_the_next_is_stated() {
    let mut local = local();
    local.rtcp_port = 30005;
    assert!(
        offer(&local)
            .unwrap()
            .to_string()
            .contains("\r\na=rtcp:30005\r\n")
    );
    local.rtp_port = u16::MAX;
    assert!(
        offer(&local)
            .unwrap()
            .to_string()
            .contains("\r\na=rtcp:30005\r\n")
    );
}

#[test]
fn one_number_for_two_codecs_in_our_own_list_is_mended() {
    let mut local = local();
    local.codecs = vec![
        OfferedCodec::usual(Codec::Pcma),
        OfferedCodec {
            payload_type: 8,
            ..OfferedCodec::usual(Codec::Opus)
        },
    ]
    .into();
    assert_eq!(
        media_lines(&offer(&local).unwrap())[0],
        "m=audio 30000 RTP/AVP 8 96"
    );
}

#[test]
fn allowed_narrows_an_answer_in_the_offers_order() {
    let offer = peer("m=audio 4000 RTP/AVP 0 8 9 101\na=rtpmap:101 telephone-event/8000");
    let (answer, negotiated) = answer(&offer, &local(), &[Codec::G722, Codec::Pcmu]).unwrap();
    assert_eq!(codecs(&negotiated), ["PCMU/8000 0/0", "G722/8000 9/9"]);
    assert_eq!(media_lines(&answer)[0], "m=audio 30000 RTP/AVP 0 9");
}

#[test]
fn an_rtpmap_decides_over_the_static_meaning() {
    let offer = peer("m=audio 4000 RTP/AVP 0 8 9\na=rtpmap:0 opus/48000/2\na=rtpmap:8 GSM/8000");
    let (_, negotiated) = answer(&offer, &local(), ALL).unwrap();
    assert_eq!(codecs(&negotiated), ["opus/48000/2 0/0", "G722/8000 9/9"]);
}

#[test]
fn a_codec_under_two_numbers_and_a_number_listed_twice_count_once() {
    let offer = peer(
        "m=audio 4000 RTP/AVP 96 97 96 0 0\na=rtpmap:96 opus/48000/2\na=rtpmap:97 opus/48000/2\na=rtpmap:96 PCMA/8000",
    );
    let (_, negotiated) = answer(&offer, &local(), ALL).unwrap();
    assert_eq!(codecs(&negotiated), ["opus/48000/2 96/96", "PCMU/8000 0/0"]);
}

#[test]
fn formats_that_are_no_payload_numbers_are_passed_over() {
    let offer = peer("m=audio 4000 RTP/AVP x 128 999 -1 96 8\na=rtpmap:200 opus/48000/2");
    let (_, negotiated) = answer(&offer, &local(), ALL).unwrap();
    assert_eq!(codecs(&negotiated), ["PCMA/8000 8/8"]);
}

#[test]
fn events_of_the_wrong_clock_are_taken_when_there_are_no_others() {
    let offer = peer(
        "m=audio 4000 RTP/AVP 96 101\na=rtpmap:96 opus/48000/2\na=rtpmap:101 telephone-event/8000",
    );
    let (_, negotiated) = answer(&offer, &local(), ALL).unwrap();
    assert_eq!(
        codecs(&negotiated),
        ["opus/48000/2 96/96", "telephone-event/8000 101/101"]
    );
}

#[test]
fn telephone_events_alone_are_nothing_in_common() {
    let offer = peer("m=audio 4000 RTP/AVP 18 101\na=rtpmap:101 telephone-event/8000");
    assert_eq!(refusal(&offer), NegotiationError::NoCommonCodec);
}

#[test]
fn an_answer_may_use_numbers_of_its_own() {
    let answer = peer(
        "m=audio 4000 RTP/AVP 98 8 100\na=rtpmap:98 opus/48000/2\na=rtpmap:100 telephone-event/8000\na=fmtp:98 stereo=1",
    );
    let negotiated = apply_answer(&offer(&local()).unwrap(), &answer).unwrap();
    assert_eq!(
        codecs(&negotiated),
        [
            "opus/48000/2 111/98",
            "PCMA/8000 8/8",
            "telephone-event/8000 101/100"
        ]
    );
    assert_eq!(negotiated.codecs[0].fmtp.as_deref(), Some("stereo=1"));
}

#[test]
fn an_answer_that_swaps_two_numbers_is_believed() {
    let answer = peer(
        "m=audio 4000 RTP/AVP 101 111\na=rtpmap:101 opus/48000/2\na=rtpmap:111 telephone-event/48000",
    );
    let negotiated = apply_answer(&offer(&local()).unwrap(), &answer).unwrap();
    assert_eq!(
        codecs(&negotiated),
        ["opus/48000/2 111/101", "telephone-event/48000 110/111"]
    );
}

#[test]
fn an_answers_unexplained_dynamic_number_means_what_the_offer_said() {
    let negotiated = apply_answer(
        &offer(&local()).unwrap(),
        &peer("m=audio 4000 RTP/AVP 111 101"),
    )
    .unwrap();
    assert_eq!(
        codecs(&negotiated),
        ["opus/48000/2 111/111", "telephone-event/8000 101/101"]
    );
}

#[test]
fn an_answer_with_nothing_we_offered_is_refused() {
    let narrow = offer(&local().narrowed(&[Codec::Opus])).unwrap();
    for (lines, error) in [
        (PCMU, NegotiationError::NoCommonCodec),
        ("m=audio 0 RTP/AVP 111", NegotiationError::NoAudio),
        ("m=video 4000 RTP/AVP 111", NegotiationError::Mismatch),
        ("a=sendrecv", NegotiationError::Mismatch),
        ("m=audio 4000 RTP/SAVP 111", NegotiationError::Crypto),
    ] {
        assert_eq!(apply_answer(&narrow, &peer(lines)), Err(error), "{lines}");
    }
}

/// What the peer asks, how we answer, and (send, receive, held).
#[test]
fn hold_is_understood_in_all_its_forms() {
    let cases = [
        ("a=sendrecv", "sendrecv", (true, true, false)),
        ("", "sendrecv", (true, true, false)),
        ("a=sendonly", "recvonly", (false, true, true)),
        ("a=recvonly", "sendonly", (true, false, false)),
        ("a=inactive", "inactive", (false, false, true)),
        ("c=IN IP4 0.0.0.0", "recvonly", (false, true, true)),
        (
            "c=IN IP4 0.0.0.0\na=sendonly",
            "recvonly",
            (false, true, true),
        ),
        (
            "c=IN IP4 0.0.0.0\na=recvonly",
            "inactive",
            (false, false, true),
        ),
        (
            "c=IN IP4 0.0.0.0\na=inactive",
            "inactive",
            (false, false, true),
        ),
        ("c=IN IP6 ::", "recvonly", (false, true, true)),
    ];
    for (lines, direction, expected) in cases {
        let (answer, got) = answer(&peer(&format!("{PCMU}\n{lines}")), &local(), ALL).unwrap();
        assert_eq!((got.send, got.receive, got.held), expected, "{lines}");
        assert_eq!(
            media_lines(&answer).last().unwrap(),
            &format!("a={direction}"),
            "{lines}"
        );
    }
}

#[test]
fn a_direction_of_the_session_counts_unless_the_media_has_its_own() {
    let held = |lines: &str| answer(&peer(lines), &local(), ALL).unwrap().1.held;
    assert!(held(&format!("a=sendonly\n{PCMU}")));
    assert!(!held(&format!("a=sendonly\n{PCMU}\na=sendrecv")));
}

#[test]
fn a_session_without_an_address_of_its_own_may_hold_by_its_c_line() {
    let offer =
        parse("v=0\no=- 1 2 IN IP4 192.0.2.9\ns=-\nc=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0");
    let (_, negotiated) = answer(&offer, &local(), ALL).unwrap();
    assert!(negotiated.held && !negotiated.send);
}

/// Our direction, the answer, and (send, receive, held).
#[test]
fn an_answer_holds_only_when_it_refuses_what_we_would_send() {
    let cases = [
        (Direction::SendRecv, "a=sendrecv", (true, true, false)),
        (Direction::SendRecv, "a=recvonly", (true, false, false)),
        (Direction::SendRecv, "a=sendonly", (false, true, true)),
        (Direction::SendRecv, "a=inactive", (false, false, true)),
        (Direction::SendRecv, "c=IN IP4 0.0.0.0", (false, true, true)),
        (Direction::SendOnly, "a=recvonly", (true, false, false)),
        (Direction::SendOnly, "a=sendrecv", (true, false, false)),
        (Direction::RecvOnly, "a=sendonly", (false, true, false)),
        (Direction::Inactive, "a=inactive", (false, false, false)),
    ];
    for (direction, lines, expected) in cases {
        let mut local = local();
        local.direction = direction;
        let answer = peer(&format!("{PCMU}\n{lines}"));
        let got = apply_answer(&offer(&local).unwrap(), &answer).unwrap();
        assert_eq!(
            (got.send, got.receive, got.held),
            expected,
            "{direction} {lines}"
        );
    }
}

#[test]
fn our_own_restriction_narrows_the_answer() {
    let mut local = local();
    local.direction = Direction::RecvOnly;
    let (answer, negotiated) = answer(&peer(PCMU), &local, ALL).unwrap();
    assert_eq!(media_lines(&answer).last().unwrap(), "a=recvonly");
    assert!(!negotiated.send && negotiated.receive && !negotiated.held);
}

#[test]
fn every_stream_is_answered_in_its_place_and_only_one_taken() {
    let offer = peer(
        "m=video 5000 RTP/AVP 31 32\nm=audio 0 RTP/AVP 0\nm=audio 4000/2 RTP/AVP 8 0\nm=audio 4002 RTP/AVP 0\nm=image 0 udptl t38\nm=x-odd 7000 some/thing a b\nm=message 7002 TCP/MSRP",
    );
    assert_eq!(offer.media[2].port_count, 2);
    assert_eq!(offer.media[5].kind, MediaKind::Other("x-odd".to_owned()));
    let (answer, negotiated) = answer(&offer, &local(), ALL).unwrap();
    let lines: Vec<String> = media_lines(&answer)
        .into_iter()
        .filter(|line| line.starts_with("m="))
        .collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 31",
            "m=audio 0 RTP/AVP 0",
            "m=audio 30000 RTP/AVP 8 0",
            "m=audio 0 RTP/AVP 0",
            "m=image 0 udptl t38",
            "m=x-odd 0 some/thing a",
            "m=message 0 TCP/MSRP 0"
        ]
    );
    assert_eq!(negotiated.remote_rtp, "192.0.2.9:4000".parse().unwrap());
}

#[test]
fn an_offer_we_cannot_take_says_why() {
    let with_address =
        |line: &str| parse(&format!("v=0\ns=-\n{line}\nt=0 0\nm=audio 4000 RTP/AVP 0"));
    for (offer, error) in [
        (peer("a=sendrecv"), NegotiationError::NoAudio),
        (peer("m=audio 0 RTP/AVP 0"), NegotiationError::NoAudio),
        (peer("m=audio 4000 RTP/SAVP 0"), NegotiationError::SrtpOff),
        (
            peer("m=audio 4000 RTP/AVP 18"),
            NegotiationError::NoCommonCodec,
        ),
        (
            peer("m=audio 4000 RTP/AVP"),
            NegotiationError::NoCommonCodec,
        ),
        (with_address(""), NegotiationError::Address),
        (
            with_address("c=IN IP4 pbx.example.com"),
            NegotiationError::Address,
        ),
        (
            with_address("c=IN IP4 224.2.1.1/127/3"),
            NegotiationError::Address,
        ),
        (
            with_address("c=IN IP4 255.255.255.255"),
            NegotiationError::Address,
        ),
        (with_address("c=IN IP6 ff02::1"), NegotiationError::Address),
        (
            with_address("c=IN IP6 2001:db8::9"),
            NegotiationError::AddressFamily,
        ),
    ] {
        assert_eq!(refusal(&offer), error, "{offer}");
    }
}

#[test]
fn the_refusal_names_what_the_best_audio_line_lacks() {
    let offer = peer("m=audio 4000 RTP/AVP 18\nm=audio 4002 RTP/SAVP 0");
    assert_eq!(refusal(&offer), NegotiationError::NoCommonCodec);
}

#[test]
fn rtcp_goes_where_the_peer_says() {
    let rtcp = |lines: &str| {
        let (_, negotiated) = answer(&peer(lines), &local(), ALL).unwrap();
        negotiated.remote_rtcp.to_string()
    };
    for (lines, expected) in [
        ("", "192.0.2.9:4001"),
        ("a=rtcp:53020", "192.0.2.9:53020"),
        ("a=rtcp:53020 IN IP4 198.51.100.3", "198.51.100.3:53020"),
        ("a=rtcp:53020 IN IP4 0.0.0.0", "192.0.2.9:53020"),
        ("a=rtcp:53020 IN IP4 224.0.0.1", "192.0.2.9:53020"),
        ("a=rtcp:53020 IN IP6 2001:db8::3", "192.0.2.9:53020"),
        ("a=rtcp:0", "192.0.2.9:4001"),
        ("a=rtcp:", "192.0.2.9:4001"),
        ("a=rtcp-mux\na=rtcp:53020", "192.0.2.9:4000"),
    ] {
        assert_eq!(rtcp(&format!("{PCMU}\n{lines}")), expected, "{lines}");
    }
    assert_eq!(rtcp("m=audio 65535 RTP/AVP 0"), "192.0.2.9:65535");
}

#[test]
fn rtcp_mux_takes_both_sides() {
    let mux = |lines: &str| {
        let peer = peer(&format!("{PCMU}\n{lines}"));
        (
            answer(&peer, &local(), ALL).unwrap().1.rtcp_mux,
            apply_answer(&offer(&local()).unwrap(), &peer)
                .unwrap()
                .rtcp_mux,
        )
    };
    assert_eq!(mux("a=rtcp-mux"), (true, true));
    assert_eq!(mux(""), (false, false));
}

#[test]
fn rtcp_mux_is_declined_where_a_payload_number_looks_like_rtcp() {
    let offer = peer("m=audio 4000 RTP/AVP 72\na=rtpmap:72 PCMA/8000\na=rtcp-mux");
    let (answer, negotiated) = answer(&offer, &local(), ALL).unwrap();
    assert!(!negotiated.rtcp_mux);
    assert!(!answer.to_string().contains("rtcp-mux"));
}

#[test]
fn packet_times_are_read_with_sense() {
    let ptime = |lines: &str| {
        let offer = peer(&format!("{PCMU}\n{lines}"));
        answer(&offer, &local(), ALL).unwrap().1.ptime
    };
    assert_eq!(ptime(""), None);
    assert_eq!(ptime("a=ptime:30"), Some(30));
    assert_eq!(ptime("a=ptime:30\na=maxptime:20"), Some(20));
    assert_eq!(ptime("a=ptime:20.0"), Some(20));
    assert_eq!(ptime("a=ptime:0"), None);
    assert_eq!(ptime("a=ptime:99999999999"), None);
    assert_eq!(ptime("a=maxptime:20"), None);
}

#[test]
fn two_gateways_agree_with_each_other() {
    let other = Local::new([198, 51, 100, 1].into(), 40000, 40001, 8);
    let ours = offer(&local()).unwrap();
    let (theirs, at_them) = answer(&parse(&ours.to_string()), &other, ALL).unwrap();
    let at_us = apply_answer(&ours, &parse(&theirs.to_string())).unwrap();
    assert_eq!(at_us.codec_list(), at_them.codec_list());
    assert_eq!(at_us.codec_list(), Codec::ALL);
    assert_eq!(at_us.remote_rtp, "198.51.100.1:40000".parse().unwrap());
    assert_eq!(at_them.remote_rtp, "203.0.113.1:30000".parse().unwrap());
    assert!(at_us.rtcp_mux && at_them.rtcp_mux);
}
