//! DTLS on a leg with a port of its own: a SIP peer's.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringwire::ids::{LegId, MediaPort};
use ringwire::io::dtls::OpenSslEngine;
use ringwire::keying::{DtlsRole, Suite};
use ringwire::media::srtp::{Protector, Sealable};
use ringwire::media::{
    DropReason, DtlsEngine, DtlsSession, DtlsState, Latch, LegOptions, Notice, Packet, Remote,
    Table, TableSettings, Transmit, Verdict,
};

use super::exercise::{remote, send_at, shake_hands, source};

const RTP: MediaPort = MediaPort(0);
const RTCP: MediaPort = MediaPort(1);

fn fresh(ours: &OpenSslEngine) -> Table {
    let mut table = Table::new(TableSettings::default(), [1; 32]);
    table.set_dtls(Box::new(ours.clone()));
    table
}

fn opened(table: &mut Table, now: Instant, description: Remote) -> LegId {
    let options = LegOptions {
        rtp: RTP,
        rtcp: RTCP,
        echo: false,
    };
    let leg = table.open(now, options);
    assert!(table.set_remote(now, leg, description));
    shake_hands(table, now);
    leg
}

fn leg(ours: &OpenSslEngine, theirs: &OpenSslEngine, role: DtlsRole) -> (Table, LegId, Instant) {
    let (mut table, now) = (fresh(ours), Instant::now());
    let leg = opened(&mut table, now, remote(theirs, role));
    (table, leg, now)
}

/// Plays a phone's session against the leg until nothing moves.
fn shake(
    table: &mut Table,
    now: Instant,
    peer: &mut dyn DtlsSession,
    port: MediaPort,
    from: SocketAddr,
) {
    let mut to_gateway: Vec<Vec<u8>> = Vec::new();
    for _ in 0..10 {
        for datagram in std::mem::take(&mut to_gateway) {
            assert_eq!(
                send_at(table, now, port, from, &datagram),
                Verdict::Consumed
            );
        }
        for answer in all_transmits(table) {
            if (answer.port, answer.to) == (port, Some(from)) {
                peer.handle(now, &answer.payload, &mut |d| to_gateway.push(d.to_vec()));
            }
        }
    }
}

fn all_transmits(table: &mut Table) -> Vec<Transmit> {
    std::iter::from_fn(|| table.poll_transmit()).collect()
}

fn notices(table: &mut Table) -> Vec<Notice> {
    std::iter::from_fn(|| table.poll_notice()).collect()
}

/// The phone's end, its ClientHello already sent where it is the client.
fn phone(
    table: &mut Table,
    now: Instant,
    engine: &mut OpenSslEngine,
    ours: DtlsRole,
    port: MediaPort,
    from: SocketAddr,
) -> Box<dyn DtlsSession> {
    let theirs = match ours {
        DtlsRole::Server => DtlsRole::Client,
        DtlsRole::Client => DtlsRole::Server,
    };
    let mut peer = engine.start(theirs).expect("a session");
    if ours == DtlsRole::Server {
        let hello = hello_of(peer.as_mut(), now);
        assert_eq!(send_at(table, now, port, from, &hello), Verdict::Consumed);
    }
    peer
}

fn hello_of(peer: &mut dyn DtlsSession, now: Instant) -> Vec<u8> {
    let mut hello = Vec::new();
    peer.handle(now, &[], &mut |d| hello = d.to_vec());
    hello
}

fn is_done(peer: &dyn DtlsSession) -> bool {
    matches!(peer.state(), DtlsState::Done(_))
}

#[test]
fn a_sip_leg_is_secured_in_either_role() {
    let (ours, mut theirs) = engines();
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let (mut table, leg, now) = leg(&ours, &theirs, role);
        assert_eq!(table.suite(leg), None);
        let mut peer = phone(&mut table, now, &mut theirs, role, RTP, source());
        shake(&mut table, now, peer.as_mut(), RTP, source());
        assert_eq!(notices(&mut table), [Notice::Secured { leg }]);
        assert_eq!(table.suite(leg), Some(Suite::AeadAes128Gcm));
        // A refresh of the same description keeps what there is.
        assert!(table.set_remote(now, leg, remote(&theirs, role)));
        shake_hands(&mut table, now);
        assert_eq!(table.poll_transmit(), None);
    }
}

