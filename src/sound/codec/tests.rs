use std::f64::consts::PI;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

const RATES: [SampleRate; 3] = [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full];

fn opus_with(change: impl FnOnce(&mut OpusParameters)) -> AudioCodec {
    let mut wanted = OpusParameters::default();
    change(&mut wanted);
    AudioCodec::Opus(wanted)
}

fn codecs() -> [AudioCodec; 4] {
    [
        AudioCodec::Pcmu,
        AudioCodec::Pcma,
        AudioCodec::G722,
        opus_with(|_| {}),
    ]
}

/// 400 ms of a tone, in Hz.
fn tone(rate: SampleRate, frequency: f64) -> Vec<i16> {
    (0..rate.hertz() * 2 / 5)
        .map(|i| {
            let angle = 2.0 * PI * frequency * f64::from(i) / f64::from(rate.hertz());
            (8000.0 * angle.sin()) as i16
        })
        .collect()
}

/// Like a voice: a glottal pulse of changing pitch through three resonances.
fn voice(rate: SampleRate, frames: usize) -> Vec<i16> {
    let hertz = f64::from(rate.hertz());
    let mut phase = 0.0;
    let mut states = [[0.0; 2]; 3];
    let sound: Vec<f64> = (0..frames * rate.frame_samples())
        .map(|i| {
            let time = i as f64 / hertz;
            phase += (120.0 + 25.0 * (2.0 * PI * 0.8 * time).sin()) / hertz;
            let mut sample = if phase >= 1.0 {
                phase -= 1.0;
                1.0
            } else {
                0.0
            };
            let shift = 1.0 + 0.2 * (2.0 * PI * 1.3 * time).sin();
            for (state, (formant, width)) in
                states
                    .iter_mut()
                    .zip([(600.0, 80.0), (1300.0, 100.0), (2500.0, 150.0)])
            {
                let radius = (-PI * width / hertz).exp();
                let turn = 2.0 * radius * (2.0 * PI * formant * shift / hertz).cos();
                let output = sample + turn * state[0] - radius * radius * state[1];
                *state = [output, state[0]];
                sample = output * (1.0 - radius);
            }
            // Syllables.
            sample * (0.55 + 0.45 * (2.0 * PI * 3.0 * time).sin())
        })
        .collect();
    let peak = sound
        .iter()
        .fold(0.0f64, |peak, sample| peak.max(sample.abs()));
    sound
        .iter()
        .map(|sample| (sample * 12_000.0 / peak) as i16)
        .collect()
}

fn payloads(codec: AudioCodec, rate: SampleRate, sound: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec, rate).unwrap();
    sound
        .chunks_exact(rate.frame_samples())
        .map(|frame| {
            let mut out = [0; 1276];
            let length = encoder.encode(frame, &mut out).unwrap();
            out[..length].to_vec()
        })
        .collect()
}

/// Signal to noise of a tone in dB: the tone's own part, found by correlation
/// whatever its delay, against all the rest.
fn tone_to_rest(rate: SampleRate, frequency: f64, sound: &[i16]) -> f64 {
    let (mut sine, mut cosine, mut energy) = (0.0, 0.0, 0.0);
    for (i, &sample) in sound.iter().enumerate() {
        let angle = 2.0 * PI * frequency * i as f64 / f64::from(rate.hertz());
        let sample = f64::from(sample);
        sine += sample * angle.sin();
        cosine += sample * angle.cos();
        energy += sample * sample;
    }
    let tone = 2.0 * (sine * sine + cosine * cosine) / sound.len() as f64;
    10.0 * (tone / (energy - tone).max(1e-9)).log10()
}

