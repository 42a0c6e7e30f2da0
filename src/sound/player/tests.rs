use std::time::Duration;

use super::*;
use crate::sound::clip::ClipLimits;

const RATES: [SampleRate; 3] = [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full];

/// A clip of 8 kHz.
fn clip(samples: &[i16]) -> Arc<Clip> {
    let data = samples.len() as u32 * 2;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    file.extend(data.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    Arc::new(Clip::decode(&file, ClipLimits::default()).unwrap())
}

fn sine(frequency: f64, amplitude: f64, samples: usize) -> Vec<i16> {
    (0..samples)
        .map(|n| (std::f64::consts::TAU * frequency * n as f64 / 8000.0).sin())
        .map(|sample| (sample * amplitude) as i16)
        .collect()
}

fn player(clip: &Arc<Clip>, repeat: Repeat) -> Player {
    let options = PlayOptions {
        repeat,
        ..PlayOptions::default()
    };
    Player::new(PlayId(1), Arc::clone(clip), options)
}

/// Plays until the end, or so many frames.
fn play(player: &mut Player, rate: SampleRate, most: usize) -> (Vec<i16>, Playing) {
    let mut all = Vec::new();
    for _ in 0..most {
        let mut frame = vec![0; rate.frame_samples()];
        let playing = player.frame(rate, &mut frame);
        all.extend(frame);
        if playing == Playing::Finished {
            return (all, playing);
        }
    }
    (all, Playing::More)
}

fn largest_step(samples: &[i16]) -> i32 {
    samples
        .windows(2)
        .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs())
        .max()
        .unwrap_or(0)
}

#[test]
fn a_clip_plays_as_it_is_between_soft_edges() {
    let samples = sine(300.0, 10_000.0, 1600);
    let mut player = player(&clip(&samples), Repeat::Once);
    let (played, end) = play(&mut player, SampleRate::Narrow, 100);
    assert_eq!((played.len(), end), (1600, Playing::Finished));
    // 5 ms at each end are softened.
    assert_eq!(played[40..1559], samples[40..1559]);
    assert_eq!((played[0], played[1599]), (0, 0));
    assert_eq!(player.played_ms(), 200);
}

#[test]
fn it_finishes_with_the_frame_that_has_its_last_sample_at_every_rate() {
    for rate in RATES {
        for (samples, frames) in [(1, 1), (159, 1), (160, 1), (161, 2), (320, 2)] {
            let clip = clip(&vec![5000; samples]);
            let mut player = player(&clip, Repeat::Once);
            let (played, end) = play(&mut player, rate, 10);
            assert_eq!(
                (played.len() / rate.frame_samples(), end),
                (frames, Playing::Finished),
                "{samples} at {rate:?}"
            );
        }
    }
}

#[test]
fn what_is_finished_adds_nothing_more() {
    let mut player = player(&clip(&[9000; 100]), Repeat::Once);
    play(&mut player, SampleRate::Narrow, 1);
    let mut frame = [77; 160];
    assert_eq!(
        player.frame(SampleRate::Narrow, &mut frame),
        Playing::Finished
    );
    assert_eq!(frame, [77; 160]);
}

#[test]
fn times_is_how_often_it_plays() {
    let clip = clip(&[1000; 240]);
    for (repeat, samples) in [
        (Repeat::Once, 240),
        (Repeat::Times(0), 240),
        (Repeat::Times(1), 240),
        (Repeat::Times(3), 720),
        (Repeat::Times(10), 2400),
    ] {
        let mut player = player(&clip, repeat);
        let (_, end) = play(&mut player, SampleRate::Narrow, 100);
        assert_eq!(end, Playing::Finished);
        assert_eq!(player.played_ms(), samples / 8, "{repeat:?}");
    }
    let mut player = player(&clip, Repeat::Forever);
    assert_eq!(play(&mut player, SampleRate::Narrow, 1000).1, Playing::More);
}

#[test]
fn a_loop_has_no_step_where_it_begins_again() {
    // Ends at its peak, begins at zero: 12,000 at once without care. Steps
    // within the tone are at most 12,000 * 2 pi * 310 / 8000 = 2921.
    let samples = sine(310.0, 12_000.0, 1619);
    let clip = clip(&samples);
    for rate in RATES {
        let within = largest_step(clip.samples(rate));
        let mut player = player(&clip, Repeat::Forever);
        let (played, _) = play(&mut player, rate, 60);
        let step = largest_step(&played);
        let most = within + 12_000 / (rate.hertz() as i32 / 200) + 2;
        assert!(step <= most, "{step} of {most} at {rate:?}");
    }
}

#[test]
fn a_loop_that_fits_sounds_as_if_it_had_no_joint() {
    // 20 whole periods.
    let samples = sine(400.0, 12_000.0, 400);
    let mut player = player(&clip(&samples), Repeat::Forever);
    let (played, _) = play(&mut player, SampleRate::Narrow, 20);
    let difference = (40..played.len())
        .map(|at| (i32::from(played[at]) - i32::from(samples[at % 400])).abs())
        .max()
        .unwrap();
    // One step of the tone, which is what the joint is bridged by.
    assert!(difference <= largest_step(&samples), "{difference}");
}

