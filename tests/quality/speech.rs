//! What is said: four sentences of a synthetic voice, at every rate.

use std::path::Path;

use ringwire::sound::format::SampleRate;

use crate::tools::run;

/// Four of the Harvard sentences: 10 s with their pauses.
const TEXT: &str = "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue \
                    background. It is easy to tell the depth of a well. These days a chicken leg \
                    is a rare dish.";

/// One text, spoken.
pub struct Speech {
    directory: tempfile::TempDir,
}

impl Speech {
    /// Has it spoken, with half a second of silence before and after.
    pub fn make() -> Self {
        crate::support::require_program("flite");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let text = directory.path().join("text");
        std::fs::write(&text, TEXT).expect("the text");
        run(directory.path(), "flite -voice awb -f text -o spoken.wav");
        for rate in [SampleRate::Narrow, SampleRate::Wide, SampleRate::Full] {
            let hertz = rate.hertz();
            run(
                directory.path(),
                &format!(
                    "sox -R -D spoken.wav -r {hertz} -c 1 -b 16 {hertz}.wav norm -9 pad 0.5 0.5"
                ),
            );
        }
        Self { directory }
    }

    /// Its samples at this rate, in whole frames.
    pub fn at(&self, rate: SampleRate) -> Vec<i16> {
        let file = self.file(rate);
        let bytes = std::fs::read(&file).expect("a WAV file of sox");
        let start = bytes.windows(4).position(|name| name == b"data");
        // A RIFF chunk begins with its name and length.
        let samples = &bytes[start.expect("samples") + 8..];
        let mut samples: Vec<i16> = samples
            .chunks_exact(2)
            .map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]]))
            .collect();
        samples.truncate(samples.len() / rate.frame_samples() * rate.frame_samples());
        samples
    }

    pub fn file(&self, rate: SampleRate) -> std::path::PathBuf {
        self.directory.path().join(format!("{}.wav", rate.hertz()))
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}
