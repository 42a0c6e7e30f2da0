//! One end of an RTP stream: talks at a steady pace from a thread and keeps
//! what it hears.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{PATIENCE, Ports, within};

/// One packet as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct RtpPacket {
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload: Vec<u8>,
    pub source: SocketAddr,
}

/// What a peer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// Every payload byte is this one.
    Fill(u8),
    /// A tone of so many hertz, in PCMU.
    Tone(u32),
}

struct Talk {
    /// Where to and as which payload type; `None` is silence.
    target: Option<(SocketAddr, u8)>,
    voice: Voice,
}

/// An RTP socket pair of a test.
pub struct RtpPeer {
    address: SocketAddr,
    socket: UdpSocket,
    rtcp: UdpSocket,
    talk: Arc<Mutex<Talk>>,
    heard: Arc<Mutex<Vec<RtpPacket>>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl RtpPeer {
    /// Binds a pair of ports; its packets carry `fill` in every payload byte.
    pub fn open(ports: &mut Ports, ip: IpAddr, fill: u8) -> Self {
        Self::saying(ports, ip, Voice::Fill(fill))
    }

    /// The same with another voice.
    pub fn saying(ports: &mut Ports, ip: IpAddr, voice: Voice) -> Self {
        let port = ports.pair();
        let socket = UdpSocket::bind((ip, port)).expect("an RTP port");
        let rtcp = UdpSocket::bind((ip, port + 1)).expect("an RTCP port");
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout");
        rtcp.set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout");
        let talk = Arc::new(Mutex::new(Talk {
            target: None,
            voice,
        }));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let (mouth, ear) = (
            socket.try_clone().expect("a handle"),
            socket.try_clone().expect("a handle"),
        );
        let (said, stop) = (Arc::clone(&talk), Arc::clone(&over));
        // The low bits of the port make the SSRC differ between peers.
        let ssrc = 0x5100_0000 | u32::from(port);
        threads.push(std::thread::spawn(move || {
            speak(&mouth, ssrc, &said, &stop)
        }));
        let (record, stop) = (Arc::clone(&heard), Arc::clone(&over));
        threads.push(std::thread::spawn(move || hear(&ear, &record, &stop)));
        let address = socket.local_addr().expect("the RTP address");
        Self {
            address,
            socket,
            rtcp,
            talk,
            heard,
            over,
            threads,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Talks to this address from now on, a packet every 20 ms.
    pub fn talk_to(&self, target: SocketAddr, payload_type: u8) {
        self.talk.lock().expect("the talk").target = Some((target, payload_type));
    }

    pub fn be_quiet(&self) {
        self.talk.lock().expect("the talk").target = None;
    }

    /// Sends these bytes as they are.
    pub fn send(&self, target: SocketAddr, bytes: &[u8]) {
        self.socket
            .send_to(bytes, target)
            .expect("a datagram is sent");
    }

    /// Sends these bytes from the RTCP port.
    pub fn send_rtcp(&self, target: SocketAddr, bytes: &[u8]) {
        self.rtcp
            .send_to(bytes, target)
            .expect("a datagram is sent");
    }

    /// Waits for the next datagram on the RTCP port.
    #[track_caller]
    pub fn expect_rtcp(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 2048];
        let mut next = || {
            let (length, source) = self.rtcp.recv_from(&mut buffer).ok()?;
            Some((buffer[..length].to_vec(), source))
        };
        within(PATIENCE, &mut next).unwrap_or_else(|| panic!("no RTCP at {}", self.address))
    }

    /// Everything heard since the last [`Self::forget`].
    pub fn heard(&self) -> Vec<RtpPacket> {
        self.heard.lock().expect("the packets").clone()
    }

    /// Forgets what was heard.
    pub fn forget(&self) {
        self.heard.lock().expect("the packets").clear();
    }

    /// Waits until `count` packets filled with this byte came.
    #[track_caller]
    pub fn wait_for(&self, count: usize, fill: u8) -> Vec<RtpPacket> {
        let matching = || -> Vec<RtpPacket> {
            let mut packets = self.heard();
            packets.retain(|packet| packet.payload.iter().all(|byte| *byte == fill));
            packets
        };
        within(PATIENCE, || (matching().len() >= count).then_some(())).unwrap_or_else(|| {
            panic!(
                "{count} RTP packets of {fill:#04x} at {}: heard {} of {} packets",
                self.address,
                matching().len(),
                self.heard().len()
            )
        });
        matching()
    }
}

impl Drop for RtpPeer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

const PACE: Duration = Duration::from_millis(20);
/// 20 ms of 8 kHz audio.
const SAMPLES: u32 = 160;

fn speak(socket: &UdpSocket, ssrc: u32, talk: &Mutex<Talk>, over: &AtomicBool) {
    let (mut sequence, mut timestamp) = (1_u16, 1_000_u32);
    let mut due = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let (target, voice) = {
            let talk = talk.lock().expect("the talk");
            (talk.target, talk.voice)
        };
        if let Some((target, payload_type)) = target {
            // Errors are ICMP answers to earlier packets: the call may be over.
            let _ = socket.send_to(
                &packet_saying(payload_type, sequence, timestamp, ssrc, voice),
                target,
            );
            sequence = sequence.wrapping_add(1);
        }
        timestamp = timestamp.wrapping_add(SAMPLES);
        // The pace of the stream, kept though a sleep is always a little long.
        due += PACE;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// RFC 3550 section 5.1, no padding, extension or contributing sources.
pub fn packet(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, fill: u8) -> Vec<u8> {
    packet_saying(payload_type, sequence, timestamp, ssrc, Voice::Fill(fill))
}

fn packet_saying(
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    voice: Voice,
) -> Vec<u8> {
    let mut bytes = vec![0x80, payload_type];
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&timestamp.to_be_bytes());
    bytes.extend_from_slice(&ssrc.to_be_bytes());
    bytes.extend((0..SAMPLES).map(|n| match voice {
        Voice::Fill(fill) => fill,
        Voice::Tone(hertz) => tone_at(timestamp.wrapping_add(n), hertz),
    }));
    bytes
}

/// The sample of a tone at this time, in PCMU.
fn tone_at(timestamp: u32, hertz: u32) -> u8 {
    // Whole turns are left out in whole numbers: the phase stays exact.
    let turn = f64::from(timestamp.wrapping_mul(hertz) % 8000) / 8000.0;
    pcmu(((turn * std::f64::consts::TAU).sin() * 12_000.0) as i16)
}

/// ITU-T G.711, mu-law.
fn pcmu(sample: i16) -> u8 {
    let magnitude = (sample.unsigned_abs() >> 2).min(8158) + 33;
    let segment = 10 - magnitude.leading_zeros() as u16;
    let step = (magnitude >> (segment + 1)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) as u8 | step as u8)
}

/// A sample of PCMU, from -1 to 1.
pub fn linear(code: u8) -> f64 {
    let code = !code;
    let segment = (code >> 4) & 0x07;
    let magnitude = (i32::from((code & 0x0f) << 1 | 0x21) << segment) - 0x21;
    let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
    sign * f64::from(magnitude) / 8192.0
}

#[test]
fn a_sample_is_read_back_within_a_step() {
    for sample in [0, 100, -100, 3_000, -12_000, 30_000] {
        let read = linear(pcmu(sample)) * 32_768.0;
        let step = f64::from(sample).abs() / 16.0 + 8.0;
        assert!((read - f64::from(sample)).abs() <= step, "{sample}: {read}");
    }
}

#[test]
fn a_sample_is_compressed_as_the_recommendation_says() {
    // G.711 table 2a: decision values, in 14 bits, and their codes.
    for (sample, code) in [
        (0, 0xff),
        (4, 0xfe),
        (-4, 0x7e),
        (31 << 2, 0xef),
        (95 << 2, 0xdf),
        (8031 << 2, 0x80),
        (i16::MIN, 0x00),
    ] {
        assert_eq!(pcmu(sample), code, "{sample}");
    }
}

fn hear(socket: &UdpSocket, record: &Mutex<Vec<RtpPacket>>, over: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, source)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let bytes = &buffer[..length];
        if length < 12 || bytes[0] & 0xc0 != 0x80 {
            continue;
        }
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        record.lock().expect("the packets").push(RtpPacket {
            payload_type: bytes[1] & 0x7f,
            sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
            timestamp: word(4),
            ssrc: word(8),
            payload: bytes[12..].to_vec(),
            source,
        });
    }
}

#[test]
fn a_tone_goes_on_from_packet_to_packet() {
    let payload = |timestamp| packet_saying(0, 1, timestamp, 9, Voice::Tone(1000))[12..].to_vec();
    // 8 samples a turn.
    assert_eq!(payload(0), payload(SAMPLES));
    assert_eq!(payload(0)[..8], payload(0)[152..]);
    assert_eq!(payload(0)[0], pcmu(0));
    assert_eq!(payload(2)[0], pcmu(12_000));
}
