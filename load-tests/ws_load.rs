//! The load test's listeners: many notify WebSockets held open, and calls that
//! each ring at the sockets of one client. How long after its INVITE a call is
//! known at each socket is what is measured.
//!
//! `ws_load HTTP_ADDRESS SIP_ADDRESS SECRET --clients C --sockets S --calls N
//! --rate R`: S sockets each of the clients c0, c1, …; call n is to the number
//! of client n modulo C, `n0`, `n1`, …, and is cancelled after a second. Prints
//! one line of JSON.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// Sockets being opened at a time.
const OPENING: usize = 64;
/// How long a call rings before it is cancelled.
const RINGS: Duration = Duration::from_secs(1);
/// How long after the last call to wait for what is under way.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Options {
    http: SocketAddr,
    sip: SocketAddr,
    secret: String,
    clients: usize,
    sockets: usize,
    calls: usize,
    rate: f64,
}

impl Options {
    fn read() -> Result<Options, String> {
        let mut arguments = std::env::args().skip(1);
        let mut next = |name: &str| arguments.next().ok_or(format!("{name} is missing"));
        let address = |text: String| text.parse().map_err(|_| format!("{text}: no address"));
        let mut options = Options {
            http: address(next("HTTP_ADDRESS")?)?,
            sip: address(next("SIP_ADDRESS")?)?,
            secret: next("SECRET")?,
            clients: 10,
            sockets: 10,
            calls: 100,
            rate: 10.0,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            let number: f64 = value
                .parse()
                .map_err(|_| format!("{name}: {value} is none"))?;
            match name.as_str() {
                "--clients" => options.clients = number as usize,
                "--sockets" => options.sockets = number as usize,
                "--calls" => options.calls = number as usize,
                "--rate" => options.rate = number,
                _ => return Err(format!("{name} is no option")),
            }
        }
        Ok(options)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::read().unwrap_or_else(|problem| {
        eprintln!("ws_load: {problem}");
        std::process::exit(2);
    });
    let begun = Instant::now();
    let (heard, mut arrivals) = mpsc::unbounded_channel();
    let open = Arc::new(AtomicU64::new(0));
    let closed = Arc::new(AtomicU64::new(0));
    let wanted = options.clients * options.sockets;
    let mut opening = futures_util::stream::iter(0..wanted)
        .map(|n| {
            listen(
                options.clone(),
                n,
                heard.clone(),
                open.clone(),
                closed.clone(),
            )
        })
        .buffer_unordered(OPENING);
    let mut refused = 0u64;
    while let Some(opened) = opening.next().await {
        refused += u64::from(opened.is_err());
    }
    let opened_in = begun.elapsed();
    // What opening has left over shall not be measured.
    tokio::time::sleep(LINGER).await;

    let socket = Arc::new(UdpSocket::bind((options.sip.ip(), 0)).await?);
    socket.connect(options.sip).await?;
    let local = socket.local_addr()?;
    let answering = socket.clone();
    let (sip, clients) = (options.sip, options.clients);
    tokio::spawn(async move {
        let mut buffer = vec![0; 65536];
        while let Ok(len) = answering.recv(&mut buffer).await {
            let text = String::from_utf8_lossy(&buffer[..len]);
            let refusal = text
                .get(8..9)
                .is_some_and(|class| ("3".."7").contains(&class));
            if refusal && text.contains("INVITE\r\n") {
                let call =
                    header(&text, "Call-ID").and_then(|id| id.split('-').next()?.parse().ok());
                if let Some(call) = call {
                    let to = header(&text, "To").unwrap_or_default();
                    let ack = request("ACK", call, clients, sip, local, Some(to));
                    let _ = answering.send(ack.as_bytes()).await;
                }
            }
        }
    });
    let mut sent = Vec::with_capacity(options.calls);
    let interval = Duration::from_secs_f64(1.0 / options.rate);
    let first = Instant::now();
    for call in 0..options.calls {
        tokio::time::sleep_until((first + interval * call as u32).into()).await;
        let invite = request("INVITE", call, clients, sip, local, None);
        sent.push(Instant::now());
        socket.send(invite.as_bytes()).await?;
        let cancelling = socket.clone();
        tokio::spawn(async move {
            tokio::time::sleep(RINGS).await;
            let cancel = request("CANCEL", call, clients, sip, local, None);
            let _ = cancelling.send(cancel.as_bytes()).await;
        });
    }
    tokio::time::sleep(LINGER).await;
    let mut delays: Vec<u64> = Vec::new();
    while let Ok((call, at)) = arrivals.try_recv() {
        let from: Option<&Instant> = sent.get(call as usize);
        delays.extend(from.map(|from| at_since(at, *from)));
    }
    delays.sort_unstable();
    let expected = options.calls * options.sockets;
    let place = |share: f64| match delays.len().checked_sub(1) {
        Some(last) => delays[(last as f64 * share) as usize] as f64 / 1000.0,
        None => f64::NAN,
    };
    println!(
        "{{\"wanted\":{wanted},\"open\":{},\"refused\":{refused},\"closed\":{},\"opened_s\":{:.2},\
         \"calls\":{},\"expected\":{expected},\"heard\":{},\"delay_ms\":[{:.3},{:.3},{:.3},{:.3}]}}",
        open.load(Ordering::Relaxed),
        closed.load(Ordering::Relaxed),
        opened_in.as_secs_f64(),
        options.calls,
        delays.len(),
        place(0.5),
        place(0.99),
        place(0.999),
        place(1.0),
    );
    Ok(())
}

fn at_since(at: Instant, from: Instant) -> u64 {
    at.saturating_duration_since(from).as_micros() as u64
}

/// Opens a socket, and notes on a task of its own when each call is heard of.
async fn listen(
    options: Options,
    n: usize,
    heard: mpsc::UnboundedSender<(u32, Instant)>,
    open: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let url = format!(
        "ws://{}/call/incoming/notify?token={}&client_id=c{}&format=json",
        options.http,
        options.secret,
        n % options.clients
    );
    let (stream, _) = connect_async(url).await?;
    open.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(async move {
        let (_writer, mut reader) = stream.split();
        while let Some(Ok(message)) = reader.next().await {
            let Message::Text(text) = message else {
                continue;
            };
            let at = Instant::now();
            if text.contains("arrived")
                && let Some(call) = caller(&text)
            {
                let _ = heard.send((call, at));
            }
        }
        closed.fetch_add(1, Ordering::Relaxed);
    });
    Ok(())
}

/// The number of the call, which its caller's name has: `w17w`.
fn caller(text: &str) -> Option<u32> {
    let (_, caller) = text.split_once("\"call_from\":\"w")?;
    caller.split('w').next()?.parse().ok()
}

fn header<'t>(message: &'t str, name: &str) -> Option<&'t str> {
    message.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn request(
    method: &str,
    call: usize,
    clients: usize,
    sip: SocketAddr,
    local: SocketAddr,
    to: Option<&str>,
) -> String {
    let number = call % clients;
    let body = match method {
        "INVITE" => format!(
            "v=0\r\no=- {call} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio 20000 RTP/AVP 0\r\n",
            ip = local.ip()
        ),
        _ => String::new(),
    };
    let to = to.map_or_else(|| format!("<sip:n{number}@{sip}>"), str::to_string);
    let kind = match body.is_empty() {
        true => "",
        false => "Content-Type: application/sdp\r\n",
    };
    format!(
        "{method} sip:n{number}@{sip} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {local};branch=z9hG4bKw{call}x{port}\r\n\
         From: <sip:w{call}w@{local}>;tag=t{call}\r\nTo: {to}\r\n\
         Call-ID: {call}-{port}@load\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n\
         Contact: <sip:w{call}w@{local}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len(),
        port = local.port(),
    )
}
