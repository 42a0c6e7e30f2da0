//! The detector against tones as lines deliver them, and against voices.

use super::tone_detector::ToneDetector;
use super::tones::{HIGH_HZ, LOW_HZ, ToneGenerator, amplitude, row_and_column};
use super::{Digit, DtmfReport, KeyTiming};
use crate::sound::format::SampleRate;

const RATES: [SampleRate; 3] = [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full];

/// splitmix64, so that a failure can be played again.
struct Random(u64);

impl Random {
    /// Evenly from -1 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// A key as it comes over a line.
#[derive(Clone, Copy)]
struct Line {
    /// Off their frequencies, as a part of these.
    low_off: f32,
    high_off: f32,
    low_dbm0: f32,
    high_dbm0: f32,
    /// Noise below the two tones together, in dB.
    noise_db: Option<f32>,
}

const GOOD: Line = Line {
    low_off: 0.0,
    high_off: 0.0,
    low_dbm0: -8.0,
    high_dbm0: -6.0,
    noise_db: None,
};

struct Sound {
    rate: SampleRate,
    samples: Vec<f32>,
}

impl Sound {
    fn new(rate: SampleRate) -> Sound {
        let samples = Vec::new();
        Sound { rate, samples }
    }

    fn samples_of(&self, ms: f32) -> usize {
        (ms * self.rate.hertz() as f32 / 1000.0) as usize
    }

    fn silence(&mut self, ms: f32) -> &mut Self {
        let samples = self.samples_of(ms);
        self.samples.resize(self.samples.len() + samples, 0.0);
        self
    }

    fn key(&mut self, digit: Digit, ms: f32, line: Line) -> &mut Self {
        let (row, column) = row_and_column(digit).expect("a key with tones");
        let hertz = self.rate.hertz() as f32;
        let turn = std::f32::consts::TAU / hertz;
        for at in 0..self.samples_of(ms) {
            let low = (turn * LOW_HZ[row] * (1.0 + line.low_off) * at as f32).sin();
            let high = (turn * HIGH_HZ[column] * (1.0 + line.high_off) * at as f32).sin();
            let sum = amplitude(line.low_dbm0) * low + amplitude(line.high_dbm0) * high;
            self.samples.push(sum);
        }
        self
    }

    /// Adds noise to all of it.
    fn noise(&mut self, line: Line, random: &mut Random) -> &mut Self {
        let Some(db) = line.noise_db else { return self };
        let power = |dbm0| amplitude(dbm0).powi(2) / 2.0;
        let tones = power(line.low_dbm0) + power(line.high_dbm0);
        // The mean square of what is even from -1 to 1 is a third. The ratio
        // is that in the telephone band, whatever the rate.
        let band = self.rate.hertz() as f32 / 8000.0;
        let peak = (3.0 * band * tones * 10f32.powf(-db / 10.0)).sqrt();
        for sample in &mut self.samples {
            *sample += peak * random.next();
        }
        self
    }

    fn heard(&self) -> Vec<DtmfReport> {
        let mut detector = ToneDetector::new(self.rate);
        let samples: Vec<i16> = self.samples.iter().map(|s| *s as i16).collect();
        let mut heard: Vec<DtmfReport> = samples
            .chunks(self.rate.frame_samples())
            .flat_map(|frame| detector.frame(frame))
            .collect();
        heard.extend(detector.reset());
        heard
    }

    fn ended(&self) -> Vec<(String, u32)> {
        let ends = self.heard().into_iter().filter_map(|report| match report {
            DtmfReport::Begin(_) => None,
            DtmfReport::End(event) => Some((event.digit.to_string(), event.duration_ms)),
        });
        ends.collect()
    }
}

/// A key between silences at an alignment to the blocks, and how often it was
/// reported.
fn times_heard(rate: SampleRate, digit: Digit, ms: f32, line: Line, seed: u64) -> usize {
    let mut random = Random(seed);
    let mut sound = Sound::new(rate);
    let before = 60.0 + (seed % 40) as f32 / 2.0;
    sound.silence(before).key(digit, ms, line).silence(80.0);
    let ended = sound.noise(line, &mut random).ended();
    assert!(
        ended.iter().all(|(name, _)| *name == digit.to_string()),
        "{digit}: {ended:?}"
    );
    ended.len()
}

/// Of the 16 keys at 5 alignments each, at each rate: how many were heard.
fn heard_of_240(ms: f32, line: Line) -> usize {
    let mut heard = 0;
    for rate in RATES {
        for digit in &Digit::ALL[..16] {
            for round in 0..5 {
                let seed = round * 49 + u64::from(digit.event_code());
                heard += times_heard(rate, *digit, ms, line, seed);
            }
        }
    }
    heard
}

#[test]
fn what_the_generator_plays_is_heard_with_its_length() {
    for rate in RATES {
        let mut generator = ToneGenerator::new(rate);
        let timing = KeyTiming::new(80, 60).expect("a timing");
        for digit in &Digit::ALL[..16] {
            generator.queue(*digit, timing).expect("room");
        }
        let mut sound = Sound::new(rate);
        let mut frame = vec![0; rate.frame_samples()];
        while generator.frame(&mut frame) {
            sound.samples.extend(frame.iter().map(|s| f32::from(*s)));
        }
        let heard = sound.ended();
        let names: String = heard.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, "0123456789*#ABCD");
        for (name, ms) in heard {
            assert!((70..=90).contains(&ms), "{name}: {ms} ms");
        }
    }
}

