//! The load test's media end: one UDP socket that sends and checks the RTP of
//! many calls, because sipp's own RTP does not measure loss and saturates at a
//! few hundred streams.
//!
//! Standard input, a line each: `start GATEWAY_PORT GROUP SIZE` (RTP of this
//! call may flow once SIZE calls of the group are up) and `stop GATEWAY_PORT
//! GROUP` (it ends, and that of the others of the group with it). At the end
//! of input it waits for what is under way and prints one line of JSON.
//!
//! Each stream sends 172 bytes (PCMU, 20 ms) 50 times a second. The payload
//! names the stream, the packet and when it left, so loss is counted end to
//! end and cannot be hidden by rewritten sequence numbers.

use std::collections::HashMap;
use std::io::BufRead;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

/// Packet time of the streams and number of the ticks they are spread over.
const TICKS_PER_PACKET: usize = 20;
const TICK: Duration = Duration::from_millis(1);
/// How long after the last stream to wait for packets under way.
const LINGER: Duration = Duration::from_millis(500);
/// Later than this is not this packet's time any more: the tool was too slow.
const LATE: Duration = Duration::from_millis(20);
/// Marks our payloads.
const MAGIC: [u8; 4] = *b"rwlt";
const HEADER: usize = 12;
const PACKET: usize = HEADER + 160;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(gateway)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: rtp_load LISTEN_ADDRESS:PORT GATEWAY_IP");
        std::process::exit(2);
    };
    let gateway: IpAddr = gateway.parse().map_err(std::io::Error::other)?;
    let socket = socket2::Socket::from(UdpSocket::bind(&listen)?);
    // Refused past net.core.rmem_max: then as much as that gives.
    socket.set_recv_buffer_size(32 << 20)?;
    socket.set_send_buffer_size(8 << 20)?;
    socket.set_nonblocking(true)?;
    let mut load = Load::new(socket.into(), gateway);
    let (lines, commands) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    load.run(&commands);
    println!("{}", load.report());
    Ok(())
}

/// One call's RTP.
struct Stream {
    to: SocketAddr,
    group: String,
    sending: bool,
    sent: u32,
    received: u32,
    /// Number of the first of its packets that came through.
    first: Option<u32>,
    last: u32,
}

/// The calls of a group: an echo is a group of one, a room of two.
#[derive(Default)]
struct Group {
    size: usize,
    streams: Vec<usize>,
}

struct Load {
    socket: UdpSocket,
    gateway: IpAddr,
    begun: Instant,
    streams: Vec<Stream>,
    by_port: HashMap<u16, usize>,
    groups: HashMap<String, Group>,
    /// Which streams send at which tick.
    schedule: Vec<Vec<usize>>,
    next_bucket: usize,
    reordered: u64,
    foreign: u64,
    send_errors: u64,
    late_ticks: u64,
    most_sending: usize,
    sending: usize,
    /// Delays in steps of 10 µs, the last for all that is longer.
    delays: Vec<u64>,
}

impl Load {
    fn new(socket: UdpSocket, gateway: IpAddr) -> Self {
        Load {
            socket,
            gateway,
            begun: Instant::now(),
            streams: Vec::new(),
            by_port: HashMap::new(),
            groups: HashMap::new(),
            schedule: vec![Vec::new(); TICKS_PER_PACKET],
            next_bucket: 0,
            reordered: 0,
            foreign: 0,
            send_errors: 0,
            late_ticks: 0,
            most_sending: 0,
            sending: 0,
            delays: vec![0; 100_000],
        }
    }

