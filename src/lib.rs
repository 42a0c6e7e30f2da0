//! ringwire: a SIP media gateway.
//!
//! Each *shard* is one thread pinned to one core that owns everything a call
//! needs there; a separate tokio pool serves REST, WebSockets and hooks; the
//! two talk only through bounded mailboxes. `docs/ARCHITECTURE.md` explains
//! the whole; this is the map.
//!
//! | room | what it holds | pure |
//! | --- | --- | --- |
//! | [`ids`] | the newtypes everybody shares | yes |
//! | [`timers`] | keyed deadlines | yes |
//! | [`clock`] | monotonic instants as wall-clock time | yes |
//! | [`keying`] | SRTP suites, keys and policies, fingerprints, ICE credentials | yes |
//! | [`sip`] | messages, transactions, dialogs, digest, the user agent | yes |
//! | [`sdp`] | session descriptions, codecs, offer/answer | yes |
//! | [`media`] | RTP/RTCP: packet slot, leg table, latching, rewriting | yes |
//! | [`sound`] | codecs, jitter buffers, mixing, tones, recordings | yes |
//! | [`trace`] | SIP messages as they were on the wire, secrets masked | yes |
//! | [`book`] | the number book: who may call what | yes |
//! | [`call`] | the only room that knows SIP *and* media: calls and rooms | yes |
//! | [`io`] | every socket, ring and clock | no |
//! | [`shard`] | one pinned thread: the turn, the mailbox, placement | no |
//! | [`config`] | the configuration file and the environment | no |
//! | [`banner`] | what the operator reads first | yes |
//! | [`doctor`] | what this machine lacks for the gateway | no |
//! | [`logging`] | the operator's log | no |
//! | [`store`] | the embedded database | no |
//! | [`recording`] | sound becomes files, kept or uploaded | no |
//! | [`api`] | axum on its own threads: REST, WebSockets, hooks | no |
//! | [`gateway`] | start, signals, the graceful end | no |
//!
//! Imports go downward only, and `tests/imports.rs` fails on a forbidden one:
//! `main → gateway, config, banner, doctor, logging` · `doctor → config, io` ·
//! `gateway → api, recording, store, shard, config, io, banner` ·
//! `api → recording, store, book, call::request, call::event, shard::mailbox, sound::clip, trace, config, ids` ·
//! `recording → store, config, sound, io::host, ids` ·
//! `config → book, sound, trace, ids` · `store → book, sound, ids` ·
//! `banner, logging → config` ·
//! `shard → io, recording, call, sip, media, sdp, sound, book, trace, config` ·
//! `call → sip, sdp, media, sound, book, trace` · `io → media::packet, media::dtls, trace, ids` ·
//! `sip, sdp, media, sound, book, trace → ids, timers`. Where keys are spoken of, `keying`
//! too; where wall-clock time is, `clock`.
//!
//! A pure room names no runtime, socket or clock: `now`, seeds and buffers are
//! handed in, so a test can play a day of SIP timers in a millisecond.

pub mod api;
pub mod banner;
pub mod book;
pub mod call;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod gateway;
pub mod ids;
pub mod io;
pub mod keying;
pub mod logging;
pub mod media;
pub mod recording;
pub mod sdp;
pub mod shard;
pub mod sip;
pub mod sound;
pub mod store;
pub mod timers;
pub mod trace;
