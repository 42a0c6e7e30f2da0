//! Sources that probe: banned, counted and logged; whoever is expected is not.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::sip::{SipPeer, pcmu_at};
use crate::support::{Gateway, eventually};

/// What scanners open with: the user agent of sipvicious, and users that
/// nobody has.
fn probe(scanner: &mut SipPeer, target: SocketAddr, method: &str, user: u32) {
    let from = scanner.address();
    let message = format!(
        "{method} sip:{user}@{target} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {from};branch=z9hG4bK-{method}{user};rport\r\n\
         Max-Forwards: 70\r\n\
         From: \"sipvicious\"<sip:{user}@1.1.1.1>;tag={user}\r\n\
         To: \"sipvicious\"<sip:{user}@1.1.1.1>\r\n\
         Call-ID: {user}{method}\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:{user}@{from}>\r\n\
         User-Agent: friendly-scanner\r\n\
         Content-Length: 0\r\n\r\n"
    );
    scanner.send(target, message.as_bytes());
}

fn is_answered(scanner: &mut SipPeer, method: &str, patience: Duration) -> bool {
    let answer = scanner.within(patience, &mut |message| {
        message.status().is_some_and(|code| code >= 200) && message.header("cseq").ends_with(method)
    });
    answer.is_some()
}

const SETTINGS: &str = "[scanners]\nthreshold = 6\nban_s = 3\nnever_ban = []";

#[test]
fn a_scanner_is_dropped_unread_for_a_while_on_every_shard_and_a_caller_is_served() {
    let mut gateway = Gateway::with()
        .shards(2)
        .table(SETTINGS)
        .number_from("7000", r#"["127.0.0.1"]"#, r#"answer = "echo""#)
        .start();
    let mut scanner = SipPeer::open(&mut gateway.ports, [127, 0, 0, 66].into());
    // Five bad requests are answered, the sixth too, the seventh is not.
    for user in 100..105 {
        let method = ["INVITE", "REGISTER", "FOO"][user as usize % 3];
        probe(&mut scanner, gateway.sip(), method, user);
        assert!(is_answered(&mut scanner, method, crate::support::PATIENCE));
    }
    scanner.send(gateway.sip(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("the ban", || {
        (gateway.counted("sip_bans_total", "") == 1).then_some(())
    });
    assert_eq!(gateway.counted("sip_banned_sources", ""), 1);
    probe(&mut scanner, gateway.sip(), "OPTIONS", 200);
    eventually("a drop", || {
        (gateway.counted("sip_banned_datagrams_total", "") >= 1).then_some(())
    });
    let banned = |log: &str| log.matches("source banned").count();
    assert_eq!(banned(&gateway.log()), 1);

    // The caller is inside of a number's subnets.
    let mut caller = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    for user in 300..310 {
        probe(&mut caller, gateway.sip(), "REGISTER", user);
        assert!(is_answered(
            &mut caller,
            "REGISTER",
            crate::support::PATIENCE
        ));
    }
    let media = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    let mut call = caller.invite(gateway.sip(), "7000", &media);
    caller.expect_answer(&mut call);

    // The ban ends by itself.
    eventually("the end of the ban", || {
        probe(&mut scanner, gateway.sip(), "OPTIONS", 400);
        is_answered(&mut scanner, "OPTIONS", Duration::from_millis(200)).then_some(())
    });
    eventually("the line in the log", || {
        gateway.log().contains("no longer banned").then_some(())
    });
    gateway.assert_alive();
}

#[test]
fn the_peer_of_a_call_is_not_banned_even_where_everybody_may_call() {
    let mut gateway = Gateway::with()
        .table(SETTINGS)
        .number_from("7000", r#"["0.0.0.0/0"]"#, r#"answer = "echo""#)
        .start();
    let mut caller = SipPeer::open(&mut gateway.ports, [127, 0, 0, 77].into());
    let media = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    let mut call = caller.invite(gateway.sip(), "7000", &media);
    caller.expect_answer(&mut call);
    for user in 100..110 {
        probe(&mut caller, gateway.sip(), "REGISTER", user);
        assert!(is_answered(
            &mut caller,
            "REGISTER",
            crate::support::PATIENCE
        ));
    }
    caller.request(&mut call, "BYE", "");
    caller.expect_final("BYE");
    gateway.wait_until_idle();
    // Now it is a scanner like any other.
    for user in 200..206 {
        probe(&mut caller, gateway.sip(), "REGISTER", user);
    }
    eventually("the ban", || {
        (gateway.counted("sip_bans_total", "") == 1).then_some(())
    });
}
