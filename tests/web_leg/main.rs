//! Legs on a shared port as a browser meets them: ICE with authenticated
//! checks, then DTLS, packet in, packet out, without sockets.

mod exercise;
mod mutation;
mod sip_leg;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringwire::ids::{LegId, MediaPort};
use ringwire::io::dtls::OpenSslEngine;
use ringwire::keying::{DtlsRole, Fingerprint, IceCredentials, Security};
use ringwire::media::stun::{Builder, Class, IceRole, Message};
use ringwire::media::{
    DropReason, DtlsEngine, DtlsSession, DtlsState, Latch, Notice, Packet, Remote, Table,
    TableSettings, Verdict,
};

const SHARED: MediaPort = MediaPort(0);
const SHARED_V6: MediaPort = MediaPort(1);

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn browser() -> SocketAddr {
    at("192.0.2.1:4000")
}

fn credentials(ufrag: &str) -> IceCredentials {
    IceCredentials {
        ufrag: ufrag.into(),
        password: format!("password of {ufrag}"),
    }
}

/// A check of a controlling peer that knows these credentials.
fn check(ice: &IceCredentials) -> Builder {
    Builder::binding(Class::Request, [9; 12])
        .username(&format!("{}:theirs", ice.ufrag))
        .priority(1)
        .role(IceRole::Controlling, 7)
}

struct Bench {
    table: Table,
    now: Instant,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(TableSettings::default())
    }

    fn with(settings: TableSettings) -> Bench {
        let mut table = Table::new(settings, [7; 32]);
        table.share_port(SHARED, false);
        table.share_port(SHARED_V6, true);
        table.set_dtls(Box::new(OpenSslEngine::new().expect("an engine")));
        Bench {
            table,
            now: Instant::now(),
        }
    }

    fn open(&mut self, ufrag: &str) -> LegId {
        self.table.open_shared(self.now, credentials(ufrag))
    }

    fn send(&mut self, from: SocketAddr, bytes: &[u8]) -> (Verdict, Vec<u8>) {
        let mut slot = vec![0; bytes.len() + 148];
        slot[..bytes.len()].copy_from_slice(bytes);
        let port = if from.is_ipv6() { SHARED_V6 } else { SHARED };
        let mut batch = [Packet::new(port, Some(from), &mut slot, bytes.len())];
        self.table.process_batch(self.now, &mut batch);
        let came_of_it = (batch[0].verdict, batch[0].bytes().to_vec());
        exercise::shake_hands(&mut self.table, self.now);
        came_of_it
    }

    fn dropped(&mut self, from: SocketAddr, bytes: &[u8]) -> DropReason {
        match self.send(from, bytes).0 {
            Verdict::Drop(reason) => reason,
            other => panic!("not dropped: {other:?}"),
        }
    }

    /// Sends a check that must be answered where it came from; the error code.
    fn answered(&mut self, from: SocketAddr, ice: &IceCredentials, check: Builder) -> Option<u16> {
        let request = check.signed(&ice.password);
        let (verdict, answer) = self.send(from, &request);
        let port = if from.is_ipv6() { SHARED_V6 } else { SHARED };
        let to = Some(from);
        assert_eq!(verdict, Verdict::Forward { port, to });
        let answer = Message::parse(&answer).expect("a STUN message");
        assert_eq!(answer.transaction, [9; 12]);
        assert!(answer.is_authentic(&ice.password));
        if answer.error.is_none() {
            assert_eq!(answer.mapped, to);
        }
        answer.error
    }

    fn nominate(&mut self, from: SocketAddr, ufrag: &str) {
        let ice = credentials(ufrag);
        assert_eq!(self.answered(from, &ice, check(&ice).use_candidate()), None);
    }

    fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.table.poll_notice()).collect()
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        if self.table.next_timeout().is_some_and(|due| due <= self.now) {
            self.table.handle_timeout(self.now);
        }
        exercise::shake_hands(&mut self.table, self.now);
    }

    fn describe(&mut self, leg: LegId, security: Security) {
        let nowhere = at("0.0.0.0:9");
        let remote = Remote {
            rtp: nowhere,
            rtcp: nowhere,
            rtcp_mux: true,
            send: true,
            receive: true,
            held: false,
            latch: Latch::Strict,
            security,
            payloads: Vec::new(),
        };
        assert!(self.table.set_remote(self.now, leg, remote));
        exercise::shake_hands(&mut self.table, self.now);
    }

    /// Plays the browser's session against the leg until nothing moves.
    fn shake(&mut self, peer: &mut dyn DtlsSession, first: &[u8]) {
        let mut to_gateway: Vec<Vec<u8>> = Vec::new();
        peer.handle(self.now, first, &mut |d| to_gateway.push(d.to_vec()));
        loop {
            for datagram in std::mem::take(&mut to_gateway) {
                self.send(browser(), &datagram);
            }
            let answers: Vec<_> = std::iter::from_fn(|| self.table.poll_transmit()).collect();
            for answer in &answers {
                assert_eq!((answer.port, answer.to), (SHARED, Some(browser())));
                peer.handle(self.now, &answer.payload, &mut |d| {
                    to_gateway.push(d.to_vec());
                });
            }
            if to_gateway.is_empty() {
                return;
            }
        }
    }
}

