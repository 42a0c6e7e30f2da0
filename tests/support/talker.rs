//! RTP ends with sound in them: each says a tone, or a recording, in a codec
//! of its own, and what it hears can be listened to. All ends of a test are
//! driven from one thread, so that fifty cost no more than they must.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringwire::sound::codec::{AudioCodec, Decoder, Encoder, OpusParameters};

use super::rtp::RtpPacket;
use super::sip::audio_at;
use super::{Ports, eventually, within};

const PACE: Duration = Duration::from_millis(20);
/// A tone of this amplitude is said; several of them together do not limit.
const AMPLITUDE: f64 = 4_000.0;
/// What is at least this loud was heard: a tone through any of the codecs is
/// ten times louder.
const AUDIBLE: f64 = 400.0;
/// Packets that are listened to for tones: half a second.
const RECENT: usize = 25;

/// Opus as the gateway sends it to whoever states nothing.
pub const OPUS: AudioCodec = AudioCodec::Opus(OpusParameters {
    in_band_fec: false,
    dtx: false,
    max_average_bitrate: None,
    max_playback_rate: None,
    constant_bitrate: false,
});

/// The number of telephone events.
const KEYS: u8 = 101;

/// The number that an end takes and sends comfort noise by, where it does: not
/// the static one.
pub const NOISE: u8 = 98;

/// What an end says.
#[derive(Debug, Clone)]
pub enum Sound {
    /// A tone of so many hertz, without end.
    Tone(u32),
    /// Samples at the codec's own rate, once.
    Once(Vec<i16>),
}

/// All ends of a test.
pub struct Talkers {
    ends: Arc<Mutex<Vec<Arc<Mutex<End>>>>>,
    over: Arc<AtomicBool>,
    /// By how much packets were sent too late at most, in µs.
    late: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// One end.
pub struct Talker {
    end: Arc<Mutex<End>>,
    address: SocketAddr,
    rtcp: UdpSocket,
}

struct End {
    socket: UdpSocket,
    codec: AudioCodec,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    target: Option<SocketAddr>,
    payloads: Vec<Vec<u8>>,
    next: usize,
    repeats: bool,
    /// Packets of the own stream that are not sent.
    lost: Vec<usize>,
    heard: Vec<RtpPacket>,
}

impl Talkers {
    pub fn new() -> Self {
        let ends: Arc<Mutex<Vec<Arc<Mutex<End>>>>> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let late = Arc::new(AtomicU64::new(0));
        let (all, stop, told) = (Arc::clone(&ends), Arc::clone(&over), Arc::clone(&late));
        let thread = std::thread::spawn(move || {
            let mut due = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let behind = Instant::now().saturating_duration_since(due);
                told.fetch_max(behind.as_micros() as u64, Ordering::Relaxed);
                let ends: Vec<_> = all.lock().expect("the ends").clone();
                for end in ends {
                    let mut end = end.lock().expect("an end");
                    end.speak();
                    end.hear();
                }
                // The pace of the streams, kept though a sleep is always long.
                due += PACE;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        Self {
            ends,
            over,
            late,
            thread: Some(thread),
        }
    }

    /// By how much packets were sent too late at most since this was asked
    /// last: this machine's doing, which nobody at the far end can help.
    pub fn take_lateness(&self) -> Duration {
        Duration::from_micros(self.late.swap(0, Ordering::Relaxed))
    }

    /// One more end, which is quiet at first.
    pub fn open(&self, ports: &mut Ports, ip: IpAddr, codec: AudioCodec, sound: &Sound) -> Talker {
        let port = ports.pair();
        let socket = UdpSocket::bind((ip, port)).expect("an RTP port");
        socket.set_nonblocking(true).expect("a non-blocking socket");
        let rtcp = UdpSocket::bind((ip, port + 1)).expect("an RTCP port");
        rtcp.set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout");
        let address = socket.local_addr().expect("the RTP address");
        let mut end = End {
            socket,
            codec,
            ssrc: 0x5200_0000 | u32::from(port),
            sequence: 65_500,
            timestamp: 77_000,
            target: None,
            payloads: Vec::new(),
            next: 0,
            repeats: false,
            lost: Vec::new(),
            heard: Vec::new(),
        };
        end.say(codec, sound);
        let end = Arc::new(Mutex::new(end));
        self.ends.lock().expect("the ends").push(Arc::clone(&end));
        Talker { end, address, rtcp }
    }
}

impl Drop for Talkers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl End {
    fn say(&mut self, codec: AudioCodec, sound: &Sound) {
        let rate = codec.native_rate();
        let hertz = f64::from(rate.hertz());
        let samples: Vec<i16> = match sound {
            Sound::Tone(tone) => (0..rate.hertz())
                .map(|n| {
                    let turn = f64::from(n) * f64::from(*tone) / hertz;
                    ((turn * std::f64::consts::TAU).sin() * AMPLITUDE) as i16
                })
                .collect(),
            Sound::Once(samples) => samples.clone(),
        };
        self.repeats = matches!(sound, Sound::Tone(_));
        let mut encoder = Encoder::new(codec, rate).expect("an encoder");
        self.payloads = samples
            .chunks_exact(rate.frame_samples())
            .map(|frame| {
                let mut out = [0; 1276];
                let length = encoder.encode(frame, &mut out).expect("a payload");
                out[..length].to_vec()
            })
            .collect();
        self.codec = codec;
        self.next = 0;
    }

    /// RFC 3550 section 5.1, no padding, extension or contributing sources.
    fn speak(&mut self) {
        let units = self.codec.clock_rate() / 50;
        self.timestamp = self.timestamp.wrapping_add(units);
        let Some(target) = self.target else {
            return;
        };
        let at = match self.repeats {
            true => self.next % self.payloads.len(),
            false => self.next,
        };
        let Some(payload) = self.payloads.get(at) else {
            return;
        };
        let payload = payload.clone();
        let bytes = self.packet(payload_type(self.codec), &payload);
        if !self.lost.contains(&self.next) {
            // Errors are ICMP answers to earlier packets: the call may be over.
            let _ = self.socket.send_to(&bytes, target);
        }
        self.next += 1;
    }

    /// The next packet of its stream.
    fn packet(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x80, payload_type];
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.timestamp.to_be_bytes());
        bytes.extend_from_slice(&self.ssrc.to_be_bytes());
        bytes.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        bytes
    }

