//! What a fuzzer does with datagrams of strangers; the mutation test replays
//! a short run of it.

use std::net::SocketAddr;
use std::time::Instant;

use ringwire::ids::{CodecId, MediaPort};
use ringwire::io::dtls::OpenSslEngine;
use ringwire::keying::{DtlsRole, IceCredentials, MasterKey, Security, Suite};
use ringwire::media::stun::{Builder, Class, Message};
use ringwire::media::{
    DtlsEngine, Latch, LegOptions, Packet, PayloadMapping, Remote, Table, TableSettings, Verdict,
};

/// Any octets, read as a STUN message and sent to a shared port.
pub fn stun(datagram: &[u8]) {
    if let Ok(message) = Message::parse(datagram) {
        assert!(message.unknown().len() <= 4);
        let _ = message.is_authentic("password");
    }
    let mut table = Table::new(TableSettings::default(), [1; 32]);
    table.share_port(MediaPort(0), false);
    let now = Instant::now();
    table.open_shared(now, credentials());
    let verdict = send(&mut table, now, datagram);
    if let Verdict::Forward { to, .. } = verdict {
        assert_eq!(to, Some(source()));
    }
}

/// Any octets, sent as DTLS to legs that await a handshake and to one that is
/// in the middle of it.
pub fn dtls(engine: &OpenSslEngine, datagram: &[u8]) {
    let mut table = Table::new(TableSettings::default(), [1; 32]);
    table.set_dtls(Box::new(engine.clone()));
    let now = Instant::now();
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let options = LegOptions {
            rtp: MediaPort(0),
            rtcp: MediaPort(1),
            echo: false,
        };
        let leg = table.open(now, options);
        table.set_remote(now, leg, remote(engine, role));
        for _ in 0..3 {
            let verdict = send(&mut table, now, datagram);
            assert!(!matches!(verdict, Verdict::Forward { .. }));
        }
        let answer: usize = std::iter::from_fn(|| table.poll_transmit())
            .map(|answer| answer.payload.len())
            .sum();
        if role == DtlsRole::Server {
            assert!(answer <= 3 * datagram.len(), "no more than was asked");
        }
        while table.poll_notice().is_some() {}
        table.close(leg);
    }
}

/// Any octets, sent twice each to a plain leg and to protected ones.
pub fn rtp_demux(datagram: &[u8]) {
    let mut table = Table::new(TableSettings::default(), [1; 32]);
    let now = Instant::now();
    let key = |suite: Suite| MasterKey {
        suite,
        key: vec![1; suite.key_len()],
        salt: vec![2; suite.salt_len()],
    };
    let securities = [Security::Plain]
        .into_iter()
        .chain(Suite::ALL.map(|suite| Security::Sdes {
            send: key(suite),
            receive: key(suite),
        }));
    for security in securities {
        let protected = security != Security::Plain;
        let options = LegOptions {
            rtp: MediaPort(0),
            rtcp: MediaPort(1),
            echo: true,
        };
        let leg = table.open(now, options);
        table.set_remote(now, leg, described(security));
        for _ in 0..2 {
            let verdict = send(&mut table, now, datagram);
            let forwarded = matches!(verdict, Verdict::Forward { .. });
            assert!(!(protected && forwarded), "nobody guesses a tag");
        }
        table.close(leg);
    }
}

/// A peer that takes PCMU and multiplexes RTCP.
fn described(security: Security) -> Remote {
    Remote {
        rtp: source(),
        rtcp: source(),
        rtcp_mux: true,
        send: true,
        receive: true,
        held: false,
        latch: Latch::Strict,
        security,
        payloads: vec![PayloadMapping {
            codec: CodecId(0),
            receive: 0,
            send: Some(0),
            clock_rate: 8000,
        }],
    }
}

/// RTP with an extension, and a receiver report.
pub fn media_seeds() -> [Vec<u8>; 2] {
    let mut rtp = vec![0x90, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7];
    rtp.extend([0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
    rtp.extend([0x55; 160]);
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 7];
    report.extend([0; 24]);
    [rtp, report]
}

/// Datagrams to start from: a check, and a ClientHello.
pub fn seeds(engine: &mut OpenSslEngine) -> [Vec<u8>; 2] {
    let check = Builder::binding(Class::Request, [3; 12])
        .username("ours:theirs")
        .priority(9)
        .use_candidate()
        .signed(&credentials().password);
    let mut hello = Vec::new();
    let mut client = engine.start(DtlsRole::Client).expect("a session");
    client.handle(Instant::now(), &[], &mut |d| hello = d.to_vec());
    [check, hello]
}

fn credentials() -> IceCredentials {
    IceCredentials {
        ufrag: "ours".into(),
        password: "a password of ours".into(),
    }
}

pub fn source() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4000))
}

fn send(table: &mut Table, now: Instant, datagram: &[u8]) -> Verdict {
    send_at(table, now, MediaPort(0), source(), datagram)
}

pub fn send_at(
    table: &mut Table,
    now: Instant,
    port: MediaPort,
    from: SocketAddr,
    datagram: &[u8],
) -> Verdict {
    let mut slot = vec![0; datagram.len() + 148];
    slot[..datagram.len()].copy_from_slice(datagram);
    let packet = Packet::new(port, Some(from), &mut slot, datagram.len());
    let mut batch = [packet];
    table.process_batch(now, &mut batch);
    let verdict = batch[0].verdict;
    shake_hands(table, now);
    verdict
}

/// Does all that handshakes have to do now.
pub fn shake_hands(table: &mut Table, now: Instant) {
    while table.handshake_step(now) {}
}

pub fn remote(engine: &OpenSslEngine, role: DtlsRole) -> Remote {
    Remote {
        rtp: source(),
        rtcp: source(),
        rtcp_mux: true,
        send: true,
        receive: true,
        held: false,
        latch: Latch::Strict,
        security: Security::Dtls {
            role,
            fingerprints: vec![engine.fingerprint()],
        },
        payloads: Vec::new(),
    }
}
