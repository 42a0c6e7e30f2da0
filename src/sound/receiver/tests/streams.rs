//! What senders do besides sending evenly: they pause, stop, jump, change
//! their codec, and send what is no stream at all.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::simulation::{Talker, play, send};
use super::*;
use crate::sound::codec::{Encoder, OpusParameters};

/// Pushes a packet that came `at` ms after `begin`.
fn push(receiver: &mut Receiver, begin: Instant, at: u64, header: (u16, u32), payload: &[u8]) {
    receiver.push(Incoming {
        arrival: begin + Duration::from_millis(at),
        ssrc: 1,
        sequence: header.0,
        timestamp: header.1,
        marker: false,
        content: Content::Sound(AudioCodec::Pcmu),
        payload,
    });
}

#[test]
fn a_stream_that_stops_fades_and_is_silence_from_then_on() {
    let mut kinds = Vec::new();
    let mut heard = Vec::new();
    let talker = Talker::voice(AudioCodec::Pcmu);
    let packets = send(500, 0, |_| vec![0]);
    let outcome = play(&mut narrow(), &talker, &packets, 1000, |kind, frame| {
        kinds.push(kind);
        heard.extend_from_slice(frame);
    });
    let concealed = kinds.iter().filter(|&&kind| kind == Frame::Concealed);
    // 120 ms that begin and end within a frame.
    assert_eq!(concealed.count(), 7);
    assert!(kinds[510..].iter().all(|&kind| kind == Frame::Silence));
    assert!(heard[510 * 160..].iter().all(|&sample| sample == 0));
    // Whether something was lost, nobody knows.
    assert_eq!(outcome.statistics.lost, 0);
    assert_eq!(outcome.statistics.concealed, Duration::ZERO);
}

#[test]
fn nothing_that_ever_came_is_silence() {
    let mut out = Vec::new();
    let mut receiver = narrow();
    assert_eq!(receiver.frame(Instant::now(), &mut out), Frame::Silence);
    assert_eq!(out, [0; 160]);
}

#[test]
fn a_gap_of_timestamps_without_one_of_sequence_numbers_is_a_pause() {
    let mut packets = send(1000, 0, |_| vec![0]);
    packets.retain(|sent| !(400..600).contains(&sent.payload));
    for (index, sent) in packets.iter_mut().enumerate() {
        sent.sequence = index as u16;
    }
    let talker = Talker::voice(AudioCodec::Pcmu);
    let outcome = play(&mut narrow(), &talker, &packets, 1000, |_, _| {});
    assert_eq!(outcome.statistics.lost, 0);
    assert_eq!(outcome.statistics.concealed, Duration::ZERO);
    assert_eq!(outcome.statistics.restarts, 0);
}

#[test]
fn another_ssrc_begins_a_new_stream_at_once() {
    let mut packets = send(1000, 0, |_| vec![0]);
    for sent in &mut packets[500..] {
        sent.ssrc = 2;
        sent.sequence = sent.sequence.wrapping_mul(7);
        sent.timestamp = sent.timestamp.wrapping_mul(3);
    }
    for (index, sent) in packets[500..].iter_mut().enumerate() {
        sent.sequence = 60_000_u16.wrapping_add(index as u16);
        sent.timestamp = 4_000_000_000_u32.wrapping_add(index as u32 * 160);
    }
    let mut kinds = Vec::new();
    let talker = Talker::voice(AudioCodec::Pcmu);
    let outcome = play(&mut narrow(), &talker, &packets, 1000, |kind, _| {
        kinds.push(kind);
    });
    assert_eq!(outcome.statistics.restarts, 1);
    assert_eq!(outcome.statistics.lost, 0);
    let silent = kinds[490..520]
        .iter()
        .filter(|&&kind| kind != Frame::Speech);
    assert!(silent.count() <= 1, "{:?}", &kinds[490..520]);
}

#[test]
fn a_timestamp_that_jumps_begins_a_new_stream_without_a_burst_of_old_sound() {
    for jump in [0_u32.wrapping_sub(80_000), 80_000, 1 << 31] {
        let mut packets = send(1000, 0, |_| vec![0]);
        for sent in &mut packets[500..] {
            sent.timestamp = sent.timestamp.wrapping_add(jump);
        }
        let mut speech = 0;
        let talker = Talker::voice(AudioCodec::Pcmu);
        let outcome = play(&mut narrow(), &talker, &packets, 1000, |kind, _| {
            speech += usize::from(kind == Frame::Speech);
        });
        assert_eq!(outcome.statistics.restarts, 1, "{jump}");
        assert!(speech >= 995, "{jump}: {speech}");
        assert!(outcome.highest_delay < 40.0, "{jump}: {outcome:?}");
    }
}

