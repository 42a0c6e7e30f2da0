//! Any octets at all, as a sound file.
#![no_main]

#[path = "../../tests/clips/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|file: &[u8]| exercise::exercise(file));
