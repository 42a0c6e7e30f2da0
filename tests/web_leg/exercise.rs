//! What a fuzzer does with datagrams of strangers; the mutation test replays
//! a short run of it.

use std::net::SocketAddr;
use std::time::Instant;

use ringwire::ids::MediaPort;
use ringwire::io::dtls::OpenSslEngine;
use ringwire::keying::{DtlsRole, IceCredentials, Security};
use ringwire::media::stun::{Builder, Class, Message};
use ringwire::media::{
    DtlsEngine, Latch, LegOptions, Packet, Remote, Table, TableSettings, Verdict,
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

/// Datagrams to start from: a check, and a ClientHello.
pub fn seeds(engine: &mut OpenSslEngine) -> [Vec<u8>; 2] {
    let check = Builder::binding(Class::Request, [3; 12])
        .username("ours:theirs")
        .priority(9)
        .use_candidate()
        .signed(&credentials().password);
    let mut hello = Vec::new();
    let mut client = engine.start(DtlsRole::Client, false).expect("a session");
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

pub fn send(table: &mut Table, now: Instant, datagram: &[u8]) -> Verdict {
    let mut slot = vec![0; datagram.len() + 148];
    slot[..datagram.len()].copy_from_slice(datagram);
    let packet = Packet::new(MediaPort(0), Some(source()), &mut slot, datagram.len());
    let mut batch = [packet];
    table.process_batch(now, &mut batch);
    batch[0].verdict
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
