//! Peers that are sloppy, old, lost or looking for trouble, and what the
//! agent answers by itself.

use std::net::SocketAddr;
use std::time::Instant;

use ringwire::ids::ListenerId;
use ringwire::sip::agent::{Agent, DropReason, Event, Listener};

use crate::fake_network::{Conditions, World, settings};
use crate::support::*;

fn world() -> World {
    World::new(1, Conditions::PERFECT, 1)
}

#[test]
fn what_the_agent_answers_by_itself() {
    let raw = Raw::new();
    let sdp_less = "Accept: text/plain\r\n";
    let gzip = "Content-Encoding: gzip\r\n";
    let text = "Content-Type: text/plain\r\n";
    let cases: &[(&str, &str, &str, u16, &str)] = &[
        (
            "OPTIONS",
            "",
            "",
            200,
            "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE",
        ),
        ("OPTIONS", "", "", 200, "Accept: application/sdp"),
        ("OPTIONS", "", "", 200, "Supported: "),
        (
            "REGISTER",
            "",
            "",
            405,
            "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE",
        ),
        ("MESSAGE", "", "", 405, "Allow: "),
        ("FLY", "", "", 501, "Allow: "),
        (
            "INVITE",
            "Require: 100rel, other\r\n",
            "",
            420,
            "Unsupported: 100rel, other",
        ),
        ("INVITE", text, "x", 415, "Accept: application/sdp"),
        ("INVITE", gzip, "v=0\r\n", 415, "Accept-Encoding: identity"),
        ("INVITE", sdp_less, "", 406, "Warning: "),
        ("BYE", "", "", 481, ""),
        ("INFO", "", "", 481, ""),
        ("PRACK", "", "", 481, ""),
    ];
    for (method, extra, body, code, expected) in cases {
        let mut world = world();
        raw.send(&mut world, &raw.request_with(method, 1, "a", extra, body));
        let got = raw.received(&mut world);
        assert_eq!(got.len(), 1, "{method}");
        assert_eq!(got[0].code(), *code, "{method} {extra}");
        assert!(got[0].0.contains(expected), "{method}: {}", got[0].0);
        assert!(got[0].tag("To").starts_with("rw00"), "{method}");
        assert_eq!(got[0].header("Server"), "test");
        assert!(world.take(0).is_empty());
        assert_eq!(world.agent(0).transactions(), 0);
    }
}

#[test]
fn an_answer_without_state_is_the_same_each_time() {
    let (mut world, raw) = (world(), Raw::new());
    let options = raw.request("OPTIONS", 1, "a", "");
    raw.send(&mut world, &options);
    raw.send(&mut world, &options);
    let got = raw.received(&mut world);
    assert_eq!(got[0].0, got[1].0);
}

#[test]
fn an_unknown_scheme_gets_416_and_a_version_505_and_rubbish_400() {
    let (mut world, raw) = (world(), Raw::new());
    let options = raw.request("OPTIONS", 1, "a", "");
    let scheme = options.replace("OPTIONS sip:bob@192.0.2.1:5060", "OPTIONS soap:x");
    assert_eq!(raw.ask(&mut world, &scheme), [416]);
    let version = options.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia");
    assert_eq!(raw.ask(&mut world, &version), [505]);
    let rubbish = options.replace("CSeq: 1 OPTIONS", "CSeq: x");
    assert_eq!(raw.ask(&mut world, &rubbish), [400]);
    assert!(raw.ask(&mut world, "\r\n\r\n").is_empty());
    assert!(raw.ask(&mut world, "hello").is_empty());
    let broken_ack = raw
        .request("ACK", 1, "b", "")
        .replace("CSeq: 1 ACK", "CSeq: x");
    assert!(raw.ask(&mut world, &broken_ack).is_empty());
    let counters = world.agent(0).counters();
    assert_eq!(counters.dropped(DropReason::KeepAlive), 1);
    assert_eq!(counters.dropped(DropReason::Unparseable), 2);
}

#[test]
fn max_forwards_of_zero_is_no_reason_to_refuse_for_an_endpoint() {
    let (mut world, raw) = (world(), Raw::new());
    let invite = raw.request("INVITE", 1, "a", "");
    let invite = invite.replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(raw.ask(&mut world, &invite), [100]);
    invited(&world.take(0));
}

