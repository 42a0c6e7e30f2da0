//! Chromium, the gateway and baresip in a network of their own: a browser and
//! a phone talk, a different tone each way, and each hears the other's.

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)] // Written for `tests/peers`; this program uses its part.
mod support;

#[path = "../support/tools.rs"]
#[allow(dead_code)] // Written for `tests/clips`; this program uses its part.
mod tools;

#[path = "../quality/codecs.rs"]
#[allow(dead_code)] // Written for `tests/quality`; this program uses its part.
mod codecs;

#[path = "../quality/pesq.rs"]
#[allow(dead_code)] // The same.
mod pesq;

#[path = "../quality/speech.rs"]
mod speech;

mod access;
mod chromium;
mod docs;
mod joining;
mod mixing;
mod network;
mod page;
mod panel;
mod quality;
mod rooms;
mod scene;
mod sdk;
mod streams;
mod talking;
mod whip;
