//! What 20 ms of sound cost: every codec in both directions at every rate,
//! every pair of codecs transcoded at the cheaper of their rates, and the
//! resampler, with libopus called directly beside it in the same run.
//!
//! `cargo bench --bench sound_codecs -- [rounds]`
//!
//! All figures are µs of CPU time per frame of 20 ms. Each round measures
//! everything once, over four seconds of sound; the best round counts, since
//! whatever else the machine does only adds. What counts is the line beside
//! the bare library's.

use std::f64::consts::PI;
use std::hint::black_box;

use ringwire::sound::codec::{AudioCodec, Decoder, Encoder, OpusParameters};
use ringwire::sound::format::SampleRate;
use ringwire::sound::resample::Resampler;

/// Frames of each measurement: four seconds.
const FRAMES: usize = 200;

const RATES: [SampleRate; 3] = [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full];

const CODECS: [AudioCodec; 4] = [
    AudioCodec::Pcmu,
    AudioCodec::Pcma,
    AudioCodec::G722,
    AudioCodec::Opus(OpusParameters {
        in_band_fec: false,
        dtx: false,
        max_average_bitrate: None,
        max_playback_rate: None,
        constant_bitrate: false,
    }),
];

/// Opus as browsers want it: with FEC.
const OPUS_FEC: AudioCodec = AudioCodec::Opus(OpusParameters {
    in_band_fec: true,
    dtx: false,
    max_average_bitrate: None,
    max_playback_rate: None,
    constant_bitrate: false,
});

/// One figure: its name, what it does once over, and the best so far.
struct Figure {
    name: String,
    run: Box<dyn FnMut()>,
    best: f64,
}