#[test]
fn a_merged_request_gets_482_and_a_repeated_one_the_same_answer_8_2_2_2() {
    let (mut world, raw) = (world(), Raw::new());
    let invite = raw.request("INVITE", 1, "one-way", "");
    assert_eq!(raw.ask(&mut world, &invite), [100]);
    assert_eq!(raw.ask(&mut world, &invite), [100]);
    let other_way = raw.request("INVITE", 1, "other-way", "");
    assert_eq!(raw.ask(&mut world, &other_way), [482]);
    invited(&world.take(0));
    assert_eq!(world.agent(0).sessions(), 1);
}

#[test]
fn a_request_looping_through_proxies_back_to_us_is_one_call() {
    let (mut world, raw) = (world(), Raw::new());
    assert_eq!(
        raw.ask(&mut world, &raw.request("INVITE", 1, "a", "")),
        [100]
    );
    invited(&world.take(0));
    // A proxy in a loop sends it on with one Via more each time.
    for hop in 0..5 {
        let looped = raw.request("INVITE", 1, "a", "").replacen(
            "Via: ",
            &format!(
                "Via: SIP/2.0/UDP {};branch=z9hG4bKl{hop}\r\nVia: ",
                raw.address
            ),
            1,
        );
        assert_eq!(raw.ask(&mut world, &looped), [482]);
    }
    assert!(world.take(0).is_empty());
}

#[test]
fn responses_go_to_the_source_and_to_its_port_with_rport() {
    let nat: SocketAddr = "203.0.113.9:40000".parse().unwrap();
    let raw = Raw::new();
    let options = raw.request("OPTIONS", 1, "a", "");
    for (extra, port) in [("", 5070), (";rport", 40_000), (";maddr=192.0.2.99", 5070)] {
        let mut world = world();
        let text = options.replace("branch=z9hG4bKa", &format!("branch=z9hG4bKa{extra}"));
        world.inject(nat, 0, text.as_bytes());
        world.run(millis(2));
        let mail = world.mail();
        assert_eq!(mail[0].to, SocketAddr::new(nat.ip(), port), "{extra}");
        let answer = String::from_utf8_lossy(&mail[0].payload).into_owned();
        assert!(answer.contains("received=203.0.113.9"), "{answer}");
        assert_eq!(extra == ";rport", answer.contains("rport=40000"));
    }
}

#[test]
fn ipv6_callers_are_answered_where_they_are() {
    let mut world = World::new(1, Conditions::PERFECT, 0);
    world.add(settings("[2001:db8::1]:5060".parse().unwrap(), 7));
    let raw = Raw {
        address: "[2001:db8::2]:5070".parse().unwrap(),
        agent: "[2001:db8::1]:5060".parse().unwrap(),
        ..Raw::new()
    };
    raw.send(&mut world, &raw.request("INVITE", 1, "a", ""));
    let session = invited(&world.take(0));
    let now = world.now;
    world.agent(0).accept(now, session, sdp("six")).unwrap();
    let got = raw.received(&mut world);
    assert_eq!(got[1].header("Contact"), "<sip:bob@[2001:db8::1]:5060>");
}

#[test]
fn an_invite_without_contact_makes_its_source_the_target() {
    let (mut world, raw) = (world(), Raw::new());
    let invite = raw.request("INVITE", 1, "a", "");
    let invite = invite.replace("Contact: <sip:raw@198.51.100.7:5070>\r\n", "");
    raw.send(&mut world, &invite);
    let session = invited(&world.take(0));
    let now = world.now;
    world.agent(0).accept(now, session, sdp("x")).unwrap();
    let ok = raw.received(&mut world).pop().unwrap();
    let mut raw = Raw::new();
    raw.to = ok.header("To").to_owned();
    raw.send(&mut world, &raw.request("ACK", 1, "k", ""));
    let now = world.now;
    world.agent(0).bye(now, session).unwrap();
    let bye = raw.received(&mut world).pop().unwrap();
    assert!(bye.start().starts_with("BYE sip:198.51.100.7:5070 "));
}

