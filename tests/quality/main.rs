//! Speech through rooms that are mixed, judged by PESQ beside the same speech
//! through the same codecs and nothing else: what the gateway adds to a
//! transcoding must not be heard. The figures are printed.

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)] // Written for `tests/peers`; this program uses its part.
mod support;

#[path = "../support/tools.rs"]
#[allow(dead_code)] // Written for `tests/clips`; this program uses its part.
mod tools;

mod pesq;
mod speech;

use std::time::Duration;

use ringwire::sound::codec::AudioCodec::{self, G722, Opus, Pcma, Pcmu};
use ringwire::sound::codec::{Decoder, Encoder, OpusParameters};
use ringwire::sound::format::SampleRate;
use support::mixed_room::{Caller, gateway};
use support::talker::{Sound, Talkers};
use support::{Gateway, within};

use pesq::Band;
use speech::Speech;

/// What the gateway may take from the codecs' own score.
const TOLERANCE: f64 = 0.15;
/// The same where packets are lost.
const TOLERANCE_LOSS: f64 = 0.3;
/// Of a hundred packets so many are lost.
const LOSS: u32 = 5;
/// Packets that are sent later than this, and a shard that waits for longer for
/// its core, are disturbed by other work.
const MOST_LATE: Duration = Duration::from_millis(15);
/// How often speech is said until nothing disturbs it.
const TRIES: usize = 8;
/// Longer than any speech of these tests takes.
const PATIENCE: Duration = Duration::from_secs(60);

const OPUS: AudioCodec = support::talker::OPUS;
/// As browsers want it.
const OPUS_FEC: AudioCodec = Opus(OpusParameters {
    in_band_fec: true,
    dtx: false,
    max_average_bitrate: None,
    max_playback_rate: None,
    constant_bitrate: false,
});

/// What a listener of `to` hears of a talker of `from` through the gateway:
/// samples at the rate of `to`. `quiet` others are in the room. `None` where
/// this machine had other things to do: that is not the gateway's sound.
fn through_the_gateway(
    speech: &Speech,
    from: AudioCodec,
    to: AudioCodec,
    quiet: &[AudioCodec],
    lost: &[usize],
) -> Option<Vec<i16>> {
    let mut gateway = gateway(Gateway::with(), 2 + quiet.len());
    let talkers = Talkers::new();
    let sound = Sound::Once(speech.at(from.native_rate()));
    let silence = Sound::Once(Vec::new());
    let talker = Caller::join_quiet(&mut gateway, &talkers, 0, from, &sound);
    let listener = Caller::join_quiet(&mut gateway, &talkers, 1, to, &silence);
    let _others: Vec<Caller> = quiet
        .iter()
        .enumerate()
        .map(|(n, codec)| Caller::join_quiet(&mut gateway, &talkers, 2 + n, *codec, &silence))
        .collect();
    listener.talker.wait_for_packets(1);
    talker.talker.lose(lost.to_vec());
    listener.talker.forget();
    talkers.take_lateness();
    let mut waited = gateway.waited_for_cores();
    let mut longest = Duration::ZERO;
    talker.talker.talk_to(talker.target);
    let said = within(PATIENCE, || {
        let by_now = gateway.waited_for_cores();
        longest = longest.max(by_now - waited);
        waited = by_now;
        talker.talker.has_finished().then_some(())
    });
    assert!(said.is_some(), "the speech is said");
    // What waits in the jitter buffer comes out.
    let before = listener.talker.heard().len();
    listener.talker.wait_for_packets(before + 15);
    let late = talkers.take_lateness();
    println!("packets sent up to {late:?} late, the shard waited up to {longest:?} for its core");
    let undisturbed = late < MOST_LATE && longest < MOST_LATE;
    undisturbed.then(|| listener.talker.decode(&listener.talker.heard()))
}

