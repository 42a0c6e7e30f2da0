//! Any octets at all, as RTP and RTCP to plain and protected legs.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/web_leg/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| exercise::rtp_demux(datagram));
