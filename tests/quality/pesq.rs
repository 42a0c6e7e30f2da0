//! PESQ (ITU-T P.862 and P.862.2) by the Python package `pesq`.

use std::path::Path;

use ringwire::sound::format::SampleRate;

use crate::speech::Speech;
use crate::tools::run;

/// Which of the two measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Band {
    /// P.862, at 8 kHz.
    Narrow,
    /// P.862.2, at 16 kHz.
    Wide,
}

/// How the samples, which have this rate, compare with what was said: as a
/// mean opinion score, 1 to 4.6.
#[track_caller]
pub fn score(speech: &Speech, samples: &[i16], rate: SampleRate, band: Band) -> f64 {
    let raw: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let directory = speech.directory();
    std::fs::write(directory.join("heard.raw"), raw).expect("what was heard");
    let (mode, to) = match band {
        Band::Narrow => ("nb", SampleRate::Narrow),
        Band::Wide => ("wb", SampleRate::Wide),
    };
    run(
        directory,
        &format!(
            "sox -R -D -t raw -r {} -e signed -b 16 -c 1 heard.raw -r {} heard.wav",
            rate.hertz(),
            to.hertz()
        ),
    );
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quality");
    let printed = run(
        directory,
        &format!(
            "{} {} {mode} {} heard.wav",
            here.join("venv/bin/python").display(),
            here.join("score.py").display(),
            speech.file(to).display(),
        ),
    );
    let printed = String::from_utf8_lossy(&printed);
    printed
        .trim()
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {printed:?}"))
}
