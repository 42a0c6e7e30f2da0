//! `[sound]`: what is heard in rooms of the gateway.

use std::time::Duration;

use super::file::{File, Setting, Whole};
use super::resolve::Reader;
use super::{ConfigError, Sound};

/// As long as a call may be silent before it is told of, in seconds: an hour.
const LONGEST_SILENCE_S: u64 = 3_600;

pub(super) fn sound(reader: &Reader<'_>, file: &File) -> Result<Sound, ConfigError> {
    let sound = &file.sound;
    Ok(Sound {
        dead_air: silence(reader, &sound.dead_air_s)?,
        one_way: silence(reader, &sound.one_way_s)?,
    })
}

/// 0 is never.
fn silence(reader: &Reader<'_>, setting: &Setting<Whole>) -> Result<Option<Duration>, ConfigError> {
    let after = reader.seconds(setting, 10, 0..=LONGEST_SILENCE_S)?;
    Ok((!after.is_zero()).then_some(after))
}