/// The same by the codecs alone, at the rate that the room has. A packet that
/// is lost is taken from the FEC of the next where there is one, as any
/// receiver does, else concealed.
fn by_the_codecs(
    speech: &Speech,
    from: AudioCodec,
    to: AudioCodec,
    rate: SampleRate,
    lost: &[usize],
) -> Vec<i16> {
    let native = from.native_rate();
    let mut encoder = Encoder::new(from, native).expect("an encoder");
    let payloads: Vec<Vec<u8>> = speech
        .at(native)
        .chunks_exact(native.frame_samples())
        .map(|frame| encode(&mut encoder, frame))
        .collect();
    let mut decoder = Decoder::new(from, rate).expect("a decoder");
    let samples = rate.frame_samples();
    let mut middle = Vec::new();
    for (n, payload) in payloads.iter().enumerate() {
        if !lost.contains(&n) {
            decoder.decode(payload, &mut middle).expect("sound");
            continue;
        }
        let next = payloads.get(n + 1).filter(|_| !lost.contains(&(n + 1)));
        let recovered = next.map_or(0, |next| {
            decoder
                .decode_fec(next, samples, &mut middle)
                .expect("FEC or none")
        });
        if recovered == 0 {
            decoder.conceal(samples, &mut middle);
        }
    }
    let mut encoder = Encoder::new(to, rate).expect("an encoder");
    let mut decoder = Decoder::new(to, to.native_rate()).expect("a decoder");
    let mut out = Vec::new();
    for frame in middle.chunks_exact(samples) {
        let payload = encode(&mut encoder, frame);
        decoder.decode(&payload, &mut out).expect("sound");
    }
    out
}

fn encode(encoder: &mut Encoder, frame: &[i16]) -> Vec<u8> {
    let mut out = [0; 1276];
    let length = encoder.encode(frame, &mut out).expect("a payload");
    out[..length].to_vec()
}

/// Which packets are lost, the same for the same seed.
fn lost_packets(percent: u32, packets: usize, seed: u32) -> Vec<usize> {
    let mut state = seed;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % 100
    };
    (0..packets).filter(|_| draw() < percent).collect()
}

/// Compares both, and prints them.
#[track_caller]
fn as_good_as_the_codecs(
    from: AudioCodec,
    to: AudioCodec,
    quiet: &[AudioCodec],
    loss: u32,
    tolerance: f64,
) {
    let speech = Speech::make();
    // A room has the second best of its peers' rates.
    let all = [from, to].into_iter().chain(quiet.iter().copied());
    let mut rates: Vec<SampleRate> = all.map(AudioCodec::native_rate).collect();
    rates.sort_unstable();
    let rate = rates[rates.len() - 2];
    let packets = speech.at(from.native_rate()).len() / from.native_rate().frame_samples();
    let lost = lost_packets(loss, packets, 20);
    let band = match [from, to]
        .iter()
        .all(|c| c.native_rate() >= SampleRate::Wide)
    {
        true => Band::Wide,
        false => Band::Narrow,
    };
    let gateway = (0..TRIES)
        .find_map(|_| through_the_gateway(&speech, from, to, quiet, &lost))
        .expect("this machine is too busy to judge speech");
    let codecs = by_the_codecs(&speech, from, to, rate, &lost);
    let gateway = pesq::score(&speech, &gateway, to.native_rate(), band);
    let codecs = pesq::score(&speech, &codecs, to.native_rate(), band);
    println!(
        "{from:?} to {to:?}, {} others, {loss} % lost: gateway {gateway:.2}, codecs alone {codecs:.2}",
        quiet.len()
    );
    assert!(
        gateway >= codecs - tolerance,
        "{from:?} to {to:?}: {gateway:.2} through the gateway, {codecs:.2} by the codecs alone"
    );
}

#[test]
fn pcmu_to_opus() {
    as_good_as_the_codecs(Pcmu, OPUS, &[], 0, TOLERANCE);
}

#[test]
fn opus_to_pcmu() {
    as_good_as_the_codecs(OPUS, Pcmu, &[], 0, TOLERANCE);
}

#[test]
fn g722_to_opus() {
    as_good_as_the_codecs(G722, OPUS, &[], 0, TOLERANCE);
}

#[test]
fn opus_to_g722() {
    as_good_as_the_codecs(OPUS, G722, &[], 0, TOLERANCE);
}

#[test]
fn one_talker_among_three() {
    as_good_as_the_codecs(Pcmu, Pcmu, &[Pcma], 0, TOLERANCE);
}

#[test]
fn one_wideband_talker_among_three() {
    as_good_as_the_codecs(G722, OPUS, &[OPUS], 0, TOLERANCE);
}

#[test]
fn opus_with_losses_to_g722() {
    as_good_as_the_codecs(OPUS_FEC, G722, &[], LOSS, TOLERANCE_LOSS);
}

#[test]
fn pcmu_with_losses_to_pcma() {
    as_good_as_the_codecs(Pcmu, Pcma, &[], LOSS, TOLERANCE_LOSS);
}
