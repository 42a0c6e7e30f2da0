//! Any octets at all, as telephone events, as bodies of SIP INFO and as sound.
#![no_main]

#[path = "../../tests/dtmf/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| exercise::exercise(octets));