#[test]
fn a_begin_comes_within_40_ms_and_the_end_once_it_is_over() {
    let mut sound = Sound::new(SampleRate::Narrow);
    sound
        .silence(100.0)
        .key(Digit::Star, 200.0, GOOD)
        .silence(100.0);
    let mut detector = ToneDetector::new(SampleRate::Narrow);
    let samples: Vec<i16> = sound.samples.iter().map(|s| *s as i16).collect();
    let frames: Vec<(usize, DtmfReport)> = samples
        .chunks(160)
        .enumerate()
        .flat_map(|(at, frame)| detector.frame(frame).into_iter().map(move |r| (at, r)))
        .collect();
    let [
        (begin, DtmfReport::Begin(Digit::Star)),
        (end, DtmfReport::End(event)),
    ] = frames[..]
    else {
        panic!("{frames:?}");
    };
    // Frames 5 to 14 hold the tone.
    assert_eq!((begin, end), (6, 16));
    assert_eq!(event.digit, Digit::Star);
    assert!((190..=210).contains(&event.duration_ms), "{event:?}");
}

#[test]
fn a_tone_of_40_ms_is_heard_and_one_of_23_is_not() {
    assert_eq!(heard_of_240(40.0, GOOD), 240);
    assert_eq!(heard_of_240(23.0, GOOD), 0);
}

#[test]
fn a_tone_in_noise_15_db_below_is_heard() {
    let line = Line {
        noise_db: Some(15.0),
        ..GOOD
    };
    assert_eq!(heard_of_240(50.0, line), 240);
}

#[test]
fn frequencies_off_by_1_5_percent_are_accepted_and_by_3_5_refused() {
    for (low_off, high_off) in [
        (0.015, 0.015),
        (-0.015, 0.015),
        (0.015, -0.015),
        (-0.015, -0.015),
    ] {
        let line = Line {
            low_off,
            high_off,
            ..GOOD
        };
        assert_eq!(heard_of_240(45.0, line), 240, "{low_off} {high_off}");
    }
    for (low_off, high_off) in [(0.035, 0.0), (-0.035, 0.0), (0.0, 0.035), (0.0, -0.035)] {
        let line = Line {
            low_off,
            high_off,
            ..GOOD
        };
        assert_eq!(heard_of_240(100.0, line), 0, "{low_off} {high_off}");
    }
}

#[test]
fn twist_is_accepted_to_8_db_forward_and_4_db_reverse() {
    let line = |low_dbm0, high_dbm0| Line {
        low_dbm0,
        high_dbm0,
        ..GOOD
    };
    assert_eq!(heard_of_240(50.0, line(-6.0, -14.0)), 240);
    assert_eq!(heard_of_240(50.0, line(-10.0, -6.0)), 240);
    assert_eq!(heard_of_240(50.0, line(-6.0, -16.5)), 0);
    assert_eq!(heard_of_240(50.0, line(-12.5, -6.0)), 0);
}

#[test]
fn loud_and_soft_keys_are_heard_and_those_below_the_range_of_lines_are_not() {
    let line = |dbm0| Line {
        low_dbm0: dbm0,
        high_dbm0: dbm0,
        ..GOOD
    };
    assert_eq!(heard_of_240(50.0, line(0.0)), 240);
    assert_eq!(heard_of_240(50.0, line(-25.0)), 240);
    assert_eq!(heard_of_240(50.0, line(-34.0)), 240);
    assert_eq!(heard_of_240(50.0, line(-40.0)), 0);
}