#[test]
fn a_tone_survives_every_codec_at_every_rate() {
    for codec in codecs() {
        for rate in RATES {
            let mut decoder = Decoder::new(codec, rate).unwrap();
            let mut heard = Vec::new();
            for payload in payloads(codec, rate, &tone(rate, 1000.0)) {
                let count = decoder.decode(&payload, &mut heard).unwrap();
                assert_eq!(count, rate.frame_samples(), "{codec:?} at {rate:?}");
            }
            // The last 200 ms: whole periods, and settled.
            let settled = &heard[heard.len() / 2..];
            let ratio = tone_to_rest(rate, 1000.0, settled);
            println!("{codec:?} {rate:?} {ratio:.1} dB");
            let bound = match codec {
                AudioCodec::Pcmu | AudioCodec::Pcma => 36.0,
                AudioCodec::G722 => 45.0,
                AudioCodec::Opus(_) => 20.0,
            };
            assert!(ratio > bound, "{codec:?} at {rate:?}: {ratio:.1} dB");
        }
    }
}

#[test]
fn what_is_encoded_at_one_rate_is_decoded_at_every_other() {
    for codec in codecs() {
        for from in RATES {
            let sent = payloads(codec, from, &tone(from, 1000.0));
            for to in RATES {
                let mut decoder = Decoder::new(codec, to).unwrap();
                let mut heard = Vec::new();
                for payload in &sent {
                    decoder.decode(payload, &mut heard).unwrap();
                }
                assert_eq!(heard.len(), to.hertz() as usize * 2 / 5);
                let ratio = tone_to_rest(to, 1000.0, &heard[heard.len() / 2..]);
                println!("{codec:?} {from:?} {to:?} {ratio:.1} dB");
                assert!(ratio > 20.0, "{codec:?} {from:?} to {to:?}: {ratio:.1} dB");
            }
        }
    }
}

