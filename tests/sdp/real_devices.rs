//! What the gateway makes of each recorded description in `real/`.

use ringwire::sdp::{Codec, NegotiationError, Session, answer, apply_answer, offer};

use super::{ALL, codecs, local, local_at, media_lines};

macro_rules! real {
    ($name:literal) => {
        Session::parse(include_bytes!(concat!("real/", $name, ".sdp"))).expect($name)
    };
}

#[test]
fn an_offer_of_baresip_is_answered_with_its_numbers_and_order() {
    let (answer, negotiated) = answer(&real!("baresip"), &local(), ALL).unwrap();
    assert_eq!(
        answer.to_string(),
        "v=0\r\n\
         o=- 7 1 IN IP4 203.0.113.1\r\n\
         s=-\r\n\
         c=IN IP4 203.0.113.1\r\n\
         t=0 0\r\n\
         m=audio 30000 RTP/AVP 96 9 0 8 101\r\n\
         a=rtpmap:96 opus/48000/2\r\n\
         a=fmtp:96 useinbandfec=1\r\n\
         a=rtpmap:9 G722/8000\r\n\
         a=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\n\
         a=ptime:20\r\n\
         a=rtcp-mux\r\n\
         a=sendrecv\r\n"
    );
    assert_eq!(negotiated.remote_rtp, "127.0.0.1:20034".parse().unwrap());
    assert_eq!(negotiated.remote_rtcp, negotiated.remote_rtp);
    assert!(negotiated.rtcp_mux && negotiated.send && negotiated.receive && !negotiated.held);
    assert_eq!(negotiated.ptime, Some(20));
    assert_eq!(
        negotiated.codec(Codec::Opus).unwrap().fmtp.as_deref(),
        Some("stereo=1;sprop-stereo=1;maxaveragebitrate=28000")
    );
}

#[test]
fn sipp_gets_its_one_codec_without_rtcp_mux() {
    let (answer, negotiated) = answer(&real!("sipp"), &local(), ALL).unwrap();
    assert_eq!(
        media_lines(&answer),
        [
            "m=audio 30000 RTP/AVP 0",
            "a=rtpmap:0 PCMU/8000",
            "a=sendrecv"
        ]
    );
    assert_eq!(negotiated.remote_rtcp, "127.0.0.1:6001".parse().unwrap());
}

#[test]
fn asterisk_may_use_every_codec_we_know_and_none_we_do_not() {
    let (_, negotiated) = answer(&real!("asterisk"), &local(), ALL).unwrap();
    assert_eq!(
        codecs(&negotiated),
        [
            "PCMA/8000 8/8",
            "PCMU/8000 0/0",
            "G722/8000 9/9",
            "telephone-event/8000 101/101"
        ]
    );
    assert_eq!(negotiated.ptime, Some(20));
}

#[test]
fn freeswitch_offers_events_for_each_clock_and_gets_those_that_match() {
    let offer = real!("freeswitch");
    let (_, both) = answer(&offer, &local(), ALL).unwrap();
    assert_eq!(
        codecs(&both),
        [
            "opus/48000/2 102/102",
            "G722/8000 9/9",
            "PCMU/8000 0/0",
            "PCMA/8000 8/8",
            "telephone-event/48000 101/101",
            "CN/8000 13/13",
            "telephone-event/8000 103/103"
        ]
    );
    let events = [
        Codec::TelephoneEvent(8000),
        Codec::TelephoneEvent(48000),
        Codec::Pcma,
    ];
    let (_, narrow) = answer(&offer, &local(), &events).unwrap();
    assert_eq!(
        codecs(&narrow),
        ["PCMA/8000 8/8", "telephone-event/8000 103/103"]
    );
    assert_eq!(both.remote_rtcp, "192.0.2.22:30317".parse().unwrap());
}

#[test]
fn static_numbers_need_no_rtpmap() {
    let offer = real!("freeswitch-static-without-rtpmap");
    let (_, negotiated) = answer(&offer, &local(), ALL).unwrap();
    assert_eq!(
        codecs(&negotiated),
        [
            "PCMU/8000 0/0",
            "PCMA/8000 8/8",
            "opus/48000/2 98/98",
            "telephone-event/8000 101/101",
            "CN/8000 13/13"
        ]
    );
}

#[test]
fn linphone_keeps_its_profile_and_loses_its_video() {
    let (answer, negotiated) = answer(&real!("linphone"), &local(), ALL).unwrap();
    assert_eq!(
        media_lines(&answer),
        [
            "m=audio 30000 RTP/AVPF 96 0 8 101 100",
            "a=rtpmap:96 opus/48000/2",
            "a=fmtp:96 useinbandfec=1",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:101 telephone-event/48000",
            "a=fmtp:101 0-16",
            "a=rtpmap:100 telephone-event/8000",
            "a=fmtp:100 0-16",
            "a=sendrecv",
            "m=video 0 RTP/AVPF 96"
        ]
    );
    assert_eq!(negotiated.remote_rtp, "192.0.2.33:7078".parse().unwrap());
}

