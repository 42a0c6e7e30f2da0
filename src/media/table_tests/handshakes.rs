//! Handshakes wait for their steps, so that packets do not wait for them. The
//! engine here counts what is asked of it, and answers everything at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::keying::{DtlsRole, Fingerprint, FingerprintHash, Security};
use crate::media::dtls::{DtlsEngine, DtlsSession, DtlsState};

/// Bounds of the table's queue.
const MOST: u32 = 1024;
const MOST_OF_A_PORT: usize = 32;
/// When a session repeats itself.
const REPEAT: Duration = Duration::from_millis(200);

/// What was asked of the engine and its sessions.
#[derive(Debug, Default, Clone)]
struct Work(Arc<AtomicUsize>);

impl Work {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn done(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Engine(Work);

impl Engine {
    fn session(&self) -> Box<dyn DtlsSession> {
        Box::new(Session {
            work: self.0.clone(),
            next: None,
            state: DtlsState::Handshaking,
        })
    }
}

impl DtlsEngine for Engine {
    fn fingerprint(&self) -> Fingerprint {
        fingerprint()
    }

    fn start(&mut self, _: DtlsRole) -> Result<Box<dyn DtlsSession>, &'static str> {
        Ok(self.session())
    }

    /// A hello whose random begins with [`PROVED`] shows the cookie.
    fn greet(
        &mut self,
        _: &[u8],
        hello: &[u8],
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Box<dyn DtlsSession>>, &'static str> {
        self.0.add();
        if hello[27] == PROVED {
            return Ok(Some(self.session()));
        }
        out(b"who are you?");
        Ok(None)
    }
}

#[derive(Debug)]
struct Session {
    work: Work,
    next: Option<Instant>,
    state: DtlsState,
}

impl DtlsSession for Session {
    /// Says the number of the message it was handed; a flight of its own
    /// otherwise.
    fn handle(&mut self, now: Instant, datagram: &[u8], out: &mut dyn FnMut(&[u8])) {
        self.work.add();
        self.next = Some(now + REPEAT);
        match datagram.get(18) {
            Some(number) => out(&[*number]),
            None => out(b"flight"),
        }
    }

    fn timeout(&mut self, _: Instant, out: &mut dyn FnMut(&[u8])) {
        self.work.add();
        self.next = None;
        out(b"again");
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn state(&self) -> &DtlsState {
        &self.state
    }
}

const NEW: u8 = 0;
const PROVED: u8 = 1;

fn fingerprint() -> Fingerprint {
    Fingerprint {
        hash: FingerprintHash::Sha256,
        digest: vec![1; 32],
    }
}

/// A handshake message of a client, in a record of its own.
fn record(kind: u8, number: u8, body: &[u8]) -> Vec<u8> {
    let len = body.len() as u8;
    let mut bytes = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12 + len];
    bytes.extend([kind, 0, 0, len, 0, number, 0, 0, 0, 0, 0, len]);
    bytes.extend(body);
    bytes
}

fn hello(random: u8) -> Vec<u8> {
    let mut body = vec![254, 253];
    body.extend([random; 32]);
    record(1, 0, &body)
}

fn at_port(n: u32) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 10_000 + n as u16))
}

/// Legs from 0 on that await handshakes in this role, with peers of one host.
fn legs(count: u32, role: DtlsRole) -> (Bench, Work) {
    let settings = TableSettings {
        handshakes_per_second: u32::MAX,
        handshakes_per_second_per_address: u32::MAX,
        ..TableSettings::default()
    };
    let mut bench = Bench::new();
    bench.table = Table::new(settings, [7; 32]);
    let work = Work::default();
    bench.table.set_dtls(Box::new(Engine(work.clone())));
    for n in 0..count {
        let leg = bench.open(n, false);
        assert!(bench.table.set_remote(bench.now, leg, described(n, role)));
    }
    (bench, work)
}

fn described(n: u32, role: DtlsRole) -> Remote {
    Remote {
        rtp: at_port(n),
        rtcp: at_port(n),
        rtcp_mux: true,
        security: Security::Dtls {
            role,
            fingerprints: vec![fingerprint()],
        },
        ..remote(0)
    }
}

impl Bench {
    /// A datagram from the peer of leg n.
    fn dtls(&mut self, n: u32, bytes: &[u8]) -> Verdict {
        self.send(2 * n, Some(at_port(n)), bytes).0
    }

    fn one_step(&mut self) -> bool {
        self.table.handshake_step(self.now)
    }

    /// Does all there is to do; how many steps it took.
    fn steps(&mut self) -> usize {
        (0..).take_while(|_| self.one_step()).count()
    }

    /// What goes out now, and to whom.
    fn sent(&mut self) -> Vec<(Option<SocketAddr>, Vec<u8>)> {
        std::iter::from_fn(|| self.table.poll_transmit())
            .map(|transmit| (transmit.to, transmit.payload.to_vec()))
            .collect()
    }