#[test]
fn without_rtcp_mux_rtcp_has_a_handshake_and_keys_of_its_own() {
    let (ours, mut theirs) = engines();
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let (mut table, now) = (fresh(&ours), Instant::now());
        let rtcp_at = SocketAddr::new(source().ip(), source().port() + 1);
        let description = Remote {
            rtcp: rtcp_at,
            rtcp_mux: false,
            ..remote(&theirs, role)
        };
        let leg = opened(&mut table, now, description);
        let mut rtp = phone(&mut table, now, &mut theirs, role, RTP, source());
        let mut rtcp = phone(&mut table, now, &mut theirs, role, RTCP, rtcp_at);
        for _ in 0..10 {
            let answers = all_transmits(&mut table);
            for answer in answers {
                let (peer, port, from) = match answer.port {
                    RTCP => (&mut rtcp, RTCP, rtcp_at),
                    _ => (&mut rtp, RTP, source()),
                };
                assert_eq!(answer.to, Some(from));
                let mut replies = Vec::new();
                peer.handle(now, &answer.payload, &mut |d| replies.push(d.to_vec()));
                for reply in replies {
                    send_at(&mut table, now, port, from, &reply);
                }
            }
        }
        assert_eq!(notices(&mut table), [Notice::Secured { leg }], "once");
        let DtlsState::Done(keys) = rtcp.state() else {
            panic!("{role:?}: no keys for RTCP");
        };
        let theirs_key = match role {
            DtlsRole::Server => &keys.client,
            DtlsRole::Client => &keys.server,
        };
        let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
        let mut slot = vec![0; 256];
        slot[..8].copy_from_slice(&report);
        let mut packet = Packet::new(RTCP, None, &mut slot, 8);
        let sealable = Sealable::new(&mut packet).expect("room");
        let mut protector = Protector::new(theirs_key).expect("a key");
        protector.rtcp(sealable).expect("protected");
        let sealed = packet.bytes().to_vec();
        let taken = send_at(&mut table, now, RTCP, rtcp_at, &sealed);
        let unlinked = Verdict::Drop(DropReason::NotLinked);
        assert_eq!(taken, unlinked, "authentic, and for nobody yet");
        let again = send_at(&mut table, now, RTCP, rtcp_at, &sealed);
        assert_eq!(again, Verdict::Drop(DropReason::SrtpReplayed));
        let plain = send_at(&mut table, now, RTCP, rtcp_at, &report);
        assert_eq!(plain, Verdict::Drop(DropReason::SrtpTooShort));
    }
}

/// A record of the clear, as anybody can make it.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 254, 253, 0, 0, 0, 0, 0, 0, 0, 5];
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A whole handshake message of this type and number.
fn message(kind: u8, number: u8, body: &[u8]) -> Vec<u8> {
    let len = &(body.len() as u32).to_be_bytes()[1..];
    let mut bytes = vec![kind];
    bytes.extend(len);
    bytes.extend([0, number, 0, 0, 0]);
    bytes.extend(len);
    bytes.extend(body);
    record(22, &bytes)
}

/// What a stranger sends who sees nothing of the handshake: alerts, hellos of
/// either side, garbage.
fn forgeries(engine: &mut OpenSslEngine, now: Instant) -> Vec<Vec<u8>> {
    let mut stranger = engine.start(DtlsRole::Client).expect("a session");
    let mut server_hello = vec![254, 253];
    server_hello.extend([9; 32]);
    server_hello.extend([0, 0xc0, 0x2b, 0, 0, 0]);
    // With this number all that follow would count as replayed.
    let mut last = record(20, &[1]);
    last[5..11].fill(0xff);
    vec![
        last,
        hello_of(stranger.as_mut(), now),
        message(2, 0, &server_hello),
        message(2, 1, &server_hello),
        message(0, 0, &[]),
        record(21, &[2, 40]),
        record(21, &[1, 0]),
        record(23, b"data"),
        record(20, &[1]),
        record(22, &[0xff; 40]),
        vec![22; 100],
        vec![0x3f; 300],
    ]
}

