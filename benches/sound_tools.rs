//! What a frame of 20 ms costs the DTMF detector and the level meter, in µs.
//!
//! `cargo bench --bench sound_tools`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringwire::sound::dtmf::tone_detector::ToneDetector;
use ringwire::sound::dtmf::tones::ToneGenerator;
use ringwire::sound::dtmf::{Digit, KeyTiming};
use ringwire::sound::format::SampleRate;
use ringwire::sound::level::Level;

fn sound_tools(c: &mut Criterion) {
    let mut group = c.benchmark_group("sound_tools");
    group.throughput(Throughput::Elements(1));
    for rate in [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full] {
        let hertz = rate.hertz();
        let mut tone = vec![0; rate.frame_samples()];
        let mut generator = ToneGenerator::new(rate);
        let queued = generator.queue(Digit::Pound, KeyTiming::default());
        assert_eq!(queued, Ok(()));
        // The first frame has the soft edge, the second is all tone.
        generator.frame(&mut tone);
        assert!(generator.frame(&mut tone));
        let silence = vec![0; rate.frame_samples()];

        for (name, frame) in [("tone", &tone), ("silence", &silence)] {
            let mut detector = ToneDetector::new(rate);
            group.bench_function(format!("detect_{name}_{hertz}"), |b| {
                b.iter(|| detector.frame(black_box(frame)));
            });
        }
        let mut level = Level::default();
        group.bench_function(format!("level_{hertz}"), |b| {
            b.iter(|| level.frame(black_box(&tone)));
        });
    }
    group.finish();
}

criterion_group!(benches, sound_tools);
criterion_main!(benches);
