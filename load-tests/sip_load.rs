//! The load test's own callers: INVITE to BYE, many thousand a second from one
//! thread, because sipp saturates near a thousand and then falsifies what it
//! measures. With `--hooks` it is the application too: an HTTP server that
//! takes every hook.
//!
//! `sip_load TARGET --number N --rate R --calls C --hold-ms H [--burst B]
//! [--hooks ADDRESS]` prints one line of JSON. A call is complete with the 200
//! of its BYE; refused with a final answer of 300 or more; lost when nothing
//! has come after all retransmissions (RFC 3261 17.1.1.2 and 17.1.2.2).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// RFC 3261 17.1.1.1: timers A and E begin with it.
const T1: Duration = Duration::from_millis(500);
/// RFC 3261 17.1.2.2: the longest between two BYEs.
const T2: Duration = Duration::from_secs(4);
/// RFC 3261: timers B and F.
const GIVE_UP: Duration = Duration::from_secs(32);
/// Later than this with a call means that the tool could not keep its rate.
const LATE: Duration = Duration::from_millis(20);
/// Calls begun before what has come is read again.
const CALLS_PER_ROUND: usize = 16;

fn main() -> std::io::Result<()> {
    let options = Options::read().unwrap_or_else(|problem| {
        eprintln!("sip_load: {problem}");
        std::process::exit(2);
    });
    let hooks = Arc::new(AtomicU64::new(0));
    if let Some(address) = options.hooks {
        take_hooks(TcpListener::bind(address)?, hooks.clone());
    }
    let socket = socket2::Socket::from(UdpSocket::bind((options.target.ip(), 0))?);
    // Refused past the system's maximum: then as much as that gives.
    socket.set_recv_buffer_size(32 << 20)?;
    socket.set_send_buffer_size(8 << 20)?;
    let socket: UdpSocket = socket.into();
    socket.connect(options.target)?;
    socket.set_nonblocking(true)?;
    let local = socket.local_addr()?;
    let mut callers = Callers {
        options,
        socket,
        local,
        calls: Vec::new(),
        due: BinaryHeap::new(),
        tally: Tally::default(),
    };
    callers.run()?;
    println!("{}", callers.report(hooks.load(Ordering::Relaxed)));
    Ok(())
}

struct Options {
    target: SocketAddr,
    number: String,
    rate: f64,
    calls: usize,
    hold: Duration,
    /// So many at once to begin with, the others at the rate.
    burst: usize,
    hooks: Option<SocketAddr>,
}

impl Options {
    fn read() -> Result<Options, String> {
        let mut arguments = std::env::args().skip(1);
        let target = arguments.next().ok_or("TARGET is missing")?;
        let mut options = Options {
            target: target
                .parse()
                .map_err(|_| format!("{target}: no address"))?,
            number: "echo".to_string(),
            rate: 100.0,
            calls: 1000,
            hold: Duration::from_secs(1),
            burst: 0,
            hooks: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            let wrong = |_| format!("{name}: {value} is none");
            match name.as_str() {
                "--number" => options.number = value,
                "--rate" => options.rate = value.parse().map_err(|_| wrong(()))?,
                "--calls" => options.calls = value.parse().map_err(|_| wrong(()))?,
                "--burst" => options.burst = value.parse().map_err(|_| wrong(()))?,
                "--hooks" => options.hooks = Some(value.parse().map_err(|_| wrong(()))?),
                "--hold-ms" => {
                    options.hold = Duration::from_millis(value.parse().map_err(|_| wrong(()))?);
                }
                _ => return Err(format!("{name} is no option")),
            }
        }
        Ok(options)
    }
}

/// Where a call is.
enum State {
    Inviting,
    /// Answered: what ACK and BYE need.
    Up(Dialog),
    Leaving(Dialog),
    Over,
}

#[derive(Clone)]
struct Dialog {
    to: String,
    contact: String,
}

struct Call {
    state: State,
    /// When the request that waits for an answer was sent first.
    asked: Instant,
    interval: Duration,
}

/// What a call does next, unless it has moved on since.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    RepeatInvite,
    Bye,
    RepeatBye,
}

#[derive(Default)]
struct Tally {
    answered: usize,
    completed: usize,
    refused: BTreeMap<u16, usize>,
    lost: usize,
    over: usize,
    most_up: usize,
    retransmissions: u64,
    late: u64,
    unsent: u64,
    setup_us: Vec<u32>,
    refusal_us: Vec<u32>,
    bye_us: Vec<u32>,
}

struct Callers {
    options: Options,
    socket: UdpSocket,
    local: SocketAddr,
    calls: Vec<Call>,
    due: BinaryHeap<Reverse<(Instant, usize, Due)>>,
    tally: Tally,
}

