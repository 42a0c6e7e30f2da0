//! What is played, keyed and recorded in a conference.

use super::*;

#[test]
fn a_clip_is_played_to_one_or_to_all_until_it_ends_or_a_key_ends_it() {
    let mut room = Room::new(4);
    let one = room.join(AudioCodec::Pcmu, 440.0, 4000.0);
    let other = room.join(AudioCodec::Pcmu, 1000.0, 4000.0);
    let clip = Arc::new(wav(8000, 2500.0, 1.0));
    let once = PlayOptions::default();
    let for_ever = PlayOptions {
        repeat: Repeat::Forever,
        barge_in: true,
        ..once
    };
    let to_one = Player::new(PlayId(1), clip.clone(), once);
    assert!(room.conference.play(Some(one), to_one));
    room.pass(900);
    assert!(room.end(one).hears(2500.0) && !room.end(other).hears(2500.0));
    room.pass(800);
    assert_eq!(room.out.finished, [PlayId(1)]);
    assert!(!room.end(one).hears(2500.0));

    assert!(
        room.conference
            .play(None, Player::new(PlayId(2), clip, for_ever))
    );
    room.pass(2500);
    assert!(room.end(one).hears(2500.0) && room.end(other).hears(2500.0));
    assert_eq!(room.conference.barge_in(other), [PlayId(2)]);
    room.pass(800);
    assert_eq!(room.out.finished, [PlayId(1), PlayId(2)]);
    assert!(!room.end(other).hears(2500.0));
}

#[test]
fn keys_go_out_as_events_in_place_of_sound_or_as_tones() {
    let mut room = Room::new(4);
    let with = room.join(AudioCodec::Pcmu, 440.0, 4000.0);
    let without = room.join(AudioCodec::Pcma, 1000.0, 4000.0);
    room.conference
        .describe(with, description(AudioCodec::Pcmu, true));
    room.conference.detect_keys(without, true);
    let key = DialStep::Key(Digit::Pound, KeyTiming::default());
    assert!(room.conference.send_keys(with, &[key]));
    assert!(room.conference.is_sending_keys(with));
    let mut events = Vec::new();
    for _ in 0..20 {
        room.now += TICK;
        while room.conference.work(room.now, &mut room.out) {}
        let payloads = room.out.payloads.drain(..);
        events.extend(payloads.filter(|p| p.0 == with && p.1 == 101));
    }
    // RFC 4733: one timestamp, a marker on the first, the end three times.
    assert!(events.iter().all(|event| event.2 == events[0].2));
    let markers: Vec<bool> = events.iter().map(|event| event.3).collect();
    assert!(markers[0] && !markers[1..].contains(&true));
    let ends = events.iter().filter(|event| event.4[1] & 0x80 != 0).count();
    assert_eq!((events[0].4[0], ends), (11, 3));
    assert!(!room.conference.is_sending_keys(with));

    assert!(room.conference.send_keys(without, &[key]));
    room.pass(120);
    let end = room.end(without);
    let tail = end.heard.len() - 160 * 3;
    let mut detector = crate::sound::dtmf::tone_detector::ToneDetector::new(SampleRate::Narrow);
    let mut found = Vec::new();
    for frame in end.heard[tail..].chunks(160) {
        found.extend(detector.frame(frame));
    }
    room.pass(400);
    let end = room.end(without);
    for frame in end.heard[tail + 480..].chunks(160) {
        found.extend(detector.frame(frame));
    }
    assert!(format!("{found:?}").contains("Pound"), "{found:?}");
}

#[test]
fn a_key_in_the_sound_of_a_peer_is_told_once() {
    let mut room = Room::new(4);
    let leg = room.join(AudioCodec::Pcmu, 440.0, 0.0);
    room.conference.detect_keys(leg, true);
    let mut tones = crate::sound::dtmf::tones::ToneGenerator::new(SampleRate::Narrow);
    let timing = KeyTiming::default();
    tones.queue(Digit::Star, timing).unwrap();
    let mut encoder = Encoder::new(AudioCodec::Pcmu, SampleRate::Narrow).unwrap();
    for n in 0..50u16 {
        let mut frame = [0; 160];
        tones.frame(&mut frame);
        let mut payload = [0; 160];
        encoder.encode(&frame, &mut payload).unwrap();
        room.conference.push(
            leg,
            Incoming {
                arrival: room.now,
                ssrc: 5,
                sequence: n,
                timestamp: u32::from(n) * 160,
                marker: n == 0,
                content: Content::Sound(AudioCodec::Pcmu),
                payload: &payload,
            },
        );
        room.now += TICK;
        while room.conference.work(room.now, &mut room.out) {}
    }
    let keys: Vec<(LegId, Digit)> = room.out.keys.iter().map(|(l, k)| (*l, k.digit)).collect();
    assert_eq!(keys, [(leg, Digit::Star)]);
}

