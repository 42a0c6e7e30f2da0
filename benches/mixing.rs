//! What 20 ms of a room cost whose sound is made here, by size and codecs,
//! beside the bare codecs in the same run; the longest single step, which is
//! what a packet of another room waits at most; and what a peer takes of
//! memory.
//!
//! `cargo bench --bench mixing -- [rounds]`
//!
//! Everybody talks all the time, which no real room does. Six are heard; the
//! others hear the same and share an encoder. Figures are µs of this thread's
//! CPU time per tick in the best round, since whatever else the machine does
//! only adds. "Bare" are the decoders and encoders that the room has at work,
//! called directly on the same payloads at the room's rate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::f64::consts::PI;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringwire::ids::{LegId, PlayId};
use ringwire::sound::codec::{AudioCodec, Decoder, Encoder, OpusParameters};
use ringwire::sound::conference::{
    Conference, ConferenceSettings, Description, Outlet, Payload, Recorded,
};
use ringwire::sound::dtmf::DtmfEvent;
use ringwire::sound::format::SampleRate;
use ringwire::sound::level::Alarm;
use ringwire::sound::receiver::{Content, Incoming, ReceiverSettings};

/// Frames of sound that repeat: two seconds.
const FRAMES: usize = 100;
/// Ticks of one round.
const TICKS: usize = 100;
const TICK: Duration = Duration::from_millis(20);
/// How many are heard at once: what a gateway does unless told otherwise.
const LOUDEST: usize = 6;
const SIZES: [usize; 5] = [2, 3, 8, 50, 200];

const OPUS: AudioCodec = AudioCodec::Opus(OpusParameters {
    in_band_fec: false,
    dtx: false,
    max_average_bitrate: None,
    max_playback_rate: None,
    constant_bitrate: false,
});

/// Counts allocations.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Takes what comes out, as the leg table would.
#[derive(Default)]
struct Sink {
    payloads: usize,
}

impl Outlet for Sink {
    fn payload(&mut self, _: LegId, payload: Payload<'_>) {
        self.payloads += 1;
        black_box(payload.payload);
    }

    fn recorded(&mut self, _: Recorded<'_>) {}

    fn finished(&mut self, _: PlayId) {}

    fn key(&mut self, _: LegId, _: DtmfEvent) {}

    fn dead_air(&mut self, _: LegId, _: Alarm<()>) {}
}

/// A room in which everybody talks.
struct Room {
    conference: Conference,
    codecs: Vec<AudioCodec>,
    /// Payloads of each peer, which repeat.
    sent: Vec<Vec<Vec<u8>>>,
    now: Instant,
    packets: u32,
    sink: Sink,
    /// The longest step of each tick, in µs.
    longest: Vec<f64>,
}

impl Room {
    fn new(codecs: &[AudioCodec], sent: Vec<Vec<Vec<u8>>>) -> Room {
        let now = Instant::now();
        let settings = ConferenceSettings {
            loudest: LOUDEST,
            receiver: ReceiverSettings::default(),
            dead_air: Some(Duration::from_secs(10)),
        };
        let mut conference = Conference::new(now, settings);
        for (index, codec) in codecs.iter().enumerate() {
            conference.add(leg(index));
            let description = Description {
                codec: *codec,
                payload_type: 96,
                takes: true,
                events: None,
            };
            conference.describe(leg(index), description);
            conference.serve(leg(index), true);
        }
        Room {
            conference,
            codecs: codecs.to_vec(),
            sent,
            now,
            packets: 0,
            sink: Sink::default(),
            longest: Vec::new(),
        }
    }

    /// Hands everybody's next packet in; that is the packets' time, not the
    /// tick's.
    fn packets(&mut self) {
        for (index, codec) in self.codecs.iter().enumerate() {
            let incoming = Incoming {
                arrival: self.now,
                ssrc: 1,
                sequence: self.packets as u16,
                timestamp: self.packets.wrapping_mul(codec.clock_rate() / 50),
                marker: false,
                content: Content::Sound(*codec),
                payload: &self.sent[index][self.packets as usize % FRAMES],
            };
            self.conference.push(leg(index), incoming);
        }
        self.packets += 1;
        self.now += TICK;
    }

    /// Seconds of CPU of so many ticks, packets and all.
    fn ticks(&mut self, ticks: usize) -> f64 {
        let start = cpu_seconds();
        for _ in 0..ticks {
            self.packets();
            while self.conference.work(self.now, &mut self.sink) {}
        }
        cpu_seconds() - start
    }

    /// One tick, each step by the clock.
    fn steps(&mut self) {
        self.packets();
        let mut longest: f64 = 0.0;
        loop {
            let start = cpu_seconds();
            let more = self.conference.work(self.now, &mut self.sink);
            longest = longest.max((cpu_seconds() - start) * 1e6);
            if !more {
                break;
            }
        }
        self.longest.push(longest);
    }
}

/// The codecs of a room, without the room.
struct Bare {
    decoders: Vec<Decoder>,
    encoders: Vec<Encoder>,
    sent: Vec<Vec<Vec<u8>>>,
    sound: Vec<i16>,
    rate: SampleRate,
    out: Vec<i16>,
}

impl Bare {
    fn new(codecs: &[AudioCodec], sent: Vec<Vec<Vec<u8>>>) -> Bare {
        let rate = rate(codecs);
        let mut shared: Vec<AudioCodec> = Vec::new();
        // The first are the loudest, and each hears a sum without himself.
        for codec in codecs.iter().skip(LOUDEST) {
            if !shared.contains(codec) {
                shared.push(*codec);
            }
        }
        let own = codecs.iter().take(LOUDEST).copied();
        Bare {
            decoders: codecs
                .iter()
                .map(|codec| Decoder::new(*codec, rate).expect("a decoder"))
                .collect(),
            encoders: own
                .chain(shared)
                .map(|codec| Encoder::new(codec, rate).expect("an encoder"))
                .collect(),
            sent,
            sound: voice(rate, 0),
            rate,
            out: Vec::new(),
        }
    }

