use super::*;

/// A WAV file of 16 bit PCM.
fn wav(rate: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
    let data = samples.len() as u32 * 2;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(channels) * 2).to_le_bytes());
    file.extend((channels.wrapping_mul(2)).to_le_bytes());
    file.extend(16_u16.to_le_bytes());
    file.extend(b"data");
    file.extend(data.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

fn decode(file: &[u8]) -> Result<Clip, ClipError> {
    Clip::decode(file, ClipLimits::default())
}

#[test]
fn one_sample_is_a_clip() {
    let clip = decode(&wav(8000, 1, &[1234])).unwrap();
    assert_eq!(clip.samples(SampleRate::Narrow), [1234]);
    assert_eq!(clip.samples(SampleRate::Wide).len(), 2);
    assert_eq!(clip.samples(SampleRate::Full).len(), 6);
    assert_eq!(clip.duration(), Duration::from_micros(125));
    assert_eq!(clip.size(), 18);
}

#[test]
fn two_channels_are_mixed_in_equal_parts() {
    let clip = decode(&wav(16000, 2, &[1000, 3000, -32768, -32768, 32767, 32767])).unwrap();
    assert_eq!(clip.samples(SampleRate::Wide), [2000, -32768, 32767]);
    assert_eq!(clip.source().channels, 2);
}

#[test]
fn a_second_of_sound_has_a_second_of_samples_at_each_rate() {
    let clip = decode(&wav(44100, 1, &vec![100; 44100])).unwrap();
    assert_eq!(clip.samples(SampleRate::Narrow).len(), 8000);
    assert_eq!(clip.samples(SampleRate::Wide).len(), 16000);
    assert_eq!(clip.samples(SampleRate::Full).len(), 48000);
    assert_eq!(clip.size() as u64, BYTES_PER_SECOND);
    // What is steady stays so, but for the filter's swing at both ends.
    for rate in [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full] {
        let samples = clip.samples(rate);
        let middle = &samples[samples.len() / 8..samples.len() * 7 / 8];
        assert!(middle.iter().all(|&sample| sample == 100), "{rate:?}");
    }
}

#[test]
fn an_impulse_stays_where_it_is_at_every_rate() {
    let mut samples = vec![0; 4800];
    samples[2400] = 32767;
    let clip = decode(&wav(48000, 1, &samples)).unwrap();
    for rate in [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full] {
        let samples = clip.samples(rate);
        let peak = (0..samples.len()).max_by_key(|&at| samples[at]).unwrap();
        assert_eq!(peak as u32, rate.hertz() / 20, "{rate:?}");
    }
}

#[test]
fn a_file_that_ends_too_early_plays_as_far_as_it_goes() {
    let mut file = wav(8000, 1, &[7; 800]);
    file.truncate(44 + 801);
    let clip = decode(&file).unwrap();
    assert_eq!(clip.samples(SampleRate::Narrow), [7; 400]);
}

#[test]
fn errors_say_what_is_wrong_and_what_to_do() {
    for (file, wanted) in [
        (
            b"".to_vec(),
            "this is no WAV, Ogg Opus or MP3 file: convert it to one of them",
        ),
        (
            b"<html>".to_vec(),
            "this is no WAV, Ogg Opus or MP3 file: convert it to one of them",
        ),
        (
            wav(8000, 1, &[]),
            "there is no sound in the file: it has a header but not one sample",
        ),
        (
            wav(8000, 1, &[0])[..30].to_vec(),
            "the wav file is damaged: it ends in the middle of its header",
        ),
        (
            wav(8000, 3, &[0; 3]),
            "a file of 3 channels is not read: mix it down to one or two",
        ),
        (
            wav(0, 1, &[0]),
            "a sampling rate of 0 Hz is not read: convert it to 8000, 16000, 44100 or 48000 Hz",
        ),
        (
            b"OggS".to_vec(),
            "the ogg_opus file is damaged: No Ogg capture pattern found",
        ),
        (
            b"ID3\x04\0\0\x7f\x7f\x7f\x7f".to_vec(),
            "the mp3 file is damaged: it ends in the middle of its header",
        ),
    ] {
        assert_eq!(decode(&file).unwrap_err().to_string(), wanted);
    }
}

#[test]
fn the_limit_is_in_time_and_not_in_bytes() {
    let limits = ClipLimits {
        max_duration: Duration::from_secs(1),
    };
    assert!(Clip::decode(&wav(16000, 2, &[0; 32000]), limits).is_ok());
    assert_eq!(
        Clip::decode(&wav(16000, 2, &[0; 32002]), limits),
        Err(ClipError::TooLong(1))
    );
}