    fn run(&mut self, commands: &Receiver<String>) {
        let mut next_tick = Instant::now();
        let mut ended: Option<Instant> = None;
        let mut tick = 0;
        while ended.is_none_or(|at| at.elapsed() < LINGER) {
            loop {
                match commands.try_recv() {
                    Ok(line) => self.command(&line),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        ended.get_or_insert_with(Instant::now);
                        (0..self.streams.len()).for_each(|index| self.set_sending(index, false));
                        break;
                    }
                }
            }
            self.receive();
            let now = Instant::now();
            if now < next_tick {
                std::thread::sleep(next_tick - now);
                continue;
            }
            if now - next_tick > LATE {
                self.late_ticks += 1;
            }
            next_tick += TICK;
            self.send(tick % TICKS_PER_PACKET);
            tick += 1;
        }
    }

    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["start", port, group, size] => {
                if let (Ok(port), Ok(size)) = (port.parse(), size.parse()) {
                    self.start(port, group, size);
                }
            }
            ["stop", port, _] => {
                let stream = port
                    .parse()
                    .ok()
                    .and_then(|port| self.by_port.remove(&port));
                let group = stream.and_then(|index| self.groups.remove(&self.streams[index].group));
                for index in group.map(|group| group.streams).unwrap_or_default() {
                    self.set_sending(index, false);
                }
            }
            _ => eprintln!("rtp_load: not understood: {line}"),
        }
    }

    fn start(&mut self, port: u16, name: &str, size: usize) {
        let index = self.streams.len();
        self.streams.push(Stream {
            to: SocketAddr::new(self.gateway, port),
            group: name.to_owned(),
            sending: false,
            sent: 0,
            received: 0,
            first: None,
            last: 0,
        });
        self.by_port.insert(port, index);
        self.schedule[self.next_bucket].push(index);
        self.next_bucket = (self.next_bucket + 1) % TICKS_PER_PACKET;
        let group = self.groups.entry(name.to_owned()).or_default();
        group.size = size;
        group.streams.push(index);
        if group.streams.len() >= size {
            for index in group.streams.clone() {
                self.set_sending(index, true);
            }
        }
    }

    fn set_sending(&mut self, index: usize, sending: bool) {
        let stream = &mut self.streams[index];
        match (stream.sending, sending) {
            (false, true) => self.sending += 1,
            (true, false) => self.sending -= 1,
            _ => {}
        }
        stream.sending = sending;
        self.most_sending = self.most_sending.max(self.sending);
    }

    fn send(&mut self, bucket: usize) {
        let streams = &self.streams;
        self.schedule[bucket].retain(|index| streams[*index].sending || streams[*index].sent == 0);
        for position in 0..self.schedule[bucket].len() {
            let index = self.schedule[bucket][position];
            let at = self.begun.elapsed().as_micros() as u64;
            let stream = &mut self.streams[index];
            if !stream.sending {
                continue;
            }
            let packet = packet(index as u32, stream.sent, at);
            match self.socket.send_to(&packet, stream.to) {
                Ok(_) => stream.sent += 1,
                Err(_) => self.send_errors += 1,
            }
            // A long bucket must not keep what comes back waiting.
            if position % 64 == 63 {
                self.receive();
            }
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; 2048];
        // A connection refused is the ICMP of a call that has ended.
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((length, _)) => self.take(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, packet: &[u8]) {
        let Some((index, number, at)) = read(packet) else {
            self.foreign += 1;
            return;
        };
        let Some(stream) = self.streams.get_mut(index as usize) else {
            self.foreign += 1;
            return;
        };
        stream.received += 1;
        stream.first.get_or_insert(number);
        if number < stream.last {
            self.reordered += 1;
        }
        stream.last = stream.last.max(number);
        let delay = (self.begun.elapsed().as_micros() as u64).saturating_sub(at);
        let step = (delay / 10).min(self.delays.len() as u64 - 1) as usize;
        self.delays[step] += 1;
    }

    fn report(&self) -> String {
        let sum = |of: fn(&Stream) -> u32| -> u64 {
            self.streams
                .iter()
                .map(|stream| u64::from(of(stream)))
                .sum()
        };
        let (sent, received) = (sum(|stream| stream.sent), sum(|stream| stream.received));
        let lost_at_start = sum(|stream| stream.first.unwrap_or(0));
        let silent = self
            .streams
            .iter()
            .filter(|stream| stream.sent > 0 && stream.received == 0)
            .count();
        format!(
            "{{\"streams\": {}, \"most_at_once\": {}, \"sent\": {sent}, \"received\": {received}, \
             \"lost_at_start\": {lost_at_start}, \"silent_streams\": {silent}, \
             \"reordered\": {}, \"foreign\": {}, \"send_errors\": {}, \"late_ticks\": {}, \
             \"delay_p50_ms\": {:.2}, \"delay_p99_ms\": {:.2}}}",
            self.streams.len(),
            self.most_sending,
            self.reordered,
            self.foreign,
            self.send_errors,
            self.late_ticks,
            self.delay(0.50),
            self.delay(0.99),
        )
    }

    /// The delay in ms that this part of the packets does not exceed.
    fn delay(&self, part: f64) -> f64 {
        let wanted = (self.delays.iter().sum::<u64>() as f64 * part) as u64;
        let mut seen = 0;
        for (step, count) in self.delays.iter().enumerate() {
            seen += count;
            if seen > wanted {
                return (step + 1) as f64 / 100.0;
            }
        }
        0.0
    }
}

/// RTP (RFC 3550 section 5.1), payload number 0, with the payload
/// `magic, stream, number, microseconds` and silence behind it.
fn packet(stream: u32, number: u32, at: u64) -> [u8; PACKET] {
    let mut packet = [0xff; PACKET];
    packet[0] = 0x80;
    packet[1] = if number == 0 { 0x80 } else { 0 };
    packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&number.wrapping_mul(160).to_be_bytes());
    packet[8..12].copy_from_slice(&(stream ^ 0x5ca1_ab1e).to_be_bytes());
    packet[12..16].copy_from_slice(&MAGIC);
    packet[16..20].copy_from_slice(&stream.to_be_bytes());
    packet[20..24].copy_from_slice(&number.to_be_bytes());
    packet[24..32].copy_from_slice(&at.to_be_bytes());
    packet
}

/// Stream, number and time of one of our packets.
fn read(packet: &[u8]) -> Option<(u32, u32, u64)> {
    let payload = packet.get(HEADER..)?;
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(
            payload.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    if payload.get(..4)? != MAGIC {
        return None;
    }
    let at = u64::from_be_bytes(payload.get(12..20)?.try_into().ok()?);
    Some((word(4)?, word(8)?, at))
}
