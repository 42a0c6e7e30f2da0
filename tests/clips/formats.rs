//! Every kind of file that is read: its exact length and its tone are kept.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;
use std::time::Duration;

use ringwire::sound::clip::{Clip, ClipError, ClipFormat, ClipLimits};
use ringwire::sound::format::SampleRate;

use super::tools::{run, sine};

const RATES: [SampleRate; 3] = [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full];

fn decode(directory: &Path, name: &str) -> Result<Clip, ClipError> {
    let bytes = fs::read(directory.join(name)).unwrap();
    Clip::decode(&bytes, ClipLimits::default())
}

/// Amplitude of a frequency, of full scale (Goertzel), in the middle half.
fn amplitude(samples: &[i16], rate: u32, frequency: f64) -> f64 {
    let samples = &samples[samples.len() / 4..samples.len() * 3 / 4];
    let turn = TAU * frequency / f64::from(rate);
    let (mut cosine, mut sine) = (0.0, 0.0);
    for (index, &sample) in samples.iter().enumerate() {
        let angle = turn * index as f64;
        cosine += f64::from(sample) * angle.cos();
        sine += f64::from(sample) * angle.sin();
    }
    2.0 * cosine.hypot(sine) / samples.len() as f64 / 32768.0
}

/// A sine of 440 Hz and -6 dB at all rates, and nothing else to speak of.
fn assert_sine(clip: &Clip, name: &str) {
    for rate in RATES {
        let samples = clip.samples(rate);
        let heard = amplitude(samples, rate.hertz(), 440.0);
        assert!((0.46..0.54).contains(&heard), "{name} at {rate:?}: {heard}");
        let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
        let power = middle
            .iter()
            .map(|&s| (f64::from(s) / 32768.0).powi(2))
            .sum::<f64>()
            / middle.len() as f64;
        let rest = power - heard * heard / 2.0;
        // A tenth of a per cent of the power: 30 dB below the tone.
        assert!(
            rest < power / 1000.0,
            "{name} at {rate:?}: {rest} of {power}"
        );
    }
}

#[test]
fn wav_files_of_all_kinds_keep_their_length_and_their_tone() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for (name, options, rate, channels) in [
        ("u8.wav", "-b 8 -e unsigned-integer", 8000, 1),
        ("s16.wav", "-b 16", 8000, 1),
        ("s16_stereo.wav", "-b 16", 44100, 2),
        ("s24.wav", "-b 24", 48000, 2),
        ("s32.wav", "-b 32", 96000, 1),
        ("f32.wav", "-e floating-point -b 32", 22050, 1),
        ("f64.wav", "-e floating-point -b 64", 16000, 1),
        ("alaw.wav", "-e a-law", 8000, 1),
        ("ulaw.wav", "-e mu-law", 8000, 2),
        ("s16_11025.wav", "-b 16", 11025, 1),
        ("s16_32000.wav", "-b 16", 32000, 1),
        ("s16_192000.wav", "-b 16", 192_000, 1),
    ] {
        run(
            at,
            &format!(
                "sox -R -n -r {rate} -c {channels} {options} {name} synth 0.5 sine 440 gain -6"
            ),
        );
        let clip = decode(at, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Half a second of an odd rate is no whole number of samples.
        let full = (u64::from(rate) / 2 * 48_000).div_ceil(u64::from(rate)) as usize;
        assert_eq!(clip.samples(SampleRate::Full).len(), full, "{name}");
        assert_eq!(clip.source().format, ClipFormat::Wav);
        assert_eq!(clip.source().sample_rate, rate, "{name}");
        assert_eq!(u32::from(clip.source().channels), channels, "{name}");
        assert_sine(&clip, name);
    }
}

#[test]
fn a_wav_file_at_a_rate_of_the_gateway_comes_out_sample_by_sample() {
    let directory = tempfile::tempdir().unwrap();
    for rate in RATES {
        let path = sine(directory.path(), "a.wav", rate.hertz(), 1, "0.25");
        let bytes = fs::read(path).unwrap();
        let clip = Clip::decode(&bytes, ClipLimits::default()).unwrap();
        let data = &bytes[bytes.len() - rate.hertz() as usize / 2..];
        let wanted: Vec<i16> = data
            .chunks(2)
            .map(|sample| i16::from_le_bytes([sample[0], sample[1]]))
            .collect();
        assert_eq!(clip.samples(rate), wanted);
    }
}

#[test]
fn a_wav_file_written_to_a_pipe_has_no_length_in_it_and_plays_whole() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    sine(at, "a.wav", 8000, 1, "0.5");
    let piped = run(at, "ffmpeg -loglevel error -i a.wav -f wav -");
    assert_eq!(piped[4..8], [0xff; 4]);
    let clip = Clip::decode(&piped, ClipLimits::default()).unwrap();
    assert_eq!(clip.duration(), Duration::from_millis(500));
    assert_sine(&clip, "pipe.wav");
}

