//! Programs that make sound files for the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a program in a directory and gives what it prints.
pub fn run(directory: &Path, command: &str) -> Vec<u8> {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program)
        .args(words)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| {
            panic!("{program}: {error}; run scripts/install-dependencies test")
        });
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A sine of 440 Hz, 6 dB below full scale, as a WAV file of 16 bit.
pub fn sine(directory: &Path, name: &str, rate: u32, channels: u32, seconds: &str) -> PathBuf {
    run(
        directory,
        &format!(
            "sox -R -D -n -r {rate} -c {channels} -b 16 {name} synth {seconds} sine 440 gain -6"
        ),
    );
    directory.join(name)
}