    /// Says once what its background sounds like, and nothing more (RFC 3389).
    fn pause(&mut self, noise: &[u8]) {
        let Some(target) = self.target.take() else {
            return;
        };
        // The next moment of its clock, which goes on in the pause.
        self.timestamp = self.timestamp.wrapping_add(self.codec.clock_rate() / 50);
        let bytes = self.packet(NOISE, noise);
        let _ = self.socket.send_to(&bytes, target);
    }

    fn hear(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok((length, source)) = self.socket.recv_from(&mut buffer) {
            let bytes = &buffer[..length];
            if length < 12 || bytes[0] & 0xc0 != 0x80 {
                continue;
            }
            let word = |at: usize| {
                u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
            };
            self.heard.push(RtpPacket {
                payload_type: bytes[1] & 0x7f,
                sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
                timestamp: word(4),
                ssrc: word(8),
                payload: bytes[12..].to_vec(),
                source,
            });
        }
    }
}

impl Talker {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it offers and answers: its codec and no other, and keys, so that
    /// the gateway need not look for them in its sound.
    pub fn description(&self) -> String {
        self.description_with("")
    }

    /// The same with further lines.
    pub fn description_with(&self, lines: &str) -> String {
        self.description_of(&KEYS.to_string(), lines)
    }

    /// The same with comfort noise.
    pub fn description_with_noise(&self) -> String {
        let lines = format!("a=rtpmap:{NOISE} CN/8000\r\n");
        self.description_of(&format!("{NOISE} {KEYS}"), &lines)
    }

    fn description_of(&self, further: &str, lines: &str) -> String {
        let codec = self.end.lock().expect("an end").codec;
        let number = payload_type(codec);
        let map = match codec {
            AudioCodec::Pcmu => "PCMU/8000",
            AudioCodec::Pcma => "PCMA/8000",
            // RFC 3551 section 4.5.2: its clock is said to be half of what it is.
            AudioCodec::G722 => "G722/8000",
            AudioCodec::Opus(_) => "opus/48000/2",
        };
        let mut attributes =
            format!("a=rtpmap:{number} {map}\r\na=rtpmap:{KEYS} telephone-event/8000\r\n");
        if let AudioCodec::Opus(OpusParameters {
            in_band_fec: true, ..
        }) = codec
        {
            attributes.push_str(&format!("a=fmtp:{number} useinbandfec=1\r\n"));
        }
        attributes.push_str(lines);
        audio_at(self.address, &format!("{number} {further}"), &attributes)
    }

    /// Talks to this address from now on, a packet every 20 ms.
    pub fn talk_to(&self, target: SocketAddr) {
        self.end.lock().expect("an end").target = Some(target);
    }

    pub fn be_quiet(&self) {
        self.end.lock().expect("an end").target = None;
    }

    /// Pauses until it talks again, with a background of this level in -dBov,
    /// which it says once.
    pub fn pause(&self, level: u8) {
        self.end.lock().expect("an end").pause(&[level]);
    }

    /// Says something else, in another codec perhaps.
    pub fn say(&self, codec: AudioCodec, sound: &Sound) {
        self.end.lock().expect("an end").say(codec, sound);
    }

    /// These packets of what it says, counted from 0, are lost.
    pub fn lose(&self, packets: Vec<usize>) {
        self.end.lock().expect("an end").lost = packets;
    }