#[test]
fn nothing_forged_keeps_a_peer_from_being_secured_where_we_are_the_server() {
    let (ours, mut theirs) = engines();
    let mut strangers = OpenSslEngine::new().expect("an engine");
    let elsewhere = SocketAddr::from(([203, 0, 113, 9], 9));
    for latch in [Latch::Strict, Latch::Learn] {
        for forger in [source(), elsewhere] {
            let mut table = fresh(&ours);
            let now = Instant::now();
            let described = Remote {
                latch,
                ..remote(&theirs, DtlsRole::Server)
            };
            let leg = opened(&mut table, now, described);
            let mut forge = |table: &mut Table| {
                for datagram in forgeries(&mut strangers, now) {
                    send_at(table, now, RTP, forger, &datagram);
                }
            };
            forge(&mut table);
            // What the spoofed questions are answered with reaches the peer.
            all_transmits(&mut table);
            let role = DtlsRole::Server;
            let mut peer = phone(&mut table, now, &mut theirs, role, RTP, source());
            for _ in 0..10 {
                forge(&mut table);
                let mut replies: Vec<Vec<u8>> = Vec::new();
                for answer in all_transmits(&mut table) {
                    if answer.to == Some(source()) {
                        peer.handle(now, &answer.payload, &mut |d| replies.push(d.to_vec()));
                    }
                }
                for reply in replies {
                    send_at(&mut table, now, RTP, source(), &reply);
                }
            }
            assert!(is_done(peer.as_ref()), "{latch:?}, forged from {forger}");
            let told = notices(&mut table);
            assert!(told.contains(&Notice::Secured { leg }), "{told:?}");
            let locked = Notice::Locked {
                port: RTP,
                address: source(),
            };
            assert_eq!(told.contains(&locked), latch == Latch::Learn, "{told:?}");
        }
    }
}

#[test]
fn what_a_peers_role_cannot_send_does_not_end_a_handshake_of_ours() {
    let (ours, mut theirs) = engines();
    let (mut table, leg, now) = leg(&ours, &theirs, DtlsRole::Client);
    let mut strangers = OpenSslEngine::new().expect("an engine");
    let mut forge = |table: &mut Table| {
        for datagram in forgeries(&mut strangers, now) {
            // A ServerHello is the one thing that only its end tells.
            if datagram[13] != 2 {
                send_at(table, now, RTP, source(), &datagram);
            }
        }
    };
    forge(&mut table);
    let mut peer = theirs.start(DtlsRole::Server).expect("a session");
    for _ in 0..10 {
        let mut replies: Vec<Vec<u8>> = Vec::new();
        for answer in all_transmits(&mut table) {
            peer.handle(now, &answer.payload, &mut |d| replies.push(d.to_vec()));
        }
        forge(&mut table);
        for reply in replies {
            send_at(&mut table, now, RTP, source(), &reply);
        }
    }
    assert_eq!(notices(&mut table), [Notice::Secured { leg }]);
}

#[test]
fn a_handshake_of_ours_that_a_forged_hello_spoils_is_begun_anew_without_a_word() {
    let (ours, theirs) = engines();
    let (mut table, leg, mut now) = leg(&ours, &theirs, DtlsRole::Client);
    all_transmits(&mut table);
    // A session identifier longer than any.
    let mut broken = vec![254, 253];
    broken.extend([9; 32]);
    broken.push(200);
    let verdict = send_at(&mut table, now, RTP, source(), &message(2, 0, &broken));
    assert_eq!(verdict, Verdict::Consumed);
    assert_eq!(
        all_transmits(&mut table),
        [],
        "no alert for a stranger's doing"
    );
    now += Duration::from_millis(500);
    shake_hands(&mut table, now);
    // The peer begins anew as well (RFC 6347 section 4.2.8): another gateway.
    let mut other = fresh(&theirs);
    let our_side = remote(&ours, DtlsRole::Server);
    let their_leg = opened(&mut other, now, our_side);
    for _ in 0..10 {
        for (from, to) in [(0, 1), (1, 0)] {
            let tables = [&mut table, &mut other];
            let datagrams = all_transmits(tables[from]);
            let tables = [&mut table, &mut other];
            for datagram in datagrams {
                send_at(tables[to], now, RTP, source(), &datagram.payload);
            }
        }
    }
    assert_eq!(notices(&mut table), [Notice::Secured { leg }]);
    assert_eq!(notices(&mut other), [Notice::Secured { leg: their_leg }]);
}

