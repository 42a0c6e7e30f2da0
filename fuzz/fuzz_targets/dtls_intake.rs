//! Any octets at all, sent as DTLS to legs before and in a handshake.
#![no_main]

use std::sync::OnceLock;

use ringwire::io::dtls::OpenSslEngine;

#[allow(dead_code)]
#[path = "../../tests/web_leg/exercise.rs"]
mod exercise;

static ENGINE: OnceLock<OpenSslEngine> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| {
    let engine = ENGINE.get_or_init(|| OpenSslEngine::new().expect("an engine"));
    exercise::dtls(engine, datagram);
});
