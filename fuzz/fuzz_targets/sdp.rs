//! A peer's description: read, answered, taken as an answer, re-offered.
#![no_main]

#[path = "../../tests/sdp/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|text: &[u8]| exercise::exercise(text));