fn main() {
    let rounds = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(20);
    let mut figures = Vec::new();
    decoders(&mut figures);
    encoders(&mut figures);
    transcoders(&mut figures);
    resamplers(&mut figures);
    for _ in 0..rounds {
        for figure in &mut figures {
            let start = cpu_seconds();
            (figure.run)();
            let micros = (cpu_seconds() - start) * 1e6 / FRAMES as f64;
            figure.best = figure.best.min(micros);
        }
    }
    println!("{rounds} rounds of {FRAMES} frames of 20 ms, µs of CPU per frame in the best round");
    for figure in &figures {
        println!("{:<44}{:>10.2}", figure.name, figure.best);
    }
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

fn figure(figures: &mut Vec<Figure>, name: String, run: impl FnMut() + 'static) {
    figures.push(Figure {
        name,
        run: Box::new(run),
        best: f64::MAX,
    });
}

fn decoders(figures: &mut Vec<Figure>) {
    for codec in CODECS {
        for rate in RATES {
            // What a talker of the codec's own rate sends.
            let sent = payloads(codec, codec.native_rate());
            let mut decoder = Decoder::new(codec, rate).unwrap();
            let mut out = Vec::new();
            let name = format!("decode {} at {}", name(codec), kilohertz(rate));
            let payloads = sent.clone();
            figure(figures, name, move || {
                for payload in &payloads {
                    out.clear();
                    decoder.decode(payload, &mut out).unwrap();
                    black_box(&out);
                }
            });
            if let AudioCodec::Opus(_) = codec {
                let mut bare = opus::Decoder::new(rate.hertz(), opus::Channels::Mono).unwrap();
                let mut out = vec![0; rate.frame_samples()];
                let name = format!("  bare opus_decode at {}", kilohertz(rate));
                figure(figures, name, move || {
                    for payload in &sent {
                        bare.decode(payload, &mut out, false).unwrap();
                        black_box(&out);
                    }
                });
            }
        }
    }
    for codec in CODECS {
        let rate = codec.native_rate();
        let sent = payloads(codec, rate);
        let mut decoder = Decoder::new(codec, rate).unwrap();
        let mut out = Vec::new();
        let name = format!("decode {}, every second frame lost", name(codec));
        figure(figures, name, move || {
            for (i, payload) in sent.iter().enumerate() {
                out.clear();
                if i % 2 == 0 {
                    decoder.decode(payload, &mut out).unwrap();
                } else {
                    decoder.conceal(rate.frame_samples(), &mut out);
                }
                black_box(&out);
            }
        });
    }
}

fn encoders(figures: &mut Vec<Figure>) {
    for codec in CODECS.into_iter().chain([OPUS_FEC]) {
        for rate in RATES {
            let sound = voice(rate);
            let mut encoder = Encoder::new(codec, rate).unwrap();
            let mut out = [0; 1276];
            let name = format!("encode {} at {}", name(codec), kilohertz(rate));
            figure(figures, name, move || {
                for frame in sound.chunks_exact(rate.frame_samples()) {
                    black_box(encoder.encode(frame, &mut out).unwrap());
                }
            });
            if codec == CODECS[3] {
                let sound = voice(rate);
                let mut bare = bare_encoder(rate);
                let name = format!("  bare opus_encode at {}", kilohertz(rate));
                figure(figures, name, move || {
                    for frame in sound.chunks_exact(rate.frame_samples()) {
                        black_box(bare.encode(frame, &mut out).unwrap());
                    }
                });
            }
        }
    }
}

fn transcoders(figures: &mut Vec<Figure>) {
    for from in CODECS {
        for to in CODECS {
            let rate = from.native_rate().min(to.native_rate());
            let sent = payloads(from, from.native_rate());
            let mut decoder = Decoder::new(from, rate).unwrap();
            let mut encoder = Encoder::new(to, rate).unwrap();
            let (mut sound, mut out) = (Vec::new(), [0; 1276]);
            let name = format!(
                "transcode {} to {} at {}",
                name(from),
                name(to),
                kilohertz(rate)
            );
            figure(figures, name, move || {
                for payload in &sent {
                    sound.clear();
                    decoder.decode(payload, &mut sound).unwrap();
                    black_box(encoder.encode(&sound, &mut out).unwrap());
                }
            });
        }
    }
}

fn resamplers(figures: &mut Vec<Figure>) {
    for from in RATES {
        for to in RATES.into_iter().filter(|&to| to != from) {
            let sound = voice(from);
            let mut resampler = Resampler::new(from, to);
            let mut out = Vec::new();
            let name = format!("resample {} to {}", kilohertz(from), kilohertz(to));
            figure(figures, name, move || {
                for frame in sound.chunks_exact(from.frame_samples()) {
                    out.clear();
                    resampler.process(frame, &mut out);
                    black_box(&out);
                }
            });
        }
    }
}

/// libopus with the settings of our encoder.
fn bare_encoder(rate: SampleRate) -> opus::Encoder {
    let mut bare =
        opus::Encoder::new(rate.hertz(), opus::Channels::Mono, opus::Application::Voip).unwrap();
    let bitrate = match rate {
        SampleRate::Narrow => 12_000,
        SampleRate::Wide => 20_000,
        SampleRate::Full => 32_000,
    };
    bare.set_bitrate(opus::Bitrate::Bits(bitrate)).unwrap();
    bare.set_complexity(ringwire::sound::codec::OPUS_COMPLEXITY)
        .unwrap();
    bare
}

fn payloads(codec: AudioCodec, rate: SampleRate) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec, rate).unwrap();
    voice(rate)
        .chunks_exact(rate.frame_samples())
        .map(|frame| {
            let mut out = [0; 1276];
            let length = encoder.encode(frame, &mut out).unwrap();
            out[..length].to_vec()
        })
        .collect()
}

/// Like a voice: harmonics of a changing pitch under a syllable's rise and
/// fall, falling off towards high frequencies, and a little noise.
fn voice(rate: SampleRate) -> Vec<i16> {
    let hertz = f64::from(rate.hertz());
    let mut phase = 0.0;
    let mut noise: u32 = 1;
    (0..FRAMES * rate.frame_samples())
        .map(|i| {
            let time = i as f64 / hertz;
            phase += (130.0 + 30.0 * (2.0 * PI * 0.7 * time).sin()) / hertz;
            let harmonics: f64 = (1..25)
                .map(|n| {
                    let n = f64::from(n);
                    (2.0 * PI * n * phase).sin() / n
                })
                .sum();
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            let syllable = 0.55 + 0.45 * (2.0 * PI * 3.0 * time).sin();
            (harmonics * syllable * 6000.0) as i16 + (noise >> 25) as i16
        })
        .collect()
}

fn name(codec: AudioCodec) -> &'static str {
    match codec {
        AudioCodec::Pcmu => "PCMU",
        AudioCodec::Pcma => "PCMA",
        AudioCodec::G722 => "G.722",
        AudioCodec::Opus(OpusParameters {
            in_band_fec: true, ..
        }) => "Opus with FEC",
        AudioCodec::Opus(_) => "Opus",
    }
}

fn kilohertz(rate: SampleRate) -> String {
    format!("{} kHz", rate.hertz() / 1000)
}
