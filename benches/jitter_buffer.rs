//! What a receiver makes of networks of every kind: delay, concealment, and
//! its cost per frame beside the decoder's. In simulated time, with the
//! patterns of the tests.
//!
//! `cargo bench --bench jitter_buffer`

use std::hint::black_box;
use std::time::Instant;

use ringwire::sound;
use ringwire::sound::codec::{AudioCodec, Decoder};
use ringwire::sound::format::SampleRate;

#[path = "../src/sound/receiver/tests/simulation.rs"]
mod simulation;

/// µs that a packet of the talker costs to decode and nothing else.
fn decoding(talker: &simulation::Talker) -> f64 {
    const ROUNDS: usize = 20_000;
    let mut decoder = Decoder::new(talker.codec, SampleRate::Narrow).expect("a decoder of G.711");
    let mut out = Vec::new();
    let begin = Instant::now();
    for index in 0..ROUNDS {
        out.clear();
        let decoded = decoder.decode(talker.payload(index), &mut out);
        black_box(decoded.is_ok());
    }
    begin.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64
}

fn main() {
    let talker = simulation::Talker::voice(AudioCodec::Pcmu);
    println!("Decoding 20 ms of G.711 alone: {:.2} µs", decoding(&talker));
    println!();
    println!(
        "| network | mean delay, ms | highest, ms | concealed, % | late | lost | left out | repeated | µs per frame |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for pattern in simulation::patterns() {
        let begin = Instant::now();
        let outcome = simulation::listen(&pattern.packets);
        let micros = begin.elapsed().as_secs_f64() * 1e6 / pattern.packets.len() as f64;
        let statistics = outcome.statistics;
        println!(
            "| {} | {:.1} | {:.0} | {:.2} | {} | {} | {} | {} | {micros:.2} |",
            pattern.name,
            outcome.mean_delay,
            outcome.highest_delay,
            outcome.concealed_percent(),
            statistics.late,
            statistics.lost,
            statistics.accelerations,
            statistics.expansions,
        );
    }
}
