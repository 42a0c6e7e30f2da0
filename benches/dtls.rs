//! DTLS handshakes per second and core as server, by the thread's CPU time,
//! and what the steps of one cost: what packets wait for at most is the
//! longest of them and a turn's budget (`shard/turn.rs`).
//!
//! `cargo bench --bench dtls`

use std::time::{Duration, Instant};

use ringwire::io::dtls::OpenSslEngine;
use ringwire::keying::DtlsRole;
use ringwire::media::{DtlsEngine, DtlsSession, DtlsState};

/// How long is measured.
const SPAN: Duration = Duration::from_secs(3);

fn main() {
    println!("{}", openssl::version::version());
    for prove_address in [false, true] {
        let mut engine = OpenSslEngine::new().expect("an engine");
        let mut bench = Bench::default();
        let start = Instant::now();
        while start.elapsed() < SPAN {
            bench.handshake(&mut engine, prove_address);
        }
        bench.print(prove_address);
    }
}

/// What one kind of step has cost, each time.
#[derive(Default)]
struct Steps(Vec<Duration>);

impl Steps {
    /// Median and longest, in µs.
    fn print(&mut self, what: &str) {
        self.0.sort();
        let micros = |d: Option<&Duration>| d.map_or(0.0, |d| d.as_secs_f64() * 1e6);
        let median = micros(self.0.get(self.0.len() / 2));
        println!(
            "  {what}: p50 {median:.0} µs, max {:.0} µs",
            micros(self.0.last())
        );
    }
}

#[derive(Default)]
struct Bench {
    /// A ClientHello answered with a question for its cookie.
    question: Steps,
    /// The hello that is believed, answered with the server's flight.
    hello: Steps,
    /// A datagram after that.
    datagram: Steps,
    /// The longest step of each handshake.
    longest: Steps,
    /// All steps of one handshake.
    whole: Steps,
}

impl Bench {
    /// One whole handshake, its server's steps timed.
    fn handshake(&mut self, engine: &mut OpenSslEngine, prove_address: bool) {
        let now = Instant::now();
        let mut client = engine.start(DtlsRole::Client).expect("a session");
        let mut hello = Vec::new();
        client.handle(now, &[], &mut |d| hello = d.to_vec());
        let mut to_client: Vec<Vec<u8>> = Vec::new();
        let mut spent = Vec::new();
        let mut server = if prove_address {
            let mut question = Vec::new();
            let (asked, cost) =
                timed(|| engine.greet(b"here", &hello, &mut |d| question = d.to_vec()));
            assert!(asked.expect("a hello").is_none());
            self.question.0.push(cost);
            spent.push(cost);
            client.handle(now, &question, &mut |d| hello = d.to_vec());
            let (server, cost) = timed(|| {
                let greeted = engine.greet(b"here", &hello, &mut |_| {});
                let mut server = greeted.expect("a hello").expect("a session");
                server.handle(now, &[], &mut |d| to_client.push(d.to_vec()));
                server
            });
            spent.push(cost);
            server
        } else {
            let (server, cost) = timed(|| {
                let mut server = engine.start(DtlsRole::Server).expect("a session");
                server.handle(now, &hello, &mut |d| to_client.push(d.to_vec()));
                server
            });
            spent.push(cost);
            server
        };
        self.hello.0.extend(spent.last());
        let mut to_server: Vec<Vec<u8>> = Vec::new();
        while !is_done(client.as_ref()) || !is_done(server.as_ref()) {
            for datagram in std::mem::take(&mut to_client) {
                client.handle(now, &datagram, &mut |d| to_server.push(d.to_vec()));
            }
            for datagram in std::mem::take(&mut to_server) {
                let answer = &mut |d: &[u8]| to_client.push(d.to_vec());
                let ((), cost) = timed(|| server.handle(now, &datagram, answer));
                self.datagram.0.push(cost);
                spent.push(cost);
            }
        }
        self.longest.0.extend(spent.iter().max());
        self.whole.0.push(spent.iter().sum());
    }

    fn print(&mut self, prove_address: bool) {
        let spent: Duration = self.whole.0.iter().sum();
        let mean = spent.as_secs_f64() / self.whole.0.len() as f64;
        println!(
            "dtls, cookie {prove_address}: {:.0} handshakes/s of one core as server ({:.0} µs each, {} made)",
            1.0 / mean,
            mean * 1e6,
            self.whole.0.len()
        );
        if prove_address {
            self.question.print("question for a cookie");
        }
        self.hello.print("hello, answered with a flight");
        self.datagram.print("datagram after that");
        self.whole.print("whole handshake");
        self.longest.print("longest step of each");
    }
}

/// What it gives, and the CPU time of this thread that it took.
fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let before = cpu_time();
    let result = act();
    (result, cpu_time().saturating_sub(before))
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec, which is what is written.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn is_done(session: &dyn DtlsSession) -> bool {
    matches!(session.state(), DtlsState::Done(_))
}
