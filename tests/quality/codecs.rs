//! The codecs of a call and nothing else: no network, no jitter buffer, no
//! room. What a gateway does to speech is judged beside it.

use ringwire::sound::codec::AudioCodec::{self, Opus};
use ringwire::sound::codec::{Decoder, Encoder, OpusParameters};
use ringwire::sound::format::SampleRate;

/// Opus as browsers want it.
pub const OPUS_FEC: AudioCodec = Opus(OpusParameters {
    in_band_fec: true,
    dtx: false,
    max_average_bitrate: None,
    max_playback_rate: None,
    constant_bitrate: false,
});

/// Samples at this rate as payloads of 20 ms.
pub fn payloads(codec: AudioCodec, rate: SampleRate, samples: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec, rate).expect("an encoder");
    let mut out = [0; 1276];
    samples
        .chunks_exact(rate.frame_samples())
        .map(|frame| {
            let length = encoder.encode(frame, &mut out).expect("a payload");
            out[..length].to_vec()
        })
        .collect()
}

/// What of these samples, at the rate of `from`, comes out at the rate of `to`
/// behind a room of this rate. A packet that is lost is taken from the FEC of
/// the next where there is one, as any receiver does, else concealed.
pub fn by_the_codecs(
    samples: &[i16],
    from: AudioCodec,
    to: AudioCodec,
    room: SampleRate,
    lost: &[usize],
) -> Vec<i16> {
    let payloads = payloads(from, from.native_rate(), samples);
    let mut decoder = Decoder::new(from, room).expect("a decoder");
    let frame = room.frame_samples();
    let mut middle = Vec::new();
    for (n, payload) in payloads.iter().enumerate() {
        if !lost.contains(&n) {
            decoder.decode(payload, &mut middle).expect("sound");
            continue;
        }
        let next = payloads.get(n + 1).filter(|_| !lost.contains(&(n + 1)));
        let recovered = next.map_or(0, |next| {
            decoder
                .decode_fec(next, frame, &mut middle)
                .expect("FEC or none")
        });
        if recovered == 0 {
            decoder.conceal(frame, &mut middle);
        }
    }
    through(to, room, &middle)
}

/// What of these samples comes out of one codec, at its own rate.
pub fn through(codec: AudioCodec, rate: SampleRate, samples: &[i16]) -> Vec<i16> {
    let mut decoder = Decoder::new(codec, codec.native_rate()).expect("a decoder");
    let mut out = Vec::new();
    for payload in payloads(codec, rate, samples) {
        decoder.decode(&payload, &mut out).expect("sound");
    }
    out
}

/// Which of so many packets are lost, the same for the same seed.
pub fn lost_packets(percent: u32, packets: usize, seed: u32) -> Vec<usize> {
    let mut state = seed;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % 100
    };
    (0..packets).filter(|_| draw() < percent).collect()
}
