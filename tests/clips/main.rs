//! Sound files as the usual programs write them (sox, lame, ffmpeg, opusenc),
//! and what is left of them after mutation.

#[path = "../support/tools.rs"]
mod tools;

mod exercise;
mod formats;
mod mutation;