    fn queue_full(&self) -> u64 {
        self.table.counters().drops.get(DropReason::DtlsQueueFull)
    }

    /// Leg n's peer shows its cookie, and its handshake is under way.
    fn begun(&mut self, n: u32) {
        assert_eq!(self.dtls(n, &hello(PROVED)), Verdict::Consumed);
        assert_eq!(self.steps(), 1);
        assert_eq!(self.sent(), [(Some(at_port(n)), b"flight".to_vec())]);
    }
}

#[test]
fn five_hundred_hellos_at_once_are_answered_one_a_step_in_order_and_none_is_lost() {
    let (mut bench, work) = legs(500, DtlsRole::Server);
    for n in 0..500 {
        assert_eq!(bench.dtls(n, &hello(NEW)), Verdict::Consumed);
    }
    assert_eq!(work.done(), 0, "they were only copied");
    assert_eq!(bench.table.handshakes_waiting(), 500);
    assert_eq!(bench.table.next_handshake(), Some(bench.now));
    for n in 0..500 {
        assert!(bench.one_step());
        let asked = (Some(at_port(n)), b"who are you?".to_vec());
        assert_eq!(bench.sent(), [asked]);
        assert_eq!(work.done(), n as usize + 1);
    }
    assert!(!bench.one_step());
    assert_eq!(bench.table.next_handshake(), None);
    assert_eq!(bench.table.handshakes_waiting(), 0);
    assert_eq!(bench.table.counters().drops.total(), 0);
}

#[test]
fn one_more_than_may_wait_is_dropped_and_counted_until_a_step_makes_room() {
    let (mut bench, _) = legs(MOST + 1, DtlsRole::Server);
    for n in 0..MOST {
        assert_eq!(bench.dtls(n, &hello(NEW)), Verdict::Consumed);
    }
    let full = Verdict::Drop(DropReason::DtlsQueueFull);
    assert_eq!(bench.dtls(MOST, &hello(NEW)), full);
    assert_eq!(bench.queue_full(), 1);
    assert!(bench.one_step());
    assert_eq!(bench.dtls(MOST, &hello(NEW)), Verdict::Consumed);
    assert_eq!(bench.steps(), MOST as usize);
    assert_eq!(bench.queue_full(), 1);
}

#[test]
fn one_port_has_no_more_than_its_share_of_the_places() {
    let (mut bench, _) = legs(2, DtlsRole::Server);
    for _ in 0..MOST_OF_A_PORT {
        assert_eq!(bench.dtls(0, &hello(NEW)), Verdict::Consumed);
    }
    let full = Verdict::Drop(DropReason::DtlsQueueFull);
    assert_eq!(bench.dtls(0, &hello(NEW)), full);
    assert_eq!(bench.dtls(1, &hello(NEW)), Verdict::Consumed);
    assert_eq!(bench.steps(), MOST_OF_A_PORT + 1);
    assert_eq!(bench.dtls(0, &hello(NEW)), Verdict::Consumed);
}

#[test]
fn media_behind_a_hello_in_the_same_batch_goes_on_before_any_handshake_does() {
    let (mut bench, work) = legs(1, DtlsRole::Server);
    let (a, b) = (bench.leg(1), bench.leg(2));
    assert!(bench.table.link(a, b));
    let (mut first, mut second) = (hello(PROVED), Rtp::new(1, 160, 7).bytes());
    let lengths = [first.len(), second.len()];
    first.resize(first.len() + 16, 0);
    second.resize(second.len() + 16, 0);
    let mut batch = [
        Packet::new(MediaPort(0), Some(at_port(0)), &mut first, lengths[0]),
        Packet::new(MediaPort(2), Some(peer(1)), &mut second, lengths[1]),
    ];
    bench.table.process_batch(bench.now, &mut batch);
    let port = MediaPort(4);
    let to = Some(peer(2));
    assert_eq!(batch[0].verdict, Verdict::Consumed);
    assert_eq!(batch[1].verdict, Verdict::Forward { port, to });
    assert_eq!((work.done(), bench.sent()), (0, Vec::new()));
    assert_eq!(bench.steps(), 1);
    assert_eq!(work.done(), 2, "the cookie, then the session");
}

#[test]
fn a_flood_of_hellos_holds_up_no_handshake_that_is_under_way_nor_turns_its_records_round() {
    let (mut bench, _) = legs(501, DtlsRole::Server);
    bench.begun(500);
    for n in 0..500 {
        assert_eq!(bench.dtls(n, &hello(NEW)), Verdict::Consumed);
    }
    for number in [1, 2, 3] {
        let record = record(16, number, &[7; 8]);
        assert_eq!(bench.dtls(500, &record), Verdict::Consumed);
    }
    let mut answers = Vec::new();
    for _ in 0..6 {
        assert!(bench.one_step());
        answers.extend(bench.sent());
    }
    let own: Vec<_> = answers
        .into_iter()
        .filter(|(to, _)| *to == Some(at_port(500)))
        .map(|(_, number)| number)
        .collect();
    assert_eq!(own, [[1], [2], [3]]);
}

