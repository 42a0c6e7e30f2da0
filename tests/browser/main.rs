//! Chromium, the gateway and baresip in a network of their own: a browser and
//! a phone talk, a different tone each way, and each hears the other's.

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)] // Written for `tests/peers`; this program uses its part.
mod support;

mod access;
mod chromium;
mod docs;
mod joining;
mod mixing;
mod network;
mod page;
mod panel;
mod rooms;
mod scene;
mod sdk;
mod streams;
mod talking;
mod whip;