#[test]
fn a_2xx_without_contact_and_to_tag_is_good_enough() {
    let mut world = world();
    let (session, raw, invite) = call_raw(&mut world);
    raw.send(&mut world, &raw.response(&invite, 200, "", ""));
    assert!(matches!(world.take(0)[..], [Event::Answered { .. }]));
    let ack = raw.received(&mut world).pop().unwrap();
    assert!(
        ack.start().starts_with("ACK sip:198.51.100.7:5070 "),
        "{ack:?}"
    );
    let mut raw = raw;
    raw.call_id = Box::leak(invite.header("Call-ID").to_owned().into_boxed_str());
    raw.from = invite.header("To").to_owned();
    raw.to = invite.header("From").to_owned();
    assert_eq!(raw.ask(&mut world, &raw.request("BYE", 1, "b", "")), [200]);
    assert_eq!(world.take(0), [Event::Bye { session }]);
}

#[test]
fn responses_may_come_from_anywhere() {
    let mut world = world();
    let (_, raw, invite) = call_raw(&mut world);
    let elsewhere: SocketAddr = "203.0.113.77:1234".parse().unwrap();
    let ok = raw.response(&invite, 200, "t", RAW_CONTACT);
    world.inject(elsewhere, 0, ok.as_bytes());
    assert!(matches!(world.take(0)[..], [Event::Answered { .. }]));
    assert!(raw.received(&mut world)[0].start().starts_with("ACK "));
}

#[test]
fn strays_are_counted_and_dropped() {
    let (mut world, raw) = (world(), Raw::new());
    let stray_ack = raw.request("ACK", 1, "a", "");
    assert!(raw.ask(&mut world, &stray_ack).is_empty());
    let stray = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-none\r\n\
                 From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n";
    assert!(raw.ask(&mut world, stray).is_empty());
    let two_vias = stray.replace("Via:", "Via: SIP/2.0/UDP 1.2.3.4\r\nVia:");
    assert!(raw.ask(&mut world, &two_vias).is_empty());
    let counters = world.agent(0).counters();
    assert_eq!(counters.dropped(DropReason::StrayAck), 1);
    assert_eq!(counters.dropped(DropReason::StrayResponse), 1);
    assert_eq!(counters.dropped(DropReason::BrokenResponse), 1);
}

#[test]
fn a_lower_cseq_in_a_dialog_gets_500_12_2_2() {
    let mut world = world();
    let (_, raw) = answered_raw(&mut world);
    let info = |cseq, branch: &str| raw.request_with("INFO", cseq, branch, "", "x");
    assert_eq!(raw.ask(&mut world, &info(7, "i")), [200]);
    assert_eq!(raw.ask(&mut world, &info(6, "j")), [500]);
    assert_eq!(raw.ask(&mut world, &info(7, "k")), [200]);
    assert_eq!(raw.ask(&mut world, &raw.request("BYE", 8, "b", "")), [200]);
}

#[test]
fn a_dialog_cannot_be_entered_from_outside() {
    let mut world = world();
    let (_, mut raw) = answered_raw(&mut world);
    let good = (raw.from.clone(), raw.call_id);
    raw.from = good.0.replace("tag=raw", "tag=evil");
    assert_eq!(raw.ask(&mut world, &raw.request("BYE", 2, "x", "")), [481]);
    raw.from = good.0;
    raw.call_id = "evil";
    assert_eq!(raw.ask(&mut world, &raw.request("BYE", 2, "y", "")), [481]);
    raw.call_id = good.1;
    assert_eq!(raw.ask(&mut world, &raw.request("BYE", 2, "z", "")), [200]);
}

#[test]
fn requests_in_a_dialog_that_are_not_understood_leave_it_alone() {
    let mut world = world();
    let (_, raw) = answered_raw(&mut world);
    for (method, cseq, extra, code) in [
        ("REFER", 2, "", 405),
        ("FLY", 3, "", 501),
        ("OPTIONS", 4, "", 200),
        ("UPDATE", 5, "Require: timer\r\n", 420),
        ("UPDATE", 6, "Content-Type: text/plain\r\n", 415),
    ] {
        let body = if code == 415 { "x" } else { "" };
        let text = raw.request_with(method, cseq, method, extra, body);
        assert_eq!(raw.ask(&mut world, &text), [code], "{method}");
    }
    assert_eq!(world.agent(0).sessions(), 1);
    assert!(world.take(0).is_empty());
}

