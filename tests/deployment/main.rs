//! What the gateway is to those who run it: a service of systemd, a described
//! API, and files of `config/` that can be used as they are.

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)] // Written for `tests/peers`; this program uses its part.
mod support;

mod doctor;
mod files;
mod openapi;
mod service;