#[test]
fn a_sender_that_was_held_goes_on_though_its_clock_stood_still() {
    let mut packets = send(1000, 0, |_| vec![0]);
    for sent in &mut packets[500..] {
        sent.at += 10_000_000;
    }
    let talker = Talker::voice(AudioCodec::Pcmu);
    let outcome = play(&mut narrow(), &talker, &packets, 1500, |_, _| {});
    assert_eq!(outcome.statistics.restarts, 1);
    assert_eq!(outcome.statistics.late + outcome.statistics.lost, 0);
    assert!(outcome.highest_delay < 40.0, "{outcome:?}");
}

#[test]
fn sequence_numbers_and_timestamps_wrap_unnoticed() {
    let mut packets = send(140_000, 0, |_| vec![0]);
    for sent in &mut packets {
        sent.timestamp = sent.timestamp.wrapping_add(u32::MAX - 1_000_000);
    }
    let talker = Talker::voice(AudioCodec::Pcmu);
    let outcome = play(&mut narrow(), &talker, &packets, 140_000, |_, _| {});
    assert_eq!(outcome.statistics.restarts, 0);
    assert_eq!(outcome.statistics.lost + outcome.statistics.late, 0);
    assert_eq!(outcome.statistics.concealed, Duration::ZERO);
}

#[test]
fn a_strange_sequence_number_is_believed_when_the_next_one_follows() {
    let begin = Instant::now();
    let mut receiver = narrow();
    let mut out = Vec::new();
    for index in 0..100_u16 {
        let at = u64::from(index) * 20;
        let timestamp = u32::from(index) * 160;
        if index == 50 {
            push(&mut receiver, begin, at, (40_000, 9), &[0xff; 160]);
        }
        push(&mut receiver, begin, at, (index, timestamp), &[0xff; 160]);
        receiver.frame(begin + Duration::from_millis(at + 5), &mut out);
    }
    assert_eq!(receiver.statistics().restarts, 0);
    assert_eq!(receiver.statistics().discarded, 1);
    push(&mut receiver, begin, 2000, (40_000, 16_000), &[0xff; 160]);
    push(&mut receiver, begin, 2020, (40_001, 16_160), &[0xff; 160]);
    assert_eq!(receiver.statistics().restarts, 1);
}

#[test]
fn packets_of_any_duration_become_frames_of_20_ms() {
    for octets in [20, 40, 80, 160, 240, 320, 480, 960_u32] {
        let begin = Instant::now();
        let micros = |micros: u64| begin + Duration::from_micros(micros);
        let mut receiver = narrow();
        let mut out = Vec::new();
        let (mut sent, mut speech) = (0_u32, 0);
        for frame in 0..500_u64 {
            let now = frame * 20_000 + 3_000;
            while u64::from(sent * octets) * 125 <= now {
                receiver.push(Incoming {
                    arrival: micros(u64::from(sent * octets) * 125),
                    ssrc: 1,
                    sequence: sent as u16,
                    timestamp: sent * octets,
                    marker: false,
                    content: Content::Sound(AudioCodec::Pcma),
                    payload: &vec![0xd5; octets as usize],
                });
                sent += 1;
            }
            speech += u32::from(receiver.frame(micros(now), &mut out) == Frame::Speech);
            assert_eq!(out.len(), (frame as usize + 1) * 160);
        }
        let statistics = receiver.statistics();
        assert!(speech >= 493, "{octets}: {speech} {statistics:?}");
        assert_eq!(
            statistics.lost + statistics.late + statistics.discarded,
            0,
            "{octets}"
        );
    }
}