#[test]
fn a_peer_that_ends_the_handshake_is_believed_after_a_while() {
    let (ours, theirs) = engines();
    let (mut table, leg, mut now) = leg(&ours, &theirs, DtlsRole::Client);
    send_at(&mut table, now, RTP, source(), &record(21, &[2, 40]));
    now += Duration::from_secs(9);
    shake_hands(&mut table, now);
    assert_eq!(notices(&mut table), []);
    now += Duration::from_secs(1);
    shake_hands(&mut table, now);
    let reason = "the peer has ended the handshake with an alert";
    assert_eq!(
        notices(&mut table),
        [Notice::SecurityFailed { leg, reason }]
    );
    let late = send_at(&mut table, now, RTP, source(), &record(20, &[1]));
    assert_eq!(late, Verdict::Drop(DropReason::DtlsRefused));
}

#[test]
fn a_stranger_with_a_certificate_of_its_own_is_not_the_peer_that_is_learned() {
    let (ours, mut theirs) = engines();
    let mut stranger = OpenSslEngine::new().expect("an engine");
    let elsewhere = SocketAddr::from(([203, 0, 113, 9], 9));
    let behind_nat = SocketAddr::from(([198, 51, 100, 7], 6100));
    let mut table = fresh(&ours);
    let now = Instant::now();
    let described = Remote {
        latch: Latch::Learn,
        ..remote(&theirs, DtlsRole::Server)
    };
    let leg = opened(&mut table, now, described);
    let role = DtlsRole::Server;
    let mut wrong = phone(&mut table, now, &mut stranger, role, RTP, elsewhere);
    shake(&mut table, now, wrong.as_mut(), RTP, elsewhere);
    assert_eq!(notices(&mut table), []);
    let wrong = table.counters().drops.get(DropReason::DtlsWrongFingerprint);
    assert_eq!(wrong, 1);
    let mut right = phone(&mut table, now, &mut theirs, role, RTP, behind_nat);
    shake(&mut table, now, right.as_mut(), RTP, behind_nat);
    let (port, address) = (RTP, behind_nat);
    let told = [Notice::Locked { port, address }, Notice::Secured { leg }];
    assert_eq!(notices(&mut table), told);
}

#[test]
fn dtls_from_elsewhere_is_dropped() {
    let (ours, mut theirs) = engines();
    let (mut table, leg, now) = leg(&ours, &theirs, DtlsRole::Server);
    let mut moved = remote(&theirs, DtlsRole::Server);
    moved.rtp.set_port(9);
    assert!(table.set_remote(now, leg, moved));
    let mut peer = theirs.start(DtlsRole::Client).expect("a session");
    let hello = hello_of(peer.as_mut(), now);
    let verdict = send_at(&mut table, now, RTP, source(), &hello);
    assert_eq!(verdict, Verdict::Drop(DropReason::WrongSource));
}

#[test]
fn a_client_whose_peer_is_silent_repeats_itself() {
    let (ours, theirs) = engines();
    let (mut table, _, mut now) = leg(&ours, &theirs, DtlsRole::Client);
    assert!(table.poll_transmit().is_some());
    std::thread::sleep(std::time::Duration::from_millis(220));
    now += std::time::Duration::from_millis(220);
    assert!(table.next_handshake().is_some_and(|due| due <= now));
    shake_hands(&mut table, now);
    assert!(table.poll_transmit().is_some());
}

fn engines() -> (OpenSslEngine, OpenSslEngine) {
    let (ours, theirs) = (OpenSslEngine::new(), OpenSslEngine::new());
    (ours.expect("an engine"), theirs.expect("an engine"))
}
