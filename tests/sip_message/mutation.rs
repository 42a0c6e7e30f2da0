//! The torture messages, broken at random (but the same each time) and put
//! together wrongly.

use super::exercise::exercise;

/// What any one mutation may do to a message.
fn mutate(message: &mut Vec<u8>, random: &mut impl FnMut(usize) -> usize, other: &[u8]) {
    const TELLING: &[u8] = b"\r\n\0\"\\<>;,:=@?%/[]() \t*0SIPz\xff\xc3\xed";
    let at = random(message.len() + 1);
    let end = (at + 1 + random(24)).min(message.len());
    match random(7) {
        0 if at < message.len() => message[at] = TELLING[random(TELLING.len())],
        1 => message.insert(at, TELLING[random(TELLING.len())]),
        2 => drop(message.drain(at..end)),
        3 => message.truncate(at),
        4 => {
            let piece = message[at..end].to_vec();
            message.splice(at..at, piece.repeat(1 + random(40)));
        }
        5 if at < message.len() => message[at] ^= 1 << random(8),
        _ => {
            let from = random(other.len());
            let to = (from + 1 + random(80)).min(other.len());
            message.splice(at..at, other[from..to].iter().copied());
        }
    }
}

#[test]
fn no_mutation_of_a_message_panics_or_prints_what_cannot_be_read() {
    let seeds: Vec<_> = super::messages().into_values().collect();
    // splitmix64, so that a failure can be played again.
    let mut state = 0x5117_0e57_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % below.max(1)
    };
    for round in 0..20_000 {
        let mut message = seeds[round % seeds.len()].clone();
        for _ in 0..=random(4) {
            let other = random(seeds.len());
            mutate(&mut message, &mut random, &seeds[other]);
        }
        exercise(&message);
    }
}