#[test]
fn a_peer_that_pauses_is_heard_as_noise_and_neither_speaks_nor_is_dead() {
    for level in [40, 80] {
        let mut room = Room::new(4);
        let leg = room.join(AudioCodec::Pcmu, 440.0, 8000.0);
        let other = room.join(AudioCodec::Pcmu, 1000.0, 0.0);
        room.pass(300);
        let sound = room.conference.sound(leg).unwrap();
        assert!(sound.speaking && sound.heard);
        let concealed = sound.receiver.concealed;
        let end = room.end_mut(leg);
        end.pauses = true;
        let next = end.sent + 1;
        room.conference.push(
            leg,
            Incoming {
                arrival: room.now,
                ssrc: 77,
                sequence: next as u16,
                timestamp: next * 160,
                marker: false,
                content: Content::ComfortNoise,
                payload: &[level],
            },
        );
        room.out.alarms.clear();
        room.pass(2000);
        let sound = room.conference.sound(leg).unwrap();
        assert!(!sound.speaking && sound.heard, "{sound:?}");
        assert!((-sound.level_dbov).abs_diff(level as i8) <= 2, "{sound:?}");
        assert_eq!(sound.receiver.concealed, concealed);
        assert!(room.out.alarms.iter().all(|(whose, _)| *whose != leg));
        if level == 40 {
            let heard = &room.end(other).heard;
            let heard = crate::sound::comfort_noise::level_of(&heard[heard.len() - 8000..]);
            assert!(heard.abs_diff(level) <= 1, "{heard}");
        }
    }
}

#[test]
fn a_voice_that_is_turned_within_a_tick_is_turned_from_the_next_on() {
    let mut room = Room::new(4);
    let leg = room.join(AudioCodec::Pcmu, 440.0, 8000.0);
    room.join(AudioCodec::Pcmu, 1000.0, 8000.0);
    room.pass(300);
    let muted = Voice {
        muted: true,
        ..Voice::default()
    };
    let is_heard = |room: &Room| room.conference.sound(leg).unwrap().heard;
    // The tick has begun, and none of its voices is chosen.
    room.now += TICK;
    assert!(room.conference.work(room.now, &mut room.out));
    room.conference.set_voice(leg, muted.clone());
    assert_eq!(room.conference.voice(leg), Some(&muted));
    while room.conference.work(room.now, &mut room.out) {}
    assert!(is_heard(&room));
    room.out.payloads.clear();
    room.pass(20);
    assert!(!is_heard(&room));
    // Between ticks it is turned at once.
    room.conference.set_voice(leg, Voice::default());
    room.pass(20);
    assert!(is_heard(&room));
}

#[test]
fn a_recording_has_what_the_peer_says_left_and_what_it_hears_right() {
    let mut room = Room::new(4);
    let leg = room.join(AudioCodec::Pcmu, 440.0, 8000.0);
    room.join(AudioCodec::Pcmu, 1000.0, 8000.0);
    let (of_call, of_room) = (RecordingId(1), RecordingId(2));
    room.conference.record(of_call, Some(leg));
    room.conference.record(of_room, None);
    room.pass(1000);
    let (conference, out) = (&mut room.conference, &mut room.out);
    let stopped = conference.stop_recording(of_call, |recorded| out.recorded(recorded));
    room.pass(100);
    let side = |id: RecordingId, right: bool| -> Vec<i16> {
        let of = room.out.recorded.iter().filter(|r| r.0 == id);
        of.flat_map(|r| {
            if right {
                r.3.clone().unwrap()
            } else {
                r.2.clone()
            }
        })
        .collect()
    };
    let level = |sound: &[i16], hertz: f64| {
        let listener = FarEnd {
            heard: sound.to_vec(),
            ..far_end(AudioCodec::Pcmu)
        };
        listener.level_of(hertz) > 500.0
    };
    let (left, right) = (side(of_call, false), side(of_call, true));
    assert!(level(&left, 440.0) && !level(&left, 1000.0));
    assert!(level(&right, 1000.0) && !level(&right, 440.0));
    let all = side(of_room, false);
    assert!(level(&all, 440.0) && level(&all, 1000.0));
    let last = room
        .out
        .recorded
        .iter()
        .filter(|r| r.0 == of_call)
        .map(|r| r.1)
        .max();
    assert_eq!(last.map(|tick| tick + 1), Some(stopped));
    let frames = room.out.recorded.iter().filter(|r| r.0 == of_call);
    assert!(
        frames.map(|r| r.1).eq(0..stopped),
        "every frame, once, in order"
    );
}

fn far_end(codec: AudioCodec) -> FarEnd {
    let rate = codec.native_rate();
    FarEnd {
        leg: LegId {
            index: 0,
            generation: 0,
        },
        codec,
        hertz: 0.0,
        amplitude: 0.0,
        encoder: Encoder::new(codec, rate).unwrap(),
        decoder: Decoder::new(codec, rate).unwrap(),
        sent: 0,
        pauses: false,
        heard: Vec::new(),
        got: Vec::new(),
    }
}

/// A tone as a WAV file, decoded.
fn wav(rate: u32, hertz: f64, seconds: f64) -> Clip {
    let samples = (f64::from(rate) * seconds) as u32;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + samples * 2).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend([1, 0, 1, 0]);
    file.extend(rate.to_le_bytes());
    file.extend((rate * 2).to_le_bytes());
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend((samples * 2).to_le_bytes());
    for n in 0..samples {
        let at = f64::from(n) / f64::from(rate);
        file.extend((((TAU * hertz * at).sin() * 8000.0) as i16).to_le_bytes());
    }
    Clip::decode(&file, ClipLimits::default()).unwrap()
}
