//! Any octets at all, read as a SIP message.
#![no_main]

#[path = "../../tests/sip_message/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| exercise::exercise(datagram));