#[test]
fn the_route_of_an_incoming_call_is_recorded_and_followed() {
    let (mut world, raw) = (world(), Raw::new());
    let recorded = "Record-Route: <sip:198.51.100.8;lr>\r\nRecord-Route: <sip:198.51.100.9;lr>\r\n";
    raw.send(&mut world, &raw.request("INVITE", 1, "a", recorded));
    let session = invited(&world.take(0));
    let now = world.now;
    world.agent(0).accept(now, session, sdp("x")).unwrap();
    let ok = raw.received(&mut world).pop().unwrap();
    let copied: Vec<&str> = ok.headers("Record-Route").collect();
    assert_eq!(copied, ["<sip:198.51.100.8;lr>", "<sip:198.51.100.9;lr>"]);
    let mut raw = Raw::new();
    raw.to = ok.header("To").to_owned();
    raw.send(&mut world, &raw.request("ACK", 1, "k", ""));
    let now = world.now;
    world.agent(0).bye(now, session).unwrap();
    world.run(millis(2));
    let bye = world.mail().pop().unwrap();
    assert_eq!(bye.to, "198.51.100.8:5060".parse().unwrap());
    let bye = Text(String::from_utf8(bye.payload.to_vec()).unwrap());
    assert!(bye.start().starts_with("BYE sip:raw@198.51.100.7:5070 "));
    assert_eq!(bye.headers("Route").collect::<Vec<_>>(), copied);
}

#[test]
fn a_proxy_becomes_a_loose_route_and_ack_and_cancel_follow_it() {
    let mut world = world();
    let raw = Raw::new();
    let mut call = call_to(raw.address);
    call.proxy = Some("sip:proxy.example.com:5080".parse().unwrap());
    let now = world.now;
    let session = world.agent(0).invite(now, call).unwrap();
    let invite = raw.received(&mut world).pop().unwrap();
    assert_eq!(invite.header("Route"), "<sip:proxy.example.com:5080;lr>");
    raw.send(&mut world, &raw.response(&invite, 180, "t", ""));
    let now = world.now;
    world.agent(0).cancel(now, session).unwrap();
    let cancel = raw.received(&mut world).pop().unwrap();
    assert_eq!(cancel.header("Route"), invite.header("Route"));
    raw.send(&mut world, &raw.response(&invite, 487, "t", ""));
    let ack = raw.received(&mut world).pop().unwrap();
    assert!(ack.start().starts_with("ACK "));
    assert_eq!(ack.header("Route"), invite.header("Route"));
    assert_eq!(ack.header("Via"), invite.header("Via"));
    assert_eq!(ack.tag("To"), "t");
}

#[test]
fn elements_of_rfc_2543_are_told_apart_without_a_branch_17_2_3() {
    let (mut world, raw) = (world(), Raw::new());
    let old = |text: String| text.replace(";branch=z9hG4bKx", "");
    let invite = old(raw.request("INVITE", 1, "x", ""));
    assert_eq!(raw.ask(&mut world, &invite), [100]);
    assert_eq!(raw.ask(&mut world, &invite), [100]);
    let session = invited(&world.take(0));
    let cancel = old(raw.request("CANCEL", 1, "x", ""));
    assert_eq!(raw.ask(&mut world, &cancel), [200, 487]);
    assert_eq!(world.take(0), [Event::Cancelled { session }]);
    world.run(millis(600));
    let refused = raw.received(&mut world).pop().unwrap();
    assert_eq!(refused.code(), 487);
    let mut raw = raw;
    raw.to = refused.header("To").to_owned();
    let ack = old(raw.request("ACK", 1, "x", ""));
    assert!(raw.ask(&mut world, &ack).is_empty());
    world.run(seconds(4));
    // The ACK was understood: nothing is repeated.
    assert!(raw.received(&mut world).is_empty());
    assert_nothing_left(&mut world);
}