#[test]
fn another_codec_goes_on_where_the_first_one_ended() {
    let begin = Instant::now();
    let opus = AudioCodec::Opus(OpusParameters::default());
    let codecs = [AudioCodec::Pcmu, AudioCodec::G722, opus, AudioCodec::Pcma];
    let mut encoders = codecs.map(|codec| Encoder::new(codec, SampleRate::Wide).unwrap());
    let mut receiver = Receiver::new(SampleRate::Wide, ReceiverSettings::default());
    let mut out = Vec::new();
    let mut speech = 0;
    let mut timestamp = 0_u32;
    for index in 0..800_u16 {
        let at = begin + Duration::from_millis(u64::from(index) * 20);
        let which = usize::from(index / 200);
        let mut payload = [0; 1500];
        let length = encoders[which].encode(&[100; 320], &mut payload).unwrap();
        receiver.push(Incoming {
            arrival: at,
            ssrc: 1,
            sequence: index,
            timestamp,
            marker: false,
            content: Content::Sound(codecs[which]),
            payload: &payload[..length],
        });
        timestamp += codecs[which].clock_rate() / 50;
        let kind = receiver.frame(at + Duration::from_millis(2), &mut out);
        speech += usize::from(kind == Frame::Speech);
    }
    assert_eq!(out.len(), 800 * 320);
    assert!(speech >= 796, "{speech} {:?}", receiver.statistics());
    assert_eq!(receiver.statistics().lost, 0);
    assert_eq!(receiver.statistics().invalid, 0);
}

#[test]
fn another_rate_keeps_what_waits() {
    let packets = send(600, 0, |index| vec![(index as i64 % 3) * 20_000]);
    let talker = Talker::voice(AudioCodec::Pcmu);
    let mut receiver = narrow();
    play(&mut receiver, &talker, &packets[..300], 300, |_, _| {});
    let waiting = receiver.buffer.len();
    assert!(waiting > 0);
    receiver.set_rate(SampleRate::Full);
    assert_eq!(receiver.buffer.len(), waiting);
    let mut out = Vec::new();
    let now = Instant::now();
    receiver.frame(now, &mut out);
    assert_eq!(out.len(), 960);
}

/// Opus with FEC over an even network that loses every tenth packet of 300.
fn every_tenth_opus_packet_is_lost(settings: ReceiverSettings) -> ReceiverStatistics {
    let opus = AudioCodec::Opus(OpusParameters {
        in_band_fec: true,
        ..OpusParameters::default()
    });
    let mut encoder = Encoder::new(opus, SampleRate::Full).unwrap();
    encoder.set_expected_loss(20);
    let begin = Instant::now();
    let mut receiver = Receiver::new(SampleRate::Full, settings);
    let mut out = Vec::new();
    for index in 0..300_u32 {
        let frame: Vec<i16> = (0..960)
            .map(|sample| {
                let time = f64::from(index * 960 + sample) / 48_000.0;
                let syllable = (std::f64::consts::TAU * 3.0 * time).sin();
                let voice = (std::f64::consts::TAU * 200.0 * time).sin();
                (8000.0 * syllable * voice) as i16
            })
            .collect();
        let mut payload = [0; 1500];
        let length = encoder.encode(&frame, &mut payload).unwrap();
        let at = begin + Duration::from_millis(u64::from(index) * 20);
        if index % 10 != 5 {
            receiver.push(Incoming {
                arrival: at,
                ssrc: 1,
                sequence: index as u16,
                timestamp: index * 960,
                marker: false,
                content: Content::Sound(opus),
                payload: &payload[..length],
            });
        }
        receiver.frame(at + Duration::from_millis(2), &mut out);
    }
    receiver.statistics()
}

#[test]
fn a_lost_opus_packet_comes_back_from_the_next_one() {
    let statistics = every_tenth_opus_packet_is_lost(ReceiverSettings {
        minimum_delay: Duration::from_millis(40),
        ..ReceiverSettings::default()
    });
    // libopus sends none for the quiet ones.
    assert!(statistics.recovered >= 20, "{statistics:?}");
    assert_eq!(statistics.recovered + statistics.lost, 30);
}

#[test]
fn the_next_packet_is_waited_for_where_it_brings_lost_ones_back() {
    let statistics = every_tenth_opus_packet_is_lost(ReceiverSettings::default());
    assert!(statistics.recovered >= 20, "{statistics:?}");
    assert_eq!(statistics.recovered + statistics.lost, 30);
    let waits = statistics.current_delay;
    assert!(waits >= Duration::from_millis(20), "{waits:?}");
    assert!(waits < Duration::from_millis(50), "{waits:?}");
}