#[test]
fn a_cisco_gateway_names_the_address_in_its_media() {
    let (_, negotiated) = answer(&real!("cisco-ios"), &local(), ALL).unwrap();
    assert_eq!(negotiated.remote_rtp, "192.0.2.45:17438".parse().unwrap());
    assert_eq!(codecs(&negotiated), ["PCMU/8000 0/0", "PCMA/8000 8/8"]);
}

#[test]
fn a_cisco_phone_has_video_and_slides_refused_in_their_places() {
    let offer = real!("cisco-cucm-phone");
    let (answer, negotiated) = answer(&offer, &local(), ALL).unwrap();
    let refused: Vec<String> = media_lines(&answer)
        .into_iter()
        .filter(|line| line.starts_with("m="))
        .collect();
    assert_eq!(
        refused,
        [
            "m=audio 30000 RTP/AVP 0 8 101",
            "m=video 0 RTP/AVP 97",
            "m=application 0 UDP/BFCP *"
        ]
    );
    assert!(negotiated.send && negotiated.receive);
    assert_eq!(offer.bandwidth, ["AS:4064"]);
    assert_eq!(offer.media[1].bandwidth, ["TIAS:4000000"]);
}

#[test]
fn a_browser_is_refused_for_its_transport() {
    assert_eq!(
        answer(&real!("chromium"), &local(), ALL).unwrap_err(),
        NegotiationError::SrtpOff
    );
}

#[test]
fn of_encrypted_and_plain_audio_the_plain_is_taken() {
    let (answer, negotiated) = answer(&real!("snom-srtp-then-plain"), &local(), ALL).unwrap();
    let lines = media_lines(&answer);
    assert_eq!(lines[0], "m=audio 0 RTP/SAVP 9");
    assert_eq!(lines[1], "m=audio 30000 RTP/AVP 9 0 8 101");
    assert_eq!(negotiated.remote_rtp, "192.0.2.71:52202".parse().unwrap());
}

#[test]
fn lower_case_encodings_and_doubled_events_are_read() {
    let (_, negotiated) = answer(&real!("restcomm-lower-case"), &local(), ALL).unwrap();
    assert_eq!(
        codecs(&negotiated),
        [
            "PCMA/8000 8/8",
            "PCMU/8000 0/0",
            "telephone-event/8000 101/101"
        ]
    );
    assert_eq!(negotiated.remote_rtcp, "192.0.2.62:37403".parse().unwrap());
}

#[test]
fn one_channel_may_be_spelled_out() {
    let (_, negotiated) = answer(&real!("doubango-one-channel"), &local(), ALL).unwrap();
    assert_eq!(negotiated.codecs.len(), 3);
}

#[test]
fn a_switch_to_fax_is_refused() {
    assert_eq!(
        answer(&real!("t38-reinvite"), &local(), ALL).unwrap_err(),
        NegotiationError::NoAudio
    );
}

#[test]
fn ipv6_is_answered_with_ipv6_only() {
    let offer = real!("ipv6");
    let ours = local_at("2001:db8::1".parse().unwrap());
    let (answered, negotiated) = answer(&offer, &ours, ALL).unwrap();
    assert!(
        answered
            .to_string()
            .contains("\r\nc=IN IP6 2001:db8::1\r\n")
    );
    assert_eq!(
        negotiated.remote_rtp,
        "[2001:db8::20]:49170".parse().unwrap()
    );
    assert_eq!(
        negotiated.remote_rtcp,
        "[2001:db8::21]:53020".parse().unwrap()
    );
    assert_eq!(offer.audio_address(), Some("2001:db8::20".parse().unwrap()));
    assert_eq!(
        answer(&offer, &local(), ALL).unwrap_err(),
        NegotiationError::AddressFamily
    );
}

#[test]
fn the_media_servers_bare_line_feeds_and_one_letter_name_are_read() {
    let answer = real!("media-server");
    assert_eq!(answer.name, "m");
    let negotiated = apply_answer(&offer(&local()).unwrap(), &answer).unwrap();
    assert_eq!(
        codecs(&negotiated),
        ["PCMA/8000 8/8", "telephone-event/8000 101/101"]
    );
    assert!(negotiated.rtcp_mux);
    assert_eq!(
        negotiated.remote_rtp,
        "198.51.100.40:31244".parse().unwrap()
    );
}