#[test]
fn a_full_agent_sends_invites_away_and_keeps_its_calls() {
    let mut world = World::new(1, Conditions::PERFECT, 0);
    let mut limited = settings(World::address(0), 0);
    limited.max_sessions = 1;
    world.add(limited);
    let (session, raw) = answered_raw(&mut world);
    let other = Raw {
        call_id: "other",
        ..Raw::new()
    };
    other.send(&mut world, &other.request("INVITE", 1, "o", ""));
    let got = raw.received(&mut world);
    assert_eq!(got[0].code(), 503);
    assert!(!got[0].header("Retry-After").is_empty());
    assert_eq!(world.agent(0).counters().refused_full, 1);
    assert_eq!(raw.ask(&mut world, &raw.request("BYE", 2, "b", "")), [200]);
    assert_eq!(world.take(0), [Event::Bye { session }]);
}

#[test]
fn without_room_for_transactions_calls_can_still_end() {
    let mut world = World::new(1, Conditions::PERFECT, 0);
    let mut limited = settings(World::address(0), 0);
    limited.max_transactions = 2;
    world.add(limited);
    let (first, raw) = answered_raw(&mut world);
    let second = Raw {
        call_id: "second",
        ..Raw::new()
    };
    second.send(&mut world, &second.request("INVITE", 1, "s", ""));
    let (second, _) = (invited(&world.take(0)), raw.received(&mut world));
    let now = world.now;
    world.agent(0).accept(now, second, sdp("x")).unwrap();
    raw.received(&mut world);
    assert_eq!(world.agent(0).transactions(), 2);
    let now = world.now;
    let refused = world.agent(0).invite(now, call_to(raw.address));
    assert_eq!(refused, Err(ringwire::sip::agent::AgentError::Full));
    assert_eq!(raw.ask(&mut world, &raw.request("BYE", 2, "b", "")), [200]);
    assert_eq!(world.take(0), [Event::Bye { session: first }]);
    world.run(seconds(33));
    assert_nothing_left(&mut world);
}

#[test]
fn a_dialog_stays_on_the_listener_it_began_on() {
    let mut two = settings(World::address(0), 0);
    let second: SocketAddr = "[2001:db8::1]:5062".parse().unwrap();
    two.listeners.push(Listener {
        bound: "[::]:5062".parse().unwrap(),
        advertised: second,
    });
    let mut agent = Agent::new(two);
    let now = Instant::now();
    let listener = ListenerId(1);
    let raw = Raw {
        address: "[2001:db8::2]:5070".parse().unwrap(),
        ..Raw::new()
    };
    let invite = raw.request("INVITE", 1, "a", "");
    agent.handle_datagram(now, listener, raw.address, invite.as_bytes());
    let Some(Event::Invite { session, invite }) = agent.poll_event() else {
        panic!();
    };
    assert_eq!(invite.listener, listener);
    agent.accept(now, session, sdp("x")).unwrap();
    let mut sent = Vec::new();
    let mut drain = |agent: &mut Agent| {
        while let Some(transmit) = agent.poll_transmit() {
            assert_eq!(transmit.listener, listener);
            assert_eq!(transmit.destination, raw.address);
            sent.push(Text(String::from_utf8(transmit.payload.to_vec()).unwrap()));
        }
        sent.last().unwrap().clone()
    };
    let ok = drain(&mut agent);
    assert_eq!(ok.header("Contact"), "<sip:bob@[2001:db8::1]:5062>");
    let ack = Raw {
        to: ok.header("To").to_owned(),
        address: raw.address,
        ..Raw::new()
    };
    let ack = ack.request("ACK", 1, "k", "");
    agent.handle_datagram(now, listener, raw.address, ack.as_bytes());
    agent.bye(now, session).unwrap();
    let bye = drain(&mut agent);
    assert!(bye.start().starts_with("BYE sip:raw@[2001:db8::2]:5070 "));
    assert!(
        bye.header("Via")
            .starts_with("SIP/2.0/UDP [2001:db8::1]:5062;")
    );
}