impl Callers {
    fn run(&mut self) -> std::io::Result<()> {
        let begun = Instant::now();
        let interval = Duration::from_secs_f64(1.0 / self.options.rate);
        let mut buffer = [0; 65536];
        while self.tally.over < self.options.calls {
            let mut idle = true;
            for _ in 0..CALLS_PER_ROUND {
                let number = self.calls.len();
                let paced = number.saturating_sub(self.options.burst) as u32;
                let at = begun + interval * paced;
                let now = Instant::now();
                if number >= self.options.calls || at > now {
                    break;
                }
                if now - at > LATE && number >= self.options.burst {
                    self.tally.late += 1;
                }
                idle = false;
                self.invite(now);
            }
            while let Ok(len) = self.socket.recv(&mut buffer) {
                idle = false;
                if let Ok(text) = std::str::from_utf8(&buffer[..len]) {
                    self.answer(Instant::now(), text);
                }
            }
            let now = Instant::now();
            while let Some(Reverse((at, call, what))) = self.due.peek().copied() {
                if at > now {
                    break;
                }
                self.due.pop();
                idle = false;
                self.follow(now, call, what);
            }
            if idle {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        Ok(())
    }

    fn invite(&mut self, now: Instant) {
        let call = self.calls.len();
        self.calls.push(Call {
            state: State::Inviting,
            asked: now,
            interval: T1,
        });
        self.tally.most_up = self.tally.most_up.max(call + 1 - self.tally.over);
        self.send_invite(call);
        self.due.push(Reverse((now + T1, call, Due::RepeatInvite)));
    }

    /// What the heap has for a call.
    fn follow(&mut self, now: Instant, at: usize, what: Due) {
        let call = &mut self.calls[at];
        let repeats = match (&call.state, what) {
            (State::Up(dialog), Due::Bye) => {
                call.state = State::Leaving(dialog.clone());
                call.asked = now;
                call.interval = T1;
                false
            }
            (State::Inviting, Due::RepeatInvite) | (State::Leaving(_), Due::RepeatBye) => true,
            _ => return,
        };
        if repeats {
            if now - call.asked >= GIVE_UP {
                self.tally.lost += 1;
                self.end(at);
                return;
            }
            call.interval *= 2;
            self.tally.retransmissions += 1;
        }
        let call = &mut self.calls[at];
        let next = match call.state {
            State::Leaving(_) => {
                call.interval = call.interval.min(T2);
                Due::RepeatBye
            }
            _ => Due::RepeatInvite,
        };
        self.due.push(Reverse((now + call.interval, at, next)));
        match next {
            Due::RepeatBye => self.send_bye(at),
            _ => self.send_invite(at),
        }
    }

    fn answer(&mut self, now: Instant, text: &str) {
        let Some(status) = text
            .get(8..11)
            .and_then(|status| status.parse::<u16>().ok())
        else {
            return;
        };
        let called = header(text, "Call-ID").and_then(|id| id.split('-').next());
        let Some(at) = called.and_then(|number| number.parse::<usize>().ok()) else {
            return;
        };
        let invite = header(text, "CSeq").is_some_and(|cseq| cseq.ends_with("INVITE"));
        let Some(call) = self.calls.get_mut(at) else {
            return;
        };
        let took = (now - call.asked).as_micros() as u32;
        match (&call.state, status, invite) {
            (_, 0..200, _) => {}
            (State::Inviting, 200..300, true) => {
                let to = header(text, "To").unwrap_or_default().to_string();
                let contact = header(text, "Contact").unwrap_or_default();
                let contact = contact.trim_start_matches('<');
                let contact = contact.split('>').next().unwrap_or_default().to_string();
                call.state = State::Up(Dialog { to, contact });
                self.tally.answered += 1;
                self.tally.setup_us.push(took);
                let bye_at = now + self.options.hold;
                self.due.push(Reverse((bye_at, at, Due::Bye)));
                self.send_ack(at, status, text);
            }
            (State::Inviting, 300.., true) => {
                *self.tally.refused.entry(status).or_default() += 1;
                self.tally.refusal_us.push(took);
                self.send_ack(at, status, text);
                self.end(at);
            }
            (State::Leaving(_), 200.., false) => {
                self.tally.completed += usize::from(status < 300);
                self.tally.bye_us.push(took);
                self.end(at);
            }
            // A final answer again: our ACK was lost (RFC 3261 13.2.2.4).
            (_, 200.., true) => self.send_ack(at, status, text),
            _ => {}
        }
    }

    fn end(&mut self, at: usize) {
        self.calls[at].state = State::Over;
        self.tally.over += 1;
    }

    fn send_invite(&mut self, at: usize) {
        let body = format!(
            "v=0\r\no=- {at} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n",
            ip = self.local.ip(),
            port = 20000 + 2 * (at % 20000),
        );
        let (target, number) = (self.options.target, &self.options.number);
        let request = format!(
            "INVITE sip:{number}@{target} SIP/2.0\r\n{}To: <sip:{number}@{target}>\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:c{at}@{local}>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.common(at, "i"),
            body.len(),
            local = self.local,
        );
        self.send(&request);
    }

    fn send_ack(&mut self, at: usize, status: u16, answer: &str) {
        let (target, number) = (self.options.target, &self.options.number);
        let to = header(answer, "To").unwrap_or_default();
        let (uri, branch) = match &self.calls[at].state {
            State::Up(dialog) | State::Leaving(dialog) if status < 300 => {
                (dialog.contact.clone(), "a")
            }
            _ if status < 300 => return,
            // RFC 3261 17.1.1.3: the branch of the INVITE.
            _ => (format!("sip:{number}@{target}"), "i"),
        };
        let request = format!(
            "ACK {uri} SIP/2.0\r\n{}To: {to}\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
            self.common(at, branch)
        );
        self.send(&request);
    }

    fn send_bye(&mut self, at: usize) {
        let State::Leaving(dialog) = &self.calls[at].state else {
            return;
        };
        let request = format!(
            "BYE {} SIP/2.0\r\n{}To: {}\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n",
            dialog.contact,
            self.common(at, "b"),
            dialog.to,
        );
        self.send(&request);
    }

    /// The headers that all requests of a call share, but for the branch.
    fn common(&self, at: usize, kind: &str) -> String {
        let local = self.local;
        format!(
            "Via: SIP/2.0/UDP {local};branch=z9hG4bK{kind}{at}x{port};rport\r\n\
             From: <sip:c{at}@{local}>;tag=t{at}\r\nCall-ID: {at}-{port}@load\r\n\
             Max-Forwards: 70\r\n",
            port = local.port(),
        )
    }

    fn send(&mut self, request: &str) {
        if self.socket.send(request.as_bytes()).is_err() {
            // A full buffer: the retransmission does it.
            self.tally.unsent += 1;
        }
    }

    fn report(&mut self, hooks: u64) -> String {
        let tally = &mut self.tally;
        let refused: Vec<String> = tally
            .refused
            .iter()
            .map(|(status, count)| format!("\"{status}\":{count}"))
            .collect();
        format!(
            "{{\"offered\":{},\"answered\":{},\"completed\":{},\"refused\":{{{}}},\"lost\":{},\
             \"most_up\":{},\"retransmissions\":{},\"late\":{},\"unsent\":{},\"hooks\":{hooks},\
             \"setup_ms\":{},\"refusal_ms\":{},\"bye_ms\":{}}}",
            self.options.calls,
            tally.answered,
            tally.completed,
            refused.join(","),
            tally.lost,
            tally.most_up,
            tally.retransmissions,
            tally.late,
            tally.unsent,
            percentiles(&mut tally.setup_us),
            percentiles(&mut tally.refusal_us),
            percentiles(&mut tally.bye_us),
        )
    }
}

/// p50, p99, p99.9 and the largest, in ms; null of nothing.
fn percentiles(micros: &mut [u32]) -> String {
    micros.sort_unstable();
    let Some(last) = micros.len().checked_sub(1) else {
        return "null".to_string();
    };
    let at = |share: f64| f64::from(micros[(last as f64 * share) as usize]) / 1000.0;
    format!(
        "[{:.3},{:.3},{:.3},{:.3}]",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    )
}

fn header<'t>(message: &'t str, name: &str) -> Option<&'t str> {
    message.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Answers every request with 200, each connection on a thread of its own, and
/// counts.
fn take_hooks(listener: TcpListener, count: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let count = count.clone();
            std::thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let Ok(mut writer) = stream.try_clone() else {
                    return;
                };
                let mut reader = BufReader::new(stream);
                let mut body = Vec::new();
                let mut line = String::new();
                loop {
                    let mut length = 0u64;
                    loop {
                        line.clear();
                        match reader.read_line(&mut line) {
                            Ok(0) | Err(_) => return,
                            Ok(_) => {}
                        }
                        let text = line.trim_end();
                        if text.is_empty() {
                            break;
                        }
                        if let Some((name, value)) = text.split_once(':')
                            && name.eq_ignore_ascii_case("content-length")
                        {
                            length = value.trim().parse().unwrap_or(0);
                        }
                    }
                    body.clear();
                    if (&mut reader).take(length).read_to_end(&mut body).is_err() {
                        return;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                    if writer.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
}