#[test]
fn an_interruption_of_10_ms_is_no_second_key_and_a_pause_of_40_is() {
    for rate in RATES {
        for before in 0..10 {
            let mut sound = Sound::new(rate);
            sound.silence(100.0 + before as f32);
            sound.key(Digit::A, 60.0, GOOD).silence(10.0);
            sound.key(Digit::A, 60.0, GOOD).silence(40.0);
            sound.key(Digit::A, 60.0, GOOD).silence(100.0);
            let heard = sound.ended();
            assert_eq!(heard.len(), 2, "{rate:?} {before}: {heard:?}");
            assert!((120..=140).contains(&heard[0].1), "{heard:?}");
            assert!((50..=70).contains(&heard[1].1), "{heard:?}");
        }
    }
}

#[test]
fn another_key_without_a_pause_ends_the_first() {
    let mut sound = Sound::new(SampleRate::Narrow);
    sound.silence(100.0).key(Digit::A, 80.0, GOOD);
    sound.key(Digit::Star, 80.0, GOOD).silence(100.0);
    let names: Vec<String> = sound.ended().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["A", "*"]);
}

#[test]
fn one_tone_alone_and_three_at_once_are_no_key() {
    for rate in RATES {
        let single = Line {
            low_dbm0: -90.0,
            ..GOOD
        };
        let mut sound = Sound::new(rate);
        sound
            .silence(50.0)
            .key(Digit::D, 200.0, single)
            .silence(50.0);
        assert_eq!(sound.ended(), []);

        let mut sound = Sound::new(rate);
        sound.silence(50.0).key(Digit::D, 200.0, GOOD).silence(50.0);
        let mut other = Sound::new(rate);
        other.silence(50.0).key(Digit::A, 200.0, GOOD).silence(50.0);
        for (sample, more) in sound.samples.iter_mut().zip(other.samples) {
            *sample = (*sample + more) / 2.0;
        }
        assert_eq!(sound.ended(), []);
    }
}

/// Voices: a pulse train whose pitch glides and trembles, through formants
/// that move every 100 to 200 ms, at syllables' rhythm. Much of it has strong
/// harmonics in both groups at once.
fn voice(rate: SampleRate, seconds: f32, random: &mut Random) -> Vec<f32> {
    let hertz = rate.hertz() as f32;
    let mut samples = Vec::new();
    while samples.len() < (seconds * hertz) as usize {
        let length = ((0.15 + 0.05 * random.next()) * hertz) as usize;
        let pitch = 190.0 + 110.0 * random.next();
        let glide = 0.1 * random.next();
        let formants = [
            (600.0 + 350.0 * random.next(), 1.0),
            (1400.0 + 500.0 * random.next(), 0.7),
            (2600.0 + 300.0 * random.next(), 0.2),
        ];
        let harmonics = (3600.0 / pitch) as usize;
        let mut phase = 0.0;
        for at in 0..length {
            let part = at as f32 / length as f32;
            phase += pitch * (1.0 + glide * part) / hertz;
            let mut sum = 0.0;
            for harmonic in 1..=harmonics {
                let hz = pitch * harmonic as f32;
                let formants: f32 = formants
                    .iter()
                    .map(|(formant, gain)| gain / (1.0 + ((hz - formant) / 60.0).powi(2)))
                    .sum();
                // A voice's source falls by 6 dB an octave as it leaves the lips.
                let gain = (0.03 + formants) / harmonic as f32;
                sum += gain * (std::f32::consts::TAU * phase * harmonic as f32).sin();
            }
            let envelope = (std::f32::consts::PI * part).sin();
            samples.push(16000.0 * envelope * (sum + 0.02 * random.next()));
        }
    }
    samples
}

/// Harsher than people: each syllable holds its pitch and has most of its
/// energy in two harmonics.
#[test]
fn two_minutes_of_ringing_voices_hold_two_keys_at_most() {
    let mut found = Vec::new();
    for (seed, rate) in RATES.into_iter().enumerate() {
        let samples = voice(rate, 40.0, &mut Random(seed as u64));
        found.extend(Sound { rate, samples }.ended());
    }
    assert!(found.len() <= 2, "{found:?}");
}

#[test]
fn a_key_pressed_over_a_voice_20_db_below_is_heard_once() {
    for rate in RATES {
        let voice = voice(rate, 3.5, &mut Random(99));
        let power =
            |samples: &[f32]| samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32;
        let mut sound = Sound::new(rate);
        for digit in &Digit::ALL[..16] {
            sound.silence(100.0);
            let start = sound.samples.len();
            sound.key(*digit, 100.0, GOOD);
            let tone = &mut sound.samples[start..];
            let over = &voice[start..start + tone.len()];
            let gain = (power(tone) / power(over) / 100.0).sqrt();
            for (sample, more) in tone.iter_mut().zip(over) {
                *sample += gain * more;
            }
        }
        sound.silence(100.0);
        let names: String = sound.ended().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, "0123456789*#ABCD");
    }
}