    fn ticks(&mut self, ticks: usize) -> f64 {
        let samples = self.rate.frame_samples();
        let mut payload = [0; 1276];
        let start = cpu_seconds();
        for tick in 0..ticks {
            for (decoder, sent) in self.decoders.iter_mut().zip(&self.sent) {
                self.out.clear();
                let decoded = decoder.decode(&sent[tick % FRAMES], &mut self.out);
                black_box(decoded.is_ok());
            }
            let from = tick % FRAMES * samples;
            for encoder in &mut self.encoders {
                let frame = &self.sound[from..from + samples];
                black_box(encoder.encode(frame, &mut payload).is_ok());
            }
        }
        cpu_seconds() - start
    }
}

fn main() {
    let rounds: usize = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(5);
    let kinds: [(&str, &[AudioCodec]); 4] = [
        ("PCMU", &[AudioCodec::Pcmu]),
        ("G.722", &[AudioCodec::G722]),
        ("Opus", &[OPUS]),
        (
            "PCMU, G.722, Opus",
            &[AudioCodec::Pcmu, AudioCodec::G722, OPUS],
        ),
    ];
    println!(
        "{rounds} rounds of {TICKS} ticks of 20 ms; µs of CPU per tick in the best round\n\n\
         | peers | codecs | µs | bare codecs | ratio | rooms a core | longest step, µs | kB a peer | allocations a tick |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    for (name, mixture) in kinds {
        for peers in SIZES {
            let codecs: Vec<AudioCodec> = mixture.iter().copied().cycle().take(peers).collect();
            measure(name, &codecs, rounds);
        }
    }
}

fn measure(name: &str, codecs: &[AudioCodec], rounds: usize) {
    // Two hear each other at the rate that both have.
    let sent: Vec<Vec<Vec<u8>>> = codecs
        .iter()
        .enumerate()
        .map(|(index, codec)| payloads(*codec, index))
        .collect();
    let mut bare = Bare::new(codecs, sent.clone());
    let before = bytes_in_use();
    let mut room = Room::new(codecs, sent);
    // Sound flows, buffers have found their length.
    room.ticks(2 * TICKS);
    // What the payloads to be sent take was there before.
    let memory = bytes_in_use() - before;
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    room.ticks(TICKS);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
    bare.ticks(TICKS);
    let (mut mixed, mut alone) = (f64::MAX, f64::MAX);
    for _ in 0..rounds {
        mixed = mixed.min(room.ticks(TICKS) * 1e6 / TICKS as f64);
        alone = alone.min(bare.ticks(TICKS) * 1e6 / TICKS as f64);
    }
    for _ in 0..TICKS {
        room.steps();
    }
    room.longest.sort_unstable_by(f64::total_cmp);
    let longest = room.longest[room.longest.len() / 2];
    assert!(room.sink.payloads >= codecs.len() * TICKS, "a silent room");
    println!(
        "| {} | {name} | {mixed:.0} | {alone:.0} | {:.2} | {:.0} | {longest:.0} | {:.0} | {:.1} |",
        codecs.len(),
        mixed / alone,
        (20_000.0 / mixed).floor(),
        memory as f64 / codecs.len() as f64 / 1000.0,
        allocations as f64 / TICKS as f64,
    );
}

/// The rate of a room: the second best of its peers', as one who talks needs
/// another who can hear it.
fn rate(codecs: &[AudioCodec]) -> SampleRate {
    let mut rates: Vec<SampleRate> = codecs.iter().map(|codec| codec.native_rate()).collect();
    rates.sort_unstable();
    rates[rates.len() - 2]
}

/// What a peer sends; the first are the loudest.
fn payloads(codec: AudioCodec, peer: usize) -> Vec<Vec<u8>> {
    let rate = codec.native_rate();
    let mut encoder = Encoder::new(codec, rate).expect("an encoder");
    voice(rate, peer)
        .chunks_exact(rate.frame_samples())
        .map(|frame| {
            let mut out = [0; 1276];
            let length = encoder.encode(frame, &mut out).expect("a payload");
            out[..length].to_vec()
        })
        .collect()
}

/// Like a voice: harmonics of a changing pitch under a syllable's rise and
/// fall, and a little noise.
fn voice(rate: SampleRate, peer: usize) -> Vec<i16> {
    let hertz = f64::from(rate.hertz());
    let loud = if peer < LOUDEST { 2000.0 } else { 600.0 };
    let pitch = 110.0 + 7.0 * (peer % 20) as f64;
    let (mut phase, mut noise) = (0.0, 1_u32);
    (0..FRAMES * rate.frame_samples())
        .map(|i| {
            let time = i as f64 / hertz;
            phase += (pitch + 30.0 * (2.0 * PI * 0.7 * time).sin()) / hertz;
            let harmonics: f64 = (1..25)
                .map(|n| (2.0 * PI * f64::from(n) * phase).sin() / f64::from(n))
                .sum();
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            let syllable = 0.75 + 0.25 * (2.0 * PI * 3.0 * time).sin();
            (harmonics * syllable * loud) as i16 + (noise >> 26) as i16
        })
        .collect()
}

fn leg(index: usize) -> LegId {
    LegId {
        index: index as u32,
        generation: 0,
    }
}

/// What the heap holds, that of libopus too.
fn bytes_in_use() -> usize {
    // SAFETY: the call takes nothing and gives a struct of numbers.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

/// CPU time of this thread, so that other work on the machine counts little.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for the call, which writes nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