#[test]
fn what_is_cheap_to_refuse_takes_no_place() {
    let (mut bench, work) = legs(2, DtlsRole::Server);
    let elsewhere = bench.send(0, Some(at_port(9)), &hello(NEW)).0;
    assert_eq!(elsewhere, Verdict::Drop(DropReason::WrongSource));
    let unasked = bench.dtls(0, &record(16, 1, &[7; 8]));
    assert_eq!(unasked, Verdict::Drop(DropReason::Dtls));
    let not_a_clients = bench.dtls(0, &record(2, 0, &[7; 8]));
    let forged = Verdict::Drop(DropReason::DtlsUnauthenticated);
    assert_eq!(not_a_clients, forged);
    assert_eq!(bench.table.handshakes_waiting(), 0);
    assert_eq!((bench.steps(), work.done()), (0, 0));
}

#[test]
fn what_waits_for_a_leg_goes_with_it_and_with_the_description_it_was_for() {
    let (mut bench, work) = legs(1, DtlsRole::Server);
    let leg = bench.open(1, false);
    let role = DtlsRole::Server;
    assert!(bench.table.set_remote(bench.now, leg, described(1, role)));
    for n in 0..2 {
        assert_eq!(bench.dtls(n, &hello(NEW)), Verdict::Consumed);
    }
    bench.table.close(leg);
    assert_eq!(bench.table.handshakes_waiting(), 1);
    // The next leg of the same place has nothing to do with it.
    let next = bench.open(1, false);
    assert!(bench.table.set_remote(bench.now, next, described(1, role)));
    assert_eq!(bench.steps(), 1);
    assert_eq!(bench.sent(), [(Some(at_port(0)), b"who are you?".to_vec())]);
    assert_eq!(bench.dtls(1, &hello(NEW)), Verdict::Consumed);
    let plain = Remote {
        security: Security::Plain,
        ..described(1, role)
    };
    assert!(bench.table.set_remote(bench.now, next, plain));
    assert_eq!((bench.steps(), work.done()), (0, 1));
}

#[test]
fn a_record_is_judged_again_when_its_turn_comes() {
    let (mut bench, work) = legs(0, DtlsRole::Server);
    let leg = bench.open(0, false);
    let role = DtlsRole::Server;
    assert!(bench.table.set_remote(bench.now, leg, described(0, role)));
    assert_eq!(bench.dtls(0, &hello(NEW)), Verdict::Consumed);
    let moved = Remote {
        rtp: at_port(7),
        ..described(0, role)
    };
    assert!(bench.table.set_remote(bench.now, leg, moved));
    assert_eq!((bench.steps(), work.done()), (1, 0));
    let drops = &bench.table.counters().drops;
    assert_eq!(drops.get(DropReason::WrongSource), 1);
}

#[test]
fn handshakes_of_ours_begin_and_repeat_themselves_one_a_step() {
    let (mut bench, work) = legs(300, DtlsRole::Client);
    assert_eq!((bench.sent(), work.done()), (Vec::new(), 0));
    assert_eq!(bench.table.next_handshake(), Some(bench.now));
    for n in 0..300 {
        assert!(bench.one_step());
        assert_eq!(bench.sent(), [(Some(at_port(n)), b"flight".to_vec())]);
    }
    assert!(!bench.one_step());
    let due = bench.now + REPEAT;
    assert_eq!(bench.table.next_handshake(), Some(due));
    bench.pass(200);
    for n in 0..300 {
        assert!(bench.one_step());
        assert_eq!(bench.sent(), [(Some(at_port(n)), b"again".to_vec())]);
    }
    assert!(!bench.one_step());
    assert_eq!(work.done(), 600);
}

#[test]
fn a_deadline_waits_for_one_step_of_each_lane_at_most() {
    let (mut bench, _) = legs(102, DtlsRole::Server);
    bench.begun(100);
    bench.begun(101);
    bench.pass(200);
    for n in 0..100 {
        assert_eq!(bench.dtls(n, &hello(NEW)), Verdict::Consumed);
    }
    for _ in 0..10 {
        let record = record(16, 1, &[7; 8]);
        assert_eq!(bench.dtls(101, &record), Verdict::Consumed);
    }
    let mut sent = Vec::new();
    for _ in 0..3 {
        assert!(bench.one_step());
        sent.extend(bench.sent());
    }
    let again = (Some(at_port(100)), b"again".to_vec());
    assert_eq!(sent.iter().filter(|sent| **sent == again).count(), 1);
}