#[test]
fn a_change_of_rate_on_the_way_moves_nothing() {
    let clip = clip(&sine(300.0, 10_000.0, 800));
    let mut player = player(&clip, Repeat::Once);
    let mut frames = 0;
    for rate in RATES.into_iter().cycle() {
        let mut frame = vec![0; rate.frame_samples()];
        let at = frames * rate.frame_samples();
        let playing = player.frame(rate, &mut frame);
        frames += 1;
        if playing == Playing::Finished {
            break;
        }
        if frames > 1 {
            assert_eq!(frame, clip.samples(rate)[at..at + frame.len()]);
        }
    }
    assert_eq!(frames, 5);
}

#[test]
fn a_stop_fades_within_one_frame() {
    let mut player = player(&clip(&[10_000; 8000]), Repeat::Forever);
    play(&mut player, SampleRate::Narrow, 2);
    player.stop();
    let mut frame = [0; 160];
    assert_eq!(
        player.frame(SampleRate::Narrow, &mut frame),
        Playing::Finished
    );
    // 10 ms down to nothing, in steps of an eightieth.
    assert_eq!(frame[0], 10_000);
    assert!(largest_step(&frame) <= 126);
    assert_eq!(frame[80..], [0; 80]);
}

#[test]
fn the_gain_is_in_db_and_changes_without_a_step() {
    let options = PlayOptions {
        repeat: Repeat::Forever,
        gain_db: -20.0,
        barge_in: true,
    };
    let mut player = Player::new(PlayId(2), clip(&[10_000; 8000]), options);
    assert!(player.barge_in());
    let (played, _) = play(&mut player, SampleRate::Narrow, 3);
    assert_eq!(played[200..480], [1000; 280]);
    player.set_gain_db(0.0);
    let (played, _) = play(&mut player, SampleRate::Narrow, 2);
    assert!(largest_step(&played) <= 58);
    assert_eq!(played[160..], [10_000; 160]);
    player.set_gain_db(f32::NAN);
    let (played, _) = play(&mut player, SampleRate::Narrow, 1);
    assert_eq!(played, [10_000; 160]);
    // Kept within +20 dB, and within 16 bit.
    player.set_gain_db(400.0);
    let (played, _) = play(&mut player, SampleRate::Narrow, 2);
    assert_eq!(played[160..], [32_767; 160]);
}

#[test]
fn a_frame_is_added_to_what_is_there_and_stays_within_16_bit() {
    let mut player = player(&clip(&[20_000; 800]), Repeat::Once);
    play(&mut player, SampleRate::Narrow, 1);
    let mut frame = [20_000; 160];
    frame[1] = -5000;
    player.frame(SampleRate::Narrow, &mut frame);
    assert_eq!(frame[..3], [32_767, 15_000, 32_767]);
}

#[test]
fn the_ring_back_tone_sounds_for_one_second_in_five() {
    let options = PlayOptions {
        repeat: Repeat::Times(2),
        ..PlayOptions::default()
    };
    for rate in RATES {
        let mut player = Player::tone(PlayId(3), Tone::RingBackEurope, options);
        let (played, end) = play(&mut player, rate, 1000);
        assert_eq!(end, Playing::Finished);
        let second = rate.hertz() as usize;
        assert_eq!(played.len(), 10 * second);
        // But for the soft edge of the very beginning, which adds to the tone's own.
        let edge = second / 200;
        assert!(played[edge..5 * second] == played[5 * second + edge..]);
        assert!(played[second..5 * second].iter().all(|&sample| sample == 0));
        // 425 periods: the sign changes twice in each.
        let rising = played[..second]
            .windows(2)
            .filter(|pair| pair[0] < 0 && pair[1] >= 0)
            .count();
        assert!((424..=425).contains(&rising), "{rising} at {rate:?}");
        // 0.1238 of full scale: -18.14 dB below it, which is -15 dBm0.
        let peak = played.iter().max().copied().unwrap();
        assert!((4040..=4057).contains(&peak), "{peak} at {rate:?}");
    }
}

#[test]
fn tones_have_their_periods_and_no_clicks() {
    for (tone, period_ms) in [
        (Tone::RingBackEurope, 5000),
        (Tone::RingBackNorthAmerica, 6000),
        (Tone::BusyEurope, 1000),
        (Tone::BusyNorthAmerica, 1000),
        (Tone::RecordingBeep, 15_000),
    ] {
        let mut player = Player::tone(PlayId(4), tone, PlayOptions::default());
        let (played, _) = play(&mut player, SampleRate::Full, 1000);
        assert_eq!(played.len(), 48 * period_ms, "{tone:?}");
        let peak = played.iter().max().copied().unwrap();
        assert!((3900..=5735).contains(&peak), "{peak} of {tone:?}");
        // No faster than 1400 Hz at that peak.
        assert!(largest_step(&played) <= 1050, "{tone:?}");
    }
}

#[test]
fn a_loop_of_one_sample_takes_no_longer_than_any_other() {
    let mut player = player(&clip(&[1]), Repeat::Forever);
    let (played, _) = play(&mut player, SampleRate::Full, 50);
    assert_eq!(played.len(), 48_000);
    assert_eq!(
        player.played_ms(),
        Duration::from_secs(1).as_millis() as u64
    );
}