    /// Whether all was said that is said once.
    pub fn has_finished(&self) -> bool {
        let end = self.end.lock().expect("an end");
        !end.repeats && end.next >= end.payloads.len()
    }

    /// Everything heard since the last [`Self::forget`].
    pub fn heard(&self) -> Vec<RtpPacket> {
        self.end.lock().expect("an end").heard.clone()
    }

    /// Forgets what was heard.
    pub fn forget(&self) {
        self.end.lock().expect("an end").heard.clear();
    }

    /// The next datagram on the RTCP port.
    #[track_caller]
    pub fn expect_rtcp(&self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let mut next = || {
            let length = self.rtcp.recv(&mut buffer).ok()?;
            Some(buffer[..length].to_vec())
        };
        within(super::PATIENCE, &mut next).unwrap_or_else(|| panic!("no RTCP at {}", self.address))
    }

    /// What these packets sound like, at the codec's own rate.
    pub fn decode(&self, packets: &[RtpPacket]) -> Vec<i16> {
        let codec = self.end.lock().expect("an end").codec;
        let mut decoder = Decoder::new(codec, codec.native_rate()).expect("a decoder");
        let mut samples = Vec::new();
        for packet in packets {
            if packet.payload_type == payload_type(codec) {
                decoder
                    .decode(&packet.payload, &mut samples)
                    .unwrap_or_else(|error| panic!("{error} in {packet:?}"));
            }
        }
        samples
    }

    /// Which of these tones are in the last half second that was heard.
    pub fn tones_of(&self, tones: &[u32]) -> Vec<u32> {
        let heard = self.heard();
        // A decoder that begins in the midst of a stream needs some packets.
        let recent = &heard[heard.len().saturating_sub(2 * RECENT)..];
        if recent.len() < 2 * RECENT {
            return Vec::new();
        }
        let samples = self.decode(recent);
        let samples = &samples[samples.len() / 2..];
        let codec = self.end.lock().expect("an end").codec;
        tones_in(samples, codec.native_rate().hertz(), tones)
    }

    /// Waits until of `all` exactly `wanted` are heard.
    #[track_caller]
    pub fn wait_for_tones(&self, wanted: &[u32], all: &[u32]) {
        let mut last = Vec::new();
        let heard = within(super::PATIENCE, || {
            last = self.tones_of(all);
            (last == wanted).then_some(())
        });
        assert!(
            heard.is_some(),
            "{} is to hear {wanted:?} of {all:?}, and hears {last:?} in the last of {} packets",
            self.address,
            self.heard().len()
        );
    }

    /// Waits until so many packets were heard.
    #[track_caller]
    pub fn wait_for_packets(&self, count: usize) {
        eventually("packets are heard", || {
            (self.heard().len() >= count).then_some(())
        });
    }
}

/// The number that an end takes and sends its codec by.
pub fn payload_type(codec: AudioCodec) -> u8 {
    match codec {
        AudioCodec::Pcmu => 0,
        AudioCodec::Pcma => 8,
        AudioCodec::G722 => 9,
        AudioCodec::Opus(_) => 107,
    }
}

/// Which of these tones are in the samples.
pub fn tones_in(samples: &[i16], rate: u32, tones: &[u32]) -> Vec<u32> {
    let audible = |tone: &&u32| amplitude(samples, f64::from(**tone), rate.into()) > AUDIBLE;
    tones.iter().filter(audible).copied().collect()
}

/// How strong a tone is in the samples.
fn amplitude(samples: &[i16], tone: f64, rate: f64) -> f64 {
    let (mut re, mut im, mut weights) = (0.0, 0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let phase = std::f64::consts::TAU * tone * n as f64 / rate;
        // Hann, so that a tone beside is not heard in this one.
        let turn = n as f64 / samples.len() as f64;
        let weight = 0.5 - 0.5 * (turn * std::f64::consts::TAU).cos();
        re += f64::from(*sample) * phase.cos() * weight;
        im += f64::from(*sample) * phase.sin() * weight;
        weights += weight;
    }
    2.0 * f64::hypot(re, im) / f64::max(weights, 1.0)
}

/// Panics unless the packets are one stream: one SSRC, each number the one
/// after the last, and a clock that neither stands nor jumps by more than half
/// a second.
#[track_caller]
pub fn assert_one_stream(packets: &[RtpPacket], clock_rate: u32) {
    for pair in packets.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let told = |packet: &RtpPacket| (packet.ssrc, packet.sequence, packet.timestamp);
        let step = after.timestamp.wrapping_sub(before.timestamp);
        assert!(
            after.ssrc == before.ssrc
                && after.sequence == before.sequence.wrapping_add(1)
                && (1..=clock_rate / 2).contains(&step),
            "{:x?} after {:x?}",
            told(after),
            told(before)
        );
    }
}
