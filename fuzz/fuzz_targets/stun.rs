//! Any octets at all, read as a STUN message and sent to a shared port.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/web_leg/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| exercise::stun(datagram));