#[test]
fn mp3_files_keep_their_tone_and_with_the_tag_of_lame_their_length() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    sine(at, "a.wav", 44100, 2, "1.5");
    sine(at, "b.wav", 16000, 1, "1.5");
    for (command, name, exact) in [
        ("lame --quiet -b 128 a.wav cbr.mp3", "cbr.mp3", true),
        ("lame --quiet -V 4 a.wav vbr.mp3", "vbr.mp3", true),
        ("lame --quiet -b 64 b.wav mpeg2.mp3", "mpeg2.mp3", true),
        ("lame --quiet -t a.wav bare.mp3", "bare.mp3", false),
        (
            "ffmpeg -loglevel error -i a.wav -write_xing 0 -id3v2_version 4 -metadata title=Hold bare_id3.mp3",
            "bare_id3.mp3",
            false,
        ),
    ] {
        run(at, command);
        let clip = decode(at, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(clip.source().format, ClipFormat::Mp3, "{name}");
        assert_sine(&clip, name);
        if exact {
            assert_eq!(clip.duration(), Duration::from_millis(1500), "{name}");
        } else {
            // With the encoder's silence before and after: 1105 samples and
            // what fills up the last frames.
            let more = clip.duration() - Duration::from_millis(1500);
            assert!(more < Duration::from_millis(90), "{name}: {more:?}");
        }
    }
}

#[test]
fn opus_files_keep_their_tone_and_their_exact_length() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    sine(at, "a.wav", 48000, 2, "1.234");
    sine(at, "b.wav", 48000, 1, "1.234");
    for (command, name, channels) in [
        ("opusenc --quiet a.wav stereo.opus", "stereo.opus", 2),
        ("opusenc --quiet b.wav mono.opus", "mono.opus", 1),
        (
            "opusenc --quiet --framesize 60 --max-delay 0 b.wav pages.opus",
            "pages.opus",
            1,
        ),
        (
            "ffmpeg -loglevel error -i b.wav -c:a libopus -frame_duration 2.5 short.opus",
            "short.opus",
            1,
        ),
        (
            "ffmpeg -loglevel error -i a.wav -c:a libopus ff.ogg",
            "ff.ogg",
            2,
        ),
    ] {
        run(at, command);
        let clip = decode(at, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(clip.source().format, ClipFormat::OggOpus);
        assert_eq!(clip.source().channels, channels, "{name}");
        assert_eq!(clip.samples(SampleRate::Full).len(), 59_232, "{name}");
        assert_sine(&clip, name);
    }
}

#[test]
fn the_gain_in_an_opus_header_is_applied() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    sine(at, "a.wav", 48000, 1, "0.5");
    run(at, "opusenc --quiet a.wav plain.opus");
    run(
        at,
        "ffmpeg -loglevel error -i plain.opus -c copy -bsf:a opus_metadata=gain=-1536 quiet.opus",
    );
    let plain = decode(at, "plain.opus").unwrap();
    let quiet = decode(at, "quiet.opus").unwrap();
    let of = |clip: &Clip| amplitude(clip.samples(SampleRate::Full), 48_000, 440.0);
    // -1536 / 256 is -6 dB.
    let ratio = of(&quiet) / of(&plain);
    assert!((ratio - 0.501).abs() < 0.005, "{ratio}");
}

#[test]
fn opus_streams_one_after_the_other_play_one_after_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    sine(at, "a.wav", 48000, 1, "0.5");
    run(at, "opusenc --quiet --serial 1 a.wav a.opus");
    run(at, "opusenc --quiet --serial 2 a.wav b.opus");
    let mut chain = fs::read(at.join("a.opus")).unwrap();
    chain.extend(fs::read(at.join("b.opus")).unwrap());
    let clip = Clip::decode(&chain, ClipLimits::default()).unwrap();
    assert_eq!(clip.duration(), Duration::from_millis(1000));
}

#[test]
fn what_is_not_read_is_said_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    sine(at, "a.wav", 48000, 2, "0.5");
    for (command, name, wanted) in [
        (
            "ffmpeg -loglevel error -i a.wav -c:a libvorbis v.ogg",
            "v.ogg",
            "the Ogg file holds Vorbis and no Opus: convert it to Opus",
        ),
        (
            "ffmpeg -loglevel error -i a.wav a.flac",
            "a.flac",
            "this is no WAV, Ogg Opus or MP3 file: convert it to one of them",
        ),
        (
            "sox a.wav -c 6 six.wav",
            "six.wav",
            "a file of 6 channels is not read: mix it down to one or two",
        ),
        (
            "sox a.wav -e ima-adpcm ima.wav",
            "ima.wav",
            "this kind of wav file is not read: convert it to 16 bit PCM",
        ),
        (
            "sox a.wav -r 44099 odd.wav",
            "odd.wav",
            "a sampling rate of 44099 Hz is not read: convert it to 8000, 16000, 44100 or 48000 Hz",
        ),
    ] {
        run(at, command);
        assert_eq!(decode(at, name).unwrap_err().to_string(), wanted, "{name}");
    }
}

#[test]
fn an_hour_of_silence_in_a_small_file_is_refused_at_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    run(at, "sox -n -r 48000 -c 1 -b 16 silence.wav trim 0 30");
    run(at, "opusenc --quiet --bitrate 6 silence.wav silence.opus");
    run(at, "lame --quiet -b 32 silence.wav silence.mp3");
    let limits = ClipLimits {
        max_duration: Duration::from_secs(29),
    };
    for name in ["silence.wav", "silence.opus", "silence.mp3"] {
        let bytes = fs::read(at.join(name)).unwrap();
        assert_eq!(
            Clip::decode(&bytes, limits),
            Err(ClipError::TooLong(29)),
            "{name}"
        );
    }
}