#[test]
fn an_authentic_check_is_answered_and_its_address_selected() {
    let mut bench = Bench::new();
    let leg = bench.open("one");
    let address = browser();
    bench.nominate(address, "one");
    assert_eq!(bench.notices(), [Notice::Nominated { leg, address }]);
    bench.nominate(address, "one");
    assert_eq!(bench.notices(), [], "told once");
}

#[test]
fn what_is_not_authentic_gets_no_answer() {
    let mut bench = Bench::new();
    bench.open("one");
    let ice = credentials("one");
    let wrong = check(&ice).signed("another password");
    assert_eq!(
        bench.dropped(browser(), &wrong),
        DropReason::StunUnauthenticated
    );
    let unsigned = check(&ice).unsigned();
    assert_eq!(
        bench.dropped(browser(), &unsigned),
        DropReason::StunUnauthenticated
    );
    let nobody = credentials("nobody");
    let stranger = check(&nobody).signed(&nobody.password);
    assert_eq!(
        bench.dropped(browser(), &stranger),
        DropReason::StunUnknownUser
    );
    let answer = Builder::binding(Class::Success, [9; 12]).signed(&ice.password);
    assert_eq!(bench.dropped(browser(), &answer), DropReason::StunInvalid);
    assert_eq!(
        bench.dropped(browser(), &[0, 1, 0, 0]),
        DropReason::StunInvalid
    );
    assert_eq!(bench.notices(), []);
    assert_eq!(
        bench.dropped(browser(), &[0x80; 40]),
        DropReason::WrongSource
    );
}

#[test]
fn role_conflicts_and_unknown_attributes_are_refused_in_words() {
    let mut bench = Bench::new();
    bench.open("one");
    let ice = credentials("one");
    let controlled = Builder::binding(Class::Request, [9; 12])
        .username("one:theirs")
        .role(IceRole::Controlled, 7);
    assert_eq!(bench.answered(browser(), &ice, controlled), Some(487));
    let odd = check(&ice).attribute(0x7abc, b"what");
    assert_eq!(bench.answered(browser(), &ice, odd), Some(420));
    assert_eq!(bench.notices(), [], "neither selects an address");
}

#[test]
fn media_moves_with_a_nomination_and_not_with_a_mere_check() {
    let mut bench = Bench::new();
    let leg = bench.open("one");
    let ice = credentials("one");
    bench.nominate(browser(), "one");
    bench.notices();
    let other = at("[2001:db8::1]:5000");
    assert_eq!(bench.answered(other, &ice, check(&ice)), None);
    assert_eq!(bench.notices(), []);
    bench.nominate(other, "one");
    let address = other;
    assert_eq!(bench.notices(), [Notice::Nominated { leg, address }]);
    // The chosen one falls silent: a mere check will do.
    bench.pass(9);
    assert_eq!(bench.answered(browser(), &ice, check(&ice)), None);
    let address = browser();
    assert_eq!(bench.notices(), [Notice::Nominated { leg, address }]);
}

#[test]
fn a_restart_holds_at_once_and_the_old_password_until_the_new_is_used() {
    let mut bench = Bench::new();
    let leg = bench.open("old");
    bench.nominate(browser(), "old");
    assert!(bench.table.restart_ice(leg, credentials("new")));
    bench.nominate(browser(), "old");
    bench.nominate(browser(), "new");
    let old = credentials("old");
    let late = check(&old).signed(&old.password);
    assert_eq!(bench.dropped(browser(), &late), DropReason::StunUnknownUser);
}

#[test]
fn consent_is_lost_once_and_a_check_brings_it_back() {
    let mut bench = Bench::new();
    let leg = bench.open("one");
    bench.nominate(browser(), "one");
    bench.notices();
    for _ in 0..5 {
        bench.pass(20);
        bench.nominate(browser(), "one");
    }
    assert_eq!(bench.notices(), []);
    bench.pass(30);
    assert_eq!(bench.notices(), [Notice::ConsentLost { leg }]);
    bench.pass(60);
    assert_eq!(bench.notices(), [], "told once");
    bench.nominate(browser(), "one");
    let address = browser();
    assert_eq!(bench.notices(), [Notice::Nominated { leg, address }]);
    bench.pass(31);
    assert_eq!(bench.notices(), [Notice::ConsentLost { leg }]);
}

#[test]
fn a_leg_that_no_check_ever_comes_for_expires_too() {
    let mut bench = Bench::new();
    let leg = bench.open("one");
    bench.pass(30);
    assert_eq!(bench.notices(), [Notice::ConsentLost { leg }]);
}

