//! DTLS handshakes per second and core: what the server's side costs, and both
//! sides together.
//!
//! `cargo bench --bench dtls`

use std::time::{Duration, Instant};

use ringwire::io::dtls::OpenSslEngine;
use ringwire::keying::DtlsRole;
use ringwire::media::{DtlsEngine, DtlsSession, DtlsState};

/// How long is measured.
const SPAN: Duration = Duration::from_secs(3);

fn main() {
    for prove_address in [false, true] {
        let mut engine = OpenSslEngine::new().expect("an engine");
        let start = Instant::now();
        let (mut count, mut ours) = (0u32, Duration::ZERO);
        while start.elapsed() < SPAN {
            ours += handshake(&mut engine, prove_address);
            count += 1;
        }
        let per_second = |spent: Duration| f64::from(count) / spent.as_secs_f64();
        println!(
            "dtls, cookie {prove_address}: {:.0} handshakes/s of one core as server ({:.0} µs each), {:.0}/s both ends",
            per_second(ours),
            1e6 / per_second(ours),
            per_second(start.elapsed()),
        );
    }
}

/// One whole handshake; the time that the server's side took.
fn handshake(engine: &mut OpenSslEngine, prove_address: bool) -> Duration {
    let now = Instant::now();
    let mut client = engine.start(DtlsRole::Client).expect("a session");
    let mut hello = Vec::new();
    client.handle(now, &[], &mut |d| hello = d.to_vec());
    let mut to_server: Vec<Vec<u8>> = Vec::new();
    let mut to_client: Vec<Vec<u8>> = Vec::new();
    let begin = Instant::now();
    let mut server = if prove_address {
        let mut question = Vec::new();
        let asked = engine.greet(b"here", &hello, &mut |d| question = d.to_vec());
        assert!(asked.expect("a hello").is_none());
        client.handle(now, &question, &mut |d| hello = d.to_vec());
        let greeted = engine.greet(b"here", &hello, &mut |_| {});
        let mut server = greeted.expect("a hello").expect("a session");
        server.handle(now, &[], &mut |d| to_client.push(d.to_vec()));
        server
    } else {
        let mut server = engine.start(DtlsRole::Server).expect("a session");
        server.handle(now, &hello, &mut |d| to_client.push(d.to_vec()));
        server
    };
    let mut spent = begin.elapsed();
    while !is_done(client.as_ref()) || !is_done(server.as_ref()) {
        for datagram in std::mem::take(&mut to_server) {
            let begin = Instant::now();
            server.handle(now, &datagram, &mut |d| to_client.push(d.to_vec()));
            spent += begin.elapsed();
        }
        for datagram in std::mem::take(&mut to_client) {
            client.handle(now, &datagram, &mut |d| to_server.push(d.to_vec()));
        }
    }
    spent
}

fn is_done(session: &dyn DtlsSession) -> bool {
    matches!(session.state(), DtlsState::Done(_))
}
