//! `[sound]`: what is heard in rooms of the gateway.

use std::time::Duration;

use super::file::{File, Setting, Whole};
use super::resolve::{Origin, Reader, written};
use super::{ConfigError, Sound};

/// Beyond this a room is a broadcast, and its shard is late at every tick.
const LARGEST_ROOM: u64 = 10_000;
/// More voices at once than anybody can tell apart.
const MOST_VOICES: u64 = 64;
/// As long as a call may be silent before it is told of, in seconds: an hour.
const LONGEST_SILENCE_S: u64 = 3_600;
/// Silence that is told of unless configured otherwise, in seconds. Many
/// telephones send it while they are muted, and a listener seldom says nothing
/// for longer; a broken microphone is found all the same.
const DEAD_AIR_S: u64 = 30;
/// Sound in one direction only that is told of unless configured otherwise, in
/// seconds.
const ONE_WAY_S: u64 = 10;
/// The longest wait that the jitter buffer's estimate reaches, in ms.
const LONGEST_WAIT_MS: u64 = 1_275;

pub(super) fn sound(reader: &Reader<'_>, file: &File) -> Result<Sound, ConfigError> {
    let sound = &file.sound;
    let capacity = reader.whole(&sound.room_capacity, 200, 2..=LARGEST_ROOM, "peers")?;
    let loudest = reader.whole(&sound.loudest, 6, 1..=MOST_VOICES, "voices")?;
    let maximum = reader.whole(
        &sound.jitter_maximum_ms,
        400,
        20..=LONGEST_WAIT_MS,
        "milliseconds",
    )?;
    let minimum = reader.whole(
        &sound.jitter_minimum_ms,
        0,
        0..=LONGEST_WAIT_MS,
        "milliseconds",
    )?;
    if minimum > maximum {
        let setting = sound.jitter_minimum_ms.as_ref();
        let origin = setting.map_or(Origin::Default("sound.jitter_minimum_ms"), written);
        let problem = format!(
            "{minimum} ms is more than sound.jitter_maximum_ms ({maximum}); write that or less"
        );
        return Err(reader.fail(&origin, problem));
    }
    Ok(Sound {
        room_capacity: capacity as usize,
        loudest: loudest as usize,
        jitter_minimum: Duration::from_millis(minimum),
        jitter_maximum: Duration::from_millis(maximum),
        dead_air: silence(reader, &sound.dead_air_s, DEAD_AIR_S)?,
        one_way: silence(reader, &sound.one_way_s, ONE_WAY_S)?,
        inband_dtmf: sound.inband_dtmf.as_ref().is_none_or(|on| *on.get_ref()),
    })
}

/// 0 is never.
fn silence(
    reader: &Reader<'_>,
    setting: &Setting<Whole>,
    usual: u64,
) -> Result<Option<Duration>, ConfigError> {
    let after = reader.seconds(setting, usual, 0..=LONGEST_SILENCE_S)?;
    Ok((!after.is_zero()).then_some(after))
}