#[test]
fn a_closed_leg_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let leg = bench.open("one");
    bench.nominate(browser(), "one");
    bench.table.close(leg);
    let ice = credentials("one");
    let late = check(&ice).signed(&ice.password);
    assert_eq!(bench.dropped(browser(), &late), DropReason::StunUnknownUser);
    assert_eq!(
        bench.dropped(browser(), &[0x80; 40]),
        DropReason::WrongSource
    );
    assert_eq!(bench.table.next_timeout(), None);
    assert_eq!(bench.table.next_handshake(), None);
    assert_eq!(bench.notices(), []);
}

#[test]
fn an_address_that_a_newer_leg_has_taken_is_that_ones() {
    let mut bench = Bench::new();
    let old = bench.open("old");
    bench.open("new");
    bench.nominate(browser(), "old");
    bench.nominate(browser(), "new");
    bench.table.close(old);
    // Known, if not described yet.
    assert_eq!(bench.dropped(browser(), &[0x80; 40]), DropReason::NoRemote);
}

fn shaken(role: DtlsRole, announced: Option<Fingerprint>) -> (Bench, LegId) {
    let mut bench = Bench::new();
    let mut engine = OpenSslEngine::new().expect("an engine");
    let fingerprints = vec![announced.unwrap_or_else(|| engine.fingerprint())];
    let leg = bench.open("one");
    bench.nominate(browser(), "one");
    bench.notices();
    bench.describe(leg, Security::Dtls { role, fingerprints });
    let theirs = match role {
        DtlsRole::Server => DtlsRole::Client,
        DtlsRole::Client => DtlsRole::Server,
    };
    let mut peer = engine.start(theirs).expect("a session");
    let first = match role {
        DtlsRole::Server => None,
        DtlsRole::Client => bench.table.poll_transmit(),
    };
    let first = first
        .map(|hello| hello.payload.to_vec())
        .unwrap_or_default();
    bench.shake(peer.as_mut(), &first);
    assert!(matches!(
        peer.state(),
        DtlsState::Done(_) | DtlsState::Closed
    ));
    (bench, leg)
}

#[test]
fn a_handshake_secures_the_leg_in_either_role() {
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let (mut bench, leg) = shaken(role, None);
        assert_eq!(bench.notices(), [Notice::Secured { leg }], "{role:?}");
    }
}

#[test]
fn a_certificate_that_was_not_announced_is_refused_and_counted() {
    let other = OpenSslEngine::new().expect("an engine").fingerprint();
    let (mut bench, leg) = shaken(DtlsRole::Server, Some(other));
    let notices = bench.notices();
    assert!(
        matches!(notices[..], [Notice::SecurityFailed { leg: failed, .. }] if failed == leg),
        "{notices:?}"
    );
    let drops = &bench.table.counters().drops;
    assert_eq!(drops.get(DropReason::DtlsWrongFingerprint), 1);
    let record = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    assert_eq!(bench.dropped(browser(), &record), DropReason::DtlsRefused);
}

#[test]
fn dtls_from_an_address_that_ice_does_not_know_reaches_nobody() {
    let mut bench = Bench::new();
    bench.open("one");
    let hello = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    assert_eq!(bench.dropped(browser(), &hello), DropReason::WrongSource);
    assert_eq!(bench.table.poll_transmit(), None);
}

#[test]
fn handshakes_beyond_the_limit_of_a_host_wait_for_the_next_second() {
    let mut bench = Bench::with(TableSettings {
        handshakes_per_second_per_address: 2,
        ..TableSettings::default()
    });
    let mut engine = OpenSslEngine::new().expect("an engine");
    let mut hello = Vec::new();
    let mut peer = engine.start(DtlsRole::Client).expect("a session");
    peer.handle(bench.now, &[], &mut |d| hello = d.to_vec());
    let mut sources = Vec::new();
    for n in 0..3u16 {
        let name = format!("leg{n}");
        let leg = bench.open(&name);
        let source = SocketAddr::new(browser().ip(), 6000 + n);
        bench.nominate(source, &name);
        let fingerprints = vec![engine.fingerprint()];
        let role = DtlsRole::Server;
        bench.describe(leg, Security::Dtls { role, fingerprints });
        sources.push(source);
    }
    let answered = |bench: &mut Bench, source: SocketAddr| {
        bench.send(source, &hello);
        let limited = bench
            .table
            .counters()
            .drops
            .get(DropReason::DtlsRateLimited);
        (bench.table.poll_transmit().is_some(), limited)
    };
    assert_eq!(answered(&mut bench, sources[0]), (true, 0));
    while bench.table.poll_transmit().is_some() {}
    assert_eq!(answered(&mut bench, sources[1]), (true, 0));
    while bench.table.poll_transmit().is_some() {}
    assert_eq!(answered(&mut bench, sources[2]), (false, 1));
    bench.now += Duration::from_secs(1);
    assert_eq!(answered(&mut bench, sources[2]), (true, 1));
}