#[test]
fn arbitrary_payloads_never_panic() {
    let mut random = SmallRng::seed_from_u64(11);
    for codec in codecs() {
        for rate in RATES {
            let good = payloads(codec, rate, &voice(rate, 20));
            let mut decoder = Decoder::new(codec, rate).unwrap();
            let mut out = Vec::new();
            for round in 0..300 {
                let payload: Vec<u8> = if round % 2 == 0 {
                    let length = random.random_range(0..300);
                    (0..length).map(|_| random.random()).collect()
                } else {
                    let mut payload = good[round % good.len()].clone();
                    for _ in 0..random.random_range(1..5) {
                        let at = random.random_range(0..payload.len());
                        payload[at] = random.random();
                    }
                    payload.truncate(random.random_range(0..=payload.len()));
                    payload
                };
                out.clear();
                let duration = decoder.duration(&payload);
                if round % 7 == 0 {
                    decoder.conceal(random.random_range(0..3000), &mut out);
                    let samples = random.random_range(0..3000);
                    let before = out.len();
                    if let Ok(count) = decoder.decode_fec(&payload, samples, &mut out) {
                        assert!(count == 0 || count == samples);
                        assert_eq!(out.len(), before + count);
                    }
                }
                let before = out.len();
                match decoder.decode(&payload, &mut out) {
                    Ok(count) => {
                        assert_eq!(out.len(), before + count);
                        let ticks = count as u32 * codec.clock_rate() / rate.hertz();
                        assert_eq!(Some(ticks), duration, "{codec:?} {rate:?}");
                    }
                    Err(error) => {
                        assert_eq!(out.len(), before);
                        assert_eq!(error, CodecError::InvalidPayload, "{codec:?} {rate:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn concealment_gives_exactly_what_was_asked_for() {
    for codec in codecs() {
        for rate in RATES {
            let mut decoder = Decoder::new(codec, rate).unwrap();
            let mut out = Vec::new();
            for payload in payloads(codec, rate, &voice(rate, 5)) {
                decoder.decode(&payload, &mut out).unwrap();
            }
            for samples in [0, 1, 7, 160, 480, 960, 961, 5760] {
                out.clear();
                decoder.conceal(samples, &mut out);
                assert_eq!(out.len(), samples, "{codec:?} at {rate:?}");
            }
        }
    }
}

#[test]
fn a_frame_that_is_not_20_ms_is_refused() {
    for codec in codecs() {
        let mut encoder = Encoder::new(codec, SampleRate::Narrow).unwrap();
        let mut out = [0; 400];
        for length in [0, 159, 161] {
            let refused = encoder.encode(&vec![0; length], &mut out);
            assert_eq!(refused, Err(CodecError::InvalidFrame), "{codec:?}");
        }
    }
}

#[test]
fn a_buffer_without_room_is_refused() {
    for codec in [AudioCodec::Pcmu, AudioCodec::Pcma, AudioCodec::G722] {
        let mut encoder = Encoder::new(codec, SampleRate::Wide).unwrap();
        let refused = encoder.encode(&[0; 320], &mut [0; 159]);
        assert_eq!(refused, Err(CodecError::BufferTooSmall), "{codec:?}");
    }
    let mut encoder = Encoder::new(opus_with(|_| {}), SampleRate::Wide).unwrap();
    assert!(encoder.encode(&[0; 320], &mut []).is_err());
}

#[test]
fn silence_under_dtx_is_hardly_ever_sent_and_speech_mostly() {
    let rate = SampleRate::Full;
    let mut random = SmallRng::seed_from_u64(3);
    // A quiet room rather than zeros.
    let room: Vec<i16> = (0..150 * rate.frame_samples())
        .map(|_| random.random_range(-3..=3))
        .collect();
    let sent = |codec, sound: &[i16]| {
        payloads(codec, rate, sound)
            .iter()
            .filter(|payload| !payload.is_empty())
            .count()
    };
    let wants_it = opus_with(|wanted| wanted.dtx = true);
    let quiet = sent(wants_it, &room);
    println!("{quiet} of 150 quiet frames sent");
    assert!(quiet < 45, "{quiet} of 150 quiet frames were sent");
    assert_eq!(sent(opus_with(|_| {}), &room), 150);
    let spoken = sent(wants_it, &voice(rate, 100));
    println!("{spoken} of 100 spoken frames sent");
    assert!(spoken > 90, "{spoken} of 100 spoken frames were sent");
}

/// Distance of two sounds in dB: between their energies in 16 bands, each
/// band's by a bank of correlations; what an ear hears, unlike the waveform.
fn spectral_distance(rate: SampleRate, a: &[i16], b: &[i16]) -> f64 {
    let band = |sound: &[i16], frequency: f64| {
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (i, &sample) in sound.iter().enumerate() {
            let angle = 2.0 * PI * frequency * i as f64 / f64::from(rate.hertz());
            sine += f64::from(sample) * angle.sin();
            cosine += f64::from(sample) * angle.cos();
        }
        10.0 * ((sine * sine + cosine * cosine) / sound.len() as f64 + 1000.0).log10()
    };
    let bands = (1..=32).map(|n| f64::from(n) * 100.0);
    let squares: f64 = bands
        .map(|frequency| (band(a, frequency) - band(b, frequency)).powi(2))
        .sum();
    (squares / 32.0).sqrt()
}

/// Mean distance of the lost frames' replacements from what would have been
/// heard, one frame in ten lost.
fn loss_distance(
    codec: AudioCodec,
    rate: SampleRate,
    replace: impl Fn(&mut Decoder, &[u8], usize, &mut Vec<i16>),
) -> f64 {
    let length = rate.frame_samples();
    let sound = voice(rate, 80);
    let mut encoder = Encoder::new(codec, rate).unwrap();
    encoder.set_expected_loss(20);
    let sent: Vec<Vec<u8>> = sound
        .chunks_exact(length)
        .map(|frame| {
            let mut out = [0; 1276];
            let count = encoder.encode(frame, &mut out).unwrap();
            out[..count].to_vec()
        })
        .collect();
    let mut whole = Decoder::new(codec, rate).unwrap();
    let mut lossy = Decoder::new(codec, rate).unwrap();
    let (mut distance, mut losses) = (0.0, 0);
    for (i, payload) in sent.iter().enumerate() {
        let (mut expected, mut heard) = (Vec::new(), Vec::new());
        whole.decode(payload, &mut expected).unwrap();
        if i % 10 == 9 && i + 1 < sent.len() {
            replace(&mut lossy, &sent[i + 1], length, &mut heard);
            assert_eq!(heard.len(), length);
            distance += spectral_distance(rate, &expected, &heard);
            losses += 1;
        } else {
            lossy.decode(payload, &mut heard).unwrap();
        }
    }
    distance / f64::from(losses)
}

#[test]
fn in_band_fec_is_nearer_to_what_was_lost_than_concealment() {
    let codec = opus_with(|wanted| wanted.in_band_fec = true);
    for rate in RATES {
        let fec = loss_distance(codec, rate, |decoder, next, samples, out| {
            // Frames that libopus takes for noise come without.
            if decoder.decode_fec(next, samples, out) == Ok(0) {
                decoder.conceal(samples, out);
            }
        });
        let concealed = loss_distance(codec, rate, |decoder, _, samples, out| {
            decoder.conceal(samples, out);
        });
        println!("{rate:?}: FEC {fec:.1} dB, concealment {concealed:.1} dB");
        assert!(
            fec < concealed,
            "{rate:?}: FEC {fec:.1} dB, concealment {concealed:.1} dB off"
        );
    }
}

#[test]
fn concealment_is_nearer_to_what_was_lost_than_silence() {
    for codec in codecs() {
        for rate in RATES {
            let concealed = loss_distance(codec, rate, |decoder, _, samples, out| {
                decoder.conceal(samples, out);
            });
            let silence = loss_distance(codec, rate, |_, _, samples, out| {
                out.resize(out.len() + samples, 0);
            });
            println!("{codec:?} {rate:?}: {concealed:.1} dB, silence {silence:.1} dB");
            assert!(concealed < silence / 2.0, "{codec:?} {rate:?}");
        }
    }
}

#[test]
fn a_packet_without_fec_gives_none_of_the_one_before() {
    for codec in codecs() {
        let sent = payloads(codec, SampleRate::Wide, &voice(SampleRate::Wide, 10));
        let mut decoder = Decoder::new(codec, SampleRate::Wide).unwrap();
        let mut out = Vec::new();
        assert_eq!(decoder.decode_fec(&sent[9], 320, &mut out), Ok(0));
        assert_eq!(decoder.decode_fec(&[], 320, &mut out), Ok(0));
        assert!(out.is_empty());
    }
}

#[test]
fn packets_of_every_opus_duration_are_measured_and_decoded() {
    // RFC 6716 section 3.1: one frame of each length, and 120 ms of six.
    for (toc, ticks) in [
        (0x80, 120),
        (0x88, 240),
        (0x90, 480),
        (0x98, 960),
        (0x10, 1920),
        (0x18, 2880),
    ] {
        let decoder = Decoder::new(opus_with(|_| {}), SampleRate::Full).unwrap();
        assert_eq!(decoder.duration(&[toc, 0, 0]), Some(ticks));
    }
    let six_of_20_ms = [0x9b, 6, 0, 0, 0, 0, 0, 0];
    for rate in RATES {
        let mut decoder = Decoder::new(opus_with(|_| {}), rate).unwrap();
        assert_eq!(decoder.duration(&six_of_20_ms), Some(5760));
        let mut out = Vec::new();
        let expected = 6 * rate.frame_samples();
        assert_eq!(decoder.decode(&six_of_20_ms, &mut out), Ok(expected));
        // Seven would be 140 ms, which is none (R5).
        assert_eq!(decoder.duration(&[0x9b, 7, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}

#[test]
fn a_stereo_packet_becomes_mono() {
    let rate = SampleRate::Full;
    let sound = tone(rate, 1000.0);
    let mut library = ::opus::Encoder::new(
        rate.hertz(),
        ::opus::Channels::Stereo,
        ::opus::Application::Audio,
    )
    .unwrap();
    library.set_bitrate(::opus::Bitrate::Bits(64_000)).unwrap();
    library
        .set_force_channels(Some(::opus::Channels::Stereo))
        .unwrap();
    let mut decoder = Decoder::new(opus_with(|_| {}), rate).unwrap();
    let mut heard = Vec::new();
    for frame in sound.chunks_exact(rate.frame_samples()) {
        let both: Vec<i16> = frame
            .iter()
            .flat_map(|&sample| [sample, sample / 2])
            .collect();
        let mut payload = [0; 1276];
        let length = library.encode(&both, &mut payload).unwrap();
        // RFC 6716 section 3.1: the s bit.
        assert_eq!(payload[0] & 4, 4);
        assert_eq!(decoder.duration(&payload[..length]), Some(960));
        decoder.decode(&payload[..length], &mut heard).unwrap();
    }
    assert_eq!(heard.len(), sound.len());
    let settled = &heard[heard.len() / 2..];
    let ratio = tone_to_rest(rate, 1000.0, settled);
    assert!(ratio > 20.0, "{ratio:.1} dB");
    // The mean of both channels.
    let loudest = f64::from(settled.iter().copied().max().unwrap());
    assert!((loudest - 6000.0).abs() < 300.0, "{loudest}");
}

#[test]
fn opus_is_sent_as_the_far_end_wants_it() {
    let rate = SampleRate::Full;
    let sound = voice(rate, 100);
    let average = |sent: &[Vec<u8>]| {
        let octets: usize = sent[10..].iter().map(Vec::len).sum();
        octets * 8 * 50 / (sent.len() - 10)
    };
    let least = payloads(
        opus_with(|wanted| wanted.max_average_bitrate = Some(10_000)),
        rate,
        &sound,
    );
    println!("maxaveragebitrate 10000: {}", average(&least));
    assert!(average(&least) <= 10_500);

    let constant = payloads(
        opus_with(|wanted| wanted.constant_bitrate = true),
        rate,
        &sound,
    );
    assert!(constant.iter().all(|payload| payload.len() == 80));

    // RFC 6716 table 2: configurations 0 to 3 and 16 to 19 are narrowband.
    let narrow = payloads(
        opus_with(|wanted| wanted.max_playback_rate = Some(8_000)),
        rate,
        &sound,
    );
    assert!(
        narrow
            .iter()
            .all(|payload| matches!(payload[0] >> 3, 0..=3 | 16..=19))
    );

    // The s bit: all of it is mono.
    assert!(narrow.iter().all(|payload| payload[0] & 4 == 0));
}

#[test]
fn expected_loss_of_none_takes_the_fec_away() {
    let rate = SampleRate::Wide;
    let codec = opus_with(|wanted| wanted.in_band_fec = true);
    let sound = voice(rate, 60);
    let mut encoder = Encoder::new(codec, rate).unwrap();
    let mut decoder = Decoder::new(codec, rate).unwrap();
    let mut with_fec = |encoder: &mut Encoder| {
        sound
            .chunks_exact(rate.frame_samples())
            .filter(|frame| {
                let mut payload = [0; 1276];
                let length = encoder.encode(frame, &mut payload).unwrap();
                let mut out = Vec::new();
                decoder.decode_fec(&payload[..length], 320, &mut out) == Ok(320)
            })
            .count()
    };
    let at_first = with_fec(&mut encoder);
    encoder.set_expected_loss(0);
    let without = with_fec(&mut encoder);
    encoder.set_expected_loss(20);
    let again = with_fec(&mut encoder);
    println!("{at_first} {without} {again}");
    assert!(at_first > 30 && without <= 1 && again > 30);
}