#[test]
fn a_pause_of_opus_is_comfort_noise_and_nothing_is_lost() {
    let opus = AudioCodec::Opus(OpusParameters {
        dtx: true,
        ..OpusParameters::default()
    });
    let mut encoder = Encoder::new(opus, SampleRate::Full).unwrap();
    let mut random = SmallRng::seed_from_u64(11);
    let begin = Instant::now();
    let mut receiver = Receiver::new(SampleRate::Full, ReceiverSettings::default());
    let mut out = Vec::new();
    let (mut comfort, mut sequence, mut sends, mut toc) = (0, 0, false, 0);
    for index in 0..500_u32 {
        let loud = !(100..=400).contains(&index);
        let frame: Vec<i16> = (0..960)
            .map(|_| {
                if loud {
                    random.random_range(-9000..9000)
                } else {
                    0
                }
            })
            .collect();
        let mut payload = [0; 1500];
        let length = encoder.encode(&frame, &mut payload).unwrap();
        let at = begin + Duration::from_millis(u64::from(index) * 20);
        // As WebRTC does it: the first frame that need not be sent is sent
        // empty, with the last packet's TOC octet (RFC 6716 section 3.1).
        let length = match (length, sends) {
            (0, true) => 1,
            _ => length,
        };
        let marker = length > 1 && !sends && loud;
        sends = length > 1;
        if length > 0 {
            if length == 1 {
                payload[0] = toc & 0xfc;
            }
            toc = payload[0];
            receiver.push(Incoming {
                arrival: at,
                ssrc: 1,
                sequence,
                timestamp: index * 960,
                marker,
                content: Content::Sound(opus),
                payload: &payload[..length],
            });
            sequence += 1;
        }
        let kind = receiver.frame(at + Duration::from_millis(2), &mut out);
        comfort += usize::from(kind == Frame::ComfortNoise);
    }
    let statistics = receiver.statistics();
    assert!(comfort > 200, "{comfort} {statistics:?}");
    assert_eq!(statistics.lost, 0);
    assert!(
        statistics.concealed < Duration::from_millis(100),
        "{statistics:?}"
    );
}

#[test]
fn nothing_that_can_be_pushed_panics_or_grows() {
    let opus = AudioCodec::Opus(OpusParameters::default());
    let contents = [
        Content::Sound(AudioCodec::Pcmu),
        Content::Sound(AudioCodec::Pcma),
        Content::Sound(AudioCodec::G722),
        Content::Sound(opus),
        Content::ComfortNoise,
    ];
    let rates = [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full];
    let begin = Instant::now();
    for seed in 0..12 {
        let mut random = SmallRng::seed_from_u64(seed);
        let settings = ReceiverSettings {
            minimum_delay: Duration::from_millis(random.random_range(0..300)),
            maximum_delay: Duration::from_millis(random.random_range(0..2000)),
            capacity: random.random_range(0..200),
        };
        let mut rate = rates[random.random_range(0..3)];
        let mut receiver = Receiver::new(rate, settings);
        let mut out = Vec::new();
        // From a stream that is nearly sane to pure noise.
        let wild = f64::from(random.random_range(0..10_u32)) / 30.0;
        let mut now = 100_000_u64;
        let (mut sequence, mut timestamp, mut content) = (random.random(), random.random(), 0);
        for _ in 0..1000 {
            for _ in 0..random.random_range(0..4) {
                sequence = u16::wrapping_add(sequence, 1);
                timestamp = u32::wrapping_add(timestamp, 160);
                if random.random_bool(wild) {
                    sequence = random.random();
                }
                if random.random_bool(wild) {
                    timestamp = random.random();
                }
                if random.random_bool(wild / 10.0) {
                    content = random.random_range(0..contents.len());
                }
                let length = match random.random_bool(wild) {
                    true => random.random_range(0..2000),
                    false => 160,
                };
                let payload: Vec<u8> = (0..length).map(|_| random.random()).collect();
                let arrival = match random.random_bool(wild / 10.0) {
                    true => random.random_range(0..1_000_000_000),
                    false => now,
                };
                receiver.push(Incoming {
                    arrival: begin + Duration::from_micros(arrival),
                    ssrc: u32::from(random.random_bool(wild / 10.0)),
                    sequence,
                    timestamp,
                    marker: random.random(),
                    content: contents[content],
                    payload: &payload,
                });
            }
            if random.random_bool(wild / 10.0) {
                rate = rates[random.random_range(0..3)];
                receiver.set_rate(rate);
            }
            now += random.random_range(0..40_000);
            out.clear();
            receiver.frame(begin + Duration::from_micros(now), &mut out);
            assert_eq!(out.len(), rate.frame_samples());
            assert!(receiver.buffer.len() as i64 <= receiver.buffer.capacity());
            assert!(receiver.queue.len() <= 12 * rate.frame_samples());
        }
    }
}
