//! A short, always equal run of what the fuzz targets do.

use ringwire::io::dtls::OpenSslEngine;

use super::exercise;

#[test]
fn no_mutation_of_a_check_or_a_handshake_panics_or_is_answered_with_more() {
    let mut engine = OpenSslEngine::new().expect("an engine");
    let seeds = exercise::seeds(&mut engine);
    each_mutation(&seeds, 2_000, |round, datagram| {
        exercise::stun(datagram);
        if round % 4 == 1 {
            exercise::dtls(&engine, datagram);
        }
    });
}

#[test]
fn no_mutation_of_rtp_or_rtcp_panics_or_passes_a_protected_leg() {
    each_mutation(&exercise::media_seeds(), 4_000, |_, datagram| {
        exercise::rtp_demux(datagram);
    });
}

fn each_mutation(seeds: &[Vec<u8>], rounds: usize, mut act: impl FnMut(usize, &[u8])) {
    // splitmix64, so that a failure can be played again.
    let mut state = 0x1ce_d715_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % below.max(1)
    };
    for round in 0..rounds {
        let mut datagram = seeds[round % seeds.len()].clone();
        for _ in 0..random(5) {
            let at = random(datagram.len());
            match random(4) {
                0 => datagram.truncate(at),
                1 => datagram.insert(at, random(256) as u8),
                2 if at < datagram.len() => datagram[at] ^= 1 << random(8),
                _ => datagram.extend_from_within(at..),
            }
            datagram.truncate(1500);
        }
        act(round, &datagram);
    }
}
